/* SPDX-License-Identifier: MIT
 *
 * table.c - tables on a terminal or in a pipe: columns as wide as their widest cell, sizes and users in words. What it
 * prints may have been written by other programs, so no byte of it may reach a terminal as a command.
 */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

struct leati_table {
    const leati_column *columns;
    size_t columns_n;
    char **cells;
    size_t count;
    size_t capacity;
    bool failed;
};

leati_table *leati_table_new(const leati_column *columns, size_t n)
{
    leati_table *t = calloc(1, sizeof(*t));

    if (t) {
        t->columns = columns;
        t->columns_n = n;
    }
    return t;
}

static void make_harmless(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (*p >= 0x80 && *p < 0xa0 && (p == (unsigned char *)text || p[-1] < 0x80)))
            *p = '?';
}

void leati_table_cell(leati_table *t, const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    int r = vasprintf(&text, format, args);
    va_end(args);
    if (r < 0) {
        t->failed = true;
        return;
    }
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 8 * t->columns_n;
        char **grown = realloc(t->cells, capacity * sizeof(*grown));
        if (!grown) {
            free(text);
            t->failed = true;
            return;
        }
        t->cells = grown;
        t->capacity = capacity;
    }
    make_harmless(text);
    t->cells[t->count++] = text;
}

void leati_table_number(leati_table *t, int64_t number)
{
    if (number < 0)
        leati_table_cell(t, "-");
    else
        leati_table_cell(t, "%" PRId64, number);
}

void leati_table_size(leati_table *t, int64_t bytes, bool in_full)
{
    char text[LEATI_SIZE_TEXT];

    if (in_full)
        leati_table_number(t, bytes);
    else
        leati_table_cell(t, "%s", leati_size_text(bytes, text));
}

bool leati_table_empty(const leati_table *t)
{
    return t->count == 0;
}

/* How many columns of a terminal a text takes: one for each byte that does not continue a UTF-8 character. */
static int text_width(const char *text)
{
    int width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_cell(const leati_table *t, size_t column, const char *text, int width, FILE *out)
{
    int blanks = width - text_width(text);
    bool last = column + 1 == t->columns_n;

    if (t->columns[column].right)
        fprintf(out, "%*s%s", blanks, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : blanks, "");
    fputs(last ? "\n" : "  ", out);
}

int leati_table_print(const leati_table *t, FILE *out)
{
    int *widths = calloc(t->columns_n, sizeof(*widths));

    if (!widths || t->failed) {
        free(widths);
        return leat_fail(ENOMEM, "no memory for a table");
    }
    for (size_t i = 0; i < t->columns_n; i++)
        widths[i] = text_width(t->columns[i].title);
    for (size_t i = 0; i < t->count; i++) {
        int width = text_width(t->cells[i]);
        if (width > widths[i % t->columns_n])
            widths[i % t->columns_n] = width;
    }
    for (size_t i = 0; i < t->columns_n; i++)
        print_cell(t, i, t->columns[i].title, widths[i], out);
    for (size_t i = 0; i < t->count; i++)
        print_cell(t, i % t->columns_n, t->cells[i], widths[i % t->columns_n], out);
    free(widths);
    return 0;
}

void leati_table_free(leati_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

const char *leati_size_text(int64_t bytes, char text[LEATI_SIZE_TEXT])
{
    static const char units[] = "KMGTPE";
    uint64_t unit = 1024;
    size_t i = 0;

    if (bytes < 0)
        return strcpy(text, "-");
    if (bytes < 1024) {
        snprintf(text, LEATI_SIZE_TEXT, "%" PRId64, bytes);
        return text;
    }
    while ((uint64_t)bytes / unit >= 1024) {
        unit *= 1024;
        i++;
    }
    uint64_t whole = (uint64_t)bytes / unit;
    uint64_t tenth = (uint64_t)bytes % unit / (unit / 1024) * 10 / 1024;
    if (tenth == 0)
        snprintf(text, LEATI_SIZE_TEXT, "%" PRIu64 "%c", whole, units[i]);
    else
        snprintf(text, LEATI_SIZE_TEXT, "%" PRIu64 ".%" PRIu64 "%c", whole, tenth, units[i]);
    return text;
}

const char *leati_user_text(int64_t uid, char text[LEATI_USER_TEXT])
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (uid < 0)
        return strcpy(text, "-");
    if (getpwuid_r((uid_t)uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
        snprintf(text, LEATI_USER_TEXT, "%s", found->pw_name);
    else
        snprintf(text, LEATI_USER_TEXT, "%" PRId64, uid);
    return text;
}
