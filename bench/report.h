/* SPDX-License-Identifier: MIT
 *
 * report.h - what was measured, as the driver hands it to the report: cells of figures, one per round. Knows neither how a
 * figure was made nor where it is printed.
 */
#ifndef LEAT_BENCH_REPORT_H
#define LEAT_BENCH_REPORT_H

#include "bench.h"

#define ROUNDS_MAX 99

/* A line of the tables: a contestant, for leat with a `wait`. */
typedef struct report_row {
    const char *title;
    const bench_contestant *who;
    const char *wait;
} report_row;

typedef struct report_cell {
    const report_row *row;
    bench_task task;
    size_t size;
    uint64_t count; /* of the next round */
    size_t rounds;  /* kept so far */
    double loop_ns[ROUNDS_MAX], p50_ns[ROUNDS_MAX], p99_ns[ROUNDS_MAX], per_second[ROUNDS_MAX], cpu_share[ROUNDS_MAX];
} report_cell;

typedef struct report {
    const report_row *rows;
    size_t n_rows;
    const report_row *floor, *ring, *poll, *idle; /* those that the marks speak of */
    report_cell *cells;
    size_t n_cells;
} report;

#define REPORT_PAYLOADS 4
extern const size_t report_payloads[REPORT_PAYLOADS];
#define REPORT_UNTOUCHED 3
extern const size_t report_untouched[REPORT_UNTOUCHED];
#define REPORT_HOT_BYTES 1024u /* alloc + close */
#define REPORT_IDLE_BYTES 32u

void report_tables(const report *r);
/* Prints the marks; returns how many were missed. */
int report_marks(const report *r);

#endif
