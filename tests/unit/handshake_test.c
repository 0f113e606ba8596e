/* SPDX-License-Identifier: MIT
 *
 * handshake_test.c - strangers at the socket of a bound channel: packets of no sense, mutated ones, ones with descriptors
 * that nobody asked for, and partners that go away in the middle. The context must refuse them, lose no descriptor and no
 * mapping by it, and serve an honest partner as before.
 */
#include "liar.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 5 /* for what may have no answer at all */

typedef struct stage {
    leat_ctx *ctx;
    leat_channel *v;
    leat_pattern partner;
    liar l;
    unsigned descriptors, mappings;
} stage;

static void stage_open(stage *s, const char *type, leat_pattern partner)
{
    leat_config *cfg = leat_test_config();
    memset(s, 0, sizeof(*s));
    s->partner = partner;
    liar_channel(cfg, "v", type, "bind", "v");
    s->ctx = liar_join(cfg);
    s->v = liar_open(s->ctx, "v");
    liar_new(&s->l);
    liar_read_log();
    s->descriptors = liar_descriptors();
    s->mappings = liar_mappings();
}

/* All strangers have hung up: when what they sent is read, everything is as it was within a moment. */
static void check_nothing_is_lost(stage *s)
{
    leat_msg msg = LEAT_MSG_INIT;
    liar_hang_up(&s->l);
    for (int i = 0; liar_descriptors() != s->descriptors || liar_mappings() != s->mappings; i++) {
        if (i == SOON_MS)
            fail_test("%u descriptors and %u segments are open, not %u and %u", liar_descriptors(), liar_mappings(),
                      s->descriptors, s->mappings);
        if (leat_recv(s->v, &msg, 0) < 0)
            usleep(1000);
        leat_msg_close(&msg);
    }
    check_int(leat_channel_peers(s->v), 0);
}

static void check_serves(stage *s)
{
    leat_config *cfg = leat_test_config();
    leat_msg msg = LEAT_MSG_INIT;
    liar_channel(cfg, "w", leat_pattern_name(s->partner), "connect", "v");
    leat_ctx *ctx = liar_join(cfg);
    leat_channel *w = liar_open(ctx, "w");
    check_ok(leat_channel_wait_peers(w, 1, SOON_MS));
    leat_channel *tx = leat_pattern_sends(s->partner) ? w : s->v, *rx = tx == w ? s->v : w;
    check_ok(leat_msg_alloc(tx, 100000, SOON_MS, &msg));
    memset(leat_msg_data(&msg), 0x5a, 100000);
    check_ok(leat_send(tx, &msg, SOON_MS));
    check_ok(leat_recv(rx, &msg, SOON_MS));
    check_int((long long)leat_msg_size(&msg), 100000);
    leat_msg_close(&msg);
    leat_channel_close(w);
    leat_ctx_free(ctx);
    for (int i = 0; leat_channel_peers(s->v) > 0; i++) {
        check(i < SOON_MS);
        usleep(1000);
    }
}

static void stage_close(stage *s)
{
    check_nothing_is_lost(s);
    check_serves(s);
    liar_free(&s->l);
    leat_channel_close(s->v);
    leat_ctx_free(s->ctx);
    leat_log_to(NULL, NULL);
}

/* Some descriptors of all sorts; *ret_n of them. */
static void some_descriptors(int *fds, int *ret_n)
{
    static const int counts[] = {0, 1, 1, 1, 2, 4, 5, 16};
    int n = counts[liar_random() % 8];
    for (int i = 0; i < n; i++) {
        int pair[2];
        switch (liar_random() % 4) {
        case 0:
            fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
            break;
        case 1:
            check(pipe2(pair, O_CLOEXEC) == 0);
            fds[i] = pair[liar_random() % 2];
            close(pair[0] == fds[i] ? pair[1] : pair[0]);
            break;
        default:
            check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
            fds[i] = pair[0];
            close(pair[1]);
            break;
        }
        check(fds[i] >= 0);
    }
    *ret_n = n;
}

static bool say_with_any(liar *l, const void *packet, size_t size)
{
    int fds[16], n;
    some_descriptors(fds, &n);
    bool said = liar_say(l, packet, size, fds, n);
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return said;
}

/* ---- nonsense ------------------------------------------------------------------------------------------------------- */

static void random_packets(void)
{
    stage s;
    stage_open(&s, "pull", LEAT_PUSH);
    unsigned rounds = 6000 / leat_test_slowness();
    for (unsigned round = 0; round < rounds; round++) {
        unsigned char bytes[1024];
        liar_connect(&s.l, "v");
        for (unsigned n = (unsigned)(liar_random() % 4); n > 0; n--) {
            for (size_t i = 0; i < sizeof(bytes); i += 8) {
                uint64_t r = liar_random();
                memcpy(bytes + i, &r, 8);
            }
            const say_head head = {HANDSHAKE_MAGIC, HANDSHAKE_VERSION, (uint16_t)(liar_random() % 9), layout_hash()};
            if (liar_random() % 2)
                memcpy(bytes, &head, sizeof(head));
            static const size_t sizes[] = {1, 3, 15, 16, 17, sizeof(say_hello), sizeof(say_refuse), 1024};
            if (!say_with_any(&s.l, bytes, sizes[liar_random() % 8]))
                break;
        }
        if (round % 64 == 0)
            check_nothing_is_lost(&s);
    }
    stage_close(&s);
}

