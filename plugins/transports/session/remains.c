/* SPDX-License-Identifier: MIT
 *
 * remains.c - list and remove, for a transport's admin operations: peers, their segments, bound addresses, directories
 * that nothing is in. Disturbs nobody: looking takes no lock. Needs no session of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"

#define DIRECTORY_TRANSPORT "session" /* a directory belongs to no transport alone */

/* ---- a list of names -------------------------------------------------------------------------------------------- */

typedef struct names {
    char (*at)[LEATI_SEGMENT_MAX + 1];
    size_t n;
} names;

static int names_add(const char *name, void *user)
{
    names *list = user;

    if (!leati_segment_good(name))
        return 0;
    if (list->n % 64 == 0) {
        void *more = realloc(list->at, (list->n + 64) * sizeof(*list->at));

        if (more == NULL)
            return leat_fail(ENOMEM, "no memory for a list of segments");
        list->at = more;
    }
    strcpy(list->at[list->n++], name);
    return 0;
}

static bool names_take(names *list, const char *name)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        if (strcmp(list->at[i], name) == 0) {
            list->n--;
            if (i != list->n)
                memmove(list->at[i], list->at[list->n], sizeof(list->at[i]));
            return true;
        }
    return false;
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

typedef struct lister {
    const char *transport, *root;
    const leati_segment_ops *ops;
    const leat_scope *scope;
    leat_item_kind kind; /* of this pass */
    leat_item_fn *fn;
    void *user;
    const leati_dir *dir;
    size_t files;   /* DIRECTORY: in this one */
    names *orphans; /* segments found that no peer file has named yet; NULL: not asked */
} lister;

static leat_item item_of(const lister *l)
{
    leat_item item = {.kind = l->kind,
                      .transport = l->transport,
                      .session = "",
                      .shmid = "",
                      .name = "",
                      .path = "",
                      .state = LEAT_UNKNOWN,
                      .why = "",
                      .program = "",
                      .pid = -1,
                      .uid = -1,
                      .gid = -1,
                      .created = -1,
                      .size = -1,
                      .allocated = -1,
                      .heap_size = -1,
                      .used = -1,
                      .peak = -1,
                      .largest_free = -1,
                      .blocks = -1,
                      .peers = -1};

    if (l->dir != NULL) {
        item.session = l->dir->session;
        item.shmid = l->dir->shmid;
        item.uid = l->dir->uid;
    }
    return item;
}

static void item_stat(leat_item *item, const struct stat *st)
{
    item->uid = st->st_uid;
    item->gid = st->st_gid;
    item->mode = st->st_mode & 07777;
    item->size = st->st_size;
    item->allocated = (int64_t)st->st_blocks * 512;
    if (item->created < 0)
        item->created = st->st_mtime;
}

typedef struct described {
    char path[LEATI_PATH_MAX], why[256];
} described;

/* Describes a segment into *item, whose strings may point into `ret_strings`; 0, or -ENOENT: it is not there (any
 * more).
 */
static int describe(const lister *l, const char *name, leat_item *item, described *ret_strings)
{
    const char *why = item->why;
    struct stat st;
    int r;

    item->name = name;
    r = l->ops->describe(l->root, name, item);
    if (r == -ENOENT)
        return r;
    if (r < 0 && item->state == LEAT_UNKNOWN) {
        snprintf(ret_strings->why, sizeof(ret_strings->why), "%s", leat_error());
        item->why = ret_strings->why;
    } else if (item->why[0] == '\0') {
        item->why = why;
    }
    r = snprintf(ret_strings->path, sizeof(ret_strings->path), "%s/%s", l->root, name);
    if (item->path[0] == '\0' && r < (int)sizeof(ret_strings->path) && lstat(ret_strings->path, &st) == 0)
        item->path = ret_strings->path;
    return 0;
}

