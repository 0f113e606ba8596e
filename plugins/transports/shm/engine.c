/* SPDX-License-Identifier: MIT
 *
 * engine.c - one context's part in a session: its segment, its heap, its link thread; joining and leaving. What kind of
 * memory the segment is, only the segment_kind knows.
 *
 * Leaving. Peers may still read what we sent, and the program may still have messages open. So there are two steps: leave()
 * settles our names on the machine and the sockets, destroy() frees the memory once no message refers to it.
 */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long leaving waits for the locks of peers that are dying. */
#define REAP_DYING_NS 500000000

const leat_key engine_keys[] = {
    {.name = "heap_size",
     .type = LEAT_KEY_SIZE,
     .def = "1G",
     .unit = "bytes",
     .min = 1 << 20,
     .max = INT64_C(1) << 44,
     .help = "How much memory one program's messages, lanes and queues may take; it is taken as it is needed."},
    {0},
};

/* ---- the segment's own entries -------------------------------------------------------------------------------------- */

void engine_gather_memory(engine *e)
{
    for (port *p = e->ports; p; p = p->next) {
        if (!p->is_open)
            continue;
        port_lock(p);
        for (uint32_t i = 0; i < p->tx_count; i++)
            tx_take_returns(p, p->tx[i]);
        message_empty_cache(p);
        port_unlock(p);
    }
}

int engine_alloc_range(engine *e, uint64_t size, block **ret_range)
{
    int r = heap_alloc(&e->heap, size, LAYOUT_LINE, ret_range);
    if (r == -EAGAIN) {
        engine_gather_memory(e);
        r = heap_alloc(&e->heap, size, LAYOUT_LINE, ret_range);
    }
    if (r == -EAGAIN)
        return leat_fail(ENOSPC, "%s: no %llu bytes for another lane in the segment; [transport %s] heap_size is %llu",
                         e->kind->transport, (unsigned long long)size, e->kind->transport,
                         (unsigned long long)e->seg.size);
    if (r == 0)
        heap_own(&e->heap, *ret_range);
    return r;
}

/* Entries are chained newest first, never unchained, and used again: a reader that is late reads another entry of the same
 * type, never something else. */
layout_channel *engine_channel_entry(engine *e)
{
    block *range;
    for (uint64_t at = e->header->channels; at; at = ((layout_channel *)engine_at(e, at))->next) {
        layout_channel *entry = engine_at(e, at);
        if (entry->state == ENTRY_FREE) {
            memset(entry->name, 0, offsetof(layout_channel, asleep) - offsetof(layout_channel, name));
            return entry;
        }
    }
    if (engine_alloc_range(e, sizeof(layout_channel), &range) < 0)
        return NULL;
    layout_channel *entry = engine_at(e, range->offset);
    memset(entry, 0, sizeof *entry);
    entry->next = e->header->channels;
    __atomic_store_n(&e->header->channels, range->offset, __ATOMIC_RELEASE);
    return entry;
}

layout_lane *engine_lane_entry(engine *e)
{
    block *range;
    for (uint64_t at = e->header->lanes; at; at = ((layout_lane *)engine_at(e, at))->next) {
        layout_lane *entry = engine_at(e, at);
        if (entry->state == ENTRY_FREE) {
            entry->state = ENTRY_CLOSED;
            return entry;
        }
    }
    if (engine_alloc_range(e, sizeof(layout_lane), &range) < 0)
        return NULL;
    layout_lane *entry = engine_at(e, range->offset);
    memset(entry, 0, sizeof *entry);
    entry->state = ENTRY_CLOSED;
    entry->next = e->header->lanes;
    __atomic_store_n(&e->header->lanes, range->offset, __ATOMIC_RELEASE);
    return entry;
}

/* ---- joining -------------------------------------------------------------------------------------------------------- */

static void fill_header(engine *e, const leat_attach_info *info)
{
    layout_header *h = e->header;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    h->layout = layout_hash();
    h->heap_size = e->seg.size;
    h->started_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    h->pid = getpid();
    h->uid = geteuid();
    snprintf(h->boot_id, sizeof h->boot_id, "%s", leati_boot_id());
    snprintf(h->shmid, sizeof h->shmid, "%s", leati_session_shmid(e->session));
    snprintf(h->transport, sizeof h->transport, "%s", e->kind->transport);
    snprintf(h->program, sizeof h->program, "%s", info->program);
    snprintf(h->session, sizeof h->session, "%s", leati_session_name(e->session));
    snprintf(h->peer_file, sizeof h->peer_file, "%s", leati_session_peer(e->session));
    /* Pairs with the acquire in check_partner() and inspect: whoever sees the magic sees the header. */
    __atomic_store_n(&h->magic, LAYOUT_MAGIC, __ATOMIC_RELEASE);
}

