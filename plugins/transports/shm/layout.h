/* SPDX-License-Identifier: MIT
 *
 * layout.h - every byte that two processes share. Free of I/O and of policy: types, offsets, who writes, who reads,
 * which memory order. All positions are offsets from the start of a segment, never pointers.
 *
 * Each context owns one segment. It alone writes it; everybody else maps it PROT_READ.
 *
 *     0        4096                                                                       heap_size
 *     +--------+------------------------------------------------------------------------------+
 *     | header | the heap: channel entries, lane entries, lane halves, blocks, free ranges     |
 *     +--------+------------------------------------------------------------------------------+
 *
 * A lane from A to B is two halves. What A writes lies in A's segment, what B writes in B's:
 *
 *     A: tx half  | counters | wants | slot 0 | slot 1 | ... | slot N-1 | book 0 | book 1 | ... | book R-1 |
 *     B: rx half  | head     | returned | return 0 | return 1 | ... | return R-1 |
 *
 * Indices (head, tail, returned) run freely as 64-bit numbers and never wrap in practice; the place of index i is
 * i % N, N and R being powers of two. A slot's sequence is the low half of its index plus one, so that a slot of the
 * lap before (index - N, N < 2^32) never looks published, and neither does one of zero bytes.
 *
 * Bytes of a dead owner stay as they are. So a reader needs no repair: an entry that was being written when its owner
 * died was never published.
 */
#ifndef LEATI_SHM_LAYOUT_H
#define LEATI_SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define LAYOUT_PAGE 4096u
#define LAYOUT_LINE 64u
#define LAYOUT_MAGIC UINT64_C(0x316d68737461656c) /* "leatshm1" in memory */

/* ---- a slot: one cache line ------------------------------------------------------------------------------------
 *
 *      0        4      5       6        8                                    64
 *      +--------+------+-------+--------+-------------------------------------+
 *      |sequence| kind | flags | length | 56 bytes of payload                 |
 *      +--------+------+-------+--------+-------------------------------------+
 *
 * Writer: the sender. The first 8 bytes are one word, stored with release after the payload; the receiver loads it with
 * acquire. A message (with all its parts) becomes visible by its first slot, which is stored last. */
typedef struct layout_slot {
    uint64_t word;
    unsigned char payload[56];
} layout_slot;

#define SLOT_PAYLOAD 56u
#define SLOT_SMALL_MAX 4u                                /* slots of a small part */
#define SLOT_SMALL_BYTES (SLOT_PAYLOAD * SLOT_SMALL_MAX) /* 224 */

enum slot_kind {
    SLOT_SMALL = 1,    /* a part of `length` bytes, in this slot and the next ones */
    SLOT_CONTINUE = 2, /* a further slot of it */
    SLOT_BLOCK = 3,    /* a part in a block: payload is a layout_descriptor */
};
#define SLOT_MORE 1u  /* flags: another part of the same message follows */
#define SLOT_FIRST 4u /* flags: the message begins here */
#define SLOT_STAMP 2u /* flags: a timestamp (int64_t, ns) stands before the payload, counted in `length` */

static inline uint64_t slot_word(uint64_t index, unsigned kind, unsigned flags, unsigned length)
{
    return (uint32_t)(index + 1) | (uint64_t)kind << 32 | (uint64_t)flags << 40 | (uint64_t)length << 48;
}
static inline uint32_t slot_sequence(uint64_t word)
{
    return (uint32_t)word;
}
static inline unsigned slot_kind(uint64_t word)
{
    return (word >> 32) & 0xff;
}
static inline unsigned slot_flags(uint64_t word)
{
    return (word >> 40) & 0xff;
}
static inline unsigned slot_length(uint64_t word)
{
    return (unsigned)(word >> 48);
}

/* Names a block in the sender's segment; `reference` is what the receiver returns. */
typedef struct layout_descriptor {
    uint64_t segment; /* 0: the sender's own */
    uint64_t offset;
    uint64_t length;
    int64_t timestamp_ns;
    uint32_t reference;
    uint32_t reserved;
} layout_descriptor;

