/* SPDX-License-Identifier: MIT
 *
 * admin.h - list, inspect and clean what leat's transports keep on this machine. What shmadm does, it does through
 * this header. Nothing here needs a context, disturbs a running program, or knows shared memory: transports are asked.
 *
 * Conventions as in leat.h: 0 or a count, or a negative errno with leat_error().
 */
#ifndef LEAT_ADMIN_H
#define LEAT_ADMIN_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct leat_admin leat_admin;

/* Whose remains are looked at. NULL or -1 means: any. */
typedef struct leat_scope {
    int64_t uid;         /* owner, -1 any */
    const char *session; /* name */
    const char *shmid;   /* eight hex digits */
} leat_scope;

typedef enum leat_item_kind {
    LEAT_ITEM_SEGMENT,   /* shared memory */
    LEAT_ITEM_ADDRESS,   /* a bound address: socket and lock */
    LEAT_ITEM_PEER,      /* a context's entry in its session */
    LEAT_ITEM_DIRECTORY, /* a session's directory, when nothing is in it */
} leat_item_kind;

typedef enum leat_state {
    LEAT_ALIVE,
    LEAT_STOPPED, /* alive; its process is stopped or traced */
    LEAT_STALLED, /* alive; a queue is not empty and its head has not moved for stall_after */
    LEAT_DEAD,    /* proved: nobody holds its lock */
    LEAT_UNKNOWN, /* cannot be told; `why` says what hinders */
} leat_state;
LEAT_API const char *leat_state_name(leat_state state); /* "alive" */
LEAT_API const char *leat_item_kind_name(leat_item_kind kind);

/* One thing that a transport keeps on the machine. Strings live during the callback only. Numbers that are not known
 * are -1. */
typedef struct leat_item {
    leat_item_kind kind;
    const char *transport; /* "posix-shm" */
    const char *session;   /* "" if not known */
    const char *shmid;     /* "" if not known */
    const char *name;      /* relative to the memory file system, or id:N for SysV; what `clean NAME` takes */
    const char *path;      /* absolute; "" if it has none */
    leat_state state;
    const char *why;     /* UNKNOWN, DEAD: the reason in words; else "" */
    const char *program; /* of the owner; "" if not known */
    pid_t pid;           /* for display only */
    int64_t uid, gid;
    unsigned mode;        /* permission bits */
    int64_t created;      /* seconds since the epoch */
    int64_t size;         /* bytes: as it appears */
    int64_t allocated;    /* bytes: what it takes from the machine */
    int64_t heap_size;    /* bytes: what it may grow to */
    int64_t used;         /* bytes in live blocks */
    int64_t peak;         /* the most that `used` has been */
    int64_t largest_free; /* bytes: the largest block that could be allocated */
    int64_t blocks;       /* live ones */
    int64_t peers;        /* linked contexts */
} leat_item;
typedef int leat_item_fn(const leat_item *item, void *user); /* not 0 ends the listing and is returned */

/* One channel of an item's owner. */
typedef struct leat_channel_info {
    const char *name;    /* "data" */
    const char *pattern; /* "push" */
    const char *address; /* "data"; several joined with ", " */
    const char *method;  /* "bind" or "connect" */
    int64_t peers;
    int64_t depth; /* messages sent and not yet received by the peers */
    int64_t held;  /* messages received and not yet closed */
    int64_t messages_in, messages_out, bytes_in, bytes_out, dropped, redelivered;
} leat_channel_info;
typedef int leat_channel_info_fn(const leat_channel_info *info, void *user);

#define LEAT_REMOVE_FORCE 1u   /* also what is alive or unknown */
#define LEAT_REMOVE_DRY_RUN 2u /* say what would happen, remove nothing */

/* What found plugins there are, good and refused. */
typedef struct leat_plugin_info {
    const char *path;
    const char *name; /* "" if it could not be read */
    const char *kind; /* "transport", "command" or "" */
    const char *version;
    const char *summary;
    const char *aliases;      /* joined with ", " */
    const char *capabilities; /* joined with ", " */
    const char *refused;      /* the sentence, or NULL: it is good */
    const char *unusable;     /* why its probe says that it cannot work here, or NULL */
} leat_plugin_info;
typedef int leat_plugin_info_fn(const leat_plugin_info *info, void *user);

typedef struct leat_admin_options {
    const char *session; /* NULL: any */
    const char *shmid;   /* NULL: any */
    int64_t uid;         /* -1: this user's, or as root everybody's */
    bool json;           /* for commands: print JSON */
} leat_admin_options;

/* Makes an administrator. `config` (may be NULL: what leat_config_args() would load) is copied. */
LEAT_API int leat_admin_new(const leat_config *config, const leat_admin_options *options, leat_admin **ret_admin);
LEAT_API void leat_admin_free(leat_admin *admin);
LEAT_API const leat_config *leat_admin_config(const leat_admin *admin);
LEAT_API const leat_admin_options *leat_admin_get_options(const leat_admin *admin);

/* Calls fn for each item of each transport in scope: segments, then addresses, peers, directories. */
LEAT_API int leat_admin_list(leat_admin *admin, leat_item_fn *fn, void *user);

/* Calls fn for each channel of the owner of `item`, read from what it publishes. -ENOTSUP: its transport publishes
 * none; -ESTALE: it went meanwhile; -EBADMSG: its memory does not hold what it should. */
LEAT_API int leat_admin_inspect(leat_admin *admin, const leat_item *item, leat_channel_info_fn *fn, void *user);

/* Removes `item` if it is proved dead at that moment, under its lock; *ret_bytes is what came back. -EBUSY: it lives;
 * -ESTALE: it was gone already. */
LEAT_API int leat_admin_remove(leat_admin *admin, const leat_item *item, unsigned flags, uint64_t *ret_bytes);

/* Calls fn for each plugin file found, in the order in which directories are searched. */
LEAT_API int leat_admin_plugins(leat_admin *admin, leat_plugin_info_fn *fn, void *user);

/* Runs the command plugin whose name or alias is argv[0], with these arguments; returns its exit status: 0 done or nothing
 * to do, 1 something was refused or failed, 2 usage. -ENOENT: no such command; or what its probe says. The command prints
 * on standard output and error. */
LEAT_API int leat_admin_run(leat_admin *admin, int argc, char **argv);

/* The eight hex digits of `session` of user `uid`: the first of SHA-256 over "uid:session". ret_shmid has room for 9. */
LEAT_API int leat_admin_shmid(uid_t uid, const char *session, char ret_shmid[9]);

/* Checks an INI file; calls fn for each mistake with its line (0: none) and sentence. Returns how many mistakes, or
 * -ENOENT, -EACCES. */
typedef int leat_mistake_fn(const char *path, int line, const char *text, void *user);
LEAT_API int leat_admin_check(leat_admin *admin, const char *path, leat_mistake_fn *fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
