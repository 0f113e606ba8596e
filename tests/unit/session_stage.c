/* SPDX-License-Identifier: MIT
 *
 * session_stage.c - the stage that session_stage.h describes. Knows no test.
 */
#include "session_stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

char stage_root[400];
char stage_user_dir[448];

/* ---- a root, and segments that are files in it ------------------------------------------------------------------ */

void stage_use_root(void)
{
    snprintf(stage_root, sizeof(stage_root), "%s", leat_test_tmpdir());
    snprintf(stage_user_dir, sizeof(stage_user_dir), "%s/leat-%u", stage_root, (unsigned)geteuid());
    check(setenv("LEAT_RUNTIME_DIR", stage_root, 1) == 0);
}

const char *stage_below(const char *format, ...)
{
    static char path[1024];
    va_list args;
    int n = snprintf(path, sizeof(path), "%s/", stage_root);

    va_start(args, format);
    vsnprintf(path + n, sizeof(path) - (size_t)n, format, args);
    va_end(args);
    return path;
}

int stage_entries;
char stage_first_entry[512];

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    if (ftw->level > 0 && stage_entries++ == 0)
        snprintf(stage_first_entry, sizeof(stage_first_entry), "%s", path);
    return 0;
}

/* How many files and directories there are below the root. */
int stage_count_below(void)
{
    stage_entries = 0;
    stage_first_entry[0] = '\0';
    check(nftw(stage_root, count_entry, 16, FTW_PHYS) == 0);
    return stage_entries;
}

void stage_check_nothing_left(void)
{
    if (stage_count_below() != 0)
        fail_test("%d entries are left below the root, e.g. %s", stage_entries, stage_first_entry);
}

static int segment_describe(const char *at, const char *name, leat_item *item)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", at, name);
    if (lstat(path, &st) < 0)
        return -errno;
    item->uid = st.st_uid;
    item->gid = st.st_gid;
    item->mode = st.st_mode & 07777;
    item->size = st.st_size;
    item->allocated = 4096;
    if (strstr(name, "_boot") != NULL) {
        item->state = LEAT_DEAD;
        item->why = "it is from before the last boot";
    }
    return 0;
}

static int segment_remove(const char *at, const char *name, uint64_t *ret_bytes)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", at, name);
    if (unlink(path) < 0)
        return -errno;
    *ret_bytes = 4096;
    return 0;
}

/* Looks at the root only: what lies below comes and goes in the races. */
static int segment_scan(const char *at, int (*fn)(const char *name, void *user), void *user)
{
    DIR *dir = opendir(at);
    const struct dirent *entry;
    int r = 0;

    if (dir == NULL)
        return -errno;
    while (r == 0 && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "seg_", 4) == 0)
            r = fn(entry->d_name, user);
    closedir(dir);
    return r;
}

const leati_segment_ops stage_segment_ops = {segment_describe, segment_remove, segment_scan};

void stage_make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0);
    check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

bool stage_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* ---- sessions --------------------------------------------------------------------------------------------------- */

int stage_try_open(const char *session, leati_session **ret_session)
{
    leat_attach_info info = {.session = session, .program = "tester"};

    return leati_session_open(&info, "mem", &stage_segment_ops, ret_session);
}

leati_session *stage_join(void)
{
    leati_session *s = NULL;

    check_ok(stage_try_open("s", &s));
    return s;
}

/* A process that joins, does what `act` says, tells that it is ready, and waits to be killed. */
typedef struct victim {
    void (*act)(leati_session *s);
    int ready[2];
} victim;

static void victim_run(void *arg)
{
    victim *v = arg;
    leati_session *s = stage_join();

    if (v->act != NULL)
        v->act(s);
    check(write(v->ready[1], "", 1) == 1);
    for (;;)
        pause();
}

pid_t stage_start_victim(void (*act)(leati_session *s))
{
    victim v = {.act = act};
    char byte;
    pid_t pid;

    check(pipe2(v.ready, O_CLOEXEC) == 0);
    pid = leat_test_fork(victim_run, &v);
    close(v.ready[1]);
    check(read(v.ready[0], &byte, 1) == 1);
    close(v.ready[0]);
    return pid;
}

void stage_make_segments(leati_session *s)
{
    char name[64];
    int i;

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "seg_%d_%d", (int)getpid(), i);
        check_ok(leati_session_note_segment(s, name));
        stage_make_file(stage_below("%s", name), "memory");
    }
    check_ok(leati_session_note_segment(s, "seg_noted_but_never_made"));
}

void stage_bind_address(leati_session *s)
{
    leati_address *a = NULL;

    check_ok(leati_address_take(s, "/data", &a));
    stage_make_file(stage_below("leat-%u/s/%s", (unsigned)geteuid(), leati_address_socket(a)), "socket");
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

static int collect(const leat_item *item, void *user)
{
    items *list = user;

    check(list->n < ITEMS);
    list->at[list->n].kind = item->kind;
    list->at[list->n].state = item->state;
    list->at[list->n].pid = item->pid;
    list->at[list->n].uid = item->uid;
    snprintf(list->at[list->n].name, 256, "%s", item->name);
    snprintf(list->at[list->n].why, 256, "%s", item->why);
    snprintf(list->at[list->n].program, 32, "%s", item->program);
    snprintf(list->at[list->n].session, 80, "%s", item->session);
    snprintf(list->at[list->n].transport, 32, "%s", item->transport);
    list->n++;
    return 0;
}

void stage_list_all(items *list)
{
    const leat_scope scope = {.uid = -1};

    memset(list, 0, sizeof(*list));
    check_ok(leati_session_list("mem", &stage_segment_ops, &scope, collect, list));
}

int stage_find(const items *list, leat_item_kind kind, const char *part)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        if (list->at[i].kind == kind && strstr(list->at[i].name, part) != NULL)
            return (int)i;
    return -1;
}

int stage_remove_item(const items *list, size_t i, unsigned flags, uint64_t *ret_bytes)
{
    leat_item item = {.kind = list->at[i].kind,
                      .transport = "mem",
                      .session = list->at[i].session,
                      .name = list->at[i].name,
                      .shmid = "",
                      .path = "",
                      .why = "",
                      .program = ""};

    return leati_session_remove("mem", &stage_segment_ops, &item, flags, ret_bytes);
}
