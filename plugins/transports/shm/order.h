/* SPDX-License-Identifier: MIT
 *
 * order.h - the two memory orders that the engine's protocols need beyond acquire and release.
 */
#ifndef LEATI_SHM_ORDER_H
#define LEATI_SHM_ORDER_H

#include <stdbool.h>

/* Between publishing something and looking whether its reader sleeps. The sleeper's membarrier makes a full fence of it;
 * where one of both sides has no membarrier, this side pays. Pairs with engine_fence(). */
static inline void order_publish_then_look(bool fence)
{
    if (__builtin_expect(fence, 0))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Stores to shared memory that only inspection reads. */
#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)

#endif
