/* SPDX-License-Identifier: MIT
 *
 * linger.c - closing a port without losing what was sent. Three steps: libzmq writes its queues to the connections;
 * on local sockets the receivers then read the kernel's buffers; and both sides see that the connection has ended.
 *
 * The last two are ours. libzmq closes a local socket as soon as it has written everything; a receiver whose queue is
 * full at that moment sees the hang-up, and drops what it has not read. A sender, in turn, may write to a receiver
 * that has left before it hears of that. So we hold a duplicate of each local connection, which keeps it open until
 * the kernel says that nothing is unread; then we end our direction only, which the other side reads in its turn, and
 * wait for its hang-up. (TCP delivers what was written before its end.)
 *
 * This goes on in the watcher after the port was closed, so that a program that has both ends can close one after the
 * other; leaving the transport waits for it.
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

#define LINGER_DEFAULT_MS 30000
#define SENDER_PARTS_MS 2000  /* for a receiver that has all in its memory to come to the end */
#define RECEIVER_PARTS_MS 200 /* for a sender to notice */
#define CLOSE_MS 200          /* of all that, how long closing itself waits */

void linger_hold(conn *c)
{
    int domain = 0;
    socklen_t size = sizeof(domain);

    if (getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return;
    if (domain == AF_UNIX)
        c->duplicate = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

/* Whether the other end is gone. */
static bool is_gone(const conn *c)
{
    struct pollfd fd = {.fd = c->duplicate, .events = 0};

    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}

static bool is_unread(const conn *c)
{
    int unread = 0;

    return ioctl(c->duplicate, SIOCOUTQ, &unread) == 0 && unread > 0;
}

/* Whether the connection needs nothing more from us. */
static bool is_through(const port *p, conn *c, int64_t now)
{
    if (c->duplicate < 0 || is_gone(c))
        return true;
    if (c->part_by_ns == 0) {
        if (p->sends && is_unread(c) && now < p->deadline_ns)
            return false;
        if (p->sends && is_unread(c)) {
            leat_logf(
                LEAT_LOG_WARNING,
                "channel %s: closed, and a receiver has not read all that was sent; `linger` says how long to wait",
                p->channel);
            return true;
        }
        shutdown(c->duplicate, SHUT_WR);
        c->part_by_ns = now + (p->sends ? SENDER_PARTS_MS : RECEIVER_PARTS_MS) * MS;
    }
    return now >= c->part_by_ns || now >= p->deadline_ns;
}

bool linger_look(port *p)
{
    int64_t now = leat_now_ns();
    state *s = p->state;
    conn *c, *next;

    for (c = LIST_FIRST(&p->conns); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (is_through(p, c, now))
            conn_free(p, c);
    }
    if (!LIST_EMPTY(&p->conns))
        return false;
    LIST_REMOVE(p, entry);
    port_free(p);
    pthread_cond_broadcast(&s->changed);
    return true;
}

static bool has_connection(port *p)
{
    bool found = false;
    conn *c;

    pthread_mutex_lock(&p->state->lock);
    LIST_FOREACH (c, &p->conns, entry) {
        found |= !c->listens;
    }
    pthread_mutex_unlock(&p->state->lock);
    return found;
}

void linger_close(port *p, int linger_ms)
{
    if (linger_ms == LEAT_LINGER_DEFAULT)
        linger_ms = LINGER_DEFAULT_MS;
    if (!has_connection(p))
        linger_ms = 0; /* nobody is there to wait for */
    p->deadline_ns = linger_ms < 0 ? INT64_MAX : leat_now_ns() + linger_ms * MS;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    /* Its monitor lives until libzmq is through with it, which it is within the time. No zmq_unbind() before: that
     * drops what the listener's connections have not written. */
    zmq_close(p->socket);
}

static bool is_lingering(const state *s, const port *p)
{
    const port *other;

    LIST_FOREACH (other, &s->lingering, entry) {
        if (other == p)
            return true;
    }
    return false;
}

void linger_start(port *p)
{
    struct timespec deadline;
    state *s = p->state;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_nsec += CLOSE_MS * MS;
    deadline.tv_sec += deadline.tv_nsec / (1000 * MS);
    deadline.tv_nsec %= 1000 * MS;
    pthread_mutex_lock(&s->lock);
    LIST_REMOVE(p, entry);
    LIST_INSERT_HEAD(&s->lingering, p, entry);
    watch_wake(s);
    /* Partners that are not stopped have heard of it by then: what they send goes to others. */
    while (is_lingering(s, p) && pthread_cond_timedwait(&s->changed, &s->lock, &deadline) == 0)
        continue;
    pthread_mutex_unlock(&s->lock);
}

void linger_finish(state *s)
{
    pthread_mutex_lock(&s->lock);
    while (!LIST_EMPTY(&s->lingering))
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}
