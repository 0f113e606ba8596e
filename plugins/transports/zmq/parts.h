/* SPDX-License-Identifier: MIT
 *
 * parts.h - what the files of the zmq transport share: a context's state, a port, a message's holder. This folder is
 * the only one that includes <zmq.h>.
 *
 * Threads. What a socket tells about its connections comes through a monitor, an inproc pair that one thread per
 * context reads for all ports (watch.c), so that peers are counted while the program is busy or asleep. `lock` guards
 * the lists of ports, the monitors, and what is marked "lock" below. A port's `socket_lock` guards its socket: the
 * program's thread holds it during a call. The watcher, which holds `lock`, only tries to get it.
 */
#ifndef ZMQ_PARTS_H
#define ZMQ_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <zmq.h>

#include <leat/plugin.h>

#include "../session/session.h"

#define TRANSPORT "zmq"
#define SMALL_BYTES 4096         /* blocks below this are not counted against queue_bytes */
#define QUEUE_BYTES (128u << 20) /* queue_bytes, where it is not set */
#define MS INT64_C(1000000)      /* in ns */
#define FORK_FDS 512             /* descriptors that a forked child closes */

/* What one port's messages in libzmq's hands take, and what the program holds of those received. Outlives the port: the
 * I/O thread and the program let go of messages later. */
typedef struct flow {
    atomic_int refs;
    _Atomic int64_t bytes;  /* handed to libzmq and not yet written to a connection */
    _Atomic int64_t held;   /* received blocks that the program has not closed */
    atomic_bool waited_for; /* a sender waits until `bytes` falls */
    pthread_mutex_t lock;   /* guards `hook` */
    leat_hook *hook;        /* NULL once the port is closed */
} flow;

flow *flow_new(leat_hook *hook);
void flow_unref(flow *f);
void flow_add(flow *f, int64_t bytes);
void flow_done(flow *f, int64_t bytes); /* wakes who waits */
void flow_close(flow *f);               /* the hook is no more */

/* ---- message.c ------------------------------------------------------------------------------------------------------
 */

extern const leat_msg_ops block_ops;

int block_alloc(size_t size, size_t align, leat_msg_body *ret_msg);
int block_from(void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg);
/* Takes a received message over: a small one becomes INLINE, another keeps its bytes where libzmq put them. */
int body_of_received(zmq_msg_t *msg, flow *f, leat_msg_body *ret_msg);
/* Makes a zmq message of a body without taking it over; a block is not copied. */
int message_of_body(const leat_msg_body *body, flow *f, zmq_msg_t *ret_msg);

/* ---- the context ----------------------------------------------------------------------------------------------------
 */

typedef struct port port;

typedef struct state {
    void *context;
    int64_t max_message;
    const leat_attach_info *info;
    pthread_mutex_t session_lock;     /* guards the making of `session` */
    _Atomic(leati_session *) session; /* made with the first plain name */
    void *admit;                      /* the watcher's; see admit.c */
    int admit_fd;
    int sweeps; /* the watcher's, as sweep_at_ns: looks for what the dead left that are still to be taken */
    int64_t sweep_at_ns;
    unsigned domains; /* lock; numbers PAIRs */
    pthread_t watcher;
    int wake_fd; /* wakes the watcher */
    pthread_mutex_t lock;
    bool stopping;               /* lock */
    unsigned monitors;           /* lock; numbers their names */
    LIST_HEAD(, port) ports;     /* lock */
    LIST_HEAD(, port) lingering; /* lock; closed, and not through with what was sent: the watcher's */
    pthread_cond_t changed;      /* with lock: a listener closed, a port is through */
    /* Connections, in fixed places that a forked child can walk; `inode` tells whether a number still means the socket
     * that it was entered for. */
    struct {
        atomic_int fd; /* -1: free */
        _Atomic uint64_t inode;
    } fds[FORK_FDS];
} state;

int state_session(state *s, leati_session **ret_session);
void state_enter_fd(state *s, int fd);
void state_strike_fd(state *s, int fd);

/* ---- the port -------------------------------------------------------------------------------------------------------
 */

/* A connection as the monitor tells of it. */
typedef struct conn {
    LIST_ENTRY(conn) entry;
    int fd;             /* libzmq's: a name, never used as a descriptor but to duplicate it */
    int duplicate;      /* ours, see linger.c; or -1 */
    bool listens;       /* no connection, but what they come to */
    bool linked;        /* its handshake succeeded */
    int64_t part_by_ns; /* closing: our direction has ended; when to give up waiting for the other */
} conn;

