/* SPDX-License-Identifier: MIT
 *
 * leat.h - channels, messages and pollers for applications.
 *
 * Everything an application needs is in this header. Which transport carries a channel (shared memory, ZeroMQ) is
 * decided by configuration, never by a call made here.
 *
 * Conventions, valid for every function unless its comment says otherwise:
 *   - Returns 0 (or a count) on success and a negative errno on failure; leat_error() then says in words what failed,
 *     where, and what to do about it.
 *   - Out-parameters come last, are named ret_*, and are written only on success.
 *   - Timeouts are milliseconds on the monotonic clock: -1 waits for ever, 0 never blocks. Nothing happened in
 *     time: -EAGAIN. A wait ends with -EINTR after leat_interrupt(), and may do so after a plain signal.
 *   - A channel and a poller belong to one thread at a time; different channels of one context may be used by
 *     different threads at once.
 *   - After fork() every call made in the child returns -ECHILD; the parent notices nothing.
 */
#ifndef LEAT_LEAT_H
#define LEAT_LEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LEAT_API __attribute__((visibility("default")))
#define LEAT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define LEAT_API
#define LEAT_PRINTF(f, a)
#endif

/* Version of this header; leat_version() is the library's. */
#define LEAT_VERSION_MAJOR 0
#define LEAT_VERSION_MINOR 1
#define LEAT_VERSION_PATCH 0

typedef struct leat_config leat_config;
typedef struct leat_ctx leat_ctx;
typedef struct leat_channel leat_channel;
typedef struct leat_poller leat_poller;

/* A message: 64 opaque bytes held by value, 16-aligned. Initialise with leat_msg_init() or LEAT_MSG_INIT, move only
 * with leat_msg_move(), end with leat_msg_close(). Small messages lie inside the struct, so that the pointer that
 * leat_msg_data() returned is void once the struct moves. */
typedef struct leat_msg {
    uint64_t opaque[8];
}
#if defined(__GNUC__)
__attribute__((aligned(16)))
#endif
leat_msg;

#define LEAT_MSG_INIT              \
    {                              \
        {                          \
            0, 0, 0, 0, 0, 0, 0, 0 \
        }                          \
    }

/* Events of a poller and of leat_channel_arm(). */
#define LEAT_IN 1u  /* a message can be received (or: the end can be read) */
#define LEAT_OUT 2u /* a message can be sent */
#define LEAT_ERR 4u /* reported only: error or hang-up of a file descriptor */

/* ---- configuration: INI, then code, then command line; the later one wins ------------------------------------- */

/* Makes an empty configuration, owned by the caller, to be freed with leat_config_free(). */
LEAT_API int leat_config_new(leat_config **ret_cfg);

/* Reads the INI file `path` into `cfg`. Values that code or command line have set already win over the file's.
 * -ENOENT, -EACCES: the file; -EINVAL: a mistake in it, which leat_error() names as `file:line: [section] key: ...`. */
LEAT_API int leat_config_load(leat_config *cfg, const char *path);

/* Sets one value, as code does; wins over files, loses against the command line. -EINVAL: unknown key or bad value. */
LEAT_API int leat_config_set(leat_config *cfg, const char *section, const char *key, const char *value);

/* Gets the value in force, or the key's default; the string lives until `cfg` changes. A key that may be repeated gives
 * its values joined with ", ". -ENOENT: not set and without a default. */
LEAT_API int leat_config_get(const leat_config *cfg, const char *section, const char *key, const char **ret_value);

/* Takes leat's own options out of a command line (argv is compacted, *argc lowered, argv[*argc] NULL):
 *   --config FILE  --session S  --transport [CHANNEL=]NAME  --channel name=C,key=value,...  --plugin-dir DIR
 *   --set SECTION.KEY=VALUE
 * both as `--opt VALUE` and `--opt=VALUE`; `--` ends them. Loads the file of --config, else of $LEAT_CONFIG, else
 * /etc/leat/leat.ini where that exists. Strings are copied. -EINVAL with the option's name. */
LEAT_API int leat_config_args(leat_config *cfg, int *argc, char **argv);

LEAT_API void leat_config_free(leat_config *cfg);

/* ---- context: one program's membership in a session ----------------------------------------------------------- */

/* Joins the session that `cfg` names. `cfg` is copied and may be freed; NULL means: what leat_config_args() would load
 * for an empty command line. Several contexts may live in one process. */
LEAT_API int leat_ctx_new(const leat_config *cfg, leat_ctx **ret_ctx);

