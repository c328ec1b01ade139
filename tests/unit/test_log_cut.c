/* Cutting the log: what is marked may go, whole files do, and what is left is a log. */
#include "test_log_tools.h"

#include <errno.h>

static const char configuration[] = "a configuration";

static struct log_mark mark_at(uint64_t index) {
    return (struct log_mark){
        .index = index,
        .term = 1,
        .configuration_index = index / 2,
        .configuration = (uint8_t *)(uintptr_t)configuration,
        .configuration_size = sizeof configuration,
    };
}

static void set_mark(struct test_log *test, uint64_t index) {
    struct log_mark mark = mark_at(index);

    assert_int_equal(log_store_set_mark(test->log, &mark), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test->options.applied_index = index;
    test->options.applied_term = 1;
}

static uint64_t drop(struct test_log *test, uint64_t keep_from) {
    uint64_t first_index;

    assert_int_equal(log_store_drop(test->log, keep_from, &first_index), 0);
    assert_int_equal(first_index, log_store_first_index(test->log));
    return first_index;
}

static void expect_mark(struct test_log *test, uint64_t index) {
    struct log_mark mark = mark_at(index);

    assert_int_equal(test->recovery.mark.index, index);
    assert_int_equal(test->recovery.mark.term, mark.term);
    assert_int_equal(test->recovery.mark.configuration_index, mark.configuration_index);
    assert_int_equal(test->recovery.mark.configuration_size, mark.configuration_size);
    assert_memory_equal(test->recovery.mark.configuration, configuration, sizeof configuration);
}

static uint64_t count_files(struct test_log *test) {
    struct log_store_stats stats;

    log_store_get_stats(test->log, &stats);
    return stats.files;
}

static void a_mark_is_there_after_a_restart(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 10, 1, 100);
    set_mark(test, 4);
    set_mark(test, 7);
    for (int i = 0; i < 2; i++) {
        test_log_open(test);
        expect_mark(test, 7);
        assert_int_equal(test->recovery.first_index, 1);
        assert_int_equal(test->recovery.last_index, 10);
        test_expect(test, 1, 10, 1, 100);
    }
    set_mark(test, 7);
    set_mark(test, 10);
    test_log_open(test);
    expect_mark(test, 10);
}

static void files_below_the_mark_go_and_the_others_stay(void **state) {
    struct test_log *test = *state;
    struct log_store_stats stats;
    uint64_t first;

    test_log_open(test);
    assert_int_equal(log_store_set_vote(test->log, 1, 9), 0);
    for (uint64_t index = 1; index <= 1000; index += 10)
        test_write(test, index, 10, 1, 500);
    assert_in_range(count_files(test), 8, 10);
    set_mark(test, 900);
    first = drop(test, 501);
    assert_in_range(first, 300, 501);
    assert_in_range(count_files(test), 4, 6);
    for (int i = 0; i < 2; i++) {
        struct log_entry *entries;
        size_t count;

        assert_int_equal(log_store_first_index(test->log), first);
        assert_int_equal(log_store_last_index(test->log), 1000);
        test_expect(test, first, 1000, 1, 500);
        assert_int_equal(log_store_read(test->log, first - 1, 1, 1, &entries, &count), -ENOENT);
        log_store_get_stats(test->log, &stats);
        assert_int_equal(stats.entries, 1000 - first + 1);
        test_log_open(test);
        expect_mark(test, 900);
        assert_int_equal(test->recovery.first_index, first);
        assert_int_equal(test->recovery.last_index, 1000);
        assert_int_equal(test->recovery.entries[0].term, 1);
        assert_int_equal(test->recovery.vote, 9);
    }
    assert_int_equal(drop(test, first), first);
    test_write(test, 1001, 10, 1, 500);
    assert_true(drop(test, 901) > first);
    assert_in_range(drop(test, 901), 700, 901);
    test_log_open(test);
    test_expect(test, test->recovery.first_index, 1010, 1, 500);
}

static void nothing_above_the_mark_goes(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 1, 1, 500);
    assert_int_equal(drop(test, 1000), 1);
    for (uint64_t index = 2; index <= 1000; index++)
        test_write(test, index, 1, 1, 500);
    assert_int_equal(drop(test, 1000), 1);
    set_mark(test, 300);
    assert_in_range(drop(test, 1000), 150, 301);
    test_log_open(test);
    assert_in_range(test->recovery.first_index, 150, 301);
}

