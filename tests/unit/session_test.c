/* SPDX-License-Identifier: MIT
 *
 * session_test.c - a session's directory, peer files and address locks: who is alive, what the dead leave, and who may
 * remove what. Killing and racing is session_death_test.c's.
 */
#include "session_stage.h"

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

/* ---- tests: directories ----------------------------------------------------------------------------------------- */

static void directories_are_private_whatever_the_umask(void)
{
    static const mode_t masks[] = {0, 022, 077, 0777};
    leati_session *s;
    struct stat st;
    size_t i;

    stage_use_root();
    for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        mode_t old = umask(masks[i]);

        s = stage_join();
        umask(old);
        check(lstat(stage_user_dir, &st) == 0);
        check_int(st.st_mode, S_IFDIR | 0700);
        check(lstat(leati_session_path(s), &st) == 0);
        check_int(st.st_mode, S_IFDIR | 0700);
        check(fstatat(leati_session_dirfd(s), leati_session_peer(s), &st, 0) == 0);
        check_int(st.st_mode, S_IFREG | 0600);
        leati_session_close(s);
        stage_check_nothing_left();
    }
}

static void each_unfit_directory_has_its_own_sentence(void)
{
    leati_session *s = NULL;

    stage_use_root();
    check(mkdir(stage_user_dir, 0700) == 0);

    check(symlink("/tmp", stage_below("leat-%u/s", (unsigned)geteuid())) == 0);
    check_error(stage_try_open("s", &s), ELOOP);
    check_contains(leat_error(), "symbolic link");
    check(unlink(stage_below("leat-%u/s", (unsigned)geteuid())) == 0);

    stage_make_file(stage_below("leat-%u/s", (unsigned)geteuid()), "");
    check_error(stage_try_open("s", &s), ENOTDIR);
    check_contains(leat_error(), "not a directory");
    check(unlink(stage_below("leat-%u/s", (unsigned)geteuid())) == 0);

    check(mkdir(stage_below("leat-%u/s", (unsigned)geteuid()), 0700) == 0);
    check(chmod(stage_below("leat-%u/s", (unsigned)geteuid()), 0750) == 0);
    check_error(stage_try_open("s", &s), EACCES);
    check_contains(leat_error(), "0750");
    check(rmdir(stage_below("leat-%u/s", (unsigned)geteuid())) == 0);

    check(rmdir(stage_user_dir) == 0);
    check(symlink("/tmp", stage_user_dir) == 0);
    check_error(stage_try_open("s", &s), ELOOP);
    check_contains(leat_error(), stage_user_dir);
    check(unlink(stage_user_dir) == 0);
    stage_check_nothing_left();

    check(setenv("LEAT_RUNTIME_DIR", stage_below("missing"), 1) == 0);
    check_error(stage_try_open("s", &s), ENOENT);
    check_contains(leat_error(), "missing");
    check(setenv("LEAT_RUNTIME_DIR", "relative", 1) == 0);
    check_error(stage_try_open("s", &s), EINVAL);
    check_contains(leat_error(), "absolute");
    check(s == NULL);
}

static void another_users_directory_is_refused(void)
{
    leati_session *s = NULL;

    if (geteuid() != 0)
        leat_test_skip("only root can make another user's directory");
    stage_use_root();
    check(mkdir(stage_user_dir, 0700) == 0);
    check(chown(stage_user_dir, 65534, 65534) == 0);
    check_error(stage_try_open("s", &s), EPERM);
    check_contains(leat_error(), "another user");
    check_contains(leat_error(), "65534");
    check(chown(stage_user_dir, 0, 0) == 0);
    check(mkdir(stage_below("leat-0/s"), 0700) == 0);
    check(chown(stage_below("leat-0/s"), 65534, 65534) == 0);
    check_error(stage_try_open("s", &s), EPERM);
    check(rmdir(stage_below("leat-0/s")) == 0);
    check(rmdir(stage_user_dir) == 0);
}

