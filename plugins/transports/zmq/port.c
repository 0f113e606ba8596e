/* SPDX-License-Identifier: MIT
 *
 * port.c - one ZeroMQ socket per channel, and messages through it without waiting. Parts are read up to the whole
 * message before any is handed out, so that a receiver with too little room finds it still queued. Knows no addresses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 500
#define RECEIVE_MOST \
    256 /* messages that a receiver's queue takes: nobody knows what they weigh before they are there */
#define LARGE (64u << 10) /* bytes, from which on they are weighed */

static const int socket_types[LEAT_PATTERNS] = {
    [LEAT_PAIR] = ZMQ_PAIR, [LEAT_PUSH] = ZMQ_PUSH, [LEAT_PULL] = ZMQ_PULL, [LEAT_PUB] = ZMQ_PUB,
    [LEAT_SUB] = ZMQ_SUB,   [LEAT_REQ] = ZMQ_REQ,   [LEAT_REP] = ZMQ_REP,
};

/* ---- opening and closing --------------------------------------------------------------------------------------------
 */

static void set_int(port *p, int option, int value, const char *name)
{
    if (zmq_setsockopt(p->socket, option, &value, sizeof(value)) < 0)
        leat_logf(LEAT_LOG_WARNING, "channel %s: ZeroMQ refuses %s = %d: %s", p->channel, name, value,
                  zmq_strerror(errno));
}

/* ZeroMQ's receivers count messages, not bytes: as many as weigh half of queue_bytes, and no more than half the queue.
 */
static int receive_hwm(const port *p, size_t size)
{
    int64_t most = p->queue - p->queue / 2 < RECEIVE_MOST ? p->queue - p->queue / 2 : RECEIVE_MOST;
    int64_t fits = p->queue_bytes / 2 / (int64_t)(size > 0 ? size : 1);

    return fits > most ? (int)most : fits < 1 ? 1 : (int)fits;
}

static void set_options(port *p, const leat_settings *settings)
{
    int64_t max = p->state->max_message;

    if (leat_setting_given(settings, "max_msg_size") && leat_setting_int(settings, "max_msg_size") < max)
        max = leat_setting_int(settings, "max_msg_size");
    if (zmq_setsockopt(p->socket, ZMQ_MAXMSGSIZE, &max, sizeof(max)) < 0)
        leat_logf(LEAT_LOG_WARNING, "channel %s: ZeroMQ refuses max_msg_size: %s", p->channel, zmq_strerror(errno));
    p->receive_hwm = receive_hwm(p, 1);
    set_int(p, ZMQ_SNDHWM, p->queue / 2 > 0 ? p->queue / 2 : 1, "ZMQ_SNDHWM");
    set_int(p, ZMQ_RCVHWM, p->receive_hwm, "ZMQ_RCVHWM");
    set_int(p, ZMQ_RECONNECT_IVL, RECONNECT_MS, "ZMQ_RECONNECT_IVL");
    set_int(p, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS, "ZMQ_RECONNECT_IVL_MAX");
    set_int(p, ZMQ_IPV6, 1, "ZMQ_IPV6");
    /* Nothing is queued for a peer that is not there: it goes to another, or waits with the sender. Only for those that
     * deal to several: libzmq would throw away what was received and not read when such a connection ends. A PAIR's one
     * peer is looked for in has_peer(). */
    if (p->pattern == LEAT_PUSH || p->pattern == LEAT_REQ)
        set_int(p, ZMQ_IMMEDIATE, 1, "ZMQ_IMMEDIATE");
    set_int(p, ZMQ_LINGER, 0, "ZMQ_LINGER"); /* until linger_close() */
    if (p->pattern == LEAT_REQ) {
        /* A REQ may ask again; a late reply is dropped. */
        set_int(p, ZMQ_REQ_CORRELATE, 1, "ZMQ_REQ_CORRELATE");
        set_int(p, ZMQ_REQ_RELAXED, 1, "ZMQ_REQ_RELAXED");
    }
}

