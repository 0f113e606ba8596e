/* SPDX-License-Identifier: MIT
 *
 * runtime.h - the structs behind the handles of leat.h, shared by the files that run them: context, transports, channel,
 * route, hook, wait, traffic, message, poller. Configuration, registry and log know nothing of these; here is no transport.
 *
 * Who may touch what:
 *   - a context's lists belong to its `lock`; its list of transports only grows, so that a forked child can walk it;
 *   - what hooks say about peers (`peers` to `ports[].refused`) is written under the channel's `hook_lock`, by any
 *     thread, and read without it where it is atomic;
 *   - everything else of a channel or poller belongs to the one thread that uses it.
 */
#ifndef LEATI_RUNTIME_H
#define LEATI_RUNTIME_H

#include "internal.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define leati_likely(x) __builtin_expect(!!(x), 1)
#define leati_unlikely(x) __builtin_expect(!!(x), 0)
#define LEATI_COLD __attribute__((noinline, cold))

/* ---- context ---------------------------------------------------------------------------------------------------- */

/* Bits of a context's `attention`, the one word that every fast path looks at. */
#define LEATI_INTERRUPTED 1u
#define LEATI_FORKED 2u /* we are the child of the process that made it */
#define LEATI_SHUT 4u   /* leat_ctx_free() was called; only close and free are left */

/* One transport that a context has joined. */
typedef struct leati_transport {
    _Atomic(struct leati_transport *) next;
    const leat_plugin *plugin;
    const leat_transport_ops *ops;
    void *state;
    leat_settings *settings;
    leat_attach_info info;
} leati_transport;

struct leat_ctx {
    _Atomic unsigned attention;
    _Atomic int refs; /* the context itself, and each channel and poller whose handle is out */
    bool many_cpus;   /* this process may run on more than one: spinning can help */
    int interrupt_fd; /* readable while interrupted or shut */
    leat_config *config;
    leat_settings *settings; /* [leat] */
    pthread_mutex_t lock;
    _Atomic(leati_transport *) transports;
    LIST_HEAD(, leat_channel) channels;
    LIST_HEAD(, leat_poller) pollers;
    LIST_ENTRY(leat_ctx) entry; /* in the process's list of contexts */
};

/* Says why a call cannot be served: -ECHILD, -ESHUTDOWN, or -EINTR if it may wait (timeout_ms not 0); else 0. */
int leati_ctx_attention(leat_ctx *ctx, int timeout_ms);
/* Empties the interrupt descriptor if it says more than the attention word. */
void leati_ctx_settle_interrupt(leat_ctx *ctx);
void leati_ctx_unref(leat_ctx *ctx);

static inline unsigned leati_ctx_bits(const leat_ctx *ctx)
{
    /* Relaxed: a bit set by this thread or its signal handler is seen at once, another thread's soon enough, and a
     * sleeper learns it through interrupt_fd. */
    return atomic_load_explicit(&ctx->attention, memory_order_relaxed);
}

/* ---- transports.c ------------------------------------------------------------------------------------------------ */

/* Finds the context's entry for a plugin, joining it on first use. */
int leati_transport_attach(leat_ctx *ctx, const leat_plugin *plugin, leati_transport **ret_transport);
/* Leaves all; no port is open any more. fork() is no longer of interest. */
void leati_transports_detach(leat_ctx *ctx);
/* Makes fork() known to the context, until leati_transports_detach(). */
int leati_fork_watch(leat_ctx *ctx);

/* ---- channel ----------------------------------------------------------------------------------------------------- */

typedef struct leati_endpoint {
    char *address;
    size_t port; /* index of the port that serves it */
} leati_endpoint;

/* What a transport's hook calls reach: one per port. */
struct leat_hook {
    leat_channel *channel;
    _Atomic int peers;
    int refused;    /* 0 or errno */
    char text[480]; /* with `refused` */
};

