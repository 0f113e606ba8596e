/* SPDX-License-Identifier: MIT
 *
 * hostile_test.c - a linked peer that lies, field by field and at random, as a sender and as a receiver. Its victim must
 * not crash, hang or believe it: the liar is cut off or has harmed nobody but itself, and the others' messages pass. Runs
 * under the address sanitizer too, where a step aside would show.
 */
#include "liar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The victim's channel `v` is linked with the liar and with an honest peer's channel `w`. */
typedef struct stage {
    leat_ctx *ctx, *other;
    leat_channel *v, *w;
    liar l;
    uint64_t honest; /* messages so far */
} stage;

static void stage_open(stage *s, const char *type, const char *partner)
{
    leat_config *cfg = leat_test_config(), *other = leat_test_config();
    memset(s, 0, sizeof(*s));
    liar_channel(cfg, "v", type, "bind", "v");
    liar_channel(other, "w", partner, "connect", "v");
    s->ctx = liar_join(cfg);
    s->other = liar_join(other);
    s->v = liar_open(s->ctx, "v");
    s->w = liar_open(s->other, "w");
    check_ok(leat_channel_wait_peers(s->v, 1, SOON_MS));
    check_ok(leat_channel_wait_peers(s->w, 1, SOON_MS));
    liar_new(&s->l);
    liar_read_log();
}

static void stage_close(stage *s)
{
    liar_free(&s->l);
    leat_channel_close(s->v);
    leat_channel_close(s->w);
    leat_ctx_free(s->ctx);
    leat_ctx_free(s->other);
    leat_log_to(NULL, NULL);
}

static void fill(unsigned char *data, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)(seed + i * 7 + (i >> 8));
}

/* The liar has hung up or was cut off: the victim knows. */
static void wait_gone(stage *s)
{
    for (int i = 0; leat_channel_peers(s->v) > 1; i++) {
        check(i < SOON_MS);
        leat_msg msgs[64];
        for (int k = 0; k < 64; k++)
            leat_msg_init(&msgs[k]);
        /* What it had sent in good order before its lie is to be read first. */
        if (leat_recv_parts(s->v, msgs, 64, 0) < 0)
            usleep(1000);
        for (int k = 0; k < 64; k++)
            leat_msg_close(&msgs[k]);
    }
}

/* ---- a sender that lies --------------------------------------------------------------------------------------------- */

static void write_slot(liar *l, uint64_t index, unsigned kind, unsigned flags, unsigned length, const void *payload,
                       size_t size)
{
    layout_slot *slot = &l->slots[index % LIAR_SLOTS];
    memcpy(slot->payload, payload, size);
    __atomic_store_n(&slot->word, slot_word(index, kind, flags, length), __ATOMIC_RELEASE);
}

static layout_descriptor honest_descriptor(void)
{
    return (layout_descriptor){.offset = LIAR_BYTES, .length = 1000, .reference = 3};
}

static void write_block(liar *l, uint64_t index, unsigned flags, const layout_descriptor *d)
{
    write_slot(l, index, SLOT_BLOCK, flags, sizeof(*d), d, sizeof(*d));
}

/* Takes whatever is there, reads every byte of it, and closes it. */
static void take_all(stage *s)
{
    leat_msg msgs[LIAR_SLOTS + 2];
    volatile unsigned sum = 0;
    int r;
    for (size_t i = 0; i < LIAR_SLOTS + 2; i++)
        leat_msg_init(&msgs[i]);
    while ((r = leat_recv_parts(s->v, msgs, LIAR_SLOTS + 2, 0)) > 0) {
        for (int i = 0; i < r; i++) {
            const unsigned char *data = leat_msg_data(&msgs[i]);
            for (size_t at = 0; at < leat_msg_size(&msgs[i]); at += at + 1 < leat_msg_size(&msgs[i]) ? 61 : 1)
                sum += data[at];
        }
        for (int i = 0; i < r; i++)
            leat_msg_close(&msgs[i]);
    }
    (void)sum;
}

