/* SPDX-License-Identifier: MIT
 *
 * bench.h - what the parts of the bench agree on: a job (what is measured, how often), a contestant (who does it, with two
 * processes), and the board in shared memory on which a contestant leaves its figures. Knows no transport.
 */
#ifndef LEAT_BENCH_H
#define LEAT_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_SAMPLES 200000u /* round trips of one job of which the time is kept */

typedef enum bench_task {
    BENCH_LATENCY,  /* ping-pong, payload written and read in full: p50 and p99 of half a round trip */
    BENCH_STREAM,   /* one way, payload written and read in full: messages per second */
    BENCH_HANDOVER, /* ping-pong of messages that nobody touches: mean of half a round trip */
    BENCH_ALLOC,    /* one thread: allocate and close */
    BENCH_IDLE,     /* one end waits for a message that comes late: CPU time that the wait took */
} bench_task;

/* Where the two ends meet, and what they leave for the parent. */
typedef struct bench_board {
    _Atomic uint32_t arrived; /* how often an end came to bench_meet() */
    double p50_ns, p99_ns;    /* LATENCY; p50_ns alone: HANDOVER, ALLOC */
    double per_second;        /* STREAM */
    double cpu_share;         /* IDLE: of one CPU, 0 to 1 */
    double elapsed_ns;        /* what `count` took */
    char error[240];          /* "" or why an end failed */
    uint32_t samples[BENCH_SAMPLES];
} bench_board;

typedef struct bench_job {
    bench_task task;
    size_t size;         /* of the payload; a multiple of 16 */
    const char *wait;    /* leat: the channel's key; NULL: the default */
    uint32_t queue;      /* messages in flight, at most; a power of two */
    uint64_t in_flight;  /* bytes in flight, at most */
    uint64_t warm_up;    /* messages or round trips that are not measured, */
    uint64_t count;      /* and that are; IDLE: milliseconds */
    const char *session; /* a name that only this run has */
    unsigned number;     /* of this job in this run, for addresses */
    const int *cpus;     /* of end 0 and end 1 */
    bench_board *board;
} bench_job;

/* End 0 sends first and takes the times, but of a stream, which end 1 receives and times. */
typedef struct bench_contestant {
    const char *name;
    /* How much zeroed memory the ends want to share besides the board; NULL: none. */
    size_t (*memory)(const bench_job *job);
    /* Does the job as one of its ends, in a process of its own. 0, or -1 with bench_failed() said. */
    int (*run)(const bench_job *job, int end, void *memory);
} bench_contestant;

extern const bench_contestant bench_floor, bench_ring, bench_leat, bench_zmq;

/* leat.c: removes what killed processes of a session have left. */
void bench_leat_clean(const char *session);

/* ---- measure.c --------------------------------------------------------------------------------------------------- */

/* Runs a job in two processes (ALLOC: one) while this one sleeps. 0; -1: it failed, board->error says why; 1: a signal
 * asks the program to end. */
int bench_run(const bench_contestant *who, const bench_job *job);

/* Picks two CPUs that this process may use; false: there is only one. */
bool bench_cpus(int ret_cpus[2]);
/* Blocks the signals that bench_run() waits for, and measures what a tick is. To be called once, first. */
void bench_prepare(void);

/* For ends: puts the calling thread on its CPU; notes a failure (returns -1); waits for the other end. */
void bench_pin(const bench_job *job, int end);
int bench_failed(const bench_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bench_meet(const bench_job *job);

/* Leaves on the board what `samples` or a time in ticks says. */
void bench_note_round_trips(const bench_job *job, uint64_t ticks);
void bench_note_stream(const bench_job *job, uint64_t ticks);

double bench_ns(uint64_t ticks);
double bench_clock_cost_ns(void);
double bench_median(double *values, size_t n); /* sorts them */

/* One turn of waiting for the other process in vain. Where others use its CPU, spinning only keeps it from being served;
 * where they do not, it comes long before the count is full. */
static inline void bench_spin(uint32_t *turns)
{
    if (++*turns % 65536 == 0)
        sched_yield();
}

/* The cheapest clock that all CPUs agree on. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    extern uint64_t bench_monotonic_ns(void);
    return bench_monotonic_ns();
#endif
}

#endif
