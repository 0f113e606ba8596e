/* SPDX-License-Identifier: MIT
 *
 * loader.c - opens one plugin file; the only file that includes <ltdl.h>. libltdl calls every failure "file not
 * found" and is not made for threads: a plain dlopen() says the true reason, and one mutex stands around all of it.
 * Plugins stay loaded for the life of the process. Knows no directories, no names but the file's, and no
 * configuration.
 */
#include "loader.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <ltdl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct loaded {
    struct loaded *next;
    const leat_plugin *plugin;
    char path[];
} loaded;

typedef struct said {
    struct said *next;
    char *path, *text;
} said;

/* Guards the two lists and every call of libltdl. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static loaded *all_loaded;
static said *all_said;

const char *leati_loader_distrust(const struct stat *status)
{
    if (geteuid() != 0)
        return NULL;
    if (status->st_uid != 0)
        return "it belongs to another user than root, who runs this";
    if ((status->st_mode & S_IWOTH) || ((status->st_mode & S_IWGRP) && status->st_gid != 0))
        return "others than root, who runs this, can write it";
    return NULL;
}

/* Looks at a file before the dynamic linker does: that one maps a truncated file and dies of SIGBUS in it. */
static int examine(const char *path)
{
    struct stat status;
    ElfW(Ehdr) header;
    int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
    if (fd < 0)
        return leat_fail(errno, "%s: %s", path, errno == ENOENT ? "there is no such plugin" : strerror(errno));
    const char *distrust = NULL;
    if (fstat(fd, &status) < 0)
        r = leat_fail(errno, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        r = leat_fail(ELIBBAD, "%s: is not a regular file", path);
    else if ((distrust = leati_loader_distrust(&status)))
        r = leat_fail(EACCES, "%s: is not loaded: %s", path, distrust);
    else if (status.st_size == 0)
        r = leat_fail(ELIBBAD, "%s: is empty", path);
    else if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
             memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        r = leat_fail(ELIBBAD, "%s: is not a shared object (no ELF header)", path);
    else if (header.e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)) {
        uint64_t size = (uint64_t)status.st_size, end = header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize;
        bool cut = end > size;
        for (unsigned i = 0; !cut && i < header.e_phnum; i++) {
            ElfW(Phdr) part;
            off_t at = (off_t)(header.e_phoff + (uint64_t)i * sizeof(part));
            cut = pread(fd, &part, sizeof(part), at) != (ssize_t)sizeof(part) || part.p_offset > size ||
                  part.p_filesz > size - part.p_offset;
        }
        if (cut)
            r = leat_fail(ELIBBAD, "%s: is truncated: it has %llu bytes, and more by its own header", path,
                          (unsigned long long)size);
    }
    close(fd);
    return r;
}

/* Bound at once: a plugin that lacks a function is refused now, and not killed in the middle of a run. */
static int open_for_reason(const char *path, void **ret_handle)
{
    *ret_handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*ret_handle)
        return 0;
    const char *reason = dlerror();
    size_t length = strlen(path);
    if (!reason)
        reason = "no reason given";
    else if (strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0)
        reason += length + 2;
    return leat_fail(ELIBBAD, "%s: cannot be loaded: %s", path, reason);
}

static int open_with_ltdl(const char *path, lt_dlhandle *ret_handle)
{
    static bool initialised;
    lt_dladvise advise;
    if (!initialised && lt_dlinit() != 0)
        return leat_fail(ELIBACC, "%s: libltdl does not start: %s", path, lt_dlerror());
    initialised = true;
    if (lt_dladvise_init(&advise) != 0)
        return leat_fail(ENOMEM, "%s: %s", path, lt_dlerror());
    *ret_handle = lt_dladvise_local(&advise) == 0 ? lt_dlopenadvise(path, advise) : NULL;
    lt_dladvise_destroy(&advise);
    return *ret_handle ? 0 : leat_fail(ELIBBAD, "%s: cannot be loaded: %s", path, lt_dlerror());
}

static int check(const leat_plugin *plugin, const char *path)
{
    const char *file = strrchr(path, '/') + 1;
    char name[NAME_MAX + 1];
    if (!plugin)
        return leat_fail(ELIBBAD, "%s: has no symbol %s: it is no plugin of leat", path, LEAT_PLUGIN_SYMBOL);
    snprintf(name, sizeof(name), "%.*s", (int)(strlen(file) - strlen(".so")), file);
    return leati_descriptor_check(plugin, path, name);
}

static int load(const char *path, const leat_plugin **ret_plugin)
{
    void *first;
    lt_dlhandle handle;
    int r = examine(path);
    if (r < 0)
        return r;
    if ((r = open_for_reason(path, &first)) < 0)
        return r;
    if ((r = open_with_ltdl(path, &handle)) < 0)
        goto close_first;
    const leat_plugin *plugin = lt_dlsym(handle, LEAT_PLUGIN_SYMBOL);
    if ((r = check(plugin, path)) < 0)
        goto close_handle;
    loaded *made = malloc(sizeof(*made) + strlen(path) + 1);
    if (!made) {
        r = leat_fail(ENOMEM, "%s: out of memory", path);
        goto close_handle;
    }
    lt_dlmakeresident(handle);
    made->plugin = plugin;
    made->next = all_loaded;
    strcpy(made->path, path);
    all_loaded = made;
    *ret_plugin = plugin;
    dlclose(first);
    return 0;

close_handle:
    lt_dlclose(handle);
close_first:
    dlclose(first);
    return r;
}

int leati_loader_load(const char *path, const leat_plugin **ret_plugin)
{
    int r = 1;
    pthread_mutex_lock(&lock);
    for (loaded *l = all_loaded; l && r == 1; l = l->next)
        if (strcmp(l->path, path) == 0) {
            *ret_plugin = l->plugin;
            r = 0;
        }
    if (r == 1)
        r = load(path, ret_plugin);
    pthread_mutex_unlock(&lock);
    return r;
}

bool leati_loader_is_news(const char *path, const char *text)
{
    pthread_mutex_lock(&lock);
    said *s = all_said;
    while (s && !(strcmp(s->path, path) == 0 && strcmp(s->text, text) == 0))
        s = s->next;
    bool news = !s;
    if (news && (s = malloc(sizeof(*s)))) {
        *s = (said){all_said, strdup(path), strdup(text)};
        if (s->path && s->text) {
            all_said = s;
        } else {
            free(s->path);
            free(s->text);
            free(s);
        }
    }
    pthread_mutex_unlock(&lock);
    return news;
}
