/* SPDX-License-Identifier: MIT
 *
 * address.c - one lock per bound address, so that two binders cannot both believe in one socket. The same kind of file
 * as a peer file, so that a dead binder's is told from a living one's the same way. Knows the socket by its file name
 * only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "parts.h"

#define GATE_WAIT_MS 2000 /* how long somebody else may be busy removing a dead binder */

int leati_bury_socket(int fd, void *user)
{
    leati_address_burial *b = user;
    char temporary[LEATI_FILE_MAX + 1];
    struct stat st;

    snprintf(temporary, sizeof(temporary), "%s" LEATI_ADDRESS_TEMPORARY, b->socket);
    if (!(b->flags & LEAT_REMOVE_DRY_RUN))
        (void)unlinkat(b->dirfd, temporary, 0); /* of a binder that was killed between bind and rename */

    /* Nobody binds this address while its lock file has its name, and we hold that file's gate. */
    if (!(b->flags & LEAT_REMOVE_DRY_RUN) && unlinkat(b->dirfd, b->socket, 0) < 0 && errno != ENOENT)
        return -errno;
    if (fstat(fd, &st) == 0)
        b->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

static int check_name(const char **address)
{
    const char *name = *address;

    if (*name == '/')
        name++;
    if (!leati_name_good(name, true))
        return leat_fail(EINVAL, "\"%.80s\" is not a plain address: 1 to %d of the characters A-Z a-z 0-9 . _ -",
                         *address, LEATI_NAME_MAX);
    *address = name;
    return 0;
}

/* Says who has the address. */
static int refuse_taken(const leati_session *s, const char *address, const char *lock)
{
    leati_note note;
    int fd, r;

    r = leati_lock_open(s->dirfd, lock, false, &fd, NULL);
    if (r == 0) {
        r = leati_note_read(fd, &note);
        close(fd);
    }
    if (r < 0)
        return leat_fail(EADDRINUSE, "address %s of session %s is bound already", address, s->name);
    r = leat_fail(EADDRINUSE, "address %s of session %s is bound by pid %d (%s) already", address, s->name,
                  (int)note.pid, *note.program != '\0' ? note.program : "its program is not known");
    leati_note_fini(&note);
    return r;
}

/* Removes a dead binder's lock and socket. 0: the name is free, or may be. */
static int bury_dead(leati_session *s, const leati_address *a, const char *address, int64_t deadline_ns)
{
    leati_address_burial burial = {.dirfd = s->dirfd, .socket = a->socket};
    const struct timespec pause = {.tv_nsec = 1000000};
    int r = leati_lock_bury(s->dirfd, a->lock, 0, false, leati_bury_socket, &burial);

    switch (r) {
    case 0:
    case -ESTALE:
        return 0;
    case -EBUSY:
        return refuse_taken(s, address, a->lock);
    case -EALREADY:
        if (leat_now_ns() >= deadline_ns)
            return leat_fail(EADDRINUSE,
                             "address %s of session %s: somebody has been removing its dead binder's %s for %d ms; "
                             "is that process stopped?",
                             address, s->name, a->lock, GATE_WAIT_MS);
        nanosleep(&pause, NULL);
        return 0;
    case -EBADMSG:
        return leat_fail(EADDRINUSE, "%s/%s: is in the way and no file of ours; remove it", s->path, a->lock);
    default:
        return leat_fail(-r, "%s/%s: a dead binder's cannot be removed: %s", s->path, a->lock, strerror(-r));
    }
}

static void enlist(leati_session *s, leati_address *a)
{
    pthread_mutex_lock(&s->mutex);
    a->next = s->addresses;
    s->addresses = a; /* after `next`: a forked child finds the list whole */
    pthread_mutex_unlock(&s->mutex);
}

static void delist(leati_session *s, leati_address *a)
{
    _Atomic(leati_address *) *at;

    pthread_mutex_lock(&s->mutex);
    for (at = &s->addresses; *at != NULL; at = &(*at)->next)
        if (*at == a) {
            *at = a->next;
            break;
        }
    pthread_mutex_unlock(&s->mutex);
}

int leati_address_take(leati_session *s, const char *address, leati_address **ret_address)
{
    int64_t deadline_ns = leat_now_ns() + GATE_WAIT_MS * INT64_C(1000000);
    leati_address *a;
    char text[1024];
    int fd, r;

    if (s->forked)
        return leat_fail(ECHILD, "session %s belongs to the parent process", s->name);
    r = check_name(&address);
    if (r < 0)
        return r;
    a = calloc(1, sizeof(*a));
    if (a == NULL)
        return leat_fail(ENOMEM, "no memory for address %s", address);
    a->session = s;
    snprintf(a->lock, sizeof(a->lock), "%s.%.31s.lock", address, s->transport);
    snprintf(a->socket, sizeof(a->socket), "%s.%.31s.sock", address, s->transport);
    r = leati_lock_make(s->dirfd, s->path, text, leati_note_write(s, "address", address, text, sizeof(text)), &fd);
    if (r == -ENOENT)
        goto directory_gone;
    if (r < 0)
        goto free_address;
    while ((r = leati_lock_link(fd, s->dirfd, a->lock)) == -EEXIST) {
        r = bury_dead(s, a, address, deadline_ns);
        if (r < 0)
            goto close_fd;
    }
    if (r == -ENOENT) {
        close(fd);
        goto directory_gone;
    }
    if (r < 0)
        goto close_fd;
    /* A socket without a lock can only be a stranger's or one whose lock was removed by hand. */
    unlinkat(s->dirfd, a->socket, 0);
    a->fd = fd;
    enlist(s, a);
    *ret_address = a;
    return 0;

directory_gone:
    free(a);
    return leat_fail(ENOENT,
                     "%s: was removed while we are in the session (at logout systemd does so: RemoveIPC= in "
                     "logind.conf)",
                     s->path);
close_fd:
    close(fd);
free_address:
    free(a);
    return r;
}

const char *leati_address_socket(const leati_address *a)
{
    return a->socket;
}

void leati_address_note(leati_address *a, const char *word)
{
    char line[LEATI_NAME_MAX + 16];
    int n = snprintf(line, sizeof(line), "note = %s\n", word);

    if (n < (int)sizeof(line) && a->fd >= 0)
        (void)leati_lock_append(a->fd, line, (size_t)n); /* without it an error says less */
}

int leati_address_noted(leati_session *s, const char *address, char *ret_word, size_t word_size, char *ret_who,
                        size_t who_size)
{
    char lock[LEATI_FILE_MAX];
    leati_note note;
    int fd, r;

    r = check_name(&address);
    if (r < 0)
        return r;
    snprintf(lock, sizeof(lock), "%s.%.31s.lock", address, s->transport);
    if (leati_lock_open(s->dirfd, lock, false, &fd, NULL) < 0)
        return -ENOENT;
    r = leati_lock_writer(fd, LEATI_LIFE) == 1 ? leati_note_read(fd, &note) : -ENOENT;
    close(fd);
    if (r < 0)
        return r;
    snprintf(ret_word, word_size, "%s", note.word);
    snprintf(ret_who, who_size, "pid %d (%s)", (int)note.pid, note.program);
    leati_note_fini(&note);
    return 0;
}

void leati_address_release(leati_address *a)
{
    int fd;

    if (a == NULL)
        return;
    if (!a->session->forked) {
        /* The socket first: as long as the lock has its name nobody else binds one of this name. */
        unlinkat(a->session->dirfd, a->socket, 0);
        unlinkat(a->session->dirfd, a->lock, 0);
        fd = atomic_exchange(&a->fd, -1);
        close(fd);
        delist(a->session, a);
    }
    free(a);
}

int leati_address_socket_name(const leati_session *s, const char *address, char *ret_name, size_t size)
{
    int r = check_name(&address);

    if (r < 0)
        return r;
    if (snprintf(ret_name, size, "%s.%.31s.sock", address, s->transport) >= (int)size)
        return leat_fail(ENAMETOOLONG, "address %s: the name of its socket is too long", address);
    return 0;
}
