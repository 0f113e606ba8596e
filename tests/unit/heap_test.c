/* SPDX-License-Identifier: MIT
 *
 * heap_test.c - the shared-memory engine's allocator against a model: what it hands out lies apart, aligned, inside, on
 * reserved pages; what comes back is joined; what cannot be had leaves everything as it was. The segment is a mock that
 * keeps books of its pages and has none: the heap never touches the memory that it manages.
 */
#include "leat_test.h"

#include "plugins/transports/shm/heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define KB (UINT64_C(1) << 10)
#define MB (UINT64_C(1) << 20)
#define GB (UINT64_C(1) << 30)
#define UNIT LAYOUT_LINE

/* ---- a segment of nothing but pages that are counted ------------------------------------------------------------- */

typedef struct fixture {
    heap h;
    segment seg;
    layout_header *header;
    unsigned char *pages; /* 1: reserved */
    uint64_t reserved;    /* pages */
    uint64_t most;        /* pages that the file system has */
    uint64_t given_back;  /* calls */
    bool unreserving;     /* giving back works */
    uint64_t random;
} fixture;

static fixture *the; /* mocks are told of the segment only */

static uint64_t next_random(fixture *f)
{
    f->random = f->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return f->random >> 33;
}

static int mock_reserve(segment *seg, uint64_t offset, uint64_t length)
{
    check(offset % LAYOUT_PAGE == 0 && length % LAYOUT_PAGE == 0 && length > 0);
    check(offset + length <= seg->size);
    if (the->reserved + length / LAYOUT_PAGE > the->most)
        return -ENOSPC;
    for (uint64_t p = offset / LAYOUT_PAGE; p < (offset + length) / LAYOUT_PAGE; p++) {
        check(!the->pages[p]); /* asked for once only */
        the->pages[p] = 1;
        the->reserved++;
    }
    return 0;
}

static int mock_give_back(segment *seg, uint64_t offset, uint64_t length)
{
    check(offset % LAYOUT_PAGE == 0 && length % LAYOUT_PAGE == 0 && length > 0);
    check(offset >= LAYOUT_PAGE && offset + length <= seg->size);
    if (!the->unreserving)
        return -EOPNOTSUPP;
    for (uint64_t p = offset / LAYOUT_PAGE; p < (offset + length) / LAYOUT_PAGE; p++) {
        check(the->pages[p]);
        the->pages[p] = 0;
        the->reserved--;
    }
    the->given_back++;
    return 0;
}

static const segment_kind mock = {.transport = "mock", .reserve = mock_reserve, .give_back = mock_give_back};

static void fixture_init(fixture *f, uint64_t size)
{
    memset(f, 0, sizeof *f);
    the = f;
    f->seg.size = size;
    f->seg.fd = -1;
    f->header = calloc(1, sizeof *f->header);
    f->pages = calloc(size / LAYOUT_PAGE, 1);
    check(f->header && f->pages);
    f->pages[0] = 1;
    f->reserved = 1;
    f->most = UINT64_MAX;
    f->unreserving = true;
    f->random = 42;
    check_ok(heap_init(&f->h, &f->seg, &mock, f->header));
}

static void fixture_fini(fixture *f)
{
    heap_fini(&f->h);
    free(f->header);
    free(f->pages);
}

/* ---- what must always be true ------------------------------------------------------------------------------------ */

/* Walks the ranges: they tile the segment, no two free ones touch, and the published summary says the same. Returns the
 * size of the largest free one. */
