/* What comes back after a crash, and what is said of a damaged state. */
#include "test_state_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/sync.h"

enum { VALUE_SIZE = 1000 };

/* LeakSanitizer asks for this: Berkeley DB keeps the memory of an environment that has panicked. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3";
}

static int setup(void **fixture) {
    *fixture = make_directory();
    return 0;
}

static int teardown(void **fixture) {
    remove_directory(*fixture);
    return 0;
}

static void assert_refused(const char *directory, enum error_code code, const char *what) {
    struct state_options options = {.directory = directory};
    struct failure failure = {0};
    struct state *state = NULL;

    assert_int_equal(state_open(&state, &options, &failure), code);
    assert_int_equal(failure.code, code);
    assert_null(state);
    if (!strstr(failure.message, what))
        fail_msg("'%s' is not in '%s'", what, failure.message);
    assert_non_null(strstr(failure.message, "add-voter"));
}

/* Runs in a process of its own that ends without closing anything. */
static void apply_and_die(const char *directory, size_t before, size_t after) {
    struct state_options options = {.directory = directory};
    struct failure failure;
    struct state *state;
    uint64_t durable;
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        bool failed = state_open(&state, &options, &failure) != 0 ||
                      model_apply(state, before, VALUE_SIZE) != 0 ||
                      (before > 0 && state_checkpoint(state, &durable) != 0) ||
                      model_apply(state, after, VALUE_SIZE) != 0;

        _exit(failed ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void after_a_crash_the_state_stands_at_the_end_of_a_batch(void **fixture) {
    uint64_t last = 0;

    for (size_t i = 0; i < 12; i++) {
        struct state *state;
        uint64_t index;

        apply_and_die(*fixture, i % 3 == 0 ? 7 : 0, 5 + i * 10);
        state = open_state(*fixture, 0);
        index = model_verify(state, VALUE_SIZE);
        assert_true(index >= last + (i % 3 == 0 ? 70 : 0));
        assert_int_equal(model_apply(state, 2, VALUE_SIZE), 0);
        last = model_verify(state, VALUE_SIZE);
        assert_int_equal(last, index + 20);
        state_close(state);
    }
    assert_true(last > 500);
}

/* Applies batch after batch until it is killed; writes each durable index into the pipe. */
static void apply_until_killed(const char *directory, int pipe) {
    struct state_options options = {.directory = directory, .cache_size = 256 * 1024};
    struct failure failure;
    struct state *state;
    uint64_t durable;

    if (state_open(&state, &options, &failure) != 0)
        _exit(1);
    while (model_apply(state, 3, VALUE_SIZE) == 0 && state_checkpoint(state, &durable) == 0)
        if (write(pipe, &durable, sizeof durable) != sizeof durable)
            _exit(1);
    _exit(1);
}

static void what_a_checkpoint_says_survives_a_kill(void **fixture) {
    for (size_t i = 0; i < 8; i++) {
        uint64_t durable = 0, index;
        struct state *state;
        int ends[2], status;
        pid_t child;

        assert_int_equal(pipe(ends), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            apply_until_killed(*fixture, ends[1]);
        }
        close(ends[1]);
        for (size_t n = 0; n < 1 + i * 2; n++)
            assert_int_equal(read(ends[0], &durable, sizeof durable), sizeof durable);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(ends[0]);

        state = open_state(*fixture, 0);
        index = model_verify(state, VALUE_SIZE);
        assert_true(index >= durable);
        state_abandon(state);
    }
}

/* A state with a checkpoint at 500 and some hundred KiB of log behind it. */
static void make_crashed(const char *directory) {
    struct state *state;

    apply_and_die(directory, 50, 150);
    /* Far more than its log's buffer: batches behind the checkpoint are on disk. */
    state = open_state(directory, 0);
    assert_true(model_verify(state, VALUE_SIZE) > 1000);
    state_abandon(state);
}

static long flushed_offset(const char *directory) {
    _cleanup_free_ char *path = xasprintf("%s/state-1/flushed", directory);
    FILE *file = fopen(path, "re");
    long log_file, offset;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "log-file=%ld\nlog-offset=%ld", &log_file, &offset), 2);
    assert_int_equal(log_file, 1);
    fclose(file);
    return offset;
}

