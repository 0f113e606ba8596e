/* SPDX-License-Identifier: MIT
 *
 * clean.c - `shmadm clean`: removes what is proved dead, and nothing else without --force. It decides what to ask for;
 * whether a thing is dead, its transport decides, under the thing's own lock, when it is asked to remove it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

struct clean_options {
    bool dry_run, force, verbose;
    char **names; /* NULL: everything in scope */
    size_t names_n;
};

static const struct argp_option option_table[] = {
    {"dry-run", 'n', NULL, 0, "Tell what would be removed, remove nothing", 0},
    {"force", 'f', NULL, 0, "Remove what is alive or unknown, too", 0},
    {"verbose", 'v', NULL, 0, "Also tell what stays, and why", 0},
    {0},
};

/* Names are those that `shmadm info` shows: relative, and never on a way that leads out of the memory file system. */
static const char *name_mistake(const char *name)
{
    if (!*name)
        return "is empty";
    if (*name == '/')
        return "begins with \"/\": names are relative to the memory file system, as `shmadm info` shows them";
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return "contains \"..\"";
    }
    return NULL;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct clean_options *options = state->input;
    const char *mistake;

    (void)arg;
    switch (key) {
    case 'n':
        options->dry_run = true;
        return 0;
    case 'f':
        options->force = true;
        return 0;
    case 'v':
        options->verbose = true;
        return 0;
    case ARGP_KEY_ARGS:
        for (int i = state->next; i < state->argc; i++) {
            if ((mistake = name_mistake(state->argv[i]))) {
                argp_error(state, "the name \"%s\" %s", state->argv[i], mistake);
                return EINVAL;
            }
        }
        options->names = &state->argv[state->next];
        options->names_n = (size_t)(state->argc - state->next);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc = "[NAME...]",
    .doc = "Removes what dead programs left on this machine: everything in scope, or what the NAMEs say."
           "\vNothing alive is removed without --force. Exit status: 0 done or nothing to do, 1 something was refused "
           "or could not be removed, 2 usage.",
};

struct cleaning {
    leat_admin *admin;
    const struct clean_options *options;
    bool *found; /* per name: something has that name */
    size_t removed;
    size_t failed;
    uint64_t bytes;
    leati_json *json; /* or NULL: text */
};

static bool wanted(const struct cleaning *c, const leat_item *item)
{
    bool named = false;

    if (!c->options->names)
        return item->state == LEAT_DEAD || c->options->force;
    for (size_t i = 0; i < c->options->names_n; i++) {
        if (strcmp(c->options->names[i], item->name) == 0)
            named = c->found[i] = true;
    }
    return named;
}

static void report(struct cleaning *c, const leat_item *item, const char *what, uint64_t bytes, const char *error)
{
    char size[LEATI_SIZE_TEXT];

    if (c->json) {
        leati_json_object(c->json, NULL);
        leati_json_string(c->json, "kind", leat_item_kind_name(item->kind));
        leati_json_string(c->json, "transport", item->transport);
        leati_json_string(c->json, "session", item->session);
        leati_json_string(c->json, "name", item->name);
        leati_json_string(c->json, "state", leat_state_name(item->state));
        leati_json_string(c->json, "result", what);
        leati_json_number(c->json, "bytes", (int64_t)bytes);
        leati_json_string(c->json, "error", error);
        leati_json_end(c->json);
    } else if (!error && bytes > 0) {
        printf("%s %s %s (%s, %s)\n", what, leat_item_kind_name(item->kind), item->name, item->transport,
               leati_size_text((int64_t)bytes, size));
    } else if (!error) {
        printf("%s %s %s (%s)\n", what, leat_item_kind_name(item->kind), item->name, item->transport);
    }
    if (error)
        fprintf(stderr, "shmadm clean: %s: %s\n", item->name, error);
}

