/* SPDX-License-Identifier: MIT
 *
 * config.c - the configuration as applications see it: load, set, get. Checks what can be checked without loading a
 * plugin as soon as it is read. The data lie in store.c, the file format in ini.c, the command line in args.c.
 */
#include "store.h"

#include "ini_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FILE "/etc/leat/leat.ini"

int leat_config_new(leat_config **ret_cfg)
{
    leat_config *cfg = calloc(1, sizeof(*cfg));
    if (!cfg)
        return leat_fail(ENOMEM, "configuration: out of memory");
    const char *session = secure_getenv("LEAT_SESSION");
    int r = session ? leati_store_add(cfg, "leat", "session", session, LEATI_FROM_ENVIRONMENT, "$LEAT_SESSION", 0) : 0;
    if (r < 0) {
        leat_config_free(cfg);
        return r;
    }
    *ret_cfg = cfg;
    return 0;
}

/* ---- reading a file --------------------------------------------------------------------------------------------- */

typedef struct reading {
    leat_config *cfg;
    const char *path;
    leati_mistake_fn *mistake;
    void *user;
    bool unknown_section; /* its keys say nothing more */
} reading;

static int on_mistake(int line, const char *text, void *user)
{
    reading *r = user;
    return r->mistake(line, text, r->user);
}

static int on_section(const char *section, int line, void *user)
{
    reading *r = user;
    r->unknown_section = leati_section_check(section, "") < 0;
    if (r->unknown_section)
        return r->mistake(line, leat_error(), r->user);
    return leati_store_add_section(r->cfg, section, r->path, line);
}

static int mistake_in_value(reading *r, int line, const char *section, const char *key, const char *why)
{
    char text[LEATI_WHY_SIZE + 256];
    snprintf(text, sizeof(text), "[%s] %.100s: %s", section, key, why);
    return r->mistake(line, text, r->user);
}

static int on_value(const char *section, const char *key, const char *value, int line, void *user)
{
    reading *r = user;
    char why[LEATI_WHY_SIZE];
    const char *name;
    if (r->unknown_section)
        return 0;
    leati_section_kind kind = leati_section_split(section, &name);
    const leat_key *row = leati_key_find(leati_section_core_keys(kind), key);
    if (!row && kind == LEATI_SECTION_PROCESS) {
        leati_guess guess = {key, NULL, 0};
        leati_guess_consider_table(&guess, leati_process_keys);
        leati_unknown_key("", section, key, &guess);
        return r->mistake(line, leat_error(), r->user);
    }
    const leati_entry *before = leati_store_entry(r->cfg, section, key);
    if (row && row->type != LEAT_KEY_LIST && before) {
        snprintf(why, sizeof(why), "is set already in line %d", before->values[0].line);
        return mistake_in_value(r, line, section, key, why);
    }
    /* A value that is a mistake is kept all the same: whoever goes on to read wants to see that the key is there. */
    int result = leati_store_add(r->cfg, section, key, value, LEATI_FROM_FILE, r->path, line);
    if (result == 0 && row && leati_key_parse(row, value, NULL, why) < 0)
        result = mistake_in_value(r, line, section, key, why);
    return result;
}

int leati_config_read(leat_config *cfg, const char *path, leati_mistake_fn *mistake, void *user)
{
    static const leati_ini_events events = {on_section, on_value, on_mistake};
    reading r = {.cfg = cfg, .path = path, .mistake = mistake, .user = user};
    return leati_ini_read(path, &events, &r);
}

static int fail_at_mistake(int line, const char *text, void *user)
{
    return leat_fail(EINVAL, "%s:%d: %s", (const char *)user, line, text);
}

int leat_config_load(leat_config *cfg, const char *path)
{
    leat_config *read = calloc(1, sizeof(*read)), *merged = NULL;
    int r = read ? leati_config_read(read, path, fail_at_mistake, (void *)path)
                 : leat_fail(ENOMEM, "%s: out of memory", path);
    if (r == 0)
        r = leati_config_copy(cfg, &merged);
    if (r == 0)
        r = leati_store_merge_file(merged, read);
    if (r == 0)
        leati_store_swap(cfg, merged);
    leat_config_free(merged);
    leat_config_free(read);
    return r;
}

int leati_config_load_default(leat_config *cfg)
{
    const char *path = secure_getenv("LEAT_CONFIG");
    if (path && *path)
        return leat_config_load(cfg, path);
    /* The machine's file is for programs that bring none of their own. */
    if (cfg->has_file || access(DEFAULT_FILE, F_OK) < 0)
        return 0;
    return leat_config_load(cfg, DEFAULT_FILE);
}

/* ---- single values ---------------------------------------------------------------------------------------------- */

int leati_config_put(leat_config *cfg, const char *section, const char *key, const char *value, leati_origin origin,
                     const char *source, bool add)
{
    char place[LEATI_PLACE_SIZE], why[LEATI_WHY_SIZE];
    const leat_key *row;
    leati_place(source, 0, place);
    int r = leati_section_check(section, place);
    if (r == 0)
        r = leati_section_find_key(cfg, section, key, place, &row);
    if (r < 0)
        return r;
    /* 1: the plugin is not found now, and checks its keys when it is. */
    if (r == 0 && leati_key_parse(row, value, NULL, why) < 0)
        return leat_fail(EINVAL, "%s[%s] %s: %s", place, section, key, why);
    if (!add)
        leati_store_drop(cfg, section, key, origin);
    return leati_store_add(cfg, section, key, value, origin, source, 0);
}

int leat_config_set(leat_config *cfg, const char *section, const char *key, const char *value)
{
    if (section == NULL || key == NULL || value == NULL)
        return leat_fail(EINVAL, "leat_config_set: the %s is NULL",
                         section == NULL ? "section"
                         : key == NULL   ? "key"
                                         : "value");
    return leati_config_put(cfg, section, key, value, LEATI_FROM_CODE, NULL, false);
}

int leat_config_get(const leat_config *cfg, const char *section, const char *key, const char **ret_value)
{
    const leati_entry *entry = leati_store_entry(cfg, section, key);
    const leati_value *values;
    size_t n = leati_store_in_force(entry, &values);
    if (n == 1) {
        *ret_value = values[0].text;
        return 0;
    }
    const leat_key *row = NULL;
    int r = leati_section_find_key(cfg, section, key, "", &row);
    if (n > 1) {
        *ret_value = r == 0 && row->type != LEAT_KEY_LIST ? values[n - 1].text : entry->joined;
        return 0;
    }
    if (r == 0 && row->def) {
        *ret_value = row->def;
        return 0;
    }
    if (r < 0)
        return -ENOENT;
    return leat_fail(ENOENT, "[%s] %s: is not set and has no default", section, key);
}
