/* SPDX-License-Identifier: MIT
 *
 * args.c - leat's own options in a program's command line. All are collected first and then applied to a copy of the
 * configuration, file first, so that their order does not matter and a failure changes nothing. Knows no key but those
 * that have an option of their own.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef enum option {
    OPTION_CONFIG,
    OPTION_SESSION,
    OPTION_PLUGIN_DIR,
    OPTION_CHANNEL,
    OPTION_SET,
    OPTION_TRANSPORT,
    OPTIONS
} option;

/* In the order in which they are applied: plugins must be found before keys are checked, and channels be known before
 * their transport is changed. */
static const char *const names[OPTIONS] = {
    [OPTION_CONFIG] = "--config",   [OPTION_SESSION] = "--session", [OPTION_PLUGIN_DIR] = "--plugin-dir",
    [OPTION_CHANNEL] = "--channel", [OPTION_SET] = "--set",         [OPTION_TRANSPORT] = "--transport",
};

typedef struct given {
    option option;
    const char *value;
} given;

/* ---- the options ------------------------------------------------------------------------------------------------ */

/* Takes the text up to the first `separator` as *ret_before; *ret_after points behind it. */
static int split(const char *text, const char *separator, char **ret_before, const char **ret_after)
{
    if (!separator || separator == text)
        return -EINVAL;
    *ret_before = strndup(text, (size_t)(separator - text));
    *ret_after = separator + 1;
    return *ret_before ? 0 : leat_fail(ENOMEM, "command line: out of memory");
}

static int apply_plugin_dir(leat_config *cfg, const char *value)
{
    /* Absolute from here on: the program may change its directory before it opens a channel. */
    char *absolute = realpath(value, NULL);
    int r =
        leati_config_put(cfg, "leat", "plugin_dir", absolute ? absolute : value, LEATI_FROM_ARGS, "--plugin-dir", true);
    free(absolute);
    return r;
}

/* SECTION.KEY=VALUE; the section may have dots in it, the key has none. */
static int apply_set(leat_config *cfg, const char *text)
{
    char *left = NULL;
    const char *value = NULL;
    int r = split(text, strchr(text, '='), &left, &value);
    char *dot = r == 0 ? strrchr(left, '.') : NULL;
    if (r == -EINVAL || (r == 0 && (!dot || dot == left || !dot[1])))
        r = leat_fail(EINVAL, "--set %s: write SECTION.KEY=VALUE, as in --set 'channel data.queue=64'", text);
    if (r == 0) {
        *dot = '\0';
        r = leati_config_put(cfg, left, dot + 1, value, LEATI_FROM_ARGS, "--set", false);
    }
    free(left);
    return r;
}

/* One key=value of a --channel option; `seen` holds those before it. */
static int apply_channel_part(leat_config *cfg, const char *section, char *part, leat_config *seen)
{
    char *value = strchr(part, '=');
    if (!value || value == part)
        return leat_fail(EINVAL, "--channel: [%s]: \"%s\" is not key=value", section, part);
    *value++ = '\0';
    const leat_key *row = leati_key_find(leati_channel_keys, part);
    bool again = leati_store_entry(seen, section, part) != NULL;
    if (again && row && row->type != LEAT_KEY_LIST)
        return leat_fail(EINVAL, "--channel: [%s] %s: is given twice", section, part);
    int r = leati_config_put(cfg, section, part, value, LEATI_FROM_ARGS, "--channel", again);
    return r < 0 ? r : leati_store_add(seen, section, part, value, LEATI_FROM_ARGS, NULL, 0);
}

