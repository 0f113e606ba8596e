/* SPDX-License-Identifier: MIT
 *
 * scripted.c - a transport that does what a test says, and checks that the core keeps the protocol of plugin.h. Links
 * nobody: what is sent is counted, what is received was fed. See scripted.h.
 */
#include "scripted.h"

#include <errno.h>
#include <leat/plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#ifndef SCRIPTED_NAME
#define SCRIPTED_NAME "scripted"
#define SCRIPTED_SCHEME "script"
#endif

typedef struct item {
    STAILQ_ENTRY(item) entry;
    size_t parts, size;
    char data[];
} item;

typedef struct port {
    LIST_ENTRY(port) entry;
    leat_port_info info;
    STAILQ_HEAD(, item) items;
    leat_stats stats;
    int fd;
    unsigned raised;
    bool fenced;
} port;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, port) ports = LIST_HEAD_INITIALIZER(ports);
static int room;
static long memory = 1L << 40;

static void do_joined(const char *channel);
static void do_left(const char *channel, bool died);
static void do_refused(const char *channel, int error, const char *text);
static void do_feed(const char *channel, size_t parts, const void *data, size_t size);
static void do_give_room(int messages);
static void do_give_memory(long bytes);

LEAT_API scripted the_script __asm__("scripted");
scripted the_script = {
    .joined = do_joined,
    .left = do_left,
    .refused = do_refused,
    .feed = do_feed,
    .give_room = do_give_room,
    .give_memory = do_give_memory,
};

/* ---- the strings ------------------------------------------------------------------------------------------------- */

static void ring(port *p, unsigned events)
{
    const uint64_t one = 1;
    if (p->raised & events && !the_script.deaf && write(p->fd, &one, sizeof(one)) < 0)
        abort();
}

static port *find(const char *channel)
{
    port *p = NULL;
    LIST_FOREACH (p, &ports, entry)
        if (strcmp(p->info.channel, channel) == 0)
            return p;
    abort();
}

static void do_joined(const char *channel)
{
    pthread_mutex_lock(&lock);
    leat_hook_joined(find(channel)->info.hook);
    pthread_mutex_unlock(&lock);
}

static void do_left(const char *channel, bool died)
{
    pthread_mutex_lock(&lock);
    leat_hook_left(find(channel)->info.hook, died);
    pthread_mutex_unlock(&lock);
}

static void do_refused(const char *channel, int error, const char *text)
{
    pthread_mutex_lock(&lock);
    leat_hook_refused(find(channel)->info.hook, error, text);
    pthread_mutex_unlock(&lock);
}

static void do_feed(const char *channel, size_t parts, const void *data, size_t size)
{
    item *it = malloc(sizeof(*it) + size);
    pthread_mutex_lock(&lock);
    port *p = find(channel);
    it->parts = parts;
    it->size = size;
    memcpy(it->data, data, size);
    STAILQ_INSERT_TAIL(&p->items, it, entry);
    ring(p, LEAT_IN);
    pthread_mutex_unlock(&lock);
}

static void do_give_room(int messages)
{
    port *p = NULL;
    pthread_mutex_lock(&lock);
    room += messages;
    LIST_FOREACH (p, &ports, entry)
        ring(p, LEAT_OUT);
    pthread_mutex_unlock(&lock);
}

static void give_memory(long bytes)
{
    port *p = NULL;
    memory += bytes;
    LIST_FOREACH (p, &ports, entry)
        ring(p, LEAT_OUT);
}

static void do_give_memory(long bytes)
{
    pthread_mutex_lock(&lock);
    give_memory(bytes);
    pthread_mutex_unlock(&lock);
}

/* ---- blocks: owner is the port that made it, so that ownership differs between ports ------------------------------ */

static void block_release(leat_msg_body *msg)
{
    pthread_mutex_lock(&lock);
    long *refs = (long *)(uintptr_t)msg->u.block.a;
    if (--*refs == 0) {
        the_script.blocks--;
        give_memory((long)msg->u.block.b);
        free(refs);
    }
    pthread_mutex_unlock(&lock);
}

static int block_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    pthread_mutex_lock(&lock);
    ++*(long *)(uintptr_t)msg->u.block.a;
    *ret_copy = *msg;
    pthread_mutex_unlock(&lock);
    return 0;
}

static int block_unshare(leat_msg_body *msg)
{
    return *(long *)(uintptr_t)msg->u.block.a == 1 ? 0 : leat_fail(ENOTSUP, "scripted: shared blocks stay so");
}

