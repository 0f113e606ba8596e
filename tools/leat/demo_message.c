/* SPDX-License-Identifier: MIT
 *
 * demo_message.c - the messages of `leat demo`: a header with number and checksum as the first part, data as the second.
 */
#include <errno.h>
#include <string.h>

#include <leat/plugin.h>

#include "demo.h"

/* Four independent sums, so that the processor need not wait for one multiplication to begin the next. */
uint64_t leati_demo_checksum(const void *data, size_t size)
{
    const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
    const unsigned char *p = data;
    uint64_t sums[4] = {size, 1, 2, 3}, word;

    for (; size >= sizeof(word) * 4; size -= sizeof(word) * 4) {
        for (int lane = 0; lane < 4; lane++, p += sizeof(word)) {
            memcpy(&word, p, sizeof(word));
            sums[lane] = (sums[lane] ^ word) * prime;
            sums[lane] ^= sums[lane] >> 29;
        }
    }
    for (; size > 0; size--, p++)
        sums[0] = (sums[0] ^ *p) * prime;
    for (int lane = 1; lane < 4; lane++)
        sums[0] = (sums[0] ^ sums[lane] ^ (sums[0] >> 31)) * prime;
    return sums[0];
}

int leati_demo_receive(leat_channel *ch, leat_msg parts[2], leati_demo_header *ret_header)
{
    leati_demo_header header;
    int r;

    while ((r = leat_recv_parts(ch, parts, 2, -1)) == -EINTR && !leati_interrupted())
        ;
    if (r < 0)
        return r;
    if (r != 2 || leat_msg_size(&parts[0]) != sizeof(header))
        return leat_fail(EBADMSG, "a message of %d parts, the first of %zu bytes, is none of the demo's", r,
                         leat_msg_size(&parts[0]));
    memcpy(&header, leat_msg_data(&parts[0]), sizeof(header));
    if (header.size != leat_msg_size(&parts[1]) ||
        header.checksum != leati_demo_checksum(leat_msg_data(&parts[1]), leat_msg_size(&parts[1])))
        return leat_fail(EBADMSG, "message %llu has arrived with other bytes than were sent",
                         (unsigned long long)header.number);
    *ret_header = header;
    return 0;
}

int leati_demo_send(leat_channel *ch, const leati_demo_header *header, leat_msg *payload)
{
    leat_msg parts[2] = {LEAT_MSG_INIT, LEAT_MSG_INIT};
    int r = leat_msg_alloc(ch, sizeof(*header), -1, &parts[0]);

    if (r < 0)
        return r;
    memcpy(leat_msg_data(&parts[0]), header, sizeof(*header));
    leat_msg_move(payload, &parts[1]);
    while ((r = leat_send_parts(ch, parts, 2, -1)) == -EINTR && !leati_interrupted())
        ;
    leat_msg_move(&parts[1], payload);
    leat_msg_close(&parts[0]);
    return r;
}
