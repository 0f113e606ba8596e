/* SPDX-License-Identifier: MIT
 *
 * demo_input.c - real data for `leat demo`: a file, or the shared libraries that every machine has, one after the other.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leat/plugin.h>

#include "demo.h"

struct leati_demo_input {
    char **paths;
    size_t count, next;
    int fd; /* of paths[next - 1]; -1: none open */
    uint64_t size, left;
    char text[200];
};

static int add(leati_demo_input *in, const char *path)
{
    char **paths = realloc(in->paths, (in->count + 1) * sizeof(*paths));
    char *copy = strdup(path);

    if (paths)
        in->paths = paths;
    if (!paths || !copy) {
        free(copy);
        return leat_fail(ENOMEM, "no memory for a list of %zu files", in->count + 1);
    }
    in->paths[in->count++] = copy;
    return 0;
}

/* The directory that the C library was loaded from: where this machine keeps its shared libraries. */
static int library_directory(char directory[PATH_MAX])
{
    Dl_info info;
    char *slash;

    if (dladdr((const void *)(uintptr_t)strtol, &info) == 0 || !realpath(info.dli_fname, directory) ||
        !(slash = strrchr(directory, '/')))
        return leat_fail(ENOENT, "the directory of this machine's shared libraries cannot be told; name a FILE");
    *slash = '\0';
    return 0;
}

static int find_libraries(leati_demo_input *in, uint64_t limit)
{
    char directory[PATH_MAX], pattern[PATH_MAX + 8];
    glob_t found;
    int r = library_directory(directory);

    if (r < 0)
        return r;
    snprintf(pattern, sizeof(pattern), "%s/*.so*", directory);
    if (glob(pattern, 0, NULL, &found) != 0)
        return leat_fail(ENOENT, "%s: there are no shared libraries; name a FILE", directory);
    /* Sorted by glob(). Links would send the same bytes twice. */
    for (size_t i = 0; i < found.gl_pathc && r == 0 && in->size < limit; i++) {
        struct stat st;
        if (lstat(found.gl_pathv[i], &st) == 0 && S_ISREG(st.st_mode) && access(found.gl_pathv[i], R_OK) == 0) {
            in->size += (uint64_t)st.st_size;
            r = add(in, found.gl_pathv[i]);
        }
    }
    globfree(&found);
    snprintf(in->text, sizeof(in->text), "%zu files of %.160s", in->count, directory);
    return r;
}

static int find_file(leati_demo_input *in, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return leat_fail(errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return leat_fail(EINVAL, "%s: is not a regular file", path);
    in->size = (uint64_t)st.st_size;
    snprintf(in->text, sizeof(in->text), "%.190s", path);
    return add(in, path);
}

int leati_demo_input_open(const char *path, uint64_t limit, leati_demo_input **ret_input)
{
    leati_demo_input *in = calloc(1, sizeof(*in));
    int r;

    if (!in)
        return leat_fail(ENOMEM, "no memory for the input");
    in->fd = -1;
    if (limit == 0)
        limit = UINT64_MAX;
    r = path ? find_file(in, path) : find_libraries(in, limit);
    if (r < 0) {
        leati_demo_input_close(in);
        return r;
    }
    if (in->size > limit)
        in->size = limit;
    in->left = in->size;
    *ret_input = in;
    return 0;
}

uint64_t leati_demo_input_size(const leati_demo_input *in)
{
    return in->size;
}

const char *leati_demo_input_text(const leati_demo_input *in)
{
    return in->text;
}

ssize_t leati_demo_input_read(leati_demo_input *in, void *data, size_t size)
{
    size_t filled = 0;

    if (size > in->left)
        size = in->left;
    while (filled < size) {
        if (in->fd < 0) {
            if (in->next == in->count)
                break;
            in->fd = open(in->paths[in->next], O_RDONLY | O_CLOEXEC);
            if (in->fd < 0)
                return leat_fail(errno, "%s: %s", in->paths[in->next], strerror(errno));
            in->next++;
        }
        ssize_t n = read(in->fd, (char *)data + filled, size - filled);
        if (n < 0) {
            if (errno == EINTR && !leati_interrupted())
                continue;
            return leat_fail(errno, "%s: %s", in->paths[in->next - 1], strerror(errno));
        }
        if (n == 0) {
            close(in->fd);
            in->fd = -1;
        }
        filled += (size_t)n;
    }
    in->left -= filled;
    return (ssize_t)filled;
}

void leati_demo_input_close(leati_demo_input *in)
{
    if (!in)
        return;
    for (size_t i = 0; i < in->count; i++)
        free(in->paths[i]);
    free(in->paths);
    if (in->fd >= 0)
        close(in->fd);
    free(in);
}
