/* SPDX-License-Identifier: MIT
 *
 * sizes.c - conformance: messages of every size, from nothing to larger than the heap, arrive whole or are refused with
 * the key that would change it. Knows leat.h only.
 */
#include <stdlib.h>

#include "conformance.h"

static const size_t sizes[] = {0, 1, 15, 16, 47, 48, 49, 56, 64, 240, 256, 4095, 4096, 4097, 65537, 1 << 20, 64 << 20};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void every_size_arrives_whole(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t i = 0; i < SIZES; i++) {
        conf_send(e.tx, sizes[i], i);
        conf_recv(e.rx, sizes[i], i);
    }
    conf_ends_close(&e);
}

static void sizes_mixed_in_one_queue_keep_their_order(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < SIZES - 1; i++)
            conf_send(e.tx, sizes[i], i);
        for (size_t i = 0; i < SIZES - 1; i++)
            conf_recv(e.rx, sizes[i], i);
    }
    conf_ends_close(&e);
}

static void every_length_around_a_slot_arrives_whole(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t size = 0; size < 600; size++) {
        conf_send(e.tx, size, size);
        conf_send(e.tx, size, size + 1);
        conf_recv(e.rx, size, size);
        conf_recv(e.rx, size, size + 1);
    }
    conf_ends_close(&e);
}

static void larger_than_the_heap_is_refused_by_the_key_heap_size(void)
{
    leat_config *cfg = conf_config();
    leat_msg msg = LEAT_MSG_INIT;
    char section[64];
    conf_ends e;
    snprintf(section, sizeof(section), "transport %s", conf.transport);
    conf_keys(cfg, section, "heap_size=16M");
    conf_ends_open(&e, cfg, "", "");
    check_error(leat_msg_alloc(e.tx, (16 << 20) + 1, 1000, &msg), EMSGSIZE);
    check(strstr(leat_error(), "heap_size") != NULL);
    check_error(leat_msg_alloc(e.tx, SIZE_MAX, 1000, &msg), EMSGSIZE);
    check_error(leat_msg_alloc(e.tx, SIZE_MAX - 4096, 0, &msg), EMSGSIZE);
    check_int(leat_msg_size(&msg), 0);
    conf_send(e.tx, 8 << 20, 1); /* and nothing is broken by it */
    conf_recv(e.rx, 8 << 20, 1);
    conf_ends_close(&e);
}

static void larger_than_max_msg_size_is_refused_by_its_name(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "max_msg_size=1M", "");
    check_error(leat_msg_alloc(e.tx, (1 << 20) + 1, 1000, &msg), EMSGSIZE);
    check(strstr(leat_error(), "max_msg_size") != NULL);
    check(strstr(leat_error(), "tx") != NULL);
    conf_send(e.tx, 1 << 20, 1);
    conf_recv(e.rx, 1 << 20, 1);
    conf_ends_close(&e);
}

static void memory_is_aligned_as_asked(void)
{
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    for (size_t align = 1; align <= 4096; align *= 2)
        for (size_t size = 1; size < 100000; size = size * 7 + 1) {
            leat_msg msg = LEAT_MSG_INIT, got = LEAT_MSG_INIT;
            check_ok(leat_msg_alloc_aligned(e.tx, size, align, SOON_MS, &msg));
            uintptr_t at = (uintptr_t)leat_msg_data(&msg);
            check(at % align == 0);
            check(at % 16 == 0);
            conf_fill(leat_msg_data(&msg), size, align);
            check_ok(leat_send(e.tx, &msg, SOON_MS));
            check_ok(leat_recv(e.rx, &got, SOON_MS));
            conf_verify(&got, size, align);
            if (conf.claims & CONF_ALIGN)
                check((uintptr_t)leat_msg_data(&got) % align == 0);
            leat_msg_close(&got);
        }
    conf_ends_close(&e);
}

static void an_alignment_that_is_none_is_refused(void)
{
    leat_msg msg = LEAT_MSG_INIT;
    conf_ends e;
    conf_ends_open(&e, conf_config(), "", "");
    check_error(leat_msg_alloc_aligned(e.tx, 100, 0, 0, &msg), EINVAL);
    check_error(leat_msg_alloc_aligned(e.tx, 100, 24, 0, &msg), EINVAL);
    check_error(leat_msg_alloc_aligned(e.tx, 100, 8192, 0, &msg), EINVAL);
    conf_ends_close(&e);
}

CONF_BOTH(every_size_arrives_whole, 0)
CONF_BOTH(sizes_mixed_in_one_queue_keep_their_order, 0)
CONF_BOTH(every_length_around_a_slot_arrives_whole, 0)
CONF_PUSH(larger_than_the_heap_is_refused_by_the_key_heap_size, CONF_HEAP)
CONF_PUSH(larger_than_max_msg_size_is_refused_by_its_name, 0)
CONF_PUSH(memory_is_aligned_as_asked, 0)
CONF_PUSH(an_alignment_that_is_none_is_refused, 0)

const leat_test conf_sizes[] = {
    IN_BOTH("a message of every size from 0 to 64 MiB arrives whole", every_size_arrives_whole),
    IN_BOTH("messages of mixed sizes keep their order", sizes_mixed_in_one_queue_keep_their_order),
    IN_BOTH("every length from 0 to 599 arrives whole", every_length_around_a_slot_arrives_whole),
    IN_PUSH("what is larger than the heap gives -EMSGSIZE, naming heap_size",
            larger_than_the_heap_is_refused_by_the_key_heap_size),
    IN_PUSH("what is larger than max_msg_size gives -EMSGSIZE, naming it",
            larger_than_max_msg_size_is_refused_by_its_name),
    IN_PUSH("memory is aligned as asked", memory_is_aligned_as_asked),
    IN_PUSH("an alignment that is none gives -EINVAL", an_alignment_that_is_none_is_refused),
    {.name = NULL},
};
