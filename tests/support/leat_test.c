/* SPDX-License-Identifier: MIT
 *
 * leat_test.c - runs a table of tests: forks a process for each, lets cmocka run it there, waits until it ends or its
 * time is over, looks at what it left, and prints TAP. This process itself never calls leat, starts no thread and maps no
 * shared memory of leat's, so that whatever a test does to its own process cannot reach it.
 */
#include "leat_test.h"
#include "remains.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED 77
#define DEFAULT_LIMIT_S 60u
#define STRAGGLER_LIMIT_S 3u
#define OUTPUT_SHOWN (64 * 1024)

/* What the harness and the process of a test tell each other; in memory that both see. */
typedef struct shared_notes {
    char session[64];
    char tmpdir[128];
    char skip_reason[256];
} shared_notes;

static shared_notes *notes;

#ifdef __SANITIZE_ADDRESS__
/* The sanitizer's report on a crash says more than cmocka's handler, so the handler is not let in. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "handle_segv=2:handle_sigbus=2:handle_sigfpe=2:handle_sigill=2:detect_stack_use_after_return=1";
}
#endif
#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
    return "halt_on_error=1:die_after_fork=0:handle_segv=2:handle_sigbus=2";
}
#endif

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

unsigned leat_test_slowness(void)
{
    const char *text = getenv("LEAT_TEST_SLOWNESS");
    long given = text ? strtol(text, NULL, 10) : 0;
    if (given > 0)
        return (unsigned)given;
#if defined(__SANITIZE_THREAD__)
    return 6;
#elif defined(__SANITIZE_ADDRESS__)
    return 3;
#else
    return 1;
#endif
}

static const char *environment_or(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

const char *leat_test_plugin_dir(void)
{
    return environment_or("LEAT_TEST_PLUGIN_DIR", PLUGIN_DIR);
}

const char *leat_test_build_dir(void)
{
    return environment_or("LEAT_TEST_BUILD_DIR", BUILD_DIR);
}

const char *leat_test_source_dir(void)
{
    return environment_or("LEAT_TEST_SOURCE_DIR", SOURCE_DIR);
}

const char *leat_test_session(void)
{
    return notes->session;
}

const char *leat_test_tmpdir(void)
{
    if (mkdir(notes->tmpdir, 0700) < 0 && errno != EEXIST)
        leat_test_fail(__FILE__, __LINE__, "cannot make %s: %s", notes->tmpdir, strerror(errno));
    return notes->tmpdir;
}

/* ---- in the process of the test -------------------------------------------------------------------------------- */

void leat_test_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(notes->skip_reason, sizeof(notes->skip_reason), format, args);
    va_end(args);
    fflush(NULL);
    _exit(SKIPPED);
}

void leat_test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(1);
}

void leat_test_check_int(const char *file, int line, const char *what, long long got, long long wanted)
{
    if (got != wanted)
        leat_test_fail(file, line, "%s is %lld, not %lld", what, got, wanted);
}

void leat_test_check_string(const char *file, int line, const char *what, const char *got, const char *wanted)
{
    if (!got || strcmp(got, wanted))
        leat_test_fail(file, line, "%s is \"%s\", not \"%s\"", what, got ? got : "(null)", wanted);
}

void leat_test_check_contains(const char *file, int line, const char *what, const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        leat_test_fail(file, line, "%s is \"%s\" and does not contain \"%s\"", what, text ? text : "(null)", part);
}

