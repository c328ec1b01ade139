/*
 * What a start says to a damaged log that was cut, and to one whose cutting was interrupted: the
 * table in ARCHITECTURE.md, "Damage".
 */
#include "test_log_bytes.h"

#include <errno.h>

enum {
    ENTRY_SIZE = 1000,
    ENTRIES = 400, /* one flush each: files 1 to 6, and the beginning of file 7 */
    MARK = 300,
    KEEP_FROM = 201,
    FIRST_FILE = 4, /* that is left */
    LAST_FILE = 7,
    FILES_MAX = 10,
};

static const char configuration[] = "a configuration";

static void put_mark(struct test_log *test, uint64_t index) {
    struct log_mark mark = {
        .index = index,
        .term = 1,
        .configuration_index = 1,
        .configuration = (uint8_t *)(uintptr_t)configuration,
        .configuration_size = sizeof configuration,
    };

    assert_int_equal(log_store_set_mark(test->log, &mark), 0);
    assert_int_equal(log_store_flush(test->log), 0);
    test->options.applied_index = index;
    test->options.applied_term = 1;
}

static uint64_t drop(struct test_log *test, uint64_t keep_from) {
    uint64_t first_index;

    assert_int_equal(log_store_drop(test->log, keep_from, &first_index), 0);
    return first_index;
}

static void fill(struct test_log *test) {
    test_log_open(test);
    for (uint64_t index = 1; index <= ENTRIES; index++)
        test_write(test, index, 1, 1, ENTRY_SIZE);
}

/* Fills it, cuts it, writes one entry more, and crashes; returns the first index. */
static uint64_t cut_and_crash(struct test_log *test) {
    uint64_t first;

    fill(test);
    put_mark(test, MARK);
    first = drop(test, KEEP_FROM);
    test_write(test, ENTRIES + 1, 1, 1, ENTRY_SIZE);
    crash(test);
    return first;
}

static void expect_entries(struct test_log *test, uint64_t first, uint64_t last) {
    test_log_open(test);
    assert_string_equal(test->recovery.cut_message, "");
    assert_int_equal(test->recovery.first_index, first);
    assert_int_equal(test->recovery.last_index, last);
    assert_int_equal(test->recovery.mark.index, MARK);
    assert_string_equal((const char *)test->recovery.mark.configuration, configuration);
    test_expect(test, first, last, 1, ENTRY_SIZE);
}

static void expect_refused(struct test_log *test, int file, const char *words) {
    _cleanup_free_ char *place = file ? file_path(test, file) : xstrdup(test->directory);
    const char *message = test->failure.message;

    assert_int_equal(test_log_try_open(test), ERROR_INTERNAL);
    if (!strstr(message, place) || !strstr(message, words))
        fail_msg("'%s' does not say '%s' and '%s'", message, place, words);
}

static bool is_there(struct test_log *test, int file) {
    _cleanup_free_ char *path = file_path(test, file);

    return access(path, F_OK) == 0;
}

/* The log's files and its floor, to bring them back. */
struct copy {
    uint8_t *files[FILES_MAX];
    char *floor;
};

static struct copy take_copy(struct test_log *test) {
    struct copy copy = {0};

    for (int file = 1; file < FILES_MAX; file++)
        if (is_there(test, file))
            copy.files[file] = read_whole(test, file);
    assert_int_equal(store_read_file(test->directory, "floor", &copy.floor), 0);
    return copy;
}

static void put_file(struct test_log *test, int file, const uint8_t *data) {
    _cleanup_free_ char *path = file_path(test, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, FILE_SIZE), FILE_SIZE);
    close(fd);
}

static void put_back(struct test_log *test, const struct copy *copy) {
    for (int file = 1; file < FILES_MAX; file++) {
        if (copy->files[file])
            put_file(test, file, copy->files[file]);
        else if (is_there(test, file))
            remove_file(test, file);
    }
    assert_int_equal(store_replace_file(test->directory, "floor", copy->floor), 0);
}

static void copy_deinit(struct copy *copy) {
    for (int file = 1; file < FILES_MAX; file++)
        free(copy->files[file]);
    free(copy->floor);
}

