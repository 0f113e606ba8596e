/* SPDX-License-Identifier: MIT
 *
 * version.c - the version of the library, made of the numbers in leat.h so that there is one place to change.
 */
#include "internal.h"

#define TEXT_OF(x) #x
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *leat_version(void)
{
    return DOTTED(LEAT_VERSION_MAJOR, LEAT_VERSION_MINOR, LEAT_VERSION_PATCH);
}
