/* SPDX-License-Identifier: MIT
 *
 * zmq_test.c - what is the zmq transport's own: TCP addresses, the patterns beyond pair, push and pull, its files in the
 * session, and receivers that are slower than their sender's end. What all transports do is in tests/conformance.
 */
#include "leat_test.h"

#include <errno.h>
#include <leat/admin.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOON_MS 20000

static void set(leat_config *cfg, const char *channel, const char *key, const char *value)
{
    char section[64];

    snprintf(section, sizeof(section), "channel %s", channel);
    check_ok(leat_config_set(cfg, section, key, value));
}

static void describe(leat_config *cfg, const char *name, const char *type, const char *method, const char *address)
{
    set(cfg, name, "type", type);
    set(cfg, name, "method", method);
    set(cfg, name, "address", address);
    set(cfg, name, "transport", "zmq");
}

static leat_ctx *join(leat_config *cfg)
{
    leat_ctx *ctx = NULL;

    check_ok(leat_ctx_new(cfg, &ctx));
    leat_config_free(cfg);
    return ctx;
}

static leat_channel *open_channel(leat_ctx *ctx, const char *name)
{
    leat_channel *ch = NULL;

    check_ok(leat_channel_open(ctx, name, &ch));
    return ch;
}

static int send_text(leat_channel *ch, const char *text, int timeout_ms)
{
    leat_msg msg = LEAT_MSG_INIT;
    int r;

    check_ok(leat_msg_alloc(ch, strlen(text), SOON_MS, &msg));
    memcpy(leat_msg_data(&msg), text, strlen(text));
    r = leat_send(ch, &msg, timeout_ms);
    leat_msg_close(&msg);
    return r;
}

static void recv_text(leat_channel *ch, const char *wanted)
{
    leat_msg msg = LEAT_MSG_INIT;
    char text[256];

    check_ok(leat_recv(ch, &msg, SOON_MS));
    check(leat_msg_size(&msg) < sizeof(text));
    memcpy(text, leat_msg_data(&msg), leat_msg_size(&msg));
    text[leat_msg_size(&msg)] = '\0';
    check_string(text, wanted);
    leat_msg_close(&msg);
}

/* A port that nobody has just now. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(fd >= 0);
    check(bind(fd, (struct sockaddr *)&at, size) == 0);
    check(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Whether something listens at that port of 127.0.0.1 alone. */
static bool listens_locally(int port)
{
    static const char *const tables[][2] = {
        {"/proc/net/tcp", "0100007F"},
        {"/proc/net/tcp6", "0000000000000000FFFF00000100007F"},
    };
    char line[512], wanted[64];
    bool found = false;
    size_t i;

    for (i = 0; i < 2; i++) {
        FILE *file = fopen(tables[i][0], "re");

        if (file == NULL)
            continue; /* no IPv6 here */
        snprintf(wanted, sizeof(wanted), " %s:%04X ", tables[i][1], (unsigned)port);
        while (!found && fgets(line, sizeof(line), file) != NULL)
            found = strstr(line, wanted) != NULL && strstr(line, ":0000 0A ") != NULL;
        fclose(file);
    }
    return found;
}

static void a_star_is_this_machine_unless_public(void)
{
    char address[64];
    int i, port;

    for (i = 0; i < 2; i++) {
        leat_config *cfg = leat_test_config();
        leat_channel *tx, *rx;
        leat_ctx *ctx;

        port = free_port();
        snprintf(address, sizeof(address), "tcp://*:%d", port);
        describe(cfg, "tx", "push", "bind", address);
        set(cfg, "tx", "public", i == 1 ? "yes" : "no");
        snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", port);
        describe(cfg, "rx", "pull", "connect", address);
        ctx = join(cfg);
        rx = open_channel(ctx, "rx"); /* first */
        tx = open_channel(ctx, "tx");
        check_int(listens_locally(port), i == 0);
        check_ok(send_text(tx, "hello", SOON_MS));
        recv_text(rx, "hello");
        leat_ctx_free(ctx);
        leat_channel_close(tx);
        leat_channel_close(rx);
    }
}

static void a_tcp_port_in_use_is_refused(void)
{
    char address[64];
    leat_config *cfg = leat_test_config();
    leat_channel *a, *b = NULL;
    leat_ctx *ctx;

    snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", free_port());
    describe(cfg, "a", "pull", "bind", address);
    describe(cfg, "b", "pull", "bind", address);
    describe(cfg, "c", "pull", "bind", "tcp://no-such-interface:1");
    describe(cfg, "d", "pull", "connect", "tcp://*:1234");
    ctx = join(cfg);
    a = open_channel(ctx, "a");
    check_error(leat_channel_open(ctx, "b", &b), EADDRINUSE);
    check_contains(leat_error(), address);
    check_error(leat_channel_open(ctx, "c", &b), ENODEV);
    check_error(leat_channel_open(ctx, "d", &b), EINVAL);
    check_contains(leat_error(), "only be bound");
    leat_channel_close(a);
    check_ok(leat_channel_open(ctx, "b", &b)); /* free at once */
    leat_channel_close(b);
    leat_ctx_free(ctx);
}

