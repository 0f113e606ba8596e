/* SPDX-License-Identifier: MIT
 *
 * core_messages_test.c - messages: small ones and blocks, their memory, copies and ends, and waiting for memory.
 */
#include "runtime_support.h"

#include <stdint.h>

static void an_empty_message_has_size_zero_and_data(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    check_int(leat_msg_size(&msg), 0);
    check(leat_msg_data(&msg) != NULL);
    memset(&msg, 0xff, sizeof(msg));
    leat_msg_init(&msg);
    check_int(leat_msg_size(&msg), 0);
    check_int(leat_msg_timestamp(&msg), 0);
    leat_msg_close(&msg);
}

static void up_to_48_bytes_lie_in_the_struct(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    for (size_t size = 0; size <= 64; size++) {
        leat_msg msg = LEAT_MSG_INIT;
        check_ok(leat_msg_alloc(ch, size, 0, &msg));
        check_int(leat_msg_size(&msg), (long long)size);
        char *data = leat_msg_data(&msg);
        bool inside = data >= (char *)&msg && data < (char *)(&msg + 1);
        check(inside == (size <= 48));
        check((uintptr_t)data % 16 == 0);
        leat_msg_close(&msg);
    }
    leat_ctx_free(ctx);
    leat_channel_close(ch);
    rt_clean();
}

