/* SPDX-License-Identifier: MIT
 *
 * send.c - sends numbered messages through the channel [channel out] of its configuration, each allocated where the
 * transport wants it, so that sending copies nothing.
 *
 *     ./send --config leat.ini [COUNT [SIZE]]
 */
#include <leat/leat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int send_all(leat_channel *out, unsigned long count, size_t size)
{
    for (unsigned long number = 0; number < count; number++) {
        leat_msg msg = LEAT_MSG_INIT;
        if (leat_msg_alloc(out, size, -1, &msg) < 0)
            return -1;
        memset(leat_msg_data(&msg), 0, size);
        snprintf(leat_msg_data(&msg), size, "message %lu", number);
        if (leat_send(out, &msg, -1) < 0) {
            leat_msg_close(&msg);
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    leat_config *config = NULL;
    leat_ctx *ctx = NULL;
    leat_channel *out = NULL;
    int status = EXIT_FAILURE;

    if (leat_config_new(&config) < 0 || leat_config_args(config, &argc, argv) < 0)
        goto out;
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 10;
    size_t size = argc > 2 ? strtoul(argv[2], NULL, 0) : 64;
    if (leat_ctx_new(config, &ctx) < 0 || leat_channel_open(ctx, "out", &out) < 0)
        goto out;
    if (leat_channel_wait_peers(out, 1, 10000) < 0 || send_all(out, count, size) < 0)
        goto out;
    printf("sent %lu messages of %zu bytes\n", count, size);
    status = EXIT_SUCCESS;
out:
    if (status != EXIT_SUCCESS)
        fprintf(stderr, "send: %s\n", leat_error());
    leat_channel_close(out);
    leat_ctx_free(ctx);
    leat_config_free(config);
    return status;
}
