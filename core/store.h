/* SPDX-License-Identifier: MIT
 *
 * store.h - how a configuration is kept: sections of entries of values, each value with the origin and the place that
 * it came from. Shared by the files that fill a configuration (config.c, args.c) and those that read it (settings.c,
 * registry.c, check.c). Knows no key and no file format.
 */
#ifndef LEATI_STORE_H
#define LEATI_STORE_H

#include "internal.h"
#include "keys.h"

typedef struct leati_value {
    char *text;
    leati_origin origin;
    char *source; /* the file, the option, the variable; NULL: code */
    int line;     /* in the file; 0: none */
} leati_value;

typedef struct leati_entry {
    char *key;
    leati_value *values; /* by origin, then in the order in which they came */
    size_t n_values;
    char *joined; /* the values in force, with ", " between them; NULL: none */
} leati_entry;

typedef struct leati_section {
    char *name;
    char *source; /* where it was first seen, as in leati_value */
    int line;
    leati_entry *entries;
    size_t n_entries;
} leati_section;

struct leat_config {
    leati_section *sections;
    size_t n_sections;
    bool has_file; /* a file was loaded */
};

const leati_section *leati_store_section(const leat_config *cfg, const char *section);
const leati_entry *leati_store_entry(const leat_config *cfg, const char *section, const char *key);

/* The values that win: those of the greatest origin. *ret_values is NULL and the count 0 if there is none. */
size_t leati_store_in_force(const leati_entry *entry, const leati_value **ret_values);

/* Adds a section, if it is not there, and a value to what its origin has given for the key. -ENOMEM. */
int leati_store_add_section(leat_config *cfg, const char *section, const char *source, int line);
int leati_store_add(leat_config *cfg, const char *section, const char *key, const char *value, leati_origin origin,
                    const char *source, int line);

/* Forgets what an origin has given for a key. */
void leati_store_drop(leat_config *cfg, const char *section, const char *key, leati_origin origin);

/* Replaces, key by key, what files have given in `cfg` by what `from` holds. On failure `cfg` may hold a part of it. */
int leati_store_merge_file(leat_config *cfg, const leat_config *from);

/* Exchanges the contents of two configurations. */
void leati_store_swap(leat_config *a, leat_config *b);

/* "conf/x.ini:12: ", "--set: " or "": what stands before a sentence about the value. */
#define LEATI_PLACE_SIZE 320
const char *leati_place(const char *source, int line, char buffer[LEATI_PLACE_SIZE]);

/* ---- config.c: reading a file --------------------------------------------------------------------------------- */

/* Gets a mistake in the file; not 0 ends the reading and is returned. */
typedef int leati_mistake_fn(int line, const char *text, void *user);

/* Reads `path` into the empty `cfg`, and tells of each mistake that can be seen without loading a plugin. */
int leati_config_read(leat_config *cfg, const char *path, leati_mistake_fn *mistake, void *user);

/* Sets or adds a value from code or the command line, checked against its key. `source` as in leati_value. */
int leati_config_put(leat_config *cfg, const char *section, const char *key, const char *value, leati_origin origin,
                     const char *source, bool add);

/* ---- sections.c ------------------------------------------------------------------------------------------------ */

typedef enum leati_section_kind {
    LEATI_SECTION_PROCESS,   /* [leat] */
    LEATI_SECTION_TRANSPORT, /* [transport NAME] */
    LEATI_SECTION_CHANNEL,   /* [channel NAME] */
    LEATI_SECTION_COMMAND,   /* [command NAME] */
    LEATI_SECTION_UNKNOWN,
} leati_section_kind;

/* What a section is; *ret_name points at NAME in it, or at its end. */
leati_section_kind leati_section_split(const char *section, const char **ret_name);

/* Whether there may be such a section. -EINVAL, and the sentence is leat_fail()'s, with `place` in front. */
int leati_section_check(const char *section, const char *place);

/* The keys that the core itself knows of a kind of section, or NULL. */
const leat_key *leati_section_core_keys(leati_section_kind kind);

/* Finds the row of a key, asking plugins where the core has none. -EINVAL: nobody knows it; the sentence has `place` in
 * front. 1: it cannot be told, since the plugin whose section this is was not found. */
int leati_section_find_key(const leat_config *cfg, const char *section, const char *key, const char *place,
                           const leat_key **ret_key);

/* The row of a key that some transport found here has for its channels, or NULL; `guess` considers all of them. */
const leat_key *leati_section_foreign_channel_key(const leat_config *cfg, const char *key, leati_guess *guess);

/* Says that there is no such key, and what may have been meant. Returns -EINVAL. */
int leati_unknown_key(const char *place, const char *section, const char *key, const leati_guess *guess);

#endif
