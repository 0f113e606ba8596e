/* SPDX-License-Identifier: MIT
 *
 * engine.h - the private state of the shared-memory engine: one engine per context, one port per channel, one link per
 * peer, up to two lane halves per link. Nothing in here is shared with another process; layout.h has what is.
 *
 * Who may touch what:
 *   engine.mutex   lists of ports, links, listeners, connectors; taken before any port's lock, never inside a visit
 *   port.lock      (bias.h) the port's lanes, cache, parcels; inside = the program's thread in a call of this channel,
 *                  or the link thread while the program is outside
 *   heap.mutex     the heap; innermost
 */
#ifndef LEATI_SHM_ENGINE_H
#define LEATI_SHM_ENGINE_H

#include "bias.h"
#include "heap.h"
#include "layout.h"
#include "order.h"
#include "segment.h"

#include <leat/plugin.h>

typedef struct engine engine;
typedef struct port port;
typedef struct peer_link peer_link;

/* ---- lanes ------------------------------------------------------------------------------------------------------ */

/* Our half of a lane on which we send. */
typedef struct lane_tx {
    layout_slot *slots;
    uint64_t tail, sent;
    uint64_t head; /* the receiver's, as last looked at */
    uint64_t mask; /* slots - 1 */
    const uint64_t *peer_asleep;
    uint64_t rung; /* the sleep that was rung for last */
    layout_tx *half;
    const layout_rx *peer;
    const uint32_t *peer_returns;
    uint64_t returned; /* references taken back */
    layout_book *book;
    block **blocks;      /* by reference; NULL: free */
    uint32_t *free_refs; /* a stack: the warm ones first */
    uint32_t free_count, refs;
    uint64_t pinned;     /* bytes of blocks handed out and not returned */
    uint64_t pinned_max; /* queue_bytes */
    bool fence;          /* no membarrier on one of both sides: we order ourselves */
    bool open;           /* may be sent on */
    bool broken;         /* the peer broke a rule */
    block *range;        /* of the half */
    layout_lane *entry;
    peer_link *link;
} lane_tx;

/* Our half of a lane on which we receive. */
typedef struct lane_rx {
    const layout_slot *slots;
    uint64_t head, taken;
    uint64_t mask;
    layout_rx *half;
    const layout_tx *peer;
    uint64_t rung_head, rung_returned;
    uint32_t *returns;
    uint64_t returned;
    _Atomic uint32_t *handles; /* by reference: how many of this program's messages share it; 0: not held */
    uint32_t refs;
    uint32_t held; /* references not returned */
    const uint64_t *peer_memory_wanted;
    uint64_t rung_memory;
    const unsigned char *peer_base;
    uint64_t peer_size;
    bool fence;
    bool closing; /* the sender is gone or says that it sends no more */
    bool drained; /* closing, and everything is read */
    bool broken;
    block *range;
    layout_lane *entry;
    peer_link *link;
} lane_rx;

/* A message that a dead or departed peer had not read: sent again, ahead of new ones. */
typedef struct parcel {
    struct parcel *next;
    size_t count;
    leat_msg_body **pointers; /* to the parts, as tx_push() wants them */
    leat_msg_body parts[];
} parcel;

/* A message's bytes between 49 and SLOT_SMALL_BYTES, private to this process. */
typedef struct cell {
    _Atomic uint32_t refs;
    unsigned char data[SLOT_SMALL_BYTES] __attribute__((aligned(16)));
} cell;

/* A held reference closed by another thread than the channel's, waiting to be returned. */
typedef struct closed_elsewhere {
    struct closed_elsewhere *next;
    peer_link *link;
    uint32_t reference;
} closed_elsewhere;

/* ---- port ------------------------------------------------------------------------------------------------------- */

struct port {
    bias lock;
    engine *engine;
    lane_tx **tx; /* lanes that may be sent on */
    lane_rx **rx; /* lanes that are not drained */
    uint32_t tx_count, rx_count, tx_capacity, rx_capacity;
    uint32_t tx_turn, rx_turn;
    layout_channel *entry;
    bool stamps;
    bool redeliver;
    bool is_open;
    parcel *parcels, **parcels_end;
    int64_t handles; /* blocks and cells in the program's hands, less those counted by engine.handles */

