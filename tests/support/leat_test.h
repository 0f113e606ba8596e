/* SPDX-License-Identifier: MIT
 *
 * leat_test.h - how a test of leat is written. Each test runs in a process of its own with a session of its own and a
 * time limit; afterwards the harness looks from outside whether anything is left in /dev/shm, among the System V ids,
 * or running, and fails the test if so. Knows nothing of channels or transports.
 *
 *     static void a_full_queue_holds_the_sender_back(void) { ... check_ok(leat_send(ch, &msg, 0)); ... }
 *
 *     static const leat_test tests[] = {
 *         {"a full queue holds the sender back", a_full_queue_holds_the_sender_back},
 *         {"a gigabyte passes", a_gigabyte_passes, .limit_s = 300},
 *         {NULL},
 *     };
 *     LEAT_TEST_MAIN(tests)
 *
 * The name is the sentence that the test proves. The program prints TAP; `-l` lists the names, any other argument runs
 * only the tests whose name contains it. cmocka's assert_... are for the test's own thread; the check... below work in
 * every thread and in forked processes, and know leat_error().
 */
#ifndef LEAT_TEST_H
#define LEAT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <leat/leat.h>
#include <sys/types.h>

typedef struct leat_test {
    const char *name; /* NULL ends the table */
    void (*run)(void);
    unsigned limit_s; /* 0: 60; multiplied by leat_test_slowness() */
} leat_test;

/* Runs the table; returns the exit status: 0 all passed or skipped, 1 some failed, 2 usage. */
int leat_test_main(const leat_test *tests, int argc, char **argv);

#define LEAT_TEST_MAIN(tests)                     \
    int main(int argc, char **argv)               \
    {                                             \
        return leat_test_main(tests, argc, argv); \
    }

/* ---- for the running test -------------------------------------------------------------------------------------- */

/* A configuration with the test's session and the build tree's plugins. Ends the test if it cannot be made. */
leat_config *leat_test_config(void);

const char *leat_test_session(void);
const char *leat_test_plugin_dir(void); /* $LEAT_TEST_PLUGIN_DIR, or the build tree's */
const char *leat_test_build_dir(void);
const char *leat_test_source_dir(void);

/* A directory of the test's own, removed afterwards with all that is in it. Not in /dev/shm. */
const char *leat_test_tmpdir(void);

/* How many times slower than usual things may be here: 1, or more under a sanitizer or valgrind. */
unsigned leat_test_slowness(void);

/* Ends the test as skipped, for a reason. */
_Noreturn void leat_test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test as failed; in any thread and process. */
_Noreturn void leat_test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs fn(arg) in a forked process, which exits with 0 when it returns. */
pid_t leat_test_fork(void (*fn)(void *arg), void *arg);
/* Waits for it and fails the test unless it exited with 0. */
void leat_test_join(pid_t pid);
/* Kills it with SIGKILL and waits for it. */
void leat_test_kill(pid_t pid);

/* ---- checks ---------------------------------------------------------------------------------------------------- */

/* `call` returned 0 or more; gives what it returned. */
#define check_ok(call) leat_test_check_ok(__FILE__, __LINE__, #call, (call))
/* `call` failed with this errno (a positive number). */
#define check_error(call, error) leat_test_check_error(__FILE__, __LINE__, #call, (call), error)
#define check(condition) ((condition) ? (void)0 : leat_test_fail(__FILE__, __LINE__, "not true: %s", #condition))
#define check_int(got, wanted) leat_test_check_int(__FILE__, __LINE__, #got, got, wanted)
#define check_string(got, wanted) leat_test_check_string(__FILE__, __LINE__, #got, got, wanted)
/* The string `text` contains `part`. */
#define check_contains(text, part) leat_test_check_contains(__FILE__, __LINE__, #text, text, part)
#define fail_test(...) leat_test_fail(__FILE__, __LINE__, __VA_ARGS__)

long long leat_test_check_ok(const char *file, int line, const char *call, long long got);
void leat_test_check_error(const char *file, int line, const char *call, long long got, int error);
void leat_test_check_int(const char *file, int line, const char *what, long long got, long long wanted);
void leat_test_check_string(const char *file, int line, const char *what, const char *got, const char *wanted);
void leat_test_check_contains(const char *file, int line, const char *what, const char *text, const char *part);

#endif
