/* SPDX-License-Identifier: MIT
 *
 * inproc.c - a small whole transport: pair, push and pull between channels of one process. Plain names meet within a
 * session; a link is two queues of `queue` messages; blocks are counted memory and never copied. One lock guards all, so
 * that what a real transport does with care about order is plain to read here.
 */
#include <leat/plugin.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

typedef struct block {
    int refs; /* atomic: handles are closed in any thread */
    size_t size;
    leat_free_fn *free_fn; /* of the caller's bytes, when it is made of those */
    void *data, *hint;
} block;

static void block_release(leat_msg_body *msg)
{
    block *b = msg->u.block.owner;
    if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (b->free_fn)
        b->free_fn(b->data, b->hint);
    free(b);
}

static int block_share(leat_msg_body *msg, leat_msg_body *ret_copy)
{
    block *b = msg->u.block.owner;
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    *ret_copy = *msg;
    return 0;
}

static int block_new(size_t size, size_t align, leat_msg_body *ret_msg);

static int block_unshare(leat_msg_body *msg)
{
    block *b = msg->u.block.owner;
    leat_msg_body copy = *msg;
    if (__atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) == 1)
        return 0;
    int r = block_new(msg->u.block.size, 64, &copy);
    if (r < 0)
        return r;
    memcpy(copy.u.block.data, msg->u.block.data, msg->u.block.size);
    block_release(msg);
    *msg = copy;
    return 0;
}

static const leat_msg_ops block_ops = {block_release, block_share, block_unshare};

static void block_fill(leat_msg_body *msg, block *b, void *data, size_t size)
{
    b->refs = 1;
    msg->kind = LEAT_BODY_BLOCK;
    msg->u.block.data = data;
    msg->u.block.size = size;
    msg->u.block.ops = &block_ops;
    msg->u.block.owner = b;
}

static int block_new(size_t size, size_t align, leat_msg_body *ret_msg)
{
    size_t head = align > 64 ? align : 64;
    void *memory = NULL;
    if (size > SIZE_MAX - head || posix_memalign(&memory, head, head + size) != 0)
        return leat_fail(EMSGSIZE, "inproc: no memory for a message of %zu bytes", size);
    memset(memory, 0, sizeof(block));
    block_fill(ret_msg, memory, (char *)memory + head, size);
    return 0;
}

/* ---- ports and links --------------------------------------------------------------------------------------------- */

typedef struct item {
    STAILQ_ENTRY(item) entry;
    size_t n;
    leat_msg_body parts[];
} item;

/* One direction of a link, kept by the port that receives. `from` is NULL when the sender has gone; what it sent stays. */
typedef struct inbox {
    TAILQ_ENTRY(inbox) entry;
    struct port *from, *to;
    STAILQ_HEAD(, item) items;
    size_t depth;
} inbox;

typedef struct address {
    SLIST_ENTRY(address) entry;
    bool bound;
    char name[];
} address;

typedef struct port {
    LIST_ENTRY(port) entry;
    const char *session;
    leat_port_info info;
    size_t queue;
    SLIST_HEAD(, address) addresses;
    TAILQ_HEAD(, inbox) inboxes; /* in turn: who was served goes to the end */
    size_t nlinks;
    int fd;
    unsigned raised;
    leat_stats stats;
} port;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, port) ports = LIST_HEAD_INITIALIZER(ports);

static void ring(port *p, unsigned events)
{
    const uint64_t one = 1;
    if (p->raised & events && write(p->fd, &one, sizeof(one)) < 0)
        leat_logf(LEAT_LOG_DEBUG, "inproc: channel %s is rung already", p->info.channel);
}

static inbox *inbox_of(port *to, const port *from)
{
    inbox *in = NULL;
    TAILQ_FOREACH (in, &to->inboxes, entry)
        if (in->from == from)
            return in;
    return NULL;
}

static void drop(item *it)
{
    for (size_t i = 0; i < it->n; i++)
        if (it->parts[i].kind == LEAT_BODY_BLOCK)
            block_release(&it->parts[i]);
    free(it);
}

