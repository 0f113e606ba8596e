/* SPDX-License-Identifier: MIT
 *
 * zmq.c - libzmq as a plain C program uses it: two PAIR sockets over ipc, messages filled in place, as many in flight as
 * the others may have. Knows nothing of leat.
 */
#include "loops.h"

#include <errno.h>
#include <stdio.h>
#include <zmq.h>

typedef struct zmq_end {
    const bench_job *job;
    void *socket;
} zmq_end;

static int failed(const bench_job *job, const char *what)
{
    return bench_failed(job, "%s: %s", what, zmq_strerror(errno));
}

static int send_one(void *handle, size_t size, uint64_t number, bool touch)
{
    const zmq_end *e = handle;
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, size) != 0)
        return failed(e->job, "zmq_msg_init_size");
    if (touch)
        payload_fill(zmq_msg_data(&msg), size, number);
    if (zmq_msg_send(&msg, e->socket, 0) < 0) {
        failed(e->job, "zmq_msg_send");
        zmq_msg_close(&msg);
        return -1;
    }
    return 0;
}

static int recv_one(void *handle, size_t size, uint64_t number, bool touch, uint64_t *ret_sum)
{
    const zmq_end *e = handle;
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    if (zmq_msg_recv(&msg, e->socket, 0) < 0)
        return failed(e->job, "zmq_msg_recv");
    *ret_sum = touch ? payload_sum(zmq_msg_data(&msg), zmq_msg_size(&msg)) : payload_expected(size, number);
    zmq_msg_close(&msg);
    return 0;
}

static const loop_ops ops = {send_one, recv_one};

static int set_up(const bench_job *job, int end, void *socket)
{
    char endpoint[128];
    uint64_t messages = job->in_flight / job->size;
    int limit = messages < 2 ? 2 : messages > job->queue ? (int)job->queue : (int)messages, linger = 0;
    snprintf(endpoint, sizeof(endpoint), "ipc://@leat-%s-%u", job->session, job->number); /* leaves no file */
    if (zmq_setsockopt(socket, ZMQ_SNDHWM, &limit, sizeof(limit)) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &limit, sizeof(limit)) != 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0)
        return failed(job, "zmq_setsockopt");
    if ((end == 0 ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)) != 0)
        return failed(job, endpoint);
    return 0;
}

static int run(const bench_job *job, int end, void *memory)
{
    (void)memory;
    int r = -1;
    bench_pin(job, end);
    void *ctx = zmq_ctx_new(), *socket = ctx ? zmq_socket(ctx, ZMQ_PAIR) : NULL;
    if (!socket) {
        failed(job, "zmq_socket");
    } else if (set_up(job, end, socket) == 0) {
        zmq_end e = {job, socket};
        r = loop_run(&ops, &e, job, end);
    }
    if (socket)
        zmq_close(socket);
    if (ctx)
        zmq_ctx_term(ctx);
    return r;
}

const bench_contestant bench_zmq = {.name = "libzmq ipc", .run = run};
