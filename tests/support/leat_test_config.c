/* SPDX-License-Identifier: MIT
 *
 * leat_test_config.c - what the harness gives a test of leat itself: its configuration, and checks that show
 * leat_error(). The only file of the harness that calls leat, through leat.h.
 */
#include "leat_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

leat_config *leat_test_config(void)
{
    leat_config *cfg = NULL;
    check_ok(leat_config_new(&cfg));
    check_ok(leat_config_set(cfg, "leat", "session", leat_test_session()));
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", leat_test_plugin_dir()));
    return cfg;
}

static const char *errno_name(long long error)
{
    const char *name = error > 0 && error < 4096 ? strerrorname_np((int)error) : NULL;
    return name ? name : "no errno";
}

long long leat_test_check_ok(const char *file, int line, const char *call, long long got)
{
    if (got < 0)
        leat_test_fail(file, line, "%s failed: -%s: %s", call, errno_name(-got), leat_error());
    return got;
}

void leat_test_check_error(const char *file, int line, const char *call, long long got, int error)
{
    if (got >= 0)
        leat_test_fail(file, line, "%s gave %lld, not -%s", call, got, errno_name(error));
    if (got != -error)
        leat_test_fail(file, line, "%s gave -%s, not -%s: %s", call, errno_name(-got), errno_name(error), leat_error());
}
