/* SPDX-License-Identifier: MIT
 *
 * admin.h - the struct behind leat_admin, shared by the files that answer for leat/admin.h.
 */
#ifndef LEATI_ADMIN_H
#define LEATI_ADMIN_H

#include "internal.h"

struct leat_admin {
    leat_config *config;
    leat_admin_options options; /* its texts are the two below; uid is -1 for everybody's only */
    char *session, *shmid;
};

#endif
