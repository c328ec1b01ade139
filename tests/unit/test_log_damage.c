/*
 * What a start says to a damaged log: the table in ARCHITECTURE.md, "Damage". Either the
 * start is refused, with the file and what is wrong with it, or the very last flush is cut off and
 * reported with its place; nothing that was flushed before goes silently.
 */
#include "test_log_bytes.h"

#include <db.h>
#include <errno.h>
#include <sys/stat.h>

#include "store/sync.h"

enum {
    ENTRY_SIZE = 1000,
    FLUSHED = 200, /* entries, one flush each; they fill files 1 to 3 and begin file 4 */
    LAST_FILE = 4,
    TAIL = 3, /* entries of the last flush, a record each */
};

/* FLUSHED entries with a flush each, then TAIL entries as so many records with one flush. */
static void fill(struct test_log *test) {
    test_log_open(test);
    for (uint64_t index = 1; index <= FLUSHED; index++)
        test_write(test, index, 1, 1, ENTRY_SIZE);
    for (uint64_t index = FLUSHED + 1; index <= FLUSHED + TAIL; index++)
        test_append(test, index, 1, 1, ENTRY_SIZE);
    assert_int_equal(log_store_flush(test->log), 0);
}

static void fill_and_crash(struct test_log *test) {
    fill(test);
    crash(test);
}

static int damage_setup(void **state) {
    struct test_log *test;

    test_log_setup(state);
    test = *state;
    test->options.file_size = FILE_SIZE;
    return 0;
}

/* A copy of every byte in the directory, to see that a refused start changes none. */
static uint8_t *snapshot(struct test_log *test) {
    uint8_t *bytes = xcalloc(LAST_FILE + 2, FILE_SIZE);

    for (int file = 1; file <= LAST_FILE + 2; file++) {
        _cleanup_free_ char *path = file_path(test, file);
        int fd = open(path, O_RDONLY);

        if (fd < 0)
            continue;
        assert_true(read(fd, bytes + (size_t)(file - 1) * FILE_SIZE, FILE_SIZE) >= 0);
        close(fd);
    }
    return bytes;
}

/* file 0: the message names the directory only. */
static void expect_code(struct test_log *test, int code, int file, const char *words) {
    _cleanup_free_ uint8_t *before = snapshot(test);
    _cleanup_free_ uint8_t *after = NULL;
    _cleanup_free_ char *place = file ? file_path(test, file) : xstrdup(test->directory);
    const char *message = test->failure.message;

    for (int i = 0; i < 2; i++) {
        int r = test_log_try_open(test);

        if (r != code)
            fail_msg("%d instead of %d: %s", r, code, message);
        if (!strstr(message, place) || !strstr(message, words))
            fail_msg("'%s' does not say '%s' and '%s'", message, place, words);
        if (code == ERROR_INTERNAL) {
            assert_non_null(strstr(message, "raftkvctl remove-server NAME"));
            assert_non_null(strstr(message, "raftkvctl add-voter NAME ADDRESS"));
            assert_non_null(strstr(message, "restored from a backup."));
        }
    }
    after = snapshot(test);
    assert_memory_equal(before, after, (size_t)(LAST_FILE + 2) * FILE_SIZE);
}

static void expect_refused(struct test_log *test, int file, const char *words) {
    expect_code(test, ERROR_INTERNAL, file, words);
}

/* The log opens, cut there; entries up to `last` are there, and it goes on from there. */
static void expect_cut(struct test_log *test, uint32_t file, uint32_t offset, uint64_t last) {
    char place[64];

    test_log_open(test);
    assert_int_equal(test->recovery.cut_file, file);
    assert_int_equal(test->recovery.cut_offset, offset);
    snprintf(place, sizeof place, "cut at %u/%u (", file, offset);
    assert_non_null(strstr(test->recovery.cut_message, place));
    assert_non_null(strstr(test->recovery.cut_message, "the only voter"));
    assert_int_equal(test->recovery.last_index, last);
    test_expect(test, 1, last, 1, ENTRY_SIZE);
    test_write(test, last + 1, 1, 1, ENTRY_SIZE);
    test_log_open(test);
    assert_string_equal(test->recovery.cut_message, "");
    assert_int_equal(test->recovery.last_index, last + 1);
    test_expect(test, 1, last + 1, 1, ENTRY_SIZE);
}