/* One reference handed out on a lane: an entry in the owner's book. Writer: the owner; read by shmadm only. */
typedef struct layout_book {
    uint64_t offset; /* of the block's bytes; 0: the entry is free */
    uint64_t length; /* of the message */
    uint64_t size;   /* of the block */
    uint64_t index;  /* of the slot that names it: below the receiver's head it is held, else queued */
    uint64_t tick;   /* when it was handed out, coarse monotonic milliseconds */
} layout_book;

/* ---- the halves of a lane -------------------------------------------------------------------------------------- */

/* Sender's half. Slots follow it, then the book. */
typedef struct layout_tx {
    /* Line 0, written at each message; read by shmadm only (the receiver watches the slots). */
    uint64_t tail;       /* slots published */
    uint64_t sent;       /* messages published */
    uint64_t taken_back; /* references taken back; those between here and the receiver's `returned` are free too */
    uint64_t reserved0[5];
    /* Line 1, written before the sender sleeps; the receiver looks at it after storing head or returned. 0: not waiting.
     * The receiver rings when it has reached the number. */
    uint64_t want_head;
    uint64_t want_returned;
    uint64_t reserved1[6];
} layout_tx;

/* Receiver's half. The ring of returned references (uint32_t) follows it; it has a place for every open one, so that
 * returning never waits. */
typedef struct layout_rx {
    /* Line 0: stored with release before a message is handed to the program; loaded with acquire by the sender. */
    uint64_t head;  /* slots taken */
    uint64_t taken; /* messages taken */
    uint64_t reserved0[6];
    /* Line 1: stored with release after the return ring's entry; loaded with acquire by the sender. */
    uint64_t returned; /* references returned */
    uint64_t reserved1[7];
} layout_rx;

/* ---- what shmadm reads; type-stable: a place that held an entry never holds anything else ----------------------- */

enum { ENTRY_FREE = 0, ENTRY_OPEN = 1, ENTRY_CLOSED = 2 /* its last links are being settled */ };

/* One channel of the owner. */
typedef struct layout_channel {
    uint64_t next;  /* offset of the next entry, 0: none; stored once with release, never changes */
    uint32_t state; /* ENTRY_...; OPEN is stored last */
    uint32_t pattern;
    char name[64];
    char address[104];
    uint32_t binds; /* 1: bind, 0: connect */
    uint32_t reserved;
    /* Line 3: counters. */
    uint64_t messages_in, messages_out, bytes_in, bytes_out, dropped, redelivered, held, peers;
    /* Line 4: what the channel's cache keeps of the heap's `used` and `blocks` without a message in it. */
    uint64_t cached_bytes, cached_blocks, cache_spare[6];
    /* Line 5: odd while the channel's receiver sleeps, a new number for each sleep. Senders look at it after they
     * published; the ordering is the sleeper's membarrier (see waiting.c). */
    uint64_t asleep;
    uint64_t asleep_spare[7];
} layout_channel;

enum { LANE_TX = 1, LANE_RX = 2 };

/* One half lane of the owner. */
typedef struct layout_lane {
    uint64_t next;
    uint32_t state;
    uint32_t kind;        /* LANE_TX, LANE_RX */
    uint64_t channel;     /* offset of the channel's entry */
    uint64_t half;        /* offset of our half */
    uint64_t peer_half;   /* offset of the other half in the peer's segment */
    uint32_t slots, refs; /* of the lane */
    int32_t peer_pid;
    char peer_segment[68];
    uint64_t reserved;
} layout_lane;

/* ---- the header ------------------------------------------------------------------------------------------------- */

