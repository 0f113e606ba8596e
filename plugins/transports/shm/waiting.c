/* SPDX-License-Identifier: MIT
 *
 * waiting.c - how a port sleeps and is woken. The core spins and sleeps; this says what is ready, raises and lowers the
 * flags that peers look at, and drains the bells.
 *
 * The sleeper pays for the ordering. It (1) stores its flag, (2) fences all processes with membarrier, (3) looks at its
 * lanes once more, (4) sleeps. A peer (a) publishes, (b) looks at the flag. If (b) comes before the fence, so does (a),
 * and (3) sees what was published; if it comes after, (b) sees the flag, and the peer rings. The bell is a socket: it
 * stays readable until it is drained, so a ring between (3) and (4) ends the sleep at once. A ring that comes late, after
 * the sleeper woke by itself, ends its next sleep early and is drained then.
 */
#include "engine.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void bell_ring(int fd)
{
    /* Full means that it is rung already; any other error, that the peer is gone, which its link tells. */
    if (send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static bool memory_changed(const port *p)
{
    if (atomic_load_explicit(&p->engine->heap.freed, memory_order_seq_cst) != p->need_memory_since)
        return true;
    for (uint32_t i = 0; i < p->tx_count; i++)
        if (__atomic_load_n(&p->tx[i]->peer->returned, __ATOMIC_ACQUIRE) != p->tx[i]->returned)
            return true;
    return false;
}

static bool can_send(port *p)
{
    if (p->parcels && !port_flush_parcels(p))
        return false;
    for (uint32_t i = 0; i < p->tx_count; i++)
        if (p->tx[i]->open && tx_has_room(p, p->tx[i], p->need_slots, p->need_refs, p->need_bytes))
            return true;
    return false;
}

unsigned port_ready(void *handle, unsigned events)
{
    port *p = handle;
    unsigned ready = 0;
    port_enter(p);
    if (events & LEAT_IN) {
        for (uint32_t i = 0; i < p->rx_count && !ready; i++)
            if (rx_ready(p->rx[i]) || p->rx[i]->closing)
                ready |= LEAT_IN;
    }
    if ((events & LEAT_OUT) && (p->need_memory ? memory_changed(p) : can_send(p)))
        ready |= LEAT_OUT;
    port_leave(p);
    return ready;
}

int port_fd(void *handle)
{
    return ((port *)handle)->epoll_fd;
}

/* A new odd number, and thereby a new sleep to ring for. */
static uint64_t next_odd(uint64_t n)
{
    return (n + 1) | 1;
}

/* One more or one fewer of this context's threads waits for memory. Each new waiter makes a new odd number, so that peers
 * ring anew; it stays odd as long as one waits. A ring too many is harmless. */
static void want_memory(engine *e, bool more)
{
    pthread_mutex_lock(&e->heap.mutex);
    uint32_t waiters = atomic_load_explicit(&e->memory_waiters, memory_order_relaxed) + (more ? 1 : (uint32_t)-1);
    atomic_store_explicit(&e->memory_waiters, waiters, memory_order_seq_cst); /* before the look at heap.freed */
    uint64_t number = LOAD(e->header->memory_wanted);
    if (more)
        STORE(e->header->memory_wanted, next_odd(number));
    else if (waiters == 0)
        STORE(e->header->memory_wanted, number + 1);
    pthread_mutex_unlock(&e->heap.mutex);
}

void port_raise(void *handle, unsigned events)
{
    port *p = handle;
    engine *e = p->engine;
    port_enter(p);
    p->raised = events;
    if (events & LEAT_IN)
        STORE(p->entry->asleep, next_odd(p->entry->asleep));
    if (events & LEAT_OUT) {
        for (uint32_t i = 0; i < p->tx_count; i++) {
            lane_tx *tx = p->tx[i];
            /* The least that helps: a receiver may have reasons of its own to take no more than that. */
            if (tx->tail + p->need_slots - tx->head > tx->mask + 1)
                STORE(tx->half->want_head, tx->tail + p->need_slots - (tx->mask + 1));
            STORE(tx->half->want_returned, tx->returned + 1);
        }
        if (p->need_memory && !p->waits_memory) {
            p->waits_memory = true;
            want_memory(e, true);
            link_wake(e); /* what came back to the other channels before this is gathered once more */
        }
    }
    port_leave(p);
}

void engine_fence(void *state)
{
    engine *e = state;
    /* Pairs with order_publish_then_look(). Without membarrier the senders fence, and so do we. */
    if (!e->global_membarrier || syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
        order_fence();
}

static void drain_bells(port *p)
{
    struct epoll_event events[16];
    int n;
    do {
        n = epoll_wait(p->epoll_fd, events, 16, 0);
        for (int i = 0; i < n; i++) {
            char bytes[256];
            ssize_t r = recv(events[i].data.fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
                epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, events[i].data.fd, NULL);
        }
    } while (n == 16);
}

void port_lower(void *handle)
{
    port *p = handle;
    engine *e = p->engine;
    port_enter(p);
    if (p->raised & LEAT_IN)
        STORE(p->entry->asleep, p->entry->asleep + 1);
    if (p->raised & LEAT_OUT) {
        for (uint32_t i = 0; i < p->tx_count; i++) {
            STORE(p->tx[i]->half->want_head, 0);
            STORE(p->tx[i]->half->want_returned, 0);
        }
    }
    if (p->waits_memory) {
        p->waits_memory = false;
        want_memory(e, false);
    }
    p->raised = 0;
    drain_bells(p);
    port_leave(p);
}

void engine_memory_came_back(engine *e)
{
    engine_gather_memory(e);
    for (port *p = e->ports; p; p = p->next) {
        if (!p->is_open)
            continue;
        port_lock(p);
        if (p->waits_memory && atomic_load_explicit(&e->heap.freed, memory_order_acquire) != p->need_memory_since)
            leat_hook_wake(p->info.hook);
        port_unlock(p);
    }
}
