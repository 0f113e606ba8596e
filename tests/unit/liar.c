/* SPDX-License-Identifier: MIT
 *
 * liar.c - how the hand-made peer of liar.h does it. Knows the layout, the handshake and where sockets and segments are;
 * calls nothing of the engine.
 */
#include "liar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <leat/admin.h>

#define TRANSPORT "posix-shm"
#define ROOT "/dev/shm"

/* ---- the victim --------------------------------------------------------------------------------------------------- */

void liar_channel(leat_config *cfg, const char *name, const char *type, const char *method, const char *address)
{
    char section[80];
    snprintf(section, sizeof(section), "channel %s", name);
    check_ok(leat_config_set(cfg, section, "type", type));
    check_ok(leat_config_set(cfg, section, "method", method));
    check_ok(leat_config_set(cfg, section, "address", address));
    check_ok(leat_config_set(cfg, section, "transport", TRANSPORT));
    check_ok(leat_config_set(cfg, section, "queue", "64"));
}

leat_ctx *liar_join(leat_config *cfg)
{
    leat_ctx *ctx;
    check_ok(leat_config_set(cfg, "transport " TRANSPORT, "heap_size", "64M"));
    check_ok(leat_config_set(cfg, "leat", "log_level", "info"));
    check_ok(leat_ctx_new(cfg, &ctx));
    leat_config_free(cfg);
    return ctx;
}

leat_channel *liar_open(leat_ctx *ctx, const char *name)
{
    leat_channel *ch;
    check_ok(leat_channel_open(ctx, name, &ch));
    return ch;
}

static _Atomic unsigned cut_offs;

static void count_line(leat_log_level level, const char *line, void *user)
{
    (void)level;
    (void)user;
    if (strstr(line, "cut off"))
        atomic_fetch_add(&cut_offs, 1);
}

void liar_read_log(void)
{
    leat_log_to(count_line, NULL);
}

unsigned liar_cut_offs(void)
{
    return atomic_load(&cut_offs);
}

unsigned liar_descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    check(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

unsigned liar_mappings(void)
{
    unsigned n = 0;
    char line[512];
    FILE *file = fopen("/proc/self/maps", "re");
    check(file != NULL);
    while (fgets(line, sizeof(line), file))
        n += strstr(line, ROOT "/leat_") != NULL;
    fclose(file);
    return n;
}

/* ---- the liar's segment -------------------------------------------------------------------------------------------- */

void liar_new(liar *l)
{
    static unsigned made;
    char path[128], shmid[9];
    memset(l, 0, sizeof(*l));
    l->fd = l->bell = -1;
    check_ok(leat_admin_shmid(geteuid(), leat_test_session(), shmid));
    snprintf(l->segment, sizeof(l->segment), "leat_%s_%d_%u", shmid, (int)getpid(), 900 + made++);
    snprintf(path, sizeof(path), ROOT "/%s", l->segment);
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    check(fd >= 0);
    check(ftruncate(fd, (off_t)LIAR_SIZE) == 0);
    l->base = mmap(NULL, LIAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(l->base != MAP_FAILED);
    close(fd);
    l->header = (layout_header *)(void *)l->base;
    l->header->magic = LAYOUT_MAGIC;
    l->header->layout = layout_hash();
    l->header->heap_size = LIAR_SIZE;
    snprintf(l->header->shmid, sizeof(l->header->shmid), "%s", shmid);
    l->asleep = (uint64_t *)(void *)(l->base + LAYOUT_PAGE);
    l->tx = (layout_tx *)(void *)(l->base + UINT64_C(2) * LAYOUT_PAGE);
    l->slots = (layout_slot *)(void *)(l->tx + 1);
    l->rx = (layout_rx *)(void *)(l->base + UINT64_C(64) * LAYOUT_PAGE);
    l->returns = (uint32_t *)(void *)(l->rx + 1);
    check(2 * LAYOUT_PAGE + layout_tx_size(LIAR_SLOTS, LIAR_REFS) <= 64 * LAYOUT_PAGE);
}

void liar_free(liar *l)
{
    char path[128];
    liar_hang_up(l);
    munmap(l->base, LIAR_SIZE);
    snprintf(path, sizeof(path), ROOT "/%s", l->segment);
    unlink(path);
}

void liar_reset(liar *l)
{
    memset(l->asleep, 0, LAYOUT_LINE);
    memset(l->tx, 0, layout_tx_size(LIAR_SLOTS, LIAR_REFS));
    memset(l->rx, 0, layout_rx_size(LIAR_REFS));
}

/* ---- its words ----------------------------------------------------------------------------------------------------- */

void liar_connect(liar *l, const char *address)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    snprintf(path.sun_path, sizeof(path.sun_path), ROOT "/leat-%u/%.40s/%.16s." TRANSPORT ".sock", geteuid(),
             leat_test_session(), address);
    liar_hang_up(l);
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    check(l->fd >= 0);
    check(connect(l->fd, (struct sockaddr *)&path, sizeof(path)) == 0);
}

void liar_hang_up(liar *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->bell >= 0)
        close(l->bell);
    if (l->victim)
        munmap((void *)(uintptr_t)l->victim, l->theirs.segment_size);
    l->victim = NULL;
    l->fd = l->bell = -1;
}

