/* SPDX-License-Identifier: MIT
 *
 * scripted.h - the strings of a transport that does what a test says: what arrives, who comes and goes, what fails. The
 * plugins scripted.so and scripted-two.so export one each, as `scripted`; a test finds it with dlsym().
 */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include <stdbool.h>
#include <stddef.h>

typedef struct scripted {
    /* What a test sets. */
    int probe_error, attach_error, open_error, bind_error; /* 0 or errno */
    bool deaf;                                             /* its descriptor never rings */
    bool lies;                                             /* `ready` always says yes */

    /* What a test reads. */
    int attached, detached, forked, opened, closed, bound, connected;
    int raises, fences, lowers;
    int violations; /* of the sleeper's protocol: an operation on a raised port, ready without a fence... */
    int blocks;     /* that are not released yet */
    int linger_ms;  /* of the last close */
    int sent;       /* messages taken by `send` */
    size_t last_parts;
    int last_blocks; /* how many of the parts were blocks */
    char last[64];   /* beginning of the last part */
    char address[64];

    /* What a test does; in any thread. */
    void (*joined)(const char *channel);
    void (*left)(const char *channel, bool died);
    void (*refused)(const char *channel, int error, const char *text);
    void (*feed)(const char *channel, size_t parts, const void *data, size_t size); /* a message arrives */
    void (*give_room)(int messages);                                                /* for `send` */
    void (*give_memory)(long bytes);                                                /* for `alloc` */
} scripted;

#endif