static int list_segments(lister *l, int fd, const leati_note *note, const char *file)
{
    char text[LEATI_FILE_MAX + 32];
    described strings;
    size_t i;
    int r;

    for (i = 0; i < note->n_segments; i++) {
        leat_item item = item_of(l);

        item.state = leati_note_state(fd, note, &item.why);
        item.pid = note->pid;
        item.program = note->program;
        item.created = note->started;
        item.uid = -1;
        if (describe(l, note->segments[i], &item, &strings) == -ENOENT)
            continue;
        if (item.uid >= 0 && item.uid != (int64_t)l->dir->uid) {
            /* Not theirs: whoever wrote this wants it shown or removed by somebody mightier. */
            item.state = LEAT_UNKNOWN;
            snprintf(text, sizeof(text), "%s names it, of another user", file);
            item.why = text;
        }
        r = l->fn(&item, l->user);
        if (r != 0)
            return r;
    }
    return 0;
}

static int list_file(const char *file, void *user)
{
    char name[LEATI_FILE_MAX], relative[LEATI_PATH_MAX], path[2 * LEATI_PATH_MAX];
    lister *l = user;
    leat_item item;
    leati_note note;
    struct stat st;
    int fd, r;

    l->files++;
    if (l->kind == LEAT_ITEM_DIRECTORY ||
        !leati_file_is(file, l->transport, l->kind == LEAT_ITEM_ADDRESS ? "lock" : "peer", name))
        return 0;
    r = leati_lock_open(l->dir->fd, file, false, &fd, &st);
    if (r < 0)
        return 0; /* gone meanwhile, or no file of ours */
    r = leati_note_read(fd, &note);
    if (r < 0)
        goto close_fd;
    if (l->kind == LEAT_ITEM_SEGMENT) {
        if (l->ops != NULL)
            r = list_segments(l, fd, &note, file);
        goto fini_note;
    }
    item = item_of(l);
    item.state = leati_note_state(fd, &note, &item.why);
    item.pid = note.pid;
    item.program = note.program;
    item.created = note.started;
    item_stat(&item, &st);
    snprintf(relative, sizeof(relative), "leat-%u/%s/%s", (unsigned)l->dir->uid, l->dir->session, file);
    snprintf(path, sizeof(path), "%s/%s", l->root, relative);
    item.name = relative;
    item.path = path;
    r = l->fn(&item, l->user);

fini_note:
    leati_note_fini(&note);
close_fd:
    close(fd);
    return r;
}

static int list_dir(const leati_dir *dir, void *user)
{
    char relative[LEATI_PATH_MAX], path[2 * LEATI_PATH_MAX];
    lister *l = user;
    leat_item item;
    struct stat st;
    int r;

    if (*dir->session == '\0' && l->kind != LEAT_ITEM_DIRECTORY)
        return 0;
    l->dir = dir;
    l->files = 0;
    r = leati_dir_files(dir->fd, list_file, l);
    if (r != 0 || l->kind != LEAT_ITEM_DIRECTORY || l->files > 0)
        return r;
    item = item_of(l);
    item.transport = DIRECTORY_TRANSPORT;
    item.state = LEAT_DEAD; /* who joins just now finds its directory gone and makes it again */
    item.why = "nothing is in it";
    snprintf(relative, sizeof(relative), "leat-%u%s%s", (unsigned)dir->uid, *dir->session != '\0' ? "/" : "",
             dir->session);
    snprintf(path, sizeof(path), "%s/%s", l->root, relative);
    item.name = relative;
    item.path = path;
    if (fstat(dir->fd, &st) == 0)
        item_stat(&item, &st);
    return l->fn(&item, l->user);
}

/* Segments that no peer file names. */
static int list_orphans(lister *l)
{
    described strings;
    char shmid[9];
    size_t i;
    int r = 0;

    l->dir = NULL;
    for (i = 0; r == 0 && i < l->orphans->n; i++) {
        const char *name = l->orphans->at[i];
        leat_item item = item_of(l);

        item.why = "no peer file names it";
        if (describe(l, name, &item, &strings) == -ENOENT)
            continue;
        if (l->scope->uid >= 0 && item.uid != l->scope->uid)
            continue;
        /* Another user's peer files cannot be read, so that nothing is known of theirs. */
        if (geteuid() != 0 && item.uid != (int64_t)geteuid())
            continue;
        if (item.shmid[0] == '\0' && strncmp(name, "leat_", 5) == 0 && strspn(name + 5, "0123456789abcdef") == 8 &&
            name[13] == '_') {
            memcpy(shmid, name + 5, 8);
            shmid[8] = '\0';
            item.shmid = shmid;
        }
        if (l->scope->shmid != NULL && strcmp(item.shmid, l->scope->shmid) != 0)
            continue;
        if (l->scope->session != NULL) {
            char wanted[9];

            if (item.session[0] != '\0' && strcmp(item.session, l->scope->session) != 0)
                continue;
            if (item.uid < 0 || leat_admin_shmid((uid_t)item.uid, l->scope->session, wanted) < 0 ||
                strcmp(wanted, item.shmid) != 0)
                continue;
        }
        r = l->fn(&item, l->user);
    }
    return r;
}

