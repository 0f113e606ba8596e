/* SPDX-License-Identifier: MIT
 *
 * files.h - files and plugins in a test's own directory, for the unit tests of configuration and plugins.
 */
#ifndef LEAT_TEST_FILES_H
#define LEAT_TEST_FILES_H

#include "leat_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A path in the test's directory; good for the next 31 calls. */
static inline const char *temporary(const char *name)
{
    static char paths[32][512];
    static unsigned turn;
    char *path = paths[turn++ % 32];
    check(snprintf(path, sizeof(paths[0]), "%s/%s", leat_test_tmpdir(), name) < (int)sizeof(paths[0]));
    return path;
}

static inline void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "we");
    check(file != NULL);
    check(fwrite(bytes, 1, size, file) == size);
    check(fclose(file) == 0);
}

static inline const char *write_file(const char *name, const char *text)
{
    const char *path = temporary(name);
    write_bytes(path, text, strlen(text));
    return path;
}

static inline void copy_file(const char *from, const char *to, size_t at_most)
{
    FILE *file = fopen(from, "re");
    if (!file)
        fail_test("%s: %s", from, strerror(errno));
    struct stat status;
    check(fstat(fileno(file), &status) == 0);
    size_t size = (size_t)status.st_size < at_most ? (size_t)status.st_size : at_most;
    char *bytes = malloc(size + 1);
    check(bytes && fread(bytes, 1, size, file) == size);
    fclose(file);
    write_bytes(to, bytes, size);
    free(bytes);
}

/* A module that the build has made in tests/mocks/bad. */
static inline const char *module(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/tests/mocks/bad/.libs/%s.so", leat_test_build_dir(), name);
    return path;
}

/* Puts a chameleon as DIR/NAME.so, with its changes (see chameleon.c); returns its path. */
static inline const char *put_plugin(const char *dir, const char *name, const char *changes)
{
    char file[200];
    mkdir(temporary(dir), 0755);
    snprintf(file, sizeof(file), "%s/%s.so.txt", dir, name);
    write_file(file, changes);
    file[strlen(file) - strlen(".txt")] = '\0';
    const char *path = temporary(file);
    copy_file(module("chameleon"), path, SIZE_MAX);
    return path;
}

#endif