pid_t leat_test_fork(void (*fn)(void *arg), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        leat_test_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
    if (pid == 0) {
        fn(arg);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            leat_test_fail(__FILE__, __LINE__, "waiting for process %d: %s", (int)pid, strerror(errno));
    return status;
}

void leat_test_join(pid_t pid)
{
    int status = wait_for(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        _exit(SKIPPED);
    if (WIFSIGNALED(status))
        leat_test_fail(__FILE__, __LINE__, "process %d was ended by signal %d (%s)", (int)pid, WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        leat_test_fail(__FILE__, __LINE__, "process %d exited with %d", (int)pid, WEXITSTATUS(status));
}

void leat_test_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    wait_for(pid);
}

static void run_in_cmocka(void **state)
{
    const leat_test *test = *state;
    test->run();
}

_Noreturn static void be_the_test(const leat_test *test, int output, const sigset_t *unblocked)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(1);
    close(null);
    close(output);
    sigprocmask(SIG_SETMASK, unblocked, NULL);

    static const char *const foreign[] = {"LEAT_RUNTIME_DIR", "LEAT_CONFIG", "LEAT_PLUGIN_PATH",
                                          "CMOCKA_MESSAGE_OUTPUT", "CMOCKA_TEST_ABORT"};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        unsetenv(foreign[i]);
    setenv("LEAT_SESSION", notes->session, 1);

    const struct CMUnitTest unit[] = {{test->name, run_in_cmocka, NULL, NULL, (void *)(uintptr_t)test}};
    cmocka_set_message_output(CM_OUTPUT_STDOUT);
    exit(cmocka_run_group_tests_name(test->name, unit, NULL, NULL) == 0 ? 0 : 1);
}

/* ---- in the harness -------------------------------------------------------------------------------------------- */

/* Waits for SIGCHLD or a signal that ends the harness, until `deadline`. Returns the signal or 0. */
static int wait_signal(int64_t deadline)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    int64_t left = deadline - now_ms();
    if (left < 0)
        left = 0;
    struct timespec ts = {.tv_sec = left / 1000, .tv_nsec = (left % 1000) * 1000000};
    int got = sigtimedwait(&set, NULL, &ts);
    return got < 0 ? 0 : got;
}

/* Waits for the test's process. Returns false when its time was over. */
static bool wait_test(pid_t pid, int64_t deadline, int *ret_status)
{
    for (;;) {
        if (waitpid(pid, ret_status, WNOHANG) == pid)
            return true;
        if (now_ms() >= deadline)
            return false;
        int got = wait_signal(deadline);
        if (got == 0 || got == SIGCHLD)
            continue;
        remains_ids none = {0};
        FILE *nowhere = fopen("/dev/null", "we");
        kill(-pid, SIGKILL);
        if (nowhere)
            remains_report(notes->session, &none, pid, nowhere);
        remains_remove_tree(notes->tmpdir);
        signal(got, SIG_DFL);
        raise(got);
        _exit(128 + got);
    }
}

/* Whether children of ours are left; reaps the dead ones. The harness is the subreaper of all that a test starts. */
static bool children_left(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid == 0;
}

/* Kills whoever is left of a test and names them. Returns how many there were. */
static int kill_stragglers(FILE *out)
{
    char path[64];
    int found = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 100 && children_left(); round++) {
        FILE *file = fopen(path, "re");
        int pid;
        while (file && fscanf(file, "%d", &pid) == 1) {
            char comm_path[64], comm[64] = "?";
            snprintf(comm_path, sizeof(comm_path), "/proc/%d/comm", pid);
            FILE *comm_file = fopen(comm_path, "re");
            if (comm_file) {
                if (fgets(comm, sizeof(comm), comm_file))
                    comm[strcspn(comm, "\n")] = '\0';
                fclose(comm_file);
            }
            if (round == 0) {
                fprintf(out, "left running: process %d (%s)\n", pid, comm);
                found++;
            }
            kill(pid, SIGKILL);
        }
        if (file)
            fclose(file);
        wait_signal(now_ms() + 50);
    }
    return found;
}

/* Prints what the test has written, each line as a TAP comment. */
static void show_output(int output)
{
    FILE *file = fdopen(output, "r");
    if (!file) {
        close(output);
        return;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > OUTPUT_SHOWN ? size - OUTPUT_SHOWN : 0, SEEK_SET);
    if (size > OUTPUT_SHOWN)
        printf("# ... %ld bytes before\n", size - OUTPUT_SHOWN);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) >= 0)
        printf("# %.*s\n", (int)(length > 0 && line[length - 1] == '\n' ? length - 1 : length), line);
    free(line);
    fclose(file);
}