static void empty_packets(void)
{
    stage s;
    stage_open(&s, "pull", LEAT_PUSH);
    for (unsigned round = 0; round < 50; round++) {
        liar_connect(&s.l, "v");
        (void)say_with_any(&s.l, "", 0);
    }
    stage_close(&s);
}

/* ---- almost sense --------------------------------------------------------------------------------------------------- */

static const struct field {
    size_t at, size;
} fields[] = {
#define FIELD(name)                                                  \
    {                                                                \
        offsetof(say_hello, name), sizeof(((say_hello *)NULL)->name) \
    }
    FIELD(head.magic), FIELD(head.version), FIELD(head.type), FIELD(head.layout), FIELD(pattern), FIELD(membarrier),
    FIELD(pid),        FIELD(tx_slots),     FIELD(tx_refs),   FIELD(reserved),    FIELD(tx_half), FIELD(rx_half),
    FIELD(asleep),     FIELD(segment_size), FIELD(channel),   FIELD(program),     FIELD(session), FIELD(transport),
    FIELD(peer_file),  FIELD(segment),      FIELD(spare),
#undef FIELD
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static void mutate(say_hello *h)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       63,
                                       64,
                                       4095,
                                       4096,
                                       LIAR_SIZE,
                                       UINT64_MAX,
                                       INT64_MAX,
                                       UINT32_MAX,
                                       1u << 20,
                                       (1u << 20) + 1,
                                       1u << 21,
                                       3,
                                       LIAR_SIZE - 64,
                                       LIAR_SIZE + 4096,
                                       -UINT64_C(64),
                                       UINT64_C(1) << 46};
    const struct field *f = &fields[liar_random() % FIELDS];
    unsigned char *at = (unsigned char *)h + f->at;
    uint64_t number = numbers[liar_random() % (sizeof(numbers) / sizeof(numbers[0]))];
    switch (liar_random() % 4) {
    case 0:
        at[liar_random() % f->size] ^= (unsigned char)(1u << liar_random() % 8);
        break;
    case 1:
        for (size_t i = 0; i < f->size; i++)
            at[i] = (unsigned char)(1 + liar_random() % 255); /* no end of a string */
        break;
    case 2:
        if (f->size > 8)
            strcpy((char *)at, "../../../etc/passwd");
        else
            memcpy(at, &number, f->size);
        break;
    default:
        if (f->size > 8)
            memset(at, 0, f->size);
        else
            memcpy(at, &number, f->size);
        break;
    }
}

/* Says HELLO and READY, mutated or not; writes in its halves in between and after, so that what was linked is used. */
static void mutated(const char *type, leat_pattern partner)
{
    stage s;
    stage_open(&s, type, partner);
    unsigned rounds = 5000 / leat_test_slowness();
    for (unsigned round = 0; round < rounds; round++) {
        say_hello h;
        say_refuse refusal;
        int pair[2];
        liar_connect(&s.l, "v");
        liar_reset(&s.l);
        liar_hello(&s.l, SAY_HELLO, partner, &h);
        for (unsigned n = (unsigned)(liar_random() % 3); n > 0; n--)
            mutate(&h);
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        s.l.bell = pair[0];
        bool said = liar_random() % 8 ? liar_say(&s.l, &h, sizeof(h), &pair[1], 1) : say_with_any(&s.l, &h, sizeof(h));
        close(pair[1]);
        if (said && liar_random() % 4 && liar_hear(&s.l, &refusal, sizeof(refusal), ANSWER_MS) >= 0) {
            liar_hello(&s.l, SAY_READY, partner, &h);
            for (unsigned n = (unsigned)(liar_random() % 3); n > 0; n--)
                mutate(&h);
            said = liar_random() % 8 ? liar_say(&s.l, &h, sizeof(h), NULL, 0) : say_with_any(&s.l, &h, sizeof(h));
            if (said && liar_random() % 8 == 0)
                (void)say_with_any(&s.l, &h, sizeof(h)); /* twice */
        }
        leat_msg msg = LEAT_MSG_INIT;
        if (!leat_pattern_sends(partner)) {
            check_ok(leat_msg_alloc(s.v, 1000, 0, &msg));
            (void)leat_send(s.v, &msg, 0);
        } else {
            s.l.slots[0].word = slot_word(0, SLOT_SMALL, SLOT_FIRST, 20);
            (void)leat_recv(s.v, &msg, 0);
        }
        leat_msg_close(&msg);
        if (round % 64 == 0)
            check_nothing_is_lost(&s);
    }
    liar_hang_up(&s.l);
    if (leat_pattern_sends(partner)) {
        stage_close(&s);
        return;
    }
    /* What was sent in vain waits for the honest one; it is not what is asked here. */
    check_nothing_is_lost(&s);
    liar_free(&s.l);
    leat_channel_close(s.v);
    leat_ctx_free(s.ctx);
    leat_log_to(NULL, NULL);
}

