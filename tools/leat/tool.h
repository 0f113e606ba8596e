/* SPDX-License-Identifier: MIT
 *
 * tool.h - what the commands of `leat` share. A command is one function in one file; the table in leat.c lists it. All of
 * them use leat.h as any program does, and know no transport.
 */
#ifndef LEATI_TOOL_H
#define LEATI_TOOL_H

#include <argp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <leat/leat.h>

#define LEATI_EXIT_FAILED 1
#define LEATI_EXIT_USAGE 2

/* The program, as main() found it. */
typedef struct leati_tool {
    leat_config *config; /* with the options of leat_config_args() but --transport, which needs channels to change */
    char **taken;        /* these options, with --transport, as they stood on the command line; NULL-terminated */
    int taken_n;
} leati_tool;

/* A value that a command itself gives to its channel's section. */
typedef struct leati_tool_setting {
    const char *key, *value;
} leati_tool_setting;

typedef struct leati_tool_command {
    const char *name;
    const char *summary;                                 /* NULL: not listed; started by another command */
    int (*run)(leati_tool *tool, int argc, char **argv); /* returns the exit status */
} leati_tool_command;

int leati_send_run(leati_tool *tool, int argc, char **argv);
int leati_recv_run(leati_tool *tool, int argc, char **argv);
int leati_demo_run(leati_tool *tool, int argc, char **argv);
int leati_demo_source_run(leati_tool *tool, int argc, char **argv);
int leati_demo_worker_run(leati_tool *tool, int argc, char **argv);
int leati_demo_sink_run(leati_tool *tool, int argc, char **argv);
int leati_demo_info_run(leati_tool *tool, int argc, char **argv);

/* ---- common.c -------------------------------------------------------------------------------------------------- */

/* What every command's --help says about the options that leat_config_args() has taken out. */
#define LEATI_CONFIG_HELP                                                     \
    "Options that every command takes:\n"                                     \
    "  --config FILE                 read this INI file\n"                    \
    "  --session S                   join session S\n"                        \
    "  --transport [CHANNEL=]NAME    let this transport carry the channels\n" \
    "  --channel name=C,KEY=VALUE,.. set keys of channel C, or make it\n"     \
    "  --plugin-dir DIR              look for transports here first\n"        \
    "  --set SECTION.KEY=VALUE       set any key\n"

/* Replaces the tool's configuration by a complete one: these values of one section, as code sets them, and everything that
 * the command line says. Negative errno. */
int leati_tool_configure(leati_tool *tool, const char *section, const leati_tool_setting *settings, size_t n);

/* argp_parse() under the name "leat NAME"; exits after --help (0) and after a mistake (2). */
void leati_tool_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Says "leat NAME: ..." on standard error; returns LEATI_EXIT_FAILED. */
int leati_tool_fail(const char *command, const char *format, ...) LEAT_PRINTF(2, 3);

/* "4096", "64K", "1.5G" is not one: whole numbers with K M G T for powers of 1024. False: it is none, or 0. */
bool leati_size_parse(const char *text, uint64_t *ret_size);

/* From now on SIGINT and SIGTERM interrupt `ctx`; a second one ends the program at once. NULL: until there is one. */
void leati_interrupt_by_signal(leat_ctx *ctx);
bool leati_interrupted(void);

/* write() until all is written; negative errno. */
int leati_write_all(int fd, const void *data, size_t size);

int64_t leati_clock_ns(void); /* CLOCK_MONOTONIC */

/* ---- progress.c ------------------------------------------------------------------------------------------------ */

/* A line that is overwritten on a terminal, and nothing at all elsewhere. */
typedef struct leati_progress {
    bool on;
    int64_t start_ns, next_ns;
    uint64_t last_bytes;
    int64_t last_ns;
} leati_progress;

void leati_progress_start(leati_progress *p);
/* `total` 0: not known. */
void leati_progress_show(leati_progress *p, uint64_t bytes, uint64_t total);
/* Removes the line. */
void leati_progress_end(leati_progress *p);

/* "870 MiB/s", "1.0 GiB": for people. */
#define LEATI_AMOUNT_TEXT 32
const char *leati_amount_text(uint64_t bytes, char text[LEATI_AMOUNT_TEXT]);

/* ---- digest.c -------------------------------------------------------------------------------------------------- */

#define LEATI_DIGEST_TEXT 65
typedef struct leati_digest leati_digest;
leati_digest *leati_digest_new(void); /* SHA-256; NULL: no memory */
void leati_digest_update(leati_digest *d, const void *data, size_t size);
const char *leati_digest_text(leati_digest *d, char text[LEATI_DIGEST_TEXT]); /* and starts anew */
void leati_digest_free(leati_digest *d);

/* ---- transfer.c: what send and recv have in common ------------------------------------------------------------- */

typedef struct leati_transfer {
    const char *command; /* "send" */
    bool receives;
    /* options */
    const char *channel_name, *file;
    uint64_t size;
    bool sha256, verbose, json;
    /* at work */
    leat_ctx *ctx;
    leat_channel *ch;
    const char *section; /* the channel's name: channel_name, or the one made for an address */
    leati_digest *digest;
    leati_progress progress;
    uint64_t messages, bytes;
    int64_t start_ns;
} leati_transfer;

extern const struct argp leati_transfer_argp; /* a child for the commands' own; input: the transfer */

/* Opens the channel, giving it a section if it has none. Negative errno. */
int leati_transfer_open(leati_transfer *t, leati_tool *tool);
/* Closes it and says what --verbose, --sha256 and --json ask for; returns the exit status. `r` is how the work ended. */
/* A sender that fails half way does not leave in order: its receiver would take what it has for the whole. If there is a
 * receiver, this tells the failure and ends the program as a death does; what it leaves, the receiver removes. */
void leati_transfer_give_up(leati_transfer *t, int r);
int leati_transfer_end(leati_transfer *t, int r);

#endif
