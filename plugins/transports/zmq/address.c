/* SPDX-License-Identifier: MIT
 *
 * address.c - what an address means to ZeroMQ: a plain name is a local socket in the session's directory, under a lock
 * of our own, since libzmq would unlink a living binder's socket; a URI is taken as written, but one that names all
 * interfaces is not served to the whole network unless the channel says `public = yes`.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "parts.h"

#define URI_MAX 512

/* The URI of a socket in the session's directory. Should the path be too long for a socket's address, it is reached
 * through the directory's descriptor, which is open as long as we are in the session. */
static void socket_uri(leati_session *s, const char *name, char ret_uri[URI_MAX])
{
    int n = snprintf(ret_uri, URI_MAX, "ipc://%s/%s", leati_session_path(s), name);

    if (n >= URI_MAX || strlen(ret_uri + strlen("ipc://")) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        snprintf(ret_uri, URI_MAX, "ipc:///proc/self/fd/%d/%s", leati_session_dirfd(s), name);
}

static int check_uri(const port *p, const char *address)
{
    if (strlen(address) >= URI_MAX - 16)
        return leat_fail(ENAMETOOLONG, "channel %s: the address %.60s... is too long", p->channel, address);
    if (strncmp(address, "ipc://", 6) == 0 && strlen(address + 6) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return leat_fail(ENAMETOOLONG,
                         "channel %s: the path of %s has more than the 107 characters that a socket's may have",
                         p->channel, address);
    return 0;
}

/* libzmq unlinks whatever socket has the name. */
static int check_ipc_free(const port *p, const char *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd, r = 0;

    if (strncmp(address, "ipc://", 6) != 0 || address[6] == '@' || address[6] == '*')
        return 0;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    strcpy(name.sun_path, address + 6);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0 || errno == EAGAIN)
        r = leat_fail(EADDRINUSE, "channel %s: somebody serves %s already", p->channel, address);
    close(fd);
    return r;
}

static endpoint *endpoint_new(const port *p, const char *uri, bool connects)
{
    size_t size = strlen(uri) + 1;
    endpoint *e = calloc(1, sizeof(*e) + size);

    if (e == NULL) {
        leat_fail(ENOMEM, "no memory for an address of channel %s", p->channel);
        return NULL;
    }
    e->connects = connects;
    memcpy(e->uri, uri, size);
    return e;
}

static void enlist(port *p, endpoint *e)
{
    pthread_mutex_lock(&p->state->lock);
    e->next = p->endpoints;
    p->endpoints = e;
    pthread_mutex_unlock(&p->state->lock);
}

static int refuse(const port *p, const char *verb, const char *address, int error)
{
    switch (error) {
    case EADDRINUSE:
        return leat_fail(error, "channel %s: %s is in use by another program (`ss -lptn` says by which)", p->channel,
                         address);
    case EINVAL:
    case EPROTONOSUPPORT:
        return leat_fail(EINVAL, "channel %s: %s is no address that ZeroMQ knows; e.g. tcp://HOST:PORT, ipc:///PATH",
                         p->channel, address);
    case EAGAIN: /* the resolver's */
    case ENODEV:
    case EADDRNOTAVAIL:
        return leat_fail(error == EAGAIN ? ENODEV : error, "channel %s: %s names no interface of this machine",
                         p->channel, address);
    default:
        return leat_fail(error < 4096 ? error : EIO, "channel %s: cannot %s %s: %s", p->channel, verb, address,
                         zmq_strerror(error));
    }
}

static int bind_uri(port *p, const char *address, const char *uri, leati_address *lock)
{
    char bound[URI_MAX];
    size_t size = sizeof(bound);
    endpoint *e;

    if (zmq_bind(p->socket, uri) < 0)
        return refuse(p, "serve", address, errno);
    /* As libzmq calls it from now on: with numbers for names, the port that it chose. */
    if (zmq_getsockopt(p->socket, ZMQ_LAST_ENDPOINT, bound, &size) < 0)
        snprintf(bound, sizeof(bound), "%s", uri);
    e = endpoint_new(p, bound, false);
    if (e == NULL) {
        zmq_unbind(p->socket, bound);
        return -ENOMEM;
    }
    e->address = lock;
    if (lock != NULL)
        leati_address_note(lock,
                           leat_pattern_name(p->pattern)); /* for a partner of the wrong one: see refusal_text() */
    enlist(p, e);
    return 0;
}

static int bind_plain(port *p, const char *address)
{
    char uri[URI_MAX];
    leati_session *session;
    leati_address *lock;
    int r;

    r = state_session(p->state, &session);
    if (r < 0)
        return r;
    r = leati_address_take(session, address, &lock);
    if (r < 0)
        return r;
    socket_uri(session, leati_address_socket(lock), uri);
    r = bind_uri(p, address, uri, lock);
    if (r < 0)
        leati_address_release(lock);
    return r;
}

int port_bind(void *arg, const char *address)
{
    char uri[URI_MAX];
    port *p = arg;
    int r;

    if (strstr(address, "://") == NULL)
        return bind_plain(p, address);
    r = check_uri(p, address);
    if (r < 0)
        return r;
    r = check_ipc_free(p, address);
    if (r < 0)
        return r;
    snprintf(uri, sizeof(uri), "%s", address);
    if (strncmp(address, "tcp://*:", 8) == 0 && !p->is_public) {
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%s", address + 8);
        leat_logf(LEAT_LOG_INFO, "channel %s: %s is served on this machine only; public = yes serves it to the network",
                  p->channel, address);
    }
    return bind_uri(p, address, uri, NULL);
}

int port_connect(void *arg, const char *address)
{
    char uri[URI_MAX], name[128];
    leati_session *session;
    port *p = arg;
    endpoint *e;
    int r;

    if (strstr(address, "://") == NULL) {
        r = state_session(p->state, &session);
        if (r < 0)
            return r;
        r = leati_address_socket_name(session, address, name, sizeof(name));
        if (r < 0)
            return r;
        socket_uri(session, name, uri);
    } else {
        r = check_uri(p, address);
        if (r < 0)
            return r;
        if (strncmp(address, "tcp://*:", 8) == 0)
            return leat_fail(EINVAL, "channel %s: %s can only be bound; name the host to connect to", p->channel,
                             address);
        snprintf(uri, sizeof(uri), "%s", address);
    }
    e = endpoint_new(p, uri, true);
    if (e == NULL)
        return -ENOMEM;
    if (strstr(address, "://") == NULL)
        snprintf(e->name, sizeof(e->name), "%s", address);
    enlist(p, e); /* before: the watcher looks it up when the connection is there */
    if (zmq_connect(p->socket, uri) < 0)
        return refuse(p, "connect to", address, errno);
    return 0;
}

void port_mend(port *p, int64_t now)
{
    endpoint *e;

    for (e = p->endpoints; e != NULL; e = e->next) {
        if (e->mend_at_ns == 0 || e->mend_at_ns > now)
            continue;
        e->mend_at_ns = 0;
        zmq_disconnect(p->socket, e->uri);
        if (zmq_connect(p->socket, e->uri) < 0)
            leat_logf(LEAT_LOG_WARNING, "channel %s: cannot connect to %s again: %s", p->channel, e->uri,
                      zmq_strerror(errno));
    }
}

static bool is_listening(const port *p)
{
    conn *c;

    LIST_FOREACH (c, &p->conns, entry) {
        if (c->listens)
            return true;
    }
    return false;
}

void port_forget_addresses(port *p)
{
    state *s = p->state;
    struct timespec deadline;
    endpoint *e, *all;

    /* libzmq's thread closes and unlinks the sockets; only then may another have the names. The time is for the case
     * that somebody removed a socket's file: libzmq does not say which one it could not unlink. */
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += 1;
    pthread_mutex_lock(&s->lock);
    all = p->endpoints;
    p->endpoints = NULL;
    while (is_listening(p) && pthread_cond_timedwait(&s->changed, &s->lock, &deadline) == 0)
        continue;
    pthread_mutex_unlock(&s->lock);
    while ((e = all) != NULL) {
        all = e->next;
        leati_address_release(e->address);
        free(e);
    }
}