static void mutated_to_a_receiver(void)
{
    mutated("pull", LEAT_PUSH);
}

static void mutated_to_a_sender(void)
{
    mutated("push", LEAT_PULL);
}

static void mutated_to_a_pair(void)
{
    mutated("pair", LEAT_PAIR);
}

/* ---- segments that are not what was said ---------------------------------------------------------------------------- */

static void wrong_segments(void)
{
    stage s;
    say_hello h;
    stage_open(&s, "pull", LEAT_PUSH);
    for (int round = 0; round < 9; round++) {
        say_refuse refusal = {0};
        int pair[2];
        layout_header good = *s.l.header;
        liar_connect(&s.l, "v");
        liar_hello(&s.l, SAY_HELLO, LEAT_PUSH, &h);
        switch (round) {
        case 0:
            s.l.header->magic ^= 1;
            break;
        case 1:
            s.l.header->layout ^= 1;
            break;
        case 2:
            s.l.header->heap_size += LAYOUT_PAGE;
            break;
        case 3:
            s.l.header->shmid[0] ^= 1;
            break;
        case 4:
            h.segment_size += LAYOUT_PAGE; /* more than the file has */
            break;
        case 5:
            strcpy(h.segment, "leat_nothing");
            break;
        case 6:
            strcpy(h.segment, "leat_x/../../../etc/passwd");
            break;
        case 7:
            h.segment[0] = '\0';
            break;
        default:
            memset(s.l.header->shmid, 'x', sizeof(s.l.header->shmid));
            memset(h.segment, 'x', sizeof(h.segment));
            break;
        }
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        s.l.bell = pair[0];
        check(liar_say(&s.l, &h, sizeof(h), &pair[1], 1));
        close(pair[1]);
        check_int(liar_hear(&s.l, &refusal, sizeof(refusal), SOON_MS), sizeof(refusal));
        check_int(refusal.head.type, SAY_REFUSE);
        check(refusal.error > 0 && strlen(refusal.text) > 20);
        check(liar_is_cut_off(&s.l, SOON_MS));
        *s.l.header = good;
    }
    stage_close(&s);
}

/* Comes as far as it can, and goes. */
static void partners_go_in_the_middle(void)
{
    stage s;
    stage_open(&s, "pair", LEAT_PAIR);
    for (int round = 0; round < 300; round++) {
        say_hello h;
        int pair[2];
        liar_connect(&s.l, "v");
        liar_hello(&s.l, SAY_HELLO, LEAT_PAIR, &h);
        if (round % 3 == 0)
            continue;
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        s.l.bell = pair[0];
        check(liar_say(&s.l, &h, sizeof(h), &pair[1], 1));
        close(pair[1]);
        if (round % 3 == 1)
            continue;
        (void)liar_hear(&s.l, &s.l.theirs, sizeof(s.l.theirs), SOON_MS);
        liar_hello(&s.l, SAY_READY, LEAT_PAIR, &h);
        (void)liar_say(&s.l, &h, sizeof(h), NULL, 0);
        s.l.theirs.segment_size = 0;
    }
    stage_close(&s);
}

/* ---- strangers that wait -------------------------------------------------------------------------------------------- */

static void silent_strangers_hinder_nobody(void)
{
    stage s;
    static liar silent[100];
    stage_open(&s, "pull", LEAT_PUSH);
    for (int i = 0; i < 100; i++) {
        silent[i] = (liar){.fd = -1, .bell = -1};
        liar_connect(&silent[i], "v");
    }
    check_serves(&s);
    for (int i = 0; i < 100; i++)
        liar_hang_up(&silent[i]);
    stage_close(&s);
}

static const leat_test tests[] = {
    {"packets of random bytes are refused and lose no descriptor", random_packets},
    {"empty packets lose no descriptor", empty_packets},
    {"a mutated handshake with a receiver is refused or harmless", mutated_to_a_receiver},
    {"a mutated handshake with a sender is refused or harmless", mutated_to_a_sender},
    {"a mutated handshake with a pair is refused or harmless", mutated_to_a_pair},
    {"a segment that is not what was said is refused with the reason", wrong_segments},
    {"partners that go in the middle of the handshake are forgotten", partners_go_in_the_middle},
    {"strangers that say nothing hinder nobody", silent_strangers_hinder_nobody},
    {NULL},
};
LEAT_TEST_MAIN(tests)