int engine_attach(const segment_kind *kind, const leat_attach_info *info, void **ret_state)
{
    uint64_t bytes;
    engine *e = calloc(1, sizeof *e);
    if (!e)
        return leat_fail(ENOMEM, "%s: no memory to join session %s", kind->transport, info->session);
    e->kind = kind;
    e->sweep_ns[0] = e->sweep_ns[1] = INT64_MAX;
    snprintf(e->program, sizeof e->program, "%s", info->program);
    bias_setup(&e->private_membarrier, &e->global_membarrier);
    pthread_mutex_init(&e->mutex, NULL);
    int r = leati_session_open(info, kind->transport, &kind->remains, &e->session);
    if (r < 0)
        goto free_engine;
    e->seg.fd = -1;
    e->seg.size =
        ((uint64_t)leat_setting_int(info->settings, "heap_size") + LAYOUT_PAGE - 1) & ~(uint64_t)(LAYOUT_PAGE - 1);
    r = kind->create(&e->seg, e->session, info->settings);
    if (r < 0)
        goto close_session;
    e->header = (layout_header *)(void *)e->seg.base;
    r = heap_init(&e->heap, &e->seg, kind, e->header);
    if (r < 0) {
        r = leat_fail(ENOMEM, "%s: no memory for the heap's books", kind->transport);
        goto destroy_segment;
    }
    fill_header(e, info);
    r = thread_start(e);
    if (r < 0)
        goto fini_heap;
    *ret_state = e;
    return 0;
fini_heap:
    heap_fini(&e->heap);
destroy_segment:
    (void)kind->remains.remove(leati_session_root(e->session), e->seg.name, &bytes);
    kind->destroy(&e->seg);
close_session:
    leati_session_close(e->session);
free_engine:
    pthread_mutex_destroy(&e->mutex);
    free(e);
    return r;
}

/* ---- leaving -------------------------------------------------------------------------------------------------------- */

/* Whether the peer of a link is at the other end of its socket still; what it said last does not matter any more. */
static bool peer_is_there(const peer_link *l)
{
    char packet[1024];
    ssize_t r;
    do
        r = l->fd < 0 ? 0 : recv(l->fd, packet, sizeof packet, MSG_DONTWAIT);
    while (r > 0 || (r < 0 && (errno == EINTR || errno == ECONNRESET)));
    return r < 0;
}

static void forget_link(engine *e, peer_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->bell >= 0)
        close(l->bell);
    if (l->tx) {
        free(l->tx->blocks);
        free(l->tx->free_refs);
        free(l->tx);
    }
    if (l->rx) {
        free(l->rx->handles);
        free(l->rx);
    }
    if (l->peer_base)
        e->kind->unmap(l->peer_base, l->peer_size);
    free(l);
}

/* Hears what peers said since the link thread ended, first of all that they leave too. */
static void hear_last_words(engine *e)
{
    for (peer_link *l = e->links, *next; l; l = next) {
        next = l->next;
        if (l->fd >= 0)
            link_readable(l);
    }
}

/* A dying process's sockets may end a moment before its lock: nobody else may come after us, so wait for that moment. */
static void reap_dying(engine *e)
{
    int64_t until = leat_now_ns() + REAP_DYING_NS;
    for (unsigned i = 0; i < e->dying_count && i < 8; i++)
        while (leati_session_reap(e->session, e->dying[i]) == -EBUSY && leat_now_ns() < until)
            usleep(500);
}

/* Leaves the session: settles what becomes of our names. The order matters, so that of two that leave at once the later
 * one clears up after both: the lock is dropped, our ends of the sockets are shut, then it is looked whether the others are gone. If
 * our lock was still held when a peer looked, the peer's end was shut before we look at it. */
