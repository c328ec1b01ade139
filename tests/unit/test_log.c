/* The raft log as its users see it: what is appended and flushed is there, also after a restart. */
#include "test_log_tools.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void a_new_log_is_empty(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    assert_int_equal(test->recovery.term, 0);
    assert_int_equal(test->recovery.vote, 0);
    assert_int_equal(test->recovery.mark.index, 0);
    assert_int_equal(test->recovery.first_index, 1);
    assert_int_equal(test->recovery.last_index, 0);
    assert_int_equal(log_store_first_index(test->log), 1);
    assert_int_equal(log_store_last_index(test->log), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 0);
    assert_string_equal(test->recovery.cut_message, "");
}

static void flushed_entries_are_there_after_a_restart(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 10, 1, 100);
    test_write(test, 11, 1, 2, 0);
    test_expect(test, 1, 10, 1, 100);
    test_log_open(test);
    assert_int_equal(test->recovery.first_index, 1);
    assert_int_equal(test->recovery.last_index, 11);
    assert_int_equal(test->recovery.entries[9].term, 1);
    assert_int_equal(test->recovery.entries[9].type, ENTRY_COMMAND);
    assert_null(test->recovery.entries[9].data);
    assert_int_equal(test->recovery.entries[10].term, 2);
    test_expect(test, 1, 10, 1, 100);
    test_expect(test, 11, 11, 2, 0);
    assert_string_equal(test->recovery.cut_message, "");
}

static void entries_are_readable_before_they_are_flushed(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_append(test, 1, 5, 1, 50);
    test_expect(test, 1, 5, 1, 50);
}

static void the_data_of_changes_is_recovered(void **state) {
    struct test_log *test = *state;
    struct log_entry entries[] = {
        {1, ENTRY_CHANGE, (const uint8_t *)"first", 5},
        {1, ENTRY_BARRIER, NULL, 0},
        {2, ENTRY_CHANGE, (const uint8_t *)"second", 6},
    };

    test_log_open(test);
    assert_int_equal(log_store_append(test->log, 1, entries, 3), 0);
    assert_int_equal(log_store_append(test->log, 3, &entries[2], 1), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 3);
    assert_int_equal(test->recovery.entries[0].type, ENTRY_CHANGE);
    assert_memory_equal(test->recovery.entries[0].data, "first", 5);
    assert_int_equal(test->recovery.entries[1].type, ENTRY_BARRIER);
    assert_int_equal(test->recovery.entries[2].size, 6);
    assert_memory_equal(test->recovery.entries[2].data, "second", 6);
}

static void an_entry_written_again_cuts_off_what_followed(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 10, 1, 20);
    test_write(test, 6, 2, 2, 30);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(log_store_last_index(test->log), 7);
        test_expect(test, 1, 5, 1, 20);
        test_expect(test, 6, 7, 2, 30);
        test_log_open(test);
    }
    test_write(test, 1, 1, 3, 40);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 1);
    test_expect(test, 1, 1, 3, 40);
}

