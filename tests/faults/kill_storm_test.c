/* SPDX-License-Identifier: MIT
 *
 * kill_storm_test.c - kill -9 at random moments under full load, among 4 senders and 4 receivers on posix-shm, while one
 * of each is never killed and watched. This process is the controller: it uses no leat, and looks from outside.
 *
 *     kill_storm_test [--kills N] [--seed N]        else $LEAT_STORM_KILLS or 200, and a seed of the clock's
 *
 * The sums are added to the file $LEAT_STORM_LOG, if that is set.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../conformance/conformance.h"
#include "storm.h"

#define MS INT64_C(1000000)
#define QUIET_MS 300  /* no kill of a receiver this long before and after a death makes it a quiet one */
#define HUNG_MS 10000 /* the watched processes must get on within this */
#define SETTLE_MS 30000

static unsigned kills = 200;
static unsigned seed;

typedef struct process {
    pid_t pid;
    storm_life *life;
} process;

typedef struct storm {
    storm_book *book;
    process senders[STORM_SENDERS], receivers[STORM_RECEIVERS];
    uint32_t watched_sent;
    uint64_t watched_received;
    int64_t moved_ns; /* when the watched ones were last seen to get on */
} storm;

typedef struct start {
    storm_book *book;
    storm_life *life;
} start;

static void run_sender(void *arg)
{
    start *s = arg;
    storm_send(s->book, s->life);
}

static void run_receiver(void *arg)
{
    start *s = arg;
    storm_receive(s->book, s->life);
}

static void start_sender(storm *s, int slot)
{
    start how = {s->book, storm_sender_born(s->book, slot, slot == STORM_SENDERS - 1)};
    s->senders[slot] = (process){leat_test_fork(run_sender, &how), how.life};
}

static void start_receiver(storm *s, int slot)
{
    start how = {s->book, storm_receiver_born(s->book, slot)};
    s->receivers[slot] = (process){leat_test_fork(run_receiver, &how), how.life};
}

/* Fails the test if a process ended that nobody killed, or if the watched ones do not get on. */
static void watch(storm *s)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0)
        fail_test("process %d ended by itself: %s %d", (int)pid, WIFSIGNALED(status) ? "signal" : "status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    uint32_t sent = s->senders[STORM_SENDERS - 1].life->sent;
    uint64_t received = s->receivers[STORM_RECEIVERS - 1].life->received;
    int64_t now = conf_now_ns();
    if (sent != s->watched_sent && received != s->watched_received) {
        s->watched_sent = sent;
        s->watched_received = received;
        s->moved_ns = now;
    } else if (now - s->moved_ns > HUNG_MS * MS * leat_test_slowness()) {
        fail_test("hung: in %d s the watched sender got from message %u to %u, the watched receiver from %llu to %llu",
                  HUNG_MS / 1000, s->watched_sent, sent, (unsigned long long)s->watched_received,
                  (unsigned long long)received);
    }
}

static void pause_watching(storm *s, int64_t us)
{
    int64_t until = conf_now_ns() + us * 1000;
    while (conf_now_ns() < until) {
        int64_t left_us = (until - conf_now_ns()) / 1000;
        watch(s);
        if (left_us > 0)
            usleep((useconds_t)(left_us < 50000 ? left_us : 50000));
    }
}

static void kill_process(process *p)
{
    leat_test_kill(p->pid);
    p->life->died_ns = conf_now_ns();
    p->life->was_taking = p->life->taking;
}

static void kill_one(storm *s)
{
    bool quiet = random() % 20 == 0;
    int slot = (int)(random() % 4);
    if (quiet)
        pause_watching(s, QUIET_MS * 1200);
    else
        pause_watching(s, random() % (random() % 3 ? 20000 : 80000));
    if (quiet || random() % 2) {
        kill_process(&s->senders[slot]);
        if (quiet)
            pause_watching(s, QUIET_MS * 1200);
        start_sender(s, slot);
    } else {
        kill_process(&s->receivers[slot]);
        start_receiver(s, slot);
    }
}

