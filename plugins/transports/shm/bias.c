/* SPDX-License-Identifier: MIT
 *
 * bias.c - the slow halves of the biased lock. Knows threads and membarrier, nothing of channels.
 */
#include "bias.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
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
    atomic_init(&b->attention, private_membarrier ? 0 : BIAS_CAREFUL);
    b->nobody = (bias_seat){0};
    b->seats = NULL;
    atomic_init(&b->owner, &b->nobody);
    pthread_mutex_init(&b->mutex, NULL);
}

void bias_fini(bias *b)
{
    while (b->seats) {
        bias_seat *next = b->seats->next;
        free(b->seats);
        b->seats = next;
    }
    pthread_mutex_destroy(&b->mutex);
}

#ifndef UNDER_TSAN
/* With the mutex held: raises WANTED and waits until the owner is outside. */
static void keep_out(bias *b)
{
    atomic_fetch_or_explicit(&b->attention, BIAS_WANTED, memory_order_relaxed);
    /* Without it, a seat is taken for good only under the mutex that we hold. */
    if (!(atomic_load_explicit(&b->attention, memory_order_relaxed) & BIAS_CAREFUL))
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    /* Visits are short; one that allocates pages or was preempted is not worth spinning for. */
    const bias_seat *seat = atomic_load_explicit(&b->owner, memory_order_relaxed);
    for (int i = 0; atomic_load_explicit(&seat->inside, memory_order_acquire); i++) {
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

/* With the mutex held: the calling thread's seat; without memory for one, the program cannot go on. */
static bias_seat *own_seat(bias *b)
{
    uintptr_t self = bias_self();
    for (bias_seat *seat = b->seats; seat; seat = seat->next)
        if (seat->thread == self)
            return seat;
    bias_seat *seat = calloc(1, sizeof *seat);
    if (!seat)
        abort();
    seat->thread = self;
    seat->next = b->seats;
    b->seats = seat;
    return seat;
}

/* Somebody is at work, or this thread is not the owner yet: wait for the mutex, take the lock over, and go inside before
 * the mutex is let go, so that the next one who wants in sees it. */
void bias_enter_slow(bias *b)
{
    pthread_mutex_lock(&b->mutex);
    bias_seat *seat = own_seat(b);
#ifdef UNDER_TSAN
    atomic_store_explicit(&b->owner, seat, memory_order_release);
#else
    if (atomic_load_explicit(&b->owner, memory_order_relaxed) != seat) {
        keep_out(b);
        atomic_store_explicit(&b->owner, seat, memory_order_release);
        atomic_store_explicit(&seat->inside, 1, memory_order_relaxed);
        atomic_fetch_and_explicit(&b->attention, ~BIAS_WANTED, memory_order_release);
    } else {
        atomic_store_explicit(&seat->inside, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->mutex);
#endif
}