static void the_cut_log_is_as_these_tests_assume(void **state) {
    struct test_log *test = *state;
    uint64_t first = cut_and_crash(test);

    assert_in_range(first, KEEP_FROM - 70, KEEP_FROM);
    for (int file = 1; file < FILES_MAX; file++)
        assert_int_equal(is_there(test, file), file >= FIRST_FILE && file <= LAST_FILE);
    expect_entries(test, first, ENTRIES + 1);
}

/* The floor says which one is the first, though the mark would allow it to go. */
static void a_missing_first_file_is_refused(void **state) {
    struct test_log *test = *state;

    cut_and_crash(test);
    remove_file(test, FIRST_FILE);
    expect_refused(test, FIRST_FILE, "is missing");
    expect_refused(test, FIRST_FILE, "is missing");
}

static void a_missing_file_in_the_middle_or_at_the_end_is_refused(void **state) {
    struct test_log *test = *state;
    _cleanup_(copy_deinit) struct copy copy = {0};

    cut_and_crash(test);
    copy = take_copy(test);
    for (int file = FIRST_FILE; file <= LAST_FILE; file++) {
        remove_file(test, file);
        expect_refused(test, file, "is missing");
        put_back(test, &copy);
    }
    for (int file = FIRST_FILE; file <= LAST_FILE; file++)
        remove_file(test, file);
    expect_refused(test, LAST_FILE, "is missing");
}

/* Somebody restored them; the entries in them were not to be there any more. */
static void old_files_that_come_back_are_removed(void **state) {
    struct test_log *test = *state;
    _cleanup_(copy_deinit) struct copy before = {0};
    _cleanup_(copy_deinit) struct copy after = {0};
    uint64_t first;

    fill(test);
    crash(test);
    before = take_copy(test);
    test_log_open(test);
    put_mark(test, MARK);
    first = drop(test, KEEP_FROM);
    crash(test);
    after = take_copy(test);
    for (unsigned some = 1; some < 1 << (FIRST_FILE - 1); some++) {
        for (int file = 1; file < FIRST_FILE; file++)
            if (some & 1U << (file - 1))
                put_file(test, file, before.files[file]);
        expect_entries(test, first, ENTRIES);
        for (int file = 1; file < FIRST_FILE; file++)
            assert_false(is_there(test, file));
        test_log_close(test);
        put_back(test, &after);
    }
    /* With an old floor, too, the log is the one from before. */
    for (int file = 1; file < FIRST_FILE; file++)
        put_file(test, file, before.files[file]);
    assert_int_equal(store_replace_file(test->directory, "floor", before.floor), 0);
    expect_entries(test, 1, ENTRIES);
}

static void an_old_floor_alone_is_refused(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *floor = NULL;

    fill(test);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    put_mark(test, MARK);
    drop(test, KEEP_FROM);
    crash(test);
    assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
    expect_refused(test, 1, "is missing");
}

static void a_log_that_begins_above_its_mark_is_refused(void **state) {
    struct test_log *test = *state;

    fill(test);
    crash(test);
    remove_file(test, 1);
    assert_int_equal(
        store_replace_file(test->directory, "floor", "member=4711\nfirst=2\nfile=7\nsequence=1\n"),
        0);
    expect_refused(test, 2, "but the mark is at entry 0");
}

static void an_interrupted_drop_is_completed(void **state) {
    struct test_log *test = *state;
    _cleanup_(copy_deinit) struct copy before = {0};
    _cleanup_(copy_deinit) struct copy after = {0};
    _cleanup_free_ char *new_floor = xasprintf("%s/floor.new", test->directory);
    uint64_t first;

    fill(test);
    put_mark(test, MARK);
    crash(test);
    before = take_copy(test);
    test_log_open(test);
    crash(test);
    test_log_open(test);
    first = drop(test, KEEP_FROM);
    crash(test);
    after = take_copy(test);
    /* Before the floor is replaced: torn, or whole, but not renamed. */
    for (size_t size = 0; size <= strlen(after.floor); size++) {
        FILE *file;

        put_back(test, &before);
        file = fopen(new_floor, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(after.floor, 1, size, file), size);
        fclose(file);
        expect_entries(test, 1, ENTRIES);
        test_log_close(test);
    }
    /* Then the files go, but they need not go in that order on the disk. */
    for (unsigned left = 0; left < 1 << (FIRST_FILE - 1); left++) {
        put_back(test, &after);
        for (int file = 1; file < FIRST_FILE; file++)
            if (left & 1U << (file - 1))
                put_file(test, file, before.files[file]);
        for (int i = 0; i < 2; i++)
            expect_entries(test, first, ENTRIES);
        for (int file = 1; file < FIRST_FILE; file++)
            assert_false(is_there(test, file));
        test_write(test, ENTRIES + 1, 1, 1, ENTRY_SIZE);
        expect_entries(test, first, ENTRIES + 1);
        test_log_close(test);
    }
}

