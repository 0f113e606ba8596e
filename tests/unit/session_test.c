/* SPDX-License-Identifier: MIT
 *
 * session_test.c - a session's directory, peer files and address locks: who is alive, what the dead leave, and that
 * nothing is ever seen half made. Segments are played by plain files below a root of the test's own.
 */
#include "leat_test.h"

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

#include "../../plugins/transports/session/session.h"

static char root[400]; /* stands for /dev/shm */
static char user_dir[448];

/* ---- a root, and segments that are files in it ------------------------------------------------------------------ */

static void use_root(void)
{
    snprintf(root, sizeof(root), "%s", leat_test_tmpdir());
    snprintf(user_dir, sizeof(user_dir), "%s/leat-%u", root, (unsigned)geteuid());
    check(setenv("LEAT_RUNTIME_DIR", root, 1) == 0);
}

static const char *below(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *below(const char *format, ...)
{
    static char path[1024];
    va_list args;
    int n = snprintf(path, sizeof(path), "%s/", root);

    va_start(args, format);
    vsnprintf(path + n, sizeof(path) - (size_t)n, format, args);
    va_end(args);
    return path;
}

static int entries;
static char first_entry[512];

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    if (ftw->level > 0 && entries++ == 0)
        snprintf(first_entry, sizeof(first_entry), "%s", path);
    return 0;
}

/* How many files and directories there are below the root. */
static int count_below(void)
{
    entries = 0;
    first_entry[0] = '\0';
    check(nftw(root, count_entry, 16, FTW_PHYS) == 0);
    return entries;
}

static void check_nothing_left(void)
{
    if (count_below() != 0)
        fail_test("%d entries are left below the root, e.g. %s", entries, first_entry);
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

static int (*scan_fn)(const char *name, void *user);
static void *scan_user;

static int scan_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    if (type != FTW_F || ftw->level != 1 || strncmp(path + ftw->base, "seg_", 4) != 0)
        return 0;
    return scan_fn(path + ftw->base, scan_user);
}

static int segment_scan(const char *at, int (*fn)(const char *name, void *user), void *user)
{
    scan_fn = fn;
    scan_user = user;
    return nftw(at, scan_entry, 16, FTW_PHYS);
}

static const leati_segment_ops segment_ops = {segment_describe, segment_remove, segment_scan};

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    check(fd >= 0);
    check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* ---- sessions --------------------------------------------------------------------------------------------------- */

static int try_open(const char *session, leati_session **ret_session)
{
    leat_attach_info info = {.session = session, .program = "tester"};

    return leati_session_open(&info, "mem", &segment_ops, ret_session);
}

static leati_session *join(void)
{
    leati_session *s = NULL;

    check_ok(try_open("s", &s));
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
    leati_session *s = join();

    if (v->act != NULL)
        v->act(s);
    check(write(v->ready[1], "", 1) == 1);
    for (;;)
        pause();
}

static pid_t start_victim(void (*act)(leati_session *s))
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

static void make_segments(leati_session *s)
{
    char name[64];
    int i;

    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "seg_%d_%d", (int)getpid(), i);
        check_ok(leati_session_note_segment(s, name));
        make_file(below("%s", name), "memory");
    }
    check_ok(leati_session_note_segment(s, "seg_noted_but_never_made"));
}

static void bind_address(leati_session *s)
{
    leati_address *a = NULL;

    check_ok(leati_address_take(s, "/data", &a));
    make_file(below("leat-%u/s/%s", (unsigned)geteuid(), leati_address_socket(a)), "socket");
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

#define ITEMS 64
typedef struct items {
    size_t n;
    struct {
        leat_item_kind kind;
        leat_state state;
        int64_t pid, uid;
        char name[256], why[256], program[32], session[80], transport[32];
    } at[ITEMS];
} items;

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

static void list_all(items *list)
{
    const leat_scope scope = {.uid = -1};

    memset(list, 0, sizeof(*list));
    check_ok(leati_session_list("mem", &segment_ops, &scope, collect, list));
}

static int find(const items *list, leat_item_kind kind, const char *part)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        if (list->at[i].kind == kind && strstr(list->at[i].name, part) != NULL)
            return (int)i;
    return -1;
}

