/* SPDX-License-Identifier: MIT
 *
 * memory_test.c - a full /dev/shm and a program that locks its memory: -ENOSPC and never a signal, and nobody fills
 * another's memory. On posix-shm. The small /dev/shm is a mount namespace's own and needs root.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <leat/admin.h>

#include "../conformance/conformance.h"

#define MB (1 << 20)

/* Gives this process, and those that it starts, a /dev/shm of 16 MiB. */
static void small_dev_shm(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        leat_test_skip("a mount namespace of one's own is not to be had: %s", strerror(errno));
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=16m,mode=1777") < 0)
        leat_test_skip("no /dev/shm can be mounted here: %s", strerror(errno));
}

/* Makes a file of another program's that leaves `left` bytes free. */
static void fill_dev_shm(const char *path, long long left)
{
    static char zeros[65536];
    struct stat st;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    check(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros))
        ;
    check(fstat(fd, &st) == 0);
    check(st.st_size > left);
    check(ftruncate(fd, st.st_size - left) == 0);
    close(fd);
}

/* Allocates and writes messages of a MiB until there is no more; how many. */
static int take_all(leat_channel *tx, leat_msg *msgs, int capacity, int error)
{
    for (int n = 0; n < capacity; n++) {
        leat_msg_init(&msgs[n]);
        int r = leat_msg_alloc(tx, MB, 0, &msgs[n]);
        if (r < 0) {
            check_error(r, error);
            return n;
        }
        conf_fill(leat_msg_data(&msgs[n]), MB, (uint64_t)n);
    }
    fail_test("%d MiB were had from a /dev/shm of 16", capacity);
}

static void give_back(leat_msg *msgs, int n)
{
    for (int i = 0; i < n; i++) {
        conf_verify(&msgs[i], MB, (uint64_t)i);
        leat_msg_close(&msgs[i]);
    }
}

static void a_full_file_system_is_ENOSPC_and_sending_goes_on(void)
{
    leat_msg msgs[64];
    leat_config *cfg = conf_config();
    conf_ends e;
    small_dev_shm();
    conf_transport_keys(cfg, "heap_size=64M");
    conf_ends_open(&e, cfg, "", "");

    /* Filled by ourselves. */
    int n = take_all(e.tx, msgs, 64, ENOSPC);
    check_contains(leat_error(), "/dev/shm");
    check(n >= 8 && n <= 16);
    conf_send(e.tx, 30, 1); /* what needs no memory still goes */
    conf_recv(e.rx, 30, 1);
    for (int i = 0; i < n; i++) {
        check_ok(leat_send(e.tx, &msgs[i], SOON_MS));
        conf_recv(e.rx, MB, (uint64_t)i);
    }
    for (int round = 0; round < 100; round++) {
        conf_send(e.tx, MB, 7);
        conf_recv(e.rx, MB, 7);
    }
    int again = take_all(e.tx, msgs, 64, ENOSPC);
    check_int(again, n);
    give_back(msgs, again);
    conf_ends_close(&e);
}

static void space_that_others_return_is_used(void)
{
    leat_msg msgs[64];
    leat_config *cfg = conf_config();
    conf_ends e;
    small_dev_shm();
    conf_transport_keys(cfg, "heap_size=64M");
    conf_ends_open(&e, cfg, "", "");
    fill_dev_shm("/dev/shm/foreign", 4 * MB);
    int few = take_all(e.tx, msgs, 64, ENOSPC);
    check(few <= 8);
    check(unlink("/dev/shm/foreign") == 0);
    int more = few;
    for (;; more++) { /* at once, without giving anything back first */
        leat_msg_init(&msgs[more]);
        int r = leat_msg_alloc(e.tx, MB, 0, &msgs[more]);
        if (r < 0) {
            check_error(r, ENOSPC);
            break;
        }
        conf_fill(leat_msg_data(&msgs[more]), MB, (uint64_t)more);
    }
    check(more >= few + 6);
    for (int i = 0; i < more; i++) {
        check_ok(leat_send(e.tx, &msgs[i], SOON_MS));
        conf_recv(e.rx, MB, (uint64_t)i);
    }
    conf_ends_close(&e);
}