static void nothing_goes_before_the_mark_is_durable(void **state) {
    struct test_log *test = *state;
    struct log_mark mark = mark_at(900);

    test_log_open(test);
    for (uint64_t index = 1; index <= 1000; index++)
        test_write(test, index, 1, 1, 500);
    set_mark(test, 200);
    assert_int_equal(log_store_set_mark(test->log, &mark), 0);
    assert_in_range(drop(test, 900), 100, 201);
    assert_int_equal(log_store_flush(test->log), 0);
    assert_in_range(drop(test, 900), 700, 900);
}

static void the_file_that_is_written_to_stays(void **state) {
    struct test_log *test = *state;
    uint64_t first;

    test_log_open(test);
    for (uint64_t index = 1; index <= 1000; index++)
        test_write(test, index, 1, 1, 500);
    set_mark(test, 1000);
    first = drop(test, 1001);
    assert_in_range(first, 800, 1000);
    assert_int_equal(count_files(test), 1);
    test_log_open(test);
    assert_int_equal(test->recovery.first_index, first);
    expect_mark(test, 1000);
    test_expect(test, first, 1000, 1, 500);
}

/* What is held open keeps its space. */
static void a_file_that_went_is_not_held_open(void **state) {
    struct test_log *test = *state;
    DIR *directory;
    struct dirent *entry;

    test_log_open(test);
    for (uint64_t index = 1; index <= 1000; index++)
        test_write(test, index, 1, 1, 500);
    set_mark(test, 900);
    test_expect(test, 1, 1, 1, 500);
    assert_true(drop(test, 800) > 1);
    directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char target[256] = "";

        if (readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0)
            assert_false(strstr(target, test->directory) && strstr(target, "(deleted)"));
    }
    closedir(directory);
}

/* The last entries of the file before the first one that is left were cut off later. */
static void a_batch_that_was_cut_off_in_its_middle_may_go(void **state) {
    struct test_log *test = *state;
    uint64_t index = 1;

    test_log_open(test);
    while (count_files(test) < 3) {
        test_write(test, index, 20, 1, 500);
        index += 20;
    }
    /* The third file restates index - 21. */
    index -= 30;
    test_write(test, index, 60, 2, 500);
    set_mark(test, index + 8);
    assert_true(drop(test, index + 9) < index);
    assert_int_equal(count_files(test), 2);
    set_mark(test, index + 9);
    assert_int_equal(drop(test, index + 10), index);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_files(test), 1);
        test_expect(test, index, index + 59, 2, 500);
        test_log_open(test);
        assert_int_equal(test->recovery.first_index, index);
    }
}

