/* SPDX-License-Identifier: MIT
 *
 * internal.h - what the files of the core share with each other and with nobody else: `leati_` is internal across
 * files. Plugins and tools see leat.h, plugin.h and admin.h only.
 */
#ifndef LEATI_INTERNAL_H
#define LEATI_INTERNAL_H

#include <leat/admin.h>
#include <leat/leat.h>
#include <leat/plugin.h>

/* ---- config.c, ini.c, keys.c, settings.c ----------------------------------------------------------------------- */

/* Where a value came from; the later (greater) one wins. */
typedef enum leati_origin { LEATI_FROM_FILE, LEATI_FROM_ENVIRONMENT, LEATI_FROM_CODE, LEATI_FROM_ARGS } leati_origin;

int leati_config_copy(const leat_config *cfg, leat_config **ret_copy);
/* Loads what leat_config_args() loads for an empty command line. */
int leati_config_load_default(leat_config *cfg);
/* Whether the section [channel NAME] exists in any origin. */
bool leati_config_has_section(const leat_config *cfg, const char *section);
/* Calls fn for each section, in the order of first appearance. */
int leati_config_sections(const leat_config *cfg, int (*fn)(const char *section, void *user), void *user);

/* Checks the values of `section` against the tables (NULL-terminated array of tables) and makes settings of them: an
 * unknown key is an error with a suggestion, `conf/x.ini:12: [channel data] queue: "ten" is not a whole number`. */
int leati_settings_new(const leat_config *cfg, const char *section, const leat_key *const *tables,
                       leat_settings **ret_settings);
void leati_settings_free(leat_settings *s);

extern const leat_key leati_process_keys[]; /* [leat] */
extern const leat_key leati_channel_keys[]; /* [channel NAME], what every transport has in common */

/* ---- registry.c, loader.c -------------------------------------------------------------------------------------- */

/* Finds (and loads) the transport of that name or alias, in the directories that `cfg` says. Every failure has its
 * sentence: not found (where it was looked for), the dynamic linker's true reason, ABI, size, kind, name. */
int leati_registry_transport(const leat_config *cfg, const char *name, const leat_plugin **ret_plugin);
/* Finds the transport that answers to a URI scheme. Loads all transports found to see. */
int leati_registry_scheme(const leat_config *cfg, const char *scheme, const leat_plugin **ret_plugin);
/* Loads everything found, then calls fn for each good plugin of a kind. */
int leati_registry_each(const leat_config *cfg, leat_plugin_kind kind, int (*fn)(const leat_plugin *plugin, void *user),
                        void *user);
/* The same with the refused ones and their reasons. */
int leati_registry_report(const leat_config *cfg, leat_plugin_info_fn *fn, void *user);

/* ---- log.c, error.c, clock ------------------------------------------------------------------------------------- */

void leati_log_set_level(leat_log_level level);

#endif
