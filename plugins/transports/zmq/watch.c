/* SPDX-License-Identifier: MIT
 *
 * watch.c - the thread that reads the monitors of a context's sockets and tells the core who came, who left and who
 * was refused. ZeroMQ does not say who a message is from, nor whether a peer that is gone left or died; all there is
 * are connections. Touches no data socket.
 *
 * Order at the end: libzmq tells of a disconnection when it has read the connection to its end; what it read is in
 * the socket's queue then, except when the end was found while the queue was full: the last messages then follow
 * within microseconds. So a peer has departed GRACE_MS after its disconnection, and has left once a receive that
 * began after that finds nothing.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parts.h"

#define MS INT64_C(1000000)
#define GRACE_MS 20
#define MEND_REFUSED_MS 500 /* until a connection that was refused is tried again */
#define MEND_SILENT_MS 2000 /* until one that libzmq does not seem to retry is */
#define TURNED_AWAY 3       /* times in a row, to be taken for a refusal */
#define FORGIVE_MS 2500     /* until a refusal that did not come again is taken back */

/* ---- what a forked child closes -------------------------------------------------------------------------------------
 */

void state_enter_fd(state *s, int fd)
{
    struct stat st;
    int i, expected;

    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    for (i = 0; i < FORK_FDS; i++) {
        expected = -1;
        if (atomic_load(&s->fds[i].fd) != -1)
            continue;
        atomic_store(&s->fds[i].inode, st.st_ino);
        if (atomic_compare_exchange_strong(&s->fds[i].fd, &expected, fd))
            return;
    }
}

void state_strike_fd(state *s, int fd)
{
    int i, expected;

    for (i = 0; i < FORK_FDS; i++) {
        expected = fd;
        if (atomic_compare_exchange_strong(&s->fds[i].fd, &expected, -1))
            return;
    }
}

/* ---- peers ----------------------------------------------------------------------------------------------------------
 */

static conn *conn_find(port *p, int fd)
{
    conn *c;

    LIST_FOREACH(c, &p->conns, entry)
    {
        if (c->fd == fd)
            return c;
    }
    return NULL;
}

void conn_free(port *p, conn *c)
{
    state_strike_fd(p->state, c->fd);
    if (c->duplicate >= 0) {
        state_strike_fd(p->state, c->duplicate);
        close(c->duplicate);
    }
    LIST_REMOVE(c, entry);
    free(c);
}

static conn *conn_new(port *p, int fd)
{
    conn *c = conn_find(p, fd);

    if (c != NULL)
        conn_free(p, c);
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL; /* uncounted */
    c->fd = fd;
    c->duplicate = -1;
    LIST_INSERT_HEAD(&p->conns, c, entry);
    state_enter_fd(p->state, fd);
    return c;
}

static void connected(port *p, int fd)
{
    conn *c = conn_new(p, fd);

    if (c == NULL)
        return;
    linger_hold(p, c);
    if (c->duplicate >= 0)
        state_enter_fd(p->state, c->duplicate);
}

static void listening(port *p, int fd)
{
    conn *c = conn_new(p, fd);

    if (c != NULL)
        c->listens = c->linked = true;
}

/* A listener (or an attempt to connect) has closed its socket. */
static void closed(port *p, int fd)
{
    conn *c = conn_find(p, fd);

    if (c == NULL || !c->listens)
        return;
    conn_free(p, c);
    pthread_cond_broadcast(&p->state->changed);
}

static void peer_left(port *p, int64_t now)
{
    leati_session *session = p->state->session;

    if (session != NULL)
        leati_session_sweep(session); /* if it was killed, its peer file and its addresses go now */
    if (p->closing)
        return;
    if (p->receives) {
        p->leaving++;
        p->leave_at_ns = now + GRACE_MS * MS;
        return;
    }
    p->peers--;
    leat_hook_left(p->hook, false);
}

/* The monitor says that a handshake succeeded, but not whose. Once as many succeeded as there are open ones, all did.
 */