typedef struct layout_header {
    /* Line 0 to 3, written once; magic last, with release. */
    uint64_t magic;
    uint64_t layout; /* LAYOUT_HASH: incompatible builds refuse each other */
    uint64_t heap_size;
    int64_t started_ns; /* CLOCK_BOOTTIME */
    int32_t pid;        /* for display */
    uint32_t uid;
    char boot_id[40];
    char shmid[12];
    char transport[20];
    char program[32];
    char session[80];
    char peer_file[32]; /* of the owner, in the session's directory */
    /* Line 4: summary of the heap, stored relaxed by whoever holds the heap. Lanes and entries are part of `used`. */
    uint64_t used, peak, largest_free, blocks, reserved_bytes, own_bytes, own_blocks, summary_spare;
    /* Line 5: heads of the chains; 0: empty. */
    uint64_t channels, lanes, chain_spare[6];
    /* Line 6: odd while the owner waits for memory to come back; who returns a reference then rings its link. */
    uint64_t memory_wanted, memory_spare[7];
} layout_header;

/* Raised when the meaning of a field changes and its place does not. */
#define LAYOUT_VERSION 1u

/* Folds in the size of everything that must match, and the offset of everything that is read by others. */
#define LAYOUT_FOLD(h, x) (((h) ^ (uint64_t)(x)) * UINT64_C(1099511628211))
static inline uint64_t layout_hash(void)
{
    uint64_t h = UINT64_C(14695981039346656037);
    h = LAYOUT_FOLD(h, LAYOUT_VERSION);
    h = LAYOUT_FOLD(h, sizeof(layout_slot));
    h = LAYOUT_FOLD(h, sizeof(layout_descriptor));
    h = LAYOUT_FOLD(h, sizeof(layout_book));
    h = LAYOUT_FOLD(h, sizeof(layout_tx));
    h = LAYOUT_FOLD(h, sizeof(layout_rx));
    h = LAYOUT_FOLD(h, sizeof(layout_channel));
    h = LAYOUT_FOLD(h, sizeof(layout_lane));
    h = LAYOUT_FOLD(h, sizeof(layout_header));
    h = LAYOUT_FOLD(h, offsetof(layout_descriptor, reference));
    h = LAYOUT_FOLD(h, offsetof(layout_tx, want_head));
    h = LAYOUT_FOLD(h, offsetof(layout_rx, returned));
    h = LAYOUT_FOLD(h, offsetof(layout_channel, asleep));
    h = LAYOUT_FOLD(h, offsetof(layout_header, memory_wanted));
    h = LAYOUT_FOLD(h, sizeof(void *));
    h = LAYOUT_FOLD(h, __BYTE_ORDER__);
    return h;
}

_Static_assert(sizeof(layout_slot) == 64, "a slot is a cache line");
_Static_assert(sizeof(layout_descriptor) <= SLOT_PAYLOAD, "a descriptor fits a slot");
_Static_assert(sizeof(layout_descriptor) == 40, "layout");
_Static_assert(sizeof(layout_book) == 40, "layout");
_Static_assert(sizeof(layout_tx) == 128 && offsetof(layout_tx, want_head) == 64, "layout");
_Static_assert(sizeof(layout_rx) == 128 && offsetof(layout_rx, returned) == 64, "layout");
_Static_assert(offsetof(layout_channel, messages_in) == 192, "layout");
_Static_assert(offsetof(layout_channel, asleep) == 320 && sizeof(layout_channel) == 384, "layout");
_Static_assert(sizeof(layout_lane) == 128 && offsetof(layout_lane, peer_segment) == 52, "layout");
_Static_assert(offsetof(layout_header, used) == 256, "layout");
_Static_assert(offsetof(layout_header, channels) == 320, "layout");
_Static_assert(offsetof(layout_header, memory_wanted) == 384, "layout");
_Static_assert(sizeof(layout_header) == 448, "layout");

/* Sizes of whole halves. */
static inline uint64_t layout_tx_size(uint64_t slots, uint64_t refs)
{
    return sizeof(layout_tx) + slots * sizeof(layout_slot) + refs * sizeof(layout_book);
}
static inline uint64_t layout_rx_size(uint64_t refs)
{
    return sizeof(layout_rx) + refs * sizeof(uint32_t);
}

#endif
