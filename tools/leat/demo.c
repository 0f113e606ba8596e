/* SPDX-License-Identifier: MIT
 *
 * demo.c - `leat demo`: starts a source, two workers and a sink, shows their rates, has `shmadm info` look at them while
 * they run, and compares what went in with what came out. Sends no message itself and knows no transport.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <leat/plugin.h>

#include "demo.h"

#define LIMIT (UINT64_C(1) << 30)
#define MESSAGE_SIZE (1024 * 1024)
#define PATIENCE_NS INT64_C(5000000000) /* with programs that were asked to end */

enum { SOURCE, WORKER, SINK = WORKER + LEATI_DEMO_WORKERS, CHILDREN };

struct child {
    const char *name; /* for people */
    pid_t pid;        /* 0: not running */
    int report;       /* -1: closed */
    int status;
    leati_reported reported;
};

struct demo {
    /* options */
    const char *file;
    uint64_t size, limit;
    bool verbose;
    /* at work */
    leati_tool *tool;
    char session[32];
    struct child children[CHILDREN];
    int leave;      /* closed when the source may leave; -1: it is */
    int info;       /* what `shmadm info` printed */
    pid_t info_pid; /* 0: not running */
    bool info_asked, failed;
    int64_t start_ns, stop_ns, ask_ns;
    bool terminal;
};