/* Strikes what peer files name from the list of orphans. */
static int strike_file(const char *file, void *user)
{
    char name[LEATI_FILE_MAX];
    lister *l = user;
    leati_note note;
    size_t i;
    int fd, r;

    if (!leati_file_is(file, l->transport, "peer", name) || leati_lock_open(l->dir->fd, file, false, &fd, NULL) < 0)
        return 0;
    r = leati_note_read(fd, &note);
    close(fd);
    if (r < 0)
        return r;
    for (i = 0; i < note.n_segments; i++)
        (void)names_take(l->orphans, note.segments[i]);
    leati_note_fini(&note);
    return 0;
}

static int strike_dir(const leati_dir *dir, void *user)
{
    lister *l = user;

    l->dir = dir;
    return *dir->session == '\0' ? 0 : leati_dir_files(dir->fd, strike_file, l);
}

/* Finds segments that no peer file of any session names. The machine is searched before the peer files are read: a
 * segment is noted before it is made, so that one that is seen and not noted has no living owner. */
static int find_orphans(lister *l, names *found)
{
    static const leat_scope everybody = {.uid = -1};
    int r = l->ops->scan(l->root, names_add, found);

    if (r < 0)
        return r;
    l->orphans = found;
    return leati_dir_each(l->root, &everybody, strike_dir, l);
}

int leati_session_list(const char *transport, const leati_segment_ops *ops, const leat_scope *scope, leat_item_fn *fn,
                       void *user)
{
    static const leat_item_kind passes[] = {LEAT_ITEM_SEGMENT, LEAT_ITEM_ADDRESS, LEAT_ITEM_PEER, LEAT_ITEM_DIRECTORY};
    char root[LEATI_PATH_MAX];
    lister l = {.transport = transport, .root = root, .ops = ops, .scope = scope, .fn = fn, .user = user};
    names found = {NULL, 0};
    size_t i;
    int r;

    r = leati_root(root);
    if (r < 0)
        return r;
    l.kind = LEAT_ITEM_SEGMENT;
    if (ops != NULL && ops->scan != NULL)
        r = find_orphans(&l, &found);
    for (i = 0; r == 0 && i < sizeof(passes) / sizeof(passes[0]); i++) {
        l.kind = passes[i];
        r = leati_dir_each(root, scope, list_dir, &l);
        if (r == 0 && l.kind == LEAT_ITEM_SEGMENT && l.orphans != NULL)
            r = list_orphans(&l);
    }
    free(found.at);
    return r;
}

/* ---- remove ----------------------------------------------------------------------------------------------------- */