static int remove_item(const items *list, size_t i, unsigned flags, uint64_t *ret_bytes)
{
    leat_item item = {.kind = list->at[i].kind,
                      .transport = "mem",
                      .session = list->at[i].session,
                      .name = list->at[i].name,
                      .shmid = "",
                      .path = "",
                      .why = "",
                      .program = ""};

    return leati_session_remove("mem", &segment_ops, &item, flags, ret_bytes);
}

/* ---- tests: directories ----------------------------------------------------------------------------------------- */

static void directories_are_private_whatever_the_umask(void)
{
    static const mode_t masks[] = {0, 022, 077, 0777};
    leati_session *s;
    struct stat st;
    size_t i;

    use_root();
    for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        mode_t old = umask(masks[i]);

        s = join();
        umask(old);
        check(lstat(user_dir, &st) == 0);
        check_int(st.st_mode, S_IFDIR | 0700);
        check(lstat(leati_session_path(s), &st) == 0);
        check_int(st.st_mode, S_IFDIR | 0700);
        check(fstatat(leati_session_dirfd(s), leati_session_peer(s), &st, 0) == 0);
        check_int(st.st_mode, S_IFREG | 0600);
        leati_session_close(s);
        check_nothing_left();
    }
}

static void each_unfit_directory_has_its_own_sentence(void)
{
    leati_session *s = NULL;

    use_root();
    check(mkdir(user_dir, 0700) == 0);

    check(symlink("/tmp", below("leat-%u/s", (unsigned)geteuid())) == 0);
    check_error(try_open("s", &s), ELOOP);
    check_contains(leat_error(), "symbolic link");
    check(unlink(below("leat-%u/s", (unsigned)geteuid())) == 0);

    make_file(below("leat-%u/s", (unsigned)geteuid()), "");
    check_error(try_open("s", &s), ENOTDIR);
    check_contains(leat_error(), "not a directory");
    check(unlink(below("leat-%u/s", (unsigned)geteuid())) == 0);

    check(mkdir(below("leat-%u/s", (unsigned)geteuid()), 0700) == 0);
    check(chmod(below("leat-%u/s", (unsigned)geteuid()), 0750) == 0);
    check_error(try_open("s", &s), EACCES);
    check_contains(leat_error(), "0750");
    check(rmdir(below("leat-%u/s", (unsigned)geteuid())) == 0);

    check(rmdir(user_dir) == 0);
    check(symlink("/tmp", user_dir) == 0);
    check_error(try_open("s", &s), ELOOP);
    check_contains(leat_error(), user_dir);
    check(unlink(user_dir) == 0);
    check_nothing_left();

    check(setenv("LEAT_RUNTIME_DIR", below("missing"), 1) == 0);
    check_error(try_open("s", &s), ENOENT);
    check_contains(leat_error(), "missing");
    check(setenv("LEAT_RUNTIME_DIR", "relative", 1) == 0);
    check_error(try_open("s", &s), EINVAL);
    check_contains(leat_error(), "absolute");
    check(s == NULL);
}

static void another_users_directory_is_refused(void)
{
    leati_session *s = NULL;

    if (geteuid() != 0)
        leat_test_skip("only root can make another user's directory");
    use_root();
    check(mkdir(user_dir, 0700) == 0);
    check(chown(user_dir, 65534, 65534) == 0);
    check_error(try_open("s", &s), EPERM);
    check_contains(leat_error(), "another user");
    check_contains(leat_error(), "65534");
    check(chown(user_dir, 0, 0) == 0);
    check(mkdir(below("leat-0/s"), 0700) == 0);
    check(chown(below("leat-0/s"), 65534, 65534) == 0);
    check_error(try_open("s", &s), EPERM);
    check(rmdir(below("leat-0/s")) == 0);
    check(rmdir(user_dir) == 0);
}

static void a_session_has_a_plain_name(void)
{
    static const char *const bad[] = {
        "",    ".",  "..",       "a/b",
        "a b", "\n", "\xc3\xa4", "12345678901234567890123456789012345678901234567890123456789012345"};
    leati_session *s = NULL;
    size_t i;

    use_root();
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_error(try_open(bad[i], &s), EINVAL);
        check_contains(leat_error(), "not the name of a session");
    }
    check_ok(try_open("...-_.A9", &s));
    check_string(leati_session_name(s), "...-_.A9");
    leati_session_close(s);
    check_nothing_left();
}

