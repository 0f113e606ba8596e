/* SPDX-License-Identifier: MIT
 *
 * storm_roles.c - the kill storm's senders and receivers: programs that use leat.h under full load and write down in the
 * book what they do. They may be killed between any two instructions.
 *
 * Senders 0, 2, 4 bind an address each, and receivers connect to all of these; senders 1, 3 connect to the address that
 * each receiver binds. So both ends of both kinds of link die.
 */
#include "../conformance/conformance.h"
#include "storm.h"

#define HELD 16 /* messages that a receiver keeps open */

typedef struct heading {
    uint32_t life, number;
} heading;

/* The sizes of a message's parts follow from its number, so that a receiver can check them. Returns how many parts. */
static int shape(heading h, size_t ret_sizes[STORM_PARTS])
{
    uint32_t mixed = (h.life * 2654435761u ^ h.number) * 2246822519u;
    uint32_t random = mixed >> 8;
    ret_sizes[1] = 0;
    switch (mixed % 16) {
    default: /* one slot */
        ret_sizes[0] = sizeof(heading) + random % 41;
        return 1;
    case 7 ... 10: /* several slots */
        ret_sizes[0] = 49 + random % 192;
        return 1;
    case 11 ... 13:
        ret_sizes[0] = 1000 + random % 16000;
        return 1;
    case 14: /* a small part and a block */
        ret_sizes[0] = sizeof(heading) + random % 100;
        ret_sizes[1] = random % 8000;
        return 2;
    case 15:
        ret_sizes[0] = 20000 + random % 80000;
        ret_sizes[1] = random % 20000;
        return random % 2 + 1;
    }
}

static uint64_t seed_of(heading h, int part)
{
    return ((uint64_t)h.life << 32 | h.number) * STORM_PARTS + (uint64_t)part;
}

static leat_ctx *join(leat_config *cfg)
{
    conf_keys(cfg, "transport posix-shm", "heap_size=32M");
    return conf_join(cfg);
}

/* ---- sender ------------------------------------------------------------------------------------------------------ */

static void publish_stats(storm_life *life, leat_channel *tx)
{
    leat_stats stats;
    check_ok(leat_channel_stats(tx, &stats));
    life->redelivered = stats.redelivered;
    life->queued = stats.queued;
    life->peers = (uint32_t)check_ok(leat_channel_peers(tx));
}

/* Sends message `number`, trying again while nobody has room. False: the storm is over. */
static bool send_one(storm_book *book, storm_life *life, leat_channel *tx, uint32_t number)
{
    heading h = {(uint32_t)(life - book->senders), number};
    leat_msg parts[STORM_PARTS] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    size_t sizes[STORM_PARTS];
    int n = shape(h, sizes);
    bool sent = false;
    for (int i = 0; i < n; i++) {
        int r;
        while ((r = leat_msg_alloc(tx, sizes[i], 500, &parts[i])) == -EAGAIN)
            if (book->phase != STORM_RUN)
                goto close_parts;
        check_ok(r);
        size_t head = i == 0 ? sizeof(h) : 0;
        memcpy(leat_msg_data(&parts[i]), &h, head);
        conf_fill((char *)leat_msg_data(&parts[i]) + head, sizes[i] - head, seed_of(h, i));
    }
    life->trying = number + 1;
    while (!sent) {
        int r = n == 1 ? leat_send(tx, &parts[0], 500) : leat_send_parts(tx, parts, (size_t)n, 500);
        if (r == -EAGAIN) {
            publish_stats(life, tx);
            if (book->phase != STORM_RUN)
                goto close_parts;
            continue;
        }
        check_ok(r);
        life->sent = number + 1;
        sent = true;
    }
close_parts:
    for (int i = 0; i < n; i++)
        leat_msg_close(&parts[i]);
    return sent;
}

