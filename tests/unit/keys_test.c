/* SPDX-License-Identifier: MIT
 *
 * keys_test.c - values by their row: types, ranges, suffixes, guesses; and that the core's own tables keep the rules.
 */
#include "internal.h"
#include "keys.h"
#include "leat_test.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <string.h>

static char why[LEATI_WHY_SIZE];

static int64_t parsed(const leat_key *key, const char *text)
{
    int64_t number = -77;
    if (leati_key_parse(key, text, &number, why) < 0)
        fail_test("\"%s\" was refused: %s", text, why);
    return number;
}

static void refused(const leat_key *key, const char *text, const char *sentence)
{
    int64_t number = -77;
    check_int(leati_key_parse(key, text, &number, why), -EINVAL);
    check_int(number, -77);
    check_contains(why, sentence);
}

static void whole_numbers_are_read_and_nothing_else(void)
{
    const leat_key any = {.name = "n", .type = LEAT_KEY_INT};
    check_int(parsed(&any, "0"), 0);
    check_int(parsed(&any, "007"), 7);
    check_int(parsed(&any, "9223372036854775807"), INT64_MAX);
    refused(&any, "9223372036854775808", "is more than");
    refused(&any, "99999999999999999999999999", "is more than");
    refused(&any, "ten", "\"ten\" is not a whole number");
    refused(&any, "1.5", "is not a whole number");
    refused(&any, "1,000", "is not a whole number");
    refused(&any, "1K", "is not a whole number");
    refused(&any, "+1", "is not a whole number");
    refused(&any, "-", "is not a whole number");
    refused(&any, "0x10", "is not a whole number");
    refused(&any, "-1", "-1 is less than 0, the least");
    refused(&any, "", "has no value");
}

static void ranges_name_their_limit_and_unit(void)
{
    const leat_key slots = {.name = "queue", .type = LEAT_KEY_INT, .unit = "slots", .min = 4, .max = 1024};
    check_int(parsed(&slots, "4"), 4);
    check_int(parsed(&slots, "1024"), 1024);
    refused(&slots, "3", "3 is less than 4 slots");
    refused(&slots, "1025", "1025 is more than 1024 slots");
}

static void sizes_count_in_powers_of_1024(void)
{
    const leat_key size = {.name = "heap", .type = LEAT_KEY_SIZE};
    check_int(parsed(&size, "17"), 17);
    check_int(parsed(&size, "1K"), 1024);
    check_int(parsed(&size, "1 k"), 1024);
    check_int(parsed(&size, "3M"), 3 << 20);
    check_int(parsed(&size, "1G"), 1 << 30);
    check_int(parsed(&size, "2T"), INT64_C(2) << 40);
    refused(&size, "8388608T", "is more than");
    refused(&size, "1GB", "is not a size");
    refused(&size, "1KM", "is not a size");
    refused(&size, "1m", "is not a size");
}

static void durations_are_milliseconds_and_round_up(void)
{
    const leat_key plain = {.name = "d", .type = LEAT_KEY_DURATION};
    const leat_key endless = {.name = "d", .type = LEAT_KEY_DURATION, .min = -1, .max = INT_MAX};
    check_int(parsed(&plain, "5"), 5);
    check_int(parsed(&plain, "5ms"), 5);
    check_int(parsed(&plain, "1us"), 1);
    check_int(parsed(&plain, "1000us"), 1);
    check_int(parsed(&plain, "1001us"), 2);
    check_int(parsed(&plain, "0us"), 0);
    check_int(parsed(&plain, "2 s"), 2000);
    check_int(parsed(&plain, "3min"), 180000);
    check_int(parsed(&endless, "-1"), -1);
    check_int(parsed(&endless, "forever"), -1);
    refused(&endless, "-2", "-2 is less than -1");
    refused(&plain, "forever", "is not a duration");
    refused(&plain, "-1", "is less than 0");
    refused(&plain, "5 h", "is not a duration");
}

static void truth_has_eight_words(void)
{
    const leat_key truth = {.name = "b", .type = LEAT_KEY_BOOL};
    for (const char *const *word = (const char *const[]){"yes", "on", "true", "1", NULL}; *word; word++)
        check_int(parsed(&truth, *word), 1);
    for (const char *const *word = (const char *const[]){"no", "off", "false", "0", NULL}; *word; word++)
        check_int(parsed(&truth, *word), 0);
    refused(&truth, "maybe", "\"maybe\" is neither yes nor no");
}

