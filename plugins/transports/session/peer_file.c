/* SPDX-License-Identifier: MIT
 *
 * peer_file.c - joining and leaving a session: our peer file, its notes of segments, and what the dead left. Knows
 * segments by name and leati_segment_ops only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"

bool leati_file_is(const char *file, const char *transport, const char *suffix, char ret_name[LEATI_FILE_MAX])
{
    size_t size = strlen(file), transport_size = strlen(transport), suffix_size = strlen(suffix), name_size;

    /* A transport's name has no dot, so reading from the right is unambiguous. */
    if (size >= LEATI_FILE_MAX || size < transport_size + suffix_size + 3)
        return false;
    name_size = size - transport_size - suffix_size - 2;
    if (file[name_size] != '.' || memcmp(file + name_size + 1, transport, transport_size) != 0 ||
        file[name_size + 1 + transport_size] != '.' || strcmp(file + name_size + 2 + transport_size, suffix) != 0)
        return false;
    memcpy(ret_name, file, name_size);
    ret_name[name_size] = '\0';
    return leati_name_good(ret_name, true);
}

/* ---- removing what the dead left -------------------------------------------------------------------------------- */

/* A peer file may name anything, e.g. another user's segment, for root to remove: it must be its user's. Segments in
 * our own directory are the kernel's to guard. */
static bool may_remove(const leati_burial *b, const char *segment)
{
    leat_item item;

    if (b->uid == geteuid() && b->uid != 0)
        return true;
    memset(&item, 0, sizeof(item));
    item.uid = -1;
    (void)b->ops->describe(b->root, segment, &item);
    return item.uid == (int64_t)b->uid;
}

int leati_bury_segments(int fd, void *user)
{
    leati_burial *b = user;
    leati_note note;
    struct stat st;
    bool found = false;
    size_t i;
    int r, result = 0;

    r = leati_note_read(fd, &note);
    if (r < 0)
        return r;
    for (i = 0; i < note.n_segments && b->ops != NULL; i++) {
        const char *segment = note.segments[i];
        uint64_t bytes = 0;

        if (b->only != NULL && strcmp(b->only, segment) != 0)
            continue;
        if (b->flags & LEAT_REMOVE_DRY_RUN) {
            leat_item item;

            memset(&item, 0, sizeof(item));
            item.uid = item.allocated = -1;
            r = b->ops->describe(b->root, segment, &item);
            if (r == -ENOENT)
                continue;
            found = true;
            if (b->only != NULL) /* of a peer file as a whole, its segments are items of their own */
                b->bytes += item.allocated > 0 ? (uint64_t)item.allocated : 0;
            continue;
        }
        if (!may_remove(b, segment)) {
            leat_item item;

            memset(&item, 0, sizeof(item));
            item.uid = -1;
            if (b->ops->describe(b->root, segment, &item) != -ENOENT)
                leat_logf(LEAT_LOG_WARNING,
                          "%s stays: a peer file of user %u names it, but it is not proved to be theirs", segment,
                          (unsigned)b->uid);
            continue;
        }
        r = b->ops->remove(b->root, segment, &bytes);
        if (r == 0) {
            found = true;
            b->bytes += bytes;
        } else if (r != -ENOENT) {
            result = r; /* the file stays, so that the next one tries again */
        }
    }
    leati_note_fini(&note);
    if (b->only != NULL)
        return result < 0 ? result : found ? 0 : -ESTALE;
    if (result == 0 && fstat(fd, &st) == 0)
        b->bytes += (uint64_t)st.st_blocks * 512;
    return result;
}

static int reap_peer(leati_session *s, const char *peer)
{
    leati_burial burial = {.root = s->root, .ops = s->ops, .uid = s->uid};
    int r = leati_lock_bury(s->dirfd, peer, 0, false, leati_bury_segments, &burial);

    if (r == 0)
        leat_logf(LEAT_LOG_INFO, "removed what a dead process left in session %s: %s, %llu bytes", s->name, peer,
                  (unsigned long long)burial.bytes);
    return r == -ESTALE ? 0 : r == -EALREADY ? -EBUSY : r;
}

