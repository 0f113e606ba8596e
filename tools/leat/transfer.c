/* SPDX-License-Identifier: MIT
 *
 * transfer.c - what `leat send` and `leat recv` have in common: options, opening the channel (with a section of its own
 * where the configuration has none), and the words at the end. Moves no message itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/commands/command.h"
#include "tool.h"

#define KEY_SHA256 0x100
#define KEY_JSON 0x101

static const struct argp_option option_table[] = {
    {"sha256", KEY_SHA256, NULL, 0, "Print the SHA-256 of the bytes that passed", 0},
    {"verbose", 'v', NULL, 0, "Tell the figures at the end", 0},
    {"json", KEY_JSON, NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    leati_transfer *t = state->input;

    switch (key) {
    case KEY_SHA256:
        t->sha256 = true;
        return 0;
    case 'v':
        t->verbose = true;
        return 0;
    case KEY_JSON:
        t->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!t->channel_name)
            t->channel_name = arg;
        else if (!t->file)
            t->file = arg;
        else
            argp_error(state, "\"%s\" is one argument too many", arg);
        return 0;
    case ARGP_KEY_END:
        if (!t->channel_name)
            argp_error(state, "which CHANNEL?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp leati_transfer_argp = {.options = option_table, .parser = parse_option};

/* ---- opening --------------------------------------------------------------------------------------------------- */

static bool is_plain_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("._-", *p)))
            return false;
    return *name;
}

static bool is_set(const leat_config *config, const char *section, const char *key)
{
    const char *value;

    return leat_config_get(config, section, key, &value) == 0;
}

#define SETTINGS_MAX 4

/* What this transfer gives to its channel's section; returns how many. */
static size_t choose_settings(const leati_transfer *t, const leat_config *config, const char *section,
                              leati_tool_setting settings[SETTINGS_MAX])
{
    size_t n = 0;

    /* A channel that nobody has described: one way, the receiver bound, the address as it was written. */
    if (!is_set(config, section, "type") && !is_set(config, section, "address")) {
        settings[n++] = (leati_tool_setting){"type", t->receives ? "pull" : "push"};
        settings[n++] = (leati_tool_setting){"address", t->channel_name};
        if (!is_set(config, section, "method"))
            settings[n++] = (leati_tool_setting){"method", t->receives ? "bind" : "connect"};
    }
    /* A whole file's end must be told, and its last bytes must not be lost by leaving. */
    if (t->receives)
        settings[n++] = (leati_tool_setting){"at_end", "finish"};
    else if (!is_set(config, section, "linger"))
        settings[n++] = (leati_tool_setting){"linger", "forever"};
    return n;
}

int leati_transfer_open(leati_transfer *t, leati_tool *tool)
{
    leati_tool_setting settings[SETTINGS_MAX];
    char section[128];
    int r;

    /* A URI cannot name a section. */
    t->section = is_plain_name(t->channel_name) ? t->channel_name : t->command;
    snprintf(section, sizeof(section), "channel %s", t->section);
    size_t n = choose_settings(t, tool->config, section, settings);
    if ((r = leati_tool_configure(tool, section, settings, n)) < 0)
        return r;
    if ((r = leat_ctx_new(tool->config, &t->ctx)) < 0)
        return r;
    leati_interrupt_by_signal(t->ctx);
    if ((r = leat_channel_open(t->ctx, t->section, &t->ch)) < 0)
        return r;
    if ((t->sha256 || t->json) && !(t->digest = leati_digest_new()))
        return -ENOMEM;
    t->start_ns = leati_clock_ns();
    leati_progress_start(&t->progress);
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static int print_json(const leati_transfer *t, const leat_stats *stats, double seconds, FILE *out)
{
    char schema[32], text[LEATI_DIGEST_TEXT];
    leati_json *j;

    snprintf(schema, sizeof(schema), "leat.%s/1", t->command);
    int r = leati_json_new(schema, &j);
    if (r < 0)
        return r;
    leati_json_string(j, "channel", t->section);
    leati_json_number(j, "messages", (int64_t)t->messages);
    leati_json_number(j, "bytes", (int64_t)t->bytes);
    leati_json_real(j, "seconds", seconds);
    leati_json_string(j, "sha256", leati_digest_text(t->digest, text));
    leati_json_number(j, "redelivered", (int64_t)stats->redelivered);
    leati_json_number(j, "dropped", (int64_t)stats->dropped);
    r = leati_json_print(j, out);
    leati_json_free(j);
    return r;
}

static int print_figures(const leati_transfer *t, const leat_stats *stats, double seconds)
{
    char text[LEATI_DIGEST_TEXT], amount[LEATI_AMOUNT_TEXT], rate[LEATI_AMOUNT_TEXT];
    /* Standard output may be the file itself. */
    FILE *out = t->receives && !t->file ? stderr : stdout;

    if (t->verbose)
        fprintf(stderr, "%s: %" PRIu64 " messages, %s (%" PRIu64 " bytes) in %.3f s, %s/s\n", t->section, t->messages,
                leati_amount_text(t->bytes, amount), t->bytes, seconds,
                leati_amount_text(seconds > 0 ? (uint64_t)((double)t->bytes / seconds) : 0, rate));
    if (t->json)
        return print_json(t, stats, seconds, out);
    if (t->sha256)
        fprintf(out, "%s  %s\n", leati_digest_text(t->digest, text), t->file ? t->file : "-");
    return 0;
}

static int tell_failure(const leati_transfer *t, int r)
{
    return leati_interrupted() && r == -EINTR ? leati_tool_fail(t->command, "interrupted")
                                              : leati_tool_fail(t->command, "%s", leat_error());
}

void leati_transfer_give_up(leati_transfer *t, int r)
{
    if (!t->ch || leat_channel_peers(t->ch) == 0)
        return;
    leati_progress_end(&t->progress);
    _exit(tell_failure(t, r));
}

int leati_transfer_end(leati_transfer *t, int r)
{
    leat_stats stats = {0};
    int status = 0;

    leati_progress_end(&t->progress);
    if (r < 0)
        status = tell_failure(t, r);
    double seconds = (double)(leati_clock_ns() - t->start_ns) / 1e9;
    if (t->ch)
        leat_channel_stats(t->ch, &stats);
    leat_channel_close(t->ch);
    leat_ctx_free(t->ctx);
    leati_interrupt_by_signal(NULL);
    if (status == 0 && print_figures(t, &stats, seconds) < 0)
        status = leati_tool_fail(t->command, "%s", leat_error());
    leati_digest_free(t->digest);
    return status;
}
