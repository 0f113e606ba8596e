/* SPDX-License-Identifier: MIT
 *
 * link.c - a link to one peer: the handshake, and everything after a peer leaves or dies. Runs in the link thread (or in
 * the thread that closes a channel) with the engine's mutex held. Knows sockets; the lanes' bytes are lane_*.c's.
 *
 * How a link ends. BYE means: I send no more, and take no more than I have. Whoever gets it takes back what the other had
 * not read, goes on reading what the other sent, and returns what it holds; then it says BYE too. Whoever closed its
 * channel closes the socket when it has the other's BYE and nothing of it. The end of the socket means that the peer
 * holds nothing any more, be it because it closed or because it died: everything that it had is ours again.
 */
#include "engine.h"
#include "handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- saying ------------------------------------------------------------------------------------------------------- */

static int say(const peer_link *l, const void *packet, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)packet, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t r;
    do
        r = sendmsg(l->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static say_head head_of(enum handshake_type type)
{
    return (say_head){HANDSHAKE_MAGIC, HANDSHAKE_VERSION, (uint16_t)type, layout_hash()};
}

static int say_who(const peer_link *l, enum handshake_type type, int fd)
{
    const engine *e = l->engine;
    const port *p = l->port;
    say_hello h = {
        .head = head_of(type),
        .pattern = (uint32_t)p->info.pattern,
        .membarrier = e->global_membarrier,
        .pid = e->header->pid,
        .tx_slots = l->tx ? p->slots : 0,
        .tx_refs = l->tx ? p->refs : 0,
        .tx_half = l->tx ? engine_offset(e, l->tx->half) : 0,
        .rx_half = l->rx ? engine_offset(e, l->rx->half) : 0,
        .asleep = engine_offset(e, &p->entry->asleep),
        .segment_size = e->seg.size,
    };
    snprintf(h.channel, sizeof h.channel, "%s", p->name);
    snprintf(h.program, sizeof h.program, "%s", e->program);
    snprintf(h.transport, sizeof h.transport, "%s", e->kind->transport);
    snprintf(h.session, sizeof h.session, "%s", leati_session_name(e->session));
    snprintf(h.peer_file, sizeof h.peer_file, "%s", leati_session_peer(e->session));
    snprintf(h.segment, sizeof h.segment, "%s", e->seg.name);
    return say(l, &h, sizeof h, fd);
}

static void say_short(peer_link *l, enum handshake_type type)
{
    say_head h = head_of(type);
    if (l->fd >= 0)
        (void)say(l, &h, sizeof h, -1); /* a peer that is gone is told of by its end */
}

void link_say_bye(peer_link *l)
{
    say_head h = head_of(SAY_BYE);
    if (l->said_bye || l->state != LINK_UP || l->fd < 0)
        return;
    l->said_bye = say(l, &h, sizeof h, -1) != -EAGAIN; /* or later: a stopped peer's queue may be full */
}

void link_ring_memory(peer_link *l)
{
    say_short(l, SAY_MEMORY);
}

/* A link that is up is cut off by its lanes, so that what the program holds of it stays readable. */
static void fail(peer_link *l)
{
    if (l->state != LINK_UP) {
        l->state = LINK_FAILED;
        return;
    }
    port_lock(l->port);
    if (l->tx)
        l->tx->broken = true;
    if (l->rx)
        l->rx->broken = true;
    port_unlock(l->port);
}

/* Tells the partner why not, and the log. */
static void refuse(peer_link *l, int error, bool later, const char *text)
{
    say_refuse r = {.head = head_of(SAY_REFUSE), .error = error, .later = later};
    snprintf(r.text, sizeof r.text, "%s", text);
    (void)say(l, &r, sizeof r, -1);
    leat_logf(later ? LEAT_LOG_INFO : LEAT_LOG_WARNING, "refused a partner: %s", text);
    fail(l);
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

int link_new(engine *e, port *p, int fd, connector *c, peer_link **ret_link)
{
    int bells[2] = {-1, -1}, r = -ENOMEM;
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    peer_link *l = calloc(1, sizeof *l);
    if (!l)
        goto fail;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        r = -errno;
        goto fail;
    }
    *l = (peer_link){.watch.kind = WATCH_LINK,
                     .engine = e,
                     .port = p,
                     .connector = c,
                     .fd = fd,
                     .bell = -1,
                     .state = c ? LINK_WAIT_ACCEPT : LINK_WAIT_HELLO,
                     .peer_uid = peer.uid,
                     .peer_pid = peer.pid};
    if (peer.uid != geteuid()) {
        leat_logf(LEAT_LOG_WARNING, "channel %s: a process of user %u (pid %d) is refused; this session is user %u's",
                  p->name, peer.uid, peer.pid, geteuid());
        r = -EPERM;
        goto fail;
    }
    if (c) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bells) < 0) {
            r = -errno;
            goto fail;
        }
        l->bell = bells[0];
        if (leat_pattern_sends(p->info.pattern)) {
            r = lane_tx_new(p, &l->tx);
            if (r < 0)
                goto fail;
            l->tx->link = l;
        }
        r = say_who(l, SAY_HELLO, bells[1]);
        if (r < 0)
            goto fail;
        close(bells[1]);
        bells[1] = -1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        r = -errno;
        goto fail;
    }
    l->next = e->links;
    e->links = l;
    p->links++;
    *ret_link = l;
    return 0;
