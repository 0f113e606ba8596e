/* SPDX-License-Identifier: MIT
 *
 * measure.c - runs a job: two processes, each on a CPU of its own, while the parent sleeps; clocks, percentiles, medians.
 * Knows no contestant.
 */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60 /* for one job: a thousand times what it should take */
#define CALIBRATION_NS 20e6

static double ns_per_tick = 1;
static sigset_t awaited; /* SIGCHLD, and what asks the program to end */

/* ---- clocks -------------------------------------------------------------------------------------------------------- */

uint64_t bench_monotonic_ns(void);
uint64_t bench_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_prepare(void)
{
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGHUP);
    sigprocmask(SIG_BLOCK, &awaited, NULL);

    uint64_t ns = bench_monotonic_ns(), ticks = bench_ticks(), ns_end;
    do
        ns_end = bench_monotonic_ns();
    while ((double)(ns_end - ns) < CALIBRATION_NS);
    ns_per_tick = (double)(ns_end - ns) / (double)(bench_ticks() - ticks);
}

double bench_ns(uint64_t ticks)
{
    return (double)ticks * ns_per_tick;
}

double bench_clock_ns(void)
{
    enum { LOOKS = 10000 };
    uint64_t start = bench_ticks(), end = start;
    for (int i = 0; i < LOOKS; i++) {
        end = bench_ticks();
        __asm__ volatile("" : : "r"(end));
    }
    return bench_ns(end - start) / LOOKS;
}

double bench_others_at_work(void)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, KINDS };
    double all[2] = {0, 0}, idle[2] = {0, 0};
    for (int look = 0; look < 2; look++) {
        unsigned long long ticks[KINDS] = {0};
        if (look == 1)
            nanosleep(&(struct timespec){0, 250000000}, NULL);
        FILE *f = fopen("/proc/stat", "re");
        if (!f)
            return 0;
        int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &ticks[USER], &ticks[NICE], &ticks[SYSTEM],
                       &ticks[IDLE], &ticks[IOWAIT], &ticks[IRQ], &ticks[SOFTIRQ]);
        fclose(f);
        for (int kind = 0; kind < n; kind++)
            all[look] += (double)ticks[kind];
        idle[look] = (double)(ticks[IDLE] + ticks[IOWAIT]);
    }
    return all[1] > all[0] ? 1 - (idle[1] - idle[0]) / (all[1] - all[0]) : 0;
}

/* ---- figures ------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int by_ticks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void bench_note_groups(const bench_job *job, uint64_t groups, uint64_t ticks)
{
    bench_board *board = job->board;
    board->elapsed_ns = bench_ns(ticks);
    qsort(board->samples, groups, sizeof(*board->samples), by_ticks);
    board->loop_ns = bench_ns(board->samples[groups / 2]) / BENCH_GROUP / 2;
}

void bench_note_round_trips(const bench_job *job, uint64_t ticks)
{
    bench_board *board = job->board;
    board->elapsed_ns += bench_ns(ticks);
    qsort(board->samples, job->count, sizeof(*board->samples), by_ticks);
    board->p50_ns = bench_ns(board->samples[job->count / 2]) / 2;
    board->p99_ns = bench_ns(board->samples[job->count * 99 / 100]) / 2;
}

void bench_note_stream(const bench_job *job, uint64_t ticks)
{
    job->board->elapsed_ns = bench_ns(ticks);
    job->board->per_second = (double)job->count / job->board->elapsed_ns * 1e9;
}

/* ---- ends ---------------------------------------------------------------------------------------------------------- */

bool bench_cpus(int ret_cpus[2])
{
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return false;
    for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
        if (CPU_ISSET(cpu, &set))
            ret_cpus[n++] = cpu;
    return n == 2;
}

void bench_pin(const bench_job *job, int end)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(job->cpus[end], &set);
    sched_setaffinity(0, sizeof(set), &set);
}

int bench_failed(const bench_job *job, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(job->board->error, sizeof(job->board->error), format, args);
    va_end(args);
    return -1;
}

void bench_meet(const bench_job *job)
{
    uint32_t arrived = atomic_fetch_add(&job->board->arrived, 1) + 1, both = (arrived + 1) & ~UINT32_C(1);
    while (atomic_load(&job->board->arrived) < both)
        nanosleep(&(struct timespec){0, 50000}, NULL);
}

/* ---- the parent's side --------------------------------------------------------------------------------------------- */

static pid_t start(const bench_contestant *who, const bench_job *job, int end, void *memory)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigprocmask(SIG_UNBLOCK, &awaited, NULL);
    setpgid(0, 0); /* a Ctrl-C is the parent's to handle */
    _exit(who->run(job, end, memory) < 0);
}

static void end_all(const pid_t *pids, int n)
{
    for (int i = 0; i < n; i++)
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
    for (int i = 0; i < n; i++)
        if (pids[i] > 0)
            waitpid(pids[i], NULL, 0);
}

/* 1: all ended well; 0: some still run; -1: one failed. */
static int collect(const bench_job *job, pid_t *pids, int n)
{
    int status, running = 0;
    for (int i = 0; i < n; i++) {
        pid_t pid = pids[i] > 0 ? waitpid(pids[i], &status, WNOHANG) : 0;
        if (pid > 0) {
            pids[i] = 0;
            if (WIFSIGNALED(status))
                return bench_failed(job, "end %d was killed by signal %d", i, WTERMSIG(status));
            if (WEXITSTATUS(status) != 0)
                return job->board->error[0] ? -1 : bench_failed(job, "end %d failed", i);
        }
        running += pids[i] > 0;
    }
    return running == 0;
}

static int wait_for_ends(const bench_job *job, pid_t *pids, int n)
{
    const struct timespec patience = {.tv_sec = PATIENCE_S};
    for (;;) {
        int r = collect(job, pids, n);
        if (r != 0)
            return r < 0 ? -1 : 0;
        int signal = sigtimedwait(&awaited, NULL, &patience);
        if (signal < 0 && errno == EAGAIN)
            return bench_failed(job, "it did not end within %d s", PATIENCE_S);
        if (signal > 0 && signal != SIGCHLD)
            return 1;
    }
}

int bench_run(const bench_contestant *who, const bench_job *job)
{
    bench_board *board = job->board;
    pid_t pids[2] = {0, 0};
    int ends = job->task == BENCH_ALLOC ? 1 : 2, r = 0;
    size_t size = who->memory ? who->memory(job) : 0;
    void *memory = NULL;
    memset(board, 0, offsetof(bench_board, samples));
    if (size > 0) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return bench_failed(job, "no %zu bytes of shared memory: %s", size, strerror(errno));
    }
    for (int end = 0; end < ends && r == 0; end++) {
        pids[end] = start(who, job, end, memory);
        if (pids[end] < 0)
            r = bench_failed(job, "fork: %s", strerror(errno));
    }
    if (r == 0)
        r = wait_for_ends(job, pids, ends);
    if (r != 0)
        end_all(pids, ends);
    if (memory)
        munmap(memory, size);
    return r;
}
