/* SPDX-License-Identifier: MIT
 *
 * harness_victim.c - tests that go wrong, each in its own way; harness_test.c runs them and looks at the verdicts.
 * Never part of `make check` by itself.
 */
#include "leat_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static void passes(void)
{
    assert_true(1);
    check_int(6 * 7, 42);
}

static void fails_in_cmocka(void)
{
    assert_int_equal(1, 2);
}

static void fails_in_check(void)
{
    check_string("water", "wine");
}

static void *fail_in_thread(void *arg)
{
    fail_test("said in a thread: %s", (const char *)arg);
    return NULL;
}

static void fails_in_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, fail_in_thread, (void *)"no");
    pthread_join(thread, NULL);
}

static void fail_in_process(void *arg)
{
    (void)arg;
    _exit(3);
}

static void fails_in_process(void)
{
    leat_test_join(leat_test_fork(fail_in_process, NULL));
}

static void crashes(void)
{
    raise(SIGSEGV);
}

static void aborts(void)
{
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
}

static void hangs(void)
{
    for (;;)
        pause();
}

static void skips(void)
{
    leat_test_skip("there is no %s here", "moon");
}

/* A directory of the session with a file in it, as a transport would leave them. */
static void leaves_names(void)
{
    char path[256];
    snprintf(path, sizeof(path), "/dev/shm/leat-%u", (unsigned)getuid());
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "/dev/shm/leat-%u/%s", (unsigned)getuid(), leat_test_session());
    check(mkdir(path, 0700) == 0);
    strcat(path, "/1-0.posix-shm.peer");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    check(fd >= 0);
    close(fd);
}

static void leaves_sysv(void)
{
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    if (id < 0)
        leat_test_skip("System V memory cannot be made here");
}

static void sleep_long(void *arg)
{
    (void)arg;
    setsid();
    pause();
}

static void leaves_process(void)
{
    leat_test_fork(sleep_long, NULL);
}

static void leaks_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    leat_test_skip("only the address sanitizer sees leaks");
#else
    void *volatile *lost = malloc(sizeof(*lost));
    *lost = malloc(100);
    *lost = NULL;
    free((void *)lost);
#endif
}

static void uses_tmpdir(void)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/file", leat_test_tmpdir());
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    check(fd >= 0);
    close(fd);
    printf("tmpdir %s\n", leat_test_tmpdir());
}

static const leat_test tests[] = {
    {"passes", passes},
    {"wrong in cmocka", fails_in_cmocka},
    {"wrong in check", fails_in_check},
    {"wrong in a thread", fails_in_thread},
    {"wrong in a process", fails_in_process},
    {"crashes", crashes},
    {"aborts", aborts},
    {"hangs", hangs, .limit_s = 1},
    {"skips", skips},
    {"leaves names", leaves_names},
    {"leaves sysv", leaves_sysv},
    {"leaves a process", leaves_process},
    {"leaks memory", leaks_memory},
    {"has a tmpdir", uses_tmpdir},
    {NULL},
};
LEAT_TEST_MAIN(tests)
