/* A data directory that is made, opened again and given to a tool, while each call fails once: it
 * keeps its identity, and no incarnation comes twice. */
#include "failing_run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "store/directory.h"
#include "test_directories.h"

enum { MEMBER = 4711, ANOTHER_MEMBER = 4712, CLUSTER = 1234, ANOTHER_CLUSTER = 5678 };

struct acknowledged {
    uint64_t member_id, incarnation;
    uint64_t cluster_id;      /* what was made durable ... */
    uint64_t next_cluster_id; /* ... and what may be there too */
    bool may_be_unfinished, is_unfinished;
    bool restored; /* the second directory is finished */
};

static int open_node(struct directory *ret, const char *path, struct acknowledged *acknowledged,
                     struct failure *failure) {
    int r = directory_open(ret, path, "nodeA", MEMBER, failure);

    if (r == 0) {
        acknowledged->member_id = ret->member_id;
        acknowledged->incarnation = ret->incarnation;
    }
    return r;
}

/* As a node: in no cluster, then in one. */
static int join(const char *path, struct acknowledged *acknowledged, struct failure *failure) {
    struct directory directory;
    int r = open_node(&directory, path, acknowledged, failure);

    if (r != 0)
        return r;
    acknowledged->next_cluster_id = CLUSTER;
    r = directory_set_cluster(&directory, CLUSTER, true);
    if (r == 0)
        r = directory_set_cluster(&directory, CLUSTER, false);
    if (r == 0)
        acknowledged->cluster_id = CLUSTER;
    directory_deinit(&directory);
    return failing_describe(failure, "The cluster's id can't be written", r);
}

static int recover(const char *path, struct acknowledged *acknowledged, struct failure *failure) {
    struct directory directory;
    int r = directory_open_stopped(&directory, path, "nodeA", failure);

    if (r != 0)
        return r;
    acknowledged->next_cluster_id = ANOTHER_CLUSTER;
    acknowledged->may_be_unfinished = true;
    r = directory_begin_recovery(&directory, ANOTHER_CLUSTER);
    if (r == 0) {
        acknowledged->is_unfinished = true;
        acknowledged->cluster_id = ANOTHER_CLUSTER;
        r = directory_raise_incarnation(&directory);
    }
    if (r == 0) {
        acknowledged->incarnation = directory.incarnation;
        acknowledged->is_unfinished = false;
        r = directory_finish(&directory);
    }
    if (r == 0)
        acknowledged->may_be_unfinished = false;
    directory_deinit(&directory);
    return failing_describe(failure, "The directory can't be recovered", r);
}

static char *second_path(const char *directory) {
    return xasprintf("%s/second", directory);
}

static int restore(const char *path, struct acknowledged *acknowledged, struct failure *failure) {
    struct directory directory;
    int r = directory_begin_restore(&directory, path, "nodeB", MEMBER, CLUSTER, failure);

    if (r == 0) {
        r = directory_undo_restore(&directory);
        directory_deinit(&directory);
        failing_describe(failure, "The directory can't be removed", r);
    }
    if (r == 0)
        r = directory_begin_restore(&directory, path, "nodeB", MEMBER, CLUSTER, failure);
    if (r != 0)
        return r;
    r = directory_finish(&directory);
    acknowledged->restored = r == 0;
    directory_deinit(&directory);
    return failing_describe(failure, "The directory can't be restored", r);
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    _cleanup_free_ char *first = xasprintf("%s/first", directory);
    _cleanup_free_ char *second = second_path(directory);
    int r = join(first, acknowledged, failure);

    (void)scenario;
    for (int i = 0; r == 0 && i < 2; i++) {
        struct directory opened;

        r = open_node(&opened, first, acknowledged, failure);
        if (r == 0)
            directory_deinit(&opened);
    }
    if (r == 0)
        r = recover(first, acknowledged, failure);
    return r == 0 ? restore(second, acknowledged, failure) : r;
}

/* A start refuses what a tool has not finished. */
static void finish_recovery(const char *path, const struct acknowledged *before) {
    struct directory directory;
    struct failure failure = {0};

    if (directory_open_stopped(&directory, path, "nodeA", &failure) != 0)
        return; /* there is no node yet */
    assert_true(directory.unfinished == DIRECTORY_FINISHED || before->may_be_unfinished);
    assert_true(directory.unfinished != DIRECTORY_FINISHED || !before->is_unfinished);
    if (directory.unfinished != DIRECTORY_FINISHED)
        assert_int_equal(directory_finish(&directory), 0);
    directory_deinit(&directory);
}

static void check_first(const char *path, const struct acknowledged *before) {
    struct directory directory;
    struct failure failure = {0};

    finish_recovery(path, before);
    if (directory_open(&directory, path, "nodeA", ANOTHER_MEMBER, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_true(directory.incarnation > before->incarnation);
    if (before->member_id != 0)
        assert_true(directory.member_id == MEMBER);
    assert_true(directory.cluster_id == before->cluster_id ||
                directory.cluster_id == before->next_cluster_id);
    directory_deinit(&directory);
}

static void check_second(const char *path, const struct acknowledged *before) {
    struct directory directory;
    struct failure failure = {0};

    if (!before->restored && directory_check_restorable(path, &failure) == 0) {
        assert_int_equal(
            directory_begin_restore(&directory, path, "nodeB", MEMBER, CLUSTER, &failure), 0);
        assert_int_equal(directory_finish(&directory), 0);
        directory_deinit(&directory);
    }
    if (directory_open(&directory, path, "nodeB", ANOTHER_MEMBER, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_true(directory.member_id == MEMBER);
    assert_true(directory.cluster_id == CLUSTER);
    directory_deinit(&directory);
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    _cleanup_free_ char *first = xasprintf("%s/first", directory);
    _cleanup_free_ char *second = second_path(directory);

    (void)scenario;
    check_first(first, acknowledged);
    check_second(second, acknowledged);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static int setup(void **state) {
    *state = &scenario;
    return 0;
}

int main(void) {
    /* There is no Berkeley DB in it. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_is_not_there_ends_the_process_and_loses_nothing),
        cmocka_unit_test(a_system_call_that_fails_loses_nothing),
        cmocka_unit_test(a_system_call_that_finds_no_space_loses_nothing),
    };

    return cmocka_run_group_tests_name("failing_directory", tests, setup, NULL);
}