static void a_session_has_a_plain_name(void)
{
    static const char *const bad[] = {
        "",    ".",  "..",       "a/b",
        "a b", "\n", "\xc3\xa4", "12345678901234567890123456789012345678901234567890123456789012345"};
    leati_session *s = NULL;
    size_t i;

    stage_use_root();
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_error(stage_try_open(bad[i], &s), EINVAL);
        check_contains(leat_error(), "not the name of a session");
    }
    check_ok(stage_try_open("...-_.A9", &s));
    check_string(leati_session_name(s), "...-_.A9");
    leati_session_close(s);
    stage_check_nothing_left();
}

/* ---- tests: peers ----------------------------------------------------------------------------------------------- */

static void a_peer_file_says_who_it_is(void)
{
    leati_session *s, *t;
    char text[2048], want[64];
    ssize_t n;
    int fd;

    stage_use_root();
    s = stage_join();
    t = stage_join();
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
    stage_check_nothing_left();
}

static void what_a_killed_process_left_goes_with_the_next_one(void)
{
    leati_session *s;
    pid_t pid;

    stage_use_root();
    pid = stage_start_victim(stage_make_segments);
    check_int(stage_count_below(), 2 + 1 + 20);
    s = stage_join(); /* disturbs nobody who lives */
    check_int(stage_count_below(), 2 + 2 + 20);
    leati_session_close(s);
    leat_test_kill(pid);
    s = stage_join();
    check_int(stage_count_below(), 2 + 1);
    leati_session_close(s);
    stage_check_nothing_left();
}

static void who_leaves_with_memory_still_read_is_reaped_by_name(void)
{
    char peer[128];
    leati_session *s, *t;

    stage_use_root();
    s = stage_join();
    t = stage_join();
    stage_make_segments(t);
    snprintf(peer, sizeof(peer), "%s", leati_session_peer(t));
    check_error(leati_session_reap(s, peer), EBUSY);
    check_error(leati_session_reap(s, leati_session_peer(s)), EBUSY);
    leati_session_leave(t);
    leati_session_close(t);
    check_int(stage_count_below(), 2 + 2 + 20);
    check_error(leati_session_reap(s, "../../x.mem.peer"), EINVAL);
    check_error(leati_session_reap(s, "1-0.other.peer"), EINVAL);
    check_ok(leati_session_reap(s, peer));
    check_int(stage_count_below(), 2 + 1);
    check_ok(leati_session_reap(s, peer)); /* gone already */
    leati_session_close(s);
    stage_check_nothing_left();
}

static void a_strangers_read_lock_is_not_life(void)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    char peer[256];
    leati_session *s, *t;
    items list;
    int fd, i;

    stage_use_root();
    s = stage_join();
    t = stage_join();
    snprintf(peer, sizeof(peer), "%s/%s", leati_session_path(t), leati_session_peer(t));
    leati_session_leave(t);
    leati_session_close(t);
    fd = open(peer, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    stage_list_all(&list);
    i = stage_find(&list, LEAT_ITEM_PEER, strrchr(peer, '/') + 1);
    check(i >= 0);
    check_int(list.at[i].state, LEAT_DEAD);
    check_ok(leati_session_reap(s, strrchr(peer, '/') + 1));
    check(!stage_exists(peer));
    close(fd);
    leati_session_close(s);
    stage_check_nothing_left();
}

static void a_forked_child_does_not_keep_its_parent_alive(void)
{
    int go[2];
    char peer[128], byte;
    leati_session *s, *t;
    leati_address *a = NULL;
    pid_t pid;

    stage_use_root();
    check(pipe2(go, O_CLOEXEC) == 0);
    s = stage_join();
    t = stage_join();
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
    stage_check_nothing_left();
}

