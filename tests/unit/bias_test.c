/* SPDX-License-Identifier: MIT
 *
 * bias_test.c - the biased lock: whoever is inside is alone, be it the owner, who pays nothing, or another thread; with
 * membarrier and without. What is counted is a plain variable, so that a lapse loses counts (and the thread sanitizer
 * sees it).
 */
#include "leat_test.h"

#include "plugins/transports/shm/bias.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct fixture {
    bias lock;
    volatile uint64_t first, second; /* both count every visit; alone inside, they are equal */
    uint64_t locked, owned;          /* visits of either sort */
    uint64_t visits;                 /* how many the owner makes, or more until others had theirs */
    unsigned threads;
    _Atomic unsigned turn; /* whose turn it is to be the owner */
    _Atomic uint64_t queued;
    uint64_t flushed;
    _Atomic uint64_t wishes; /* told to the link thread */
    _Atomic bool stop;
} fixture;

static void fixture_init(fixture *f, bool fences)
{
    bool have_private, have_global;
    *f = (fixture){.visits = 200000 / leat_test_slowness()};
    bias_setup(&have_private, &have_global);
    if (!fences && !have_private)
        leat_test_skip("this system has no private expedited membarrier");
    bias_init(&f->lock, !fences);
}

static void visit(fixture *f)
{
    uint64_t n = f->first;
    f->first = n + 1;
    for (volatile unsigned i = n % 16 ? 0 : 1000; i > 0; i--) /* now and then long enough to be met */
        ;
    if (f->second != n)
        fail_test("two were inside at once");
    f->second = n + 1;
}

static pthread_t start(void *(*run)(void *), fixture *f)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, run, f) == 0);
    return thread;
}

static void end(pthread_t thread)
{
    check(pthread_join(thread, NULL) == 0);
}

/* ---- the owner and another ---------------------------------------------------------------------------------------- */

static void *own(void *user)
{
    fixture *f = user;
    for (bool enough = false; !enough;) {
        bias_enter(&f->lock);
        visit(f);
        f->owned++;
        enough = f->owned >= f->visits && f->locked >= 100;
        bias_leave(&f->lock);
    }
    return NULL;
}

