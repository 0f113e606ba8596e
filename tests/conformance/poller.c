/* SPDX-License-Identifier: MIT
 *
 * poller.c - conformance: a poller with channels and descriptors, and a foreign event loop with leat_channel_fd() and
 * leat_channel_arm(). Knows leat.h only.
 */
#include <sys/epoll.h>

#include "conformance.h"

#define LINES 4

/* Some lines, each with both ends, in one context. */
typedef struct lines {
    leat_ctx *ctx;
    leat_channel *tx[LINES], *rx[LINES];
    leat_poller *poller;
} lines;

static void lines_open(lines *l)
{
    leat_config *cfg = conf_config();
    char name[16], address[16];
    for (int i = 0; i < LINES; i++) {
        snprintf(address, sizeof(address), "line%d", i);
        snprintf(name, sizeof(name), "tx%d", i);
        conf_sender(cfg, name, "bind", address, "queue=16");
        snprintf(name, sizeof(name), "rx%d", i);
        conf_receiver(cfg, name, "connect", address, "queue=16");
    }
    l->ctx = conf_join(cfg);
    for (int i = 0; i < LINES; i++) {
        snprintf(name, sizeof(name), "tx%d", i);
        l->tx[i] = conf_open(l->ctx, name);
        snprintf(name, sizeof(name), "rx%d", i);
        l->rx[i] = conf_open(l->ctx, name);
        conf_linked(l->tx[i], 1);
        conf_linked(l->rx[i], 1);
    }
    check_ok(leat_poller_new(l->ctx, &l->poller));
}

static void lines_close(lines *l)
{
    leat_poller_free(l->poller);
    for (int i = 0; i < LINES; i++) {
        leat_channel_close(l->rx[i]);
        leat_channel_close(l->tx[i]);
    }
    leat_ctx_free(l->ctx);
}

static void channels_and_descriptors_together(void)
{
    lines l;
    leat_event events[8];
    int ends[2];
    lines_open(&l);
    check(pipe(ends) == 0);
    for (int i = 0; i < LINES; i++)
        check_ok(leat_poller_add(l.poller, l.rx[i], LEAT_IN, &l.rx[i]));
    check_ok(leat_poller_add_fd(l.poller, ends[0], LEAT_IN, ends));
    check_error(leat_poller_wait(l.poller, events, 8, 10), EAGAIN);

    check(write(ends[1], "x", 1) == 1);
    check_int(check_ok(leat_poller_wait(l.poller, events, 8, SOON_MS)), 1);
    check(events[0].channel == NULL && events[0].fd == ends[0] && events[0].tag == ends);
    check_int(events[0].events, LEAT_IN);

    conf_send(l.tx[2], 100, 2);
    for (int tries = 0;; tries++) { /* with level triggering the descriptor is reported each time */
        int n = (int)check_ok(leat_poller_wait(l.poller, events, 8, SOON_MS));
        if (n == 2)
            break;
        check(tries < 2000 && n == 1 && events[0].fd == ends[0]);
        conf_pause_ms(1);
    }
    int at = events[0].channel ? 0 : 1;
    check(events[at].channel == l.rx[2] && events[at].fd == -1 && events[at].tag == &l.rx[2]);
    check_int(events[at].events, LEAT_IN);
    check(events[!at].fd == ends[0]);

    char byte;
    check(read(ends[0], &byte, 1) == 1);
    check_int(check_ok(leat_poller_wait(l.poller, events, 8, SOON_MS)), 1); /* level triggered, the channel too */
    check(events[0].channel == l.rx[2]);
    conf_recv(l.rx[2], 100, 2);
    check_error(leat_poller_wait(l.poller, events, 8, 10), EAGAIN);

    close(ends[1]);
    check_int(check_ok(leat_poller_wait(l.poller, events, 8, SOON_MS)), 1);
    check(events[0].events & LEAT_ERR); /* hung up */
    check_ok(leat_poller_remove_fd(l.poller, ends[0]));
    check_error(leat_poller_wait(l.poller, events, 8, 10), EAGAIN);
    close(ends[0]);
    lines_close(&l);
}

