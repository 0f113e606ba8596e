/* SPDX-License-Identifier: MIT
 *
 * messages.c - conformance: copy, truncate, writable, move, from: what a program does with a message before and after
 * its journey. Knows leat.h only.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "conformance.h"

static const size_t sizes[] = {0, 1, 48, 49, 240, 241, 5000, 300000};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void receive(leat_channel *rx, leat_msg *ret_msg)
{
    leat_msg_init(ret_msg);
    check_ok(leat_recv(rx, ret_msg, SOON_MS));
}

static void a_copy_lives_as_long_as_its_own_handle(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        leat_msg own, first = LEAT_MSG_INIT, second = LEAT_MSG_INIT, got;
        conf_make(e.tx, sizes[i], i, &own);
        check_ok(leat_msg_copy(&own, &first));
        check_ok(leat_msg_copy(&first, &second));
        leat_msg_close(&own);
        conf_verify(&first, sizes[i], i);
        leat_msg_close(&first);
        conf_verify(&second, sizes[i], i);
        check_ok(leat_send(e.tx, &second, SOON_MS));

        receive(e.rx, &got); /* and a received one can be copied too */
        check_ok(leat_msg_copy(&got, &first));
        leat_msg_close(&got);
        conf_verify(&first, sizes[i], i);
        leat_msg_close(&first);
    }
    conf_ends_close(&e);
}

static void copies_of_one_message_can_all_be_sent(void)
{
    enum { COPIES = 10 };
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        leat_msg own;
        conf_make(e.tx, sizes[i], i, &own);
        for (int n = 0; n < COPIES; n++) {
            leat_msg copy = LEAT_MSG_INIT;
            check_ok(leat_msg_copy(&own, &copy));
            check_ok(leat_send(e.tx, &copy, SOON_MS));
        }
        leat_msg_close(&own);
        for (int n = 0; n < COPIES; n++)
            conf_recv(e.rx, sizes[i], i);
    }
    conf_ends_close(&e);
}

static void truncating_shortens_and_never_lengthens(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        size_t half = sizes[i] / 2;
        leat_msg msg, got;
        conf_make(e.tx, sizes[i], i, &msg);
        check_error(leat_msg_truncate(&msg, sizes[i] + 1), EINVAL);
        check_ok(leat_msg_truncate(&msg, sizes[i]));
        check_ok(leat_msg_truncate(&msg, half));
        check_int(leat_msg_size(&msg), half);
        check_ok(leat_send(e.tx, &msg, SOON_MS));
        receive(e.rx, &got);
        check_int(leat_msg_size(&got), half);
        void *expected = malloc(sizes[i] + 8);
        conf_fill(expected, sizes[i], i);
        check(memcmp(leat_msg_data(&got), expected, half) == 0);
        free(expected);
        check_ok(leat_msg_truncate(&got, 0));
        check_int(leat_msg_size(&got), 0);
        check(leat_msg_data(&got) != NULL);
        leat_msg_close(&got);
    }
    conf_ends_close(&e);
}

static void writable_bytes_are_nobody_elses(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        leat_msg got, copy = LEAT_MSG_INIT;
        conf_send(e.tx, sizes[i], i);
        receive(e.rx, &got);
        check_ok(leat_msg_copy(&got, &copy));
        check_ok(leat_msg_writable(&copy));
        conf_verify(&copy, sizes[i], i);
        conf_fill(leat_msg_data(&copy), sizes[i], 77); /* a write into foreign memory would end the program here */
        conf_verify(&got, sizes[i], i);
        conf_verify(&copy, sizes[i], 77);
        leat_msg_close(&got);

        /* What was made writable can be sent on. */
        check_ok(leat_send(e.tx, &copy, SOON_MS));
        conf_recv(e.rx, sizes[i], 77);
    }
    conf_ends_close(&e);
}

static void writable_copies_only_what_is_shared(void)
{
    leat_msg msg, copy = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    conf_make(e.tx, 100000, 1, &msg);
    void *before = leat_msg_data(&msg);
    check_ok(leat_msg_writable(&msg));
    check(leat_msg_data(&msg) == before);
    check_ok(leat_msg_copy(&msg, &copy));
    check(leat_msg_data(&copy) == before); /* a copy shares the bytes */
    check_ok(leat_msg_writable(&msg));
    check(leat_msg_data(&msg) != before);
    conf_verify(&msg, 100000, 1);
    leat_msg_close(&msg);
    leat_msg_close(&copy);
    conf_ends_close(&e);
}