/* Damages the log at `offset` in each of some ways. */
static void tear(const char *path, unsigned how, long offset, long size) {
    static const uint8_t zeros[4096];
    uint8_t garbage[512];

    memset(garbage, 0xa5, sizeof garbage);
    if (how == 0)
        assert_int_equal(truncate(path, offset), 0);
    if (how == 1)
        overwrite(path, offset, garbage, sizeof garbage);
    if (how == 2)
        overwrite(path, offset, zeros,
                  offset + (long)sizeof zeros > size ? (size_t)(size - offset) : sizeof zeros);
    if (how == 3)
        overwrite(path, offset, "x", 1);
}

static void a_torn_tail_takes_whole_batches(void **fixture) {
    enum { PLACES = 4, WAYS = 4 };
    _cleanup_free_ char *origin = xasprintf("%s/origin", (char *)*fixture);
    _cleanup_free_ char *copied_log = NULL;
    uint64_t index, whole, shortest = UINT64_MAX;
    struct state *state;
    struct stat status;
    long first, last;

    apply_and_die(origin, 50, 150);
    first = flushed_offset(origin);
    copied_log = xasprintf("%s/state-1/log.0000000001", origin);
    assert_int_equal(stat(copied_log, &status), 0);
    last = status.st_size - 600;
    assert_true(first + 500000 < last);

    for (unsigned i = 0; i < PLACES * WAYS; i++) {
        _cleanup_free_ char *copy = xasprintf("%s/%u", (char *)*fixture, i);
        _cleanup_free_ char *log = xasprintf("%s/state-1/log.0000000001", copy);

        copy_directory(origin, copy);
        tear(log, i % WAYS, first + (last - first) * (long)(i / WAYS) / PLACES + (long)i * 37,
             status.st_size);
        state = open_state(copy, 0);
        index = model_verify(state, VALUE_SIZE);
        assert_true(index >= 500);
        shortest = index < shortest ? index : shortest;
        state_close(state);
        /* New records of the same sizes, again cut short: nothing stale comes back behind them. */
        for (unsigned n = 1; n < 3; n++) {
            apply_and_die(copy, 0, n);
            apply_and_die(copy, n, 40 * n);
            state = open_state(copy, 0);
            whole = model_verify(state, VALUE_SIZE);
            assert_true(whole >= index + n * 10);
            assert_true(whole <= index + n * (10 + 10 + 400));
            index = whole;
            state_close(state);
        }
    }
    assert_true(shortest < 600);
}

/* The bytes after the log's end, where recovery stopped. */
static void nothing_is_left_behind_the_end_of_the_log(void **fixture) {
    _cleanup_free_ char *log = xasprintf("%s/state-1/log.0000000001", (char *)*fixture);
    uint8_t garbage[512], *data;
    struct state *state;
    struct stat status;
    FILE *file;
    long end;

    make_crashed(*fixture);
    end = flushed_offset(*fixture);
    memset(garbage, 0xa5, sizeof garbage);
    overwrite(log, end + 300, garbage, sizeof garbage);
    assert_int_equal(stat(log, &status), 0);
    assert_true(status.st_size > end + 500000);

    state = open_state(*fixture, 0);
    data = xmalloc((size_t)status.st_size);
    file = fopen(log, "re");
    assert_non_null(file);
    assert_int_equal(fread(data, 1, (size_t)status.st_size, file), status.st_size);
    fclose(file);
    /* Recovery itself appends a little. */
    for (long i = end + 8192; i < status.st_size; i++)
        assert_int_equal(data[i], 0);
    free(data);
    state_close(state);
}

