/* SPDX-License-Identifier: MIT
 *
 * payload.h - how every contestant writes and reads a payload: all of it, in one way, so that only what lies between the
 * two differs. Each word is the message's number, and the sum shows that no other bytes arrived.
 */
#ifndef LEAT_BENCH_PAYLOAD_H
#define LEAT_BENCH_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

/* Two words at a time, wherever they lie. */
typedef uint64_t payload_words __attribute__((vector_size(16), aligned(8), may_alias));

static inline void payload_fill(void *data, size_t size, uint64_t number)
{
    payload_words *words = data, value = {number, number};
    size_t n = size / sizeof(value);
    _Pragma("GCC unroll 4") for (size_t i = 0; i < n; i++) words[i] = value;
}

static inline uint64_t payload_sum(const void *data, size_t size)
{
    const payload_words *words = data;
    payload_words sum = {0, 0};
    size_t n = size / sizeof(sum);
    _Pragma("GCC unroll 4") for (size_t i = 0; i < n; i++) sum += words[i];
    return sum[0] + sum[1];
}

/* What payload_sum() must give for a payload that payload_fill() wrote. */
static inline uint64_t payload_expected(size_t size, uint64_t number)
{
    return number * (size / sizeof(uint64_t));
}

#endif
