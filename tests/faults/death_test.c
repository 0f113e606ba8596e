/* SPDX-License-Identifier: MIT
 *
 * death_test.c - what a dead process leaves, and who sees that it is dead: the only process of a session killed, a zombie,
 * a child of fork() that lives on, a process that is only stopped. On posix-shm; looks at /dev/shm from outside.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <leat/admin.h>

#include "../conformance/conformance.h"

#define PLENTY 50

/* Everything of the test's session in /dev/shm: segments, peer files, sockets, locks. */
static int names_left(void)
{
    char shmid[9], prefix[32], path[256];
    int count = 0;
    check_ok(leat_admin_shmid(getuid(), leat_test_session(), shmid));
    snprintf(prefix, sizeof(prefix), "leat_%s_", shmid);
    snprintf(path, sizeof(path), "/dev/shm/leat-%u/%s", (unsigned)getuid(), leat_test_session());
    DIR *dir = opendir("/dev/shm");
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    if ((dir = opendir(path)) != NULL) {
        for (struct dirent *entry; (entry = readdir(dir));)
            count += entry->d_name[0] != '.';
        closedir(dir);
    }
    return count;
}

static void wait_names_left(int wanted)
{
    for (int64_t until = conf_now_ns() + SOON_MS * INT64_C(1000000); names_left() != wanted; conf_pause_ms(2))
        if (conf_now_ns() > until)
            fail_test("%d names in /dev/shm, not %d", names_left(), wanted);
}

/* ---- the only process -------------------------------------------------------------------------------------------- */

