/* SPDX-License-Identifier: MIT
 *
 * pressure.c - conformance: a slow receiver holds its sender back, by messages (queue) and by bytes (queue_bytes), and
 * nothing is lost by it; and what the counters say meanwhile. Knows leat.h only.
 */
#include "conformance.h"

#define SIZE 30000

static void a_full_queue_holds_the_sender_back(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue=16", "queue=16");
    int n = conf_fill_up(e.tx, SIZE);
    check(n >= 4);
    check(n <= 256); /* 16, and whatever a transport keeps on the way */
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < n; i++)
            conf_recv(e.rx, SIZE, (uint64_t)i);
        leat_msg msg = LEAT_MSG_INIT;
        check_error(leat_recv(e.rx, &msg, 0), EAGAIN);
        for (int i = 0; i < n; i++)
            conf_send(e.tx, SIZE, (uint64_t)i); /* room comes back whole */
    }
    for (int i = 0; i < n; i++)
        conf_recv(e.rx, SIZE, (uint64_t)i);
    conf_ends_close(&e);
}

static void *receive_slowly(void *ch)
{
    for (uint64_t i = 0; i < 500; i++) {
        conf_recv(ch, i % 3 ? 20 : SIZE, i);
        if (i % 100 == 0)
            conf_pause_ms(30);
    }
    return NULL;
}

static void a_waiting_sender_goes_on_when_there_is_room(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue=16", "queue=16");
    pthread_t thread = conf_thread(receive_slowly, e.rx);
    for (uint64_t i = 0; i < 500; i++)
        conf_send(e.tx, i % 3 ? 20 : SIZE, i);
    conf_thread_end(thread);
    conf_ends_close(&e);
}

#define MB (1 << 20)

static void bytes_hold_the_sender_back_until_they_are_closed(void)
{
    leat_msg held[16];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue_bytes=4M", "");
    int n = conf_fill_up(e.tx, MB);
    check(n >= 3 && n <= 5);
    for (int i = 0; i < n; i++) {
        leat_msg_init(&held[i]);
        check_ok(leat_recv(e.rx, &held[i], SOON_MS));
        conf_verify(&held[i], MB, (uint64_t)i);
    }
    leat_msg msg;
    conf_make(e.tx, MB, 77, &msg);
    check_error(leat_send(e.tx, &msg, 50), EAGAIN); /* received is not let go of */
    leat_msg_close(&held[0]);
    check_ok(leat_send(e.tx, &msg, SOON_MS));
    for (int i = 1; i < n; i++)
        leat_msg_close(&held[i]);
    conf_recv(e.rx, MB, 77);
    conf_ends_close(&e);
}

static void one_message_always_goes(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue_bytes=1M", "");
    for (uint64_t i = 0; i < 5; i++) {
        leat_msg msg;
        conf_send(e.tx, 8 * MB, i);
        conf_make(e.tx, 8 * MB, 1, &msg);
        check_error(leat_send(e.tx, &msg, 0), EAGAIN);
        leat_msg_close(&msg);
        conf_recv(e.rx, 8 * MB, i);
    }
    conf_ends_close(&e);
}

static void *free_a_block_soon(void *msg)
{
    conf_pause_ms(30);
    leat_msg_close(msg);
    return NULL;
}

static void memory_let_go_wakes_a_waiting_alloc(void)
{
    leat_config *cfg = conf_config();
    leat_msg msgs[64], more = LEAT_MSG_INIT;
    int n = 0;
    conf_ends e;
    conf_transport_keys(cfg, "heap_size=16M");
    conf_ends_open(&e, cfg, "queue_bytes=1G", "");
    for (; n < 64; n++) {
        leat_msg_init(&msgs[n]);
        if (leat_msg_alloc(e.tx, MB, 0, &msgs[n]) < 0)
            break;
    }
    check(n >= 8);
    for (int i = 0; i < 3; i++) { /* let go by this program */
        pthread_t thread = conf_thread(free_a_block_soon, &msgs[0]);
        check_ok(leat_msg_alloc(e.tx, MB, SOON_MS, &more));
        conf_thread_end(thread);
        leat_msg_move(&more, &msgs[0]);
    }
    for (int i = 0; i < 3; i++) { /* let go by the receiver, in another thread than waits */
        check_ok(leat_send(e.tx, &msgs[i], SOON_MS));
        check_ok(leat_recv(e.rx, &msgs[i], SOON_MS));
        pthread_t thread = conf_thread(free_a_block_soon, &msgs[i]);
        check_ok(leat_msg_alloc(e.tx, MB, SOON_MS, &more));
        conf_thread_end(thread);
        leat_msg_move(&more, &msgs[i]);
    }
    while (n > 0)
        leat_msg_close(&msgs[--n]);
    conf_ends_close(&e);
}

