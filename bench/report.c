/* SPDX-License-Identifier: MIT
 *
 * report.c - the tables, and the marks that they are held to. Medians over the rounds; a mark that compares two contestants
 * takes the median of the rounds' ratios, since what disturbs a round disturbs both.
 */
#include "report.h"

#include <stdio.h>

const size_t report_payloads[REPORT_PAYLOADS] = {32, 4096, 65536, 1048576};
const size_t report_untouched[REPORT_UNTOUCHED] = {1024, 1048576, 67108864};

typedef const double *figures(const report_cell *cell);

static const double *p50(const report_cell *cell)
{
    return cell->p50_ns;
}

static const double *p99(const report_cell *cell)
{
    return cell->p99_ns;
}

static const double *loop(const report_cell *cell)
{
    return cell->loop_ns;
}

static const double *rate(const report_cell *cell)
{
    return cell->per_second;
}

static const double *share(const report_cell *cell)
{
    return cell->cpu_share;
}

static const report_cell *find(const report *r, const report_row *row, bench_task task, size_t size)
{
    for (size_t i = 0; i < r->n_cells; i++) {
        const report_cell *cell = &r->cells[i];
        if (cell->row == row && cell->task == task && cell->size == size && cell->rounds > 0)
            return cell;
    }
    return NULL;
}

static double median(const report_cell *cell, figures *which)
{
    double values[ROUNDS_MAX];
    for (size_t i = 0; i < cell->rounds; i++)
        values[i] = which(cell)[i];
    return bench_median(values, cell->rounds);
}

static double median_ratio(const report_cell *a, const report_cell *b, figures *which)
{
    double values[ROUNDS_MAX];
    size_t n = a->rounds < b->rounds ? a->rounds : b->rounds;
    for (size_t i = 0; i < n; i++)
        values[i] = which(a)[i] / which(b)[i];
    return bench_median(values, n);
}

/* ---- numbers for people ---------------------------------------------------------------------------------------------- */

#define TEXT 24

