/* SPDX-License-Identifier: MIT
 *
 * log.c - one line at a time, to standard error or to the program's function, from any thread. Part of the process,
 * not of a context: who logs may have none.
 */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Read-held while a line is handed over, so that a function is never called after leat_log_to() has replaced it. */
static pthread_rwlock_t sink_lock = PTHREAD_RWLOCK_INITIALIZER;
static leat_log_fn *sink;
static void *sink_user;

/* Relaxed: a line more or less around a change of the level harms nobody. */
static atomic_int least_important = LEAT_LOG_NOTICE;

static void to_stderr(leat_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    fprintf(stderr, "leat: %s: %s\n", names[level], line);
}

void leat_log_to(leat_log_fn *fn, void *user)
{
    pthread_rwlock_wrlock(&sink_lock);
    sink = fn;
    sink_user = user;
    pthread_rwlock_unlock(&sink_lock);
}

void leati_log_set_level(leat_log_level level)
{
    atomic_store_explicit(&least_important, (int)level, memory_order_relaxed);
}

void leat_logf(leat_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&least_important, memory_order_relaxed))
        return;
    int saved_errno = errno;
    char *line;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&line, format, args);
    va_end(args);
    if (length >= 0) {
        /* Names come from files and peers: none of them may forge a second line or move the cursor. */
        for (char *c = line; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 127)
                *c = '?';
        pthread_rwlock_rdlock(&sink_lock);
        if (sink)
            sink(level, line, sink_user);
        else
            to_stderr(level, line);
        pthread_rwlock_unlock(&sink_lock);
        free(line);
    }
    errno = saved_errno;
}