static void leave(engine *e)
{
    const char *own_file = leati_session_peer(e->session);
    bool keep = false, awaited = false;
    uint64_t bytes;
    hear_last_words(e);
    for (const peer_link *l = e->links; l; l = l->next)
        if (l->state == LINK_UP && l->tx && !l->ended && !l->got_bye && strcmp(l->peer_file, own_file) != 0 &&
            !tx_finished(l->tx))
            keep = true;
    if (keep)
        leati_session_leave(e->session);
    else
        (void)e->kind->remains.remove(leati_session_root(e->session), e->seg.name, &bytes);
    for (const peer_link *l = e->links; l; l = l->next)
        if (l->fd >= 0 && !(l->rx && l->rx->held))
            shutdown(l->fd, SHUT_WR); /* our end, as the peer sees it */
    for (peer_link **at = &e->links; *at;) {
        peer_link *l = *at;
        if (strcmp(l->peer_file, own_file) != 0 && peer_is_there(l))
            awaited = true; /* it sees our end, reads what it will, and then reaps what we left */
        if (l->rx && l->rx->held) {
            at = &l->next; /* the program has messages of this peer: its socket says so until they are closed */
            continue;
        }
        *at = l->next;
        forget_link(e, l);
    }
    /* Clears up after peers that are gone, and after ourselves if nobody else will. */
    if (!keep || !awaited)
        leati_session_sweep(e->session);
    reap_dying(e);
    leati_session_close(e->session);
    e->session = NULL;
}

/* Nothing of the program refers to this engine any more. */
static void destroy(engine *e)
{
    while (e->links) {
        peer_link *l = e->links;
        e->links = l->next;
        forget_link(e, l);
    }
    while (e->ports) {
        port *p = e->ports;
        e->ports = p->next;
        bias_fini(&p->lock);
        free(p);
    }
    heap_fini(&e->heap);
    e->kind->destroy(&e->seg);
    close(e->wake_fd);
    close(e->epoll_fd);
    if (e->names_fd >= 0)
        close(e->names_fd);
    pthread_mutex_destroy(&e->mutex);
    free(e);
}

/* Engines whose context is gone and whose messages are not: the core tells them of no fork any more. */
static pthread_mutex_t detached_mutex = PTHREAD_MUTEX_INITIALIZER;
static engine *detached_engines;

static void detached_forked(void)
{
    for (engine *e = detached_engines; e; e = e->next_detached)
        engine_forked(e);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, detached_forked);
}

static void remember_detached(engine *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&detached_mutex);
    e->next_detached = detached_engines;
    detached_engines = e;
    pthread_mutex_unlock(&detached_mutex);
}

static void forget_detached(engine *e)
{
    pthread_mutex_lock(&detached_mutex);
    for (engine **at = &detached_engines; *at; at = &(*at)->next_detached) {
        if (*at == e) {
            *at = e->next_detached;
            break;
        }
    }
    pthread_mutex_unlock(&detached_mutex);
}

void engine_unlock_and_collect(engine *e)
{
    bool done = e->detached;
    int64_t handles = atomic_load_explicit(&e->handles, memory_order_relaxed);
    for (const port *p = e->ports; p && done; p = p->next)
        handles += p->handles;
    for (const peer_link *l = e->links; l && done; l = l->next)
        if (l->rx && l->rx->held)
            done = false;
    done = done && handles == 0;
    pthread_mutex_unlock(&e->mutex);
    if (done) {
        forget_detached(e);
        destroy(e);
    }
}

void engine_detach(void *state)
{
    engine *e = state;
    thread_stop(e);
    pthread_mutex_lock(&e->mutex);
    for (port *p = e->ports; p; p = p->next) {
        port_lock(p);
        message_flush_elsewhere(p);
        port_unlock(p);
    }
    leave(e);
    e->detached = true;
    remember_detached(e);
    engine_unlock_and_collect(e);
}

void engine_forked(void *state)
{
    engine *e = state;
    e->forked = true;
    if (e->session)
        leati_session_forked(e->session);
    e->kind->forked(&e->seg);
    /* Links, bells and listeners: a peer must see our end even if this child lives on. The lists may be half changed by a
     * thread that does not exist here, but each store to them left them whole. */
    for (const peer_link *l = e->links; l; l = l->next) {
        if (l->fd >= 0)
            close(l->fd);
        if (l->bell >= 0)
            close(l->bell);
    }
    for (const listener *l = e->listeners; l; l = l->next)
        close(l->fd);
    close(e->epoll_fd);
    close(e->wake_fd);
    if (e->names_fd >= 0)
        close(e->names_fd);
    for (port *p = e->ports; p; p = p->next) {
        if (p->epoll_fd >= 0)
            close(p->epoll_fd);
        bias_disown(&p->lock); /* closing a message takes the slow path */
    }
}