static void adding_modifying_and_removing(void)
{
    lines l;
    leat_event event;
    leat_poller *second;
    lines_open(&l);
    check_ok(leat_poller_new(l.ctx, &second));
    check_ok(leat_poller_add(l.poller, l.rx[0], LEAT_IN, NULL));
    check_error(leat_poller_add(l.poller, l.rx[0], LEAT_IN, NULL), EEXIST);
    check_error(leat_poller_add(second, l.rx[0], LEAT_IN, NULL), EBUSY);
    conf_send(l.tx[0], 10, 0);
    check_int(check_ok(leat_poller_wait(l.poller, &event, 1, SOON_MS)), 1);
    check_ok(leat_poller_modify(l.poller, l.rx[0], 0));
    check_error(leat_poller_wait(l.poller, &event, 1, 10), EAGAIN);
    check_ok(leat_poller_modify(l.poller, l.rx[0], LEAT_IN));
    check_int(check_ok(leat_poller_wait(l.poller, &event, 1, SOON_MS)), 1);
    check_ok(leat_poller_remove(l.poller, l.rx[0]));
    check_error(leat_poller_wait(l.poller, &event, 1, 10), EAGAIN);
    check(leat_poller_remove(l.poller, l.rx[0]) < 0);
    check(leat_poller_modify(l.poller, l.rx[0], LEAT_IN) < 0);
    check_ok(leat_poller_add(second, l.rx[0], LEAT_IN, NULL));
    check_int(check_ok(leat_poller_wait(second, &event, 1, SOON_MS)), 1);
    check(event.channel == l.rx[0]);
    conf_recv(l.rx[0], 10, 0);
    leat_poller_free(second);
    lines_close(&l);
}

static void every_ready_source_has_its_turn(void)
{
    lines l;
    leat_event event;
    int turns[LINES] = {0};
    lines_open(&l);
    for (int i = 0; i < LINES; i++) {
        check_ok(leat_poller_add(l.poller, l.rx[i], LEAT_IN, &turns[i]));
        conf_send(l.tx[i], 10, 0);
    }
    for (int i = 0; i < LINES; i++) /* until all are there */
        check_int(check_ok(leat_recv_parts(l.rx[i], NULL, 0, SOON_MS)), 1);
    for (int i = 0; i < 10 * LINES; i++) {
        check_int(check_ok(leat_poller_wait(l.poller, &event, 1, SOON_MS)), 1);
        ++*(int *)event.tag;
    }
    for (int i = 0; i < LINES; i++)
        check_int(turns[i], 10);
    leat_event events[LINES + 1];
    check_int(check_ok(leat_poller_wait(l.poller, events, LINES + 1, 0)), LINES);
    lines_close(&l);
}

static void *send_slowly(void *arg)
{
    lines *l = arg;
    for (uint64_t i = 0; i < 400; i++) {
        conf_send(l->tx[i % LINES], i % 7 ? 30 : 3000, i);
        if (i % 20 == 0)
            conf_pause_ms(2); /* long enough for the poller to fall asleep */
    }
    return NULL;
}

static void a_poller_loop_misses_nothing(void)
{
    lines l;
    uint64_t next[LINES];
    lines_open(&l);
    for (uint64_t i = 0; i < LINES; i++) {
        next[i] = i;
        check_ok(leat_poller_add(l.poller, l.rx[i], LEAT_IN, &next[i]));
    }
    pthread_t thread = conf_thread(send_slowly, &l);
    for (int received = 0; received < 400;) {
        leat_event events[2];
        int n = (int)check_ok(leat_poller_wait(l.poller, events, 2, SOON_MS));
        for (int e = 0; e < n; e++) {
            uint64_t *i = events[e].tag;
            conf_recv(events[e].channel, *i % 7 ? 30 : 3000, *i);
            *i += LINES;
            received++;
        }
    }
    conf_thread_end(thread);
    lines_close(&l);
}

static void *drain(void *arg)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_pause_ms(30);
    while (leat_recv(arg, &msg, 300) == 0)
        leat_msg_close(&msg);
    return NULL;
}

static void waiting_for_room(void)
{
    lines l;
    leat_event event;
    lines_open(&l);
    check_ok(leat_poller_add(l.poller, l.tx[0], LEAT_OUT, NULL));
    check_int(check_ok(leat_poller_wait(l.poller, &event, 1, SOON_MS)), 1);
    check_int(event.events, LEAT_OUT);
    conf_fill_up(l.tx[0], 30000);
    check_error(leat_poller_wait(l.poller, &event, 1, 10), EAGAIN);
    pthread_t thread = conf_thread(drain, l.rx[0]);
    check_int(check_ok(leat_poller_wait(l.poller, &event, 1, SOON_MS)), 1);
    check_int(event.events, LEAT_OUT);
    leat_msg msg;
    conf_make(l.tx[0], 30000, 0, &msg);
    check_ok(leat_send(l.tx[0], &msg, 0));
    conf_thread_end(thread);
    lines_close(&l);
}

