/* SPDX-License-Identifier: MIT
 *
 * lane_test.c - the lanes of the shared-memory engine, both ends in one process: numbers that wrap, messages that go round
 * the ring's end, the book of what is handed out, and what becomes of what was not read. The core is a mock: settings and
 * hooks are this file's, so that nothing but the engine is at work.
 */
#include "leat_test.h"

#include "plugins/transports/shm/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOON_MS 20000
#define MAX_PARTS 6u

/* ---- the core, as far as the engine asks it -------------------------------------------------------------------------- */

struct leat_settings {
    int64_t heap_size, queue;
    const char *at_death;
};

const char *leat_setting(const leat_settings *s, const char *key)
{
    return strcmp(key, "at_death") == 0 ? s->at_death : strcmp(key, "fence") == 0 ? "auto" : NULL;
}

int64_t leat_setting_int(const leat_settings *s, const char *key)
{
    return strcmp(key, "heap_size") == 0 ? s->heap_size : strcmp(key, "queue") == 0 ? s->queue : 0;
}

bool leat_setting_given(const leat_settings *s, const char *key)
{
    (void)s;
    (void)key;
    return false;
}

struct leat_hook {
    _Atomic int peers;
};

void leat_hook_joined(leat_hook *hook)
{
    atomic_fetch_add(&hook->peers, 1);
}

void leat_hook_left(leat_hook *hook, bool died)
{
    (void)died;
    atomic_fetch_sub(&hook->peers, 1);
}

void leat_hook_refused(leat_hook *hook, int error, const char *text)
{
    (void)hook;
    if (error)
        fail_test("refused: %s", text);
}

void leat_hook_wake(leat_hook *hook)
{
    (void)hook;
}

/* ---- two ends -------------------------------------------------------------------------------------------------------- */

extern const leat_plugin posix_shm __asm__(LEAT_PLUGIN_SYMBOL);

typedef struct end {
    leat_settings settings;
    leat_hook hook;
    leat_attach_info attached;
    leat_port_info info;
    void *state;
    port *p;
} end;

static void open_end(end *e, leat_pattern pattern, int64_t queue)
{
    void *handle;
    *e = (end){.settings = {.heap_size = 16 << 20, .queue = queue, .at_death = "redeliver"}};
    e->attached = (leat_attach_info){
        .session = leat_test_session(), .program = "lane_test", .settings = &e->settings, .process = &e->settings};
    check_ok(posix_shm.transport->attach(&e->attached, &e->state));
    e->info = (leat_port_info){
        .hook = &e->hook, .channel = leat_pattern_name(pattern), .pattern = pattern, .settings = &e->settings};
    check_ok(posix_shm.transport->open(e->state, &e->info, &handle));
    e->p = handle;
}

static void close_end(end *e)
{
    posix_shm.transport->close(e->p, 0);
    posix_shm.transport->detach(e->state);
}

static void wait_peers(end *e, int n)
{
    for (int i = 0; atomic_load(&e->hook.peers) != n; i++) {
        check(i < SOON_MS);
        usleep(1000);
    }
}

typedef struct ends {
    end a, b; /* a sends to b */
    lane_tx *tx;
    lane_rx *rx;
} ends;

static void open_ends(ends *s, int64_t queue)
{
    open_end(&s->a, LEAT_PUSH, queue);
    open_end(&s->b, LEAT_PULL, queue);
    check_ok(posix_shm.transport->bind(s->a.p, "lane"));
    check_ok(posix_shm.transport->connect(s->b.p, "lane"));
    wait_peers(&s->a, 1);
    wait_peers(&s->b, 1);
    s->tx = s->a.p->tx[0];
    s->rx = s->b.p->rx[0];
    check(s->tx->mask == s->rx->mask && s->tx->refs == s->rx->refs);
}

static void close_ends(ends *s)
{
    close_end(&s->b);
    close_end(&s->a);
}

