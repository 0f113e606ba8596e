/* SPDX-License-Identifier: MIT
 *
 * core_poller_test.c - pollers: channels and descriptors together, fair turns, timeouts, interrupts, and what becomes of a
 * poller's channels when they are closed. The transports are scripted and check the protocol.
 */
#include "runtime_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CHANNELS 4

static leat_ctx *ctx;
static leat_channel *channels[CHANNELS];
static leat_poller *poller;

/* Channels "0" to "3", the last one over the other transport. */
static void set_up(const char *type, const char *keys)
{
    leat_config *cfg = rt_config();
    for (int i = 0; i < CHANNELS; i++) {
        char section[32], own[64];
        snprintf(section, sizeof(section), "channel %d", i);
        snprintf(own, sizeof(own), "method=bind;address=a%d;transport=%s", i, i == 3 ? "scripted-two" : "scripted");
        rt_keys(cfg, section, own);
        check_ok(leat_config_set(cfg, section, "type", type));
        rt_keys(cfg, section, keys);
    }
    ctx = rt_join(cfg);
    for (int i = 0; i < CHANNELS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        channels[i] = rt_open(ctx, name);
    }
    check_ok(leat_poller_new(ctx, &poller));
}

static void tear_down(void)
{
    for (int i = 0; i < CHANNELS; i++)
        leat_channel_close(channels[i]);
    leat_poller_free(poller);
    leat_ctx_free(ctx);
    rt_clean();
}

static void add_all(unsigned events)
{
    for (int i = 0; i < CHANNELS; i++)
        check_ok(leat_poller_add(poller, channels[i], events, &channels[i]));
}

static void feed(int i)
{
    char name[8];
    snprintf(name, sizeof(name), "%d", i);
    rt_script(i == 3 ? "scripted-two" : "scripted")->feed(name, 1, "text", 5);
}

static void feed_later(void *number)
{
    feed(*(int *)number);
}

static void nothing_ready_is_eagain_in_time(void)
{
    static const int timeouts[] = {0, 1, 10, 250};
    static const char *const modes[] = {"wait=adaptive", "wait=sleep", "wait=poll"};
    for (int m = 0; m < 3; m++) {
        leat_event event;
        int raises = rt_script("scripted")->raises;
        set_up("pair", modes[m]);
        add_all(LEAT_IN);
        for (int i = 0; i < 4; i++) {
            rt_times_out(leat_poller_wait(poller, &event, 1, timeouts[i]), timeouts[i]);
        }
        check_error(leat_poller_wait(poller, &event, 0, 0), EINVAL);
        check((rt_script("scripted")->raises > raises) == (m < 2)); /* only poll never sleeps */
        tear_down();
    }
}

static void a_message_on_any_channel_ends_the_wait(void)
{
    static const char *const modes[] = {"wait=adaptive", "wait=sleep", "wait=poll"};
    for (int m = 0; m < 3; m++) {
        set_up("pair", modes[m]);
        add_all(LEAT_IN | LEAT_OUT);
        for (int i = 0; i < CHANNELS; i++) {
            leat_event events[8];
            leat_msg msg = LEAT_MSG_INIT;
            int64_t start = rt_now_ns();
            rt_after_ms(20, feed_later, &i);
            check_int(leat_poller_wait(poller, events, 8, -1), 1);
            rt_took(start, 20);
            check(events[0].channel == channels[i] && events[0].fd == -1);
            check(events[0].tag == &channels[i]);
            check_int(events[0].events, LEAT_IN);
            check_int(leat_poller_wait(poller, events, 8, 0), 1); /* level-triggered */
            check_ok(leat_recv(channels[i], &msg, 0));
            check_error(leat_poller_wait(poller, events, 8, 0), EAGAIN);
            rt_join_threads();
        }
        tear_down();
    }
}

static void all_ports_are_raised_before_one_fence_per_transport(void)
{
    leat_event event;
    set_up("pair", "wait=sleep");
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    add_all(LEAT_IN);
    check_error(leat_poller_wait(poller, &event, 1, 10), EAGAIN);
    check(one->fences > 0);
    check_int(one->raises, 3 * one->fences);
    check_int(two->raises, two->fences);
    check_int(one->lowers, one->raises);
    check_int(two->lowers, two->raises);
    tear_down();
}

