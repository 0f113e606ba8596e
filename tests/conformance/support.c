/* SPDX-License-Identifier: MIT
 *
 * support.c - the vocabulary of the conformance suite (conformance.h): checks, channels, contents, processes. Proves
 * nothing itself and knows no transport.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "conformance.h"

static bool joined; /* a context was made in this process: it must not fork any more */
static FILE *ini;   /* names the transport of each channel described so far */
static char ini_path[512];

static const char *const claim_names[] = {"pair",        "push-pull", "threads", "processes", "queue",
                                          "queue-bytes", "depth",     "heap",    "align",     "addresses",
                                          "refusals",    "end",       "death",   "rejoin"};

int conf_claim_bit(const char *name)
{
    for (size_t i = 0; i < sizeof(claim_names) / sizeof(claim_names[0]); i++)
        if (strcmp(claim_names[i], name) == 0)
            return (int)i;
    return -1;
}

void conf_begin(const char *sends, const char *receives, unsigned needs)
{
    unsigned missing = needs & ~conf.claims;
    if (missing)
        leat_test_skip("%s does not claim %s", conf.transport, claim_names[__builtin_ctz(missing)]);
    conf.sends = sends;
    conf.receives = receives;
}

int64_t conf_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void conf_pause_ms(int ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

leat_config *conf_config(void)
{
    leat_config *cfg = leat_test_config();
    if (conf.plugin_dir) {
        char option[] = "--plugin-dir", program[] = "conformance", *dir = strdup(conf.plugin_dir);
        char *argv[] = {program, option, dir, NULL};
        int argc = 3;
        check_ok(leat_config_args(cfg, &argc, argv));
        free(dir);
    }
    return cfg;
}

void conf_keys(leat_config *cfg, const char *section, const char *keys)
{
    char copy[512], *rest = copy, *item;
    check(strlen(keys) < sizeof(copy));
    strcpy(copy, keys);
    while ((item = strsep(&rest, ";")) != NULL) {
        item += strspn(item, " ");
        char *value = strchr(item, '=');
        if (!value)
            continue;
        *value++ = '\0';
        check_ok(leat_config_set(cfg, section, item, value));
    }
}

void conf_transport_keys(leat_config *cfg, const char *keys)
{
    char section[64];
    snprintf(section, sizeof(section), "transport %s", conf.transport);
    conf_keys(cfg, section, keys);
}

static void describe(leat_config *cfg, const char *name, const char *type, const char *method, const char *address,
                     const char *keys)
{
    char section[64];
    snprintf(section, sizeof(section), "channel %s", name);
    check_ok(leat_config_set(cfg, section, "type", type));
    check_ok(leat_config_set(cfg, section, "method", method));
    check_ok(leat_config_set(cfg, section, "address", address));
    conf_keys(cfg, section, keys);
    /* The transport is chosen as users choose it: by the INI file. */
    if (!ini) {
        snprintf(ini_path, sizeof(ini_path), "%s/%d.ini", leat_test_tmpdir(), (int)getpid());
        check((ini = fopen(ini_path, "we")) != NULL);
    }
    fprintf(ini, "[channel %s]\ntransport = %s\n", name, conf.transport);
}

void conf_sender(leat_config *cfg, const char *name, const char *method, const char *address, const char *keys)
{
    describe(cfg, name, conf.sends, method, address, keys);
}

void conf_receiver(leat_config *cfg, const char *name, const char *method, const char *address, const char *keys)
{
    describe(cfg, name, conf.receives, method, address, keys);
}

leat_ctx *conf_join(leat_config *cfg)
{
    leat_ctx *ctx;
    joined = true;
    if (ini) {
        fclose(ini);
        ini = NULL;
        check_ok(leat_config_load(cfg, ini_path));
    }
    check_ok(leat_ctx_new(cfg, &ctx));
    leat_config_free(cfg);
    return ctx;
}

leat_channel *conf_open(leat_ctx *ctx, const char *name)
{
    leat_channel *ch;
    check_ok(leat_channel_open(ctx, name, &ch));
    return ch;
}

void conf_linked(leat_channel *ch, int peers)
{
    check_ok(leat_channel_wait_peers(ch, peers, SOON_MS));
}

void conf_unlinked(leat_channel *ch)
{
    for (int ms = 0; leat_channel_peers(ch) > 0; ms++) {
        check(ms < SOON_MS);
        usleep(1000);
    }
}

void conf_ends_open(conf_ends *e, leat_config *cfg, const char *tx_keys, const char *rx_keys)
{
    conf_sender(cfg, "tx", "bind", "ends", tx_keys);
    conf_receiver(cfg, "rx", "connect", "ends", rx_keys);
    e->ctx = conf_join(cfg);
    e->tx = conf_open(e->ctx, "tx");
    e->rx = conf_open(e->ctx, "rx");
    conf_linked(e->tx, 1);
    conf_linked(e->rx, 1);
}

void conf_ends_close(conf_ends *e)
{
    leat_channel_close(e->rx); /* first: a sender may linger for what is unread */
    leat_channel_close(e->tx);
    leat_ctx_free(e->ctx);
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

/* Every word depends on seed and place, so that a message shifted, mixed up or cut is seen. */
static uint64_t word_at(uint64_t seed, size_t i)
{
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1342543de82ef95);
    return x ^ x >> 29;
}

void conf_fill(void *data, size_t size, uint64_t seed)
{
    unsigned char *to = data;
    size_t words = size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = word_at(seed, i);
        memcpy(to + 8 * i, &word, 8);
    }
    uint64_t word = word_at(seed, words);
    memcpy(to + 8 * words, &word, size % 8);
}

