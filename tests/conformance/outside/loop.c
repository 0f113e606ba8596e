/* SPDX-License-Identifier: MIT
 *
 * loop.c - a whole transport in little more than a hundred lines, as somebody writes it who has nothing but the installed
 * headers: push and pull between the channels of one process. An address is a wire, with one queue of messages; one lock
 * guards all of it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include <leat/plugin.h>

#define MOST 16 /* parts of a message */

typedef struct message {
    STAILQ_ENTRY(message) entry;
    size_t n;
    leat_msg_body parts[MOST];
} message;

typedef struct port {
    LIST_ENTRY(port) entry;
    leat_port_info info;
    char address[128];
    int64_t queue, depth; /* of a pull port: what lies unread */
    STAILQ_HEAD(, message) unread;
    int fd;
    leat_stats stats;
} port;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, port) ports = LIST_HEAD_INITIALIZER(ports);

/* ---- blocks: counted memory -------------------------------------------------------------------------------------- */

static int make_block(size_t size, size_t align, leat_msg_body *ret_msg);

static void block_release(leat_msg_body *msg)
{
    if (__atomic_sub_fetch((int *)msg->u.block.owner, 1, __ATOMIC_ACQ_REL) == 0)
        free(msg->u.block.owner);
}

static int block_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    __atomic_add_fetch((int *)msg->u.block.owner, 1, __ATOMIC_RELAXED);
    *ret_copy = *msg;
    return 0;
}

static int block_unshare(leat_msg_body *msg)
{
    leat_msg_body copy = *msg;
    if (__atomic_load_n((int *)msg->u.block.owner, __ATOMIC_ACQUIRE) == 1)
        return 0;
    int r = make_block(msg->u.block.size, 64, &copy);
    if (r == 0) {
        memcpy(copy.u.block.data, msg->u.block.data, msg->u.block.size);
        block_release(msg);
        *msg = copy;
    }
    return r;
}

static const leat_msg_ops block_ops = {block_release, block_share, block_unshare};

static int make_block(size_t size, size_t align, leat_msg_body *ret_msg)
{
    void *memory;
    size_t head = align > 64 ? align : 64;
    if (size > SIZE_MAX / 2 || posix_memalign(&memory, head, head + size) != 0)
        return leat_fail(EMSGSIZE, "loop: no memory for a message of %zu bytes", size);
    *(int *)memory = 1;
    ret_msg->kind = LEAT_BODY_BLOCK;
    ret_msg->u.block.data = (char *)memory + head;
    ret_msg->u.block.size = size;
    ret_msg->u.block.ops = &block_ops;
    ret_msg->u.block.owner = memory;
    return 0;
}

/* ---- ports: each pair of a push and a pull port with one address is linked ---------------------------------------- */

static bool are_linked(const port *a, const port *b)
{
    return leat_pattern_partner(a->info.pattern) == b->info.pattern && strcmp(a->address, b->address) == 0;
}

