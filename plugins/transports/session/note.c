/* SPDX-License-Identifier: MIT
 *
 * note.c - the text in peer files and address locks, written and read. What is read was written by somebody who may
 * have been killed in the middle of it, or by nobody of ours: it is bounded, checked, and never trusted as a path.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "parts.h"

#define SEGMENTS_MAX 256 /* in one peer file */

static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;
static char boot_id[37];

static void boot_id_read(void)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, boot_id, 36);

    if (fd >= 0)
        close(fd);
    if (n != 36)
        strcpy(boot_id, "00000000-0000-0000-0000-000000000000");
}

const char *leati_boot_id(void)
{
    pthread_once(&boot_id_once, boot_id_read);
    return boot_id;
}

size_t leati_note_write(const leati_session *s, const char *kind, const char *address, char *ret_text, size_t size)
{
    struct timespec now, boottime;
    struct tm utc;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &boottime);
    gmtime_r(&now.tv_sec, &utc);
    n = snprintf(ret_text, size,
                 "leat %s 1\n"
                 "pid = %d\n"
                 "program = %s\n"
                 "started = %04d-%02d-%02dT%02d:%02d:%02dZ %" PRId64 "\n"
                 "boot = %s\n"
                 "uid = %u\n"
                 "session = %s\n"
                 "transport = %s\n"
                 "%s%s%s",
                 kind, (int)getpid(), s->program, utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                 utc.tm_min, utc.tm_sec, (int64_t)boottime.tv_sec * 1000000000 + boottime.tv_nsec, leati_boot_id(),
                 (unsigned)s->uid, s->name, s->transport, address != NULL ? "address = " : "",
                 address != NULL ? address : "", address != NULL ? "\n" : "");
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

bool leati_segment_good(const char *name)
{
    size_t i;

    for (i = 0; name[i] != '\0'; i++) {
        char c = name[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-' || c == ':'))
            return false;
    }
    return i >= 1 && i <= LEATI_SEGMENT_MAX && name[0] != '.';
}

/* Copies what can be printed. */
static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; *from != '\0' && n < size - 1; from++)
        to[n++] = (unsigned char)*from < 0x20 || *from == 0x7f ? '?' : *from;
    to[n] = '\0';
}

static int64_t parse_time(const char *text)
{
    struct tm utc;

    memset(&utc, 0, sizeof(utc));
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour, &utc.tm_min,
               &utc.tm_sec) != 6 ||
        utc.tm_year < 1970)
        return -1;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    return timegm(&utc);
}

static int parse_line(leati_note *note, const char *key, const char *value)
{
    char *end;

    if (strcmp(key, "pid") == 0) {
        long pid = strtol(value, &end, 10);

        if (*end == '\0' && pid > 0 && pid <= INT32_MAX)
            note->pid = (pid_t)pid;
    } else if (strcmp(key, "program") == 0) {
        copy_text(note->program, sizeof(note->program), value);
    } else if (strcmp(key, "started") == 0) {
        note->started = parse_time(value);
    } else if (strcmp(key, "address") == 0) {
        if (leati_name_good(value, true))
            strcpy(note->address, value);
    } else if (strcmp(key, "note") == 0) {
        if (leati_name_good(value, true))
            strcpy(note->word, value);
    } else if (strcmp(key, "state") == 0) {
        note->left = strcmp(value, "left") == 0;
    } else if (strcmp(key, "segment") == 0) {
        if (!leati_segment_good(value) || note->n_segments == SEGMENTS_MAX)
            return 0;
        if (note->n_segments % 16 == 0) {
            void *more = realloc(note->segments, (note->n_segments + 16) * sizeof(*note->segments));

            if (more == NULL)
                return -ENOMEM;
            note->segments = more;
        }
        strcpy(note->segments[note->n_segments++], value);
    }
    return 0;
}

int leati_note_read(int fd, leati_note *ret_note)
{
    leati_note note = {.pid = -1, .started = -1, .program = "", .address = "", .word = ""};
    char *text, *line, *end;
    size_t size = 0;
    int r = 0;

    text = malloc(LEATI_TEXT_MAX);
    if (text == NULL)
        return leat_fail(ENOMEM, "no memory to read a peer file");
    while (size < LEATI_TEXT_MAX) {
        ssize_t n = pread(fd, text + size, LEATI_TEXT_MAX - size, (off_t)size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = leat_fail(EIO, "a peer file cannot be read: %s", strerror(errno));
            goto free_text;
        }
        if (n == 0)
            break;
        size += (size_t)n;
    }
    /* A line counts when its newline is there: the last one may be half written. A NUL byte cuts its line only. */
    for (line = text; r == 0 && (end = memchr(line, '\n', size - (size_t)(line - text))) != NULL; line = end + 1) {
        char *equals;

        *end = '\0';
        equals = strstr(line, " = ");
        if (equals == NULL)
            continue;
        *equals = '\0';
        r = parse_line(&note, line, equals + 3);
    }
    if (r < 0) {
        leati_note_fini(&note);
        r = leat_fail(-r, "no memory to read a peer file");
        goto free_text;
    }
    *ret_note = note;

free_text:
    free(text);
    return r;
}

void leati_note_fini(leati_note *note)
{
    free(note->segments);
    note->segments = NULL;
    note->n_segments = 0;
}

/* Whether that process is stopped or traced; for display. The pid may be another's by now, or of another name space:
 * the program's name must fit too. */
static bool is_stopped(const leati_note *note)
{
    char path[32], text[512], *open_mark, *close_mark;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)note->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    open_mark = strchr(text, '(');
    close_mark = strrchr(text, ')');
    if (open_mark == NULL || close_mark == NULL || close_mark < open_mark || close_mark[1] != ' ')
        return false;
    *close_mark = '\0';
    /* The kernel keeps 15 characters. */
    return strncmp(open_mark + 1, note->program, 15) == 0 && (close_mark[2] == 'T' || close_mark[2] == 't');
}

leat_state leati_note_state(int fd, const leati_note *note, const char **ret_why)
{
    int writer = leati_lock_writer(fd, LEATI_LIFE);

    *ret_why = "";
    if (writer < 0) {
        *ret_why = "its lock cannot be asked";
        return LEAT_UNKNOWN;
    }
    if (writer > 0)
        return note->pid > 0 && is_stopped(note) ? LEAT_STOPPED : LEAT_ALIVE;
    *ret_why = note->left ? "its process left in order while its memory was still read" : "nobody holds its lock";
    return LEAT_DEAD;
}