static const struct argp_option option_table[] = {
    {"size", 's', "SIZE", 0, "Bytes of one message, with K, M or G; 1M if not given", 0},
    {"limit", 'l', "SIZE", 0, "Bytes to send at most; 1G if neither this nor FILE is given", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct demo *d = state->input;

    switch (key) {
    case 's':
    case 'l':
        if (!leati_size_parse(arg, key == 's' ? &d->size : &d->limit))
            argp_error(state, "\"%s\" is not a number of bytes (1 and up; K, M, G may follow)", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (d->file)
            argp_error(state, "\"%s\" is one argument too many", arg);
        d->file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc = "[FILE]",
    .doc = "Passes FILE, or the shared libraries of this machine, from a source through two workers that check it to a "
           "sink that puts it together again, and compares what came out with what went in."
           "\vThe channels are described by demo.ini, or by the file that --config names. Exit status: 0 the same came "
           "out, 1 not, 2 usage.\n\n" LEATI_CONFIG_HELP,
};

/* ---- starting -------------------------------------------------------------------------------------------------- */

struct arguments {
    char *list[64];
    int n;
};

static void put(struct arguments *a, const char *text)
{
    if (a->n + 1 < (int)(sizeof(a->list) / sizeof(a->list[0])))
        a->list[a->n++] = (char *)text;
}

/* Whether the user has given an option of leat_config_args(). */
static bool taken(const leati_tool *tool, const char *option)
{
    size_t length = strlen(option);

    for (int i = 0; i < tool->taken_n; i++)
        if (strncmp(tool->taken[i], option, length) == 0 && strchr("=", tool->taken[i][length]))
            return true;
    return false;
}

/* What each program is started with: our own file and session, unless the user said otherwise, and what he said. */
static void put_common(const struct demo *d, struct arguments *a, const char *command)
{
    put(a, command); /* its name for shmadm: the program is `leat` each time */
    put(a, command);
    if (!taken(d->tool, "--config")) {
        put(a, "--config");
        put(a, LEATI_DEMO_INI);
    }
    put(a, "--session");
    put(a, d->session);
    for (int i = 0; i < d->tool->taken_n; i++)
        put(a, d->tool->taken[i]);
}

/* Becomes the program, with `in` and `out` as its standard input and output. */
static _Noreturn void become(struct arguments *a, int in, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execv("/proc/self/exe", a->list);
    fprintf(stderr, "leat demo: %s cannot be started: %s\n", a->list[1], strerror(errno));
    _exit(LEATI_EXIT_FAILED);
}

static int start_child(struct demo *d, int which, int in, int null)
{
    static const char *const commands[CHILDREN] = {
        [SOURCE] = "demo-source", [WORKER... SINK - 1] = "demo-worker", [SINK] = "demo-sink"};
    struct child *child = &d->children[which];
    struct arguments a = {.n = 0};
    char report[12], number[12], size[24], limit[24];
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return leat_fail(errno, "no pipe: %s", strerror(errno));
    put_common(d, &a, commands[which]);
    snprintf(report, sizeof(report), "%d", fds[1]);
    put(&a, "--report");
    put(&a, report);
    if (which == SOURCE) {
        snprintf(size, sizeof(size), "%" PRIu64, d->size);
        put(&a, "--size");
        put(&a, size);
        if (d->limit) {
            snprintf(limit, sizeof(limit), "%" PRIu64, d->limit);
            put(&a, "--limit");
            put(&a, limit);
        }
        if (d->file) {
            put(&a, "--");
            put(&a, d->file);
        }
    } else if (which < SINK) {
        snprintf(number, sizeof(number), "%d", which - WORKER + 1);
        put(&a, "--number");
        put(&a, number);
    }
    child->pid = fork();
    if (child->pid == 0) {
        fcntl(fds[1], F_SETFD, 0);
        become(&a, in, null);
    }
    close(fds[1]);
    if (child->pid < 0) {
        close(fds[0]);
        child->pid = 0;
        return leat_fail(errno, "no process: %s", strerror(errno));
    }
    child->report = fds[0];
    return 0;
}

static int start_children(struct demo *d)
{
    int leave[2], r = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || pipe2(leave, O_CLOEXEC) < 0)
        return leat_fail(errno, "no pipe: %s", strerror(errno));
    d->leave = leave[1];
    for (int i = SINK; i >= 0 && r >= 0; i--)
        r = start_child(d, i, i == SOURCE ? leave[0] : null, null);
    close(leave[0]);
    close(null);
    return r;
}

static int start_info(struct demo *d)
{
    struct arguments a = {.n = 0};

    d->info_asked = true;
    put_common(d, &a, "demo-info");
    d->info_pid = fork();
    if (d->info_pid == 0)
        become(&a, STDIN_FILENO, d->info);
    if (d->info_pid < 0) {
        d->info_pid = 0;
        return leat_fail(errno, "no process: %s", strerror(errno));
    }
    return 0;
}

/* ---- watching -------------------------------------------------------------------------------------------------- */

static void let_leave(struct demo *d)
{
    if (d->leave >= 0)
        close(d->leave);
    d->leave = -1;
}

/* Asks all that still run to end; those that do not are killed by and by. */
static void stop_children(struct demo *d)
{
    if (d->stop_ns)
        return;
    d->stop_ns = leati_clock_ns() + PATIENCE_NS;
    let_leave(d);
    for (int i = 0; i < CHILDREN; i++)
        if (d->children[i].pid)
            kill(d->children[i].pid, SIGTERM);
}

static void kill_children(struct demo *d)
{
    for (int i = 0; i < CHILDREN; i++)
        if (d->children[i].pid)
            kill(d->children[i].pid, SIGKILL);
}

static void child_ended(struct demo *d, struct child *child)
{
    close(child->report);
    child->report = -1;
    while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
    if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0 && child->reported.end)
        return;
    if (!d->stop_ns && WIFSIGNALED(child->status))
        leati_tool_fail("demo", "the %s was ended by signal %d", child->name, WTERMSIG(child->status));
    else if (!d->stop_ns)
        leati_tool_fail("demo", "the %s has failed", child->name);
    d->failed = true;
    stop_children(d);
}

static void info_ended(struct demo *d)
{
    int status;

    if (!d->info_pid || waitpid(d->info_pid, &status, WNOHANG) != d->info_pid)
        return;
    d->info_pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        d->failed = true;
    let_leave(d);
}

static void show_rates(struct demo *d)
{
    static const int shown[] = {SOURCE, SINK};
    int64_t now = leati_clock_ns();
    char done[LEATI_AMOUNT_TEXT], rate[LEATI_AMOUNT_TEXT];

    if (now < d->ask_ns)
        return;
    /* A terminal gets a line that is overwritten; a file one now and then. */
    d->ask_ns = now + (d->terminal ? 200 : 1000) * INT64_C(1000000);
    double seconds = (double)(now - d->start_ns) / 1e9;
    fputs(d->terminal ? "\r\033[K" : "", stderr);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const leati_reported *reported = &d->children[shown[i]].reported;
        fprintf(stderr, "%s%s %s, %s/s", i ? "   " : "", d->children[shown[i]].name,
                leati_amount_text(reported->bytes, done),
                leati_amount_text((uint64_t)((double)reported->bytes / seconds), rate));
    }
    for (int i = WORKER; i < SINK; i++)
        fprintf(stderr, "   %s %" PRIu64, d->children[i].name, d->children[i].reported.messages);
    fputs(d->terminal ? "" : "\n", stderr);
    fflush(stderr);
}