/* Moves both halves of an idle lane to a slot and to a return further on. */
static void jump(ends *s, uint64_t slot, uint64_t returned)
{
    port_enter(s->a.p);
    port_enter(s->b.p);
    check(tx_take_returns(s->a.p, s->tx));
    check(s->tx->tail == s->rx->head && s->tx->returned == s->rx->returned && tx_open_refs(s->tx) == 0);
    s->tx->tail = s->tx->head = s->rx->head = slot;
    s->tx->half->tail = s->rx->half->head = slot;
    s->tx->returned = s->rx->returned = returned;
    s->tx->half->taken_back = s->rx->half->returned = returned;
    port_leave(s->b.p);
    port_leave(s->a.p);
}

/* ---- messages --------------------------------------------------------------------------------------------------------- */

/* A message by its number: its shape and its bytes follow from it. */
typedef struct shape {
    size_t parts;
    size_t size[MAX_PARTS];
    bool block[MAX_PARTS]; /* even if it is small: aligned memory */
    int64_t stamp;         /* 0: none */
} shape;

static uint64_t mix(uint64_t x)
{
    x = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 31;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 29;
}

/* One part in half of all cases; never more than 15 slots, nor 5 of a part. */
static shape shape_of(uint64_t number)
{
    static const size_t sizes[] = {0,   1,   40,  47,  48,  49,  55,  56,   57,  112,
                                   113, 168, 216, 217, 223, 224, 225, 1000, 9000};
    uint64_t r = mix(number);
    shape s = {.parts = r & 1 ? 1 : 1 + (r >> 1) % 3};
    for (size_t i = 0; i < s.parts; i++) {
        s.size[i] = sizes[mix(number * 7 + i) % (sizeof(sizes) / sizeof(sizes[0]))];
        s.block[i] = s.size[i] > SLOT_SMALL_BYTES || (mix(number * 11 + i) & 7) == 0;
    }
    s.stamp = r >> 40 & 1 ? (int64_t)(number + 1) * 1000003 : 0;
    return s;
}

static unsigned char byte_of(uint64_t number, size_t part, size_t at)
{
    return (unsigned char)(number * 31 + part * 101 + at * 7 + (at >> 8));
}

static size_t body_size(const leat_msg_body *m)
{
    return m->kind == LEAT_BODY_INLINE ? m->inline_size : m->u.block.size;
}

static unsigned char *body_data(leat_msg_body *m)
{
    return m->kind == LEAT_BODY_INLINE ? m->u.bytes : m->u.block.data;
}

static void release(leat_msg_body *m)
{
    if (m->kind == LEAT_BODY_BLOCK)
        m->u.block.ops->release(m);
    memset(m, 0, sizeof(*m));
}

static int send_number(end *e, uint64_t number)
{
    leat_msg_body bodies[MAX_PARTS] = {0}, *parts[MAX_PARTS] = {0};
    shape s = shape_of(number);
    for (size_t i = 0; i < s.parts; i++) {
        parts[i] = &bodies[i];
        if (s.size[i] <= LEAT_INLINE_MAX && !s.block[i] && mix(number + i) & 2)
            bodies[i].inline_size = (uint32_t)s.size[i];
        else
            check_ok(port_alloc(e->p, s.size[i], s.block[i] ? 64 : 16, &bodies[i]));
        bodies[i].timestamp_ns = s.stamp;
        for (size_t at = 0; at < s.size[i]; at++)
            body_data(&bodies[i])[at] = byte_of(number, i, at);
    }
    int r = port_send(e->p, parts, s.parts);
    for (size_t i = 0; i < s.parts && r < 0; i++)
        release(&bodies[i]);
    return r;
}

static void verify(leat_msg_body *const *parts, size_t n, uint64_t number)
{
    shape s = shape_of(number);
    check_int((long long)n, (long long)s.parts);
    for (size_t i = 0; i < n; i++) {
        check_int((long long)body_size(parts[i]), (long long)s.size[i]);
        check(parts[i]->timestamp_ns == s.stamp);
        for (size_t at = 0; at < s.size[i]; at++)
            check(body_data(parts[i])[at] == byte_of(number, i, at));
    }
}

