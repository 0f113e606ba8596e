/* SPDX-License-Identifier: MIT
 *
 * stranger.c - a shared object that is right and has nothing to do with leat.
 */
int leat_test_stranger(void);

__attribute__((visibility("default"))) int leat_test_stranger(void)
{
    return 1;
}