static void settle_handshakes(port *p)
{
    int open = 0;
    conn *c;

    LIST_FOREACH(c, &p->conns, entry)
    {
        open += !c->linked;
    }
    if (p->successes < open)
        return;
    p->successes = 0;
    LIST_FOREACH(c, &p->conns, entry)
    {
        c->linked = true;
    }
}

static void handshake_succeeded(port *p)
{
    conn *c, *fresh = NULL;
    int open = 0;

    LIST_FOREACH(c, &p->conns, entry)
    {
        if (!c->linked) {
            fresh = c;
            open++;
        }
    }
    if (open == 0)
        return; /* not noticed for want of memory */
    if (p->closing) {
        p->successes++;
        settle_handshakes(p);
        return;
    }
    /* libzmq gives a PAIR's second connection no queue and leaves it open, for ever mute, even when the first has gone
     * or is only being read to its end. Cut it: its owner connects again until there is room. */
    if (p->pattern == LEAT_PAIR && p->peers > 0 && open == 1 && fresh->duplicate >= 0) {
        fresh->linked = fresh->refused = true;
        shutdown(fresh->duplicate, SHUT_RDWR);
        leat_logf(LEAT_LOG_DEBUG, "channel %s: a pair has one peer; another one was sent away", p->channel);
        return;
    }
    p->successes++;
    settle_handshakes(p);
    p->peers++;
    p->forgive_at_ns = 0;
    leat_hook_joined(p->hook);
}

static void disconnected(port *p, int fd, int64_t now)
{
    conn *c = conn_find(p, fd);
    bool left = false;

    if (c == NULL || c->listens)
        return;
    if (c->linked) {
        left = !c->refused;
    } else if (p->failures > 0) {
        p->failures--;
    } else if (p->successes > 0) {
        p->successes--;
        left = true;
    }
    conn_free(p, c);
    settle_handshakes(p);
    if (left)
        peer_left(p, now);
}

void watch_settle(port *p, int departed)
{
    int i;

    atomic_fetch_sub(&p->departed, departed);
    atomic_fetch_sub(&p->peers, departed);
    for (i = 0; i < departed; i++)
        leat_hook_left(p->hook, false);
}

/* ---- endpoints that libzmq gives up ---------------------------------------------------------------------------------
 */

/* Which connecting endpoint an event is about. libzmq writes TCP addresses its own way. */
static endpoint *find_endpoint(port *p, const char *uri)
{
    endpoint *e, *only = NULL;
    int connecting = 0;

    for (e = p->endpoints; e != NULL; e = e->next) {
        if (!e->connects)
            continue;
        if (strcmp(e->uri, uri) == 0)
            return e;
        only = e;
        connecting++;
    }
    return connecting == 1 ? only : NULL;
}

static void fear(port *p, const char *uri, int64_t mend_at_ns)
{
    endpoint *e = find_endpoint(p, uri);

    if (e != NULL)
        e->mend_at_ns = mend_at_ns;
}

/* Why a partner does not get on with us. ZeroMQ does not say what it is; a binder of a plain name has noted that. */
static void refusal_text(const port *p, const endpoint *e, const char *uri, char *ret_text, size_t size)
{
    const char *ours = leat_pattern_name(p->pattern);
    const char *wanted = leat_pattern_name(leat_pattern_partner(p->pattern));
    leati_session *session = p->state->session;
    char theirs[16] = "", who[96] = "";

    if (e != NULL && e->name[0] != '\0' && session != NULL &&
        leati_address_noted(session, e->name, theirs, sizeof(theirs), who, sizeof(who)) == 0 && theirs[0] != '\0') {
        if (strcmp(theirs, wanted) != 0)
            snprintf(ret_text, size, "channel %s is %s here and %s at %s, which binds %s: set `type` on one side",
                     p->channel, ours, theirs, who, e->name);
        else
            snprintf(ret_text, size, "channel %s: %s, which binds %s, turns us away", p->channel, who, e->name);
        return;
    }
    snprintf(ret_text, size,
             "channel %s is %s here, and its partner at %.150s seems to be no %s (ZeroMQ does not say what it is): set "
             "`type` on one side",
             p->channel, ours, uri, wanted);
}