/* Receives into bodies, which are to be released; how many parts. */
static size_t recv_number(end *e, uint64_t number, leat_msg_body *bodies)
{
    leat_msg_body *parts[MAX_PARTS];
    for (size_t i = 0; i < MAX_PARTS; i++)
        parts[i] = &bodies[i];
    memset(bodies, 0, MAX_PARTS * sizeof(*bodies));
    size_t n = (size_t)check_ok(port_recv(e->p, parts, MAX_PARTS));
    verify(parts, n, number);
    return n;
}

static void pass(ends *s, uint64_t number)
{
    leat_msg_body bodies[MAX_PARTS];
    check_ok(send_number(&s->a, number));
    size_t n = recv_number(&s->b, number, bodies);
    for (size_t i = 0; i < n; i++)
        release(&bodies[i]);
}

/* ---- numbers that wrap -------------------------------------------------------------------------------------------------- */

static void the_sequence_wraps(void)
{
    static const uint64_t places[] = {UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(3) << 32, UINT64_C(1) << 63};
    ends s;
    open_ends(&s, 16);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (uint64_t before = 1; before < 40; before++) {
            jump(&s, places[i] - before, s.tx->returned);
            for (uint64_t number = 0; s.tx->tail < places[i] + 40; number++)
                pass(&s, number + before * 100);
            leat_msg_body none, *at = &none;
            check_int(port_recv(s.b.p, &at, 1), -EAGAIN); /* no slot of a lap before looks published */
        }
    }
    close_ends(&s);
}

static void returns_wrap(void)
{
    static const uint64_t places[] = {0, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 5};
    ends s;
    open_ends(&s, 64);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        jump(&s, s.tx->tail, places[i] - 100 * (i > 0));
        for (uint64_t number = 0; number < 3000 / leat_test_slowness(); number++)
            pass(&s, number);
        port_enter(s.a.p);
        check(tx_take_returns(s.a.p, s.tx));
        check_int(tx_open_refs(s.tx), 0);
        port_leave(s.a.p);
    }
    close_ends(&s);
}

/* ---- the ring's end ----------------------------------------------------------------------------------------------------- */

static void messages_go_round_the_end(void)
{
    ends s;
    open_ends(&s, 16);
    check_int((long long)s.tx->mask + 1, 16);
    for (uint64_t number = 0; number < 2000 / leat_test_slowness(); number++) {
        uint64_t lap = (s.tx->tail + 32) & ~UINT64_C(15);
        for (uint64_t start = 0; start < 16; start++) {
            jump(&s, lap + 16 * start + start, s.tx->returned);
            pass(&s, number);
        }
    }
    close_ends(&s);
}

static void the_ring_is_full_to_its_last_slot(void)
{
    ends s;
    leat_msg_body bodies[MAX_PARTS];
    open_ends(&s, 16);
    for (uint64_t start = 0; start < 500; start++) {
        uint64_t last = start;
        while (send_number(&s.a, last) == 0)
            last++;
        check(last > start);
        check(s.tx->tail - s.rx->head <= 16);
        for (uint64_t number = start; number < last; number++) {
            size_t n = recv_number(&s.b, number, bodies);
            for (size_t i = 0; i < n; i++)
                release(&bodies[i]);
        }
        leat_msg_body none, *at = &none;
        check_int(port_recv(s.b.p, &at, 1), -EAGAIN);
        /* Sixteen plain ones, and no seventeenth. */
        leat_msg_body plain = {.inline_size = 5}, *part = &plain;
        for (int i = 0; i < 16; i++)
            check_ok(port_send(s.a.p, &part, 1));
        check_int(port_send(s.a.p, &part, 1), -EAGAIN);
        for (int i = 0; i < 16; i++) {
            memset(&none, 0, sizeof(none));
            check_int(port_recv(s.b.p, &at, 1), 1);
        }
    }
    close_ends(&s);
}

