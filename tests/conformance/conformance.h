/* SPDX-License-Identifier: MIT
 *
 * conformance.h - what the files of the conformance suite share: the transport under test, both ends of a channel in
 * few words, message contents that prove themselves, and other processes. Knows leat.h only: a transport passes or
 * fails by what an application sees of it.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "leat_test.h"

/* What a transport claims, and a test needs of it. A test whose needs are not claimed is skipped aloud. */
typedef enum conf_claim {
    CONF_PAIR = 1 << 0,        /* pair: carries pair */
    CONF_PUSH_PULL = 1 << 1,   /* push-pull: carries push and pull */
    CONF_THREADS = 1 << 2,     /* threads: joins channels of one process, in any of its threads */
    CONF_PROCESSES = 1 << 3,   /* processes: joins channels of different processes */
    CONF_QUEUE = 1 << 4,       /* queue: a sender waits when `queue` messages lie unread */
    CONF_QUEUE_BYTES = 1 << 5, /* queue-bytes: ... or when `queue_bytes` are pinned by a receiver */
    CONF_DEPTH = 1 << 6,       /* depth: the sender's stats count what is still unread */
    CONF_HEAP = 1 << 7,        /* heap: messages come from a heap of `heap_size` */
    CONF_ALIGN = 1 << 8,       /* align: the sender's alignment survives the journey */
    CONF_ADDRESSES = 1 << 9,   /* addresses: a second binder gets -EADDRINUSE */
    CONF_REFUSALS = 1 << 10,   /* refusals: partners of another pattern are told why they are refused */
    CONF_END = 1 << 11,        /* end: at_end = finish ends a receiver with -EPIPE */
    CONF_DEATH = 1 << 12,      /* death: ... and with -ECONNRESET when a sender was killed */
    CONF_REJOIN = 1 << 13,     /* rejoin: finds its partner in any order, and again after a restart */
} conf_claim;
int conf_claim_bit(const char *name); /* -1: there is none of that name */

/* The run: one transport, and for the running test one pattern. */
typedef struct conf_suite {
    const char *transport;
    const char *plugin_dir; /* NULL: where plugins are anyway */
    unsigned claims;
    const char *sends, *receives; /* "push" and "pull", or "pair" twice */
} conf_suite;
extern conf_suite conf;

/* Runs all tables for a transport; `transport` may be NULL: the command line names it. */
int conf_main(const char *transport, int argc, char **argv);

/* The tables that the files of the suite export. A file makes a table of the bodies of its tests in two steps: first
 * what each needs and whether it is run with push and pull only or again with pair; then its sentence. */
extern const leat_test conf_sizes[], conf_parts[], conf_messages[], conf_timeouts[], conf_interrupts[], conf_topology[],
    conf_processes[], conf_threads[], conf_lifetime[], conf_poller[], conf_waiting[], conf_pressure[], conf_endings[],
    conf_errors[];

#define CONF_PUSH(body, needs)                                \
    static void body##_push(void)                             \
    {                                                         \
        conf_begin("push", "pull", CONF_PUSH_PULL | (needs)); \
        body();                                               \
    }
#define CONF_BOTH(body, needs)                           \
    CONF_PUSH(body, needs)                               \
    static void body##_pair(void)                        \
    {                                                    \
        conf_begin("pair", "pair", CONF_PAIR | (needs)); \
        body();                                          \
    }
#define IN_PUSH(sentence, body)                            \
    {                                                      \
        .name = "push/pull: " sentence, .run = body##_push \
    }
#define IN_BOTH(sentence, body)                           \
    {.name = "push/pull: " sentence, .run = body##_push}, \
    {                                                     \
        .name = "pair: " sentence, .run = body##_pair     \
    }

/* Sets the pattern, or ends the test as skipped if it needs what the transport does not claim. */
void conf_begin(const char *sends, const char *receives, unsigned needs);

/* ---- time -------------------------------------------------------------------------------------------------------- */

#define SOON_MS 20000      /* long enough for anything that has to happen; reached only by a failure */
int64_t conf_now_ns(void); /* CLOCK_MONOTONIC */
void conf_pause_ms(int ms);

/* ---- channels ---------------------------------------------------------------------------------------------------- */

leat_config *conf_config(void); /* of this test's own session, on the transport under test */
/* Sets keys of a section, "type=push; method=bind; address=a, b". */
void conf_keys(leat_config *cfg, const char *section, const char *keys);
void conf_transport_keys(leat_config *cfg, const char *keys); /* of [transport NAME] */
/* Describes a sending, a receiving channel in `cfg`; `keys` may add more. */
void conf_sender(leat_config *cfg, const char *name, const char *method, const char *address, const char *keys);
void conf_receiver(leat_config *cfg, const char *name, const char *method, const char *address, const char *keys);
leat_ctx *conf_join(leat_config *cfg); /* frees cfg */
leat_channel *conf_open(leat_ctx *ctx, const char *name);
void conf_linked(leat_channel *ch, int peers); /* waits for them */
void conf_unlinked(leat_channel *ch);          /* waits until the last one has gone */

/* Both ends of a channel in one context: tx binds, rx connects, and they are linked. */
typedef struct conf_ends {
    leat_ctx *ctx;
    leat_channel *tx, *rx;
} conf_ends;
void conf_ends_open(conf_ends *e, leat_config *cfg, const char *tx_keys, const char *rx_keys); /* frees cfg */
void conf_ends_close(conf_ends *e);

/* ---- messages whose content proves itself ------------------------------------------------------------------------ */

void conf_fill(void *data, size_t size, uint64_t seed);
bool conf_intact(const void *data, size_t size, uint64_t seed);
void conf_make(leat_channel *ch, size_t size, uint64_t seed, leat_msg *ret_msg); /* allocates and fills */
void conf_send(leat_channel *ch, size_t size, uint64_t seed);
void conf_recv(leat_channel *ch, size_t size, uint64_t seed); /* receives, checks, closes */
void conf_verify(leat_msg *msg, size_t size, uint64_t seed);
int conf_fill_up(leat_channel *tx, size_t size); /* sends messages with seeds 0, 1, ... until no room; how many */

/* ---- other processes and threads --------------------------------------------------------------------------------- */

/* A process that runs body(fd, arg), where fd is for talking with the test; started before the test's process makes its
 * first context. */
typedef struct conf_process {
    pid_t pid;
    int fd;
} conf_process;
typedef void conf_body(int fd, void *arg);
conf_process conf_start(conf_body *body, void *arg);
void conf_tell(int fd, char word);
void conf_hear(int fd, char word); /* waits for just this word */
void conf_finish(conf_process *p); /* waits until it has ended well */
void conf_kill(conf_process *p);   /* kill -9, and waits until it is gone */
void *conf_shared(size_t size);    /* zeroed memory that this test's processes share */

pthread_t conf_thread(void *(*body)(void *), void *arg);
void conf_thread_end(pthread_t thread);

#endif