static void a_broken_peer_file_harms_nobody(void)
{
    static char huge[70000];
    leati_session *s;
    items list;
    char text[256];
    int i;

    stage_use_root();
    s = stage_join();
    memset(huge, 'x', sizeof(huge) - 1);
    stage_make_file(stage_below("seg_victim"), "");
    stage_make_file(stage_below("leat-%u/s/1-0.mem.peer", (unsigned)geteuid()), "");
    stage_make_file(stage_below("leat-%u/s/2-0.mem.peer", (unsigned)geteuid()), huge);
    stage_make_file(
        stage_below("leat-%u/s/3-0.mem.peer", (unsigned)geteuid()),
        "leat peer 1\npid = 99999999999\nprogram = \x1b[2J\nsegment = ../seg_victim\nsegment = /etc/passwd\n"
        "segment = \nsegment\n = = \nstarted = yesterday\nsegment = seg_vic");
    snprintf(text, sizeof(text), "leat-%u/s/4-0.mem.peer", (unsigned)geteuid());
    check(mkfifo(stage_below("%s", text), 0600) == 0);
    stage_list_all(&list);
    i = stage_find(&list, LEAT_ITEM_PEER, "/3-0.mem.peer");
    check(i >= 0);
    check_int(list.at[i].pid, -1);
    check_string(list.at[i].program, "?[2J");
    check_int(list.at[i].state, LEAT_DEAD);
    i = stage_find(&list, LEAT_ITEM_SEGMENT, "seg_victim");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_UNKNOWN); /* named by nobody: half a line is none */
    leati_session_close(s);
    s = stage_join();
    check(stage_exists(stage_below("seg_victim")));
    check_int(stage_count_below(), 2 + 1 + 1 + 1); /* directories, our peer file, the fifo, the segment */
    check(unlink(stage_below("%s", text)) == 0);
    check(unlink(stage_below("seg_victim")) == 0);
    leati_session_close(s);
    stage_check_nothing_left();
}

static void another_users_segment_is_not_removed_for_a_peer_file(void)
{
    uint64_t bytes = 0;
    items list;
    int i;

    if (geteuid() != 0)
        leat_test_skip("only root can act as several users");
    stage_use_root();
    check(mkdir(stage_below("leat-65534"), 0700) == 0 && chown(stage_below("leat-65534"), 65534, 65534) == 0);
    check(mkdir(stage_below("leat-65534/s"), 0700) == 0 && chown(stage_below("leat-65534/s"), 65534, 65534) == 0);
    stage_make_file(stage_below("leat-65534/s/7-0.mem.peer"),
                    "leat peer 1\npid = 7\nsegment = seg_roots\nsegment = seg_theirs\n");
    stage_make_file(stage_below("seg_roots"), "");
    stage_make_file(stage_below("seg_theirs"), "");
    check(chown(stage_below("seg_theirs"), 65534, 65534) == 0);
    stage_list_all(&list);
    i = stage_find(&list, LEAT_ITEM_SEGMENT, "seg_roots");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_UNKNOWN);
    check_contains(list.at[i].why, "another user");
    i = stage_find(&list, LEAT_ITEM_SEGMENT, "seg_theirs");
    check(i >= 0);
    check_int(list.at[i].state, LEAT_DEAD);
    i = stage_find(&list, LEAT_ITEM_PEER, "/7-0.mem.peer");
    check(i >= 0);
    check_ok(stage_remove_item(&list, (size_t)i, 0, &bytes));
    check(stage_exists(stage_below("seg_roots")));
    check(!stage_exists(stage_below("seg_theirs")));
    check(unlink(stage_below("seg_roots")) == 0);
    stage_check_nothing_left(); /* the directories went with their last file */
}

/* ---- tests: addresses ------------------------------------------------------------------------------------------- */

static void an_address_has_one_binder(void)
{
    leati_address *a = NULL, *b = NULL;
    leati_session *s, *t;
    char want[64], name[128];

    stage_use_root();
    s = stage_join();
    t = stage_join();
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
    stage_check_nothing_left();
}

