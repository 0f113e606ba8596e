/* SPDX-License-Identifier: MIT
 *
 * harness_test.c - proves that the harness sees what goes wrong: runs tests of harness_victim and reads their TAP.
 */
#include "leat_test.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char output[256 * 1024];

/* Runs the victim's test `name`; its TAP is in `output` afterwards. */
static void run_victim(const char *name)
{
    char command[1024];
    setenv("LEAT_TEST_SLOWNESS", "1", 1);
    snprintf(command, sizeof(command), "'%s/tests/support/harness_victim' '%s' 2>&1", leat_test_build_dir(), name);
    FILE *pipe = popen(command, "re");
    check(pipe);
    size_t size = fread(output, 1, sizeof(output) - 1, pipe);
    output[size] = '\0';
    pclose(pipe);
}

static void expect(const char *name, const char *verdict, const char *part)
{
    char line[256];
    run_victim(name);
    snprintf(line, sizeof(line), "1..1\n%s 1 - %s", verdict, name);
    check_contains(output, line);
    check_contains(output, part);
}

static void a_good_test_passes(void)
{
    expect("passes", "ok", "");
}

static void a_failed_assertion_is_a_failure(void)
{
    expect("wrong in cmocka", "not ok", "0x1 != 0x2");
}

static void a_failed_check_is_a_failure(void)
{
    expect("wrong in check", "not ok", "\"water\" is \"water\", not \"wine\"");
}

static void a_failed_check_in_a_thread_is_a_failure(void)
{
    expect("wrong in a thread", "not ok", "said in a thread: no");
}

static void a_failed_process_is_a_failure(void)
{
    expect("wrong in a process", "not ok", "exited with 3");
}

static void a_crash_is_a_failure(void)
{
    run_victim("crashes");
    check_contains(output, "not ok 1 - crashes");
    check(strstr(output, "SEGV") || strstr(output, "Segmentation fault"));
}

static void an_abort_is_a_failure(void)
{
    expect("aborts", "not ok", "signal 6");
}

static void a_hang_is_a_failure(void)
{
    expect("hangs", "not ok", "# hung: killed after 1 s");
}

static void a_skipped_test_gives_its_reason(void)
{
    expect("skips", "ok", "# SKIP there is no moon here");
}

static void names_left_in_dev_shm_are_a_failure(void)
{
    char pattern[128];
    glob_t found;
    expect("leaves names", "not ok", "1-0.posix-shm.peer\n");
    check_contains(output, "# left behind: /dev/shm/leat-");
    const char *session = strstr(output, "/test-");
    check(session);
    snprintf(pattern, sizeof(pattern), "/dev/shm/leat-*%.*s", (int)strcspn(session + 1, "/") + 1, session);
    check_int(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

static void a_system_v_segment_left_is_a_failure(void)
{
    run_victim("leaves sysv");
    if (strstr(output, "# SKIP"))
        leat_test_skip("System V memory cannot be made here");
    check_contains(output, "not ok 1 - leaves sysv");
    check_contains(output, "# left behind: System V segment");
}

static void a_process_left_running_is_a_failure(void)
{
    expect("leaves a process", "not ok", "# left running: process ");
}

static void leaked_memory_is_a_failure(void)
{
    run_victim("leaks memory");
    if (strstr(output, "# SKIP"))
        leat_test_skip("only the address sanitizer sees leaks");
    check_contains(output, "not ok 1 - leaks memory");
}

static void a_test_directory_is_removed(void)
{
    expect("has a tmpdir", "ok", "");
    glob_t found;
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "/tmp/leat-test-%d-*", (int)getppid());
    check_int(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

static void an_unknown_name_is_no_success(void)
{
    char command[1024];
    snprintf(command, sizeof(command), "'%s/tests/support/harness_victim' nothing 2>&1", leat_test_build_dir());
    FILE *pipe = popen(command, "re");
    check(pipe);
    check(fgets(output, sizeof(output), pipe));
    check(pclose(pipe) != 0);
    check_contains(output, "no test's name contains \"nothing\"");
}

static const leat_test tests[] = {
    {"a good test passes", a_good_test_passes},
    {"a failed assertion is a failure", a_failed_assertion_is_a_failure},
    {"a failed check is a failure", a_failed_check_is_a_failure},
    {"a failed check in a thread is a failure", a_failed_check_in_a_thread_is_a_failure},
    {"a failed process is a failure", a_failed_process_is_a_failure},
    {"a crash is a failure", a_crash_is_a_failure},
    {"an abort is a failure", an_abort_is_a_failure},
    {"a hang is a failure", a_hang_is_a_failure},
    {"a skipped test gives its reason", a_skipped_test_gives_its_reason},
    {"names left in /dev/shm are a failure", names_left_in_dev_shm_are_a_failure},
    {"a System V segment left is a failure", a_system_v_segment_left_is_a_failure},
    {"a process left running is a failure", a_process_left_running_is_a_failure},
    {"leaked memory is a failure", leaked_memory_is_a_failure},
    {"a test's own directory is removed", a_test_directory_is_removed},
    {"a name that no test has is no success", an_unknown_name_is_no_success},
    {NULL},
};
LEAT_TEST_MAIN(tests)
