/* SPDX-License-Identifier: MIT
 *
 * session_death_test.c - a session's files under death at every system call, and under races of starting, binding and
 * cleaning processes: nothing half made is ever seen, nothing stays, nothing alive is removed.
 */
#include "session_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tests: death and races ------------------------------------------------------------------------------------- */

static void a_whole_life(void)
{
    leati_address *a = NULL;
    leati_session *s = stage_join();

    check_ok(leati_session_note_segment(s, "seg_life"));
    stage_make_file(stage_below("seg_life"), "memory");
    check_ok(leati_address_take(s, "data", &a));
    stage_make_file(stage_below("leat-%u/s/%s", (unsigned)geteuid(), leati_address_socket(a)), "socket");
    leati_address_release(a);
    unlink(stage_below("seg_life"));
    leati_session_close(s);
}

/* Lets a child live until its n-th system call and kills it there. Returns whether it got that far. */
static bool kill_at(int n)
{
    int status, i;
    pid_t pid = fork();

    check(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        raise(SIGSTOP);
        a_whole_life();
        _exit(0);
    }
    for (i = 0; i <= n; i++) {
        check(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
            leat_test_skip("ptrace is not permitted here");
        if (!WIFSTOPPED(status)) {
            check(WIFEXITED(status));
            check_int(WEXITSTATUS(status), 0);
            return false;
        }
        if (i < n)
            check(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
    }
    kill(pid, SIGKILL);
    check(waitpid(pid, &status, 0) == pid);
    return true;
}

static void killed_at_any_system_call_nothing_stays(void)
{
    leati_session *s;
    uint64_t bytes;
    items list;
    size_t i;
    int n;

    stage_use_root();
    for (n = 1; kill_at(n); n++) {
        if (n % 2 == 0) {
            /* A survivor joins and leaves... */
            s = stage_join();
            leati_session_close(s);
        } else {
            /* ...or an administrator removes all that is proved dead. */
            stage_list_all(&list);
            for (i = 0; i < list.n; i++) {
                check_int(list.at[i].state, LEAT_DEAD);
                check_ok(stage_remove_item(&list, i, 0, &bytes));
            }
        }
        if (stage_count_below() != 0)
            fail_test("killed at system call %d: %d entries stay, e.g. %s", n / 2, stage_entries, stage_first_entry);
    }
    check(n > 60);
    stage_check_nothing_left();
}

static atomic_bool *race_over;

static void reaper_run(void *arg)
{
    items list;
    uint64_t bytes;
    size_t i;
    int r;

    (void)arg;
    while (!atomic_load(race_over)) {
        stage_list_all(&list);
        for (i = 0; i < list.n; i++) {
            if (list.at[i].state != LEAT_DEAD)
                continue;
            r = stage_remove_item(&list, i, 0, &bytes);
            if (r < 0 && r != -ESTALE && r != -EBUSY)
                check_ok(r);
        }
    }
}

static void starting_and_cleaning_race_2000_times(void)
{
    leati_address *a;
    leati_session *s;
    char path[512], segment[32];
    pid_t reaper;
    int i;

    stage_use_root();
    race_over = mmap(NULL, sizeof(*race_over), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(race_over != MAP_FAILED);
    reaper = leat_test_fork(reaper_run, NULL);
    for (i = 0; i < 2000; i++) {
        s = stage_join();
        snprintf(path, sizeof(path), "%s/%s", leati_session_path(s), leati_session_peer(s));
        snprintf(segment, sizeof(segment), "seg_race_%d", i);
        check_ok(leati_session_note_segment(s, segment));
        stage_make_file(stage_below("%s", segment), "");
        check_ok(leati_address_take(s, "data", &a));
        stage_make_file(stage_below("leat-%u/s/data.mem.sock", (unsigned)geteuid()), "");
        /* Whoever lives keeps what it has. */
        check(stage_exists(path));
        check(stage_exists(stage_below("%s", segment)));
        check(stage_exists(stage_below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
        check(stage_exists(stage_below("leat-%u/s/data.mem.lock", (unsigned)geteuid())));
        if (i % 4 == 0) {
            leati_address_release(a);
            leati_session_leave(s);
            leati_session_close(s); /* leaves its peer file for the reaper */
            continue;
        }
        leati_address_release(a);
        check(unlink(stage_below("%s", segment)) == 0);
        leati_session_close(s);
    }
    atomic_store(race_over, true);
    leat_test_join(reaper);
    s = stage_join();
    leati_session_close(s);
    stage_check_nothing_left();
}

static void binder_run(void *arg)
{
    leati_session *s = stage_join();
    char path[512];
    int i, r, *taken = arg;

    for (i = 0; i < 1000; i++) {
        leati_address *a = NULL;
        int fd;

        r = leati_address_take(s, "data", &a);
        if (r == -EADDRINUSE)
            continue;
        check_ok(r);
        /* Nobody else is in here: the file is made anew each time. */
        snprintf(path, sizeof(path), "%s/%s", leati_session_path(s), leati_address_socket(a));
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        check(fd >= 0);
        close(fd);
        check(stage_exists(path));
        (*taken)++;
        leati_address_release(a);
    }
    leati_session_close(s);
}

static void two_binders_never_both_have_an_address(void)
{
    int *taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[3];
    int i;

    stage_use_root();
    check(taken != MAP_FAILED);
    for (i = 0; i < 3; i++)
        pids[i] = leat_test_fork(binder_run, &taken[i]);
    for (i = 0; i < 3; i++)
        leat_test_join(pids[i]);
    check(taken[0] + taken[1] + taken[2] >= 1000);
    stage_check_nothing_left();
}

static const leat_test tests[] = {
    {.name = "killed at any system call nothing stays", .run = killed_at_any_system_call_nothing_stays},
    {.name = "starting and cleaning race 2000 times", .run = starting_and_cleaning_race_2000_times},
    {.name = "two binders never both have an address", .run = two_binders_never_both_have_an_address},
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