static void refuse(port *p, const endpoint *e, const char *uri, int64_t now)
{
    char text[400];

    refusal_text(p, e, uri, text, sizeof(text));
    if (p->forgive_at_ns == 0)
        leat_logf(LEAT_LOG_WARNING, "%s", text);
    p->forgive_at_ns = now + FORGIVE_MS * MS;
    leat_hook_refused(p->hook, EPROTOTYPE, text);
}

/* Somebody does not speak as we do: another pattern, another protocol. */
static void handshake_failed(port *p, const char *uri, unsigned value, int64_t now)
{
    p->failures++;
    if (p->closing)
        return;
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_INVALID_METADATA)
        refuse(p, find_endpoint(p, uri), uri, now);
    else
        leat_logf(LEAT_LOG_WARNING, "channel %s: somebody at %s does not speak ZeroMQ's protocol as we do (0x%x)",
                  p->channel, uri, value);
    fear(p, uri, now + MEND_REFUSED_MS * MS); /* libzmq does not try again after a breach of protocol */
}

/* The other side broke off before it was done. A binder of another pattern does so, having looked first; but so does
 * one that is just ending: it takes several. */
static void turned_away(port *p, const char *uri, int64_t now)
{
    endpoint *e = find_endpoint(p, uri);

    p->failures++;
    if (p->closing || e == NULL || ++e->turned_away < TURNED_AWAY)
        return;
    refuse(p, e, uri, now);
}

/* ---- the monitors ---------------------------------------------------------------------------------------------------
 */

static void handle(port *p, unsigned event, unsigned value, const char *uri)
{
    int64_t now = leat_now_ns();
    endpoint *e;

    atomic_store(&p->stirred, true);
    switch (event) {
    case ZMQ_EVENT_LISTENING:
        listening(p, (int)value);
        break;
    case ZMQ_EVENT_CLOSED:
        closed(p, (int)value);
        break;
    case ZMQ_EVENT_CONNECTED:
    case ZMQ_EVENT_ACCEPTED:
        connected(p, (int)value);
        fear(p, uri, 0);
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        if ((e = find_endpoint(p, uri)) != NULL)
            e->turned_away = 0;
        handshake_succeeded(p);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        turned_away(p, uri, now);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        handshake_failed(p, uri, value, now);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        p->failures++;
        fear(p, uri, now + MEND_REFUSED_MS * MS);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        disconnected(p, (int)value, now);
        if ((e = find_endpoint(p, uri)) != NULL && e->mend_at_ns == 0)
            e->mend_at_ns = now + MEND_SILENT_MS * MS;
        break;
    case ZMQ_EVENT_CONNECT_DELAYED:
    case ZMQ_EVENT_CONNECT_RETRIED:
        fear(p, uri, 0);
        break;
    }
}

/* libzmq is through: what it could not close it will not. */
static void drop_listeners(port *p)
{
    conn *c, *next;

    for (c = LIST_FIRST(&p->conns); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (c->listens || c->duplicate < 0)
            conn_free(p, c);
    }
    pthread_cond_broadcast(&p->state->changed);
}

/* Reads one event of a monitor; false: there is none, now or any more. */
static bool read_event(port *p)
{
    unsigned event = 0, value = 0;
    char uri[256] = "";
    zmq_msg_t msg;
    size_t size;
    bool more;
    int i;

    for (i = 0, more = true; more; i++) {
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, p->monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&msg);
            return false;
        }
        size = zmq_msg_size(&msg);
        if (i == 0 && size >= 6) {
            uint16_t number;
            uint32_t argument;

            memcpy(&number, zmq_msg_data(&msg), sizeof(number));
            memcpy(&argument, (char *)zmq_msg_data(&msg) + sizeof(number), sizeof(argument));
            event = number;
            value = argument;
        } else if (i == 1) {
            size = size < sizeof(uri) - 1 ? size : sizeof(uri) - 1;
            memcpy(uri, zmq_msg_data(&msg), size);
            uri[size] = '\0';
        }
        more = zmq_msg_more(&msg);
        zmq_msg_close(&msg);
    }
    if (event != ZMQ_EVENT_MONITOR_STOPPED) {
        handle(p, event, value, uri);
        return true;
    }
    zmq_close(p->monitor);
    p->monitor = NULL;
    drop_listeners(p);
    return false;
}

