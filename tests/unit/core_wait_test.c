/* SPDX-License-Identifier: MIT
 *
 * core_wait_test.c - waiting: timeouts to the millisecond in every mode, interrupts from threads and signal handlers, peers,
 * and the sleeper's protocol, also for foreign event loops. The transport is scripted and checks the protocol.
 */
#include "runtime_support.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static const char *const modes[] = {"wait=adaptive", "wait=sleep", "wait=poll"};

static void timeouts_are_never_early_and_hardly_late(void)
{
    static const int timeouts[] = {0, 1, 10, 250};
    for (int m = 0; m < 3; m++) {
        leat_ctx *ctx = NULL;
        leat_channel *ch = rt_channel("pair", modes[m], &ctx);
        leat_msg msg = LEAT_MSG_INIT;
        for (int i = 0; i < 4; i++) {
            rt_times_out(leat_recv(ch, &msg, timeouts[i]), timeouts[i]);
            rt_times_out(leat_send(ch, &msg, timeouts[i]), timeouts[i]);
            rt_times_out(leat_channel_wait_peers(ch, 1, timeouts[i]), timeouts[i]);
        }
        leat_channel_close(ch);
        leat_ctx_free(ctx);
    }
    rt_clean();
}

static void a_timeout_says_what_it_waited_for(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    check_error(leat_recv(ch, &msg, 1), EAGAIN);
    check_contains(leat_error(), "channel c: no message within 1 ms");
    check_error(leat_send(ch, &msg, 1), EAGAIN);
    check_contains(leat_error(), "channel c: no peer within 1 ms");
    rt_script("scripted")->joined("c");
    check_error(leat_send(ch, &msg, 1), EAGAIN);
    check_contains(leat_error(), "none of 1 peers had room");
    check_contains(leat_error(), "queue");
    check_error(leat_channel_wait_peers(ch, 2, 1), EAGAIN);
    check_contains(leat_error(), "1 of 2 peers");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void feed_later(void *script)
{
    ((scripted *)script)->feed("c", 1, "text", 5);
}

static void room_later(void *script)
{
    ((scripted *)script)->give_room(1);
}

static void what_comes_in_time_ends_the_wait(void)
{
    for (int m = 0; m < 3; m++) {
        leat_ctx *ctx = NULL;
        leat_channel *ch = rt_channel("pair", modes[m], &ctx);
        scripted *script = rt_script("scripted");
        leat_msg msg = LEAT_MSG_INIT;
        int64_t start = rt_now_ns();
        rt_after_ms(30, feed_later, script);
        check_ok(leat_recv(ch, &msg, m ? -1 : 5000));
        rt_took(start, 30);
        start = rt_now_ns();
        rt_after_ms(30, room_later, script);
        check_ok(leat_send(ch, &msg, m ? 5000 : -1));
        rt_took(start, 30);
        rt_join_threads();
        leat_channel_close(ch);
        leat_ctx_free(ctx);
    }
    rt_clean();
}

static void modes_sleep_or_spin_as_they_say(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    scripted *script = rt_script("scripted");
    for (int m = 0; m < 3; m++) {
        leat_ctx *ctx = NULL;
        leat_channel *ch = rt_channel("pair", modes[m], &ctx);
        struct rusage before, after;
        int raises = script->raises, fences = script->fences;
        getrusage(RUSAGE_THREAD, &before);
        check_error(leat_recv(ch, &msg, 100), EAGAIN);
        getrusage(RUSAGE_THREAD, &after);
        long used_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000L + after.ru_utime.tv_usec -
                       before.ru_utime.tv_usec + (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000L +
                       after.ru_stime.tv_usec - before.ru_stime.tv_usec;
        if (m == 2) {
            check_int(script->raises, raises); /* poll never sleeps */
            check(used_us > 5000);
        } else {
            check(used_us < 20000);
            check(script->raises > raises && script->raises <= raises + 2); /* and does not wake for nothing */
            check_int(script->fences - fences, script->raises - raises);
        }
        check_int(script->lowers, script->raises);
        leat_channel_close(ch);
        leat_ctx_free(ctx);
    }
    rt_clean();
}

static leat_ctx *the_ctx;

static void interrupt_later(void *ctx)
{
    leat_interrupt(ctx);
}

static void interrupts_end_every_wait_until_resumed(void)
{
    for (int m = 0; m < 3; m++) {
        leat_channel *ch = rt_channel("pair", modes[m], &the_ctx);
        leat_msg msg = LEAT_MSG_INIT;
        scripted *script = rt_script("scripted");
        int64_t start = rt_now_ns();
        rt_after_ms(30, interrupt_later, the_ctx);
        check_error(leat_recv(ch, &msg, -1), EINTR);
        rt_took(start, 30);
        rt_join_threads();
        check_error(leat_recv(ch, &msg, -1), EINTR);
        check_error(leat_send(ch, &msg, 1000), EINTR);
        check_error(leat_channel_wait_peers(ch, 1, -1), EINTR);
        check_error(leat_channel_arm(ch, LEAT_IN), EINTR);
        check_error(leat_recv(ch, &msg, 0), EAGAIN); /* not a wait */
        script->feed("c", 1, "text", 5);
        check_error(leat_recv(ch, &msg, -1), EINTR); /* even a busy channel lets the program see it */
        check_ok(leat_recv(ch, &msg, 0));
        check_ok(leat_msg_alloc(ch, 10, -1, &msg));
        check_ok(leat_msg_alloc(ch, 100, -1, &msg)); /* there is memory: not a wait */
        leat_resume(the_ctx);
        rt_times_out(leat_recv(ch, &msg, 30), 30);
        start = rt_now_ns();
        rt_after_ms(30, interrupt_later, the_ctx);
        check_error(leat_channel_wait_peers(ch, 1, -1), EINTR);
        rt_took(start, 30);
        rt_join_threads();
        leat_msg_close(&msg);
        leat_channel_close(ch);
        leat_ctx_free(the_ctx);
    }
    rt_clean();
}

static void on_signal(int number)
{
    if (number == SIGUSR1)
        leat_interrupt(the_ctx);
}

static void signal_later(void *thread)
{
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
}

static void interrupts_may_come_from_a_signal_handler(void)
{
    pthread_t self = pthread_self();
    signal(SIGUSR1, on_signal);
    for (int m = 0; m < 3; m++) {
        leat_channel *ch = rt_channel("pair", modes[m], &the_ctx);
        leat_msg msg = LEAT_MSG_INIT;
        int64_t start = rt_now_ns();
        rt_after_ms(30, signal_later, &self);
        check_error(leat_recv(ch, &msg, -1), EINTR);
        rt_took(start, 30);
        check_contains(leat_error(), "leat_interrupt");
        rt_join_threads();
        leat_channel_close(ch);
        leat_ctx_free(the_ctx);
    }
    rt_clean();
}

static void a_storm_of_signals_moves_no_deadline(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    leat_msg msg = LEAT_MSG_INIT;
    signal(SIGALRM, on_signal);
    struct itimerval every_ms = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every_ms, NULL);
    int64_t start = rt_now_ns();
    int r = leat_recv(ch, &msg, 100);
    setitimer(ITIMER_REAL, &never, NULL);
    if (r == -EAGAIN)
        rt_took(start, 100);
    else
        check_error(r, EINTR);
    check_error(leat_recv(ch, &msg, 0), EAGAIN);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static void join_later(void *script)
{
    ((scripted *)script)->joined("c");
}

static void peers_are_waited_for(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("push", "", &ctx);
    scripted *script = rt_script("scripted");
    check_ok(leat_channel_wait_peers(ch, 0, 0));
    check_error(leat_channel_wait_peers(ch, 1, 0), EAGAIN);
    int64_t start = rt_now_ns();
    rt_after_ms(20, join_later, script);
    rt_after_ms(40, join_later, script);
    check_ok(leat_channel_wait_peers(ch, 2, -1));
    rt_took(start, 40);
    rt_join_threads();
    check_int(leat_channel_peers(ch), 2);
    script->left("c", false);
    check_int(leat_channel_peers(ch), 1);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static int readable(int fd, int timeout_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, timeout_ms);
}

/* Arms until nothing stale is left in the descriptor. */
static int arm_quietly(leat_channel *ch, unsigned events)
{
    int fd = (int)check_ok(leat_channel_fd(ch)), r = 0;
    for (int i = 0; i < 10; i++) {
        r = (int)check_ok(leat_channel_arm(ch, events));
        if (r == 1 || readable(fd, 0) == 0)
            return r;
    }
    fail_test("the descriptor stays readable");
}

static void an_armed_channel_tells_a_foreign_loop(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "at_end=finish", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    int fd = (int)check_ok(leat_channel_fd(ch));
    check_int(leat_channel_fd(ch), fd);
    check_error(leat_channel_arm(ch, 0), EINVAL);
    check_error(leat_channel_arm(ch, LEAT_ERR), EINVAL);

    check_int(arm_quietly(ch, LEAT_IN), 0);
    rt_after_ms(20, feed_later, script);
    check_int(readable(fd, 5000), 1);
    check_ok(leat_recv(ch, &msg, 0)); /* lowers first: the transport would tell */
    check_int(arm_quietly(ch, LEAT_IN), 0);
    rt_join_threads();

    check_int(arm_quietly(ch, LEAT_OUT), 0);
    rt_after_ms(20, room_later, script);
    check_int(readable(fd, 5000), 1);
    check_int(leat_channel_arm(ch, LEAT_OUT), 1);
    check_ok(leat_send(ch, &msg, 0));
    rt_join_threads();

    check_int(arm_quietly(ch, LEAT_IN), 0);
    check_ok(leat_msg_alloc(ch, 100, 0, &msg));
    check_int(arm_quietly(ch, LEAT_IN), 0);
    script->joined("c"); /* hooks wake it too */
    check_int(readable(fd, 5000), 1);
    check_int(arm_quietly(ch, LEAT_IN), 0);
    script->left("c", false);
    check_int(readable(fd, 5000), 1);
    check_int(leat_channel_arm(ch, LEAT_IN), 1);
    check_error(leat_recv(ch, &msg, 0), EPIPE);

    script->joined("c");
    check_int(arm_quietly(ch, LEAT_IN), 0);
    rt_after_ms(20, interrupt_later, ctx);
    check_int(readable(fd, 5000), 1);
    check_error(leat_channel_arm(ch, LEAT_IN), EINTR);
    rt_join_threads();
    leat_resume(ctx);
    check_int(arm_quietly(ch, LEAT_IN), 0);
    leat_msg_close(&msg);
    leat_channel_close(ch); /* while it is armed */
    leat_ctx_free(ctx);
    rt_clean();
}

static void *interrupt_and_resume(void *ctx)
{
    for (int i = 0; i < 20000; i++) {
        leat_interrupt(ctx);
        leat_resume(ctx);
    }
    return NULL;
}

/* However the two overlap, the descriptor must say what the bit says: else waits spin or sleep through. */
static void interrupt_and_resume_may_race(void)
{
    leat_ctx *ctx = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx);
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, interrupt_and_resume, ctx);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    leat_resume(ctx);
    int raises = script->raises;
    rt_times_out(leat_recv(ch, &msg, 50), 50);
    check(script->raises - raises <= 9);
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    rt_clean();
}

static const leat_test tests[] = {
    RT_TEST("timeouts are never early and hardly late", timeouts_are_never_early_and_hardly_late),
    RT_TEST("a timeout says what it waited for", a_timeout_says_what_it_waited_for),
    RT_TEST("what comes in time ends the wait", what_comes_in_time_ends_the_wait),
    RT_TEST("modes sleep or spin as they say", modes_sleep_or_spin_as_they_say),
    RT_TEST("interrupts end every wait until resumed", interrupts_end_every_wait_until_resumed),
    RT_TEST("interrupts may come from a signal handler", interrupts_may_come_from_a_signal_handler),
    RT_TEST("a storm of signals moves no deadline", a_storm_of_signals_moves_no_deadline),
    RT_TEST("peers are waited for", peers_are_waited_for),
    RT_TEST("an armed channel tells a foreign loop", an_armed_channel_tells_a_foreign_loop),
    RT_TEST("interrupt and resume may race", interrupt_and_resume_may_race),
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
