/* SPDX-License-Identifier: MIT
 *
 * scripted-two.c - scripted.c once more under another name, for channels of two transports. Differs in nothing else.
 */
#define SCRIPTED_NAME "scripted-two"
#define SCRIPTED_SCHEME "script2"
#include "scripted.c"