static void earlier(int64_t *at, int64_t other)
{
    if (other != 0 && (*at == 0 || other < *at))
        *at = other;
}

/* Peers that have departed have left, if nothing of theirs is unread. The program may ask for their number without ever
 * receiving again, so that this is not left to it alone. */
static bool try_settle(port *p)
{
    int departed = atomic_load(&p->departed);

    if (departed == 0)
        return true;
    if (pthread_mutex_trylock(&p->socket_lock) != 0)
        return false;
    (void)port_is_unread(p); /* settles; what is unread, port_recv() will */
    pthread_mutex_unlock(&p->socket_lock);
    /* The look has taken in reports that the socket's descriptor would have told a sleeper of. */
    leat_hook_wake(p->hook);
    return true;
}

static bool try_mend(port *p, int64_t now)
{
    if (pthread_mutex_trylock(&p->socket_lock) != 0)
        return false;
    port_mend(p, now);
    pthread_mutex_unlock(&p->socket_lock);
    leat_hook_wake(p->hook);
    return true;
}

/* What is due by the clock; returns when the next is, or 0. */
static int64_t run_timers(port *p, int64_t now)
{
    int64_t next = 0, again = now + MS;
    bool due = false;
    endpoint *e;

    if (p->leaving > 0 && now >= p->leave_at_ns) {
        atomic_fetch_add(&p->departed, p->leaving);
        p->leaving = 0;
        p->unsettled = true;
    }
    if (p->leaving > 0)
        earlier(&next, p->leave_at_ns);
    if (p->unsettled) {
        p->unsettled = !try_settle(p);
        earlier(&next, p->unsettled ? again : 0);
    }
    if (p->forgive_at_ns != 0 && now >= p->forgive_at_ns) {
        p->forgive_at_ns = 0;
        leat_hook_refused(p->hook, 0, NULL);
    }
    earlier(&next, p->forgive_at_ns);
    for (e = p->endpoints; e != NULL; e = e->next)
        due |= e->mend_at_ns != 0 && now >= e->mend_at_ns;
    if (due && !try_mend(p, now))
        earlier(&next, again);
    for (e = p->endpoints; e != NULL; e = e->next)
        if (e->mend_at_ns > now)
            earlier(&next, e->mend_at_ns);
    return next;
}

/* Takes in all events of all ports and what is due; returns when the next is. */
static int64_t look_at_ports(state *s, size_t *ret_n)
{
    int64_t next = 0, now = leat_now_ns();
    port *p, *after;
    size_t n = 0;

    LIST_FOREACH(p, &s->ports, entry)
    {
        /* A monitor's descriptor tells of new events only after all old ones were taken. */
        while (p->monitor != NULL && read_event(p))
            continue;
        if (!p->closing)
            earlier(&next, run_timers(p, now));
        n++;
    }
    for (p = LIST_FIRST(&s->lingering); p != NULL; p = after) {
        after = LIST_NEXT(p, entry);
        while (p->monitor != NULL && read_event(p))
            continue;
        if (p->monitor != NULL)
            n++;
        else if (!linger_look(p))
            earlier(&next, now + LINGER_LOOK_MS * MS);
    }
    *ret_n = n;
    return next;
}

