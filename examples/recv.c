/* SPDX-License-Identifier: MIT
 *
 * recv.c - receives from the channel [channel in] of its configuration until the senders have left, and says what came.
 *
 *     ./recv --config leat.ini
 */
#include <errno.h>
#include <inttypes.h>
#include <leat/leat.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    leat_config *config = NULL;
    leat_ctx *ctx = NULL;
    leat_channel *in = NULL;
    leat_msg msg = LEAT_MSG_INIT;
    uint64_t messages = 0, bytes = 0;
    int rc = -1;

    if (leat_config_new(&config) < 0 || leat_config_args(config, &argc, argv) < 0)
        goto out;
    if (leat_ctx_new(config, &ctx) < 0 || leat_channel_open(ctx, "in", &in) < 0)
        goto out;
    while ((rc = leat_recv(in, &msg, -1)) >= 0) {
        messages++;
        bytes += leat_msg_size(&msg);
    }
    leat_msg_close(&msg);
    if (rc == -EPIPE) { /* the channel says `at_end = finish`: all senders have left and everything is read */
        printf("received %" PRIu64 " messages, %" PRIu64 " bytes\n", messages, bytes);
        rc = 0;
    }
out:
    if (rc < 0)
        fprintf(stderr, "recv: %s\n", leat_error());
    leat_channel_close(in);
    leat_ctx_free(ctx);
    leat_config_free(config);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
