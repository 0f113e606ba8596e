/* SPDX-License-Identifier: MIT
 *
 * hook.c - what transports tell a channel about its peers: who came, who left and how, who refused. Called from any thread;
 * keeps the counts, decides when a channel has ended, and wakes whoever waits. Calls no transport.
 */
#include "runtime.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void wake(leat_channel *ch)
{
    const uint64_t one = 1;
    /* It can only fail when it is readable already. */
    ssize_t ignored = write(ch->wake_fd, &one, sizeof(one));
    (void)ignored;
}

/* PAIR over several ports: the first port with a peer has it until that peer is gone and read. */
static void settle_pair(leat_channel *ch)
{
    int current = atomic_load_explicit(&ch->pair_port, memory_order_relaxed);
    if (current >= 0 && atomic_load_explicit(&ch->ports[current].hook.peers, memory_order_relaxed) > 0)
        return;
    int next = -1;
    for (size_t i = 0; next < 0 && i < ch->nports; i++)
        if (atomic_load_explicit(&ch->ports[i].hook.peers, memory_order_relaxed) > 0)
            next = (int)i;
    atomic_store_explicit(&ch->pair_port, next, memory_order_release);
}

/* Derives what the channel's thread reads from the counts; under hook_lock. */
static void settle(leat_channel *ch)
{
    int peers = atomic_load_explicit(&ch->peers, memory_order_relaxed);
    bool refused = false;
    for (size_t i = 0; i < ch->nports; i++)
        refused |= ch->ports[i].hook.refused != 0;
    /* pairs with the acquire in leati_channel_ended(): a thread that sees the end sees all that came before it */
    atomic_store_explicit(&ch->ended, ch->finishes && ch->joined >= ch->expect && peers == 0, memory_order_release);
    atomic_store_explicit(&ch->refused, refused && peers == 0, memory_order_release);
    settle_pair(ch);
}

void leat_hook_joined(leat_hook *hook)
{
    leat_channel *ch = hook->channel;
    pthread_mutex_lock(&ch->hook_lock);
    ch->joined++;
    hook->refused = 0;
    atomic_fetch_add_explicit(&hook->peers, 1, memory_order_relaxed);
    int peers = atomic_fetch_add_explicit(&ch->peers, 1, memory_order_relaxed) + 1;
    settle(ch);
    pthread_mutex_unlock(&ch->hook_lock);
    wake(ch);
    leat_logf(LEAT_LOG_DEBUG, "channel %s: a peer has come, %d now", ch->name, peers);
    if (ch->pattern == LEAT_PAIR && peers > 1)
        leat_logf(LEAT_LOG_WARNING, "channel %s: a pair has one peer; another one waits until it has gone", ch->name);
}

void leat_hook_left(leat_hook *hook, bool died)
{
    leat_channel *ch = hook->channel;
    pthread_mutex_lock(&ch->hook_lock);
    ch->died |= died;
    atomic_fetch_sub_explicit(&hook->peers, 1, memory_order_relaxed);
    int peers = atomic_fetch_sub_explicit(&ch->peers, 1, memory_order_relaxed) - 1;
    settle(ch);
    pthread_mutex_unlock(&ch->hook_lock);
    wake(ch);
    leat_logf(LEAT_LOG_DEBUG, "channel %s: a peer has %s, %d now", ch->name, died ? "died" : "left", peers);
}

void leat_hook_refused(leat_hook *hook, int error, const char *text)
{
    leat_channel *ch = hook->channel;
    pthread_mutex_lock(&ch->hook_lock);
    hook->refused = error;
    snprintf(hook->text, sizeof(hook->text), "%s", error && text ? text : "");
    settle(ch);
    pthread_mutex_unlock(&ch->hook_lock);
    wake(ch);
}

void leat_hook_wake(leat_hook *hook)
{
    wake(hook->channel);
}

int leati_channel_end_error(leat_channel *ch)
{
    pthread_mutex_lock(&ch->hook_lock);
    bool died = ch->died;
    int joined = ch->joined;
    pthread_mutex_unlock(&ch->hook_lock);
    if (died)
        return leat_fail(ECONNRESET,
                         "channel %s: the end: %d peer%s came and all are gone; at least one died, so that"
                         " something may be missing",
                         ch->name, joined, joined == 1 ? "" : "s");
    return leat_fail(EPIPE, "channel %s: the end: %d peer%s came, all have left in order, and all they sent is read",
                     ch->name, joined, joined == 1 ? "" : "s");
}

int leati_channel_refusal(leat_channel *ch)
{
    if (leati_likely(!atomic_load_explicit(&ch->refused, memory_order_acquire)))
        return 0;
    int error = 0;
    char text[sizeof(((leat_hook *)NULL)->text)] = "";
    pthread_mutex_lock(&ch->hook_lock);
    for (size_t i = 0; !error && i < ch->nports; i++) {
        error = ch->ports[i].hook.refused;
        memcpy(text, ch->ports[i].hook.text, sizeof(text));
    }
    pthread_mutex_unlock(&ch->hook_lock);
    return error ? leat_fail(error, "%s", text) : 0;
}
