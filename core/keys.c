/* SPDX-License-Identifier: MIT
 *
 * keys.c - values by their row of a key table: types, ranges, units, suggestions. Numbers are read by hand, digit by
 * digit, so that no locale changes what a file means. Knows neither files nor sections.
 */
#include "keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int refuse(char why[LEATI_WHY_SIZE], const char *format, ...) LEAT_PRINTF(2, 3);
static int refuse(char why[LEATI_WHY_SIZE], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, LEATI_WHY_SIZE, format, args);
    va_end(args);
    return -EINVAL;
}

typedef struct suffix {
    const char *text;
    int64_t multiply, divide;
} suffix;

static const suffix no_suffixes[] = {{NULL, 0, 0}};
static const suffix size_suffixes[] = {
    {"K", INT64_C(1) << 10, 1}, {"k", INT64_C(1) << 10, 1}, {"M", INT64_C(1) << 20, 1},
    {"G", INT64_C(1) << 30, 1}, {"T", INT64_C(1) << 40, 1}, {NULL, 0, 0},
};
static const suffix duration_suffixes[] = {
    {"us", 1, 1000}, {"ms", 1, 1}, {"s", 1000, 1}, {"min", 60000, 1}, {NULL, 0, 0},
};

/* Reads [-]digits[ suffix]. -EINVAL: something else; -ERANGE: more than 63 bits. */
static int read_number(const char *text, const suffix *suffixes, int64_t *ret_number)
{
    bool negative = *text == '-';
    text += negative;
    if (!is_digit(*text))
        return -EINVAL;
    int64_t number = 0;
    bool overflow = false;
    for (; is_digit(*text); text++) {
        overflow |= __builtin_mul_overflow(number, 10, &number);
        overflow |= __builtin_add_overflow(number, *text - '0', &number);
    }
    while (is_blank(*text))
        text++;
    if (*text) {
        while (suffixes->text && strcmp(suffixes->text, text) != 0)
            suffixes++;
        if (!suffixes->text)
            return -EINVAL;
        overflow |= __builtin_mul_overflow(number, suffixes->multiply, &number);
        /* Rounded up: a timeout must not become 0 because it was given in small units. */
        if (!overflow)
            number = number / suffixes->divide + (number % suffixes->divide != 0);
    }
    if (overflow)
        return -ERANGE;
    *ret_number = negative ? -number : number;
    return 0;
}

static bool has_range(const leat_key *key)
{
    return key->min || key->max;
}

static int read_in_range(const leat_key *key, const char *text, int64_t *ret_number, char why[LEATI_WHY_SIZE])
{
    static const char *const wanted[] = {
        [LEAT_KEY_INT] = "a whole number",
        [LEAT_KEY_SIZE] = "a size: a whole number with K, M, G or T after it, or nothing",
        [LEAT_KEY_DURATION] = "a duration: a whole number with us, ms, s or min after it, or nothing for ms",
    };
    const suffix *suffixes = key->type == LEAT_KEY_SIZE       ? size_suffixes
                             : key->type == LEAT_KEY_DURATION ? duration_suffixes
                                                              : no_suffixes;
    int64_t min = has_range(key) ? key->min : 0, max = has_range(key) ? key->max : INT64_MAX, number = 0;
    int r = 0;
    if (key->type == LEAT_KEY_DURATION && min == -1 && strcmp(text, "forever") == 0)
        number = -1;
    else
        r = read_number(text, suffixes, &number);
    if (r == -EINVAL)
        return refuse(why, "\"%.200s\" is not %s", text, wanted[key->type]);
    const char *unit = key->unit ? key->unit : "";
    const char *blank = key->unit ? " " : "";
    if (r == -ERANGE || number > max)
        return refuse(why, "%.200s is more than %" PRId64 "%s%s, the most that works", text, max, blank, unit);
    if (number < min)
        return refuse(why, "%.200s is less than %" PRId64 "%s%s, the least that works", text, min, blank, unit);
    *ret_number = number;
    return 0;
}

static int read_bool(const char *text, int64_t *ret_number, char why[LEATI_WHY_SIZE])
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], text) == 0) {
            *ret_number = i % 2;
            return 0;
        }
    return refuse(why, "\"%.200s\" is neither yes nor no", text);
}

