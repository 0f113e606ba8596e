/* SPDX-License-Identifier: MIT
 *
 * storm_book.c - the kill storm's book (storm.h): one bit per message, and the sum at the end. Knows nothing of leat.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "leat_test.h"
#include "storm.h"

static void *shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(memory != MAP_FAILED);
    return memory;
}

#define BITS_BYTES ((uint64_t)STORM_LIVES * STORM_SHORT / 8 + STORM_LONG / 8)

storm_book *storm_book_new(void)
{
    storm_book *book = shared(sizeof(*book));
    book->bits = shared(BITS_BYTES); /* pages come as they are needed */
    return book;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

storm_life *storm_sender_born(storm_book *book, int slot, bool watched)
{
    check(book->sender_lives < STORM_LIVES);
    storm_life *life = &book->senders[book->sender_lives++];
    life->slot = slot;
    life->born_ns = now_ns();
    life->capacity = watched ? STORM_LONG : STORM_SHORT;
    life->bits_at = book->bits_used;
    book->bits_used += life->capacity / 8;
    check(book->bits_used <= BITS_BYTES);
    return life;
}

storm_life *storm_receiver_born(storm_book *book, int slot)
{
    check(book->receiver_lives < STORM_LIVES);
    storm_life *life = &book->receivers[book->receiver_lives++];
    life->slot = slot;
    return life;
}

void storm_received(storm_book *book, uint32_t life, uint32_t number)
{
    /* The controller raises sender_lives before a sender starts, so that no message can be older than this. */
    if (life >= book->sender_lives || number >= book->senders[life].capacity) {
        atomic_fetch_add(&book->corrupt, 1);
        fail_test("a message says that it is number %u of sender life %u, which cannot be", number, life);
    }
    unsigned char bit = (unsigned char)(1u << number % 8);
    if (atomic_fetch_or(&book->bits[book->senders[life].bits_at + number / 8], bit) & bit) {
        atomic_fetch_add(&book->duplicates, 1);
        fail_test("message %u of sender life %u came twice", number, life);
    }
}

static bool has(const storm_book *book, const storm_life *sender, uint32_t number)
{
    return atomic_load(&book->bits[sender->bits_at + number / 8]) >> number % 8 & 1;
}

uint64_t storm_missing(const storm_book *book, const storm_life *sender)
{
    uint64_t missing = 0;
    for (uint32_t n = 0, sent = atomic_load(&sender->sent); n < sent; n++)
        missing += !has(book, sender, n);
    return missing;
}

/* How long before or after that moment the nearest death of a receiver was. */
static int64_t nearest_death_ns(const storm_book *book, int64_t moment_ns)
{
    int64_t nearest = INT64_MAX;
    for (unsigned i = 0; i < book->receiver_lives; i++) {
        int64_t away = llabs(book->receivers[i].died_ns - moment_ns);
        if (book->receivers[i].died_ns && away < nearest)
            nearest = away;
    }
    return nearest;
}

/* Receivers that died with perhaps a message in their hand while this sender lived. */
static uint64_t hands_lost_with(const storm_book *book, const storm_life *sender)
{
    uint64_t hands = 0;
    for (unsigned i = 0; i < book->receiver_lives; i++) {
        const storm_life *receiver = &book->receivers[i];
        hands += receiver->died_ns > sender->born_ns && receiver->was_taking &&
                 (!sender->died_ns || receiver->died_ns < sender->died_ns);
    }
    return hands;
}

/* Tells how a life lost messages: where the gaps are says whether a hand or a lane was lost. */
static void describe_loss(const storm_book *book, const storm_life *life, uint64_t missing, FILE *out)
{
    uint32_t first = UINT32_MAX, last = 0;
    for (uint32_t n = 0; n < life->sent; n++)
        if (!has(book, life, n)) {
            first = n < first ? n : first;
            last = n;
        }
    fprintf(out, "# sender life %d of slot %d lost %llu of %u, number %u to %u; ", (int)(life - book->senders),
            life->slot, (unsigned long long)missing, life->sent, first, last);
    if (life->died_ns)
        fprintf(out, "killed %.0f ms away from a receiver\n", (double)nearest_death_ns(book, life->died_ns) / 1e6);
    else
        fprintf(out, "never killed\n");
}

void storm_verify(const storm_book *book, int64_t quiet_ns, FILE *out, storm_result *ret_result)
{
    storm_result r = {0};
    for (unsigned i = 0; i < book->receiver_lives; i++) {
        const storm_life *life = &book->receivers[i];
        r.received += atomic_load(&life->received);
        r.receivers_killed += life->died_ns != 0;
        r.allowed += life->died_ns && life->was_taking;
    }
    for (unsigned i = 0; i < book->sender_lives; i++) {
        const storm_life *life = &book->senders[i];
        uint64_t missing = storm_missing(book, life);
        r.sent += atomic_load(&life->sent);
        r.redelivered += atomic_load(&life->redelivered);
        r.senders_killed += life->died_ns != 0;
        for (uint32_t n = atomic_load(&life->trying), end = n + 1024; n < end && n < life->capacity; n++)
            r.from_nowhere += has(book, life, n);
        bool between = life->died_ns && nearest_death_ns(book, life->died_ns) < quiet_ns;
        *(between ? &r.between : &r.lost) += missing;
        if (missing == 0 || between)
            continue;
        describe_loss(book, life, missing, out);
        uint64_t hands = hands_lost_with(book, life);
        r.unexplained += missing > hands ? missing - hands : 0;
    }
    *ret_result = r;
}
