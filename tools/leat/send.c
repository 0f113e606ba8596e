/* SPDX-License-Identifier: MIT
 *
 * send.c - `leat send CHANNEL [FILE]`: reads straight into messages and sends them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leat/plugin.h>

#include "tool.h"

#define MESSAGE_SIZE (1024 * 1024)

static const struct argp_option option_table[] = {
    {"size", 's', "SIZE", 0, "Bytes of one message, with K, M or G; 1M if not given", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    leati_transfer *t = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = t;
        return 0;
    case 's':
        if (!leati_size_parse(arg, &t->size))
            argp_error(state, "--size: \"%s\" is not a number of bytes (1 and up; K, M, G may follow)", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&leati_transfer_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc = "CHANNEL [FILE]",
    .doc = "Sends FILE, or standard input, through CHANNEL."
           "\vCHANNEL is a section [channel CHANNEL] of the configuration. Without one, a channel of type push is made "
           "that connects to the address CHANNEL.\n\n" LEATI_CONFIG_HELP,
    .children = children,
};

struct input {
    int fd;
    const char *name;
    bool is_file; /* its size is known */
    uint64_t total;
};

/* Reads until `size` bytes are there, the end has come, or, from a pipe, nothing more is there yet. */
static ssize_t fill(const struct input *in, char *data, size_t size)
{
    size_t filled = 0;

    while (filled < size) {
        ssize_t n = read(in->fd, data + filled, size - filled);
        if (n < 0) {
            if (errno == EINTR && !leati_interrupted())
                continue;
            return leat_fail(errno, "%s: %s", in->name, strerror(errno));
        }
        if (n == 0)
            break;
        filled += (size_t)n;
        struct pollfd more = {.fd = in->fd, .events = POLLIN};
        if (!in->is_file && poll(&more, 1, 0) == 0)
            break;
    }
    return (ssize_t)filled;
}

static int send_message(leati_transfer *t, leat_msg *msg)
{
    int r;

    /* A signal that is not ours, e.g. of a resized terminal, ends no transfer. */
    while ((r = leat_send(t->ch, msg, -1)) == -EINTR && !leati_interrupted())
        ;
    return r;
}

static int send_all(leati_transfer *t, const struct input *in)
{
    for (;;) {
        leat_msg msg = LEAT_MSG_INIT;
        uint64_t left = in->total > t->bytes ? in->total - t->bytes : 1;
        uint64_t size = in->is_file && left < t->size ? left : t->size;
        int r;

        while ((r = leat_msg_alloc(t->ch, size, -1, &msg)) == -EINTR && !leati_interrupted())
            ;
        if (r < 0)
            return r;
        ssize_t n = fill(in, leat_msg_data(&msg), size);
        if (n <= 0) {
            leat_msg_close(&msg);
            return (int)n;
        }
        if ((r = leat_msg_truncate(&msg, (size_t)n)) >= 0) {
            if (t->digest)
                leati_digest_update(t->digest, leat_msg_data(&msg), (size_t)n);
            r = send_message(t, &msg);
        }
        if (r < 0) {
            leat_msg_close(&msg);
            return r;
        }
        t->messages++;
        t->bytes += (uint64_t)n;
        leati_progress_show(&t->progress, t->bytes, in->total);
    }
}

static int open_input(const leati_transfer *t, struct input *ret_in)
{
    struct input in = {.fd = STDIN_FILENO, .name = "standard input"};
    struct stat st;

    if (t->file) {
        in.name = t->file;
        in.fd = open(t->file, O_RDONLY | O_CLOEXEC);
        if (in.fd < 0)
            return -errno;
    }
    int r = fstat(in.fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : 0;
    if (r < 0) {
        if (t->file)
            close(in.fd);
        return r;
    }
    off_t at = lseek(in.fd, 0, SEEK_CUR);
    if (S_ISREG(st.st_mode) && at >= 0) {
        in.is_file = true;
        in.total = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    }
    *ret_in = in;
    return 0;
}

int leati_send_run(leati_tool *tool, int argc, char **argv)
{
    leati_transfer t = {.command = "send", .size = MESSAGE_SIZE};
    struct input in = {.fd = -1};
    int r;

    leati_tool_parse(&argp, argc, argv, &t);
    if (t.file && strcmp(t.file, "-") == 0)
        t.file = NULL;
    if ((r = open_input(&t, &in)) < 0)
        return leati_tool_fail("send", "%s: %s", t.file ? t.file : "standard input", strerror(-r));
    r = leati_transfer_open(&t, tool);
    if (r >= 0)
        r = send_all(&t, &in);
    /* Nothing to send still is a transfer: the receiver must see somebody come and go. */
    if (r >= 0 && t.messages == 0)
        while ((r = leat_channel_wait_peers(t.ch, 1, -1)) == -EINTR && !leati_interrupted())
            ;
    if (t.file)
        close(in.fd);
    if (r < 0)
        leati_transfer_give_up(&t, r);
    return leati_transfer_end(&t, r);
}