static bool all_linked(const storm *s)
{
    for (int i = 0; i < STORM_SENDERS; i++)
        if (s->senders[i].life->peers != STORM_RECEIVERS)
            return false;
    for (int i = 0; i < STORM_RECEIVERS; i++)
        if (s->receivers[i].life->peers != STORM_SENDERS)
            return false;
    return true;
}

static void wait_linked(storm *s)
{
    int64_t until = conf_now_ns() + SETTLE_MS * MS * leat_test_slowness();
    while (!all_linked(s)) {
        if (conf_now_ns() > until) {
            for (int i = 0; i < STORM_SENDERS; i++)
                fprintf(stderr, "# sender %d has %u peers, receiver %d has %u\n", i, s->senders[i].life->peers, i,
                        s->receivers[i].life->peers);
            fail_test("not everybody is linked with everybody");
        }
        pause_watching(s, 5000);
    }
}

/* Until what living senders have sent has arrived, as far as it ever will. */
static void wait_arrived(storm *s)
{
    int64_t until = conf_now_ns() + SETTLE_MS * MS * leat_test_slowness(), quiet_since = conf_now_ns();
    uint64_t received_before = 0;
    for (;;) {
        uint64_t queued = 0, received = 0;
        int64_t now = conf_now_ns();
        for (int i = 0; i < STORM_SENDERS; i++)
            queued += s->senders[i].life->queued;
        for (int i = 0; i < STORM_RECEIVERS; i++)
            received += s->receivers[i].life->received;
        if (queued > 0 || received != received_before)
            quiet_since = now;
        received_before = received;
        if (now - quiet_since > 200 * MS)
            return;
        if (now > until)
            fail_test("%llu messages are still queued", (unsigned long long)queued);
        usleep(5000);
    }
}

typedef struct view_of_machine {
    storm_machine *shared;
} view_of_machine;

static void look_in_a_process(void *arg)
{
    *((view_of_machine *)arg)->shared = storm_look_at_machine();
}

/* The machine holds exactly what the living need, and they hold no block. */
static void wait_machine_clean(void)
{
    enum { CONTEXTS = STORM_SENDERS + STORM_RECEIVERS };
    view_of_machine view = {conf_shared(sizeof(storm_machine))};
    storm_machine *m = view.shared;
    int64_t until = conf_now_ns() + SETTLE_MS * MS * leat_test_slowness();
    do {
        leat_test_join(leat_test_fork(look_in_a_process, &view));
        if (m->segments == CONTEXTS && m->peer_files == CONTEXTS && m->listed == CONTEXTS && m->dead == 0 &&
            m->blocks == 0)
            return;
        usleep(50000);
    } while (conf_now_ns() < until);
    fail_test(
        "%d contexts, but %d segments and %d peer files in /dev/shm; %d segments listed, %d of them dead, with %lld "
        "blocks",
        CONTEXTS, m->segments, m->peer_files, m->listed, m->dead, (long long)m->blocks);
}

static void wait_flat(const char *who, pid_t pid, const storm_view *before)
{
    int64_t until = conf_now_ns() + SETTLE_MS * MS;
    storm_view now;
    do {
        now = storm_look(pid);
        /* cppcheck-suppress uninitvar */
        if (now.descriptors <= before->descriptors && now.segments <= before->segments &&
            now.segments_rss <= before->segments_rss + (UINT64_C(64) << 20) &&
            now.anonymous <= before->anonymous + (UINT64_C(8) << 20))
            return;
        usleep(50000);
    } while (conf_now_ns() < until);
    fail_test("the watched %s grew: descriptors %d to %d, segments mapped %d to %d, of them resident %llu to %llu, "
              "private memory %llu to %llu",
              who, before->descriptors, now.descriptors, before->segments, now.segments,
              (unsigned long long)before->segments_rss, (unsigned long long)now.segments_rss,
              (unsigned long long)before->anonymous, (unsigned long long)now.anonymous);
}

