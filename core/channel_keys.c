/* SPDX-License-Identifier: MIT
 *
 * channel_keys.c - the keys of [channel NAME] that every transport has in common; a transport adds its own. One row per
 * key: parsing, errors, suggestions, `shmadm check`, the manual and conf/leat.ini all come from here.
 */
#include "internal.h"

#include <limits.h>

const leat_key leati_channel_keys[] = {
    {.name = "type", .type = LEAT_KEY_CHOICE, .choices = "pair|push|pull|pub|sub|req|rep",
     .help = "The pattern: pair with pair, push to pull, pub to sub, req with rep."},
    {.name = "method", .type = LEAT_KEY_CHOICE, .choices = "bind|connect",
     .help = "Whether this end serves its addresses or connects to them; either may start first."},
    {.name = "address", .type = LEAT_KEY_LIST,
     .help = "Where the ends meet: plain names, which the transport makes its own address of, or URIs (tcp://host:port)."},
    {.name = "transport", .type = LEAT_KEY_LIST, .def = "shmem",
     .help = "What carries plain names: a binder serves each that works here, a connecter tries them in order."},
    {.name = "queue", .type = LEAT_KEY_INT, .def = "4096", .unit = "slots", .min = 4, .max = 1 << 20,
     .help = "Slots per peer, about as many messages before the sender waits; rounded up to a power of two."},
    {.name = "queue_bytes", .type = LEAT_KEY_SIZE, .unit = "bytes", .min = 1, .max = INT64_MAX,
     .help = "Bytes that one peer may pin before the sender waits (one message always goes); else an eighth of the heap."},
    {.name = "wait", .type = LEAT_KEY_CHOICE, .def = "adaptive", .choices = "adaptive|sleep|poll",
     .help = "How a call waits: spin and then sleep, sleep at once, or spin until something comes."},
    {.name = "at_end", .type = LEAT_KEY_CHOICE, .def = "wait", .choices = "wait|finish",
     .help = "When all peers have gone and their messages are read: wait for new ones, or tell the program the end."},
    {.name = "at_death", .type = LEAT_KEY_CHOICE, .def = "redeliver", .choices = "redeliver|drop",
     .help = "What becomes of messages that a peer had not read when it died: the next peer gets them, or nobody."},
    {.name = "expect", .type = LEAT_KEY_INT, .def = "1", .unit = "peers", .min = 1, .max = INT_MAX,
     .help = "With at_end = finish: how many peers must have come before the channel can end."},
    {.name = "linger", .type = LEAT_KEY_DURATION, .unit = "ms", .min = -1, .max = INT_MAX,
     .help = "How long closing waits for messages that would be lost otherwise; else as long as the transport thinks right."},
    {.name = "max_msg_size", .type = LEAT_KEY_SIZE, .unit = "bytes", .min = 0, .max = INT64_MAX,
     .help = "The largest message that this end sends or takes; else whatever the transport can carry."},
    {.name = "fence", .type = LEAT_KEY_CHOICE, .def = "auto", .choices = "auto|sender",
     .help = "Who pays for the order between sending and sleeping: the sleeper where it can, or always the sender."},
    {.name = NULL},
};
