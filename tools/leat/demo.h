/* SPDX-License-Identifier: MIT
 *
 * demo.h - what the programs of `leat demo` agree upon: what stands in front of each message, and the lines in which they
 * report to the one that started them. The source, the workers and the sink know each other only by their channels.
 *
 *     [channel source] push -> pull [channel worker-in]   two workers   [channel worker-out] push -> pull [channel sink]
 */
#ifndef LEATI_DEMO_H
#define LEATI_DEMO_H

#include "tool.h"

#define LEATI_DEMO_WORKERS 2

/* ---- demo_message.c -------------------------------------------------------------------------------------------- */

/* The first part of each message; the second is a piece of the input. */
typedef struct leati_demo_header {
    uint64_t number;   /* 0, 1, 2... in the order of the input */
    uint64_t size;     /* of the second part */
    uint64_t checksum; /* of the second part */
    uint64_t worker;   /* which one has checked it, 0: none yet */
} leati_demo_header;

uint64_t leati_demo_checksum(const void *data, size_t size);

/* Receives a message of these two parts. The header is a copy. Errors as leat_recv_parts(), and -EBADMSG. */
int leati_demo_receive(leat_channel *ch, leat_msg parts[2], leati_demo_header *ret_header);

/* Sends both parts; parts[0] is made new from `header`. */
int leati_demo_send(leat_channel *ch, const leati_demo_header *header, leat_msg *payload);

/* ---- demo_report.c --------------------------------------------------------------------------------------------- */

/* A child's end: --report FD. Lines are "rate MESSAGES BYTES", "half", and at last "end MESSAGES BYTES SHA256 TEXT". */
typedef struct leati_report {
    int fd; /* -1: nobody wants to know */
    int64_t next_ns;
} leati_report;

void leati_report_rate(leati_report *report, uint64_t messages, uint64_t bytes);
void leati_report_half(leati_report *report);
void leati_report_end(leati_report *report, uint64_t messages, uint64_t bytes, const char *sha256, const char *text);

/* What has arrived at the parent's end. */
typedef struct leati_reported {
    char line[512]; /* not complete yet */
    size_t line_n;
    uint64_t messages, bytes;
    bool half, end;
    char sha256[LEATI_DIGEST_TEXT];
    char text[256];
} leati_reported;

/* Reads what there is. 0: the child has closed its end; negative errno. */
int leati_reported_read(leati_reported *reported, int fd);

/* ---- demo_input.c ---------------------------------------------------------------------------------------------- */

/* A file, or the shared libraries of this machine one after the other, as one stream. */
typedef struct leati_demo_input leati_demo_input;

/* `path` NULL: the libraries, sorted by name, no more than `limit` bytes (0: all). */
int leati_demo_input_open(const char *path, uint64_t limit, leati_demo_input **ret_input);
uint64_t leati_demo_input_size(const leati_demo_input *input);
const char *leati_demo_input_text(const leati_demo_input *input); /* "231 files of /usr/lib/..." */
/* Fills `data` unless the end comes before; returns how many bytes. */
ssize_t leati_demo_input_read(leati_demo_input *input, void *data, size_t size);
void leati_demo_input_close(leati_demo_input *input);

#endif
