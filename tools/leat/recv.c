/* SPDX-License-Identifier: MIT
 *
 * recv.c - `leat recv CHANNEL [FILE]`: receives until the senders have left, and writes straight from the messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leat/plugin.h>

#include "tool.h"

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp_child children[] = {{&leati_transfer_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .parser = parse_option,
    .args_doc = "CHANNEL [FILE]",
    .doc =
        "Receives from CHANNEL into FILE, or to standard output, until the senders have left."
        "\vCHANNEL is a section [channel CHANNEL] of the configuration. Without one, a channel of type pull is made "
        "that is bound to the address CHANNEL. It ends when `expect` senders (default 1) have come and all have gone; "
        "`--set \"channel CHANNEL.at_end=wait\"` waits for new ones instead.\n\n" LEATI_CONFIG_HELP,
    .children = children,
};

/* The parts of the message in hand; grows when a message has more. */
struct parts {
    leat_msg *msgs;
    size_t capacity;
};

static int grow(struct parts *p, size_t capacity)
{
    leat_msg *msgs = aligned_alloc(_Alignof(leat_msg), capacity * sizeof(*msgs));

    if (!msgs)
        return leat_fail(ENOMEM, "no memory for a message of %zu parts", capacity);
    for (size_t i = 0; i < capacity; i++)
        leat_msg_init(&msgs[i]);
    for (size_t i = 0; i < p->capacity; i++)
        leat_msg_move(&p->msgs[i], &msgs[i]);
    free(p->msgs);
    *p = (struct parts){msgs, capacity};
    return 0;
}

/* How many parts the next message has, received into `p`. */
static int receive(leati_transfer *t, struct parts *p)
{
    for (;;) {
        int r = leat_recv_parts(t->ch, p->msgs, p->capacity, -1);
        if (r == -EMSGSIZE) {
            if ((r = leat_recv_parts(t->ch, NULL, 0, 0)) > 0)
                r = grow(p, (size_t)r);
            if (r >= 0)
                continue;
        }
        if (r != -EINTR || leati_interrupted())
            return r;
    }
}

static int write_parts(leati_transfer *t, struct parts *p, size_t n, int fd, const char *name)
{
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        const void *data = leat_msg_data(&p->msgs[i]);
        size_t size = leat_msg_size(&p->msgs[i]);
        if (r == 0 && (r = leati_write_all(fd, data, size)) < 0)
            leat_fail(-r, "%s: %s", name, strerror(-r));
        if (r == 0 && t->digest)
            leati_digest_update(t->digest, data, size);
        leat_msg_close(&p->msgs[i]);
        t->bytes += size;
    }
    t->messages++;
    return r;
}

static int receive_all(leati_transfer *t, int fd, const char *name)
{
    struct parts p = {NULL, 0};
    int written = 0, r = grow(&p, 4);

    while (r >= 0 && written >= 0 && (r = receive(t, &p)) >= 0) {
        written = write_parts(t, &p, (size_t)r, fd, name);
        leati_progress_show(&t->progress, t->bytes, 0);
    }
    free(p.msgs);
    if (written < 0)
        return written;
    return r == -EPIPE ? 0 : r;
}

int leati_recv_run(leati_tool *tool, int argc, char **argv)
{
    leati_transfer t = {.command = "recv", .receives = true};
    int fd = STDOUT_FILENO, r;

    leati_tool_parse(&argp, argc, argv, &t);
    if (t.file && strcmp(t.file, "-") == 0)
        t.file = NULL;
    /* A reader of our output that left early is an error like any other, not a death. */
    signal(SIGPIPE, SIG_IGN);
    /* The channel first: a mistake in its configuration must not cost an old FILE. */
    r = leati_transfer_open(&t, tool);
    if (r >= 0 && t.file) {
        fd = open(t.file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0)
            r = leat_fail(errno, "%s: %s", t.file, strerror(errno));
    }
    if (r >= 0)
        r = receive_all(&t, fd, t.file ? t.file : "standard output");
    if (t.file && fd >= 0 && fd != STDOUT_FILENO && close(fd) < 0 && r >= 0)
        r = leat_fail(errno, "%s: %s", t.file, strerror(errno));
    return leati_transfer_end(&t, r);
}