/* name=C,key=value,... A key that is given again adds to its list. */
static int apply_channel(leat_config *cfg, const char *text)
{
    char *parts = strdup(text), *section = NULL, *rest = parts, *part = parts ? strsep(&rest, ",") : NULL;
    leat_config *seen = calloc(1, sizeof(*seen));
    int r = 0;
    if (!part || !seen)
        r = leat_fail(ENOMEM, "--channel: out of memory");
    else if (strncmp(part, "name=", 5) != 0)
        r = leat_fail(EINVAL, "--channel %s: must begin with name=", text);
    else if (asprintf(&section, "channel %s", part + 5) < 0)
        r = leat_fail(ENOMEM, "--channel: out of memory");
    if (r == 0)
        r = leati_section_check(section, "--channel: ");
    if (r == 0)
        r = leati_store_add_section(cfg, section, "--channel", 0);
    while (r == 0 && (part = strsep(&rest, ",")))
        r = apply_channel_part(cfg, section, part, seen);
    leat_config_free(seen);
    free(section);
    free(parts);
    return r;
}

/* ---- --transport ------------------------------------------------------------------------------------------------ */

/* Whether the channel's transport matters: for plain names it does, a URI names its own. Without an address the
 * channel is not finished yet, and whoever finishes it may give it one. */
static bool has_plain_address(const leat_config *cfg, const char *section)
{
    const leati_entry *entry = leati_store_entry(cfg, section, "address");
    const leati_value *values;
    const char *item, *cursor;
    size_t length, n = leati_store_in_force(entry, &values);
    for (size_t i = 0; i < n; i++)
        for (cursor = values[i].text; leati_list_next(&cursor, &item, &length);)
            if (!memmem(item, length, "://", 3))
                return true;
    return n == 0;
}

typedef struct transport_change {
    leat_config *cfg;
    const char *value;
    char **sections; /* that it changes */
    size_t n, n_channels;
} transport_change;

static int note_channel(const char *section, void *user)
{
    transport_change *change = user;
    const char *name;
    if (leati_section_split(section, &name) != LEATI_SECTION_CHANNEL)
        return 0;
    change->n_channels++;
    if (!has_plain_address(change->cfg, section))
        return 0;
    char **grown = reallocarray(change->sections, change->n + 1, sizeof(*grown));
    if (!grown)
        return leat_fail(ENOMEM, "--transport: out of memory");
    change->sections = grown;
    if (!(grown[change->n] = strdup(section)))
        return leat_fail(ENOMEM, "--transport: out of memory");
    change->n++;
    return 0;
}

static int apply_transport_to_all(leat_config *cfg, const char *value)
{
    transport_change change = {.cfg = cfg, .value = value};
    int r = leati_config_sections(cfg, note_channel, &change);
    if (r == 0 && change.n_channels == 0)
        r = leat_fail(EINVAL, "--transport %s: changes nothing: the configuration has no channel", value);
    else if (r == 0 && change.n == 0)
        r = leat_fail(EINVAL, "--transport %s: changes nothing: all addresses are URIs, which name their own transport",
                      value);
    for (size_t i = 0; r == 0 && i < change.n; i++)
        r = leati_config_put(cfg, change.sections[i], "transport", value, LEATI_FROM_ARGS, "--transport", false);
    for (size_t i = 0; i < change.n; i++)
        free(change.sections[i]);
    free(change.sections);
    return r;
}

static int unknown_channel(const leat_config *cfg, const char *text, const char *section)
{
    leati_guess guess = {section, NULL, 0};
    const char *name;
    for (size_t i = 0; i < cfg->n_sections; i++)
        if (leati_section_split(cfg->sections[i].name, &name) == LEATI_SECTION_CHANNEL)
            leati_guess_consider(&guess, cfg->sections[i].name);
    if (guess.best)
        return leat_fail(EINVAL, "--transport %s: there is no [%s]; did you mean [%s]?", text, section, guess.best);
    return leat_fail(EINVAL, "--transport %s: there is no [%s] in the configuration", text, section);
}

