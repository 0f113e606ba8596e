/* SPDX-License-Identifier: MIT
 *
 * ini_file.h - what ini.c tells of an INI file while it reads it. Named so that it is not taken for the library's
 * <ini.h>.
 */
#ifndef LEATI_INI_FILE_H
#define LEATI_INI_FILE_H

/* Each may end the reading by returning something else than 0, which leati_ini_read() then returns. */
typedef struct leati_ini_events {
    int (*section)(const char *section, int line, void *user); /* blanks in it are single ones */
    int (*value)(const char *section, const char *key, const char *value, int line, void *user);
    int (*mistake)(int line, const char *text, void *user);
} leati_ini_events;

/* Reads the file `path`. What follows a section heading that is a mistake is passed over until the next heading.
 * -ENOENT, -EACCES, -EISDIR...: it cannot be read, with leat_fail() said. */
int leati_ini_read(const char *path, const leati_ini_events *events, void *user);

#endif
