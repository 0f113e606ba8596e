/* SPDX-License-Identifier: MIT
 *
 * items.c - a snapshot of what leat_admin_list() shows, with strings of its own, so that a command may look at each item
 * again, or remove it, after the listing. Knows no transport.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

/* Every string of an item, so that copying and freeing cannot forget one. */
static const char **item_string(leat_item *item, size_t i)
{
    const char **strings[] = {
        &item->transport, &item->session, &item->shmid, &item->name, &item->path, &item->why, &item->program,
    };
    return i < sizeof(strings) / sizeof(strings[0]) ? strings[i] : NULL;
}

static void item_free(leat_item *item)
{
    const char **string;

    for (size_t i = 0; (string = item_string(item, i)); i++)
        free((char *)*string);
}

static int collect(const leat_item *item, void *user)
{
    leati_items *items = user;
    leat_item copy = *item;
    const char **string;

    if (items->count == items->capacity) {
        size_t capacity = items->capacity ? 2 * items->capacity : 16;
        leat_item *grown = realloc(items->items, capacity * sizeof(*grown));
        if (!grown)
            return leat_fail(ENOMEM, "no memory for a list of %zu items", capacity);
        items->items = grown;
        items->capacity = capacity;
    }
    for (size_t i = 0; (string = item_string(&copy, i)); i++)
        *string = NULL;
    for (size_t i = 0; (string = item_string(&copy, i)); i++) {
        const char *source = *item_string((leat_item *)item, i);
        if (!(*string = strdup(source ? source : ""))) {
            item_free(&copy);
            return leat_fail(ENOMEM, "no memory for a list of items");
        }
    }
    items->items[items->count++] = copy;
    return 0;
}

int leati_items_collect(leat_admin *admin, leati_items *ret_items)
{
    leati_items items = {NULL, 0, 0};
    int r = leat_admin_list(admin, collect, &items);

    if (r < 0) {
        leati_items_free(&items);
        return r;
    }
    *ret_items = items;
    return 0;
}

void leati_items_free(leati_items *items)
{
    for (size_t i = 0; i < items->count; i++)
        item_free(&items->items[i]);
    free(items->items);
    *items = (leati_items){NULL, 0, 0};
}
