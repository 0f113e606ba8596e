/* SPDX-License-Identifier: MIT
 *
 * message.c - messages by value: a small one lies in the struct, a block belongs to the transport that made it and is
 * reached through its leat_msg_ops. How a message travels is not known here.
 */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(leat_msg_body) == sizeof(leat_msg) && _Alignof(leat_msg_body) == _Alignof(leat_msg),
               "a body is what a leat_msg holds");
_Static_assert(sizeof(leat_msg) == 64, "a message is one cache line");

void leat_msg_init(leat_msg *msg)
{
    leati_body_clear(leati_body(msg));
}

void *leat_msg_data(leat_msg *msg)
{
    leat_msg_body *body = leati_body(msg);
    return body->kind == LEAT_BODY_INLINE ? body->u.bytes : body->u.block.data;
}

size_t leat_msg_size(const leat_msg *msg)
{
    return leati_body_size((const leat_msg_body *)msg);
}

int64_t leat_msg_timestamp(const leat_msg *msg)
{
    return ((const leat_msg_body *)msg)->timestamp_ns;
}

static LEATI_COLD void close_block(leat_msg_body *body)
{
    body->u.block.ops->release(body);
    leati_body_clear(body);
}

void leat_msg_close(leat_msg *msg)
{
    leat_msg_body *body = leati_body(msg);
    if (leati_likely(body->kind == LEAT_BODY_INLINE))
        leati_body_clear(body);
    else
        close_block(body);
}

void leat_msg_move(leat_msg *from, leat_msg *to)
{
    if (from == to)
        return;
    leati_body_close(leati_body(to));
    *leati_body(to) = *leati_body(from);
    leati_body_clear(leati_body(from));
}

int leat_msg_truncate(leat_msg *msg, size_t size)
{
    leat_msg_body *body = leati_body(msg);
    uint64_t had = leati_body_size(body);
    if (size > had)
        return leat_fail(EINVAL, "a message of %zu bytes cannot be truncated to %zu", (size_t)had, size);
    if (body->kind == LEAT_BODY_INLINE)
        body->inline_size = (uint32_t)size;
    else
        body->u.block.size = size;
    return 0;
}

int leat_msg_copy(leat_msg *msg, leat_msg *ret_copy)
{
    leat_msg_body *body = leati_body(msg), copy = *body;
    if (body->kind == LEAT_BODY_BLOCK) {
        int r = body->u.block.ops->share(body, &copy);
        if (r < 0)
            return r;
    }
    leati_body_close(leati_body(ret_copy));
    *leati_body(ret_copy) = copy;
    return 0;
}

int leat_msg_writable(leat_msg *msg)
{
    leat_msg_body *body = leati_body(msg);
    return body->kind == LEAT_BODY_INLINE ? 0 : body->u.block.ops->unshare(body);
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

int leati_port_alloc(leati_port *port, size_t size, size_t align, leat_msg_body *ret_msg)
{
    leati_body_clear(ret_msg);
    if (size <= LEAT_INLINE_MAX && align <= _Alignof(leat_msg)) {
        ret_msg->inline_size = (uint32_t)size;
        return 0;
    }
    return port->ops->alloc(port->port, size, align, ret_msg);
}

static bool has_heap_size(const leat_plugin *plugin)
{
    for (const leat_key *key = plugin->keys; key && key->name; key++)
        if (strcmp(key->name, "heap_size") == 0)
            return true;
    return false;
}

int leati_alloc_timed_out(const leat_channel *ch, const leati_port *port, size_t size, int timeout_ms)
{
    const leat_plugin *plugin = port->transport->plugin;
    bool heap = has_heap_size(plugin);
    return leat_fail(EAGAIN, "channel %s: no %zu bytes came free within %d ms%s%s%s", ch->name, size, timeout_ms,
                     heap ? "; more fits with a larger heap_size in [transport " : "", heap ? plugin->name : "",
                     heap ? "]" : "");
}

/* `timeout_ms` bounds the wait; ret_body is written only on success. */
static int allocate(leat_channel *ch, size_t size, size_t align, int timeout_ms, leat_msg_body *ret_body)
{
    leati_wait w = LEATI_WAIT(ch, LEAT_OUT, timeout_ms);
    leat_msg_body made;
    /* Not a wait yet: an interrupted program may still get what is there. */
    int r = leati_channel_begin(ch, 0);
    if (r < 0)
        return r;
    if (align == 0 || align & (align - 1) || align > 4096)
        return leat_fail(EINVAL, "channel %s: an alignment is a power of two up to 4096, not %zu", ch->name, align);
    if (size > ch->max_size)
        return leat_fail(EMSGSIZE, "channel %s: %zu bytes are more than max_msg_size = %llu", ch->name, size,
                         (unsigned long long)ch->max_size);
    while ((r = leati_port_alloc(ch->home, size, align, &made)) == -EAGAIN) {
        r = leati_wait_turn(&w);
        if (r == -EAGAIN)
            return leati_alloc_timed_out(ch, ch->home, size, timeout_ms);
        if (r < 0)
            return r;
    }
    if (r == 0)
        *ret_body = made;
    return r;
}

static __attribute__((noinline)) int alloc_slow(leat_channel *ch, size_t size, size_t align, int timeout_ms,
                                                leat_msg *ret_msg)
{
    leat_msg_body made;
    int r = allocate(ch, size, align, timeout_ms, &made);
    if (r < 0)
        return r;
    leati_body_close(leati_body(ret_msg));
    *leati_body(ret_msg) = made;
    return 0;
}

int leat_msg_alloc(leat_channel *ch, size_t size, int timeout_ms, leat_msg *ret_msg)
{
    leat_msg_body *body = leati_body(ret_msg);
    if (leati_likely(size <= ch->inline_size && !leati_ctx_bits(ch->ctx) && body->kind == LEAT_BODY_INLINE)) {
        leati_body_clear(body);
        body->inline_size = (uint32_t)size;
        return 0;
    }
    return alloc_slow(ch, size, _Alignof(leat_msg), timeout_ms, ret_msg);
}

int leat_msg_alloc_aligned(leat_channel *ch, size_t size, size_t align, int timeout_ms, leat_msg *ret_msg)
{
    return alloc_slow(ch, size, align, timeout_ms, ret_msg);
}

int leat_msg_from(leat_channel *ch, void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg *ret_msg)
{
    leat_msg_body made;
    leati_body_clear(&made);
    int r = leati_channel_begin(ch, 0);
    if (r < 0)
        return r;
    if (!data && size > 0)
        return leat_fail(EINVAL, "channel %s: a message of %zu bytes at NULL", ch->name, size);
    bool in_place = size > LEAT_INLINE_MAX && size <= ch->max_size && ch->home->ops->from;
    if (in_place) {
        r = ch->home->ops->from(ch->home->port, data, size, free_fn, hint, &made);
        if (r < 0)
            return r;
    } else {
        r = allocate(ch, size, _Alignof(leat_msg), 0, &made);
        if (r < 0)
            return r;
        if (size > 0)
            memcpy(made.kind == LEAT_BODY_INLINE ? made.u.bytes : made.u.block.data, data, size);
        if (free_fn)
            free_fn(data, hint);
    }
    leati_body_close(leati_body(ret_msg));
    *leati_body(ret_msg) = made;
    return 0;
}
