/* SPDX-License-Identifier: MIT
 *
 * sections.c - which sections a configuration may have, and which tables hold their keys: the core's own, and those
 * that plugins bring. The only place where configuration and registry meet.
 */
#include "store.h"

#include "loader.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *word;
    bool named;
    const char *name_characters;
    bool upper;
    const leat_key *keys;
} kinds[] = {
    [LEATI_SECTION_PROCESS] = {"leat", false, NULL, false, leati_process_keys},
    [LEATI_SECTION_TRANSPORT] = {"transport", true, "-", false, NULL},
    [LEATI_SECTION_CHANNEL] = {"channel", true, "._-", true, leati_channel_keys},
    [LEATI_SECTION_COMMAND] = {"command", true, "-", false, NULL},
};

leati_section_kind leati_section_split(const char *section, const char **ret_name)
{
    size_t length = strcspn(section, " ");
    *ret_name = section[length] ? section + length + 1 : section + length;
    for (int i = 0; i < LEATI_SECTION_UNKNOWN; i++)
        if (strlen(kinds[i].word) == length && strncmp(kinds[i].word, section, length) == 0)
            return (leati_section_kind)i;
    return LEATI_SECTION_UNKNOWN;
}

int leati_section_check(const char *section, const char *place)
{
    const char *name;
    leati_section_kind kind = leati_section_split(section, &name);
    if (kind == LEATI_SECTION_UNKNOWN) {
        char word[32];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(section, " "), section);
        leati_guess guess = {word, NULL, 0};
        for (int i = 0; i < LEATI_SECTION_UNKNOWN; i++)
            leati_guess_consider(&guess, kinds[i].word);
        if (guess.best)
            return leat_fail(EINVAL, "%s[%s]: there is no such section; did you mean [%s%s%s]?", place, section,
                             guess.best, *name ? " " : "", name);
        return leat_fail(EINVAL,
                         "%s[%s]: there is no such section; there are [leat], [transport NAME], [channel NAME] "
                         "and [command NAME]",
                         place, section);
    }
    if (!kinds[kind].named && *name)
        return leat_fail(EINVAL, "%s[%s]: this section has no name; write [%s]", place, section, kinds[kind].word);
    if (kinds[kind].named && !*name)
        return leat_fail(EINVAL, "%s[%s]: the name is missing; write [%s NAME]", place, section, kinds[kind].word);
    if (kinds[kind].named && !leati_is_word(name, kinds[kind].name_characters, kinds[kind].upper))
        return leat_fail(EINVAL, "%s[%s]: the name of a %s may have %s, digits and %s only", place, section,
                         kinds[kind].word, kinds[kind].upper ? "letters" : "small letters",
                         kinds[kind].upper ? "the characters . _ -" : "the character -");
    return 0;
}

const leat_key *leati_section_core_keys(leati_section_kind kind)
{
    return kind == LEATI_SECTION_UNKNOWN ? NULL : kinds[kind].keys;
}

typedef struct channel_key_search {
    const char *key;
    const leat_key *found;
    leati_guess *guess;
} channel_key_search;

static int search_channel_key(const leat_plugin *plugin, void *user)
{
    channel_key_search *search = user;
    search->found = leati_key_find(plugin->channel_keys, search->key);
    if (!search->found && search->guess)
        leati_guess_consider_table(search->guess, plugin->channel_keys);
    return search->found != NULL;
}

const leat_key *leati_section_foreign_channel_key(const leat_config *cfg, const char *key, leati_guess *guess)
{
    channel_key_search search = {key, NULL, guess};
    leati_registry_each(cfg, LEAT_TRANSPORT, search_channel_key, &search);
    return search.found;
}

int leati_section_find_key(const leat_config *cfg, const char *section, const char *key, const char *place,
                           const leat_key **ret_key)
{
    const char *name;
    leati_section_kind kind = leati_section_split(section, &name);
    leati_guess guess = {key, NULL, 0};
    const leat_key *found = leati_key_find(leati_section_core_keys(kind), key);
    leati_guess_consider_table(&guess, leati_section_core_keys(kind));
    if (!found && kind == LEATI_SECTION_CHANNEL)
        found = leati_section_foreign_channel_key(cfg, key, &guess);
    if (kind == LEATI_SECTION_TRANSPORT || kind == LEATI_SECTION_COMMAND) {
        const leat_plugin *plugin;
        if (leati_registry_find(cfg, kind == LEATI_SECTION_COMMAND ? LEAT_COMMAND : LEAT_TRANSPORT, name, &plugin) < 0)
            return 1;
        found = leati_key_find(plugin->keys, key);
        leati_guess_consider_table(&guess, plugin->keys);
    }
    if (!found)
        return leati_unknown_key(place, section, key, &guess);
    *ret_key = found;
    return 0;
}

int leati_unknown_key(const char *place, const char *section, const char *key, const leati_guess *guess)
{
    if (guess->best)
        return leat_fail(EINVAL, "%s[%s] %s: there is no such key; did you mean %s?", place, section, key, guess->best);
    return leat_fail(EINVAL, "%s[%s] %s: there is no such key", place, section, key);
}
