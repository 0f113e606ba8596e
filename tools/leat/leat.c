/* SPDX-License-Identifier: MIT
 *
 * leat.c - the user's tool: takes leat's own options out of the command line and hands the rest to a command. To add a
 * command, write its function in a file of its own, declare it in tool.h, and add a row to the table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const leati_tool_command commands[] = {
    {"send", "send a file or standard input through a channel", leati_send_run},
    {"recv", "receive a file or to standard output from a channel", leati_recv_run},
    {"demo", "pass real data through a source, two workers and a sink", leati_demo_run},
    {"demo-source", NULL, leati_demo_source_run},
    {"demo-worker", NULL, leati_demo_worker_run},
    {"demo-sink", NULL, leati_demo_sink_run},
    {"demo-info", NULL, leati_demo_info_run},
    {0},
};

struct arguments {
    int command; /* where it stands in argv, or argc */
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;

    (void)arg;
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    a->command = state->next - 1;
    state->next = state->argc; /* the rest is the command's */
    return 0;
}

static char *list_commands(int key, const char *text, void *input)
{
    char *list = NULL;
    size_t size = 0;
    FILE *out;

    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !(out = open_memstream(&list, &size)))
        return (char *)text;
    fputs("Commands:\n", out);
    for (const leati_tool_command *c = commands; c->name; c++)
        if (c->summary)
            fprintf(out, "  %-8s %s\n", c->name, c->summary);
    fprintf(out, "\n%s", text);
    fclose(out);
    return list;
}

static const struct argp argp = {
    .parser = parse_option,
    .args_doc = "COMMAND [ARGUMENT...]",
    .doc = "Moves data between programs through leat's channels.\v" LEATI_CONFIG_HELP
           "\n`leat COMMAND --help` explains a command. Exit status: 0 done, 1 it failed, 2 usage.",
    .help_filter = list_commands,
};

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "leat %s\n", leat_version());
}

static int usage(const char *sentence, const char *word)
{
    fprintf(stderr, "leat: %s%s; `leat --help` lists the commands\n", sentence, word);
    return LEATI_EXIT_USAGE;
}

/* The options that leat_config_args() takes out: what is in `all` and no longer in `left`; it keeps the order. */
static void find_taken(leati_tool *tool, char **all, int all_n, char **left, int left_n)
{
    int next = 0;

    for (int i = 0; i < all_n; i++) {
        if (next < left_n && all[i] == left[next])
            next++;
        else
            tool->taken[tool->taken_n++] = all[i];
    }
}

/* Leaves out --transport: without a channel in the configuration it would be refused, and a command may yet make one. */
static int leave_out_transport(char **argv, int argc)
{
    static const char option[] = "--transport";
    int kept = 0, i = 0;

    for (; i < argc && (i == 0 || strcmp(argv[i], "--") != 0); i++) {
        if (strcmp(argv[i], option) == 0 && i + 1 < argc)
            i++;
        else if (strncmp(argv[i], "--transport=", sizeof(option)) != 0)
            argv[kept++] = argv[i];
    }
    while (i < argc)
        argv[kept++] = argv[i++];
    argv[kept] = NULL;
    return kept;
}

static const leati_tool_command *find_command(const char *name)
{
    for (const leati_tool_command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int main(int argc, char **argv)
{
    struct arguments a;
    leati_tool tool = {0};
    int all_n = argc, status;
    char **all = malloc(((size_t)argc + 1) * sizeof(*all));

    tool.taken = calloc((size_t)argc + 1, sizeof(*tool.taken));
    if (!all || !tool.taken || leat_config_new(&tool.config) < 0) {
        fprintf(stderr, "leat: no memory\n");
        status = LEATI_EXIT_FAILED;
        goto free_lists;
    }
    memcpy(all, argv, ((size_t)argc + 1) * sizeof(*all));
    argc = leave_out_transport(argv, argc);
    if (leat_config_args(tool.config, &argc, argv) < 0) {
        fprintf(stderr, "leat: %s\n", leat_error());
        status = LEATI_EXIT_FAILED;
        goto free_config;
    }
    find_taken(&tool, all, all_n, argv, argc);

    argp_program_version_hook = print_version;
    argp_err_exit_status = LEATI_EXIT_USAGE;
    a.command = argc;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
    if (a.command == argc) {
        status = usage("which command?", "");
        goto free_config;
    }
    const leati_tool_command *command = find_command(argv[a.command]);
    status = command ? command->run(&tool, argc - a.command, argv + a.command)
                     : usage("there is no command ", argv[a.command]);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "leat: standard output: %s\n", strerror(errno));
        status = LEATI_EXIT_FAILED;
    }

free_config:
    leat_config_free(tool.config);
free_lists:
    free(tool.taken);
    free(all);
    return status;
}
