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

#define GRACE_MS 20
#define MEND_FIRST_MS 50
#define MEND_REFUSED_MS 500 /* until a connection that was refused is tried again */
#define MEND_SILENT_MS 2000 /* until one that libzmq does not seem to retry is */
#define SWEEPS 5
#define SWEEP_MS 2      /* until the second look; each later one takes four times as long */
#define TURNED_AWAY 3   /* times in a row, to be taken for a refusal */
#define FORGIVE_MS 2500 /* until a refusal that did not come again is taken back */

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

    LIST_FOREACH (c, &p->conns, entry) {
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
    linger_hold(c);
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
    p->state->sweeps = SWEEPS;
    p->state->sweep_at_ns = now;
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

static int count_open(const port *p)
{
    int open = 0;
    conn *c;

    LIST_FOREACH (c, &p->conns, entry) {
        open += !c->linked;
    }
    return open;
}

/* The monitor says that a handshake succeeded, but not whose. Once as many did as there are open ones, all did. */
static void settle_handshakes(port *p)
{
    conn *c;

    if (p->successes < count_open(p))
        return;
    p->successes = 0;
    LIST_FOREACH (c, &p->conns, entry) {
        c->linked = true;
    }
}

static void handshake_succeeded(port *p)
{
    if (count_open(p) == 0)
        return; /* not noticed for want of memory */
    p->successes++;
    settle_handshakes(p);
    if (p->closing)
        return;
    p->peers++;
    p->admitting_until_ns = 0;
    p->forgive_at_ns = 0;
    leat_hook_joined(p->hook);
}

/* What a connection was that has ended. */
typedef enum ending { UNKNOWN_ONE, PEER_LEFT, HANDSHAKE_FAILED, BROKEN_OFF } ending;

static ending disconnected(port *p, int fd)
{
    conn *c = conn_find(p, fd);
    ending was = BROKEN_OFF; /* before its handshake, and the monitor did not say so */

    if (c == NULL || c->listens)
        return UNKNOWN_ONE;
    if (c->linked) {
        was = PEER_LEFT;
    } else if (p->failures > 0) {
        p->failures--;
        was = HANDSHAKE_FAILED;
    } else if (p->successes > 0) {
        p->successes--;
        was = PEER_LEFT;
    }
    conn_free(p, c);
    settle_handshakes(p);
    return was;
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

/* Who binds the plain name that we connect to, and with what pattern; false: not known. */
static bool find_binder(port *p, const endpoint *e, char ret_pattern[16], char ret_who[96])
{
    leati_session *session = p->state->session;

    return e->name[0] != '\0' && session != NULL &&
           leati_address_noted(session, e->name, ret_pattern, 16, ret_who, 96) == 0 && ret_pattern[0] != '\0';
}

/* The partner of this endpoint does not get on with us. ZeroMQ does not say why, or what it is; a binder of a plain
 * name has noted its pattern. Who is just ending breaks off handshakes too: it takes several if nothing is known. */
static void turned_away(port *p, endpoint *e, int64_t now)
{
    const char *ours = leat_pattern_name(p->pattern), *wanted = leat_pattern_name(leat_pattern_partner(p->pattern));
    char theirs[16] = "", who[96] = "", text[400];
    bool known = find_binder(p, e, theirs, who);

    e->turned_away++;
    /* libzmq does not try again after what it takes for a breach of protocol. */
    e->mend_at_ns = now + (e->turned_away < TURNED_AWAY ? MEND_FIRST_MS : MEND_REFUSED_MS) * MS;
    if (known && strcmp(theirs, wanted) != 0)
        snprintf(text, sizeof(text), "channel %s is %s here and %s at %s, which binds %s: set `type` on one side",
                 p->channel, ours, theirs, who, e->name);
    else if (e->turned_away < TURNED_AWAY)
        return;
    else if (p->pattern == LEAT_PAIR)
        return; /* its partner has a peer, see admit.c: we wait for our turn */
    else
        snprintf(text, sizeof(text),
                 "channel %s is %s here, and its partner at %.150s seems to be no %s (ZeroMQ does not say what it is): "
                 "set `type` on one side",
                 p->channel, ours, e->uri, wanted);
    if (p->forgive_at_ns == 0)
        leat_logf(LEAT_LOG_WARNING, "%s", text);
    p->forgive_at_ns = now + FORGIVE_MS * MS;
    leat_hook_refused(p->hook, EPROTOTYPE, text);
}

/* Somebody does not speak as we do: another pattern, another protocol. Who connects is told, see turned_away(); who
 * binds waits for a better partner. */
static void handshake_failed(port *p, const endpoint *e, const char *uri, unsigned value)
{
    p->failures++;
    if (p->closing || e != NULL)
        return;
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_INVALID_METADATA)
        leat_logf(LEAT_LOG_WARNING, "channel %s is %s here: somebody who is no %s tried to connect to %s", p->channel,
                  leat_pattern_name(p->pattern), leat_pattern_name(leat_pattern_partner(p->pattern)), uri);
    else
        leat_logf(LEAT_LOG_WARNING, "channel %s: somebody does not speak ZeroMQ's protocol at %s (0x%x)", p->channel,
                  uri, value);
}

static void connection_ended(port *p, endpoint *e, int fd, int64_t now)
{
    ending was = disconnected(p, fd);

    if (p->closing)
        return;
    if (was == PEER_LEFT)
        peer_left(p, now);
    else
        p->admitting_until_ns = 0;
    if (e == NULL)
        return;
    if (was == HANDSHAKE_FAILED || was == BROKEN_OFF)
        turned_away(p, e, now);
    else if (e->mend_at_ns == 0)
        e->mend_at_ns = now + MEND_SILENT_MS * MS;
}

/* ---- the monitors ---------------------------------------------------------------------------------------------------
 */

static void handle(port *p, unsigned event, unsigned value, const char *uri)
{
    endpoint *e = find_endpoint(p, uri);

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
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        handshake_succeeded(p);
        if (e != NULL)
            e->turned_away = 0;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        p->failures++;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        handshake_failed(p, e, uri, value);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        connection_ended(p, e, (int)value, leat_now_ns());
        break;
    }
    /* libzmq is at it, so that nothing needs to be mended. */
    if (e != NULL &&
        (event == ZMQ_EVENT_CONNECT_DELAYED || event == ZMQ_EVENT_CONNECT_RETRIED || event == ZMQ_EVENT_CONNECTED))
        e->mend_at_ns = 0;
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

/* If a peer that is gone was killed, what it left in the session goes now. The kernel may close its connection before
 * it drops its lock, so that we look several times. */
static int64_t sweep(state *s, int64_t now)
{
    leati_session *session = s->session;

    if (s->sweeps == 0 || session == NULL)
        return 0;
    if (now >= s->sweep_at_ns) {
        s->sweeps--;
        s->sweep_at_ns = now + (SWEEP_MS << 2 * (SWEEPS - s->sweeps)) * MS;
        leati_session_sweep(session);
    }
    return s->sweeps > 0 ? s->sweep_at_ns : 0;
}

/* Takes in all events of all ports and what is due; returns when the next is. */
static int64_t look_at_ports(state *s, size_t *ret_n)
{
    int64_t next = 0, now = leat_now_ns();
    port *p, *after;
    size_t n = 0;

    LIST_FOREACH (p, &s->ports, entry) {
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
    while (admit_look(s)) /* after the monitors: a place may have come free */
        continue;
    earlier(&next, sweep(s, now));
    *ret_n = n;
    return next;
}

static void add_fds(const state *s, struct pollfd *fds, size_t *n)
{
    port *p;

    LIST_FOREACH (p, &s->ports, entry) {
        if (p->monitor != NULL)
            fds[(*n)++] = (struct pollfd){.fd = p->monitor_fd, .events = POLLIN};
    }
    LIST_FOREACH (p, &s->lingering, entry) {
        if (p->monitor != NULL)
            fds[(*n)++] = (struct pollfd){.fd = p->monitor_fd, .events = POLLIN};
    }
}

static void *watch(void *arg)
{
    state *s = arg;
    struct pollfd first[2], *fds = first, *more;
    size_t room = 2, n;
    int64_t next, now;

    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        next = look_at_ports(s, &n);
        if (n + 2 > room) {
            more = realloc(fds == first ? NULL : fds, 2 * (n + 2) * sizeof(*fds));
            if (more != NULL) {
                fds = more;
                room = 2 * (n + 2);
            }
        }
        fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->admit_fd, .events = POLLIN};
        if (n + 2 <= room) {
            n = 2;
            add_fds(s, fds, &n);
        } else {
            n = 2;
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
    if (fds != first)
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
    r = admit_open(s);
    if (r < 0) {
        close(s->wake_fd);
        return r;
    }
    sigfillset(&all); /* signals are the program's threads' */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&s->watcher, NULL, watch, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        admit_close(s);
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
    admit_close(s);
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