/* Says in a TAP comment how the test's process ended. */
static void show_end(bool ended, int status, unsigned limit_s)
{
    if (!ended)
        printf("# hung: killed after %u s\n", limit_s);
    else if (WIFSIGNALED(status))
        printf("# crashed: signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        printf("# exited with %d\n", WEXITSTATUS(status));
}

/* Runs one test and prints its lines. TAP wants the verdict first and comments after it, so they are gathered. */
static bool run_one(const leat_test *test, int number, const sigset_t *unblocked)
{
    memset(notes, 0, sizeof(*notes));
    snprintf(notes->session, sizeof(notes->session), "test-%d-%d", (int)getpid(), number);
    snprintf(notes->tmpdir, sizeof(notes->tmpdir), "%s/leat-%.64s", "/tmp", notes->session);
    remains_ids before;
    remains_note_ids(&before);
    unsigned limit_s = (test->limit_s ? test->limit_s : DEFAULT_LIMIT_S) * leat_test_slowness();

    int output = memfd_create("output", MFD_CLOEXEC);
    fflush(NULL);
    pid_t pid = output < 0 ? -1 : fork();
    if (pid < 0) {
        fprintf(stderr, "cannot start a test: %s\n", strerror(errno));
        exit(1);
    }
    if (pid == 0)
        be_the_test(test, output, unblocked);
    setpgid(pid, pid);

    int64_t start = now_ms();
    int status = 0;
    bool ended = wait_test(pid, start + (int64_t)limit_s * 1000, &status);
    int64_t took = now_ms() - start;
    FILE *comments = tmpfile();
    if (!comments) {
        fprintf(stderr, "cannot make a temporary file: %s\n", strerror(errno));
        exit(1);
    }
    fcntl(fileno(comments), F_SETFD, FD_CLOEXEC);
    bool passed_by_itself = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    /* Processes that the test has just killed are given a moment to be gone. After a failure nobody is waited for. */
    if (passed_by_itself)
        for (int64_t deadline = now_ms() + STRAGGLER_LIMIT_S * 1000; children_left() && now_ms() < deadline;)
            wait_signal(deadline);
    kill(-pid, SIGKILL);
    int left = kill_stragglers(comments);
    left += remains_report(notes->session, &before, pid, comments);
    remains_free_ids(&before);
    remains_remove_tree(notes->tmpdir);

    bool skipped = ended && WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
    bool passed = passed_by_itself && left == 0;
    if (skipped)
        printf("ok %d - %s # SKIP %s\n", number, test->name, notes->skip_reason);
    else
        printf("%s %d - %s\n", passed ? "ok" : "not ok", number, test->name);
    if (!passed && !skipped) {
        show_end(ended, status, limit_s);
        rewind(comments);
        char line[1200];
        while (fgets(line, sizeof(line), comments))
            printf("# %s", line);
        show_output(output);
    } else {
        close(output);
    }
    if (took >= 5000)
        printf("# took %lld s\n", (long long)took / 1000);
    fclose(comments);
    fflush(stdout);
    return passed || skipped;
}

static bool chosen(const leat_test *test, const char *filter)
{
    return !filter || strstr(test->name, filter);
}

int leat_test_main(const leat_test *tests, int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && argv[1][0] == '-' && strcmp(argv[1], "-l"))) {
        fprintf(stderr, "usage: %s [-l | PART-OF-A-NAME]\n", argv[0]);
        return 2;
    }
    if (argc == 2 && !strcmp(argv[1], "-l")) {
        for (const leat_test *test = tests; test->name; test++)
            puts(test->name);
        return 0;
    }
    const char *filter = argc == 2 ? argv[1] : NULL;
    int count = 0;
    for (const leat_test *test = tests; test->name; test++)
        count += chosen(test, filter);
    if (count == 0) {
        fprintf(stderr, "%s: no test's name contains \"%s\"\n", argv[0], filter ? filter : "");
        return 2;
    }
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (notes == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t blocked, unblocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);

    printf("1..%d\n", count);
    fflush(stdout);
    int number = 0;
    bool all_passed = true;
    for (const leat_test *test = tests; test->name; test++)
        if (chosen(test, filter) && !run_one(test, ++number, &unblocked))
            all_passed = false;
    munmap(notes, sizeof(*notes));
    return all_passed ? 0 : 1;
}