static const char *scaled(double value, double scale, const char *unit, char text[TEXT])
{
    value /= scale;
    snprintf(text, TEXT, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
    return text;
}

static const char *time_text(double ns, char text[TEXT])
{
    return ns < 999.5     ? scaled(ns, 1, "ns", text)
           : ns < 999.5e3 ? scaled(ns, 1e3, "us", text)
                          : scaled(ns, 1e6, "ms", text);
}

static const char *rate_text(double per_second, char text[TEXT])
{
    return per_second < 999.5e3 ? scaled(per_second, 1e3, "k/s", text) : scaled(per_second, 1e6, "M/s", text);
}

static const char *size_text(size_t size, char text[TEXT])
{
    if (size < 1024)
        snprintf(text, TEXT, "%zu B", size);
    else if (size < 1048576)
        snprintf(text, TEXT, "%zu KiB", size >> 10);
    else
        snprintf(text, TEXT, "%zu MiB", size >> 20);
    return text;
}

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

static void print_head(const char *first, const size_t *sizes, size_t n, int width)
{
    char text[TEXT];
    printf("%-22s", first);
    for (size_t i = 0; i < n; i++)
        printf("%*s", width, size_text(sizes[i], text));
    putchar('\n');
}

static bool has_any(const report *r, const report_row *row, bench_task task, const size_t *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (find(r, row, task, sizes[i]))
            return true;
    return false;
}

static void print_latency(const report *r)
{
    printf("\none way, p50 / p99 (half a round trip, each timed; payload written and read in full)\n");
    print_head("", report_payloads, REPORT_PAYLOADS, 21);
    for (size_t k = 0; k < r->n_rows; k++) {
        if (!has_any(r, &r->rows[k], BENCH_LATENCY, report_payloads, REPORT_PAYLOADS))
            continue;
        printf("%-22s", r->rows[k].title);
        for (size_t i = 0; i < REPORT_PAYLOADS; i++) {
            const report_cell *cell = find(r, &r->rows[k], BENCH_LATENCY, report_payloads[i]);
            char typical[TEXT], rare[TEXT], both[2 * TEXT + 4] = "";
            if (cell)
                snprintf(both, sizeof(both), "%s /%9s", time_text(median(cell, p50), typical),
                         time_text(median(cell, p99), rare));
            printf("%21s", both);
        }
        putchar('\n');
    }
}

/* The same round trips when nothing stands between them. */
static void print_loop(const report *r)
{
    char text[TEXT];
    printf("\n32 B, one way, in a loop that does not look at the clock:");
    for (size_t k = 0, n = 0; k < r->n_rows; k++) {
        const report_cell *cell = find(r, &r->rows[k], BENCH_LATENCY, report_payloads[0]);
        if (cell && (r->rows + k == r->floor || r->rows + k == r->ring || r->rows + k == r->poll))
            printf("%s %s %s", n++ ? "," : "", r->rows[k].title, time_text(median(cell, loop), text));
    }
    putchar('\n');
}

static void print_stream(const report *r)
{
    printf("\nmessages per second, one way (payload written and read in full)\n");
    print_head("", report_payloads, REPORT_PAYLOADS, 21);
    for (size_t k = 0; k < r->n_rows; k++) {
        if (!has_any(r, &r->rows[k], BENCH_STREAM, report_payloads, REPORT_PAYLOADS))
            continue;
        printf("%-22s", r->rows[k].title);
        for (size_t i = 0; i < REPORT_PAYLOADS; i++) {
            const report_cell *cell = find(r, &r->rows[k], BENCH_STREAM, report_payloads[i]);
            char text[TEXT];
            printf("%21s", cell ? rate_text(median(cell, rate), text) : "");
        }
        putchar('\n');
    }
}

static void print_untouched(const report *r)
{
    char text[TEXT];
    printf("\nalloc + send + recv + close, nobody touches the payload (half a round trip, in a loop)\n");
    print_head("", report_untouched, REPORT_UNTOUCHED, 21);
    printf("%-22s", r->poll->title);
    for (size_t i = 0; i < REPORT_UNTOUCHED; i++) {
        const report_cell *cell = find(r, r->poll, BENCH_HANDOVER, report_untouched[i]);
        printf("%21s", cell ? time_text(median(cell, loop), text) : "");
    }
    putchar('\n');
}

static void print_others(const report *r)
{
    char text[TEXT];
    const report_cell *hot = find(r, r->poll, BENCH_ALLOC, REPORT_HOT_BYTES);
    const report_cell *idle = find(r, r->idle, BENCH_IDLE, REPORT_IDLE_BYTES);
    putchar('\n');
    if (hot)
        printf("alloc + close of %u bytes, one thread: %s\n", REPORT_HOT_BYTES, time_text(median(hot, loop), text));
    if (idle)
        printf("%s: leat_recv(-1) with nothing to receive: %.4f %% of a CPU\n", r->idle->title,
               100 * median(idle, share));
}

/* Says so if the floor itself moved. */
static void print_distance(const report *r)
{
    const report_cell *cell = find(r, r->floor, BENCH_LATENCY, report_payloads[0]);
    if (!cell)
        return;
    double least = cell->p50_ns[0], most = least;
    for (size_t i = 1; i < cell->rounds; i++) {
        least = cell->p50_ns[i] < least ? cell->p50_ns[i] : least;
        most = cell->p50_ns[i] > most ? cell->p50_ns[i] : most;
    }
    if (most > 2 * least)
        printf("\nthe two CPUs were not always equally near: a cache line took %.0f to %.0f ns; compare within a "
               "column, with "
               "care\n",
               least, most);
}

void report_tables(const report *r)
{
    print_latency(r);
    print_loop(r);
    print_stream(r);
    print_untouched(r);
    print_others(r);
    print_distance(r);
}

/* ---- marks ----------------------------------------------------------------------------------------------------------- */

typedef struct mark {
    const char *what;
    const char *unit;
    double wanted;
    bool at_least; /* else at most */
    int digits;
    bool known;
    double measured;
} mark;

static void compare(const report *r, mark *m, const report_row *row, const report_row *with, bench_task task,
                    size_t size, size_t with_size, figures *which)
{
    const report_cell *a = find(r, row, task, size), *b = find(r, with, task, with_size);
    m->known = a && b;
    if (m->known)
        m->measured = median_ratio(a, b, which);
}

static void hold(const report *r, mark *m, const report_row *row, bench_task task, size_t size, figures *which,
                 double unit)
{
    const report_cell *cell = find(r, row, task, size);
    m->known = cell;
    if (m->known)
        m->measured = median(cell, which) * unit;
}

int report_marks(const report *r)
{
    mark marks[] = {
        {"32 B, one way, wait = poll / half of the cache line's round trip", "x", 1.5, false, 2},
        {"32 B, messages per second, wait = poll / bare ring of as many slots", "x", 0.35, true, 2},
        {"untouched 64 MiB / untouched 1 KiB", "x", 1.5, false, 2},
        {"CPU time of a receiver that waits", "%", 0.1, false, 4},
        {"alloc + close of a hot size", "ns", 30, false, 1},
    };
    const size_t n = sizeof(marks) / sizeof(marks[0]);
    int missed = 0;
    compare(r, &marks[0], r->poll, r->floor, BENCH_LATENCY, report_payloads[0], report_payloads[0], p50);
    compare(r, &marks[1], r->poll, r->ring, BENCH_STREAM, report_payloads[0], report_payloads[0], rate);
    compare(r, &marks[2], r->poll, r->poll, BENCH_HANDOVER, report_untouched[REPORT_UNTOUCHED - 1], report_untouched[0],
            loop);
    hold(r, &marks[3], r->idle, BENCH_IDLE, REPORT_IDLE_BYTES, share, 100);
    hold(r, &marks[4], r->poll, BENCH_ALLOC, REPORT_HOT_BYTES, loop, 1);

    printf("\n%-70s%14s%16s\n", "wanted", "measured", "mark");
    for (size_t i = 0; i < n; i++) {
        const mark *m = &marks[i];
        char measured[TEXT] = "not measured", wanted[TEXT];
        bool met = m->known && (m->at_least ? m->measured >= m->wanted : m->measured <= m->wanted);
        if (m->known)
            snprintf(measured, sizeof(measured), "%.*f %s", m->digits, m->measured, m->unit);
        snprintf(wanted, sizeof(wanted), "%s %g %s", m->at_least ? ">=" : "<=", m->wanted, m->unit);
        printf("%-70s%14s%16s  %s\n", m->what, measured, wanted, met ? "PASS" : "MISS");
        missed += !met;
    }
    return missed;
}