static void expect_clean(struct test_log *test, uint64_t last) {
    test_log_open(test);
    assert_string_equal(test->recovery.cut_message, "");
    assert_int_equal(test->recovery.cut_file, 0);
    assert_int_equal(test->recovery.last_index, last);
    test_expect(test, 1, last, 1, ENTRY_SIZE);
}

static void the_filled_log_is_as_these_tests_assume(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    assert_true(layout_of(test, 3).count > 50);
    layout = layout_of(test, LAST_FILE);
    assert_in_range(layout.count, TAIL + 5, 100);
    expect_clean(test, FLUSHED + TAIL);
}

static void a_flipped_byte_in_a_file_before_the_last_is_refused(void **state) {
    static const uint32_t within[] = {
        0, 4, 8, RECORD_OFFSET, RECORD_OFFSET + 30, CONTENT_OFFSET, CONTENT_OFFSET + 500};
    struct test_log *test = *state;

    fill_and_crash(test);
    for (int file = 1; file < LAST_FILE; file++) {
        struct layout layout = layout_of(test, file);
        const size_t records[] = {0, 1, layout.count / 2, layout.count - 1};

        for (size_t i = 0; i < 4; i++) {
            for (size_t k = 0; k < sizeof within / sizeof *within; k++) {
                uint32_t offset = layout.offsets[records[i]] + within[k];

                flip(test, file, offset);
                expect_refused(test, file, "");
                flip(test, file, offset);
            }
        }
    }
    expect_clean(test, FLUSHED + TAIL);
}

static void a_flipped_byte_in_the_header_of_a_file_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    for (int file = 1; file <= LAST_FILE; file++) {
        for (uint32_t offset = 0; offset < FIRST_OFFSET; offset++) {
            flip(test, file, offset);
            expect_refused(test, 0, "log.");
            flip(test, file, offset);
        }
    }
    expect_clean(test, FLUSHED + TAIL);
}

static void a_flipped_byte_before_the_last_flush_is_refused(void **state) {
    static const uint32_t within[] = {
        0, 4, 8, RECORD_OFFSET, RECORD_OFFSET + 30, CONTENT_OFFSET, CONTENT_OFFSET + 500};
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    for (size_t i = 0; i < layout.count - TAIL; i++) {
        for (size_t k = 0; k < sizeof within / sizeof *within; k++) {
            char words[64];

            snprintf(words, sizeof words, "the record at offset %u is damaged; it had been durable",
                     layout.offsets[i]);
            flip(test, LAST_FILE, layout.offsets[i] + within[k]);
            expect_refused(test, LAST_FILE, words);
            flip(test, LAST_FILE, layout.offsets[i] + within[k]);
        }
    }
    expect_clean(test, FLUSHED + TAIL);
}

static void a_flipped_byte_in_the_last_flush_is_cut_and_reported(void **state) {
    static const uint32_t within[] = {
        0, 4, 8, RECORD_OFFSET, RECORD_OFFSET + 30, CONTENT_OFFSET, CONTENT_OFFSET + 500};
    struct test_log *test = *state;
    _cleanup_free_ uint8_t *whole = NULL;
    _cleanup_free_ char *floor = NULL;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    whole = read_whole(test, LAST_FILE);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    for (size_t i = 0; i < TAIL; i++) {
        for (size_t k = 0; k < sizeof within / sizeof *within; k++) {
            uint32_t offset = layout.offsets[layout.count - TAIL + i];

            flip(test, LAST_FILE, offset + within[k]);
            expect_cut(test, LAST_FILE, offset, FLUSHED + i);
            test_log_close(test);
            with_file(test, LAST_FILE, whole, FILE_SIZE, 0, true);
            assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
        }
    }
}

/* The floor, raised at the stop, knows that the last flush was whole. */
static void a_flipped_byte_in_the_last_flush_after_a_stop_is_refused(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill(test);
    test_log_close(test);
    layout = layout_of(test, LAST_FILE);
    flip(test, LAST_FILE, layout.offsets[layout.count - 1] + CONTENT_OFFSET);
    expect_refused(test, LAST_FILE, "the log had come to record");
}

