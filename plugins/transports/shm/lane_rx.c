/* SPDX-License-Identifier: MIT
 *
 * lane_rx.c - the receiver's half of a lane: taking messages out of a peer's slots, returning references. Everything here
 * happens inside the port's lock. What a peer wrote is read once, checked, then used; a peer that breaks a rule is cut off
 * and nothing else happens.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lane_rx_new(port *p, uint32_t refs, lane_rx **ret_rx)
{
    engine *e = p->engine;
    lane_rx *rx = calloc(1, sizeof *rx);
    int r = -ENOMEM;
    if (!rx)
        return r;
    rx->handles = calloc(refs, sizeof *rx->handles);
    if (!rx->handles)
        goto free_rx;
    r = engine_alloc_range(e, layout_rx_size(refs), &rx->range);
    if (r < 0)
        goto free_rx;
    rx->entry = engine_lane_entry(e);
    if (!rx->entry) {
        r = -ENOMEM;
        goto free_range;
    }
    rx->half = engine_at(e, rx->range->offset);
    memset(rx->half, 0, layout_rx_size(refs));
    rx->returns = (uint32_t *)(rx->half + 1);
    rx->refs = refs;
    rx->entry->kind = LANE_RX;
    rx->entry->channel = engine_offset(e, p->entry);
    rx->entry->half = rx->range->offset;
    rx->entry->refs = refs;
    *ret_rx = rx;
    return 0;
free_range:
    heap_free(&e->heap, rx->range);
free_rx:
    free(rx->handles);
    free(rx);
    return r;
}

void lane_rx_free(lane_rx *rx)
{
    if (!rx)
        return;
    __atomic_store_n(&rx->entry->state, ENTRY_FREE, __ATOMIC_RELEASE);
    heap_free(&rx->link->engine->heap, rx->range);
    free(rx->handles);
    free(rx);
}

static int break_off(port *p, lane_rx *rx, const char *what)
{
    leat_logf(LEAT_LOG_WARNING, "channel %s: peer %s (pid %d) sent %s; it is cut off", p->name, rx->link->peer_program,
              rx->link->peer_pid, what);
    rx->broken = rx->closing = true;
    link_wake(p->engine);
    return -EAGAIN;
}

/* Publishes the head, before the message is handed out, and rings a sender that waits for this much room. */
static void pass_slots(port *p, lane_rx *rx, uint64_t slots, uint64_t bytes)
{
    rx->head += slots;
    rx->taken++;
    STORE(rx->half->taken, rx->taken);
    /* Pairs with the acquire in tx_has_room(): our copies out of the slots come before. */
    __atomic_store_n(&rx->half->head, rx->head, __ATOMIC_RELEASE);
    STORE(p->entry->messages_in, p->entry->messages_in + 1);
    STORE(p->entry->bytes_in, p->entry->bytes_in + bytes);
    order_publish_then_look(rx->fence);
    uint64_t want = LOAD(rx->peer->want_head);
    if (unlikely(want) && rx->head >= want && want != rx->rung_head) {
        rx->rung_head = want;
        bell_ring(rx->link->bell);
    }
}

/* Fills `part` from the slot at `index`; returns how many slots it took, 0 if it breaks a rule, or -ENOMEM. */
static int take_part(lane_rx *rx, uint64_t index, uint64_t word, leat_msg_body *part)
{
    const layout_slot *slot = &rx->slots[index & rx->mask];
    unsigned length = slot_length(word);
    if (slot_kind(word) == SLOT_BLOCK) {
        layout_descriptor d;
        memcpy(&d, slot->payload, sizeof d);
        if (d.segment != 0 || d.offset < LAYOUT_PAGE || d.offset > rx->peer_size ||
            d.length > rx->peer_size - d.offset || d.reference >= rx->refs ||
            atomic_load_explicit(&rx->handles[d.reference], memory_order_relaxed) != 0)
            return 0;
        atomic_store_explicit(&rx->handles[d.reference], 1, memory_order_relaxed);
        part->kind = LEAT_BODY_BLOCK;
        part->flags = 0;
        part->timestamp_ns = d.timestamp_ns;
        part->u.block.data = (void *)(uintptr_t)(rx->peer_base + d.offset);
        part->u.block.size = d.length;
        part->u.block.ops = &held_ops;
        part->u.block.owner = rx;
        part->u.block.a = d.reference;
        return 1;
    }
    if (slot_kind(word) != SLOT_SMALL || length > SLOT_SMALL_BYTES + 8)
        return 0;
    unsigned char bytes[SLOT_SMALL_BYTES + SLOT_PAYLOAD], *data = bytes;
    int slots = 0;
    for (unsigned at = 0; at < length || at == 0; at += SLOT_PAYLOAD, slots++)
        memcpy(bytes + at, rx->slots[(index + (unsigned)slots) & rx->mask].payload, SLOT_PAYLOAD);
    int64_t stamp = 0;
    if (slot_flags(word) & SLOT_STAMP) {
        if (length < 8)
            return 0;
        memcpy(&stamp, data, 8);
        data += 8;
        length -= 8;
    }
    if (length > SLOT_SMALL_BYTES)
        return 0;
    if (length > LEAT_INLINE_MAX) {
        int r = message_new_cell(length, part);
        if (r < 0)
            return r;
        memcpy(part->u.block.data, data, length);
    } else {
        part->kind = LEAT_BODY_INLINE;
        part->inline_size = length;
        memcpy(part->u.bytes, data, length);
    }
    part->timestamp_ns = stamp;
    return slots;
}

