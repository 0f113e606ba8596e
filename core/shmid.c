/* SPDX-License-Identifier: MIT
 *
 * shmid.c - the eight hex digits that stand for a session and its user in the names of segments. The only file that
 * includes nettle.
 */
#include "internal.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

int leat_admin_shmid(uid_t uid, const char *session, char ret_shmid[9])
{
    char *text;
    if (asprintf(&text, "%lu:%s", (unsigned long)uid, session) < 0)
        return leat_fail(ENOMEM, "session %s: out of memory", session);
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, strlen(text), (const uint8_t *)text);
    sha256_digest(&hash, sizeof(digest), digest);
    free(text);
    snprintf(ret_shmid, 9, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
    return 0;
}