static int read_choice(const leat_key *key, const char *text, int64_t *ret_number, char why[LEATI_WHY_SIZE])
{
    char words[256], listed[320] = "";
    leati_guess guess = {text, NULL, 0};
    int64_t position = 0;
    snprintf(words, sizeof(words), "%s", key->choices);
    char *rest = words;
    for (char *word; (word = strsep(&rest, "|")); position++) {
        if (strcmp(word, text) == 0) {
            *ret_number = position;
            return 0;
        }
        leati_guess_consider(&guess, word);
        size_t used = strlen(listed);
        snprintf(listed + used, sizeof(listed) - used, "%s%s", used ? ", " : "", word);
    }
    if (guess.best)
        return refuse(why, "\"%.200s\" is not one of %s; did you mean %s?", text, listed, guess.best);
    return refuse(why, "\"%.200s\" is not one of %s", text, listed);
}

int leati_key_parse(const leat_key *key, const char *text, int64_t *ret_number, char why[LEATI_WHY_SIZE])
{
    int64_t number = 0;
    int r = 0;
    if (!*text)
        return refuse(why, "has no value");
    switch (key->type) {
    case LEAT_KEY_STRING:
        break;
    case LEAT_KEY_BOOL:
        r = read_bool(text, &number, why);
        break;
    case LEAT_KEY_INT:
    case LEAT_KEY_SIZE:
    case LEAT_KEY_DURATION:
        r = read_in_range(key, text, &number, why);
        break;
    case LEAT_KEY_CHOICE:
        r = read_choice(key, text, &number, why);
        break;
    case LEAT_KEY_LIST: {
        const char *item;
        size_t length;
        for (const char *cursor = text; r == 0 && leati_list_next(&cursor, &item, &length);)
            if (length == 0)
                r = refuse(why, "\"%.200s\" has an empty entry", text);
        break;
    }
    }
    if (r == 0 && ret_number)
        *ret_number = number;
    return r;
}

const leat_key *leati_key_find(const leat_key *table, const char *name)
{
    for (; table && table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

int leati_key_table_check(const leat_key *table, char why[LEATI_WHY_SIZE])
{
    char reason[LEATI_WHY_SIZE];
    for (const leat_key *key = table; key && key->name; key++) {
        if (!leati_is_word(key->name, "_", false))
            return refuse(why, "its key \"%.64s\" has other characters than a-z, 0-9 and _", key->name);
        if ((unsigned)key->type > LEAT_KEY_LIST)
            return refuse(why, "its key %.64s has the unknown type %d", key->name, (int)key->type);
        if (!key->help || !*key->help)
            return refuse(why, "its key %.64s has no help", key->name);
        if (key->type == LEAT_KEY_CHOICE && (!key->choices || strlen(key->choices) > 255))
            return refuse(why, "its key %.64s is a choice without choices, or with more than 255 characters of them",
                          key->name);
        if (key->min > key->max)
            return refuse(why, "its key %.64s has a minimum above its maximum", key->name);
        if (leati_key_find(table, key->name) != key)
            return refuse(why, "its key %.64s is there twice", key->name);
        if (key->def && leati_key_parse(key, key->def, NULL, reason) < 0)
            return refuse(why, "the default of its key %.64s: %.400s", key->name, reason);
    }
    return 0;
}

bool leati_is_word(const char *text, const char *set, bool upper)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (!(*text >= 'a' && *text <= 'z') && !is_digit(*text) && !(upper && *text >= 'A' && *text <= 'Z') &&
            !strchr(set, *text))
            return false;
    return true;
}

bool leati_list_next(const char **cursor, const char **ret_item, size_t *ret_length)
{
    const char *start = *cursor;
    if (!start)
        return false;
    const char *end = strchrnul(start, ',');
    *cursor = *end ? end + 1 : NULL;
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    *ret_item = start;
    *ret_length = (size_t)(end - start);
    return true;
}

#define GUESS_LENGTH 48

/* How many insertions, deletions, replacements and swaps of neighbours lie between two words. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][GUESS_LENGTH + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = j;
    memcpy(before, above, sizeof(rows[0]));
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *recycled = before;
        before = above;
        above = row;
        row = recycled;
    }
    return above[b_length];
}

void leati_guess_consider(leati_guess *guess, const char *candidate)
{
    size_t length = strlen(guess->word), candidate_length = strlen(candidate);
    if (length == 0 || length > GUESS_LENGTH || candidate_length > GUESS_LENGTH)
        return;
    size_t distance = edit_distance(guess->word, length, candidate, candidate_length);
    /* A third of the word may be wrong; more is another word. */
    if (distance > (length + 2) / 3 || (guess->best && distance >= guess->distance))
        return;
    guess->best = candidate;
    guess->distance = distance;
}

void leati_guess_consider_table(leati_guess *guess, const leat_key *table)
{
    for (; table && table->name; table++)
        leati_guess_consider(guess, table->name);
}
