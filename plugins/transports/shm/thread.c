/* SPDX-License-Identifier: MIT
 *
 * thread.c - the link thread: one quiet thread per context that sleeps until a socket, a name or somebody's wish wakes it,
 * and then does what links need. It works under the engine's mutex; it knows what to call, not what it means.
 */
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

void link_wake(engine *e)
{
    uint64_t one = 1;
    /* Fails only when it is awake already. */
    if (write(e->wake_fd, &one, sizeof one) < 0)
        return;
}

/* What the wish may be: messages closed elsewhere, a lane drained, the last block returned, memory freed. */
static void look_around(engine *e)
{
    uint64_t count;
    if (read(e->wake_fd, &count, sizeof count) < 0)
        return;
    for (port *p = e->ports; p; p = p->next) {
        if (atomic_load_explicit(&p->elsewhere, memory_order_relaxed)) {
            port_lock(p);
            message_flush_elsewhere(p);
            port_unlock(p);
        }
    }
    for (peer_link *l = e->links, *next; l; l = next) {
        next = l->next;
        if (l->got_bye || l->ended || !l->port->is_open || (l->tx && l->tx->broken) || (l->rx && l->rx->broken))
            link_settle(l);
    }
    if (atomic_load_explicit(&e->memory_waiters, memory_order_relaxed))
        engine_memory_came_back(e);
}

/* Parcels that found no room are sent as soon as there is some, also while the program is elsewhere. */
static bool flush_parcels(engine *e)
{
    bool left = false;
    for (port *p = e->ports; p; p = p->next) {
        if (!p->is_open || !leat_pattern_sends(p->info.pattern))
            continue;
        port_lock(p);
        if (!port_flush_parcels(p) && p->tx_count)
            left = true;
        port_unlock(p);
    }
    return left;
}

static int64_t sweep(engine *e, int64_t now_ns)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        if (e->sweep_ns[i] <= now_ns) {
            e->sweep_ns[i] = INT64_MAX;
            leati_session_sweep(e->session);
        }
        if (e->sweep_ns[i] < next)
            next = e->sweep_ns[i];
    }
    return next;
}

/* A link may be freed while its next event lies in the same batch: links are looked up before they are touched. */
static bool link_exists(const engine *e, const watch *w)
{
    for (const peer_link *l = e->links; l; l = l->next)
        if (&l->watch == w)
            return true;
    return false;
}

static bool listener_exists(const engine *e, const watch *w)
{
    for (const listener *l = e->listeners; l; l = l->next)
        if (&l->watch == w)
            return true;
    return false;
}

static void handle(engine *e, watch *w)
{
    if (w == &e->wake_watch)
        look_around(e);
    else if (w == &e->names_watch)
        rendezvous_names_changed(e);
    else if (link_exists(e, w))
        link_readable((peer_link *)w);
    else if (listener_exists(e, w))
        rendezvous_accept((listener *)w);
}

static void *run(void *user)
{
    engine *e = user;
    struct epoll_event events[32];
    int64_t parcel_pause_ms = 1;
    pthread_mutex_lock(&e->mutex);
    while (!e->stop) {
        int64_t now = leat_now_ns();
        int64_t next = rendezvous_retry(e, now), due = sweep(e, now);
        if (due < next)
            next = due;
        int64_t timeout = next == INT64_MAX ? -1 : next <= now ? 0 : (next - now + 999999) / 1000000;
        if (flush_parcels(e)) {
            if (timeout < 0 || timeout > parcel_pause_ms)
                timeout = parcel_pause_ms;
            parcel_pause_ms = parcel_pause_ms < 50 ? parcel_pause_ms * 2 : 50;
        } else {
            parcel_pause_ms = 1;
        }
        pthread_mutex_unlock(&e->mutex);
        int n = epoll_wait(e->epoll_fd, events, 32, (int)timeout);
        pthread_mutex_lock(&e->mutex);
        for (int i = 0; i < n; i++)
            handle(e, events[i].data.ptr);
    }
    pthread_mutex_unlock(&e->mutex);
    return NULL;
}

int thread_start(engine *e)
{
    int r;
    e->wake_watch.kind = WATCH_WAKE;
    e->names_watch.kind = WATCH_NAMES;
    e->names_fd = -1;
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &e->wake_watch};
    if (e->epoll_fd < 0 || e->wake_fd < 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &event) < 0) {
        r = leat_fail(errno, "%s: no descriptors for the link thread: %s (RLIMIT_NOFILE?)", e->kind->transport,
                      strerror(errno));
        goto close_all;
    }
    e->names_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (e->names_fd >= 0) {
        event.data.ptr = &e->names_watch;
        if (inotify_add_watch(e->names_fd, leati_session_path(e->session), IN_MOVED_TO | IN_CLOSE_WRITE) < 0 ||
            epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->names_fd, &event) < 0) {
            close(e->names_fd);
            e->names_fd = -1;
        }
    }
    if (e->names_fd < 0)
        leat_logf(LEAT_LOG_NOTICE, "no inotify here (%s); partners are looked for every 50 ms", strerror(errno));
    /* Signals are the program's. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&e->thread, NULL, run, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        r = leat_fail(r, "%s: no link thread: %s", e->kind->transport, strerror(r));
        goto close_all;
    }
    pthread_setname_np(e->thread, "leat-link");
    return 0;
close_all:
    if (e->names_fd >= 0)
        close(e->names_fd);
    if (e->wake_fd >= 0)
        close(e->wake_fd);
    if (e->epoll_fd >= 0)
        close(e->epoll_fd);
    return r;
}

void thread_stop(engine *e)
{
    pthread_mutex_lock(&e->mutex);
    e->stop = true;
    pthread_mutex_unlock(&e->mutex);
    link_wake(e);
    pthread_join(e->thread, NULL);
}