static void requests_are_answered_in_turn(void)
{
    leat_config *cfg = leat_test_config();
    leat_channel *req, *rep;
    leat_msg msg = LEAT_MSG_INIT;
    leat_ctx *ctx;
    int i;

    describe(cfg, "req", "req", "connect", "ask");
    describe(cfg, "rep", "rep", "bind", "ask");
    ctx = join(cfg);
    rep = open_channel(ctx, "rep");
    req = open_channel(ctx, "req");
    check_error(leat_recv(req, &msg, 0), EPROTO);
    check_error(send_text(rep, "too early", 0), EPROTO);
    for (i = 0; i < 10; i++) {
        check_ok(send_text(req, "question", SOON_MS));
        recv_text(rep, "question");
        check_error(leat_recv(rep, &msg, 0), EPROTO);
        check_ok(send_text(rep, "answer", SOON_MS));
        recv_text(req, "answer");
    }
    /* It may ask again; a late answer is dropped. */
    check_ok(send_text(req, "first", SOON_MS));
    recv_text(rep, "first");
    check_ok(send_text(req, "second", SOON_MS));
    check_ok(send_text(rep, "late", SOON_MS));
    recv_text(rep, "second");
    check_ok(send_text(rep, "in time", SOON_MS));
    recv_text(req, "in time");
    leat_channel_close(req);
    leat_channel_close(rep);
    leat_ctx_free(ctx);
}

/* ---- what a sender leaves behind when it goes ------------------------------------------------------------------------ */

#define MANY 3000
#define SIZE 2000

static void send_many_and_go(void *arg)
{
    leat_config *cfg = leat_test_config();
    leat_channel *tx;
    leat_ctx *ctx;
    int i;

    describe(cfg, "tx", "push", "connect", arg);
    set(cfg, "tx", "queue", "200");
    ctx = join(cfg);
    tx = open_channel(ctx, "tx");
    for (i = 0; i < MANY; i++) {
        leat_msg msg = LEAT_MSG_INIT;

        check_ok(leat_msg_alloc(tx, SIZE, SOON_MS, &msg));
        memset(leat_msg_data(&msg), i, SIZE);
        check_ok(leat_send(tx, &msg, SOON_MS));
    }
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void a_slow_receiver_loses_nothing(const char *address)
{
    char where[64];
    leat_config *cfg = leat_test_config();
    leat_msg msg = LEAT_MSG_INIT;
    leat_channel *rx;
    leat_ctx *ctx;
    pid_t pid;
    int i;

    snprintf(where, sizeof(where), "%s", address);
    pid = leat_test_fork(send_many_and_go, where);
    describe(cfg, "rx", "pull", "bind", where);
    set(cfg, "rx", "queue", "200");
    set(cfg, "rx", "at_end", "finish");
    ctx = join(cfg);
    rx = open_channel(ctx, "rx");
    for (i = 0; i < MANY; i++) {
        check_ok(leat_recv(rx, &msg, SOON_MS));
        check_int(leat_msg_size(&msg), SIZE);
        check_int(*(unsigned char *)leat_msg_data(&msg), i & 0xff);
        if (i % 100 == 0)
            usleep(5000); /* slower than the sender, so that queues and buffers are full when it goes */
    }
    check_error(leat_recv(rx, &msg, SOON_MS), EPIPE);
    leat_msg_close(&msg);
    leat_channel_close(rx);
    leat_ctx_free(ctx);
    leat_test_join(pid);
}

static void nothing_is_lost_on_a_local_socket(void)
{
    a_slow_receiver_loses_nothing("slow");
}

static void nothing_is_lost_on_tcp(void)
{
    char address[64];

    snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", free_port());
    a_slow_receiver_loses_nothing(address);
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static int count_item(const leat_item *item, void *user)
{
    int *counts = user;

    if (strcmp(item->transport, "zmq") == 0 && item->state == LEAT_ALIVE)
        counts[item->kind]++;
    return 0;
}

static void only_plain_names_leave_files(void)
{
    leat_admin_options options = {.session = leat_test_session(), .uid = -1};
    int counts[4] = {0};
    char address[64];
    leat_config *cfg = leat_test_config();
    leat_admin *admin = NULL;
    leat_channel *far, *near;
    leat_ctx *ctx;

    snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", free_port());
    describe(cfg, "far", "pull", "bind", address);
    describe(cfg, "near", "pull", "bind", "place");
    check_ok(leat_admin_new(cfg, &options, &admin));
    ctx = join(cfg);
    far = open_channel(ctx, "far");
    check_ok(leat_admin_list(admin, count_item, counts));
    check_int(counts[LEAT_ITEM_PEER] + counts[LEAT_ITEM_ADDRESS], 0);
    near = open_channel(ctx, "near");
    check_ok(leat_admin_list(admin, count_item, counts));
    check_int(counts[LEAT_ITEM_PEER], 1);
    check_int(counts[LEAT_ITEM_ADDRESS], 1);
    leat_admin_free(admin);
    leat_channel_close(near);
    leat_channel_close(far);
    leat_ctx_free(ctx);
}

static const leat_test tests[] = {
    {.name = "tcp://* is this machine unless public = yes", .run = a_star_is_this_machine_unless_public},
    {.name = "a TCP port in use is refused, and free at once when it is closed", .run = a_tcp_port_in_use_is_refused},
    {.name = "requests are answered in turn", .run = requests_are_answered_in_turn},
    {.name = "a slow receiver on a local socket loses nothing of a sender that left",
     .run = nothing_is_lost_on_a_local_socket},
    {.name = "a slow receiver on TCP loses nothing of a sender that left", .run = nothing_is_lost_on_tcp},
    {.name = "only plain names leave files", .run = only_plain_names_leave_files},
    {.name = NULL},
};
LEAT_TEST_MAIN(tests)