/* ---- tests: peers ----------------------------------------------------------------------------------------------- */

static void a_peer_file_says_who_it_is(void)
{
    leati_session *s, *t;
    char text[2048], want[64];
    ssize_t n;
    int fd;

    use_root();
    s = join();
    t = join();
    check_int(leati_session_number(s), 0);
    check_int(leati_session_number(t), 1);
    snprintf(want, sizeof(want), "%d-1.mem.peer", (int)getpid());
    check_string(leati_session_peer(t), want);
    check_ok(leati_session_note_segment(t, "seg_one"));
    check_error(leati_session_note_segment(t, "../seg"), EINVAL);
    fd = openat(leati_session_dirfd(t), leati_session_peer(t), O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    check(n > 0);
    text[n] = '\0';
    check(strncmp(text, "leat peer 1\n", 12) == 0);
    snprintf(want, sizeof(want), "\npid = %d\n", (int)getpid());
    check_contains(text, want);
    check_contains(text, "\nprogram = tester\n");
    check_contains(text, "\nsession = s\ntransport = mem\nsegment = seg_one\n");
    check_contains(text, leati_boot_id());
    check_int(strlen(leati_boot_id()), 36);
    check_int(strlen(leati_session_shmid(t)), 8);
    leati_session_close(s);
    leati_session_close(t);
    check_nothing_left();
}

static void what_a_killed_process_left_goes_with_the_next_one(void)
{
    leati_session *s;
    pid_t pid;

    use_root();
    pid = start_victim(make_segments);
    check_int(count_below(), 2 + 1 + 20);
    s = join(); /* disturbs nobody who lives */
    check_int(count_below(), 2 + 2 + 20);
    leati_session_close(s);
    leat_test_kill(pid);
    s = join();
    check_int(count_below(), 2 + 1);
    leati_session_close(s);
    check_nothing_left();
}

static void who_leaves_with_memory_still_read_is_reaped_by_name(void)
{
    char peer[128];
    leati_session *s, *t;

    use_root();
    s = join();
    t = join();
    make_segments(t);
    snprintf(peer, sizeof(peer), "%s", leati_session_peer(t));
    check_error(leati_session_reap(s, peer), EBUSY);
    check_error(leati_session_reap(s, leati_session_peer(s)), EBUSY);
    leati_session_leave(t);
    leati_session_close(t);
    check_int(count_below(), 2 + 2 + 20);
    check_error(leati_session_reap(s, "../../x.mem.peer"), EINVAL);
    check_error(leati_session_reap(s, "1-0.other.peer"), EINVAL);
    check_ok(leati_session_reap(s, peer));
    check_int(count_below(), 2 + 1);
    check_ok(leati_session_reap(s, peer)); /* gone already */
    leati_session_close(s);
    check_nothing_left();
}

static void a_strangers_read_lock_is_not_life(void)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    char peer[256];
    leati_session *s, *t;
    items list;
    int fd, i;

    use_root();
    s = join();
    t = join();
    snprintf(peer, sizeof(peer), "%s/%s", leati_session_path(t), leati_session_peer(t));
    leati_session_leave(t);
    leati_session_close(t);
    fd = open(peer, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    list_all(&list);
    i = find(&list, LEAT_ITEM_PEER, strrchr(peer, '/') + 1);
    check(i >= 0);
    check_int(list.at[i].state, LEAT_DEAD);
    check_ok(leati_session_reap(s, strrchr(peer, '/') + 1));
    check(!exists(peer));
    close(fd);
    leati_session_close(s);
    check_nothing_left();
}

static void a_forked_child_does_not_keep_its_parent_alive(void)
{
    int go[2];
    char peer[128], byte;
    leati_session *s, *t;
    leati_address *a = NULL;
    pid_t pid;

    use_root();
    check(pipe2(go, O_CLOEXEC) == 0);
    s = join();
    t = join();
    check_ok(leati_address_take(t, "data", &a));
    snprintf(peer, sizeof(peer), "%s", leati_session_peer(t));
    pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        leati_session_forked(t);
        check_error(leati_session_note_segment(t, "seg_x"), ECHILD);
        leati_address_release(a); /* touches nothing of the parent's */
        leati_session_close(t);
        check(write(go[1], "", 1) == 1);
        for (;;)
            pause();
    }
    check(read(go[0], &byte, 1) == 1);
    check_error(leati_session_reap(s, peer), EBUSY);
    leati_address_release(a);
    check_ok(leati_address_take(s, "data", &a));
    leati_address_release(a);
    leati_session_leave(t);
    leati_session_close(t);
    check_ok(leati_session_reap(s, peer));
    leat_test_kill(pid);
    leati_session_close(s);
    check_nothing_left();
}

