/* SPDX-License-Identifier: MIT
 *
 * lifetime.c - conformance: messages outlive their channel and their context, and leat_ctx_free() closes what is still
 * open without pulling it from under the program. Knows leat.h only.
 */
#include "conformance.h"

static const size_t sizes[] = {0, 48, 49, 240, 5000, 3000000};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void messages_outlive_channel_and_context(void)
{
    leat_msg own[SIZES], received[SIZES], copies[SIZES];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        conf_make(e.tx, sizes[i], i, &own[i]);
        conf_send(e.tx, sizes[i], 10 + i);
        leat_msg_init(&received[i]);
        check_ok(leat_recv(e.rx, &received[i], SOON_MS));
        leat_msg_init(&copies[i]);
        check_ok(leat_msg_copy(&received[i], &copies[i]));
    }
    for (int stage = 0; stage < 3; stage++) {
        if (stage == 1) {
            leat_channel_close(e.tx);
            leat_channel_close(e.rx);
        }
        if (stage == 2)
            leat_ctx_free(e.ctx);
        for (size_t i = 0; i < SIZES; i++) {
            conf_verify(&own[i], sizes[i], i);
            conf_verify(&received[i], sizes[i], 10 + i);
            conf_verify(&copies[i], sizes[i], 10 + i);
        }
    }
    /* Still whole messages, with all that can be done to one. */
    for (size_t i = 0; i < SIZES; i++) {
        leat_msg more = LEAT_MSG_INIT;
        check_ok(leat_msg_copy(&own[i], &more));
        leat_msg_close(&own[i]);
        conf_verify(&more, sizes[i], i);
        check_ok(leat_msg_truncate(&more, sizes[i] / 2));
        leat_msg_close(&more);
        leat_msg_close(&received[i]);
        conf_verify(&copies[i], sizes[i], 10 + i);
        leat_msg_close(&copies[i]);
    }
}

static void a_received_message_outlives_its_sender(void)
{
    leat_msg received[SIZES];
    leat_config *cfg = conf_config();
    conf_sender(cfg, "tx", "bind", "away", "");
    leat_ctx *sending = conf_join(cfg);
    cfg = conf_config();
    conf_receiver(cfg, "rx", "connect", "away", "");
    leat_ctx *receiving = conf_join(cfg);
    leat_channel *tx = conf_open(sending, "tx"), *rx = conf_open(receiving, "rx");
    conf_linked(rx, 1);
    for (size_t i = 0; i < SIZES; i++) {
        conf_send(tx, sizes[i], i);
        if (i < SIZES / 2) { /* some are received, and others still unread when the sender goes */
            leat_msg_init(&received[i]);
            check_ok(leat_recv(rx, &received[i], SOON_MS));
        }
    }
    leat_channel_close(tx);
    leat_ctx_free(sending);
    for (size_t i = 0; i < SIZES; i++) {
        if (i >= SIZES / 2) {
            leat_msg_init(&received[i]);
            check_ok(leat_recv(rx, &received[i], SOON_MS));
        }
        conf_verify(&received[i], sizes[i], i);
    }
    leat_channel_close(rx);
    for (size_t i = 0; i < SIZES; i++) {
        conf_verify(&received[i], sizes[i], i);
        leat_msg_close(&received[i]);
    }
    leat_ctx_free(receiving);
}

