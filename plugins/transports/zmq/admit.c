/* SPDX-License-Identifier: MIT
 *
 * admit.c - keeps a PAIR's second partner out until the first has gone and is read to its end. libzmq would let it in,
 * give it no queue, and leave it mute for ever. It asks us first by ZAP (ZeroMQ RFC 27), which works without any
 * security: the refusal is "temporary", so that the partner tries again. In the watcher's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "parts.h"

#define ADMIT_MS 1000 /* how long one that was let in may take for the rest of its handshake */
#define FRAMES 5      /* of a request, that matter: version, id, domain, address, identity */

int admit_open(state *s)
{
    size_t size = sizeof(s->admit_fd);
    int none = 0, r;

    s->admit = zmq_socket(s->context, ZMQ_REP);
    if (s->admit == NULL)
        return leat_fail(errno, "zmq: no socket: %s", zmq_strerror(errno));
    zmq_setsockopt(s->admit, ZMQ_LINGER, &none, sizeof(none));
    if (zmq_bind(s->admit, "inproc://zeromq.zap.01") < 0 || zmq_getsockopt(s->admit, ZMQ_FD, &s->admit_fd, &size) < 0) {
        r = leat_fail(errno, "zmq: cannot serve ZAP: %s", zmq_strerror(errno));
        zmq_close(s->admit);
        return r;
    }
    return 0;
}

void admit_close(state *s)
{
    zmq_close(s->admit);
}

int admit_ask(port *p)
{
    if (p->pattern != LEAT_PAIR)
        return 0;
    pthread_mutex_lock(&p->state->lock);
    snprintf(p->domain, sizeof(p->domain), "leat-%u", p->state->domains++);
    pthread_mutex_unlock(&p->state->lock);
    if (zmq_setsockopt(p->socket, ZMQ_ZAP_DOMAIN, p->domain, strlen(p->domain)) < 0)
        return leat_fail(errno, "channel %s: ZeroMQ refuses ZMQ_ZAP_DOMAIN: %s", p->channel, zmq_strerror(errno));
    return 0;
}

static bool may_enter(state *s, const char *domain)
{
    int64_t now = leat_now_ns();
    port *p;

    LIST_FOREACH (p, &s->ports, entry) {
        if (strcmp(p->domain, domain) != 0)
            continue;
        if (p->closing || atomic_load(&p->peers) > 0 || now < p->admitting_until_ns)
            return false;
        p->admitting_until_ns = now + ADMIT_MS * MS;
        return true;
    }
    return false;
}

/* One frame into a string. */
static bool read_frame(void *socket, char *ret_text, size_t size, bool *ret_more)
{
    zmq_msg_t msg;
    size_t n;

    zmq_msg_init(&msg);
    if (zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&msg);
        return false;
    }
    n = zmq_msg_size(&msg) < size - 1 ? zmq_msg_size(&msg) : size - 1;
    memcpy(ret_text, zmq_msg_data(&msg), n);
    ret_text[n] = '\0';
    *ret_more = zmq_msg_more(&msg);
    zmq_msg_close(&msg);
    return true;
}

bool admit_look(state *s)
{
    char frames[FRAMES][64] = {""}, ignored[64] = "";
    bool more = true, good;
    int i;

    for (i = 0; more; i++)
        if (!read_frame(s->admit, i < FRAMES ? frames[i] : ignored, sizeof(ignored), &more))
            return false;
    good = may_enter(s, frames[2]);
    zmq_send(s->admit, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(s->admit, frames[1], strlen(frames[1]), ZMQ_SNDMORE);
    zmq_send(s->admit, good ? "200" : "300", 3, ZMQ_SNDMORE);
    zmq_send(s->admit, good ? "OK" : "a pair has one peer", good ? 2 : 19, ZMQ_SNDMORE);
    zmq_send(s->admit, "", 0, ZMQ_SNDMORE);
    zmq_send(s->admit, "", 0, 0);
    return true;
}
