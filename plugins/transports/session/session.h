/* SPDX-License-Identifier: MIT
 *
 * session.h - a session on the machine: its directory, one peer file per context and transport, one lock per bound
 * address. Shared by every transport that leaves names on the machine; knows no transport, no memory, no socket.
 *
 *     ROOT                                   $LEAT_RUNTIME_DIR or /dev/shm
 *       leat-<uid>/<session>/                0700, owner checked, no symbolic link on the way below ROOT
 *         <pid>-<n>.<transport>.peer         text; OFD write lock on byte 0 = its process lives; byte 1 = the gate
 *         <address>.<transport>.lock         text; OFD write lock on byte 0 = bound
 *         <address>.<transport>.sock         the transport's socket; only the lock's holder touches it
 *       leat_<shmid>_<pid>_<n>               a segment of posix-shm, named in the peer file before it is made
 *
 * Dead means: F_OFD_GETLK asked with F_RDLCK finds no writer. A peer file is made with O_TMPFILE, locked, filled, and only
 * then named by linkat: nobody ever sees one half made.
 */
#ifndef LEATI_SESSION_H
#define LEATI_SESSION_H

#include <leat/plugin.h>

typedef struct leati_session leati_session;
typedef struct leati_address leati_address;

/* How a transport's segments are described and removed; `name` is as noted in the peer file. */
typedef struct leati_segment_ops {
    /* Fills size, allocated, heap_size, used, peak, largest_free, blocks, peers, uid, gid, mode, created where it can.
     * -ENOENT: it is not there. -EBADMSG: it is not one of ours, with leat_fail() said. */
    int (*describe)(const char *root, const char *name, leat_item *item);
    /* Removes its name. *ret_bytes: what it took. -ENOENT: it is gone already. */
    int (*remove)(const char *root, const char *name, uint64_t *ret_bytes);
    /* Calls fn for each segment on the machine that looks like this transport's, by name or magic. */
    int (*scan)(const char *root, int (*fn)(const char *name, void *user), void *user);
} leati_segment_ops;

/* Joins: makes the directory if need be, then the peer file; then reaps what is proved dead of this transport in this
 * session. `transport` and `ops` (may be NULL: it has no segments) must outlive the session.
 * -EPERM: the directory is another user's, -ELOOP: a symbolic link, -EACCES... each with its sentence. */
int leati_session_open(const leat_attach_info *info, const char *transport, const leati_segment_ops *ops,
                       leati_session **ret_session);

/* Leaves: removes the peer file (unless `left`) and tries to remove the directory, drops the lock, and frees. */
void leati_session_close(leati_session *s);

/* Drops the lock and leaves the peer file, marked `state = left`, since its segments are still read: from here on it is
 * like a dead process's, and whoever finds it reaps it. leati_session_reap() and _sweep() still work. */
void leati_session_leave(leati_session *s);

/* In the child after fork(): closes the descriptors, async-signal-safe. */
void leati_session_forked(leati_session *s);

const char *leati_session_root(const leati_session *s); /* "/dev/shm" */
int leati_session_dirfd(const leati_session *s);        /* of the session's directory; owned by the session */
const char *leati_session_path(const leati_session *s); /* the directory's path */
const char *leati_session_name(const leati_session *s);
const char *leati_session_shmid(const leati_session *s); /* eight hex digits */
const char *leati_session_peer(const leati_session *s);  /* name of our peer file */
unsigned leati_session_number(const leati_session *s);   /* the n of our peer file */
const char *leati_boot_id(void);                         /* 36 characters, read once */

/* Notes a segment in our peer file. To be called before the segment is made. */
int leati_session_note_segment(leati_session *s, const char *name);

/* Removes what the owner of the peer file `peer` left, if it is proved dead: segments, then the file. 0: removed, or it
 * was gone already; -EBUSY: it lives, or somebody else is at it. */
int leati_session_reap(leati_session *s, const char *peer);

/* Removes what every dead process of this transport left in this session, as leati_session_open() does. */
void leati_session_sweep(leati_session *s);

/* Takes the lock of an address and removes a dead binder's socket. -EADDRINUSE, saying who has it; -EINVAL: not a plain
 * name ([A-Za-z0-9._-]+, an optional leading '/' is dropped; at most 64 characters). */
int leati_address_take(leati_session *s, const char *address, leati_address **ret_address);
const char *leati_address_socket(const leati_address *a); /* file name of the socket, relative to the directory */
/* Notes a word about what is bound, such as its pattern, for who connects in vain. */
void leati_address_note(leati_address *a, const char *word);
/* The word noted by the living binder of an address (or ""), and who that is: "pid 4711 (sampler)". -ENOENT: nobody. */
int leati_address_noted(leati_session *s, const char *address, char *ret_word, size_t word_size, char *ret_who,
                        size_t who_size);
/* A socket is bound under its name plus this, and renamed when it listens; what a kill leaves goes with the socket. */
#define LEATI_ADDRESS_TEMPORARY "~"
/* Removes the socket and the lock. */
void leati_address_release(leati_address *a);
/* The socket's file name for an address that somebody else binds, for connecting; same check of the name. */
int leati_address_socket_name(const leati_session *s, const char *address, char *ret_name, size_t size);

/* leat_transport_ops.list and .remove for a transport: peers, segments, addresses, empty directories. */
int leati_session_list(const char *transport, const leati_segment_ops *ops, const leat_scope *scope, leat_item_fn *fn,
                       void *user);
int leati_session_remove(const char *transport, const leati_segment_ops *ops, const leat_item *item, unsigned flags,
                         uint64_t *ret_bytes);

#endif
