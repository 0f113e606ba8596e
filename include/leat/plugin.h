/* SPDX-License-Identifier: MIT
 *
 * plugin.h - for authors of transports and of shmadm commands.
 *
 * A plugin is one shared object, NAME.so, that exports one constant descriptor, `leat_plugin`. The core loads it when a
 * configuration names it (a transport) or when shmadm looks for its commands, and never unloads it. Link it with
 * `-module -avoid-version` (or -shared) `-Wl,-z,defs -Wl,-z,now` against libleat: it calls the functions declared below.
 */
#ifndef LEAT_PLUGIN_H
#define LEAT_PLUGIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <sys/types.h>

#include <leat/admin.h>
#include <leat/leat.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a struct or the meaning of a call in this header changes. */
#define LEAT_PLUGIN_ABI 1u

/* ---- keys: one row describes an INI key to the parser, `shmadm check`, the manual and conf/leat.ini ------------ */

typedef enum leat_key_type {
    LEAT_KEY_STRING,
    LEAT_KEY_BOOL,     /* yes no on off true false 1 0; reads as 0 or 1 */
    LEAT_KEY_INT,      /* a whole number */
    LEAT_KEY_SIZE,     /* bytes; suffixes K M G T mean powers of 1024 */
    LEAT_KEY_DURATION, /* milliseconds; suffixes us (rounded up) ms s min; -1 or `forever` where min is -1 */
    LEAT_KEY_CHOICE,   /* one of `choices` */
    LEAT_KEY_LIST,     /* comma-separated strings; a repeated key adds to it */
} leat_key_type;

typedef struct leat_key {
    const char *name; /* NULL ends a table */
    leat_key_type type;
    const char *def;     /* as it would stand in a file; NULL: none */
    const char *unit;    /* "bytes", "ms", "slots"...; NULL: none */
    const char *choices; /* LEAT_KEY_CHOICE: "adaptive|sleep|poll" */
    int64_t min, max;    /* LEAT_KEY_INT, SIZE, DURATION; both 0: any that is not negative */
    const char *help;    /* one sentence */
} leat_key;

/* The values of one section, checked against its key tables. Asking for a key that no table has is a programming error
 * and aborts. Strings live as long as the settings. */
typedef struct leat_settings leat_settings;
LEAT_API const char *leat_setting(const leat_settings *s, const char *key);  /* NULL: not set, no default */
LEAT_API int64_t leat_setting_int(const leat_settings *s, const char *key);  /* bool, int, size, duration (ms) */
LEAT_API size_t leat_setting_count(const leat_settings *s, const char *key); /* entries of a list */
LEAT_API const char *leat_setting_at(const leat_settings *s, const char *key, size_t i);
LEAT_API bool leat_setting_given(const leat_settings *s, const char *key); /* set somewhere, not the default */

/* ---- services of the core -------------------------------------------------------------------------------------- */

/* Records this thread's error text for leat_error() and returns -error (error > 0). The first to detect a failure says it
 * once, with what, where and the remedy; everybody else passes the number on. */
LEAT_API int leat_fail(int error, const char *format, ...) LEAT_PRINTF(2, 3);

/* Writes one log line. */
LEAT_API void leat_logf(leat_log_level level, const char *format, ...) LEAT_PRINTF(2, 3);

/* CLOCK_MONOTONIC in nanoseconds. */
LEAT_API int64_t leat_now_ns(void);

/* What a leat_msg holds; plugin and core see a message as this. An INLINE message lies in `bytes`, needs no release, and
 * may be copied bytewise. A BLOCK lies where `block.data` points and is released through `block.ops`; `owner`, `a` and
 * `b` are the transport's. All zero bytes are an empty INLINE message. */
typedef struct leat_msg_ops leat_msg_ops;
#define LEAT_BODY_INLINE 0
#define LEAT_BODY_BLOCK 1
#define LEAT_INLINE_MAX 48u
typedef struct
#if defined(__GNUC__)
    __attribute__((may_alias, aligned(16)))
#endif
    leat_msg_body {
    uint8_t kind;         /* LEAT_BODY_... */
    uint8_t flags;        /* BLOCK: the transport's */
    uint16_t reserved;    /* 0 */
    uint32_t inline_size; /* INLINE: 0 to 48 */
    int64_t timestamp_ns; /* 0: none */
    union {
        unsigned char bytes[LEAT_INLINE_MAX];
        struct {
            void *data;
            uint64_t size;
            const leat_msg_ops *ops;
            void *owner;
            uint64_t a, b;
        } block;
    } u;
} leat_msg_body;

/* Operations on a BLOCK. All may be called in any thread, also after the port was closed and the transport detached. */
struct leat_msg_ops {
    /* Lets go of the block. The core empties the message afterwards. Must not block for long and cannot fail. */
    void (*release)(leat_msg_body *msg);
    /* Makes *ret_copy (uninitialised) a second handle to the same bytes. */
    int (*share)(leat_msg_body *msg, leat_msg_body *ret_copy);
    /* Makes the bytes writable by this program, copying them only if they are shared or somebody else's. */
    int (*unshare)(leat_msg_body *msg);
};