static bool meet(const port *a, const port *b)
{
    const address *x = NULL, *y = NULL;
    SLIST_FOREACH (x, &a->addresses, entry)
        SLIST_FOREACH (y, &b->addresses, entry)
            if (x->bound != y->bound && strcmp(x->name, y->name) == 0)
                return true;
    return false;
}

static int link_half(port *from, port *to)
{
    inbox *in = calloc(1, sizeof(*in));
    if (!in)
        return leat_fail(ENOMEM, "inproc: no memory for a link");
    in->from = from;
    in->to = to;
    STAILQ_INIT(&in->items);
    TAILQ_INSERT_TAIL(&to->inboxes, in, entry);
    return 0;
}

/* A pair whose last peer has left something to read has no place yet. */
static bool has_place(const port *p)
{
    return p->info.pattern != LEAT_PAIR || TAILQ_EMPTY(&p->inboxes);
}

static int link_ports(port *a, port *b)
{
    if (inbox_of(a, b) || strcmp(a->session, b->session) != 0 || !meet(a, b))
        return 0;
    if (leat_pattern_partner(a->info.pattern) != b->info.pattern) {
        char text[256];
        snprintf(text, sizeof(text), "channel %s is %s here and %s in channel %s", a->info.channel,
                 leat_pattern_name(a->info.pattern), leat_pattern_name(b->info.pattern), b->info.channel);
        leat_logf(LEAT_LOG_WARNING, "inproc: refused: %s", text);
        const port *connecter = SLIST_FIRST(&a->addresses)->bound ? b : a;
        leat_hook_refused(connecter->info.hook, EPROTOTYPE, text);
        return 0;
    }
    if (!has_place(a) || !has_place(b))
        return 0;
    int r = link_half(a, b);
    if (r == 0)
        r = link_half(b, a);
    if (r < 0)
        return r;
    a->nlinks++;
    b->nlinks++;
    leat_hook_joined(a->info.hook);
    leat_hook_joined(b->info.hook);
    ring(a, LEAT_OUT);
    ring(b, LEAT_OUT);
    return 0;
}

static int link_all(port *p)
{
    int r = 0;
    port *other = NULL;
    LIST_FOREACH (other, &ports, entry)
        if (r == 0 && other != p)
            r = link_ports(p, other);
    return r;
}

/* The sender has gone and all it sent is read: now its peer has left. */
static void end_inbox(inbox *in)
{
    port *to = in->to;
    TAILQ_REMOVE(&to->inboxes, in, entry);
    free(in);
    to->nlinks--;
    leat_hook_left(to->info.hook, false);
    link_all(to);
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static int attach(const leat_attach_info *info, void **ret_state)
{
    *ret_state = (void *)(uintptr_t)info;
    return 0;
}

static void detach(void *state)
{
    (void)state;
}

static int open_port(void *state, const leat_port_info *info, void **ret_port)
{
    const leat_attach_info *attached = state;
    port *p = calloc(1, sizeof(*p));
    if (!p)
        return leat_fail(ENOMEM, "inproc: no memory for channel %s", info->channel);
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->fd < 0) {
        free(p);
        return leat_fail(errno, "inproc: no event descriptor for channel %s", info->channel);
    }
    p->session = attached->session;
    p->info = *info;
    p->queue = (size_t)leat_setting_int(info->settings, "queue");
    TAILQ_INIT(&p->inboxes);
    pthread_mutex_lock(&lock);
    LIST_INSERT_HEAD(&ports, p, entry);
    pthread_mutex_unlock(&lock);
    *ret_port = p;
    return 0;
}

static bool is_bound(const port *p, const char *name)
{
    const port *other = NULL;
    const address *a = NULL;
    LIST_FOREACH (other, &ports, entry)
        SLIST_FOREACH (a, &other->addresses, entry)
            if (a->bound && strcmp(other->session, p->session) == 0 && strcmp(a->name, name) == 0)
                return true;
    return false;
}

