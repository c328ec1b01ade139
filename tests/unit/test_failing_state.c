/* The state, from an empty directory: applied to over several files of its own log, read, marked by
 * checkpoints, closed and opened again, while each call fails once. */
#include "failing_run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "failing_state.h"

struct acknowledged {
    uint64_t durable;
};

static int read_some(struct state *state) {
    struct state_record record;
    uint64_t hash;
    int r = state_get(state, "key-07", 6, &record);

    if (r == ERROR_NOT_FOUND)
        r = 0;
    return r == 0 ? state_hash(state, &hash) : r;
}

static int use(struct state *state, struct acknowledged *acknowledged) {
    int r = failing_apply(state, 2);

    if (r == 0)
        r = failing_checkpoint(state, &acknowledged->durable);
    if (r == 0)
        r = FAILING_WITH_SPACE(read_some(state));
    if (r == 0)
        r = failing_apply(state, 1);
    return r;
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    (void)scenario;
    for (int run = 0; run < 2; run++) {
        struct state *state = NULL;
        int r = failing_open(&state, directory, failure);

        if (r == 0)
            r = failing_close(state, use(state, acknowledged), failure);
        if (r != 0)
            return r;
    }
    return 0;
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    const struct acknowledged *before = acknowledged;
    struct state *state = failing_open_again(directory);

    (void)scenario;
    assert_true(model_verify(state, FAILING_VALUE_SIZE) >= before->durable);
    failing_go_on(state, directory);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static int setup(void **state) {
    *state = &scenario;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {FAILING_TESTS};

    return cmocka_run_group_tests_name("failing_state", tests, setup, NULL);
}
