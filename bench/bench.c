/* SPDX-License-Identifier: MIT
 *
 * bench.c - the physical floor, a bare ring, leat and libzmq in one run: round after round through all cells, so that what
 * disturbs the machine disturbs all alike. Reads the options, decides how often and how long; knows no contestant's ways.
 */
#include "report.h"

#include <argp.h>
#include <leat/leat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 9u
#define BUDGET_NS 40e6 /* what one cell measures in one round */
#define QUICK_BUDGET_NS 4e6
#define IDLE_MS 2000u
#define QUICK_IDLE_MS 200u
#define QUEUE 4096u /* leat's default */
#define IN_FLIGHT (UINT64_C(4) << 20)
#define STATUS_SKIP 77 /* cannot run here, as test programs say it */

typedef struct options {
    unsigned rounds;
    bool quick, strict;
} options;

static const report_row rows[] = {
    {"cache line", &bench_floor, NULL},           {"bare ring", &bench_ring, NULL},
    {"leat, wait = poll", &bench_leat, "poll"},   {"leat, wait = adaptive", &bench_leat, "adaptive"},
    {"leat, wait = sleep", &bench_leat, "sleep"},
#ifdef BENCH_ZMQ
    {"libzmq ipc, PAIR", &bench_zmq, NULL},
#endif
};
enum { ROW_FLOOR, ROW_RING, ROW_POLL, ROW_ADAPTIVE };
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- cells ----------------------------------------------------------------------------------------------------------- */

#define CELLS_MAX (N_ROWS * REPORT_PAYLOADS * 2 + REPORT_UNTOUCHED + 2)

/* What a first guess takes a few milliseconds at most; the rounds correct it. */
static uint64_t first_count(size_t size)
{
    return size <= 4096 ? 2000 : size <= 65536 ? 300 : 40;
}

static void add_cell(report *r, const report_row *row, bench_task task, size_t size, uint64_t count)
{
    report_cell *cell = &r->cells[r->n_cells++];
    memset(cell, 0, sizeof(*cell));
    cell->row = row;
    cell->task = task;
    cell->size = size;
    cell->count = count;
}

/* What is compared stands together: a virtual machine's host moves its CPUs nearer to each other or farther apart, within
 * seconds and by several times the latency. */
static void add_cells(report *r, const options *o)
{
    for (size_t i = 0; i < REPORT_PAYLOADS; i++) {
        size_t size = report_payloads[i];
        for (size_t k = i == 0 ? ROW_FLOOR : ROW_RING; k < N_ROWS; k++)
            add_cell(r, &rows[k], BENCH_LATENCY, size, first_count(size));
        for (size_t k = ROW_RING; k < N_ROWS; k++)
            add_cell(r, &rows[k], BENCH_STREAM, size, 5 * first_count(size));
    }
    for (size_t i = 0; i < REPORT_UNTOUCHED; i++)
        add_cell(r, &rows[ROW_POLL], BENCH_HANDOVER, report_untouched[i], 40);
    add_cell(r, &rows[ROW_POLL], BENCH_ALLOC, REPORT_HOT_BYTES, 20000);
    add_cell(r, &rows[ROW_ADAPTIVE], BENCH_IDLE, REPORT_IDLE_BYTES, o->quick ? QUICK_IDLE_MS : IDLE_MS);
}

/* How many messages may be in flight. */
static uint64_t most_in_flight(const bench_job *job, size_t size)
{
    uint64_t messages = job->in_flight / size;
    return messages < job->queue ? messages : job->queue;
}

/* How many fit into the budget, going by what the last round took; not too much at once, since a first round is slow. What
 * was in flight when the measuring began is to be little of a stream. */
static uint64_t next_count(const report_cell *cell, const bench_job *job, double elapsed_ns, double budget_ns)
{
    double factor = elapsed_ns > 0 ? budget_ns / elapsed_ns : 8;
    factor = factor > 8 ? 8 : factor < 0.125 ? 0.125 : factor;
    uint64_t count = (uint64_t)((double)cell->count * factor), least = 20;
    if (cell->task == BENCH_STREAM)
        least = most_in_flight(job, cell->size) * 10;
    else if ((cell->task == BENCH_LATENCY || cell->task == BENCH_HANDOVER) && count > BENCH_SAMPLES)
        count = BENCH_SAMPLES;
    return count < least ? least : count;
}

static int measure_cell(report_cell *cell, bench_job *job, const options *o, bool keep)
{
    job->task = cell->task;
    job->size = cell->size;
    job->wait = cell->row->wait;
    job->count = cell->count;
    job->warm_up = cell->count / 4 + 1;
    if (job->task == BENCH_STREAM)
        job->warm_up += 2 * most_in_flight(job, cell->size); /* each slot and buffer was used before */
    job->number++;
    int r = bench_run(cell->row->who, job);
    if (r < 0)
        fprintf(stderr, "bench: %s, %zu bytes: %s\n", cell->row->title, cell->size, job->board->error);
    if (r != 0)
        return r;
    const bench_board *board = job->board;
    if (cell->task != BENCH_IDLE)
        cell->count = next_count(cell, job, board->elapsed_ns, o->quick ? QUICK_BUDGET_NS : BUDGET_NS);
    if (keep) {
        cell->loop_ns[cell->rounds] = board->loop_ns;
        cell->p50_ns[cell->rounds] = board->p50_ns;
        cell->p99_ns[cell->rounds] = board->p99_ns;
        cell->per_second[cell->rounds] = board->per_second;
        cell->cpu_share[cell->rounds] = board->cpu_share;
        cell->rounds++;
    }
    return 0;
}

