/* SPDX-License-Identifier: MIT
 *
 * log_test.c - log lines, error texts, patterns, version and clock: the small services of the core.
 */
#include "internal.h"
#include "leat_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char last_line[300];
static leat_log_level last_level;
static int lines;

static void take_line(leat_log_level level, const char *line, void *user)
{
    check_string(user, "me");
    snprintf(last_line, sizeof(last_line), "%s", line);
    last_level = level;
    lines++;
}

static void the_log_goes_where_it_is_sent(void)
{
    static char me[] = "me";
    leat_log_to(take_line, me);
    leat_logf(LEAT_LOG_WARNING, "a %s line, %d", "long", 7);
    check_string(last_line, "a long line, 7");
    check_int(last_level, LEAT_LOG_WARNING);
    leat_logf(LEAT_LOG_NOTICE, "a name\nleat: error: forged\x1b[2J");
    check_string(last_line, "a name?leat: error: forged?[2J");
    leat_log_to(NULL, NULL);
}

static void the_level_says_what_is_logged(void)
{
    static char me[] = "me";
    leat_log_to(take_line, me);
    leat_logf(LEAT_LOG_INFO, "not this");
    check_int(lines, 0);
    leati_log_set_level(LEAT_LOG_DEBUG);
    leat_logf(LEAT_LOG_DEBUG, "this");
    check_int(lines, 1);
    leati_log_set_level(LEAT_LOG_ERROR);
    leat_logf(LEAT_LOG_WARNING, "not this");
    check_int(lines, 1);
}

static void lines_go_to_standard_error_by_default(void)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char got[100] = "";
    check(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    errno = EBADF;
    leat_logf(LEAT_LOG_WARNING, "watch out");
    check_int(errno, EBADF);
    check(read(ends[0], got, sizeof(got) - 1) > 0);
    check(dup2(saved, STDERR_FILENO) >= 0);
    check_string(got, "leat: warning: watch out\n");
}

static atomic_int in_use;

static void use_for_a_while(leat_log_level level, const char *line, void *user)
{
    (void)level, (void)line;
    check_int(atomic_load((atomic_int *)user), 1);
    usleep(100);
    check_int(atomic_load((atomic_int *)user), 1);
}

static void *log_much(void *user)
{
    for (int i = 0; i < 200; i++)
        leat_logf(LEAT_LOG_ERROR, "line %d", i);
    return user;
}

static void drop_line(leat_log_level level, const char *line, void *user)
{
    (void)level, (void)line, (void)user;
}

static void a_function_is_not_called_after_it_was_replaced(void)
{
    pthread_t threads[2];
    atomic_store(&in_use, 1);
    leat_log_to(use_for_a_while, &in_use);
    for (int i = 0; i < 2; i++)
        check_int(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    usleep(5000);
    leat_log_to(drop_line, NULL);
    atomic_store(&in_use, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void a_failure_gives_its_number_and_keeps_its_text(void)
{
    check_string(leat_error(), "");
    errno = EBADF;
    check_int(leat_fail(EINVAL, "channel %s is %d", "data", 7), -EINVAL);
    check_int(errno, EBADF);
    check_string(leat_error(), "channel data is 7");
    check_int(leat_fail(ENOENT, "%s, again", leat_error()), -ENOENT);
    check_string(leat_error(), "channel data is 7, again");
    char longer[3000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    leat_fail(EINVAL, "%s", longer);
    check_int((long long)strlen(leat_error()), 1023);
    check_string(leat_error() + 1020, "...");
}

static void *fail_elsewhere(void *user)
{
    check_string(leat_error(), "");
    leat_fail(EIO, "elsewhere");
    return user;
}

static void each_thread_has_its_own_error(void)
{
    pthread_t thread;
    leat_fail(EINVAL, "here");
    check_int(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    check_string(leat_error(), "here");
}

static void patterns_know_their_partners(void)
{
    for (int p = 0; p < LEAT_PATTERNS; p++) {
        leat_pattern pattern = (leat_pattern)p, partner = leat_pattern_partner(pattern);
        check(leat_pattern_partner(partner) == pattern);
        check(leat_pattern_sends(pattern) == leat_pattern_receives(partner));
        check(leat_pattern_sends(pattern) || leat_pattern_receives(pattern));
    }
    check_string(leat_pattern_name(LEAT_PULL), "pull");
    check(leat_pattern_sends(LEAT_PUSH) && !leat_pattern_receives(LEAT_PUSH));
    check(leat_pattern_sends(LEAT_PUB) && !leat_pattern_receives(LEAT_PUB));
    check(leat_pattern_sends(LEAT_REP) && leat_pattern_receives(LEAT_REP));
    check(leat_pattern_partner(LEAT_REQ) == LEAT_REP);
    check_string(leat_pattern_name(LEAT_PATTERNS), "unknown");
}

static void the_types_of_a_channel_are_the_patterns_in_their_order(void)
{
    char choices[100] = "";
    for (int p = 0; p < LEAT_PATTERNS; p++)
        strcat(strcat(choices, p ? "|" : ""), leat_pattern_name((leat_pattern)p));
    check_string(leati_channel_keys[0].name, "type");
    check_string(leati_channel_keys[0].choices, choices);
}

static void the_log_levels_are_the_choices_in_their_order(void)
{
    const leat_key *key = leati_process_keys;
    while (strcmp(key->name, "log_level") != 0)
        key++;
    check_string(key->choices, "error|warning|notice|info|debug");
    check_int(LEAT_LOG_DEBUG, 4);
}

static void the_version_is_the_headers(void)
{
    char version[30];
    snprintf(version, sizeof(version), "%d.%d.%d", LEAT_VERSION_MAJOR, LEAT_VERSION_MINOR, LEAT_VERSION_PATCH);
    check_string(leat_version(), version);
}

static void the_clock_goes_on_in_nanoseconds(void)
{
    int64_t before = leat_now_ns();
    usleep(2000);
    int64_t passed = leat_now_ns() - before;
    check(passed >= 2000000 && passed < INT64_C(60000000000));
}

static const leat_test tests[] = {
    {"the log goes where it is sent", the_log_goes_where_it_is_sent, 0},
    {"the level says what is logged", the_level_says_what_is_logged, 0},
    {"lines go to standard error by default", lines_go_to_standard_error_by_default, 0},
    {"a function is not called after it was replaced", a_function_is_not_called_after_it_was_replaced, 0},
    {"a failure gives its number and keeps its text", a_failure_gives_its_number_and_keeps_its_text, 0},
    {"each thread has its own error", each_thread_has_its_own_error, 0},
    {"patterns know their partners", patterns_know_their_partners, 0},
    {"the types of a channel are the patterns in their order", the_types_of_a_channel_are_the_patterns_in_their_order,
     0},
    {"the log levels are the choices in their order", the_log_levels_are_the_choices_in_their_order, 0},
    {"the version is the header's", the_version_is_the_headers, 0},
    {"the clock goes on in nanoseconds", the_clock_goes_on_in_nanoseconds, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
