/* SPDX-License-Identifier: MIT
 *
 * poller.c - waiting for channels and file descriptors together. Channels are asked through the sleeper's protocol in wait.c,
 * all raised before one fence; descriptors through an epoll descriptor of their own. Knows no transport.
 */
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ROUNDS_PER_CLOCK 64u
#define FILES_PER_LOOK 64
#define STATES_SEEN 16

/* What is watched: a channel, or (channel NULL) a descriptor. */
typedef struct leati_source {
    leat_channel *channel;
    int fd;
    unsigned events;
    unsigned ready; /* of a descriptor, while collect() runs */
    void *tag;
} source;

/* ---- making and ending ------------------------------------------------------------------------------------------- */

int leat_poller_new(leat_ctx *ctx, leat_poller **ret_poller)
{
    int r = leati_ctx_attention(ctx, 0);
    if (r < 0)
        return r;
    leat_poller *p = calloc(1, sizeof(*p));
    if (!p)
        return leat_fail(ENOMEM, "no memory for a poller");
    p->ctx = ctx;
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->files_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (p->epoll_fd < 0 || p->files_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->files_fd, &event) < 0) {
        r = leat_fail(errno, "no epoll descriptors for a poller: %s", strerror(errno));
        goto close_fds;
    }
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&ctx->lock);
    LIST_INSERT_HEAD(&ctx->pollers, p, entry);
    pthread_mutex_unlock(&ctx->lock);
    *ret_poller = p;
    return 0;

close_fds:
    if (p->files_fd >= 0)
        close(p->files_fd);
    if (p->epoll_fd >= 0)
        close(p->epoll_fd);
    free(p);
    return r;
}

void leati_poller_shut(leat_poller *p)
{
    if (p->shut)
        return;
    for (size_t i = 0; i < p->nsources; i++)
        if (p->sources[i].channel)
            p->sources[i].channel->poller = NULL;
    close(p->files_fd);
    close(p->epoll_fd);
    free(p->sources);
    p->sources = NULL;
    p->nsources = 0;
    p->shut = true;
}

void leat_poller_free(leat_poller *p)
{
    /* In a forked child the epoll descriptors are shared with the parent. */
    if (!p || leati_ctx_bits(p->ctx) & LEATI_FORKED)
        return;
    leat_ctx *ctx = p->ctx;
    leati_poller_shut(p);
    pthread_mutex_lock(&ctx->lock);
    LIST_REMOVE(p, entry);
    pthread_mutex_unlock(&ctx->lock);
    free(p);
    leati_ctx_unref(ctx);
}

/* ---- what is watched --------------------------------------------------------------------------------------------- */

static source *find_channel(leat_poller *p, const leat_channel *ch)
{
    for (size_t i = 0; i < p->nsources; i++)
        if (p->sources[i].channel == ch)
            return &p->sources[i];
    return NULL;
}

static source *find_fd(leat_poller *p, int fd)
{
    for (size_t i = 0; i < p->nsources; i++)
        if (!p->sources[i].channel && p->sources[i].fd == fd)
            return &p->sources[i];
    return NULL;
}

/* Watches the descriptors of a channel. They only end the sleep; who is ready is asked of the channels. */
static int watch_channel(leat_poller *p, const leat_channel *ch)
{
    size_t i = 0;
    struct epoll_event event = {.events = EPOLLIN};
    for (; i < ch->nports + 1; i++)
        if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, ch->sleepers[i].fd, &event) < 0)
            goto unwatch;
    return 0;

unwatch:;
    int r = leat_fail(errno, "a poller cannot watch channel %s: %s", ch->name, strerror(errno));
    while (i-- > 0)
        epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, ch->sleepers[i].fd, NULL);
    return r;
}

static void unwatch_channel(leat_poller *p, const leat_channel *ch)
{
    for (size_t i = 0; i < ch->nports + 1; i++)
        epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, ch->sleepers[i].fd, NULL);
}

static struct epoll_event file_event(const leat_poller *p, const source *s)
{
    return (struct epoll_event){
        .events = (s->events & LEAT_IN ? EPOLLIN : 0u) | (s->events & LEAT_OUT ? EPOLLOUT : 0u),
        .data.u64 = (uint64_t)(s - p->sources),
    };
}

static int make_room(leat_poller *p)
{
    if (p->nsources < p->room)
        return 0;
    size_t room = p->room ? 2 * p->room : 8;
    source *sources = realloc(p->sources, room * sizeof(*sources));
    if (!sources)
        return leat_fail(ENOMEM, "no memory for a poller of %zu sources", room);
    p->sources = sources;
    p->room = room;
    return 0;
}

/* Fills the hole with the last source. */
static void take_out(leat_poller *p, source *s)
{
    if (s->channel) {
        s->channel->poller = NULL;
        p->nchannels--;
    }
    source *last = &p->sources[--p->nsources];
    if (s == last)
        return;
    *s = *last;
    if (!s->channel) {
        struct epoll_event event = file_event(p, s);
        /* Fails only if the program has closed the descriptor: then nothing will come from it. */
        epoll_ctl(p->files_fd, EPOLL_CTL_MOD, s->fd, &event);
    }
}