static int apply_transport_to_one(leat_config *cfg, const char *text)
{
    const char *value = strchr(text, '=') + 1;
    char *section;
    int r = 0;
    if (asprintf(&section, "channel %.*s", (int)(value - 1 - text), text) < 0)
        return leat_fail(ENOMEM, "--transport: out of memory");
    if (!leati_config_has_section(cfg, section))
        r = unknown_channel(cfg, text, section);
    else if (!has_plain_address(cfg, section))
        r = leat_fail(EINVAL,
                      "--transport %s: changes nothing: all addresses of [%s] are URIs, which name their own "
                      "transport",
                      text, section);
    if (r == 0)
        r = leati_config_put(cfg, section, "transport", value, LEATI_FROM_ARGS, "--transport", false);
    free(section);
    return r;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

static int apply(leat_config *cfg, const given *g)
{
    switch (g->option) {
    case OPTION_CONFIG:
        return leat_config_load(cfg, g->value);
    case OPTION_SESSION:
        return leati_config_put(cfg, "leat", "session", g->value, LEATI_FROM_ARGS, "--session", false);
    case OPTION_PLUGIN_DIR:
        return apply_plugin_dir(cfg, g->value);
    case OPTION_CHANNEL:
        return apply_channel(cfg, g->value);
    case OPTION_SET:
        return apply_set(cfg, g->value);
    case OPTION_TRANSPORT:
        return strchr(g->value, '=') ? apply_transport_to_one(cfg, g->value) : apply_transport_to_all(cfg, g->value);
    case OPTIONS:
        break;
    }
    return 0;
}

/* Whether `arg` is one of ours; *ret_value is what stands behind its =, or NULL. */
static bool recognise(const char *arg, option *ret_option, const char **ret_value)
{
    for (int i = 0; i < OPTIONS; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(arg, names[i], length) != 0 || (arg[length] && arg[length] != '='))
            continue;
        *ret_option = (option)i;
        *ret_value = arg[length] ? arg + length + 1 : NULL;
        return true;
    }
    return false;
}

/* Sorts a command line into leat's options and the rest, which keeps its order. */
static int collect(int argc, char **argv, given *ours, size_t *ret_ours, char **rest, int *ret_rest)
{
    size_t n = 0;
    int kept = 0, i = 0;
    for (; i < argc; i++) {
        given g;
        if (i > 0 && strcmp(argv[i], "--") == 0)
            break;
        if (i == 0 || !recognise(argv[i], &g.option, &g.value)) {
            rest[kept++] = argv[i];
            continue;
        }
        if (!g.value && i + 1 < argc)
            g.value = argv[++i];
        if (!g.value || !*g.value)
            return leat_fail(EINVAL, "%s needs a value", names[g.option]);
        ours[n++] = g;
    }
    /* The -- stays, for the program's own parser. */
    while (i < argc)
        rest[kept++] = argv[i++];
    *ret_ours = n;
    *ret_rest = kept;
    return 0;
}

int leat_config_args(leat_config *cfg, int *argc, char **argv)
{
    size_t n_ours = 0, room = (size_t)*argc + 1;
    int n_rest = 0, r;
    bool has_config = false;
    leat_config *changed = NULL;
    given *ours = calloc(room, sizeof(*ours));
    char **rest = calloc(room, sizeof(*rest));
    if (!ours || !rest) {
        r = leat_fail(ENOMEM, "command line: out of memory");
        goto free_lists;
    }
    if ((r = collect(*argc, argv, ours, &n_ours, rest, &n_rest)) < 0)
        goto free_lists;
    if ((r = leati_config_copy(cfg, &changed)) < 0)
        goto free_lists;
    for (size_t i = 0; i < n_ours; i++)
        has_config |= ours[i].option == OPTION_CONFIG;
    if (!has_config && (r = leati_config_load_default(changed)) < 0)
        goto free_changed;
    for (int kind = 0; kind < OPTIONS; kind++)
        for (size_t i = 0; i < n_ours; i++)
            if ((int)ours[i].option == kind && (r = apply(changed, &ours[i])) < 0)
                goto free_changed;
    leati_store_swap(cfg, changed);
    memcpy(argv, rest, (size_t)n_rest * sizeof(*argv));
    argv[n_rest] = NULL;
    *argc = n_rest;
    r = 0;

free_changed:
    leat_config_free(changed);
free_lists:
    free(rest);
    free(ours);
    return r;
}
