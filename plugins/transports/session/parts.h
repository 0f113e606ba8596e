/* SPDX-License-Identifier: MIT
 *
 * parts.h - what the files of this folder share with each other. Transports include session.h only.
 */
#ifndef LEATI_SESSION_PARTS_H
#define LEATI_SESSION_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "session.h"

#define LEATI_NAME_MAX 64    /* of a session and of an address */
#define LEATI_SEGMENT_MAX 95 /* of a noted segment's name */
#define LEATI_TRANSPORT_MAX 31
#define LEATI_FILE_MAX 128    /* NAME.TRANSPORT.lock with its NUL */
#define LEATI_PATH_MAX 512    /* ROOT/leat-UID/SESSION with its NUL */
#define LEATI_TEXT_MAX 65536u /* a peer file that is longer is not read to its end */
#define LEATI_TRIES 10000     /* how often somebody may clean a directory under us before we give up */

/* ---- lockfile.c: files that live as long as their process ------------------------------------------------------- */

#define LEATI_LIFE 0 /* byte: write-locked while the process lives */
#define LEATI_GATE 1 /* byte: write-locked while somebody removes the file and what belongs to it */

/* Makes an unnamed file in `dirfd`, mode 0600, write-locked on byte LIFE and filled with `text`. -EOPNOTSUPP, -ENOLCK:
 * the file system cannot; -ENOENT: the directory was removed. */
int leati_lock_make(int dirfd, const char *path, const char *text, size_t size, int *ret_fd);
/* Gives it its name. -EEXIST: the name is taken; -ENOENT: the directory was removed meanwhile. */
int leati_lock_link(int fd, int dirfd, const char *name);
/* Opens a named one to look at it (or, writable, to remove it). -ENOENT; -EBADMSG: it is not a regular file. */
int leati_lock_open(int dirfd, const char *name, bool writable, int *ret_fd, struct stat *ret_st);
/* Whether somebody holds a write lock on `byte`: 1 or 0. Acquires nothing. */
int leati_lock_writer(int fd, int byte);
/* Appends `text` whole or not at all. */
int leati_lock_append(int fd, const char *text, size_t size);

/* What is to be removed before the lock file itself; `fd` is its descriptor. Not 0: the lock file stays. */
typedef int leati_bury_fn(int fd, void *user);
/* Removes the lock file `name` if its process is dead (or flags has LEAT_REMOVE_FORCE): under its gate and only while
 * it is the file of that name, calls `first`, then unlinks (unless LEAT_REMOVE_DRY_RUN or `keep`). Says nothing.
 * -EBUSY: it lives; -EALREADY: somebody else is removing it; -ESTALE: it is gone. */
int leati_lock_bury(int dirfd, const char *name, unsigned flags, bool keep, leati_bury_fn *first, void *user);

/* ---- directory.c: ROOT, its users' directories, their sessions -------------------------------------------------- */

/* $LEAT_RUNTIME_DIR or /dev/shm, in ret_root[LEATI_PATH_MAX]. */
int leati_root(char *ret_root);
/* [A-Za-z0-9._-]{1,64}, with `dots` false not "." or ".." */
bool leati_name_good(const char *name, bool dots);
/* Opens ROOT/leat-<uid>/<session> step by step, each step checked; `session` NULL: ROOT/leat-<uid>. make: makes what is
 * missing. */
int leati_dir_open(const char *root, uid_t uid, const char *session, bool make, int *ret_fd);
/* Removes the session's directory and the user's, each if it is empty. 0, or why the session's stays. */
int leati_dir_drop(const char *root, uid_t uid, const char *session);

/* Whether the directory of this descriptor was removed: then a file system answers what it likes. */
bool leati_dir_gone(int fd);

typedef struct leati_dir {
    const char *root, *session;
    uid_t uid;
    int fd;
    char shmid[9];
} leati_dir;
typedef int leati_dir_fn(const leati_dir *dir, void *user);
/* Calls fn for each session directory in scope that is what it should be; for a user's directory that holds none, once
 * with session "". */
int leati_dir_each(const char *root, const leat_scope *scope, leati_dir_fn *fn, void *user);

typedef int leati_file_fn(const char *name, void *user);
/* Calls fn for each entry of a directory, in no order; not 0 ends it and is returned. */
int leati_dir_files(int fd, leati_file_fn *fn, void *user);

/* ---- note.c: the text in peer files and address locks ----------------------------------------------------------- */

typedef struct leati_note {
    pid_t pid; /* -1: not readable */
    int64_t started;
    bool left;
    char program[64];
    char address[LEATI_NAME_MAX + 1];
    char word[LEATI_NAME_MAX + 1]; /* see leati_address_note() */
    char (*segments)[LEATI_SEGMENT_MAX + 1];
    size_t n_segments;
} leati_note;

/* Writes the text of a new file; `kind` is "peer" or "address"; `address` may be NULL. Returns its length. */
size_t leati_note_write(const leati_session *s, const char *kind, const char *address, char *ret_text, size_t size);
/* Reads what can be read: lines that are cut, too long or unknown count as absent. Fails with -ENOMEM or -EIO only. */
int leati_note_read(int fd, leati_note *ret_note);
void leati_note_fini(leati_note *note);
/* "[A-Za-z0-9._:-]", not beginning with a dot: what a segment may be called. */
bool leati_segment_good(const char *name);
/* The state of the process that made this file, and the reason in words. */
leat_state leati_note_state(int fd, const leati_note *note, const char **ret_why);

/* ---- peer_file.c ------------------------------------------------------------------------------------------------ */

struct leati_session {
    const char *transport;
    const leati_segment_ops *ops; /* or NULL */
    uid_t uid;
    unsigned number;
    atomic_int dirfd, peerfd; /* -1 in a forked child */
    atomic_bool forked;
    bool left;                          /* the lock is dropped, the peer file stays for whoever reaps it */
    pthread_mutex_t mutex;              /* guards changes of `addresses` and of the peer file's text */
    _Atomic(leati_address *) addresses; /* read without the mutex in a forked child */
    char name[LEATI_NAME_MAX + 1];
    char shmid[9];
    char program[64];
    char peer[LEATI_FILE_MAX];
    char root[LEATI_PATH_MAX];
    char path[LEATI_PATH_MAX];
};

typedef struct leati_burial {
    const char *root;
    const leati_segment_ops *ops; /* or NULL */
    uid_t uid;                    /* whose directory it is */
    const char *only;             /* one segment, or NULL: all */
    unsigned flags;
    uint64_t bytes;
} leati_burial;
/* A leati_bury_fn for a peer file: removes the segments that it names; `user` is a leati_burial. */
int leati_bury_segments(int fd, void *user);

/* ---- address.c -------------------------------------------------------------------------------------------------- */

struct leati_address {
    leati_session *session;
    _Atomic(leati_address *) next;
    atomic_int fd;
    char lock[LEATI_FILE_MAX];
    char socket[LEATI_FILE_MAX];
};

typedef struct leati_address_burial {
    int dirfd;
    const char *socket;
    unsigned flags;
    uint64_t bytes;
} leati_address_burial;
/* A leati_bury_fn for an address lock: removes its socket; `user` is a leati_address_burial. */
int leati_bury_socket(int fd, void *user);
/* NAME.TRANSPORT.SUFFIX: whether `file` is one, and its NAME. */
bool leati_file_is(const char *file, const char *transport, const char *suffix, char ret_name[LEATI_FILE_MAX]);

#endif