/* The honest peer's message arrives; what the liar may have sent besides is let pass. */
static void honest_passes(stage *s)
{
    leat_msg msg = LEAT_MSG_INIT;
    unsigned char wanted[5000];
    size_t size = s->honest % 3 ? 5000 : 40;
    fill(wanted, size, ++s->honest);
    check_ok(leat_msg_alloc(s->w, size, SOON_MS, &msg));
    memcpy(leat_msg_data(&msg), wanted, size);
    check_ok(leat_send(s->w, &msg, SOON_MS));
    for (;;) {
        check_ok(leat_recv(s->v, &msg, SOON_MS));
        if (leat_msg_size(&msg) == size && memcmp(leat_msg_data(&msg), wanted, size) == 0)
            break;
    }
    leat_msg_close(&msg);
}

typedef struct descriptor_lie {
    const char *what;
    layout_descriptor d;
} descriptor_lie;

static void descriptors_are_checked(void)
{
    static const descriptor_lie lies[] = {
        {"another segment", {1, LIAR_BYTES, 1000, 0, 3, 0}},
        {"a segment far away", {UINT64_MAX, LIAR_BYTES, 1000, 0, 3, 0}},
        {"the header", {0, 0, 1000, 0, 3, 0}},
        {"the header's last byte", {0, LAYOUT_PAGE - 1, 1000, 0, 3, 0}},
        {"beyond the end", {0, LIAR_SIZE + 1, 0, 0, 3, 0}},
        {"over the end", {0, LIAR_SIZE - 999, 1000, 0, 3, 0}},
        {"far beyond the end", {0, UINT64_MAX, 1000, 0, 3, 0}},
        {"an offset that wraps", {0, UINT64_MAX - 500, 1000, 0, 3, 0}},
        {"a length beyond all", {0, LIAR_BYTES, UINT64_MAX, 0, 3, 0}},
        {"a length that wraps", {0, LIAR_BYTES, -LIAR_BYTES + 1, 0, 3, 0}},
        {"a length one too long", {0, LIAR_BYTES, LIAR_SIZE - LIAR_BYTES + 1, 0, 3, 0}},
        {"a reference too high", {0, LIAR_BYTES, 1000, 0, LIAR_REFS, 0}},
        {"a reference far too high", {0, LIAR_BYTES, 1000, 0, UINT32_MAX, 0}},
    };
    stage s;
    stage_open(&s, "pull", "push");
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        unsigned before = liar_cut_offs();
        liar_link(&s.l, "v", LEAT_PUSH);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        write_block(&s.l, 0, SLOT_FIRST, &lies[i].d);
        take_all(&s);
        if (!liar_is_cut_off(&s.l, SOON_MS))
            fail_test("believed: %s", lies[i].what);
        check(liar_cut_offs() > before);
        wait_gone(&s);
        honest_passes(&s);
    }
    stage_close(&s);
}

static void references_are_given_once(void)
{
    stage s;
    layout_descriptor d = honest_descriptor();
    leat_msg held = LEAT_MSG_INIT;
    stage_open(&s, "pull", "push");
    /* Twice in one message. */
    liar_link(&s.l, "v", LEAT_PUSH);
    check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
    write_block(&s.l, 1, 0, &d);
    write_block(&s.l, 0, SLOT_FIRST | SLOT_MORE, &d);
    take_all(&s);
    check(liar_is_cut_off(&s.l, SOON_MS));
    wait_gone(&s);
    /* While the first is held; it stays readable until it is closed, by which time its sender is long gone. */
    liar_link(&s.l, "v", LEAT_PUSH);
    check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
    fill(s.l.base + LIAR_BYTES, 1000, 77);
    write_block(&s.l, 0, SLOT_FIRST, &d);
    check_ok(leat_recv(s.v, &held, SOON_MS));
    write_block(&s.l, 1, SLOT_FIRST, &d);
    take_all(&s);
    check(liar_is_cut_off(&s.l, SOON_MS));
    wait_gone(&s);
    honest_passes(&s);
    unsigned char wanted[1000];
    fill(wanted, 1000, 77);
    check(leat_msg_size(&held) == 1000 && memcmp(leat_msg_data(&held), wanted, 1000) == 0);
    leat_msg_close(&held);
    /* Given back, it may come again. */
    liar_link(&s.l, "v", LEAT_PUSH);
    for (uint64_t i = 0; i < 10; i++) {
        write_block(&s.l, i, SLOT_FIRST, &d);
        check_ok(leat_recv(s.v, &held, SOON_MS));
        leat_msg_close(&held);
        check_int((long long)leat_channel_peers(s.v), 2);
    }
    stage_close(&s);
}

