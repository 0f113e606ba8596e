/* SPDX-License-Identifier: MIT
 *
 * posix_shm_test.c - the conformance suite, run on posix-shm.
 */
#include "conformance.h"

int main(int argc, char **argv)
{
    return conf_main("posix-shm", argc, argv);
}