typedef enum leat_pattern {
    LEAT_PAIR,
    LEAT_PUSH,
    LEAT_PULL,
    LEAT_PUB,
    LEAT_SUB,
    LEAT_REQ,
    LEAT_REP,
    LEAT_PATTERNS /* how many there are */
} leat_pattern;
LEAT_API const char *leat_pattern_name(leat_pattern pattern); /* "push" */
LEAT_API leat_pattern leat_pattern_partner(leat_pattern pattern);
LEAT_API bool leat_pattern_sends(leat_pattern pattern);
LEAT_API bool leat_pattern_receives(leat_pattern pattern);

/* The core's side of a port: a transport tells it what happens to peers. All may be called from any thread, also inside
 * an operation of the port; none blocks or calls back into the transport. Valid until `close` of the port returns. */
typedef struct leat_hook leat_hook;
/* A peer is linked: messages can pass. */
LEAT_API void leat_hook_joined(leat_hook *hook);
/* A peer is gone AND everything that it sent has been received. died: it did not leave in order. */
LEAT_API void leat_hook_left(leat_hook *hook, bool died);
/* A partner refused the link for good, e.g. another pattern: sends, receives and waits of the channel fail with -error
 * and this text as long as the channel has no peer, until leat_hook_joined() or leat_hook_refused(hook, 0, NULL). */
LEAT_API void leat_hook_refused(leat_hook *hook, int error, const char *text);
/* Wakes whoever waits on the channel, to look again. */
LEAT_API void leat_hook_wake(leat_hook *hook);

/* ---- transports ------------------------------------------------------------------------------------------------ */

/* What a transport is told about the context that it joins; valid until `detach` returns. */
typedef struct leat_attach_info {
    const char *session;           /* its name */
    const char *program;           /* short name of this program */
    const leat_settings *settings; /* [transport NAME], with the plugin's `keys` */
    const leat_settings *process;  /* [leat] */
} leat_attach_info;

/* What it is told about a channel; valid until `close` returns. */
typedef struct leat_port_info {
    leat_hook *hook;
    const char *channel; /* its name */
    leat_pattern pattern;
    const leat_settings *settings; /* [channel NAME], with the core's keys and the plugin's `channel_keys` */
} leat_port_info;

/* A transport's operations. `state` is what attach made, one per context; `port` is what open made, one per channel and
 * transport, whatever its number of addresses. Errors are negative errnos with leat_fail() said.
 *
 * Threads: the core calls the operations of one port from one thread at a time, and operations of different ports of a
 * state from different threads at once. `hook` calls and msg_ops may come from anywhere.
 *
 * Waiting is the core's: `send` and `recv` never block. To sleep, the core calls, for each port concerned,
 *     raise(port, events); then fence(state) once; then ready(port, events)
 * and if nothing is ready it sleeps until fd(port) is readable (or a hook call wakes it), then calls lower(port). So
 * from raise on the transport must make fd readable as soon as one of `events` may be possible; a spurious readiness
 * is harmless, a missed one hangs the program. */
typedef struct leat_transport_ops {
    /* Joins: makes what the context needs once. A failure leaves nothing behind. */
    int (*attach)(const leat_attach_info *info, void **ret_state);
    /* Leaves. All ports are closed; messages may still be held by the program and must stay usable. */
    void (*detach)(void *state);
    /* In the child after fork(), async-signal-safe: close descriptors that would keep the parent alive. May be NULL. */
    void (*forked)(void *state);

    /* Makes a port, not yet bound or connected to anything. */
    int (*open)(void *state, const leat_port_info *info, void **ret_port);
    /* Serves `address`: a plain name or one of the transport's URIs. -EADDRINUSE, saying by whom. */
    int (*bind)(void *port, const char *address);
    /* Starts connecting to `address` and goes on until it works, also after the partner went; does not wait. */
    int (*connect)(void *port, const char *address);
    /* Closes. Waits at most linger_ms (-1: for ever; LEAT_LINGER_DEFAULT: as long as this transport thinks right)
     * for messages that would be lost otherwise. */
    void (*close)(void *port, int linger_ms);

    /* Sends n parts as one message, all or none, by the pattern's rule. Takes the messages over on success (the core
     * empties them), leaves them untouched on failure. Each is INLINE or a block for which `owns` is true.
     * -EAGAIN: no peer or no room; -EMSGSIZE. */
    int (*send)(void *port, leat_msg_body *const *parts, size_t n);
    /* Takes the next message: fills parts[0..] (empty INLINE ones) and returns how many. -EAGAIN: none;
     * -EMSGSIZE: it has more than `capacity` parts and is still queued; with capacity 0: returns how many, takes none. */
    int (*recv)(void *port, leat_msg_body *const *parts, size_t capacity);
    /* Allocates a BLOCK of `size` bytes (or INLINE, if it fits and align <= 16). -EAGAIN: all in use, comes back when
     * messages are released; after `raise` with LEAT_OUT fd tells. -EMSGSIZE, -ENOSPC. */
    int (*alloc)(void *port, size_t size, size_t align, leat_msg_body *ret_msg);
    /* Whether `send` of this port takes this BLOCK without a copy. */
    bool (*owns)(void *port, const leat_msg_body *msg);
    /* Makes a BLOCK of the caller's bytes without copying. NULL: the core copies. */
    int (*from)(void *port, void *data, size_t size, leat_free_fn *free_fn, void *hint, leat_msg_body *ret_msg);
    /* SUB: add or remove a prefix. NULL: the transport carries no PUB/SUB. */
    int (*subscribe)(void *port, const void *prefix, size_t size, bool add);

    /* Which of LEAT_IN and LEAT_OUT are possible now; may be wrong only towards ready. */
    unsigned (*ready)(void *port, unsigned events);
    /* The descriptor to sleep on, the same for the life of the port. */
    int (*fd)(void *port);
    void (*raise)(void *port, unsigned events); /* may be NULL */
    void (*fence)(void *state);                 /* may be NULL */
    void (*lower)(void *port);                  /* may be NULL */

    /* Adds the port's counters to *stats. */
    void (*stats)(void *port, leat_stats *stats);

    /* What this transport has on the machine; see admin.h for each. NULL: it leaves nothing. */
    int (*list)(const leat_scope *scope, leat_item_fn *fn, void *user);
    int (*inspect)(const leat_item *item, leat_channel_info_fn *fn, void *user);
    int (*remove)(const leat_item *item, unsigned flags, uint64_t *ret_bytes);
} leat_transport_ops;