static void watch(struct demo *d)
{
    for (;;) {
        struct pollfd fds[CHILDREN];
        int running = 0;
        for (int i = 0; i < CHILDREN; i++) {
            fds[i] = (struct pollfd){.fd = d->children[i].report, .events = POLLIN};
            running += d->children[i].report >= 0;
        }
        if (!running && !d->info_pid)
            return;
        poll(fds, CHILDREN, d->info_pid ? 10 : 100);
        if (leati_interrupted())
            stop_children(d);
        for (int i = 0; i < CHILDREN; i++)
            if (fds[i].revents && leati_reported_read(&d->children[i].reported, fds[i].fd) <= 0)
                child_ended(d, &d->children[i]);
        if (d->children[SOURCE].reported.half && !d->info_asked && start_info(d) < 0) {
            leati_tool_fail("demo", "%s", leat_error());
            d->failed = true;
            stop_children(d);
        }
        info_ended(d);
        if (!d->stop_ns)
            show_rates(d);
        else if (leati_clock_ns() > d->stop_ns)
            kill_children(d);
    }
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static void print_info(const struct demo *d)
{
    char buffer[4096];
    ssize_t n;

    printf("\nshmadm info, half way:\n\n");
    fflush(stdout);
    lseek(d->info, 0, SEEK_SET);
    while ((n = read(d->info, buffer, sizeof(buffer))) > 0)
        fwrite(buffer, 1, (size_t)n, stdout);
}

static int print_results(const struct demo *d, double seconds)
{
    const leati_reported *in = &d->children[SOURCE].reported, *out = &d->children[SINK].reported;
    char text[LEATI_AMOUNT_TEXT];
    bool equal = in->bytes == out->bytes && in->messages == out->messages && strcmp(in->sha256, out->sha256) == 0;

    printf("from   %s\n", in->text);
    printf("in     %" PRIu64 " bytes in %" PRIu64 " messages, SHA-256 %s\n", in->bytes, in->messages, in->sha256);
    printf("out    %" PRIu64 " bytes in %" PRIu64 " messages, SHA-256 %s\n", out->bytes, out->messages, out->sha256);
    for (int i = WORKER; i < SINK; i++)
        printf("%s%" PRIu64 " by %s", i == WORKER ? "check  " : ", ", d->children[i].reported.messages,
               d->children[i].name);
    printf("\ntime   %.2f s, %s/s\n", seconds,
           leati_amount_text(seconds > 0 ? (uint64_t)((double)out->bytes / seconds) : 0, text));
    print_info(d);
    printf("\n%s\n", equal ? "equal: what came out is what went in" : "DIFFERENT: what came out is not what went in");
    return equal ? 0 : LEATI_EXIT_FAILED;
}

int leati_demo_run(leati_tool *tool, int argc, char **argv)
{
    struct demo d = {.tool = tool, .size = MESSAGE_SIZE, .leave = -1, .terminal = isatty(STDERR_FILENO) == 1};
    static const char *const names[CHILDREN] = {"source", "worker 1", "worker 2", "sink"};
    int status = LEATI_EXIT_FAILED;

    leati_tool_parse(&argp, argc, argv, &d);
    if (!d.file && !d.limit)
        d.limit = LIMIT;
    for (int i = 0; i < CHILDREN; i++) {
        d.children[i].name = names[i];
        d.children[i].report = -1;
    }
    snprintf(d.session, sizeof(d.session), "demo-%d", (int)getpid());
    if (!taken(tool, "--config") && access(LEATI_DEMO_INI, R_OK) < 0)
        return leati_tool_fail("demo", "%s: %s; --config names another file", LEATI_DEMO_INI, strerror(errno));
    if (d.file && access(d.file, R_OK) < 0)
        return leati_tool_fail("demo", "%s: %s", d.file, strerror(errno));
    d.info = memfd_create("leat demo", MFD_CLOEXEC);
    if (d.info < 0)
        return leati_tool_fail("demo", "no memory file: %s", strerror(errno));

    /* A reader of our words that left early must not take the programs' parent with it. */
    signal(SIGPIPE, SIG_IGN);
    leati_interrupt_by_signal(NULL);
    d.start_ns = leati_clock_ns();
    d.ask_ns = d.start_ns + 200000000;
    if (start_children(&d) < 0) {
        leati_tool_fail("demo", "%s", leat_error());
        d.failed = true;
        stop_children(&d);
    }
    watch(&d);
    if (d.terminal)
        fputs("\r\033[K", stderr);
    if (leati_interrupted())
        leati_tool_fail("demo", "interrupted");
    else if (!d.failed)
        status = print_results(&d, (double)(leati_clock_ns() - d.start_ns) / 1e9);
    close(d.info);
    return status;
}