int port_open(void *arg, const leat_port_info *info, void **ret_port)
{
    state *s = arg;
    size_t size = sizeof(int);
    port *p = calloc(1, sizeof(*p));
    int r;

    if (p == NULL)
        return leat_fail(ENOMEM, "no memory for channel %s", info->channel);
    p->state = s;
    p->hook = info->hook;
    p->channel = strdup(info->channel);
    if (p->channel == NULL) {
        r = leat_fail(ENOMEM, "no memory for channel %s", info->channel);
        goto free_port;
    }
    pthread_mutex_init(&p->socket_lock, NULL);
    p->pattern = info->pattern;
    p->sends = leat_pattern_sends(info->pattern);
    p->receives = leat_pattern_receives(info->pattern);
    p->is_public = leat_setting_int(info->settings, "public") != 0;
    p->queue = (int)leat_setting_int(info->settings, "queue");
    p->queue_bytes = leat_setting_given(info->settings, "queue_bytes") ? leat_setting_int(info->settings, "queue_bytes")
                                                                       : (int64_t)QUEUE_BYTES;
    LIST_INIT(&p->conns);
    p->flow = flow_new(info->hook);
    if (p->flow == NULL) {
        r = leat_fail(ENOMEM, "no memory for channel %s", info->channel);
        goto free_channel;
    }
    p->socket = zmq_socket(s->context, socket_types[info->pattern]);
    if (p->socket == NULL) {
        r = leat_fail(errno, "channel %s: no ZeroMQ socket: %s", p->channel, zmq_strerror(errno));
        goto close_flow;
    }
    set_options(p, info->settings);
    if (zmq_getsockopt(p->socket, ZMQ_FD, &p->fd, &size) < 0) {
        r = leat_fail(errno, "channel %s: its ZeroMQ socket has no descriptor: %s", p->channel, zmq_strerror(errno));
        goto close_socket;
    }
    r = admit_ask(p);
    if (r < 0)
        goto close_socket;
    r = watch_add(p);
    if (r < 0)
        goto close_socket;
    *ret_port = p;
    return 0;

close_socket:
    zmq_close(p->socket);
close_flow:
    flow_close(p->flow);
free_channel:
    pthread_mutex_destroy(&p->socket_lock);
    free(p->channel);
free_port:
    free(p);
    return r;
}

void port_close(void *arg, int linger_ms)
{
    port *p = arg;
    size_t i;

    pthread_mutex_lock(&p->state->lock);
    p->closing = true; /* the watcher calls its hook no more */
    pthread_mutex_unlock(&p->state->lock);
    flow_close(p->flow);
    linger_close(p, linger_ms);
    port_forget_addresses(p);
    for (i = 0; i < p->n_parts; i++)
        zmq_msg_close(&p->parts[i]);
    free(p->parts);
    linger_start(p);
}

void port_free(port *p)
{
    pthread_mutex_destroy(&p->socket_lock);
    free(p->channel);
    free(p);
}

/* ---- readiness ------------------------------------------------------------------------------------------------------
 */

/* What the socket can do now. Asking makes libzmq take in what its other threads reported; only then does its
 * descriptor tell of the next report. */
static unsigned socket_events(port *p)
{
    int events = 0;
    size_t size = sizeof(events);

    if (zmq_getsockopt(p->socket, ZMQ_EVENTS, &events, &size) < 0)
        return LEAT_IN | LEAT_OUT; /* a signal: look again */
    return (events & ZMQ_POLLIN ? LEAT_IN : 0) | (events & ZMQ_POLLOUT ? LEAT_OUT : 0);
}

static bool has_peer(const port *p)
{
    return p->pattern != LEAT_PAIR || atomic_load(&p->peers) > 0;
}

static bool is_full(const port *p)
{
    return atomic_load(&p->flow->bytes) >= p->queue_bytes;
}

bool port_is_unread(port *p)
{
    /* Read before the look: what these peers sent is in the socket's queue by now. */
    int departed = atomic_load(&p->departed);

    if (p->n_parts > 0 || socket_events(p) & LEAT_IN)
        return true;
    if (departed > 0)
        watch_settle(p, departed);
    return false;
}

static unsigned look(port *p, unsigned events)
{
    unsigned ready;

    ready = socket_events(p);
    if (p->n_parts > 0)
        ready |= LEAT_IN;
    if (!has_peer(p))
        ready &= ~LEAT_OUT;
    if (ready & LEAT_OUT && p->pattern != LEAT_PUB && is_full(p)) {
        atomic_store(&p->flow->waited_for, true); /* then look again; the partner is flow_done() */
        if (is_full(p))
            ready &= ~LEAT_OUT;
    }
    return ready & events;
}