static void a_broken_peer_file_harms_nobody(void)
{
    static char huge[70000];
    leati_session *s;
    items list;
    char text[256];
    int i;

    use_root();
    s = join();
    memset(huge, 'x', sizeof(huge) - 1);
    make_file(below("seg_victim"), "");
    make_file(below("leat-%u/s/1-0.mem.peer", (unsigned)geteuid()), "");
    make_file(below("leat-%u/s/2-0.mem.peer", (unsigned)geteuid()), huge);
    make_file(below("leat-%u/s/3-0.mem.peer", (unsigned)geteuid()),
              "leat peer 1\npid = 99999999999\nprogram = \x1b[2J\nsegment = ../seg_victim\nsegment = /etc/passwd\n"
              "segment = \nsegment\n = = \nstarted = yesterday\nsegment = seg_vic");
    snprintf(text, sizeof(text), "leat-%u/s/4-0.mem.peer", (unsigned)geteuid());
    check(mkfifo(below("%s", text), 0600) == 0);
    list_all(&list);
    i = find(&list, LEAT_ITEM_PEER, "/3-0.mem.peer");
    check(i >= 0);
    check_int(list.at[i].pid, -1);
    check_string(list.at[i].program, "?[2J");
    check_int(list.at[i].state, LEAT_DEAD);
    i = find(&list, LEAT_ITEM_SEGMENT, "seg_victim");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_UNKNOWN); /* named by nobody: half a line is none */
    leati_session_close(s);
    s = join();
    check(exists(below("seg_victim")));
    check_int(count_below(), 2 + 1 + 1 + 1); /* directories, our peer file, the fifo, the segment */
    check(unlink(below("%s", text)) == 0);
    check(unlink(below("seg_victim")) == 0);
    leati_session_close(s);
    check_nothing_left();
}

static void another_users_segment_is_not_removed_for_a_peer_file(void)
{
    uint64_t bytes = 0;
    items list;
    int i;

    if (geteuid() != 0)
        leat_test_skip("only root can act as several users");
    use_root();
    check(mkdir(below("leat-65534"), 0700) == 0 && chown(below("leat-65534"), 65534, 65534) == 0);
    check(mkdir(below("leat-65534/s"), 0700) == 0 && chown(below("leat-65534/s"), 65534, 65534) == 0);
    make_file(below("leat-65534/s/7-0.mem.peer"), "leat peer 1\npid = 7\nsegment = seg_roots\nsegment = seg_theirs\n");
    make_file(below("seg_roots"), "");
    make_file(below("seg_theirs"), "");
    check(chown(below("seg_theirs"), 65534, 65534) == 0);
    list_all(&list);
    i = find(&list, LEAT_ITEM_SEGMENT, "seg_roots");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_UNKNOWN);
    check_contains(list.at[i].why, "another user");
    i = find(&list, LEAT_ITEM_SEGMENT, "seg_theirs");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_DEAD);
    i = find(&list, LEAT_ITEM_PEER, "/7-0.mem.peer");
    check(i >= 0);
    check_ok(remove_item(&list, (size_t)i, 0, &bytes));
    check(exists(below("seg_roots")));
    check(!exists(below("seg_theirs")));
    check(unlink(below("seg_roots")) == 0);
    check_nothing_left(); /* the directories went with their last file */
}

/* ---- tests: addresses ------------------------------------------------------------------------------------------- */

