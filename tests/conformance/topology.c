/* SPDX-License-Identifier: MIT
 *
 * topology.c - conformance: many senders, many receivers, in processes and in threads: every message is delivered
 * exactly once, and each sender's order is kept. Knows leat.h only.
 */
#include <stdatomic.h>

#include "conformance.h"

#define MESSAGES 3000 /* of each sender */
#define MOST 4        /* senders, receivers */

/* What all processes of a test write down together. */
typedef struct tally {
    atomic_uchar times[MOST][MESSAGES]; /* how often a message came */
    atomic_uint received[MOST];         /* by each receiver */
} tally;

/* One process: its part in the test. */
typedef struct part {
    tally *tally;
    int index;
    int partners;
    const char *method, *address;
    bool wait_for_all;
} part;

typedef struct heading {
    uint32_t sender, number;
} heading;

static size_t size_of_number(uint32_t number)
{
    return sizeof(heading) + (number % 50 == 0 ? 20000 : number % 7 == 0 ? 200 : number % 30);
}

static void send_numbered(leat_channel *tx, int sender)
{
    for (uint32_t n = 0; n < MESSAGES; n++) {
        leat_msg msg = LEAT_MSG_INIT;
        heading head = {(uint32_t)sender, n};
        size_t size = size_of_number(n);
        check_ok(leat_msg_alloc(tx, size, SOON_MS, &msg));
        memcpy(leat_msg_data(&msg), &head, sizeof(head));
        conf_fill((char *)leat_msg_data(&msg) + sizeof(head), size - sizeof(head), (uint64_t)sender << 32 | n);
        check_ok(leat_send(tx, &msg, SOON_MS));
    }
}

/* Until the end; each sender's numbers may only rise. */
static void receive_numbered(leat_channel *rx, tally *t, int receiver)
{
    int64_t last[MOST] = {-1, -1, -1, -1};
    for (;;) {
        leat_msg msg = LEAT_MSG_INIT;
        heading head;
        int r = leat_recv(rx, &msg, SOON_MS);
        if (r == -EPIPE)
            return;
        check_ok(r);
        check(leat_msg_size(&msg) >= sizeof(head));
        memcpy(&head, leat_msg_data(&msg), sizeof(head));
        check(head.sender < MOST && head.number < MESSAGES);
        check_int(leat_msg_size(&msg), size_of_number(head.number));
        check(conf_intact((char *)leat_msg_data(&msg) + sizeof(head), leat_msg_size(&msg) - sizeof(head),
                          (uint64_t)head.sender << 32 | head.number));
        check(head.number > last[head.sender]);
        last[head.sender] = head.number;
        check_int(atomic_fetch_add(&t->times[head.sender][head.number], 1), 0);
        atomic_fetch_add(&t->received[receiver], 1);
        leat_msg_close(&msg);
    }
}

