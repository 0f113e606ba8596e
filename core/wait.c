/* SPDX-License-Identifier: MIT
 *
 * wait.c - how a call waits: spin about as long as a sleep would cost, then sleep by the protocol of plugin.h (raise, fence,
 * look once more, sleep, lower). Deadlines are absolute, so that neither signals nor spurious wakes move them. Also the
 * same protocol for foreign event loops: leat_channel_fd() and leat_channel_arm().
 */
#include "runtime.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* Rounds of a spin between two looks at the clock, which costs as much as several tries. */
#define ROUNDS_PER_CLOCK 64u
/* Rounds of wait = poll between two offers of the only CPU: often enough for a partner that shares it, rare enough not
 * to be felt by one that does not. A power of two, and a multiple of ROUNDS_PER_CLOCK. */
#define ROUNDS_PER_YIELD 1024u
/* So often a port may call itself ready in vain before it is believed to wait for something else, such as memory. */
#define VAIN_MAX 3u

int64_t leati_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? LEATI_FOREVER : leat_now_ns() + timeout_ms * NS_PER_MS;
}

const struct timespec *leati_remaining(int64_t deadline_ns, struct timespec *buffer)
{
    if (deadline_ns == LEATI_FOREVER)
        return NULL;
    int64_t left = deadline_ns - leat_now_ns();
    if (left < 0)
        left = 0;
    *buffer = (struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
    return buffer;
}

void leati_drain(int event_fd)
{
    uint64_t count = 0;
    ssize_t ignored = read(event_fd, &count, sizeof(count));
    (void)ignored; /* nothing in it: as good */
}

/* ---- the sleeper's protocol -------------------------------------------------------------------------------------- */

void leati_channel_raise(leat_channel *ch, unsigned events)
{
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].ops->raise)
            ch->ports[i].ops->raise(ch->ports[i].port, events);
}

void leati_channel_fence(leat_channel *ch)
{
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].ops->fence)
            ch->ports[i].ops->fence(ch->ports[i].transport->state);
}

unsigned leati_channel_ready(leat_channel *ch, unsigned events)
{
    unsigned possible = events & ((ch->receives ? LEAT_IN : 0) | (ch->sends ? LEAT_OUT : 0)), ready = 0;
    /* Both make the next call return at once, with their error. */
    if (leati_channel_ended(ch))
        ready |= possible & LEAT_IN;
    if (atomic_load_explicit(&ch->refused, memory_order_acquire))
        return possible;
    if (ch->nports > 1 && ch->pattern == LEAT_PAIR) {
        int i = atomic_load_explicit(&ch->pair_port, memory_order_acquire);
        return i < 0 ? ready : ready | (ch->ports[i].ops->ready(ch->ports[i].port, possible) & possible);
    }
    for (size_t i = 0; i < ch->nports && ready != possible; i++)
        ready |= ch->ports[i].ops->ready(ch->ports[i].port, possible) & possible;
    return ready;
}

void leati_channel_lower(leat_channel *ch)
{
    leati_drain(ch->wake_fd);
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].ops->lower)
            ch->ports[i].ops->lower(ch->ports[i].port);
}

/* ---- one call's wait --------------------------------------------------------------------------------------------- */

bool leati_channel_may_spin(const leat_channel *ch)
{
    return ch->wait == LEATI_WAIT_POLL || (ch->wait == LEATI_WAIT_ADAPTIVE && ch->spins && ch->ctx->many_cpus);
}

/* Sleeps on the channel's descriptors. 0: something may have happened; else said. */
static int sleep_on(leat_channel *ch, nfds_t first, int64_t deadline_ns)
{
    struct timespec buffer;
    struct pollfd *fds = ch->sleepers + first;
    nfds_t n = (nfds_t)ch->nports + 2 - first;
    int r = ppoll(fds, n, leati_remaining(deadline_ns, &buffer), NULL);
    if (r < 0 && errno == EINTR) {
        r = leati_ctx_attention(ch->ctx, -1);
        return r < 0 ? r : leat_fail(EINTR, "channel %s: a signal ended the wait", ch->name);
    }
    if (r < 0)
        return leat_fail(errno, "channel %s: cannot sleep: %s", ch->name, strerror(errno));
    if (r > 0 && fds[n - 1].revents && !leati_ctx_bits(ch->ctx))
        leati_ctx_settle_interrupt(ch->ctx);
    return 0;
}