    block *cache[HEAP_CLASSES]; /* free blocks by class, the warm ones first */
    uint64_t cached_bytes, cached_max;

    /* What the last failed send or alloc lacked; ready() answers for it. */
    uint32_t need_slots, need_refs;
    uint64_t need_bytes;
    bool need_memory;
    uint64_t need_memory_since; /* heap.freed at the failure */
    unsigned raised;
    bool waits_memory; /* counted in engine.memory_waiters */

    _Atomic(closed_elsewhere *) elsewhere;

    int epoll_fd;
    leat_port_info info;
    char name[64];
    uint32_t slots; /* `queue`, rounded up to a power of two */
    uint32_t refs;
    uint64_t queue_bytes;
    uint32_t links; /* that name this port; it is reused only at 0 */
    port *next;     /* in engine.ports */
};

/* ---- link ------------------------------------------------------------------------------------------------------- */

typedef enum link_state {
    LINK_WAIT_HELLO,  /* accepted: the connecter speaks first */
    LINK_WAIT_ACCEPT, /* connected, HELLO sent */
    LINK_WAIT_READY,  /* ACCEPT sent */
    LINK_UP,
    LINK_FAILED,
} link_state;

/* What an epoll event of the link thread points to. */
typedef enum watch_kind { WATCH_WAKE, WATCH_NAMES, WATCH_LISTENER, WATCH_LINK } watch_kind;
typedef struct watch {
    watch_kind kind;
} watch;

typedef struct connector {
    struct connector *next;
    port *port;
    peer_link *link;  /* NULL: not connected */
    int64_t retry_ns; /* try again then; INT64_MAX: when a name appears */
    int64_t pause_ns;
    bool refused;
    bool appeared; /* a name did, while we had a link: worth a try when it is gone */
    char address[72];
    char socket[104];
} connector;

typedef struct listener {
    watch watch;
    struct listener *next;
    port *port;
    leati_address *address;
    int fd;
    int64_t retry_ns; /* no descriptor was left: accept again then; INT64_MAX: it is being watched */
} listener;

struct peer_link {
    watch watch;
    peer_link *next;
    port *port;
    engine *engine;
    connector *connector; /* that made it; NULL: accepted, or the connector is gone */
    link_state state;
    int fd;   /* SOCK_SEQPACKET to the peer; -1: closed */
    int bell; /* our end of the bell */
    /* Stored under both locks, read by the program under the port's alone. BYE: I send no more, take no more. */
    _Atomic bool said_bye, got_bye;
    _Atomic bool ended; /* the peer closed its socket or died */
    bool joined;        /* counted as a peer, and not yet reported as gone */
    bool unread_taken;
    bool peer_membarrier;
    lane_tx *tx;
    lane_rx *rx;
    const void *peer_base;
    uint64_t peer_size;
    int32_t peer_pid;
    uint32_t peer_uid;
    char peer_program[32], peer_channel[64], peer_file[64], peer_segment[64];
};

/* ---- engine ----------------------------------------------------------------------------------------------------- */

struct engine {
    const segment_kind *kind;
    leati_session *session;
    segment seg;
    layout_header *header;
    heap heap;
    pthread_mutex_t mutex;
    pthread_t thread;
    bool stop;
    bool private_membarrier, global_membarrier;
    int epoll_fd, wake_fd, names_fd;
    watch wake_watch, names_watch;
    port *ports;
    peer_link *links;
    listener *listeners;
    connector *connectors;
    layout_channel *channels; /* the newest of all entries ever made, in use or free */
    layout_lane *lanes;
    /* Peer files of processes whose end we saw and whose lock the kernel had not dropped yet. */
    char dying[8][64];
    unsigned dying_count;
    int64_t sweep_ns[2];     /* when to look for dead processes; INT64_MAX: no need */
    _Atomic int64_t handles; /* message handles made by copying less those closed by other threads */
    _Atomic uint32_t memory_waiters;
    bool detached;
    engine *next_detached;
    bool forked; /* we are in a child: everything is the parent's, and the segment is not mapped */
    char program[32];
};

