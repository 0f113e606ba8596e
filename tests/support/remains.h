/* SPDX-License-Identifier: MIT
 *
 * remains.h - what a test left on the machine, seen from outside. Knows leat's names, but asks none of leat's code.
 */
#ifndef REMAINS_H
#define REMAINS_H

#include <stdio.h>
#include <sys/types.h>

/* The System V ids of this user at some moment. */
typedef struct remains_ids {
    int *ids;
    size_t count;
} remains_ids;

void remains_note_ids(remains_ids *ret_ids);
void remains_free_ids(remains_ids *ids);

/* Looks for names of `session` in /dev/shm and for System V segments that are not in `before` and that belong to
 * `session` or were made by process `pid`. Prints a line on each to `out`, removes it, and returns how many. */
int remains_report(const char *session, const remains_ids *before, pid_t pid, FILE *out);

/* Removes the directory `path` with all that is in it, if it is there. */
void remains_remove_tree(const char *path);

#endif
