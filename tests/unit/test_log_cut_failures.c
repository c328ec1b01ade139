/*
 * Each call that fails once: of libc's file functions, raftkv's own and those in Berkeley DB, and
 * of Berkeley DB's malloc, the n-th one fails while the log is marked, cut and reset, at every n.
 * Nothing that was flushed is lost, nothing leaks, and what failed for want of space succeeds when
 * it is tried again. (A sync that fails ends the process: tests/unit/test_log_full.c.)
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "test_log_tools.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

/* Calls from now on until one fails; 0: none does. */
static unsigned long countdown;
static bool failed;
static int failure_error;

static bool fails(void) {
    if (countdown == 0 || --countdown > 0)
        return false;
    failed = true;
    errno = failure_error;
    return true;
}

/* ---- an executable's own definitions come before those of the libraries ---- */

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

/* Berkeley DB's; ours is the other one. It makes no file here, and would wait for seconds when told
 * that there is no space for one. */
int open(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return failure_error != ENOSPC && fails()
               ? -1
               : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *data, size_t size) {
    return fails() ? -1 : syscall(SYS_read, fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size) {
    return fails() ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    return fails() ? -1 : syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    return pread(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return fails() ? -1 : syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

int ftruncate(int fd, off_t size) {
    return fails() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int rename(const char *from, const char *to) {
    return fails() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path) {
    return fails() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Calls of malloc that succeed in any case: when db_env_create() finds no memory for its last
 * parts, its cleanup crashes. */
static unsigned mallocs_spared;

static bool malloc_fails(void) {
    if (mallocs_spared > 0) {
        mallocs_spared--;
        return false;
    }
    return failure_error == ENOMEM && fails();
}

static void *library_malloc(size_t size) {
    return malloc_fails() ? NULL : malloc(size);
}

static void *library_realloc(void *memory, size_t size) {
    return malloc_fails() ? NULL : realloc(memory, size);
}

static unsigned count_mallocs_of_create(void) {
    DB_ENV *environment;
    unsigned count;

    mallocs_spared = 1000;
    assert_int_equal(db_env_create(&environment, 0), 0);
    count = 1000 - mallocs_spared;
    mallocs_spared = 0;
    environment->close(environment, 0);
    return count;
}

/* When opening or writing fails within the library it frees only a part of its environment. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3.so";
}

/* ---- */

enum {
    ENTRY_SIZE = 900,
    ENTRIES = 250, /* in files 1 to 4 */
    FIRST_MARK = 120,
    SECOND_MARK = 200,
    SNAPSHOT = 1000,
};

static const char configuration[] = "a configuration";

static struct log_mark mark_at(uint64_t index) {
    return (struct log_mark){
        .index = index,
        .term = 1,
        .configuration_index = 1,
        .configuration = (uint8_t *)(uintptr_t)configuration,
        .configuration_size = sizeof configuration,
    };
}

/* What has to be there whatever happens later: it was flushed. */
struct progress {
    uint64_t last, mark, keep_from;
    bool reset;
};

/* What could not be done for want of space is tried again, as a node does; 0: it is done. */
static int flush(struct test_log *test, int put) {
    int r = put == 0 || put == -ENOSPC ? log_store_flush(test->log) : put;

    return r == -ENOSPC ? log_store_flush(test->log) : r;
}

static int drop(struct test_log *test, uint64_t keep_from, struct progress *progress) {
    uint64_t first_index;
    int r;

    progress->keep_from = keep_from;
    r = log_store_drop(test->log, keep_from, &first_index);
    if (r == -ENOSPC)
        r = log_store_drop(test->log, keep_from, &first_index);
    if (r == 0)
        assert_in_range(first_index, progress->reset ? keep_from : keep_from - 80, keep_from);
    return r;
}

static int mark(struct test_log *test, uint64_t index, struct progress *progress) {
    struct log_mark mark = mark_at(index);
    int r = flush(test, log_store_set_mark(test->log, &mark));

    if (r == 0)
        progress->mark = index;
    return r;
}

static int reset(struct test_log *test, struct progress *progress) {
    struct log_mark mark = mark_at(SNAPSHOT);
    int r;

    /* The state was switched before. */
    test->options.applied_index = SNAPSHOT;
    test->options.installed = true;
    r = flush(test, log_store_reset(test->log, &mark));
    if (r < 0)
        return r;
    progress->reset = true;
    progress->last = SNAPSHOT;
    progress->mark = SNAPSHOT;
    return 0;
}

static int append(struct test_log *test, uint64_t count, struct progress *progress) {
    uint64_t first_index = log_store_last_index(test->log) + 1;

    for (uint64_t index = first_index; index < first_index + count; index++) {
        int r = flush(test, test_try_append(test, index, 1, 1, ENTRY_SIZE));

        if (r < 0)
            return r;
        progress->last = index;
    }
    return 0;
}

/* Negative: the node has to stop there. */
static int operate(struct test_log *test, struct progress *progress) {
    int r = mark(test, FIRST_MARK, progress);

    if (r == 0)
        r = drop(test, FIRST_MARK - 10, progress);
    if (r == 0)
        r = append(test, 80, progress);
    if (r == 0)
        r = mark(test, SECOND_MARK, progress);
    if (r == 0)
        r = drop(test, SECOND_MARK + 1, progress);
    if (r == 0)
        r = reset(test, progress);
    if (r == 0)
        r = drop(test, SNAPSHOT + 1, progress);
    if (r == 0)
        r = append(test, 80, progress);
    return r;
}

static void fill(struct test_log *test) {
    test->options.configuration = (const uint8_t *)configuration;
    test->options.configuration_size = sizeof configuration;
    test->options.configuration_index = 1;
    test_log_open(test);
    for (uint64_t index = 1; index <= ENTRIES; index += 2)
        test_write(test, index, 2, 1, ENTRY_SIZE);
    test->options.applied_index = SECOND_MARK;
    test->options.applied_term = 1;
}

static void expect_progress(struct test_log *test, const struct progress *progress) {
    const struct log_recovery *recovery = &test->recovery;

    assert_true(recovery->last_index >= progress->last);
    assert_true(recovery->mark.index >= progress->mark);
    assert_true(recovery->first_index <= recovery->mark.index + 1);
    if (test->options.installed)
        assert_int_equal(recovery->first_index, SNAPSHOT + 1);
    else
        assert_true(progress->keep_from == 0 ? recovery->first_index == 1
                                             : recovery->first_index <= progress->keep_from);
    if (recovery->mark.index > 0)
        assert_string_equal((const char *)recovery->mark.configuration, configuration);
    if (recovery->last_index >= recovery->first_index)
        test_expect(test, recovery->first_index, recovery->last_index, 1, ENTRY_SIZE);
}

/* The operations succeed, or end with that error; then the log opens, and has what was flushed. */
static void fail_each_call(void **state, int error) {
    bool any = true;

    for (unsigned long n = 1; any; n++) {
        struct test_log *test = *state;
        struct progress progress = {.last = ENTRIES};
        int r;

        fill(test);
        failed = false;
        failure_error = error;
        countdown = n;
        r = operate(test, &progress);
        countdown = 0;
        any = failed;
        /* The library may panic when it finds no memory. */
        if (r != 0 && (!any || error == ENOSPC || (r != -error && r != -EIO)))
            fail_msg("call %lu: %d", n, r);
        test_log_open(test);
        expect_progress(test, &progress);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

static void a_call_that_finds_no_space_is_made_up_for(void **state) {
    fail_each_call(state, ENOSPC);
}

static void a_call_that_fails_loses_nothing(void **state) {
    fail_each_call(state, EIO);
}

static void a_call_that_finds_no_memory_loses_nothing(void **state) {
    fail_each_call(state, ENOMEM);
}

/* The flush into that file was not reported as done. */
static void a_file_that_the_floor_does_not_know_does_not_become_the_first(void **state) {
    enum { HALF = 30000 };
    bool any = true;

    for (unsigned long n = 1; any; n++) {
        struct test_log *test = *state;
        struct progress progress = {.last = 2};
        int r;

        test_log_open(test);
        test_write(test, 1, 2, 1, HALF);
        assert_int_equal(mark(test, 2, &progress), 0);
        test_append(test, 3, 1, 1, HALF);
        failed = false;
        failure_error = ENOSPC;
        countdown = n;
        r = log_store_flush(test->log);
        countdown = 0;
        any = failed;
        /* The library tries a failed pwrite again as a write. */
        assert_true(r == 0 || (any && r == -ENOSPC));
        assert_int_equal(log_store_drop(test->log, 3, NULL), 0);
        assert_int_equal(log_store_first_index(test->log), r == 0 ? 3 : 1);
        test->options.applied_index = 2;
        test_log_open(test);
        assert_in_range(test->recovery.last_index, 2, 3);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

/* A start that has a drop and a reset to complete fails; the next one succeeds. */
static void a_start_that_fails_at_any_call_changes_nothing_that_matters(void **state) {
    static const int errors[] = {ENOSPC, EIO, ENOMEM};

    for (size_t i = 0; i < 3; i++) {
        bool any = true;

        for (unsigned long n = 1; any; n++) {
            struct test_log *test = *state;
            struct progress progress = {.last = ENTRIES};
            int r;

            fill(test);
            assert_int_equal(mark(test, FIRST_MARK, &progress), 0);
            assert_int_equal(drop(test, FIRST_MARK - 10, &progress), 0);
            if (n % 2) {
                test->options.applied_index = SNAPSHOT;
                test->options.installed = true;
            }
            test_log_close(test);
            failed = false;
            failure_error = errors[i];
            countdown = n;
            mallocs_spared = count_mallocs_of_create();
            r = test_log_try_open(test);
            countdown = mallocs_spared = 0;
            any = failed;
            assert_true(r == 0 || any);
            assert_true(r == 0 || r == ERROR_INTERNAL);
            assert_true(r == 0 || test->failure.message[0]);
            test_log_open(test);
            expect_progress(test, &progress);
            test_log_teardown(state);
            test_log_setup(state);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_log_setup, test_log_teardown)
        TEST(a_call_that_finds_no_space_is_made_up_for),
        TEST(a_call_that_fails_loses_nothing),
        TEST(a_call_that_finds_no_memory_loses_nothing),
        TEST(a_file_that_the_floor_does_not_know_does_not_become_the_first),
        TEST(a_start_that_fails_at_any_call_changes_nothing_that_matters),
    };

    db_env_set_func_malloc(library_malloc);
    db_env_set_func_realloc(library_realloc);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