/* Only hooks matter: no port is asked or raised. */
static int sleep_for_hooks(leati_wait *w)
{
    int r = sleep_on(w->ch, (nfds_t)w->ch->nports, w->deadline_ns);
    leati_drain(w->ch->wake_fd);
    return r;
}

static int sleep_for_ports(leati_wait *w)
{
    leat_channel *ch = w->ch;
    int64_t deadline_ns = w->deadline_ns;
    int r = 0;
    leati_channel_raise(ch, w->events);
    leati_channel_fence(ch);
    if (leati_channel_ready(ch, w->events)) {
        if (++w->vain <= VAIN_MAX)
            goto lower;
        /* It says that it is ready, and every try fails: the call waits for what `ready` does not know, memory or room
         * for a message of several slots. The descriptor tells when that comes; since it may have come before raise,
         * look again by and by. */
        unsigned doublings = w->vain - VAIN_MAX < 8 ? w->vain - VAIN_MAX : 8;
        int64_t look_ns = leat_now_ns() + (NS_PER_MS << (doublings - 1));
        if (look_ns < deadline_ns)
            deadline_ns = look_ns;
    } else {
        w->vain = 0;
    }
    r = sleep_on(ch, 0, deadline_ns);

lower:
    leati_channel_lower(ch);
    return r;
}

/* The first try was in vain: from here the clock counts. */
static LEATI_COLD int start(leati_wait *w)
{
    if (w->timeout_ms == 0)
        return -EAGAIN;
    int64_t now = leat_now_ns();
    w->started = true;
    w->deadline_ns = w->timeout_ms < 0 ? LEATI_FOREVER : now + w->timeout_ms * NS_PER_MS;
    w->spin_until_ns = 0;
    if (w->events && leati_channel_may_spin(w->ch)) {
        int64_t end = w->ch->wait == LEATI_WAIT_POLL ? LEATI_FOREVER : now + LEATI_SPIN_NS;
        w->spin_until_ns = end < w->deadline_ns ? end : w->deadline_ns;
    }
    return 0;
}

static LEATI_COLD int look_at_clock(leati_wait *w)
{
    int64_t now = leat_now_ns();
    if (now >= w->deadline_ns)
        return -EAGAIN;
    if (now < w->spin_until_ns) {
        if (!w->ch->ctx->many_cpus && w->rounds % ROUNDS_PER_YIELD == 0)
            sched_yield();
        return 0;
    }
    w->spin_until_ns = 0;
    return w->events ? sleep_for_ports(w) : sleep_for_hooks(w);
}

int leati_wait_turn(leati_wait *w)
{
    int r = 0;
    if (leati_unlikely(leati_ctx_bits(w->ch->ctx))) {
        r = leati_ctx_attention(w->ch->ctx, w->timeout_ms);
        if (r < 0)
            return r;
    }
    if (leati_unlikely(!w->started)) {
        r = start(w);
        if (r < 0)
            return r;
    }
    if (w->spin_until_ns && ++w->rounds % ROUNDS_PER_CLOCK != 0) {
        leati_pause();
        return 0;
    }
    return look_at_clock(w);
}

/* ---- foreign event loops ----------------------------------------------------------------------------------------- */

int leat_channel_fd(leat_channel *ch)
{
    int r = leati_ctx_attention(ch->ctx, 0);
    if (r < 0)
        return r;
    if (ch->event_fd >= 0)
        return ch->event_fd;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return leat_fail(errno, "channel %s: no epoll descriptor: %s", ch->name, strerror(errno));
    for (size_t i = 0; i < ch->nports + 2; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(fd, EPOLL_CTL_ADD, ch->sleepers[i].fd, &event) < 0) {
            r = leat_fail(errno, "channel %s: cannot watch its descriptors: %s", ch->name, strerror(errno));
            close(fd);
            return r;
        }
    }
    ch->event_fd = fd;
    return fd;
}

int leat_channel_arm(leat_channel *ch, unsigned events)
{
    int r = leati_channel_begin(ch, -1);
    if (r < 0)
        return r;
    if (!events || events & ~(LEAT_IN | LEAT_OUT))
        return leat_fail(EINVAL, "channel %s: arm for LEAT_IN, LEAT_OUT or both", ch->name);
    leati_channel_raise(ch, events);
    leati_channel_fence(ch);
    if (leati_channel_ready(ch, events)) {
        leati_channel_lower(ch);
        return 1;
    }
    ch->armed = true;
    leati_route_direct(ch);
    return 0;
}