static void an_address_has_one_binder(void)
{
    leati_address *a = NULL, *b = NULL;
    leati_session *s, *t;
    char want[64], name[128];

    use_root();
    s = join();
    t = join();
    check_ok(leati_address_take(s, "/data", &a));
    check_string(leati_address_socket(a), "data.mem.sock");
    check_ok(leati_address_socket_name(t, "data", name, sizeof(name)));
    check_string(name, "data.mem.sock");
    check_error(leati_address_take(t, "data", &b), EADDRINUSE);
    snprintf(want, sizeof(want), "pid %d (tester)", (int)getpid());
    check_contains(leat_error(), want);
    check_error(leati_address_take(t, "da/ta", &b), EINVAL);
    check_error(leati_address_take(t, "", &b), EINVAL);
    leati_address_release(a);
    check_ok(leati_address_take(t, "data", &b));
    leati_address_release(b);
    leati_session_close(s);
    leati_session_close(t);
    check_nothing_left();
}

static void a_dead_binders_socket_is_removed(void)
{
    leati_address *a = NULL;
    leati_session *s;
    pid_t pid;

    use_root();
    s = join();
    pid = start_victim(bind_address);
    check(exists(below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    check_error(leati_address_take(s, "data", &a), EADDRINUSE);
    check(exists(below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    leat_test_kill(pid);
    check_ok(leati_address_take(s, "data", &a));
    check(!exists(below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    leati_address_release(a);
    leati_session_close(s);
    s = join(); /* the victim's peer file */
    leati_session_close(s);
    check_nothing_left();
}

/* ---- tests: list and remove ------------------------------------------------------------------------------------- */

static void bind_and_make(leati_session *s)
{
    bind_address(s);
    check_ok(leati_session_note_segment(s, "seg_of_victim"));
    make_file(below("seg_of_victim"), "memory");
}

static void list_tells_the_living_the_stopped_and_the_dead(void)
{
    static const leat_item_kind kinds[] = {LEAT_ITEM_SEGMENT, LEAT_ITEM_ADDRESS, LEAT_ITEM_PEER};
    static const char *const names[] = {"seg_of_victim", "/data.mem.lock", "-0.mem.peer"};
    uint64_t bytes;
    items list;
    pid_t pid;
    size_t i;
    int at;

    use_root();
    pid = start_victim(bind_and_make);
    make_file(below("seg_orphan"), "");
    make_file(below("seg_from_boot_before_boot"), "");
    check(mkdir(below("leat-%u/empty", (unsigned)geteuid()), 0700) == 0);

    list_all(&list);
    check_int(list.n, 6);
    for (i = 0; i < 3; i++) {
        at = find(&list, kinds[i], names[i]);
        check(at >= 0);
        check_int(list.at[at].state, LEAT_ALIVE);
        check_int(list.at[at].pid, pid);
        check_string(list.at[at].session, "s");
        check_error(remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
        check_contains(leat_error(), "(tester)");
        check_error(remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes), EBUSY);
    }
    at = find(&list, LEAT_ITEM_SEGMENT, "seg_orphan");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_UNKNOWN);
    check_contains(list.at[at].why, "no peer file");
    check_error(remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
    check_ok(remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE | LEAT_REMOVE_DRY_RUN, &bytes));
    check(exists(below("seg_orphan")));
    check_ok(remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes));
    check_error(remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes), ESTALE);
    at = find(&list, LEAT_ITEM_SEGMENT, "seg_from_boot_before_boot");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_DEAD);
    check_ok(remove_item(&list, (size_t)at, 0, &bytes));
    at = find(&list, LEAT_ITEM_DIRECTORY, "empty");
    check(at >= 0);
    check_string(list.at[at].transport, "session");
    check_int(list.at[at].state, LEAT_DEAD);
    check_ok(remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes));
    check_ok(remove_item(&list, (size_t)at, 0, &bytes));
    check_error(remove_item(&list, (size_t)at, 0, &bytes), ESTALE);

    leat_test_kill(pid);
    list_all(&list);
    check_int(list.n, 3);
    for (i = 0; i < 3; i++) {
        at = find(&list, kinds[i], names[i]);
        check(at >= 0);
        check_int(list.at[at].state, LEAT_DEAD);
        check(list.at[at].why[0] != '\0');
        bytes = 0;
        check_ok(remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes));
        check_ok(remove_item(&list, (size_t)at, 0, &bytes));
        check(i > 0 || bytes == 4096);
        check_error(remove_item(&list, (size_t)at, 0, &bytes), ESTALE);
    }
    check_nothing_left();
}

