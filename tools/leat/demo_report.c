/* SPDX-License-Identifier: MIT
 *
 * demo_report.c - how the programs of `leat demo` tell the one that started them how far they are: lines on a pipe.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"

#define INTERVAL_NS 20000000

static void say(const leati_report *report, const char *line, int length)
{
    /* Nobody there to read is not this program's trouble: it ends by its channels. */
    if (report->fd >= 0 && length > 0)
        leati_write_all(report->fd, line, (size_t)length);
}

void leati_report_rate(leati_report *report, uint64_t messages, uint64_t bytes)
{
    char line[80];
    int64_t now;

    if (report->fd < 0 || (now = leati_clock_ns()) < report->next_ns)
        return;
    report->next_ns = now + INTERVAL_NS;
    say(report, line, snprintf(line, sizeof(line), "rate %" PRIu64 " %" PRIu64 "\n", messages, bytes));
}

void leati_report_half(leati_report *report)
{
    say(report, "half\n", 5);
}

void leati_report_end(leati_report *report, uint64_t messages, uint64_t bytes, const char *sha256, const char *text)
{
    char line[480];

    say(report, line,
        snprintf(line, sizeof(line), "end %" PRIu64 " %" PRIu64 " %.64s %.255s\n", messages, bytes, sha256, text));
}

static void take_line(leati_reported *reported, const char *line)
{
    if (strcmp(line, "half") == 0)
        reported->half = true;
    else if (sscanf(line, "end %" SCNu64 " %" SCNu64 " %64s %255[^\n]", &reported->messages, &reported->bytes,
                    reported->sha256, reported->text) >= 3)
        reported->end = true;
    else
        sscanf(line, "rate %" SCNu64 " %" SCNu64, &reported->messages, &reported->bytes);
}

int leati_reported_read(leati_reported *reported, int fd)
{
    ssize_t n = read(fd, reported->line + reported->line_n, sizeof(reported->line) - 1 - reported->line_n);
    char *start = reported->line, *end;

    if (n <= 0)
        return n < 0 ? -errno : 0;
    reported->line_n += (size_t)n;
    reported->line[reported->line_n] = '\0';
    for (; (end = strchr(start, '\n')); start = end + 1) {
        *end = '\0';
        take_line(reported, start);
    }
    reported->line_n -= (size_t)(start - reported->line);
    memmove(reported->line, start, reported->line_n);
    return (int)n;
}