static void a_configuration_that_does_not_fit_is_refused(void **state) {
    struct test_log *test = *state;
    struct log_mark mark = mark_at(5);
    _cleanup_free_ uint8_t *large = xcalloc(1, CONFIGURATION_SIZE_MAX + 1);

    test_log_open(test);
    test_write(test, 1, 10, 1, 100);
    mark.configuration = large;
    mark.configuration_size = CONFIGURATION_SIZE_MAX;
    assert_int_equal(log_store_set_mark(test->log, &mark), -EMSGSIZE);
    assert_int_equal(log_store_reset(test->log, &mark), -EMSGSIZE);
    assert_int_equal(log_store_last_index(test->log), 10);
    test->options.file_size = 0;
    test_log_open(test);
    for (uint64_t index = 11; index <= 500; index++)
        test_write(test, index, 1, 1, 300);
    mark.configuration_size++;
    assert_int_equal(log_store_set_mark(test->log, &mark), -EMSGSIZE);
    mark.configuration_size--;
    assert_int_equal(log_store_set_mark(test->log, &mark), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test->options.applied_index = 5;
    test_log_open(test);
    assert_int_equal(test->recovery.mark.configuration_size, CONFIGURATION_SIZE_MAX);
}

/* The entries that a reset cuts off do not come back, whether the mark is above them or not. */
static void a_reset_log_goes_on_behind_the_mark(void **state) {
    static const uint64_t marks[] = {1500, 1000, 600};

    for (size_t i = 0; i < 3; i++) {
        struct test_log *test = *state;
        struct log_mark mark = mark_at(marks[i]);

        test_log_open(test);
        for (uint64_t index = 1; index <= 1000; index += 10)
            test_write(test, index, 10, 1, 500);
        assert_int_equal(log_store_set_vote(test->log, 7, 8), 0);
        assert_int_equal(log_store_flush(test->log), 0);
        assert_int_equal(log_store_reset(test->log, &mark), 0);
        assert_int_equal(log_store_first_index(test->log), mark.index + 1);
        assert_int_equal(log_store_last_index(test->log), mark.index);
        /* Before it is durable the old log may be what a crash leaves. */
        assert_int_equal(drop(test, mark.index + 1), mark.index + 1);
        assert_true(count_files(test) > 5);
        assert_int_equal(log_store_flush(test->log), 0);
        assert_int_equal(drop(test, mark.index + 1), mark.index + 1);
        assert_int_equal(count_files(test), 1);
        test->options.applied_index = mark.index;
        for (int k = 0; k < 2; k++) {
            test_log_open(test);
            expect_mark(test, mark.index);
            assert_int_equal(test->recovery.first_index, mark.index + 1);
            assert_int_equal(test->recovery.last_index, mark.index);
            assert_int_equal(test->recovery.term, 7);
            assert_int_equal(test->recovery.vote, 8);
        }
        for (uint64_t index = mark.index + 1; index <= mark.index + 300; index++)
            test_write(test, index, 1, 3, 500);
        test_log_open(test);
        assert_int_equal(test->recovery.first_index, mark.index + 1);
        test_expect(test, mark.index + 1, mark.index + 300, 3, 500);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

/* The state was switched, and then came a crash. */
static void a_start_resets_a_log_that_contradicts_the_snapshot(void **state) {
    static const uint64_t indices[] = {150, 100, 60};
    struct test_log *test;

    for (size_t i = 0; i < 3; i++) {
        test = *state;
        test_log_open(test);
        assert_int_equal(log_store_set_vote(test->log, 4, 5), 0);
        test_write(test, 1, 100, 1, 500);
        test->options.applied_index = indices[i];
        test->options.applied_term = 3;
        test->options.installed = true;
        test->options.configuration = (const uint8_t *)configuration;
        test->options.configuration_size = sizeof configuration;
        test->options.configuration_index = indices[i] / 2;
        for (int k = 0; k < 2; k++) {
            test_log_open(test);
            assert_int_equal(test->recovery.first_index, indices[i] + 1);
            assert_int_equal(test->recovery.last_index, indices[i]);
            assert_int_equal(test->recovery.mark.index, indices[i]);
            assert_int_equal(test->recovery.mark.term, 3);
            assert_int_equal(test->recovery.mark.configuration_index, indices[i] / 2);
            assert_memory_equal(test->recovery.mark.configuration, configuration,
                                sizeof configuration);
            assert_int_equal(test->recovery.term, 4);
            assert_int_equal(test->recovery.vote, 5);
        }
        test_write(test, indices[i] + 1, 10, 4, 10);
        test_log_open(test);
        assert_int_equal(test->recovery.first_index, indices[i] + 1);
        test_expect(test, indices[i] + 1, indices[i] + 10, 4, 10);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

static void a_start_keeps_a_log_that_has_the_last_entry_of_the_snapshot(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 100, 3, 500);
    test->options.applied_index = 60;
    test->options.applied_term = 3;
    test->options.installed = true;
    test_log_open(test);
    assert_int_equal(test->recovery.first_index, 1);
    assert_int_equal(test->recovery.last_index, 100);
    test_expect(test, 1, 100, 3, 500);
}

static void a_state_below_the_mark_is_refused(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 100, 1, 500);
    set_mark(test, 50);
    test->options.applied_index = 49;
    assert_int_equal(test_log_try_open(test), ERROR_INTERNAL);
    assert_non_null(strstr(test->failure.message, "the state is an old copy"));
    test->options.applied_index = 50;
    test_log_open(test);
}

/* What the log has to hold, beside it. */
struct model {
    uint64_t first, last, mark, term;
    uint64_t terms[4096]; /* of the entries, by index */
};

static void append_at_random(struct test_log *test, struct model *model) {
    uint64_t from = model->last + 1, count = 1 + (uint64_t)random() % 40;

    if (random() % 4 == 0 && model->last > model->mark)
        from = model->mark + 1 + (uint64_t)random() % (model->last - model->mark);
    model->term += random() % 3 == 0;
    test_append(test, from, count, model->term, 200);
    model->last = from + count - 1;
    for (uint64_t index = from; index <= model->last; index++)
        model->terms[index % 4096] = model->term;
}

static void mark_at_random(struct test_log *test, struct model *model) {
    if (model->last == model->mark)
        return;
    model->mark += 1 + (uint64_t)random() % (model->last - model->mark);
    set_mark(test, model->mark);
}

static void drop_at_random(struct test_log *test, struct model *model) {
    uint64_t keep_from = model->first + (uint64_t)random() % (model->mark + 20 - model->first + 1);
    uint64_t first = drop(test, keep_from);

    assert_true(first >= model->first);
    assert_true(first <= model->mark + 1);
    assert_true(first == model->first || first <= keep_from);
    model->first = first;
}

static void reset_at_random(struct test_log *test, struct model *model) {
    struct log_mark mark = mark_at(model->mark + 1 + (uint64_t)random() % 300);

    assert_int_equal(log_store_reset(test->log, &mark), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test->options.applied_index = mark.index;
    model->mark = model->last = mark.index;
    model->first = mark.index + 1;
}

static void expect_model(struct test_log *test, const struct model *model) {
    assert_int_equal(log_store_first_index(test->log), model->first);
    assert_int_equal(log_store_last_index(test->log), model->last);
    for (uint64_t from = model->first; from <= model->last;) {
        uint64_t term = model->terms[from % 4096], to = from;

        while (to < model->last && model->terms[(to + 1) % 4096] == term)
            to++;
        test_expect(test, from, to, term, 200);
        from = to + 1;
    }
}

static void a_restart(struct test_log *test, const struct model *model) {
    assert_int_equal(log_store_flush(test->log), 0);
    test_log_open(test);
    assert_string_equal(test->recovery.cut_message, "");
    assert_int_equal(test->recovery.first_index, model->first);
    assert_int_equal(test->recovery.last_index, model->last);
    assert_int_equal(test->recovery.mark.index, model->mark);
    for (uint64_t index = model->first; index <= model->last; index++)
        assert_int_equal(test->recovery.entries[index - model->first].term,
                         model->terms[index % 4096]);
}

static void any_order_of_operations_leaves_what_was_written(void **state) {
    for (unsigned seed = 1; seed <= 12; seed++) {
        struct test_log *test = *state;
        struct model model = {.first = 1, .term = 1};

        test_log_open(test);
        srandom(seed);
        for (int i = 0; i < 600; i++) {
            int kind = (int)(random() % 24);

            if (model.last - model.first > 3000 || kind == 0)
                reset_at_random(test, &model);
            else if (kind < 3)
                a_restart(test, &model);
            else if (kind < 6)
                mark_at_random(test, &model);
            else if (kind < 9)
                drop_at_random(test, &model);
            else
                append_at_random(test, &model);
            if (i % 20 == 0)
                expect_model(test, &model);
        }
        expect_model(test, &model);
        a_restart(test, &model);
        expect_model(test, &model);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

/* 40 log files' worth of entries, marked and cut every 2,000 of them. */
static void disk_use_stays_bounded(void **state) {
    enum { ENTRIES = 140000, BATCH = 50, SNAPSHOT = 2000, TRAILING = 1000, SIZE = 300 };
    struct test_log *test = *state;
    struct log_store_stats stats;
    uint64_t most = 0;

    test->options.file_size = 1024 * 1024;
    test_log_open(test);
    for (uint64_t index = 1; index <= ENTRIES; index += BATCH) {
        uint64_t last = index + BATCH - 1;

        test_write(test, index, BATCH, 1, SIZE);
        if (last % SNAPSHOT == 0) {
            set_mark(test, last);
            drop(test, last - TRAILING + 1);
        }
        if (last % 500 == 0) {
            log_store_get_stats(test->log, &stats);
            most = stats.bytes > most ? stats.bytes : most;
        }
    }
    /* What is retained at most, and a file at each end. */
    assert_in_range(most, 1000 * 1000, (SNAPSHOT + TRAILING) * (SIZE + 50) + 2 * 1024 * 1024);
    test_log_open(test);
    assert_in_range(test->recovery.first_index, ENTRIES - 6000, ENTRIES - TRAILING + 1);
    test_expect(test, test->recovery.first_index, ENTRIES, 1, SIZE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_log_setup, test_log_teardown)
        TEST(a_mark_is_there_after_a_restart),
        TEST(files_below_the_mark_go_and_the_others_stay),
        TEST(nothing_above_the_mark_goes),
        TEST(nothing_goes_before_the_mark_is_durable),
        TEST(the_file_that_is_written_to_stays),
        TEST(a_file_that_went_is_not_held_open),
        TEST(a_batch_that_was_cut_off_in_its_middle_may_go),
        TEST(a_configuration_that_does_not_fit_is_refused),
        TEST(a_reset_log_goes_on_behind_the_mark),
        TEST(a_start_resets_a_log_that_contradicts_the_snapshot),
        TEST(a_start_keeps_a_log_that_has_the_last_entry_of_the_snapshot),
        TEST(a_state_below_the_mark_is_refused),
        TEST(any_order_of_operations_leaves_what_was_written),
        TEST(disk_use_stays_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