static void clean_item(struct cleaning *c, const leat_item *item)
{
    unsigned flags = (c->options->force ? LEAT_REMOVE_FORCE : 0) | (c->options->dry_run ? LEAT_REMOVE_DRY_RUN : 0);
    uint64_t bytes = 0;
    int r = leat_admin_remove(c->admin, item, flags, &bytes);

    if (r >= 0) {
        report(c, item, c->options->dry_run ? "would remove" : "removed", bytes, NULL);
        c->removed++;
        c->bytes += bytes;
    } else if (r != -ESTALE) { /* gone meanwhile, e.g. together with its owner's entry: as wanted */
        report(c, item, "refused", 0, leat_error());
        c->failed++;
    }
}

/* One pass over everything in scope. A second one finds the directories that the first has emptied. */
static int clean_pass(struct cleaning *c, bool directories_only)
{
    leati_items items;
    int r = leati_items_collect(c->admin, &items);

    if (r < 0)
        return r;
    for (size_t i = 0; i < items.count; i++) {
        const leat_item *item = &items.items[i];
        if (directories_only && item->kind != LEAT_ITEM_DIRECTORY)
            continue;
        if (wanted(c, item))
            clean_item(c, item);
        else if (c->options->verbose && !c->json && !c->options->names && !directories_only)
            printf("left %s %s (%s, %s%s%s)\n", leat_item_kind_name(item->kind), item->name, item->transport,
                   leat_state_name(item->state), *item->why ? ": " : "", item->why);
    }
    leati_items_free(&items);
    return 0;
}

static int clean_all(struct cleaning *c)
{
    char size[LEATI_SIZE_TEXT];
    int r;

    if (c->json)
        leati_json_array(c->json, "items");
    if ((r = clean_pass(c, false)) < 0)
        return r;
    if (c->removed > 0 && !c->options->dry_run && !c->options->names && (r = clean_pass(c, true)) < 0)
        return r;
    for (size_t i = 0; i < c->options->names_n; i++) {
        if (!c->found[i]) {
            fprintf(stderr, "shmadm clean: %s: there is no such name in scope; `shmadm info` shows what there is\n",
                    c->options->names[i]);
            c->failed++;
        }
    }
    if (c->json) {
        leati_json_end(c->json);
        leati_json_bool(c->json, "dry_run", c->options->dry_run);
        leati_json_number(c->json, "removed", (int64_t)c->removed);
        leati_json_number(c->json, "refused", (int64_t)c->failed);
        leati_json_number(c->json, "bytes", (int64_t)c->bytes);
        return leati_json_print(c->json, stdout);
    }
    if (c->removed > 0)
        printf("%zu %s, %s %s\n", c->removed, c->options->dry_run ? "to remove" : "removed",
               leati_size_text((int64_t)c->bytes, size), c->options->dry_run ? "to come back" : "came back");
    else if (c->options->verbose && c->failed == 0)
        printf("nothing to do\n");
    return 0;
}

static int run(leat_admin *admin, int argc, char **argv)
{
    struct clean_options options = {0};
    struct cleaning c = {.admin = admin, .options = &options};
    int r = leati_command_parse(&argp, argc, argv, &options);

    if (r != LEATI_GO_ON)
        return r;
    if (leat_admin_get_options(admin)->json && leati_json_new("leat.clean/1", &c.json) < 0)
        return leati_command_fail("clean");
    c.found = calloc(options.names_n + 1, sizeof(*c.found));
    r = c.found ? clean_all(&c) : leat_fail(ENOMEM, "no memory for %zu names", options.names_n);
    if (r < 0)
        leati_command_fail("clean");
    free(c.found);
    leati_json_free(c.json);
    return r < 0 || c.failed > 0;
}

static const leat_command_ops ops = {.run = run};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_COMMAND,
    .name = "clean",
    .version = "0.1.0",
    .summary = "remove what dead programs left behind",
    .ops_size = sizeof(leat_command_ops),
    .command = &ops,
};
