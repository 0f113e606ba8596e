/* SPDX-License-Identifier: MIT
 *
 * check.c - `shmadm check FILE`: every mistake in an INI file, with its line. What a mistake is, the core knows from the
 * key tables; this file prints.
 */
#include <errno.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

struct check_options {
    const char *path;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct check_options *options = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (options->path) {
            argp_error(state, "one FILE at a time; \"%s\" is one too many", arg);
            return EINVAL;
        }
        options->path = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which FILE?");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .parser = parse_option,
    .args_doc = "FILE",
    .doc = "Checks an INI file and names every mistake in it."
           "\vExit status: 0 no mistake, 1 mistakes or an unreadable file, 2 usage.",
};

static int put_text(const char *path, int line, const char *text, void *user)
{
    (void)user;
    if (line > 0)
        fprintf(stderr, "%s:%d: %s\n", path, line, text);
    else
        fprintf(stderr, "%s: %s\n", path, text);
    return 0;
}

static int put_json(const char *path, int line, const char *text, void *user)
{
    leati_json *j = user;

    (void)path;
    leati_json_object(j, NULL);
    leati_json_known(j, "line", line > 0 ? line : -1);
    leati_json_string(j, "text", text);
    leati_json_end(j);
    return 0;
}

static int check_json(leat_admin *admin, const char *path)
{
    leati_json *j;
    int r = leati_json_new("leat.check/1", &j);

    if (r < 0)
        return r;
    leati_json_string(j, "file", path);
    leati_json_array(j, "mistakes");
    int mistakes = leat_admin_check(admin, path, put_json, j);
    leati_json_end(j);
    r = mistakes < 0 ? mistakes : leati_json_print(j, stdout);
    leati_json_free(j);
    return r < 0 ? r : mistakes;
}

static int run(leat_admin *admin, int argc, char **argv)
{
    struct check_options options = {NULL};
    int r = leati_command_parse(&argp, argc, argv, &options);

    if (r != LEATI_GO_ON)
        return r;
    if (leat_admin_get_options(admin)->json)
        r = check_json(admin, options.path);
    else
        r = leat_admin_check(admin, options.path, put_text, NULL);
    if (r < 0)
        return leati_command_fail("check");
    return r > 0;
}

static const leat_command_ops ops = {.run = run};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_COMMAND,
    .name = "check",
    .version = "0.1.0",
    .summary = "name every mistake in an INI file",
    .ops_size = sizeof(leat_command_ops),
    .command = &ops,
};