void storm_send(storm_book *book, storm_life *life)
{
    leat_config *cfg = conf_config();
    char address[16];
    snprintf(address, sizeof(address), "s%d", life->slot);
    if (life->slot % 2 == 0)
        conf_sender(cfg, "data", "bind", address, "queue=64");
    else
        conf_sender(cfg, "data", "connect", "r0, r1, r2, r3, r4", "queue=64");
    leat_ctx *ctx = join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    for (uint32_t number = 0; book->phase == STORM_RUN && number < life->capacity; number++) {
        if (!send_one(book, life, tx, number))
            break;
        if (number % 16 == 0)
            publish_stats(life, tx);
    }
    while (book->phase != STORM_LEAVE) {
        publish_stats(life, tx);
        conf_pause_ms(5);
    }
    publish_stats(life, tx);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

/* ---- receiver ---------------------------------------------------------------------------------------------------- */

static void check_content(heading h, leat_msg *parts, int n)
{
    size_t sizes[STORM_PARTS];
    check_int(shape(h, sizes), n);
    for (int i = 0; i < n; i++) {
        size_t head = i == 0 ? sizeof(h) : 0;
        check_int(leat_msg_size(&parts[i]), sizes[i]);
        if (!conf_intact((char *)leat_msg_data(&parts[i]) + head, sizes[i] - head, seed_of(h, i)))
            fail_test("part %d of message %u of sender life %u is corrupt", i, h.number, h.life);
    }
}

/* Takes one message, if there is one, and keeps it open in `held`. */
static bool receive_one(storm_book *book, storm_life *life, leat_channel *rx, leat_msg held[STORM_PARTS])
{
    leat_msg parts[STORM_PARTS] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    heading h;
    life->taking = 1;
    int n = leat_recv_parts(rx, parts, STORM_PARTS, 0);
    if (n == -EAGAIN) {
        life->taking = 0;
        return false;
    }
    check_ok(n);
    check(leat_msg_size(&parts[0]) >= sizeof(h));
    memcpy(&h, leat_msg_data(&parts[0]), sizeof(h));
    storm_received(book, h.life, h.number);
    life->taking = 0;
    life->received++;
    check_content(h, parts, n);
    for (int i = 0; i < STORM_PARTS; i++)
        leat_msg_move(&parts[i], &held[i]);
    return true;
}

void storm_receive(storm_book *book, storm_life *life)
{
    leat_msg held[HELD][STORM_PARTS];
    leat_poller *poller;
    leat_config *cfg = conf_config();
    char address[16];
    snprintf(address, sizeof(address), "r%d", life->slot);
    conf_receiver(cfg, "far", "connect", "s0, s2, s4", "queue=64");
    conf_receiver(cfg, "own", "bind", address, "queue=64");
    leat_ctx *ctx = join(cfg);
    leat_channel *rx[2] = {conf_open(ctx, "far"), conf_open(ctx, "own")};
    check_ok(leat_poller_new(ctx, &poller));
    for (int i = 0; i < 2; i++)
        check_ok(leat_poller_add(poller, rx[i], LEAT_IN, NULL));
    for (int i = 0; i < HELD * STORM_PARTS; i++)
        leat_msg_init(&held[i / STORM_PARTS][i % STORM_PARTS]);
    for (unsigned at = 0; book->phase != STORM_LEAVE;) {
        leat_event events[2];
        int n = leat_poller_wait(poller, events, 2, 20);
        life->peers = (uint32_t)(check_ok(leat_channel_peers(rx[0])) + check_ok(leat_channel_peers(rx[1])));
        if (n == -EAGAIN) { /* idle: nothing is held */
            for (int i = 0; i < HELD * STORM_PARTS; i++)
                leat_msg_close(&held[i / STORM_PARTS][i % STORM_PARTS]);
            continue;
        }
        check_ok(n);
        for (int e = 0; e < n; e++)
            for (int burst = 0; burst < 8 && receive_one(book, life, events[e].channel, held[at % HELD]); burst++)
                at++;
    }
    for (int i = 0; i < HELD * STORM_PARTS; i++)
        leat_msg_close(&held[i / STORM_PARTS][i % STORM_PARTS]);
    leat_poller_free(poller);
    leat_channel_close(rx[0]);
    leat_channel_close(rx[1]);
    leat_ctx_free(ctx);
}