static uint64_t check_whole(const fixture *f)
{
    const heap *h = &f->h;
    uint64_t at = LAYOUT_PAGE, used = 0, blocks = 0, largest = 0;
    bool before_free = false;
    for (const block *b = h->first; b; b = b->after) {
        check(b->offset == at);
        check(b->size >= UNIT && b->size % UNIT == 0);
        check(!b->after || b->after->before == b);
        check(!(b->free && before_free));
        before_free = b->free;
        at += b->size;
        if (b->free) {
            largest = b->size > largest ? b->size : largest;
            continue;
        }
        used += b->size;
        blocks++;
        for (uint64_t p = b->offset / LAYOUT_PAGE; p <= (b->offset + b->size - 1) / LAYOUT_PAGE; p++)
            check(f->pages[p]);
    }
    check(at == f->seg.size);
    check_int((long long)f->header->used, (long long)used);
    check_int((long long)f->header->blocks, (long long)blocks);
    check_int((long long)f->header->reserved_bytes, (long long)(f->reserved * LAYOUT_PAGE));
    check(f->header->peak >= used);
    /* A range of the list of the largest ones: at most a sixteenth below. */
    check(f->header->largest_free <= largest);
    check(f->header->largest_free + f->header->largest_free / 16 >= largest);
    return largest;
}

/* An allocation failed: was there really no range that it had to find? One that is larger by a list's width always is. */
static void check_nothing_fits(const fixture *f, uint64_t size, uint64_t align)
{
    uint64_t needed = size + (align - UNIT);
    check(check_whole(f) < needed + needed / 16 + UNIT);
}

static bool one_free_range(const fixture *f)
{
    return f->h.first->free && !f->h.first->after && f->h.first->size == f->seg.size - LAYOUT_PAGE;
}

/* ---- a random life ----------------------------------------------------------------------------------------------- */

/* Sizes of all magnitudes, up to `most`. */
static uint64_t random_size(fixture *f, uint64_t most)
{
    uint64_t power = next_random(f) % 64;
    uint64_t size = 1 + (next_random(f) << 20 ^ next_random(f)) % (UINT64_C(1) << (6 + power % 21));
    return size > most ? most : size;
}

static void random_life(uint64_t size, uint64_t most, size_t live_max, unsigned rounds, uint64_t pages)
{
    fixture f;
    fixture_init(&f, size);
    f.most = pages;
    block **live = calloc(live_max, sizeof *live);
    uint32_t *units = calloc(size / UNIT, sizeof *units); /* who has it: place in `live` plus one */
    size_t count = 0;
    uint64_t used = 0, peak = 0;
    unsigned full = 0, no_space = 0;
    check(live && units);
    for (unsigned round = 0; round < rounds; round++) {
        bool grow = (round / (rounds / 8 + 1)) % 2 == 0;
        bool give = count == live_max || (count && next_random(&f) % 8 >= (grow ? 6u : 2u));
        if (give) {
            size_t i = next_random(&f) % count;
            block *b = live[i];
            for (uint64_t u = b->offset / UNIT; u < (b->offset + b->size) / UNIT; u++) {
                check(units[u] == i + 1);
                units[u] = 0;
            }
            used -= b->size;
            heap_free(&f.h, b);
            live[i] = live[--count];
            if (i < count)
                for (uint64_t u = live[i]->offset / UNIT; u < (live[i]->offset + live[i]->size) / UNIT; u++)
                    units[u] = (uint32_t)i + 1;
        } else {
            uint64_t wanted = random_size(&f, most), align = UINT64_C(64)
                                                             << (next_random(&f) % 4 ? 0 : next_random(&f) % 7);
            block *b = NULL;
            int r = heap_alloc(&f.h, wanted, align, &b);
            if (r < 0) {
                check(r == -EAGAIN || (r == -ENOSPC && pages != UINT64_MAX));
                check(!b);
                if (r == -EAGAIN) {
                    full++;
                    check_nothing_fits(&f, (wanted + UNIT - 1) / UNIT * UNIT, align);
                } else {
                    no_space++;
                    check_whole(&f);
                }
            } else {
                check(b->size >= wanted && b->size < wanted + UNIT && b->size % UNIT == 0);
                check(b->offset % align == 0);
                check(b->offset >= LAYOUT_PAGE && b->offset + b->size <= size);
                check(b->refs == 1 && !b->own && b->class_index == HEAP_UNCACHED);
                live[count++] = b;
                for (uint64_t u = b->offset / UNIT; u < (b->offset + b->size) / UNIT; u++) {
                    check(units[u] == 0);
                    units[u] = (uint32_t)count;
                }
                used += b->size;
                peak = used > peak ? used : peak;
            }
        }
        check(f.header->used == used && f.header->blocks == count && f.header->peak == peak);
        if (round % 256 == 0)
            check_whole(&f);
    }
    check(full > 0 || pages != UINT64_MAX);
    check(no_space > 0 || pages == UINT64_MAX);
    while (count)
        heap_free(&f.h, live[--count]);
    check_whole(&f);
    check(one_free_range(&f));
    check(f.header->used == 0 && f.header->peak == peak);
    free(live);
    free(units);
    fixture_fini(&f);
}

