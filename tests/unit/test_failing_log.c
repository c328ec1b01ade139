/* The log, from an empty directory, or as a process left it that was killed: verified, written into
 * several files, marked, cut, read, opened again and reset, while each call fails once. */
#include "failing_run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "failing_calls.h"
#include "store/log.h"
#include "system_calls.h"
#include "test_directories.h"
#include "test_log_tools.h"

enum {
    MEMBER = 4711,
    ENTRY_SIZE = 9000, /* seven of them fill a file */
    FILE_SIZE = 64 * 1024,
    MARK = 14,
    SNAPSHOT = 100,
};

static const char configuration[] = "a configuration";

struct acknowledged {
    uint64_t term, vote;
    uint64_t last, mark;
    uint64_t keep_from; /* what is before may be gone */
    bool reset;         /* the state is as a snapshot brought it */
};

struct log {
    struct log_store *store;
    struct log_recovery recovery;
    struct log_store_options options;
    struct acknowledged *acknowledged;
    uint64_t marked; /* the last mark that was put, durable or not */
};

static struct log_store_options options_for(const char *directory, uint64_t run,
                                            const struct acknowledged *acknowledged) {
    return (struct log_store_options){
        .directory = directory,
        .member_id = MEMBER,
        .incarnation = run,
        .applied_index = acknowledged->reset          ? SNAPSHOT
                         : acknowledged->mark > 0     ? acknowledged->mark
                         : acknowledged->last >= MARK ? MARK
                                                      : 0,
        .applied_term = 1,
        .installed = acknowledged->reset,
        .configuration = (const uint8_t *)configuration,
        .configuration_size = sizeof configuration,
        .configuration_index = 1,
        .file_size = FILE_SIZE,
    };
}

static uint8_t *data_of(uint64_t index) {
    uint8_t *data = xmalloc(ENTRY_SIZE);

    memset(data, (int)index, ENTRY_SIZE);
    return data;
}

static struct log_mark mark_at(uint64_t index) {
    return (struct log_mark){
        .index = index,
        .term = 1,
        .configuration_index = 1,
        .configuration = (uint8_t *)(uintptr_t)configuration,
        .configuration_size = sizeof configuration,
    };
}

static void must_fail(const char *job, int r) {
    if (r < 0 && r != -ENOSPC)
        return;
    fprintf(stderr, "%s succeeds after another write has failed.\n", job);
    abort();
}

/* What a node may have queued on the lane when a write fails comes before the node ends. */
static int fail_what_was_queued(struct log *log, int error) {
    uint64_t applied = log->acknowledged->last;
    struct log_mark mark = mark_at(applied), snapshot = mark_at(applied + SNAPSHOT);
    struct log_entry entry = {.term = 1, .type = ENTRY_BARRIER, .data = (uint8_t[8]){0}, .size = 8};
    struct log_store_stats stats;

    if (error == 0)
        return 0;
    if (applied > log->marked)
        must_fail("A mark", log_store_set_mark(log->store, &mark));
    must_fail("A flush", log_store_flush(log->store));
    must_fail("A cut", log_store_drop(log->store, applied, NULL));
    must_fail("A vote", log_store_set_vote(log->store, 9, 9));
    must_fail("An entry",
              log_store_append(log->store, log_store_last_index(log->store) + 1, &entry, 1));
    if (log->marked < SNAPSHOT)
        must_fail("A reset", log_store_reset(log->store, &snapshot));
    log_store_get_stats(log->store, &stats);
    return error;
}

/* As a node does: what found no space is kept, and goes out when there is some. */
static int flush(struct log *log, int put) {
    int r = put == -ENOSPC ? 0 : put;

    if (r == 0)
        r = log_store_flush(log->store);
    if (r == -ENOSPC) {
        failing_end();
        r = log_store_flush(log->store);
    }
    return fail_what_was_queued(log, r);
}

