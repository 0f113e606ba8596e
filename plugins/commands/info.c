/* SPDX-License-Identifier: MIT
 *
 * info.c - `shmadm info`: the memory file system, the segments, the channels of their owners, and whatever else the
 * transports keep on the machine. Shows what leat/admin.h tells; knows no transport and no shared memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct info_options {
    bool in_full; /* sizes in bytes */
};

static const struct argp_option option_table[] = {
    {"bytes", 'b', NULL, 0, "Show sizes in bytes", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct info_options *options = state->input;

    switch (key) {
    case 'b':
        options->in_full = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is one argument too many", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .doc = "Shows what leat's transports keep on this machine.",
};

/* ---- tables ---------------------------------------------------------------------------------------------------- */

static const leati_column segment_columns[] = {
    {"SEGMENT", false}, {"TRANSPORT", false}, {"SESSION", false}, {"STATE", false}, {"PID", true},
    {"PROGRAM", false}, {"USER", false},      {"SIZE", true},     {"ALLOC", true},  {"USED", true},
    {"HEAP", true},     {"BLOCKS", true},     {"PEERS", true},
};

static const leati_column channel_columns[] = {
    {"CHANNEL", false}, {"PATTERN", false}, {"METHOD", false}, {"ADDRESS", false}, {"PID", true},
    {"PROGRAM", false}, {"PEERS", true},    {"DEPTH", true},   {"HELD", true},     {"MSGS IN", true},
    {"MSGS OUT", true}, {"IN", true},       {"OUT", true},     {"DROPPED", true},  {"REDELIVERED", true},
};

static const leati_column other_columns[] = {
    {"OTHER", false}, {"KIND", false}, {"TRANSPORT", false}, {"SESSION", false},
    {"STATE", false}, {"PID", true},   {"PROGRAM", false},   {"USER", false},
};

struct printer {
    const struct info_options *options;
    leati_table *segments, *channels, *others;
    const leat_item *item; /* the one that is looked into */
    FILE *remarks;         /* sentences for below the tables */
};

static const char *or_dash(const char *text)
{
    return text && *text ? text : "-";
}

static void put_segment(struct printer *p, const leat_item *item)
{
    leati_table *t = p->segments;
    bool in_full = p->options->in_full;
    char user[LEATI_USER_TEXT];

    leati_table_cell(t, "%s", or_dash(item->name));
    leati_table_cell(t, "%s", item->transport);
    leati_table_cell(t, "%s", or_dash(item->session));
    leati_table_cell(t, "%s", leat_state_name(item->state));
    leati_table_number(t, item->pid);
    leati_table_cell(t, "%s", or_dash(item->program));
    leati_table_cell(t, "%s", leati_user_text(item->uid, user));
    leati_table_size(t, item->size, in_full);
    leati_table_size(t, item->allocated, in_full);
    leati_table_size(t, item->used, in_full);
    leati_table_size(t, item->heap_size, in_full);
    leati_table_number(t, item->blocks);
    leati_table_number(t, item->peers);
}

static int put_channel(const leat_channel_info *info, void *user)
{
    struct printer *p = user;
    leati_table *t = p->channels;
    bool in_full = p->options->in_full;

    leati_table_cell(t, "%s", or_dash(info->name));
    leati_table_cell(t, "%s", or_dash(info->pattern));
    leati_table_cell(t, "%s", or_dash(info->method));
    leati_table_cell(t, "%s", or_dash(info->address));
    leati_table_number(t, p->item->pid);
    leati_table_cell(t, "%s", or_dash(p->item->program));
    leati_table_number(t, info->peers);
    leati_table_number(t, info->depth);
    leati_table_number(t, info->held);
    leati_table_number(t, info->messages_in);
    leati_table_number(t, info->messages_out);
    leati_table_size(t, info->bytes_in, in_full);
    leati_table_size(t, info->bytes_out, in_full);
    leati_table_number(t, info->dropped);
    leati_table_number(t, info->redelivered);
    return 0;
}

static void put_other(struct printer *p, const leat_item *item)
{
    leati_table *t = p->others;
    char user[LEATI_USER_TEXT];

    leati_table_cell(t, "%s", or_dash(item->name));
    leati_table_cell(t, "%s", leat_item_kind_name(item->kind));
    leati_table_cell(t, "%s", item->transport);
    leati_table_cell(t, "%s", or_dash(item->session));
    leati_table_cell(t, "%s", leat_state_name(item->state));
    leati_table_number(t, item->pid > 0 ? item->pid : -1);
    leati_table_cell(t, "%s", or_dash(item->program));
    leati_table_cell(t, "%s", leati_user_text(item->uid, user));
}

/* A segment without channels to show: only what hinders is worth a remark; one that went meanwhile is not. */
static bool worth_a_remark(int r)
{
    return r < 0 && r != -ENOTSUP && r != -ESTALE;
}

static int print_table(const leati_table *t, bool *first)
{
    if (leati_table_empty(t))
        return 0;
    if (!*first)
        putchar('\n');
    *first = false;
    return leati_table_print(t, stdout);
}

static int print_tables(leat_admin *admin, const leati_memory *memory, const leati_items *items,
                        const struct info_options *options)
{
    struct printer p = {.options = options};
    char *remarks = NULL;
    size_t remarks_size = 0;
    int r = 0;

    p.segments = leati_table_new(segment_columns, COUNT(segment_columns));
    p.channels = leati_table_new(channel_columns, COUNT(channel_columns));
    p.others = leati_table_new(other_columns, COUNT(other_columns));
    p.remarks = open_memstream(&remarks, &remarks_size);
    if (!p.segments || !p.channels || !p.others || !p.remarks) {
        r = leat_fail(ENOMEM, "no memory for the tables");
        goto free_tables;
    }
    for (size_t i = 0; i < items->count; i++) {
        const leat_item *item = &items->items[i];
        if (item->kind == LEAT_ITEM_SEGMENT) {
            put_segment(&p, item);
            p.item = item;
            int looked = leat_admin_inspect(admin, item, put_channel, &p);
            if (worth_a_remark(looked))
                fprintf(p.remarks, "%s: %s\n", item->name, leat_error());
        } else {
            put_other(&p, item);
        }
        if (item->why && *item->why)
            fprintf(p.remarks, "%s: %s: %s\n", item->name, leat_state_name(item->state), item->why);
    }

    char size[LEATI_SIZE_TEXT], left[LEATI_SIZE_TEXT];
    bool first = false;
    if (options->in_full)
        printf("%s: %" PRId64 " bytes, %" PRId64 " free\n", memory->path, memory->size, memory->free);
    else
        printf("%s: %s, %s free\n", memory->path, leati_size_text(memory->size, size),
               leati_size_text(memory->free, left));
    if ((r = print_table(p.segments, &first)) < 0 || (r = print_table(p.channels, &first)) < 0 ||
        (r = print_table(p.others, &first)) < 0)
        goto free_tables;
    fflush(p.remarks);
    if (remarks_size > 0)
        printf("\n%s", remarks);

free_tables:
    leati_table_free(p.segments);
    leati_table_free(p.channels);
    leati_table_free(p.others);
    if (p.remarks)
        fclose(p.remarks);
    free(remarks);
    return r;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static int json_channel(const leat_channel_info *info, void *user)
{
    leati_json *j = user;

    leati_json_object(j, NULL);
    leati_json_string(j, "name", info->name);
    leati_json_string(j, "pattern", info->pattern);
    leati_json_string(j, "method", info->method);
    leati_json_string(j, "address", info->address);
    leati_json_known(j, "peers", info->peers);
    leati_json_known(j, "depth", info->depth);
    leati_json_known(j, "held", info->held);
    leati_json_known(j, "messages_in", info->messages_in);
    leati_json_known(j, "messages_out", info->messages_out);
    leati_json_known(j, "bytes_in", info->bytes_in);
    leati_json_known(j, "bytes_out", info->bytes_out);
    leati_json_known(j, "dropped", info->dropped);
    leati_json_known(j, "redelivered", info->redelivered);
    leati_json_end(j);
    return 0;
}

static void json_item(leat_admin *admin, const leat_item *item, leati_json *j)
{
    char mode[8];

    leati_json_object(j, NULL);
    leati_json_string(j, "kind", leat_item_kind_name(item->kind));
    leati_json_string(j, "transport", item->transport);
    leati_json_string(j, "session", item->session);
    leati_json_string(j, "shmid", item->shmid);
    leati_json_string(j, "name", item->name);
    leati_json_string(j, "path", item->path);
    leati_json_string(j, "state", leat_state_name(item->state));
    leati_json_string(j, "why", item->why);
    leati_json_string(j, "program", item->program);
    leati_json_known(j, "pid", item->pid);
    leati_json_known(j, "uid", item->uid);
    leati_json_known(j, "gid", item->gid);
    snprintf(mode, sizeof(mode), "%04o", item->mode & 07777);
    leati_json_string(j, "mode", mode);
    leati_json_known(j, "created", item->created);
    if (item->kind == LEAT_ITEM_SEGMENT) {
        leati_json_known(j, "size", item->size);
        leati_json_known(j, "allocated", item->allocated);
        leati_json_known(j, "heap_size", item->heap_size);
        leati_json_known(j, "used", item->used);
        leati_json_known(j, "peak", item->peak);
        leati_json_known(j, "largest_free", item->largest_free);
        leati_json_known(j, "blocks", item->blocks);
        leati_json_known(j, "peers", item->peers);
        leati_json_array(j, "channels");
        int r = leat_admin_inspect(admin, item, json_channel, j);
        leati_json_end(j);
        leati_json_string(j, "error", worth_a_remark(r) ? leat_error() : NULL);
    }
    leati_json_end(j);
}

static int print_json(leat_admin *admin, const leati_memory *memory, const leati_items *items)
{
    leati_json *j;
    int r = leati_json_new("leat.info/1", &j);

    if (r < 0)
        return r;
    leati_json_string(j, "version", leat_version());
    leati_json_object(j, "memory");
    leati_json_string(j, "path", memory->path);
    leati_json_number(j, "size", memory->size);
    leati_json_number(j, "free", memory->free);
    leati_json_end(j);
    leati_json_array(j, "segments");
    for (size_t i = 0; i < items->count; i++)
        if (items->items[i].kind == LEAT_ITEM_SEGMENT)
            json_item(admin, &items->items[i], j);
    leati_json_end(j);
    leati_json_array(j, "others");
    for (size_t i = 0; i < items->count; i++)
        if (items->items[i].kind != LEAT_ITEM_SEGMENT)
            json_item(admin, &items->items[i], j);
    leati_json_end(j);
    r = leati_json_print(j, stdout);
    leati_json_free(j);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static int run(leat_admin *admin, int argc, char **argv)
{
    struct info_options options = {false};
    leati_memory memory;
    leati_items items;
    int r = leati_command_parse(&argp, argc, argv, &options);

    if (r != LEATI_GO_ON)
        return r;
    if (leati_memory_read(&memory) < 0 || leati_items_collect(admin, &items) < 0)
        return leati_command_fail("info");
    if (leat_admin_get_options(admin)->json)
        r = print_json(admin, &memory, &items);
    else
        r = print_tables(admin, &memory, &items, &options);
    leati_items_free(&items);
    return r < 0 ? leati_command_fail("info") : 0;
}

static const leat_command_ops ops = {.run = run};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_COMMAND,
    .name = "info",
    .version = "0.1.0",
    .summary = "show segments, channels and what else is on this machine",
    .ops_size = sizeof(leat_command_ops),
    .command = &ops,
};
