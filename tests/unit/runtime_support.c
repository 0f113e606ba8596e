/* SPDX-License-Identifier: MIT
 *
 * runtime_support.c - see runtime_support.h. Knows leat.h and the strings of the scripted transports.
 */
#include "runtime_support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS 8

leat_config *rt_config(void)
{
    char dir[512];
    leat_config *cfg = NULL;
    snprintf(dir, sizeof(dir), "%s/tests/mocks/.libs", leat_test_build_dir());
    check_ok(leat_config_new(&cfg));
    check_ok(leat_config_set(cfg, "leat", "session", leat_test_session()));
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", dir));
    return cfg;
}

void rt_keys(leat_config *cfg, const char *section, const char *keys)
{
    char *copy = strdup(keys), *rest = copy;
    for (char *word = NULL; (word = strsep(&rest, ";"));) {
        char *value = word + strspn(word, " ");
        char *key = strsep(&value, "=");
        if (*key)
            check_ok(leat_config_set(cfg, section, key, value));
    }
    free(copy);
}

leat_ctx *rt_join(leat_config *cfg)
{
    leat_ctx *ctx = NULL;
    check_ok(leat_ctx_new(cfg, &ctx));
    leat_config_free(cfg);
    return ctx;
}

leat_channel *rt_open(leat_ctx *ctx, const char *name)
{
    leat_channel *ch = NULL;
    check_ok(leat_channel_open(ctx, name, &ch));
    return ch;
}

leat_channel *rt_channel(const char *type, const char *keys, leat_ctx **ret_ctx)
{
    leat_config *cfg = rt_config();
    rt_keys(cfg, "channel c", "method=bind; address=here; transport=scripted; wait=sleep");
    rt_keys(cfg, "channel c", keys);
    check_ok(leat_config_set(cfg, "channel c", "type", type));
    *ret_ctx = rt_join(cfg);
    return rt_open(*ret_ctx, "c");
}

scripted *rt_script(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/tests/mocks/.libs/%s.so", leat_test_build_dir(), name);
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin)
        fail_test("%s", dlerror());
    scripted *script = dlsym(plugin, "scripted");
    check(script != NULL);
    return script;
}

void rt_clean(void)
{
    check_int(rt_script("scripted")->violations, 0);
    check_int(rt_script("scripted")->blocks, 0);
    check_int(rt_script("scripted-two")->violations, 0);
    check_int(rt_script("scripted-two")->blocks, 0);
}

int64_t rt_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void rt_check_took(const char *file, int line, int64_t start_ns, int ms)
{
    int64_t took_us = (rt_now_ns() - start_ns) / 1000, wanted_us = (int64_t)ms * 1000;
    if (took_us < wanted_us)
        leat_test_fail(file, line, "took %lld us, less than %d ms", (long long)took_us, ms);
    if (took_us > wanted_us + 2000000 * (int64_t)leat_test_slowness())
        leat_test_fail(file, line, "took %lld us, far more than %d ms", (long long)took_us, ms);
}

static struct later {
    int ms;
    void (*fn)(void *arg);
    void *arg;
    pthread_t thread;
} laters[THREADS];
static int nlaters;

static void *run_later(void *later_)
{
    struct later *later = later_;
    nanosleep(&(struct timespec){later->ms / 1000, later->ms % 1000 * 1000000L}, NULL);
    later->fn(later->arg);
    return NULL;
}

void rt_after_ms(int ms, void (*fn)(void *arg), void *arg)
{
    check(nlaters < THREADS);
    struct later *later = &laters[nlaters++];
    later->ms = ms;
    later->fn = fn;
    later->arg = arg;
    check_int(pthread_create(&later->thread, NULL, run_later, later), 0);
}

void rt_join_threads(void)
{
    while (nlaters > 0)
        pthread_join(laters[--nlaters].thread, NULL);
}

void rt_make(leat_channel *ch, const char *text, size_t size, leat_msg *msg)
{
    check_ok(leat_msg_alloc(ch, size, 0, msg));
    memset(leat_msg_data(msg), 0, size);
    memcpy(leat_msg_data(msg), text, strlen(text));
}
