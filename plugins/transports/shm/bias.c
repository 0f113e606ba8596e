/* SPDX-License-Identifier: MIT
 *
 * bias.c - the slow halves of the biased lock. Knows threads and membarrier, nothing of channels.
 */
#include "bias.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

void bias_setup(bool *ret_private, bool *ret_global)
{
    int have = membarrier(MEMBARRIER_CMD_QUERY);
    *ret_private = have > 0 && (have & MEMBARRIER_CMD_PRIVATE_EXPEDITED) &&
                   membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    *ret_global = have > 0 && (have & MEMBARRIER_CMD_GLOBAL_EXPEDITED) &&
                  membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

void bias_init(bias *b, bool private_membarrier)
{
    atomic_init(&b->inside, 0);
    atomic_init(&b->attention, private_membarrier ? 0 : BIAS_CAREFUL);
    atomic_init(&b->owner, 0);
    pthread_mutex_init(&b->mutex, NULL);
}

void bias_fini(bias *b)
{
    pthread_mutex_destroy(&b->mutex);
}

#ifndef UNDER_TSAN
/* With the mutex held: raises WANTED and waits until the owner is outside. */
static void keep_out(bias *b)
{
    atomic_fetch_or_explicit(&b->attention, BIAS_WANTED, memory_order_relaxed);
    /* Without it, `inside` is stored under the mutex that we hold. */
    if (!(atomic_load_explicit(&b->attention, memory_order_relaxed) & BIAS_CAREFUL))
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    /* Visits are short; one that allocates pages or was preempted is not worth spinning for. */
    for (int i = 0; atomic_load_explicit(&b->inside, memory_order_acquire); i++) {
        if (i < 64)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 20000}, NULL);
    }
}
#endif

void bias_lock(bias *b)
{
    pthread_mutex_lock(&b->mutex);
#ifndef UNDER_TSAN
    keep_out(b);
#endif
}

void bias_unlock(bias *b)
{
#ifndef UNDER_TSAN
    atomic_fetch_and_explicit(&b->attention, ~BIAS_WANTED, memory_order_release);
#endif
    pthread_mutex_unlock(&b->mutex);
}

/* Somebody is at work, or this thread is not the owner yet: wait for the mutex, take the lock over, and go inside before
 * the mutex is let go, so that the next one who wants in sees it. */
void bias_enter_slow(bias *b)
{
#ifdef UNDER_TSAN
    pthread_mutex_lock(&b->mutex);
    atomic_store_explicit(&b->owner, bias_self(), memory_order_relaxed);
#else
    uintptr_t self = bias_self();
    atomic_store_explicit(&b->inside, 0, memory_order_release);
    pthread_mutex_lock(&b->mutex);
    if (atomic_load_explicit(&b->owner, memory_order_relaxed) != self) {
        keep_out(b);
        atomic_store_explicit(&b->owner, self, memory_order_relaxed);
        atomic_store_explicit(&b->inside, 1, memory_order_relaxed);
        atomic_fetch_and_explicit(&b->attention, ~BIAS_WANTED, memory_order_release);
    } else {
        atomic_store_explicit(&b->inside, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->mutex);
#endif
}