static void joining_with_no_space_at_all_is_ENOSPC(void)
{
    leat_ctx *ctx;
    leat_channel *ch;
    leat_config *cfg = conf_config();
    small_dev_shm();
    fill_dev_shm("/dev/shm/foreign", 0);
    conf_sender(cfg, "tx", "bind", "full", "");
    /* conf_join() needs success: the context itself may do without memory, the channel cannot. */
    int r = leat_ctx_new(cfg, &ctx);
    if (r == 0) {
        r = leat_channel_open(ctx, "tx", &ch);
        check_error(r, ENOSPC);
        check_contains(leat_error(), "/dev/shm");
        check(unlink("/dev/shm/foreign") == 0);
        check_ok(leat_channel_open(ctx, "tx", &ch));
        leat_channel_close(ch);
        leat_ctx_free(ctx);
    } else {
        check_error(r, ENOSPC);
        check_contains(leat_error(), "/dev/shm");
        check(unlink("/dev/shm/foreign") == 0);
        check_ok(leat_ctx_new(cfg, &ctx));
        leat_ctx_free(ctx);
    }
    leat_config_free(cfg);
}

/* ---- mlockall ---------------------------------------------------------------------------------------------------- */

static void sparse_sender(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)arg;
    conf_transport_keys(cfg, "heap_size=512M");
    conf_sender(cfg, "data", "bind", "sparse", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *tx = conf_open(ctx, "data");
    conf_tell(fd, 'o');
    conf_linked(tx, 1);
    for (uint64_t i = 0; i < 20; i++)
        conf_send(tx, 10000, i);
    conf_hear(fd, 'e');
    leat_channel_close(tx);
    leat_ctx_free(ctx);
}

static void locked_receiver(int fd, void *arg)
{
    leat_config *cfg = conf_config();
    (void)arg;
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* root needs none */
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        leat_test_skip("memory cannot be locked here: %s", strerror(errno));
    conf_transport_keys(cfg, "heap_size=8M"); /* our own may be filled, we asked for it */
    conf_receiver(cfg, "data", "connect", "sparse", "");
    leat_ctx *ctx = conf_join(cfg);
    leat_channel *rx = conf_open(ctx, "data");
    for (uint64_t i = 0; i < 20; i++)
        conf_recv(rx, 10000, i);
    conf_tell(fd, 'r');
    conf_hear(fd, 'e');
    leat_channel_close(rx);
    leat_ctx_free(ctx);
}

typedef struct search {
    pid_t pid;
    int64_t allocated, size;
} search;

static int find_segment(const leat_item *item, void *user)
{
    search *s = user;
    struct stat st;
    if (item->kind == LEAT_ITEM_SEGMENT && item->pid == s->pid && stat(item->path, &st) == 0) {
        s->allocated = st.st_blocks * 512; /* asked from outside */
        s->size = st.st_size;
    }
    return 0;
}

static void locked_memory_does_not_fill_foreign_segments(void)
{
    leat_admin *admin;
    leat_admin_options options = {.session = leat_test_session(), .uid = getuid()};
    conf_process sender = conf_start(sparse_sender, NULL);
    conf_hear(sender.fd, 'o');
    conf_process receiver = conf_start(locked_receiver, NULL);
    conf_hear(receiver.fd, 'r');
    search s = {.pid = sender.pid, .allocated = -1};
    leat_config *cfg = leat_test_config();
    check_ok(leat_admin_new(cfg, &options, &admin));
    check_ok(leat_admin_list(admin, find_segment, &s));
    leat_admin_free(admin);
    leat_config_free(cfg);
    check(s.allocated > 0 && s.size > 256 * MB); /* or the test could not fail */
    if (s.allocated > 64 * MB)
        fail_test("the sender's segment of %lld bytes takes %lld of the machine", (long long)s.size,
                  (long long)s.allocated);
    conf_tell(receiver.fd, 'e');
    conf_finish(&receiver);
    conf_tell(sender.fd, 'e');
    conf_finish(&sender);
}

int main(int argc, char **argv)
{
    static const leat_test tests[] = {
        {.name = "a full /dev/shm is -ENOSPC, and sending goes on as space comes back",
         .run = a_full_file_system_is_ENOSPC_and_sending_goes_on},
        {.name = "space that other programs give back is used", .run = space_that_others_return_is_used},
        {.name = "opening with no space at all is -ENOSPC", .run = joining_with_no_space_at_all_is_ENOSPC},
        {.name = "mlockall(MCL_FUTURE) does not fill foreign segments",
         .run = locked_memory_does_not_fill_foreign_segments},
        {.name = NULL},
    };
    conf = (conf_suite){.transport = "posix-shm", .claims = ~0u, .sends = "push", .receives = "pull"};
    return leat_test_main(tests, argc, argv);
}
