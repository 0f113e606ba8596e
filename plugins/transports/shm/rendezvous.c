/* SPDX-License-Identifier: MIT
 *
 * rendezvous.c - how partners find each other: a binder listens on a socket in the session's directory, a connecter
 * connects to it, now or when the name appears. Runs under the engine's mutex. Knows names and sockets, no handshake.
 *
 * A socket is bound under a private name, listens, and is then renamed into place, so that whoever sees the name can
 * connect. The kernel tells of new names (inotify), so that waiting for a partner costs nothing.
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_PAUSE_NS 200000000

/* The session's directory may have any length; a socket's path may not. */
static void socket_path(const engine *e, const char *name, struct sockaddr_un *ret_path)
{
    memset(ret_path, 0, sizeof *ret_path);
    ret_path->sun_family = AF_UNIX;
    snprintf(ret_path->sun_path, sizeof ret_path->sun_path, "/proc/self/fd/%d/%.86s", leati_session_dirfd(e->session),
             name);
}

static void add_address(port *p, const char *address, bool binds)
{
    size_t length = strlen(p->entry->address);
    snprintf(p->entry->address + length, sizeof p->entry->address - length, "%s%s", length ? ", " : "", address);
    p->entry->binds = binds;
}

/* ---- binding ------------------------------------------------------------------------------------------------------ */

int rendezvous_bind(void *handle, const char *address)
{
    port *p = handle;
    engine *e = p->engine;
    char temporary[112];
    struct sockaddr_un path;
    int r = 0, dir = leati_session_dirfd(e->session);
    pthread_mutex_lock(&e->mutex);
    listener *l = calloc(1, sizeof *l);
    if (!l) {
        r = leat_fail(ENOMEM, "channel %s: no memory to bind %s", p->name, address);
        goto unlock;
    }
    *l = (listener){.watch.kind = WATCH_LISTENER, .port = p, .fd = -1, .retry_ns = INT64_MAX};
    r = leati_address_take(e->session, address, &l->address);
    if (r < 0)
        goto free_listener;
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0) {
        r = leat_fail(errno, "channel %s: socket: %s (RLIMIT_NOFILE?)", p->name, strerror(errno));
        goto release_address;
    }
    /* Whoever removes the socket of a dead binder removes this too. */
    snprintf(temporary, sizeof temporary, "%s" LEATI_ADDRESS_TEMPORARY, leati_address_socket(l->address));
    (void)unlinkat(dir, temporary, 0);
    socket_path(e, temporary, &path);
    if (bind(l->fd, (struct sockaddr *)&path, sizeof path) < 0 || listen(l->fd, 128) < 0 ||
        renameat(dir, temporary, dir, leati_address_socket(l->address)) < 0) {
        r = leat_fail(errno, "channel %s: cannot bind %s in %s: %s", p->name, address, leati_session_path(e->session),
                      strerror(errno));
        (void)unlinkat(dir, temporary, 0);
        goto close_socket;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, l->fd, &event) < 0) {
        r = leat_fail(errno, "channel %s: epoll_ctl: %s", p->name, strerror(errno));
        goto close_socket;
    }
    l->next = e->listeners;
    e->listeners = l;
    add_address(p, address, true);
    pthread_mutex_unlock(&e->mutex);
    return 0;
close_socket:
    close(l->fd);
release_address:
    leati_address_release(l->address);
free_listener:
    free(l);
unlock:
    pthread_mutex_unlock(&e->mutex);
    return r;
}

static void watch_listener(listener *l, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = l};
    (void)epoll_ctl(l->port->engine->epoll_fd, EPOLL_CTL_MOD, l->fd, &event);
}

void rendezvous_accept(listener *l)
{
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno == EAGAIN)
                return;
            leat_logf(LEAT_LOG_ERROR, "channel %s: a partner has to wait: accept: %s (RLIMIT_NOFILE?)", l->port->name,
                      strerror(errno));
            watch_listener(l, false); /* it stays readable, and would keep us busy */
            l->retry_ns = leat_now_ns() + ACCEPT_PAUSE_NS;
            return;
        }
        peer_link *made;
        (void)link_new(l->port->engine, l->port, fd, NULL, &made);
    }
}

/* ---- connecting --------------------------------------------------------------------------------------------------- */

int rendezvous_connect(void *handle, const char *address)
{
    port *p = handle;
    engine *e = p->engine;
    connector *c = calloc(1, sizeof *c);
    if (!c)
        return leat_fail(ENOMEM, "channel %s: no memory to connect %s", p->name, address);
    c->port = p;
    snprintf(c->address, sizeof c->address, "%s", address);
    int r = leati_address_socket_name(e->session, address, c->socket, sizeof c->socket);
    if (r < 0) {
        free(c);
        return r;
    }
    pthread_mutex_lock(&e->mutex);
    c->next = e->connectors;
    e->connectors = c;
    add_address(p, address, false);
    pthread_mutex_unlock(&e->mutex);
    link_wake(e); /* retry_ns is 0: due now */
    return 0;
}