typedef struct slot_lie {
    const char *what;
    unsigned kind, flags, length;
} slot_lie;

static void slots_are_checked(void)
{
    static const slot_lie lies[] = {
        {"no kind", 0, 0, 10},
        {"a slot that continues nothing", SLOT_CONTINUE, 0, 0},
        {"an unknown kind", 4, 0, 10},
        {"a kind of all ones", 255, 0, 10},
        {"more bytes than slots", SLOT_SMALL, 0, 65535},
        {"one byte more than a small part has", SLOT_SMALL, 0, SLOT_SMALL_BYTES + 1},
        {"room for a stamp without one", SLOT_SMALL, 0, SLOT_SMALL_BYTES + 8},
        {"one byte more than with a stamp", SLOT_SMALL, SLOT_STAMP, SLOT_SMALL_BYTES + 9},
        {"a stamp in no bytes", SLOT_SMALL, SLOT_STAMP, 0},
        {"a stamp in seven bytes", SLOT_SMALL, SLOT_STAMP, 7},
        {"more parts that do not come", SLOT_SMALL, SLOT_MORE, 10},
        {"more parts after a large one", SLOT_SMALL, SLOT_MORE, 200},
        {"more parts than slots", SLOT_SMALL, SLOT_MORE, 65535},
        {"the middle of a message", SLOT_SMALL, SLOT_FIRST, 10}, /* taken away below */
    };
    stage s;
    static const unsigned char bytes[SLOT_PAYLOAD];
    stage_open(&s, "pull", "push");
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        unsigned before = liar_cut_offs();
        liar_link(&s.l, "v", LEAT_PUSH);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        write_slot(&s.l, 0, lies[i].kind, lies[i].flags ^ SLOT_FIRST, lies[i].length, bytes, sizeof(bytes));
        take_all(&s);
        if (!liar_is_cut_off(&s.l, SOON_MS))
            fail_test("believed: %s", lies[i].what);
        check(liar_cut_offs() > before);
        wait_gone(&s);
        honest_passes(&s);
    }
    stage_close(&s);
}

static void endless_parts_end(void)
{
    static const unsigned char bytes[SLOT_PAYLOAD];
    stage s;
    stage_open(&s, "pull", "push");
    for (unsigned wrong = 0; wrong < 3; wrong++) {
        liar_link(&s.l, "v", LEAT_PUSH);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        /* A ring full of parts with more to come; of the right lap, of the lap before, of one to come. */
        for (uint64_t i = LIAR_SLOTS - 1; i > 0; i--)
            write_slot(&s.l,
                       wrong == 1 && i > 9   ? i - LIAR_SLOTS
                       : wrong == 2 && i > 9 ? i + LIAR_SLOTS
                                             : i,
                       SLOT_SMALL, SLOT_MORE, 1, bytes, sizeof(bytes));
        write_slot(&s.l, 0, SLOT_SMALL, SLOT_FIRST | SLOT_MORE, 1, bytes, sizeof(bytes));
        take_all(&s);
        check(liar_is_cut_off(&s.l, SOON_MS));
        wait_gone(&s);
        honest_passes(&s);
    }
    stage_close(&s);
}

/* A word with a plausible index and any of the rest, or one of no sense at all. */
static void lie_in_a_slot(liar *l, uint64_t index)
{
    layout_slot *slot = &l->slots[index % LIAR_SLOTS];
    uint64_t r = liar_random();
    unsigned kind = r & 1 ? SLOT_SMALL : r & 2 ? SLOT_BLOCK : (unsigned)(r >> 8) & 0xff;
    unsigned flags = (r & 12) == 0 ? (unsigned)(r >> 16) & 0xff : (unsigned)(r >> 4) & 3;
    unsigned length = r & 32 ? (unsigned)(r >> 24) & 0xff : (unsigned)(r >> 24) & 0xffff;
    for (size_t i = 0; i < SLOT_PAYLOAD / 8; i++) {
        uint64_t word = liar_random();
        memcpy(slot->payload + 8 * i, &word, 8);
    }
    if (kind == SLOT_BLOCK && r & UINT64_C(1) << 50) {
        layout_descriptor d = honest_descriptor();
        d.reference = (uint32_t)(liar_random() % 8);
        d.length = liar_random() % (LIAR_SIZE - LIAR_BYTES);
        uint64_t field = liar_random() % 12;
        if (field < sizeof(d) / 8)
            memset((unsigned char *)&d + 8 * field, (int)liar_random(), 1 + liar_random() % 8);
        memcpy(slot->payload, &d, sizeof(d));
    }
    flags ^= (unsigned)(index % 4 != 3 || r & UINT64_C(1) << 60) * SLOT_FIRST;
    uint64_t word = slot_word(r & UINT64_C(7) << 51 ? index : liar_random(), kind, flags, length);
    __atomic_store_n(&slot->word, word, __ATOMIC_RELEASE);
}

