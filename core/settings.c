/* SPDX-License-Identifier: MIT
 *
 * settings.c - one section of a configuration, checked against its key tables and turned into values. What leaves
 * here is right by type and range; nobody behind it parses a text again. Knows no file format.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct setting {
    const leat_key *row;
    bool given;
    int64_t number;
    char *text;   /* NULL: not set and without a default */
    char **items; /* of a list */
    size_t n_items;
} setting;

struct leat_settings {
    char *section;
    setting *settings;
    size_t n;
};

static int no_memory(const char *section)
{
    return leat_fail(ENOMEM, "[%s]: out of memory", section);
}

static const leat_key *find_row(const leat_key *const *tables, const char *key, leati_guess *guess)
{
    for (; *tables; tables++) {
        const leat_key *row = leati_key_find(*tables, key);
        if (row)
            return row;
        leati_guess_consider_table(guess, *tables);
    }
    return NULL;
}

/* Every key that is set must be in a table, or be another transport's: a channel keeps working when its transport is
 * changed, with the keys of the one before still there. */
static int check_keys(const leat_config *cfg, const leati_section *section, const leat_key *const *tables)
{
    const char *name;
    for (size_t i = 0; section && i < section->n_entries; i++) {
        const leati_entry *entry = &section->entries[i];
        const leati_value *values;
        leati_guess guess = {entry->key, NULL, 0};
        char place[LEATI_PLACE_SIZE];
        if (leati_store_in_force(entry, &values) == 0 || find_row(tables, entry->key, &guess))
            continue;
        leati_place(values[0].source, values[0].line, place);
        if (leati_section_split(section->name, &name) != LEATI_SECTION_CHANNEL ||
            !leati_section_foreign_channel_key(cfg, entry->key, &guess))
            return leati_unknown_key(place, section->name, entry->key, &guess);
        leat_logf(LEAT_LOG_DEBUG, "%s[%s] %s: has no meaning for the transport of this channel", place, section->name,
                  entry->key);
    }
    return 0;
}

static int split_list(setting *s, const char *section)
{
    const char *item;
    size_t length, n = 1;
    for (const char *c = s->text; *c; c++)
        n += *c == ',';
    if (!(s->items = calloc(n, sizeof(*s->items))))
        return no_memory(section);
    for (const char *cursor = s->text; leati_list_next(&cursor, &item, &length); s->n_items++)
        if (!(s->items[s->n_items] = strndup(item, length)))
            return no_memory(section);
    return 0;
}

static int fill(setting *s, const leat_key *row, const leat_config *cfg, const char *section)
{
    const leati_entry *entry = leati_store_entry(cfg, section, row->name);
    const leati_value *values;
    size_t n = leati_store_in_force(entry, &values);
    char why[LEATI_WHY_SIZE], place[LEATI_PLACE_SIZE];

    s->row = row;
    s->given = n > 0;
    if (n > 1 && row->type != LEAT_KEY_LIST && values[0].origin == LEATI_FROM_FILE)
        return leat_fail(EINVAL, "%s[%s] %s: is set already in line %d",
                         leati_place(values[1].source, values[1].line, place), section, row->name, values[0].line);
    for (size_t i = 0; i < n; i++)
        if (leati_key_parse(row, values[i].text, &s->number, why) < 0)
            return leat_fail(EINVAL, "%s[%s] %s: %s", leati_place(values[i].source, values[i].line, place), section,
                             row->name, why);
    const char *text = n == 0 ? row->def : row->type == LEAT_KEY_LIST ? entry->joined : values[n - 1].text;
    if (!text)
        return 0;
    if (n == 0 && leati_key_parse(row, text, &s->number, why) < 0)
        return leat_fail(EINVAL, "[%s] %s: its own default: %s", section, row->name, why);
    if (!(s->text = strdup(text)))
        return no_memory(section);
    return row->type == LEAT_KEY_LIST ? split_list(s, section) : 0;
}

int leati_settings_new(const leat_config *cfg, const char *section, const leat_key *const *tables,
                       leat_settings **ret_settings)
{
    int r = check_keys(cfg, leati_store_section(cfg, section), tables);
    if (r < 0)
        return r;
    size_t n = 0;
    for (const leat_key *const *table = tables; *table; table++)
        for (const leat_key *row = *table; row->name; row++)
            n++;
    leat_settings *s = calloc(1, sizeof(*s));
    if (!s)
        return no_memory(section);
    s->section = strdup(section);
    s->settings = calloc(n + 1, sizeof(*s->settings));
    if (!s->section || !s->settings) {
        r = no_memory(section);
        goto free_settings;
    }
    for (const leat_key *const *table = tables; *table; table++)
        for (const leat_key *row = *table; row->name; row++)
            if ((r = fill(&s->settings[s->n++], row, cfg, section)) < 0)
                goto free_settings;
    *ret_settings = s;
    return 0;

free_settings:
    leati_settings_free(s);
    return r;
}

void leati_settings_free(leat_settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = 0; j < s->settings[i].n_items; j++)
            free(s->settings[i].items[j]);
        free(s->settings[i].items);
        free(s->settings[i].text);
    }
    free(s->settings);
    free(s->section);
    free(s);
}

static _Noreturn void misused(const leat_settings *s, const char *key, const char *what)
{
    fprintf(stderr, "leat: a program asked for [%s] %s, %s\n", s->section, key, what);
    abort();
}

static const setting *get(const leat_settings *s, const char *key)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->settings[i].row->name, key) == 0)
            return &s->settings[i];
    misused(s, key, "which no table has");
}

const char *leat_setting(const leat_settings *s, const char *key)
{
    return get(s, key)->text;
}

int64_t leat_setting_int(const leat_settings *s, const char *key)
{
    const setting *found = get(s, key);
    if (found->row->type == LEAT_KEY_STRING || found->row->type == LEAT_KEY_LIST)
        misused(s, key, "which is no number, as one");
    return found->number;
}

size_t leat_setting_count(const leat_settings *s, const char *key)
{
    return get(s, key)->n_items;
}

const char *leat_setting_at(const leat_settings *s, const char *key, size_t i)
{
    const setting *found = get(s, key);
    if (i >= found->n_items)
        misused(s, key, "and for more entries than it has");
    return found->items[i];
}

bool leat_setting_given(const leat_settings *s, const char *key)
{
    return get(s, key)->given;
}