static int check_events(const leat_channel *ch, unsigned events)
{
    unsigned possible = (ch->receives ? LEAT_IN : 0) | (ch->sends ? LEAT_OUT : 0);
    if (events & ~(LEAT_IN | LEAT_OUT))
        return leat_fail(EINVAL, "a poller watches for LEAT_IN and LEAT_OUT");
    if (events && !(events & possible))
        return leat_fail(ENOTSUP, "channel %s is %s, which does not %s", ch->name, leat_pattern_name(ch->pattern),
                         events == LEAT_IN ? "receive" : "send");
    return 0;
}

int leat_poller_add(leat_poller *p, leat_channel *ch, unsigned events, void *tag)
{
    int r = leati_ctx_attention(p->ctx, 0);
    if (r == 0)
        r = leati_channel_begin(ch, 0);
    if (r == 0)
        r = check_events(ch, events);
    if (r < 0)
        return r;
    if (ch->ctx != p->ctx)
        return leat_fail(EINVAL, "channel %s belongs to another context than the poller", ch->name);
    if (ch->poller == p)
        return leat_fail(EEXIST, "channel %s is in this poller already", ch->name);
    if (ch->poller)
        return leat_fail(EBUSY, "channel %s is in another poller: remove it there first", ch->name);
    r = make_room(p);
    if (r < 0)
        return r;
    if (events) {
        r = watch_channel(p, ch);
        if (r < 0)
            return r;
    }
    p->sources[p->nsources++] = (source){.channel = ch, .fd = -1, .events = events, .tag = tag};
    p->nchannels++;
    ch->poller = p;
    return 0;
}