fail:
    close(fd);
    if (bells[0] >= 0)
        close(bells[0]);
    if (bells[1] >= 0)
        close(bells[1]);
    if (l)
        lane_tx_free(l->tx);
    free(l);
    return r;
}

void link_free(peer_link *l)
{
    engine *e = l->engine;
    port *p = l->port;
    if (l->connector)
        rendezvous_link_gone(l);
    for (peer_link **at = &e->links; *at; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    port_lock(p);
    if (l->tx) {
        port_remove_tx(p, l->tx);
        if (l->state == LINK_UP)
            tx_take_all(p, l->tx);
        lane_tx_free(l->tx);
    }
    if (l->rx) {
        port_remove_rx(p, l->rx);
        lane_rx_free(l->rx);
    }
    if (l->bell >= 0)
        close(l->bell);
    p->links--;
    if (!p->is_open && p->links == 0)
        __atomic_store_n(&p->entry->state, ENTRY_FREE, __ATOMIC_RELEASE);
    port_unlock(p);
    if (l->fd >= 0)
        close(l->fd);
    if (l->peer_base)
        e->kind->unmap(l->peer_base, l->peer_size);
    /* The peer's name on the machine goes when nobody here reads it any more; if it lives, this does nothing. */
    bool last = l->ended && l->peer_file[0];
    for (peer_link *other = e->links; other && last; other = other->next)
        last = strcmp(other->peer_file, l->peer_file) != 0;
    if (last && leati_session_reap(e->session, l->peer_file) == -EBUSY) {
        e->sweep_ns[0] = leat_now_ns() + 2000000;
        if (!l->got_bye)
            memcpy(e->dying[e->dying_count++ % 8], l->peer_file, sizeof l->peer_file);
    }
    free(l);
}

/* ---- hearing ------------------------------------------------------------------------------------------------------ */

static bool in_segment(const say_hello *h, uint64_t offset, uint64_t size)
{
    return offset >= LAYOUT_PAGE && offset % LAYOUT_LINE == 0 && offset < h->segment_size &&
           size <= h->segment_size - offset;
}

static bool power_of_two_up_to(uint32_t n, uint32_t most)
{
    return n && (n & (n - 1)) == 0 && n <= most;
}

/* Checks what a partner says of itself and maps its segment; a refusal is said. */
static int check_partner(peer_link *l, say_hello *h)
{
    engine *e = l->engine;
    port *p = l->port;
    char text[400];
    h->channel[sizeof h->channel - 1] = h->program[sizeof h->program - 1] = h->transport[sizeof h->transport - 1] =
        '\0';
    h->session[sizeof h->session - 1] = h->peer_file[sizeof h->peer_file - 1] = h->segment[sizeof h->segment - 1] =
        '\0';
    memcpy(l->peer_program, h->program, sizeof l->peer_program);
    memcpy(l->peer_channel, h->channel, sizeof l->peer_channel);
    l->peer_pid = h->pid;
    l->peer_membarrier = h->membarrier == 1;
    if (h->pattern >= LEAT_PATTERNS || leat_pattern_partner(p->info.pattern) != (leat_pattern)h->pattern) {
        snprintf(
            text, sizeof text,
            "channel %s is %s at pid %d (%s) and %s is %s at pid %d (%s); one of both sections must change its type",
            p->name, leat_pattern_name(p->info.pattern), e->header->pid, e->program, h->channel,
            h->pattern < LEAT_PATTERNS ? leat_pattern_name((leat_pattern)h->pattern) : "unknown", h->pid, h->program);
        refuse(l, EPROTOTYPE, false, text);
        return -EPROTOTYPE;
    }
    if (p->info.pattern == LEAT_PAIR) {
        for (const peer_link *other = e->links; other; other = other->next) {
            if (other != l && other->port == p && !other->ended && !other->got_bye &&
                (other->state == LINK_UP || other->state == LINK_WAIT_READY)) {
                snprintf(text, sizeof text, "channel %s is a pair at pid %d (%s) and has its peer already", p->name,
                         e->header->pid, e->program);
                refuse(l, EBUSY, true, text);
                return -EBUSY;
            }
        }
    }
    bool sends = leat_pattern_sends((leat_pattern)h->pattern);
    if (strcmp(h->transport, e->kind->transport) != 0 || strcmp(h->session, leati_session_name(e->session)) != 0 ||
        h->segment_size > UINT64_C(1) << 46 || h->segment_size % LAYOUT_PAGE ||
        !in_segment(h, h->asleep & ~(uint64_t)63, 64) || h->asleep % 8 ||
        (sends && (!power_of_two_up_to(h->tx_slots, 1u << 20) || !power_of_two_up_to(h->tx_refs, 1u << 20) ||
                   !in_segment(h, h->tx_half, layout_tx_size(h->tx_slots, h->tx_refs)))) ||
        (l->tx && h->rx_half && !in_segment(h, h->rx_half, layout_rx_size(p->refs)))) {
        snprintf(text, sizeof text, "channel %s: the handshake of pid %d (%s) does not hold together", p->name, h->pid,
                 h->program);
        refuse(l, EBADMSG, false, text);
        return -EBADMSG;
    }
    int r = e->kind->map(leati_session_root(e->session), h->segment, -1, h->segment_size, l->peer_uid, &l->peer_base);
    if (r < 0) {
        snprintf(text, sizeof text, "channel %s: the segment of pid %d (%s): %s", p->name, h->pid, h->program,
                 leat_error());
        bool later = r == -ENOENT || r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EAGAIN;
        refuse(l, -r, later, text);
        return r;
    }
    l->peer_size = h->segment_size;
    memcpy(l->peer_file, h->peer_file, sizeof l->peer_file);
    memcpy(l->peer_segment, h->segment, sizeof l->peer_segment);
    const layout_header *header = l->peer_base;
    /* Pairs with the release in engine_attach(). */
    if (__atomic_load_n(&header->magic, __ATOMIC_ACQUIRE) != LAYOUT_MAGIC || header->layout != layout_hash() ||
        header->heap_size != h->segment_size || strcmp(header->shmid, leati_session_shmid(e->session)) != 0) {
        snprintf(text, sizeof text, "channel %s: %s does not hold a segment of pid %d (%s) in this session", p->name,
                 h->segment, h->pid, h->program);
        refuse(l, EBADMSG, false, text);
        return -EBADMSG;
    }
    return 0;
}

static const void *peer_at(const peer_link *l, uint64_t offset)
{
    return (const unsigned char *)l->peer_base + offset;
}

static int make_rx(peer_link *l, const say_hello *h)
{
    int r = lane_rx_new(l->port, h->tx_refs, &l->rx);
    if (r < 0)
        return r;
    lane_rx *rx = l->rx;
    rx->link = l;
    rx->peer = peer_at(l, h->tx_half);
    rx->slots = (const layout_slot *)(rx->peer + 1);
    rx->mask = h->tx_slots - 1;
    rx->peer_base = l->peer_base;
    rx->peer_size = l->peer_size;
    rx->peer_memory_wanted = &((const layout_header *)l->peer_base)->memory_wanted;
    rx->fence = !(l->engine->global_membarrier && l->peer_membarrier);
    rx->entry->slots = h->tx_slots;
    rx->entry->peer_half = h->tx_half;
    return 0;
}

static void complete_tx(peer_link *l, const say_hello *h)
{
    lane_tx *tx = l->tx;
    tx->peer = peer_at(l, h->rx_half);
    tx->peer_returns = (const uint32_t *)(tx->peer + 1);
    tx->peer_asleep = peer_at(l, h->asleep);
    tx->fence = !(l->engine->global_membarrier && l->peer_membarrier) ||
                strcmp(leat_setting(l->port->info.settings, "fence"), "sender") == 0;
    tx->entry->peer_half = h->rx_half;
}

static void publish_entry(peer_link *l, layout_lane *entry)
{
    entry->peer_pid = l->peer_pid;
    snprintf(entry->peer_segment, sizeof entry->peer_segment, "%s", l->peer_segment);
    __atomic_store_n(&entry->state, ENTRY_OPEN, __ATOMIC_RELEASE);
}

/* Both sides have mapped: the lanes join the channel. */
static void link_up(peer_link *l)
{
    port *p = l->port;
    if (l->tx)
        publish_entry(l, l->tx->entry);
    if (l->rx)
        publish_entry(l, l->rx->entry);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = l->bell};
    port_lock(p);
    if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, l->bell, &event) < 0 || port_add_lanes(p, l) < 0) {
        port_unlock(p);
        leat_logf(LEAT_LOG_ERROR, "channel %s: no memory or descriptors for another peer", p->name);
        l->state = LINK_FAILED;
        return;
    }
    l->state = LINK_UP;
    l->joined = true;
    if (p->parcels)
        port_flush_parcels(p);
    port_unlock(p);
    if (l->connector) {
        l->connector->pause_ns = 0;
        l->connector->refused = false;
    }
    leat_logf(LEAT_LOG_INFO, "channel %s: linked with %s at pid %d (%s)", p->name, l->peer_channel, l->peer_pid,
              l->peer_program);
    leat_hook_joined(p->info.hook);
}

