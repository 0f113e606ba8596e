/* SPDX-License-Identifier: MIT
 *
 * common.c - small things that the commands of `leat` share: reading options, errors, sizes, signals, writing. Knows no
 * command.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

int leati_tool_configure(leati_tool *tool, const char *section, const leati_tool_setting *settings, size_t n)
{
    leat_config *config;
    int r, argc = tool->taken_n + 1;
    char name[] = "leat", **argv = calloc((size_t)argc + 1, sizeof(*argv));

    if (!argv)
        return -ENOMEM;
    argv[0] = name;
    memcpy(argv + 1, tool->taken, (size_t)tool->taken_n * sizeof(*argv));
    if ((r = leat_config_new(&config)) < 0)
        goto free_argv;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = leat_config_set(config, section, settings[i].key, settings[i].value);
    if (r >= 0)
        r = leat_config_args(config, &argc, argv);
    if (r < 0) {
        leat_config_free(config);
        goto free_argv;
    }
    leat_config_free(tool->config);
    tool->config = config;

free_argv:
    free(argv);
    return r;
}

void leati_tool_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    char name[64];
    char *plain = argv[0];

    snprintf(name, sizeof(name), "leat %s", plain);
    argv[0] = name;
    argp_err_exit_status = LEATI_EXIT_USAGE;
    argp_parse(argp, argc, argv, 0, NULL, input);
    argv[0] = plain;
}

int leati_tool_fail(const char *command, const char *format, ...)
{
    char sentence[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    /* In one piece: several programs may share a terminal. */
    dprintf(STDERR_FILENO, "leat %s: %s\n", command, sentence);
    return LEATI_EXIT_FAILED;
}

bool leati_size_parse(const char *text, uint64_t *ret_size)
{
    static const char units[] = "KMGT";
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uint64_t size = strtoull(text, &end, 10);
    if (errno)
        return false;
    if (*end) {
        const char *unit = strchr(units, *end);
        unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
        if (!unit || end[1] || size > UINT64_MAX >> shift)
            return false;
        size <<= shift;
    }
    if (size == 0 || size > INT64_MAX)
        return false;
    *ret_size = size;
    return true;
}

/* ---- signals --------------------------------------------------------------------------------------------------- */

static leat_ctx *volatile interrupted_ctx;
static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    leat_ctx *ctx = interrupted_ctx;

    (void)signal;
    interrupted = 1;
    if (ctx)
        leat_interrupt(ctx);
}

void leati_interrupt_by_signal(leat_ctx *ctx)
{
    /* No SA_RESTART: a read() that waits ends too. SA_RESETHAND: a second signal does not wait for anything. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};

    interrupted_ctx = ctx;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (interrupted && ctx)
        leat_interrupt(ctx);
}

bool leati_interrupted(void)
{
    return interrupted;
}

/* ---- system ---------------------------------------------------------------------------------------------------- */

int leati_write_all(int fd, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0) {
            if (errno == EINTR && !interrupted)
                continue;
            return -errno;
        }
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int64_t leati_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
