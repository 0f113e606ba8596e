/* SPDX-License-Identifier: MIT
 *
 * port.c - a channel's port: the patterns over its lanes. PUSH deals in turn to peers that have room, PULL takes from
 * each in turn, PAIR has one. Never waits and knows no sockets; links add and remove lanes under the port's lock.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void count_out(port *p, uint64_t bytes)
{
    STORE(p->entry->messages_out, p->entry->messages_out + 1);
    STORE(p->entry->bytes_out, p->entry->bytes_out + bytes);
}

/* What failed last is done: ready() answers for the least message again. */
static void forget_need(port *p)
{
    p->need_slots = 1;
    p->need_refs = 0;
    p->need_bytes = 0;
    p->need_memory = false;
}

/* The next lane, in turn, with room for this; NULL: none, and what lacked is noted for ready(). */
static lane_tx *choose(port *p, uint32_t slots, uint32_t refs, uint64_t bytes)
{
    for (uint32_t i = 0; i < p->tx_count; i++) {
        uint32_t turn = p->tx_turn + i;
        if (turn >= p->tx_count)
            turn -= p->tx_count;
        lane_tx *tx = p->tx[turn];
        if (tx->open && tx_has_room(p, tx, slots, refs, bytes)) {
            p->tx_turn = turn + 1 < p->tx_count ? turn + 1 : 0;
            return tx;
        }
    }
    p->need_slots = slots;
    p->need_refs = refs;
    p->need_bytes = bytes;
    p->need_memory = false;
    return NULL;
}

static bool is_block(const leat_msg_body *part)
{
    return part->kind == LEAT_BODY_BLOCK && part->u.block.ops == &block_ops;
}

static void measure(const port *p, leat_msg_body *const *parts, size_t n, uint64_t *ret_slots, uint32_t *ret_refs,
                    uint64_t *ret_pinned, uint64_t *ret_bytes)
{
    uint64_t slots = 0, pinned = 0, bytes = 0;
    uint32_t refs = 0;
    for (size_t i = 0; i < n; i++) {
        slots += tx_part_slots(p, parts[i]);
        bytes += parts[i]->kind == LEAT_BODY_INLINE ? parts[i]->inline_size : parts[i]->u.block.size;
        if (is_block(parts[i])) {
            refs++;
            pinned += ((block *)(uintptr_t)parts[i]->u.block.a)->size;
        }
    }
    *ret_slots = slots;
    *ret_refs = refs;
    *ret_pinned = pinned;
    *ret_bytes = bytes;
}

bool port_flush_parcels(port *p)
{
    while (p->parcels) {
        parcel *c = p->parcels;
        uint64_t slots, pinned, bytes;
        uint32_t refs;
        measure(p, c->pointers, c->count, &slots, &refs, &pinned, &bytes);
        lane_tx *tx = choose(p, (uint32_t)slots, refs, pinned);
        if (!tx)
            return false;
        p->parcels = c->next;
        if (!p->parcels)
            p->parcels_end = &p->parcels;
        tx_push(p, tx, c->pointers, c->count, (uint32_t)slots);
        STORE(p->entry->redelivered, p->entry->redelivered + 1);
        free(c);
    }
    return true;
}

static __attribute__((noinline)) int send_any(port *p, leat_msg_body *const *parts, size_t n)
{
    if (unlikely(p->parcels) && !port_flush_parcels(p))
        return -EAGAIN;
    uint64_t slots, pinned, bytes;
    uint32_t refs;
    measure(p, parts, n, &slots, &refs, &pinned, &bytes);
    if (slots > p->slots || refs > p->refs)
        return leat_fail(EMSGSIZE,
                         "channel %s: a message of %zu parts takes %llu slots of a lane; [channel %s] queue gives %u",
                         p->name, n, (unsigned long long)slots, p->name, p->slots);
    lane_tx *tx = choose(p, (uint32_t)slots, refs, pinned);
    if (!tx)
        return -EAGAIN;
    tx_push(p, tx, parts, n, (uint32_t)slots);
    p->handles -= refs;
    count_out(p, bytes);
    forget_need(p);
    return 0;
}

/* Copies a payload into its slot in as few stores as may be: a receiver that polls the line could take it away between
 * two of them. Read in words, since the program has most likely just written words, and a wider load would have to wait
 * until those have reached the cache. */
typedef uint64_t word_pair __attribute__((vector_size(16), aligned(1), may_alias));