static void little_room_is_shared_in_fair_turns(void)
{
    set_up("pair", "wait=sleep");
    add_all(LEAT_IN);
    int fds[2], seen[CHANNELS + 1] = {0};
    check_int(pipe(fds), 0);
    check_int(write(fds[1], "x", 1), 1);
    check_ok(leat_poller_add_fd(poller, fds[0], LEAT_IN, NULL));
    for (int i = 0; i < CHANNELS; i++)
        feed(i);
    for (int i = 0; i < 20; i++) {
        leat_event event;
        check_int(leat_poller_wait(poller, &event, 1, -1), 1);
        if (event.channel)
            seen[(leat_channel **)event.tag - channels]++;
        else
            seen[CHANNELS]++;
    }
    for (int i = 0; i <= CHANNELS; i++)
        check_int(seen[i], 4);
    close(fds[0]);
    close(fds[1]);
    tear_down();
}

static void write_later(void *fd)
{
    check_int(write(*(int *)fd, "x", 1), 1);
}

static void descriptors_are_watched_like_channels(void)
{
    leat_event events[8];
    int fds[2], others[2], tag = 0;
    char byte = 0;
    set_up("pair", "wait=adaptive");
    add_all(LEAT_IN);
    check_int(pipe(fds), 0);
    check_int(pipe(others), 0);
    check_ok(leat_poller_add_fd(poller, fds[0], LEAT_IN, &tag));
    check_ok(leat_poller_add_fd(poller, others[0], LEAT_IN, NULL));
    check_error(leat_poller_add_fd(poller, fds[0], LEAT_IN, &tag), EEXIST);
    check_error(leat_poller_add_fd(poller, -1, LEAT_IN, &tag), EBADF);
    int64_t start = rt_now_ns();
    rt_after_ms(20, write_later, &fds[1]);
    check_int(leat_poller_wait(poller, events, 8, -1), 1);
    rt_took(start, 20);
    rt_join_threads();
    check(events[0].fd == fds[0] && !events[0].channel && events[0].tag == &tag);
    check_int(events[0].events, LEAT_IN);
    check_int(read(fds[0], &byte, 1), 1);
    check_error(leat_poller_wait(poller, events, 8, 5), EAGAIN);
    /* The last source takes the place of a removed one, and is still told apart. */
    check_ok(leat_poller_remove_fd(poller, fds[0]));
    check_error(leat_poller_remove_fd(poller, fds[0]), ENOENT);
    check_int(write(fds[1], "x", 1), 1);
    check_error(leat_poller_wait(poller, events, 8, 5), EAGAIN);
    check_int(write(others[1], "x", 1), 1);
    check_int(leat_poller_wait(poller, events, 8, 5), 1);
    check_int(events[0].fd, others[0]);
    close(others[1]);
    check_int(read(others[0], &byte, 1), 1);
    check_int(leat_poller_wait(poller, events, 8, 5), 1);
    check_int(events[0].events, LEAT_ERR); /* hung up */
    check_ok(leat_poller_add_fd(poller, fds[1], LEAT_OUT, NULL));
    check_int(leat_poller_wait(poller, events, 8, 5), 2);
    close(fds[0]);
    close(fds[1]);
    close(others[0]);
    tear_down();
}

static void a_channel_is_in_one_poller_once(void)
{
    leat_poller *other = NULL;
    set_up("push", "wait=sleep");
    check_ok(leat_poller_new(ctx, &other));
    check_ok(leat_poller_add(poller, channels[0], LEAT_OUT, NULL));
    check_error(leat_poller_add(poller, channels[0], LEAT_OUT, NULL), EEXIST);
    check_error(leat_poller_add(other, channels[0], LEAT_OUT, NULL), EBUSY);
    check_error(leat_poller_remove(other, channels[0]), ENOENT);
    check_error(leat_poller_modify(other, channels[0], LEAT_OUT), ENOENT);
    check_error(leat_poller_add(other, channels[1], LEAT_IN, NULL), ENOTSUP);
    check_error(leat_poller_add(other, channels[1], 64, NULL), EINVAL);
    check_ok(leat_poller_remove(poller, channels[0]));
    check_ok(leat_poller_add(other, channels[0], LEAT_OUT, NULL));
    leat_poller_free(other);
    check_ok(leat_poller_add(poller, channels[0], LEAT_OUT, NULL));
    leat_poller_free(NULL);

    leat_ctx *second = rt_join(rt_config());
    check_ok(leat_poller_new(second, &other));
    check_error(leat_poller_add(other, channels[1], LEAT_OUT, NULL), EINVAL);
    leat_poller_free(other);
    leat_ctx_free(second);
    tear_down();
}