typedef struct endpoint {
    struct endpoint *next;
    leati_address *address; /* bound plain name; or NULL */
    bool connects;
    char name[80];   /* connects: the plain name; or "" */
    int turned_away; /* lock; how often in a row a handshake was broken off */
    /* lock; when libzmq has given it up for good if nothing is heard of it until then; 0: no fear */
    int64_t mend_at_ns;
    char uri[];
} endpoint;

struct port {
    state *state;
    leat_hook *hook;
    char *channel;
    leat_pattern pattern;
    bool sends, receives, is_public;
    pthread_mutex_t socket_lock; /* guards what follows, down to `stats` */
    void *socket;
    int fd;
    flow *flow;
    int64_t queue_bytes;
    int queue, receive_hwm;
    endpoint *endpoints; /* changed under lock */
    /* The next message, whole or (more) not yet. */
    zmq_msg_t *parts;
    size_t n_parts, room;
    bool more;
    atomic_bool stirred; /* connections came or went since the last call */
    leat_stats stats;

    atomic_int departed; /* peers that are gone, whose messages may be unread */

    LIST_ENTRY(port) entry;     /* lock, as all that follows */
    bool closing;               /* its hook is no more */
    int64_t deadline_ns;        /* of lingering */
    char domain[24];            /* PAIR: by which admit.c knows it */
    int64_t admitting_until_ns; /* PAIR: somebody is on the way in */
    void *monitor;              /* NULL: libzmq is through with the socket */
    int monitor_fd;
    LIST_HEAD(, conn) conns;
    int successes; /* handshakes of which it is not known yet whose they were */
    int failures;
    atomic_int peers; /* joined and not yet told to have left */
    bool unsettled;   /* some have departed, and nobody has looked for unread messages since */
    int leaving;      /* disconnected; from leave_at_ns on they have departed */
    int64_t leave_at_ns, forgive_at_ns;
};

/* ---- address.c ------------------------------------------------------------------------------------------------------
 */

int port_bind(void *p, const char *address);
int port_connect(void *p, const char *address);
/* Connects anew what libzmq has given up and is due. Under both locks. */
void port_mend(port *p, int64_t now);
/* Gives the addresses back once libzmq, whose socket is closed, has stopped serving them. */
void port_forget_addresses(port *p);

/* ---- watch.c --------------------------------------------------------------------------------------------------------
 */

int watch_start(state *s);
void watch_stop(state *s);
int watch_add(port *p);
void watch_wake(state *s);
/* Tells the hook of peers that have departed, now that nothing of theirs is unread. */
void watch_settle(port *p, int departed);
void conn_free(port *p, conn *c);

/* ---- admit.c ---------------------------------------------------------------------------------------------------- */

int admit_open(state *s);
void admit_close(state *s);
/* Has libzmq ask before it lets somebody in, where that is needed. */
int admit_ask(port *p);
/* Answers one request; false: there is none. Under `lock`. */
bool admit_look(state *s);

/* ---- linger.c -------------------------------------------------------------------------------------------------------
 */

/* Duplicates the descriptor of a new connection where that is needed. */
void linger_hold(conn *c);
/* Closes the socket; libzmq goes on sending. */
void linger_close(port *p, int linger_ms);
/* Leaves the port to the watcher, until what was sent is with the receivers or the time is up. */
void linger_start(port *p);
/* The watcher's, under `lock`: looks again; true: it was through, and is freed. */
bool linger_look(port *p);
#define LINGER_LOOK_MS 2 /* between two looks at the kernel's buffers: it does not tell when they are read */
/* Waits until no port lingers. */
void linger_finish(state *s);

/* ---- port.c ---------------------------------------------------------------------------------------------------------
 */

int port_open(void *state, const leat_port_info *info, void **ret_port);
void port_close(void *p, int linger_ms);
int port_send(void *p, leat_msg_body *const *parts, size_t n);
int port_recv(void *p, leat_msg_body *const *parts, size_t capacity);
int port_alloc(void *p, size_t size, size_t align, leat_msg_body *ret_msg);
bool port_owns(void *p, const leat_msg_body *msg);
int port_from(void *p, void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg);
int port_subscribe(void *p, const void *prefix, size_t size, bool add);
unsigned port_ready(void *p, unsigned events);
/* Whether messages of theirs may be unread; else departed peers are told to have left. Under socket_lock. */
bool port_is_unread(port *p);
void port_free(port *p);
int port_fd(void *p);
void port_stats(void *p, leat_stats *stats);

#endif
