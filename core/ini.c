/* SPDX-License-Identifier: MIT
 *
 * ini.c - reads INI files; the only file that includes <ini.h>. Counts the lines, since inih passes no numbers on,
 * and refuses what inih would cut without a word: lines and section names that are too long, text behind a heading,
 * lines that go on with the one before. Knows no section and no key.
 */
#include "ini_file.h"
#include "internal.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

/* inih copies section names to an array of 50. */
#define SECTION_MAX 49

typedef struct reader {
    FILE *file;
    const leati_ini_events *events;
    void *user;
    char *text; /* getline's */
    size_t text_size;
    int line;
    int result;         /* not 0: reading has ended */
    bool skipping;      /* behind a heading that is a mistake */
    bool expects_value; /* the line last handed to inih must come back as a value */
    char section[SECTION_MAX + 1];
} reader;

static void mistake(reader *in, const char *format, ...) LEAT_PRINTF(2, 3);
static void mistake(reader *in, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (in->result == 0)
        in->result = in->events->mistake(in->line, text, in->user);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Reads a heading ("[name]" and perhaps a comment) and tells of it, or of what is wrong with it. */
static void take_heading(reader *in, const char *text)
{
    const char *end = strchr(text, ']');
    in->skipping = true;
    in->section[0] = '\0';
    if (!end) {
        mistake(in, "the section heading lacks its ]");
        return;
    }
    const char *rest = end + 1;
    while (is_blank(*rest))
        rest++;
    if (*rest && *rest != ';' && *rest != '#') {
        mistake(in, "there is text behind the section heading: \"%.100s\"; it belongs on a line of its own", rest);
        return;
    }
    /* Single blanks, none around: [channel  data] is [channel data]. */
    size_t length = 0;
    bool blank = false;
    for (const char *c = text + 1; c < end; c++) {
        if (is_blank(*c)) {
            blank = length > 0;
            continue;
        }
        if (length + blank >= SECTION_MAX) {
            mistake(in, "the section's name is longer than %d characters", SECTION_MAX);
            in->section[0] = '\0';
            return;
        }
        if (blank)
            in->section[length++] = ' ';
        blank = false;
        in->section[length++] = *c;
        in->section[length] = '\0';
    }
    if (length == 0) {
        mistake(in, "the section has no name");
        return;
    }
    in->skipping = false;
    if (in->result == 0)
        in->result = in->events->section(in->section, in->line, in->user);
}

/* Whether it begins as "key =" does. */
static bool looks_like_assignment(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    const char *rest = text + length;
    while (is_blank(*rest))
        rest++;
    return length > 0 && *rest == '=';
}

/* Looks at one line and says what inih is to get: the line without blanks in front, or nothing. */
static const char *screen(reader *in, char *line, size_t length, size_t capacity)
{
    if (strlen(line) != length) {
        mistake(in, "the line has a zero byte in it");
        return "";
    }
    while (length > 0 && (line[length - 1] == '\n' || is_blank(line[length - 1])))
        line[--length] = '\0';
    if (in->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3;
    bool indented = is_blank(*line);
    while (is_blank(*line))
        line++;
    if (!*line || *line == ';' || *line == '#')
        return "";
    if (*line == '[') {
        take_heading(in, line);
        return "";
    }
    if (in->skipping)
        return "";
    if (strlen(line) >= capacity) {
        mistake(in, "the line is longer than %zu characters", capacity - 1);
        return "";
    }
    /* inih would hand an indented line over as a further value of the key before. As indentation is mostly meant for
     * the eye, a line with a key of its own is taken as one, and a real continuation refused. */
    if (indented && !looks_like_assignment(line)) {
        mistake(in, "a value cannot go on in the next line; a list may be given by repeating its key");
        return "";
    }
    if (!in->section[0]) {
        mistake(in, "\"%.100s\" stands before the first [section]", line);
        return "";
    }
    in->expects_value = true;
    return line;
}

/* inih's fgets: hands it one line at a time, without the newline. An empty one stands for each that it need not see. */
static char *next_line(char *buffer, int capacity, void *user)
{
    reader *in = user;
    if (in->expects_value) {
        in->expects_value = false;
        mistake(in, "neither a [section] nor key = value");
    }
    if (in->result != 0)
        return NULL;
    errno = 0;
    ssize_t length = getline(&in->text, &in->text_size, in->file);
    if (length < 0) {
        if (ferror(in->file))
            in->result = -(errno ? errno : EIO);
        return NULL;
    }
    in->line++;
    return strcpy(buffer, screen(in, in->text, (size_t)length, (size_t)capacity));
}

static int take_value(void *user, const char *inih_section, const char *key, const char *value)
{
    reader *in = user;
    (void)inih_section; /* headings do not reach inih */
    in->expects_value = false;
    if (in->result == 0 && !*key)
        mistake(in, "there is no key before the =");
    else if (in->result == 0)
        in->result = in->events->value(in->section, key, value, in->line, in->user);
    return 1;
}

int leati_ini_read(const char *path, const leati_ini_events *events, void *user)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return leat_fail(errno, "%s: %s", path, strerror(errno));
    reader in = {.file = file, .events = events, .user = user};
    int r = ini_parse_stream(next_line, &in, take_value, &in);
    if (ferror(file))
        leat_fail(-in.result, "%s: %s", path, strerror(-in.result));
    else if (r == -2 && in.result == 0)
        in.result = leat_fail(ENOMEM, "%s: out of memory", path);
    free(in.text);
    fclose(file);
    return in.result;
}
