/* SPDX-License-Identifier: MIT
 *
 * shmadm.c - the administrator's tool: reads the options that all commands have in common, makes an administrator of
 * them, and hands the rest to a command plugin. Knows no command, no transport and no shared memory.
 */
#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <leat/admin.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2

#define KEY_SHMID 0x100
#define KEY_ALL 0x101
#define KEY_CONFIG 0x102
#define KEY_JSON 0x103
#define KEY_PLUGIN_DIR 0x104

struct arguments {
    leat_admin_options options;
    bool all;         /* --all-sessions */
    bool has_config;  /* --config was given */
    char **passed_on; /* argv for leat_config_args() */
    int passed_on_n;
    int command; /* where the command stands in argv, or argc */
};

static const struct argp_option option_table[] = {
    {"session", 's', "S", 0, "Look at session S only", 0},
    {"shmid", KEY_SHMID, "X", 0, "Look at the session with this id (eight hex digits) only", 0},
    {"all-sessions", KEY_ALL, NULL, 0, "Look at all sessions of this user, or as root of everybody (the default)", 0},
    {"config", KEY_CONFIG, "FILE", 0, "Read this INI file instead of $LEAT_CONFIG or /etc/leat/leat.ini", 0},
    {"json", KEY_JSON, NULL, 0, "Print JSON", 0},
    {"plugin-dir", KEY_PLUGIN_DIR, "DIR", 0, "Look for plugins here first; may be repeated", 0},
    {0},
};

static bool is_shmid(const char *text)
{
    return strlen(text) == 8 && strspn(text, "0123456789abcdef") == 8;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;

    switch (key) {
    case 's':
        a->options.session = arg;
        break;
    case KEY_SHMID:
        if (!is_shmid(arg))
            argp_error(state, "--shmid: \"%s\" is not eight hex digits (0-9, a-f)", arg);
        a->options.shmid = arg;
        break;
    case KEY_ALL:
        a->all = true;
        break;
    case KEY_CONFIG:
        a->has_config = true;
        a->passed_on[a->passed_on_n++] = (char *)"--config";
        a->passed_on[a->passed_on_n++] = arg;
        break;
    case KEY_JSON:
        a->options.json = true;
        break;
    case KEY_PLUGIN_DIR:
        a->passed_on[a->passed_on_n++] = (char *)"--plugin-dir";
        a->passed_on[a->passed_on_n++] = arg;
        break;
    case ARGP_KEY_ARG:
        a->command = state->next - 1;
        state->next = state->argc; /* the rest is the command's */
        break;
    case ARGP_KEY_END:
        if ((a->options.session != NULL) + (a->options.shmid != NULL) + a->all > 1)
            argp_error(state, "--session, --shmid and --all-sessions exclude each other");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc = "[COMMAND [ARGUMENT...]]",
    .doc = "Shows, checks and cleans what leat's transports keep on this machine."
           "\vWithout a COMMAND, the commands are listed; `shmadm COMMAND --help` explains one. Exit status: 0 done or "
           "nothing to do, 1 something was refused or failed, 2 usage.",
};

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "shmadm (leat) %s\n", leat_version());
}

static int fail(void)
{
    fprintf(stderr, "shmadm: %s\n", leat_error());
    return EXIT_FAILED;
}

/* A broken configuration that nobody asked for must not stop an administrator: it is told, and left out. */
static int make_config(struct arguments *a, leat_config **ret_config)
{
    leat_config *config;
    int argc = a->passed_on_n;
    int r = leat_config_new(&config);

    if (r < 0)
        return r;
    r = leat_config_args(config, &argc, a->passed_on);
    if (r < 0 && !a->has_config) {
        fprintf(stderr, "shmadm: %s; going on without this configuration\n", leat_error());
        a->passed_on[a->passed_on_n++] = (char *)"--config";
        a->passed_on[a->passed_on_n++] = (char *)"/dev/null";
        argc = a->passed_on_n;
        r = leat_config_args(config, &argc, a->passed_on);
    }
    if (r < 0) {
        leat_config_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

/* ---- listing and guessing -------------------------------------------------------------------------------------- */

static int print_command(const leat_plugin_info *info, void *user)
{
    if (!info->refused && strcmp(info->kind, "command") == 0) {
        printf("  %-12s %s\n", info->name, info->summary);
        ++*(int *)user;
    }
    return 0;
}

static int list_commands(leat_admin *admin)
{
    int commands = 0;

    printf("usage: shmadm [OPTION...] COMMAND [ARGUMENT...]\n\n");
    if (leat_admin_plugins(admin, print_command, &commands) < 0)
        return fail();
    if (commands == 0) {
        fprintf(stderr, "shmadm: no command was found; --plugin-dir, [leat] plugin_dir or $LEAT_PLUGIN_PATH say where "
                        "they are, `shmadm plugins` would say why some were refused\n");
        return EXIT_FAILED;
    }
    printf("\n`shmadm --help` explains the options, `shmadm COMMAND --help` a command.\n");
    return 0;
}

/* How many letters must be changed, added or left out to make `a` of `b`; names are short. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t row[LONGEST + 1], length = strlen(b);

    if (length > LONGEST || strlen(a) > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[length];
}

struct guess {
    const char *name;
    int found;
};

static int print_near(const leat_plugin_info *info, void *user)
{
    struct guess *guess = user;
    size_t length = strlen(guess->name);

    if (info->refused || strcmp(info->kind, "command") != 0)
        return 0;
    if (distance(guess->name, info->name) <= 2 || (length > 0 && strncmp(guess->name, info->name, length) == 0))
        fprintf(stderr, "%s%s", guess->found++ ? ", " : "; did you mean ", info->name);
    return 0;
}

static int unknown_command(leat_admin *admin, const char *name)
{
    struct guess guess = {name, 0};

    fprintf(stderr, "shmadm: there is no command \"%s\"", name);
    leat_admin_plugins(admin, print_near, &guess);
    fputs(guess.found ? "?\n" : "; `shmadm` alone lists the commands\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct arguments a = {.options = {.uid = -1}, .command = argc};
    leat_config *config;
    leat_admin *admin;
    int status;

    /* Each option makes at most two of them; two are our own. */
    a.passed_on = calloc((size_t)argc * 2 + 4, sizeof(*a.passed_on));
    if (!a.passed_on) {
        fprintf(stderr, "shmadm: no memory\n");
        return EXIT_FAILED;
    }
    a.passed_on[a.passed_on_n++] = argv[0];
    argp_program_version_hook = print_version;
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);

    if (make_config(&a, &config) < 0) {
        status = fail();
        goto free_arguments;
    }
    if (leat_admin_new(config, &a.options, &admin) < 0) {
        status = fail();
        goto free_config;
    }
    if (a.command == argc) {
        status = list_commands(admin);
    } else {
        status = leat_admin_run(admin, argc - a.command, argv + a.command);
        if (status == -ENOENT)
            status = unknown_command(admin, argv[a.command]);
        else if (status < 0)
            status = fail();
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "shmadm: standard output: %s\n", strerror(errno));
        status = EXIT_FAILED;
    }
    leat_admin_free(admin);

free_config:
    leat_config_free(config);
free_arguments:
    free(a.passed_on);
    return status;
}
