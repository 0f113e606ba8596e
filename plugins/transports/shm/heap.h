/* SPDX-License-Identifier: MIT
 *
 * heap.h - the owner's allocator. Its state is private memory, so that a death leaves nothing to repair and a peer has
 * nothing to corrupt; what it hands out are ranges of the segment. All calls take the heap's own mutex; the hot path is
 * the ports' caches, above it.
 */
#ifndef LEATI_SHM_HEAP_H
#define LEATI_SHM_HEAP_H

#include "layout.h"
#include "segment.h"

#include <pthread.h>
#include <stdatomic.h>

/* A range of the segment, free or in use. */
typedef struct block {
    uint64_t offset, size;
    struct block *before, *after; /* neighbours in the segment */
    struct block *next, *prev;    /* in a free list, or in a port's cache */
    _Atomic uint32_t refs;        /* handles of this program and references on lanes */
    uint16_t class_index;         /* of a port's cache; HEAP_UNCACHED: goes back to the heap */
    bool free;
    bool own; /* a lane or an entry, not a message */
} block;

#define HEAP_UNCACHED UINT16_MAX
#define HEAP_CLASSES 304u /* up to 2^44 bytes, eight per power of two */
#define HEAP_LISTS (40u * 16u)

typedef struct heap {
    pthread_mutex_t mutex;
    segment *seg;
    const segment_kind *kind;
    layout_header *header; /* summary is published here */
    block *lists[HEAP_LISTS];
    uint64_t bitmap[40]; /* per first level, which second levels have a free range */
    uint64_t *reserved;  /* a bit per page of the segment */
    uint64_t used, peak, blocks, reserved_bytes, own_bytes, own_blocks;
    uint64_t give_back_at;  /* when this much reserved memory lies free */
    block *first;           /* the lowest range; the others hang on it */
    _Atomic uint64_t freed; /* counts frees; lets a waiter see that something came back */
    block *spare;           /* block structs not in use */
} heap;

int heap_init(heap *h, segment *seg, const segment_kind *kind, layout_header *header);
void heap_fini(heap *h);

/* The largest size that could ever be allocated. */
uint64_t heap_limit(const heap *h);

/* Rounds a message's size up to its class; *ret_class is HEAP_UNCACHED for sizes that have none. */
uint64_t heap_class(const heap *h, uint64_t size, uint16_t *ret_class);

/* Allocates a range of `size` bytes at a multiple of `align` (a power of two, 64 to 4096), its pages reserved, refs 1.
 * -EAGAIN: no free range is large enough; -ENOSPC: the file system is full; -ENOMEM. */
int heap_alloc(heap *h, uint64_t size, uint64_t align, block **ret_block);
void heap_free(heap *h, block *b);

/* Counts a block as the engine's own, not a message's, in the published summary. */
void heap_own(heap *h, block *b);

#endif
