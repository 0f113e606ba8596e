/* SPDX-License-Identifier: MIT
 *
 * plugins.c - `shmadm plugins`: which plugin files were found, what they are, and why some were refused. Prints what the
 * registry tells through leat/admin.h; opens nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    argp_error(state, "\"%s\" is one argument too many", arg);
    return EINVAL;
}

static const struct argp argp = {
    .parser = parse_option,
    .doc = "Shows the plugins that were found, good and refused, in the order in which directories are searched.",
};

static const leati_column columns[] = {
    {"PLUGIN", false}, {"KIND", false}, {"VERSION", false}, {"ALIASES", false}, {"PATH", false}, {"SUMMARY", false},
};

struct listing {
    leati_table *good;
    leati_json *json;
    FILE *remarks; /* refused or unusable plugins, below the table */
};

static int put_text(const leat_plugin_info *info, void *user)
{
    struct listing *l = user;

    if (info->refused) {
        fprintf(l->remarks, "refused %s: %s\n", info->path, info->refused);
        return 0;
    }
    leati_table_cell(l->good, "%s", info->name);
    leati_table_cell(l->good, "%s", info->kind);
    leati_table_cell(l->good, "%s", info->version);
    leati_table_cell(l->good, "%s", *info->aliases ? info->aliases : "-");
    leati_table_cell(l->good, "%s", info->path);
    leati_table_cell(l->good, "%s", info->summary);
    if (info->unusable)
        fprintf(l->remarks, "unusable here: %s: %s\n", info->name, info->unusable);
    return 0;
}

static int put_json(const leat_plugin_info *info, void *user)
{
    leati_json *j = ((struct listing *)user)->json;

    leati_json_object(j, NULL);
    leati_json_string(j, "path", info->path);
    leati_json_string(j, "name", info->name);
    leati_json_string(j, "kind", info->kind);
    leati_json_string(j, "version", info->version);
    leati_json_string(j, "summary", info->summary);
    leati_json_string(j, "aliases", info->aliases);
    leati_json_string(j, "capabilities", info->capabilities);
    leati_json_string(j, "refused", info->refused);
    leati_json_string(j, "unusable", info->unusable);
    leati_json_end(j);
    return 0;
}

static int print_json(leat_admin *admin)
{
    struct listing l = {0};
    int r = leati_json_new("leat.plugins/1", &l.json);

    if (r < 0)
        return r;
    leati_json_array(l.json, "plugins");
    r = leat_admin_plugins(admin, put_json, &l);
    leati_json_end(l.json);
    if (r >= 0)
        r = leati_json_print(l.json, stdout);
    leati_json_free(l.json);
    return r;
}

static int print_text(leat_admin *admin)
{
    struct listing l = {.good = leati_table_new(columns, COUNT(columns))};
    char *remarks = NULL;
    size_t remarks_size = 0;
    int r;

    l.remarks = open_memstream(&remarks, &remarks_size);
    if (!l.good || !l.remarks) {
        r = leat_fail(ENOMEM, "no memory for a table");
        goto free_table;
    }
    r = leat_admin_plugins(admin, put_text, &l);
    if (r >= 0)
        r = leati_table_print(l.good, stdout);
    fflush(l.remarks);
    if (r >= 0 && remarks_size > 0)
        printf("\n%s", remarks);

free_table:
    leati_table_free(l.good);
    if (l.remarks)
        fclose(l.remarks);
    free(remarks);
    return r;
}

static int run(leat_admin *admin, int argc, char **argv)
{
    int r = leati_command_parse(&argp, argc, argv, NULL);

    if (r != LEATI_GO_ON)
        return r;
    r = leat_admin_get_options(admin)->json ? print_json(admin) : print_text(admin);
    return r < 0 ? leati_command_fail("plugins") : 0;
}

static const leat_command_ops ops = {.run = run};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_COMMAND,
    .name = "plugins",
    .version = "0.1.0",
    .summary = "show the plugins found and refused, with reasons",
    .ops_size = sizeof(leat_command_ops),
    .command = &ops,
};