int leat_poller_add_fd(leat_poller *p, int fd, unsigned events, void *tag)
{
    int r = leati_ctx_attention(p->ctx, 0);
    if (r == 0)
        r = make_room(p);
    if (r < 0)
        return r;
    if (events & ~(LEAT_IN | LEAT_OUT))
        return leat_fail(EINVAL, "a poller watches for LEAT_IN and LEAT_OUT");
    source *s = &p->sources[p->nsources];
    *s = (source){.fd = fd, .events = events, .tag = tag};
    struct epoll_event event = file_event(p, s);
    if (epoll_ctl(p->files_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return leat_fail(errno, "a poller cannot watch descriptor %d: %s", fd,
                         errno == EPERM ? "a file of this kind is always ready" : strerror(errno));
    p->nsources++;
    return 0;
}

int leat_poller_modify(leat_poller *p, leat_channel *ch, unsigned events)
{
    int r = leati_ctx_attention(p->ctx, 0);
    if (r < 0)
        return r;
    source *s = find_channel(p, ch);
    if (!s)
        return leat_fail(ENOENT, "channel %s is not in this poller", ch->name);
    r = check_events(ch, events);
    if (r < 0)
        return r;
    if (events && !s->events) {
        r = watch_channel(p, ch);
        if (r < 0)
            return r;
    }
    if (!events && s->events)
        unwatch_channel(p, ch);
    s->events = events;
    return 0;
}

void leati_poller_forget(leat_channel *ch)
{
    leat_poller *p = ch->poller;
    source *s = find_channel(p, ch);
    if (s->events)
        unwatch_channel(p, ch);
    take_out(p, s);
}

int leat_poller_remove(leat_poller *p, leat_channel *ch)
{
    int r = leati_ctx_attention(p->ctx, 0);
    if (r < 0)
        return r;
    if (ch->poller != p)
        return leat_fail(ENOENT, "channel %s is not in this poller", ch->name);
    leati_poller_forget(ch);
    return 0;
}

int leat_poller_remove_fd(leat_poller *p, int fd)
{
    int r = leati_ctx_attention(p->ctx, 0);
    if (r < 0)
        return r;
    source *s = find_fd(p, fd);
    if (!s)
        return leat_fail(ENOENT, "descriptor %d is not in this poller", fd);
    epoll_ctl(p->files_fd, EPOLL_CTL_DEL, fd, NULL); /* fails if the program has closed it: as good */
    take_out(p, s);
    return 0;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* Asks the kernel for the descriptors; marks the sources that are ready. */
static void look_at_files(leat_poller *p)
{
    struct epoll_event events[FILES_PER_LOOK];
    int n = epoll_wait(p->files_fd, events, FILES_PER_LOOK, 0);
    for (int i = 0; i < n; i++) {
        source *s = &p->sources[events[i].data.u64];
        s->ready = (events[i].events & EPOLLIN ? LEAT_IN : 0u) | (events[i].events & EPOLLOUT ? LEAT_OUT : 0u) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? LEAT_ERR : 0u);
    }
}

/* Reports what is ready, beginning behind what was reported last. */
static int collect(leat_poller *p, bool with_files, leat_event *events, size_t capacity)
{
    size_t n = 0, first = p->turn;
    if (with_files && p->nsources > p->nchannels)
        look_at_files(p);
    for (size_t i = 0; i < p->nsources; i++) {
        size_t at = (first + i) % p->nsources;
        source *s = &p->sources[at];
        unsigned ready = s->ready;
        s->ready = 0;
        if (n == capacity)
            continue;
        if (s->channel && s->events)
            ready = leati_channel_ready(s->channel, s->events);
        if (!ready)
            continue;
        events[n++] = (leat_event){.channel = s->channel, .fd = s->fd, .events = ready, .tag = s->tag};
        p->turn = (at + 1) % p->nsources;
    }
    return (int)n;
}

static void fence_once_per_state(leat_poller *p)
{
    const void *seen[STATES_SEEN];
    size_t nseen = 0;
    for (size_t i = 0; i < p->nsources; i++) {
        const leat_channel *ch = p->sources[i].channel;
        for (size_t j = 0; ch && j < ch->nports; j++) {
            const leati_transport *t = ch->ports[j].transport;
            size_t k = 0;
            while (k < nseen && seen[k] != t)
                k++;
            if (k < nseen || !p->sources[i].events || !t->ops->fence)
                continue;
            t->ops->fence(t->state);
            if (nseen < STATES_SEEN)
                seen[nseen++] = t;
        }
    }
}

static void lower_all(leat_poller *p)
{
    for (size_t i = 0; i < p->nsources; i++)
        if (p->sources[i].channel && p->sources[i].events)
            leati_channel_lower(p->sources[i].channel);
}

/* Sleeps unless something is ready after all. Returns how many events, 0: look again, or an error. */
static int sleep_on_all(leat_poller *p, int64_t deadline_ns, leat_event *events, size_t capacity)
{
    struct pollfd fds[] = {{.fd = p->epoll_fd, .events = POLLIN}, {.fd = p->ctx->interrupt_fd, .events = POLLIN}};
    struct timespec buffer;
    for (size_t i = 0; i < p->nsources; i++)
        if (p->sources[i].channel && p->sources[i].events)
            leati_channel_raise(p->sources[i].channel, p->sources[i].events);
    fence_once_per_state(p);
    int r = collect(p, true, events, capacity);
    if (r > 0)
        goto lower;
    /* Not epoll_pwait2(): unlike ppoll() it would end with EINTR when a stopped process goes on. */
    r = ppoll(fds, 2, leati_remaining(deadline_ns, &buffer), NULL);
    if (r < 0) {
        r = -errno;
        if (r != -EINTR || leati_ctx_attention(p->ctx, -1) == 0)
            leat_fail(-r, "a poller's sleep ended: %s", strerror(-r));
    } else {
        if (fds[1].revents && !leati_ctx_bits(p->ctx))
            leati_ctx_settle_interrupt(p->ctx);
        r = 0;
    }

lower:
    lower_all(p);
    return r;
}

/* Until when the channels agree to spin; 0: not at all. */
static int64_t spin_until(const leat_poller *p, int64_t now_ns)
{
    bool for_ever = true;
    if (p->nchannels == 0)
        return 0;
    for (size_t i = 0; i < p->nsources; i++) {
        const leat_channel *ch = p->sources[i].channel;
        if (!ch)
            continue;
        if (!leati_channel_may_spin(ch))
            return 0;
        for_ever &= ch->wait == LEATI_WAIT_POLL;
    }
    return for_ever ? LEATI_FOREVER : now_ns + LEATI_SPIN_NS;
}

int leat_poller_wait(leat_poller *p, leat_event *events, size_t capacity, int timeout_ms)
{
    int r = leati_ctx_attention(p->ctx, timeout_ms);
    if (r < 0)
        return r;
    if (capacity == 0)
        return leat_fail(EINVAL, "a poller's wait needs room for at least one event");
    for (size_t i = 0; i < p->nsources; i++)
        if (p->sources[i].channel && p->sources[i].channel->armed)
            leati_channel_begin(p->sources[i].channel, 0);
    r = collect(p, true, events, capacity);
    if (r > 0)
        return r;
    if (timeout_ms == 0)
        return -EAGAIN;

    int64_t now = leat_now_ns(), deadline_ns = leati_deadline(timeout_ms), spin_until_ns = spin_until(p, now);
    for (unsigned rounds = 1; r == 0; rounds++) {
        bool clock = !spin_until_ns || rounds % ROUNDS_PER_CLOCK == 0;
        if (clock)
            now = leat_now_ns();
        if (clock && now >= spin_until_ns)
            spin_until_ns = 0;
        if (clock && now >= deadline_ns)
            return leat_fail(EAGAIN, "a poller: nothing was ready within %d ms", timeout_ms);
        if (spin_until_ns) {
            leati_pause();
        } else {
            r = sleep_on_all(p, deadline_ns, events, capacity);
            if (r != 0)
                break;
        }
        r = leati_ctx_attention(p->ctx, timeout_ms);
        if (r == 0)
            r = collect(p, clock, events, capacity);
    }
    return r;
}
