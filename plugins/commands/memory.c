/* SPDX-License-Identifier: MIT
 *
 * memory.c - the memory file system under the sessions: where it is, how large, how much is free. Knows the place
 * (session.h names it) and asks the kernel; looks into nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <leat/plugin.h>

#include "plugins/commands/command.h"

int leati_memory_read(leati_memory *ret_memory)
{
    const char *root = secure_getenv("LEAT_RUNTIME_DIR");
    struct statvfs fs;

    if (!root || !*root)
        root = "/dev/shm";
    if (statvfs(root, &fs) < 0)
        return leat_fail(errno, "the memory file system %s cannot be read: %s", root, strerror(errno));
    *ret_memory = (leati_memory){
        .path = root,
        .size = (int64_t)(fs.f_blocks * fs.f_frsize),
        .free = (int64_t)(fs.f_bavail * fs.f_frsize),
    };
    return 0;
}