static inline word_pair load_pair(const unsigned char *from)
{
    uint64_t low, high;
    memcpy(&low, from, 8);
    memcpy(&high, from + 8, 8);
    __asm__("" : "+r"(low), "+r"(high)); /* keeps the compiler from making one load of the two */
    return (word_pair){low, high};
}

static inline void copy_inline(unsigned char *to, const unsigned char *from, uint32_t size)
{
    word_pair *slot = (word_pair *)to;
    word_pair first = load_pair(from), second = load_pair(from + 16);
    if (size > 32)
        slot[2] = load_pair(from + 32);
    slot[1] = second;
    slot[0] = first;
}

/* Asks for a slot some messages ahead for writing, so that several cache lines travel at once in a stream. */
#define AHEAD 8u
static inline void fetch_for_writing(const void *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1, 3);
#endif
}

int port_send(void *handle, leat_msg_body *const *parts, size_t n)
{
    port *p = handle;
    port_enter(p);
    const leat_msg_body *m = parts[0];
    lane_tx *tx;
    /* The plainest case: one peer with room, one part that lies in leat_msg. Same effect as send_any(). */
    if (likely(n == 1 && p->tx_count == 1 && m->kind == LEAT_BODY_INLINE && !p->parcels && !p->stamps &&
               m->timestamp_ns == 0 && (tx = p->tx[0])->open && tx->tail - tx->head <= tx->mask)) {
        layout_slot *slot = &tx->slots[tx->tail & tx->mask];
        fetch_for_writing(&tx->slots[(tx->tail + AHEAD) & tx->mask]);
        copy_inline(slot->payload, m->u.bytes, m->inline_size);
        /* Pairs with the acquire in rx_take(). */
        __atomic_store_n(&slot->word, slot_word(tx->tail, SLOT_SMALL, SLOT_FIRST, m->inline_size), __ATOMIC_RELEASE);
        tx->tail++;
        tx->sent++;
        STORE(tx->half->tail, tx->tail);
        STORE(tx->half->sent, tx->sent);
        count_out(p, m->inline_size);
        tx_wake_receiver(tx);
        port_leave(p);
        return 0;
    }
    int r = send_any(p, parts, n);
    port_leave(p);
    return r;
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

/* A lane was found empty whose sender is gone: nothing more will come, since all it sent was visible before its end. */
static void note_drained(port *p, lane_rx *rx)
{
    rx->drained = true;
    port_remove_rx(p, rx);
    link_wake(p->engine);
}

static __attribute__((noinline)) int recv_any(port *p, leat_msg_body *const *parts, size_t capacity)
{
    uint32_t tried = 0;
    while (tried < p->rx_count) {
        if (p->rx_turn >= p->rx_count)
            p->rx_turn = 0;
        lane_rx *rx = p->rx[p->rx_turn];
        int r = rx_take(p, rx, parts, capacity);
        if (r != -EAGAIN) {
            if (r > 0 && capacity)
                p->rx_turn++;
            return r;
        }
        if (unlikely(rx->closing)) {
            note_drained(p, rx); /* another lane took its place */
            continue;
        }
        p->rx_turn++;
        tried++;
    }
    return -EAGAIN;
}

int port_recv(void *handle, leat_msg_body *const *parts, size_t capacity)
{
    port *p = handle;
    int r;
    port_enter(p);
    if (likely(p->rx_count == 1 && !p->rx[0]->closing))
        r = rx_take(p, p->rx[0], parts, capacity);
    else
        r = recv_any(p, parts, capacity);
    port_leave(p);
    return r;
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

int port_alloc(void *handle, size_t size, size_t align, leat_msg_body *ret_msg)
{
    port *p = handle;
    engine *e = p->engine;
    uint64_t limit = heap_limit(&e->heap);
    if (unlikely(size > limit || size + (align > LAYOUT_LINE ? align : 0) > limit))
        return leat_fail(EMSGSIZE, "channel %s: a message of %zu bytes can never fit; [transport %s] heap_size is %llu",
                         p->name, size, e->kind->transport, (unsigned long long)e->seg.size);
    port_enter(p);
    int r = message_alloc(p, size, align, ret_msg);
    if (unlikely(p->need_memory) && r == 0)
        forget_need(p);
    if (unlikely(r == -EAGAIN || r == -ENOSPC)) {
        uint64_t since = atomic_load_explicit(&e->heap.freed, memory_order_acquire);
        port_leave(p);
        pthread_mutex_lock(&e->mutex);
        engine_gather_memory(e);
        pthread_mutex_unlock(&e->mutex);
        port_enter(p);
        r = message_alloc(p, size, align, ret_msg);
        forget_need(p);
        p->need_memory = r == -EAGAIN;
        p->need_memory_since = since; /* what was freed since may or may not do: worth another look */
    }
    port_leave(p);
    if (unlikely(r == -EAGAIN))
        leat_fail(EAGAIN, "channel %s: no %zu bytes free; [transport %s] heap_size is %llu and all of it is in use",
                  p->name, size, e->kind->transport, (unsigned long long)e->seg.size);
    return r;
}

bool port_owns(void *handle, const leat_msg_body *msg)
{
    const port *p = handle;
    return msg->u.block.ops == &cell_ops || message_is_own(p, msg);
}

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

/* Room for one more pointer in a growing array. */
static int grow(void *array, uint32_t count, uint32_t *capacity)
{
    if (count < *capacity)
        return 0;
    uint32_t more = *capacity ? *capacity * 2 : 4;
    void **grown = realloc(*(void **)array, more * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    *(void **)array = grown;
    *capacity = more;
    return 0;
}

int port_add_lanes(port *p, peer_link *l)
{
    if ((l->tx && grow(&p->tx, p->tx_count, &p->tx_capacity) < 0) ||
        (l->rx && grow(&p->rx, p->rx_count, &p->rx_capacity) < 0))
        return -ENOMEM;
    if (l->tx) {
        l->tx->open = true;
        p->tx[p->tx_count++] = l->tx;
    }
    if (l->rx)
        p->rx[p->rx_count++] = l->rx;
    STORE(p->entry->peers, p->entry->peers + 1);
    return 0;
}

void port_remove_tx(port *p, lane_tx *tx)
{
    for (uint32_t i = 0; i < p->tx_count; i++) {
        if (p->tx[i] == tx) {
            memmove(&p->tx[i], &p->tx[i + 1], (p->tx_count - i - 1) * sizeof(lane_tx *));
            p->tx_count--;
            if (p->tx_turn > i)
                p->tx_turn--;
            if (p->tx_turn >= p->tx_count)
                p->tx_turn = 0;
            return;
        }
    }
}

void port_remove_rx(port *p, lane_rx *rx)
{
    for (uint32_t i = 0; i < p->rx_count; i++) {
        if (p->rx[i] == rx) {
            memmove(&p->rx[i], &p->rx[i + 1], (p->rx_count - i - 1) * sizeof(lane_rx *));
            p->rx_count--;
            if (p->rx_turn > i)
                p->rx_turn--;
            return;
        }
    }
}

/* ---- open and close ------------------------------------------------------------------------------------------------ */

static uint32_t power_of_two(uint64_t n)
{
    uint32_t p = 4;
    while (p < n)
        p *= 2;
    return p;
}

/* A closed port that nobody needs any more, or a new one. Ports are never freed before the engine: a message's close may
 * look at the port it came from at any time. */
static port *get_port(engine *e)
{
    for (port *p = e->ports; p; p = p->next)
        if (!p->is_open && p->links == 0)
            return p;
    port *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->engine = e;
    bias_init(&p->lock, e->private_membarrier);
    p->next = e->ports;
    e->ports = p;
    return p;
}

int port_open(void *state, const leat_port_info *info, void **ret_port)
{
    engine *e = state;
    int r = 0;
    pthread_mutex_lock(&e->mutex);
    port *p = get_port(e);
    layout_channel *entry = p ? engine_channel_entry(e) : NULL;
    int fd = entry ? epoll_create1(EPOLL_CLOEXEC) : -1;
    if (fd < 0) {
        r = !entry ? leat_fail(ENOMEM, "channel %s: no memory for its port (heap_size of [transport %s] is %llu)",
                               info->channel, e->kind->transport, (unsigned long long)e->seg.size)
                   : leat_fail(errno, "channel %s: epoll_create1: %s (RLIMIT_NOFILE?)", info->channel, strerror(errno));
        if (entry)
            __atomic_store_n(&entry->state, ENTRY_FREE, __ATOMIC_RELEASE);
        goto unlock;
    }
    port_lock(p);
    p->info = *info;
    snprintf(p->name, sizeof p->name, "%s", info->channel);
    p->epoll_fd = fd;
    p->slots = power_of_two((uint64_t)leat_setting_int(info->settings, "queue"));
    p->refs = p->slots < 1024 ? 1024 : p->slots;
    p->queue_bytes = leat_setting_given(info->settings, "queue_bytes")
                         ? (uint64_t)leat_setting_int(info->settings, "queue_bytes")
                         : e->seg.size / 8;
    p->redeliver = strcmp(leat_setting(info->settings, "at_death"), "redeliver") == 0;
    p->stamps = false;
    p->cached_max = e->seg.size / 4;
    p->parcels_end = &p->parcels;
    p->entry = entry;
    forget_need(p);
    p->tx_turn = p->rx_turn = 0;
    snprintf(entry->name, sizeof entry->name, "%s", info->channel);
    entry->address[0] = '\0';
    entry->pattern = (uint32_t)info->pattern;
    entry->binds = 0;
    __atomic_store_n(&entry->state, ENTRY_OPEN, __ATOMIC_RELEASE);
    p->is_open = true;
    port_unlock(p);
    *ret_port = p;
unlock:
    pthread_mutex_unlock(&e->mutex);
    return r;
}

/* What a dead receiver had not read waits for room at another one; this long, when the channel is closed. */
#define PARCEL_LINGER_MS 2000

static bool unread(const port *p, bool parcels_only)
{
    if (p->parcels && p->tx_count)
        return true;
    if (parcels_only)
        return false;
    for (uint32_t i = 0; i < p->tx_count; i++)
        if (p->tx[i]->open && __atomic_load_n(&p->tx[i]->peer->head, __ATOMIC_ACQUIRE) != p->tx[i]->tail)
            return true;
    return false;
}

/* Waits, without the program's lock, until the peers have read everything. Here nobody rings us: a slow look suffices. */
static void wait_until_read(port *p, bool parcels_only, int linger_ms)
{
    int64_t end = linger_ms < 0 ? INT64_MAX : leat_now_ns() + linger_ms * INT64_C(1000000);
    for (;;) {
        port_enter(p);
        if (p->parcels)
            port_flush_parcels(p);
        bool wait = unread(p, parcels_only);
        port_leave(p);
        if (!wait || leat_now_ns() >= end)
            return;
        usleep(1000);
    }
}

void port_close(void *handle, int linger_ms)
{
    port *p = handle;
    engine *e = p->engine;
    unsigned dropped = 0;
    if (linger_ms == LEAT_LINGER_DEFAULT)
        wait_until_read(p, true, PARCEL_LINGER_MS);
    else if (linger_ms != 0)
        wait_until_read(p, false, linger_ms);
    pthread_mutex_lock(&e->mutex);
    rendezvous_close(p);
    port_lock(p);
    p->is_open = false;
    while (p->parcels) {
        parcel *c = p->parcels;
        p->parcels = c->next;
        parcel_drop(p, c);
        dropped++;
    }
    if (dropped)
        leat_logf(LEAT_LOG_WARNING, "channel %s: closed with %u messages that no peer was left or had room for",
                  p->name, dropped);
    p->parcels_end = &p->parcels;
    message_empty_cache(p);
    p->tx_count = p->rx_count = 0;
    /* From now on closing a message takes the slow path: this thread may be gone tomorrow. */
    bias_disown(&p->lock);
    __atomic_store_n(&p->entry->state, p->links ? ENTRY_CLOSED : ENTRY_FREE, __ATOMIC_RELEASE);
    port_unlock(p);
    for (peer_link *l = e->links, *next; l; l = next) {
        next = l->next;
        if (l->port == p) {
            link_say_bye(l);
            link_settle(l);
        }
    }
    free(p->tx);
    free(p->rx);
    p->tx = NULL;
    p->rx = NULL;
    p->tx_capacity = p->rx_capacity = 0;
    close(p->epoll_fd);
    p->epoll_fd = -1;
    pthread_mutex_unlock(&e->mutex);
}

void port_stats(void *handle, leat_stats *stats)
{
    port *p = handle;
    port_enter(p);
    const layout_channel *c = p->entry;
    stats->messages_in += c->messages_in;
    stats->messages_out += c->messages_out;
    stats->bytes_in += c->bytes_in;
    stats->bytes_out += c->bytes_out;
    stats->dropped += c->dropped;
    stats->redelivered += c->redelivered;
    stats->held += c->held;
    for (uint32_t i = 0; i < p->tx_count; i++)
        stats->queued += p->tx[i]->sent - LOAD(p->tx[i]->peer->taken);
    for (const parcel *q = p->parcels; q; q = q->next)
        stats->queued++;
    port_leave(p);
}
