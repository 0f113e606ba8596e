/* SPDX-License-Identifier: MIT
 *
 * ring.c - the least that can carry messages: a bare ring between one producer and one consumer, its slots of one cache
 * line, a sequence number in each. No descriptors to check, no books, nobody may die, nobody sleeps. What does not fit a
 * slot lies in a buffer of its own, one of as few as keep both ends busy.
 */
#include "loops.h"

#include <stdatomic.h>

#define SLOT_BYTES 56u
#define BUFFER_BYTES (UINT64_C(512) << 10) /* of all buffers of a ring, if that is two at least */

typedef struct ring_slot {
    _Atomic uint64_t sequence; /* index + 1 once published */
    unsigned char payload[SLOT_BYTES];
} __attribute__((aligned(64))) ring_slot;

/* In memory: this, the slots, the buffers; twice, for both directions. */
typedef struct ring_shared {
    _Atomic uint64_t head __attribute__((aligned(64))); /* slots taken, published every `step` */
    ring_slot slots[] __attribute__((aligned(64)));
} ring_shared;

typedef struct ring {
    ring_shared *shared;
    unsigned char *buffers;
    uint64_t index, head; /* head: the producer's copy */
    uint64_t mask, buffer_mask, step;
} ring;

typedef struct ring_end {
    ring out, in;
} ring_end;

/* Buffers are reused in the order of the slots, so there are no more messages in flight than buffers. */
static uint64_t slots_of(const bench_job *job)
{
    uint64_t n = job->queue;
    if (job->size > SLOT_BYTES)
        while (n > 2 && n * job->size > BUFFER_BYTES)
            n /= 2;
    return n;
}

static size_t ring_size(const bench_job *job)
{
    uint64_t slots = slots_of(job);
    return sizeof(ring_shared) + slots * sizeof(ring_slot) + (job->size > SLOT_BYTES ? slots * job->size : 0);
}

static size_t memory(const bench_job *job)
{
    return 2 * ring_size(job);
}

static ring attach(const bench_job *job, void *shared)
{
    uint64_t slots = slots_of(job);
    ring r = {.shared = shared, .mask = slots - 1, .step = slots >= 16 ? slots / 8 : 1};
    r.buffers = (unsigned char *)(r.shared->slots + slots);
    return r;
}

static int ring_send(void *handle, size_t size, uint64_t number, bool touch)
{
    ring *r = &((ring_end *)handle)->out;
    ring_slot *slot = &r->shared->slots[r->index & r->mask];
    uint32_t turns = 0;
    while (r->index - r->head > r->mask) {
        r->head = atomic_load_explicit(&r->shared->head, memory_order_acquire);
        bench_spin(&turns);
    }
    if (touch)
        payload_fill(size <= SLOT_BYTES ? slot->payload : r->buffers + (r->index & r->mask) * size, size, number);
    r->index++;
    atomic_store_explicit(&slot->sequence, r->index, memory_order_release);
    return 0;
}

static int ring_recv(void *handle, size_t size, uint64_t number, bool touch, uint64_t *ret_sum)
{
    ring *r = &((ring_end *)handle)->in;
    ring_slot *slot = &r->shared->slots[r->index & r->mask];
    uint32_t turns = 0;
    while (atomic_load_explicit(&slot->sequence, memory_order_acquire) != r->index + 1)
        bench_spin(&turns);
    *ret_sum = touch ? payload_sum(size <= SLOT_BYTES ? slot->payload : r->buffers + (r->index & r->mask) * size, size)
                     : payload_expected(size, number);
    r->index++;
    if ((r->index & (r->step - 1)) == 0)
        atomic_store_explicit(&r->shared->head, r->index, memory_order_release);
    return 0;
}

static const loop_ops ops = {ring_send, ring_recv};

static int run(const bench_job *job, int end, void *shared)
{
    unsigned char *second = (unsigned char *)shared + ring_size(job);
    ring_end e = {.out = attach(job, end == 0 ? shared : second), .in = attach(job, end == 0 ? second : shared)};
    bench_pin(job, end);
    return loop_run(&ops, &e, job, end);
}

const bench_contestant bench_ring = {.name = "bare ring", .memory = memory, .run = run};
