/* SPDX-License-Identifier: MIT
 *
 * order.h - the two memory orders that the engine's protocols need beyond acquire and release.
 */
#ifndef LEATI_SHM_ORDER_H
#define LEATI_SHM_ORDER_H

#include <stdbool.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

static inline void order_fence(void)
{
#ifdef UNDER_TSAN /* it knows no fences; an exchange is one on all processors that we build for */
    int nobody = 0;
    (void)__atomic_exchange_n(&nobody, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Between publishing something and looking whether its reader sleeps. The sleeper's membarrier makes a full fence of it;
 * where one of both sides has no membarrier, this side pays. Pairs with engine_fence(). */
static inline void order_publish_then_look(bool fence)
{
    if (__builtin_expect(fence, 0))
        order_fence();
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Stores to shared memory that only inspection reads. */
#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)

#endif
