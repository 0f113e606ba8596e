/* SPDX-License-Identifier: MIT
 *
 * message.c - the bytes of messages: allocated, the caller's, or received by libzmq, in a holder with a count of the
 * handles on them. Sending hands libzmq a reference, not a copy. Knows no port; needs no context, so that messages
 * outlive all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

typedef struct holder {
    atomic_int refs;
    leat_free_fn *free_fn; /* the caller's bytes */
    void *hint, *data;
    flow *flow;    /* received: where it is counted as held; or NULL */
    bool received; /* `msg` has the bytes */
    zmq_msg_t msg;
} holder;

/* ---- flow -----------------------------------------------------------------------------------------------------------
 */

flow *flow_new(leat_hook *hook)
{
    flow *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    atomic_init(&f->refs, 1);
    pthread_mutex_init(&f->lock, NULL);
    f->hook = hook;
    return f;
}

void flow_unref(flow *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void flow_add(flow *f, int64_t bytes)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    atomic_fetch_add(&f->bytes, bytes);
}

void flow_done(flow *f, int64_t bytes)
{
    /* Both sequentially consistent, as their partners in port_ready(): either it sees the bytes gone, or we see that it
     * waits. */
    atomic_fetch_sub(&f->bytes, bytes);
    if (atomic_exchange(&f->waited_for, false)) {
        pthread_mutex_lock(&f->lock);
        if (f->hook != NULL)
            leat_hook_wake(f->hook);
        pthread_mutex_unlock(&f->lock);
    }
    flow_unref(f);
}

void flow_close(flow *f)
{
    pthread_mutex_lock(&f->lock);
    f->hook = NULL;
    pthread_mutex_unlock(&f->lock);
    flow_unref(f);
}

/* ---- holders --------------------------------------------------------------------------------------------------------
 */

static void holder_unref(holder *h)
{
    if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (h->received)
        zmq_msg_close(&h->msg);
    if (h->free_fn != NULL)
        h->free_fn(h->data, h->hint);
    if (h->flow != NULL) {
        atomic_fetch_sub_explicit(&h->flow->held, 1, memory_order_relaxed);
        flow_unref(h->flow);
    }
    free(h);
}

static void body_set(leat_msg_body *body, holder *h, void *data, size_t size)
{
    memset(body, 0, sizeof(*body));
    body->kind = LEAT_BODY_BLOCK;
    body->u.block.data = data;
    body->u.block.size = size;
    body->u.block.ops = &block_ops;
    body->u.block.owner = h;
}

static void block_release(leat_msg_body *msg)
{
    holder_unref(msg->u.block.owner);
}

static int block_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    holder *h = msg->u.block.owner;

    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    *ret_copy = *msg;
    return 0;
}

static int block_unshare(leat_msg_body *msg)
{
    holder *h = msg->u.block.owner;
    leat_msg_body copy;
    int r;

    /* Acquire: what other handles' threads did with the bytes is done. */
    if (atomic_load_explicit(&h->refs, memory_order_acquire) == 1)
        return 0;
    r = block_alloc(msg->u.block.size, 64, &copy);
    if (r < 0)
        return r;
    memcpy(copy.u.block.data, msg->u.block.data, msg->u.block.size);
    copy.timestamp_ns = msg->timestamp_ns;
    holder_unref(h);
    *msg = copy;
    return 0;
}

const leat_msg_ops block_ops = {block_release, block_share, block_unshare};

int block_alloc(size_t size, size_t align, leat_msg_body *ret_msg)
{
    size_t offset;
    void *memory;
    holder *h;

    if (align < 64)
        align = 64;
    /* Holder and bytes in one piece. */
    offset = (sizeof(*h) + align - 1) & ~(align - 1);
    if (size > SIZE_MAX - offset || posix_memalign(&memory, align, offset + size) != 0)
        return leat_fail(ENOSPC, "no memory for a message of %zu bytes", size);
    h = memory;
    memset(h, 0, sizeof(*h));
    atomic_init(&h->refs, 1);
    body_set(ret_msg, h, (char *)memory + offset, size);
    return 0;
}