static void no_memory(peer_link *l)
{
    char text[400];
    snprintf(text, sizeof text, "channel %s: pid %d (%s) has no memory for another peer: %s", l->port->name,
             l->engine->header->pid, l->engine->program, leat_error());
    refuse(l, ENOSPC, true, text);
}

/* Binder: a connecter says who it is. */
static void hear_hello(peer_link *l, say_hello *h, int fd)
{
    if (l->state == LINK_WAIT_HELLO && fd < 0) {
        refuse(l, EMFILE, true, "no descriptor is left for another partner (RLIMIT_NOFILE)");
        return;
    }
    if (l->state != LINK_WAIT_HELLO) {
        refuse(l, EPROTO, false, "a partner does not keep to the handshake");
        return;
    }
    l->bell = fd;
    if (check_partner(l, h) < 0)
        return;
    if (leat_pattern_sends(l->port->info.pattern)) {
        if (lane_tx_new(l->port, &l->tx) < 0) {
            no_memory(l);
            return;
        }
        l->tx->link = l;
    }
    if (leat_pattern_receives(l->port->info.pattern) && make_rx(l, h) < 0) {
        no_memory(l);
        return;
    }
    l->state = say_who(l, SAY_ACCEPT, -1) < 0 ? LINK_FAILED : LINK_WAIT_READY;
    if (l->tx) /* the sleep word is in HELLO, the receiving half comes with READY */
        l->tx->peer_asleep = peer_at(l, h->asleep);
}

