/* SPDX-License-Identifier: MIT
 *
 * bias.h - a lock biased to one thread: the one that uses a channel. Entering and leaving cost that thread two plain
 * stores and two loads; whoever else wants in (the link thread, or the thread that the channel is handed to) pays.
 * Private to one process; knows nothing of channels.
 *
 * Each thread that ever used the lock has a seat, which it alone writes; `owner` names the seat that the lock is biased to.
 * Invariant: at any time at most one of these holds: (a) the owner's seat is taken, and its thread has seen, after taking
 * it, that nobody wants in and that it still is the owner; (b) another thread holds `mutex`, has stored BIAS_WANTED, and has
 * seen the owner's seat empty after a barrier on every running thread of the process.
 * Proof: let S be the owner's store of inside, L its load of attention and owner; W the other's store of WANTED, M its
 * membarrier, R its load of inside. M puts a full fence into the owner between any two of its instructions. If that fence
 * is after S, R sees 1 and waits; if it is before S, L comes after W and sees it. (Dekker, the fence paid by one side.)
 * A thread that was the owner once and does not know yet that it is no more takes its own seat only, sees that, and leaves.
 */
#ifndef LEATI_SHM_BIAS_H
#define LEATI_SHM_BIAS_H

#include "order.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define BIAS_WANTED 1u  /* another thread holds the mutex and waits for `inside` to be 0 */
#define BIAS_CAREFUL 4u /* for good: no membarrier here, so every visit takes the slow way */
#define BIAS_FLUSH 2u   /* work was queued for the owner's next visit; the lock only carries the flag */

typedef struct bias_seat {
    _Atomic uint32_t inside;
    uintptr_t thread;
    struct bias_seat *next;
} bias_seat;

typedef struct bias {
    _Atomic(bias_seat *)
        owner; /* never NULL; changed only by who holds the mutex and has seen the owner's seat empty */
    _Atomic uint32_t attention;
    pthread_mutex_t mutex;
    bias_seat *seats; /* of all threads that ever owned it, under the mutex; freed with the lock */
    bias_seat nobody;
} bias;

/* Registers the process for membarrier; says which kinds work. Called once per context. */
void bias_setup(bool *ret_private, bool *ret_global);
void bias_init(bias *b, bool private_membarrier);
void bias_fini(bias *b);

static inline uintptr_t bias_self(void)
{
#if defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer)
    return (uintptr_t)__builtin_thread_pointer();
#define BIAS_HAS_SELF
#endif
#endif
#ifndef BIAS_HAS_SELF
    return (uintptr_t)pthread_self();
#endif
}

void bias_enter_slow(bias *b);

/* Whether the calling thread is the one that the lock is biased to: then it may enter cheaply. */
static inline bool bias_is_owner(const bias *b)
{
    return atomic_load_explicit(&b->owner, memory_order_acquire)->thread == bias_self();
}

/* True: somebody had asked for something, see bias_asked(). */
static inline bool bias_enter(bias *b)
{
#ifndef UNDER_TSAN
    bias_seat *seat = atomic_load_explicit(&b->owner, memory_order_acquire);
    if (likely(seat->thread == bias_self())) {
        atomic_store_explicit(&seat->inside, 1, memory_order_relaxed); /* pairs with the acquire in keep_out() */
        atomic_signal_fence(memory_order_seq_cst); /* the other side's membarrier makes it a fence */
        /* The acquire pairs with the release in bias_unlock(): attention clear means that owner is current. */
        if (likely(atomic_load_explicit(&b->attention, memory_order_acquire) == 0 &&
                   atomic_load_explicit(&b->owner, memory_order_relaxed) == seat))
            return false;
        atomic_store_explicit(&seat->inside, 0, memory_order_release);
    }
#endif
    bias_enter_slow(b);
    return true;
}

static inline void bias_leave(bias *b)
{
#ifdef UNDER_TSAN
    pthread_mutex_unlock(&b->mutex);
#else
    /* Pairs with the acquire in keep_out(). The owner cannot change while it is inside. */
    atomic_store_explicit(&atomic_load_explicit(&b->owner, memory_order_relaxed)->inside, 0, memory_order_release);
#endif
}

/* Nobody owns it any more: the next visit of any thread takes the slow way. With the lock held by bias_lock(). */
static inline void bias_disown(bias *b)
{
    atomic_store_explicit(&b->owner, &b->nobody, memory_order_release);
}

/* For any other thread: waits until the owner is outside, and keeps it there. Not recursive. */
void bias_lock(bias *b);
void bias_unlock(bias *b);

/* Asks the owner to look at its queue at its next visit; true if it was not asked already. */
static inline bool bias_ask(bias *b)
{
    return !(atomic_fetch_or_explicit(&b->attention, BIAS_FLUSH, memory_order_release) & BIAS_FLUSH);
}
/* Whoever is inside takes the flag down before looking at the queue. */
static inline bool bias_asked(bias *b)
{
    return (atomic_load_explicit(&b->attention, memory_order_relaxed) & BIAS_FLUSH) &&
           (atomic_fetch_and_explicit(&b->attention, ~BIAS_FLUSH, memory_order_acquire) & BIAS_FLUSH);
}

#endif
