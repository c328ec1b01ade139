/* Assertions of our own invariants. They stay on in release builds, and are never used for input.
 */
#pragma once

/* Ends the process with the broken condition and its place on standard error. */
#define check(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

_Noreturn void check_failed(const char *condition, const char *file, int line,
                            const char *function);
