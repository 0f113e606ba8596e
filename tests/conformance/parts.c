/* SPDX-License-Identifier: MIT
 *
 * parts.c - conformance: messages of several parts become visible together, are taken together, and stay queued when
 * they do not fit what the receiver holds ready. Knows leat.h only.
 */
#include "conformance.h"

#define MOST 16

/* Small, of some slots, a page, a block: the parts of one message may differ. */
static size_t size_of_part(size_t part)
{
    static const size_t sizes[] = {10, 0, 200, 4096, 70000, 48, 49};
    return sizes[part % (sizeof(sizes) / sizeof(sizes[0]))];
}

static void send_parts(leat_channel *tx, size_t n, uint64_t seed)
{
    leat_msg parts[MOST];
    for (size_t i = 0; i < n; i++)
        conf_make(tx, size_of_part(i), seed + i, &parts[i]);
    check_ok(leat_send_parts(tx, parts, n, SOON_MS));
    for (size_t i = 0; i < n; i++) {
        check_int(leat_msg_size(&parts[i]), 0);
        leat_msg_close(&parts[i]);
    }
}

static void recv_parts(leat_channel *rx, size_t n, uint64_t seed)
{
    leat_msg parts[MOST];
    for (size_t i = 0; i < MOST; i++)
        leat_msg_init(&parts[i]);
    check_int(check_ok(leat_recv_parts(rx, parts, MOST, SOON_MS)), n);
    for (size_t i = 0; i < MOST; i++) {
        if (i < n)
            conf_verify(&parts[i], size_of_part(i), seed + i);
        else
            check_int(leat_msg_size(&parts[i]), 0);
        leat_msg_close(&parts[i]);
    }
}

static void one_to_sixteen_parts_arrive_together(void)
{
    static const size_t counts[] = {1, 2, 3, 16};
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < 4; i++) {
            send_parts(e.tx, counts[i], 100 * i);
            recv_parts(e.rx, counts[i], 100 * i);
        }
    conf_ends_close(&e);
}

static void recv_of_several_parts_leaves_them_queued(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    send_parts(e.tx, 3, 7);
    conf_send(e.tx, 33, 1);
    check_error(leat_recv(e.rx, &msg, SOON_MS), EMSGSIZE);
    check_int(leat_msg_size(&msg), 0);
    check_error(leat_recv(e.rx, &msg, 0), EMSGSIZE);
    recv_parts(e.rx, 3, 7);
    conf_recv(e.rx, 33, 1);
    conf_ends_close(&e);
}

static void too_little_room_for_parts_leaves_them_queued(void)
{
    leat_msg msgs[2];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    conf_make(e.rx, 5, 5, &msgs[0]); /* a message that is held must survive the refusal */
    leat_msg_init(&msgs[1]);
    send_parts(e.tx, 3, 9);
    check_error(leat_recv_parts(e.rx, msgs, 2, SOON_MS), EMSGSIZE);
    conf_verify(&msgs[0], 5, 5);
    check_error(leat_recv_parts(e.rx, msgs, 1, 0), EMSGSIZE);
    recv_parts(e.rx, 3, 9);
    leat_msg_close(&msgs[0]);
    conf_ends_close(&e);
}

static void capacity_0_counts_and_takes_nothing(void)
{
    static const size_t counts[] = {1, 2, 3, 16};
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_error(leat_recv_parts(e.rx, NULL, 0, 0), EAGAIN);
    for (size_t i = 0; i < 4; i++) {
        send_parts(e.tx, counts[i], i);
        check_int(check_ok(leat_recv_parts(e.rx, NULL, 0, SOON_MS)), counts[i]);
        check_int(check_ok(leat_recv_parts(e.rx, NULL, 0, 0)), counts[i]);
        recv_parts(e.rx, counts[i], i);
        check_error(leat_recv_parts(e.rx, NULL, 0, 0), EAGAIN);
    }
    conf_ends_close(&e);
}

static void receiving_closes_what_the_message_held(void)
{
    leat_msg msg;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    conf_make(e.rx, 100000, 1, &msg);
    conf_send(e.tx, 1000, 2);
    check_ok(leat_recv(e.rx, &msg, SOON_MS));
    conf_verify(&msg, 1000, 2);
    check_error(leat_recv(e.rx, &msg, 0), EAGAIN);
    conf_verify(&msg, 1000, 2); /* nothing came: it is as it was */
    leat_msg_close(&msg);
    conf_ends_close(&e);
}

static void parts_are_all_or_none(void)
{
    leat_msg parts[MOST];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue=32", "queue=32");
    /* Until there is no room for sixteen; then the sixteen must be as they were. */
    for (int sent = 0;; sent++) {
        check(sent < 10000);
        for (size_t i = 0; i < MOST; i++)
            conf_make(e.tx, 30000, i, &parts[i]);
        int r = leat_send_parts(e.tx, parts, MOST, 200);
        for (size_t i = 0; i < MOST; i++) {
            if (r == -EAGAIN)
                conf_verify(&parts[i], 30000, i);
            leat_msg_close(&parts[i]);
        }
        if (r == -EAGAIN) {
            check(sent > 0);
            for (; sent > 0; sent--) {
                check_int(check_ok(leat_recv_parts(e.rx, parts, MOST, SOON_MS)), MOST);
                for (size_t i = 0; i < MOST; i++) {
                    conf_verify(&parts[i], 30000, i);
                    leat_msg_close(&parts[i]);
                }
            }
            break;
        }
        check_int(r, 0);
    }
    check_error(leat_recv_parts(e.rx, NULL, 0, 0), EAGAIN);
    conf_ends_close(&e);
}

CONF_BOTH(one_to_sixteen_parts_arrive_together, 0)
CONF_BOTH(recv_of_several_parts_leaves_them_queued, 0)
CONF_BOTH(too_little_room_for_parts_leaves_them_queued, 0)
CONF_BOTH(capacity_0_counts_and_takes_nothing, 0)
CONF_PUSH(receiving_closes_what_the_message_held, 0)
CONF_PUSH(parts_are_all_or_none, CONF_QUEUE)

const leat_test conf_parts[] = {
    IN_BOTH("1, 2, 3 and 16 parts arrive together", one_to_sixteen_parts_arrive_together),
    IN_BOTH("leat_recv() of several parts gives -EMSGSIZE and leaves them queued",
            recv_of_several_parts_leaves_them_queued),
    IN_BOTH("too small a capacity gives -EMSGSIZE and leaves the parts queued",
            too_little_room_for_parts_leaves_them_queued),
    IN_BOTH("capacity 0 counts the parts and takes none", capacity_0_counts_and_takes_nothing),
    IN_PUSH("receiving closes what the message held, and only then", receiving_closes_what_the_message_held),
    IN_PUSH("parts are sent all or not at all", parts_are_all_or_none),
    {.name = NULL},
};
