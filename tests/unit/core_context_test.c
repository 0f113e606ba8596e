/* SPDX-License-Identifier: MIT
 *
 * core_context_test.c - contexts and channels from opening to freeing: what an address means, each mistake's sentence, the
 * transports joined once, everything closed with the context, and fork(). The transports are scripted.
 */
#include "runtime_support.h"

#include <stdio.h>
#include <unistd.h>

/* Opening a channel with these keys fails so, with these words; nothing stays open. */
static void refuse(const char *keys, int error, const char *words)
{
    leat_config *cfg = rt_config();
    rt_keys(cfg, "channel c", keys);
    leat_ctx *ctx = rt_join(cfg);
    leat_channel *ch = NULL;
    check_error(leat_channel_open(ctx, "c", &ch), error);
    check_contains(leat_error(), words);
    check(ch == NULL);
    leat_ctx_free(ctx);
    scripted *script = rt_script("scripted");
    check_int(script->opened, script->closed);
    check_int(script->attached, script->detached);
}

static void each_mistake_in_a_section_has_its_sentence(void)
{
    leat_ctx *ctx = rt_join(rt_config());
    leat_channel *ch = NULL;
    check_error(leat_channel_open(ctx, "data", &ch), ENOENT);
    check_contains(leat_error(), "no section [channel data]");
    leat_ctx_free(ctx);
    refuse("type=push;method=bind;transport=scripted", EINVAL, "[channel c] has no address");
    refuse("address=a;method=bind;transport=scripted", EINVAL, "[channel c] has no type");
    refuse("type=push;address=a;transport=scripted", EINVAL, "[channel c] has no method");
    refuse("type=push;address=a b;method=bind;transport=scripted", EINVAL, "\"a b\" is neither a plain name");
    refuse("type=push;address=a/b;method=bind;transport=scripted", EINVAL, "\"a/b\" is neither a plain name");
    refuse("type=push;address=/;method=bind;transport=scripted", EINVAL, "is neither a plain name");
    refuse("type=push;address=://x;method=bind;transport=scripted", EINVAL, "has no scheme");
    refuse("type=push;address=a, a;method=bind;transport=scripted", EINVAL, "a stands there twice");
    refuse("type=pub;address=a;method=bind;transport=scripted", ENOTSUP, "does not carry the pattern pub");
    refuse("type=push;address=a;method=bind;transport=nosuch", ENOENT, "nosuch");
    refuse("type=push;address=nosuch://a;method=bind;transport=scripted", ENOENT, "nosuch");
    refuse("type=push;address=a;method=bind;transport=scripted, nosuch", ENOENT, "nosuch");
}

static void failures_of_the_transport_are_passed_on_and_leave_nothing(void)
{
    static const char keys[] = "type=push;method=bind;address=a, b;transport=scripted";
    scripted *script = rt_script("scripted");
    script->probe_error = EPERM;
    refuse(keys, EPERM, "told not to work here");
    script->probe_error = 0;
    script->attach_error = ENOSPC;
    refuse(keys, ENOSPC, "told not to join");
    script->attach_error = 0;
    script->open_error = EMFILE;
    refuse(keys, EMFILE, "told not to open");
    script->open_error = 0;
    script->bind_error = EADDRINUSE;
    refuse(keys, EADDRINUSE, "told not to bind");
    rt_clean();
}

static void addresses_go_to_the_transports_that_they_mean(void)
{
    leat_ctx *ctx = NULL;
    scripted *one = rt_script("scripted"), *two = rt_script("scripted-two");
    leat_channel *ch = rt_channel("push", "address=/plain.name_1-x", &ctx);
    check_string(one->address, "plain.name_1-x");
    check_int(one->bound, 1);
    leat_channel_close(ch);
    leat_ctx_free(ctx);

    ch = rt_channel("push", "method=connect;address=a, b, script2://host:1/x", &ctx);
    check_int(one->connected, 2);
    check_int(one->opened, 2); /* one port for all its addresses */
    check_int(two->connected, 1);
    check_int(two->opened, 1);
    check_string(two->address, "script2://host:1/x");
    leat_channel_close(ch);
    leat_ctx_free(ctx);

    /* A list serves every transport that works here. */
    ch = rt_channel("push", "transport=scripted, scripted-two;address=both", &ctx);
    check_string(one->address, "both");
    check_string(two->address, "both");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    int before = one->opened;
    one->probe_error = EPERM;
    ch = rt_channel("push", "transport=scripted, scripted-two;address=rest", &ctx);
    check_int(one->opened, before);
    check_string(two->address, "rest");
    leat_channel_close(ch);
    leat_ctx_free(ctx);
    two->probe_error = EPERM;
    refuse("type=push;method=bind;address=a;transport=scripted, scripted-two", ENOTSUP, "none of its transports works");
    rt_clean();
}

static char logged[4096];
static void keep_log(leat_log_level level, const char *line, void *user)
{
    (void)level, (void)user;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof(logged) - used, "%s\n", line);
}