static void random_blocks_lie_apart(void)
{
    unsigned rounds = 60000 / leat_test_slowness();
    random_life(MB, 64 * KB, 4000, rounds, UINT64_MAX);
    random_life(16 * MB, 4 * MB, 4000, rounds, UINT64_MAX);
}

static void a_full_file_system_leaves_the_heap_whole(void)
{
    random_life(16 * MB, 4 * MB, 4000, 60000 / leat_test_slowness(), 1500);
}

/* ---- single sentences -------------------------------------------------------------------------------------------- */

static void freed_in_any_order_is_one_range(void)
{
    enum { BLOCKS = 64 };
    block *b[BLOCKS];
    for (unsigned order = 0; order < 200; order++) {
        fixture f;
        unsigned place[BLOCKS];
        fixture_init(&f, MB);
        f.random = order + 1;
        for (unsigned i = 0; i < BLOCKS; i++) {
            check_ok(heap_alloc(&f.h, 64 * (1 + next_random(&f) % 40), UNIT, &b[i]));
            place[i] = i;
        }
        for (unsigned i = 0; i < BLOCKS; i++) {
            unsigned j = order == 0 ? i : order == 1 ? BLOCKS - 1 - i : i + (unsigned)(next_random(&f) % (BLOCKS - i));
            unsigned chosen = order == 1 ? j : place[j];
            place[j] = place[i];
            heap_free(&f.h, b[chosen]);
            check_whole(&f);
        }
        check(one_free_range(&f));
        fixture_fini(&f);
    }
}

static void the_whole_heap_can_be_one_block(void)
{
    fixture f;
    block *all, *none = NULL;
    uint16_t class_index;
    fixture_init(&f, 4 * MB);
    check(heap_limit(&f.h) == 4 * MB - LAYOUT_PAGE);
    uint64_t rounded = heap_class(&f.h, heap_limit(&f.h), &class_index);
    check(rounded == heap_limit(&f.h) && class_index == HEAP_UNCACHED);
    check_ok(heap_alloc(&f.h, rounded, UNIT, &all));
    check(f.header->largest_free == 0);
    check_int(heap_alloc(&f.h, UNIT, UNIT, &none), -EAGAIN);
    check_int(heap_alloc(&f.h, UNIT, 4096, &none), -EAGAIN);
    check(!none);
    check_whole(&f);
    heap_free(&f.h, all);
    check_int(heap_alloc(&f.h, heap_limit(&f.h) + 1, UNIT, &none), -EAGAIN);
    check(one_free_range(&f));
    check(f.header->peak == heap_limit(&f.h));
    check_whole(&f);
    fixture_fini(&f);
}

static void a_hole_of_the_same_size_is_found(void)
{
    fixture f;
    block *b[8], *again;
    fixture_init(&f, MB);
    for (unsigned i = 0; i < 7; i++)
        check_ok(heap_alloc(&f.h, 10048, UNIT, &b[i]));
    check_ok(heap_alloc(&f.h, f.header->largest_free, UNIT, &b[7]));
    heap_free(&f.h, b[3]);
    uint64_t offset = b[2]->offset + b[2]->size;
    check_ok(heap_alloc(&f.h, 10048, UNIT, &again)); /* the only hole, and no byte larger */
    check(again->offset == offset);
    check_whole(&f);
    fixture_fini(&f);
}

