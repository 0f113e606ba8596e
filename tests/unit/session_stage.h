/* SPDX-License-Identifier: MIT
 *
 * session_stage.h - what the tests of sessions play on: a root of the test's own in place of /dev/shm, segments that are
 * plain files in it, processes that join and wait to be killed.
 */
#ifndef SESSION_STAGE_H
#define SESSION_STAGE_H

#include "leat_test.h"

#include "../../plugins/transports/session/session.h"

extern char stage_root[400]; /* stands for /dev/shm */
extern char stage_user_dir[448];
void stage_use_root(void);
/* A path below the root, until the next call. */
const char *stage_below(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How many files and directories there are below the root; the first of them. */
extern int stage_entries;
extern char stage_first_entry[512];
int stage_count_below(void);
void stage_check_nothing_left(void);

extern const leati_segment_ops stage_segment_ops; /* of the transport "mem" */
void stage_make_file(const char *path, const char *text);
bool stage_exists(const char *path);

int stage_try_open(const char *session, leati_session **ret_session);
leati_session *stage_join(void); /* session "s" */
/* A process that joins, does what `act` says, and waits to be killed. */
pid_t stage_start_victim(void (*act)(leati_session *s));
void stage_make_segments(leati_session *s);
void stage_bind_address(leati_session *s);

#define ITEMS 64
typedef struct items {
    size_t n;
    struct {
        leat_item_kind kind;
        leat_state state;
        int64_t pid, uid;
        char name[256], why[256], program[32], session[80], transport[32];
    } at[ITEMS];
} items;
void stage_list_all(items *list);
int stage_find(const items *list, leat_item_kind kind, const char *part); /* its index, or -1 */
int stage_remove_item(const items *list, size_t i, unsigned flags, uint64_t *ret_bytes);

#endif
