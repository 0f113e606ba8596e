/* SPDX-License-Identifier: MIT
 *
 * chameleon.c - a plugin that is as good or as bad as a test wants. Copied to DIR/NAME.so, it is a right transport
 * NAME, changed by the lines of DIR/NAME.so.txt: "abi 7", "alias x", "lacks send"... Carries no message; calls
 * nothing of leat, so that tests that have the core inside them may load it.
 */
#include <leat/plugin.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int refuse(void)
{
    return -ENOTSUP;
}

static void nothing(void)
{
}

/* What it has on the machine: one directory that it shares with every other chameleon, and a segment of its own. */
static char own_name[64];

static int list(const leat_scope *scope, leat_item_fn *fn, void *user)
{
    leat_item item = {.kind = LEAT_ITEM_DIRECTORY,
                      .transport = own_name,
                      .session = "s",
                      .shmid = "",
                      .name = "shared",
                      .path = "/chameleon/shared",
                      .why = "",
                      .program = "",
                      .uid = scope->uid,
                      .state = LEAT_DEAD};
    int r = fn(&item, user);
    item.kind = LEAT_ITEM_SEGMENT;
    item.name = own_name;
    item.path = "";
    return r ? r : fn(&item, user);
}

static int inspect(const leat_item *item, leat_channel_info_fn *fn, void *user)
{
    return fn(&(leat_channel_info){.name = item->transport, .pattern = "push", .address = "", .method = "bind"}, user);
}

static int remove_item(const leat_item *item, unsigned flags, uint64_t *ret_bytes)
{
    (void)item;
    *ret_bytes = flags & LEAT_REMOVE_DRY_RUN ? 0 : 4096;
    return 0;
}

static leat_transport_ops ops = {
    .attach = (int (*)(const leat_attach_info *, void **))(void (*)(void))refuse,
    .detach = (void (*)(void *))(void (*)(void))nothing,
    .open = (int (*)(void *, const leat_port_info *, void **))(void (*)(void))refuse,
    .bind = (int (*)(void *, const char *))(void (*)(void))refuse,
    .connect = (int (*)(void *, const char *))(void (*)(void))refuse,
    .close = (void (*)(void *, int))(void (*)(void))nothing,
    .send = (int (*)(void *, leat_msg_body *const *, size_t))(void (*)(void))refuse,
    .recv = (int (*)(void *, leat_msg_body *const *, size_t))(void (*)(void))refuse,
    .alloc = (int (*)(void *, size_t, size_t, leat_msg_body *))(void (*)(void))refuse,
    .owns = (bool (*)(void *, const leat_msg_body *))(void (*)(void))nothing,
    .ready = (unsigned (*)(void *, unsigned))(void (*)(void))refuse,
    .fd = (int (*)(void *))(void (*)(void))refuse,
    .stats = (void (*)(void *, leat_stats *))(void (*)(void))nothing,
    .list = list,
    .inspect = inspect,
    .remove = remove_item,
};

static leat_command_ops command_ops = {
    .run = (int (*)(leat_admin *, int, char **))(void (*)(void))refuse,
};

static const char *aliases[4], *schemes[4];
static leat_key keys[4] = {
    {.name = "colour", .type = LEAT_KEY_CHOICE, .choices = "green|brown", .help = "Its colour."}};
static leat_key channel_keys[4] = {{.name = "speed", .type = LEAT_KEY_INT, .def = "3", .help = "Its speed."}};

/* Not const, unlike a real one's. */
extern LEAT_API leat_plugin leat_plugin_descriptor __asm__(LEAT_PLUGIN_SYMBOL);
leat_plugin leat_plugin_descriptor = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = own_name,
    .aliases = aliases,
    .version = "1.0",
    .summary = "takes any colour",
    .keys = keys,
    .channel_keys = channel_keys,
    .schemes = schemes,
    .capabilities = LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) | LEAT_CAP_ADMIN,
    .ops_size = sizeof(leat_transport_ops),
    .transport = &ops,
};

/* Texts that live as long as the plugin, which a refused one does not do for long. */
static const char *keep(const char *text)
{
    static char pool[2048];
    static size_t used;
    char *kept = pool + used;
    used += (size_t)snprintf(kept, sizeof(pool) - used, "%s", text) + 1;
    return kept;
}

static void append(const char **words, const char *word)
{
    while (*words)
        words++;
    *words = keep(word);
}

static void lack(const char *operation)
{
    static const struct {
        const char *name;
        size_t offset;
    } operations[] = {
        {"attach", offsetof(leat_transport_ops, attach)}, {"open", offsetof(leat_transport_ops, open)},
        {"send", offsetof(leat_transport_ops, send)},     {"stats", offsetof(leat_transport_ops, stats)},
        {"list", offsetof(leat_transport_ops, list)},     {"remove", offsetof(leat_transport_ops, remove)},
    };
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, operation) == 0)
            memset((char *)&ops + operations[i].offset, 0, sizeof(void (*)(void)));
}

static void change(const char *what, const char *value)
{
    leat_plugin *plugin = &leat_plugin_descriptor;
    if (strcmp(what, "abi") == 0)
        plugin->abi = (uint32_t)atoi(value);
    else if (strcmp(what, "struct_size") == 0)
        plugin->struct_size = (uint32_t)atoi(value);
    else if (strcmp(what, "ops_size") == 0)
        plugin->ops_size = (uint32_t)atoi(value);
    else if (strcmp(what, "kind") == 0)
        plugin->kind = (leat_plugin_kind)atoi(value);
    else if (strcmp(what, "name") == 0)
        snprintf(own_name, sizeof(own_name), "%s", value);
    else if (strcmp(what, "summary") == 0)
        plugin->summary = strcmp(value, "none") == 0 ? NULL : keep(value);
    else if (strcmp(what, "alias") == 0)
        append(aliases, value);
    else if (strcmp(what, "scheme") == 0)
        append(schemes, value);
    else if (strcmp(what, "capabilities") == 0)
        plugin->capabilities = strtoull(value, NULL, 0);
    else if (strcmp(what, "key") == 0)
        keys[1] = (leat_key){.name = keep(value), .type = LEAT_KEY_INT, .def = "1", .help = "Another."};
    else if (strcmp(what, "default") == 0)
        keys[0].def = keep(value);
    else if (strcmp(what, "channel_key") == 0)
        channel_keys[1] = (leat_key){.name = keep(value), .type = LEAT_KEY_LIST, .help = "Another."};
    else if (strcmp(what, "lacks") == 0 && strcmp(value, "operations") == 0)
        plugin->transport = NULL;
    else if (strcmp(what, "lacks") == 0)
        lack(value);
    if (strcmp(what, "kind") == 0 && plugin->kind == LEAT_COMMAND) {
        plugin->command = &command_ops;
        plugin->transport = NULL;
        plugin->ops_size = sizeof(leat_command_ops);
        plugin->capabilities = 0;
    }
}

__attribute__((constructor)) static void become(void)
{
    Dl_info self;
    char path[4096], line[256];
    if (!dladdr(&leat_plugin_descriptor, &self))
        return;
    snprintf(path, sizeof(path), "%s.txt", self.dli_fname);
    const char *file = strrchr(path, '/') + 1;
    snprintf(own_name, sizeof(own_name), "%.*s", (int)(strlen(file) - strlen(".so.txt")), file);
    FILE *changes = fopen(path, "re");
    if (!changes)
        return;
    while (fgets(line, sizeof(line), changes)) {
        char *rest = line, *what = strsep(&rest, " \n"), *value = strsep(&rest, "\n");
        if (value)
            change(what, value);
    }
    fclose(changes);
}