/* Undoes take_part() for parts that nobody has seen. */
static void untake(lane_rx *rx, leat_msg_body *const *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i]->kind == LEAT_BODY_BLOCK) {
            if (parts[i]->u.block.ops == &held_ops)
                atomic_store_explicit(&rx->handles[parts[i]->u.block.a], 0, memory_order_relaxed);
            else
                cell_ops.release(parts[i]);
        }
        memset(parts[i], 0, sizeof *parts[i]);
    }
}

/* Every message but the plainest: counts its parts, then takes them. */
static __attribute__((noinline)) int take_parts(port *p, lane_rx *rx, leat_msg_body *const *parts, size_t capacity)
{
    uint64_t index = rx->head;
    size_t n = 0;
    bool more = true;
    while (more) {
        uint64_t word = LOAD(rx->slots[index & rx->mask].word);
        unsigned slots = slot_kind(word) == SLOT_BLOCK ? 1 : (slot_length(word) + SLOT_PAYLOAD - 1) / SLOT_PAYLOAD;
        index += slots ? slots : 1;
        if (slot_sequence(word) != (uint32_t)(index - (slots ? slots : 1) + 1) ||
            !(slot_flags(word) & SLOT_FIRST) == (n == 0) || index - rx->head > rx->mask + 1)
            return break_off(p, rx, "a malformed message");
        more = slot_flags(word) & SLOT_MORE;
        n++;
    }
    if (n > capacity)
        return capacity ? -EMSGSIZE : (int)n;
    uint64_t at = rx->head, bytes = 0;
    uint32_t held = 0;
    for (size_t i = 0; i < n; i++) {
        /* Read anew, and checked as if it had never been looked at. */
        uint64_t word = LOAD(rx->slots[at & rx->mask].word);
        int slots = take_part(rx, at, word, parts[i]);
        if (slots <= 0) {
            untake(rx, parts, i);
            return slots < 0 ? leat_fail(ENOMEM, "channel %s: no memory for a message", p->name)
                             : break_off(p, rx, "a message that names what is not there");
        }
        at += (unsigned)slots;
        bytes += parts[i]->kind == LEAT_BODY_INLINE ? parts[i]->inline_size : parts[i]->u.block.size;
        held += parts[i]->kind == LEAT_BODY_BLOCK && parts[i]->u.block.ops == &held_ops;
    }
    if (at != index) {
        untake(rx, parts, n);
        return break_off(p, rx, "a message that changed while it was read");
    }
    rx->held += held;
    STORE(p->entry->held, p->entry->held + held);
    pass_slots(p, rx, at - rx->head, bytes);
    return (int)n;
}

int rx_take(port *p, lane_rx *rx, leat_msg_body *const *parts, size_t capacity)
{
    const layout_slot *slot = &rx->slots[rx->head & rx->mask];
    /* Pairs with the release in tx_push(). */
    uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);
    if (slot_sequence(word) != (uint32_t)(rx->head + 1) || unlikely(rx->broken))
        return -EAGAIN;
    unsigned length = slot_length(word);
    /* The plainest message, of one part that fits into leat_msg itself. */
    if (likely(capacity && (word >> 32 & 0xffff) == (SLOT_SMALL | SLOT_FIRST << 8) && length <= LEAT_INLINE_MAX)) {
        leat_msg_body *m = parts[0];
        m->inline_size = length;
        memcpy(m->u.bytes, slot->payload, LEAT_INLINE_MAX);
        pass_slots(p, rx, 1, length);
        return 1;
    }
    return take_parts(p, rx, parts, capacity);
}

void rx_return(port *p, lane_rx *rx, uint32_t reference)
{
    atomic_store_explicit(&rx->handles[reference], 0, memory_order_relaxed);
    rx->held--;
    STORE(p->entry->held, p->entry->held - 1);
    STORE(rx->returns[rx->returned & (rx->refs - 1)], reference);
    rx->returned++;
    __atomic_store_n(&rx->half->returned, rx->returned, __ATOMIC_RELEASE); /* pairs with tx_take_returns() */
    order_publish_then_look(rx->fence);
    uint64_t want = LOAD(rx->peer->want_returned);
    if (unlikely(want) && rx->returned >= want && want != rx->rung_returned) {
        rx->rung_returned = want;
        bell_ring(rx->link->bell);
    }
    uint64_t memory = LOAD(*rx->peer_memory_wanted);
    if (unlikely(memory & 1) && memory != rx->rung_memory) {
        rx->rung_memory = memory;
        link_ring_memory(rx->link);
    }
    if (unlikely(rx->link->got_bye || rx->link->said_bye || rx->link->ended)) {
        link_ring_memory(rx->link); /* the owner may wait for its last block */
        link_wake(p->engine);
    }
}
