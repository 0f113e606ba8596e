/* SPDX-License-Identifier: MIT
 *
 * channel.c - opening and closing a channel: one port per transport, each endpoint bound or connected in order; its peers
 * and counters. Which transports there are is decided in route.c; messages pass in traffic.c.
 */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static leati_wait_mode read_wait_mode(const leat_settings *settings)
{
    const char *mode = leat_setting(settings, "wait");
    if (strcmp(mode, "sleep") == 0)
        return LEATI_WAIT_SLEEP;
    return strcmp(mode, "poll") == 0 ? LEATI_WAIT_POLL : LEATI_WAIT_ADAPTIVE;
}

/* The core's keys, and those of every transport that the channel uses. */
static int read_settings(leat_channel *ch, const char *section)
{
    const leat_key **tables = calloc(ch->nports + 2, sizeof(*tables));
    if (!tables)
        return leat_fail(ENOMEM, "no memory for the settings of channel %s", ch->name);
    size_t n = 0;
    tables[n++] = leati_channel_keys;
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].transport->plugin->channel_keys)
            tables[n++] = ch->ports[i].transport->plugin->channel_keys;
    int r = leati_settings_new(ch->ctx->config, section, tables, &ch->settings);
    free(tables);
    if (r < 0)
        return r;
    const leat_settings *s = ch->settings;
    ch->wait = read_wait_mode(s);
    ch->finishes = strcmp(leat_setting(s, "at_end"), "finish") == 0;
    ch->expect = (int)leat_setting_int(s, "expect");
    ch->linger_ms = leat_setting_given(s, "linger") ? (int)leat_setting_int(s, "linger") : LEAT_LINGER_DEFAULT;
    ch->max_size = leat_setting_given(s, "max_msg_size") ? (uint64_t)leat_setting_int(s, "max_msg_size") : UINT64_MAX;
    ch->inline_size = ch->max_size < LEAT_INLINE_MAX ? ch->max_size : LEAT_INLINE_MAX;
    return 0;
}

static void close_ports(leat_channel *ch)
{
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].port) {
            ch->ports[i].ops->close(ch->ports[i].port, ch->linger_ms);
            ch->ports[i].port = NULL;
        }
}

static int open_ports(leat_channel *ch)
{
    int r = 0;
    ch->spins = true;
    ch->home = &ch->ports[0];
    for (size_t i = 0; i < ch->nports; i++) {
        leati_port *port = &ch->ports[i];
        uint64_t capabilities = port->transport->plugin->capabilities;
        ch->spins &= (capabilities & LEAT_CAP_SPIN) != 0;
        if (!(ch->home->transport->plugin->capabilities & LEAT_CAP_NO_COPY) && capabilities & LEAT_CAP_NO_COPY)
            ch->home = port;
        port->hook.channel = ch;
        port->info = (leat_port_info){
            .hook = &port->hook,
            .channel = ch->name,
            .pattern = ch->pattern,
            .settings = ch->settings,
        };
        r = port->ops->open(port->transport->state, &port->info, &port->port);
        if (r < 0)
            goto close_ports;
        ch->sleepers[i] = (struct pollfd){.fd = port->ops->fd(port->port), .events = POLLIN};
    }
    ch->hot_tries = ch->spins && leati_channel_may_spin(ch) ? LEATI_HOT_TRIES : 0;
    for (size_t i = 0; i < ch->nendpoints; i++) {
        leati_port *port = &ch->ports[ch->endpoints[i].port];
        const char *address = ch->endpoints[i].address;
        r = ch->binds ? port->ops->bind(port->port, address) : port->ops->connect(port->port, address);
        if (r < 0)
            goto close_ports;
    }
    return 0;

close_ports:
    close_ports(ch);
    return r;
}

static int make_sleepers(leat_channel *ch)
{
    ch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ch->wake_fd < 0)
        return leat_fail(errno, "channel %s: no event descriptor: %s", ch->name, strerror(errno));
    ch->sleepers = calloc(ch->nports + 2, sizeof(*ch->sleepers));
    if (!ch->sleepers)
        return leat_fail(ENOMEM, "no memory for channel %s", ch->name);
    ch->sleepers[ch->nports] = (struct pollfd){.fd = ch->wake_fd, .events = POLLIN};
    ch->sleepers[ch->nports + 1] = (struct pollfd){.fd = ch->ctx->interrupt_fd, .events = POLLIN};
    return 0;
}

/* Frees what the ports do not need any more; the handle stays. */
static void free_inside(leat_channel *ch)
{
    if (ch->event_fd >= 0)
        close(ch->event_fd);
    if (ch->wake_fd >= 0)
        close(ch->wake_fd);
    ch->event_fd = ch->wake_fd = -1;
    free(ch->sleepers);
    for (size_t i = 0; i < ch->nendpoints; i++)
        free(ch->endpoints[i].address);
    free(ch->endpoints);
    free(ch->ports);
    leati_settings_free(ch->settings);
    ch->sleepers = NULL;
    ch->endpoints = NULL;
    ch->ports = NULL;
    ch->settings = NULL;
    ch->nports = ch->nendpoints = 0;
}

