/* A state that is restored from a backup and verified, while each call fails once: there is all of
 * it, or nothing that is taken for a state. */
#include "failing_run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "failing_state.h"
#include "store/backup.h"
#include "store/snapshot.h"
#include "test_backup_fixture.h"

enum { CLUSTER = 1234, BATCHES = 10, INDEX = BATCHES * MODEL_BATCH };

static int backup = -1; /* a file without a name */
static uint64_t hash;   /* of the state in there */

struct acknowledged {
    bool restored;
};

static int restore(const char *directory, struct failure *failure) {
    struct backup_summary summary;
    int r;

    assert_int_equal(lseek(backup, 0, SEEK_SET), 0);
    r = backup_restore(backup, directory, NULL, NULL, &summary, failure);
    if (r == 0)
        backup_summary_deinit(&summary);
    return r;
}

static int verify(const char *directory, struct failure *failure) {
    struct state_summary summary;
    int r = state_verify(directory, NULL, NULL, &summary, failure);

    if (r != 0)
        return r;
    r = summary.hash == hash && summary.applied_index == INDEX ? 0 : -EBADMSG;
    state_summary_deinit(&summary);
    return r;
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    struct acknowledged *said = acknowledged;
    int r = restore(directory, failure);

    (void)scenario;
    said->restored = r == 0;
    return r == 0 ? verify(directory, failure) : r;
}

static bool holds(const char *directory, const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);

    return access(path, F_OK) == 0;
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    const struct acknowledged *before = acknowledged;
    _cleanup_free_ char *another = xasprintf("%s/another", directory);
    struct failure failure = {0};

    (void)scenario;
    if (!holds(directory, "current")) {
        struct state_options options = {.directory = directory};
        struct state *state;

        assert_false(before->restored);
        if (holds(directory, "state-1"))
            assert_int_not_equal(state_open(&state, &options, &failure), 0);
        assert_int_equal(mkdir(another, 0700), 0);
        directory = another;
        if (restore(directory, &failure) != 0)
            fail_msg("%s", failure.message);
    }
    if (verify(directory, &failure) != 0)
        fail_msg("%s", failure.message);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static int setup(void **fixture) {
    const char *directory = failing_make_state(BATCHES);
    struct state *state = failing_open_again(directory);

    backup = make_backup_file(state, CLUSTER, 20000);
    assert_int_equal(state_hash(state, &hash), 0);
    state_close(state);
    remove_directory((char *)(uintptr_t)directory);
    *fixture = &scenario;
    return 0;
}

static int teardown(void **fixture) {
    (void)fixture;
    return close(backup);
}

int main(void) {
    const struct CMUnitTest tests[] = {FAILING_TESTS};

    return cmocka_run_group_tests_name("failing_restore", tests, setup, teardown);
}
