/* SPDX-License-Identifier: MIT
 *
 * interrupts.c - conformance: leat_interrupt() ends every wait of a context with -EINTR, from a thread and from a signal
 * handler, until leat_resume(). Knows leat.h only.
 */
#include <signal.h>

#include "conformance.h"

typedef int wait_fn(void *subject);

static int wait_recv(void *ch)
{
    leat_msg msg = LEAT_MSG_INIT;
    return leat_recv(ch, &msg, -1);
}

static int wait_send(void *ch)
{
    leat_msg msg;
    conf_make(ch, 30000, 1, &msg);
    int r = leat_send(ch, &msg, -1);
    conf_verify(&msg, 30000, 1);
    leat_msg_close(&msg);
    return r;
}

static int wait_peers(void *ch)
{
    return leat_channel_wait_peers(ch, 2, -1);
}

static int wait_poller(void *poller)
{
    leat_event events[2];
    return leat_poller_wait(poller, events, 2, -1);
}

static int wait_alloc(void *ch)
{
    leat_msg msg = LEAT_MSG_INIT;
    return leat_msg_alloc(ch, 1 << 20, -1, &msg);
}

static void *interrupt_soon(void *ctx)
{
    conf_pause_ms(30); /* the wait may have begun or not: both must end */
    leat_interrupt(ctx);
    return NULL;
}

static leat_ctx *signalled;
static pthread_t waiter;

static void interrupt_from_handler(int signal_number)
{
    (void)signal_number;
    leat_interrupt(signalled);
}

static void *signal_soon(void *arg)
{
    (void)arg;
    conf_pause_ms(30);
    check(pthread_kill(waiter, SIGUSR1) == 0);
    return NULL;
}

static void check_interrupted(leat_ctx *ctx, wait_fn *wait, void *subject, void *(*interrupter)(void *))
{
    for (int round = 0; round < 3; round++) {
        int64_t start = conf_now_ns();
        pthread_t thread = conf_thread(interrupter, ctx);
        check_error(wait(subject), EINTR);
        conf_thread_end(thread);
        check(conf_now_ns() - start < INT64_C(1000000000) * leat_test_slowness());
        check_error(wait(subject), EINTR); /* and every further one, */
        leat_resume(ctx);                  /* until now */
    }
}

static void check_all_waits(void *(*interrupter)(void *), const char *rx_keys)
{
    leat_poller *poller;
    leat_msg msg = LEAT_MSG_INIT;
    leat_event event;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", rx_keys);
    signalled = e.ctx;
    waiter = pthread_self();
    check_ok(leat_poller_new(e.ctx, &poller));
    check_interrupted(e.ctx, wait_recv, e.rx, interrupter);
    check_interrupted(e.ctx, wait_peers, e.tx, interrupter);
    check_interrupted(e.ctx, wait_poller, poller, interrupter);
    check_ok(leat_poller_add(poller, e.rx, LEAT_IN, NULL));
    check_interrupted(e.ctx, wait_poller, poller, interrupter);

    /* Nothing was broken by it. */
    check_error(leat_recv(e.rx, &msg, 1), EAGAIN);
    conf_send(e.tx, 100, 1);
    check_int(check_ok(leat_poller_wait(poller, &event, 1, SOON_MS)), 1);
    conf_recv(e.rx, 100, 1);
    leat_poller_free(poller);
    conf_ends_close(&e);
}

static void a_thread_ends_every_wait(void)
{
    check_all_waits(interrupt_soon, "wait=adaptive");
}

static void a_thread_ends_a_polling_wait(void)
{
    check_all_waits(interrupt_soon, "wait=poll");
}

static void a_signal_handler_ends_every_wait(void)
{
    struct sigaction action = {.sa_handler = interrupt_from_handler, .sa_flags = SA_RESTART};
    check(sigaction(SIGUSR1, &action, NULL) == 0);
    check_all_waits(signal_soon, "");
}

static void a_wait_for_room_is_ended(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue=16", "queue=16");
    int n = conf_fill_up(e.tx, 30000);
    check_interrupted(e.ctx, wait_send, e.tx, interrupt_soon);
    for (int i = 0; i < n; i++)
        conf_recv(e.rx, 30000, (uint64_t)i);
    conf_send(e.tx, 5, 5);
    conf_recv(e.rx, 5, 5);
    conf_ends_close(&e);
}

static void a_wait_for_a_peer_to_send_to_is_ended(void)
{
    leat_config *cfg = conf_config();
    conf_sender(cfg, "tx", "connect", "nobody", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "tx");
    check_interrupted(ctx, wait_send, tx, interrupt_soon);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void a_wait_for_memory_is_ended(void)
{
    leat_config *cfg = conf_config();
    leat_msg msgs[64];
    int n = 0;
    conf_ends e;
    conf_transport_keys(cfg, "heap_size=16M");
    conf_ends_open(&e, cfg, "", "");
    for (; n < 64; n++) {
        leat_msg_init(&msgs[n]);
        if (leat_msg_alloc(e.tx, 1 << 20, 0, &msgs[n]) < 0)
            break;
    }
    check_interrupted(e.ctx, wait_alloc, e.tx, interrupt_soon);
    while (n > 0)
        leat_msg_close(&msgs[--n]);
    conf_ends_close(&e);
}

static void one_context_is_not_the_other(void)
{
    leat_config *cfg = conf_config();
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    conf_receiver(cfg, "else", "bind", "elsewhere", "");
    leat_ctx *other = conf_join(cfg);
    leat_channel *rx = conf_open(other, "else");
    leat_interrupt(e.ctx);
    check_error(leat_recv(rx, &msg, 50), EAGAIN);
    check_error(leat_recv(e.rx, &msg, 50), EINTR);
    leat_channel_close(rx);
    leat_ctx_free(other);
    conf_ends_close(&e); /* also while interrupted */
}

CONF_BOTH(a_thread_ends_every_wait, CONF_THREADS)
CONF_PUSH(a_thread_ends_a_polling_wait, CONF_THREADS)
CONF_BOTH(a_signal_handler_ends_every_wait, CONF_THREADS)
CONF_BOTH(a_wait_for_room_is_ended, CONF_QUEUE | CONF_THREADS)
CONF_BOTH(a_wait_for_a_peer_to_send_to_is_ended, CONF_THREADS)
CONF_PUSH(a_wait_for_memory_is_ended, CONF_HEAP | CONF_THREADS)
CONF_PUSH(one_context_is_not_the_other, 0)

const leat_test conf_interrupts[] = {
    IN_BOTH("leat_interrupt() in a thread ends every wait until leat_resume()", a_thread_ends_every_wait),
    IN_PUSH("leat_interrupt() ends a wait that polls", a_thread_ends_a_polling_wait),
    IN_BOTH("leat_interrupt() in a signal handler ends every wait", a_signal_handler_ends_every_wait),
    IN_BOTH("leat_interrupt() ends a wait for room", a_wait_for_room_is_ended),
    IN_BOTH("leat_interrupt() ends a wait for a peer to send to", a_wait_for_a_peer_to_send_to_is_ended),
    IN_PUSH("leat_interrupt() ends a wait for memory", a_wait_for_memory_is_ended),
    IN_PUSH("leat_interrupt() of one context leaves the other alone", one_context_is_not_the_other),
    {.name = NULL},
};