/* Leaves the session: closes what is still open. Handles of channels and pollers stay valid to be closed or freed,
 * every other call on them gives -ESHUTDOWN; messages stay readable until they are closed. May wait as long as the
 * channels' `linger` says. NULL is ignored. */
LEAT_API void leat_ctx_free(leat_ctx *ctx);

/* Ends every present and future wait of the context at once with -EINTR, until leat_resume(). Safe in a signal handler
 * and from any thread. */
LEAT_API void leat_interrupt(leat_ctx *ctx);
LEAT_API void leat_resume(leat_ctx *ctx);

/* ---- channel: `name` is the INI section [channel name] -------------------------------------------------------- */

/* Opens the channel that the section [channel NAME] describes: binds or starts connecting each of its endpoints, and
 * does not wait for a partner. -ENOENT: no such section; -EADDRINUSE: bound by another process; -EINVAL: the section
 * lacks or contradicts something; -ENOTSUP: the transport does not carry this pattern or cannot work here. */
LEAT_API int leat_channel_open(leat_ctx *ctx, const char *name, leat_channel **ret_ch);

/* Closes it. What was sent stays readable for its receivers; waits at most `linger` for what the transport cannot leave
 * behind. Messages received from it stay readable until they are closed. NULL is ignored. */
LEAT_API void leat_channel_close(leat_channel *ch);

/* Sends `msg`. On success the message has moved away and `msg` is empty, as after leat_msg_init(); on failure it is
 * untouched. -EAGAIN: no peer with room in time; -EMSGSIZE: can never fit; -EPROTOTYPE, -ECONNREFUSED: the partner
 * refused the link; -EPROTO: out of turn (REQ/REP); -ENOTSUP: the pattern does not send. */
LEAT_API int leat_send(leat_channel *ch, leat_msg *msg, int timeout_ms);

/* Receives a message of one part into the initialised `msg`, closing what it held, on success only. -EMSGSIZE: the next
 * message has several parts; it is still queued. -EPIPE, -ECONNRESET: the end (`at_end = finish`): all senders left in
 * order, or one died. */
LEAT_API int leat_recv(leat_channel *ch, leat_msg *msg, int timeout_ms);

/* Sends `n` messages (1 <= n) as the parts of one: all or none become visible, together. */
LEAT_API int leat_send_parts(leat_channel *ch, leat_msg *msgs, size_t n, int timeout_ms);

/* Receives all parts of one message into msgs[0..], initialised ones; returns how many. More parts than `capacity`:
 * -EMSGSIZE, and it is still queued. `capacity` 0 (msgs may be NULL) returns how many there are and takes nothing. */
LEAT_API int leat_recv_parts(leat_channel *ch, leat_msg *msgs, size_t capacity, int timeout_ms);

/* How many peers are linked now. */
LEAT_API int leat_channel_peers(const leat_channel *ch);

/* Waits until at least `n` peers are linked. */
LEAT_API int leat_channel_wait_peers(leat_channel *ch, int n, int timeout_ms);

/* Counters of one channel. Grows at its end only. */
typedef struct leat_stats {
    uint64_t messages_in, messages_out; /* since the channel was opened; parts of one message count once */
    uint64_t bytes_in, bytes_out;       /* payload */
    uint64_t dropped;                   /* not sent because a peer was full (PUB), or lost with a channel's end */
    uint64_t redelivered;               /* sent again because the peer that had them unread died or left */
    uint64_t queued;                    /* sent and not yet received by the peers, now */
    uint64_t held;                      /* received and not yet closed by this program, now */
} leat_stats;
LEAT_API int leat_channel_stats(const leat_channel *ch, leat_stats *ret_stats);

/* A descriptor for a foreign event loop, owned by the channel: to be polled for reading, never read. It says something
 * only after leat_channel_arm(). */
LEAT_API int leat_channel_fd(leat_channel *ch);

/* Returns 1 if the channel is ready for one of `events` now; else 0, and the descriptor becomes readable when it is (or
 * when it may be: arm again and see). Any other call on the channel voids it. */
LEAT_API int leat_channel_arm(leat_channel *ch, unsigned events);

/* ---- message -------------------------------------------------------------------------------------------------- */

typedef void leat_free_fn(void *data, void *hint); /* called in the thread that lets go last */

/* Makes an empty message of size 0. Closes nothing. */
LEAT_API void leat_msg_init(leat_msg *msg);

/* Allocates `size` bytes, 0 and up, not zeroed, in memory that channel `ch` sends without a copy; at least 16-aligned
 * (64 from 49 bytes up on shared memory). -EMSGSIZE: can never fit, -EAGAIN: the heap stayed in use until the timeout,
 * -ENOSPC: the file system is full; each names the key that would change it. */
