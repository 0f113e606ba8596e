/* SPDX-License-Identifier: MIT
 *
 * floor.c - the floor under every latency: two processes bounce one cache line, and nothing else.
 */
#include "bench.h"

#include <stdatomic.h>

static size_t memory(const bench_job *job)
{
    (void)job;
    return 4096;
}

static void wait_for(const _Atomic uint64_t *line, uint64_t value)
{
    uint32_t turns = 0;
    while (atomic_load_explicit(line, memory_order_acquire) != value)
        bench_spin(&turns);
}

/* The line counts up: end 0 makes it odd, end 1 even. */
static int run(const bench_job *job, int end, void *shared)
{
    _Atomic uint64_t *line = shared;
    uint64_t rounds = job->warm_up + job->count, start = 0, before = 0;
    bench_pin(job, end);
    bench_meet(job);
    for (uint64_t i = 0; i < rounds; i++) {
        if (end == 1) {
            wait_for(line, 2 * i + 1);
            atomic_store_explicit(line, 2 * i + 2, memory_order_release);
            continue;
        }
        atomic_store_explicit(line, 2 * i + 1, memory_order_release);
        wait_for(line, 2 * i + 2);
        uint64_t now = bench_ticks();
        if (i + 1 == job->warm_up)
            start = now;
        else if (i >= job->warm_up)
            job->board->samples[i - job->warm_up] = (uint32_t)(now - before);
        before = now;
    }
    if (end == 0)
        bench_note_round_trips(job, before - start);
    return 0;
}

const bench_contestant bench_floor = {.name = "cache line", .memory = memory, .run = run};
