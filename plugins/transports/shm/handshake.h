/* SPDX-License-Identifier: MIT
 *
 * handshake.h - what two linked processes say over their socket (SOCK_SEQPACKET), one struct per packet.
 *
 *     connecter                                binder
 *     HELLO  who I am, my tx half, a bell  ->
 *                                          <-  ACCEPT  who I am, my tx half, my rx half   (has mapped the connecter)
 *     READY  my rx half                    ->  (has mapped the binder: each may send from here on)
 *                                          <-  REFUSE  why, instead of ACCEPT
 *     later, either way: BYE  I leave;  MEMORY  references that you wait for were returned
 *
 * The end of the socket without a BYE before it is a death.
 */
#ifndef LEATI_SHM_HANDSHAKE_H
#define LEATI_SHM_HANDSHAKE_H

#include <stdint.h>

#define HANDSHAKE_MAGIC 0x7461656cu
#define HANDSHAKE_VERSION 1u

enum handshake_type { SAY_HELLO = 1, SAY_ACCEPT, SAY_READY, SAY_REFUSE, SAY_BYE, SAY_MEMORY };

typedef struct say_head {
    uint32_t magic;
    uint16_t version, type;
    uint64_t layout;
} say_head;

typedef struct say_hello { /* HELLO, ACCEPT, READY */
    say_head head;
    uint32_t pattern;
    uint32_t membarrier; /* 1: this process is registered for global expedited membarrier */
    int32_t pid;
    uint32_t tx_slots, tx_refs; /* of my sending half; 0: I do not send */
    uint32_t reserved;
    uint64_t tx_half, rx_half; /* offsets in my segment; 0: none */
    uint64_t asleep;           /* offset of my channel's sleep word */
    uint64_t segment_size;
    char channel[64], program[32], transport[20], session[80], peer_file[64], segment[64];
    uint32_t spare;
} say_hello;

typedef struct say_refuse {
    say_head head;
    int32_t error;  /* errno */
    uint32_t later; /* 1: it may work later (busy), 0: it is a mistake */
    char text[400];
} say_refuse;

_Static_assert(sizeof(say_head) == 16, "layout");
_Static_assert(sizeof(say_hello) == 16 + 24 + 32 + 328, "layout");
_Static_assert(sizeof(say_refuse) == 424, "layout");

#endif
