/* SPDX-License-Identifier: MIT
 *
 * lane_tx.c - the sender's half of a lane: slots, book, returned references. Everything here happens inside the port's
 * lock. Knows no sockets and no patterns.
 *
 * A reference's life: free -> (book entry stored, slot published) open, queued -> (the receiver's head passes the slot)
 * open, held -> (the receiver's returned passes it) free. The receiver dying at any instruction leaves head and returned
 * as it last stored them, so each open reference is either queued (sent again) or held (taken back): never both, never
 * neither. We dying leaves slots that were published, which need no book to be read.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t tick_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int lane_tx_new(port *p, lane_tx **ret_tx)
{
    engine *e = p->engine;
    lane_tx *tx = calloc(1, sizeof *tx);
    int r = -ENOMEM;
    if (!tx)
        return r;
    tx->blocks = calloc(p->refs, sizeof(block *));
    tx->free_refs = malloc(p->refs * sizeof *tx->free_refs);
    if (!tx->blocks || !tx->free_refs)
        goto free_tx;
    r = engine_alloc_range(e, layout_tx_size(p->slots, p->refs), &tx->range);
    if (r < 0)
        goto free_tx;
    tx->entry = engine_lane_entry(e);
    if (!tx->entry) {
        r = -ENOMEM;
        goto free_range;
    }
    tx->half = engine_at(e, tx->range->offset);
    memset(tx->half, 0, layout_tx_size(p->slots, p->refs));
    tx->slots = (layout_slot *)(tx->half + 1);
    tx->book = (layout_book *)(tx->slots + p->slots);
    tx->mask = p->slots - 1;
    tx->refs = tx->free_count = p->refs;
    for (uint32_t i = 0; i < p->refs; i++)
        tx->free_refs[i] = p->refs - 1 - i;
    tx->pinned_max = p->queue_bytes;
    tx->entry->kind = LANE_TX;
    tx->entry->channel = engine_offset(e, p->entry);
    tx->entry->half = tx->range->offset;
    tx->entry->slots = p->slots;
    tx->entry->refs = p->refs;
    *ret_tx = tx;
    return 0;
free_range:
    heap_free(&e->heap, tx->range);
free_tx:
    free(tx->free_refs);
    free(tx->blocks);
    free(tx);
    return r;
}

void lane_tx_free(lane_tx *tx)
{
    if (!tx)
        return;
    __atomic_store_n(&tx->entry->state, ENTRY_FREE, __ATOMIC_RELEASE);
    heap_free(&tx->link->engine->heap, tx->range);
    free(tx->free_refs);
    free(tx->blocks);
    free(tx);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

static unsigned payload_slots(uint64_t bytes)
{
    return bytes <= SLOT_PAYLOAD ? 1 : (unsigned)((bytes + SLOT_PAYLOAD - 1) / SLOT_PAYLOAD);
}

static bool is_block(const leat_msg_body *part)
{
    return part->kind == LEAT_BODY_BLOCK && part->u.block.ops != &cell_ops;
}

static uint64_t small_size(const leat_msg_body *part)
{
    return part->kind == LEAT_BODY_INLINE ? part->inline_size : part->u.block.size;
}

unsigned tx_part_slots(const port *p, const leat_msg_body *part)
{
    return is_block(part) ? 1 : payload_slots(small_size(part) + (p->stamps || part->timestamp_ns ? 8 : 0));
}

bool tx_has_room(port *p, lane_tx *tx, uint32_t slots, uint32_t refs, uint64_t bytes)
{
    if (tx->tail + slots - tx->head > tx->mask + 1) {
        /* Pairs with the release in rx_take(): the slots before head have been copied out. */
        uint64_t head = __atomic_load_n(&tx->peer->head, __ATOMIC_ACQUIRE);
        if (head - tx->head > tx->tail - tx->head) { /* beyond what was sent, or back: the peer broke a rule */
            tx->broken = true;
            tx->open = false;
            link_wake(p->engine);
            return false;
        }
        tx->head = head;
        if (tx->tail + slots - tx->head > tx->mask + 1)
            return false;
    }
    if (refs && (refs > tx->free_count || (tx->pinned && tx->pinned + bytes > tx->pinned_max))) {
        if (!tx_take_returns(p, tx))
            return false;
        /* One message always goes, so that a limit below a message's size slows and does not stop. */
        if (refs > tx->free_count || (tx->pinned && tx->pinned + bytes > tx->pinned_max))
            return false;
    }
    return true;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static uint64_t write_block(lane_tx *tx, uint64_t index, const leat_msg_body *part, unsigned flags, int64_t stamp)
{
    block *b = (block *)(uintptr_t)part->u.block.a;
    uint32_t reference = tx->free_refs[--tx->free_count];
    engine *e = tx->link->engine;
    layout_descriptor d = {
        .offset = engine_offset(e, part->u.block.data),
        .length = part->u.block.size,
        .timestamp_ns = stamp,
        .reference = reference,
    };
    tx->blocks[reference] = b;
    tx->pinned += b->size;
    layout_book *entry = &tx->book[reference];
    STORE(entry->length, d.length);
    STORE(entry->size, b->size);
    STORE(entry->index, index);
    STORE(entry->tick, tick_ms());
    STORE(entry->offset, d.offset);
    memcpy(tx->slots[index & tx->mask].payload, &d, sizeof d);
    return slot_word(index, SLOT_BLOCK, flags, sizeof d);
}