static void any_bytes_of_a_sender(void)
{
    stage s;
    stage_open(&s, "pull", "push");
    unsigned rounds = 5000 / leat_test_slowness();
    for (unsigned round = 0; round < rounds; round++) {
        liar_link(&s.l, "v", LEAT_PUSH);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        for (unsigned step = 0; step < 8; step++) {
            uint64_t head = 0; /* of the victim: where the next lie is looked at */
            if (s.l.theirs.rx_half)
                head = __atomic_load_n(&((const layout_rx *)(const void *)(s.l.victim + s.l.theirs.rx_half))->head,
                                       __ATOMIC_ACQUIRE);
            for (unsigned n = 1 + (unsigned)(liar_random() % 4); n > 0; n--)
                lie_in_a_slot(&s.l, head + n - 1);
            s.l.tx->want_head = liar_random() % 3 ? liar_random() % 100 : liar_random();
            s.l.tx->want_returned = liar_random() % 3 ? liar_random() % 100 : liar_random();
            s.l.tx->tail = liar_random();
            s.l.header->memory_wanted = liar_random();
            take_all(&s);
        }
        liar_hang_up(&s.l);
        wait_gone(&s);
        if (round % 16 == 0)
            honest_passes(&s);
    }
    stage_close(&s);
}

/* ---- a receiver that lies ------------------------------------------------------------------------------------------- */

/* What the victim sends says itself whether it is whole. */
static int victim_sends(stage *s, size_t size)
{
    leat_msg msg = LEAT_MSG_INIT;
    if (leat_msg_alloc(s->v, size, 0, &msg) < 0)
        return -EAGAIN;
    fill(leat_msg_data(&msg), size, size);
    int r = leat_send(s->v, &msg, 0);
    leat_msg_close(&msg);
    return r;
}

/* The honest receiver takes all that has come; none of it was changed. A message that the liar claims to have half read is
 * lost. */
static unsigned honest_takes(stage *s)
{
    static unsigned char wanted[8192];
    leat_msg msg = LEAT_MSG_INIT;
    unsigned n = 0;
    while (leat_recv(s->w, &msg, 0) == 0) {
        size_t size = leat_msg_size(&msg);
        check(size <= sizeof(wanted));
        fill(wanted, size, size);
        check(memcmp(leat_msg_data(&msg), wanted, size) == 0);
        n++;
    }
    leat_msg_close(&msg);
    return n;
}

static void honest_gets(stage *s)
{
    leat_msg msg = LEAT_MSG_INIT;
    honest_takes(s);
    for (size_t size = 30; size < 8000; size = size * 5 + 100) {
        while (victim_sends(s, size) < 0)
            honest_takes(s);
        check_ok(leat_recv(s->w, &msg, SOON_MS));
    }
    leat_msg_close(&msg);
    honest_takes(s);
}

/* Sends until nothing goes any more, so that each number of the liar's is looked at. */
static void send_until_full(stage *s, size_t size)
{
    for (unsigned i = 0; i < 4 * LIAR_SLOTS; i++)
        if (victim_sends(s, size) < 0)
            break;
}

enum receiver_lie {
    HEAD_BEYOND_TAIL,
    HEAD_FAR_BEYOND,
    HEAD_GOES_BACK,
    RETURNED_BEYOND_OPEN,
    RETURNED_FAR_BEYOND,
    RETURNED_GOES_BACK,
    REFERENCE_TOO_HIGH,
    REFERENCE_FAR_TOO_HIGH,
    REFERENCE_NOT_OPEN,
    REFERENCE_TWICE,
    RECEIVER_LIES
};