/* ---- the book ----------------------------------------------------------------------------------------------------------- */

static void check_book(const ends *s)
{
    uint32_t open = 0;
    uint64_t pinned = 0;
    static bool is_free[1024];
    memset(is_free, 0, sizeof(is_free));
    for (uint32_t i = 0; i < s->tx->free_count; i++) {
        check(!is_free[s->tx->free_refs[i]]);
        is_free[s->tx->free_refs[i]] = true;
    }
    for (uint32_t i = 0; i < s->tx->refs; i++) {
        const layout_book *entry = &s->tx->book[i];
        check(is_free[i] == (entry->offset == 0) && is_free[i] == (s->tx->blocks[i] == NULL));
        if (is_free[i])
            continue;
        open++;
        pinned += entry->size;
        check(entry->offset == s->tx->blocks[i]->offset && entry->size == s->tx->blocks[i]->size);
        check(entry->length <= entry->size && entry->index < s->tx->tail);
    }
    check_int(tx_open_refs(s->tx), open);
    check(s->tx->pinned == pinned);
}

static void the_book_says_what_is_handed_out(void)
{
    enum { HELD = 40 };
    static leat_msg_body held[HELD][MAX_PARTS];
    size_t parts[HELD] = {0};
    ends s;
    open_ends(&s, 64);
    check_int(s.tx->refs, 1024);
    uint64_t sent = 0, received = 0;
    for (unsigned round = 0; round < 20000 / leat_test_slowness(); round++) {
        uint64_t r = mix(round);
        size_t place = (r >> 8) % HELD;
        if (r % 3 == 0) {
            sent += send_number(&s.a, sent) == 0;
        } else if (parts[place]) {
            for (size_t i = 0; i < parts[place]; i++)
                release(&held[place][i]);
            parts[place] = 0;
        } else if (received < sent) {
            parts[place] = recv_number(&s.b, received++, held[place]);
        }
        if (round % 16 == 0) {
            uint32_t held_now = 0;
            for (size_t i = 0; i < HELD; i++)
                for (size_t k = 0; k < parts[i]; k++)
                    held_now += held[i][k].kind == LEAT_BODY_BLOCK && held[i][k].u.block.ops == &held_ops;
            check_int((long long)s.b.p->entry->held, held_now);
            check_int(s.rx->held, held_now);
            port_enter(s.a.p);
            check(tx_take_returns(s.a.p, s.tx));
            check_book(&s);
            /* What is open is held by the receiver or queued for it. */
            uint32_t queued = 0;
            for (uint32_t i = 0; i < s.tx->refs; i++)
                queued += s.tx->blocks[i] && s.tx->book[i].index >= s.rx->head;
            check_int(tx_open_refs(s.tx), queued + held_now);
            port_leave(s.a.p);
        }
    }
    for (size_t place = 0; place < HELD; place++)
        for (size_t i = 0; i < parts[place]; i++)
            release(&held[place][i]);
    close_ends(&s);
}

/* ---- what was not read -------------------------------------------------------------------------------------------------- */

/* What link_settle() does when the receiver has gone. */
static void lose_receiver(ends *s)
{
    port_lock(s->a.p);
    port_remove_tx(s->a.p, s->tx);
    tx_take_unread(s->a.p, s->tx);
    check_int((long long)s->a.p->tx_count, 0);
    port_unlock(s->a.p);
}

/* Sends numbers from 0 until the ring is full, receives the first few and holds them; how many were sent. */
static uint64_t send_and_read_some(ends *s, uint64_t base, uint64_t *read, leat_msg_body (*held)[MAX_PARTS],
                                   size_t *parts)
{
    uint64_t sent = 0;
    while (send_number(&s->a, base + sent) == 0)
        sent++;
    *read = mix(base) % (sent + 1);
    for (uint64_t i = 0; i < *read; i++)
        parts[i] = recv_number(&s->b, base + i, held[i]);
    return sent;
}

