/* SPDX-License-Identifier: MIT
 *
 * remains.c - looks at /dev/shm and at /proc/sysvipc/shm for what belongs to a test's session, by the names that the
 * design fixes: leat-<uid>/<session>/ and leat_<shmid>_*. It computes the shmid itself and must not use libleat, whose
 * mistakes it is there to find.
 */
#include "remains.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_ROOT "/dev/shm"
#define HEADER_BYTES 4096u /* a segment names its session within the first page */

static void make_shmid(const char *session, char ret_shmid[9])
{
    char text[512];
    int size = snprintf(text, sizeof(text), "%u:%s", (unsigned)getuid(), session);
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, (size_t)size, (const uint8_t *)text);
    sha256_digest(&sha, sizeof(digest), digest);
    snprintf(ret_shmid, 9, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* Removes `name` in `parent`, with all that is in it if it is a directory; prints each name with `path` before it,
 * unless `out` is NULL. */
static int report_tree(int parent, const char *path, const char *name, FILE *out)
{
    char full[1024];
    snprintf(full, sizeof(full), "%s/%s", path, name);
    int found = 1;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out)
        fprintf(out, "left behind: %s%s\n", full, fd < 0 ? "" : "/");
    if (fd < 0) {
        unlinkat(parent, name, 0);
        return found;
    }
    DIR *dir = fdopendir(fd);
    if (dir) {
        for (struct dirent *entry; (entry = readdir(dir));)
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
                found += report_tree(fd, full, entry->d_name, out);
        closedir(dir);
    } else {
        close(fd);
    }
    unlinkat(parent, name, AT_REMOVEDIR);
    return found;
}

void remains_remove_tree(const char *path)
{
    struct stat st;
    if (!lstat(path, &st))
        report_tree(AT_FDCWD, "", path, NULL);
}

static int report_names(const char *session, const char *shmid, FILE *out)
{
    int found = 0;
    char user[64], segment[64];
    snprintf(user, sizeof(user), "leat-%u", (unsigned)getuid());
    size_t segment_size = (size_t)snprintf(segment, sizeof(segment), "leat_%s_", shmid);
    DIR *dir = opendir(SHM_ROOT);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, segment, segment_size))
            found += report_tree(dirfd(dir), SHM_ROOT, entry->d_name, out);
    int fd = openat(dirfd(dir), user, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && !fstatat(fd, session, &st, AT_SYMLINK_NOFOLLOW)) {
        char path[128];
        snprintf(path, sizeof(path), SHM_ROOT "/%s", user);
        found += report_tree(fd, path, session, out);
        unlinkat(dirfd(dir), user, AT_REMOVEDIR); /* if it is empty now */
    }
    if (fd >= 0)
        close(fd);
    closedir(dir);
    return found;
}

/* Calls fn for each System V segment of this user. */
static void each_id(void (*fn)(int id, pid_t creator, void *user), void *user)
{
    FILE *file = fopen("/proc/sysvipc/shm", "re");
    char line[512];
    if (!file)
        return;
    while (fgets(line, sizeof(line), file)) {
        int id;
        unsigned uid;
        int creator;
        /* key shmid perms size cpid lpid nattch uid ... */
        if (sscanf(line, "%*d %d %*o %*u %d %*d %*u %u", &id, &creator, &uid) == 3 && uid == getuid())
            fn(id, creator, user);
    }
    fclose(file);
}

static void note_id(int id, pid_t creator, void *user)
{
    remains_ids *ids = user;
    (void)creator;
    int *grown = realloc(ids->ids, (ids->count + 1) * sizeof(*grown));
    if (!grown)
        return;
    ids->ids = grown;
    ids->ids[ids->count++] = id;
}

void remains_note_ids(remains_ids *ret_ids)
{
    *ret_ids = (remains_ids){0};
    each_id(note_id, ret_ids);
}

void remains_free_ids(remains_ids *ids)
{
    free(ids->ids);
    *ids = (remains_ids){0};
}

typedef struct id_search {
    const remains_ids *before;
    const char *session, *shmid;
    pid_t pid;
    FILE *out;
    int found;
} id_search;

/* Whether the segment's first page speaks of the session. */
static bool names_session(int id, const id_search *search)
{
    struct shmid_ds ds;
    if (shmctl(id, IPC_STAT, &ds) < 0)
        return false;
    const void *memory = shmat(id, NULL, SHM_RDONLY);
    if (memory == (void *)-1) /* NOLINT: shmat's own way of failing */
        return false;
    size_t size = ds.shm_segsz < HEADER_BYTES ? ds.shm_segsz : HEADER_BYTES;
    bool found = memmem(memory, size, search->session, strlen(search->session)) ||
                 memmem(memory, size, search->shmid, strlen(search->shmid));
    shmdt(memory);
    return found;
}

static void report_id(int id, pid_t creator, void *user)
{
    id_search *search = user;
    for (size_t i = 0; i < search->before->count; i++)
        if (search->before->ids[i] == id)
            return;
    if (creator != search->pid && !names_session(id, search))
        return;
    fprintf(search->out, "left behind: System V segment %d of process %d\n", id, (int)creator);
    shmctl(id, IPC_RMID, NULL);
    search->found++;
}

int remains_report(const char *session, const remains_ids *before, pid_t pid, FILE *out)
{
    char shmid[9];
    make_shmid(session, shmid);
    id_search search = {.before = before, .session = session, .shmid = shmid, .pid = pid, .out = out};
    each_id(report_id, &search);
    return search.found + report_names(session, shmid, out);
}