static void the_log_says_what_was_chosen_and_why(void)
{
    leat_log_to(keep_log, NULL);
    leat_config *cfg = rt_config();
    rt_keys(cfg, "leat", "log_level=info");
    rt_keys(cfg, "channel c", "type=push;method=bind;address=a, script2://b;transport=scripted, scripted-two");
    rt_script("scripted")->probe_error = EPERM;
    leat_ctx *ctx = rt_join(cfg);
    leat_channel_close(rt_open(ctx, "c"));
    check_contains(logged, "channel c: not by scripted: scripted: told not to work here");
    check_contains(logged, "channel c: binds a by scripted-two");
    check_contains(logged, "script2://b by scripted-two, which answers to script2://");
    leat_ctx_free(ctx);
    leat_log_to(NULL, NULL);
}

static void a_transport_is_joined_once_per_context_on_first_use(void)
{
    leat_config *cfg = rt_config();
    scripted *script = rt_script("scripted");
    rt_keys(cfg, "channel a", "type=push;method=bind;address=a;transport=scripted;script_flavour=sweet");
    rt_keys(cfg, "channel b", "type=pull;method=bind;address=b;transport=scripted");
    rt_keys(cfg, "transport scripted", "heap_size=2M");
    leat_ctx *ctx = rt_join(cfg);
    check_int(script->attached, 0);
    leat_channel *a = rt_open(ctx, "a"), *b = rt_open(ctx, "b");
    check_int(script->attached, 1);
    leat_channel_close(a);
    leat_channel_close(b);
    check_int(script->detached, 0);
    leat_ctx_free(ctx);
    check_int(script->detached, 1);
    rt_clean();
}

static void linger_is_passed_to_close(void)
{
    leat_ctx *ctx = NULL;
    scripted *script = rt_script("scripted");
    leat_channel_close(rt_channel("push", "", &ctx));
    check_int(script->linger_ms, -2); /* as the transport thinks right */
    leat_ctx_free(ctx);
    leat_channel_close(rt_channel("push", "linger=70ms", &ctx));
    check_int(script->linger_ms, 70);
    leat_ctx_free(ctx);
    leat_channel_close(rt_channel("push", "linger=forever", &ctx));
    check_int(script->linger_ms, -1);
    leat_ctx_free(ctx);
}

static void every_call_says(leat_channel *ch, leat_poller *p, int error)
{
    leat_msg msg = LEAT_MSG_INIT;
    leat_event event;
    leat_stats stats;
    check_error(leat_send(ch, &msg, -1), error);
    check_error(leat_recv(ch, &msg, 0), error);
    check_error(leat_send_parts(ch, &msg, 1, 0), error);
    check_error(leat_recv_parts(ch, &msg, 1, -1), error);
    check_error(leat_msg_alloc(ch, 10, 0, &msg), error);
    check_error(leat_msg_alloc(ch, 100, -1, &msg), error);
    check_error(leat_msg_alloc_aligned(ch, 100, 64, -1, &msg), error);
    check_error(leat_msg_from(ch, &msg, 8, NULL, NULL, &msg), error);
    check_error(leat_channel_peers(ch), error);
    check_error(leat_channel_wait_peers(ch, 0, 0), error);
    check_error(leat_channel_stats(ch, &stats), error);
    check_error(leat_channel_fd(ch), error);
    check_error(leat_channel_arm(ch, LEAT_IN), error);
    check_error(leat_poller_add(p, ch, LEAT_IN, NULL), error);
    check_error(leat_poller_add_fd(p, 0, LEAT_IN, NULL), error);
    check_error(leat_poller_modify(p, ch, LEAT_IN), error);
    check_error(leat_poller_remove(p, ch), error);
    check_error(leat_poller_remove_fd(p, 0), error);
    check_error(leat_poller_wait(p, &event, 1, -1), error);
}

static void a_freed_context_leaves_handles_that_can_only_be_closed(void)
{
    leat_ctx *ctx = NULL;
    leat_poller *p = NULL, *empty = NULL;
    leat_channel *ch = rt_channel("pair", "", &ctx), *two = NULL;
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    char text[100] = "still readable";
    two = rt_open(ctx, "c");
    check_ok(leat_poller_new(ctx, &p));
    check_ok(leat_poller_new(ctx, &empty));
    check_ok(leat_poller_add(p, ch, LEAT_IN, NULL));
    check_ok(leat_channel_fd(ch));
    check_int(leat_channel_arm(two, LEAT_IN), 0);
    script->feed("c", 1, text, sizeof(text));
    if (leat_recv(ch, &msg, 0) < 0)
        check_ok(leat_recv(two, &msg, 0));
    leat_ctx_free(ctx);
    check_int(script->closed, 2);
    check_int(script->detached, 1);
    every_call_says(ch, p, ESHUTDOWN);
    check_string(leat_msg_data(&msg), "still readable");
    leat_poller_free(p);
    leat_channel_close(ch);
    leat_channel_close(two);
    leat_poller_free(empty);
    leat_msg_close(&msg); /* the last of all */
    check_int(script->closed, 2);
    leat_ctx_free(NULL);
    leat_channel_close(NULL);
    rt_clean();
}