static void alignment_is_a_power_of_two_up_to_a_page(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    for (size_t align = 1; align <= 4096; align *= 2) {
        check_ok(leat_msg_alloc_aligned(ch, 8, align, 0, &msg));
        check((uintptr_t)leat_msg_data(&msg) % align == 0);
    }
    check_error(leat_msg_alloc_aligned(ch, 8, 0, 0, &msg), EINVAL);
    check_error(leat_msg_alloc_aligned(ch, 8, 24, 0, &msg), EINVAL);
    check_error(leat_msg_alloc_aligned(ch, 8, 8192, 0, &msg), EINVAL);
    check_int(leat_msg_size(&msg), 8); /* what it held is still there */
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void more_than_max_msg_size_names_the_key(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "max_msg_size=20", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    rt_script("scripted")->give_room(1);
    check_ok(leat_msg_alloc(ch, 20, 0, &msg));
    check_error(leat_msg_alloc(ch, 21, 0, &msg), EMSGSIZE);
    check_contains(leat_error(), "max_msg_size");
    check_ok(leat_send(ch, &msg, 0));
    leat_channel_close(ch);
    leat_ctx_free(ctx);

    ch = rt_channel("push", "max_msg_size=100", &ctx);
    leat_channel *big = ch;
    leat_msg parts[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    check_ok(leat_msg_alloc(ch, 60, 0, &parts[0]));
    check_ok(leat_msg_alloc(ch, 60, 0, &parts[1]));
    check_error(leat_send_parts(big, parts, 2, 0), EMSGSIZE);
    check_contains(leat_error(), "max_msg_size");
    leat_msg_close(&parts[0]);
    leat_msg_close(&parts[1]);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void allocation_closes_what_the_message_held_only_on_success(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    rt_make(ch, "old", 100, &msg);
    check_error(leat_msg_alloc(ch, SIZE_MAX, 0, &msg), EMSGSIZE);
    check_string(leat_msg_data(&msg), "old");
    check_ok(leat_msg_alloc(ch, 8, 0, &msg)); /* small: also closes the block */
    check_int(script->blocks, 0);
    rt_make(ch, "old", 100, &msg);
    check_ok(leat_msg_alloc(ch, 200, 0, &msg));
    check_int(script->blocks, 1);
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void release_memory(void *msg)
{
    leat_msg_close(msg);
}

static void allocation_waits_for_memory_and_names_heap_size(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg held = LEAT_MSG_INIT, msg = LEAT_MSG_INIT;
    script->give_memory(1000 - (1L << 40));
    check_ok(leat_msg_alloc(ch, 900, 0, &held));
    rt_times_out(leat_msg_alloc(ch, 200, 30, &msg), 30);
    check_contains(leat_error(), "heap_size in [transport scripted]");
    check_int(leat_msg_size(&msg), 0);
    int64_t start = rt_now_ns();
    rt_after_ms(50, release_memory, &held);
    check_ok(leat_msg_alloc(ch, 200, -1, &msg));
    rt_took(start, 50);
    rt_join_threads();
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void memory_later(void *script)
{
    ((scripted *)script)->give_memory(1000);
}

/* What came back between the try and raise rings no more. */
static void memory_that_came_back_without_a_ring_is_found(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    script->give_memory(-(1L << 40));
    script->lies = script->deaf = true;
    rt_after_ms(50, memory_later, script);
    int64_t start = rt_now_ns();
    check_ok(leat_msg_alloc(ch, 200, -1, &msg));
    rt_took(start, 50);
    rt_join_threads();
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

/* A transport cannot tell room from memory in `ready`: the wait must neither hang nor run hot. */
static void waiting_for_memory_sleeps_although_the_port_says_ready(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg held = LEAT_MSG_INIT, msg = LEAT_MSG_INIT;
    script->give_memory(1000 - (1L << 40));
    script->lies = true;
    check_ok(leat_msg_alloc(ch, 900, 0, &held));
    rt_times_out(leat_msg_alloc(ch, 200, 250, &msg), 250);
    check(script->raises < 60);
    int64_t start = rt_now_ns();
    rt_after_ms(50, release_memory, &held);
    check_ok(leat_msg_alloc(ch, 200, -1, &msg));
    rt_took(start, 50);
    rt_join_threads();
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void a_copy_shares_the_bytes_and_both_must_be_closed(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT, copy = LEAT_MSG_INIT;
    rt_make(ch, "block", 100, &msg);
    rt_make(ch, "other", 100, &copy);
    check_ok(leat_msg_copy(&msg, &copy));
    check_int(script->blocks, 1);
    check(leat_msg_data(&msg) == leat_msg_data(&copy));
    check_error(leat_msg_writable(&copy), ENOTSUP); /* the transport was asked */
    check_ok(leat_msg_copy(&msg, &msg));
    leat_msg_close(&msg);
    check_string(leat_msg_data(&copy), "block");
    check_ok(leat_msg_writable(&copy));
    leat_msg_close(&copy);
    rt_make(ch, "small", 10, &msg);
    check_ok(leat_msg_copy(&msg, &copy));
    check(leat_msg_data(&msg) != leat_msg_data(&copy));
    check_string(leat_msg_data(&copy), "small");
    check_ok(leat_msg_writable(&copy));
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void truncation_only_shortens(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    for (size_t size = 40; size <= 80; size += 40) {
        rt_make(ch, "text", size, &msg);
        check_error(leat_msg_truncate(&msg, size + 1), EINVAL);
        check_ok(leat_msg_truncate(&msg, size));
        check_ok(leat_msg_truncate(&msg, 4));
        check_int(leat_msg_size(&msg), 4);
        check(memcmp(leat_msg_data(&msg), "text", 4) == 0);
    }
    leat_msg_close(&msg);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void moving_closes_the_target_and_empties_the_source(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    leat_msg from = LEAT_MSG_INIT, to = LEAT_MSG_INIT;
    rt_make(ch, "from", 100, &from);
    rt_make(ch, "to", 100, &to);
    leat_msg_move(&from, &to);
    check_int(rt_script("scripted")->blocks, 1);
    check_int(leat_msg_size(&from), 0);
    check_string(leat_msg_data(&to), "from");
    leat_msg_move(&to, &to);
    check_string(leat_msg_data(&to), "from");
    leat_msg_close(&to);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static int freed;
static void count_free(void *data, void *hint)
{
    check_string(data, "mine");
    check_string(hint, "hint");
    freed++;
}

static void bytes_of_the_caller_are_copied_where_the_transport_cannot_send_them(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "max_msg_size=1000", &ctx);
    scripted *script = rt_script("scripted");
    static char mine[2000] = "mine", hint[] = "hint";
    leat_msg msg = LEAT_MSG_INIT;
    check_ok(leat_msg_from(ch, mine, 10, count_free, hint, &msg));
    check_int(freed, 1);
    check_string(leat_msg_data(&msg), "mine");
    check_ok(leat_msg_from(ch, mine, 1000, count_free, hint, &msg));
    check_int(freed, 2);
    check(leat_msg_data(&msg) != mine);
    check_string(leat_msg_data(&msg), "mine");
    check_int(leat_msg_size(&msg), 1000);
    check_error(leat_msg_from(ch, mine, 1001, count_free, hint, &msg), EMSGSIZE);
    script->give_memory(-(1L << 40));
    check_error(leat_msg_from(ch, mine, 100, count_free, hint, &msg), EAGAIN);
    check_error(leat_msg_from(ch, NULL, 100, count_free, hint, &msg), EINVAL);
    check_int(freed, 2); /* never on failure */
    check_int(leat_msg_size(&msg), 1000);
    check_ok(leat_msg_from(ch, NULL, 0, NULL, NULL, &msg));
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static const leat_test tests[] = {
    RT_TEST("an empty message has size 0 and data", an_empty_message_has_size_zero_and_data),
    RT_TEST("up to 48 bytes lie in the struct", up_to_48_bytes_lie_in_the_struct),
    RT_TEST("alignment is a power of two up to a page", alignment_is_a_power_of_two_up_to_a_page),
    RT_TEST("more than max_msg_size names the key", more_than_max_msg_size_names_the_key),
    RT_TEST("allocation closes what the message held only on success",
            allocation_closes_what_the_message_held_only_on_success),
    RT_TEST("allocation waits for memory and names heap_size", allocation_waits_for_memory_and_names_heap_size),
    RT_TEST("waiting for memory sleeps although the port says ready",
            waiting_for_memory_sleeps_although_the_port_says_ready),
    RT_TEST("memory that came back without a ring is found", memory_that_came_back_without_a_ring_is_found),
    RT_TEST("a copy shares the bytes and both must be closed", a_copy_shares_the_bytes_and_both_must_be_closed),
    RT_TEST("truncation only shortens", truncation_only_shortens),
    RT_TEST("moving closes the target and empties the source", moving_closes_the_target_and_empties_the_source),
    RT_TEST("bytes of the caller are copied where the transport cannot send them",
            bytes_of_the_caller_are_copied_where_the_transport_cannot_send_them),
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