static void term_and_vote_survive(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    assert_int_equal(log_store_set_vote(test->log, 3, 77), 0);
    assert_int_equal(log_store_set_vote(test->log, 4, 0), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test_log_open(test);
    assert_int_equal(test->recovery.term, 4);
    assert_int_equal(test->recovery.vote, 0);
    test_write(test, 1, 1, 4, 10);
    assert_int_equal(log_store_set_vote(test->log, 5, UINT64_MAX), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test_log_open(test);
    assert_int_equal(test->recovery.term, 5);
    assert_int_equal(test->recovery.vote, UINT64_MAX);
}

static void a_read_obeys_its_limits(void **state) {
    struct test_log *test = *state;
    struct log_entry *entries;
    size_t count;

    test_log_open(test);
    test_write(test, 1, 100, 1, 100);
    test_write(test, 101, 100, 1, 100);
    assert_int_equal(log_store_read(test->log, 95, 10, 100000, &entries, &count), 0);
    assert_int_equal(count, 10);
    free(entries);
    assert_int_equal(log_store_read(test->log, 95, 1000, 950, &entries, &count), 0);
    assert_int_equal(count, 9);
    free(entries);
    assert_int_equal(log_store_read(test->log, 95, 1000, 1, &entries, &count), 0);
    assert_int_equal(count, 1);
    free(entries);
    assert_int_equal(log_store_read(test->log, 195, 1000, 100000, &entries, &count), 0);
    assert_int_equal(count, 6);
    free(entries);
    assert_int_equal(log_store_read(test->log, 0, 1, 1, &entries, &count), -ENOENT);
    assert_int_equal(log_store_read(test->log, 201, 1, 1, &entries, &count), -ENOENT);
}

static void reads_cross_records_and_files(void **state) {
    struct test_log *test = *state;
    struct log_store_stats stats;

    test_log_open(test);
    for (uint64_t index = 1; index < 1000; index += 10)
        test_write(test, index, 10, 1, 500);
    log_store_get_stats(test->log, &stats);
    assert_in_range(stats.files, 8, 12);
    assert_in_range(stats.bytes, 500 * 1000, 1000 * 1000);
    test_expect(test, 1, 1000, 1, 500);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 1000);
    test_expect(test, 1, 1000, 1, 500);
}

static void records_of_eight_mebibytes_survive(void **state) {
    struct test_log *test = *state;

    test->options.file_size = 0;
    test_log_open(test);
    for (uint64_t index = 1; index <= 9; index += 2)
        test_write(test, index, 2, 1, VALUE_SIZE_MAX);
    test_write(test, 11, 1, 1, ENTRY_SIZE_MAX);
    test_expect(test, 1, 10, 1, VALUE_SIZE_MAX);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 11);
    test_expect(test, 1, 10, 1, VALUE_SIZE_MAX);
    test_expect(test, 11, 11, 1, ENTRY_SIZE_MAX);
}

static void an_entry_that_is_too_large_is_refused(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    assert_int_equal(test_try_append(test, 1, 1, 1, 64 * 1024), -EMSGSIZE);
    assert_int_equal(log_store_last_index(test->log), 0);
    test_write(test, 1, 1, 1, 60 * 1024);
    test->options.file_size = 0;
    test_log_open(test);
    assert_int_equal(test_try_append(test, 2, 1, 1, ENTRY_SIZE_MAX + 1), -EMSGSIZE);
    test_write(test, 2, 1, 1, ENTRY_SIZE_MAX);
    test_log_open(test);
    test_expect(test, 1, 1, 1, 60 * 1024);
    test_expect(test, 2, 2, 1, ENTRY_SIZE_MAX);
}

static void entries_of_any_size_fit_around_the_ends_of_files(void **state) {
    struct test_log *test = *state;
    uint64_t index = 1;

    test_log_open(test);
    for (size_t size = 1; size < 9000; size += 37)
        test_write(test, index++, 1, size, size);
    for (int i = 0; i < 2; i++) {
        uint64_t at = 1;

        for (size_t size = 1; size < 9000; size += 37, at++)
            test_expect(test, at, at, size, size);
        assert_int_equal(log_store_last_index(test->log), at - 1);
        test_log_open(test);
    }
}

static void the_size_of_files_may_change_between_runs(void **state) {
    struct test_log *test = *state;
    static const uint32_t sizes[] = {64 * 1024, 1024 * 1024, 128 * 1024, 64 * 1024};
    uint64_t index = 1;

    for (size_t i = 0; i < 4; i++) {
        test->options.file_size = sizes[i];
        test_log_open(test);
        for (int k = 0; k < 300; k++, index++)
            test_write(test, index, 1, 1, 1000);
    }
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, index - 1);
    test_expect(test, 1, index - 1, 1, 1000);
}

static void many_restarts_lose_nothing(void **state) {
    struct test_log *test = *state;

    for (uint64_t run = 1; run <= 60; run++) {
        test_log_open(test);
        assert_int_equal(test->recovery.last_index, (run - 1) * 7);
        assert_int_equal(test->recovery.term, run - 1);
        assert_string_equal(test->recovery.cut_message, "");
        assert_int_equal(log_store_set_vote(test->log, run, 1), 0);
        test_write(test, (run - 1) * 7 + 1, 7, 1, 300);
    }
    test_expect(test, 1, 60 * 7, 1, 300);
}