static void no_damage_anywhere_loses_anything_silently(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *floor = NULL;
    unsigned refused = 0, cut = 0;

    fill_and_crash(test);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    srandom(7);
    for (int i = 0; i < 1500; i++) {
        int file = 1 + (int)(random() % LAST_FILE);
        uint32_t offset = (uint32_t)(random() % (FILE_SIZE - 400));
        uint32_t size = 1 + (uint32_t)(random() % 300);
        _cleanup_free_ uint8_t *whole = read_whole(test, file);
        int kind = (int)(random() % 3), r;

        if (kind == 0)
            flip(test, file, offset);
        else if (kind == 1)
            zero(test, file, offset, offset + size);
        else
            with_file(test, file, whole + random() % (FILE_SIZE - 400), size, offset, true);
        r = test_log_try_open(test);
        assert_true(r == 0 || r == ERROR_INTERNAL);
        refused += r != 0;
        if (r == 0) {
            uint64_t last = test->recovery.last_index;

            assert_in_range(last, FLUSHED, FLUSHED + TAIL);
            cut += test->recovery.cut_message[0] != '\0';
            assert_true(last == FLUSHED + TAIL || test->recovery.cut_message[0]);
            test_expect(test, 1, last, 1, ENTRY_SIZE);
        }
        test_log_close(test);
        with_file(test, file, whole, FILE_SIZE, 0, true);
        assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
    }
    assert_true(refused > 500);
    assert_true(cut > 50);
}

static void a_torn_tail_is_cut_wherever_it_is_torn(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ uint8_t *whole = NULL;
    _cleanup_free_ char *floor = NULL;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    whole = read_whole(test, LAST_FILE);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    for (size_t i = 0; i < TAIL; i++) {
        uint32_t offset = layout.offsets[layout.count - TAIL + i];

        for (uint32_t kept = 1; kept < RECORD_OFFSET + 1000; kept += kept < 80 ? 7 : 113) {
            zero(test, LAST_FILE, offset + kept, FILE_SIZE - 1);
            expect_cut(test, LAST_FILE, offset, FLUSHED + i);
            test_log_close(test);
            with_file(test, LAST_FILE, whole, FILE_SIZE, 0, true);
            assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
        }
    }
}

static void a_last_flush_of_which_nothing_was_written_leaves_no_trace(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    zero(test, LAST_FILE, layout.offsets[layout.count - TAIL], FILE_SIZE - 1);
    expect_clean(test, FLUSHED);
}

static void a_hole_in_the_last_flush_is_cut_and_reported(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    zero(test, LAST_FILE, layout.offsets[layout.count - TAIL],
         layout.offsets[layout.count - TAIL + 1]);
    expect_cut(test, LAST_FILE, layout.offsets[layout.count - TAIL], FLUSHED);
}

static void a_hole_before_the_last_flush_is_refused(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    zero(test, LAST_FILE, layout.offsets[3], layout.offsets[5]);
    expect_refused(test, LAST_FILE, "it had been durable");
}

/* Zeros look like the end of the log. The floor, raised at a stop, and the state know better. */
static void a_zeroed_tail_below_the_floor_or_what_was_applied_is_refused(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill(test);
    test_log_close(test);
    layout = layout_of(test, LAST_FILE);
    zero(test, LAST_FILE, layout.offsets[2], FILE_SIZE - 1);
    expect_refused(test, LAST_FILE, "the log had come to record");
}

static void a_log_that_ends_below_what_was_applied_is_refused(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    zero(test, LAST_FILE, layout.offsets[layout.count - TAIL], FILE_SIZE - 1);
    test->options.applied_index = FLUSHED + 1;
    expect_refused(test, LAST_FILE, "ends with entry 200, but entry 201 was applied already");
    test->options.applied_index = FLUSHED;
    expect_clean(test, FLUSHED);
}

