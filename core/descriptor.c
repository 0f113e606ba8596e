/* SPDX-License-Identifier: MIT
 *
 * descriptor.c - whether a plugin's descriptor keeps the rules of plugin.h: what can be said about one plugin alone,
 * without calling it. Each rule has its own sentence. Knows neither files nor other plugins.
 */
#include "keys.h"
#include "loader.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

bool leati_is_plugin_name(const char *text)
{
    return leati_is_word(text, "-", false);
}

const char *leati_plugin_kind_name(leat_plugin_kind kind)
{
    return kind == LEAT_TRANSPORT ? "transport" : kind == LEAT_COMMAND ? "command" : "";
}

static bool is_scheme(const char *text)
{
    return text[0] >= 'a' && text[0] <= 'z' && leati_is_word(text, "+.-", false);
}

#define HAS(ops, operation) ((ops)->operation != NULL)

static int check_transport(const leat_plugin *plugin, const char *path)
{
    const leat_transport_ops *ops = plugin->transport;
    const uint64_t patterns = LEAT_CAP_PATTERN(LEAT_PATTERNS) - 1;
    const uint64_t known =
        patterns | LEAT_CAP_SPIN | LEAT_CAP_NO_COPY | LEAT_CAP_REDELIVERS | LEAT_CAP_REMOTE | LEAT_CAP_ADMIN;
    const uint64_t prefixes = LEAT_CAP_PATTERN(LEAT_PUB) | LEAT_CAP_PATTERN(LEAT_SUB);
    const struct {
        const char *name;
        bool there;
    } needed[] = {
        {"attach", HAS(ops, attach)}, {"detach", HAS(ops, detach)},   {"open", HAS(ops, open)},
        {"bind", HAS(ops, bind)},     {"connect", HAS(ops, connect)}, {"close", HAS(ops, close)},
        {"send", HAS(ops, send)},     {"recv", HAS(ops, recv)},       {"alloc", HAS(ops, alloc)},
        {"owns", HAS(ops, owns)},     {"ready", HAS(ops, ready)},     {"fd", HAS(ops, fd)},
        {"stats", HAS(ops, stats)},
    };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!needed[i].there)
            return leat_fail(ELIBBAD, "%s: the transport lacks the operation %s", path, needed[i].name);
    if (plugin->capabilities & ~known)
        return leat_fail(ELIBBAD, "%s: the transport claims capabilities that this version does not know (0x%llx)",
                         path, (unsigned long long)(plugin->capabilities & ~known));
    if (!(plugin->capabilities & patterns))
        return leat_fail(ELIBBAD, "%s: the transport claims no pattern", path);
    for (int p = 0; p < LEAT_PATTERNS; p++)
        if ((plugin->capabilities & LEAT_CAP_PATTERN(p)) &&
            !(plugin->capabilities & LEAT_CAP_PATTERN(leat_pattern_partner((leat_pattern)p))))
            return leat_fail(ELIBBAD, "%s: the transport claims %s without its partner %s", path,
                             leat_pattern_name((leat_pattern)p),
                             leat_pattern_name(leat_pattern_partner((leat_pattern)p)));
    if ((plugin->capabilities & prefixes) && !ops->subscribe)
        return leat_fail(ELIBBAD, "%s: the transport claims pub and sub, and lacks the operation subscribe", path);
    if ((plugin->capabilities & LEAT_CAP_ADMIN) && !(ops->list && ops->inspect && ops->remove))
        return leat_fail(ELIBBAD, "%s: the transport claims to be administered, and lacks the operation %s", path,
                         !ops->list      ? "list"
                         : !ops->inspect ? "inspect"
                                         : "remove");
    return 0;
}

static int check_ops(const leat_plugin *plugin, const char *path)
{
    bool transport = plugin->kind == LEAT_TRANSPORT;
    size_t wanted = transport ? sizeof(leat_transport_ops) : sizeof(leat_command_ops);
    if (transport ? !plugin->transport : !plugin->command)
        return leat_fail(ELIBBAD, "%s: the %s has no operations", path, leati_plugin_kind_name(plugin->kind));
    if (plugin->ops_size != wanted)
        return leat_fail(ELIBBAD,
                         "%s: its operations have %u bytes, this library's %zu: build it with this version's "
                         "plugin.h",
                         path, plugin->ops_size, wanted);
    if (transport)
        return check_transport(plugin, path);
    if (!plugin->command->run)
        return leat_fail(ELIBBAD, "%s: the command lacks the operation run", path);
    return 0;
}

static int check_names(const leat_plugin *plugin, const char *path, const char *name)
{
    if (!plugin->name || !leati_is_plugin_name(plugin->name))
        return leat_fail(ELIBBAD, "%s: its name \"%.64s\" has other characters than a-z, 0-9 and -", path,
                         plugin->name ? plugin->name : "");
    if (strcmp(plugin->name, name) != 0)
        return leat_fail(ELIBBAD, "%s: the plugin calls itself \"%.64s\"; name and file must be the same", path,
                         plugin->name);
    for (const char *const *alias = plugin->aliases; alias && *alias; alias++)
        if (!leati_is_plugin_name(*alias))
            return leat_fail(ELIBBAD, "%s: its alias \"%.64s\" has other characters than a-z, 0-9 and -", path, *alias);
    for (const char *const *scheme = plugin->schemes; scheme && *scheme; scheme++)
        if (!is_scheme(*scheme))
            return leat_fail(ELIBBAD, "%s: \"%.64s\" cannot be a URI scheme", path, *scheme);
    return 0;
}

static int check_keys(const leat_plugin *plugin, const char *path)
{
    char why[LEATI_WHY_SIZE];
    if (leati_key_table_check(plugin->keys, why) < 0 || leati_key_table_check(plugin->channel_keys, why) < 0)
        return leat_fail(ELIBBAD, "%s: %s", path, why);
    for (const leat_key *key = plugin->channel_keys; key && key->name; key++)
        if (leati_key_find(leati_channel_keys, key->name))
            return leat_fail(ELIBBAD, "%s: its channel key %s is one of those that all transports share", path,
                             key->name);
    return 0;
}

int leati_descriptor_check(const leat_plugin *plugin, const char *path, const char *name)
{
    /* The first two fields never move: nothing behind them is read before they are right. */
    if (plugin->abi != LEAT_PLUGIN_ABI)
        return leat_fail(ELIBBAD, "%s: is made for plugin ABI %u, this library has %u: build it anew", path,
                         plugin->abi, LEAT_PLUGIN_ABI);
    if (plugin->struct_size != sizeof(leat_plugin))
        return leat_fail(ELIBBAD,
                         "%s: its descriptor has %u bytes, this library's %zu: build it with this version's "
                         "plugin.h",
                         path, plugin->struct_size, sizeof(leat_plugin));
    if (plugin->kind != LEAT_TRANSPORT && plugin->kind != LEAT_COMMAND)
        return leat_fail(ELIBBAD, "%s: is neither a transport nor a command (kind %d)", path, (int)plugin->kind);
    int r = check_names(plugin, path, name);
    if (r < 0)
        return r;
    if (!plugin->version || !plugin->summary || !*plugin->summary)
        return leat_fail(ELIBBAD, "%s: has no %s", path, plugin->version ? "summary" : "version");
    if ((r = check_ops(plugin, path)) < 0)
        return r;
    return check_keys(plugin, path);
}
