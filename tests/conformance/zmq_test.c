/* SPDX-License-Identifier: MIT
 *
 * zmq_test.c - the conformance suite, run on zmq.
 */
#include "conformance.h"

int main(int argc, char **argv)
{
    return conf_main("zmq", argc, argv);
}
