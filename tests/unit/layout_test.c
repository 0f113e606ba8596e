/* SPDX-License-Identifier: MIT
 *
 * layout_test.c - the bytes that two processes share, against a segment made by hand: what inspection reads of it, and of
 * the same with any bit turned, cut off anywhere, or chained in a circle. The kind of memory is a mock: two arrays.
 */
#include "leat_test.h"

#include "plugins/transports/shm/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of x86-64 and arm64. It must change whenever anything in layout.h changes that another process reads: then write the new
 * one here, in the same commit. */
#define GOLDEN_HASH UINT64_C(0xcd68e2adbff8ec42)

#define SIZE (16 * LAYOUT_PAGE)

static unsigned char own[SIZE], peer[SIZE];

/* ---- the mock ---------------------------------------------------------------------------------------------------------- */

static int mock_open(const char *root, const char *name, segment_reader *ret_reader)
{
    check_string(root, "/mock");
    if (strcmp(name, "own") != 0 && strcmp(name, "peer") != 0)
        return -ENOENT;
    *ret_reader = (segment_reader){.fd = -1, .base = name[0] == 'o' ? own : peer, .size = SIZE};
    return 0;
}

static const segment_kind mock = {.transport = "mock", .open = mock_open};

/* ---- the segments, by hand ---------------------------------------------------------------------------------------------- */

static void put64(unsigned char *at, size_t offset, uint64_t value)
{
    memcpy(at + offset, &value, sizeof value);
}

static void put32(unsigned char *at, size_t offset, uint32_t value)
{
    memcpy(at + offset, &value, sizeof value);
}

static void put_text(unsigned char *at, size_t offset, const char *text)
{
    memcpy(at + offset, text, strlen(text) + 1);
}

/* Offsets as numbers, from the pictures in layout.h: a field that moves shows here. */
static void make_segments(void)
{
    memset(own, 0, sizeof own);
    memset(peer, 0, sizeof peer);
    memcpy(own, "leatshm1", 8);
    put64(own, 8, layout_hash());
    put64(own, 16, SIZE);
    put32(own, 32, 4711);
    put_text(own, 40, leati_boot_id());
    put_text(own, 80, "0123abcd");
    put_text(own, 92, "mock");
    put_text(own, 112, "sampler");
    put_text(own, 144, "default");
    put_text(own, 224, "4711-0.mock.peer");
    put64(own, 256, 20000); /* used */
    put64(own, 264, 30000); /* peak */
    put64(own, 272, 5000);  /* largest_free */
    put64(own, 280, 12);    /* blocks */
    put64(own, 296, 8000);  /* own_bytes */
    put64(own, 304, 4);     /* own_blocks */
    put64(own, 320, 4096);  /* channels */
    put64(own, 328, 8192);  /* lanes */

    unsigned char *channel = own + 4096;
    put64(channel, 0, 4096 + 384); /* next */
    put32(channel, 8, ENTRY_OPEN);
    put32(channel, 12, LEAT_PUSH);
    put_text(channel, 16, "data");
    put_text(channel, 80, "there");
    put32(channel, 184, 1);
    for (unsigned i = 0; i < 8; i++)
        put64(channel, 192 + 8 * i, 101 + i);
    put64(channel, 248, 1);    /* peers */
    put64(channel, 256, 1024); /* cached_bytes */
    put64(channel, 264, 2);    /* cached_blocks */
    put32(channel + 384, 8, ENTRY_FREE);

    unsigned char *lane = own + 8192;
    put32(lane, 8, ENTRY_OPEN);
    put32(lane, 12, LANE_TX);
    put64(lane, 16, 4096);     /* channel */
    put64(lane, 24, 12288);    /* half */
    put64(lane, 32, 4096 * 2); /* peer_half */
    put32(lane, 40, 16);       /* slots */
    put32(lane, 44, 4);        /* refs */
    put32(lane, 48, 4712);
    put_text(lane, 52, "peer");

    unsigned char *tx = own + 12288;
    put64(tx, 0, 9);  /* tail */
    put64(tx, 8, 7);  /* sent */
    put64(tx, 16, 5); /* taken_back */
    unsigned char *book = tx + 128 + 16 * 64;
    put64(book + 2 * 40, 0, 50000); /* reference 2: offset, length, size */
    put64(book + 2 * 40, 8, 700);
    put64(book + 2 * 40, 16, 768);

    unsigned char *rx = peer + 8192;
    put64(rx, 0, 6);                 /* head */
    put64(rx, 8, 4);                 /* taken */
    put64(rx, 64, 6);                /* returned: one that the owner has not looked at */
    put32(rx, 128 + (5 % 4) * 4, 2); /* reference 2 */
}

static int describe(uint64_t size, leat_item *item)
{
    segment_reader reader = {.fd = -1, .base = own, .size = size};
    memset(item, 0, sizeof *item);
    return inspect_describe(&mock, "/mock", &reader, item);
}

static leat_channel_info seen;
static unsigned seen_count;
static size_t name_length;

static int see(const leat_channel_info *info, void *user)
{
    (void)user;
    check(strlen(info->name) < 64 && strlen(info->address) < 104 && info->pattern && info->method);
    seen = *info;
    name_length = strlen(info->name);
    seen_count++;
    return 0;
}