LEAT_API int leat_msg_alloc(leat_channel *ch, size_t size, int timeout_ms, leat_msg *ret_msg);

/* The same with the data aligned to `align`, a power of two up to 4096. */
LEAT_API int leat_msg_alloc_aligned(leat_channel *ch, size_t size, size_t align, int timeout_ms, leat_msg *ret_msg);

/* Makes a message of the caller's bytes. A transport that can, sends them in place; another copies them. `free_fn` (may
 * be NULL) is called once, when nobody needs the bytes any more, perhaps before this returns; never on failure. */
LEAT_API int leat_msg_from(leat_channel *ch, void *data, size_t size, leat_free_fn *free_fn, void *hint,
                           leat_msg *ret_msg);

/* The bytes; never NULL. They may be written in a message that this program allocated and shares with nobody;
 * see leat_msg_writable(). */
LEAT_API void *leat_msg_data(leat_msg *msg);
LEAT_API size_t leat_msg_size(const leat_msg *msg);

/* Shortens a message to `size` bytes. -EINVAL: it is shorter already. */
LEAT_API int leat_msg_truncate(leat_msg *msg, size_t size);

/* When the message was first sent, in ns of CLOCK_MONOTONIC; 0 if its channel has no `timestamps = yes`. */
LEAT_API int64_t leat_msg_timestamp(const leat_msg *msg);

/* Makes a second handle to the same bytes; both are then read-only until one is closed. */
LEAT_API int leat_msg_copy(leat_msg *msg, leat_msg *ret_copy);

/* Makes the bytes writable: copies them only if they are shared or another process's. Pointers from before are void. */
LEAT_API int leat_msg_writable(leat_msg *msg);

/* Closes `to` and moves `from` there, which is empty then. */
LEAT_API void leat_msg_move(leat_msg *from, leat_msg *to);

/* Lets go of the bytes and makes the message empty. May be called in any thread, after its channel was closed and after
 * its context was freed. */
LEAT_API void leat_msg_close(leat_msg *msg);

/* ---- poller: channels and file descriptors together ------------------------------------------------------------ */

typedef struct leat_event {
    leat_channel *channel; /* or NULL */
    int fd;                /* or -1 */
    unsigned events;       /* what is ready */
    void *tag;             /* as given to add */
} leat_event;

LEAT_API int leat_poller_new(leat_ctx *ctx, leat_poller **ret_poller);

/* Watches a channel for `events`. A channel may be in one poller at a time (-EBUSY). -EEXIST: it is in this one. */
LEAT_API int leat_poller_add(leat_poller *p, leat_channel *ch, unsigned events, void *tag);
LEAT_API int leat_poller_add_fd(leat_poller *p, int fd, unsigned events, void *tag);
LEAT_API int leat_poller_modify(leat_poller *p, leat_channel *ch, unsigned events);
LEAT_API int leat_poller_remove(leat_poller *p, leat_channel *ch);
LEAT_API int leat_poller_remove_fd(leat_poller *p, int fd);

/* Waits until something is ready and fills up to `capacity` events (>= 1), each ready source once, in fair turns; level
 * triggered. Returns how many; -EAGAIN: none in time. A channel that has ended (`at_end`) is ready for LEAT_IN. After a
 * send or an allocation that gave -EAGAIN, LEAT_OUT means that the same may be tried again. */
LEAT_API int leat_poller_wait(leat_poller *p, leat_event *events, size_t capacity, int timeout_ms);
LEAT_API void leat_poller_free(leat_poller *p);

/* ---- log and errors -------------------------------------------------------------------------------------------- */

typedef enum leat_log_level {
    LEAT_LOG_ERROR,
    LEAT_LOG_WARNING,
    LEAT_LOG_NOTICE,
    LEAT_LOG_INFO,
    LEAT_LOG_DEBUG,
} leat_log_level;

/* Gets each line, without a newline, in whatever thread logs it, perhaps under locks: it must call nothing of leat. */
typedef void leat_log_fn(leat_log_level level, const char *line, void *user);

/* Sends the log to `fn`; NULL brings back standard error. */
LEAT_API void leat_log_to(leat_log_fn *fn, void *user);

/* This thread's last failure in words; "" if there was none. Valid until the thread's next failure. */
LEAT_API const char *leat_error(void);

/* "0.1.0" */
LEAT_API const char *leat_version(void);

#ifdef __cplusplus
}
#endif
#endif