/* Connecter: the binder accepts. */
static void hear_accept(peer_link *l, say_hello *h)
{
    if (l->state != LINK_WAIT_ACCEPT || (l->tx && !h->rx_half)) {
        fail(l);
        return;
    }
    if (check_partner(l, h) < 0)
        return;
    if (leat_pattern_receives(l->port->info.pattern) && make_rx(l, h) < 0) {
        no_memory(l);
        return;
    }
    if (l->tx)
        complete_tx(l, h);
    if (say_who(l, SAY_READY, -1) < 0)
        l->state = LINK_FAILED;
    else
        link_up(l);
}

/* Binder: the connecter has mapped us. */
static void hear_ready(peer_link *l, const say_hello *h)
{
    if (l->state != LINK_WAIT_READY || h->segment_size != l->peer_size ||
        (l->tx && !in_segment(h, h->rx_half, layout_rx_size(l->port->refs))) ||
        !in_segment(h, h->asleep & ~(uint64_t)63, 64) || h->asleep % 8) {
        refuse(l, EPROTO, false, "a partner does not keep to the handshake");
        return;
    }
    if (l->tx)
        complete_tx(l, h);
    link_up(l);
}

static void hear_refuse(peer_link *l, say_refuse *r)
{
    r->text[sizeof r->text - 1] = '\0';
    bool up = l->state == LINK_UP;
    fail(l);
    if (!l->connector || up)
        return;
    connector *c = l->connector;
    c->refused = !r->later;
    if (r->later) {
        leat_logf(LEAT_LOG_INFO, "refused, to be tried again: %s", r->text);
        c->pause_ns = 100000000;
    } else {
        leat_logf(LEAT_LOG_WARNING, "refused by the partner: %s", r->text);
        leat_hook_refused(l->port->info.hook, r->error > 0 && r->error < 4096 ? r->error : ECONNREFUSED, r->text);
    }
}