static void moving_empties_the_one_and_closes_the_other(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        leat_msg from, to;
        conf_make(e.tx, sizes[i], i, &from);
        conf_make(e.tx, 9999, 1, &to);
        leat_msg_move(&from, &to);
        check_int(leat_msg_size(&from), 0);
        conf_verify(&to, sizes[i], i);
        check_ok(leat_send(e.tx, &to, SOON_MS));
        conf_recv(e.rx, sizes[i], i);
        leat_msg_close(&from);
        leat_msg_close(&from); /* an empty message may be closed again */
    }
    conf_ends_close(&e);
}

static void received_messages_can_be_sent_on(void)
{
    leat_config *cfg = conf_config();
    conf_ends e;
    conf_sender(cfg, "on", "bind", "further", "");
    conf_receiver(cfg, "last", "connect", "further", "");
    conf_ends_open(&e, cfg, "", "");
    leat_channel *on = conf_open(e.ctx, "on"), *last = conf_open(e.ctx, "last");
    conf_linked(on, 1);
    conf_linked(last, 1);
    for (int round = 0; round < 50; round++)
        for (size_t i = 0; i < SIZES; i++) {
            leat_msg msg;
            conf_send(e.tx, sizes[i], i);
            receive(e.rx, &msg);
            check_ok(leat_send(on, &msg, SOON_MS));
            conf_recv(last, sizes[i], i);
        }
    leat_channel_close(on);
    leat_channel_close(last);
    conf_ends_close(&e);
}

static atomic_int freed;

static void count_and_free(void *data, void *hint)
{
    check(hint == &freed);
    free(data);
    atomic_fetch_add(&freed, 1);
}

static void own_memory_is_freed_once_when_nobody_needs_it(void)
{
    int made = 0;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        for (int sent = 0; sent < 2; sent++) {
            leat_msg msg = LEAT_MSG_INIT;
            void *data = malloc(sizes[i] + 8);
            conf_fill(data, sizes[i], i);
            check_ok(leat_msg_from(e.tx, data, sizes[i], count_and_free, &freed, &msg));
            made++;
            conf_verify(&msg, sizes[i], i);
            if (sent) {
                check_ok(leat_send(e.tx, &msg, SOON_MS));
                conf_recv(e.rx, sizes[i], i);
            }
            leat_msg_close(&msg);
        }
    }
    leat_msg msg = LEAT_MSG_INIT;
    static char lasting[] = "not to be freed";
    check_ok(leat_msg_from(e.tx, lasting, sizeof(lasting), NULL, NULL, &msg));
    check(memcmp(leat_msg_data(&msg), lasting, sizeof(lasting)) == 0);
    leat_msg_close(&msg);
    conf_ends_close(&e);
    /* A transport with a thread of its own may let go a little later, but once the context is gone it has. */
    check_int(atomic_load(&freed), made);
}

CONF_PUSH(a_copy_lives_as_long_as_its_own_handle, 0)
CONF_BOTH(copies_of_one_message_can_all_be_sent, 0)
CONF_PUSH(truncating_shortens_and_never_lengthens, 0)
CONF_PUSH(writable_bytes_are_nobody_elses, 0)
CONF_PUSH(writable_copies_only_what_is_shared, 0)
CONF_PUSH(moving_empties_the_one_and_closes_the_other, 0)
CONF_BOTH(received_messages_can_be_sent_on, 0)
CONF_PUSH(own_memory_is_freed_once_when_nobody_needs_it, 0)

const leat_test conf_messages[] = {
    IN_PUSH("a copy lives as long as its own handle", a_copy_lives_as_long_as_its_own_handle),
    IN_BOTH("copies of one message can all be sent", copies_of_one_message_can_all_be_sent),
    IN_PUSH("truncating shortens and never lengthens", truncating_shortens_and_never_lengthens),
    IN_PUSH("bytes made writable are nobody else's", writable_bytes_are_nobody_elses),
    IN_PUSH("making writable copies only what is shared", writable_copies_only_what_is_shared),
    IN_PUSH("moving empties the one message and closes the other", moving_empties_the_one_and_closes_the_other),
    IN_BOTH("received messages can be sent on", received_messages_can_be_sent_on),
    IN_PUSH("own memory is freed once, when nobody needs it", own_memory_is_freed_once_when_nobody_needs_it),
    {.name = NULL},
};
