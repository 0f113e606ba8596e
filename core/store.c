/* SPDX-License-Identifier: MIT
 *
 * store.c - a configuration as data: sections of entries of values. Small (some dozens of values), so everything is an
 * array that is searched from its beginning. Knows no key, no file format and no plugin.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return leat_fail(ENOMEM, "configuration: out of memory");
}

static char *copy_or_null(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;
    *failed |= text && !copy;
    return copy;
}

/* Makes room for one more element at the end of the array that `array` points at; returns it zeroed, or NULL. */
static void *grow(void *array, size_t n, size_t element_size)
{
    void *elements;
    memcpy(&elements, array, sizeof(elements)); /* whatever type of pointer it is */
    void *grown = reallocarray(elements, n + 1, element_size);
    if (!grown)
        return NULL;
    memcpy(array, &grown, sizeof(grown));
    return memset((char *)grown + n * element_size, 0, element_size);
}

static leati_section *find_section(const leat_config *cfg, const char *section)
{
    for (size_t i = 0; i < cfg->n_sections; i++)
        if (strcmp(cfg->sections[i].name, section) == 0)
            return &cfg->sections[i];
    return NULL;
}

static leati_entry *find_entry(const leati_section *section, const char *key)
{
    for (size_t i = 0; section && i < section->n_entries; i++)
        if (strcmp(section->entries[i].key, key) == 0)
            return &section->entries[i];
    return NULL;
}

const leati_section *leati_store_section(const leat_config *cfg, const char *section)
{
    return find_section(cfg, section);
}

const leati_entry *leati_store_entry(const leat_config *cfg, const char *section, const char *key)
{
    return find_entry(find_section(cfg, section), key);
}

size_t leati_store_in_force(const leati_entry *entry, const leati_value **ret_values)
{
    *ret_values = NULL;
    if (!entry || entry->n_values == 0)
        return 0;
    size_t first = entry->n_values - 1;
    while (first > 0 && entry->values[first - 1].origin == entry->values[first].origin)
        first--;
    *ret_values = &entry->values[first];
    return entry->n_values - first;
}

static int join(leati_entry *entry)
{
    const leati_value *values;
    size_t n = leati_store_in_force(entry, &values), size = 1;
    for (size_t i = 0; i < n; i++)
        size += strlen(values[i].text) + 2;
    char *joined = NULL;
    if (n > 0) {
        if (!(joined = malloc(size)))
            return no_memory();
        char *end = joined;
        for (size_t i = 0; i < n; i++)
            end = stpcpy(stpcpy(end, i ? ", " : ""), values[i].text);
    }
    free(entry->joined);
    entry->joined = joined;
    return 0;
}

static void free_value(leati_value *value)
{
    free(value->text);
    free(value->source);
}

static void free_section(leati_section *section)
{
    for (size_t i = 0; i < section->n_entries; i++) {
        leati_entry *entry = &section->entries[i];
        for (size_t j = 0; j < entry->n_values; j++)
            free_value(&entry->values[j]);
        free(entry->values);
        free(entry->joined);
        free(entry->key);
    }
    free(section->entries);
    free(section->source);
    free(section->name);
}

int leati_store_add_section(leat_config *cfg, const char *section, const char *source, int line)
{
    if (find_section(cfg, section))
        return 0;
    bool failed = false;
    leati_section made = {
        .name = copy_or_null(section, &failed), .source = copy_or_null(source, &failed), .line = line};
    leati_section *place = failed ? NULL : grow(&cfg->sections, cfg->n_sections, sizeof(made));
    if (!place) {
        free_section(&made);
        return no_memory();
    }
    *place = made;
    cfg->n_sections++;
    return 0;
}

/* The section's entry of a key, made if need be; NULL: no memory. */
static leati_entry *need_entry(leati_section *section, const char *key)
{
    leati_entry *entry = find_entry(section, key);
    if (entry)
        return entry;
    char *name = strdup(key);
    entry = name ? grow(&section->entries, section->n_entries, sizeof(*entry)) : NULL;
    if (!entry) {
        free(name);
        return NULL;
    }
    entry->key = name;
    section->n_entries++;
    return entry;
}