static void hear(peer_link *l, void *packet, size_t size, int fd)
{
    say_head *head = packet;
    if (size < sizeof *head || head->magic != HANDSHAKE_MAGIC) {
        refuse(l, EPROTO, false, "a partner speaks another protocol");
    } else if (head->type == SAY_REFUSE && size == sizeof(say_refuse)) {
        hear_refuse(l, packet);
    } else if (head->version != HANDSHAKE_VERSION || head->layout != layout_hash()) {
        char text[200];
        snprintf(text, sizeof text,
                 "pid %d was built with another version of leat than pid %d (%s); their memory layouts differ",
                 l->peer_pid, l->engine->header->pid, l->engine->program);
        refuse(l, EPROTONOSUPPORT, false, text);
    } else if (head->type == SAY_BYE) {
        l->got_bye = true;
    } else if (head->type == SAY_MEMORY) {
        engine_memory_came_back(l->engine);
    } else if (size != sizeof(say_hello)) {
        refuse(l, EPROTO, false, "a partner does not keep to the handshake");
    } else if (head->type == SAY_HELLO) {
        hear_hello(l, packet, fd);
        if (l->bell == fd)
            return;
    } else if (head->type == SAY_ACCEPT) {
        hear_accept(l, packet);
    } else if (head->type == SAY_READY) {
        hear_ready(l, packet);
    }
    if (fd >= 0)
        close(fd);
}

void link_readable(peer_link *l)
{
    /* Some at a time: who floods us must not keep us from the others. */
    for (int packets = 0; packets < 64 && !l->ended && l->state != LINK_FAILED; packets++) {
        union {
            say_head head;
            say_hello hello;
            say_refuse refuse;
        } packet;
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(4 * sizeof(int))];
        } control;
        struct iovec iov = {&packet, sizeof packet};
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
        ssize_t size = recvmsg(l->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0 && (errno == EINTR || errno == ECONNRESET))
            continue; /* a reset is said once, before what the peer had sent */
        if (size < 0) {
            l->ended |= errno != EAGAIN;
            break;
        }
        int fd = -1;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                continue;
            for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                if (fd >= 0)
                    close(fd);
                memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            }
        }
        if (size == 0) {
            if (fd >= 0)
                close(fd);
            l->ended = true;
            break;
        }
        hear(l, &packet, (size_t)size, fd);
    }
    link_settle(l);
}

/* ---- settling ------------------------------------------------------------------------------------------------------ */

void link_settle(peer_link *l)
{
    port *p = l->port;
    if (l->state != LINK_UP) {
        if (l->ended || l->state == LINK_FAILED || !p->is_open)
            link_free(l);
        return;
    }
    if (!p->is_open)
        link_say_bye(l);
    port_lock(p);
    if ((l->tx && l->tx->broken) || (l->rx && l->rx->broken)) {
        /* Cut off: it gets nothing more of us, and we believe nothing more of it. */
        l->ended = true;
        if (l->rx) {
            l->rx->drained = true;
            port_remove_rx(p, l->rx);
        }
        if (l->connector)
            l->connector->pause_ns = 1000000000; /* not at once again */
    }
    bool gone = l->got_bye || l->ended;
    if (l->tx) {
        if (gone && !l->unread_taken) {
            l->unread_taken = true;
            port_remove_tx(p, l->tx);
            tx_take_unread(p, l->tx);
            if (p->is_open)
                port_flush_parcels(p);
        }
        tx_take_returns(p, l->tx);
    }
    if (l->rx && !l->rx->drained) {
        l->rx->closing = gone;
        l->rx->drained = !p->is_open || (gone && !rx_ready(l->rx));
        if (l->rx->drained)
            port_remove_rx(p, l->rx);
    }
    bool read = !l->rx || l->rx->drained;
    uint32_t held = l->rx ? l->rx->held : 0, open = l->tx ? tx_open_refs(l->tx) : 0;
    if (l->ended && l->fd >= 0) { /* inside the lock: the program's thread may be about to ring */
        close(l->fd);
        l->fd = -1;
    }
    if (gone && read && l->joined) {
        l->joined = false;
        STORE(p->entry->peers, p->entry->peers - 1);
        if (p->is_open)
            leat_hook_left(p->info.hook, l->ended && !l->got_bye);
        leat_logf(LEAT_LOG_INFO, "channel %s: %s at pid %d (%s) %s", p->name, l->peer_channel, l->peer_pid,
                  l->peer_program, l->got_bye ? "left" : "died");
    } else if (gone && p->is_open) {
        leat_hook_wake(p->info.hook); /* what closing a lane means is for the program's thread to find */
    }
    port_unlock(p);
    if (gone && l->connector)
        rendezvous_link_gone(l);
    if (l->ended) {
        if (read && held == 0)
            link_free(l);
    } else if (l->got_bye && read && held == 0 && open == 0) {
        link_say_bye(l);
        if (!p->is_open)
            link_free(l);
    }
}
