/* SPDX-License-Identifier: MIT
 *
 * progress.c - how far a transfer is, on one line of a terminal that is written over; silent in a pipe. Knows no message.
 */
#include <inttypes.h>
#include <unistd.h>

#include "tool.h"

#define INTERVAL_NS 200000000

const char *leati_amount_text(uint64_t bytes, char text[LEATI_AMOUNT_TEXT])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned shift = 0;
    size_t i = 0;

    while (bytes >> shift >= 1024) {
        shift += 10;
        i++;
    }
    uint64_t whole = bytes >> shift;
    if (i == 0 || whole >= 100) {
        snprintf(text, LEATI_AMOUNT_TEXT, "%" PRIu64 " %s", whole, units[i]);
    } else {
        uint64_t tenth = ((bytes >> (shift - 10)) & 1023) * 10 / 1024;
        snprintf(text, LEATI_AMOUNT_TEXT, "%" PRIu64 ".%" PRIu64 " %s", whole, tenth, units[i]);
    }
    return text;
}

void leati_progress_start(leati_progress *p)
{
    int64_t now = leati_clock_ns();

    *p = (leati_progress){
        .on = isatty(STDERR_FILENO) == 1,
        .start_ns = now,
        .last_ns = now,
        .next_ns = now + INTERVAL_NS,
    };
}

void leati_progress_show(leati_progress *p, uint64_t bytes, uint64_t total)
{
    char done[LEATI_AMOUNT_TEXT], all[LEATI_AMOUNT_TEXT], rate[LEATI_AMOUNT_TEXT];
    int64_t now;

    if (!p->on || (now = leati_clock_ns()) < p->next_ns)
        return;
    double seconds = (double)(now - p->last_ns) / 1e9;
    leati_amount_text((uint64_t)((double)(bytes - p->last_bytes) / seconds), rate);
    leati_amount_text(bytes, done);
    if (total >= bytes && total > 0)
        fprintf(stderr, "\r\033[K%s of %s, %d%%, %s/s", done, leati_amount_text(total, all),
                (int)((double)bytes / (double)total * 100), rate);
    else
        fprintf(stderr, "\r\033[K%s, %s/s", done, rate);
    fflush(stderr);
    p->last_bytes = bytes;
    p->last_ns = now;
    p->next_ns = now + INTERVAL_NS;
}

void leati_progress_end(leati_progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
    p->on = false;
}
