/*
 * A disk that has no space for a while: nothing is lost, and nothing is written twice. The writes
 * of Berkeley DB go through a hook that fails when told to. (With a hook for write the library does
 * not use pwrite, and a write that is short counts as failed.)
 */
#include "test_log_tools.h"

#include <db.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Bytes that may still be written before the disk is full; -1: no limit. */
static long long space = -1;
static int sync_error;

/* The file that was written to last, and how far. */
static ino_t file;
static off_t written;

/* What was written there before, also by a write that failed, costs no space again. The library
 * writes one byte at the end of each new file to set its size. */
static ssize_t limited_write(int fd, const void *data, size_t size) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    size_t fits = size;
    struct stat st;
    ssize_t n;

    assert_int_equal(fstat(fd, &st), 0);
    if (size == 1)
        return write(fd, data, size);
    if (st.st_ino != file) {
        file = st.st_ino;
        written = 0;
    }
    if (space >= 0 && at + (off_t)size > written + space)
        fits = (size_t)(written + space - at);
    n = write(fd, data, fits);
    if (n > 0 && at + n > written) {
        if (space >= 0)
            space -= at + n - written;
        written = at + n;
    }
    if (n < (ssize_t)size) {
        errno = ENOSPC;
        return -1;
    }
    return n;
}

static int failing_setup(void **state) {
    space = -1;
    file = 0;
    db_env_set_func_write(limited_write);
    return test_log_setup(state);
}

static int failing_teardown(void **state) {
    space = -1;
    return test_log_teardown(state);
}

/* Puts what did not go out before, with a bit more space each time. */
static void flush_until_it_succeeds(struct test_log *test, long long step) {
    for (int attempt = 0; attempt < 10000; attempt++) {
        int r = log_store_flush(test->log);

        if (r == 0)
            return;
        assert_int_equal(r, -ENOSPC);
        space += step;
    }
    fail_msg("the flush never succeeds");
}

/* Entries of that size, a batch at a time, while the disk gets full again and again. */
static void write_on_a_full_disk(struct test_log *test, size_t size, size_t batch, uint64_t last,
                                 long long step) {
    unsigned failures = 0;
    uint64_t index = 1;

    test_log_open(test);
    srandom((unsigned)(size + batch));
    while (index <= last) {
        int r;

        if (space < 0 || random() % 4 == 0)
            space = random() % (long)(2 * size * batch + 1);
        r = test_try_append(test, index, batch, 1, size);
        assert_true(r == 0 || r == -ENOSPC);
        index += batch;
        failures += r != 0;
        test_expect(test, index - batch, index - 1, 1, size);
        if (random() % 3 == 0)
            flush_until_it_succeeds(test, step);
    }
    flush_until_it_succeeds(test, step);
    assert_true(failures > 0);
    space = -1;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(log_store_last_index(test->log), index - 1);
        test_expect(test, 1, index - 1, 1, size);
        test_log_open(test);
        assert_string_equal(test->recovery.cut_message, "");
    }
}

static void small_records_are_written_once_each(void **state) {
    write_on_a_full_disk(*state, 100, 3, 3000, 700);
}

static void records_about_the_size_of_the_buffer_are_written_once_each(void **state) {
    write_on_a_full_disk(*state, 16000, 1, 100, 3000);
}

static void records_above_the_size_of_the_buffer_are_written_once_each(void **state) {
    write_on_a_full_disk(*state, 40000, 1, 60, 5000);
}

static void mixed_records_are_written_once_each(void **state) {
    struct test_log *test = *state;
    static const size_t sizes[] = {10, 50000, 16300, 1, 300, 16384, 33000, 7000};
    uint64_t index = 1;

    test_log_open(test);
    srandom(1);
    for (int i = 0; i < 400; i++, index++) {
        int r;

        if (random() % 3 == 0)
            space = random() % 60000;
        r = test_try_append(test, index, 1, 1, sizes[random() % 8]);
        assert_true(r == 0 || r == -ENOSPC);
        if (random() % 5 == 0)
            flush_until_it_succeeds(test, 2000);
    }
    flush_until_it_succeeds(test, 2000);
    space = -1;
    srandom(1);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, index - 1);
    assert_string_equal(test->recovery.cut_message, "");
    for (uint64_t i = 1; i < index; i++) {
        struct log_entry *entries;
        uint8_t *data;
        size_t count;

        assert_int_equal(log_store_read(test->log, i, 1, 1, &entries, &count), 0);
        data = test_data(i, 1, entries[0].size);
        assert_memory_equal(entries[0].data, data, entries[0].size);
        free(data);
        free(entries);
    }
}