/* Fails at each page in turn, as a full file system may; what was reserved by then must not be lost or asked for again. */
static void no_space_at_any_page(void)
{
    for (uint64_t most = 2; most < 600; most += 7) {
        fixture f;
        block *small, *big = NULL;
        fixture_init(&f, 16 * MB);
        check_ok(heap_alloc(&f.h, 64, UNIT, &small));
        f.most = most;
        f.unreserving = most % 2;
        check_int(heap_alloc(&f.h, 600 * LAYOUT_PAGE, most % 3 ? UNIT : 4096, &big), -ENOSPC);
        check(!big);
        check(f.header->used == 64 && f.header->blocks == 1 && f.header->peak == 64);
        check_whole(&f);
        f.most = UINT64_MAX;
        check_ok(heap_alloc(&f.h, 600 * LAYOUT_PAGE, UNIT, &big)); /* there is room again */
        check_whole(&f);
        heap_free(&f.h, big);
        heap_free(&f.h, small);
        check(one_free_range(&f));
        fixture_fini(&f);
    }
}

static void free_pages_serve_before_no_space(void)
{
    fixture f;
    block *a, *b, *c;
    fixture_init(&f, 64 * MB);
    check_ok(heap_alloc(&f.h, 8 * MB, 4096, &a));
    check_ok(heap_alloc(&f.h, 64, 4096, &b)); /* keeps the hole apart */
    heap_free(&f.h, a);
    f.most = f.reserved + 1; /* the hole's 8 MiB are all that is to be had */
    check_ok(heap_alloc(&f.h, 8 * MB + 1, 4096, &c));
    check(c->offset > b->offset);
    check(f.given_back > 0);
    check_whole(&f);
    fixture_fini(&f);
}

static void much_free_memory_is_given_back(void)
{
    static block *b[900];
    fixture f;
    fixture_init(&f, GB);
    for (unsigned i = 0; i < 900; i++)
        check_ok(heap_alloc(&f.h, MB, 4096, &b[i]));
    /* A quarter of the heap may lie free without a system call. */
    for (unsigned i = 0; i < 255; i++)
        heap_free(&f.h, b[i * 2]);
    check_int((long long)f.given_back, 0);
    for (unsigned i = 255; i < 450; i++)
        heap_free(&f.h, b[i * 2]);
    for (unsigned i = 0; i < 450; i++)
        heap_free(&f.h, b[i * 2 + 1]);
    check(f.given_back > 0);
    check(f.header->reserved_bytes - f.header->used <= GB / 4);
    check_whole(&f);
    check(one_free_range(&f));
    /* A kind of memory that cannot give back keeps it all, and nothing is asked for twice. */
    f.unreserving = false;
    for (unsigned i = 0; i < 900; i++)
        check_ok(heap_alloc(&f.h, MB, 4096, &b[i]));
    for (unsigned i = 0; i < 900; i++)
        heap_free(&f.h, b[i]);
    check(f.header->reserved_bytes >= 900 * MB);
    check_whole(&f);
    fixture_fini(&f);
}