/* "leat-<uid>/<session>[/<file>]", checked. */
static bool split_name(const char *name, uid_t *ret_uid, char session[LEATI_NAME_MAX + 1], const char **ret_file)
{
    const char *slash;
    char *end;
    unsigned long uid;

    if (strncmp(name, "leat-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    errno = 0;
    uid = strtoul(name + 5, &end, 10);
    if (errno != 0 || uid >= (uid_t)-1 || (*end != '/' && *end != '\0'))
        return false;
    *ret_uid = (uid_t)uid;
    *ret_file = "";
    session[0] = '\0';
    if (*end == '\0')
        return true;
    slash = strchr(end + 1, '/');
    if (snprintf(session, LEATI_NAME_MAX + 1, "%.*s", slash != NULL ? (int)(slash - end - 1) : LEATI_NAME_MAX + 1,
                 end + 1) > LEATI_NAME_MAX)
        return false;
    if (slash != NULL)
        *ret_file = slash + 1;
    return leati_name_good(session, false) && strchr(*ret_file, '/') == NULL;
}

/* Puts the result of a burial in words. */
static int conclude(int r, const char *name, int dirfd, const char *file)
{
    leati_note note;
    int fd;

    switch (r) {
    case 0:
        return 0;
    case -ESTALE:
        return leat_fail(ESTALE, "%s: is gone already", name);
    case -EALREADY:
        return leat_fail(EBUSY, "%s: somebody else is removing it", name);
    case -EBADMSG:
        return leat_fail(EBADMSG, "%s: is no file of leat's", name);
    case -EBUSY:
        if (leati_lock_open(dirfd, file, false, &fd, NULL) < 0)
            return leat_fail(EBUSY, "%s: its process lives", name);
        r = leati_note_read(fd, &note);
        close(fd);
        if (r < 0)
            return leat_fail(EBUSY, "%s: its process lives", name);
        r = leat_fail(EBUSY, "%s: belongs to pid %d (%s), which lives; --force removes it nevertheless", name,
                      (int)note.pid, note.program);
        leati_note_fini(&note);
        return r;
    default:
        return leat_fail(-r, "%s: cannot be removed: %s", name, strerror(-r));
    }
}

static int remove_file(const char *transport, const leati_segment_ops *ops, const char *root, const leat_item *item,
                       unsigned flags, uint64_t *ret_bytes)
{
    char session[LEATI_NAME_MAX + 1], name[LEATI_FILE_MAX], socket[LEATI_FILE_MAX];
    bool is_peer = item->kind == LEAT_ITEM_PEER;
    leati_burial peer = {.root = root, .ops = ops, .flags = flags};
    leati_address_burial address = {.socket = socket, .flags = flags};
    const char *file;
    uid_t uid;
    int dirfd, r;

    if (!split_name(item->name, &uid, session, &file) ||
        !leati_file_is(file, transport, is_peer ? "peer" : "lock", name))
        return leat_fail(EINVAL, "\"%.200s\" is not the name of a file of %s", item->name, transport);
    r = leati_dir_open(root, uid, session, false, &dirfd);
    if (r < 0)
        return r == -ENOENT ? leat_fail(ESTALE, "%s: is gone already", item->name) : r;
    peer.uid = uid;
    address.dirfd = dirfd;
    snprintf(socket, sizeof(socket), "%.64s.%.31s.sock", name, transport);
    r = is_peer ? leati_lock_bury(dirfd, file, flags, false, leati_bury_segments, &peer)
                : leati_lock_bury(dirfd, file, flags, false, leati_bury_socket, &address);
    r = conclude(r, item->name, dirfd, file);
    close(dirfd);
    if (r < 0)
        return r;
    if (!(flags & LEAT_REMOVE_DRY_RUN))
        (void)leati_dir_drop(root, uid, session);
    *ret_bytes = peer.bytes + address.bytes;
    return 0;
}

static int remove_directory(const char *root, const leat_item *item, unsigned flags, uint64_t *ret_bytes)
{
    char session[LEATI_NAME_MAX + 1];
    const char *file;
    uid_t uid;
    int fd, r;

    if (!split_name(item->name, &uid, session, &file) || *file != '\0')
        return leat_fail(EINVAL, "\"%.200s\" is not the name of a session's directory", item->name);
    r = leati_dir_open(root, uid, *session != '\0' ? session : NULL, false, &fd);
    if (r == 0) {
        close(fd);
        if (!(flags & LEAT_REMOVE_DRY_RUN))
            r = leati_dir_drop(root, uid, session); /* the kernel proves that it is empty */
    } else if (r != -ENOENT) {
        return r;
    }
    if (r == -ENOENT)
        return leat_fail(ESTALE, "%s: is gone already", item->name);
    if (r == -ENOTEMPTY)
        return leat_fail(EBUSY, "%s: something is in it again", item->name);
    if (r < 0)
        return leat_fail(-r, "%s: cannot be removed: %s", item->name, strerror(-r));
    *ret_bytes = 0;
    return 0;
}

/* Looks for the peer file that names a segment, and removes the segment under its gate. */
typedef struct owner_search {
    const char *transport, *segment;
    const leati_dir *dir;
    leati_burial burial;
    bool found;
} owner_search;

static int search_file(const char *file, void *user)
{
    char name[LEATI_FILE_MAX];
    owner_search *search = user;
    leati_note note;
    bool names_it = false;
    size_t i;
    int fd, r;

    if (!leati_file_is(file, search->transport, "peer", name) ||
        leati_lock_open(search->dir->fd, file, false, &fd, NULL) < 0)
        return 0;
    r = leati_note_read(fd, &note);
    close(fd);
    if (r < 0)
        return r;
    for (i = 0; i < note.n_segments; i++)
        names_it |= strcmp(note.segments[i], search->segment) == 0;
    leati_note_fini(&note);
    if (!names_it)
        return 0;
    search->found = true;
    search->burial.uid = search->dir->uid;
    r = leati_lock_bury(search->dir->fd, file, search->burial.flags, true, leati_bury_segments, &search->burial);
    r = conclude(r, search->segment, search->dir->fd, file);
    return r == 0 ? 1 : r;
}

static int search_dir(const leati_dir *dir, void *user)
{
    owner_search *search = user;

    search->dir = dir;
    return *dir->session == '\0' ? 0 : leati_dir_files(dir->fd, search_file, search);
}

static int remove_orphan(const leati_segment_ops *ops, const char *root, const leat_item *item, unsigned flags,
                         uint64_t *ret_bytes)
{
    leat_item now = {.state = LEAT_UNKNOWN,
                     .session = "",
                     .shmid = "",
                     .path = "",
                     .why = "",
                     .program = "",
                     .uid = -1,
                     .allocated = -1};
    int r = ops->describe(root, item->name, &now);

    if (r == -ENOENT)
        return leat_fail(ESTALE, "%s: is gone already", item->name);
    if (now.state != LEAT_DEAD && !(flags & LEAT_REMOVE_FORCE))
        return leat_fail(EBUSY,
                         "%s: no peer file names it, so that its owner cannot be proved dead; --force removes it "
                         "nevertheless",
                         item->name);
    if (flags & LEAT_REMOVE_DRY_RUN) {
        *ret_bytes = now.allocated > 0 ? (uint64_t)now.allocated : 0;
        return 0;
    }
    r = ops->remove(root, item->name, ret_bytes);
    if (r == -ENOENT)
        return leat_fail(ESTALE, "%s: is gone already", item->name);
    return r;
}

static int remove_segment(const char *transport, const leati_segment_ops *ops, const char *root, const leat_item *item,
                          unsigned flags, uint64_t *ret_bytes)
{
    static const leat_scope everybody = {.uid = -1};
    owner_search search = {.transport = transport,
                           .segment = item->name,
                           .burial = {.root = root, .ops = ops, .only = item->name, .flags = flags}};
    int r;

    if (ops == NULL)
        return leat_fail(EINVAL, "%s has no segments", transport);
    if (!leati_segment_good(item->name))
        return leat_fail(EINVAL, "\"%.200s\" is not the name of a segment", item->name);
    r = leati_dir_each(root, &everybody, search_dir, &search);
    if (r < 0)
        return r;
    if (!search.found)
        return remove_orphan(ops, root, item, flags, ret_bytes);
    *ret_bytes = search.burial.bytes;
    return 0;
}

int leati_session_remove(const char *transport, const leati_segment_ops *ops, const leat_item *item, unsigned flags,
                         uint64_t *ret_bytes)
{
    char root[LEATI_PATH_MAX];
    int r;

    r = leati_root(root);
    if (r < 0)
        return r;
    switch (item->kind) {
    case LEAT_ITEM_SEGMENT:
        return remove_segment(transport, ops, root, item, flags, ret_bytes);
    case LEAT_ITEM_PEER:
    case LEAT_ITEM_ADDRESS:
        return remove_file(transport, ops, root, item, flags, ret_bytes);
    case LEAT_ITEM_DIRECTORY:
        return remove_directory(root, item, flags, ret_bytes);
    }
    return leat_fail(EINVAL, "an item of kind %d cannot be removed", (int)item->kind);
}
