/* SPDX-License-Identifier: MIT
 *
 * posix-shm.c - segments as files in the session's memory file system (/dev/shm), for the shared-memory engine. Knows
 * files and mappings, nothing of lanes and messages.
 *
 * A segment is made without a name (O_TMPFILE), sized, and noted in the peer file; then it gets its name. So a kill leaves
 * either nothing, or a name that the peer file tells.
 */
#include "../shm/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME_PREFIX "leat_"

static const segment_kind kind;

/* ---- our own ---------------------------------------------------------------------------------------------------------- */

/* Maps so that mlockall(MCL_FUTURE) in the program fills nothing: pages appear when they are touched. */
static void *map_sparse(int fd, uint64_t size, int protection)
{
    void *base = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return NULL;
    (void)munlock(base, size);
    if (mprotect(base, size, protection) < 0) {
        int error = errno;
        munmap(base, size);
        errno = error;
        return NULL;
    }
    return base;
}

static int no_space(const char *root, uint64_t length)
{
    struct statvfs fs = {0};
    (void)statvfs(root, &fs);
    return leat_fail(ENOSPC,
                     "%s is full: %llu bytes more are needed and %llu of %llu are free; remount it larger (mount -o "
                     "remount,size=...) or lower [transport posix-shm] heap_size and the channels' queue_bytes",
                     root, (unsigned long long)length, (unsigned long long)fs.f_bavail * fs.f_frsize,
                     (unsigned long long)fs.f_blocks * fs.f_frsize);
}

static int reserve_file(int fd, uint64_t offset, uint64_t length)
{
    int r;
    do
        r = fallocate(fd, 0, (off_t)offset, (off_t)length) < 0 ? errno : 0;
    while (r == EINTR);
    return -r;
}

static int shm_create(segment *seg, leati_session *session, const leat_settings *settings)
{
    (void)settings;
    const char *root = leati_session_root(session);
    char from[32], to[4096];
    struct rlimit limit;
    int r;
    /* Past this limit the kernel sends a signal where others return an error. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < seg->size)
        return leat_fail(EFBIG,
                         "RLIMIT_FSIZE (ulimit -f) is %llu bytes and [transport posix-shm] heap_size is %llu; raise "
                         "the one or lower the other",
                         (unsigned long long)limit.rlim_cur, (unsigned long long)seg->size);
    snprintf(seg->name, sizeof seg->name, NAME_PREFIX "%s_%d_%u", leati_session_shmid(session), (int)getpid(),
             leati_session_number(session));
    seg->fd = open(root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (seg->fd < 0)
        return leat_fail(errno, "%s: cannot make a segment: %s", root, strerror(errno));
    if (fchmod(seg->fd, 0600) < 0 || ftruncate(seg->fd, (off_t)seg->size) < 0) {
        r = leat_fail(errno, "%s: a segment of %llu bytes ([transport posix-shm] heap_size): %s", root,
                      (unsigned long long)seg->size, strerror(errno));
        goto close_file;
    }
    r = reserve_file(seg->fd, 0, LAYOUT_PAGE);
    if (r < 0) {
        r = r == -ENOSPC ? no_space(root, LAYOUT_PAGE) : leat_fail(-r, "%s: fallocate: %s", root, strerror(-r));
        goto close_file;
    }
    seg->base = map_sparse(seg->fd, seg->size, PROT_READ | PROT_WRITE);
    if (!seg->base) {
        r = leat_fail(errno, "%s: cannot map %llu bytes ([transport posix-shm] heap_size): %s (RLIMIT_AS?)", root,
                      (unsigned long long)seg->size, strerror(errno));
        goto close_file;
    }
    (void)madvise(seg->base, seg->size, MADV_DONTFORK);
    r = leati_session_note_segment(session, seg->name);
    if (r < 0)
        goto unmap;
    snprintf(from, sizeof from, "/proc/self/fd/%d", seg->fd);
    snprintf(to, sizeof to, "%s/%s", root, seg->name);
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) < 0) {
        r = leat_fail(errno, "%s: %s", to,
                      errno == EEXIST ? "is there already, though this process's number is new; "
                                        "`shmadm clean` removes it if its owner is dead"
                                      : strerror(errno));
        goto unmap;
    }
    return 0;
unmap:
    munmap(seg->base, seg->size);
close_file:
    close(seg->fd);
    seg->fd = -1;
    return r;
}

static int shm_reserve(segment *seg, uint64_t offset, uint64_t length)
{
    int r = reserve_file(seg->fd, offset, length);
    if (r == -ENOSPC) {
        char link[32], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", seg->fd);
        ssize_t size = readlink(link, path, sizeof path - 1);
        path[size > 0 ? size : 0] = '\0';
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = '\0';
        return no_space(path[0] == '/' ? path : "/dev/shm", length);
    }
    return r < 0
               ? leat_fail(-r, "%s: no memory for %llu bytes: %s", seg->name, (unsigned long long)length, strerror(-r))
               : 0;
}

static int shm_give_back(segment *seg, uint64_t offset, uint64_t length)
{
    return fallocate(seg->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) < 0 ? -errno
                                                                                                            : 0;
}

static void shm_destroy(segment *seg)
{
    munmap(seg->base, seg->size);
    close(seg->fd);
    seg->fd = -1;
}

static void shm_forked(segment *seg)
{
    if (seg->fd >= 0)
        close(seg->fd);
}

/* ---- others' ----------------------------------------------------------------------------------------------------------- */

static bool name_good(const char *name)
{
    return strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0 && !strchr(name, '/') && strlen(name) < 64;
}

static int open_segment(const char *root, const char *name, struct stat *ret_st, int *ret_fd)
{
    char path[4096];
    if (!name_good(name))
        return -EINVAL;
    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
        close(fd);
        return -EBADMSG;
    }
    *ret_fd = fd;
    return 0;
}

