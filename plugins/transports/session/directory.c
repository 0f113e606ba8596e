/* SPDX-License-Identifier: MIT
 *
 * directory.c - ROOT, its users' directories and their sessions: opened step by step, each step checked, none through a
 * symbolic link. Knows nothing of what lies in a session's directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"

int leati_root(char *ret_root)
{
    const char *root = secure_getenv("LEAT_RUNTIME_DIR");
    size_t size;

    if (root == NULL || *root == '\0')
        root = "/dev/shm";
    if (*root != '/')
        return leat_fail(EINVAL, "LEAT_RUNTIME_DIR=%s: must be an absolute path", root);
    size = strlen(root);
    while (size > 1 && root[size - 1] == '/')
        size--;
    /* Leaves room for "/leat-<uid>/<session>". */
    if (size >= LEATI_PATH_MAX - LEATI_NAME_MAX - 32)
        return leat_fail(ENAMETOOLONG, "LEAT_RUNTIME_DIR=%s: is too long", root);
    memcpy(ret_root, root, size);
    ret_root[size] = '\0';
    return 0;
}

bool leati_name_good(const char *name, bool dots)
{
    size_t i;

    for (i = 0; name[i] != '\0'; i++) {
        char c = name[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    if (!dots && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
        return false;
    return i >= 1 && i <= LEATI_NAME_MAX;
}

/* Says why openat of a directory failed with `error`. */
static int refuse_open(int parent, const char *path, const char *name, int error)
{
    struct stat st;

    if (error == ENOTDIR || error == ELOOP) {
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode))
            return leat_fail(ENOTDIR, "%s/%s: is not a directory; leat needs this name for a session: remove it", path,
                             name);
        return leat_fail(ELOOP,
                         "%s/%s: is a symbolic link; a session's directory is never reached through one: remove it",
                         path, name);
    }
    if (error == EACCES && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid != geteuid())
        return leat_fail(EPERM, "%s/%s: belongs to another user (uid %u)", path, name, (unsigned)st.st_uid);
    return leat_fail(error, "%s/%s: cannot be opened: %s", path, name, strerror(error));
}

static int step(int parent, const char *path, const char *name, uid_t uid, bool make, int *ret_fd)
{
    struct stat st;
    int fd, tries, r;

    for (tries = 0; tries < LEATI_TRIES; tries++) {
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            break;
        if (leati_dir_gone(parent))
            return -ENOENT;
        if (errno == EACCES && make && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
            st.st_uid == uid && uid == geteuid() && (st.st_mode & 0777) < 0700) {
            /* Made under an odd umask by somebody who was killed before he could set the mode. */
            if (fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
                continue;
            return refuse_open(parent, path, name, EACCES);
        }
        if (errno != ENOENT)
            return refuse_open(parent, path, name, errno);
        if (!make)
            return -ENOENT;
        if (mkdirat(parent, name, 0700) == 0) {
            /* Not by descriptor: the umask may have taken our own right to open it. ENOENT: cleaned away already. */
            if (fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT && !leati_dir_gone(parent))
                return leat_fail(errno, "%s/%s: cannot set its mode: %s", path, name, strerror(errno));
        } else if (errno == ENOENT || leati_dir_gone(parent)) {
            return -ENOENT; /* the parent was cleaned away */
        } else if (errno != EEXIST) {
            return leat_fail(errno, "%s/%s: cannot be made: %s", path, name, strerror(errno));
        }
    }
    if (tries == LEATI_TRIES)
        return leat_fail(ESTALE, "%s/%s: is removed again and again while it is being opened", path, name);
    if (fstat(fd, &st) < 0) {
        r = leat_fail(errno, "%s/%s: %s", path, name, strerror(errno));
        goto close_fd;
    }
    if (st.st_uid != uid) {
        r = leat_fail(EPERM,
                      "%s/%s: belongs to another user (uid %u, not %u); it must be removed by that user or by root",
                      path, name, (unsigned)st.st_uid, (unsigned)uid);
        goto close_fd;
    }
    if (st.st_mode & 0077) {
        r = leat_fail(EACCES,
                      "%s/%s: has the mode %04o, open to others; `chmod 0700` it if nobody has tampered with it", path,
                      name, (unsigned)st.st_mode & 07777);
        goto close_fd;
    }
    if (make && (st.st_mode & 0700) != 0700 && fchmod(fd, 0700) < 0) {
        r = leat_fail(errno, "%s/%s: cannot set its mode: %s", path, name, strerror(errno));
        goto close_fd;
    }
    *ret_fd = fd;
    return 0;

close_fd:
    close(fd);
    return r;
}

static int open_root(const char *root, int *ret_fd)
{
    /* ROOT itself may be a link: it is the administrator's (/dev/shm is one to /run/shm in places). */
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return leat_fail(errno,
                         "%s: cannot be opened: %s; mount a tmpfs there, or set LEAT_RUNTIME_DIR to a directory on one",
                         root, strerror(errno));
    *ret_fd = fd;
    return 0;
}

int leati_dir_open(const char *root, uid_t uid, const char *session, bool make, int *ret_fd)
{
    char user[32], path[LEATI_PATH_MAX];
    int rootfd = -1, userfd, fd, tries, r;

    snprintf(user, sizeof(user), "leat-%u", (unsigned)uid);
    snprintf(path, sizeof(path), "%s/%s", root, user);
    r = open_root(root, &rootfd);
    if (r < 0)
        return r;
    for (tries = 0; tries < LEATI_TRIES; tries++) {
        r = step(rootfd, root, user, uid, make, &userfd);
        if (r < 0 || session == NULL) {
            if (r == 0)
                *ret_fd = userfd;
            break;
        }
        r = step(userfd, path, session, uid, make, &fd);
        close(userfd);
        if (r == 0)
            *ret_fd = fd;
        if (r != -ENOENT || !make)
            break;
        /* The user's directory was cleaned away between the two steps. */
    }
    close(rootfd);
    return r;
}

int leati_dir_drop(const char *root, uid_t uid, const char *session)
{
    char user[32];
    int rootfd, userfd, r;

    snprintf(user, sizeof(user), "leat-%u", (unsigned)uid);
    rootfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rootfd < 0)
        return -errno;
    r = 0;
    if (*session != '\0') {
        userfd = openat(rootfd, user, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (userfd < 0) {
            r = -errno;
            goto close_root;
        }
        if (unlinkat(userfd, session, AT_REMOVEDIR) < 0)
            r = errno == EEXIST ? -ENOTEMPTY : -errno;
        close(userfd);
    }
    if (unlinkat(rootfd, user, AT_REMOVEDIR) < 0 && *session == '\0')
        r = errno == EEXIST ? -ENOTEMPTY : -errno;

close_root:
    close(rootfd);
    return r;
}

bool leati_dir_gone(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

int leati_dir_files(int fd, leati_file_fn *fn, void *user)
{
    struct dirent *entry;
    DIR *dir;
    int again, r = 0;

    again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    if (again < 0) {
        r = -errno;
        return r == -ENOENT || leati_dir_gone(fd) ? 0 : r;
    }
    dir = fdopendir(again);
    if (dir == NULL) {
        r = -errno;
        close(again);
        return r;
    }
    while (r == 0 && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = fn(entry->d_name, user);
    closedir(dir);
    return r;
}

/* ---- the walk over all sessions --------------------------------------------------------------------------------- */

typedef struct walk {
    const char *root;
    const leat_scope *scope;
    leati_dir_fn *fn;
    void *user;
    char path[LEATI_PATH_MAX]; /* of the user's directory */
    int fd;                    /* of the root, then of the user's directory */
    uid_t uid;
    bool empty;
} walk;

static int visit_session(const char *name, void *user)
{
    leati_dir dir;
    walk *w = user;
    int r;

    w->empty = false;
    if (!leati_name_good(name, false) || (w->scope->session != NULL && strcmp(name, w->scope->session) != 0))
        return 0;
    dir.root = w->root;
    dir.session = name;
    dir.uid = w->uid;
    if (leat_admin_shmid(w->uid, name, dir.shmid) < 0)
        return 0;
    if (w->scope->shmid != NULL && strcmp(dir.shmid, w->scope->shmid) != 0)
        return 0;
    r = step(w->fd, w->path, name, w->uid, false, &dir.fd);
    if (r < 0) {
        if (r != -ENOENT)
            leat_logf(LEAT_LOG_NOTICE, "passed over: %s", leat_error());
        return 0;
    }
    r = w->fn(&dir, w->user);
    close(dir.fd);
    return r;
}

static int visit_user(const char *name, void *user)
{
    walk *outer = user, w = *outer;
    char *end;
    unsigned long uid;
    int r;

    if (strncmp(name, "leat-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return 0;
    errno = 0;
    uid = strtoul(name + 5, &end, 10);
    if (errno != 0 || *end != '\0' || uid >= (uid_t)-1 || (name[5] == '0' && name[6] != '\0'))
        return 0;
    if (w.scope->uid >= 0 && (uint64_t)w.scope->uid != uid)
        return 0;
    if (geteuid() != 0 && geteuid() != uid)
        return 0; /* could not be opened anyway */
    w.uid = (uid_t)uid;
    w.empty = true;
    snprintf(w.path, sizeof(w.path), "%s/%s", w.root, name);
    r = step(outer->fd, w.root, name, w.uid, false, &w.fd);
    if (r < 0) {
        if (r != -ENOENT)
            leat_logf(LEAT_LOG_NOTICE, "passed over: %s", leat_error());
        return 0;
    }
    r = leati_dir_files(w.fd, visit_session, &w);
    if (r == 0 && w.empty && w.scope->session == NULL && w.scope->shmid == NULL) {
        leati_dir dir = {.root = w.root, .session = "", .uid = w.uid, .fd = w.fd, .shmid = ""};

        r = w.fn(&dir, w.user);
    }
    close(w.fd);
    return r;
}

int leati_dir_each(const char *root, const leat_scope *scope, leati_dir_fn *fn, void *user)
{
    walk w = {.root = root, .scope = scope, .fn = fn, .user = user};
    int r;

    r = open_root(root, &w.fd);
    if (r < 0)
        return r;
    r = leati_dir_files(w.fd, visit_user, &w);
    close(w.fd);
    return r;
}