static void what_is_watched_can_change(void)
{
    leat_event events[8];
    set_up("pair", "wait=sleep");
    add_all(LEAT_IN);
    feed(1);
    check_int(leat_poller_wait(poller, events, 8, 0), 1);
    check_ok(leat_poller_modify(poller, channels[1], 0));
    check_error(leat_poller_wait(poller, events, 8, 5), EAGAIN);
    check_ok(leat_poller_modify(poller, channels[1], LEAT_OUT));
    check_error(leat_poller_wait(poller, events, 8, 5), EAGAIN);
    rt_script("scripted")->give_room(1);
    check_int(leat_poller_wait(poller, events, 8, 5), 1);
    check_int(events[0].events, LEAT_OUT);
    check_ok(leat_poller_modify(poller, channels[1], LEAT_OUT | LEAT_IN));
    check_int(leat_poller_wait(poller, events, 8, 5), 1);
    check_int(events[0].events, LEAT_OUT | LEAT_IN);
    tear_down();
}

static void a_closed_channel_is_taken_out(void)
{
    leat_event events[8];
    set_up("pair", "wait=sleep");
    add_all(LEAT_IN);
    for (int i = 0; i < CHANNELS; i++)
        feed(i);
    leat_channel_close(channels[0]);
    leat_channel_close(channels[2]);
    channels[0] = channels[2] = NULL;
    check_int(leat_poller_wait(poller, events, 8, 0), 2);
    for (int i = 0; i < 2; i++)
        check(events[i].channel == channels[1] || events[i].channel == channels[3]);
    tear_down();
}

static void end_later(void *script)
{
    ((scripted *)script)->joined("2");
    ((scripted *)script)->left("2", false);
}

static void an_ended_channel_is_ready(void)
{
    leat_event events[8];
    leat_msg msg = LEAT_MSG_INIT;
    set_up("pair", "wait=adaptive;at_end=finish");
    add_all(LEAT_IN);
    rt_after_ms(20, end_later, rt_script("scripted"));
    check_int(leat_poller_wait(poller, events, 8, -1), 1);
    check(events[0].channel == channels[2]);
    check_int(events[0].events, LEAT_IN);
    check_error(leat_recv(channels[2], &msg, 0), EPIPE);
    rt_join_threads();
    tear_down();
}

static void interrupt_later(void *context)
{
    leat_interrupt(context);
}

static void interrupts_end_the_wait(void)
{
    leat_event event;
    set_up("pair", "wait=adaptive");
    add_all(LEAT_IN);
    int64_t start = rt_now_ns();
    rt_after_ms(20, interrupt_later, ctx);
    check_error(leat_poller_wait(poller, &event, 1, -1), EINTR);
    rt_took(start, 20);
    rt_join_threads();
    check_error(leat_poller_wait(poller, &event, 1, -1), EINTR);
    check_error(leat_poller_wait(poller, &event, 1, 0), EAGAIN);
    leat_resume(ctx);
    check_error(leat_poller_wait(poller, &event, 1, 20), EAGAIN);
    tear_down();
}

static void an_armed_channel_may_be_polled(void)
{
    leat_event event;
    set_up("pair", "wait=sleep");
    add_all(LEAT_IN);
    check_int(leat_channel_arm(channels[0], LEAT_IN), 0);
    check_error(leat_poller_wait(poller, &event, 1, 10), EAGAIN);
    feed(0);
    check_int(leat_poller_wait(poller, &event, 1, 10), 1);
    tear_down();
}

static const leat_test tests[] = {
    RT_TEST("nothing ready is -EAGAIN in time", nothing_ready_is_eagain_in_time),
    RT_TEST("a message on any channel ends the wait", a_message_on_any_channel_ends_the_wait),
    RT_TEST("all ports are raised before one fence per transport", all_ports_are_raised_before_one_fence_per_transport),
    RT_TEST("little room is shared in fair turns", little_room_is_shared_in_fair_turns),
    RT_TEST("descriptors are watched like channels", descriptors_are_watched_like_channels),
    RT_TEST("a channel is in one poller once", a_channel_is_in_one_poller_once),
    RT_TEST("what is watched can change", what_is_watched_can_change),
    RT_TEST("a closed channel is taken out", a_closed_channel_is_taken_out),
    RT_TEST("an ended channel is ready", an_ended_channel_is_ready),
    RT_TEST("interrupts end the wait", interrupts_end_the_wait),
    RT_TEST("an armed channel may be polled", an_armed_channel_may_be_polled),
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