static void free_channel(leat_channel *ch)
{
    pthread_mutex_destroy(&ch->hook_lock);
    free(ch->name);
    free(ch);
}

static int make_channel(leat_ctx *ctx, const char *name, leat_channel **ret_ch)
{
    leat_channel *ch = aligned_alloc(64, (sizeof(*ch) + 63) / 64 * 64);
    char *copy = strdup(name);
    if (!ch || !copy) {
        free(ch);
        free(copy);
        return leat_fail(ENOMEM, "no memory for channel %s", name);
    }
    memset(ch, 0, sizeof(*ch));
    ch->ctx = ctx;
    ch->name = copy;
    ch->event_fd = ch->wake_fd = -1;
    atomic_init(&ch->pair_port, -1);
    pthread_mutex_init(&ch->hook_lock, NULL);
    *ret_ch = ch;
    return 0;
}

int leat_channel_open(leat_ctx *ctx, const char *name, leat_channel **ret_ch)
{
    leat_channel *ch = NULL;
    char *section = NULL;
    int r = leati_ctx_attention(ctx, 0);
    if (r < 0)
        return r;
    if (asprintf(&section, "channel %s", name) < 0)
        return leat_fail(ENOMEM, "no memory for channel %s", name);
    if (!leati_config_has_section(ctx->config, section)) {
        r = leat_fail(ENOENT, "the configuration has no section [channel %s]: add it, or give --channel name=%s,...",
                      name, name);
        goto free_section;
    }
    r = make_channel(ctx, name, &ch);
    if (r < 0)
        goto free_section;
    r = leati_route_plan(ch, section);
    if (r < 0)
        goto free_channel;
    r = read_settings(ch, section);
    if (r < 0)
        goto free_channel;
    r = make_sleepers(ch);
    if (r < 0)
        goto free_channel;
    r = open_ports(ch);
    if (r < 0)
        goto free_channel;
    leati_route_direct(ch);
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&ctx->lock);
    LIST_INSERT_HEAD(&ctx->channels, ch, entry);
    pthread_mutex_unlock(&ctx->lock);
    free(section);
    *ret_ch = ch;
    return 0;

free_channel:
    free_inside(ch);
    free_channel(ch);
free_section:
    free(section);
    return r;
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void disarm(leat_channel *ch)
{
    ch->armed = false;
    leati_channel_lower(ch);
    leati_route_direct(ch);
    if (!leati_ctx_bits(ch->ctx))
        leati_ctx_settle_interrupt(ch->ctx);
}

void leati_channel_shut(leat_channel *ch)
{
    if (!ch->ports)
        return;
    if (ch->poller)
        leati_poller_forget(ch);
    if (ch->armed)
        disarm(ch);
    close_ports(ch);
    free_inside(ch);
    leati_route_direct(ch);
}

void leat_channel_close(leat_channel *ch)
{
    /* In a forked child the ports are the parent's. */
    if (!ch || leati_ctx_bits(ch->ctx) & LEATI_FORKED)
        return;
    leat_ctx *ctx = ch->ctx;
    leati_channel_shut(ch);
    pthread_mutex_lock(&ctx->lock);
    LIST_REMOVE(ch, entry);
    pthread_mutex_unlock(&ctx->lock);
    free_channel(ch);
    leati_ctx_unref(ctx);
}

/* ---- what a program asks about it -------------------------------------------------------------------------------- */

int leati_channel_begin(leat_channel *ch, int timeout_ms)
{
    int r = leati_ctx_attention(ch->ctx, timeout_ms);
    if (leati_unlikely(ch->armed) && (r == 0 || r == -EINTR))
        disarm(ch);
    return r;
}

static int count_peers(const leat_channel *ch)
{
    int peers = atomic_load_explicit(&ch->peers, memory_order_acquire);
    return ch->pattern == LEAT_PAIR && peers > 1 ? 1 : peers; /* the others wait for their turn */
}

int leat_channel_peers(const leat_channel *ch)
{
    int r = leati_ctx_attention(ch->ctx, 0);
    return r < 0 ? r : count_peers(ch);
}

int leat_channel_wait_peers(leat_channel *ch, int n, int timeout_ms)
{
    leati_wait w = LEATI_WAIT(ch, 0, timeout_ms);
    int r = leati_channel_begin(ch, timeout_ms);
    while (r == 0) {
        if (count_peers(ch) >= n)
            return 0;
        r = leati_channel_refusal(ch);
        if (r == 0)
            r = leati_wait_turn(&w);
    }
    if (r == -EAGAIN)
        leat_fail(EAGAIN, "channel %s: %d of %d peers were there within %d ms", ch->name, count_peers(ch), n,
                  timeout_ms);
    return r;
}

int leat_channel_stats(const leat_channel *ch, leat_stats *ret_stats)
{
    leat_stats stats = {0};
    int r = leati_ctx_attention(ch->ctx, 0);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ch->nports; i++)
        ch->ports[i].ops->stats(ch->ports[i].port, &stats);
    *ret_stats = stats;
    return 0;
}