int leati_store_add(leat_config *cfg, const char *section, const char *key, const char *value, leati_origin origin,
                    const char *source, int line)
{
    int r = leati_store_add_section(cfg, section, source, line);
    if (r < 0)
        return r;
    leati_entry *entry = need_entry(find_section(cfg, section), key);
    if (!entry)
        return no_memory();
    bool failed = false;
    leati_value made = {copy_or_null(value, &failed), origin, copy_or_null(source, &failed), line};
    if (failed || !grow(&entry->values, entry->n_values, sizeof(made))) {
        free_value(&made);
        return no_memory();
    }
    size_t at = entry->n_values++;
    for (; at > 0 && entry->values[at - 1].origin > origin; at--)
        entry->values[at] = entry->values[at - 1];
    entry->values[at] = made;
    return join(entry);
}

void leati_store_drop(leat_config *cfg, const char *section, const char *key, leati_origin origin)
{
    leati_entry *entry = find_entry(find_section(cfg, section), key);
    if (!entry)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < entry->n_values; i++) {
        if (entry->values[i].origin == origin)
            free_value(&entry->values[i]);
        else
            entry->values[kept++] = entry->values[i];
    }
    entry->n_values = kept;
    /* Without memory for the shorter text the old one would be wrong: better none. */
    if (join(entry) < 0) {
        free(entry->joined);
        entry->joined = NULL;
    }
}

int leati_store_merge_file(leat_config *cfg, const leat_config *from)
{
    for (size_t i = 0; i < from->n_sections; i++) {
        const leati_section *section = &from->sections[i];
        int r = leati_store_add_section(cfg, section->name, section->source, section->line);
        for (size_t j = 0; r == 0 && j < section->n_entries; j++) {
            const leati_entry *entry = &section->entries[j];
            leati_store_drop(cfg, section->name, entry->key, LEATI_FROM_FILE);
            for (size_t k = 0; r == 0 && k < entry->n_values; k++)
                if (entry->values[k].origin == LEATI_FROM_FILE)
                    r = leati_store_add(cfg, section->name, entry->key, entry->values[k].text, LEATI_FROM_FILE,
                                        entry->values[k].source, entry->values[k].line);
        }
        if (r < 0)
            return r;
    }
    cfg->has_file = true;
    return 0;
}

void leati_store_swap(leat_config *a, leat_config *b)
{
    leat_config kept = *a;
    *a = *b;
    *b = kept;
}

const char *leati_place(const char *source, int line, char buffer[LEATI_PLACE_SIZE])
{
    if (!source)
        buffer[0] = '\0';
    else if (line > 0)
        snprintf(buffer, LEATI_PLACE_SIZE, "%.280s:%d: ", source, line);
    else
        snprintf(buffer, LEATI_PLACE_SIZE, "%.280s: ", source);
    return buffer;
}

int leati_config_copy(const leat_config *cfg, leat_config **ret_copy)
{
    leat_config *copy = calloc(1, sizeof(*copy));
    int r = copy ? 0 : no_memory();
    for (size_t i = 0; r == 0 && i < cfg->n_sections; i++) {
        const leati_section *section = &cfg->sections[i];
        r = leati_store_add_section(copy, section->name, section->source, section->line);
        for (size_t j = 0; r == 0 && j < section->n_entries; j++)
            for (size_t k = 0; r == 0 && k < section->entries[j].n_values; k++) {
                const leati_value *value = &section->entries[j].values[k];
                r = leati_store_add(copy, section->name, section->entries[j].key, value->text, value->origin,
                                    value->source, value->line);
            }
    }
    if (r < 0) {
        leat_config_free(copy);
        return r;
    }
    copy->has_file = cfg->has_file;
    *ret_copy = copy;
    return 0;
}

bool leati_config_has_section(const leat_config *cfg, const char *section)
{
    return find_section(cfg, section) != NULL;
}

int leati_config_sections(const leat_config *cfg, int (*fn)(const char *section, void *user), void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cfg->n_sections; i++)
        r = fn(cfg->sections[i].name, user);
    return r;
}

void leat_config_free(leat_config *cfg)
{
    if (!cfg)
        return;
    for (size_t i = 0; i < cfg->n_sections; i++)
        free_section(&cfg->sections[i]);
    free(cfg->sections);
    free(cfg);
}
