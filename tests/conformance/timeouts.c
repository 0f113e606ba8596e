/* SPDX-License-Identifier: MIT
 *
 * timeouts.c - conformance: every wait takes its milliseconds: never less, and hardly more. Knows leat.h only.
 */
#include "conformance.h"

#define LATE_MS 20
#define ATTEMPTS 6 /* a busy machine may be late now and then, a right wait is not late every time */

typedef int wait_fn(void *subject, int timeout_ms);

static void check_waits(wait_fn *wait, void *subject)
{
    static const int timeouts_ms[] = {0, 1, 10, 250};
    for (size_t i = 0; i < sizeof(timeouts_ms) / sizeof(timeouts_ms[0]); i++) {
        int64_t wanted_ns = timeouts_ms[i] * INT64_C(1000000);
        int64_t least_ns = INT64_MAX;
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            int64_t start = conf_now_ns();
            check_error(wait(subject, timeouts_ms[i]), EAGAIN);
            int64_t took_ns = conf_now_ns() - start;
            if (took_ns < wanted_ns)
                fail_test("a wait of %d ms ended after %.3f ms", timeouts_ms[i], (double)took_ns / 1e6);
            least_ns = took_ns < least_ns ? took_ns : least_ns;
            if (took_ns <= wanted_ns + LATE_MS * INT64_C(1000000))
                break;
        }
        if (least_ns > wanted_ns + LATE_MS * INT64_C(1000000) * leat_test_slowness())
            fail_test("a wait of %d ms took %.3f ms at best", timeouts_ms[i], (double)least_ns / 1e6);
    }
}

static int wait_recv(void *ch, int timeout_ms)
{
    leat_msg msg = LEAT_MSG_INIT;
    return leat_recv(ch, &msg, timeout_ms);
}

static int wait_recv_parts(void *ch, int timeout_ms)
{
    leat_msg msgs[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    return leat_recv_parts(ch, msgs, 2, timeout_ms);
}

static leat_msg unsent; /* made before the clock starts */

static int wait_send(void *ch, int timeout_ms)
{
    int r = leat_send(ch, &unsent, timeout_ms);
    conf_verify(&unsent, 30000, 4711); /* untouched by the failure */
    return r;
}

static int wait_alloc(void *ch, int timeout_ms)
{
    leat_msg msg = LEAT_MSG_INIT;
    return leat_msg_alloc(ch, 1 << 20, timeout_ms, &msg);
}

static int wait_poller(void *poller, int timeout_ms)
{
    leat_event events[4];
    return leat_poller_wait(poller, events, 4, timeout_ms);
}

static int wait_second_peer(void *ch, int timeout_ms)
{
    return leat_channel_wait_peers(ch, 2, timeout_ms);
}

static void recv_on_an_empty_channel(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_waits(wait_recv, e.rx);
    check_waits(wait_recv_parts, e.rx);
    conf_ends_close(&e);
}

static void recv_without_a_peer(void)
{
    leat_config *cfg = conf_config();
    conf_receiver(cfg, "rx", "bind", "lonely", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "rx");
    check_waits(wait_recv, rx);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void send_without_a_peer(void)
{
    leat_config *cfg = conf_config();
    conf_sender(cfg, "bound", "bind", "lonely", "");
    conf_sender(cfg, "connected", "connect", "nobody", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *bound = conf_open(ctx, "bound"), *connected = conf_open(ctx, "connected");
    conf_make(bound, 30000, 4711, &unsent);
    check_waits(wait_send, bound);
    leat_msg_close(&unsent);
    conf_make(connected, 30000, 4711, &unsent);
    check_waits(wait_send, connected);
    leat_msg_close(&unsent);
    check_int(leat_channel_peers(bound), 0);
    check_int(leat_channel_peers(connected), 0);
    leat_channel_close(bound);
    leat_channel_close(connected);
    leat_ctx_free(ctx);
}

static void send_to_a_full_peer(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "queue=16", "queue=16");
    conf_fill_up(e.tx, 30000);
    conf_make(e.tx, 30000, 4711, &unsent);
    check_waits(wait_send, e.tx);
    leat_msg_close(&unsent);
    conf_recv(e.rx, 30000, 0);
    conf_ends_close(&e);
}

static void alloc_from_an_exhausted_heap(void)
{
    leat_config *cfg = conf_config();
    leat_msg msgs[64];
    int n = 0, r;
    conf_ends e;
    conf_transport_keys(cfg, "heap_size=16M");
    conf_ends_open(&e, cfg, "", "");
    for (; n < 64; n++) {
        leat_msg_init(&msgs[n]);
        if ((r = leat_msg_alloc(e.tx, 1 << 20, 0, &msgs[n])) < 0)
            break;
        conf_fill(leat_msg_data(&msgs[n]), 1 << 20, (uint64_t)n);
    }
    check_error(r, EAGAIN);
    check_contains(leat_error(), "heap_size");
    check(n >= 8);
    check_waits(wait_alloc, e.tx);
    for (int i = 0; i < n; i++) {
        conf_verify(&msgs[i], 1 << 20, (uint64_t)i);
        leat_msg_close(&msgs[i]);
    }
    check_ok(leat_msg_alloc(e.tx, 1 << 20, 0, &msgs[0]));
    leat_msg_close(&msgs[0]);
    conf_ends_close(&e);
}

static void poller_with_nothing_ready(void)
{
    leat_poller *poller;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_ok(leat_poller_new(e.ctx, &poller));
    check_waits(wait_poller, poller); /* an empty one */
    check_ok(leat_poller_add(poller, e.rx, LEAT_IN, NULL));
    check_waits(wait_poller, poller);
    leat_poller_free(poller);
    conf_ends_close(&e);
}

static void wait_for_peers_that_do_not_come(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_waits(wait_second_peer, e.tx);
    check_ok(leat_channel_wait_peers(e.tx, 1, 0));
    check_int(leat_channel_peers(e.tx), 1);
    conf_ends_close(&e);
}

CONF_BOTH(recv_on_an_empty_channel, 0)
CONF_BOTH(recv_without_a_peer, 0)
CONF_BOTH(send_without_a_peer, 0)
CONF_BOTH(send_to_a_full_peer, CONF_QUEUE)
CONF_PUSH(alloc_from_an_exhausted_heap, CONF_HEAP)
CONF_BOTH(poller_with_nothing_ready, 0)
CONF_BOTH(wait_for_peers_that_do_not_come, 0)

#define ON_TIME " is never early and at most 20 ms late"
const leat_test conf_timeouts[] = {
    IN_BOTH("recv on an empty channel" ON_TIME, recv_on_an_empty_channel),
    IN_BOTH("recv without a peer" ON_TIME, recv_without_a_peer),
    IN_BOTH("send without a peer" ON_TIME, send_without_a_peer),
    IN_BOTH("send to a full peer" ON_TIME, send_to_a_full_peer),
    IN_PUSH("alloc from an exhausted heap" ON_TIME, alloc_from_an_exhausted_heap),
    IN_BOTH("a poller with nothing ready" ON_TIME, poller_with_nothing_ready),
    IN_BOTH("waiting for peers" ON_TIME, wait_for_peers_that_do_not_come),
    {.name = NULL},
};
