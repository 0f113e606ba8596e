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
#define LOOK_MS 2 /* between two looks at the kernel's buffers: it does not tell when they are read */

void linger_hold(const port *p, conn *c)
{
    int domain = 0;
    socklen_t size = sizeof(domain);

    if (!p->sends || getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return;
    if (domain == AF_UNIX || p->pattern == LEAT_PAIR)
        c->duplicate = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

static int left_ms(int64_t deadline_ns)
{
    int64_t left = deadline_ns - leat_now_ns();

    return deadline_ns == INT64_MAX ? 1000 : left <= 0 ? 0 : left > 1000 * MS ? 1000 : (int)(left / MS) + 1;
}

/* Waits until libzmq is through with the closed socket: its monitor ends then. libzmq keeps the time itself. */
static void await_end(port *p)
{
    bool ended = false;

    while (!ended) {
        zmq_msg_t msg;
        struct pollfd fd = {.fd = p->monitor_fd, .events = POLLIN};
        unsigned char head[6] = {0};
        bool more;

        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, p->monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&msg);
            if (errno == EAGAIN || errno == EINTR)
                poll(&fd, 1, 100);
            else
                ended = true;
            continue;
        }
        if (zmq_msg_size(&msg) >= sizeof(head))
            memcpy(head, zmq_msg_data(&msg), sizeof(head));
        more = zmq_msg_more(&msg);
        zmq_msg_close(&msg);
        while (more) {
            zmq_msg_init(&msg);
            more = zmq_msg_recv(&msg, p->monitor, 0) >= 0 && zmq_msg_more(&msg);
            zmq_msg_close(&msg);
        }
        uint16_t event;
        uint32_t value;
        memcpy(&event, head, sizeof(event));
        memcpy(&value, head + sizeof(event), sizeof(value));
        ended = event == ZMQ_EVENT_MONITOR_STOPPED;
        if (event == ZMQ_EVENT_DISCONNECTED) {
            conn *c = conn_find(p, (int)value);

            if (c != NULL)
                conn_free(p, c);
        }
    }
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

static void await_readers(port *p, int64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * MS};
    bool said = false;
    conn *c, *next;

    for (;;) {
        bool late = left_ms(deadline_ns) == 0;

        for (c = LIST_FIRST(&p->conns); c != NULL; c = next) {
            next = LIST_NEXT(c, entry);
            if (!late && !is_read(c))
                continue;
            if (!is_read(c) && !said) {
                leat_logf(LEAT_LOG_WARNING,
                          "channel %s: closed while a receiver has not read all; `linger` says how long to "
                          "wait",
                          p->channel);
                said = true;
            }
            conn_free(p, c);
        }
        if (LIST_EMPTY(&p->conns))
            return;
        nanosleep(&pause, NULL);
    }
}

void linger_close(port *p, int linger_ms)
{
    int64_t deadline_ns;

    if (linger_ms == LEAT_LINGER_DEFAULT)
        linger_ms = LINGER_DEFAULT_MS;
    deadline_ns = linger_ms < 0 ? INT64_MAX : leat_now_ns() + linger_ms * MS;
    zmq_setsockopt(p->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zmq_close(p->socket);
    await_end(p);
    zmq_close(p->monitor);
    await_readers(p, deadline_ns);
}