static uint64_t sent_to(const liar *l)
{
    return __atomic_load_n(&l->victim_tx->tail, __ATOMIC_ACQUIRE);
}

static void store_head(liar *l, uint64_t head)
{
    __atomic_store_n(&l->rx->head, head, __ATOMIC_RELEASE);
}

static void store_returned(liar *l, uint64_t returned)
{
    __atomic_store_n(&l->rx->returned, returned, __ATOMIC_RELEASE);
    /* A word on the socket makes the victim look. */
    const say_head memory = {HANDSHAKE_MAGIC, HANDSHAKE_VERSION, SAY_MEMORY, layout_hash()};
    (void)liar_say(l, &memory, sizeof(memory), NULL, 0);
}

static void tell_receiver_lie(stage *s, enum receiver_lie lie)
{
    liar *l = &s->l;
    uint64_t tail = sent_to(l);
    check(tail >= 2);
    switch (lie) {
    case HEAD_BEYOND_TAIL:
        store_head(l, tail + LIAR_SLOTS + 1); /* whatever it may send until it looks */
        break;
    case HEAD_FAR_BEYOND:
        store_head(l, UINT64_MAX);
        break;
    case HEAD_GOES_BACK:
        store_head(l, tail);
        send_until_full(s, 30);
        honest_takes(s);
        send_until_full(s, 30);
        check(sent_to(l) == tail + LIAR_SLOTS);
        store_head(l, tail - 1);
        break;
    case RETURNED_BEYOND_OPEN:
        store_returned(l, tail + 1);
        break;
    case RETURNED_FAR_BEYOND:
        store_returned(l, UINT64_MAX);
        break;
    case RETURNED_GOES_BACK:
        store_head(l, tail);
        l->returns[0] = 0;
        l->returns[1] = 1;
        store_returned(l, 2);
        while (__atomic_load_n(&l->victim_tx->taken_back, __ATOMIC_ACQUIRE) != 2)
            usleep(1000);
        store_returned(l, 1);
        break;
    case REFERENCE_TOO_HIGH:
        l->returns[0] = LIAR_REFS;
        store_returned(l, 1);
        break;
    case REFERENCE_FAR_TOO_HIGH:
        l->returns[0] = UINT32_MAX;
        store_returned(l, 1);
        break;
    case REFERENCE_NOT_OPEN:
        l->returns[0] = LIAR_REFS - 1;
        store_returned(l, 1);
        break;
    case REFERENCE_TWICE:
        store_head(l, tail);
        l->returns[0] = l->returns[1] = 0;
        store_returned(l, 2);
        break;
    default:
        break;
    }
}

static void heads_and_returns_are_checked(void)
{
    stage s;
    stage_open(&s, "push", "pull");
    for (int lie = 0; lie < RECEIVER_LIES; lie++) {
        liar_link(&s.l, "v", LEAT_PULL);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        for (int i = 0; i < 8; i++)
            check_ok(victim_sends(&s, 1000));
        tell_receiver_lie(&s, (enum receiver_lie)lie);
        bool cut = false;
        for (int i = 0; i < SOON_MS && !cut; i++) {
            send_until_full(&s, 30);
            send_until_full(&s, 1000);
            honest_takes(&s);
            cut = liar_is_cut_off(&s.l, 1);
        }
        if (!cut)
            fail_test("lie %d was believed", lie);
        wait_gone(&s);
        honest_gets(&s);
    }
    stage_close(&s);
}

/* References returned of messages that it says it has not read: what becomes of them when it dies must not be read. */
static void unread_and_returned(void)
{
    stage s;
    stage_open(&s, "push", "pull");
    for (int round = 0; round < 20; round++) {
        liar_link(&s.l, "v", LEAT_PULL);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        for (int i = 0; i < 8; i++)
            check_ok(victim_sends(&s, 1000));
        s.l.returns[0] = (uint32_t)(round & 1);
        store_returned(&s.l, 1);
        for (int i = 0; i < 8 && round & 2; i++) { /* the block is another message's by now */
            (void)victim_sends(&s, 1000);
            honest_takes(&s);
        }
        liar_hang_up(&s.l);
        wait_gone(&s);
        honest_gets(&s);
    }
    stage_close(&s);
}