/* Writes the slots of a small part; all but the first are published at once. Returns the first's word. */
static uint64_t write_small(lane_tx *tx, uint64_t index, const leat_msg_body *part, unsigned flags, int64_t stamp)
{
    const unsigned char *data = part->kind == LEAT_BODY_INLINE ? part->u.bytes : part->u.block.data;
    unsigned char bytes[SLOT_SMALL_BYTES + 8];
    size_t size = small_size(part), total = size;
    if (stamp) {
        memcpy(bytes, &stamp, 8);
        memcpy(bytes + 8, data, size);
        data = bytes;
        total += 8;
        flags |= SLOT_STAMP;
    }
    for (size_t at = SLOT_PAYLOAD, i = 1; at < total; at += SLOT_PAYLOAD, i++) {
        layout_slot *slot = &tx->slots[(index + i) & tx->mask];
        memcpy(slot->payload, data + at, total - at < SLOT_PAYLOAD ? total - at : SLOT_PAYLOAD);
        __atomic_store_n(&slot->word, slot_word(index + i, SLOT_CONTINUE, 0, 0), __ATOMIC_RELAXED);
    }
    memcpy(tx->slots[index & tx->mask].payload, data, total < SLOT_PAYLOAD ? total : SLOT_PAYLOAD);
    return slot_word(index, SLOT_SMALL, flags, (unsigned)total);
}

void tx_push(port *p, lane_tx *tx, leat_msg_body *const *parts, size_t n, uint32_t slots)
{
    uint64_t index = tx->tail, first = 0;
    int64_t now = p->stamps ? leat_now_ns() : 0;
    for (size_t i = 0; i < n; i++) {
        const leat_msg_body *part = parts[i];
        int64_t stamp = part->timestamp_ns ? part->timestamp_ns : now;
        unsigned flags = (i + 1 < n ? SLOT_MORE : 0) | (i == 0 ? SLOT_FIRST : 0);
        uint64_t word =
            is_block(part) ? write_block(tx, index, part, flags, stamp) : write_small(tx, index, part, flags, stamp);
        if (i == 0)
            first = word;
        else
            __atomic_store_n(&tx->slots[index & tx->mask].word, word, __ATOMIC_RELAXED);
        index += tx_part_slots(p, part);
    }
    /* Pairs with the acquire in rx_ready(): whoever sees the first slot sees all of the message. */
    __atomic_store_n(&tx->slots[tx->tail & tx->mask].word, first, __ATOMIC_RELEASE);
    tx->tail += slots;
    tx->sent++;
    STORE(tx->half->tail, tx->tail);
    STORE(tx->half->sent, tx->sent);
    tx_wake_receiver(tx);
    /* The bytes of private cells are in the slots now. */
    for (size_t i = 0; i < n; i++)
        if (parts[i]->kind == LEAT_BODY_BLOCK && !is_block(parts[i]))
            cell_ops.release(parts[i]);
}

/* ---- taking back -------------------------------------------------------------------------------------------------- */

static block *close_reference(lane_tx *tx, uint32_t reference)
{
    block *b = tx->blocks[reference];
    STORE(tx->book[reference].offset, 0);
    tx->blocks[reference] = NULL;
    tx->free_refs[tx->free_count++] = reference;
    tx->pinned -= b->size;
    return b;
}

bool tx_take_returns(port *p, lane_tx *tx)
{
    if (tx->broken)
        return false;
    /* Pairs with the release in rx_return(). */
    uint64_t returned = __atomic_load_n(&tx->peer->returned, __ATOMIC_ACQUIRE);
    if (returned - tx->returned > tx_open_refs(tx))
        goto broken;
    while (tx->returned != returned) {
        uint32_t reference = LOAD(tx->peer_returns[tx->returned & (tx->refs - 1)]);
        if (reference >= tx->refs || !tx->blocks[reference])
            goto broken;
        tx->returned++;
        message_put_block(p, close_reference(tx, reference));
    }
    STORE(tx->half->taken_back, tx->returned);
    return true;
broken:
    tx->broken = true;
    tx->open = false;
    link_wake(p->engine);
    return false;
}

void parcel_drop(port *p, parcel *c)
{
    for (size_t i = 0; c && i < c->count; i++) {
        if (is_block(&c->parts[i]))
            message_put_block(p, (block *)(uintptr_t)c->parts[i].u.block.a);
        else if (c->parts[i].kind == LEAT_BODY_BLOCK)
            cell_ops.release(&c->parts[i]);
    }
    free(c);
}