static void the_summary_tells_own_blocks_apart(void)
{
    fixture f;
    block *lane, *message;
    fixture_init(&f, MB);
    check_ok(heap_alloc(&f.h, 4096, UNIT, &lane));
    heap_own(&f.h, lane);
    check_ok(heap_alloc(&f.h, 1000, UNIT, &message));
    check_int((long long)f.header->used, 4096 + 1024);
    check_int((long long)f.header->blocks, 2);
    check_int((long long)f.header->own_bytes, 4096);
    check_int((long long)f.header->own_blocks, 1);
    uint64_t freed = f.h.freed;
    heap_free(&f.h, lane);
    check_int((long long)f.header->own_bytes, 0);
    check_int((long long)f.header->own_blocks, 0);
    check(f.h.freed == freed + 1);
    check_ok(heap_alloc(&f.h, 4096, UNIT, &lane)); /* the same range, a message now */
    check_int((long long)f.header->own_bytes, 0);
    heap_free(&f.h, lane);
    heap_free(&f.h, message);
    check_int((long long)f.header->peak, 4096 + 1024);
    check(one_free_range(&f));
    fixture_fini(&f);
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

static void check_class(const heap *h, uint64_t size)
{
    static uint64_t size_of[HEAP_CLASSES]; /* by class; 0: not met yet */
    uint16_t class_index, again;
    uint64_t rounded = heap_class(h, size, &class_index);
    check(rounded >= size && rounded % UNIT == 0 && rounded >= UNIT);
    if (size >= UNIT)
        check(rounded - size < UNIT || (rounded - size) * 4 <= size);
    if (class_index == HEAP_UNCACHED) {
        check(size > heap_limit(h) / 8);
        check(rounded - size < LAYOUT_PAGE);
        if (size <= heap_limit(h))
            check(rounded <= heap_limit(h));
        return;
    }
    check(class_index < HEAP_CLASSES);
    check(size_of[class_index] == 0 || size_of[class_index] == rounded); /* one class, one size */
    size_of[class_index] = rounded;
    if (rounded <= heap_limit(h) / 8)
        check(heap_class(h, rounded, &again) == rounded && again == class_index); /* whole sizes are their own class */
}

/* What classes depend on is the heap's size alone; a mock of it may be of any. */
static void classes_round_little_and_are_distinct(void)
{
    heap h = {0};
    segment seg = {.size = UINT64_C(1) << 44};
    uint16_t class_index, before = 0;
    uint64_t rounded_before = 0;
    h.seg = &seg;
    for (uint64_t size = 0; size < 300000; size++) {
        check_class(&h, size);
        uint64_t rounded = heap_class(&h, size, &class_index);
        check(rounded >= rounded_before && class_index >= before); /* order is kept */
        before = class_index;
        rounded_before = rounded;
    }
    for (unsigned power = 18; power < 44; power++)
        for (unsigned part = 0; part < 64; part++)
            for (int near = -2; near <= 2; near++)
                check_class(&h, (UINT64_C(1) << power) + part * (UINT64_C(1) << power) / 64 + (uint64_t)near);
}

static void classes_reach_to_the_largest_heap(void)
{
    heap h = {0};
    segment seg = {.size = UINT64_C(1) << 44};
    uint16_t class_index;
    h.seg = &seg;
    uint64_t eighth = heap_limit(&h) / 8;
    check(heap_class(&h, eighth, &class_index) >= eighth);
    check(class_index < HEAP_CLASSES);
    (void)heap_class(&h, eighth + 1, &class_index);
    check_int(class_index, HEAP_UNCACHED);
    check(heap_class(&h, heap_limit(&h), &class_index) == heap_limit(&h));
    /* Larger ones than any heap has: the place would be outside the caches' tables. */
    seg.size = UINT64_C(1) << 62;
    for (unsigned power = 43; power < 59; power++) {
        (void)heap_class(&h, (UINT64_C(1) << power) - 1, &class_index);
        check(class_index == HEAP_UNCACHED || class_index < HEAP_CLASSES);
        (void)heap_class(&h, UINT64_C(1) << power, &class_index);
        check(class_index == HEAP_UNCACHED || class_index < HEAP_CLASSES);
    }
    /* A small heap: rounding never keeps a message from fitting. */
    for (seg.size = MB; seg.size < 4 * MB; seg.size += 7 * LAYOUT_PAGE) {
        for (uint64_t size = heap_limit(&h) / 8 - 3; size <= heap_limit(&h); size += 4093)
            check(heap_class(&h, size, &class_index) <= heap_limit(&h));
        check(heap_class(&h, heap_limit(&h), &class_index) == heap_limit(&h));
    }
}

/* ---- constant time ----------------------------------------------------------------------------------------------- */

static void alloc_and_free(fixture *f)
{
    static const uint64_t sizes[] = {64, 320, 4096, 70000};
    for (unsigned i = 0; i < 4; i++) {
        block *b;
        if (heap_alloc(&f->h, sizes[i], i == 2 ? 4096 : UNIT, &b) < 0)
            _exit(1);
        heap_free(&f->h, b);
    }
}

/* How many instructions that takes, counted in a child that is stepped through. */
static long instructions(fixture *f)
{
    int status;
    long steps = 0;
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        alloc_and_free(f); /* what the first time costs more */
        raise(SIGSTOP);
        alloc_and_free(f);
        raise(SIGSTOP);
        _exit(0);
    }
    check(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        leat_test_skip("a process cannot be stepped through here");
    check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    do {
        check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        check(waitpid(pid, &status, 0) == pid);
        check(WIFSTOPPED(status));
        steps++;
    } while (WSTOPSIG(status) == SIGTRAP);
    check(WSTOPSIG(status) == SIGSTOP);
    kill(pid, SIGKILL);
    check(waitpid(pid, &status, 0) == pid);
    return steps;
}

static void as_many_instructions_with_100000_blocks(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    leat_test_skip("a sanitizer's instructions are not the heap's");
#endif
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        leat_test_skip("valgrind makes instructions of its own");
    fixture f;
    block *b, *holes[50000];
    unsigned n = 0, n_holes = 0;
    long few = 0, many;
    fixture_init(&f, GB);
    for (; n < 100000; n++) {
        if (n == 100)
            few = instructions(&f);
        check_ok(heap_alloc(&f.h, 64 * (1 + next_random(&f) % 64), UNIT, &b));
        if (n % 2)
            holes[n_holes++] = b;
    }
    many = instructions(&f);
    check(few > 50);
    check(many < 3 * few);
    for (unsigned i = 0; i < n_holes; i++) /* and with 50000 holes between 50000 blocks */
        heap_free(&f.h, holes[i]);
    many = instructions(&f);
    check(many < 3 * few);
    for (unsigned i = 0; i < 4000; i++) /* and with 2000 more that are all a little too small */
        check_ok(heap_alloc(&f.h, 69760, UNIT, &holes[i]));
    for (unsigned i = 0; i < 4000; i += 2)
        heap_free(&f.h, holes[i]);
    many = instructions(&f);
    check(many < 3 * few);
    check_whole(&f);
    fixture_fini(&f);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *work(void *user)
{
    fixture *f = user;
    block *mine[32] = {0};
    uint64_t random = (uintptr_t)pthread_self();
    for (unsigned i = 0; i < 20000 / leat_test_slowness(); i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        block **b = &mine[random >> 40 & 31];
        if (*b) {
            heap_free(&f->h, *b);
            *b = NULL;
        } else if (heap_alloc(&f->h, 1 + (random >> 45 & 8191), UNIT, b) < 0) {
            *b = NULL;
        }
    }
    for (unsigned i = 0; i < 32; i++)
        if (mine[i])
            heap_free(&f->h, mine[i]);
    return NULL;
}

static void threads_share_it(void)
{
    fixture f;
    pthread_t threads[4];
    fixture_init(&f, MB);
    for (unsigned i = 0; i < 4; i++)
        check(pthread_create(&threads[i], NULL, work, &f) == 0);
    for (unsigned i = 0; i < 4; i++)
        check(pthread_join(threads[i], NULL) == 0);
    check_whole(&f);
    check(one_free_range(&f));
    fixture_fini(&f);
}

static const leat_test tests[] = {
    {"random blocks lie apart, aligned and inside, and the summary tells of them", random_blocks_lie_apart},
    {"blocks freed in any order are one free range again", freed_in_any_order_is_one_range},
    {"the whole heap can be one block, and -EAGAIN says that nothing is left", the_whole_heap_can_be_one_block},
    {"a hole of just the wanted size is found", a_hole_of_the_same_size_is_found},
    {"a file system that is full now and then leaves the heap whole", a_full_file_system_leaves_the_heap_whole},
    {"-ENOSPC at any page leaves the heap whole", no_space_at_any_page},
    {"free pages are given back before -ENOSPC is said", free_pages_serve_before_no_space},
    {"pages are given back when much lies free", much_free_memory_is_given_back},
    {"the summary tells the engine's own blocks apart", the_summary_tells_own_blocks_apart},
    {"classes round up by a quarter at most and are distinct", classes_round_little_and_are_distinct},
    {"classes reach to the largest heap and fit the smallest", classes_reach_to_the_largest_heap},
    {"100000 live blocks take no more instructions than 100", as_many_instructions_with_100000_blocks},
    {"threads share the heap", threads_share_it},
    {NULL},
};
LEAT_TEST_MAIN(tests)