static void any_bytes_of_a_receiver(void)
{
    stage s;
    stage_open(&s, "push", "pull");
    unsigned rounds = 4000 / leat_test_slowness();
    for (unsigned round = 0; round < rounds; round++) {
        liar *l = &s.l;
        liar_link(l, "v", LEAT_PULL);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        for (unsigned step = 0; step < 6; step++) {
            for (unsigned n = (unsigned)(liar_random() % 24); n > 0; n--)
                if (victim_sends(&s, liar_random() % 2 ? liar_random() % 300 : liar_random() % 8000) < 0)
                    honest_takes(&s);
            uint64_t r = liar_random(), tail = sent_to(l);
            uint64_t head = l->rx->head <= tail ? l->rx->head : 0;
            store_head(l, r & 7 ? head + (r >> 8) % (tail - head + 1) : r & 8 ? tail + (r >> 8) % 5 : r);
            l->rx->taken = liar_random() % 100;
            for (unsigned n = (unsigned)(liar_random() % 8); n > 0; n--)
                l->returns[(l->rx->returned + n) % LIAR_REFS] =
                    (uint32_t)(liar_random() % 16 ? liar_random() % 12 : liar_random());
            *l->asleep = liar_random();
            if (liar_random() % 4)
                store_returned(l, liar_random() % 16 ? l->rx->returned + liar_random() % 3 : liar_random());
        }
        liar_hang_up(l);
        wait_gone(&s);
        if (round % 16 == 0)
            honest_gets(&s);
    }
    stage_close(&s);
}

/* ---- a peer that breaks the rules on the socket --------------------------------------------------------------------- */

/* Says what has no place on a link that is up, while the victim holds a message of it. */
static void words_out_of_place(void)
{
    stage s;
    unsigned char wanted[1000];
    stage_open(&s, "pull", "push");
    for (int round = 0; round < 8; round++) {
        leat_msg held = LEAT_MSG_INIT;
        layout_descriptor d = honest_descriptor();
        say_hello h;
        say_refuse refusal = {.head = {HANDSHAKE_MAGIC, HANDSHAKE_VERSION, SAY_REFUSE, layout_hash()}, .error = EPROTO};
        liar_link(&s.l, "v", LEAT_PUSH);
        check_ok(leat_channel_wait_peers(s.v, 2, SOON_MS));
        fill(s.l.base + LIAR_BYTES, 1000, (uint64_t)round);
        write_block(&s.l, 0, SLOT_FIRST, &d);
        check_ok(leat_recv(s.v, &held, SOON_MS));
        liar_hello(&s.l, (enum handshake_type)(round % 3 + SAY_HELLO), LEAT_PUSH, &h);
        if (round == 3)
            h.head.magic++;
        if (round == 4)
            h.head.layout++;
        if (round == 5)
            check(liar_say(&s.l, &refusal, sizeof(refusal), NULL, 0));
        else
            check(liar_say(&s.l, &h, round == 6 ? 20 : round == 7 ? 3 : sizeof(h), NULL, 0));
        check(liar_is_cut_off(&s.l, SOON_MS));
        wait_gone(&s);
        fill(wanted, 1000, (uint64_t)round);
        check(memcmp(leat_msg_data(&held), wanted, 1000) == 0);
        honest_passes(&s);
        leat_msg_close(&held);
    }
    stage_close(&s);
}

static const leat_test tests[] = {
    {"a descriptor that leads out of the peer's segment is not followed", descriptors_are_checked},
    {"a reference is given once until it is returned", references_are_given_once},
    {"a slot that does not hold together cuts its sender off", slots_are_checked},
    {"parts without end come to an end", endless_parts_end},
    {"any bytes in a sender's half harm nobody else", any_bytes_of_a_sender},
    {"a head or a return that cannot be cuts the receiver off", heads_and_returns_are_checked},
    {"a reference that is returned unread is not sent again", unread_and_returned},
    {"any bytes in a receiver's half harm nobody else", any_bytes_of_a_receiver},
    {"words out of place end the link, and what was received of it stays readable", words_out_of_place},
    {NULL},
};
LEAT_TEST_MAIN(tests)