static void a_stopped_process_is_alive(void)
{
    uint64_t bytes;
    items list;
    char comm[32] = "";
    pid_t pid;
    int fd, status, at;

    use_root();
    /* The name in the peer file must be the process's for it to be shown as stopped. */
    fd = open("/proc/self/comm", O_RDWR | O_CLOEXEC);
    check(fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 && write(fd, "tester", 6) == 6);
    close(fd);
    pid = start_victim(NULL);
    check(kill(pid, SIGSTOP) == 0);
    check(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    list_all(&list);
    at = find(&list, LEAT_ITEM_PEER, "-0.mem.peer");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_STOPPED);
    check_error(remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
    leat_test_kill(pid);
    list_all(&list);
    check_int(list.n, 1);
    check_ok(remove_item(&list, 0, 0, &bytes));
    check_nothing_left();
}

static void force_removes_what_lives(void)
{
    uint64_t bytes = 0;
    leati_session *s;
    items list;
    int at;

    use_root();
    s = join();
    make_segments(s);
    list_all(&list);
    at = find(&list, LEAT_ITEM_PEER, "-0.mem.peer");
    check(at >= 0);
    check_ok(remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes));
    check(bytes >= 20 * 4096);
    check_nothing_left();
    leati_session_close(s);
    check_nothing_left();
}

/* ---- tests: death and races ------------------------------------------------------------------------------------- */

static void a_whole_life(void)
{
    leati_address *a = NULL;
    leati_session *s = join();

    check_ok(leati_session_note_segment(s, "seg_life"));
    make_file(below("seg_life"), "memory");
    check_ok(leati_address_take(s, "data", &a));
    make_file(below("leat-%u/s/%s", (unsigned)geteuid(), leati_address_socket(a)), "socket");
    leati_address_release(a);
    unlink(below("seg_life"));
    leati_session_close(s);
}

