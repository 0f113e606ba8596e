/* SPDX-License-Identifier: MIT
 *
 * admin_run.c - finds a command plugin by its name or alias and runs it: what a host of commands (shmadm, or a program
 * with an administration of its own) needs. Knows no command and no transport.
 */
#include <errno.h>
#include <string.h>

#include "core/internal.h"

struct wanted {
    const char *name;
    const leat_plugin *found;
};

static int match(const leat_plugin *plugin, void *user)
{
    struct wanted *wanted = user;

    if (strcmp(plugin->name, wanted->name) == 0) {
        wanted->found = plugin;
        return 1;
    }
    for (const char *const *alias = plugin->aliases; alias && *alias; alias++) {
        if (strcmp(*alias, wanted->name) == 0) {
            wanted->found = plugin;
            return 1;
        }
    }
    return 0;
}

int leat_admin_run(leat_admin *admin, int argc, char **argv)
{
    struct wanted wanted = {argc > 0 ? argv[0] : "", NULL};
    int r = leati_registry_each(leat_admin_config(admin), LEAT_COMMAND, match, &wanted);

    if (r < 0)
        return r;
    if (!wanted.found)
        return leat_fail(ENOENT, "no command \"%s\" was found; `shmadm` alone lists those that were", wanted.name);
    if (wanted.found->probe && (r = wanted.found->probe()) < 0)
        return r;
    return wanted.found->command->run(admin, argc, argv);
}
