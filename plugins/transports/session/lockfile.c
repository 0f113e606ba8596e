/* SPDX-License-Identifier: MIT
 *
 * lockfile.c - files that live as long as their process: the kernel drops the lock on byte LIFE when it dies. Knows no
 * session and no directory layout.
 *
 * Such a file is locked before it has a name and never locked again: no writer on byte LIFE means dead, for good. A new
 * process makes a new file. So a remover needs to keep away other removers only (byte GATE), and must see that the name
 * still belongs to the file whose gate it holds. Locks of open file descriptions (OFD), since those of POSIX would go
 * with any close in the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"

static struct flock byte_range(short type, int byte)
{
    struct flock lock;

    memset(&lock, 0, sizeof(lock)); /* l_pid must be 0 for OFD locks */
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return lock;
}

static int lock_try(int fd, int byte)
{
    struct flock lock = byte_range(F_WRLCK, byte);

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int leati_lock_writer(int fd, int byte)
{
    /* Asked as a reader: only a writer stands in a reader's way, so a stranger's read lock does not look like life. */
    struct flock lock = byte_range(F_RDLCK, byte);

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

static int write_whole(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

int leati_lock_make(int dirfd, const char *path, const char *text, size_t size, int *ret_fd)
{
    int fd, r;

    /* O_APPEND: later lines are added by one write each. */
    fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        r = errno;
        if (r == ENOENT || leati_dir_gone(dirfd))
            return -ENOENT;
        errno = r;
        if (errno == EOPNOTSUPP || errno == EISDIR)
            return leat_fail(EOPNOTSUPP,
                             "%s: this file system cannot make unnamed files (O_TMPFILE); set LEAT_RUNTIME_DIR to a "
                             "directory on a tmpfs",
                             path);
        if (errno == ENOSPC)
            return leat_fail(ENOSPC, "%s: no room for another file; free memory there (shmadm clean) or enlarge it",
                             path);
        return leat_fail(errno, "%s: cannot make a file: %s", path, strerror(errno));
    }
    if (fchmod(fd, 0600) < 0) {
        r = leat_fail(errno, "%s: cannot set the mode of a new file: %s", path, strerror(errno));
        goto close_fd;
    }
    r = lock_try(fd, LEATI_LIFE);
    if (r < 0) {
        r = leat_fail(
            -r,
            "%s: this file system cannot lock files (F_OFD_SETLK: %s); set LEAT_RUNTIME_DIR to a directory on "
            "a tmpfs",
            path, strerror(-r));
        goto close_fd;
    }
    r = write_whole(fd, text, size);
    if (r < 0) {
        r = leat_fail(-r, "%s: cannot write a new file: %s", path, strerror(-r));
        goto close_fd;
    }
    *ret_fd = fd;
    return 0;

close_fd:
    close(fd);
    return r;
}

int leati_lock_link(int fd, int dirfd, const char *name)
{
    char self[32];
    int r;

    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    r = -errno;
    if (r == -EEXIST)
        return r;
    if (leati_dir_gone(dirfd))
        return -ENOENT;
    if (r == -ENOENT) {
        /* Two things can be missing: the directory, which the caller makes again, or /proc. */
        if (faccessat(AT_FDCWD, self, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return r;
        return leat_fail(ENOSYS, "/proc is not mounted here; a session's files cannot be named without it");
    }
    return leat_fail(-r, "%s: cannot be named: %s", name, strerror(-r));
}

int leati_lock_open(int dirfd, const char *name, bool writable, int *ret_fd, struct stat *ret_st)
{
    struct stat st;
    int fd, r;

    /* O_NONBLOCK: somebody may have put a fifo here. */
    fd = openat(dirfd, name, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
    if (fstat(fd, &st) < 0) {
        r = -errno;
        goto close_fd;
    }
    if (!S_ISREG(st.st_mode)) {
        r = -EBADMSG;
        goto close_fd;
    }
    *ret_fd = fd;
    if (ret_st != NULL)
        *ret_st = st;
    return 0;

close_fd:
    close(fd);
    return r;
}

int leati_lock_append(int fd, const char *text, size_t size)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return -errno;
    r = write_whole(fd, text, size);
    if (r < 0 && ftruncate(fd, st.st_size) < 0)
        leat_logf(LEAT_LOG_WARNING, "half a line stays in a peer file: %s", strerror(errno));
    return r;
}

/* Whether `name` is the file of `fd`; 1, 0 or an error. */
static int is_named(int dirfd, const char *name, const struct stat *st)
{
    struct stat now;

    if (fstatat(dirfd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

int leati_lock_bury(int dirfd, const char *name, unsigned flags, bool keep, leati_bury_fn *first, void *user)
{
    struct stat st;
    int fd, r;

    r = leati_lock_open(dirfd, name, true, &fd, &st);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    if (!(flags & LEAT_REMOVE_FORCE)) {
        r = leati_lock_writer(fd, LEATI_LIFE);
        if (r != 0) {
            r = r > 0 ? -EBUSY : r;
            goto close_fd;
        }
    }
    r = lock_try(fd, LEATI_GATE);
    if (r < 0) {
        r = r == -EAGAIN ? -EALREADY : r;
        goto close_fd;
    }
    /* From here on nobody else takes this name away; but somebody may have before, and a new file may bear it. */
    r = is_named(dirfd, name, &st);
    if (r <= 0) {
        r = r == 0 ? -ESTALE : r;
        goto close_fd;
    }
    r = first(fd, user);
    if (r < 0 || keep || (flags & LEAT_REMOVE_DRY_RUN))
        goto close_fd;
    /* The file goes last: whoever is killed before this line leaves it, and the next one finds it and goes on. */
    if (unlinkat(dirfd, name, 0) < 0)
        r = errno == ENOENT ? -ESTALE : -errno;

close_fd:
    close(fd); /* drops the gate */
    return r;
}