void liar_hello(const liar *l, enum handshake_type type, leat_pattern pattern, say_hello *ret_hello)
{
    say_hello h = {
        .head = {HANDSHAKE_MAGIC, HANDSHAKE_VERSION, (uint16_t)type, layout_hash()},
        .pattern = (uint32_t)pattern,
        .pid = getpid(),
        .tx_slots = leat_pattern_sends(pattern) ? LIAR_SLOTS : 0,
        .tx_refs = leat_pattern_sends(pattern) ? LIAR_REFS : 0,
        .tx_half = leat_pattern_sends(pattern) ? 2 * LAYOUT_PAGE : 0,
        .rx_half = leat_pattern_receives(pattern) && type != SAY_HELLO ? 64 * LAYOUT_PAGE : 0,
        .asleep = LAYOUT_PAGE,
        .segment_size = LIAR_SIZE,
    };
    snprintf(h.channel, sizeof(h.channel), "lies");
    snprintf(h.program, sizeof(h.program), "liar");
    snprintf(h.transport, sizeof(h.transport), TRANSPORT);
    snprintf(h.session, sizeof(h.session), "%s", leat_test_session());
    snprintf(h.segment, sizeof(h.segment), "%s", l->segment);
    *ret_hello = h;
}

bool liar_say(liar *l, const void *packet, size_t size, const int *fds, int n)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)packet, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
    }
    return sendmsg(l->fd, &message, MSG_NOSIGNAL) >= 0;
}

int liar_hear(liar *l, void *packet, size_t size, int timeout_ms)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    int r = poll(&p, 1, timeout_ms);
    if (r <= 0)
        return -1;
    ssize_t got = recv(l->fd, packet, size, MSG_DONTWAIT);
    return got < 0 ? 0 : (int)got;
}

void liar_link(liar *l, const char *address, leat_pattern pattern)
{
    say_hello h;
    char path[128];
    int bells[2];
    liar_connect(l, address);
    liar_reset(l);
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bells) == 0);
    l->bell = bells[0];
    liar_hello(l, SAY_HELLO, pattern, &h);
    check(liar_say(l, &h, sizeof(h), &bells[1], 1));
    close(bells[1]);
    check_int(liar_hear(l, &l->theirs, sizeof(l->theirs), SOON_MS), sizeof(l->theirs));
    check_int(l->theirs.head.type, SAY_ACCEPT);
    snprintf(path, sizeof(path), ROOT "/%.63s", l->theirs.segment);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0);
    l->victim = mmap(NULL, l->theirs.segment_size, PROT_READ, MAP_SHARED, fd, 0);
    check(l->victim != MAP_FAILED);
    close(fd);
    l->victim_tx = l->theirs.tx_half ? (const void *)(l->victim + l->theirs.tx_half) : NULL;
    l->victim_slots = l->victim_tx ? (const void *)(l->victim_tx + 1) : NULL;
    liar_hello(l, SAY_READY, pattern, &h);
    check(liar_say(l, &h, sizeof(h), NULL, 0));
}

bool liar_is_cut_off(liar *l, int timeout_ms)
{
    char packet[512];
    int r;
    do
        r = liar_hear(l, packet, sizeof(packet), timeout_ms);
    while (r > 0);
    return r == 0;
}

uint64_t liar_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * UINT64_C(2685821657736338717);
}
