/* SPDX-License-Identifier: MIT
 *
 * inspect.c - reading a segment from outside, for shmadm: its header, its channels, their queues. Everything is copied,
 * checked, then used; the owner may be writing, dying, dead or hostile, and is not disturbed. Needs no engine.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Following more links of chains than this for one segment means that they lead in circles. */
#define CHAIN_MAX 16384

static int read_at(const segment_reader *reader, uint64_t offset, void *to, uint64_t size)
{
    if (offset > reader->size || size > reader->size - offset)
        return -EBADMSG;
    if (reader->fd < 0) {
        memcpy(to, (const char *)reader->base + offset, size);
        return 0;
    }
    ssize_t r;
    do
        r = pread(reader->fd, to, size, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r == (ssize_t)size ? 0 : r < 0 ? -errno : -EBADMSG;
}

static int read_header(const segment_reader *reader, layout_header *ret_header)
{
    int r = read_at(reader, 0, ret_header, sizeof *ret_header);
    if (r < 0 || ret_header->magic != LAYOUT_MAGIC)
        return leat_fail(EBADMSG, "it does not begin as a segment of leat does");
    if (ret_header->layout != layout_hash())
        return leat_fail(EBADMSG, "it was made by another version of leat, whose memory layout differs");
    ret_header->boot_id[sizeof ret_header->boot_id - 1] = '\0';
    ret_header->program[sizeof ret_header->program - 1] = '\0';
    return 0;
}

/* What receivers have returned and the owner has not looked at yet, since nothing made it: free in all but the books. */
static void count_returned(const segment_kind *kind, const char *root, const segment_reader *own,
                           const layout_lane *lane, uint64_t *blocks, uint64_t *bytes)
{
    layout_tx tx;
    layout_rx rx;
    segment_reader peer;
    char name[sizeof lane->peer_segment + 1] = "";
    memcpy(name, lane->peer_segment, sizeof lane->peer_segment);
    if (!lane->refs || lane->refs & (lane->refs - 1) || lane->refs > 1u << 20 ||
        read_at(own, lane->half, &tx, sizeof tx) < 0 || kind->open(root, name, &peer) < 0)
        return;
    if (read_at(&peer, lane->peer_half, &rx, sizeof rx) == 0 && rx.returned - tx.taken_back <= lane->refs) {
        for (uint64_t i = tx.taken_back; i != rx.returned; i++) {
            uint32_t reference;
            layout_book book;
            uint64_t at = lane->peer_half + sizeof rx + (i & (lane->refs - 1)) * sizeof reference;
            if (read_at(&peer, at, &reference, sizeof reference) < 0 || reference >= lane->refs)
                break;
            at = lane->half + sizeof tx + lane->slots * sizeof(layout_slot) + reference * sizeof book;
            if (read_at(own, at, &book, sizeof book) < 0)
                break;
            if (book.offset) {
                *blocks += 1;
                *bytes += book.size;
            }
        }
    }
    if (peer.fd >= 0)
        close(peer.fd);
}

int inspect_describe(const segment_kind *kind, const char *root, const segment_reader *reader, leat_item *item)
{
    layout_header h;
    int r = read_header(reader, &h);
    if (r < 0)
        return r;
    if (strcmp(h.boot_id, leati_boot_id()) != 0)
        item->state = LEAT_DEAD;                             /* it survived a reboot; its owner did not */
    uint64_t cached_bytes = 0, cached_blocks = 0, peers = 0; /* cached or returned: no message is in it */
    layout_channel c;
    int steps = 0;
    for (uint64_t at = h.channels; at && steps < CHAIN_MAX && read_at(reader, at, &c, sizeof c) == 0;
         at = c.next, steps++) {
        if (c.state == ENTRY_FREE)
            continue;
        cached_bytes += c.cached_bytes;
        cached_blocks += c.cached_blocks;
        peers += c.peers;
    }
    layout_lane lane;
    steps = 0;
    for (uint64_t at = h.lanes; at && steps < CHAIN_MAX && read_at(reader, at, &lane, sizeof lane) == 0;
         at = lane.next, steps++)
        if (lane.state == ENTRY_OPEN && lane.kind == LANE_TX)
            count_returned(kind, root, reader, &lane, &cached_blocks, &cached_bytes);
    item->heap_size = (int64_t)h.heap_size;
    item->used = (int64_t)(h.used - h.own_bytes - cached_bytes);
    item->peak = (int64_t)h.peak;
    item->largest_free = (int64_t)h.largest_free;
    item->blocks = (int64_t)(h.blocks - h.own_blocks - cached_blocks);
    if (item->used < 0) /* the owner is at work between the numbers */
        item->used = 0;
    if (item->blocks < 0)
        item->blocks = 0;
    item->peers = (int64_t)peers;
    return 0;
}

/* Messages that were sent on our tx half and not yet taken. The head lies in the peer's segment. */
static int64_t lane_depth(const segment_kind *kind, const char *root, const segment_reader *own,
                          const layout_lane *lane)
{
    layout_tx tx;
    layout_rx rx;
    segment_reader peer;
    char name[sizeof lane->peer_segment + 1] = "";
    memcpy(name, lane->peer_segment, sizeof lane->peer_segment);
    if (read_at(own, lane->half, &tx, sizeof tx) < 0 || kind->open(root, name, &peer) < 0)
        return 0;
    int64_t depth = 0;
    if (read_at(&peer, lane->peer_half, &rx, sizeof rx) == 0 && tx.sent - rx.taken <= lane->slots)
        depth = (int64_t)(tx.sent - rx.taken);
    if (peer.fd >= 0)
        close(peer.fd);
    return depth;
}

int inspect_channels(const segment_kind *kind, const leat_item *item, leat_channel_info_fn *fn, void *user)
{
    char root[4096];
    segment_reader reader;
    if (item->kind != LEAT_ITEM_SEGMENT)
        return 0;
    size_t length = strlen(item->path), tail = strlen(item->name);
    snprintf(root, sizeof root, "%.*s", length > tail ? (int)(length - tail - 1) : 0, item->path);
    int r = kind->open(root, item->name, &reader);
    if (r < 0)
        return leat_fail(r == -ENOENT ? ESTALE : -r, "%s: %s", item->name, strerror(-r));
    layout_header h;
    r = read_header(&reader, &h);
    int steps = 0;
    for (uint64_t at = h.channels; r == 0 && at; steps++) {
        layout_channel c;
        if (steps >= CHAIN_MAX || read_at(&reader, at, &c, sizeof c) < 0) {
            r = leat_fail(EBADMSG, "%s: its chain of channels leads nowhere", item->name);
            break;
        }
        c.name[sizeof c.name - 1] = c.address[sizeof c.address - 1] = '\0';
        if (c.state == ENTRY_OPEN && c.pattern < LEAT_PATTERNS) {
            int64_t depth = 0;
            layout_lane lane;
            for (uint64_t l = h.lanes; l && steps < CHAIN_MAX && read_at(&reader, l, &lane, sizeof lane) == 0;
                 l = lane.next, steps++)
                if (lane.state == ENTRY_OPEN && lane.kind == LANE_TX && lane.channel == at)
                    depth += lane_depth(kind, root, &reader, &lane);
            leat_channel_info info = {
                .name = c.name,
                .pattern = leat_pattern_name((leat_pattern)c.pattern),
                .address = c.address,
                .method = c.binds ? "bind" : "connect",
                .peers = (int64_t)c.peers,
                .depth = depth,
                .held = (int64_t)c.held,
                .messages_in = (int64_t)c.messages_in,
                .messages_out = (int64_t)c.messages_out,
                .bytes_in = (int64_t)c.bytes_in,
                .bytes_out = (int64_t)c.bytes_out,
                .dropped = (int64_t)c.dropped,
                .redelivered = (int64_t)c.redelivered,
            };
            r = fn(&info, user);
        }
        at = c.next;
    }
    if (reader.fd >= 0)
        close(reader.fd);
    return r;
}
