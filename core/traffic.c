/* SPDX-License-Identifier: MIT
 *
 * traffic.c - messages through a channel. The direct path is one look at the context's attention, one at the message, and
 * the transport's own operation. Everything else is here too: blocks of other transports, turns over several ports,
 * parts, waiting, and the words for what went wrong.
 */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_ON_STACK 16

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* A message on its way out. What a port does not own is copied into its memory, once; parts[i] is then &copies[i]. The
 * originals are untouched until the port has taken all. */
typedef struct outgoing {
    leat_msg_body *msgs;
    leat_msg_body **parts;
    leat_msg_body *copies;
    size_t n;
    leati_port *copied_for;
    const leati_port *no_memory; /* the port that had no memory for a copy at the last try, */
    size_t no_memory_size;       /* of that size */
} outgoing;

static void drop_copies(outgoing *out)
{
    for (size_t i = 0; i < out->n; i++)
        if (out->parts[i] == &out->copies[i]) {
            leati_body_close(&out->copies[i]);
            out->parts[i] = &out->msgs[i];
        }
    out->copied_for = NULL;
}

static int copy_into(outgoing *out, leati_port *port, size_t i)
{
    const leat_msg_body *from = &out->msgs[i];
    leat_msg_body *to = &out->copies[i];
    size_t size = from->u.block.size;
    int r = leati_port_alloc(port, size, _Alignof(leat_msg), to);
    if (r == -EAGAIN) {
        out->no_memory = port;
        out->no_memory_size = size;
    }
    if (r < 0)
        return r;
    memcpy(to->kind == LEAT_BODY_INLINE ? to->u.bytes : to->u.block.data, from->u.block.data, size);
    to->timestamp_ns = from->timestamp_ns;
    out->parts[i] = to;
    return 0;
}