bool conf_intact(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *from = data;
    size_t words = size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = word_at(seed, i);
        if (memcmp(from + 8 * i, &word, 8) != 0)
            return false;
    }
    uint64_t word = word_at(seed, words);
    return memcmp(from + 8 * words, &word, size % 8) == 0;
}

void conf_make(leat_channel *ch, size_t size, uint64_t seed, leat_msg *ret_msg)
{
    leat_msg_init(ret_msg);
    check_ok(leat_msg_alloc(ch, size, SOON_MS, ret_msg));
    check_int(leat_msg_size(ret_msg), size);
    check(leat_msg_data(ret_msg) != NULL);
    conf_fill(leat_msg_data(ret_msg), size, seed);
}

void conf_send(leat_channel *ch, size_t size, uint64_t seed)
{
    leat_msg msg;
    conf_make(ch, size, seed, &msg);
    check_ok(leat_send(ch, &msg, SOON_MS));
    check_int(leat_msg_size(&msg), 0);
    leat_msg_close(&msg);
}

void conf_verify(leat_msg *msg, size_t size, uint64_t seed)
{
    check_int(leat_msg_size(msg), size);
    check(leat_msg_data(msg) != NULL);
    check(conf_intact(leat_msg_data(msg), size, seed));
}

void conf_recv(leat_channel *ch, size_t size, uint64_t seed)
{
    leat_msg msg = LEAT_MSG_INIT;
    check_ok(leat_recv(ch, &msg, SOON_MS));
    conf_verify(&msg, size, seed);
    leat_msg_close(&msg);
}

int conf_fill_up(leat_channel *tx, size_t size)
{
    for (int n = 0; n < 100000; n++) {
        leat_msg msg;
        conf_make(tx, size, (uint64_t)n, &msg);
        /* A transport with a thread between the ends may make room a moment after it had none. */
        int r = leat_send(tx, &msg, n < 8 ? 1000 : 200);
        leat_msg_close(&msg);
        if (r == -EAGAIN)
            return n;
        check_int(r, 0);
    }
    fail_test("100000 messages lie unread and the sender may still send");
}

/* ---- processes and threads --------------------------------------------------------------------------------------- */

typedef struct start {
    conf_body *body;
    void *arg;
    int ends[2];
} start;

static void run_body(void *arg)
{
    start *s = arg;
    close(s->ends[0]);
    s->body(s->ends[1], s->arg);
}

conf_process conf_start(conf_body *body, void *arg)
{
    start s = {.body = body, .arg = arg};
    check(!joined);
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s.ends) == 0);
    conf_process p = {.pid = leat_test_fork(run_body, &s), .fd = s.ends[0]};
    close(s.ends[1]);
    return p;
}

void conf_tell(int fd, char word)
{
    check(send(fd, &word, 1, MSG_NOSIGNAL) == 1);
}

void conf_hear(int fd, char word)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char got = 0;
    int r;
    while ((r = poll(&p, 1, 3 * SOON_MS)) < 0 && errno == EINTR)
        ;
    check(r == 1);
    check(read(fd, &got, 1) == 1);
    check_int(got, word);
}

void conf_finish(conf_process *p)
{
    leat_test_join(p->pid);
    close(p->fd);
}

void conf_kill(conf_process *p)
{
    leat_test_kill(p->pid);
    close(p->fd);
}

void *conf_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED);
    return memory;
}

pthread_t conf_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, body, arg) == 0);
    return thread;
}

void conf_thread_end(pthread_t thread)
{
    check(pthread_join(thread, NULL) == 0);
}