unsigned port_ready(void *arg, unsigned events)
{
    port *p = arg;
    unsigned ready;

    pthread_mutex_lock(&p->socket_lock);
    if (atomic_load(&p->departed) > 0)
        (void)port_is_unread(p);
    ready = look(p, events);
    pthread_mutex_unlock(&p->socket_lock);
    return ready;
}

int port_fd(void *arg)
{
    port *p = arg;

    return p->fd;
}

void port_stats(void *arg, leat_stats *stats)
{
    port *p = arg;

    stats->messages_in += p->stats.messages_in;
    stats->messages_out += p->stats.messages_out;
    stats->bytes_in += p->stats.bytes_in;
    stats->bytes_out += p->stats.bytes_out;
    stats->dropped += p->stats.dropped;
    stats->held += (uint64_t)atomic_load(&p->flow->held);
}

/* ---- sending --------------------------------------------------------------------------------------------------------
 */

static uint64_t body_size(const leat_msg_body *body)
{
    return body->kind == LEAT_BODY_INLINE ? body->inline_size : body->u.block.size;
}

/* The receiver's side went away between the parts of a message. libzmq has dropped those that it had, and drops what
 * follows up to the message's end: give it one. */
static void end_broken_message(port *p)
{
    if (p->pattern != LEAT_PAIR)
        zmq_send(p->socket, "", 0, ZMQ_DONTWAIT);
}