/* The first rounds only find out how many fit into a round. What takes long and needs no finding out is done once. */
static int measure(report *r, bench_job *job, const options *o)
{
    unsigned unkept = o->quick ? 0 : 2;
    for (unsigned round = 0; round < unkept + o->rounds; round++)
        for (size_t i = 0; i < r->n_cells; i++) {
            bool once = r->cells[i].task == BENCH_IDLE;
            if (once && round != unkept)
                continue;
            int failed = measure_cell(&r->cells[i], job, o, round >= unkept);
            if (failed)
                return failed;
        }
    return 0;
}

/* ---- options --------------------------------------------------------------------------------------------------------- */

enum { OPTION_QUICK = 1000, OPTION_STRICT };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *o = state->input;
    char *rest;
    unsigned long n;
    switch (key) {
    case 'r':
        n = strtoul(argument, &rest, 10);
        if (*rest || n < 1 || n > ROUNDS_MAX)
            argp_error(state, "--rounds is a number from 1 to %d, not \"%s\"", ROUNDS_MAX, argument);
        o->rounds = (unsigned)n;
        return 0;
    case OPTION_QUICK:
        o->quick = true;
        return 0;
    case OPTION_STRICT:
        o->strict = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"rounds", 'r', "N", 0, "How often everything is measured (9); the figures are medians", 0},
    {"quick", OPTION_QUICK, NULL, 0, "One short round: shows that everything runs, not how fast", 0},
    {"strict", OPTION_STRICT, NULL, 0, "Exit with 1 if a mark is missed", 0},
    {0},
};
static const struct argp argp = {
    .options = argp_options, .parser = parse, .doc = "Measures leat, what is below it, and what it is compared with."};

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static void print_machine(const bench_job *job, const options *o)
{
    double others = bench_others_at_work();
    printf("leat %s: one process on each of CPUs %d and %d; %u round%s of %.0f ms a cell, medians\n", leat_version(),
           job->cpus[0], job->cpus[1], o->rounds, o->rounds == 1 ? "" : "s",
           (o->quick ? QUICK_BUDGET_NS : BUDGET_NS) / 1e6);
    printf("in flight at most %u messages and %llu MiB; a look at the clock costs %.0f ns\n", job->queue,
           (unsigned long long)(job->in_flight >> 20), bench_clock_ns());
    printf("other programs used %.0f %% of the machine just before\n", 100 * others);
    if (others > 0.05)
        printf("this machine is busy: judge nothing by these figures\n");
#ifndef BENCH_ZMQ
    printf("libzmq is left out: this build has none (--without-zmq)\n");
#endif
    fflush(stdout);
}

static int measure_and_report(bench_job *job, report_cell *cells, const options *o)
{
    report found = {.rows = rows,
                    .n_rows = N_ROWS,
                    .floor = &rows[ROW_FLOOR],
                    .ring = &rows[ROW_RING],
                    .poll = &rows[ROW_POLL],
                    .idle = &rows[ROW_ADAPTIVE],
                    .cells = cells};
    add_cells(&found, o);
    print_machine(job, o);
    if (measure(&found, job, o) != 0) {
        bench_leat_clean(job->session);
        return EXIT_FAILURE;
    }
    report_tables(&found);
    printf("other programs used %.0f %% of the machine just after\n", 100 * bench_others_at_work());
    return report_marks(&found) > 0 && o->strict ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(const options *o)
{
    int cpus[2], status = EXIT_FAILURE;
    char session[32];
    if (!bench_cpus(cpus)) {
        fprintf(stderr, "bench: two processes at once need two CPUs, and this one may use one\n");
        return STATUS_SKIP;
    }
    report_cell *cells = calloc(CELLS_MAX, sizeof(*cells));
    bench_board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (cells && board != MAP_FAILED) {
        snprintf(session, sizeof(session), "bench-%d", (int)getpid());
        bench_job job = {.queue = QUEUE, .in_flight = IN_FLIGHT, .session = session, .cpus = cpus, .board = board};
        bench_prepare();
        status = measure_and_report(&job, cells, o);
    } else {
        fprintf(stderr, "bench: out of memory\n");
    }
    free(cells);
    if (board != MAP_FAILED)
        munmap(board, sizeof(*board));
    return status;
}

int main(int argc, char **argv)
{
    options o = {.rounds = 0};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.rounds == 0)
        o.rounds = o.quick ? 1 : ROUNDS;
    return run(&o);
}