static int append(struct log *log, uint64_t last) {
    int r = 0;

    while (r == 0 && log_store_last_index(log->store) < last) {
        uint64_t index = log_store_last_index(log->store) + 1;
        _cleanup_free_ uint8_t *data = data_of(index);
        struct log_entry entry = {
            .term = 1, .type = ENTRY_COMMAND, .data = data, .size = ENTRY_SIZE};

        r = flush(log, log_store_append(log->store, index, &entry, 1));
        if (r == 0)
            log->acknowledged->last = index;
    }
    return r;
}

static int vote(struct log *log, uint64_t term, uint64_t candidate) {
    int r = flush(log, log_store_set_vote(log->store, term, candidate));

    if (r < 0)
        return r;
    log->acknowledged->term = term;
    log->acknowledged->vote = candidate;
    return 0;
}

static int mark(struct log *log) {
    struct log_mark mark = mark_at(MARK);
    int r;

    log->marked = MARK;
    r = flush(log, log_store_set_mark(log->store, &mark));
    if (r == 0)
        log->acknowledged->mark = MARK;
    return r;
}

static int reset(struct log *log) {
    struct log_mark mark = mark_at(SNAPSHOT);
    int r;

    log->acknowledged->reset = true;
    log->marked = SNAPSHOT;
    r = flush(log, log_store_reset(log->store, &mark));
    if (r == 0)
        log->acknowledged->last = log->acknowledged->mark = SNAPSHOT;
    return r;
}

static int drop(struct log *log, uint64_t keep_from) {
    uint64_t first_index;
    int r;

    log->acknowledged->keep_from = keep_from;
    r = log_store_drop(log->store, keep_from, &first_index);
    if (r == -ENOSPC) {
        failing_end();
        r = log_store_drop(log->store, keep_from, &first_index);
    }
    return fail_what_was_queued(log, r);
}

/* -EBADMSG: an entry is not what was written. */
static int read_all(struct log_store *store) {
    uint64_t index = log_store_first_index(store);
    int r = 0;

    while (r == 0 && index <= log_store_last_index(store)) {
        _cleanup_free_ struct log_entry *entries = NULL;
        size_t count = 0;

        r = log_store_read(store, index, 100, 2 * ENTRY_SIZE, &entries, &count);
        if (r == -ENOSPC) {
            failing_end();
            r = log_store_read(store, index, 100, 2 * ENTRY_SIZE, &entries, &count);
        }
        for (size_t i = 0; r == 0 && i < count; i++, index++) {
            _cleanup_free_ uint8_t *data = data_of(index);

            if (entries[i].size != ENTRY_SIZE || memcmp(entries[i].data, data, ENTRY_SIZE) != 0)
                r = -EBADMSG;
        }
    }
    return r;
}

static int open_log(struct log *log, struct failure *failure) {
    int r;

    log->options =
        options_for(log->options.directory, log->options.incarnation + 1, log->acknowledged);
    r = log_store_open(&log->store, &log->options, &log->recovery, failure);
    if (r == 0)
        log->marked = log->recovery.mark.index;
    if (r == 0 && log->recovery.last_index < log->acknowledged->last) {
        fprintf(stderr, "An acknowledged entry is lost.\n");
        abort();
    }
    return r;
}

static void close_log(struct log *log) {
    log->store = log_store_close(log->store);
    log_recovery_deinit(&log->recovery);
}

static int first_run(struct log *log) {
    int r = append(log, 9);

    if (r == 0)
        r = vote(log, 2, 5);
    if (r == 0)
        r = append(log, 20);
    if (r == 0)
        r = mark(log);
    if (r == 0)
        r = drop(log, MARK);
    if (r == 0)
        r = vote(log, 3, 0);
    return r == 0 ? read_all(log->store) : r;
}

static int second_run(struct log *log) {
    int r = 0;

    if (!log->acknowledged->reset) {
        r = append(log, 22);
        if (r == 0)
            r = read_all(log->store);
        if (r == 0)
            r = reset(log);
    }
    if (r == 0)
        r = drop(log, SNAPSHOT + 1);
    if (r == 0)
        r = append(log, SNAPSHOT + 9);
    return r == 0 ? read_all(log->store) : r;
}

