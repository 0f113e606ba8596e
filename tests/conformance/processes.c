/* SPDX-License-Identifier: MIT
 *
 * processes.c - conformance: partners that come in any order, go, and come back; and the child of fork(), which has no
 * part in its parent's channels. Knows leat.h only.
 */
#include <sys/wait.h>

#include "conformance.h"

#define EACH 100 /* messages between two commands */

/* A process that opens one channel and does as it is told: 's' sends, 'r' receives, 'e' ends. */
typedef struct role {
    bool sends;
    const char *method;
} role;

static void obey(int fd, void *arg)
{
    const role *r = arg;
    uint64_t seed = 0;
    leat_config *cfg = conf_config();
    (r->sends ? conf_sender : conf_receiver)(cfg, "data", r->method, "place", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *ch = conf_open(ctx, "data");
    conf_tell(fd, 'o'); /* open */
    for (;;) {
        char word;
        check(read(fd, &word, 1) == 1);
        if (word == 'e')
            break;
        if (word == 'l')
            conf_linked(ch, 1);
        else if (word == 'u') /* unlinked: the partner is gone */
            conf_unlinked(ch);
        else if (word == '0')
            seed = 0;
        else
            for (int i = 0; i < EACH; i++, seed++)
                (word == 's' ? conf_send : conf_recv)(ch, seed % 9 ? 40 : 9000, seed);
        conf_tell(fd, word);
    }
    leat_channel_close(ch);
    leat_ctx_free(ctx);
}

static void tell_and_hear(conf_process *p, char word)
{
    conf_tell(p->fd, word);
    conf_hear(p->fd, word);
}

static conf_process start_open(role *r)
{
    conf_process p = conf_start(obey, r);
    conf_hear(p.fd, 'o');
    return p;
}

static void end(conf_process *p)
{
    conf_tell(p->fd, 'e');
    conf_finish(p);
}

static void connecting_before_binding(void)
{
    for (int sender_binds = 0; sender_binds < 2; sender_binds++) {
        role binder = {.sends = sender_binds, .method = "bind"}, connecter = {!sender_binds, "connect"};
        conf_process first = start_open(&connecter);
        conf_pause_ms(50); /* it has tried in vain by now */
        conf_process second = start_open(&binder);
        conf_process *tx = sender_binds ? &second : &first, *rx = sender_binds ? &first : &second;
        tell_and_hear(tx, 'l');
        tell_and_hear(rx, 'l');
        tell_and_hear(tx, 's');
        tell_and_hear(rx, 'r');
        end(&first);
        end(&second);
    }
}

static void binder_restarts(bool sender_binds, bool by_kill)
{
    role binder = {.sends = sender_binds, .method = "bind"}, connecter = {!sender_binds, "connect"};
    conf_process staying = start_open(&connecter);
    for (int life = 0; life < 4; life++) {
        conf_process mortal = start_open(&binder);
        conf_process *tx = sender_binds ? &mortal : &staying, *rx = sender_binds ? &staying : &mortal;
        tell_and_hear(&staying, 'l');
        tell_and_hear(&mortal, 'l');
        tell_and_hear(&staying, '0');
        tell_and_hear(tx, 's');
        tell_and_hear(rx, 'r');
        if (by_kill)
            conf_kill(&mortal);
        else
            end(&mortal);
        tell_and_hear(&staying, 'u');
    }
    end(&staying);
}

static void the_binder_restarts_in_order(void)
{
    binder_restarts(true, false);
    binder_restarts(false, false);
}

static void the_binder_is_killed_and_restarts(void)
{
    binder_restarts(true, true);
    binder_restarts(false, true);
}

static void the_connecter_restarts(void)
{
    for (int by_kill = 0; by_kill < 2; by_kill++) {
        role binder = {.sends = true, .method = "bind"}, connecter = {.sends = false, .method = "connect"};
        conf_process staying = start_open(&binder);
        for (int life = 0; life < 4; life++) {
            conf_process mortal = start_open(&connecter);
            tell_and_hear(&staying, 'l');
            tell_and_hear(&mortal, 'l');
            tell_and_hear(&staying, '0');
            tell_and_hear(&staying, 's');
            tell_and_hear(&mortal, 'r');
            if (by_kill)
                conf_kill(&mortal);
            else
                end(&mortal);
            tell_and_hear(&staying, 'u');
        }
        end(&staying);
    }
}

/* In the child of fork(), with everything that the parent has open. */
static int child_of_fork(conf_ends *e, leat_msg *held, leat_poller *poller)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_event event;
    leat_stats stats;
    leat_channel *ch;
    if (leat_send(e->tx, held, 0) != -ECHILD)
        return 2;
    if (leat_recv(e->rx, &msg, 0) != -ECHILD)
        return 3;
    if (leat_recv_parts(e->rx, &msg, 1, 100) != -ECHILD)
        return 4;
    if (leat_msg_alloc(e->tx, 10, 0, &msg) != -ECHILD)
        return 5;
    if (leat_msg_alloc(e->tx, 100000, 0, &msg) != -ECHILD)
        return 6;
    if (leat_channel_wait_peers(e->tx, 1, 0) != -ECHILD)
        return 7;
    if (leat_poller_wait(poller, &event, 1, 0) != -ECHILD)
        return 8;
    if (leat_channel_open(e->ctx, "tx", &ch) != -ECHILD)
        return 9;
    if (leat_channel_stats(e->tx, &stats) != -ECHILD)
        return 10;
    if (leat_channel_arm(e->rx, LEAT_IN) != -ECHILD)
        return 11;
    /* Letting go is allowed, and lets go of nothing of the parent's. */
    leat_msg_close(held);
    leat_poller_free(poller);
    leat_channel_close(e->tx);
    leat_channel_close(e->rx);
    leat_ctx_free(e->ctx);
    return 0;
}