static void free_with_everything_open(void)
{
    leat_msg own, received = LEAT_MSG_INIT, msg = LEAT_MSG_INIT;
    leat_poller *poller;
    leat_stats stats;
    leat_event event;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_ok(leat_poller_new(e.ctx, &poller));
    check_ok(leat_poller_add(poller, e.rx, LEAT_IN, NULL));
    conf_make(e.tx, 100000, 1, &own);
    conf_send(e.tx, 200000, 2);
    check_ok(leat_recv(e.rx, &received, SOON_MS));
    for (uint64_t i = 0; i < 20; i++)
        conf_send(e.tx, i * 1000, i); /* and twenty unread */
    leat_ctx_free(e.ctx);

    check_error(leat_send(e.tx, &own, 0), ESHUTDOWN);
    check_error(leat_send(e.tx, &own, 100), ESHUTDOWN);
    check_error(leat_recv(e.rx, &msg, 100), ESHUTDOWN);
    check_error(leat_recv_parts(e.rx, &msg, 1, -1), ESHUTDOWN);
    check_error(leat_msg_alloc(e.tx, 10, 0, &msg), ESHUTDOWN);
    check_error(leat_channel_wait_peers(e.tx, 1, -1), ESHUTDOWN);
    check_error(leat_channel_stats(e.tx, &stats), ESHUTDOWN);
    check_error(leat_channel_arm(e.rx, LEAT_IN), ESHUTDOWN);
    check_error(leat_poller_wait(poller, &event, 1, -1), ESHUTDOWN);
    conf_verify(&own, 100000, 1);
    conf_verify(&received, 200000, 2);
    leat_channel_close(e.rx);
    leat_poller_free(poller);
    leat_channel_close(e.tx);
    leat_msg_close(&own);
    conf_verify(&received, 200000, 2);
    leat_msg_close(&received);
}

static void closing_what_is_in_a_poller(void)
{
    leat_poller *poller;
    leat_event event;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_ok(leat_poller_new(e.ctx, &poller));
    check_ok(leat_poller_add(poller, e.rx, LEAT_IN, NULL));
    check_ok(leat_poller_add(poller, e.tx, LEAT_OUT, NULL));
    leat_channel_close(e.rx);
    conf_unlinked(e.tx);
    check_error(leat_poller_wait(poller, &event, 1, 10), EAGAIN);
    leat_channel_close(e.tx);
    check_error(leat_poller_wait(poller, &event, 1, 10), EAGAIN);
    leat_poller_free(poller);
    leat_ctx_free(e.ctx);
}

static void opening_and_closing_many_times(void)
{
    for (int round = 0; round < 30; round++) {
        conf_ends e;
        conf_ends_open(&e, conf_config(), "", "");
        conf_send(e.tx, 1000, 1);
        conf_recv(e.rx, 1000, 1);
        for (int i = 0; i < 3; i++) {
            /* The other end must have noticed: what is sent to one that is going may be lost where nothing redelivers. */
            leat_channel_close(round % 2 ? e.tx : e.rx);
            conf_unlinked(round % 2 ? e.rx : e.tx);
            if (round % 2)
                e.tx = conf_open(e.ctx, "tx");
            else
                e.rx = conf_open(e.ctx, "rx");
            conf_linked(e.tx, 1);
            conf_linked(e.rx, 1);
            conf_send(e.tx, 70000, 2);
            conf_recv(e.rx, 70000, 2);
        }
        conf_ends_close(&e);
    }
}

static void freeing_nothing(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_channel_close(NULL);
    leat_ctx_free(NULL);
    leat_config_free(NULL);
    leat_poller_free(NULL);
    leat_msg_close(&msg);
    check_int(leat_msg_size(&msg), 0);
    check(leat_msg_data(&msg) != NULL);
}

CONF_BOTH(messages_outlive_channel_and_context, 0)
CONF_BOTH(a_received_message_outlives_its_sender, CONF_THREADS)
CONF_BOTH(free_with_everything_open, 0)
CONF_PUSH(closing_what_is_in_a_poller, 0)
CONF_BOTH(opening_and_closing_many_times, CONF_REJOIN)
CONF_PUSH(freeing_nothing, 0)

const leat_test conf_lifetime[] = {
    IN_BOTH("messages outlive their channel and their context", messages_outlive_channel_and_context),
    IN_BOTH("what was sent outlives its sender's context, read or unread", a_received_message_outlives_its_sender),
    IN_BOTH("leat_ctx_free() with everything open; handles give -ESHUTDOWN", free_with_everything_open),
    IN_PUSH("a channel may be closed while it is in a poller", closing_what_is_in_a_poller),
    IN_BOTH("channels open and close many times", opening_and_closing_many_times),
    IN_PUSH("freeing NULL and closing an empty message do nothing", freeing_nothing),
    {.name = NULL},
};