int leati_session_reap(leati_session *s, const char *peer)
{
    char name[LEATI_FILE_MAX];
    int r;

    if (s->forked)
        return leat_fail(ECHILD, "session %s belongs to the parent process", s->name);
    if (!leati_file_is(peer, s->transport, "peer", name))
        return leat_fail(EINVAL, "\"%.80s\" is not a peer file of %s", peer, s->transport);
    r = reap_peer(s, peer);
    if (r < 0 && r != -EBUSY)
        return leat_fail(-r, "%s/%s: what this dead process left cannot be removed: %s", s->path, peer, strerror(-r));
    return r;
}

static int reap_file(const char *file, void *user)
{
    leati_session *s = user;
    char name[LEATI_FILE_MAX], socket[LEATI_FILE_MAX];
    int r = 0;

    if (strcmp(file, s->peer) == 0 && !s->left)
        return 0;
    if (leati_file_is(file, s->transport, "peer", name)) {
        r = reap_peer(s, file);
    } else if (leati_file_is(file, s->transport, "lock", name)) {
        leati_address_burial burial = {.dirfd = s->dirfd, .socket = socket};

        snprintf(socket, sizeof(socket), "%.64s.%.31s.sock", name, s->transport);
        r = leati_lock_bury(s->dirfd, file, 0, false, leati_bury_socket, &burial);
    }
    if (r < 0 && r != -EBUSY && r != -EALREADY && r != -ESTALE)
        leat_logf(LEAT_LOG_WARNING, "%s/%s: what a dead process left cannot be removed: %s", s->path, file,
                  strerror(-r));
    return 0; /* the others still */
}

void leati_session_sweep(leati_session *s)
{
    if (!s->forked)
        (void)leati_dir_files(s->dirfd, reap_file, s);
}

/* ---- joining and leaving ---------------------------------------------------------------------------------------- */

/* Makes the peer file in the directory `dirfd`: locked and filled before it has a name. */
static int make_peer(leati_session *s, int dirfd)
{
    char text[1024];
    int fd, r;

    r = leati_lock_make(dirfd, s->path, text, leati_note_write(s, "peer", NULL, text, sizeof(text)), &fd);
    if (r < 0)
        return r;
    do {
        snprintf(s->peer, sizeof(s->peer), "%d-%u.%.31s.peer", (int)getpid(), s->number, s->transport);
        r = leati_lock_link(fd, dirfd, s->peer);
        /* Taken by another context of this process, or by one with our pid that died or lives in another name space. */
    } while (r == -EEXIST && ++s->number < LEATI_TRIES);
    if (r < 0) {
        close(fd);
        return r == -EEXIST ? leat_fail(EEXIST, "%s: is full of files of pid %d; `shmadm clean` removes dead ones",
                                        s->path, (int)getpid())
                            : r;
    }
    s->peerfd = fd;
    return 0;
}