/* Makes the message whose first slot is `index` a parcel; advances *index behind it. The slots are our own memory. */
static parcel *parcel_of(port *p, lane_tx *tx, uint64_t *index)
{
    size_t n = 1;
    uint64_t i = *index;
    for (;;) {
        uint64_t word = tx->slots[i & tx->mask].word;
        i += slot_kind(word) == SLOT_BLOCK ? 1 : payload_slots(slot_length(word));
        if (!(slot_flags(word) & SLOT_MORE))
            break;
        n++;
    }
    parcel *c = calloc(1, sizeof *c + n * (sizeof *c->parts + sizeof *c->pointers));
    if (c)
        c->pointers = (leat_msg_body **)(void *)&c->parts[n];
    i = *index;
    for (size_t k = 0; k < n; k++) {
        const layout_slot *slot = &tx->slots[i & tx->mask];
        unsigned length = slot_length(slot->word);
        leat_msg_body m = {0};
        if (slot_kind(slot->word) == SLOT_BLOCK) {
            layout_descriptor d;
            memcpy(&d, slot->payload, sizeof d);
            block *b = close_reference(tx, d.reference);
            m.kind = LEAT_BODY_BLOCK;
            m.timestamp_ns = d.timestamp_ns;
            m.u.block.data = engine_at(p->engine, d.offset);
            m.u.block.size = d.length;
            m.u.block.ops = &block_ops;
            m.u.block.owner = p;
            m.u.block.a = (uintptr_t)b;
            i++;
            if (!c)
                message_put_block(p, b);
        } else {
            unsigned char bytes[SLOT_SMALL_BYTES + SLOT_PAYLOAD], *data = bytes;
            for (unsigned at = 0; at < length || at == 0; at += SLOT_PAYLOAD, i++)
                memcpy(bytes + at, tx->slots[i & tx->mask].payload, SLOT_PAYLOAD);
            if (slot_flags(slot->word) & SLOT_STAMP) {
                memcpy(&m.timestamp_ns, bytes, 8);
                data += 8;
                length -= 8;
            }
            int64_t stamp = m.timestamp_ns;
            if (length <= LEAT_INLINE_MAX) {
                m.inline_size = length;
                memcpy(m.u.bytes, data, length);
            } else if (c && message_new_cell(length, &m) == 0) {
                memcpy(m.u.block.data, data, length);
                m.timestamp_ns = stamp;
            } else {
                if (c)
                    c->count = k;
                parcel_drop(p, c);
                c = NULL;
            }
        }
        if (c) {
            c->parts[k] = m;
            c->pointers[k] = &c->parts[k];
        }
    }
    *index = i;
    if (c)
        c->count = n;
    return c;
}

/* Whether a message begins at `index` and all that it names is still handed out: a peer may say of its head what it likes. */
static bool whole_at(const lane_tx *tx, uint64_t index)
{
    bool first = true;
    while (index != tx->tail) {
        const layout_slot *slot = &tx->slots[index & tx->mask];
        unsigned kind = slot_kind(slot->word);
        if (first && !(slot_flags(slot->word) & SLOT_FIRST))
            return false;
        first = false;
        if (kind == SLOT_BLOCK) {
            layout_descriptor d;
            memcpy(&d, slot->payload, sizeof d);
            if (!tx->blocks[d.reference] || tx->book[d.reference].index != index)
                return false;
            index++;
        } else if (kind == SLOT_SMALL) {
            index += payload_slots(slot_length(slot->word));
        } else {
            return false;
        }
        first = !(slot_flags(slot->word) & SLOT_MORE);
    }
    return true;
}

void tx_take_unread(port *p, lane_tx *tx)
{
    tx->open = false;
    uint64_t head = __atomic_load_n(&tx->peer->head, __ATOMIC_ACQUIRE);
    if (tx->broken || !tx_take_returns(p, tx) || head - tx->head > tx->tail - tx->head || !whole_at(tx, head))
        head = tx->tail; /* it cannot be told what a liar has read: not to deliver twice wins */
    while (head != tx->tail) {
        parcel *c = parcel_of(p, tx, &head);
        if (c && p->redeliver && p->is_open) {
            *p->parcels_end = c;
            p->parcels_end = &c->next;
            continue;
        }
        STORE(p->entry->dropped, p->entry->dropped + 1);
        parcel_drop(p, c);
    }
    tx->head = tx->tail;
}

void tx_take_all(port *p, lane_tx *tx)
{
    tx_take_unread(p, tx);
    for (uint32_t reference = 0; reference < tx->refs; reference++)
        if (tx->blocks[reference])
            message_put_block(p, close_reference(tx, reference));
}

bool tx_finished(const lane_tx *tx)
{
    return __atomic_load_n(&tx->peer->head, __ATOMIC_ACQUIRE) == tx->tail &&
           __atomic_load_n(&tx->peer->returned, __ATOMIC_ACQUIRE) - tx->returned == tx_open_refs(tx);
}
