/* SPDX-License-Identifier: MIT
 *
 * clock.c - the one clock that timeouts and timestamps are measured with. It is never an identity: see the session.
 */
#include "internal.h"

#include <time.h>

int64_t leat_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
