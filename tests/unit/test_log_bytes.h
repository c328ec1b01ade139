/* The files of a log as bytes: for tests that look at them, and damage them. */
#pragma once

#include "test_log_tools.h"

#include <fcntl.h>

#include "store/sync.h"

enum {
    FILE_SIZE = 64 * 1024,
    FIRST_OFFSET = 28,   /* of the records in a file: behind the library's header of the file */
    RECORD_OFFSET = 12,  /* of our header in a record: behind the library's */
    CONTENT_OFFSET = 60, /* of the content: behind our header */
};

/* When the library finds damage it refuses to do anything more with its environment, and closing
 * that frees only a part of it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3.so";
}

/* The records of one file. */
struct layout {
    uint32_t offsets[256];
    size_t count;
    uint32_t end;
};

static inline char *file_path(struct test_log *test, int file) {
    return xasprintf("%s/log.%010d", test->directory, file);
}

static inline void with_file(struct test_log *test, int file, uint8_t *data, size_t size,
                             off_t offset, bool write) {
    _cleanup_free_ char *path = file_path(test, file);
    int fd = open(path, write ? O_WRONLY : O_RDONLY);

    assert_true(fd >= 0);
    if (write)
        assert_int_equal(pwrite(fd, data, size, offset), size);
    else
        assert_in_range(pread(fd, data, size, offset), size - 1, size);
    close(fd);
}

static inline uint8_t *read_whole(struct test_log *test, int file) {
    uint8_t *data = xcalloc(1, FILE_SIZE);

    with_file(test, file, data, FILE_SIZE, 0, false);
    return data;
}

static inline struct layout layout_of(struct test_log *test, int file) {
    _cleanup_free_ uint8_t *data = read_whole(test, file);
    struct layout layout = {.end = FIRST_OFFSET};

    for (;;) {
        uint32_t length;

        memcpy(&length, data + layout.end + 4, sizeof length);
        if (length == 0)
            return layout;
        assert_in_range(layout.count, 0, 255);
        layout.offsets[layout.count++] = layout.end;
        layout.end += length;
    }
}

static inline void flip(struct test_log *test, int file, uint32_t offset) {
    uint8_t byte;

    with_file(test, file, &byte, 1, offset, false);
    byte ^= 0x10;
    with_file(test, file, &byte, 1, offset, true);
}

static inline void zero(struct test_log *test, int file, uint32_t from, uint32_t to) {
    _cleanup_free_ uint8_t *zeros = xcalloc(1, FILE_SIZE);

    with_file(test, file, zeros, to - from, from, true);
}

static inline void copy_file(struct test_log *test, int from, int to) {
    _cleanup_free_ uint8_t *data = read_whole(test, from);
    _cleanup_free_ char *path = file_path(test, to);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    close(fd);
    with_file(test, to, data, FILE_SIZE, 0, true);
}

static inline void remove_file(struct test_log *test, int file) {
    _cleanup_free_ char *path = file_path(test, file);

    assert_int_equal(unlink(path), 0);
}

static inline void rename_file(struct test_log *test, int from, int to) {
    _cleanup_free_ char *path = file_path(test, from);
    _cleanup_free_ char *new_path = file_path(test, to);

    assert_int_equal(rename(path, new_path), 0);
}

/* Closes the log, but leaves the floor as it is when the process is killed. */
static inline void crash(struct test_log *test) {
    _cleanup_free_ char *floor = NULL;

    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    test_log_close(test);
    assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
}