static uint64_t bytes_of_messages(const end *e)
{
    const layout_header *h = ((const engine *)e->state)->header;
    return h->used - h->own_bytes - e->p->entry->cached_bytes;
}

static void parcels_are_just_what_was_unread(bool redeliver)
{
    static leat_msg_body held[64][MAX_PARTS];
    size_t parts[64];
    for (uint64_t round = 0; round < 60; round++) {
        ends s;
        uint64_t read, base = round * 1000, n = 0;
        open_ends(&s, 64);
        s.a.p->redeliver = redeliver;
        jump(&s, (UINT64_C(1) << 32) - round, s.tx->returned);
        uint64_t sent = send_and_read_some(&s, base, &read, held, parts);
        lose_receiver(&s);
        for (const parcel *c = s.a.p->parcels; c; c = c->next, n++)
            verify(c->pointers, c->count, base + read + n);
        check_int((long long)n, redeliver ? (long long)(sent - read) : 0);
        check_int((long long)s.a.p->entry->dropped, redeliver ? 0 : (long long)(sent - read));
        for (uint64_t i = 0; i < read; i++)
            for (size_t k = 0; k < parts[i]; k++)
                release(&held[i][k]);
        port_lock(s.a.p);
        tx_take_all(s.a.p, s.tx);
        check_int(tx_open_refs(s.tx), 0);
        check(s.tx->pinned == 0);
        if (!redeliver)
            check_int((long long)bytes_of_messages(&s.a), 0);
        port_unlock(s.a.p);
        close_ends(&s);
    }
}

static void unread_messages_are_sent_again(void)
{
    parcels_are_just_what_was_unread(true);
}

static void unread_messages_are_dropped(void)
{
    parcels_are_just_what_was_unread(false);
}

static void the_next_receiver_gets_them(void)
{
    static leat_msg_body held[64][MAX_PARTS];
    size_t parts[64];
    for (uint64_t round = 0; round < 20; round++) {
        ends s;
        end c;
        uint64_t read, base = round * 1000;
        open_ends(&s, 64);
        uint64_t sent = send_and_read_some(&s, base, &read, held, parts);
        lose_receiver(&s);
        open_end(&c, LEAT_PULL, 64);
        check_ok(posix_shm.transport->connect(c.p, "lane"));
        wait_peers(&c, 1);
        wait_peers(&s.a, 2);                      /* the first has not been told */
        check_ok(send_number(&s.a, base + sent)); /* comes behind them */
        leat_msg_body bodies[MAX_PARTS];
        for (uint64_t i = read; i <= sent; i++) {
            size_t n = recv_number(&c, base + i, bodies);
            for (size_t k = 0; k < n; k++)
                release(&bodies[k]);
            if (i == read && s.a.p->parcels) { /* the ring was full: the rest follows */
                port_lock(s.a.p);
                port_flush_parcels(s.a.p);
                port_unlock(s.a.p);
            }
        }
        check_int((long long)s.a.p->entry->redelivered, (long long)(sent - read));
        for (uint64_t i = 0; i < read; i++)
            for (size_t k = 0; k < parts[i]; k++)
                release(&held[i][k]);
        close_end(&c);
        close_ends(&s);
    }
}

static const leat_test tests[] = {
    {"messages pass where the slots' sequence wraps", the_sequence_wraps},
    {"references come back where the return ring and its number wrap", returns_wrap},
    {"every shape of message passes at every place of the ring", messages_go_round_the_end},
    {"the ring is full to its last slot, and not beyond", the_ring_is_full_to_its_last_slot},
    {"the book says what is handed out, whatever is sent, held and closed", the_book_says_what_is_handed_out},
    {"of a lost receiver just what it had not read is kept to be sent again", unread_messages_are_sent_again},
    {"or is dropped and counted, and its memory is free", unread_messages_are_dropped},
    {"the next receiver gets them, in order and ahead of new ones", the_next_receiver_gets_them},
    {NULL},
};
LEAT_TEST_MAIN(tests)
