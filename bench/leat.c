/* SPDX-License-Identifier: MIT
 *
 * leat.c - leat on posix-shm as a program uses it: leat.h, a PAIR channel in two processes, messages filled and read in
 * place. After a run that was cut short, what its processes left is removed through admin.h.
 */
#include "loops.h"

#include <leat/admin.h>
#include <leat/leat.h>
#include <stdio.h>
#include <time.h>

#define PATIENCE_MS 10000

typedef struct leat_end {
    const bench_job *job;
    leat_channel *ch;
    leat_msg out, in;
} leat_end;

static int failed(const bench_job *job, const char *what)
{
    return bench_failed(job, "%s: %s", what, leat_error());
}

/* ---- the measured operations --------------------------------------------------------------------------------------- */

static int send_one(void *handle, size_t size, uint64_t number, bool touch)
{
    leat_end *e = handle;
    if (leat_msg_alloc(e->ch, size, -1, &e->out) < 0)
        return failed(e->job, "leat_msg_alloc");
    if (touch)
        payload_fill(leat_msg_data(&e->out), size, number);
    if (leat_send(e->ch, &e->out, -1) < 0)
        return failed(e->job, "leat_send");
    return 0;
}

static int recv_one(void *handle, size_t size, uint64_t number, bool touch, uint64_t *ret_sum)
{
    leat_end *e = handle;
    if (leat_recv(e->ch, &e->in, -1) < 0)
        return failed(e->job, "leat_recv");
    *ret_sum = touch ? payload_sum(leat_msg_data(&e->in), leat_msg_size(&e->in)) : payload_expected(size, number);
    leat_msg_close(&e->in);
    return 0;
}

static const loop_ops ops = {send_one, recv_one};

static int measure_alloc(leat_end *e)
{
    const bench_job *job = e->job;
    uint64_t start = 0;
    for (uint64_t i = 0; i < job->warm_up + job->count; i++) {
        if (i == job->warm_up)
            start = bench_ticks();
        if (leat_msg_alloc(e->ch, job->size, -1, &e->out) < 0)
            return failed(job, "leat_msg_alloc");
        leat_msg_close(&e->out);
    }
    job->board->elapsed_ns = bench_ns(bench_ticks() - start);
    job->board->loop_ns = job->board->elapsed_ns / (double)job->count;
    return 0;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* End 1 waits for the second message while end 0 sleeps; all threads of its process count. */
static int measure_idle(leat_end *e, int end)
{
    const bench_job *job = e->job;
    uint64_t sum;
    if (end == 0) {
        struct timespec t = {.tv_sec = (time_t)(job->count / 1000), .tv_nsec = (long)(job->count % 1000) * 1000000};
        if (send_one(e, job->size, 1, true) < 0)
            return -1;
        nanosleep(&t, NULL);
        return send_one(e, job->size, 2, true);
    }
    if (recv_one(e, job->size, 1, true, &sum) < 0)
        return -1;
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), start = seconds(CLOCK_MONOTONIC);
    if (recv_one(e, job->size, 2, true, &sum) < 0)
        return -1;
    double elapsed = seconds(CLOCK_MONOTONIC) - start;
    job->board->cpu_share = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / elapsed;
    job->board->elapsed_ns = elapsed * 1e9;
    return 0;
}

/* ---- joining ------------------------------------------------------------------------------------------------------- */

static int configure(const bench_job *job, int end, leat_config *cfg)
{
    char address[16], queue[16], in_flight[24];
    snprintf(address, sizeof(address), "n%u", job->number);
    snprintf(queue, sizeof(queue), "%u", job->queue);
    snprintf(in_flight, sizeof(in_flight), "%llu", (unsigned long long)job->in_flight);
    const char *const values[][3] = {
        {"leat", "session", job->session},
        {"channel bench", "type", "pair"},
        {"channel bench", "method", end == 0 ? "bind" : "connect"},
        {"channel bench", "address", address},
        {"channel bench", "transport", "posix-shm"},
        {"channel bench", "queue", queue},
        {"channel bench", "queue_bytes", in_flight},
        {"channel bench", "wait", job->wait ? job->wait : "adaptive"},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        if (leat_config_set(cfg, values[i][0], values[i][1], values[i][2]) < 0)
            return failed(job, values[i][1]);
    return 0;
}

static int run_on(const bench_job *job, int end, leat_ctx *ctx)
{
    leat_end e = {.job = job, .out = LEAT_MSG_INIT, .in = LEAT_MSG_INIT};
    int r = -1;
    /* Pinned only now: a context that is made where there is one CPU takes it that its peers are there too, and does not
     * spin. */
    bench_pin(job, end);
    if (leat_channel_open(ctx, "bench", &e.ch) < 0)
        return failed(job, "leat_channel_open");
    if (job->task != BENCH_ALLOC && leat_channel_wait_peers(e.ch, 1, PATIENCE_MS) < 0)
        failed(job, "leat_channel_wait_peers");
    else if (job->task == BENCH_ALLOC)
        r = measure_alloc(&e);
    else if (job->task == BENCH_IDLE)
        r = measure_idle(&e, end);
    else
        r = loop_run(&ops, &e, job, end);
    leat_msg_close(&e.out);
    leat_msg_close(&e.in);
    leat_channel_close(e.ch);
    return r;
}

static int run(const bench_job *job, int end, void *memory)
{
    (void)memory;
    leat_config *cfg;
    leat_ctx *ctx;
    int r = -1;
    if (leat_config_new(&cfg) < 0)
        return failed(job, "leat_config_new");
    if (configure(job, end, cfg) == 0) {
        if (leat_ctx_new(cfg, &ctx) < 0) {
            failed(job, "leat_ctx_new");
        } else {
            r = run_on(job, end, ctx);
            leat_ctx_free(ctx);
        }
    }
    leat_config_free(cfg);
    return r;
}

const bench_contestant bench_leat = {.name = "leat", .run = run};

/* ---- afterwards ---------------------------------------------------------------------------------------------------- */

static int remove_dead(const leat_item *item, void *admin)
{
    uint64_t bytes;
    leat_admin_remove(admin, item, 0, &bytes); /* refused for what lives, and that is right */
    return 0;
}

void bench_leat_clean(const char *session)
{
    leat_config *cfg;
    leat_admin *admin;
    leat_admin_options options = {.session = session, .uid = -1};
    if (leat_config_new(&cfg) < 0)
        return;
    if (leat_admin_new(cfg, &options, &admin) == 0) {
        leat_admin_list(admin, remove_dead, admin);
        leat_admin_free(admin);
    }
    leat_config_free(cfg);
}