static void ring(const port *p)
{
    if (write(p->fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
        leat_logf(LEAT_LOG_DEBUG, "loop: channel %s is rung already", p->info.channel);
}

static int attach(const leat_attach_info *info, void **ret_state)
{
    *ret_state = (void *)(uintptr_t)info; /* a context needs nothing of ours */
    return 0;
}

static void detach(void *state)
{
    (void)state;
}

static int open_port(void *state, const leat_port_info *info, void **ret_port)
{
    port *p = calloc(1, sizeof(*p));
    (void)state;
    if (!p)
        return leat_fail(ENOMEM, "loop: no memory for channel %s", info->channel);
    if ((p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(p);
        return leat_fail(errno, "loop: no event descriptor for channel %s", info->channel);
    }
    p->info = *info;
    p->queue = leat_setting_int(info->settings, "queue");
    STAILQ_INIT(&p->unread);
    *ret_port = p;
    return 0;
}

/* Binding and connecting are the same here: ports of one address meet. */
static int meet(void *port_, const char *address)
{
    port *p = port_, *peer;
    if (p->address[0] || strlen(address) >= sizeof(p->address))
        return leat_fail(ENOTSUP, "loop: channel %s has one short address, not also %s", p->info.channel, address);
    pthread_mutex_lock(&lock);
    strcpy(p->address, address);
    LIST_FOREACH (peer, &ports, entry)
        if (are_linked(p, peer)) {
            leat_hook_joined(p->info.hook);
            leat_hook_joined(peer->info.hook);
        }
    LIST_INSERT_HEAD(&ports, p, entry);
    pthread_mutex_unlock(&lock);
    return 0;
}

static void close_port(void *port_, int linger_ms)
{
    port *p = port_, *peer;
    message *m;
    (void)linger_ms; /* what was sent lies with its receiver already */
    pthread_mutex_lock(&lock);
    if (p->address[0])
        LIST_REMOVE(p, entry);
    LIST_FOREACH (peer, &ports, entry)
        if (are_linked(p, peer))
            leat_hook_left(peer->info.hook, false);
    pthread_mutex_unlock(&lock);
    while ((m = STAILQ_FIRST(&p->unread)) != NULL) {
        STAILQ_REMOVE_HEAD(&p->unread, entry);
        for (size_t i = 0; i < m->n; i++)
            if (m->parts[i].kind == LEAT_BODY_BLOCK)
                block_release(&m->parts[i]);
        free(m);
    }
    close(p->fd);
    free(p);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static port *find_room(const port *p)
{
    port *peer, *best = NULL;
    LIST_FOREACH (peer, &ports, entry)
        if (are_linked(p, peer) && peer->depth < peer->queue && (!best || peer->depth < best->depth))
            best = peer;
    return best;
}

static uint64_t copy_parts(leat_msg_body *const *to, leat_msg_body *const *from, size_t n)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        *to[i] = *from[i];
        bytes += to[i]->kind == LEAT_BODY_BLOCK ? to[i]->u.block.size : to[i]->inline_size;
    }
    return bytes;
}

static int send_parts(void *port_, leat_msg_body *const *parts, size_t n)
{
    port *p = port_, *to;
    leat_msg_body *places[MOST];
    message *m = n <= MOST ? calloc(1, sizeof(*m)) : NULL;
    if (!m)
        return leat_fail(EMSGSIZE, "loop: no memory for %zu parts, or they are more than %d", n, MOST);
    for (size_t i = 0; i < n; i++)
        places[i] = &m->parts[i];
    pthread_mutex_lock(&lock);
    if ((to = find_room(p)) != NULL) {
        m->n = n;
        p->stats.bytes_out += copy_parts(places, parts, n);
        p->stats.messages_out++;
        STAILQ_INSERT_TAIL(&to->unread, m, entry);
        to->depth++;
        ring(to);
        m = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(m);
    return to ? 0 : -EAGAIN;
}

static int recv_parts(void *port_, leat_msg_body *const *parts, size_t capacity)
{
    port *p = port_, *peer;
    leat_msg_body *places[MOST];
    pthread_mutex_lock(&lock);
    message *m = STAILQ_FIRST(&p->unread);
    int r = !m ? -EAGAIN : capacity > 0 && m->n > capacity ? -EMSGSIZE : (int)m->n;
    if (r > 0 && capacity > 0) {
        for (size_t i = 0; i < m->n; i++)
            places[i] = &m->parts[i];
        p->stats.bytes_in += copy_parts(parts, places, m->n);
        p->stats.messages_in++;
        p->depth--;
        STAILQ_REMOVE_HEAD(&p->unread, entry);
        free(m);
        LIST_FOREACH (peer, &ports, entry)
            if (are_linked(p, peer))
                ring(peer); /* there is room now */
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int alloc(void *p, size_t size, size_t align, leat_msg_body *ret_msg)
{
    (void)p;
    if (size > LEAT_INLINE_MAX || align > 16)
        return make_block(size, align, ret_msg);
    ret_msg->kind = LEAT_BODY_INLINE;
    ret_msg->inline_size = (uint32_t)size;
    return 0;
}

static bool owns(void *p, const leat_msg_body *msg)
{
    (void)p;
    return msg->u.block.ops == &block_ops;
}

/* ---- waiting: raise forgets old rings, and what happens from then on rings again ---------------------------------- */

static unsigned ready(void *port_, unsigned events)
{
    port *p = port_;
    pthread_mutex_lock(&lock);
    unsigned now = (STAILQ_EMPTY(&p->unread) ? 0 : LEAT_IN) | (find_room(p) ? LEAT_OUT : 0);
    pthread_mutex_unlock(&lock);
    return now & events;
}

static int descriptor(void *p)
{
    return ((port *)p)->fd;
}

static void raise_flag(void *p, unsigned events)
{
    uint64_t count;
    (void)events;
    while (read(((port *)p)->fd, &count, sizeof(count)) > 0)
        ;
}

static void add_stats(void *port_, leat_stats *stats)
{
    const port *p = port_;
    pthread_mutex_lock(&lock);
    stats->messages_in += p->stats.messages_in;
    stats->messages_out += p->stats.messages_out;
    stats->bytes_in += p->stats.bytes_in;
    stats->bytes_out += p->stats.bytes_out;
    pthread_mutex_unlock(&lock);
}

static const leat_transport_ops ops = {
    .attach = attach,
    .detach = detach,
    .open = open_port,
    .bind = meet,
    .connect = meet,
    .close = close_port,
    .send = send_parts,
    .recv = recv_parts,
    .alloc = alloc,
    .owns = owns,
    .ready = ready,
    .fd = descriptor,
    .raise = raise_flag,
    .stats = add_stats,
};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = "loop",
    .version = "1",
    .summary = "between the channels of one process",
    .capabilities = LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) | LEAT_CAP_SPIN | LEAT_CAP_NO_COPY,
    .ops_size = sizeof(leat_transport_ops),
    .transport = &ops,
};