static int shm_map(const char *root, const char *name, int fd, uint64_t size, uint32_t uid, const void **ret_base)
{
    struct stat st;
    int r = open_segment(root, name, &st, &fd);
    if (r < 0)
        return leat_fail(-r, "%s/%s: %s", root, name, strerror(-r));
    if (st.st_uid != uid || (uint64_t)st.st_size < size) {
        r = leat_fail(EBADMSG, "%s/%s is of user %u and has %lld bytes; user %u and %llu bytes were announced", root,
                      name, st.st_uid, (long long)st.st_size, uid, (unsigned long long)size);
        close(fd);
        return r;
    }
    void *base = map_sparse(fd, size, PROT_READ);
    int error = errno;
    close(fd);
    if (!base)
        return leat_fail(error, "%s/%s: cannot map %llu bytes: %s", root, name, (unsigned long long)size,
                         strerror(error));
    (void)madvise(base, size, MADV_DONTDUMP);
    *ret_base = base;
    return 0;
}

static void shm_unmap(const void *base, uint64_t size)
{
    munmap((void *)(uintptr_t)base, size);
}

static int shm_open_reader(const char *root, const char *name, segment_reader *ret_reader)
{
    struct stat st;
    int fd, r = open_segment(root, name, &st, &fd);
    if (r == 0)
        *ret_reader = (segment_reader){.fd = fd, .size = (uint64_t)st.st_size};
    return r;
}

/* ---- listing and cleaning ------------------------------------------------------------------------------------------------ */

static int shm_describe(const char *root, const char *name, leat_item *item)
{
    struct stat st;
    int fd, r = open_segment(root, name, &st, &fd);
    if (r == -EACCES) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", root, name);
        if (lstat(path, &st) < 0)
            return -errno;
    } else if (r < 0) {
        return r == -ENOENT ? r : leat_fail(-r, "%s/%s: %s", root, name, strerror(-r));
    }
    item->size = st.st_size;
    item->allocated = (int64_t)st.st_blocks * 512;
    item->uid = st.st_uid;
    item->gid = st.st_gid;
    item->mode = st.st_mode & 07777;
    item->created = st.st_ctim.tv_sec;
    if (r == -EACCES)
        return leat_fail(EACCES, "%s/%s: no permission to read it", root, name);
    segment_reader reader = {.fd = fd, .size = (uint64_t)st.st_size};
    r = inspect_describe(&kind, root, &reader, item);
    close(fd);
    return r;
}

static int shm_remove(const char *root, const char *name, uint64_t *ret_bytes)
{
    char path[4096];
    struct stat st;
    if (!name_good(name))
        return leat_fail(EINVAL, "\"%s\" is not the name of a segment", name);
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (lstat(path, &st) < 0 || unlink(path) < 0)
        return errno == ENOENT ? -ENOENT : leat_fail(errno, "%s: %s", path, strerror(errno));
    *ret_bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

static int shm_scan(const char *root, int (*fn)(const char *name, void *user), void *user)
{
    DIR *dir = opendir(root);
    if (!dir)
        return errno == ENOENT ? 0 : leat_fail(errno, "%s: %s", root, strerror(errno));
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (entry = readdir(dir)))
        if (name_good(entry->d_name))
            r = fn(entry->d_name, user);
    closedir(dir);
    return r;
}

static const segment_kind kind = {
    .transport = "posix-shm",
    .create = shm_create,
    .reserve = shm_reserve,
    .give_back = shm_give_back,
    .destroy = shm_destroy,
    .forked = shm_forked,
    .map = shm_map,
    .unmap = shm_unmap,
    .open = shm_open_reader,
    .remains = {.describe = shm_describe, .remove = shm_remove, .scan = shm_scan},
};

/* ---- the plugin ---------------------------------------------------------------------------------------------------------- */

static int attach(const leat_attach_info *info, void **ret_state)
{
    return engine_attach(&kind, info, ret_state);
}

static int list(const leat_scope *scope, leat_item_fn *fn, void *user)
{
    return leati_session_list(kind.transport, &kind.remains, scope, fn, user);
}

static int inspect(const leat_item *item, leat_channel_info_fn *fn, void *user)
{
    return inspect_channels(&kind, item, fn, user);
}

static int remove_item(const leat_item *item, unsigned flags, uint64_t *ret_bytes)
{
    return leati_session_remove(kind.transport, &kind.remains, item, flags, ret_bytes);
}

static const char *const aliases[] = {"shmem", NULL};
static const leat_transport_ops ops = SHM_TRANSPORT_OPS(attach, list, inspect, remove_item);

LEAT_PLUGIN = {
    .abi = LEAT_PLUGIN_ABI,
    .struct_size = sizeof(leat_plugin),
    .kind = LEAT_TRANSPORT,
    .name = "posix-shm",
    .aliases = aliases,
    .version = "0.1.0",
    .summary = "Shared memory in files of /dev/shm: no copy, on one machine.",
    .keys = engine_keys,
    .capabilities = LEAT_CAP_PATTERN(LEAT_PAIR) | LEAT_CAP_PATTERN(LEAT_PUSH) | LEAT_CAP_PATTERN(LEAT_PULL) |
                    LEAT_CAP_SPIN | LEAT_CAP_NO_COPY | LEAT_CAP_REDELIVERS | LEAT_CAP_ADMIN,
    .ops_size = sizeof(leat_transport_ops),
    .transport = &ops,
};