static void a_log_that_lost_what_was_flushed_is_refused(void **fixture) {
    _cleanup_free_ char *log = xasprintf("%s/state-1/log.0000000001", (char *)*fixture);
    struct stat before, after;
    long end;

    make_crashed(*fixture);
    end = flushed_offset(*fixture);
    overwrite(log, end - 200, "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5", 10);
    assert_int_equal(stat(log, &before), 0);
    assert_refused(*fixture, ERROR_INTERNAL, "log.0000000001 is damaged");
    assert_refused(*fixture, ERROR_INTERNAL, "log.0000000001 is damaged");
    assert_int_equal(stat(log, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    assert_int_equal(unlink(log), 0);
    assert_refused(*fixture, ERROR_INTERNAL, "is damaged");
    assert_int_equal(access(log, F_OK), -1);
}

static void a_torn_header_of_the_next_log_file_is_no_damage(void **fixture) {
    _cleanup_free_ char *next = xasprintf("%s/state-1/log.0000000002", (char *)*fixture);
    struct state *state;
    uint64_t index;

    make_crashed(*fixture);
    for (int i = 0; i < 2; i++) {
        write_text(next, i == 0 ? "" : "\1\1\1");
        state = open_state(*fixture, 0);
        index = model_verify(state, VALUE_SIZE);
        assert_true(index > 1000);
        assert_int_equal(model_apply(state, 600, VALUE_SIZE), 0);
        state_close(state);
        state = open_state(*fixture, 0);
        assert_int_equal(model_verify(state, VALUE_SIZE), index + 6000);
        state_close(state);
        remove(next);
        if (i == 0) {
            char *again = make_directory();

            remove_directory(*fixture);
            *fixture = again;
            free(TAKE(next));
            next = xasprintf("%s/state-1/log.0000000002", again);
            make_crashed(again);
        }
    }
}

static void a_damaged_page_is_an_error_and_no_crash(void **fixture) {
    _cleanup_free_ char *keys = xasprintf("%s/state-1/keys", (char *)*fixture);
    struct state_record record;
    struct state *state = open_state(*fixture, 0);
    char message[256] = "";
    uint64_t hash, durable;
    struct stat status;

    assert_int_equal(model_apply(state, 100, VALUE_SIZE), 0);
    state_close(state);
    assert_int_equal(stat(keys, &status), 0);
    assert_true(status.st_size > 4 * 8192);
    for (long page = 1; page < status.st_size / 8192; page++)
        overwrite(keys, page * 8192 + 4000, "damage", 6);

    state = open_state(*fixture, 0);
    assert_int_equal(state_get(state, "key-07", 6, &record), -EIO);
    state_last_message(state, message, sizeof message);
    assert_non_null(strstr(message, "checksum"));
    assert_int_equal(state_hash(state, &hash), -EIO);
    assert_int_equal(state_begin(state), -EIO);
    assert_int_equal(state_checkpoint(state, &durable), -EIO);
    assert_null(state_close(state));
}

static void a_damaged_first_page_is_refused(void **fixture) {
    _cleanup_free_ char *keys = xasprintf("%s/state-1/keys", (char *)*fixture);
    struct state *state = open_state(*fixture, 0);

    assert_int_equal(model_apply(state, 100, VALUE_SIZE), 0);
    state_close(state);
    overwrite(keys, 100, "damage", 6);
    assert_refused(*fixture, ERROR_INTERNAL, "state-1");
}

static void a_damaged_current_is_refused(void **fixture) {
    static const char *const torn[] = {"", "x", "format=1\n", "format=1\ndirectory=state-1\n",
                                       "format=1\ndirectory=state-1\nchecksum=00000000\n"};
    static const char *const whole[] = {
        "",
        "format=\ndirectory=state-1\n",
        "format=x\ndirectory=state-1\n",
        "directory=state-1\n",
        "format=1\n",
        "format=1\ndirectory=\n",
        "format=1\ndirectory=state-\n",
        "format=1\ndirectory=state-0\n",
        "format=1\ndirectory=state-01\n",
        "format=1\ndirectory=state-1x\n",
        "format=1\ndirectory=../state-1\n",
        "format=1\ndirectory=state-1/../state-1\n",
        "format=1\ndirectory=state-1111111111111111111111\n",
    };
    _cleanup_free_ char *current = xasprintf("%s/current", (char *)*fixture);
    struct state *state = open_state(*fixture, 0);

    assert_int_equal(model_apply(state, 1, 10), 0);
    state_close(state);
    for (size_t i = 0; i < sizeof torn / sizeof torn[0]; i++) {
        write_text(current, torn[i]);
        assert_refused(*fixture, ERROR_INTERNAL, "current is damaged");
    }
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        assert_int_equal(store_replace_file(*fixture, "current", whole[i]), 0);
        assert_refused(*fixture, ERROR_INTERNAL, "current is damaged");
    }
    assert_int_equal(store_replace_file(*fixture, "current", "format=1\ndirectory=state-2\n"), 0);
    assert_refused(*fixture, ERROR_INTERNAL, "state-2");
    assert_int_equal(store_replace_file(*fixture, "current", "format=2\nanything\n"), 0);
    assert_refused(*fixture, ERROR_INVALID_ARGUMENT, "format 2");
    assert_int_equal(unlink(current), 0);
    assert_refused(*fixture, ERROR_INTERNAL, "current is missing");

    assert_int_equal(store_replace_file(*fixture, "current", "format=1\ndirectory=state-1\n"), 0);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 10), 10);
    state_close(state);
}

