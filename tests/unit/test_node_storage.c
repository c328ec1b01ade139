/* A node's writes to its log while the disk is full: Berkeley DB's writes go through a hook that
 * finds no space when told to. */
#include "test_log_tools.h"

#include <db.h>
#include <errno.h>

#include "node/node_internal.h"

static bool full;

static ssize_t limited_write(int fd, const void *data, size_t size) {
    if (full) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, data, size);
}

static int setup(void **state) {
    full = false;
    db_env_set_func_write(limited_write);
    return test_log_setup(state);
}

static uint64_t microseconds(struct host *host) {
    (void)host;
    return 0;
}

/* What waits for space is the log's: a mark, say. Then a write with a new term and entries. */
static void entries_that_come_with_a_vote_are_written_when_there_is_space(void **state) {
    struct test_log *test = *state;
    struct node *node = xcalloc(1, sizeof *node);
    struct host host = {.microseconds = microseconds};
    struct log_entry entry = {.term = 7, .type = ENTRY_COMMAND, .size = 10};

    test_log_open(test);
    test_write(test, 1, 100, 1, 200);
    full = true;
    assert_int_equal(test_try_append(test, 101, 300, 1, 200), -ENOSPC);

    entry.data = test_data(401, 7, entry.size);
    storage_init(node);
    node->host = &host;
    node->log = test->log;
    node->write = (struct member_write){
        .set_vote = true,
        .term = 7,
        .vote = 8,
        .first_index = 401,
        .entries = &entry,
        .count = 1,
    };
    node->persist_job.run(&node->persist_job);
    assert_int_equal(node->write_result, -ENOSPC);
    full = false;
    node->persist_job.run(&node->persist_job);
    assert_int_equal(node->write_result, 0);

    test_log_open(test);
    assert_int_equal(test->recovery.term, 7);
    assert_int_equal(test->recovery.vote, 8);
    assert_int_equal(test->recovery.last_index, 401);
    test_expect(test, 101, 400, 1, 200);
    test_expect(test, 401, 401, 7, 10);
    free((void *)(uintptr_t)entry.data);
    free(node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            entries_that_come_with_a_vote_are_written_when_there_is_space, setup,
            test_log_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
