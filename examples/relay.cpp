/* SPDX-License-Identifier: MIT
 *
 * relay.cpp - the C interface from C++: passes messages on from [channel in] to [channel out] without copying them, and
 * ends when the senders have left.
 *
 *     ./relay --config relay.ini
 */
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <leat/leat.h>
#include <memory>
#include <stdexcept>
#include <string>

namespace
{

struct closer {
    void operator()(leat_config *config) const
    {
        leat_config_free(config);
    }
    void operator()(leat_ctx *ctx) const
    {
        leat_ctx_free(ctx);
    }
    void operator()(leat_channel *channel) const
    {
        leat_channel_close(channel);
    }
};
template <typename T> using handle = std::unique_ptr<T, closer>;

int need(int rc)
{
    if (rc < 0)
        throw std::runtime_error(leat_error());
    return rc;
}

handle<leat_channel> open_channel(leat_ctx *ctx, const char *name)
{
    leat_channel *channel = nullptr;
    need(leat_channel_open(ctx, name, &channel));
    return handle<leat_channel>(channel);
}

unsigned long relay(int argc, char **argv)
{
    leat_config *config = nullptr;
    need(leat_config_new(&config));
    handle<leat_config> config_owner(config);
    need(leat_config_args(config, &argc, argv));

    leat_ctx *ctx = nullptr;
    need(leat_ctx_new(config, &ctx));
    handle<leat_ctx> ctx_owner(ctx);
    handle<leat_channel> in = open_channel(ctx, "in");
    handle<leat_channel> out = open_channel(ctx, "out");

    unsigned long passed = 0;
    leat_msg msg = LEAT_MSG_INIT;
    for (;; passed++) {
        int rc = leat_recv(in.get(), &msg, -1);
        if (rc == -EPIPE)
            return passed;
        need(rc);
        rc = leat_send(out.get(), &msg, -1);
        if (rc < 0)
            leat_msg_close(&msg);
        need(rc);
    }
}

} // namespace

int main(int argc, char **argv)
{
    try {
        std::cout << "relayed " << relay(argc, argv) << " messages\n";
        return EXIT_SUCCESS;
    } catch (const std::exception &error) {
        std::cerr << "relay: " << error.what() << '\n';
        return EXIT_FAILURE;
    }
}