static void a_zeroed_tail_of_a_file_before_the_last_is_refused(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, 2);
    zero(test, 2, layout.offsets[10], FILE_SIZE - 1);
    expect_refused(test, 3, "has number");
}

static void a_missing_file_in_the_middle_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    remove_file(test, 2);
    expect_refused(test, 2, "is missing");
}

static void a_missing_last_file_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    remove_file(test, LAST_FILE);
    expect_refused(test, LAST_FILE, "is missing");
}

static void a_missing_first_file_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    remove_file(test, 1);
    expect_refused(test, 1, "is missing");
}

static void a_zeroed_file_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    for (int file = 1; file <= LAST_FILE; file++) {
        _cleanup_free_ uint8_t *whole = read_whole(test, file);

        zero(test, file, 0, FILE_SIZE - 1);
        expect_refused(test, file, "reads as zeros");
        with_file(test, file, whole, FILE_SIZE, 0, true);
    }
    expect_clean(test, FLUSHED + TAIL);
}

static void a_short_file_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    for (int file = 1; file <= LAST_FILE; file++) {
        _cleanup_free_ uint8_t *whole = read_whole(test, file);
        _cleanup_free_ char *path = file_path(test, file);

        assert_int_equal(truncate(path, FILE_SIZE - 2), 0);
        expect_refused(test, file, "is too short");
        assert_int_equal(truncate(path, 5000), 0);
        expect_refused(test, file, "is too short");
        assert_int_equal(truncate(path, 10), 0);
        expect_refused(test, file, "");
        assert_int_equal(truncate(path, 0), 0);
        expect_refused(test, file, "reads as zeros");
        with_file(test, file, whole, FILE_SIZE, 0, true);
    }
    expect_clean(test, FLUSHED + TAIL);
}

static void records_behind_a_tear_never_come_back(void **state) {
    struct test_log *test = *state;
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    flip(test, LAST_FILE, layout.offsets[layout.count - TAIL] + CONTENT_OFFSET + 100);
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, FLUSHED);
    /* Of the same size as the one that was torn: the next header of the library would fit. */
    test_write(test, FLUSHED + 1, 1, 2, ENTRY_SIZE);
    crash(test);
    assert_int_equal(layout_of(test, LAST_FILE).count, layout.count - TAIL + 1);
    for (int i = 0; i < 2; i++) {
        test_log_open(test);
        assert_string_equal(test->recovery.cut_message, "");
        assert_int_equal(test->recovery.last_index, FLUSHED + 1);
        test_expect(test, FLUSHED + 1, FLUSHED + 1, 2, ENTRY_SIZE);
    }
}

static void bytes_that_nobody_wrote_behind_the_end_are_cut_and_reported(void **state) {
    struct test_log *test = *state;
    uint8_t noise[700];
    struct layout layout;

    fill_and_crash(test);
    layout = layout_of(test, LAST_FILE);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 37 + 11);
    with_file(test, LAST_FILE, noise, sizeof noise, layout.end + 5000, true);
    expect_cut(test, LAST_FILE, layout.end, FLUSHED + TAIL);
}

static void the_log_of_another_member_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    test->options.member_id = TEST_MEMBER + 1;
    expect_code(test, ERROR_INVALID_ARGUMENT, 0, "of member 0000000000001267, but");
}

static void a_file_of_another_member_is_refused(void **state) {
    struct test_log *test = *state;
    struct test_log *other;

    assert_int_equal(damage_setup((void **)&other), 0);
    other->options.member_id = TEST_MEMBER + 1;
    fill_and_crash(other);
    fill_and_crash(test);
    for (int file = 1; file <= LAST_FILE; file++) {
        _cleanup_free_ uint8_t *foreign = read_whole(other, file);
        _cleanup_free_ uint8_t *own = read_whole(test, file);

        with_file(test, file, foreign, FILE_SIZE, 0, true);
        expect_code(test, ERROR_INVALID_ARGUMENT, file, "written by member 0000000000001268");
        with_file(test, file, own, FILE_SIZE, 0, true);
    }
    expect_clean(test, FLUSHED + TAIL);
    test_log_teardown((void **)&other);
}