int block_from(void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg)
{
    holder *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return leat_fail(ENOMEM, "no memory for a message");
    atomic_init(&h->refs, 1);
    h->free_fn = free_fn;
    h->hint = hint;
    h->data = data;
    body_set(ret_msg, h, data, size);
    return 0;
}

/* Copies a message whose bytes libzmq put where a program that was written for shared memory cannot use them. */
static int align(zmq_msg_t *msg, flow *f, leat_msg_body *ret_msg)
{
    size_t size = zmq_msg_size(msg);
    holder *h;
    int r = block_alloc(size, 64, ret_msg);

    if (r < 0)
        return r;
    memcpy(ret_msg->u.block.data, zmq_msg_data(msg), size);
    zmq_msg_close(msg);
    h = ret_msg->u.block.owner;
    h->flow = f;
    return 0;
}

static void count_held(flow *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&f->held, 1, memory_order_relaxed);
}

int body_of_received(zmq_msg_t *msg, flow *f, leat_msg_body *ret_msg)
{
    size_t size = zmq_msg_size(msg);
    holder *h;
    int r;

    if (size <= LEAT_INLINE_MAX) {
        memset(ret_msg, 0, sizeof(*ret_msg));
        ret_msg->inline_size = (uint32_t)size;
        if (size > 0)
            memcpy(ret_msg->u.bytes, zmq_msg_data(msg), size);
        zmq_msg_close(msg);
        return 0;
    }
    if ((uintptr_t)zmq_msg_data(msg) % _Alignof(leat_msg) != 0) {
        r = align(msg, f, ret_msg);
        if (r == 0)
            count_held(f);
        return r;
    }
    h = calloc(1, sizeof(*h));
    if (h == NULL)
        return leat_fail(ENOMEM, "no memory to hold a message");
    atomic_init(&h->refs, 1);
    h->received = true;
    zmq_msg_init(&h->msg);
    zmq_msg_move(&h->msg, msg);
    h->flow = f;
    count_held(f);
    body_set(ret_msg, h, zmq_msg_data(&h->msg), size);
    return 0;
}

/* ---- sending --------------------------------------------------------------------------------------------------------
 */

/* One reference in libzmq's hands. */
typedef struct ticket {
    holder *holder;
    flow *flow; /* or NULL: not counted */
    int64_t bytes;
} ticket;

static void ticket_free(void *data, void *hint)
{
    ticket *t = hint;

    (void)data;
    holder_unref(t->holder);
    if (t->flow != NULL)
        flow_done(t->flow, t->bytes);
    free(t);
}

int message_of_body(const leat_msg_body *body, flow *f, zmq_msg_t *ret_msg)
{
    holder *h = body->u.block.owner;
    ticket *t;

    if (body->kind == LEAT_BODY_INLINE || body->u.block.size == 0) {
        size_t size = body->kind == LEAT_BODY_INLINE ? body->inline_size : 0;

        if (zmq_msg_init_size(ret_msg, size) < 0)
            return leat_fail(ENOMEM, "no memory to send a message");
        if (size > 0)
            memcpy(zmq_msg_data(ret_msg), body->u.bytes, size);
        return 0;
    }
    t = malloc(sizeof(*t));
    if (t == NULL)
        return leat_fail(ENOMEM, "no memory to send a message");
    t->holder = h;
    t->bytes = (int64_t)body->u.block.size;
    t->flow = t->bytes >= SMALL_BYTES ? f : NULL;
    /* Not zmq_msg_copy() of a received message: that writes into it, and other threads may have handles. */
    if (zmq_msg_init_data(ret_msg, body->u.block.data, body->u.block.size, ticket_free, t) < 0) {
        free(t);
        return leat_fail(ENOMEM, "no memory to send a message");
    }
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    if (t->flow != NULL)
        flow_add(f, t->bytes);
    return 0;
}
