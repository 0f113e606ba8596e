/* SPDX-License-Identifier: MIT
 *
 * json.c - builds and prints JSON documents. The only file that includes <jansson.h>; without it (--without-jansson)
 * asking for a document fails with a sentence and nothing else changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

#ifdef HAVE_JANSSON

#include <jansson.h>

#define DEPTH_MAX 16

struct leati_json {
    json_t *open[DEPTH_MAX]; /* open[0] is the document; the others are borrowed from their parents */
    size_t depth;
    bool failed;
};

/* Adds `value` (taken over, also on failure) to the innermost object or array. */
static void add(leati_json *j, const char *key, json_t *value)
{
    json_t *parent = j->open[j->depth];

    if (key ? json_object_set_new(parent, key, value) : json_array_append_new(parent, value))
        j->failed = true;
}

static void open_container(leati_json *j, const char *key, json_t *value)
{
    if (j->depth + 1 == DEPTH_MAX) {
        json_decref(value);
        j->failed = true;
        return;
    }
    add(j, key, value);
    /* On failure `value` is gone: what is added below goes to a document that is never printed. */
    j->open[j->depth + 1] = j->failed ? j->open[j->depth] : value;
    j->depth++;
}

int leati_json_new(const char *schema, leati_json **ret_json)
{
    leati_json *j = calloc(1, sizeof(*j));

    if (!j || !(j->open[0] = json_object())) {
        free(j);
        return leat_fail(ENOMEM, "no memory for a JSON document");
    }
    leati_json_string(j, "schema", schema);
    *ret_json = j;
    return 0;
}

void leati_json_object(leati_json *j, const char *key)
{
    open_container(j, key, json_object());
}

void leati_json_array(leati_json *j, const char *key)
{
    open_container(j, key, json_array());
}

void leati_json_end(leati_json *j)
{
    if (j->depth > 0)
        j->depth--;
}

void leati_json_string(leati_json *j, const char *key, const char *value)
{
    json_t *string = value ? json_string(value) : json_null();

    if (!string) {
        /* Not UTF-8: names come from other programs. Keep what is plain ASCII. */
        char *plain = strdup(value);
        for (char *p = plain; p && *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
        string = plain ? json_string(plain) : NULL;
        free(plain);
    }
    add(j, key, string);
}

void leati_json_number(leati_json *j, const char *key, int64_t value)
{
    add(j, key, json_integer(value));
}

void leati_json_known(leati_json *j, const char *key, int64_t value)
{
    add(j, key, value < 0 ? json_null() : json_integer(value));
}

void leati_json_real(leati_json *j, const char *key, double value)
{
    add(j, key, json_real(value));
}

void leati_json_bool(leati_json *j, const char *key, bool value)
{
    add(j, key, json_boolean(value));
}

int leati_json_print(leati_json *j, FILE *out)
{
    if (j->failed)
        return leat_fail(ENOMEM, "no memory for a JSON document");
    if (json_dumpf(j->open[0], out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF)
        return leat_fail(EIO, "the JSON document could not be written");
    return 0;
}

void leati_json_free(leati_json *j)
{
    if (!j)
        return;
    json_decref(j->open[0]);
    free(j);
}

#else /* !HAVE_JANSSON */

int leati_json_new(const char *schema, leati_json **ret_json)
{
    (void)ret_json;
    return leat_fail(ENOTSUP,
                     "--json: %s cannot be written, since leat was built without jansson; configure it "
                     "--with-jansson",
                     schema);
}

void leati_json_object(leati_json *j, const char *key)
{
    (void)j, (void)key;
}
void leati_json_array(leati_json *j, const char *key)
{
    (void)j, (void)key;
}
void leati_json_end(leati_json *j)
{
    (void)j;
}
void leati_json_string(leati_json *j, const char *key, const char *value)
{
    (void)j, (void)key, (void)value;
}
void leati_json_number(leati_json *j, const char *key, int64_t value)
{
    (void)j, (void)key, (void)value;
}
void leati_json_known(leati_json *j, const char *key, int64_t value)
{
    (void)j, (void)key, (void)value;
}
void leati_json_real(leati_json *j, const char *key, double value)
{
    (void)j, (void)key, (void)value;
}
void leati_json_bool(leati_json *j, const char *key, bool value)
{
    (void)j, (void)key, (void)value;
}
int leati_json_print(leati_json *j, FILE *out)
{
    (void)j, (void)out;
    return -ENOTSUP;
}
void leati_json_free(leati_json *j)
{
    (void)j;
}

#endif
