/* SPDX-License-Identifier: MIT
 *
 * transports.c - the transports that a context has joined, and what fork() means to them. Which transport a channel
 * needs is decided in route.c; what a transport does is not known here.
 */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* All contexts of the process, for the child handler of fork(). The lock is taken before a fork, and held while a
 * transport is joined or left, so that a child never meets one half joined. */
static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, leat_ctx) contexts = LIST_HEAD_INITIALIZER(contexts);
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;

static void before_fork(void)
{
    pthread_mutex_lock(&fork_lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&fork_lock);
}

/* Async-signal-safe: stores, and the transports' `forked`, which are so too. */
static void after_fork_in_child(void)
{
    leat_ctx *ctx = NULL;
    LIST_FOREACH (ctx, &contexts, entry) {
        unsigned before = atomic_fetch_or_explicit(&ctx->attention, LEATI_FORKED, memory_order_relaxed);
        if (before & LEATI_FORKED)
            continue; /* a grandchild: our parent has done it */
        leati_transport *t = atomic_load_explicit(&ctx->transports, memory_order_relaxed);
        for (; t; t = atomic_load_explicit(&t->next, memory_order_relaxed))
            if (t->ops->forked)
                t->ops->forked(t->state);
    }
    pthread_mutex_unlock(&fork_lock);
}

static void install_fork_handlers(void)
{
    fork_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int leati_fork_watch(leat_ctx *ctx)
{
    pthread_once(&fork_once, install_fork_handlers);
    if (fork_error)
        return leat_fail(fork_error, "no fork handler for a context: %s", strerror(fork_error));
    pthread_mutex_lock(&fork_lock);
    LIST_INSERT_HEAD(&contexts, ctx, entry);
    pthread_mutex_unlock(&fork_lock);
    return 0;
}

static leati_transport *find(leat_ctx *ctx, const leat_plugin *plugin)
{
    leati_transport *t = atomic_load_explicit(&ctx->transports, memory_order_acquire);
    while (t && t->plugin != plugin)
        t = atomic_load_explicit(&t->next, memory_order_acquire);
    return t;
}

static int attach(leat_ctx *ctx, const leat_plugin *plugin, leati_transport **ret_transport)
{
    char section[128];
    const leat_key *const tables[] = {plugin->keys, NULL};
    leati_transport *t = calloc(1, sizeof(*t));
    if (!t)
        return leat_fail(ENOMEM, "no memory to join transport %s", plugin->name);
    snprintf(section, sizeof(section), "transport %s", plugin->name);
    int r = leati_settings_new(ctx->config, section, tables, &t->settings);
    if (r < 0)
        goto free_transport;
    t->plugin = plugin;
    t->ops = plugin->transport;
    t->info = (leat_attach_info){
        .session = leat_setting(ctx->settings, "session"),
        .program = program_invocation_short_name,
        .settings = t->settings,
        .process = ctx->settings,
    };
    r = t->ops->attach(&t->info, &t->state);
    if (r < 0)
        goto free_settings;
    *ret_transport = t;
    return 0;

free_settings:
    leati_settings_free(t->settings);
free_transport:
    free(t);
    return r;
}

int leati_transport_attach(leat_ctx *ctx, const leat_plugin *plugin, leati_transport **ret_transport)
{
    int r = 0;
    pthread_mutex_lock(&fork_lock);
    leati_transport *t = find(ctx, plugin);
    if (!t) {
        r = attach(ctx, plugin, &t);
        if (r == 0) {
            atomic_init(&t->next, atomic_load_explicit(&ctx->transports, memory_order_relaxed));
            /* pairs with the acquire in find() */
            atomic_store_explicit(&ctx->transports, t, memory_order_release);
        }
    }
    pthread_mutex_unlock(&fork_lock);
    if (r == 0)
        *ret_transport = t;
    return r;
}

void leati_transports_detach(leat_ctx *ctx)
{
    pthread_mutex_lock(&fork_lock);
    leati_transport *t = atomic_load_explicit(&ctx->transports, memory_order_relaxed);
    while (t) {
        leati_transport *next = atomic_load_explicit(&t->next, memory_order_relaxed);
        t->ops->detach(t->state);
        leati_settings_free(t->settings);
        free(t);
        t = next;
    }
    atomic_store_explicit(&ctx->transports, NULL, memory_order_relaxed);
    LIST_REMOVE(ctx, entry);
    pthread_mutex_unlock(&fork_lock);
}
