/* SPDX-License-Identifier: MIT
 *
 * demo_roles.c - the programs that `leat demo` starts: the source, the worker, and the one that asks for `shmadm info`.
 * Each is an ordinary user of leat.h. The sink has a file of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leat/admin.h>
#include <leat/plugin.h>

#include "demo.h"
#include "demo_role.h"

#define KEY_REPORT 0x100

static const struct argp_option option_table[] = {
    {"report", KEY_REPORT, "FD", 0, "Report on this descriptor", 0},
    {"number", 'n', "N", 0, "Which worker this is", 0},
    {"size", 's', "SIZE", 0, "Bytes of one message", 0},
    {"limit", 'l', "SIZE", 0, "Bytes to read at most", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    leati_demo_role *role = state->input;
    uint64_t number;

    switch (key) {
    case KEY_REPORT:
        role->report.fd = atoi(arg);
        return 0;
    case 'n':
    case 's':
    case 'l':
        if (!leati_size_parse(arg, &number))
            argp_error(state, "\"%s\" is not a number above 0", arg);
        *(key == 'n' ? &role->number : key == 's' ? &role->size : &role->limit) = number;
        return 0;
    case ARGP_KEY_ARG:
        role->file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {.options = option_table, .parser = parse_option, .doc = "Started by `leat demo`."};

int leati_demo_role_start(leati_demo_role *role, leati_tool *tool, int argc, char **argv)
{
    leati_tool_parse(&argp, argc, argv, role);
    signal(SIGPIPE, SIG_IGN);
    int r = leati_tool_configure(tool, NULL, NULL, 0);
    if (r >= 0)
        r = leat_ctx_new(tool->config, &role->ctx);
    if (r >= 0)
        leati_interrupt_by_signal(role->ctx);
    return r;
}

int leati_demo_role_end(leati_demo_role *role, int r)
{
    int status = r < 0 ? leati_tool_fail(role->name, "%s", r == -EINTR ? "interrupted" : leat_error()) : 0;

    leat_ctx_free(role->ctx);
    leati_interrupt_by_signal(NULL);
    return status;
}

/* ---- the source ------------------------------------------------------------------------------------------------ */

/* Fills messages from the input and sends them in order; half way it says so. */
static int send_input(leati_demo_role *role, leat_channel *out, leati_demo_input *in, leati_digest *digest)
{
    uint64_t half = leati_demo_input_size(in) / 2;
    bool half_told = false;

    for (;;) {
        leat_msg payload = LEAT_MSG_INIT;
        int r = leat_msg_alloc(out, role->size, -1, &payload);
        if (r < 0)
            return r;
        ssize_t n = leati_demo_input_read(in, leat_msg_data(&payload), role->size);
        if (n <= 0) {
            leat_msg_close(&payload);
            return (int)n;
        }
        leat_msg_truncate(&payload, (size_t)n);
        leati_digest_update(digest, leat_msg_data(&payload), (size_t)n);
        leati_demo_header header = {
            .number = role->messages,
            .size = (uint64_t)n,
            .checksum = leati_demo_checksum(leat_msg_data(&payload), (size_t)n),
        };
        r = leati_demo_send(out, &header, &payload);
        leat_msg_close(&payload);
        if (r < 0)
            return r;
        role->messages++;
        role->bytes += (uint64_t)n;
        leati_report_rate(&role->report, role->messages, role->bytes);
        if (!half_told && role->bytes >= half) {
            leati_report_half(&role->report);
            half_told = true;
        }
    }
}

/* Stays until the parent, which takes its picture of everybody at work, closes our standard input. */
static void wait_for_leave(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

int leati_demo_source_run(leati_tool *tool, int argc, char **argv)
{
    leati_demo_role role = {.name = "demo-source", .report.fd = -1, .size = 1024 * 1024};
    leati_demo_input *in = NULL;
    leati_digest *digest = leati_digest_new();
    leat_channel *out = NULL;
    char sha256[LEATI_DIGEST_TEXT];
    int r = leati_demo_role_start(&role, tool, argc, argv);

    if (r >= 0 && !digest)
        r = leat_fail(ENOMEM, "no memory");
    if (r >= 0)
        r = leati_demo_input_open(role.file, role.limit, &in);
    if (r >= 0)
        r = leat_channel_open(role.ctx, "source", &out);
    /* Else the first worker to come would get all of a short input. */
    if (r >= 0)
        r = leat_channel_wait_peers(out, LEATI_DEMO_WORKERS, -1);
    if (r >= 0)
        r = send_input(&role, out, in, digest);
    if (r >= 0) {
        /* An empty input has its half, too. */
        if (role.messages == 0)
            leati_report_half(&role.report);
        wait_for_leave();
        leati_report_end(&role.report, role.messages, role.bytes, leati_digest_text(digest, sha256),
                         leati_demo_input_text(in));
    }
    leat_channel_close(out);
    leati_demo_input_close(in);
    leati_digest_free(digest);
    return leati_demo_role_end(&role, r);
}

/* ---- the worker ------------------------------------------------------------------------------------------------ */

static int work(leati_demo_role *role, leat_channel *in, leat_channel *out)
{
    int r;

    for (;;) {
        leat_msg parts[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
        leati_demo_header header;
        if ((r = leati_demo_receive(in, parts, &header)) >= 0) {
            header.worker = role->number;
            r = leati_demo_send(out, &header, &parts[1]);
            role->messages++;
            role->bytes += header.size;
            leati_report_rate(&role->report, role->messages, role->bytes);
        }
        leat_msg_close(&parts[0]);
        leat_msg_close(&parts[1]);
        if (r < 0)
            return r == -EPIPE ? 0 : r;
    }
}

int leati_demo_worker_run(leati_tool *tool, int argc, char **argv)
{
    leati_demo_role role = {.name = "demo-worker", .report.fd = -1, .number = 1};
    leat_channel *in = NULL, *out = NULL;
    int r = leati_demo_role_start(&role, tool, argc, argv);

    if (r >= 0)
        r = leat_channel_open(role.ctx, "worker-out", &out);
    /* The sink must have seen every worker, also one that gets nothing to do. */
    if (r >= 0)
        r = leat_channel_wait_peers(out, 1, -1);
    if (r >= 0)
        r = leat_channel_open(role.ctx, "worker-in", &in);
    if (r >= 0)
        r = work(&role, in, out);
    leat_channel_close(in);
    leat_channel_close(out);
    if (r >= 0)
        leati_report_end(&role.report, role.messages, role.bytes, "-", "");
    return leati_demo_role_end(&role, r);
}

/* ---- the administrator ----------------------------------------------------------------------------------------- */

int leati_demo_info_run(leati_tool *tool, int argc, char **argv)
{
    leat_admin_options options = {.uid = (int64_t)geteuid()};
    char name[] = "info";
    char *info[] = {name, NULL};
    leat_admin *admin;

    (void)argv;
    if (argc > 1 || leat_config_get(tool->config, "leat", "session", &options.session) < 0)
        return LEATI_EXIT_USAGE;
    if (leat_admin_new(tool->config, &options, &admin) < 0)
        return leati_tool_fail("demo-info", "%s", leat_error());
    int status = leat_admin_run(admin, 1, info);
    if (status < 0)
        status = leati_tool_fail("demo-info", "%s", leat_error());
    leat_admin_free(admin);
    return status;
}
