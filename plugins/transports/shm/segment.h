/* SPDX-License-Identifier: MIT
 *
 * segment.h - what the engine needs from a kind of shared memory (posix-shm, sysv-shm, memfd-shm). Each plugin implements
 * segment_kind and nothing else; the engine knows no shm_open, shmget or memfd_create.
 */
#ifndef LEATI_SHM_SEGMENT_H
#define LEATI_SHM_SEGMENT_H

#include "../session/session.h"

/* A segment of our own, mapped for writing. */
typedef struct segment {
    unsigned char *base;
    uint64_t size; /* bytes of address space: heap_size; pages appear when they are reserved */
    int fd;        /* -1: none */
    char name[64]; /* as noted in the peer file */
} segment;

/* A segment being looked at. Reading a hole gives zeros and allocates nothing. */
typedef struct segment_reader {
    int fd;           /* -1: none, use base */
    const void *base; /* attached read-only */
    uint64_t size;
} segment_reader;

typedef struct segment_kind {
    const char *transport; /* "posix-shm" */

    /* Makes a sparse segment of seg->size bytes that only this user may write, notes its name in the session's peer file
     * before it exists, and maps it MADV_DONTFORK. Nobody may see it before it is whole; seg->name is filled. */
    int (*create)(segment *seg, leati_session *session, const leat_settings *settings);
    /* Makes the pages of a range present: after success, writing there cannot fail. -ENOSPC, with what is full. */
    int (*reserve)(segment *seg, uint64_t offset, uint64_t length);
    /* Gives the pages of a range back to the system; they are zero and not reserved afterwards. */
    int (*give_back)(segment *seg, uint64_t offset, uint64_t length);
    /* Unmaps and closes; the name is another matter (remains.remove). */
    void (*destroy)(segment *seg);
    /* Closes in a forked child what would keep the parent alive. Async-signal-safe. */
    void (*forked)(segment *seg);

    /* Maps a peer's segment read-only, so that only pages that are read become resident. Checks that it is of this kind,
     * owned by `uid`, and at least `size` bytes. `fd` is what came with it over the socket, or -1. */
    int (*map)(const char *root, const char *name, int fd, uint64_t size, uint32_t uid, const void **ret_base);
    void (*unmap)(const void *base, uint64_t size);

    /* Opens any segment for looking at it, without mapping or disturbing anything. -ENOENT, -EACCES. */
    int (*open)(const char *root, const char *name, segment_reader *ret_reader);

    /* For listing and cleaning. */
    leati_segment_ops remains;
} segment_kind;

#endif