static struct parents_things {
    leat_ctx *ctx;
    leat_channel *ch;
    leat_poller *p;
} things;

static void grandchild(void *arg)
{
    (void)arg;
    every_call_says(things.ch, things.p, ECHILD);
    check_int(rt_script("scripted")->forked, 1);
}

static void child(void *arg)
{
    (void)arg;
    scripted *script = rt_script("scripted");
    check_int(script->forked, 1);
    every_call_says(things.ch, things.p, ECHILD);
    check_contains(leat_error(), "fork");
    leat_channel *ch = NULL;
    check_error(leat_channel_open(things.ctx, "c", &ch), ECHILD);
    leat_poller *p = NULL;
    check_error(leat_poller_new(things.ctx, &p), ECHILD);
    leat_test_join(leat_test_fork(grandchild, NULL));
    leat_resume(things.ctx);
    leat_channel_close(things.ch);
    leat_poller_free(things.p);
    leat_ctx_free(things.ctx);
    check_int(script->closed, 0);
    check_int(script->detached, 0);

    leat_ctx *own = NULL; /* a context of its own works */
    leat_msg msg = LEAT_MSG_INIT;
    ch = rt_channel("pair", "", &own);
    check_error(leat_recv(ch, &msg, 10), EAGAIN);
    leat_channel_close(ch);
    leat_ctx_free(own);
    check_int(script->closed, 1);
}

static void after_fork_the_child_is_told_and_the_parent_notices_nothing(void)
{
    scripted *script = rt_script("scripted");
    leat_msg msg = LEAT_MSG_INIT;
    things.ch = rt_channel("pair", "", &things.ctx);
    check_ok(leat_poller_new(things.ctx, &things.p));
    check_ok(leat_poller_add(things.p, things.ch, LEAT_IN, NULL));
    leat_ctx_free(rt_join(rt_config())); /* one that is gone is none of the child's business */
    leat_test_join(leat_test_fork(child, NULL));
    check_int(script->forked, 0);
    script->feed("c", 1, "text", 5);
    leat_event event;
    check_int(leat_poller_wait(things.p, &event, 1, 0), 1);
    check_ok(leat_recv(things.ch, &msg, 0));
    leat_channel_close(things.ch);
    leat_poller_free(things.p);
    leat_ctx_free(things.ctx);
    rt_clean();
}

/* ---- on the small whole transport -------------------------------------------------------------------------------- */

static void messages_pass_between_two_channels_of_a_context(void)
{
    leat_config *cfg = rt_config();
    rt_keys(cfg, "channel out", "type=push;method=bind;address=x;transport=inproc;queue=8");
    rt_keys(cfg, "channel in", "type=pull;method=connect;address=x;transport=inproc;at_end=finish");
    leat_ctx *ctx = rt_join(cfg);
    leat_channel *out = rt_open(ctx, "out"), *in = rt_open(ctx, "in");
    check_ok(leat_channel_wait_peers(out, 1, 1000));
    leat_msg msg = LEAT_MSG_INIT;
    for (size_t i = 0; i < 8; i++) {
        rt_make(out, "text", 20 * i + 10, &msg);
        check_ok(leat_send(out, &msg, 0));
    }
    rt_make(out, "ninth", 10, &msg);
    check_error(leat_send(out, &msg, 10), EAGAIN);
    leat_channel_close(out);
    leat_msg_close(&msg);
    for (size_t i = 0; i < 8; i++) {
        check_ok(leat_recv(in, &msg, -1));
        check_int(leat_msg_size(&msg), (long long)(20 * i + 10));
        check_string(leat_msg_data(&msg), "text");
    }
    check_error(leat_recv(in, &msg, -1), EPIPE);
    leat_msg_close(&msg);
    leat_channel_close(in);
    leat_ctx_free(ctx);
}

static const leat_test tests[] = {
    RT_TEST("each mistake in a section has its sentence", each_mistake_in_a_section_has_its_sentence),
    RT_TEST("failures of the transport are passed on and leave nothing",
            failures_of_the_transport_are_passed_on_and_leave_nothing),
    RT_TEST("addresses go to the transports that they mean", addresses_go_to_the_transports_that_they_mean),
    RT_TEST("the log says what was chosen and why", the_log_says_what_was_chosen_and_why),
    RT_TEST("a transport is joined once per context on first use", a_transport_is_joined_once_per_context_on_first_use),
    RT_TEST("linger is passed to close", linger_is_passed_to_close),
    RT_TEST("a freed context leaves handles that can only be closed",
            a_freed_context_leaves_handles_that_can_only_be_closed),
    RT_TEST("after fork the child is told and the parent notices nothing",
            after_fork_the_child_is_told_and_the_parent_notices_nothing),
    RT_TEST("messages pass between two channels of a context", messages_pass_between_two_channels_of_a_context),
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