/* A channel's half of one transport. */
typedef struct leati_port {
    leat_hook hook;
    leati_transport *transport;
    const leat_transport_ops *ops;
    void *port;
    leat_port_info info;
} leati_port;

typedef enum leati_wait_mode { LEATI_WAIT_ADAPTIVE, LEATI_WAIT_SLEEP, LEATI_WAIT_POLL } leati_wait_mode;

struct leat_channel {
    /* The direct path: the transport's operations while the channel has one port and nothing else asks for a look
     * (route.c). Else functions that decline, so that the call goes the long way. */
    leat_ctx *ctx;
    void *direct_port;
    int (*direct_send)(void *port, leat_msg_body *const *parts, size_t n);
    int (*direct_recv)(void *port, leat_msg_body *const *parts, size_t capacity);
    bool (*direct_owns)(void *port, const leat_msg_body *msg);
    uint64_t max_size;    /* max_msg_size, or UINT64_MAX */
    uint64_t inline_size; /* up to here leat_msg_alloc() needs nobody: the smaller of max_size and LEAT_INLINE_MAX */

    char *name;
    leat_pattern pattern;
    bool sends, receives;
    bool binds;
    leati_wait_mode wait;
    bool spins;         /* every port has LEAT_CAP_SPIN */
    unsigned hot_tries; /* of a receive, before it looks at clocks: about as long as a partner takes to answer */
    bool armed;         /* leat_channel_arm() has raised the ports */
    int linger_ms;
    leat_settings *settings;
    leati_port *ports;
    size_t nports;
    leati_port *home; /* where leat_msg_alloc() takes memory */
    leati_endpoint *endpoints;
    size_t nendpoints;

    /* Fair turns over several ports. */
    size_t send_turn, recv_turn;
    int send_left, recv_left;

    int wake_fd;             /* signalled by hooks */
    struct pollfd *sleepers; /* nports ports, wake_fd, interrupt_fd: what a sleep watches */
    int event_fd;            /* leat_channel_fd(), made when first asked for; else -1 */

    pthread_mutex_t hook_lock;
    _Atomic int peers;
    _Atomic int pair_port; /* PAIR: the index of the port that has the one peer, or -1 */
    _Atomic bool ended;    /* at_end = finish: all have come, and have gone */
    _Atomic bool refused;  /* some port's partner refused, and there is no peer */
    bool finishes;         /* at_end = finish */
    bool died;
    int expect, joined;

    leat_poller *poller;
    LIST_ENTRY(leat_channel) entry;
};

/* Closes ports and descriptors and leaves the handle behind, for the last close. */
void leati_channel_shut(leat_channel *ch);

/* What each call begins with: 0, or why the channel cannot serve it; undoes leat_channel_arm(). */
int leati_channel_begin(leat_channel *ch, int timeout_ms);

/* ---- route.c: which transports a channel's addresses mean --------------------------------------------------------- */

/* Fills endpoints and ports (attached, not opened) from the section's address, transport, type and method. */
int leati_route_plan(leat_channel *ch, const char *section);
/* Sets the direct path, or takes it away. */
void leati_route_direct(leat_channel *ch);

/* ---- hook.c ------------------------------------------------------------------------------------------------------- */

/* Whether the end was reached, as far as hooks know: one more empty receive makes it certain. */
static inline bool leati_channel_ended(const leat_channel *ch)
{
    return atomic_load_explicit(&ch->ended, memory_order_acquire); /* pairs with the release in hook.c: settle() */
}
/* -EPIPE or -ECONNRESET, said. */
int leati_channel_end_error(leat_channel *ch);
/* 0, or the refusal that the channel suffers from, said. */
int leati_channel_refusal(leat_channel *ch);

/* ---- wait.c ------------------------------------------------------------------------------------------------------- */

#define LEATI_FOREVER INT64_MAX
#define LEATI_SPIN_NS INT64_C(50000) /* about what a sleep costs: going to it, and being woken */

