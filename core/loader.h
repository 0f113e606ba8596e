/* SPDX-License-Identifier: MIT
 *
 * loader.h - what the registry and the loader share: the loader opens one file and judges its descriptor, the registry
 * knows directories, names and aliases.
 */
#ifndef LEATI_LOADER_H
#define LEATI_LOADER_H

#include "internal.h"

#include <sys/stat.h>

/* Opens the plugin in `path` (absolute, a .so) and checks its descriptor on its own. Once loaded it stays, and later
 * calls return the same descriptor. -ENOENT: there is no such file; -ELIBBAD and others: refused; each with its
 * sentence, which begins with the path. */
int leati_loader_load(const char *path, const leat_plugin **ret_plugin);

/* True once for each path and text: a refusal is logged once, however often plugins are looked for. */
bool leati_loader_is_news(const char *path, const char *text);

/* Why root must not load from a file or directory: somebody else can change it. NULL: nobody can, or this is not
 * root. */
const char *leati_loader_distrust(const struct stat *status);

/* ---- descriptor.c ---------------------------------------------------------------------------------------------- */

/* Whether a descriptor keeps the rules of plugin.h; `name` is its file's. -ELIBBAD with a sentence that begins with
 * `path`. */
int leati_descriptor_check(const leat_plugin *plugin, const char *path, const char *name);

/* Whether `text` may name a plugin: [a-z0-9-]+ */
bool leati_is_plugin_name(const char *text);

const char *leati_plugin_kind_name(leat_plugin_kind kind); /* "transport" */

/* ---- registry.c ------------------------------------------------------------------------------------------------ */

/* Finds the plugin of that kind and name or alias. */
int leati_registry_find(const leat_config *cfg, leat_plugin_kind kind, const char *name,
                        const leat_plugin **ret_plugin);

#endif