/* Opens a channel at `arg`, allocates, tells, and waits to be killed or told to end. */
static void lonely(int fd, void *arg)
{
    leat_msg msg;
    leat_config *cfg = conf_config();
    conf_sender(cfg, "data", "bind", arg, "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_make(tx, 3 << 20, 1, &msg);
    conf_tell(fd, 'o');
    conf_hear(fd, 'e');
    leat_msg_close(&msg);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static char place[] = "place", elsewhere[] = "elsewhere";

static void the_next_start_removes_what_is_left(void)
{
    check_int(names_left(), 0);
    for (int round = 0; round < 20; round++) {
        conf_process p = conf_start(lonely, place);
        conf_hear(p.fd, 'o');
        int alive = names_left();
        check(alive >= 3); /* segment, peer file, address */
        conf_kill(&p);
        check_int(names_left(), alive); /* nobody was there to clean up */
        /* The same address in one round, another one in the next. */
        p = conf_start(lonely, round % 2 ? place : elsewhere);
        conf_hear(p.fd, 'o');
        wait_names_left(alive);
        conf_tell(p.fd, 'e');
        conf_finish(&p);
        check_int(names_left(), 0);
    }
}

typedef struct removal {
    int dead, alive, removed, busy;
    bool force;
    leat_admin *admin;
} removal;

static int remove_item(const leat_item *item, void *user)
{
    removal *r = user;
    uint64_t bytes = 0;
    if (item->kind == LEAT_ITEM_SEGMENT) {
        r->dead += item->state == LEAT_DEAD;
        r->alive += item->state == LEAT_ALIVE;
    }
    int removed = leat_admin_remove(r->admin, item, 0, &bytes);
    r->removed += removed == 0 && item->kind == LEAT_ITEM_SEGMENT;
    r->busy += removed == -EBUSY && item->kind == LEAT_ITEM_SEGMENT;
    return 0;
}

static removal clean(void)
{
    removal r = {0};
    leat_config *cfg = leat_test_config();
    leat_admin_options options = {.session = leat_test_session(), .uid = getuid()};
    check_ok(leat_admin_new(cfg, &options, &r.admin));
    check_ok(leat_admin_list(r.admin, remove_item, &r));
    leat_admin_free(r.admin);
    leat_config_free(cfg);
    return r;
}

static void cleaning_removes_the_dead_and_nobody_else(void)
{
    conf_process living = conf_start(lonely, place), mortal = conf_start(lonely, elsewhere);
    conf_hear(living.fd, 'o');
    conf_hear(mortal.fd, 'o');
    removal r = clean();
    check_int(r.alive, 2);
    check_int(r.busy, 2);
    check_int(r.removed, 0);
    /* Stopped, it is alive, and nobody is left who might reap the other one. */
    check(kill(living.pid, SIGSTOP) == 0);
    conf_kill(&mortal);
    r = clean();
    check_int(r.dead, 1);
    check_int(r.removed, 1);
    check_int(r.busy, 1);
    check(kill(living.pid, SIGCONT) == 0);
    conf_tell(living.fd, 'e');
    conf_finish(&living);
    clean(); /* the address of the dead one */
    wait_names_left(0);
}

/* ---- who is dead, and who is not --------------------------------------------------------------------------------- */

static void sender_of_plenty(int fd, void *arg)
{
    const char *keys = arg;
    leat_config *cfg = conf_config();
    conf_sender(cfg, "data", "connect", place, keys ? keys : "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_linked(tx, 1);
    for (uint64_t i = 0; i < PLENTY; i++)
        conf_send(tx, i % 2 ? 40 : 40000, i);
    conf_tell(fd, 's');
    conf_hear(fd, 'e');
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void receive_plenty(leat_channel *rx)
{
    for (uint64_t i = 0; i < PLENTY; i++)
        conf_recv(rx, i % 2 ? 40 : 40000, i);
}

/* A receiver that says what it met: 'o' open, 'd' -ECONNRESET after all messages. */
static void receiver_until_death(int fd, void *arg)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_config *cfg = conf_config();
    (void)arg;
    conf_receiver(cfg, "data", "bind", place, "at_end=finish");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    conf_tell(fd, 'o');
    receive_plenty(rx);
    check_error(leat_recv(rx, &msg, SOON_MS), ECONNRESET);
    conf_tell(fd, 'd');
    conf_hear(fd, 'e');
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

static void a_zombie_is_dead(void)
{
    int status;
    conf_process receiver = conf_start(receiver_until_death, NULL);
    conf_hear(receiver.fd, 'o');
    int own = names_left();
    conf_process sender = conf_start(sender_of_plenty, NULL);
    conf_hear(sender.fd, 's');
    check(kill(sender.pid, SIGKILL) == 0);
    conf_hear(receiver.fd, 'd'); /* while we have not waited for it */
    wait_names_left(own);        /* and the survivor has cleaned up after it */
    check(kill(sender.pid, 0) == 0);
    check(waitpid(sender.pid, &status, 0) == sender.pid);
    close(sender.fd);
    conf_tell(receiver.fd, 'e');
    conf_finish(&receiver);
    check_int(names_left(), 0);
}

/* A sender that has a child, made by fork() without exec, which outlives it. */
static void parent_of_a_child(int fd, void *arg)
{
    pid_t *ret_child = arg;
    leat_config *cfg = conf_config();
    conf_sender(cfg, "data", "connect", place, "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_linked(tx, 1);
    pid_t child = fork();
    check(child >= 0);
    if (child > 0)
        *ret_child = child; /* the mapping is the child's too */
    if (child == 0) {
        close(fd);
        for (;;)
            pause();
    }
    for (uint64_t i = 0; i < PLENTY; i++)
        conf_send(tx, i % 2 ? 40 : 40000, i);
    conf_tell(fd, 's');
    conf_hear(fd, 'e');
}

static void a_child_of_fork_does_not_keep_its_parent_alive(void)
{
    pid_t *child = conf_shared(sizeof(*child));
    conf_process receiver = conf_start(receiver_until_death, NULL);
    conf_hear(receiver.fd, 'o');
    int own = names_left();
    conf_process sender = conf_start(parent_of_a_child, child);
    conf_hear(sender.fd, 's');
    conf_kill(&sender);
    conf_hear(receiver.fd, 'd');
    wait_names_left(own);
    check(kill(*child, 0) == 0); /* it still lives */
    check(kill(*child, SIGKILL) == 0);
    conf_tell(receiver.fd, 'e');
    conf_finish(&receiver);
    check_int(names_left(), 0);
}

/* ---- stopped ----------------------------------------------------------------------------------------------------- */

#define STOP_MS 10000

static void receiver_that_is_stopped(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)arg;
    conf_receiver(cfg, "data", "bind", place, "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    conf_tell(fd, 'o');
    receive_plenty(rx);
    conf_tell(fd, 'r'); /* and is stopped here, linked */
    conf_hear(fd, 'g');
    receive_plenty(rx);
    conf_recv(rx, 100, 100);
    conf_tell(fd, 'a');
    conf_hear(fd, 'e');
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

/* Against a stopped receiver: sends what its lane takes, then waits, and nothing is taken back. */
static void sender_to_the_stopped(int fd, void *arg)
{
    leat_stats stats;
    leat_msg msg;
    leat_config *cfg = conf_config();
    (void)arg;
    conf_sender(cfg, "data", "connect", place, "queue=64; queue_bytes=4M");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_linked(tx, 1);
    for (uint64_t i = 0; i < PLENTY; i++)
        conf_send(tx, i % 2 ? 40 : 40000, i);
    conf_hear(fd, 'f'); /* it is stopped now */
    for (uint64_t i = 0; i < PLENTY; i++)
        conf_send(tx, i % 2 ? 40 : 40000, i);
    conf_make(tx, 5 << 20, 1, &msg);
    for (int64_t until = conf_now_ns() + STOP_MS * INT64_C(1000000); conf_now_ns() < until;) {
        check_error(leat_send(tx, &msg, 500), EAGAIN);
        check_int(leat_channel_peers(tx), 1);
        check_ok(leat_channel_stats(tx, &stats));
        check_int(stats.queued, PLENTY);
        check_int(stats.redelivered, 0);
    }
    leat_msg_close(&msg);
    conf_tell(fd, 's');
    conf_send(tx, 100, 100); /* goes on when the other does */
    conf_hear(fd, 'e');
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void a_stopped_process_is_waited_for(void)
{
    conf_process receiver = conf_start(receiver_that_is_stopped, NULL);
    conf_hear(receiver.fd, 'o');
    conf_process sender = conf_start(sender_to_the_stopped, NULL);
    conf_hear(receiver.fd, 'r');
    int names = names_left();
    check(kill(receiver.pid, SIGSTOP) == 0);
    conf_tell(sender.fd, 'f');
    conf_hear(sender.fd, 's');
    check_int(names_left(), names);
    check(kill(receiver.pid, SIGCONT) == 0);
    conf_tell(receiver.fd, 'g');
    conf_hear(receiver.fd, 'a');
    conf_tell(sender.fd, 'e');
    conf_finish(&sender);
    conf_tell(receiver.fd, 'e');
    conf_finish(&receiver);
    check_int(names_left(), 0);
}

int main(int argc, char **argv)
{
    static const leat_test tests[] = {
        {.name = "what the only process leaves when it is killed is removed by the next start",
         .run = the_next_start_removes_what_is_left},
        {.name = "cleaning removes what the dead left, and nothing of the living or the stopped",
         .run = cleaning_removes_the_dead_and_nobody_else},
        {.name = "a zombie that nobody has waited for is dead", .run = a_zombie_is_dead},
        {.name = "a child of fork() does not keep its parent alive",
         .run = a_child_of_fork_does_not_keep_its_parent_alive},
        {.name = "a process stopped for 10 s is waited for, and nothing else happens",
         .run = a_stopped_process_is_waited_for},
        {.name = NULL},
    };
    conf = (conf_suite){.transport = "posix-shm", .claims = ~0u, .sends = "push", .receives = "pull"};
    return leat_test_main(tests, argc, argv);
}
