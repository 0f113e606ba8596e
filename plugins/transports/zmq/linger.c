/* SPDX-License-Identifier: MIT
 *
 * linger.c - closing a port without losing what was sent. Two steps: libzmq writes its queues to the connections; then,
 * on local sockets, the receivers read the kernel's buffers.
 *
 * The second step is ours. libzmq closes a local socket as soon as it has written everything; a receiver whose queue is
 * full at that moment sees the hang-up, and drops what it has not read. So we hold a duplicate of each local
 * connection, which keeps it open, until the kernel says that nothing is unread. (TCP delivers what was written before
 * its end.) The duplicate also lets us cut a connection that libzmq would leave open and mute.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parts.h"

#define MS INT64_C(1000000)
#define LINGER_DEFAULT_MS 30000

void linger_hold(const port *p, conn *c)
{
    int domain = 0;
    socklen_t size = sizeof(domain);

    if (!p->sends || getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return;
    if (domain == AF_UNIX || p->pattern == LEAT_PAIR)
        c->duplicate = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

/* Whether the other end has read all, or is gone. */
static bool is_read(const conn *c)
{
    struct pollfd fd = {.fd = c->duplicate, .events = 0};
    int unread = 0;

    if (c->duplicate < 0 || c->refused || ioctl(c->duplicate, SIOCOUTQ, &unread) < 0 || unread == 0)
        return true;
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}

bool linger_look(port *p)
{
    bool late = leat_now_ns() >= p->deadline_ns;
    state *s = p->state;
    conn *c, *next;

    for (c = LIST_FIRST(&p->conns); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (!is_read(c)) {
            if (!late)
                continue;
            leat_logf(
                LEAT_LOG_WARNING,
                "channel %s: closed, and a receiver has not read all that was sent; `linger` says how long to wait",
                p->channel);
        }
        conn_free(p, c);
    }
    if (!LIST_EMPTY(&p->conns))
        return false;
    LIST_REMOVE(p, entry);
    port_free(p);
    pthread_cond_broadcast(&s->changed);
    return true;
}

void linger_close(port *p, int linger_ms)
{
    if (linger_ms == LEAT_LINGER_DEFAULT)
        linger_ms = LINGER_DEFAULT_MS;
    p->deadline_ns = linger_ms < 0 ? INT64_MAX : leat_now_ns() + linger_ms * MS;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    /* Its monitor lives until libzmq is through with it, which it is within the time. No zmq_unbind() before: that drops
     * what the listener's connections have not written. */
    zmq_close(p->socket);
}

void linger_start(port *p)
{
    state *s = p->state;

    pthread_mutex_lock(&s->lock);
    LIST_REMOVE(p, entry);
    LIST_INSERT_HEAD(&s->lingering, p, entry);
    pthread_mutex_unlock(&s->lock);
    watch_wake(s);
}

void linger_finish(state *s)
{
    pthread_mutex_lock(&s->lock);
    while (!LIST_EMPTY(&s->lingering))
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}
