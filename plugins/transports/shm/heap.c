/* SPDX-License-Identifier: MIT
 *
 * heap.c - two-level segregated fit (Masmano, Ripoll, Crespo, Real: TLSF, ECRTS 2004) with its nodes outside the memory
 * that it manages: allocating and freeing take constant time whatever the number of live blocks. Pages are reserved when
 * a range is handed out and given back when much reserved memory lies free. Knows no lanes and no messages.
 */
#include "heap.h"

#include "bias.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNIT LAYOUT_LINE
#define KEEP_FREE (UINT64_C(64) << 20)
/* At most this much is reserved by one system call, so that a stream of signals cannot keep it from finishing. */
#define RESERVE_STEP (UINT64_C(1) << 20)

/* ---- lists of free ranges -------------------------------------------------------------------------------------- */

static unsigned log2_floor(uint64_t x)
{
    return 63u - (unsigned)__builtin_clzll(x);
}

/* The list that a range of `size` bytes lies in. Sizes are multiples of UNIT. */
static unsigned list_of(uint64_t size)
{
    uint64_t units = size / UNIT;
    if (units < 16)
        return (unsigned)units;
    unsigned first = log2_floor(units);
    return (first - 3) * 16 + (unsigned)(units >> (first - 4) & 15);
}

static void list_insert(heap *h, block *b)
{
    unsigned i = list_of(b->size);
    b->free = true;
    b->prev = NULL;
    b->next = h->lists[i];
    if (b->next)
        b->next->prev = b;
    h->lists[i] = b;
    h->bitmap[i / 16] |= UINT64_C(1) << (i % 16);
}

static void list_remove(heap *h, block *b)
{
    unsigned i = list_of(b->size);
    if (b->prev)
        b->prev->next = b->next;
    else
        h->lists[i] = b->next;
    if (b->next)
        b->next->prev = b->prev;
    if (!h->lists[i])
        h->bitmap[i / 16] &= ~(UINT64_C(1) << (i % 16));
    b->free = false;
}

/* A free range of at least `size` bytes: first from lists whose every range fits, then among the first ranges of the
 * list that `size` itself falls into. */
static block *find(heap *h, uint64_t size)
{
    unsigned own = list_of(size);
    unsigned first = own / 16, second = own % 16 + 1;
    uint64_t bits = second < 16 ? h->bitmap[first] & (~UINT64_C(0) << second) : 0;
    while (!bits && ++first < 40)
        bits = h->bitmap[first];
    block *b = h->lists[own];
    for (int i = 0; b && i < 16; i++, b = b->next)
        if (b->size >= size)
            return b;
    return bits ? h->lists[first * 16 + (unsigned)__builtin_ctzll(bits)] : NULL;
}