/* Made with the library itself: its checksum has to be right. */
static void a_newer_format_is_refused(void **state) {
    struct test_log *test = *state;
    uint8_t data[64] = {'R', 'K', 'V', 'L', 2};
    DBT record = {.data = data, .size = sizeof data};
    DB_ENV *environment;
    DB_LSN lsn;

    assert_int_equal(
        store_replace_file(test->directory, "floor", "member=4711\nfirst=1\nfile=1\nsequence=1\n"),
        0);
    assert_int_equal(db_env_create(&environment, 0), 0);
    assert_int_equal(environment->set_lg_bsize(environment, FILE_SIZE / 4), 0);
    assert_int_equal(environment->set_lg_max(environment, FILE_SIZE), 0);
    assert_int_equal(environment->open(environment, test->directory,
                                       DB_CREATE | DB_INIT_LOG | DB_PRIVATE | DB_THREAD, 0600),
                     0);
    assert_int_equal(environment->log_put(environment, &lsn, &record, DB_FLUSH), 0);
    assert_int_equal(environment->close(environment, 0), 0);
    expect_code(test, ERROR_INVALID_ARGUMENT, 1, "newer version");
}

static void a_file_in_the_place_of_another_one_is_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    copy_file(test, LAST_FILE, LAST_FILE + 1);
    expect_refused(test, LAST_FILE + 1, "out of place");
    remove_file(test, LAST_FILE + 1);
    rename_file(test, LAST_FILE, LAST_FILE + 1);
    expect_refused(test, LAST_FILE, "is missing");
    rename_file(test, LAST_FILE + 1, LAST_FILE);
    rename_file(test, 2, LAST_FILE + 1);
    rename_file(test, 3, 2);
    rename_file(test, LAST_FILE + 1, 3);
    expect_refused(test, 2, "out of place");
}

static void an_old_copy_of_the_last_file_is_refused(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ uint8_t *old = NULL;

    fill_and_crash(test);
    old = read_whole(test, LAST_FILE);
    test_log_open(test);
    test_write(test, FLUSHED + TAIL + 1, 1, 1, ENTRY_SIZE);
    crash(test);
    test_log_open(test);
    test_write(test, FLUSHED + TAIL + 2, 1, 1, ENTRY_SIZE);
    crash(test);
    with_file(test, LAST_FILE, old, FILE_SIZE, 0, true);
    expect_refused(test, LAST_FILE, "the log had come to record");
}

static void records_of_a_later_run_are_refused(void **state) {
    struct test_log *test = *state;

    fill_and_crash(test);
    test->options.incarnation--;
    test_log_close(test);
    assert_int_equal(test_log_try_open(test), ERROR_INTERNAL);
    assert_non_null(strstr(test->failure.message, "identity is an old copy"));
}

static void a_log_without_any_file_is_refused_when_there_was_one(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *floor = xasprintf("%s/floor", test->directory);

    fill_and_crash(test);
    for (int file = 1; file <= LAST_FILE; file++)
        remove_file(test, file);
    expect_refused(test, LAST_FILE, "is missing");
    assert_int_equal(unlink(floor), 0);
    test->options.applied_index = 1;
    expect_refused(test, 0, "the log is empty, but entry 1 was applied already");
}

static void a_missing_or_damaged_floor_is_refused(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *path = xasprintf("%s/floor", test->directory);
    FILE *file;

    fill_and_crash(test);
    file = fopen(path, "r+");
    assert_non_null(file);
    fputc('x', file);
    fclose(file);
    expect_refused(test, 0, "the file floor is damaged");
    assert_int_equal(unlink(path), 0);
    expect_refused(test, 0, "the file floor is missing");
}

static void a_file_that_was_only_made_ready_is_no_damage(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *path = file_path(test, LAST_FILE + 1);
    int fd;

    fill_and_crash(test);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_clean(test, FLUSHED + TAIL);
    crash(test);
    assert_int_equal(truncate(path, FILE_SIZE), 0);
    expect_clean(test, FLUSHED + TAIL);
    for (uint64_t index = FLUSHED + TAIL + 1; index <= 300; index++)
        test_write(test, index, 1, 1, ENTRY_SIZE);
    expect_clean(test, 300);
}