/* The library had begun the file, and its first record was torn; then it is only put again. */
static void a_file_stays_until_the_first_record_of_the_next_one_is_durable(void **state) {
    enum { HALF = 30000 };
    struct test_log *test = *state;
    _cleanup_free_ char *floor = NULL;

    test_log_open(test);
    test_write(test, 1, 1, 1, HALF);
    test_write(test, 2, 1, 1, HALF);
    put_mark(test, 2);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    test_write(test, 3, 1, 1, HALF);
    test_log_close(test);
    assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
    flip(test, 2, FIRST_OFFSET + CONTENT_OFFSET);
    test_log_open(test);
    assert_int_equal(test->recovery.cut_file, 2);
    assert_int_equal(test->recovery.cut_offset, FIRST_OFFSET);
    assert_int_equal(drop(test, 3), 1);
    test_append(test, 3, 1, 1, 100);
    assert_int_equal(drop(test, 3), 1);
    assert_int_equal(log_store_flush(test->log), 0);
    assert_int_equal(drop(test, 3), 3);
    test_log_open(test);
    assert_int_equal(test->recovery.first_index, 3);
    test_expect(test, 3, 3, 1, 100);
}

/* The state has everything up to the mark, so a mark that is torn costs nothing. */
static void a_torn_mark_is_cut_and_reported(void **state) {
    struct test_log *test = *state;
    _cleanup_(copy_deinit) struct copy copy = {0};
    struct layout layout;

    fill(test);
    put_mark(test, MARK);
    crash(test);
    copy = take_copy(test);
    layout = layout_of(test, LAST_FILE);
    /* The last byte is a zero anyway. */
    for (uint32_t at = layout.offsets[layout.count - 1] + 1; at < layout.end - 1; at++) {
        zero(test, LAST_FILE, at, layout.end);
        test_log_open(test);
        assert_int_equal(test->recovery.mark.index, 0);
        assert_int_equal(test->recovery.first_index, 1);
        assert_int_equal(test->recovery.last_index, ENTRIES);
        assert_int_equal(test->recovery.cut_offset, layout.offsets[layout.count - 1]);
        test_log_close(test);
        put_back(test, &copy);
    }
}

static void a_damaged_mark_is_refused_once_files_went(void **state) {
    struct test_log *test = *state;
    struct layout layout;
    uint64_t first;

    fill(test);
    put_mark(test, MARK);
    first = drop(test, KEEP_FROM);
    crash(test);
    layout = layout_of(test, LAST_FILE);
    for (uint32_t at = layout.offsets[layout.count - 1]; at < layout.end; at += 3) {
        flip(test, LAST_FILE, at);
        expect_refused(test, LAST_FILE, "the log had come to record");
        flip(test, LAST_FILE, at);
    }
    expect_entries(test, first, ENTRIES);
}

static void a_damaged_restatement_is_refused(void **state) {
    struct test_log *test = *state;
    uint64_t first = cut_and_crash(test);

    for (uint32_t at = 0; at < FIRST_OFFSET + CONTENT_OFFSET + 100; at++) {
        flip(test, FIRST_FILE, at);
        expect_refused(test, 0, "log.");
        flip(test, FIRST_FILE, at);
    }
    expect_entries(test, first, ENTRIES + 1);
}

