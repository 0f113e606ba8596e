/* SPDX-License-Identifier: MIT
 *
 * pattern.c - what the patterns are called, who talks to whom and in which direction. How they are carried is the
 * transports' business.
 */
#include "internal.h"

static const struct {
    const char *name;
    leat_pattern partner;
    bool sends, receives;
} patterns[LEAT_PATTERNS] = {
    [LEAT_PAIR] = {"pair", LEAT_PAIR, true, true},  [LEAT_PUSH] = {"push", LEAT_PULL, true, false},
    [LEAT_PULL] = {"pull", LEAT_PUSH, false, true}, [LEAT_PUB] = {"pub", LEAT_SUB, true, false},
    [LEAT_SUB] = {"sub", LEAT_PUB, false, true},    [LEAT_REQ] = {"req", LEAT_REP, true, true},
    [LEAT_REP] = {"rep", LEAT_REQ, true, true},
};

const char *leat_pattern_name(leat_pattern pattern)
{
    return (unsigned)pattern < LEAT_PATTERNS ? patterns[pattern].name : "unknown";
}

leat_pattern leat_pattern_partner(leat_pattern pattern)
{
    return (unsigned)pattern < LEAT_PATTERNS ? patterns[pattern].partner : LEAT_PATTERNS;
}

bool leat_pattern_sends(leat_pattern pattern)
{
    return (unsigned)pattern < LEAT_PATTERNS && patterns[pattern].sends;
}

bool leat_pattern_receives(leat_pattern pattern)
{
    return (unsigned)pattern < LEAT_PATTERNS && patterns[pattern].receives;
}
