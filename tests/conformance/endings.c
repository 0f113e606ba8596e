/* SPDX-License-Identifier: MIT
 *
 * endings.c - conformance: at_end = finish: a receiver learns that all senders have gone, once it has read everything,
 * and whether they left in order. Knows leat.h only.
 */
#include <signal.h>

#include "conformance.h"

static void the_end_comes_after_everything(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "at_end=finish");
    for (uint64_t i = 0; i < 50; i++)
        conf_send(e.tx, i * 100, i);
    leat_channel_close(e.tx);
    for (uint64_t i = 0; i < 50; i++)
        conf_recv(e.rx, i * 100, i);
    check_error(leat_recv(e.rx, &msg, SOON_MS), EPIPE);
    check_error(leat_recv(e.rx, &msg, 0), EPIPE); /* and stays */
    check_error(leat_recv_parts(e.rx, &msg, 1, -1), EPIPE);
    check_error(leat_recv_parts(e.rx, NULL, 0, -1), EPIPE);
    check_int(leat_channel_peers(e.rx), 0);
    leat_channel_close(e.rx);
    leat_ctx_free(e.ctx);
}

static void without_finish_there_is_no_end(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "at_end=wait");
    conf_send(e.tx, 10, 1);
    leat_channel_close(e.tx);
    conf_recv(e.rx, 10, 1);
    check_error(leat_recv(e.rx, &msg, 200), EAGAIN);
    leat_channel_close(e.rx);
    leat_ctx_free(e.ctx);
}