static int channels(void)
{
    const leat_item item = {.kind = LEAT_ITEM_SEGMENT, .name = "own", .path = "/mock/own"};
    seen_count = 0;
    return inspect_channels(&mock, &item, see, NULL);
}

/* ---- what is read of it -------------------------------------------------------------------------------------------------- */

static void the_hash_is_the_layouts(void)
{
    if (layout_hash() != GOLDEN_HASH)
        fail_test("the layout's hash is 0x%llx: if the layout was changed, this is the new constant for this file",
                  (unsigned long long)layout_hash());
}

static void a_golden_segment_is_read(void)
{
    leat_item item;
    make_segments();
    check_ok(describe(SIZE, &item));
    check_int(item.heap_size, SIZE);
    check_int(item.used, 20000 - 8000 - 1024 - 768); /* less the engine's own, the cached, the returned */
    check_int(item.blocks, 12 - 4 - 2 - 1);
    check_int(item.peak, 30000);
    check_int(item.largest_free, 5000);
    check_int(item.peers, 1);
    check_ok(channels());
    check_int(seen_count, 1);
    check_int(seen.messages_in, 101);
    check_int(seen.messages_out, 102);
    check_int(seen.bytes_in, 103);
    check_int(seen.bytes_out, 104);
    check_int(seen.dropped, 105);
    check_int(seen.redelivered, 106);
    check_int(seen.held, 107);
    check_int(seen.peers, 1);
    check_int(seen.depth, 7 - 4);
}

static void another_layout_is_refused(void)
{
    leat_item item;
    for (unsigned bit = 0; bit < 128; bit++) { /* magic and layout */
        make_segments();
        own[bit / 8] ^= (unsigned char)(1u << bit % 8);
        check_error(describe(SIZE, &item), EBADMSG);
        check_error(channels(), EBADMSG);
    }
    make_segments();
    put_text(own, 40, "01234567-89ab-cdef-0123-456789abcdef");
    check_ok(describe(SIZE, &item));
    check_int(item.state, LEAT_DEAD);
}

static void any_bit_may_be_wrong(void)
{
    static const struct {
        unsigned char *base;
        size_t from, to;
    } parts[] = {{own, 16, sizeof(layout_header)},
                 {own, 4096, 4096 + 2 * sizeof(layout_channel)},
                 {own, 8192, 8192 + sizeof(layout_lane)},
                 {own, 12288, 12288 + sizeof(layout_tx)},
                 {peer, 8192, 8192 + sizeof(layout_rx) + 16}};
    leat_item item;
    for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++) {
        for (size_t bit = parts[part].from * 8; bit < parts[part].to * 8; bit++) {
            make_segments();
            parts[part].base[bit / 8] ^= (unsigned char)(1u << bit % 8);
            int r = describe(SIZE, &item);
            check(r == 0 || r == -EBADMSG);
            r = channels();
            check(r == 0 || r == -EBADMSG);
            check(seen_count <= 2 || r == -EBADMSG); /* a circle was shown before it was found */
        }
    }
}

static void any_length_may_be_missing(void)
{
    leat_item item;
    make_segments();
    for (uint64_t size = 0; size < SIZE; size += size < 16384 ? 1 : 512) {
        int r = describe(size, &item);
        if (size < sizeof(layout_header))
            check_int(r, -EBADMSG);
        else
            check_ok(r);
    }
}

static void strings_may_have_no_end(void)
{
    leat_item item;
    make_segments();
    memset(own + 40, 'x', 256 - 40);
    memset(own + 4096 + 16, 'x', 168);
    memset(own + 8192 + 52, 'x', 68);
    check_ok(describe(SIZE, &item));
    check_ok(channels());
    check_int(seen_count, 1);
    check_int((long long)name_length, 63);
}

static void offsets_may_wrap(void)
{
    static const size_t places[] = {320, 328, 4096, 8192, 8192 + 24, 8192 + 32};
    leat_item item;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (uint64_t offset = 1; offset < 4096; offset *= 2) {
            make_segments();
            put64(own, places[i], -offset);
            check_ok(describe(SIZE, &item));
            int r = channels();
            check(r == 0 || r == -EBADMSG);
        }
    }
}

static void a_circle_ends(void)
{
    leat_item item;
    make_segments();
    put64(own + 8192, 0, 8192); /* the lane is its own next */
    check_ok(describe(SIZE, &item));
    check_error(channels(), EBADMSG);
    make_segments();
    put64(own + 4096, 0, 4096); /* the channel is */
    put64(own, 328, 0);
    check_ok(describe(SIZE, &item));
    check_error(channels(), EBADMSG);
}

static const leat_test tests[] = {
    {"the layout has the hash that it was given", the_hash_is_the_layouts},
    {"a segment made by hand is read as it was meant", a_golden_segment_is_read},
    {"a segment of another layout is refused, one from before a reboot is dead", another_layout_is_refused},
    {"any bit may be wrong", any_bit_may_be_wrong},
    {"any length may be missing", any_length_may_be_missing},
    {"strings may have no end", strings_may_have_no_end},
    {"offsets may wrap", offsets_may_wrap},
    {"a chain that is a circle ends", a_circle_ends},
    {NULL},
};
LEAT_TEST_MAIN(tests)
