/* SPDX-License-Identifier: MIT
 *
 * liar.h - a peer of a shared-memory channel made by hand, that says and writes what it likes: its socket, its segment and
 * its half of the lanes without the engine. Its victim is a real context, which is seen through leat.h only.
 */
#ifndef LIAR_H
#define LIAR_H

#include "leat_test.h"

#include "plugins/transports/shm/handshake.h"
#include "plugins/transports/shm/layout.h"

#include <leat/plugin.h>

#define SOON_MS 20000
#define LIAR_SLOTS 64u
#define LIAR_REFS 1024u
#define LIAR_SIZE (UINT64_C(1) << 20) /* of its segment */
#define LIAR_BYTES UINT64_C(524288)   /* where its messages may lie; the rest of the segment */

typedef struct liar {
    int fd;   /* the socket; -1: closed */
    int bell; /* our end */
    char segment[64];
    unsigned char *base;
    layout_header *header;
    uint64_t *asleep;
    layout_tx *tx;
    layout_slot *slots;
    layout_rx *rx;
    uint32_t *returns;
    say_hello theirs; /* the victim's ACCEPT */
    const unsigned char *victim;
    const layout_tx *victim_tx; /* NULL: it does not send */
    const layout_slot *victim_slots;
} liar;

/* ---- the victim --------------------------------------------------------------------------------------------------- */

/* Describes a channel of this transport's. */
void liar_channel(leat_config *cfg, const char *name, const char *type, const char *method, const char *address);
leat_ctx *liar_join(leat_config *cfg); /* frees cfg */
leat_channel *liar_open(leat_ctx *ctx, const char *name);

/* From here on the log is read by us; how many of its lines contained "cut off". */
void liar_read_log(void);
unsigned liar_cut_offs(void);
unsigned liar_descriptors(void); /* how many this process has open */
unsigned liar_mappings(void);    /* how many segments it has mapped */

/* ---- the liar ----------------------------------------------------------------------------------------------------- */

/* Makes its segment, all of it honest as yet. */
void liar_new(liar *l);
void liar_free(liar *l);
/* Makes the halves as new. */
void liar_reset(liar *l);

/* Connects to the address, no word said. */
void liar_connect(liar *l, const char *address);
void liar_hang_up(liar *l);
/* An honest HELLO or READY. */
void liar_hello(const liar *l, enum handshake_type type, leat_pattern pattern, say_hello *ret_hello);
/* Sends a packet, with `n` of these descriptors; false: the victim has hung up. */
bool liar_say(liar *l, const void *packet, size_t size, const int *fds, int n);
/* Waits for a packet; its size, 0: the victim has hung up, -1: nothing in time. */
int liar_hear(liar *l, void *packet, size_t size, int timeout_ms);
/* The whole handshake; ends the test if it fails. */
void liar_link(liar *l, const char *address, leat_pattern pattern);
/* Waits until the victim has hung up; whatever it says before is ignored. */
bool liar_is_cut_off(liar *l, int timeout_ms);

uint64_t liar_random(void); /* 64 bits; the same in each run */

#endif
