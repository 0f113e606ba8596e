/* SPDX-License-Identifier: MIT
 *
 * context.c - one program's membership in a session: what interrupts it, what is open in it, and how it ends. Transports
 * are joined in transports.c, channels opened in channel.c; neither's inside is known here.
 */
#include "runtime.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static bool runs_on_many_cpus(void)
{
    cpu_set_t set;
    /* More CPUs than the set can name: then it runs on many. */
    return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

static void set_log_level(const leat_settings *settings)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    if (!leat_setting_given(settings, "log_level"))
        return;
    const char *level = leat_setting(settings, "log_level");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(level, names[i]) == 0)
            leati_log_set_level((leat_log_level)i);
}

static int copy_config(const leat_config *cfg, leat_config **ret_config)
{
    if (cfg)
        return leati_config_copy(cfg, ret_config);
    leat_config *config = NULL;
    int r = leat_config_new(&config);
    if (r < 0)
        return r;
    r = leati_config_load_default(config);
    if (r < 0) {
        leat_config_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

int leat_ctx_new(const leat_config *cfg, leat_ctx **ret_ctx)
{
    const leat_key *const tables[] = {leati_process_keys, NULL};
    leat_ctx *ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return leat_fail(ENOMEM, "no memory for a context");
    int r = copy_config(cfg, &ctx->config);
    if (r < 0)
        goto free_ctx;
    r = leati_settings_new(ctx->config, "leat", tables, &ctx->settings);
    if (r < 0)
        goto free_config;
    ctx->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ctx->interrupt_fd < 0) {
        r = leat_fail(errno, "no event descriptor for a context: %s", strerror(errno));
        goto free_settings;
    }
    ctx->many_cpus = runs_on_many_cpus();
    atomic_init(&ctx->refs, 1);
    LIST_INIT(&ctx->channels);
    LIST_INIT(&ctx->pollers);
    pthread_mutex_init(&ctx->lock, NULL);
    r = leati_fork_watch(ctx);
    if (r < 0)
        goto destroy_lock;
    set_log_level(ctx->settings);
    *ret_ctx = ctx;
    return 0;

destroy_lock:
    pthread_mutex_destroy(&ctx->lock);
    close(ctx->interrupt_fd);
free_settings:
    leati_settings_free(ctx->settings);
free_config:
    leat_config_free(ctx->config);
free_ctx:
    free(ctx);
    return r;
}

void leati_ctx_unref(leat_ctx *ctx)
{
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&ctx->lock);
    free(ctx);
}

void leat_ctx_free(leat_ctx *ctx)
{
    /* In a forked child everything here is still the parent's: its descriptors, its peers, its files. */
    if (!ctx || leati_ctx_bits(ctx) & LEATI_FORKED)
        return;
    atomic_fetch_or_explicit(&ctx->attention, LEATI_SHUT, memory_order_relaxed);
    leat_channel *ch = NULL;
    leat_poller *p = NULL;
    pthread_mutex_lock(&ctx->lock);
    LIST_FOREACH (p, &ctx->pollers, entry)
        leati_poller_shut(p);
    LIST_FOREACH (ch, &ctx->channels, entry)
        leati_channel_shut(ch);
    pthread_mutex_unlock(&ctx->lock);

    leati_transports_detach(ctx);
    close(ctx->interrupt_fd);
    ctx->interrupt_fd = -1;
    leati_settings_free(ctx->settings);
    leat_config_free(ctx->config);
    leati_ctx_unref(ctx);
}

void leat_interrupt(leat_ctx *ctx)
{
    int saved_errno = errno;
    const uint64_t one = 1;
    atomic_fetch_or_explicit(&ctx->attention, LEATI_INTERRUPTED, memory_order_seq_cst);
    /* It can only fail when it is readable already. */
    ssize_t ignored = write(ctx->interrupt_fd, &one, sizeof(one));
    (void)ignored;
    errno = saved_errno;
}

void leati_ctx_settle_interrupt(leat_ctx *ctx)
{
    const uint64_t one = 1;
    leati_drain(ctx->interrupt_fd);
    /* An interrupt that came between its bit and our draining must not lose its descriptor: waits that sleep already
     * do not look at the bit. */
    if (atomic_load_explicit(&ctx->attention, memory_order_seq_cst) & LEATI_INTERRUPTED) {
        ssize_t ignored = write(ctx->interrupt_fd, &one, sizeof(one));
        (void)ignored;
    }
}

void leat_resume(leat_ctx *ctx)
{
    if (leati_ctx_bits(ctx) & LEATI_FORKED)
        return;
    atomic_fetch_and_explicit(&ctx->attention, ~LEATI_INTERRUPTED, memory_order_seq_cst);
    leati_ctx_settle_interrupt(ctx);
}

int leati_ctx_attention(leat_ctx *ctx, int timeout_ms)
{
    unsigned bits = leati_ctx_bits(ctx);
    if (leati_likely(!bits))
        return 0;
    if (bits & LEATI_FORKED)
        return leat_fail(ECHILD, "this context is the parent process's: after fork() the child makes its own");
    if (bits & LEATI_SHUT)
        return leat_fail(ESHUTDOWN, "the context was freed: its channels and pollers may only be closed");
    if (timeout_ms != 0)
        return leat_fail(EINTR, "interrupted by leat_interrupt(); leat_resume() ends that");
    return 0;
}