static void no_end_before_anybody_came(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_config *cfg = conf_config();
    conf_receiver(cfg, "rx", "bind", "early", "at_end=finish");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "rx");
    check_error(leat_recv(rx, &msg, 200), EAGAIN);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void no_end_before_two_came(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_config *cfg = conf_config();
    conf_receiver(cfg, "rx", "bind", "both", "at_end=finish; expect=2");
    conf_sender(cfg, "first", "connect", "both", "");
    conf_sender(cfg, "second", "connect", "both", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "rx");
    for (int i = 0; i < 2; i++) {
        leat_channel *tx = conf_open(ctx, i ? "second" : "first");
        conf_linked(tx, 1);
        conf_send(tx, 500, (uint64_t)i);
        leat_channel_close(tx);
        conf_recv(rx, 500, (uint64_t)i);
        if (i == 0)
            check_error(leat_recv(rx, &msg, 200), EAGAIN);
    }
    check_error(leat_recv(rx, &msg, SOON_MS), EPIPE);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void *close_soon(void *ch)
{
    conf_pause_ms(50);
    leat_channel_close(ch);
    return NULL;
}

static void the_end_wakes_who_waits(void)
{
    for (int polled = 0; polled < 2; polled++) {
        leat_msg msg = LEAT_MSG_INIT;
        leat_event event;
        leat_poller *poller;
        conf_ends e;
        conf_ends_open(&e, conf_config(), "", "at_end=finish");
        check_ok(leat_poller_new(e.ctx, &poller));
        check_ok(leat_poller_add(poller, e.rx, LEAT_IN, NULL));
        pthread_t thread = conf_thread(close_soon, e.tx);
        if (polled) {
            check_int(check_ok(leat_poller_wait(poller, &event, 1, SOON_MS)), 1);
            check_int(event.events, LEAT_IN);
            check_error(leat_recv(e.rx, &msg, 0), EPIPE);
        } else {
            check_error(leat_recv(e.rx, &msg, -1), EPIPE);
        }
        conf_thread_end(thread);
        leat_poller_free(poller);
        leat_channel_close(e.rx);
        leat_ctx_free(e.ctx);
    }
}

/* ---- between processes ------------------------------------------------------------------------------------------- */

#define UNREAD 20

static void doomed_sender(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)arg;
    conf_sender(cfg, "data", "connect", "end", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_linked(tx, 1);
    for (uint64_t i = 0; i < UNREAD; i++)
        conf_send(tx, i % 2 ? 40 : 40000, i);
    conf_tell(fd, 's');
    conf_hear(fd, 'e');
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

typedef struct wanted {
    int error;
    int senders;
} wanted;

static void receiver_of_the_end(int fd, void *arg)
{
    const wanted *w = arg;
    leat_msg msg = LEAT_MSG_INIT;
    char keys[64];
    leat_config *cfg = conf_config();
    snprintf(keys, sizeof(keys), "at_end=finish; expect=%d", w->senders);
    conf_receiver(cfg, "data", "bind", "end", keys);
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    conf_tell(fd, 'o');
    conf_hear(fd, 'r'); /* the senders are gone, their messages unread */
    for (int i = 0; i < w->senders * UNREAD; i++) {
        check_ok(leat_recv(rx, &msg, SOON_MS));
        leat_msg_close(&msg);
    }
    check_error(leat_recv(rx, &msg, SOON_MS), w->error);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void end_of(int senders, int killed, int error)
{
    wanted w = {error, senders};
    conf_process receiver = conf_start(receiver_of_the_end, &w), sender[4];
    conf_hear(receiver.fd, 'o');
    for (int i = 0; i < senders; i++) {
        sender[i] = conf_start(doomed_sender, NULL);
        conf_hear(sender[i].fd, 's');
    }
    for (int i = 0; i < senders; i++)
        if (i == killed) {
            /* cppcheck-suppress negativeIndex */
            conf_kill(&sender[i]);
        } else {
            conf_tell(sender[i].fd, 'e');
            conf_finish(&sender[i]);
        }
    conf_tell(receiver.fd, 'r');
    conf_finish(&receiver);
}

static void leaving_in_order_is_EPIPE(void)
{
    end_of(1, -1, EPIPE);
}

static void two_leaving_in_order_is_EPIPE(void)
{
    end_of(2, -1, EPIPE);
}

static void dying_is_ECONNRESET_after_everything(void)
{
    end_of(1, 0, ECONNRESET);
}

static void one_of_two_dying_is_ECONNRESET(void)
{
    end_of(2, 0, ECONNRESET);
    end_of(2, 1, ECONNRESET);
}

CONF_BOTH(the_end_comes_after_everything, CONF_END)
CONF_BOTH(without_finish_there_is_no_end, 0)
CONF_BOTH(no_end_before_anybody_came, CONF_END)
CONF_PUSH(no_end_before_two_came, CONF_END)
CONF_BOTH(the_end_wakes_who_waits, CONF_END | CONF_THREADS)
CONF_BOTH(leaving_in_order_is_EPIPE, CONF_END | CONF_PROCESSES)
CONF_PUSH(two_leaving_in_order_is_EPIPE, CONF_END | CONF_PROCESSES)
CONF_BOTH(dying_is_ECONNRESET_after_everything, CONF_END | CONF_DEATH | CONF_PROCESSES)
CONF_PUSH(one_of_two_dying_is_ECONNRESET, CONF_END | CONF_DEATH | CONF_PROCESSES)

const leat_test conf_endings[] = {
    IN_BOTH("the end comes after everything that was sent, and stays", the_end_comes_after_everything),
    IN_BOTH("at_end = wait knows no end", without_finish_there_is_no_end),
    IN_BOTH("there is no end before anybody came", no_end_before_anybody_came),
    IN_PUSH("expect = 2: there is no end before two came", no_end_before_two_came),
    IN_BOTH("the end wakes a receiver and a poller that wait", the_end_wakes_who_waits),
    IN_BOTH("a process that leaves in order gives -EPIPE", leaving_in_order_is_EPIPE),
    IN_PUSH("two processes that leave in order give -EPIPE", two_leaving_in_order_is_EPIPE),
    IN_BOTH("a process that is killed gives -ECONNRESET, after all that it sent", dying_is_ECONNRESET_after_everything),
    IN_PUSH("one killed of two gives -ECONNRESET", one_of_two_dying_is_ECONNRESET),
    {.name = NULL},
};
