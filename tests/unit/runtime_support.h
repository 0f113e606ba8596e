/* SPDX-License-Identifier: MIT
 *
 * runtime_support.h - what the unit tests of the core's run-time half share: channels on the scripted transports of
 * tests/mocks, and time.
 */
#ifndef RUNTIME_SUPPORT_H
#define RUNTIME_SUPPORT_H

#include "../mocks/scripted.h"
#include "leat_test.h"

#include <errno.h>
#include <string.h>

#define RT_TEST(sentence, body)       \
    {                                 \
        .name = sentence, .run = body \
    }

/* A configuration that finds the mocks. */
leat_config *rt_config(void);
/* "type=push; method=bind": sets keys of a section. */
void rt_keys(leat_config *cfg, const char *section, const char *keys);
/* A context with the channel `name` on the transport "scripted", and further keys; frees cfg (may be NULL). */
leat_ctx *rt_join(leat_config *cfg);
leat_channel *rt_open(leat_ctx *ctx, const char *name);
/* All at once: a context and in it a channel "c" of `type`. */
leat_channel *rt_channel(const char *type, const char *keys, leat_ctx **ret_ctx);

/* The strings of "scripted" or "scripted-two". */
scripted *rt_script(const char *name);
/* The protocol was kept, and no block is left. */
void rt_clean(void);

int64_t rt_now_ns(void);
/* `call` fails with -EAGAIN after timeout_ms: never earlier, and, in one of three runs (the machine may have had other
 * things to do), no more than 20 ms later. */
#define rt_times_out(call, timeout_ms)                                                                           \
    do {                                                                                                         \
        int rt_late = 0;                                                                                         \
        for (int rt_run = 0; rt_run == 0 || (rt_late && rt_run < 3); rt_run++) {                                 \
            int64_t rt_start_ns = rt_now_ns();                                                                   \
            check_error(call, EAGAIN);                                                                           \
            rt_took(rt_start_ns, timeout_ms);                                                                    \
            rt_late = rt_now_ns() - rt_start_ns > ((timeout_ms) + 20 * (int64_t)leat_test_slowness()) * 1000000; \
        }                                                                                                        \
        check_int(rt_late, 0);                                                                                   \
    } while (0)
/* What was begun at start_ns took at least ms, and not for ever. */
#define rt_took(start_ns, ms) rt_check_took(__FILE__, __LINE__, start_ns, ms)
void rt_check_took(const char *file, int line, int64_t start_ns, int ms);

/* Runs fn(arg) in a thread, some time from now. */
void rt_after_ms(int ms, void (*fn)(void *arg), void *arg);
/* Waits for all of them. */
void rt_join_threads(void);

/* A message of the channel with these characters. */
void rt_make(leat_channel *ch, const char *text, size_t size, leat_msg *msg);

#endif
