/* SPDX-License-Identifier: MIT
 *
 * loops.h - the measured loops, the same for all contestants. They are inlined into each contestant's file together with
 * its own send and receive, so that no call through a pointer is measured that its user would not make.
 */
#ifndef LEAT_BENCH_LOOPS_H
#define LEAT_BENCH_LOOPS_H

#include "bench.h"
#include "payload.h"

/* A contestant's two operations. Each returns 0, or -1 with bench_failed() said. */
typedef struct loop_ops {
    /* Makes a message of `size` bytes, fills it with `number` if `touch`, sends it. */
    int (*send)(void *handle, size_t size, uint64_t number, bool touch);
    /* Receives a message of `size` bytes, sums it up if `touch` (else the sum is the expected one), lets it go. */
    int (*recv)(void *handle, size_t size, uint64_t number, bool touch, uint64_t *ret_sum);
} loop_ops;

#define LOOP static inline __attribute__((always_inline))

static inline int loop_check(const bench_job *job, uint64_t sum, uint64_t expected)
{
    return sum == expected ? 0 : bench_failed(job, "other bytes arrived than were sent");
}

LOOP int loop_round_trip(const loop_ops *ops, void *handle, size_t size, uint64_t number, bool touch, uint64_t *sum)
{
    uint64_t got = 0;
    if (ops->send(handle, size, number, touch) < 0 || ops->recv(handle, size, number, touch, &got) < 0)
        return -1;
    *sum += got;
    return 0;
}

/* Round trips of `count` times `group`, with a look at the clock after each group. */
LOOP int loop_groups(const loop_ops *ops, void *handle, const bench_job *job, bool touch, uint64_t count,
                     unsigned group, uint64_t *number, uint64_t *ret_ticks)
{
    uint64_t sum = 0, expected = 0, start = bench_ticks(), before = start;
    uint32_t *samples = job->board->samples;
    for (uint64_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < group; k++, ++*number) {
            expected += payload_expected(job->size, *number);
            if (loop_round_trip(ops, handle, job->size, *number, touch, &sum) < 0)
                return -1;
        }
        uint64_t now = bench_ticks(), took = now - before;
        samples[i] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
        before = now;
    }
    *ret_ticks = before - start;
    return loop_check(job, sum, expected);
}

/* End 0 of a ping-pong. A look at the clock costs as much as a part of a short round trip, and keeps the processor from
 * beginning the next one ahead of time, which no program does whose messages come when they come. So round trips are timed
 * one by one, and in a tight loop too. */
LOOP int loop_ping(const loop_ops *ops, void *handle, const bench_job *job, bool touch)
{
    uint64_t number = 1, ticks, groups = bench_groups(job);
    if (loop_groups(ops, handle, job, touch, job->warm_up, 1, &number, &ticks) < 0 ||
        loop_groups(ops, handle, job, touch, groups, BENCH_GROUP, &number, &ticks) < 0)
        return -1;
    bench_note_groups(job, groups, ticks);
    if (loop_groups(ops, handle, job, touch, job->count, 1, &number, &ticks) < 0)
        return -1;
    bench_note_round_trips(job, ticks);
    return 0;
}

/* End 1 of a ping-pong. */
LOOP int loop_pong(const loop_ops *ops, void *handle, const bench_job *job, bool touch)
{
    size_t size = job->size;
    uint64_t sum = 0, expected = 0, got = 0, last = job->warm_up + bench_groups(job) * BENCH_GROUP + job->count;
    for (uint64_t number = 1; number <= last; number++) {
        if (ops->recv(handle, size, number, touch, &got) < 0 || ops->send(handle, size, number, touch) < 0)
            return -1;
        sum += got;
        expected += payload_expected(size, number);
    }
    return loop_check(job, sum, expected);
}

LOOP int loop_source(const loop_ops *ops, void *handle, const bench_job *job)
{
    for (uint64_t number = 1; number <= job->warm_up + job->count; number++)
        if (ops->send(handle, job->size, number, true) < 0)
            return -1;
    return 0;
}

LOOP int loop_sink(const loop_ops *ops, void *handle, const bench_job *job)
{
    size_t size = job->size;
    uint64_t sum = 0, expected = 0, number = 1, got = 0;
    for (uint64_t i = 0; i < job->warm_up; i++, number++) {
        if (ops->recv(handle, size, number, true, &got) < 0)
            return -1;
        sum += got;
        expected += payload_expected(size, number);
    }
    uint64_t start = bench_ticks();
    for (uint64_t i = 0; i < job->count; i++, number++) {
        if (ops->recv(handle, size, number, true, &got) < 0)
            return -1;
        sum += got;
        expected += payload_expected(size, number);
    }
    bench_note_stream(job, bench_ticks() - start);
    return loop_check(job, sum, expected);
}

/* An end of the jobs that need two: both begin and end together. */
LOOP int loop_run(const loop_ops *ops, void *handle, const bench_job *job, int end)
{
    int r = 0;
    bench_meet(job);
    if (job->task == BENCH_STREAM)
        r = end == 0 ? loop_source(ops, handle, job) : loop_sink(ops, handle, job);
    else if (job->task == BENCH_LATENCY)
        r = end == 0 ? loop_ping(ops, handle, job, true) : loop_pong(ops, handle, job, true);
    else
        r = end == 0 ? loop_ping(ops, handle, job, false) : loop_pong(ops, handle, job, false);
    if (r == 0)
        bench_meet(job);
    return r;
}

#endif