static void no_damage_of_a_cut_log_loses_anything_silently(void **state) {
    struct test_log *test = *state;
    uint64_t first = cut_and_crash(test);
    _cleanup_(copy_deinit) struct copy copy = take_copy(test);
    unsigned refused = 0;

    srandom(9);
    for (int i = 0; i < 500; i++) {
        int file = FIRST_FILE + (int)(random() % (LAST_FILE - FIRST_FILE + 1));
        uint32_t offset = (uint32_t)(random() % (FILE_SIZE - 400));
        uint32_t size = 1 + (uint32_t)(random() % 300);
        int r;

        if (random() % 2 == 0)
            flip(test, file, offset);
        else
            zero(test, file, offset, offset + size);
        r = test_log_try_open(test);
        assert_true(r == 0 || r == ERROR_INTERNAL);
        refused += r != 0;
        if (r == 0) {
            uint64_t last = test->recovery.last_index;

            assert_in_range(last, ENTRIES, ENTRIES + 1);
            assert_true(last == ENTRIES + 1 || test->recovery.cut_message[0]);
            assert_int_equal(test->recovery.first_index, first);
            assert_int_equal(test->recovery.mark.index, MARK);
            test_expect(test, first, last, 1, ENTRY_SIZE);
        }
        test_log_close(test);
        put_back(test, &copy);
    }
    assert_true(refused > 250);
}

/* The state was switched; the crash came before, in, or behind each byte of the reset's record, or
 * among the files that go afterwards. */
static void an_interrupted_reset_is_completed(void **state) {
    static const uint64_t indices[] = {ENTRIES + 100, MARK};
    struct log_mark mark = {.term = 5, .configuration_index = 3};

    mark.configuration = (uint8_t *)(uintptr_t)configuration;
    mark.configuration_size = sizeof configuration;
    for (size_t i = 0; i < 2; i++) {
        struct test_log *test = *state;
        _cleanup_(copy_deinit) struct copy before = {0};
        _cleanup_(copy_deinit) struct copy after = {0};
        struct layout layout;

        fill(test);
        crash(test);
        mark.index = indices[i];
        test_log_open(test);
        before = take_copy(test);
        assert_int_equal(log_store_reset(test->log, &mark), 0);
        assert_int_equal(log_store_flush(test->log), 0);
        crash(test);
        after = take_copy(test);
        layout = layout_of(test, LAST_FILE);
        test->options.applied_index = mark.index;
        test->options.applied_term = mark.term;
        test->options.installed = true;
        test->options.configuration = mark.configuration;
        test->options.configuration_size = mark.configuration_size;
        test->options.configuration_index = mark.configuration_index;
        for (uint32_t at = layout.offsets[layout.count - 1]; at <= layout.end; at++) {
            put_back(test, at == layout.offsets[layout.count - 1] ? &before : &after);
            zero(test, LAST_FILE, at, layout.end);
            for (int k = 0; k < 2; k++) {
                test_log_open(test);
                assert_int_equal(test->recovery.first_index, mark.index + 1);
                assert_int_equal(test->recovery.last_index, mark.index);
                assert_int_equal(test->recovery.mark.term, mark.term);
                assert_int_equal(test->recovery.mark.configuration_index, 3);
                assert_string_equal((const char *)test->recovery.mark.configuration, configuration);
            }
            test_log_close(test);
        }
        test_log_teardown(state);
        test_log_setup(state);
    }
}

static void a_reset_that_was_lost_is_refused_unless_the_state_was_installed(void **state) {
    struct test_log *test = *state;

    fill(test);
    test->options.applied_index = ENTRIES + 100;
    expect_refused(test, LAST_FILE, "was applied already");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_log_setup, test_log_teardown)
        TEST(the_cut_log_is_as_these_tests_assume),
        TEST(a_missing_first_file_is_refused),
        TEST(a_missing_file_in_the_middle_or_at_the_end_is_refused),
        TEST(old_files_that_come_back_are_removed),
        TEST(an_old_floor_alone_is_refused),
        TEST(a_log_that_begins_above_its_mark_is_refused),
        TEST(an_interrupted_drop_is_completed),
        TEST(a_file_stays_until_the_first_record_of_the_next_one_is_durable),
        TEST(a_torn_mark_is_cut_and_reported),
        TEST(a_damaged_mark_is_refused_once_files_went),
        TEST(a_damaged_restatement_is_refused),
        TEST(no_damage_of_a_cut_log_loses_anything_silently),
        TEST(an_interrupted_reset_is_completed),
        TEST(a_reset_that_was_lost_is_refused_unless_the_state_was_installed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