static void sender_process(int fd, void *arg)
{
    part *p = arg;
    leat_config *cfg = conf_config();
    conf_sender(cfg, "data", p->method, p->address, "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    if (p->wait_for_all)
        conf_linked(tx, p->partners);
    conf_tell(fd, 'r');
    conf_hear(fd, 'g');
    send_numbered(tx, p->index);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void receiver_process(int fd, void *arg)
{
    part *p = arg;
    char expect[64];
    leat_config *cfg = conf_config();
    snprintf(expect, sizeof(expect), "at_end=finish; expect=%d", p->partners);
    conf_receiver(cfg, "data", p->method, p->address, expect);
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    (void)fd;
    receive_numbered(rx, p->tally, p->index);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

/* Senders bind and receivers connect to all of them, or the other way round. */
static void deliver(int senders, int receivers, bool senders_bind)
{
    tally *t = conf_shared(sizeof(*t));
    part parts[2 * MOST];
    conf_process processes[2 * MOST];
    char one[2 * MOST][16], all[64] = "";
    int binders = senders_bind ? senders : receivers;
    for (int i = 0; i < binders; i++) {
        snprintf(one[i], sizeof(one[i]), "place%d", i);
        if (i > 0)
            strcat(all, ", ");
        strcat(all, one[i]);
    }
    for (int i = 0; i < senders + receivers; i++) {
        bool sends = i < senders;
        int index = sends ? i : i - senders;
        bool binds = sends == senders_bind;
        parts[i] = (part){.tally = t,
                          .index = index,
                          .partners = sends ? receivers : senders,
                          .wait_for_all = true,
                          .method = binds ? "bind" : "connect",
                          .address = binds ? one[index] : all};
        processes[i] = conf_start(sends ? sender_process : receiver_process, &parts[i]);
    }
    for (int i = 0; i < senders; i++)
        conf_hear(processes[i].fd, 'r');
    for (int i = 0; i < senders; i++)
        conf_tell(processes[i].fd, 'g');
    for (int i = 0; i < senders + receivers; i++)
        conf_finish(&processes[i]);
    for (int s = 0; s < senders; s++)
        for (int n = 0; n < MESSAGES; n++)
            if (t->times[s][n] != 1)
                fail_test("message %d of sender %d came %d times", n, s, t->times[s][n]);
    for (int i = 0; i < receivers; i++)
        check(t->received[i] > 0); /* push deals in turn: everybody gets some */
}

static void one_to_one(void)
{
    deliver(1, 1, true);
    deliver(1, 1, false);
}

static void one_to_many(void)
{
    deliver(1, 4, true);
    deliver(1, 4, false);
}

static void many_to_one(void)
{
    deliver(4, 1, true);
    deliver(4, 1, false);
}

static void many_to_many(void)
{
    deliver(4, 3, true);
    deliver(3, 4, false);
}

/* ---- a large amount from one process to another ------------------------------------------------------------------ */

#define BIG_MESSAGES 384
#define BIG_SIZE (1 << 20)

static size_t big_size(uint64_t i)
{
    return i % 16 == 5 ? 3 * BIG_SIZE + (size_t)i : BIG_SIZE - (size_t)(i % 5);
}

static void big_sender(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)fd, (void)arg;
    conf_sender(cfg, "data", "bind", "big", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    for (uint64_t i = 0; i < BIG_MESSAGES; i++)
        conf_send(tx, big_size(i), i);
    leat_channel_close(tx); /* what is on its way must arrive nevertheless */
    leat_ctx_free(ctx);
}

static void big_receiver(int fd, void *arg)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_config *cfg = conf_config();
    (void)fd, (void)arg;
    conf_receiver(cfg, "data", "connect", "big", "at_end=finish");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    for (uint64_t i = 0; i < BIG_MESSAGES; i++)
        conf_recv(rx, big_size(i), i);
    check_error(leat_recv(rx, &msg, SOON_MS), EPIPE);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void half_a_gigabyte_arrives(void)
{
    conf_process receiver = conf_start(big_receiver, NULL), sender = conf_start(big_sender, NULL);
    conf_finish(&sender);
    conf_finish(&receiver);
}

CONF_BOTH(one_to_one, CONF_PROCESSES | CONF_END)
CONF_PUSH(one_to_many, CONF_PROCESSES | CONF_END)
CONF_PUSH(many_to_one, CONF_PROCESSES | CONF_END)
CONF_PUSH(many_to_many, CONF_PROCESSES | CONF_END)
CONF_BOTH(half_a_gigabyte_arrives, CONF_PROCESSES | CONF_END)

#define ONCE ": every message once, each sender's in order"
const leat_test conf_topology[] = {
    IN_BOTH("one process to another" ONCE, one_to_one),
    IN_PUSH("one process to four" ONCE, one_to_many),
    IN_PUSH("four processes to one" ONCE, many_to_one),
    IN_PUSH("many processes to many" ONCE, many_to_many),
    IN_BOTH("half a gigabyte arrives whole in another process", half_a_gigabyte_arrives),
    {.name = NULL},
};
