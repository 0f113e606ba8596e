/* SPDX-License-Identifier: MIT
 *
 * admin.c - asks every transport what it keeps on this machine, and has it removed. Puts the answers in one order and
 * says nothing twice; knows neither files nor memory.
 */
#include "admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *leat_state_name(leat_state state)
{
    static const char *const state_names[] = {"alive", "stopped", "stalled", "dead", "unknown"};
    return (unsigned)state <= LEAT_UNKNOWN ? state_names[state] : "unknown";
}

const char *leat_item_kind_name(leat_item_kind kind)
{
    static const char *const kind_names[] = {"segment", "address", "peer", "directory"};
    return (unsigned)kind <= LEAT_ITEM_DIRECTORY ? kind_names[kind] : "unknown";
}

static int copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? leat_fail(ENOMEM, "administration: out of memory") : 0;
}

static int set_options(leat_admin *admin, const leat_admin_options *options)
{
    static const leat_admin_options any = {.uid = -1};
    if (!options)
        options = &any;
    admin->options = *options;
    admin->options.session = admin->options.shmid = NULL;
    int r = copy_text(options->session, &admin->session);
    if (r == 0)
        r = copy_text(options->shmid, &admin->shmid);
    if (r < 0)
        return r;
    admin->options.session = admin->session;
    admin->options.shmid = admin->shmid;
    if (options->uid == -1 && geteuid() != 0)
        admin->options.uid = (int64_t)geteuid();
    return 0;
}

static int set_config(leat_admin *admin, const leat_config *config)
{
    if (config)
        return leati_config_copy(config, &admin->config);
    int r = leat_config_new(&admin->config);
    return r < 0 ? r : leati_config_load_default(admin->config);
}

int leat_admin_new(const leat_config *config, const leat_admin_options *options, leat_admin **ret_admin)
{
    leat_admin *admin = calloc(1, sizeof(*admin));
    if (!admin)
        return leat_fail(ENOMEM, "administration: out of memory");
    int r = set_options(admin, options);
    if (r == 0)
        r = set_config(admin, config);
    if (r < 0) {
        leat_admin_free(admin);
        return r;
    }
    *ret_admin = admin;
    return 0;
}

void leat_admin_free(leat_admin *admin)
{
    if (!admin)
        return;
    leat_config_free(admin->config);
    free(admin->session);
    free(admin->shmid);
    free(admin);
}

const leat_config *leat_admin_config(const leat_admin *admin)
{
    return admin->config;
}

const leat_admin_options *leat_admin_get_options(const leat_admin *admin)
{
    return &admin->options;
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

typedef struct item_list {
    leat_item *items;
    size_t n, room;
    leat_scope scope;
    int error; /* of the first transport that failed */
    char *error_text;
} item_list;

#define TEXTS 7

/* The texts of an item, which live in the list's own memory. */
static void texts_of(leat_item *item, const char **texts[TEXTS])
{
    texts[0] = &item->transport;
    texts[1] = &item->session;
    texts[2] = &item->shmid;
    texts[3] = &item->name;
    texts[4] = &item->path;
    texts[5] = &item->why;
    texts[6] = &item->program;
}

static void free_item(leat_item *item)
{
    const char **texts[TEXTS];
    texts_of(item, texts);
    for (int i = 0; i < TEXTS; i++)
        free((char *)*texts[i]);
}

/* Two transports that share a session both see its directory; anything else of one path is one thing as well. */
static bool is_same(const leat_item *a, const leat_item *b)
{
    return a->kind == b->kind && *a->path && strcmp(a->path, b->path) == 0;
}

static int keep_item(const leat_item *item, void *user)
{
    item_list *list = user;
    const char **texts[TEXTS];
    leat_item kept = *item;
    bool failed = false;
    texts_of(&kept, texts);
    for (int i = 0; i < TEXTS; i++) {
        *texts[i] = strdup(*texts[i] ? *texts[i] : "");
        failed |= !*texts[i];
    }
    for (size_t i = 0; !failed && i < list->n; i++)
        if (is_same(&list->items[i], &kept)) {
            free_item(&kept);
            return 0;
        }
    if (!failed && list->n == list->room) {
        leat_item *grown = reallocarray(list->items, list->room * 2 + 16, sizeof(*grown));
        failed = !grown;
        if (grown) {
            list->items = grown;
            list->room = list->room * 2 + 16;
        }
    }
    if (failed) {
        free_item(&kept);
        return leat_fail(ENOMEM, "administration: out of memory");
    }
    list->items[list->n++] = kept;
    return 0;
}

/* One transport that fails must not hide what the others have. */
static int list_transport(const leat_plugin *plugin, void *user)
{
    item_list *list = user;
    if (!(plugin->capabilities & LEAT_CAP_ADMIN))
        return 0;
    int r = plugin->transport->list(&list->scope, keep_item, list);
    if (r < 0 && !list->error) {
        list->error = r;
        list->error_text = strdup(leat_error());
    }
    return 0;
}

int leat_admin_list(leat_admin *admin, leat_item_fn *fn, void *user)
{
    item_list list = {.scope = {admin->options.uid, admin->session, admin->shmid}};
    int r = leati_registry_each(admin->config, LEAT_TRANSPORT, list_transport, &list);
    for (int kind = LEAT_ITEM_SEGMENT; kind <= LEAT_ITEM_DIRECTORY; kind++)
        for (size_t i = 0; r == 0 && i < list.n; i++)
            if ((int)list.items[i].kind == kind)
                r = fn(&list.items[i], user);
    if (r == 0 && list.error)
        r = leat_fail(-list.error, "%s", list.error_text ? list.error_text : strerror(-list.error));
    for (size_t i = 0; i < list.n; i++)
        free_item(&list.items[i]);
    free(list.items);
    free(list.error_text);
    return r;
}

static int take_administrable(const leat_plugin *plugin, void *user)
{
    const leat_plugin **found = user;
    if (!(plugin->capabilities & LEAT_CAP_ADMIN))
        return 0;
    *found = plugin;
    return 1;
}

static int find_owner(leat_admin *admin, const leat_item *item, const leat_transport_ops **ret_ops)
{
    const leat_plugin *plugin = NULL;
    if (item->kind == LEAT_ITEM_DIRECTORY) { /* nobody's: whoever keeps names in sessions removes it */
        if (leati_registry_each(admin->config, LEAT_TRANSPORT, take_administrable, &plugin) == 1) {
            *ret_ops = plugin->transport;
            return 0;
        }
    }
    int r = leati_registry_transport(admin->config, item->transport, &plugin);
    if (r < 0)
        return r;
    if (!(plugin->capabilities & LEAT_CAP_ADMIN))
        return leat_fail(ENOTSUP, "%s: transport %s keeps nothing that could be administered", item->name,
                         item->transport);
    *ret_ops = plugin->transport;
    return 0;
}

int leat_admin_inspect(leat_admin *admin, const leat_item *item, leat_channel_info_fn *fn, void *user)
{
    const leat_transport_ops *ops = NULL;
    int r = find_owner(admin, item, &ops);
    return r < 0 ? r : ops->inspect(item, fn, user);
}

int leat_admin_remove(leat_admin *admin, const leat_item *item, unsigned flags, uint64_t *ret_bytes)
{
    const leat_transport_ops *ops = NULL;
    int r = find_owner(admin, item, &ops);
    return r < 0 ? r : ops->remove(item, flags, ret_bytes);
}

int leat_admin_plugins(leat_admin *admin, leat_plugin_info_fn *fn, void *user)
{
    return leati_registry_report(admin->config, fn, user);
}