static void *lock_often(void *user)
{
    fixture *f = user;
    uint64_t n = 0;
    while (!atomic_load(&f->stop)) {
        bias_lock(&f->lock);
        visit(f);
        f->locked++;
        bias_unlock(&f->lock);
        if (++n % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void owner_and_others(bool fences, unsigned others)
{
    fixture f;
    pthread_t threads[4];
    fixture_init(&f, fences);
    for (unsigned i = 0; i < others; i++)
        threads[i] = start(lock_often, &f);
    end(start(own, &f));
    atomic_store(&f.stop, true);
    for (unsigned i = 0; i < others; i++)
        end(threads[i]);
    check(f.first == f.owned + f.locked && f.second == f.first);
    bias_fini(&f.lock);
}

static void owner_and_link_thread(void)
{
    owner_and_others(false, 1);
}

static void owner_and_several(void)
{
    owner_and_others(false, 3);
}

static void with_fences(void)
{
    owner_and_others(true, 1);
    owner_and_others(true, 3);
}

/* ---- the owner changes --------------------------------------------------------------------------------------------- */

#define OWNERS 3u

/* One thread at a time uses the lock as its owner does; who it is changes all the time. */
static void *own_in_turn(void *user)
{
    fixture *f = user;
    unsigned me = atomic_fetch_add(&f->turn, 1u << 16) >> 16;
    uint64_t rounds = f->visits / 200;
    for (uint64_t round = 0; round < rounds; round++) {
        while ((atomic_load_explicit(&f->turn, memory_order_acquire) & 0xffff) != me)
            sched_yield();
        for (unsigned i = 0; i < 40 + me; i++) {
            bias_enter(&f->lock);
            check(bias_is_owner(&f->lock));
            visit(f);
            bias_leave(&f->lock);
        }
        unsigned turn = atomic_load(&f->turn);
        while (!atomic_compare_exchange_weak(&f->turn, &turn, (turn & ~0xffffu) | (me + 1) % OWNERS))
            ;
    }
    return NULL;
}

static void hand_over(bool fences)
{
    fixture f;
    pthread_t owners[OWNERS];
    fixture_init(&f, fences);
    pthread_t other = start(lock_often, &f);
    for (unsigned i = 0; i < OWNERS; i++)
        owners[i] = start(own_in_turn, &f);
    for (unsigned i = 0; i < OWNERS; i++)
        end(owners[i]);
    atomic_store(&f.stop, true);
    end(other);
    check(f.first == f.second);
    check(f.first == f.visits / 200 * (40 + 41 + 42) + f.locked);
    bias_fini(&f.lock);
}

static void *take_over(void *user)
{
    fixture *f = user;
    atomic_store(&f->turn, 1);
    bias_enter(&f->lock);
    visit(f);
    atomic_store(&f->turn, 2);
    bias_leave(&f->lock);
    return NULL;
}

/* The lock is handed to another thread while its owner is inside once more, closing a message. */
static void taking_over_waits_for_the_owner(void)
{
    fixture f;
    fixture_init(&f, false);
    for (unsigned round = 0; round < 20; round++) {
        bias_enter(&f.lock);
        atomic_store(&f.turn, 0);
        pthread_t next = start(take_over, &f);
        while (atomic_load(&f.turn) == 0)
            sched_yield();
        for (unsigned i = 0; i < 200; i++) { /* its chance to come in */
            sched_yield();
            usleep(20);
            check(atomic_load(&f.turn) == 1);
        }
        visit(&f);
        bias_leave(&f.lock);
        end(next);
    }
    check(f.first == 40 && f.second == 40);
    bias_fini(&f.lock);
}

static void ownership_passes_on(void)
{
    hand_over(false);
}

static void ownership_passes_on_with_fences(void)
{
    hand_over(true);
}

static void *enter_once(void *user)
{
    fixture *f = user;
    check(!bias_is_owner(&f->lock));
    bias_enter(&f->lock);
    check(bias_is_owner(&f->lock));
    bias_leave(&f->lock);
    return NULL;
}

static void locking_does_not_take_ownership(void)
{
    fixture f;
    fixture_init(&f, true);
    bias_lock(&f.lock); /* before anybody owned it */
    check(!bias_is_owner(&f.lock));
    bias_unlock(&f.lock);
    bias_enter(&f.lock);
    bias_leave(&f.lock);
    check(bias_is_owner(&f.lock));
    end(start(enter_once, &f));
    check(!bias_is_owner(&f.lock));
    bias_lock(&f.lock);
    check(!bias_is_owner(&f.lock));
    bias_unlock(&f.lock);
    bias_enter(&f.lock);
    check(bias_is_owner(&f.lock));
    bias_leave(&f.lock);
    bias_fini(&f.lock);
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

static void the_first_to_ask_is_told(void)
{
    fixture f;
    fixture_init(&f, true);
    check(!bias_asked(&f.lock));
    check(bias_ask(&f.lock));
    check(!bias_ask(&f.lock));
    bias_lock(&f.lock); /* somebody else's visit leaves the flag to whoever looks */
    bias_unlock(&f.lock);
    check(!bias_ask(&f.lock));
    bias_enter(&f.lock);
    check(bias_asked(&f.lock));
    check(!bias_asked(&f.lock));
    bias_leave(&f.lock);
    check(bias_ask(&f.lock));
    bias_fini(&f.lock);
}

static void flush(fixture *f)
{
    if (bias_asked(&f->lock))
        f->flushed += atomic_exchange_explicit(&f->queued, 0, memory_order_acquire);
}

static void *ask_often(void *user)
{
    fixture *f = user;
    for (uint64_t i = 0; i < f->visits / 8; i++) {
        atomic_fetch_add_explicit(&f->queued, 1, memory_order_release);
        if (bias_ask(&f->lock))
            atomic_fetch_add(&f->wishes, 1);
    }
    return NULL;
}

static void *flush_often(void *user)
{
    fixture *f = user;
    while (!atomic_load(&f->stop)) {
        if (atomic_exchange(&f->wishes, 0)) {
            bias_lock(&f->lock);
            flush(f);
            visit(f);
            bias_unlock(&f->lock);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void *own_and_flush(void *user)
{
    fixture *f = user;
    while (!atomic_load(&f->stop)) {
        bias_enter(&f->lock);
        flush(f);
        visit(f);
        bias_leave(&f->lock);
    }
    return NULL;
}

static void no_wish_is_lost(bool owner_too)
{
    fixture f;
    fixture_init(&f, !owner_too);
    pthread_t owner = {0}, link = start(flush_often, &f), askers[2];
    if (owner_too)
        owner = start(own_and_flush, &f);
    for (unsigned i = 0; i < 2; i++)
        askers[i] = start(ask_often, &f);
    for (unsigned i = 0; i < 2; i++)
        end(askers[i]);
    /* Without another ask: whoever was told comes. */
    for (bool all = false; !all; sched_yield()) {
        bias_lock(&f.lock);
        all = f.flushed == f.visits / 8 * 2;
        bias_unlock(&f.lock);
    }
    atomic_store(&f.stop, true);
    end(link);
    if (owner_too)
        end(owner);
    check(f.queued == 0);
    bias_fini(&f.lock);
}

static void the_link_thread_flushes(void)
{
    no_wish_is_lost(false);
}

static void the_owner_flushes_too(void)
{
    no_wish_is_lost(true);
}

static const leat_test tests[] = {
    {"the owner and the link thread are never inside together", owner_and_link_thread},
    {"the owner and several others are never inside together", owner_and_several},
    {"without membarrier the owner's fences keep them apart", with_fences},
    {"ownership passes from thread to thread while another locks", ownership_passes_on},
    {"who takes the lock over waits for the owner that is inside", taking_over_waits_for_the_owner},
    {"ownership passes on without membarrier", ownership_passes_on_with_fences},
    {"entering takes the lock over, locking does not", locking_does_not_take_ownership},
    {"of several who ask the first is told", the_first_to_ask_is_told},
    {"no wish is lost when the owner stays outside", the_link_thread_flushes},
    {"no wish is lost between the owner and the link thread", the_owner_flushes_too},
    {NULL},
};
LEAT_TEST_MAIN(tests)