static void a_dead_binders_socket_is_removed(void)
{
    leati_address *a = NULL;
    leati_session *s;
    pid_t pid;

    stage_use_root();
    s = stage_join();
    pid = stage_start_victim(stage_bind_address);
    check(stage_exists(stage_below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    check_error(leati_address_take(s, "data", &a), EADDRINUSE);
    check(stage_exists(stage_below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    leat_test_kill(pid);
    check_ok(leati_address_take(s, "data", &a));
    check(!stage_exists(stage_below("leat-%u/s/data.mem.sock", (unsigned)geteuid())));
    leati_address_release(a);
    leati_session_close(s);
    s = stage_join(); /* the victim's peer file */
    leati_session_close(s);
    stage_check_nothing_left();
}

/* ---- tests: list and remove ------------------------------------------------------------------------------------- */

static void bind_and_make(leati_session *s)
{
    stage_bind_address(s);
    check_ok(leati_session_note_segment(s, "seg_of_victim"));
    stage_make_file(stage_below("seg_of_victim"), "memory");
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

    stage_use_root();
    pid = stage_start_victim(bind_and_make);
    stage_make_file(stage_below("seg_orphan"), "");
    stage_make_file(stage_below("seg_from_boot_before_boot"), "");
    check(mkdir(stage_below("leat-%u/empty", (unsigned)geteuid()), 0700) == 0);

    stage_list_all(&list);
    check_int(list.n, 6);
    for (i = 0; i < 3; i++) {
        at = stage_find(&list, kinds[i], names[i]);
        check(at >= 0);
        check_int(list.at[at].state, LEAT_ALIVE);
        check_int(list.at[at].pid, pid);
        check_string(list.at[at].session, "s");
        check_error(stage_remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
        check_contains(leat_error(), "(tester)");
        check_error(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes), EBUSY);
    }
    at = stage_find(&list, LEAT_ITEM_SEGMENT, "seg_orphan");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_UNKNOWN);
    check_contains(list.at[at].why, "no peer file");
    check_error(stage_remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
    check_ok(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE | LEAT_REMOVE_DRY_RUN, &bytes));
    check(stage_exists(stage_below("seg_orphan")));
    check_ok(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes));
    check_error(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes), ESTALE);
    at = stage_find(&list, LEAT_ITEM_SEGMENT, "seg_from_boot_before_boot");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_DEAD);
    check_ok(stage_remove_item(&list, (size_t)at, 0, &bytes));
    at = stage_find(&list, LEAT_ITEM_DIRECTORY, "empty");
    check(at >= 0);
    check_string(list.at[at].transport, "session");
    check_int(list.at[at].state, LEAT_DEAD);
    check_ok(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes));
    check_ok(stage_remove_item(&list, (size_t)at, 0, &bytes));
    check_error(stage_remove_item(&list, (size_t)at, 0, &bytes), ESTALE);

    leat_test_kill(pid);
    stage_list_all(&list);
    check_int(list.n, 3);
    for (i = 0; i < 3; i++) {
        at = stage_find(&list, kinds[i], names[i]);
        check(at >= 0);
        check_int(list.at[at].state, LEAT_DEAD);
        check(list.at[at].why[0] != '\0');
        bytes = 0;
        check_ok(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_DRY_RUN, &bytes));
        check_ok(stage_remove_item(&list, (size_t)at, 0, &bytes));
        check(i > 0 || bytes == 4096);
        check_error(stage_remove_item(&list, (size_t)at, 0, &bytes), ESTALE);
    }
    stage_check_nothing_left();
}

static void a_stopped_process_is_alive(void)
{
    uint64_t bytes;
    items list;
    char comm[32] = "";
    pid_t pid;
    int fd, status, at;

    stage_use_root();
    /* The name in the peer file must be the process's for it to be shown as stopped. */
    fd = open("/proc/self/comm", O_RDWR | O_CLOEXEC);
    check(fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0 && write(fd, "tester", 6) == 6);
    close(fd);
    pid = stage_start_victim(NULL);
    check(kill(pid, SIGSTOP) == 0);
    check(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    stage_list_all(&list);
    at = stage_find(&list, LEAT_ITEM_PEER, "-0.mem.peer");
    check(at >= 0);
    check_int(list.at[at].state, LEAT_STOPPED);
    check_error(stage_remove_item(&list, (size_t)at, 0, &bytes), EBUSY);
    leat_test_kill(pid);
    stage_list_all(&list);
    check_int(list.n, 1);
    check_ok(stage_remove_item(&list, 0, 0, &bytes));
    stage_check_nothing_left();
}

static void force_removes_what_lives(void)
{
    uint64_t bytes = 0;
    leati_session *s;
    items list;
    int at;

    stage_use_root();
    s = stage_join();
    stage_make_segments(s);
    stage_list_all(&list);
    at = stage_find(&list, LEAT_ITEM_PEER, "-0.mem.peer");
    check(at >= 0);
    check_ok(stage_remove_item(&list, (size_t)at, LEAT_REMOVE_FORCE, &bytes));
    check(bytes >= 20 * 4096);
    stage_check_nothing_left();
    leati_session_close(s);
    stage_check_nothing_left();
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
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
