/* SPDX-License-Identifier: MIT
 *
 * storm.h - the kill storm's book-keeping. A controller, which uses no leat itself, starts senders and receivers, kills
 * them at random, and owns the book: memory shared with all of them, which no death can take away. Nothing in it is
 * needed by leat; it is there to prove what leat did.
 *
 *     sender     writes `trying` before leat_send() and `sent` after it
 *     receiver   sets `taking`, receives, sets the message's bit, clears `taking`
 *
 * A bit that is set already is a duplicate. A message that was sent and has no bit is lost, which is allowed
 *   - once for each receiver that was killed while it was taking: the message in its hand;
 *   - for messages of a killed sender, if a receiver was killed at about the same time: what lay between the two.
 */
#ifndef STORM_H
#define STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define STORM_SENDERS 5                 /* the last is watched and never killed */
#define STORM_RECEIVERS 5               /* the same */
#define STORM_LIVES 8192                /* of all senders, or of all receivers, together */
#define STORM_SHORT (UINT32_C(1) << 21) /* messages of a life that may be killed */
#define STORM_LONG (UINT32_C(1) << 28)  /* of the watched sender */
#define STORM_PARTS 2

typedef enum storm_phase { STORM_RUN, STORM_STOP, STORM_LEAVE } storm_phase;

/* One life of a process: a new one begins with each restart. */
typedef struct storm_life {
    int slot; /* 0 to STORM_SENDERS - 1 */
    pid_t pid;
    int64_t born_ns;
    int64_t died_ns;               /* 0: never killed */
    bool was_taking;               /* receiver: killed with perhaps a message in its hand */
    uint64_t bits_at;              /* sender: where its bits begin, in bytes */
    uint32_t capacity;             /* sender: how many messages it may send */
    _Atomic uint32_t trying, sent; /* sender: numbers below this were tried, have been sent */
    _Atomic uint32_t taking;       /* receiver */
    _Atomic uint64_t received;     /* receiver */
    _Atomic uint64_t redelivered;  /* sender: from its stats, */
    _Atomic uint64_t queued;       /* the same */
    _Atomic uint32_t peers;        /* linked now, on all channels */
} storm_life;

typedef struct storm_book {
    _Atomic int phase;
    _Atomic unsigned duplicates, corrupt;
    unsigned sender_lives, receiver_lives;
    uint64_t bits_used;
    storm_life senders[STORM_LIVES], receivers[STORM_LIVES];
    _Atomic unsigned char *bits;
} storm_book;

/* What verifying the book found. */
typedef struct storm_result {
    uint64_t sent, received, redelivered;
    uint64_t lost;         /* of living senders and of those that died in a quiet moment */
    uint64_t between;      /* of senders that died together with a receiver */
    uint64_t allowed;      /* for `lost`: receivers that were killed while taking */
    uint64_t from_nowhere; /* received and never sent */
    uint64_t unexplained;  /* more in one life than receivers died with one in hand while it lived */
    unsigned receivers_killed, senders_killed;
} storm_result;

/* storm_book.c */
storm_book *storm_book_new(void);
storm_life *storm_sender_born(storm_book *book, int slot, bool watched);
storm_life *storm_receiver_born(storm_book *book, int slot);
void storm_received(storm_book *book, uint32_t life, uint32_t number); /* sets the bit */
uint64_t storm_missing(const storm_book *book, const storm_life *sender);
/* Describes each loss that a hand must explain on `out`. */
void storm_verify(const storm_book *book, int64_t quiet_ns, FILE *out, storm_result *ret_result);

/* storm_roles.c: run in a process each. */
void storm_send(storm_book *book, storm_life *life);
void storm_receive(storm_book *book, storm_life *life);

/* storm_watch.c: how a process and the machine look from outside. */
typedef struct storm_view {
    int descriptors;
    int segments;          /* of leat, mapped */
    uint64_t segments_rss; /* bytes */
    uint64_t anonymous;    /* bytes of private memory */
} storm_view;
storm_view storm_look(pid_t pid);

typedef struct storm_machine {
    int segments, peer_files; /* names in /dev/shm */
    int listed, dead;         /* segments that leat_admin_list() shows */
    int64_t blocks;           /* live blocks in all of them */
} storm_machine;
storm_machine storm_look_at_machine(void);

#endif