/*
 * The library's buffer ends within the header of a large record: the first write of that record has
 * the records before it too, and the second one fails.
 */
static void records_before_one_that_found_no_space_stay_whole(void **state) {
    enum { BUFFER_SIZE = 16 * 1024, SMALL = 100, LARGE = 40000 };
    struct test_log *test = *state;

    for (int left = 0; left < 70; left++) {
        /* The header of the file, both records with their headers, and a restatement. */
        size_t filler = BUFFER_SIZE - left - 28 - 2 * (12 + 48 + 12 + 13) - 56 - SMALL;

        test_log_open(test);
        test_append(test, 1, 1, 1, SMALL);
        test_append(test, 2, 1, 1, filler);
        space = BUFFER_SIZE + 10;
        assert_int_equal(test_try_append(test, 3, 1, 1, LARGE), -ENOSPC);
        space = -1;
        assert_int_equal(log_store_flush(test->log), 0);
        test_log_open(test);
        assert_int_equal(test->recovery.last_index, 3);
        test_expect(test, 1, 1, 1, SMALL);
        test_expect(test, 2, 2, 1, filler);
        test_expect(test, 3, 3, 1, LARGE);
        assert_int_equal(test_log_teardown(state), 0);
        assert_int_equal(failing_setup(state), 0);
        test = *state;
    }
}

static void what_was_flushed_before_survives_an_end_on_a_full_disk(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 100, 1, 200);
    space = 0;
    assert_int_equal(log_store_set_vote(test->log, 7, 7), 0);
    assert_int_equal(log_store_flush(test->log), -ENOSPC);
    assert_int_equal(test_try_append(test, 101, 300, 1, 200), -ENOSPC);
    assert_int_equal(log_store_flush(test->log), -ENOSPC);
    test_log_close(test);
    space = -1;
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 100);
    assert_int_equal(test->recovery.term, 0);
    test_expect(test, 1, 100, 1, 200);
    test_write(test, 101, 50, 1, 200);
    test_log_open(test);
    test_expect(test, 1, 150, 1, 200);
}

static void entries_cut_off_while_the_disk_is_full_stay_cut_off(void **state) {
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 10, 1, 200);
    space = 0;
    assert_int_equal(test_try_append(test, 11, 200, 1, 200), -ENOSPC);
    assert_int_equal(test_try_append(test, 5, 100, 2, 100), -ENOSPC);
    assert_int_equal(log_store_last_index(test->log), 104);
    test_expect(test, 1, 4, 1, 200);
    test_expect(test, 5, 104, 2, 100);
    flush_until_it_succeeds(test, 1000);
    space = -1;
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 104);
    test_expect(test, 1, 4, 1, 200);
    test_expect(test, 5, 104, 2, 100);
}

static void say_and_exit(const char *reason) {
    _exit(strstr(reason, strerror(sync_error)) ? 42 : 1);
}

/* Writes, and then puts a pipe in the place of the file: a sync of that fails with EINVAL. */
static ssize_t write_and_lose_the_file(int fd, const void *data, size_t size) {
    ssize_t n = write(fd, data, size);
    int pipes[2];

    if (pipe(pipes) != 0 || dup2(pipes[1], fd) < 0)
        _exit(1);
    return n;
}

static void a_failed_sync_ends_the_process(void **state) {
    struct test_log *test = *state;
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        sync_error = EINVAL;
        store_set_sync_failed(say_and_exit);
        test_log_open(test);
        test_write(test, 1, 1, 1, 10);
        db_env_set_func_write(write_and_lose_the_file);
        if (log_store_set_vote(test->log, 1, 1) != 0)
            _exit(1);
        (void)log_store_flush(test->log);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, failing_setup, failing_teardown)
        TEST(small_records_are_written_once_each),
        TEST(records_about_the_size_of_the_buffer_are_written_once_each),
        TEST(records_above_the_size_of_the_buffer_are_written_once_each),
        TEST(mixed_records_are_written_once_each),
        TEST(records_before_one_that_found_no_space_stay_whole),
        TEST(what_was_flushed_before_survives_an_end_on_a_full_disk),
        TEST(entries_cut_off_while_the_disk_is_full_stay_cut_off),
        TEST(a_failed_sync_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