static int add_address(port *p, const char *name, bool bound)
{
    int r = 0;
    address *a = malloc(sizeof(*a) + strlen(name) + 1);
    if (!a)
        return leat_fail(ENOMEM, "inproc: no memory for address %s", name);
    a->bound = bound;
    strcpy(a->name, name);
    pthread_mutex_lock(&lock);
    if (bound && is_bound(p, name)) {
        free(a);
        r = leat_fail(EADDRINUSE, "inproc: another channel of this process has bound %s", name);
    } else {
        SLIST_INSERT_HEAD(&p->addresses, a, entry);
        r = link_all(p);
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int bind_port(void *port_, const char *name)
{
    return add_address(port_, name, true);
}

static int connect_port(void *port_, const char *name)
{
    return add_address(port_, name, false);
}

/* What we sent stays readable; what we have not read is lost, and counted where it was sent. */
static void close_port(void *port_, int linger_ms)
{
    port *p = port_, *other = NULL;
    (void)linger_ms;
    pthread_mutex_lock(&lock);
    LIST_REMOVE(p, entry);
    for (inbox *in = NULL; (in = TAILQ_FIRST(&p->inboxes));) {
        if (in->from)
            in->from->stats.dropped += in->depth;
        for (item *it = NULL; (it = STAILQ_FIRST(&in->items));) {
            STAILQ_REMOVE_HEAD(&in->items, entry);
            drop(it);
        }
        TAILQ_REMOVE(&p->inboxes, in, entry);
        free(in);
    }
    for (address *a = NULL; (a = SLIST_FIRST(&p->addresses));) {
        SLIST_REMOVE_HEAD(&p->addresses, entry);
        free(a);
    }
again:
    LIST_FOREACH (other, &ports, entry) {
        inbox *in = inbox_of(other, p);
        if (!in)
            continue;
        in->from = NULL;
        if (in->depth == 0) {
            end_inbox(in);
            goto again; /* what waited for its place may be linked now */
        }
    }
    pthread_mutex_unlock(&lock);
    close(p->fd);
    free(p);
}

static void to_the_end_of_turns(inbox *in)
{
    TAILQ_REMOVE(&in->to->inboxes, in, entry);
    TAILQ_INSERT_TAIL(&in->to->inboxes, in, entry);
}

/* The next peer in turn that has room: our inbox from it, and its inbox from us. */
static inbox *room_for(port *p, inbox **ret_theirs)
{
    inbox *mine = NULL;
    TAILQ_FOREACH (mine, &p->inboxes, entry) {
        *ret_theirs = mine->from ? inbox_of(mine->from, p) : NULL;
        if (*ret_theirs && (*ret_theirs)->depth < p->queue)
            return mine;
    }
    return NULL;
}

static int send_parts(void *port_, leat_msg_body *const *parts, size_t n)
{
    port *p = port_;
    int r = -EAGAIN;
    pthread_mutex_lock(&lock);
    inbox *in = NULL, *mine = room_for(p, &in);
    item *it = mine ? aligned_alloc(16, sizeof(*it) + n * sizeof(it->parts[0])) : NULL;
    if (mine && !it)
        r = leat_fail(ENOMEM, "inproc: no memory for a message of %zu parts", n);
    if (!it)
        goto unlock;
    it->n = n;
    for (size_t i = 0; i < n; i++) {
        it->parts[i] = *parts[i];
        p->stats.bytes_out += parts[i]->kind == LEAT_BODY_BLOCK ? parts[i]->u.block.size : parts[i]->inline_size;
    }
    p->stats.messages_out++;
    STAILQ_INSERT_TAIL(&in->items, it, entry);
    in->depth++;
    to_the_end_of_turns(mine);
    ring(in->to, LEAT_IN);
    r = 0;

unlock:
    pthread_mutex_unlock(&lock);
    return r;
}

static inbox *full_inbox(port *p)
{
    inbox *in = NULL;
    TAILQ_FOREACH (in, &p->inboxes, entry)
        if (in->depth > 0)
            return in;
    return NULL;
}

/* Takes the first message; its sender is served again after all others. */
static int take(port *p, inbox *in, leat_msg_body *const *parts)
{
    item *it = STAILQ_FIRST(&in->items);
    int n = (int)it->n;
    STAILQ_REMOVE_HEAD(&in->items, entry);
    in->depth--;
    for (int i = 0; i < n; i++) {
        *parts[i] = it->parts[i];
        p->stats.bytes_in += parts[i]->kind == LEAT_BODY_BLOCK ? parts[i]->u.block.size : parts[i]->inline_size;
    }
    p->stats.messages_in++;
    free(it);
    to_the_end_of_turns(in);
    if (in->from)
        ring(in->from, LEAT_OUT);
    else if (in->depth == 0)
        end_inbox(in);
    return n;
}

static int recv_parts(void *port_, leat_msg_body *const *parts, size_t capacity)
{
    port *p = port_;
    int r = -EAGAIN;
    pthread_mutex_lock(&lock);
    inbox *in = full_inbox(p);
    if (in) {
        size_t n = STAILQ_FIRST(&in->items)->n;
        r = capacity == 0 ? (int)n : n > capacity ? -EMSGSIZE : take(p, in, parts);
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int alloc_block(void *port_, size_t size, size_t align, leat_msg_body *ret_msg)
{
    (void)port_;
    memset(ret_msg, 0, sizeof(*ret_msg));
    return block_new(size, align, ret_msg);
}

static bool owns(void *port_, const leat_msg_body *msg)
{
    (void)port_;
    return msg->u.block.ops == &block_ops;
}

static int from_bytes(void *port_, void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg)
{
    (void)port_;
    block *b = calloc(1, sizeof(*b));
    if (!b)
        return leat_fail(ENOMEM, "inproc: no memory for a message");
    b->free_fn = free_fn;
    b->data = data;
    b->hint = hint;
    memset(ret_msg, 0, sizeof(*ret_msg));
    block_fill(ret_msg, b, data, size);
    return 0;
}

static unsigned ready(void *port_, unsigned events)
{
    port *p = port_;
    pthread_mutex_lock(&lock);
    inbox *in = NULL;
    unsigned r = (full_inbox(p) ? LEAT_IN : 0) | (room_for(p, &in) ? LEAT_OUT : 0);
    pthread_mutex_unlock(&lock);
    return r & events;
}

static int get_fd(void *port_)
{
    return ((port *)port_)->fd;
}

static void raise_port(void *port_, unsigned events)
{
    pthread_mutex_lock(&lock);
    ((port *)port_)->raised = events;
    pthread_mutex_unlock(&lock);
}

static void lower_port(void *port_)
{
    port *p = port_;
    uint64_t rings = 0;
    pthread_mutex_lock(&lock);
    p->raised = 0;
    if (read(p->fd, &rings, sizeof(rings)) < 0 && errno != EAGAIN)
        leat_logf(LEAT_LOG_ERROR, "inproc: channel %s: %s", p->info.channel, strerror(errno));
    pthread_mutex_unlock(&lock);
}

static void add_stats(void *port_, leat_stats *stats)
{
    port *p = port_, *other = NULL;
    pthread_mutex_lock(&lock);
    stats->messages_in += p->stats.messages_in;
    stats->messages_out += p->stats.messages_out;
    stats->bytes_in += p->stats.bytes_in;
    stats->bytes_out += p->stats.bytes_out;
    stats->dropped += p->stats.dropped;
    LIST_FOREACH (other, &ports, entry) {
        const inbox *in = inbox_of(other, p);
        stats->queued += in ? in->depth : 0;
    }
    pthread_mutex_unlock(&lock);
}

static const leat_transport_ops ops = {
    .attach = attach,
    .detach = detach,
    .open = open_port,
    .bind = bind_port,
    .connect = connect_port,
    .close = close_port,
    .send = send_parts,
    .recv = recv_parts,
    .alloc = alloc_block,
    .owns = owns,
    .from = from_bytes,
    .ready = ready,
    .fd = get_fd,
    .raise = raise_port,
    .lower = lower_port,
    .stats = add_stats,
};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = "inproc",
    .version = "1",
    .summary = "messages between channels of one process",
    .capabilities = LEAT_CAP_PATTERN(LEAT_PAIR) | LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) |
                    LEAT_CAP_SPIN | LEAT_CAP_NO_COPY,
    .ops_size = sizeof(leat_transport_ops),
    .transport = &ops,
};
