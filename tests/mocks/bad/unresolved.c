/* SPDX-License-Identifier: MIT
 *
 * unresolved.c - a module that needs a function which nobody has; linked without the flags that would find that out.
 */
int leat_test_missing_function(void);
int leat_test_calls_missing_function(void);

__attribute__((visibility("default"))) int leat_test_calls_missing_function(void)
{
    return leat_test_missing_function();
}
