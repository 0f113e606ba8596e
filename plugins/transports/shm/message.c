/* SPDX-License-Identifier: MIT
 *
 * message.c - what a leat_msg of this transport holds, and how it lets go: own blocks, held (foreign) blocks, private
 * cells. A message may be closed in any thread and after its channel and context are gone, so each close finds out
 * whether it is on the channel's own thread (cheap) or not (under the engine's mutex).
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- own blocks --------------------------------------------------------------------------------------------------- */

/* True if the caller had the last reference. The load alone decides it when nobody else has one. */
static bool drop_reference(_Atomic uint32_t *refs)
{
    return atomic_load_explicit(refs, memory_order_acquire) == 1 ||
           atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void free_to_heap(engine *e, block *b)
{
    heap_free(&e->heap, b);
    if (unlikely(atomic_load_explicit(&e->memory_waiters, memory_order_seq_cst)))
        link_wake(e);
}

void message_put_block(port *p, block *b)
{
    if (!drop_reference(&b->refs))
        return;
    if (unlikely(b->class_index == HEAP_UNCACHED || p->cached_bytes + b->size > p->cached_max || !p->is_open ||
                 atomic_load_explicit(&p->engine->memory_waiters, memory_order_relaxed))) {
        free_to_heap(p->engine, b);
        return;
    }
    b->next = p->cache[b->class_index];
    p->cache[b->class_index] = b;
    p->cached_bytes += b->size;
    STORE(p->entry->cached_bytes, p->cached_bytes);
    STORE(p->entry->cached_blocks, p->entry->cached_blocks + 1);
}

void message_empty_cache(port *p)
{
    for (unsigned i = 0; i < HEAP_CLASSES; i++) {
        while (p->cache[i]) {
            block *b = p->cache[i];
            p->cache[i] = b->next;
            heap_free(&p->engine->heap, b);
        }
    }
    p->cached_bytes = 0;
    STORE(p->entry->cached_bytes, 0);
    STORE(p->entry->cached_blocks, 0);
}

static block *take_cached(port *p, uint16_t class_index)
{
    block *b = p->cache[class_index];
    if (!b)
        return NULL;
    p->cache[class_index] = b->next;
    p->cached_bytes -= b->size;
    STORE(p->entry->cached_bytes, p->cached_bytes);
    STORE(p->entry->cached_blocks, p->entry->cached_blocks - 1);
    atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

int message_alloc(port *p, size_t size, size_t align, leat_msg_body *ret_msg)
{
    if (size <= SLOT_SMALL_BYTES && align <= 16)
        return message_new_cell(size, ret_msg);
    engine *e = p->engine;
    uint16_t class_index;
    uint64_t rounded = heap_class(&e->heap, size, &class_index);
    block *b = NULL;
    if (align > LAYOUT_LINE)
        class_index = HEAP_UNCACHED;
    if (class_index != HEAP_UNCACHED) {
        b = take_cached(p, class_index);
        if (!b) {
            for (uint32_t i = 0; i < p->tx_count; i++)
                tx_take_returns(p, p->tx[i]);
            b = take_cached(p, class_index);
        }
    }
    if (!b) {
        int r = heap_alloc(&e->heap, rounded, align > LAYOUT_LINE ? align : LAYOUT_LINE, &b);
        if (r == -EAGAIN) {
            for (uint32_t i = 0; i < p->tx_count; i++)
                tx_take_returns(p, p->tx[i]);
            message_empty_cache(p);
            r = heap_alloc(&e->heap, rounded, align > LAYOUT_LINE ? align : LAYOUT_LINE, &b);
        }
        if (r < 0)
            return r;
        b->class_index = class_index;
    }
    p->handles++;
    ret_msg->kind = LEAT_BODY_BLOCK;
    ret_msg->flags = 0;
    ret_msg->timestamp_ns = 0;
    ret_msg->u.block.data = engine_at(e, b->offset);
    ret_msg->u.block.size = size;
    ret_msg->u.block.ops = &block_ops;
    ret_msg->u.block.owner = p;
    ret_msg->u.block.a = (uintptr_t)b;
    return 0;
}

static void block_release(leat_msg_body *msg)
{
    port *p = msg->u.block.owner;
    block *b = (block *)(uintptr_t)msg->u.block.a;
    engine *e = p->engine;
    if (unlikely(e->forked))
        return;
    if (likely(bias_is_owner(&p->lock))) {
        port_enter(p);
        bool open = p->is_open; /* if not, it was closed between the two: then the slow path counts */
        if (likely(open)) {
            p->handles--;
            message_put_block(p, b);
        }
        port_leave(p);
        if (likely(open))
            return;
    }
    pthread_mutex_lock(&e->mutex);
    if (drop_reference(&b->refs))
        free_to_heap(e, b);
    atomic_fetch_sub_explicit(&e->handles, 1, memory_order_relaxed);
    engine_unlock_and_collect(e);
}

static int block_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    port *p = msg->u.block.owner;
    atomic_fetch_add_explicit(&((block *)(uintptr_t)msg->u.block.a)->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->engine->handles, 1, memory_order_relaxed);
    *ret_copy = *msg;
    return 0;
}

/* Makes an own block with the bytes of `msg` and puts it in its place. */
static int replace_by_copy(engine *e, port *p, leat_msg_body *msg)
{
    block *b;
    if (e->forked)
        return leat_fail(ECHILD, "channel %s is the parent's; a forked child makes its own context", p->name);
    int r = heap_alloc(&e->heap, msg->u.block.size ? msg->u.block.size : 1, LAYOUT_LINE, &b);
    if (r < 0)
        return r == -EAGAIN ? leat_fail(EAGAIN,
                                        "channel %s: no free range of %llu bytes to copy a message into; "
                                        "[transport %s] heap_size is %llu",
                                        p->name, (unsigned long long)msg->u.block.size, e->kind->transport,
                                        (unsigned long long)e->seg.size)
                            : r;
    leat_msg_body old = *msg;
    memcpy(engine_at(e, b->offset), old.u.block.data, old.u.block.size);
    msg->u.block.data = engine_at(e, b->offset);
    msg->u.block.ops = &block_ops;
    msg->u.block.owner = p;
    msg->u.block.a = (uintptr_t)b;
    atomic_fetch_add_explicit(&e->handles, 1, memory_order_relaxed);
    old.u.block.ops->release(&old);
    return 0;
}

static int block_unshare(leat_msg_body *msg)
{
    port *p = msg->u.block.owner;
    block *b = (block *)(uintptr_t)msg->u.block.a;
    if (atomic_load_explicit(&b->refs, memory_order_acquire) == 1)
        return 0;
    return replace_by_copy(p->engine, p, msg);
}

const leat_msg_ops block_ops = {block_release, block_share, block_unshare};

/* ---- held blocks: other processes' --------------------------------------------------------------------------------- */

void message_flush_elsewhere(port *p)
{
    closed_elsewhere *c = atomic_exchange_explicit(&p->elsewhere, NULL, memory_order_acquire);
    while (c) {
        closed_elsewhere *next = c->next;
        rx_return(p, c->link->rx, c->reference);
        free(c);
        c = next;
    }
}

static void held_release(leat_msg_body *msg)
{
    lane_rx *rx = msg->u.block.owner;
    uint32_t reference = (uint32_t)msg->u.block.a;
    if (unlikely(rx->link->engine->forked))
        return;
    /* Other handles of this program to the same block: only the last returns it. */
    if (!drop_reference(&rx->handles[reference]))
        return;
    port *p = rx->link->port;
    if (likely(bias_is_owner(&p->lock))) {
        port_enter(p);
        bool open = p->is_open;
        if (likely(open))
            rx_return(p, rx, reference);
        port_leave(p);
        if (likely(open))
            return;
    }
    /* The link, and with it port and engine, stays until this reference is returned; the mutex keeps the engine until
     * we are done with it. */
    engine *e = p->engine;
    pthread_mutex_lock(&e->mutex);
    closed_elsewhere *c = e->detached ? NULL : malloc(sizeof *c);
    if (c) {
        c->link = rx->link;
        c->reference = reference;
        c->next = atomic_load_explicit(&p->elsewhere, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&p->elsewhere, &c->next, c, memory_order_release,
                                                      memory_order_relaxed))
            ;
        if (bias_ask(&p->lock))
            link_wake(e);
    } else {
        port_lock(p);
        rx_return(p, rx, reference);
        port_unlock(p);
    }
    engine_unlock_and_collect(e);
}