/* Lets a child live until its n-th system call and kills it there. Returns whether it got that far. */
static bool kill_at(int n)
{
    int status, i;
    pid_t pid = fork();

    check(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        raise(SIGSTOP);
        a_whole_life();
        _exit(0);
    }
    for (i = 0; i <= n; i++) {
        check(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
            leat_test_skip("ptrace is not permitted here");
        if (!WIFSTOPPED(status)) {
            check(WIFEXITED(status));
            check_int(WEXITSTATUS(status), 0);
            return false;
        }
        if (i < n)
            check(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
    }
    kill(pid, SIGKILL);
    check(waitpid(pid, &status, 0) == pid);
    return true;
}

static void killed_at_any_system_call_nothing_stays(void)
{
    leati_session *s;
    uint64_t bytes;
    items list;
    size_t i;
    int n;

    use_root();
    for (n = 1; kill_at(n); n++) {
        if (n % 2 == 0) {
            /* A survivor joins and leaves... */
            s = join();
            leati_session_close(s);
        } else {
            /* ...or an administrator removes all that is proved dead. */
            list_all(&list);
            for (i = 0; i < list.n; i++) {
                check_int(list.at[i].state, LEAT_DEAD);
                check_ok(remove_item(&list, i, 0, &bytes));
            }
        }
        if (count_below() != 0)
            fail_test("killed at system call %d: %d entries stay, e.g. %s", n / 2, entries, first_entry);
    }
    check(n > 60);
    check_nothing_left();
}

static atomic_bool *race_over;

static void reaper_run(void *arg)
{
    items list;
    uint64_t bytes;
    size_t i;
    int r;

    (void)arg;
    while (!atomic_load(race_over)) {
        list_all(&list);
        for (i = 0; i < list.n; i++) {
            if (list.at[i].state != LEAT_DEAD)
                continue;
            r = remove_item(&list, i, 0, &bytes);
            if (r < 0 && r != -ESTALE && r != -EBUSY)
                check_ok(r);
        }
    }
}

static void starting_and_cleaning_race_2000_times(void)
{
    leati_address *a;
    leati_session *s;
    char path[512], segment[32];
    pid_t reaper;
    int i;

    use_root();
    race_over = mmap(NULL, sizeof(*race_over), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(race_over != MAP_FAILED);
    reaper = leat_test_fork(reaper_run, NULL);
    for (i = 0; i < 2000; i++) {
        s = join();
        snprintf(path, sizeof(path), "%s/%s", leati_session_path(s), leati_session_peer(s));
        snprintf(segment, sizeof(segment), "seg_race_%d", i);
        check_ok(leati_session_note_segment(s, segment));
        make_file(below("%s", segment), "");
        check_ok(leati_address_take(s, "data", &a));
        make_file(below("leat-%u/s/data.mem.sock", (unsigned)geteuid()), "");
        /* Whoever lives keeps what it has. */
        check(exists(path));
        check(exists(below("%s", segment)));
        check(exists(below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
        check(exists(below("leat-%u/s/data.mem.lock", (unsigned)geteuid())));
        if (i % 4 == 0) {
            leati_address_release(a);
            leati_session_leave(s);
            leati_session_close(s); /* leaves its peer file for the reaper */
            continue;
        }
        leati_address_release(a);
        check(unlink(below("%s", segment)) == 0);
        leati_session_close(s);
    }
    atomic_store(race_over, true);
    leat_test_join(reaper);
    s = join();
    leati_session_close(s);
    check_nothing_left();
}

static void binder_run(void *arg)
{
    leati_session *s = join();
    char path[512];
    int i, r, *taken = arg;

    for (i = 0; i < 1000; i++) {
        leati_address *a = NULL;
        int fd;

        r = leati_address_take(s, "data", &a);
        if (r == -EADDRINUSE)
            continue;
        check_ok(r);
        /* Nobody else is in here: the file is made anew each time. */
        snprintf(path, sizeof(path), "%s/%s", leati_session_path(s), leati_address_socket(a));
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        check(fd >= 0);
        close(fd);
        check(exists(path));
        (*taken)++;
        leati_address_release(a);
    }
    leati_session_close(s);
}

static void two_binders_never_both_have_an_address(void)
{
    int *taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[3];
    int i;

    use_root();
    check(taken != MAP_FAILED);
    for (i = 0; i < 3; i++)
        pids[i] = leat_test_fork(binder_run, &taken[i]);
    for (i = 0; i < 3; i++)
        leat_test_join(pids[i]);
    check(taken[0] + taken[1] + taken[2] >= 1000);
    check_nothing_left();
}

static const leat_test tests[] = {
    {.name = "directories are private whatever the umask", .run = directories_are_private_whatever_the_umask},
    {.name = "each unfit directory has its own sentence", .run = each_unfit_directory_has_its_own_sentence},
    {.name = "another user's directory is refused", .run = another_users_directory_is_refused},
    {.name = "a session has a plain name", .run = a_session_has_a_plain_name},
    {.name = "a peer file says who it is", .run = a_peer_file_says_who_it_is},
    {.name = "what a killed process left goes with the next one",
     .run = what_a_killed_process_left_goes_with_the_next_one},
    {.name = "who leaves with memory still read is reaped by name",
     .run = who_leaves_with_memory_still_read_is_reaped_by_name},
    {.name = "a stranger's read lock is not life", .run = a_strangers_read_lock_is_not_life},
    {.name = "a forked child does not keep its parent alive", .run = a_forked_child_does_not_keep_its_parent_alive},
    {.name = "a broken peer file harms nobody", .run = a_broken_peer_file_harms_nobody},
    {.name = "another user's segment is not removed for a peer file",
     .run = another_users_segment_is_not_removed_for_a_peer_file},
    {.name = "an address has one binder", .run = an_address_has_one_binder},
    {.name = "a dead binder's socket is removed", .run = a_dead_binders_socket_is_removed},
    {.name = "list tells the living, the stopped and the dead", .run = list_tells_the_living_the_stopped_and_the_dead},
    {.name = "a stopped process is alive", .run = a_stopped_process_is_alive},
    {.name = "force removes what lives", .run = force_removes_what_lives},
    {.name = "killed at any system call nothing stays", .run = killed_at_any_system_call_nothing_stays},
    {.name = "starting and cleaning race 2000 times", .run = starting_and_cleaning_race_2000_times},
    {.name = "two binders never both have an address", .run = two_binders_never_both_have_an_address},
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
