/* SPDX-License-Identifier: MIT
 *
 * waiting.c - conformance: the wait modes adaptive, sleep and poll carry the same messages, and a program that waits
 * without polling uses no processor time. Knows leat.h only.
 */
#include <time.h>

#include "conformance.h"

#define ROUNDS 2000

typedef struct echo {
    leat_channel *in, *out;
} echo;

static void *echo_back(void *arg)
{
    echo *e = arg;
    for (int i = 0; i < ROUNDS; i++) {
        leat_msg msg = LEAT_MSG_INIT;
        check_ok(leat_recv(e->in, &msg, SOON_MS));
        check_ok(leat_send(e->out, &msg, SOON_MS));
    }
    return NULL;
}

/* Ping-pong between two threads: each message wakes a waiter, so that a wake-up missed once hangs the test. */
static void ping_pong(const char *keys)
{
    leat_config *cfg = conf_config();
    echo back;
    conf_ends e;
    conf_sender(cfg, "pong", "bind", "back", keys);
    conf_receiver(cfg, "ping", "connect", "back", keys);
    conf_ends_open(&e, cfg, keys, keys);
    leat_channel *ping = conf_open(e.ctx, "ping");
    back.in = e.rx;
    back.out = conf_open(e.ctx, "pong");
    conf_linked(ping, 1);
    conf_linked(back.out, 1);
    pthread_t thread = conf_thread(echo_back, &back);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        size_t size = i % 10 == 0 ? 5000 : 32;
        /* Pauses of all lengths up to some that are longer than any spin. */
        if (i % 50 == 0)
            conf_pause_ms(1);
        else
            for (int64_t until = conf_now_ns() + (int64_t)(i % 100) * 1000; conf_now_ns() < until;)
                ;
        conf_send(e.tx, size, i);
        conf_recv(ping, size, i);
    }
    conf_thread_end(thread);
    leat_channel_close(ping);
    leat_channel_close(back.out);
    conf_ends_close(&e);
}

static void adaptive_misses_no_wake_up(void)
{
    ping_pong("wait=adaptive");
}

static void sleep_misses_no_wake_up(void)
{
    ping_pong("wait=sleep");
}

static void poll_misses_no_message(void)
{
    ping_pong("wait=poll");
}

#define STREAM 20000

static void *receive_stream(void *ch)
{
    for (uint64_t i = 0; i < STREAM; i++)
        conf_recv(ch, i % 64, i);
    return NULL;
}

/* A stream through a short queue: both sides fall asleep and wake each other all the time. */
static void stream(const char *keys)
{
    char with_queue[64];
    conf_ends e;
    snprintf(with_queue, sizeof(with_queue), "%s; queue=16", keys);
    conf_ends_open(&e, conf_config(), with_queue, with_queue);
    pthread_t thread = conf_thread(receive_stream, e.rx);
    for (uint64_t i = 0; i < STREAM; i++)
        conf_send(e.tx, i % 64, i);
    conf_thread_end(thread);
    conf_ends_close(&e);
}

static void adaptive_streams(void)
{
    stream("wait=adaptive");
}

static void sleep_streams(void)
{
    stream("wait=sleep");
}

static void poll_streams(void)
{
    stream("wait=poll");
}

static double cpu_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

static void idle_uses_no_processor(void)
{
    static const char *const modes[] = {"wait=adaptive", "wait=sleep"};
    leat_config *cfg = conf_config();
    leat_msg msg = LEAT_MSG_INIT;
    leat_poller *poller;
    leat_event event;
    leat_ctx *ctx;
    conf_sender(cfg, "tx", "bind", "idle", "");
    conf_receiver(cfg, "rx0", "connect", "idle", modes[0]);
    conf_receiver(cfg, "rx1", "connect", "idle", modes[1]);
    ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "tx");
    leat_channel *rx[2] = {conf_open(ctx, "rx0"), conf_open(ctx, "rx1")};
    conf_linked(tx, 2);
    check_ok(leat_poller_new(ctx, &poller));
    for (int i = 0; i < 2; i++) {
        conf_linked(rx[i], 1);
        double before = cpu_ms();
        check_error(leat_recv(rx[i], &msg, 1000), EAGAIN);
        check(cpu_ms() - before < 20.0 * leat_test_slowness());
        check_ok(leat_poller_add(poller, rx[i], LEAT_IN, NULL));
    }
    double before = cpu_ms();
    check_error(leat_poller_wait(poller, &event, 1, 1000), EAGAIN);
    check(cpu_ms() - before < 20.0 * leat_test_slowness());
    leat_poller_free(poller);
    leat_channel_close(tx);
    for (int i = 0; i < 2; i++)
        leat_channel_close(rx[i]);
    leat_ctx_free(ctx);
}

CONF_BOTH(adaptive_misses_no_wake_up, CONF_THREADS)
CONF_PUSH(sleep_misses_no_wake_up, CONF_THREADS)
CONF_PUSH(poll_misses_no_message, CONF_THREADS)
CONF_BOTH(adaptive_streams, CONF_THREADS)
CONF_PUSH(sleep_streams, CONF_THREADS)
CONF_PUSH(poll_streams, CONF_THREADS)
CONF_PUSH(idle_uses_no_processor, 0)

const leat_test conf_waiting[] = {
    IN_BOTH("wait = adaptive misses no wake-up", adaptive_misses_no_wake_up),
    IN_PUSH("wait = sleep misses no wake-up", sleep_misses_no_wake_up),
    IN_PUSH("wait = poll misses no message", poll_misses_no_message),
    IN_BOTH("wait = adaptive streams through a short queue", adaptive_streams),
    IN_PUSH("wait = sleep streams through a short queue", sleep_streams),
    IN_PUSH("wait = poll streams through a short queue", poll_streams),
    IN_PUSH("an idle receiver uses no processor time", idle_uses_no_processor),
    {.name = NULL},
};
