/* SPDX-License-Identifier: MIT
 *
 * process_keys.c - the keys of [leat], the process itself. One row per key: parsing, errors, suggestions, `shmadm
 * check`, the manual and conf/leat.ini all come from here.
 */
#include "internal.h"

const leat_key leati_process_keys[] = {
    {.name = "session",
     .type = LEAT_KEY_STRING,
     .def = "default",
     .help = "The session that this program joins; only programs of one session and user meet."},
    {.name = "plugin_dir",
     .type = LEAT_KEY_LIST,
     .help = "Directories with plugins, searched after those of --plugin-dir, before $LEAT_PLUGIN_PATH and the "
             "installed one."},
    {.name = "log_level",
     .type = LEAT_KEY_CHOICE,
     .def = "notice",
     .choices = "error|warning|notice|info|debug",
     .help = "The least important lines that are still logged."},
    {.name = NULL},
};
