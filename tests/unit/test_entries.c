/* The log as the loop thread knows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "raft/entries.h"

static void append(struct entries *entries, uint64_t term, size_t size) {
    struct blob *blob = blob_new(xcalloc(1, size));
    struct log_entry entry = {
        .term = term, .type = ENTRY_COMMAND, .data = blob->memory, .size = size};

    entries_append(entries, &entry, blob);
}

static void terms_are_known_for_every_entry_and_the_one_before(void **state) {
    struct entries entries;

    (void)state;
    entries_init(&entries, 11, 3, 1 << 20);
    for (int i = 0; i < 5; i++)
        append(&entries, 3, 10);
    for (int i = 0; i < 5; i++)
        append(&entries, 7, 10);
    assert_int_equal(entries_term(&entries, 9), 0);
    assert_int_equal(entries_term(&entries, 10), 3);
    assert_int_equal(entries_term(&entries, 15), 3);
    assert_int_equal(entries_term(&entries, 16), 7);
    assert_int_equal(entries_term(&entries, 20), 7);
    assert_int_equal(entries_term(&entries, 21), 0);
    entries_deinit(&entries);
}

static void truncating_forgets_the_end(void **state) {
    struct entries entries;

    (void)state;
    entries_init(&entries, 1, 0, 1 << 20);
    for (uint64_t i = 1; i <= 3000; i++)
        append(&entries, 1 + i / 1000, 10);
    entries_truncate(&entries, 1500);
    assert_int_equal(entries.last_index, 1499);
    assert_int_equal(entries_term(&entries, 1499), 2);
    assert_null(entries_find(&entries, 1500));
    append(&entries, 9, 10);
    assert_int_equal(entries_term(&entries, 1500), 9);
    entries_deinit(&entries);
}

static void cutting_forgets_the_beginning_but_its_last_term(void **state) {
    struct entries entries;

    (void)state;
    entries_init(&entries, 1, 0, 1 << 20);
    for (uint64_t i = 1; i <= 3000; i++)
        append(&entries, 1 + i / 1000, 10);
    entries_cut(&entries, 2500);
    assert_int_equal(entries.first_index, 2500);
    assert_int_equal(entries_term(&entries, 2498), 0);
    assert_int_equal(entries_term(&entries, 2499), 3);
    assert_int_equal(entries_term(&entries, 2500), 3);
    assert_null(entries_find(&entries, 2499));
    assert_non_null(entries_find(&entries, 2500));
    entries_cut(&entries, 3001); /* all of it */
    assert_int_equal(entries_term(&entries, 3000), 4);
    append(&entries, 4, 10);
    assert_int_equal(entries_term(&entries, 3001), 4);
    entries_deinit(&entries);
}

static void a_reset_log_is_empty_behind_its_index(void **state) {
    struct entries entries;

    (void)state;
    entries_init(&entries, 1, 0, 1 << 20);
    append(&entries, 1, 10);
    entries_reset(&entries, 500, 6);
    assert_int_equal(entries.first_index, 501);
    assert_int_equal(entries.last_index, 500);
    assert_int_equal(entries_term(&entries, 500), 6);
    append(&entries, 6, 10);
    assert_int_equal(entries_term(&entries, 501), 6);
    entries_deinit(&entries);
}

static void entries_stay_in_memory_up_to_the_limit(void **state) {
    struct entries entries;

    (void)state;
    entries_init(&entries, 1, 0, 100 * 1000);
    for (int i = 0; i < 1000; i++)
        append(&entries, 1, 1000);
    assert_non_null(entries_find(&entries, 1)); /* nothing is dropped before it may be */
    entries_evict(&entries, 500, 1000);
    assert_null(entries_find(&entries, 500));
    assert_non_null(entries_find(&entries, 501));
    entries_evict(&entries, 1000, 1000);
    assert_true(entries.bytes <= 100 * 1000);
    assert_non_null(entries_find(&entries, 1000));
    entries_deinit(&entries);
}

static void a_part_of_the_log_is_weighed(void **state) {
    struct entries entries;
    uint64_t from;

    (void)state;
    entries_init(&entries, 1, 0, 1 << 20);
    for (int i = 0; i < 10000; i++)
        append(&entries, 1, 1000);
    assert_int_equal(entries_within(&entries, 10000, UINT64_MAX), 1);
    from = entries_within(&entries, 10000, 2 * 1000 * 1000);
    assert_in_range(from, 8001, 8001 + 256);
    from = entries_within(&entries, 5000, 2 * 1000 * 1000);
    assert_in_range(from, 3001, 3001 + 512);
    assert_true(entries_within(&entries, 10000, 0) > 9700);
    entries_deinit(&entries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_known_for_every_entry_and_the_one_before),
        cmocka_unit_test(truncating_forgets_the_end),
        cmocka_unit_test(cutting_forgets_the_beginning_but_its_last_term),
        cmocka_unit_test(a_reset_log_is_empty_behind_its_index),
        cmocka_unit_test(entries_stay_in_memory_up_to_the_limit),
        cmocka_unit_test(a_part_of_the_log_is_weighed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