static const leat_msg_ops block_ops = {block_release, block_share, block_unshare};

static int make_block(port *p, size_t size, size_t align, leat_msg_body *ret_msg)
{
    size_t head = align > 64 ? align : 64;
    char *made = NULL;
    if (size > (size_t)1 << 40)
        return leat_fail(EMSGSIZE, "scripted: %zu bytes never fit", size);
    if ((long)size > memory)
        return -EAGAIN;
    if (posix_memalign((void **)&made, head, head + size) != 0)
        abort();
    memory -= (long)size;
    the_script.blocks++;
    *(long *)made = 1;
    *ret_msg = (leat_msg_body){.kind = LEAT_BODY_BLOCK};
    ret_msg->u.block.data = made + head;
    ret_msg->u.block.size = size;
    ret_msg->u.block.ops = &block_ops;
    ret_msg->u.block.owner = p;
    ret_msg->u.block.a = (uintptr_t)made;
    ret_msg->u.block.b = size;
    return 0;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static void must_be_low(const port *p)
{
    if (p->raised)
        the_script.violations++;
}

static int attach(const leat_attach_info *info, void **ret_state)
{
    if (the_script.attach_error)
        return leat_fail(the_script.attach_error, "scripted: told not to join");
    the_script.attached++;
    *ret_state = (void *)(uintptr_t)info;
    return 0;
}

static void detach(void *state)
{
    (void)state;
    the_script.detached++;
}

static void forked(void *state)
{
    (void)state;
    the_script.forked++;
}

static int open_port(void *state, const leat_port_info *info, void **ret_port)
{
    (void)state;
    if (the_script.open_error)
        return leat_fail(the_script.open_error, "scripted: told not to open");
    port *p = calloc(1, sizeof(*p));
    p->info = *info;
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    STAILQ_INIT(&p->items);
    pthread_mutex_lock(&lock);
    LIST_INSERT_HEAD(&ports, p, entry);
    the_script.opened++;
    pthread_mutex_unlock(&lock);
    *ret_port = p;
    return 0;
}

static int bind_port(void *port_, const char *address)
{
    (void)port_;
    if (the_script.bind_error)
        return leat_fail(the_script.bind_error, "scripted: told not to bind");
    the_script.bound++;
    snprintf(the_script.address, sizeof(the_script.address), "%s", address);
    return 0;
}

static int connect_port(void *port_, const char *address)
{
    (void)port_;
    the_script.connected++;
    snprintf(the_script.address, sizeof(the_script.address), "%s", address);
    return 0;
}

static void close_port(void *port_, int linger_ms)
{
    port *p = port_;
    pthread_mutex_lock(&lock);
    must_be_low(p);
    LIST_REMOVE(p, entry);
    the_script.closed++;
    the_script.linger_ms = linger_ms;
    for (item *it = NULL; (it = STAILQ_FIRST(&p->items));) {
        STAILQ_REMOVE_HEAD(&p->items, entry);
        free(it);
    }
    pthread_mutex_unlock(&lock);
    close(p->fd);
    free(p);
}

static bool owns(void *port_, const leat_msg_body *msg)
{
    return msg->u.block.ops == &block_ops && msg->u.block.owner == port_;
}

static int send_parts(void *port_, leat_msg_body *const *parts, size_t n)
{
    port *p = port_;
    int r = -EAGAIN;
    pthread_mutex_lock(&lock);
    must_be_low(p);
    if (room > 0) {
        room--;
        the_script.sent++;
        the_script.last_parts = n;
        the_script.last_blocks = 0;
        p->stats.messages_out++;
        r = 0;
    }
    for (size_t i = 0; r == 0 && i < n; i++) {
        bool block = parts[i]->kind == LEAT_BODY_BLOCK;
        const void *data = block ? parts[i]->u.block.data : parts[i]->u.bytes;
        size_t size = block ? parts[i]->u.block.size : parts[i]->inline_size;
        the_script.last_blocks += block;
        if (block && !owns(p, parts[i]))
            the_script.violations++;
        memset(the_script.last, 0, sizeof(the_script.last));
        memcpy(the_script.last, data, size < sizeof(the_script.last) ? size : sizeof(the_script.last) - 1);
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (parts[i]->kind == LEAT_BODY_BLOCK)
            block_release(parts[i]);
    return r;
}

static int recv_parts(void *port_, leat_msg_body *const *parts, size_t capacity)
{
    port *p = port_;
    int r = -EAGAIN;
    pthread_mutex_lock(&lock);
    must_be_low(p);
    item *it = STAILQ_FIRST(&p->items);
    if (!it)
        goto unlock;
    r = capacity == 0 ? (int)it->parts : -EMSGSIZE;
    if (it->parts > capacity)
        goto unlock;
    r = (int)it->parts;
    for (size_t i = 0; i < it->parts; i++) {
        if (parts[i]->kind != LEAT_BODY_INLINE || parts[i]->inline_size || parts[i]->timestamp_ns)
            the_script.violations++; /* not an empty message */
        if (it->size > LEAT_INLINE_MAX) {
            if (make_block(p, it->size, 64, parts[i]) < 0)
                abort();
            memcpy(parts[i]->u.block.data, it->data, it->size);
        } else {
            parts[i]->inline_size = (uint32_t)it->size;
            memcpy(parts[i]->u.bytes, it->data, it->size);
        }
    }
    p->stats.messages_in++;
    STAILQ_REMOVE_HEAD(&p->items, entry);
    free(it);

unlock:
    pthread_mutex_unlock(&lock);
    return r;
}

static int alloc_block(void *port_, size_t size, size_t align, leat_msg_body *ret_msg)
{
    pthread_mutex_lock(&lock);
    must_be_low(port_);
    int r = make_block(port_, size, align, ret_msg);
    pthread_mutex_unlock(&lock);
    return r;
}

static unsigned ready(void *port_, unsigned events)
{
    port *p = port_;
    pthread_mutex_lock(&lock);
    if (p->raised && !p->fenced)
        the_script.violations++;
    unsigned r =
        (!STAILQ_EMPTY(&p->items) || the_script.lies ? LEAT_IN : 0) | (room > 0 || the_script.lies ? LEAT_OUT : 0);
    pthread_mutex_unlock(&lock);
    return r & events;
}

static int get_fd(void *port_)
{
    return ((port *)port_)->fd;
}

static void raise_port(void *port_, unsigned events)
{
    port *p = port_;
    pthread_mutex_lock(&lock);
    must_be_low(p);
    p->raised = events;
    p->fenced = false;
    the_script.raises++;
    pthread_mutex_unlock(&lock);
}

static void fence(void *state)
{
    port *p = NULL;
    (void)state;
    pthread_mutex_lock(&lock);
    LIST_FOREACH (p, &ports, entry)
        p->fenced = true;
    the_script.fences++;
    pthread_mutex_unlock(&lock);
}

static void lower_port(void *port_)
{
    port *p = port_;
    uint64_t rings = 0;
    pthread_mutex_lock(&lock);
    if (!p->raised)
        the_script.violations++;
    p->raised = 0;
    the_script.lowers++;
    if (read(p->fd, &rings, sizeof(rings)) < 0 && errno != EAGAIN)
        abort();
    pthread_mutex_unlock(&lock);
}

static void add_stats(void *port_, leat_stats *stats)
{
    port *p = port_;
    stats->messages_in += p->stats.messages_in;
    stats->messages_out += p->stats.messages_out;
}

static int probe(void)
{
    return the_script.probe_error ? leat_fail(the_script.probe_error, SCRIPTED_NAME ": told not to work here") : 0;
}

static const leat_transport_ops ops = {
    .attach = attach,
    .detach = detach,
    .forked = forked,
    .open = open_port,
    .bind = bind_port,
    .connect = connect_port,
    .close = close_port,
    .send = send_parts,
    .recv = recv_parts,
    .alloc = alloc_block,
    .owns = owns,
    .ready = ready,
    .fd = get_fd,
    .raise = raise_port,
    .fence = fence,
    .lower = lower_port,
    .stats = add_stats,
};

static const leat_key keys[] = {
    {.name = "heap_size",
     .type = LEAT_KEY_SIZE,
     .def = "1M",
     .unit = "bytes",
     .help = "Read by nobody: for a sentence."},
    {.name = NULL},
};
static const leat_key channel_keys[] = {
    {.name = SCRIPTED_SCHEME "_flavour", .type = LEAT_KEY_STRING, .def = "plain", .help = "Read by nobody: for tests."},
    {.name = NULL},
};
static const char *const schemes[] = {SCRIPTED_SCHEME, NULL};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = SCRIPTED_NAME,
    .version = "1",
    .summary = "does what a test says",
    .keys = keys,
    .channel_keys = channel_keys,
    .schemes = schemes,
    .capabilities =
        LEAT_CAP_PATTERN(LEAT_PAIR) | LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) | LEAT_CAP_SPIN,
    .ops_size = sizeof(leat_transport_ops),
    .probe = probe,
    .transport = &ops,
};
