/* SPDX-License-Identifier: MIT
 *
 * suite.c - the conformance suite for a transport that the command line names, for example one built outside the tree.
 */
#include "conformance.h"

int main(int argc, char **argv)
{
    return conf_main(NULL, argc, argv);
}
