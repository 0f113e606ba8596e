/* SPDX-License-Identifier: MIT
 *
 * command.h - what the commands of shmadm share: reading their options, tables, JSON, and a snapshot of what is on the
 * machine. A convenience library; a command itself is one file beside this one. Knows no transport and no shared memory:
 * all that commands know about the machine comes through leat/admin.h.
 */
#ifndef LEATI_COMMAND_H
#define LEATI_COMMAND_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <leat/admin.h>

#define LEATI_HIDDEN __attribute__((visibility("hidden")))

/* ---- options.c ------------------------------------------------------------------------------------------------- */

#define LEATI_GO_ON (-1)

/* Reads a command's arguments with argp, under the name "shmadm NAME", and never exits. LEATI_GO_ON, or the exit status
 * with which the command is to return: 0 after --help, 2 after a mistake that has been told. A parser that calls
 * argp_error() must return EINVAL afterwards. */
LEATI_HIDDEN int leati_command_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Says "shmadm NAME: " and leat_error() on standard error; returns the exit status 1. */
LEATI_HIDDEN int leati_command_fail(const char *name);

/* ---- items.c --------------------------------------------------------------------------------------------------- */

/* A snapshot of what a listing showed; the strings are its own. */
typedef struct leati_items {
    leat_item *items;
    size_t count;
    size_t capacity;
} leati_items;

LEATI_HIDDEN int leati_items_collect(leat_admin *admin, leati_items *ret_items);
LEATI_HIDDEN void leati_items_free(leati_items *items);

/* ---- memory.c -------------------------------------------------------------------------------------------------- */

/* The memory file system that holds the sessions; `path` lives as long as the environment. */
typedef struct leati_memory {
    const char *path;
    int64_t size; /* bytes */
    int64_t free; /* bytes that this user may still take */
} leati_memory;

LEATI_HIDDEN int leati_memory_read(leati_memory *ret_memory);

/* ---- table.c --------------------------------------------------------------------------------------------------- */

typedef struct leati_column {
    const char *title;
    bool right; /* aligned to the right: numbers */
} leati_column;

typedef struct leati_table leati_table;

/* `columns` must outlive the table. NULL: no memory. */
LEATI_HIDDEN leati_table *leati_table_new(const leati_column *columns, size_t n);
/* Adds the next cell, row by row. Bytes that a terminal might obey are shown as `?`. */
LEATI_HIDDEN void leati_table_cell(leati_table *t, const char *format, ...) LEAT_PRINTF(2, 3);
/* A number, or "-" for one that is not known (-1). */
LEATI_HIDDEN void leati_table_number(leati_table *t, int64_t number);
/* Bytes, as `1.5M` or in full. */
LEATI_HIDDEN void leati_table_size(leati_table *t, int64_t bytes, bool in_full);
LEATI_HIDDEN bool leati_table_empty(const leati_table *t);
/* -ENOMEM: a cell was lost. */
LEATI_HIDDEN int leati_table_print(const leati_table *t, FILE *out);
LEATI_HIDDEN void leati_table_free(leati_table *t);

/* "1.5M", "12K", "100": powers of 1024, at most one decimal, whatever the locale; "-" for -1. */
#define LEATI_SIZE_TEXT 24
LEATI_HIDDEN const char *leati_size_text(int64_t bytes, char text[LEATI_SIZE_TEXT]);

/* The name of a user, or the number where there is none, or "-" for -1. */
#define LEATI_USER_TEXT 40
LEATI_HIDDEN const char *leati_user_text(int64_t uid, char text[LEATI_USER_TEXT]);

/* ---- json.c ---------------------------------------------------------------------------------------------------- */

/* A JSON document under construction: an object that opens with {"schema": "NAME/VERSION"}. `key` is NULL inside an
 * array. A failure in between is remembered and reported by leati_json_print(). */
typedef struct leati_json leati_json;

/* -ENOTSUP: leat was built without jansson. */
LEATI_HIDDEN int leati_json_new(const char *schema, leati_json **ret_json);
LEATI_HIDDEN void leati_json_object(leati_json *j, const char *key);
LEATI_HIDDEN void leati_json_array(leati_json *j, const char *key);
LEATI_HIDDEN void leati_json_end(leati_json *j); /* of the innermost object or array */
LEATI_HIDDEN void leati_json_string(leati_json *j, const char *key, const char *value); /* NULL: null */
LEATI_HIDDEN void leati_json_number(leati_json *j, const char *key, int64_t value);
LEATI_HIDDEN void leati_json_known(leati_json *j, const char *key, int64_t value); /* -1: null */
LEATI_HIDDEN void leati_json_real(leati_json *j, const char *key, double value);
LEATI_HIDDEN void leati_json_bool(leati_json *j, const char *key, bool value);
/* Prints the document and a newline. */
LEATI_HIDDEN int leati_json_print(leati_json *j, FILE *out);
LEATI_HIDDEN void leati_json_free(leati_json *j);

#endif
