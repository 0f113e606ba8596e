/* SPDX-License-Identifier: MIT
 *
 * zmq.c - the transport's descriptor and its state per context: one ZeroMQ context, its watcher, and, with the first
 * plain name, a place in the session. What is left on the machine are peer files and address locks; ZeroMQ has no
 * memory to show.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "parts.h"

static const leat_key keys[] = {
    {.name = "io_threads",
     .type = LEAT_KEY_INT,
     .def = "1",
     .unit = "threads",
     .min = 1,
     .max = 64,
     .help = "ZeroMQ's own threads; one moves about a gigabyte per second."},
    {.name = "max_message",
     .type = LEAT_KEY_SIZE,
     .def = "1G",
     .unit = "bytes",
     .min = 1,
     .max = INT64_MAX,
     .help = "The largest message that is sent or taken; a peer that sends more is disconnected."},
    {.name = NULL},
};

static const leat_key channel_keys[] = {
    {.name = "public",
     .type = LEAT_KEY_BOOL,
     .def = "no",
     .help = "Whether a binder serves tcp://*:PORT to the whole network; else to this machine only."},
    {.name = NULL},
};

int state_session(state *s, leati_session **ret_session)
{
    leati_session *session;
    int r = 0;

    pthread_mutex_lock(&s->session_lock);
    session = s->session;
    if (session == NULL) {
        r = leati_session_open(s->info, TRANSPORT, NULL, &session);
        if (r == 0)
            s->session = session;
    }
    pthread_mutex_unlock(&s->session_lock);
    if (r == 0)
        *ret_session = session;
    return r;
}

static int attach(const leat_attach_info *info, void **ret_state)
{
    state *s = calloc(1, sizeof(*s));
    pthread_condattr_t monotonic;
    int i, r;

    if (s == NULL)
        return leat_fail(ENOMEM, "no memory for transport zmq");
    s->info = info;
    s->max_message = leat_setting_int(info->settings, "max_message");
    for (i = 0; i < FORK_FDS; i++)
        atomic_init(&s->fds[i].fd, -1);
    pthread_mutex_init(&s->session_lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    LIST_INIT(&s->ports);
    LIST_INIT(&s->lingering);
    s->context = zmq_ctx_new();
    if (s->context == NULL) {
        r = leat_fail(errno, "no ZeroMQ context: %s", zmq_strerror(errno));
        goto free_state;
    }
    zmq_ctx_set(s->context, ZMQ_IO_THREADS, (int)leat_setting_int(info->settings, "io_threads"));
    r = watch_start(s);
    if (r < 0)
        goto term_context;
    *ret_state = s;
    return 0;

term_context:
    zmq_ctx_term(s->context);
free_state:
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->session_lock);
    free(s);
    return r;
}

static void detach(void *arg)
{
    state *s = arg;

    linger_finish(s);
    watch_stop(s);
    while (zmq_ctx_term(s->context) < 0 && errno == EINTR)
        continue;
    if (s->session != NULL) {
        leati_session_sweep(s->session);
        leati_session_close(s->session);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->session_lock);
    free(s);
}

/* libzmq cannot be told of a fork, and its threads are not in the child; but its connections would stay open there and
 * hide our death from the peers. */
static void forked(void *arg)
{
    state *s = arg;
    leati_session *session = s->session;
    struct stat st;
    int i, fd;

    for (i = 0; i < FORK_FDS; i++) {
        fd = s->fds[i].fd;
        /* The number may have been closed and used again since the monitor told of it. */
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == s->fds[i].inode)
            close(fd);
    }
    if (session != NULL)
        leati_session_forked(session);
}

static int list(const leat_scope *scope, leat_item_fn *fn, void *user)
{
    return leati_session_list(TRANSPORT, NULL, scope, fn, user);
}

static int inspect(const leat_item *item, leat_channel_info_fn *fn, void *user)
{
    (void)fn;
    (void)user;
    return leat_fail(ENOTSUP, "%s: ZeroMQ publishes no counters of its channels", item->name);
}

static int remove_item(const leat_item *item, unsigned flags, uint64_t *ret_bytes)
{
    return leati_session_remove(TRANSPORT, NULL, item, flags, ret_bytes);
}

static int probe(void)
{
    int major, minor, patch;

    zmq_version(&major, &minor, &patch);
    if (major != 4 || minor < 3)
        return leat_fail(ENOTSUP, "zmq needs libzmq 4.3 or later, and this is %d.%d.%d", major, minor, patch);
    if (!zmq_has("ipc"))
        return leat_fail(ENOTSUP, "this libzmq was built without ipc");
    return 0;
}

static const leat_transport_ops ops = {
    .attach = attach,
    .detach = detach,
    .forked = forked,
    .open = port_open,
    .bind = port_bind,
    .connect = port_connect,
    .close = port_close,
    .send = port_send,
    .recv = port_recv,
    .alloc = port_alloc,
    .owns = port_owns,
    .from = port_from,
    .subscribe = port_subscribe,
    .ready = port_ready,
    .fd = port_fd,
    .stats = port_stats,
    .list = list,
    .inspect = inspect,
    .remove = remove_item,
};

static const char *const aliases[] = {"zmq-copy", NULL};
static const char *const schemes[] = {"tcp", "ipc", NULL};

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = TRANSPORT,
    .aliases = aliases,
    .version = "0.1.0",
    .summary = "ZeroMQ: between machines over TCP, on one machine over local sockets",
    .keys = keys,
    .channel_keys = channel_keys,
    .schemes = schemes,
    .capabilities = LEAT_CAP_PATTERN(LEAT_PAIR) | LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) |
                    LEAT_CAP_PATTERN(LEAT_PUB) | LEAT_CAP_PATTERN(LEAT_SUB) | LEAT_CAP_PATTERN(LEAT_REQ) |
                    LEAT_CAP_PATTERN(LEAT_REP) | LEAT_CAP_REMOTE | LEAT_CAP_ADMIN,
    .ops_size = sizeof(leat_transport_ops),
    .probe = probe,
    .transport = &ops,
};