static void add_fds(const state *s, struct pollfd *fds, size_t *n)
{
    port *p;

    LIST_FOREACH(p, &s->ports, entry)
    {
        if (p->monitor != NULL)
            fds[(*n)++] = (struct pollfd){.fd = p->monitor_fd, .events = POLLIN};
    }
    LIST_FOREACH(p, &s->lingering, entry)
    {
        if (p->monitor != NULL)
            fds[(*n)++] = (struct pollfd){.fd = p->monitor_fd, .events = POLLIN};
    }
}

static void *watch(void *arg)
{
    state *s = arg;
    struct pollfd first, *fds = &first, *more;
    size_t room = 1, n;
    int64_t next, now;

    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        next = look_at_ports(s, &n);
        if (n + 1 > room) {
            more = realloc(fds == &first ? NULL : fds, 2 * (n + 1) * sizeof(*fds));
            if (more != NULL) {
                fds = more;
                room = 2 * (n + 1);
            }
        }
        fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
        if (n + 1 <= room) {
            n = 1;
            add_fds(s, fds, &n);
        } else {
            n = 1;
            earlier(&next, leat_now_ns() + 100 * MS); /* no memory: look by and by instead */
        }
        pthread_mutex_unlock(&s->lock);
        now = leat_now_ns();
        poll(fds, n, next == 0 ? -1 : next <= now ? 0 : (int)((next - now) / MS) + 1);
        if (fds[0].revents != 0) {
            uint64_t count;
            ssize_t ignored = read(s->wake_fd, &count, sizeof(count));

            (void)ignored;
        }
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    if (fds != &first)
        free(fds);
    return NULL;
}

void watch_wake(state *s)
{
    const uint64_t one = 1;
    ssize_t ignored = write(s->wake_fd, &one, sizeof(one)); /* can only fail when it is readable already */

    (void)ignored;
}

int watch_start(state *s)
{
    sigset_t all, old;
    int r;

    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return leat_fail(errno, "zmq: no event descriptor: %s", strerror(errno));
    sigfillset(&all); /* signals are the program's threads' */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&s->watcher, NULL, watch, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        close(s->wake_fd);
        return leat_fail(r, "zmq: no thread: %s", strerror(r));
    }
    return 0;
}

void watch_stop(state *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    watch_wake(s);
    pthread_join(s->watcher, NULL);
    close(s->wake_fd);
}

int watch_add(port *p)
{
    state *s = p->state;
    size_t size = sizeof(p->monitor_fd);
    char name[64];
    int none = 0, r;

    pthread_mutex_lock(&s->lock);
    snprintf(name, sizeof(name), "inproc://leat-monitor-%u", s->monitors++);
    pthread_mutex_unlock(&s->lock);
    if (zmq_socket_monitor(p->socket, name, ZMQ_EVENT_ALL) < 0)
        return leat_fail(errno, "channel %s: cannot watch its connections: %s", p->channel, zmq_strerror(errno));
    p->monitor = zmq_socket(s->context, ZMQ_PAIR);
    if (p->monitor == NULL) {
        r = leat_fail(errno, "channel %s: cannot watch its connections: %s", p->channel, zmq_strerror(errno));
        goto stop_monitor;
    }
    /* Unlimited: libzmq's I/O thread would wait for us otherwise. */
    zmq_setsockopt(p->monitor, ZMQ_RCVHWM, &none, sizeof(none));
    zmq_setsockopt(p->monitor, ZMQ_LINGER, &none, sizeof(none));
    if (zmq_connect(p->monitor, name) < 0 || zmq_getsockopt(p->monitor, ZMQ_FD, &p->monitor_fd, &size) < 0) {
        r = leat_fail(errno, "channel %s: cannot watch its connections: %s", p->channel, zmq_strerror(errno));
        goto close_monitor;
    }
    pthread_mutex_lock(&s->lock);
    LIST_INSERT_HEAD(&s->ports, p, entry);
    pthread_mutex_unlock(&s->lock);
    watch_wake(s);
    return 0;

close_monitor:
    zmq_close(p->monitor);
stop_monitor:
    zmq_socket_monitor(p->socket, NULL, 0);
    return r;
}