/* -EBADMSG: it does not find what there is. */
static int verify(struct log *log, struct failure *failure) {
    struct log_store_options options = options_for(log->options.directory, 2, log->acknowledged);
    struct log_verification verification;
    int r = log_store_verify(&options, &verification, failure);

    if (r != 0)
        return r;
    if (verification.resets != log->acknowledged->reset ||
        (!verification.resets && verification.recovery.last_index != log->acknowledged->last))
        r = -EBADMSG;
    log_recovery_deinit(&verification.recovery);
    return r;
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    struct log log = {.options.directory = directory, .acknowledged = acknowledged};
    int (*const runs[])(struct log * log) = {first_run, second_run};
    int r = 0;

    if (scenario->data) {
        *log.acknowledged = *(const struct acknowledged *)scenario->data;
        r = verify(&log, failure);
    }
    for (size_t i = 0; r == 0 && i < 2; i++) {
        if (i == 0 && scenario->directory)
            continue;
        log.options.incarnation = i;
        r = open_log(&log, failure);
        if (r == 0)
            r = failing_describe(failure, "The log can't be used", runs[i](&log));
        close_log(&log);
    }
    return r;
}

static void open_again(struct log *log) {
    struct failure failure = {0};

    if (open_log(log, &failure) != 0)
        fail_msg("%s", failure.message);
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    struct acknowledged after = *(const struct acknowledged *)acknowledged;
    const struct acknowledged before = after;
    struct log log = {
        .options = {.directory = directory, .incarnation = 10},
        .acknowledged = &after,
    };
    const struct log_recovery *recovery = &log.recovery;

    (void)scenario;
    open_again(&log);
    assert_true(recovery->last_index >= before.last);
    assert_true(recovery->term >= before.term);
    if (recovery->term == before.term)
        assert_true(recovery->vote == before.vote);
    assert_true(recovery->mark.index >= before.mark);
    assert_true(recovery->first_index <= recovery->mark.index + 1);
    if (before.reset)
        assert_int_equal(recovery->first_index, SNAPSHOT + 1);
    else
        assert_true(recovery->first_index <= (before.keep_from ? before.keep_from : 1));
    if (recovery->mark.index > 0)
        assert_string_equal((const char *)recovery->mark.configuration, configuration);
    assert_int_equal(read_all(log.store), 0);

    /* And it goes on. */
    after.last = recovery->last_index;
    assert_int_equal(append(&log, after.last + 3), 0);
    close_log(&log);
    open_again(&log);
    assert_int_equal(recovery->last_index, after.last);
    assert_int_equal(read_all(log.store), 0);
    close_log(&log);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static int setup_empty(void **state) {
    *state = &scenario;
    return 0;
}

static struct acknowledged before_the_kill;

/* The last record is alone in what Berkeley DB reads at once. */
static int run_until_the_kill(struct log *log) {
    int r = append(log, MARK);

    if (r == 0)
        r = mark(log);
    if (r == 0)
        r = drop(log, MARK);
    return r == 0 ? append(log, 18) : r;
}

/* The process ends without closing the log. */
static int setup_killed(void **state) {
    char *directory = make_directory_in_memory(), *copy = make_directory_in_memory();
    struct log log = {
        .options.directory = directory,
        .acknowledged = &before_the_kill,
    };

    before_the_kill = (struct acknowledged){0};
    open_again(&log);
    assert_int_equal(run_until_the_kill(&log), 0);
    copy_directory(directory, copy);
    close_log(&log);
    remove_directory(directory);
    scenario.directory = copy;
    scenario.data = &before_the_kill;
    *state = &scenario;
    return 0;
}

/* Between the switch to a state that arrived and the reset of the log. */
static int setup_killed_before_a_reset(void **state) {
    int r = setup_killed(state);

    before_the_kill.reset = true;
    before_the_kill.last = before_the_kill.mark = SNAPSHOT;
    return r;
}

static int teardown_killed(void **state) {
    (void)state;
    remove_directory((char *)(uintptr_t)scenario.directory);
    return 0;
}

static unsigned long countdown;

/* The disk is full for one call. */
static int refuse(const struct system_call *call) {
    if (system_call_syncs(call))
        return SYSTEM_CALL_IS_LEFT_OUT;
    if (countdown == 0 || !system_call_needs_space(call) || --countdown > 0)
        return SYSTEM_CALL_IS_MADE;
    return ENOSPC;
}

/* A flush into a new file that was not reported as done: the floor does not know the file. */
static void a_file_that_the_floor_does_not_know_does_not_become_the_first(void **state) {
    enum { HALF = 30000 };
    bool refused = true;

    for (unsigned long n = 1; refused; n++) {
        struct test_log *test = *state;
        struct log_mark second = mark_at(2);
        int r;

        test_log_open(test);
        test_write(test, 1, 2, 1, HALF);
        assert_int_equal(log_store_set_mark(test->log, &second), 0);
        assert_int_equal(log_store_flush(test->log), 0);
        test_append(test, 3, 1, 1, HALF);
        countdown = n;
        system_call_hook = refuse;
        r = log_store_flush(test->log);
        system_call_hook = NULL;
        refused = countdown == 0;
        /* Berkeley DB tries a pwrite that failed again as a write. */
        assert_true(r == 0 || (refused && r == -ENOSPC));
        assert_int_equal(log_store_drop(test->log, 3, NULL), 0);
        assert_int_equal(log_store_first_index(test->log), r == 0 ? 3 : 1);
        test->options.applied_index = 2;
        test_log_open(test);
        assert_in_range(test->recovery.last_index, 2, 3);
        test_log_teardown(state);
        test_log_setup(state);
    }
}

static off_t unreadable_from;

/* The disk fails once, at the first read that comes so far. */
static int fail_to_read(const struct system_call *call) {
    bool reads_there = strcmp(call->name, "read") == 0;
    off_t offset = reads_there ? lseek(call->fd, 0, SEEK_CUR) : call->offset;

    if ((!reads_there && strcmp(call->name, "pread") != 0) || unreadable_from == 0 ||
        offset + (off_t)call->size <= unreadable_from)
        return SYSTEM_CALL_IS_MADE;
    unreadable_from = 0;
    return EIO;
}

/* Berkeley DB takes it for the end, and the rest for a torn flush. */
static void a_flush_that_can_not_be_read_is_not_cut_off(void **state) {
    enum { SIZE = 12000 };
    struct test_log *test = *state;

    test_log_open(test);
    test_write(test, 1, 2, 1, SIZE);
    test_write(test, 3, 1, 1, SIZE);
    test_log_close(test);
    unreadable_from = 2 * SIZE + SIZE / 2;
    system_call_hook = fail_to_read;
    assert_int_not_equal(test_log_try_open(test), 0);
    system_call_hook = NULL;
    assert_int_equal(unreadable_from, 0);
    assert_non_null(strstr(test->failure.message, strerror(EIO)));
    test_log_open(test);
    assert_int_equal(test->recovery.last_index, 3);
    assert_string_equal(test->recovery.cut_message, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {FAILING_TESTS};
    const struct CMUnitTest cuts[] = {
        cmocka_unit_test_setup_teardown(
            a_file_that_the_floor_does_not_know_does_not_become_the_first, test_log_setup,
            test_log_teardown),
        cmocka_unit_test_setup_teardown(a_flush_that_can_not_be_read_is_not_cut_off, test_log_setup,
                                        test_log_teardown),
    };
    int failures = cmocka_run_group_tests_name("failing_log", tests, setup_empty, NULL);

    failures += cmocka_run_group_tests_name("failing_log_after_a_kill", tests, setup_killed,
                                            teardown_killed);
    failures += cmocka_run_group_tests_name("failing_log_before_a_reset", tests,
                                            setup_killed_before_a_reset, teardown_killed);
    return failures + cmocka_run_group_tests_name("failing_log_cut", cuts, NULL, NULL);
}