/* ---- a foreign event loop ---------------------------------------------------------------------------------------- */

static int epoll_on(int fd, uint64_t data, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    check(fd >= 0);
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    return fd;
}

static void sleep_in_epoll(int epoll)
{
    struct epoll_event events[LINES];
    int n;
    while ((n = epoll_wait(epoll, events, LINES, SOON_MS)) < 0 && errno == EINTR)
        ;
    check(n > 0);
}

static void a_foreign_event_loop_misses_nothing(void)
{
    lines l;
    uint64_t next[LINES];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    lines_open(&l);
    for (uint64_t i = 0; i < LINES; i++) {
        next[i] = i;
        int fd = epoll_on(leat_channel_fd(l.rx[i]), i, epoll);
        check_int(leat_channel_fd(l.rx[i]), fd); /* the same for its life */
    }
    pthread_t thread = conf_thread(send_slowly, &l);
    for (int received = 0; received < 400;) {
        bool any = false;
        for (int i = 0; i < LINES; i++)
            while (check_ok(leat_channel_arm(l.rx[i], LEAT_IN)) == 1) {
                any = true;
                conf_recv(l.rx[i], next[i] % 7 ? 30 : 3000, next[i]);
                next[i] += LINES;
                received++;
            }
        if (!any && received < 400)
            sleep_in_epoll(epoll); /* all are armed now */
    }
    conf_thread_end(thread);
    close(epoll);
    lines_close(&l);
}

static void a_foreign_event_loop_waits_for_room(void)
{
    lines l;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    lines_open(&l);
    epoll_on(leat_channel_fd(l.tx[0]), 0, epoll);
    check_int(check_ok(leat_channel_arm(l.tx[0], LEAT_OUT)), 1);
    conf_fill_up(l.tx[0], 30000);
    check_int(check_ok(leat_channel_arm(l.tx[0], LEAT_OUT)), 0);
    pthread_t thread = conf_thread(drain, l.rx[0]);
    int rounds = 0;
    do {
        check(rounds++ < 1000); /* spurious wakes are allowed, a busy loop is not */
        sleep_in_epoll(epoll);
    } while (check_ok(leat_channel_arm(l.tx[0], LEAT_OUT)) == 0);
    conf_thread_end(thread);
    close(epoll);
    lines_close(&l);
}

static void an_armed_idle_channel_is_quiet(void)
{
    lines l;
    struct epoll_event event;
    int epoll = epoll_create1(EPOLL_CLOEXEC), woken = 0;
    lines_open(&l);
    epoll_on(leat_channel_fd(l.rx[0]), 0, epoll);
    for (int64_t until = conf_now_ns() + 200000000; conf_now_ns() < until;) {
        check_int(check_ok(leat_channel_arm(l.rx[0], LEAT_IN)), 0);
        woken += epoll_wait(epoll, &event, 1, 100) > 0;
    }
    check(woken < 20);
    close(epoll);
    lines_close(&l);
}

CONF_BOTH(channels_and_descriptors_together, 0)
CONF_PUSH(adding_modifying_and_removing, 0)
CONF_PUSH(every_ready_source_has_its_turn, 0)
CONF_BOTH(a_poller_loop_misses_nothing, CONF_THREADS)
CONF_BOTH(waiting_for_room, CONF_QUEUE | CONF_THREADS)
CONF_BOTH(a_foreign_event_loop_misses_nothing, CONF_THREADS)
CONF_PUSH(a_foreign_event_loop_waits_for_room, CONF_QUEUE | CONF_THREADS)
CONF_PUSH(an_armed_idle_channel_is_quiet, 0)

const leat_test conf_poller[] = {
    IN_BOTH("a poller watches channels and descriptors together", channels_and_descriptors_together),
    IN_PUSH("a channel is added to one poller, modified and removed", adding_modifying_and_removing),
    IN_PUSH("every ready source of a poller has its turn", every_ready_source_has_its_turn),
    IN_BOTH("a poller loop misses nothing", a_poller_loop_misses_nothing),
    IN_BOTH("a poller waits for room", waiting_for_room),
    IN_BOTH("a foreign event loop misses nothing", a_foreign_event_loop_misses_nothing),
    IN_PUSH("a foreign event loop waits for room", a_foreign_event_loop_waits_for_room),
    IN_PUSH("an armed idle channel does not wake its loop", an_armed_idle_channel_is_quiet),
    {.name = NULL},
};