static int held_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    lane_rx *rx = msg->u.block.owner;
    atomic_fetch_add_explicit(&rx->handles[msg->u.block.a], 1, memory_order_relaxed);
    *ret_copy = *msg;
    return 0;
}

static int held_unshare(leat_msg_body *msg)
{
    lane_rx *rx = msg->u.block.owner;
    return replace_by_copy(rx->link->engine, rx->link->port, msg);
}

const leat_msg_ops held_ops = {held_release, held_share, held_unshare};

/* ---- cells: private memory ------------------------------------------------------------------------------------------ */

int message_new_cell(size_t size, leat_msg_body *ret_msg)
{
    cell *c = malloc(sizeof *c);
    if (!c)
        return -ENOMEM;
    atomic_init(&c->refs, 1);
    ret_msg->kind = LEAT_BODY_BLOCK;
    ret_msg->flags = 0;
    ret_msg->timestamp_ns = 0;
    ret_msg->u.block.data = c->data;
    ret_msg->u.block.size = size;
    ret_msg->u.block.ops = &cell_ops;
    ret_msg->u.block.owner = NULL;
    ret_msg->u.block.a = (uintptr_t)c;
    return 0;
}

static void cell_release(leat_msg_body *msg)
{
    cell *c = (cell *)(uintptr_t)msg->u.block.a;
    if (drop_reference(&c->refs))
        free(c);
}

static int cell_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    atomic_fetch_add_explicit(&((cell *)(uintptr_t)msg->u.block.a)->refs, 1, memory_order_relaxed);
    *ret_copy = *msg;
    return 0;
}

static int cell_unshare(leat_msg_body *msg)
{
    cell *c = (cell *)(uintptr_t)msg->u.block.a;
    if (atomic_load_explicit(&c->refs, memory_order_acquire) == 1)
        return 0;
    leat_msg_body fresh = {0};
    int r = message_new_cell(msg->u.block.size, &fresh);
    if (r < 0)
        return leat_fail(ENOMEM, "no memory to copy a message of %llu bytes", (unsigned long long)msg->u.block.size);
    memcpy(fresh.u.block.data, msg->u.block.data, msg->u.block.size);
    fresh.timestamp_ns = msg->timestamp_ns;
    cell_release(msg);
    *msg = fresh;
    return 0;
}

const leat_msg_ops cell_ops = {cell_release, cell_share, cell_unshare};
