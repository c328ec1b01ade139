/* What the tests of the log share: a log in a temporary directory, opened and closed at will, and
 * entries that can be told apart. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "store/log.h"

enum { TEST_MEMBER = 4711 };

struct test_log {
    char directory[64];
    struct log_store *log;
    struct log_recovery recovery;
    struct failure failure;
    struct log_store_options options; /* of the next open; each raises the incarnation */
};

static inline void test_remove_directory(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
    closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

static inline int test_log_setup(void **state) {
    struct test_log *test = xcalloc(1, sizeof *test);

    /* In memory where that can be had: thousands of syncs would only wait for the disk. */
    snprintf(test->directory, sizeof test->directory, "%s/raftkv-test-log-XXXXXX",
             access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(test->directory));
    test->options = (struct log_store_options){
        .directory = test->directory,
        .member_id = TEST_MEMBER,
        .file_size = 64 * 1024,
    };
    *state = test;
    return 0;
}

static inline void test_log_close(struct test_log *test) {
    test->log = log_store_close(test->log);
    log_recovery_deinit(&test->recovery);
}

static inline int test_log_teardown(void **state) {
    struct test_log *test = *state;

    test_log_close(test);
    test_remove_directory(test->directory);
    free(test);
    return 0;
}

/* Opens (again) and returns what the log says; test->failure has its reason. */
static inline int test_log_try_open(struct test_log *test) {
    test_log_close(test);
    test->options.incarnation++;
    test->failure.message[0] = '\0';
    return log_store_open(&test->log, &test->options, &test->recovery, &test->failure);
}

static inline void test_log_open(struct test_log *test) {
    if (test_log_try_open(test) != 0)
        fail_msg("%s", test->failure.message);
}

/* The data of an entry follows from its index, its term and its size. */
static inline uint8_t *test_data(uint64_t index, uint64_t term, size_t size) {
    uint8_t *data = xmalloc(size);

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(index * 31 + term * 7 + i);
    return data;
}

static inline int test_try_append(struct test_log *test, uint64_t first_index, size_t count,
                                  uint64_t term, size_t size) {
    struct log_entry *entries = xcalloc(count, sizeof *entries);
    int r;

    for (size_t i = 0; i < count; i++)
        entries[i] = (struct log_entry){
            .term = term,
            .type = ENTRY_COMMAND,
            .data = test_data(first_index + i, term, size),
            .size = size,
        };
    r = log_store_append(test->log, first_index, entries, count);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].data);
    free(entries);
    return r;
}

static inline void test_append(struct test_log *test, uint64_t first_index, size_t count,
                               uint64_t term, size_t size) {
    assert_int_equal(test_try_append(test, first_index, count, term, size), 0);
}

/* One batch, one flush. */
static inline void test_write(struct test_log *test, uint64_t first_index, size_t count,
                              uint64_t term, size_t size) {
    test_append(test, first_index, count, term, size);
    assert_int_equal(log_store_flush(test->log), 0);
}

/* Every entry from first to last is there, once, with that term and size. */
static inline void test_expect(struct test_log *test, uint64_t first, uint64_t last, uint64_t term,
                               size_t size) {
    for (uint64_t index = first; index <= last;) {
        struct log_entry *entries;
        size_t count;

        assert_int_equal(
            log_store_read(test->log, index, last - index + 1, 1024 * 1024, &entries, &count), 0);
        assert_in_range(count, 1, last - index + 1);
        for (size_t i = 0; i < count; i++, index++) {
            uint8_t *data = test_data(index, term, size);

            assert_int_equal(entries[i].term, term);
            assert_int_equal(entries[i].type, ENTRY_COMMAND);
            assert_int_equal(entries[i].size, size);
            assert_memory_equal(entries[i].data, data, size);
            free(data);
        }
        free(entries);
    }
}