static leat_stats stats_of(leat_channel *ch)
{
    leat_stats stats;
    check_ok(leat_channel_stats(ch, &stats));
    return stats;
}

static void counters_tell_messages_and_bytes(void)
{
    leat_msg held[3], parts[3];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_int(stats_of(e.tx).messages_out, 0);
    for (uint64_t i = 0; i < 10; i++)
        conf_send(e.tx, i % 2 ? 40 : SIZE, i);
    for (int i = 0; i < 3; i++)
        conf_make(e.tx, 100, 0, &parts[i]);
    check_ok(leat_send_parts(e.tx, parts, 3, SOON_MS));
    check_int(stats_of(e.tx).messages_out, 11); /* parts of one message count once */
    check_int(stats_of(e.tx).bytes_out, 5 * 40 + 5 * SIZE + 300);
    check_int(stats_of(e.tx).messages_in, 0);
    check_int(stats_of(e.rx).messages_in, 0);
    for (uint64_t i = 0; i < 10; i++)
        conf_recv(e.rx, i % 2 ? 40 : SIZE, i);
    for (int i = 0; i < 3; i++)
        leat_msg_init(&held[i]);
    check_int(check_ok(leat_recv_parts(e.rx, held, 3, SOON_MS)), 3);
    check_int(stats_of(e.rx).messages_in, 11);
    check_int(stats_of(e.rx).bytes_in, 5 * 40 + 5 * SIZE + 300);
    check_int(stats_of(e.rx).messages_out, 0);
    check_int(stats_of(e.tx).redelivered, 0);
    check_int(stats_of(e.tx).dropped, 0);
    for (int i = 0; i < 3; i++)
        leat_msg_close(&held[i]);
    check_int(stats_of(e.rx).held, 0);
    conf_ends_close(&e);
}

static void counters_tell_what_is_queued_and_held(void)
{
    leat_msg held[8];
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (uint64_t i = 0; i < 8; i++)
        conf_send(e.tx, SIZE, i);
    check_int(stats_of(e.tx).queued, 8);
    check_int(stats_of(e.rx).held, 0);
    for (uint64_t i = 0; i < 8; i++) {
        leat_msg_init(&held[i]);
        check_ok(leat_recv(e.rx, &held[i], SOON_MS));
        check_int(stats_of(e.rx).held, i + 1);
        check_int(stats_of(e.tx).queued, 7 - i);
    }
    for (uint64_t i = 0; i < 8; i++) {
        leat_msg_close(&held[i]);
        check_int(stats_of(e.rx).held, 7 - i);
    }
    conf_ends_close(&e);
}

CONF_BOTH(a_full_queue_holds_the_sender_back, CONF_QUEUE)
CONF_BOTH(a_waiting_sender_goes_on_when_there_is_room, CONF_QUEUE | CONF_THREADS)
CONF_BOTH(bytes_hold_the_sender_back_until_they_are_closed, CONF_QUEUE_BYTES)
CONF_BOTH(one_message_always_goes, CONF_QUEUE_BYTES)
CONF_PUSH(memory_let_go_wakes_a_waiting_alloc, CONF_HEAP | CONF_THREADS)
CONF_BOTH(counters_tell_messages_and_bytes, 0)
CONF_BOTH(counters_tell_what_is_queued_and_held, CONF_DEPTH)

const leat_test conf_pressure[] = {
    IN_BOTH("a full queue holds the sender back, and room comes back whole", a_full_queue_holds_the_sender_back),
    IN_BOTH("a sender that waits for room goes on when there is some", a_waiting_sender_goes_on_when_there_is_room),
    IN_BOTH("queue_bytes hold the sender back until the receiver lets go",
            bytes_hold_the_sender_back_until_they_are_closed),
    IN_BOTH("one message always goes, however few queue_bytes there are", one_message_always_goes),
    IN_PUSH("memory let go wakes an alloc that waits", memory_let_go_wakes_a_waiting_alloc),
    IN_BOTH("the counters tell messages and bytes", counters_tell_messages_and_bytes),
    IN_BOTH("the counters tell what is queued and what is held", counters_tell_what_is_queued_and_held),
    {.name = NULL},
};