static int send_part(port *p, const leat_msg_body *part, int flags)
{
    zmq_msg_t msg;
    int r;

    r = message_of_body(part, p->flow, &msg);
    if (r < 0)
        return r;
    while (zmq_msg_send(&msg, p->socket, flags | ZMQ_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        r = -errno;
        zmq_msg_close(&msg);
        return r;
    }
    return 0;
}

static int send_all(port *p, leat_msg_body *const *parts, size_t n)
{
    size_t i;
    int r;

    for (i = 0; i < n; i++) {
        r = send_part(p, parts[i], i + 1 < n ? ZMQ_SNDMORE : 0);
        if (r == 0)
            continue;
        if (i > 0 && i + 1 < n)
            end_broken_message(p);
        return r;
    }
    return 0;
}

static int check_send(const port *p, uint64_t total)
{
    if (total > (uint64_t)p->state->max_message)
        return leat_fail(EMSGSIZE, "channel %s: %llu bytes are more than max_message = %lld in [transport zmq]",
                         p->channel, (unsigned long long)total, (long long)p->state->max_message);
    return 0;
}

static int try_send(port *p, leat_msg_body *const *parts, size_t n)
{
    uint64_t total = 0;
    size_t i;
    int r;

    for (i = 0; i < n; i++)
        total += body_size(parts[i]);
    r = check_send(p, total);
    if (r < 0)
        return r;
    /* libzmq looks for reports of its other threads about once in a millisecond only: it would hand a message to a peer
     * that has left. */
    if (atomic_exchange(&p->stirred, false))
        (void)socket_events(p);
    if (!has_peer(p))
        return -EAGAIN;
    if (is_full(p)) {
        if (p->pattern != LEAT_PUB)
            return -EAGAIN;
        p->stats.dropped++; /* a slow subscriber pins what all of them got */
    } else {
        r = send_all(p, parts, n);
        if (r == -EAGAIN && look(p, LEAT_OUT)) /* what libzmq had not taken in yet: a peer, room */
            r = send_all(p, parts, n);
        if (r == -EFSM)
            return leat_fail(EPROTO, "channel %s: out of turn: a %s", p->channel,
                             p->pattern == LEAT_REP ? "rep sends after it has received" : "req sends, then receives");
        if (r == -EAGAIN || r == -ENOMEM)
            return r;
        if (r < 0)
            return leat_fail(-r, "channel %s: cannot send: %s", p->channel, zmq_strerror(-r));
        p->stats.messages_out++;
        p->stats.bytes_out += total;
    }
    for (i = 0; i < n; i++)
        if (parts[i]->kind == LEAT_BODY_BLOCK)
            parts[i]->u.block.ops->release(parts[i]);
    return 0;
}

int port_send(void *arg, leat_msg_body *const *parts, size_t n)
{
    port *p = arg;
    int r;

    pthread_mutex_lock(&p->socket_lock);
    r = try_send(p, parts, n);
    pthread_mutex_unlock(&p->socket_lock);
    return r;
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

/* Messages turn out to be so large that the receiver's queue would hold more than it should: shortens it. It is never
 * made longer: libzmq's sending side, waiting for half of the old length to be read, would not hear of the new. */
static void weigh(port *p, size_t size)
{
    int hwm = receive_hwm(p, size);

    if (hwm >= p->receive_hwm)
        return;
    p->receive_hwm = hwm;
    set_int(p, ZMQ_RCVHWM, hwm, "ZMQ_RCVHWM");
}

/* Reads parts until the next message is whole. 0, or -EAGAIN: none is there. */
static int fetch(port *p)
{
    zmq_msg_t *msg;

    if (p->n_parts > 0 && !p->more)
        return 0;
    do {
        if (p->n_parts == p->room) {
            size_t room = p->room > 0 ? 2 * p->room : 4;
            void *parts = realloc(p->parts, room * sizeof(*p->parts));

            if (parts == NULL)
                return leat_fail(ENOMEM, "channel %s: no memory for a message of %zu parts", p->channel, room);
            p->parts = parts;
            p->room = room;
        }
        msg = &p->parts[p->n_parts];
        zmq_msg_init(msg);
        while (zmq_msg_recv(msg, p->socket, ZMQ_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            zmq_msg_close(msg);
            if (errno == EFSM)
                return leat_fail(EPROTO, "channel %s: out of turn: a %s", p->channel,
                                 p->pattern == LEAT_REP ? "rep sends its reply before it receives again"
                                                        : "req sends before it receives");
            return errno == EAGAIN
                       ? -EAGAIN
                       : leat_fail(errno, "channel %s: cannot receive: %s", p->channel, zmq_strerror(errno));
        }
        p->more = zmq_msg_more(msg);
        p->n_parts++;
        if (zmq_msg_size(msg) >= LARGE)
            weigh(p, zmq_msg_size(msg));
    } while (p->more);
    return 0;
}

static int hand_out(port *p, leat_msg_body *const *parts)
{
    size_t i, n = p->n_parts, size;
    int r;

    for (i = 0; i < n; i++) {
        size = zmq_msg_size(&p->parts[i]);
        r = body_of_received(&p->parts[i], p->flow, parts[i]);
        if (r < 0) {
            /* What is in bodies already goes with them: half a message is none. */
            while (i > 0) {
                i--;
                if (parts[i]->kind == LEAT_BODY_BLOCK)
                    parts[i]->u.block.ops->release(parts[i]);
                memset(parts[i], 0, sizeof(*parts[i]));
            }
            p->stats.dropped++;
            for (i = 0; i < n; i++)
                zmq_msg_close(&p->parts[i]);
            p->n_parts = 0;
            return r;
        }
        p->stats.bytes_in += size;
    }
    p->n_parts = 0;
    p->stats.messages_in++;
    return (int)n;
}

int port_recv(void *arg, leat_msg_body *const *parts, size_t capacity)
{
    port *p = arg;
    int r;

    pthread_mutex_lock(&p->socket_lock);
    r = fetch(p);
    if (r == 0)
        r = capacity == 0 ? (int)p->n_parts : p->n_parts > capacity ? -EMSGSIZE : hand_out(p, parts);
    /* It may have been the last one. */
    if (atomic_load(&p->departed) > 0 && p->n_parts == 0)
        (void)port_is_unread(p);
    pthread_mutex_unlock(&p->socket_lock);
    return r;
}

/* ---- messages -------------------------------------------------------------------------------------------------------
 */

int port_alloc(void *arg, size_t size, size_t align, leat_msg_body *ret_msg)
{
    port *p = arg;
    int r = check_send(p, size);

    return r < 0 ? r : block_alloc(size, align, ret_msg);
}

bool port_owns(void *arg, const leat_msg_body *msg)
{
    (void)arg;
    return msg->u.block.ops == &block_ops;
}

int port_from(void *arg, void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg)
{
    port *p = arg;
    int r = check_send(p, size);

    return r < 0 ? r : block_from(data, size, free_fn, hint, ret_msg);
}

int port_subscribe(void *arg, const void *prefix, size_t size, bool add)
{
    port *p = arg;
    int r;

    pthread_mutex_lock(&p->socket_lock);
    r = zmq_setsockopt(p->socket, add ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE, size > 0 ? prefix : "", size);
    pthread_mutex_unlock(&p->socket_lock);
    if (r < 0)
        return leat_fail(errno, "channel %s: cannot %s: %s", p->channel, add ? "subscribe" : "unsubscribe",
                         zmq_strerror(errno));
    return 0;
}