static void the_child_of_fork_gets_ECHILD(void)
{
    leat_msg own, received = LEAT_MSG_INIT;
    leat_poller *poller;
    conf_ends e;
    int status;
    conf_ends_open(&e, conf_config(), "", "");
    check_ok(leat_poller_new(e.ctx, &poller));
    conf_make(e.tx, 50000, 1, &own);
    conf_send(e.tx, 60000, 2);
    check_ok(leat_recv(e.rx, &received, SOON_MS));
    conf_send(e.tx, 70000, 3); /* and one unread */
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        check(pid >= 0);
        if (pid == 0)
            _exit(child_of_fork(&e, i == 0 ? &own : &received, poller));
        check(waitpid(pid, &status, 0) == pid);
        check(WIFEXITED(status));
        check_int(WEXITSTATUS(status), 0);
    }
    /* The parent notices nothing. */
    conf_verify(&own, 50000, 1);
    conf_verify(&received, 60000, 2);
    leat_msg_close(&received);
    conf_recv(e.rx, 70000, 3);
    check_ok(leat_send(e.tx, &own, SOON_MS));
    conf_recv(e.rx, 50000, 1);
    for (uint64_t i = 0; i < 1000; i++) {
        conf_send(e.tx, i * 7, i);
        conf_recv(e.rx, i * 7, i);
    }
    leat_poller_free(poller);
    conf_ends_close(&e);
}

CONF_BOTH(connecting_before_binding, CONF_PROCESSES | CONF_REJOIN)
CONF_BOTH(the_binder_restarts_in_order, CONF_PROCESSES | CONF_REJOIN)
CONF_BOTH(the_binder_is_killed_and_restarts, CONF_PROCESSES | CONF_REJOIN)
CONF_BOTH(the_connecter_restarts, CONF_PROCESSES | CONF_REJOIN)
CONF_PUSH(the_child_of_fork_gets_ECHILD, 0)

const leat_test conf_processes[] = {
    IN_BOTH("connecting before anybody binds works", connecting_before_binding),
    IN_BOTH("the partner of a binder that ends and restarts goes on", the_binder_restarts_in_order),
    IN_BOTH("the partner of a binder that is killed and restarts goes on", the_binder_is_killed_and_restarts),
    IN_BOTH("the partner of a connecter that restarts goes on", the_connecter_restarts),
    IN_PUSH("the child of fork() gets -ECHILD and its parent notices nothing", the_child_of_fork_gets_ECHILD),
    {.name = NULL},
};