/* Appends and flushes until it is killed, and says how far it came. */
static void write_until_killed(struct test_log *test, int answers) {
    uint64_t index;

    if (test_log_try_open(test) != 0)
        _exit(1);
    for (index = test->recovery.last_index + 1;; index += 3) {
        if (test_try_append(test, index, 2, 1, 700) != 0 ||
            log_store_set_vote(test->log, index, 1) != 0 ||
            test_try_append(test, index + 2, 1, 1, 700) != 0 || log_store_flush(test->log) != 0)
            _exit(1);
        if (write(answers, &index, sizeof index) != sizeof index)
            _exit(1);
    }
}

static void a_killed_process_loses_nothing_that_was_flushed(void **state) {
    struct test_log *test = *state;

    for (int round = 0; round < 12; round++) {
        uint64_t index = 0, wanted = (uint64_t)round * 3 + 2;
        int answers[2], status;
        pid_t child;

        assert_int_equal(pipe(answers), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(answers[0]);
            write_until_killed(test, answers[1]);
        }
        close(answers[1]);
        for (uint64_t i = 0; i < wanted; i++)
            assert_int_equal(read(answers[0], &index, sizeof index), sizeof index);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        while (read(answers[0], &index, sizeof index) == sizeof index)
            continue;
        close(answers[0]);
        test->options.incarnation++;
        test_log_open(test);
        assert_in_range(test->recovery.last_index, index + 2, index + 5);
        assert_true(test->recovery.term >= index);
        test_expect(test, 1, test->recovery.last_index, 1, 700);
        test_log_close(test);
    }
}

static void a_log_below_an_installed_snapshot_begins_anew_behind_it(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    assert_int_equal(log_store_set_vote(test->log, 2, 9), 0);
    test_write(test, 1, 20, 1, 100);
    test->options.applied_index = 500;
    test->options.applied_term = 2;
    test->options.installed = true;
    for (int i = 0; i < 2; i++) {
        test_log_open(test);
        assert_int_equal(test->recovery.first_index, 501);
        assert_int_equal(test->recovery.last_index, 500);
        assert_int_equal(test->recovery.mark.index, 500);
        assert_int_equal(test->recovery.mark.term, 2);
        assert_int_equal(test->recovery.term, 2);
        assert_int_equal(test->recovery.vote, 9);
    }
    test_write(test, 501, 3, 2, 100);
    test_log_open(test);
    assert_int_equal(test->recovery.first_index, 501);
    assert_int_equal(test->recovery.last_index, 503);
    test_expect(test, 501, 503, 2, 100);
}

static void files_are_for_their_owner_only(void **state) {
    struct test_log *test = *state;
    char path[128];
    struct stat st;

    test_log_open(test);
    for (uint64_t index = 1; index < 200; index++)
        test_write(test, index, 1, 1, 500);
    for (int file = 1; file <= 2; file++) {
        snprintf(path, sizeof path, "%s/log.%010d", test->directory, file);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_log_setup, test_log_teardown)
        TEST(a_new_log_is_empty),
        TEST(flushed_entries_are_there_after_a_restart),
        TEST(entries_are_readable_before_they_are_flushed),
        TEST(the_data_of_changes_is_recovered),
        TEST(an_entry_written_again_cuts_off_what_followed),
        TEST(term_and_vote_survive),
        TEST(a_read_obeys_its_limits),
        TEST(reads_cross_records_and_files),
        TEST(records_of_eight_mebibytes_survive),
        TEST(an_entry_that_is_too_large_is_refused),
        TEST(entries_of_any_size_fit_around_the_ends_of_files),
        TEST(the_size_of_files_may_change_between_runs),
        TEST(many_restarts_lose_nothing),
        TEST(a_killed_process_loses_nothing_that_was_flushed),
        TEST(a_log_below_an_installed_snapshot_begins_anew_behind_it),
        TEST(files_are_for_their_owner_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
