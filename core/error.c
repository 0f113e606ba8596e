/* SPDX-License-Identifier: MIT
 *
 * error.c - a thread's last failure in words. Whoever detects a failure first says it here, once; everybody else passes
 * the number on.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

#define TEXT_SIZE 1024

static _Thread_local char last_text[TEXT_SIZE];

int leat_fail(int error, const char *format, ...)
{
    /* An argument may be the text of before, which leat_error() returned: it is replaced only when it has been read. */
    char text[TEXT_SIZE];
    int saved_errno = errno;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0)
        strcpy(text, strerror(error));
    else if ((size_t)length >= sizeof(text))
        strcpy(text + sizeof(text) - 4, "...");
    memcpy(last_text, text, strlen(text) + 1);
    errno = saved_errno;
    return -error;
}

const char *leat_error(void)
{
    return last_text;
}
