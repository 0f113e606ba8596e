/* SPDX-License-Identifier: MIT
 *
 * conformance.c - one suite for every transport: which tables there are, which transports are built here and what each
 * claims, and the command line. A test of its own proves nothing here.
 *
 *     conformance --transport NAME [--plugin-dir DIR] [--claims LIST] [-l] [PART-OF-A-TEST'S-NAME]
 */
#include <stdlib.h>

#include "conformance.h"

/* One line per transport. What is not claimed stands in the transport's manual page. */
#define EVERYTHING \
    "pair,push-pull,threads,processes,queue,queue-bytes,depth,heap,align,addresses,refusals,end,death,rejoin"
static const struct {
    const char *transport, *claims;
} known[] = {
    {"posix-shm", EVERYTHING},
    {"zmq", "pair,push-pull,threads,processes,queue,addresses,refusals,end,rejoin"},
};

static const leat_test *const tables[] = {conf_sizes,    conf_parts,     conf_messages, conf_timeouts, conf_interrupts,
                                          conf_topology, conf_processes, conf_threads,  conf_lifetime, conf_poller,
                                          conf_waiting,  conf_pressure,  conf_endings,  conf_errors};

conf_suite conf;

static unsigned parse_claims(const char *list)
{
    unsigned claims = 0;
    char *copy = strdup(list), *rest = copy, *item;
    while ((item = strsep(&rest, ", ")) != NULL) {
        if (!*item)
            continue;
        int bit = conf_claim_bit(item);
        if (bit < 0) {
            fprintf(stderr, "conformance: there is no claim \"%s\"; known: %s\n", item, EVERYTHING);
            exit(2);
        }
        claims |= 1u << bit;
    }
    free(copy);
    return claims;
}

/* Takes `--option VALUE` out of the command line; NULL: it is not there. */
static const char *take_option(const char *option, int *argc, char **argv)
{
    for (int i = 1; i + 1 < *argc; i++)
        if (strcmp(argv[i], option) == 0) {
            const char *value = argv[i + 1];
            for (int rest = i + 2; rest <= *argc; rest++)
                argv[rest - 2] = argv[rest];
            *argc -= 2;
            return value;
        }
    return NULL;
}

int conf_main(const char *transport, int argc, char **argv)
{
    const char *named = take_option("--transport", &argc, argv);
    const char *claims = take_option("--claims", &argc, argv);
    conf.plugin_dir = take_option("--plugin-dir", &argc, argv);
    conf.transport = named ? named : transport;
    for (size_t i = 0; conf.transport && !claims && i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].transport, conf.transport) == 0)
            claims = known[i].claims;
    if (!conf.transport || !claims) {
        fprintf(stderr, "usage: conformance --transport NAME [--plugin-dir DIR] --claims LIST [-l] [NAME-OF-TEST]\n"
                        "claims: " EVERYTHING "\n");
        return 2;
    }
    conf.claims = parse_claims(claims);
    conf.sends = conf.receives = "";

    size_t count = 0;
    leat_test all[512] = {{.name = NULL}};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const leat_test *t = tables[i]; t->name && count + 1 < sizeof(all) / sizeof(all[0]); t++)
            all[count++] = *t;
    return leat_test_main(all, argc, argv);
}