/* Comes back after `ns`, or later if it fails again and again. */
static void pause_connector(connector *c, int64_t now_ns)
{
    c->pause_ns = c->pause_ns ? c->pause_ns * 2 : 1000000;
    if (c->pause_ns > 1000000000)
        c->pause_ns = 1000000000;
    c->retry_ns = now_ns + c->pause_ns;
}

static void try_connect(engine *e, connector *c, int64_t now_ns)
{
    struct sockaddr_un path;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        leat_logf(LEAT_LOG_ERROR, "channel %s: socket: %s (RLIMIT_NOFILE?)", c->port->name, strerror(errno));
        c->pause_ns = 500000000;
        pause_connector(c, now_ns);
        return;
    }
    socket_path(e, c->socket, &path);
    if (connect(fd, (struct sockaddr *)&path, sizeof path) == 0) {
        c->retry_ns = INT64_MAX;
        peer_link *made;
        int r = link_new(e, c->port, fd, c, &made);
        if (r == 0) {
            c->link = made;
        } else {
            bool gone = r == -ECONNRESET || r == -EPIPE; /* the binder died in between: the next one's name tells */
            leat_logf(gone ? LEAT_LOG_DEBUG : LEAT_LOG_ERROR, "channel %s: cannot link with %s: %s", c->port->name,
                      c->address, strerror(-r));
            c->pause_ns = gone ? 0 : 50000000;
            pause_connector(c, now_ns);
        }
        return;
    }
    int error = errno;
    close(fd);
    if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR)
        c->retry_ns = e->names_fd >= 0 ? INT64_MAX : now_ns + 50000000; /* the name's (re)appearance tells */
    else
        pause_connector(c, now_ns); /* the binder's backlog is full, most likely */
}

int64_t rendezvous_retry(engine *e, int64_t now_ns)
{
    int64_t next = INT64_MAX;
    for (listener *l = e->listeners; l; l = l->next) {
        if (l->retry_ns <= now_ns) {
            l->retry_ns = INT64_MAX;
            watch_listener(l, true);
        }
        if (l->retry_ns < next)
            next = l->retry_ns;
    }
    for (connector *c = e->connectors; c; c = c->next) {
        if (!c->link && c->retry_ns <= now_ns)
            try_connect(e, c, now_ns);
        if (!c->link && c->retry_ns < next)
            next = c->retry_ns;
    }
    return next;
}

void rendezvous_link_gone(peer_link *l)
{
    connector *c = l->connector;
    l->connector = NULL;
    if (!c)
        return;
    c->link = NULL;
    if (c->appeared) {
        c->appeared = c->refused = false;
        c->pause_ns = 0;
    }
    if (c->refused) /* for a mistake: not before the address is bound anew */
        c->retry_ns = INT64_MAX;
    else if (l->state == LINK_UP)
        c->retry_ns = leat_now_ns() + c->pause_ns;
    else
        pause_connector(c, leat_now_ns());
    link_wake(l->engine);
}

void rendezvous_names_changed(engine *e)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool appeared = false, closed = false;
    ssize_t size;
    while ((size = read(e->names_fd, buffer, sizeof buffer)) > 0) {
        const struct inotify_event *event;
        for (char *at = buffer; at < buffer + size; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(void *)at;
            if (event->mask & (IN_MOVED_TO | IN_CREATE | IN_Q_OVERFLOW))
                appeared = true;
            /* A file without a name of its own was closed: a peer file by its owner, who left or died. Others open it
             * under its name. */
            if ((event->mask & IN_Q_OVERFLOW) || (event->mask & IN_CLOSE_WRITE && event->len && event->name[0] == '#'))
                closed = true;
        }
    }
    if (appeared) {
        for (connector *c = e->connectors; c; c = c->next) {
            if (c->link) {
                c->appeared = true;
            } else {
                c->refused = false;
                c->retry_ns = 0;
            }
        }
    }
    if (closed) {
        /* The event comes just before the lock is dropped; the second look is for a file that was busy. */
        e->sweep_ns[0] = leat_now_ns() + 2000000;
        e->sweep_ns[1] = leat_now_ns() + 100000000;
    }
}

void rendezvous_close(port *p)
{
    engine *e = p->engine;
    for (listener **at = &e->listeners; *at;) {
        listener *l = *at;
        if (l->port != p) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        leati_address_release(l->address);
        close(l->fd);
        free(l);
    }
    for (connector **at = &e->connectors; *at;) {
        connector *c = *at;
        if (c->port != p) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        if (c->link)
            c->link->connector = NULL;
        free(c);
    }
}