static block *new_block(heap *h)
{
    block *b = h->spare;
    if (b)
        h->spare = b->next;
    else
        b = malloc(sizeof *b);
    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

static void put_spare(heap *h, block *b)
{
    b->next = h->spare;
    h->spare = b;
}

/* Cuts `b` after `size` bytes; the rest becomes a free range. */
static int split(heap *h, block *b, uint64_t size)
{
    if (b->size == size)
        return 0;
    block *rest = new_block(h);
    if (!rest)
        return -ENOMEM;
    rest->offset = b->offset + size;
    rest->size = b->size - size;
    rest->before = b;
    rest->after = b->after;
    if (rest->after)
        rest->after->before = rest;
    b->after = rest;
    b->size = size;
    list_insert(h, rest);
    return 0;
}

/* Joins `b` with the range after it. */
static void join(heap *h, block *b)
{
    block *gone = b->after;
    b->size += gone->size;
    b->after = gone->after;
    if (b->after)
        b->after->before = b;
    put_spare(h, gone);
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

static bool page_reserved(const heap *h, uint64_t page)
{
    return h->reserved[page / 64] >> (page % 64) & 1;
}

static void mark_pages(heap *h, uint64_t page, uint64_t count, bool on)
{
    for (uint64_t p = page; p < page + count; p++) {
        if (on)
            h->reserved[p / 64] |= UINT64_C(1) << (p % 64);
        else
            h->reserved[p / 64] &= ~(UINT64_C(1) << (p % 64));
    }
    h->reserved_bytes += on ? count * LAYOUT_PAGE : -(count * LAYOUT_PAGE);
}

static int reserve_range(heap *h, uint64_t offset, uint64_t size)
{
    uint64_t page = offset / LAYOUT_PAGE, end = (offset + size + LAYOUT_PAGE - 1) / LAYOUT_PAGE;
    while (page < end) {
        if (page_reserved(h, page)) {
            page++;
            continue;
        }
        uint64_t run = 1;
        while (page + run < end && run < RESERVE_STEP / LAYOUT_PAGE && !page_reserved(h, page + run))
            run++;
        int r = h->kind->reserve(h->seg, page * LAYOUT_PAGE, run * LAYOUT_PAGE);
        if (r < 0)
            return r;
        mark_pages(h, page, run, true);
        page += run;
    }
    return 0;
}

/* Gives back the whole pages of a free range. */
static void give_back(heap *h, const block *b)
{
    uint64_t page = (b->offset + LAYOUT_PAGE - 1) / LAYOUT_PAGE, end = (b->offset + b->size) / LAYOUT_PAGE;
    while (page < end) {
        if (page % 64 == 0 && h->reserved[page / 64] == 0) {
            page += 64;
            continue;
        }
        uint64_t run = 0;
        while (page + run < end && page_reserved(h, page + run))
            run++;
        if (run && h->kind->give_back(h->seg, page * LAYOUT_PAGE, run * LAYOUT_PAGE) == 0)
            mark_pages(h, page, run, false);
        page += run ? run : 1;
    }
}

static void give_back_all(heap *h)
{
    for (unsigned i = 0; i < HEAP_LISTS; i++)
        for (block *b = h->lists[i]; b; b = b->next)
            give_back(h, b);
}

/* Reserved pages that may lie free: this much, or a quarter of the heap, more than what could not be given back. */
static void set_give_back(heap *h)
{
    uint64_t keep = h->seg->size / 4 > KEEP_FREE ? h->seg->size / 4 : KEEP_FREE;
    h->give_back_at = h->reserved_bytes - h->used + keep;
}

/* ---- the summary ------------------------------------------------------------------------------------------------ */

static void publish(heap *h)
{
    uint64_t largest = 0;
    for (int first = 39; first >= 0; first--) {
        if (h->bitmap[first]) {
            largest = h->lists[(unsigned)first * 16 + log2_floor(h->bitmap[first])]->size;
            break;
        }
    }
    __atomic_store_n(&h->header->used, h->used, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->peak, h->peak, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->blocks, h->blocks, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->largest_free, largest, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->reserved_bytes, h->reserved_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->own_bytes, h->own_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&h->header->own_blocks, h->own_blocks, __ATOMIC_RELAXED);
}

/* ---- the calls -------------------------------------------------------------------------------------------------- */

int heap_init(heap *h, segment *seg, const segment_kind *kind, layout_header *header)
{
    memset(h, 0, sizeof *h);
    h->seg = seg;
    h->kind = kind;
    h->header = header;
    uint64_t pages = seg->size / LAYOUT_PAGE;
    h->reserved = calloc((pages + 63) / 64, sizeof *h->reserved);
    block *all = new_block(h);
    if (!h->reserved || !all) {
        free(h->reserved);
        free(all);
        return -ENOMEM;
    }
    mark_pages(h, 0, 1, true); /* the header's page: whoever made the segment reserved it */
    all->offset = LAYOUT_PAGE;
    all->size = seg->size - LAYOUT_PAGE;
    h->first = all; /* joining always keeps the lower node, so this one stays the first */
    list_insert(h, all);
    set_give_back(h);
    pthread_mutex_init(&h->mutex, NULL);
    publish(h);
    return 0;
}

void heap_fini(heap *h)
{
    block *b = h->first;
    while (b) {
        block *after = b->after;
        free(b);
        b = after;
    }
    while (h->spare) {
        b = h->spare->next;
        free(h->spare);
        h->spare = b;
    }
    free(h->reserved);
    pthread_mutex_destroy(&h->mutex);
}

uint64_t heap_limit(const heap *h)
{
    return h->seg->size - LAYOUT_PAGE;
}

/* Four classes per power of two up to 64 KiB, eight above; a message of more than an eighth of the heap has none, so that
 * rounding never keeps one from fitting. */
uint64_t heap_class(const heap *h, uint64_t size, uint16_t *ret_class)
{
    if (size < UNIT)
        size = UNIT;
    if (size > heap_limit(h) / 8) {
        *ret_class = HEAP_UNCACHED;
        uint64_t rounded = (size + LAYOUT_PAGE - 1) & ~(uint64_t)(LAYOUT_PAGE - 1);
        return rounded <= heap_limit(h) ? rounded : (size + UNIT - 1) & ~(uint64_t)(UNIT - 1);
    }
    unsigned power = log2_floor(size);
    unsigned steps = size > 65536 ? 3 : 2;
    uint64_t step = UINT64_C(1) << (power - steps);
    if (step < UNIT)
        step = UNIT;
    uint64_t rounded = (size + step - 1) & ~(step - 1);
    power = log2_floor(rounded);
    unsigned within = (unsigned)((rounded - (UINT64_C(1) << power)) >> (power - 3));
    unsigned index = (power - 6) * 8 + within;
    *ret_class = index < HEAP_CLASSES ? (uint16_t)index : HEAP_UNCACHED;
    return rounded;
}

int heap_alloc(heap *h, uint64_t size, uint64_t align, block **ret_block)
{
    int r = -EAGAIN;
    size = (size + UNIT - 1) & ~(uint64_t)(UNIT - 1);
    pthread_mutex_lock(&h->mutex);
    block *b = align > UNIT ? NULL : find(h, size);
    uint64_t front = 0;
    if (align > UNIT) {
        b = find(h, size + align - UNIT);
        if (b)
            front = ((b->offset + align - 1) & ~(align - 1)) - b->offset;
    }
    if (!b)
        goto unlock;
    list_remove(h, b);
    if (front) {
        /* The part before the aligned place stays free; what is wanted is cut off behind it. */
        r = split(h, b, front);
        block *wanted = b->after;
        list_insert(h, b);
        if (r < 0)
            goto unlock;
        b = wanted;
        list_remove(h, b);
    }
    r = split(h, b, size);
    if (r == 0) {
        r = reserve_range(h, b->offset, size);
        if (r == -ENOSPC) {
            give_back_all(h);
            r = reserve_range(h, b->offset, size);
        }
    }
    h->used += b->size;
    h->blocks++;
    if (r < 0) {
        pthread_mutex_unlock(&h->mutex);
        heap_free(h, b);
        return r;
    }
    if (h->used > h->peak)
        h->peak = h->used;
    atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    b->class_index = HEAP_UNCACHED;
    b->own = false;
    publish(h);
    *ret_block = b;
unlock:
    pthread_mutex_unlock(&h->mutex);
    return r;
}

void heap_free(heap *h, block *b)
{
    pthread_mutex_lock(&h->mutex);
    h->used -= b->size;
    h->blocks--;
    if (b->own) {
        h->own_bytes -= b->size;
        h->own_blocks--;
        b->own = false;
    }
    if (b->after && b->after->free) {
        list_remove(h, b->after);
        join(h, b);
    }
    if (b->before && b->before->free) {
        b = b->before;
        list_remove(h, b);
        join(h, b);
    }
    list_insert(h, b);
    if (h->reserved_bytes - h->used > h->give_back_at) {
        /* Once for as much as has come free since the last time, so that each byte's share is small; what lies in holes
         * smaller than a page stays. */
        give_back_all(h);
        set_give_back(h);
    }
    publish(h);
    pthread_mutex_unlock(&h->mutex);
    atomic_fetch_add_explicit(&h->freed, 1, memory_order_seq_cst); /* before the look at memory_waiters */
}

void heap_own(heap *h, block *b)
{
    pthread_mutex_lock(&h->mutex);
    b->own = true;
    h->own_bytes += b->size;
    h->own_blocks++;
    publish(h);
    pthread_mutex_unlock(&h->mutex);
}