int leati_session_open(const leat_attach_info *info, const char *transport, const leati_segment_ops *ops,
                       leati_session **ret_session)
{
    leati_session *s;
    size_t i;
    int dirfd, tries, r;

    if (!leati_name_good(info->session, false))
        return leat_fail(EINVAL,
                         "\"%.80s\" is not the name of a session: 1 to %d of the characters A-Z a-z 0-9 . _ -, and not "
                         "\".\" or \"..\"",
                         info->session, LEATI_NAME_MAX);
    if (strlen(transport) > LEATI_TRANSPORT_MAX)
        return leat_fail(EINVAL, "%s: a transport's name has at most %d characters", transport, LEATI_TRANSPORT_MAX);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return leat_fail(ENOMEM, "no memory for session %s", info->session);
    r = leati_root(s->root);
    if (r < 0)
        goto free_session;
    s->transport = transport;
    s->ops = ops;
    s->uid = geteuid();
    strcpy(s->name, info->session);
    snprintf(s->path, sizeof(s->path), "%.400s/leat-%u/%s", s->root, (unsigned)s->uid, s->name);
    snprintf(s->program, sizeof(s->program), "%s", info->program != NULL ? info->program : "");
    for (i = 0; s->program[i] != '\0'; i++) /* it becomes a line of text */
        if ((unsigned char)s->program[i] < 0x20 || s->program[i] == 0x7f)
            s->program[i] = '?';
    r = leat_admin_shmid(s->uid, s->name, s->shmid);
    if (r < 0)
        goto free_session;
    pthread_mutex_init(&s->mutex, NULL);

    for (tries = 0;; tries++) {
        r = leati_dir_open(s->root, s->uid, s->name, true, &dirfd);
        if (r < 0)
            goto destroy_mutex;
        r = make_peer(s, dirfd);
        if (r == 0)
            break;
        close(dirfd);
        if (r != -ENOENT)
            goto destroy_mutex;
        /* The directory, empty as it was, was cleaned away before our file got its name: start over. */
        if (tries == LEATI_TRIES) {
            r = leat_fail(ESTALE, "%s: is removed again and again while we join the session", s->path);
            goto destroy_mutex;
        }
    }
    s->dirfd = dirfd;
    leati_session_sweep(s);
    *ret_session = s;
    return 0;

destroy_mutex:
    pthread_mutex_destroy(&s->mutex);
free_session:
    free(s);
    return r;
}

void leati_session_leave(leati_session *s)
{
    static const char left[] = "state = left\n";

    if (s->forked || s->left)
        return;
    s->left = true;
    if (leati_lock_append(s->peerfd, left, sizeof(left) - 1) < 0)
        leat_logf(LEAT_LOG_DEBUG, "%s/%s: cannot be marked as left", s->path, s->peer);
    close(s->peerfd);
    s->peerfd = -1;
}

void leati_session_close(leati_session *s)
{
    if (s == NULL)
        return;
    if (!s->forked) {
        if (!s->left) {
            unlinkat(s->dirfd, s->peer, 0); /* still locked: who opened it before finds us alive, or the name gone */
            close(s->peerfd);
        }
        close(s->dirfd);
        (void)leati_dir_drop(s->root, s->uid, s->name); /* stays as long as others are in it */
    }
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static void forked_close(atomic_int *fd)
{
    int old = atomic_exchange(fd, -1);

    if (old >= 0)
        close(old);
}

void leati_session_forked(leati_session *s)
{
    leati_address *a;

    /* Async-signal-safe: no mutex. The list is whole at each instant, see address.c. */
    s->forked = true;
    for (a = s->addresses; a != NULL; a = a->next)
        forked_close(&a->fd);
    forked_close(&s->peerfd);
    forked_close(&s->dirfd);
}

int leati_session_note_segment(leati_session *s, const char *name)
{
    char line[LEATI_SEGMENT_MAX + 16];
    int n, r;

    if (s->forked)
        return leat_fail(ECHILD, "session %s belongs to the parent process", s->name);
    if (!leati_segment_good(name))
        return leat_fail(EINVAL, "\"%.100s\" cannot be noted as a segment", name);
    n = snprintf(line, sizeof(line), "segment = %s\n", name);
    pthread_mutex_lock(&s->mutex);
    r = leati_lock_append(s->peerfd, line, (size_t)n);
    pthread_mutex_unlock(&s->mutex);
    if (r < 0)
        return leat_fail(-r, "%s/%s: cannot note segment %s: %s", s->path, s->peer, name, strerror(-r));
    return 0;
}

const char *leati_session_root(const leati_session *s)
{
    return s->root;
}

int leati_session_dirfd(const leati_session *s)
{
    return s->dirfd;
}

const char *leati_session_path(const leati_session *s)
{
    return s->path;
}

const char *leati_session_name(const leati_session *s)
{
    return s->name;
}

const char *leati_session_shmid(const leati_session *s)
{
    return s->shmid;
}

const char *leati_session_peer(const leati_session *s)
{
    return s->peer;
}

unsigned leati_session_number(const leati_session *s)
{
    return s->number;
}