/* engine.c */
/* Frees a detached engine once no message of it is in the program's hands. With the engine's mutex held; lets it go. */
void engine_unlock_and_collect(engine *e);
/* Takes to the heap what has come back to all ports and what they cache. With the engine's mutex held. */
void engine_gather_memory(engine *e);
int engine_alloc_range(engine *e, uint64_t size, block **ret_range);
layout_channel *engine_channel_entry(engine *e);
layout_lane *engine_lane_entry(engine *e);

static inline void *engine_at(const engine *e, uint64_t offset)
{
    return e->seg.base + offset;
}
static inline uint64_t engine_offset(const engine *e, const void *p)
{
    return (uint64_t)((const unsigned char *)p - e->seg.base);
}

/* waiting.c */
void bell_ring(int fd);

/* lane_tx.c */
int lane_tx_new(port *p, lane_tx **ret_tx);
void lane_tx_free(lane_tx *tx);
unsigned tx_part_slots(const port *p, const leat_msg_body *part);
bool tx_has_room(port *p, lane_tx *tx, uint32_t slots, uint32_t refs, uint64_t bytes);
/* With room: publishes the parts as one message; their handles pass to the lane. */
void tx_push(port *p, lane_tx *tx, leat_msg_body *const *parts, size_t n, uint32_t slots);
/* Takes back what the receiver has returned; false: it broke a rule. */
bool tx_take_returns(port *p, lane_tx *tx);
/* The receiver is gone or takes no more: makes parcels of what it had not read (or drops it). */
void tx_take_unread(port *p, lane_tx *tx);
/* Lets go of a parcel's blocks and frees it; NULL is ignored. */
void parcel_drop(port *p, parcel *c);
/* The receiver is gone: everything is ours again. */
void tx_take_all(port *p, lane_tx *tx);
static inline uint32_t tx_open_refs(const lane_tx *tx)
{
    return tx->refs - tx->free_count;
}
/* After publishing: rings the receiver if it sleeps, once per sleep. */
static inline void tx_wake_receiver(lane_tx *tx)
{
    order_publish_then_look(tx->fence);
    uint64_t asleep = LOAD(*tx->peer_asleep);
    if (unlikely(asleep & 1) && asleep != tx->rung) {
        tx->rung = asleep;
        bell_ring(tx->link->bell);
    }
}
/* Whether the receiver has read everything and returned every reference. */
bool tx_finished(const lane_tx *tx);

/* lane_rx.c */
int lane_rx_new(port *p, uint32_t refs, lane_rx **ret_rx);
void lane_rx_free(lane_rx *rx);
static inline bool rx_ready(const lane_rx *rx)
{
    /* Pairs with the release store of the first slot's word in tx_push(). */
    uint64_t word = __atomic_load_n(&rx->slots[rx->head & rx->mask].word, __ATOMIC_ACQUIRE);
    return slot_sequence(word) == (uint32_t)(rx->head + 1);
}
int rx_take(port *p, lane_rx *rx, leat_msg_body *const *parts, size_t capacity);
void rx_return(port *p, lane_rx *rx, uint32_t reference);

/* message.c */
extern const leat_msg_ops block_ops, held_ops, cell_ops;
int message_alloc(port *p, size_t size, size_t align, leat_msg_body *ret_msg);
/* Lets go of a reference to an own block, inside the port's lock. */
void message_put_block(port *p, block *b);
/* Allocates a private cell of `size` bytes (at most SLOT_SMALL_BYTES) as a message. */
int message_new_cell(size_t size, leat_msg_body *ret_msg);
/* Gives the memory that a port keeps for itself back to the heap. Inside the lock. */
/* Returns what other threads closed. Inside the port's lock. */
void message_flush_elsewhere(port *p);
void message_empty_cache(port *p);
static inline bool message_is_own(const port *p, const leat_msg_body *m)
{
    return m->u.block.ops == &block_ops && ((const port *)m->u.block.owner)->engine == p->engine;
}

