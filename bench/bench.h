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
#define BENCH_GROUP 16u       /* round trips in a loop that does not look at the clock */

typedef enum bench_task {
    BENCH_LATENCY,  /* ping-pong, payload written and read in full: half a round trip */
    BENCH_STREAM,   /* one way, payload written and read in full: messages per second */
    BENCH_HANDOVER, /* the same with a payload that nobody touches */
    BENCH_ALLOC,    /* one thread: allocate and close */
    BENCH_IDLE,     /* one end waits for a message that comes late: CPU time that the wait took */
} bench_task;

/* Where the two ends meet, and what they leave for the parent. */
typedef struct bench_board {
    _Atomic uint32_t arrived; /* how often an end came to bench_meet() */
    double p50_ns, p99_ns;    /* LATENCY, HANDOVER: of half a round trip, each timed by itself */
    double loop_ns;           /* the same in a loop that does not look at the clock; ALLOC: of one */
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

/* How many groups of round trips a job has besides its `count` single ones. */
static inline uint64_t bench_groups(const bench_job *job)
{
    return job->count / BENCH_GROUP + 1;
}

/* Leave on the board what `samples` and the ticks that they took say: first of groups, then of single round trips. */
void bench_note_groups(const bench_job *job, uint64_t groups, uint64_t ticks);
void bench_note_round_trips(const bench_job *job, uint64_t ticks);
void bench_note_stream(const bench_job *job, uint64_t ticks);

double bench_ns(uint64_t ticks);
/* What a look at the clock costs. */
double bench_clock_ns(void);
double bench_median(double *values, size_t n); /* sorts them */
/* How busy the machine's CPUs are now, 0 to 1; takes a quarter of a second. */
double bench_others_at_work(void);

/* One turn of waiting for the other process in vain. The pause makes it faster: whoever reads a line less often hinders its
 * writer less. Where others use the partner's CPU, spinning only keeps it from being served; where they do not, the
 * partner comes long before the count is full. */
static inline void bench_spin(uint32_t *turns)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
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
