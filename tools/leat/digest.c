/* SPDX-License-Identifier: MIT
 *
 * digest.c - SHA-256, by nettle: the only file of the tools that includes it.
 */
#include <stdlib.h>

#include <nettle/sha2.h>

#include "tool.h"

struct leati_digest {
    struct sha256_ctx sha;
};

leati_digest *leati_digest_new(void)
{
    leati_digest *d = malloc(sizeof(*d));

    if (d)
        sha256_init(&d->sha);
    return d;
}

void leati_digest_update(leati_digest *d, const void *data, size_t size)
{
    sha256_update(&d->sha, size, data);
}

const char *leati_digest_text(leati_digest *d, char text[LEATI_DIGEST_TEXT])
{
    uint8_t bytes[SHA256_DIGEST_SIZE];

    sha256_digest(&d->sha, sizeof(bytes), bytes);
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

void leati_digest_free(leati_digest *d)
{
    free(d);
}