/* port.c */
int port_open(void *state, const leat_port_info *info, void **ret_port);
void port_close(void *handle, int linger_ms);
int port_send(void *handle, leat_msg_body *const *parts, size_t n);
int port_recv(void *handle, leat_msg_body *const *parts, size_t capacity);
int port_alloc(void *handle, size_t size, size_t align, leat_msg_body *ret_msg);
bool port_owns(void *handle, const leat_msg_body *msg);
void port_stats(void *handle, leat_stats *stats);
static inline void port_enter(port *p)
{
    if (unlikely(bias_enter(&p->lock)) && bias_asked(&p->lock))
        message_flush_elsewhere(p);
}
static inline void port_leave(port *p)
{
    bias_leave(&p->lock);
}
/* For other threads than the channel's. */
static inline void port_lock(port *p)
{
    bias_lock(&p->lock);
    if (bias_asked(&p->lock))
        message_flush_elsewhere(p);
}
static inline void port_unlock(port *p)
{
    bias_unlock(&p->lock);
}
/* Sends parcels while there is room; inside the lock. True: none is left. */
bool port_flush_parcels(port *p);
int port_add_lanes(port *p, peer_link *l);
void port_remove_tx(port *p, lane_tx *tx);
void port_remove_rx(port *p, lane_rx *rx);

/* waiting.c */
unsigned port_ready(void *handle, unsigned events);
int port_fd(void *handle);
void port_raise(void *handle, unsigned events);
void port_lower(void *handle);
void engine_fence(void *state);
void engine_memory_came_back(engine *e); /* wakes those who wait for it; with the engine's mutex held */

/* link.c */
/* Takes over `fd`, also on failure. With a connector it speaks first. */
int link_new(engine *e, port *p, int fd, connector *c, peer_link **ret_link);
void link_readable(peer_link *l); /* its socket can be read, or ended */
void link_say_bye(peer_link *l);
/* Moves the link on as far as it can: takes back, reports, ends; frees it when nothing is left to do. */
void link_settle(peer_link *l);
void link_free(peer_link *l);
void link_ring_memory(peer_link *l); /* tells the peer that references it waits for were returned */
void link_wake(engine *e);

/* rendezvous.c */
int rendezvous_bind(void *handle, const char *address);
int rendezvous_connect(void *handle, const char *address);
void rendezvous_accept(listener *l);
void rendezvous_names_changed(engine *e);
int64_t rendezvous_retry(engine *e, int64_t now_ns); /* tries what is due; returns when to come back */
void rendezvous_close(port *p);
void rendezvous_link_gone(peer_link *l);

/* thread.c */
int thread_start(engine *e);
void thread_stop(engine *e);

/* inspect.c */
/* Fills what the header tells. -EBADMSG: it is not a segment of leat, or of another version; said. */
int inspect_describe(const segment_kind *kind, const char *root, const segment_reader *reader, leat_item *item);
/* leat_transport_ops.inspect */
int inspect_channels(const segment_kind *kind, const leat_item *item, leat_channel_info_fn *fn, void *user);

/* A transport's plugin file defines its kind and fills its operations with this. */
#define SHM_TRANSPORT_OPS(attach_fn, list_fn, inspect_fn, remove_fn)                                           \
    {                                                                                                          \
        .attach = attach_fn, .detach = engine_detach, .forked = engine_forked, .open = port_open,              \
        .bind = rendezvous_bind, .connect = rendezvous_connect, .close = port_close, .send = port_send,        \
        .recv = port_recv, .alloc = port_alloc, .owns = port_owns, .ready = port_ready, .fd = port_fd,         \
        .raise = port_raise, .fence = engine_fence, .lower = port_lower, .stats = port_stats, .list = list_fn, \
        .inspect = inspect_fn, .remove = remove_fn                                                             \
    }
int engine_attach(const segment_kind *kind, const leat_attach_info *info, void **ret_state);
void engine_detach(void *state);
void engine_forked(void *state);
extern const leat_key engine_keys[]; /* [transport ...] of every shared-memory transport */

#endif