static void a_choice_lists_its_words_and_guesses(void)
{
    const leat_key wait = {.name = "wait", .type = LEAT_KEY_CHOICE, .choices = "adaptive|sleep|poll"};
    check_int(parsed(&wait, "adaptive"), 0);
    check_int(parsed(&wait, "poll"), 2);
    refused(&wait, "adaptve", "\"adaptve\" is not one of adaptive, sleep, poll; did you mean adaptive?");
    refused(&wait, "never", "\"never\" is not one of adaptive, sleep, poll");
    check(!strstr(why, "did you mean"));
    refused(&wait, "adaptive|sleep", "is not one of");
}

static void a_list_may_not_have_empty_entries(void)
{
    const leat_key list = {.name = "address", .type = LEAT_KEY_LIST};
    parsed(&list, "a");
    parsed(&list, " a , tcp://*:5555 ");
    refused(&list, "a,,b", "has an empty entry");
    refused(&list, "a,", "has an empty entry");
}

static void a_locale_changes_no_number(void)
{
    const leat_key any = {.name = "n", .type = LEAT_KEY_INT};
    const leat_key size = {.name = "s", .type = LEAT_KEY_SIZE};
    setlocale(LC_ALL, "");
    check_int(parsed(&any, "1234567"), 1234567);
    refused(&size, "1.024K", "is not a size");
}

static const char *guess(const char *word, const char *const *candidates)
{
    leati_guess g = {word, NULL, 0};
    for (; *candidates; candidates++)
        leati_guess_consider(&g, *candidates);
    return g.best ? g.best : "";
}

static void a_guess_is_near_or_not_made(void)
{
    const char *const words[] = {"queue", "queue_bytes", "type", "method", "wait", NULL};
    check_string(guess("quueue", words), "queue");
    check_string(guess("eques", words), "");
    check_string(guess("tpye", words), "type");
    check_string(guess("rqe", (const char *const[]){"pub", "req", NULL}), "req");
    check_string(guess("metod", words), "method");
    check_string(guess("queue_byte", words), "queue_bytes");
    check_string(guess("zebra", words), "");
    check_string(guess("", words), "");
    char longer[200];
    memset(longer, 'q', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    check_string(guess(longer, words), "");
}

static void the_cores_own_tables_keep_the_rules(void)
{
    if (leati_key_table_check(leati_process_keys, why) < 0 || leati_key_table_check(leati_channel_keys, why) < 0)
        fail_test("%s", why);
}

static void a_bad_table_is_found(void)
{
    const leat_key no_help[] = {{.name = "a", .type = LEAT_KEY_INT}, {.name = NULL}};
    const leat_key twice[] = {{.name = "a", .help = "x"}, {.name = "a", .help = "x"}, {.name = NULL}};
    const leat_key name[] = {{.name = "a b", .help = "x"}, {.name = NULL}};
    const leat_key fallback[] = {{.name = "a", .type = LEAT_KEY_INT, .def = "b", .help = "x"}, {.name = NULL}};
    const leat_key choice[] = {{.name = "a", .type = LEAT_KEY_CHOICE, .help = "x"}, {.name = NULL}};
    check_int(leati_key_table_check(no_help, why), -EINVAL);
    check_contains(why, "has no help");
    check_int(leati_key_table_check(twice, why), -EINVAL);
    check_contains(why, "is there twice");
    check_int(leati_key_table_check(name, why), -EINVAL);
    check_contains(why, "other characters");
    check_int(leati_key_table_check(fallback, why), -EINVAL);
    check_contains(why, "the default of its key a: \"b\" is not a whole number");
    check_int(leati_key_table_check(choice, why), -EINVAL);
    check_contains(why, "without choices");
    check_int(leati_key_table_check(NULL, why), 0);
}

static const leat_test tests[] = {
    {"whole numbers are read and nothing else", whole_numbers_are_read_and_nothing_else, 0},
    {"ranges name their limit and unit", ranges_name_their_limit_and_unit, 0},
    {"sizes count in powers of 1024", sizes_count_in_powers_of_1024, 0},
    {"durations are milliseconds and round up", durations_are_milliseconds_and_round_up, 0},
    {"truth has eight words", truth_has_eight_words, 0},
    {"a choice lists its words and guesses", a_choice_lists_its_words_and_guesses, 0},
    {"a list may not have empty entries", a_list_may_not_have_empty_entries, 0},
    {"a locale changes no number", a_locale_changes_no_number, 0},
    {"a guess is near or not made", a_guess_is_near_or_not_made, 0},
    {"the core's own tables keep the rules", the_cores_own_tables_keep_the_rules, 0},
    {"a bad table is found", a_bad_table_is_found, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
