/* SPDX-License-Identifier: MIT
 *
 * demo_role.h - what each program that `leat demo` starts begins and ends with.
 */
#ifndef LEATI_DEMO_ROLE_H
#define LEATI_DEMO_ROLE_H

#include "demo.h"

typedef struct leati_demo_role {
    const char *name; /* "demo-worker" */
    /* options */
    leati_report report;
    uint64_t number, size, limit;
    const char *file;
    /* at work */
    leat_ctx *ctx;
    uint64_t messages, bytes;
} leati_demo_role;

/* Reads the options and joins the session. Negative errno. */
int leati_demo_role_start(leati_demo_role *role, leati_tool *tool, int argc, char **argv);

/* Says what failed, if `r` is negative, and leaves the session; returns the exit status. */
int leati_demo_role_end(leati_demo_role *role, int r);

#endif