/* One to two microseconds of tries. */
#define LEATI_HOT_TRIES 128u

/* Between two tries that are to be quick: keeps the processor from running ahead with loads of a line that is about to be
 * written, which it would have to throw away, and takes a fraction of a pause. */
static inline void leati_hold(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_lfence();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static inline void leati_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* The time at which a timeout ends, on the monotonic clock. */
int64_t leati_deadline(int timeout_ms);
/* What is left, for ppoll(); NULL: for ever. */
const struct timespec *leati_remaining(int64_t deadline_ns, struct timespec *buffer);

/* One call's wait: try; if it was in vain, leati_wait_turn(); again. */
typedef struct leati_wait {
    leat_channel *ch;
    unsigned events; /* what the ports are raised for; 0: only hooks matter */
    int timeout_ms;
    bool started;
    unsigned rounds; /* of spinning */
    unsigned vain;   /* times in a row that a port called itself ready and was not */
    int64_t deadline_ns, spin_until_ns;
} leati_wait;

#define LEATI_WAIT(channel, what, timeout)                         \
    {                                                              \
        .ch = (channel), .events = (what), .timeout_ms = (timeout) \
    }

/* After a try in vain: spins or sleeps. 0: try again; -EAGAIN: the time is up (not said: the caller knows better
 * words); -EINTR, -ECHILD, -ESHUTDOWN: said. */
int leati_wait_turn(leati_wait *w);

/* The sleeper's protocol of plugin.h, for all ports of the channel. */
void leati_channel_raise(leat_channel *ch, unsigned events);
void leati_channel_fence(leat_channel *ch);
unsigned leati_channel_ready(leat_channel *ch, unsigned events);
void leati_channel_lower(leat_channel *ch);

/* Whether the wait may spin, and how. */
bool leati_channel_may_spin(const leat_channel *ch);
void leati_drain(int event_fd);

/* ---- poller.c ----------------------------------------------------------------------------------------------------- */

/* Takes a channel that is being closed out of its poller. */
void leati_poller_forget(leat_channel *ch);
/* Closes its descriptors and leaves the handle behind. */
void leati_poller_shut(leat_poller *p);

struct leat_poller {
    leat_ctx *ctx;
    struct leati_source *sources;
    size_t nsources, room;
    size_t turn; /* index of the source that is looked at first */
    size_t nchannels;
    int epoll_fd; /* all descriptors: what a sleep watches */
    int files_fd; /* the user's own descriptors alone; inside epoll_fd */
    bool shut;
    LIST_ENTRY(leat_poller) entry;
};

/* ---- message.c ---------------------------------------------------------------------------------------------------- */

static inline leat_msg_body *leati_body(leat_msg *msg)
{
    return (leat_msg_body *)msg;
}

/* Makes it an empty INLINE message without looking at what it held. What stands in front of the bytes is 0 then: kind,
 * flags, size, timestamp; one store. */
static inline void leati_body_clear(leat_msg_body *body)
{
    __builtin_memset(body, 0, offsetof(leat_msg_body, u));
}

static inline void leati_body_close(leat_msg_body *body)
{
    if (body->kind == LEAT_BODY_BLOCK)
        body->u.block.ops->release(body);
    leati_body_clear(body);
}

static inline uint64_t leati_body_size(const leat_msg_body *body)
{
    return body->kind == LEAT_BODY_INLINE ? body->inline_size : body->u.block.size;
}

static inline const void *leati_body_data(const leat_msg_body *body)
{
    return body->kind == LEAT_BODY_INLINE ? body->u.bytes : body->u.block.data;
}

/* Allocates from one port, without waiting. */
int leati_port_alloc(leati_port *port, size_t size, size_t align, leat_msg_body *ret_msg);
/* Words for an allocation that waited in vain. */
int leati_alloc_timed_out(const leat_channel *ch, const leati_port *port, size_t size, int timeout_ms);

#endif
