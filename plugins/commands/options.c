/* SPDX-License-Identifier: MIT
 *
 * options.c - reads a command's arguments with argp without ever leaving the process: a command may run inside a program
 * that is not shmadm. Knows no command.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugins/commands/command.h"

#define KEY_USAGE 0x7f01

static const struct argp_option help_options[] = {
    {"help", '?', NULL, 0, "Show this help", -1},
    {"usage", KEY_USAGE, NULL, 0, "Show a short usage message", -1},
    {0},
};

static error_t parse_help(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->input;
        return 0;
    case '?':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return ECANCELED;
    case KEY_USAGE:
        argp_state_help(state, stdout, ARGP_HELP_USAGE);
        return ECANCELED;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int leati_command_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    /* The command's own parser is a child, so that argp's --help, which exits, can be replaced by ours. */
    struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
    struct argp whole = {
        .options = help_options,
        .parser = parse_help,
        .args_doc = argp->args_doc,
        .doc = argp->doc,
        .children = children,
    };
    struct argp own = *argp;
    char name[80];
    char *plain = argv[0];

    own.args_doc = own.doc = NULL;
    children[0].argp = &own;
    snprintf(name, sizeof(name), "shmadm %s", plain);
    argv[0] = name;
    error_t error = argp_parse(&whole, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, input);
    argv[0] = plain;
    if (error == ECANCELED)
        return 0;
    return error ? 2 : LEATI_GO_ON;
}

int leati_command_fail(const char *name)
{
    fprintf(stderr, "shmadm %s: %s\n", name, leat_error());
    return 1;
}
