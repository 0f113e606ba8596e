/* SPDX-License-Identifier: MIT
 *
 * core_traffic_test.c - sending and receiving through the core: ownership of blocks, parts, several ports, the end of a
 * channel, refusals. The transports do what the test says; no message leaves the process.
 */
#include "runtime_support.h"

#include <stdio.h>

static void a_sent_message_is_empty_and_one_not_sent_is_untouched(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    for (size_t size = 10; size <= 100; size += 90) {
        rt_make(ch, "text", size, &msg);
        check_error(leat_send(ch, &msg, 0), EAGAIN);
        check_string(leat_msg_data(&msg), "text");
        check_int(leat_msg_size(&msg), (long long)size);
        script->give_room(1);
        check_ok(leat_send(ch, &msg, 0));
        check_int(leat_msg_size(&msg), 0);
        check_string(script->last, "text");
        check_int(script->last_blocks, size > 48);
    }
    leat_stats stats;
    check_ok(leat_channel_stats(ch, &stats));
    check_int(stats.messages_out, 2);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void a_received_message_replaces_the_old_one_on_success_only(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    scripted *script = rt_script("scripted");
    for (size_t old = 10; old <= 100; old += 90)
        for (size_t new = 20; new <= 200; new += 180) {
            char text[200] = "new";
            leat_msg msg = LEAT_MSG_INIT;
            rt_make(ch, "old", old, &msg);
            check_error(leat_recv(ch, &msg, 0), EAGAIN);
            check_error(leat_recv(ch, &msg, 1), EAGAIN);
            check_string(leat_msg_data(&msg), "old");
            check_int(leat_msg_size(&msg), (long long)old);
            script->feed("c", 1, text, new);
            check_ok(leat_recv(ch, &msg, 0));
            check_string(leat_msg_data(&msg), "new");
            check_int(leat_msg_size(&msg), (long long)new);
            check_int(script->blocks, new > 48);
            leat_msg_close(&msg);
        }
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void feed_later(void *text)
{
    rt_script("scripted")->feed("c", 1, text, 10);
}

static void a_wait_that_is_fulfilled_also_replaces_the_old_message(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    static char text[10] = "new";
    for (size_t old = 10; old <= 100; old += 90) {
        leat_msg msg = LEAT_MSG_INIT;
        rt_make(ch, "old", old, &msg);
        rt_after_ms(20, feed_later, text);
        check_ok(leat_recv(ch, &msg, -1));
        check_string(leat_msg_data(&msg), "new");
        check_int(rt_script("scripted")->blocks, 0);
    }
    rt_join_threads();
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void all_parts_go_or_none(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    for (size_t n = 1; n <= 40; n += 13) {
        leat_msg msgs[40];
        for (size_t i = 0; i < n; i++) {
            leat_msg_init(&msgs[i]);
            rt_make(ch, "part", i % 2 ? 100 : 10, &msgs[i]);
        }
        check_error(leat_send_parts(ch, msgs, n, 0), EAGAIN);
        for (size_t i = 0; i < n; i++)
            check_string(leat_msg_data(&msgs[i]), "part");
        script->give_room(1);
        check_ok(leat_send_parts(ch, msgs, n, 0));
        check_int(script->last_parts, (long long)n);
        for (size_t i = 0; i < n; i++)
            check_int(leat_msg_size(&msgs[i]), 0);
    }
    check_error(leat_send_parts(ch, NULL, 0, 0), EINVAL);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void parts_are_received_together_into_enough_room(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pull", "", &ctx);
    scripted *script = rt_script("scripted");
    static const size_t counts[] = {1, 2, 16, 17, 30};
    for (size_t i = 0; i < 5; i++) {
        leat_msg msgs[64];
        for (size_t k = 0; k < 64; k++)
            leat_msg_init(&msgs[k]);
        char text[100] = "part";
        script->feed("c", counts[i], text, i % 2 ? 100 : 10);
        check_int(leat_recv_parts(ch, NULL, 0, 0), (long long)counts[i]);
        if (counts[i] > 1) {
            check_error(leat_recv(ch, msgs, 0), EMSGSIZE);
            check_contains(leat_error(), "leat_recv_parts");
            check_error(leat_recv_parts(ch, msgs, counts[i] - 1, 0), EMSGSIZE);
        }
        check_int(leat_recv_parts(ch, msgs, i % 2 ? counts[i] : 64, 0), (long long)counts[i]);
        for (size_t k = 0; k < counts[i]; k++) {
            check_string(leat_msg_data(&msgs[k]), "part");
            leat_msg_close(&msgs[k]);
        }
        check_error(leat_recv_parts(ch, msgs, 64, 0), EAGAIN);
        check_error(leat_recv_parts(ch, NULL, 0, 0), EAGAIN);
    }
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void a_pattern_that_does_not_send_or_receive_says_so(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    script->feed("c", 1, "text", 5); /* even if the transport would */
    script->give_room(1);
    check_error(leat_recv(ch, &msg, -1), ENOTSUP);
    check_contains(leat_error(), "channel c is push, which does not receive");
    check_error(leat_recv_parts(ch, &msg, 1, -1), ENOTSUP);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    ch = rt_channel("pull", "", &ctx);
    check_error(leat_send(ch, &msg, -1), ENOTSUP);
    check_contains(leat_error(), "channel c is pull, which does not send");
    check_error(leat_send_parts(ch, &msg, 1, -1), ENOTSUP);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

/* ---- several transports ------------------------------------------------------------------------------------------ */

static leat_channel *open_over_two(const char *type, leat_ctx **ret_ctx)
{
    return rt_channel(type, "address=here, script2://there", ret_ctx);
}

static void a_block_of_another_transport_is_copied_once(void)
{
    leat_config *cfg = rt_config();
    rt_keys(cfg, "channel a", "type=pull;method=bind;address=a;transport=scripted-two;wait=sleep");
    rt_keys(cfg, "channel b", "type=push;method=bind;address=b;transport=scripted;wait=sleep");
    leat_ctx *ctx = rt_join(cfg);
    leat_channel *a = rt_open(ctx, "a"), *b = rt_open(ctx, "b");
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    leat_msg msgs[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    char text[300] = "foreign";
    two->feed("a", 1, text, sizeof(text));
    two->feed("a", 1, text, sizeof(text));
    check_ok(leat_recv(a, &msgs[0], 0));
    check_ok(leat_recv(a, &msgs[1], 0));

    check_error(leat_send_parts(b, msgs, 2, 20), EAGAIN); /* no room */
    check_int(one->blocks, 0);                            /* the copies are gone, the originals not */
    check_int(two->blocks, 2);
    one->give_memory(400 - (1L << 40)); /* enough for one copy, not for two */
    one->give_room(1);
    check_error(leat_send_parts(b, msgs, 2, 0), EAGAIN);
    check_contains(leat_error(), "heap_size");
    check_int(one->sent, 0);
    check_int(one->blocks, 0);
    check_int(two->blocks, 2);
    check_string(leat_msg_data(&msgs[0]), "foreign");
    one->give_memory(400);
    check_ok(leat_send_parts(b, msgs, 2, 0));
    check_int(one->last_blocks, 2);
    check_string(one->last, "foreign");
    check_int(two->blocks, 0);
    check_int(leat_msg_size(&msgs[1]), 0);

    two->feed("a", 1, text, sizeof(text));
    one->give_room(1);
    check_ok(leat_recv(a, &msgs[0], 0));
    check_ok(leat_msg_truncate(&msgs[0], 20));
    check_ok(leat_send(b, &msgs[0], 0)); /* small enough for no block at all */
    check_int(one->last_blocks, 0);
    check_string(one->last, "foreign");
    leat_channel_close(a);
    leat_channel_close(b);
    leat_ctx_free(ctx);
    rt_clean();
}

static void push_deals_to_its_transports_by_their_peers(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = open_over_two("push", &ctx);
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    leat_msg msg = LEAT_MSG_INIT;
    one->joined("c");
    for (int i = 0; i < 3; i++)
        two->joined("c");
    check_int(leat_channel_peers(ch), 4);
    one->give_room(1000);
    two->give_room(1000);
    for (int i = 0; i < 400; i++)
        check_ok(leat_send(ch, &msg, 0));
    check(one->sent >= 99 && one->sent <= 101);
    check_int(one->sent + two->sent, 400);
    one->give_room(-1000 + one->sent); /* full: the other gets all */
    int before = two->sent;
    for (int i = 0; i < 10; i++)
        check_ok(leat_send(ch, &msg, 0));
    check_int(two->sent - before, 10);
    leat_stats stats;
    check_ok(leat_channel_stats(ch, &stats));
    check_int(stats.messages_out, 410);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void a_block_goes_over_several_transports_each_in_its_own_memory(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = open_over_two("push", &ctx);
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    one->joined("c");
    two->joined("c");
    one->give_room(2);
    two->give_room(2);
    for (int i = 0; i < 4; i++) {
        leat_msg msg = LEAT_MSG_INIT;
        rt_make(ch, "block", 100, &msg);
        check_ok(leat_send(ch, &msg, 0));
    }
    check_int(one->sent, 2);
    check_int(two->sent, 2);
    check_int(one->last_blocks, 1);
    check_int(two->last_blocks, 1);
    check_string(two->last, "block");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void copies_for_a_port_without_room_are_made_anew_for_the_next(void)
{
    leat_config *cfg = rt_config();
    rt_keys(cfg, "channel a", "type=push;method=bind;address=a;transport=scripted");
    rt_keys(cfg, "channel c", "type=push;method=bind;address=here, script2://there;transport=scripted");
    leat_ctx *ctx = rt_join(cfg);
    leat_channel *a = rt_open(ctx, "a"), *c = rt_open(ctx, "c");
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    leat_msg msgs[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    one->lies = true; /* says ready, and has no room */
    two->give_room(1);
    rt_make(a, "foreign", 100, &msgs[0]);
    rt_make(a, "foreign", 200, &msgs[1]);
    check_ok(leat_send_parts(c, msgs, 2, 0));
    check_int(two->sent, 1);
    check_int(two->last_blocks, 2);
    check_string(two->last, "foreign");
    leat_channel_close(a);
    leat_channel_close(c);
    leat_ctx_free(ctx);
    rt_clean();
}

static void what_was_received_is_not_sent_on_beyond_max_msg_size(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "max_msg_size=60", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    char text[100] = "text";
    script->feed("c", 1, text, 61);
    script->feed("c", 1, text, 60);
    script->give_room(2);
    check_ok(leat_recv(ch, &msg, 0));
    check_error(leat_send(ch, &msg, 0), EMSGSIZE);
    check_contains(leat_error(), "max_msg_size");
    check_string(leat_msg_data(&msg), "text");
    check_ok(leat_recv(ch, &msg, 0));
    check_ok(leat_send(ch, &msg, 0));
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void pull_serves_its_transports_in_turn(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = open_over_two("pull", &ctx);
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    for (int i = 0; i < 20; i++)
        one->feed("c", 1, "1", 2);
    for (int i = 0; i < 10; i++)
        two->feed("c", 1, "2", 2);
    int twos = 0;
    for (int i = 0; i < 30; i++) {
        leat_msg msg = LEAT_MSG_INIT;
        check_int(leat_recv_parts(ch, NULL, 0, 0), 1); /* looking does not cost the turn */
        check_ok(leat_recv(ch, &msg, 0));
        twos += *(char *)leat_msg_data(&msg) == '2';
        if (i == 9)
            check(twos >= 4 && twos <= 6);
    }
    check_int(twos, 10);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void a_pair_has_one_peer_over_all_its_transports(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = open_over_two("pair", &ctx);
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    leat_msg msg = LEAT_MSG_INIT;
    one->give_room(10);
    two->give_room(10);
    check_error(leat_send(ch, &msg, 0), EAGAIN); /* no peer */
    two->joined("c");
    one->joined("c");
    check_int(leat_channel_peers(ch), 1);
    one->feed("c", 1, "1", 2);
    check_error(leat_recv(ch, &msg, 0), EAGAIN); /* the one who came later waits */
    check_ok(leat_send(ch, &msg, 0));
    check_int(two->sent, 1);
    two->left("c", false);
    check_ok(leat_send(ch, &msg, 0));
    check_int(one->sent, 1);
    check_ok(leat_recv(ch, &msg, 0));
    check_string(leat_msg_data(&msg), "1");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

/* ---- the end, refusals ------------------------------------------------------------------------------------------- */

static void come_and_go(void *died)
{
    scripted *script = rt_script("scripted");
    script->joined("c");
    script->feed("c", 1, "last", 5);
    script->left("c", died != NULL);
}

static void an_ended_channel_gives_what_is_left_and_then_the_end(void)
{
    for (int died = 0; died < 2; died++) {
        leat_ctx *ctx = NULL;
        leat_channel *ch = rt_channel("pull", "at_end=finish; expect=2", &ctx);
        scripted *script = rt_script("scripted");
        leat_msg msg = LEAT_MSG_INIT;
        script->joined("c");
        script->left("c", false);
        check_error(leat_recv(ch, &msg, 0), EAGAIN); /* one more is expected */
        script->joined("c");
        check_error(leat_recv(ch, &msg, 0), EAGAIN);
        script->feed("c", 1, "last", 5);
        script->left("c", died);
        check_ok(leat_recv(ch, &msg, 0));
        check_string(leat_msg_data(&msg), "last");
        check_error(leat_recv(ch, &msg, 0), died ? ECONNRESET : EPIPE);
        check_error(leat_recv(ch, &msg, -1), died ? ECONNRESET : EPIPE);
        check_error(leat_recv_parts(ch, NULL, 0, -1), died ? ECONNRESET : EPIPE);
        script->joined("c"); /* a new one: it goes on */
        check_error(leat_recv(ch, &msg, 0), EAGAIN);
        leat_channel_close(ch);
        leat_ctx_free(ctx);
    }
    rt_clean();
}

static void a_waiting_receiver_is_woken_by_the_end(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "at_end=finish", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    rt_after_ms(30, come_and_go, ch);
    check_ok(leat_recv(ch, &msg, -1));
    check_error(leat_recv(ch, &msg, -1), ECONNRESET);
    check_contains(leat_error(), "died");
    rt_join_threads();
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void without_finish_a_channel_never_ends(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pull", "", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    come_and_go(ch);
    check_ok(leat_recv(ch, &msg, 0));
    check_error(leat_recv(ch, &msg, 10), EAGAIN);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void refuse_later(void *script_)
{
    ((scripted *)script_)->refused("c", EPROTOTYPE, "channel c is pair here and pub at pid 4711 (sampler)");
}

static void a_refusal_fails_calls_until_somebody_comes(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    rt_after_ms(20, refuse_later, script);
    check_error(leat_send(ch, &msg, -1), EPROTOTYPE);
    check_contains(leat_error(), "pub at pid 4711 (sampler)");
    rt_join_threads();
    check_error(leat_recv(ch, &msg, 0), EPROTOTYPE);
    check_error(leat_channel_wait_peers(ch, 1, -1), EPROTOTYPE);
    check_int(leat_channel_arm(ch, LEAT_IN), 1); /* the next call tells */
    script->refused("c", 0, NULL);
    check_error(leat_recv(ch, &msg, 0), EAGAIN);
    script->joined("c");
    script->refused("c", ECONNREFUSED, "another one");
    check_error(leat_recv(ch, &msg, 0), EAGAIN); /* there is a peer */
    script->left("c", false);
    check_error(leat_recv(ch, &msg, 0), ECONNREFUSED);
    check_string(leat_error(), "another one");
    script->joined("c");
    script->left("c", false);
    check_error(leat_recv(ch, &msg, 0), EAGAIN); /* who came has ended the refusal */
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static const leat_test tests[] = {
    RT_TEST("a sent message is empty and one not sent is untouched",
            a_sent_message_is_empty_and_one_not_sent_is_untouched),
    RT_TEST("a received message replaces the old one on success only",
            a_received_message_replaces_the_old_one_on_success_only),
    RT_TEST("a wait that is fulfilled also replaces the old message",
            a_wait_that_is_fulfilled_also_replaces_the_old_message),
    RT_TEST("all parts go or none", all_parts_go_or_none),
    RT_TEST("parts are received together into enough room", parts_are_received_together_into_enough_room),
    RT_TEST("a pattern that does not send or receive says so", a_pattern_that_does_not_send_or_receive_says_so),
    RT_TEST("a block of another transport is copied once", a_block_of_another_transport_is_copied_once),
    RT_TEST("push deals to its transports by their peers", push_deals_to_its_transports_by_their_peers),
    RT_TEST("a block goes over several transports, each in its own memory",
            a_block_goes_over_several_transports_each_in_its_own_memory),
    RT_TEST("copies for a port without room are made anew for the next",
            copies_for_a_port_without_room_are_made_anew_for_the_next),
    RT_TEST("what was received is not sent on beyond max_msg_size",
            what_was_received_is_not_sent_on_beyond_max_msg_size),
    RT_TEST("pull serves its transports in turn", pull_serves_its_transports_in_turn),
    RT_TEST("a pair has one peer over all its transports", a_pair_has_one_peer_over_all_its_transports),
    RT_TEST("an ended channel gives what is left and then the end",
            an_ended_channel_gives_what_is_left_and_then_the_end),
    RT_TEST("a waiting receiver is woken by the end", a_waiting_receiver_is_woken_by_the_end),
    RT_TEST("without finish a channel never ends", without_finish_a_channel_never_ends),
    RT_TEST("a refusal fails calls until somebody comes", a_refusal_fails_calls_until_somebody_comes),
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
