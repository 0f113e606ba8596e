/* SPDX-License-Identifier: MIT
 *
 * threads.c - conformance: both ends in one context or in two, in one thread or in several, and messages that change
 * threads. Knows leat.h only.
 */
#include "conformance.h"

#define MESSAGES 5000

static size_t size_of(uint64_t i)
{
    return i % 20 == 0 ? 10000 : i % 3 == 0 ? 150 : 30;
}

static void *receive_all(void *ch)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        conf_recv(ch, size_of(i), i);
    return NULL;
}

static void both_ends_in_one_thread(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (uint64_t i = 0; i < MESSAGES; i += 10) {
        for (uint64_t n = 0; n < 10; n++)
            conf_send(e.tx, size_of(i + n), i + n);
        for (uint64_t n = 0; n < 10; n++)
            conf_recv(e.rx, size_of(i + n), i + n);
    }
    conf_ends_close(&e);
}

static void both_ends_in_two_threads(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    pthread_t thread = conf_thread(receive_all, e.rx);
    for (uint64_t i = 0; i < MESSAGES; i++)
        conf_send(e.tx, size_of(i), i);
    conf_thread_end(thread);
    conf_ends_close(&e);
}

static void two_contexts_in_one_process(void)
{
    leat_config *cfg = conf_config();
    conf_sender(cfg, "tx", "bind", "two", "");
    leat_ctx *sending = conf_join(cfg);
    cfg = conf_config();
    conf_receiver(cfg, "rx", "connect", "two", "");
    leat_ctx *receiving = conf_join(cfg);
    leat_channel *tx = conf_open(sending, "tx"), *rx = conf_open(receiving, "rx");
    conf_linked(tx, 1);
    conf_linked(rx, 1);
    pthread_t thread = conf_thread(receive_all, rx);
    for (uint64_t i = 0; i < MESSAGES; i++)
        conf_send(tx, size_of(i), i);
    conf_thread_end(thread);

    /* One of them leaves, and another takes its place. */
    leat_channel_close(tx);
    leat_ctx_free(sending);
    cfg = conf_config();
    conf_sender(cfg, "tx", "bind", "two", "");
    sending = conf_join(cfg);
    tx = conf_open(sending, "tx");
    conf_send(tx, 5000, 5);
    conf_recv(rx, 5000, 5);
    leat_channel_close(rx);
    leat_ctx_free(receiving);
    leat_channel_close(tx);
    leat_ctx_free(sending);
}

#define LINES 4

static void *send_line(void *ch)
{
    for (uint64_t i = 0; i < MESSAGES; i++)
        conf_send(ch, size_of(i), i);
    return NULL;
}

static void channels_of_one_context_in_many_threads(void)
{
    leat_config *cfg = conf_config();
    leat_channel *tx[LINES], *rx[LINES];
    pthread_t senders[LINES], receivers[LINES];
    char name[16], address[16];
    for (int i = 0; i < LINES; i++) {
        snprintf(address, sizeof(address), "line%d", i);
        snprintf(name, sizeof(name), "tx%d", i);
        conf_sender(cfg, name, "bind", address, "");
        snprintf(name, sizeof(name), "rx%d", i);
        conf_receiver(cfg, name, "connect", address, "");
    }
    leat_ctx *ctx = conf_join(cfg);
    for (int i = 0; i < LINES; i++) {
        snprintf(name, sizeof(name), "tx%d", i);
        tx[i] = conf_open(ctx, name);
        snprintf(name, sizeof(name), "rx%d", i);
        rx[i] = conf_open(ctx, name);
        conf_linked(tx[i], 1);
        receivers[i] = conf_thread(receive_all, rx[i]);
        senders[i] = conf_thread(send_line, tx[i]);
    }
    for (int i = 0; i < LINES; i++) {
        conf_thread_end(senders[i]);
        conf_thread_end(receivers[i]);
        leat_channel_close(tx[i]);
        leat_channel_close(rx[i]);
    }
    leat_ctx_free(ctx);
}

/* Messages travel on, unopened, to a thread that reads and closes them while the receiver goes on receiving. */
typedef struct closer {
    pthread_mutex_t lock;
    pthread_cond_t more;
    leat_msg msgs[MESSAGES];
    unsigned count;
} closer;

static void *close_all(void *arg)
{
    closer *c = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        leat_msg msg = LEAT_MSG_INIT;
        pthread_mutex_lock(&c->lock);
        while (c->count <= i)
            pthread_cond_wait(&c->more, &c->lock);
        leat_msg_move(&c->msgs[i], &msg);
        pthread_mutex_unlock(&c->lock);
        conf_verify(&msg, size_of(i), i);
        leat_msg_close(&msg);
    }
    return NULL;
}

static void messages_are_closed_in_another_thread(void)
{
    static closer c = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    leat_config *cfg = conf_config();
    conf_ends e;
    conf_transport_keys(cfg, conf.claims & CONF_HEAP ? "heap_size=16M" : ""); /* must be returned to go round */
    conf_ends_open(&e, cfg, "queue=64", "queue=64");
    pthread_t sender = conf_thread(send_line, e.tx), thread = conf_thread(close_all, &c);
    for (unsigned i = 0; i < MESSAGES; i++) {
        leat_msg msg = LEAT_MSG_INIT;
        check_ok(leat_recv(e.rx, &msg, SOON_MS));
        pthread_mutex_lock(&c.lock);
        leat_msg_move(&msg, &c.msgs[i]);
        c.count = i + 1;
        pthread_cond_signal(&c.more);
        pthread_mutex_unlock(&c.lock);
    }
    conf_thread_end(sender);
    conf_thread_end(thread);
    conf_ends_close(&e);
}

static void *send_and_close(void *arg)
{
    leat_ctx *ctx = arg;
    leat_channel *tx = conf_open(ctx, "tx");
    for (uint64_t i = 0; i < MESSAGES; i++)
        conf_send(tx, size_of(i), i);
    leat_channel_close(tx);
    return NULL;
}

static void a_channel_may_change_threads(void)
{
    leat_config *cfg = conf_config();
    conf_sender(cfg, "tx", "connect", "mover", "");
    conf_receiver(cfg, "rx", "bind", "mover", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "rx");
    for (int round = 0; round < 3; round++) {
        /* The sender lives in a thread of its own, the receiver in a new one each time. */
        pthread_t sender = conf_thread(send_and_close, ctx), receiver = conf_thread(receive_all, rx);
        conf_thread_end(sender);
        conf_thread_end(receiver);
    }
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

CONF_BOTH(both_ends_in_one_thread, 0)
CONF_BOTH(both_ends_in_two_threads, CONF_THREADS)
CONF_BOTH(two_contexts_in_one_process, CONF_THREADS | CONF_REJOIN)
CONF_BOTH(channels_of_one_context_in_many_threads, CONF_THREADS)
CONF_BOTH(messages_are_closed_in_another_thread, CONF_THREADS)
CONF_PUSH(a_channel_may_change_threads, CONF_THREADS | CONF_REJOIN)

const leat_test conf_threads[] = {
    IN_BOTH("both ends work in one context and one thread", both_ends_in_one_thread),
    IN_BOTH("both ends work in one context and two threads", both_ends_in_two_threads),
    IN_BOTH("two contexts in one process reach each other", two_contexts_in_one_process),
    IN_BOTH("channels of one context work in many threads at once", channels_of_one_context_in_many_threads),
    IN_BOTH("messages may be closed in another thread", messages_are_closed_in_another_thread),
    IN_PUSH("a channel may be used by one thread after the other", a_channel_may_change_threads),
    {.name = NULL},
};
