/* SPDX-License-Identifier: MIT
 *
 * demo_sink.c - the last program of `leat demo`: puts what the workers send back into the order of the input, holding what
 * comes early, and takes its SHA-256.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <leat/plugin.h>

#include "demo.h"
#include "demo_role.h"

/* What came early, at its number modulo the capacity (a power of two); numbers from `next` to `next + capacity` fit. */
struct window {
    leat_msg *msgs;
    bool *there;
    size_t capacity;
    uint64_t next;
};

static int window_grow(struct window *w, size_t capacity)
{
    leat_msg *msgs = aligned_alloc(_Alignof(leat_msg), capacity * sizeof(*msgs));
    bool *there = calloc(capacity, sizeof(*there));

    if (!msgs || !there) {
        free(msgs);
        free(there);
        return leat_fail(ENOMEM, "no memory for %zu messages that came early", capacity);
    }
    for (size_t i = 0; i < capacity; i++)
        leat_msg_init(&msgs[i]);
    for (uint64_t number = w->next; number < w->next + w->capacity; number++) {
        size_t from = number & (w->capacity - 1), to = number & (capacity - 1);
        there[to] = w->there[from];
        leat_msg_move(&w->msgs[from], &msgs[to]);
    }
    free(w->msgs);
    free(w->there);
    w->msgs = msgs;
    w->there = there;
    w->capacity = capacity;
    return 0;
}

static void window_free(struct window *w)
{
    for (size_t i = 0; i < w->capacity; i++)
        leat_msg_close(&w->msgs[i]);
    free(w->msgs);
    free(w->there);
}

/* Enters message `number`. Takes it over on success. */
static int window_put(struct window *w, uint64_t number, leat_msg *payload)
{
    size_t capacity = w->capacity;

    if (number - w->next < capacity && w->there[number & (capacity - 1)])
        return leat_fail(EBADMSG, "message %" PRIu64 " came twice", number);
    if (number < w->next)
        return leat_fail(EBADMSG, "message %" PRIu64 " came twice", number);
    while (number - w->next >= capacity && capacity <= SIZE_MAX / 4 / sizeof(*w->msgs))
        capacity *= 2;
    if (capacity != w->capacity) {
        int r = window_grow(w, capacity);
        if (r < 0)
            return r;
    }
    w->there[number & (capacity - 1)] = true;
    leat_msg_move(payload, &w->msgs[number & (capacity - 1)]);
    return 0;
}

/* Hashes and closes what is next in order. */
static void window_take(struct window *w, leati_demo_role *role, leati_digest *digest)
{
    size_t i;

    while (w->there[i = w->next & (w->capacity - 1)]) {
        leati_digest_update(digest, leat_msg_data(&w->msgs[i]), leat_msg_size(&w->msgs[i]));
        role->messages++;
        role->bytes += leat_msg_size(&w->msgs[i]);
        leat_msg_close(&w->msgs[i]);
        w->there[i] = false;
        w->next++;
    }
}

static bool window_empty(const struct window *w)
{
    for (size_t i = 0; i < w->capacity; i++)
        if (w->there[i])
            return false;
    return true;
}

static int gather(leati_demo_role *role, leat_channel *in, leati_digest *digest)
{
    struct window w = {0};
    int r = window_grow(&w, 64);

    while (r >= 0) {
        leat_msg parts[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
        leati_demo_header header;
        if ((r = leati_demo_receive(in, parts, &header)) >= 0) {
            r = header.worker ? window_put(&w, header.number, &parts[1])
                              : leat_fail(EBADMSG, "message %" PRIu64 " was checked by no worker", header.number);
            if (r >= 0)
                window_take(&w, role, digest);
            leati_report_rate(&role->report, role->messages, role->bytes);
        }
        leat_msg_close(&parts[0]);
        leat_msg_close(&parts[1]);
    }
    if (r == -EPIPE)
        r = window_empty(&w) ? 0 : leat_fail(EBADMSG, "message %" PRIu64 " never came", w.next);
    window_free(&w);
    return r;
}

int leati_demo_sink_run(leati_tool *tool, int argc, char **argv)
{
    leati_demo_role role = {.name = "demo-sink", .report.fd = -1};
    leati_digest *digest = leati_digest_new();
    leat_channel *in = NULL;
    char sha256[LEATI_DIGEST_TEXT];
    int r = leati_demo_role_start(&role, tool, argc, argv);

    if (r >= 0 && !digest)
        r = leat_fail(ENOMEM, "no memory");
    if (r >= 0)
        r = leat_channel_open(role.ctx, "sink", &in);
    if (r >= 0)
        r = gather(&role, in, digest);
    if (r >= 0)
        leati_report_end(&role.report, role.messages, role.bytes, leati_digest_text(digest, sha256), "");
    leat_channel_close(in);
    leati_digest_free(digest);
    return leati_demo_role_end(&role, r);
}