static void leave(storm *s)
{
    s->book->phase = STORM_LEAVE;
    for (int i = 0; i < STORM_SENDERS; i++)
        leat_test_join(s->senders[i].pid);
    for (int i = 0; i < STORM_RECEIVERS; i++)
        leat_test_join(s->receivers[i].pid);
}

static void judge(const storm *s)
{
    storm_result r;
    const char *path = getenv("LEAT_STORM_LOG");
    FILE *log = path ? fopen(path, "ae") : stdout;
    check(log != NULL);
    storm_verify(s->book, QUIET_MS * MS, log, &r);
    fprintf(
        log,
        "# seed %u: %u senders and %u receivers killed; %llu messages sent, %llu received, %llu redelivered, %llu lost "
        "of %llu allowed in a dead hand, %llu lost between two dead\n",
        seed, r.senders_killed, r.receivers_killed, (unsigned long long)r.sent, (unsigned long long)r.received,
        (unsigned long long)r.redelivered, (unsigned long long)r.lost, (unsigned long long)r.allowed,
        (unsigned long long)r.between);
    fflush(log);
    check_int(s->book->duplicates, 0);
    check_int(s->book->corrupt, 0);
    check_int(r.from_nowhere, 0);
    if (r.lost > r.allowed)
        fail_test("%llu messages are lost, and only %llu receivers died with one in hand", (unsigned long long)r.lost,
                  (unsigned long long)r.allowed);
    check_int(r.unexplained, 0);
    check(kills < 20 || r.redelivered > 0);
}

static void the_storm(void)
{
    storm s = {.book = storm_book_new(), .moved_ns = conf_now_ns()};
    if (seed == 0)
        seed = (unsigned)(conf_now_ns() / 1000);
    srandom(seed);
    fprintf(stderr, "# %u kills, seed %u\n", kills, seed);
    for (int i = 0; i < STORM_SENDERS; i++)
        start_sender(&s, i);
    for (int i = 0; i < STORM_RECEIVERS; i++)
        start_receiver(&s, i);
    pid_t watched[2] = {s.senders[STORM_SENDERS - 1].pid, s.receivers[STORM_RECEIVERS - 1].pid};
    storm_view before[2];
    for (unsigned i = 0; i < kills; i++) {
        if (i == kills / 10) { /* warm by now */
            wait_linked(&s);
            before[0] = storm_look(watched[0]);
            before[1] = storm_look(watched[1]);
        }
        kill_one(&s);
    }
    wait_linked(&s);
    s.book->phase = STORM_STOP;
    wait_arrived(&s);
    wait_machine_clean();
    wait_flat("sender", watched[0], &before[0]);
    wait_flat("receiver", watched[1], &before[1]);
    leave(&s);
    judge(&s);
}

static unsigned take_number(const char *option, unsigned otherwise, int *argc, char **argv)
{
    for (int i = 1; i + 1 < *argc; i++)
        if (strcmp(argv[i], option) == 0) {
            unsigned value = (unsigned)strtoul(argv[i + 1], NULL, 0);
            for (int rest = i + 2; rest <= *argc; rest++)
                argv[rest - 2] = argv[rest];
            *argc -= 2;
            return value;
        }
    return otherwise;
}

int main(int argc, char **argv)
{
    const char *wanted = getenv("LEAT_STORM_KILLS");
    if (wanted)
        kills = (unsigned)strtoul(wanted, NULL, 0);
    kills = take_number("--kills", kills, &argc, argv);
    seed = take_number("--seed", 0, &argc, argv);
    conf = (conf_suite){.transport = "posix-shm", .claims = ~0u, .sends = "push", .receives = "pull"};
    leat_test tests[] = {
        {"kill -9 under full load: nothing hangs, leaks, tears, comes twice or is lost", the_storm,
         .limit_s = 120 + kills / 5},
        {.name = NULL},
    };
    return leat_test_main(tests, argc, argv);
}
