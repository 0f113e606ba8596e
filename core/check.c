/* SPDX-License-Identifier: MIT
 *
 * check.c - all mistakes of one INI file: what reading finds, and then what only the plugins know. Opens no channel and
 * changes nothing.
 */
#include "admin.h"
#include "store.h"

#include "loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct mistake {
    int line;
    char *text;
} mistake;

typedef struct checking {
    leat_config *file;   /* what the file says */
    leat_config *merged; /* with the administrator's plugin directories: where plugins are looked for */
    mistake *mistakes;
    size_t n;
} checking;

static int note(int line, const char *text, void *user)
{
    checking *c = user;
    mistake *grown = reallocarray(c->mistakes, c->n + 1, sizeof(*grown));
    if (!grown)
        return leat_fail(ENOMEM, "check: out of memory");
    c->mistakes = grown;
    if (!(grown[c->n].text = strdup(text)))
        return leat_fail(ENOMEM, "check: out of memory");
    grown[c->n++].line = line;
    return 0;
}

static int notef(checking *c, int line, const char *format, ...) LEAT_PRINTF(3, 4);
static int notef(checking *c, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return note(line, text, c);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* One key of a plugin's, whose row reading did not know. */
static int check_plugin_key(checking *c, const leati_section *section, const leati_entry *entry, const leat_key *row)
{
    char why[LEATI_WHY_SIZE];
    int r = 0;
    for (size_t i = 0; r == 0 && i < entry->n_values; i++) {
        const leati_value *value = &entry->values[i];
        if (i > 0 && row->type != LEAT_KEY_LIST)
            r = notef(c, value->line, "[%s] %s: is set already in line %d", section->name, entry->key,
                      entry->values[0].line);
        else if (leati_key_parse(row, value->text, NULL, why) < 0)
            r = notef(c, value->line, "[%s] %s: %s", section->name, entry->key, why);
    }
    return r;
}

static int check_plugin_keys(checking *c, const leati_section *section)
{
    const char *name;
    const leat_key *core_keys = leati_section_core_keys(leati_section_split(section->name, &name));
    int r = 0;
    for (size_t i = 0; r == 0 && i < section->n_entries; i++) {
        const leati_entry *entry = &section->entries[i];
        const leat_key *row;
        if (leati_key_find(core_keys, entry->key))
            continue;
        int found = leati_section_find_key(c->merged, section->name, entry->key, "", &row);
        if (found < 0)
            r = note(entry->values[0].line, leat_error(), c);
        else if (found == 0)
            r = check_plugin_key(c, section, entry, row);
    }
    return r;
}

/* ---- sections --------------------------------------------------------------------------------------------------- */

static int check_plugin_section(checking *c, const leati_section *section, leat_plugin_kind kind, const char *name)
{
    const leat_plugin *plugin;
    if (leati_registry_find(c->merged, kind, name, &plugin) < 0)
        return notef(c, section->line, "[%s]: %s", section->name, leat_error());
    if (strcmp(plugin->name, name) != 0)
        return notef(c, section->line, "[%s]: \"%s\" is another name of %s, and its section is [%s %s]", section->name,
                     name, plugin->name, leati_plugin_kind_name(kind), plugin->name);
    return check_plugin_keys(c, section);
}

/* A choice as it stands in the file, if it is a good one. */
static const char *good_choice(const leati_section *section, const checking *c, const char *key)
{
    char why[LEATI_WHY_SIZE];
    const leati_entry *entry = leati_store_entry(c->file, section->name, key);
    const leat_key *row = leati_key_find(leati_channel_keys, key);
    return entry && leati_key_parse(row, entry->values[0].text, NULL, why) == 0 ? entry->values[0].text : NULL;
}

/* What is wrong with one transport of a channel. */
static int check_carries(checking *c, const leati_section *section, int line, const leat_plugin *plugin)
{
    const char *type = good_choice(section, c, "type");
    for (int p = 0; type && p < LEAT_PATTERNS; p++)
        if (strcmp(leat_pattern_name((leat_pattern)p), type) == 0 && !(plugin->capabilities & LEAT_CAP_PATTERN(p)))
            return notef(c, line, "[%s] type: transport %s does not carry %s", section->name, plugin->name, type);
    return 0;
}

static int check_transport(checking *c, const leati_section *section, int line, const char *name)
{
    const leat_plugin *plugin;
    if (leati_registry_transport(c->merged, name, &plugin) < 0)
        return notef(c, line, "[%s] transport: %s", section->name, leat_error());
    return check_carries(c, section, line, plugin);
}

static int check_address(checking *c, const leati_section *section, int line, const char *address)
{
    const char *scheme_end = strstr(address, "://");
    const leat_plugin *plugin;
    char scheme[32];
    if (!scheme_end) {
        if (!leati_is_word(*address == '/' ? address + 1 : address, "._-", true))
            return notef(c, line, "[%s] address: \"%s\" is neither a URI nor a plain name (letters, digits and . _ -)",
                         section->name, address);
        return 0;
    }
    snprintf(scheme, sizeof(scheme), "%.*s", (int)(scheme_end - address), address);
    if (leati_registry_scheme(c->merged, scheme, &plugin) < 0)
        return notef(c, line, "[%s] address: %s", section->name, leat_error());
    return check_carries(c, section, line, plugin);
}

/* Calls `check` for each entry of a list. */
static int each_item(checking *c, const leati_section *section, const char *key,
                     int (*check)(checking *c, const leati_section *section, int line, const char *item))
{
    const leati_entry *entry = leati_store_entry(c->file, section->name, key);
    int r = 0;
    for (size_t i = 0; entry && i < entry->n_values; i++) {
        const char *item, *cursor = entry->values[i].text;
        size_t length;
        while (r == 0 && leati_list_next(&cursor, &item, &length)) {
            char *copy = strndup(item, length);
            if (!copy)
                return leat_fail(ENOMEM, "check: out of memory");
            if (length > 0) /* an empty entry was told of already */
                r = check(c, section, entry->values[i].line, copy);
            free(copy);
        }
    }
    return r;
}

static int check_channel(checking *c, const leati_section *section)
{
    static const char *const needed[] = {"type", "method", "address"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!leati_store_entry(c->file, section->name, needed[i])) {
            const leat_key *row = leati_key_find(leati_channel_keys, needed[i]);
            r = notef(c, section->line, "[%s] %s: is missing%s%s", section->name, needed[i],
                      row->choices ? "; one of " : "", row->choices ? row->choices : "");
        }
    if (r == 0)
        r = each_item(c, section, "address", check_address);
    if (r == 0)
        r = each_item(c, section, "transport", check_transport);
    return r < 0 ? r : check_plugin_keys(c, section);
}

static int check_section(const char *name, void *user)
{
    checking *c = user;
    const leati_section *section = leati_store_section(c->file, name);
    const char *rest;
    switch (leati_section_split(name, &rest)) {
    case LEATI_SECTION_CHANNEL:
        return check_channel(c, section);
    case LEATI_SECTION_TRANSPORT:
        return check_plugin_section(c, section, LEAT_TRANSPORT, rest);
    case LEATI_SECTION_COMMAND:
        return check_plugin_section(c, section, LEAT_COMMAND, rest);
    case LEATI_SECTION_PROCESS:
    case LEATI_SECTION_UNKNOWN:
        break;
    }
    return 0;
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static int by_line(const void *a, const void *b)
{
    const mistake *x = a, *y = b;
    return x->line != y->line ? (x->line > y->line) - (x->line < y->line) : strcmp(x->text, y->text);
}

int leat_admin_check(leat_admin *admin, const char *path, leat_mistake_fn *fn, void *user)
{
    checking c = {0};
    int r = leati_config_copy(admin->config, &c.merged);
    if (r == 0 && !(c.file = calloc(1, sizeof(*c.file))))
        r = leat_fail(ENOMEM, "check: out of memory");
    if (r == 0)
        r = leati_config_read(c.file, path, note, &c);
    if (r == 0)
        r = leati_store_merge_file(c.merged, c.file);
    if (r == 0)
        r = leati_config_sections(c.file, check_section, &c);
    if (r == 0 && c.n > 0)
        qsort(c.mistakes, c.n, sizeof(*c.mistakes), by_line);
    for (size_t i = 0; i < c.n; i++) {
        if (r == 0)
            r = fn(path, c.mistakes[i].line, c.mistakes[i].text, user);
        free(c.mistakes[i].text);
    }
    free(c.mistakes);
    leat_config_free(c.file);
    leat_config_free(c.merged);
    return r == 0 ? (int)c.n : r;
}