#define LEAT_LINGER_DEFAULT (-2)

/* Capabilities of a transport; each needs its operation. */
#define LEAT_CAP_PATTERN(p) (UINT64_C(1) << (p)) /* carries this pattern and (its partner) */
#define LEAT_CAP_SPIN (UINT64_C(1) << 16)        /* send/recv are cheap enough to be tried in a spin */
#define LEAT_CAP_NO_COPY (UINT64_C(1) << 17)     /* a block reaches its receiver without a copy */
#define LEAT_CAP_REDELIVERS (UINT64_C(1) << 18)  /* messages unread by a dead peer go to the next */
#define LEAT_CAP_REMOTE (UINT64_C(1) << 19)      /* reaches other machines */
#define LEAT_CAP_ADMIN (UINT64_C(1) << 20)       /* list, inspect and remove are there */

/* ---- commands of shmadm ---------------------------------------------------------------------------------------- */

typedef struct leat_command_ops {
    /* Runs the command: argv[0] is its name, the common options are taken out already and are in `admin`. Returns the
     * exit status: 0 done or nothing to do, 1 something was refused or failed, 2 usage. */
    int (*run)(leat_admin *admin, int argc, char **argv);
} leat_command_ops;

/* ---- the descriptor -------------------------------------------------------------------------------------------- */

typedef enum leat_plugin_kind { LEAT_TRANSPORT = 1, LEAT_COMMAND = 2 } leat_plugin_kind;

typedef struct leat_plugin {
    uint32_t abi;         /* LEAT_PLUGIN_ABI */
    uint32_t struct_size; /* sizeof(leat_plugin) */
    leat_plugin_kind kind;
    const char *name;           /* [a-z0-9-]+, the file's name without .so */
    const char *const *aliases; /* NULL-terminated; NULL: none */
    const char *version;
    const char *summary;          /* one line */
    const leat_key *keys;         /* of [transport NAME] or [command NAME]; NULL: none */
    const leat_key *channel_keys; /* further keys of [channel ...]; NULL: none */
    const char *const *schemes;   /* transport: URI schemes it answers to ("tcp"); NULL-terminated; NULL: none */
    uint64_t capabilities;
    uint32_t ops_size; /* sizeof(leat_transport_ops) or sizeof(leat_command_ops) */
    /* Can it work here? 0, or a negative errno with leat_fail() said. NULL: always. */
    int (*probe)(void);
    const leat_transport_ops *transport;
    const leat_command_ops *command;
} leat_plugin;

/* In the plugin: LEAT_PLUGIN = { .abi = LEAT_PLUGIN_ABI, .struct_size = sizeof(leat_plugin), ... }; */
#define LEAT_PLUGIN_SYMBOL "leat_plugin"
#ifdef __cplusplus
#define LEAT_PLUGIN                                                                           \
    extern "C" LEAT_API const leat_plugin leat_plugin_descriptor __asm__(LEAT_PLUGIN_SYMBOL); \
    const leat_plugin leat_plugin_descriptor
#else
#define LEAT_PLUGIN                                                                       \
    extern LEAT_API const leat_plugin leat_plugin_descriptor __asm__(LEAT_PLUGIN_SYMBOL); \
    const leat_plugin leat_plugin_descriptor
#endif

#ifdef __cplusplus
}
#endif
#endif