/* The crash came between the library's first write to a file and the end of that flush. */
static void a_torn_first_record_of_a_file_is_cut_and_reported(void **state) {
    struct test_log *test = *state;
    _cleanup_free_ char *floor = NULL;
    _cleanup_free_ char *second = file_path(test, 2);
    struct layout layout;
    uint64_t index = 0;

    test_log_open(test);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    do
        test_write(test, ++index, 1, 1, ENTRY_SIZE);
    while (access(second, F_OK) != 0);
    test_log_close(test);
    assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
    layout = layout_of(test, 2);
    assert_int_equal(layout.count, 1);
    flip(test, 2, FIRST_OFFSET + CONTENT_OFFSET + 5);
    expect_cut(test, 2, FIRST_OFFSET, index - 1);
}

/* The same, and of what the library wrote to the file its first sector is what is missing. */
static void a_torn_beginning_of_a_file_is_cut_and_reported(void **state) {
    enum { PER_FLUSH = 8 };
    struct test_log *test = *state;
    _cleanup_free_ char *floor = NULL;
    _cleanup_free_ char *second = file_path(test, 2);
    static const uint8_t zeros[512];
    struct layout layout;
    uint64_t index = 0;
    int fd;

    test_log_open(test);
    assert_int_equal(store_read_file(test->directory, "floor", &floor), 0);
    do {
        for (int i = 0; i < PER_FLUSH; i++)
            test_append(test, ++index, 1, 1, ENTRY_SIZE);
        assert_int_equal(log_store_flush(test->log), 0);
    } while (access(second, F_OK) != 0);
    test_log_close(test);
    assert_int_equal(store_replace_file(test->directory, "floor", floor), 0);
    layout = layout_of(test, 2);
    assert_in_range(layout.count, 2, PER_FLUSH);
    fd = open(second, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
    close(fd);
    expect_cut(test, 2, 0, index - layout.count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, damage_setup, test_log_teardown)
        TEST(the_filled_log_is_as_these_tests_assume),
        TEST(a_flipped_byte_in_a_file_before_the_last_is_refused),
        TEST(a_flipped_byte_in_the_header_of_a_file_is_refused),
        TEST(a_flipped_byte_before_the_last_flush_is_refused),
        TEST(a_flipped_byte_in_the_last_flush_is_cut_and_reported),
        TEST(a_flipped_byte_in_the_last_flush_after_a_stop_is_refused),
        TEST(no_damage_anywhere_loses_anything_silently),
        TEST(a_torn_tail_is_cut_wherever_it_is_torn),
        TEST(a_last_flush_of_which_nothing_was_written_leaves_no_trace),
        TEST(a_hole_in_the_last_flush_is_cut_and_reported),
        TEST(a_hole_before_the_last_flush_is_refused),
        TEST(a_zeroed_tail_below_the_floor_or_what_was_applied_is_refused),
        TEST(a_log_that_ends_below_what_was_applied_is_refused),
        TEST(a_zeroed_tail_of_a_file_before_the_last_is_refused),
        TEST(a_missing_file_in_the_middle_is_refused),
        TEST(a_missing_last_file_is_refused),
        TEST(a_missing_first_file_is_refused),
        TEST(a_zeroed_file_is_refused),
        TEST(a_short_file_is_refused),
        TEST(records_behind_a_tear_never_come_back),
        TEST(bytes_that_nobody_wrote_behind_the_end_are_cut_and_reported),
        TEST(the_log_of_another_member_is_refused),
        TEST(a_file_of_another_member_is_refused),
        TEST(a_newer_format_is_refused),
        TEST(a_file_in_the_place_of_another_one_is_refused),
        TEST(an_old_copy_of_the_last_file_is_refused),
        TEST(records_of_a_later_run_are_refused),
        TEST(a_log_without_any_file_is_refused_when_there_was_one),
        TEST(a_missing_or_damaged_floor_is_refused),
        TEST(a_file_that_was_only_made_ready_is_no_damage),
        TEST(a_torn_first_record_of_a_file_is_cut_and_reported),
        TEST(a_torn_beginning_of_a_file_is_cut_and_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