static void a_first_start_that_was_cut_short_is_taken_up(void **fixture) {
    _cleanup_free_ char *current = xasprintf("%s/current", (char *)*fixture);
    _cleanup_free_ char *half = xasprintf("%s/current.new", (char *)*fixture);
    _cleanup_free_ char *making = xasprintf("%s/making-the-first", (char *)*fixture);
    _cleanup_free_ char *keys = xasprintf("%s/state-1/keys", (char *)*fixture);
    struct state *state = open_state(*fixture, 0);

    state_close(state);
    assert_int_equal(access(making, F_OK), -1);
    assert_int_equal(unlink(current), 0);
    write_text(half, "form");
    write_text(making, "");
    write_text(keys, "not what Berkeley DB can recover");
    state = open_state(*fixture, 0);
    assert_int_equal(access(current, F_OK), 0);
    assert_int_equal(access(making, F_OK), -1);
    assert_int_equal(model_apply(state, 3, 10), 0);
    state_close(state);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 10), 30);
    state_close(state);
}

static void an_emptied_directory_is_not_taken_for_a_new_state(void **fixture) {
    _cleanup_free_ char *environment = xasprintf("%s/state-1", (char *)*fixture);
    struct state *state = open_state(*fixture, 0);

    state_close(state);
    remove_directory(xstrdup(environment));
    assert_refused(*fixture, ERROR_INTERNAL, "state-1");
    assert_int_equal(mkdir(environment, 0700), 0);
    assert_refused(*fixture, ERROR_INTERNAL, "lost its format");
}

static void a_damaged_flushed_is_refused(void **fixture) {
    static const char *const texts[] = {"", "log-file=1\n", "log-file=x\nlog-offset=5\n",
                                        "log-file=1\nlog-offset=4294967296\n"};
    _cleanup_free_ char *environment = xasprintf("%s/state-1", (char *)*fixture);
    _cleanup_free_ char *flushed = xasprintf("%s/flushed", environment);
    struct state *state = open_state(*fixture, 0);

    state_close(state);
    overwrite(flushed, 3, "x", 1);
    assert_refused(*fixture, ERROR_INTERNAL, "flushed is damaged");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(store_replace_file(environment, "flushed", texts[i]), 0);
        assert_refused(*fixture, ERROR_INTERNAL, "flushed is damaged");
    }
}

static void an_abandoned_state_comes_back_at_the_end_of_a_batch(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct state_record record = {1, 1, 1, (const uint8_t *)"x", 1};
    uint64_t durable;

    assert_int_equal(model_apply(state, 5, 100), 0);
    assert_int_equal(state_checkpoint(state, &durable), 0);
    assert_int_equal(model_apply(state, 5, 100), 0);
    assert_int_equal(state_begin(state), 0);
    assert_int_equal(state_put(state, "new", 3, &record), 0);
    assert_null(state_abandon(state));
    state = open_state(*fixture, 0);
    assert_true(model_verify(state, 100) >= durable);
    state_close(state);
}

/* As an older raftkvd left it, or with a journal of which one half is gone. */
static void a_state_without_a_page_journal_gets_one(void **fixture) {
    static const char *const missing[][2] = {
        {"pages-1", "pages-2"}, {"pages-1", "pages-1"}, {"pages-2", "pages-2"}};

    for (size_t i = 0; i < 3; i++) {
        struct state *state;
        uint64_t index;

        apply_and_die(*fixture, 30, 20);
        state = open_state(*fixture, 0);
        index = model_verify(state, VALUE_SIZE);
        state_close(state);
        for (size_t k = 0; k < 2; k++) {
            _cleanup_free_ char *path = xasprintf("%s/state-1/%s", (char *)*fixture, missing[i][k]);

            unlink(path);
        }
        state = open_state(*fixture, 0);
        assert_int_equal(model_verify(state, VALUE_SIZE), index);
        assert_int_equal(model_apply(state, 30, VALUE_SIZE), 0);
        state_close(state);
        state = open_state(*fixture, 0);
        assert_int_equal(model_verify(state, VALUE_SIZE), index + 300);
        state_close(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(after_a_crash_the_state_stands_at_the_end_of_a_batch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_a_checkpoint_says_survives_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_tail_takes_whole_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_behind_the_end_of_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_lost_what_was_flushed_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_torn_header_of_the_next_log_file_is_no_damage, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_page_is_an_error_and_no_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_first_page_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_current_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_first_start_that_was_cut_short_is_taken_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_emptied_directory_is_not_taken_for_a_new_state, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_flushed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_abandoned_state_comes_back_at_the_end_of_a_batch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_state_without_a_page_journal_gets_one, setup, teardown),
    };

    return cmocka_run_group_tests_name("state_damage", tests, NULL, NULL);
}
