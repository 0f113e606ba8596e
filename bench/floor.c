/* SPDX-License-Identifier: MIT
 *
 * floor.c - the floor under every latency: two processes bounce one cache line, and nothing else.
 */
#include "loops.h"

#include <stdatomic.h>

typedef struct floor_end {
    _Atomic uint64_t *line;
    uint64_t end;
} floor_end;

static size_t memory(const bench_job *job)
{
    (void)job;
    return 4096;
}

/* The line counts up: end 0 makes it odd, end 1 even. The bench's word for that is a message, and there is no payload. */
static int bounce(void *handle, size_t size, uint64_t number, bool touch)
{
    const floor_end *e = handle;
    (void)size;
    (void)touch;
    atomic_store_explicit(e->line, 2 * number - 1 + e->end, memory_order_release);
    return 0;
}

static int catch (void *handle, size_t size, uint64_t number, bool touch, uint64_t *ret_sum)
{
    const floor_end *e = handle;
    uint32_t turns = 0;
    (void)touch;
    while (atomic_load_explicit(e->line, memory_order_acquire) != 2 * number - e->end)
        bench_spin(&turns);
    *ret_sum = payload_expected(size, number);
    return 0;
}

static const loop_ops ops = {bounce, catch};

static int run(const bench_job *job, int end, void *shared)
{
    floor_end e = {shared, (uint64_t)end};
    bench_pin(job, end);
    return loop_run(&ops, &e, job, end);
}

const bench_contestant bench_floor = {.name = "cache line", .memory = memory, .run = run};
