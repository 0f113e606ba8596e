/* SPDX-License-Identifier: MIT
 *
 * errors.c - conformance: what cannot be is refused with the right number and a sentence that helps, and leaves the
 * rest working. Knows leat.h only.
 */
#include <stdatomic.h>

#include "conformance.h"

static void a_bound_address_is_refused(void)
{
    leat_config *cfg = conf_config();
    leat_channel *second;
    conf_sender(cfg, "one", "bind", "same", "");
    conf_sender(cfg, "two", "bind", "same", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *first = conf_open(ctx, "one");
    check_error(leat_channel_open(ctx, "two", &second), EADDRINUSE);
    check_contains(leat_error(), "same");

    cfg = conf_config();
    conf_receiver(cfg, "three", "bind", "/same", ""); /* the leading / is dropped */
    leat_ctx *other = conf_join(cfg);
    check_error(leat_channel_open(other, "three", &second), EADDRINUSE);
    check_contains(leat_error(), "same");

    leat_channel_close(first); /* and is free again when its binder closes */
    second = conf_open(ctx, "two");
    leat_channel_close(second);
    second = conf_open(other, "three");
    leat_channel_close(second);
    leat_ctx_free(ctx);
    leat_ctx_free(other);
}

static void binder(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)arg;
    conf_sender(cfg, "data", "bind", "same", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *ch = conf_open(ctx, "data");
    conf_tell(fd, 'b');
    conf_hear(fd, 'e');
    leat_channel_close(ch);
    leat_ctx_free(ctx);
}

static void another_processs_address_is_refused(void)
{
    conf_process p = conf_start(binder, NULL);
    leat_channel *ch;
    char pid[16];
    conf_hear(p.fd, 'b');
    leat_config *cfg = conf_config();
    conf_sender(cfg, "data", "bind", "same", "");
    leat_ctx *ctx = conf_join(cfg);
    check_error(leat_channel_open(ctx, "data", &ch), EADDRINUSE);
    snprintf(pid, sizeof(pid), "%d", (int)p.pid);
    check_contains(leat_error(), pid); /* by whom */
    conf_tell(p.fd, 'e');
    conf_finish(&p);
    ch = conf_open(ctx, "data");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
}

static void the_wrong_direction_is_refused(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_error(leat_recv(e.tx, &msg, 100), ENOTSUP);
    check_contains(leat_error(), "push");
    check_error(leat_recv_parts(e.tx, &msg, 1, -1), ENOTSUP);
    check_ok(leat_msg_alloc(e.tx, 10, 0, &msg));
    check_error(leat_send(e.rx, &msg, 100), ENOTSUP);
    check_contains(leat_error(), "pull");
    check_int(leat_msg_size(&msg), 10);
    check_error(leat_send_parts(e.rx, &msg, 1, 100), ENOTSUP);
    leat_msg_close(&msg);
    conf_send(e.tx, 5, 5);
    conf_recv(e.rx, 5, 5);
    conf_ends_close(&e);
}

static void no_parts_are_refused(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_error(leat_send_parts(e.tx, NULL, 0, 100), EINVAL);
    conf_ends_close(&e);
}

static void an_unknown_section_is_refused(void)
{
    leat_config *cfg = conf_config();
    leat_channel *ch;
    conf_sender(cfg, "known", "bind", "known", "");
    leat_ctx *ctx = conf_join(cfg);
    check_error(leat_channel_open(ctx, "unknown", &ch), ENOENT);
    check_contains(leat_error(), "unknown");
    leat_ctx_free(ctx);
}

static void a_pair_has_one_peer(void)
{
    leat_config *cfg = conf_config();
    conf.sends = conf.receives = "pair";
    conf_sender(cfg, "b", "bind", "duo", "");
    conf_receiver(cfg, "first", "connect", "duo", "");
    conf_receiver(cfg, "second", "connect", "duo", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *b = conf_open(ctx, "b"), *first = conf_open(ctx, "first");
    conf_linked(b, 1);
    conf_linked(first, 1);
    leat_channel *second = conf_open(ctx, "second");
    int r = leat_channel_wait_peers(second, 1, 300);
    check(r < 0);
    check_int(leat_channel_peers(b), 1);
    for (uint64_t i = 0; i < 20; i++) { /* all for the first, both ways */
        conf_send(b, 100, i);
        conf_recv(first, 100, i);
        conf_send(first, 5000, i);
        conf_recv(b, 5000, i);
    }
    leat_channel_close(second);
    leat_channel_close(first);
    leat_channel_close(b);
    leat_ctx_free(ctx);
}

static atomic_int log_lines; /* that name both patterns */

static void count_line(leat_log_level level, const char *line, void *user)
{
    (void)user;
    if (level <= LEAT_LOG_WARNING && strstr(line, "push") && strstr(line, "pair"))
        atomic_fetch_add(&log_lines, 1);
}

/* push meets pair: who connects is told why it is refused, and so is the log; who binds waits for a better partner. */
static void the_wrong_partner_is_refused(void)
{
    leat_config *cfg = conf_config();
    leat_msg msg = LEAT_MSG_INIT;
    conf.sends = "push";
    conf.receives = "pair";
    conf_sender(cfg, "tx", "bind", "mixed", "");
    conf_receiver(cfg, "rx", "connect", "mixed", "");
    leat_log_to(count_line, NULL);
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "tx"), *rx = conf_open(ctx, "rx");
    check_error(leat_channel_wait_peers(rx, 1, SOON_MS), EPROTOTYPE);
    check_contains(leat_error(), "rx");
    check_contains(leat_error(), "push");
    check_contains(leat_error(), "pair");
    check_error(leat_recv(rx, &msg, SOON_MS), EPROTOTYPE);
    conf_make(rx, 10, 1, &msg);
    check_error(leat_send(rx, &msg, SOON_MS), EPROTOTYPE);
    conf_verify(&msg, 10, 1);
    check(atomic_load(&log_lines) > 0);
    check_error(leat_channel_wait_peers(tx, 1, 100), EAGAIN);
    leat_msg_close(&msg);
    leat_channel_close(rx);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void a_right_partner_makes_good(void)
{
    leat_config *cfg = conf_config();
    conf.sends = "push";
    conf.receives = "pair";
    conf_sender(cfg, "tx", "bind", "mixed", "");
    conf_receiver(cfg, "wrong", "connect", "mixed", "");
    conf.receives = "pull";
    conf_receiver(cfg, "right", "connect", "mixed", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "tx"), *wrong = conf_open(ctx, "wrong");
    check_error(leat_channel_wait_peers(wrong, 1, SOON_MS), EPROTOTYPE);
    leat_channel *right = conf_open(ctx, "right");
    conf_linked(right, 1);
    conf_linked(tx, 1);
    for (uint64_t i = 0; i < 20; i++) {
        conf_send(tx, 100, i);
        conf_recv(right, 100, i);
    }
    leat_channel_close(wrong);
    leat_channel_close(right);
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

CONF_PUSH(a_bound_address_is_refused, CONF_ADDRESSES | CONF_THREADS)
CONF_PUSH(another_processs_address_is_refused, CONF_ADDRESSES | CONF_PROCESSES)
CONF_PUSH(the_wrong_direction_is_refused, 0)
CONF_PUSH(no_parts_are_refused, 0)
CONF_PUSH(an_unknown_section_is_refused, 0)
CONF_PUSH(a_pair_has_one_peer, CONF_PAIR | CONF_THREADS)
CONF_PUSH(the_wrong_partner_is_refused, CONF_PAIR | CONF_REFUSALS)
CONF_PUSH(a_right_partner_makes_good, CONF_PAIR | CONF_REFUSALS)

const leat_test conf_errors[] = {
    IN_PUSH("a bound address gives -EADDRINUSE until its binder closes", a_bound_address_is_refused),
    IN_PUSH("an address bound by another process gives -EADDRINUSE, saying by whom",
            another_processs_address_is_refused),
    IN_PUSH("recv on push and send on pull give -ENOTSUP", the_wrong_direction_is_refused),
    IN_PUSH("a message of no parts gives -EINVAL", no_parts_are_refused),
    IN_PUSH("a channel without a section gives -ENOENT", an_unknown_section_is_refused),
    IN_PUSH("a pair has one peer, a second one does not get in", a_pair_has_one_peer),
    IN_PUSH("push linked to pair is refused, and who connects and the log are told why", the_wrong_partner_is_refused),
    IN_PUSH("after a wrong partner a right one works", a_right_partner_makes_good),
    {.name = NULL},
};
