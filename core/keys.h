/* SPDX-License-Identifier: MIT
 *
 * keys.h - reading one value by its row of a key table, and guessing what a mistyped word was meant to be. Knows
 * neither files nor sections: whoever has those puts them before the sentence that comes from here.
 */
#ifndef LEATI_KEYS_H
#define LEATI_KEYS_H

#include <leat/plugin.h>

#define LEATI_WHY_SIZE 640

/* Checks `text` against `key`. *ret_number (may be NULL) is the value of a bool, int, size or duration, the position
 * of a choice, and 0 for texts. -EINVAL: `why` says what is wrong, as in: "ten" is not a whole number. */
int leati_key_parse(const leat_key *key, const char *text, int64_t *ret_number, char why[LEATI_WHY_SIZE]);

/* The row `name` of one table (NULL: an empty one), or NULL. */
const leat_key *leati_key_find(const leat_key *table, const char *name);

/* Checks a table itself: names, types, ranges, and that each default is a value that could stand in a file. -EINVAL
 * with the reason in `why`. */
int leati_key_table_check(const leat_key *table, char why[LEATI_WHY_SIZE]);

/* Whether `text` is one or more of the characters of `set` (plus letters, if `upper` is true also capitals, and
 * digits). */
bool leati_is_word(const char *text, const char *set, bool upper);

/* Steps through a comma-separated list: *ret_item and *ret_length are the next item without blanks around it. False:
 * there is none. *cursor starts as the text. */
bool leati_list_next(const char **cursor, const char **ret_item, size_t *ret_length);

/* The nearest of several words: begin with {word, NULL, 0}, consider each candidate, read `best`. It stays NULL if
 * nothing is near enough to be worth a question. */
typedef struct leati_guess {
    const char *word;
    const char *best;
    size_t distance;
} leati_guess;
void leati_guess_consider(leati_guess *guess, const char *candidate);
void leati_guess_consider_table(leati_guess *guess, const leat_key *table);

#endif