/* Makes all parts such as `port` takes. A failure keeps the copies made so far, for the next try. */
static int convert(outgoing *out, leati_port *port)
{
    if (out->copied_for && out->copied_for != port)
        drop_copies(out);
    out->no_memory = NULL;
    for (size_t i = 0; i < out->n; i++) {
        if (out->parts[i] != &out->msgs[i] || out->msgs[i].kind == LEAT_BODY_INLINE ||
            port->ops->owns(port->port, &out->msgs[i]))
            continue;
        out->copied_for = port;
        int r = copy_into(out, port, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_on(outgoing *out, leati_port *port)
{
    int r = convert(out, port);
    if (r < 0)
        return r;
    return port->ops->send(port->port, out->parts, out->n);
}

static int weight(const leati_port *port)
{
    int peers = atomic_load_explicit(&port->hook.peers, memory_order_acquire);
    return peers > 0 ? peers : 1;
}

static void next_turn(const leat_channel *ch, size_t *turn, int *left)
{
    *turn = (*turn + 1) % ch->nports;
    *left = weight(&ch->ports[*turn]);
}

/* PUSH deals in turn: each port as many messages as it has peers, if it has room. */
static int send_in_turn(leat_channel *ch, outgoing *out)
{
    for (size_t tries = 0; tries < ch->nports; tries++) {
        leati_port *port = &ch->ports[ch->send_turn];
        /* Asked first, so that a block is not copied for a port without room. */
        if (port->ops->ready(port->port, LEAT_OUT) & LEAT_OUT) {
            int r = send_on(out, port);
            if (r == 0 && --ch->send_left <= 0)
                next_turn(ch, &ch->send_turn, &ch->send_left);
            if (r != -EAGAIN)
                return r;
        }
        next_turn(ch, &ch->send_turn, &ch->send_left);
    }
    return -EAGAIN;
}

static int try_send(leat_channel *ch, outgoing *out)
{
    if (ch->nports == 1)
        return send_on(out, &ch->ports[0]);
    if (ch->pattern != LEAT_PAIR)
        return send_in_turn(ch, out);
    int i = atomic_load_explicit(&ch->pair_port, memory_order_acquire);
    return i < 0 ? -EAGAIN : send_on(out, &ch->ports[i]);
}

static int check_sizes(const leat_channel *ch, const outgoing *out)
{
    uint64_t total = 0;
    for (size_t i = 0; i < out->n; i++)
        total += leati_body_size(&out->msgs[i]);
    if (total > ch->max_size)
        return leat_fail(EMSGSIZE, "channel %s: %llu bytes are more than max_msg_size = %llu", ch->name,
                         (unsigned long long)total, (unsigned long long)ch->max_size);
    return 0;
}

/* Not said for timeout 0: a program that polls asks often, and the number says all. */
static int send_timed_out(const leat_channel *ch, const outgoing *out, int timeout_ms)
{
    int peers = leat_channel_peers(ch);
    if (out->no_memory)
        return leati_alloc_timed_out(ch, out->no_memory, out->no_memory_size, timeout_ms);
    if (timeout_ms == 0)
        return -EAGAIN;
    if (peers > 0)
        return leat_fail(EAGAIN,
                         "channel %s: none of %d peers had room within %d ms; queue and queue_bytes say how much"
                         " may wait",
                         ch->name, peers, timeout_ms);
    return leat_fail(EAGAIN, "channel %s: no peer within %d ms", ch->name, timeout_ms);
}

static int send_all(leat_channel *ch, outgoing *out, int timeout_ms)
{
    leati_wait w = LEATI_WAIT(ch, LEAT_OUT, timeout_ms);
    int r = check_sizes(ch, out);
    if (r < 0)
        return r;
    while ((r = try_send(ch, out)) == -EAGAIN) {
        r = leati_channel_refusal(ch);
        if (r == 0)
            r = leati_wait_turn(&w);
        if (r == -EAGAIN)
            r = send_timed_out(ch, out, timeout_ms);
        if (r < 0)
            break;
    }
    if (r < 0) {
        drop_copies(out);
        return r;
    }
    for (size_t i = 0; i < out->n; i++) {
        if (out->parts[i] == &out->copies[i])
            leati_body_close(&out->msgs[i]);
        else
            leati_body_clear(&out->msgs[i]);
    }
    return 0;
}

int leat_send_parts(leat_channel *ch, leat_msg *msgs, size_t n, int timeout_ms)
{
    leat_msg_body copies[PARTS_ON_STACK], *parts[PARTS_ON_STACK];
    outgoing out = {.msgs = leati_body(msgs), .n = n, .parts = parts, .copies = copies};
    void *memory = NULL;
    int r = leati_channel_begin(ch, timeout_ms);
    if (r < 0)
        return r;
    if (!ch->sends)
        return leat_fail(ENOTSUP, "channel %s is %s, which does not send", ch->name, leat_pattern_name(ch->pattern));
    if (n == 0)
        return leat_fail(EINVAL, "channel %s: a message has at least one part", ch->name);
    if (n > PARTS_ON_STACK) {
        if (n > SIZE_MAX / (sizeof(*out.copies) + sizeof(*out.parts)) ||
            posix_memalign(&memory, _Alignof(leat_msg), n * (sizeof(*out.copies) + sizeof(*out.parts))) != 0)
            return leat_fail(ENOMEM, "channel %s: no memory for a message of %zu parts", ch->name, n);
        out.copies = memory;
        out.parts = (leat_msg_body **)(out.copies + n);
    }
    for (size_t i = 0; i < n; i++)
        out.parts[i] = &out.msgs[i];
    r = send_all(ch, &out, timeout_ms);
    free(memory);
    return r;
}

static __attribute__((noinline)) int send_slow(leat_channel *ch, leat_msg *msg, int timeout_ms)
{
    return leat_send_parts(ch, msg, 1, timeout_ms);
}

int leat_send(leat_channel *ch, leat_msg *msg, int timeout_ms)
{
    leat_msg_body *body = leati_body(msg);
    if (leati_likely(!leati_ctx_bits(ch->ctx) &&
                     (body->kind == LEAT_BODY_INLINE ||
                      (body->u.block.size <= ch->max_size && ch->direct_owns(ch->direct_port, body)))) &&
        leati_likely(ch->direct_send(ch->direct_port, &body, 1) == 0)) {
        leati_body_clear(body);
        return 0;
    }
    return send_slow(ch, msg, timeout_ms);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Takes from the ports in fair turns. A message that was only looked at is the next one too: the turn stays. */
static int recv_in_turn(leat_channel *ch, leat_msg_body *const *parts, size_t capacity)
{
    for (size_t tries = 0; tries < ch->nports; tries++) {
        leati_port *port = &ch->ports[ch->recv_turn];
        int r = port->ops->recv(port->port, parts, capacity);
        if (r > 0 && capacity > 0 && --ch->recv_left <= 0)
            next_turn(ch, &ch->recv_turn, &ch->recv_left);
        if (r != -EAGAIN)
            return r;
        next_turn(ch, &ch->recv_turn, &ch->recv_left);
    }
    return -EAGAIN;
}

static int try_recv(leat_channel *ch, leat_msg_body *const *parts, size_t capacity)
{
    if (ch->nports == 1)
        return ch->ports[0].ops->recv(ch->ports[0].port, parts, capacity);
    if (ch->pattern != LEAT_PAIR)
        return recv_in_turn(ch, parts, capacity);
    int i = atomic_load_explicit(&ch->pair_port, memory_order_acquire);
    return i < 0 ? -EAGAIN : ch->ports[i].ops->recv(ch->ports[i].port, parts, capacity);
}

/* Fills empty bodies with the next message, waiting for it. */
static int receive(leat_channel *ch, leat_msg_body *const *parts, size_t capacity, int timeout_ms)
{
    leati_wait w = LEATI_WAIT(ch, LEAT_IN, timeout_ms);
    int r = leati_channel_begin(ch, timeout_ms);
    if (r < 0)
        return r;
    if (!ch->receives)
        return leat_fail(ENOTSUP, "channel %s is %s, which does not receive", ch->name, leat_pattern_name(ch->pattern));
    for (;;) {
        /* Looked at before the try: a message that came before the last peer went is then seen by the try. */
        bool ended = leati_channel_ended(ch);
        r = try_recv(ch, parts, capacity);
        if (r == -EMSGSIZE)
            return leat_fail(EMSGSIZE,
                             "channel %s: the next message has more than %zu part%s; leat_recv_parts() takes"
                             " several",
                             ch->name, capacity, capacity == 1 ? "" : "s");
        if (r != -EAGAIN)
            return r;
        if (ended)
            return leati_channel_end_error(ch);
        r = leati_channel_refusal(ch);
        if (r == 0)
            r = leati_wait_turn(&w);
        if (r == -EAGAIN && timeout_ms != 0)
            return leat_fail(EAGAIN, "channel %s: no message within %d ms", ch->name, timeout_ms);
        if (r < 0)
            return r;
    }
}

static __attribute__((noinline)) int recv_slow(leat_channel *ch, leat_msg *msg, int timeout_ms)
{
    leat_msg_body *body = leati_body(msg), old = *body, got, *part = body->kind == LEAT_BODY_INLINE ? body : &got;
    leati_body_clear(part);
    int r = receive(ch, &part, 1, timeout_ms);
    if (part == body) {
        if (r < 0)
            *body = old;
    } else if (r > 0) {
        leati_body_close(body);
        *body = got;
    }
    return r < 0 ? r : 0;
}

int leat_recv(leat_channel *ch, leat_msg *msg, int timeout_ms)
{
    leat_msg_body *body = leati_body(msg);
    if (leati_likely(!leati_ctx_bits(ch->ctx) && body->kind == LEAT_BODY_INLINE)) {
        /* The transport gets an empty message; the old one comes back if there is no new one. A receive that fails does
         * not touch the bytes. */
        uint32_t old_size = body->inline_size;
        int64_t old_timestamp_ns = body->timestamp_ns;
        body->inline_size = 0;
        body->timestamp_ns = 0;
        if (leati_likely(ch->direct_recv(ch->direct_port, &body, 1) == 1))
            return 0;
        if (timeout_ms != 0) {
            for (unsigned i = ch->hot_tries; i > 0 && !leati_ctx_bits(ch->ctx); i--) {
                leati_hold();
                if (leati_likely(ch->direct_recv(ch->direct_port, &body, 1) == 1))
                    return 0;
            }
        }
        body->inline_size = old_size;
        body->timestamp_ns = old_timestamp_ns;
    }
    return recv_slow(ch, msg, timeout_ms);
}

int leat_recv_parts(leat_channel *ch, leat_msg *msgs, size_t capacity, int timeout_ms)
{
    leat_msg_body few[PARTS_ON_STACK], *few_parts[PARTS_ON_STACK], *bodies = few, **parts = few_parts;
    void *memory = NULL;
    size_t room = capacity;
    int r = 0;
    if (capacity == 0 || capacity > PARTS_ON_STACK) {
        /* A large capacity is rarely used up: how many are there? */
        r = receive(ch, NULL, 0, timeout_ms);
        if (r < 0 || capacity == 0)
            return r;
        if ((size_t)r < room)
            room = (size_t)r;
    }
    if (room > PARTS_ON_STACK) {
        if (posix_memalign(&memory, _Alignof(leat_msg), room * (sizeof(*bodies) + sizeof(*parts))) != 0)
            return leat_fail(ENOMEM, "channel %s: no memory for a message of %zu parts", ch->name, room);
        bodies = memory;
        parts = (leat_msg_body **)(bodies + room);
    }
    for (size_t i = 0; i < room; i++) {
        parts[i] = &bodies[i];
        leati_body_clear(parts[i]);
    }
    r = receive(ch, parts, room, timeout_ms);
    for (int i = 0; i < r; i++) {
        leati_body_close(leati_body(&msgs[i]));
        *leati_body(&msgs[i]) = bodies[i];
    }
    free(memory);
    return r;
}
