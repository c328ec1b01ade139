/*
 * A piece of work at every n, until nothing fails any more: each time in a process of its own, in
 * which the n-th call of a kind fails, and then another process, as after a restart, in which none
 * does. What the first has acknowledged must be there for the second. Where there is a leak
 * sanitizer the first must leave no memory behind; there only one in some calls fails, for the time
 * it takes.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"

struct failing_scenario {
    const char *directory; /* what there is before, of which each run has a copy; NULL: nothing */
    const void *data;      /* for work and check; the same for all runs */

    /*
     * What a node would do: goes on where it finds no space, after failing_end(), and otherwise
     * returns the error with which the node ends, with what it would say. Notes in *acknowledged
     * (of at most FAILING_ACKNOWLEDGED_MAX bytes, zeros before) what must not be lost from then on.
     */
    int (*work)(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure);
    /* Fails the test when something is lost, or when the directory can't be worked with. */
    void (*check)(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged);
};

enum { FAILING_ACKNOWLEDGED_MAX = 256 };

/* Tests; their fixture is the scenario. */
void memory_that_is_not_there_ends_the_process_and_loses_nothing(void **scenario);
void a_call_of_the_library_that_fails_loses_nothing(void **scenario);
void a_call_of_the_library_that_finds_no_space_loses_nothing(void **scenario);
void a_system_call_that_fails_loses_nothing(void **scenario);
void a_system_call_that_finds_no_space_loses_nothing(void **scenario);

/* All of them, for an array of tests. */
#define FAILING_TESTS                                                              \
    cmocka_unit_test(memory_that_is_not_there_ends_the_process_and_loses_nothing), \
        cmocka_unit_test(a_call_of_the_library_that_fails_loses_nothing),          \
        cmocka_unit_test(a_call_of_the_library_that_finds_no_space_loses_nothing), \
        cmocka_unit_test(a_system_call_that_fails_loses_nothing),                  \
        cmocka_unit_test(a_system_call_that_finds_no_space_loses_nothing)

/* Puts an error that has no sentence yet into the failure, as a node says it. Returns the error. */
int failing_describe(struct failure *failure, const char *what, int error);
