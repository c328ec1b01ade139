/* A state that arrives and takes the place of another one, while each call fails once: there is the
 * one or the other, whole. */
#include "failing_run.h"

#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/memory.h"
#include "failing_state.h"
#include "store/snapshot.h"
#include "store/stage.h"

enum { OWN_BATCHES = 4, SENT_BATCHES = 10, SENT_INDEX = SENT_BATCHES * MODEL_BATCH, CHUNKS = 8 };

/* What is sent. */
static struct snapshot_header header;
static struct buffer chunks[CHUNKS];
static size_t chunk_count;

struct acknowledged {
    uint64_t durable;
    bool may_be_switched, is_switched;
};

/* The second chunk comes damaged at first. */
static int receive(struct stage *stage, struct failure *failure) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < chunk_count; i++) {
        struct stage_position position;

        stage_position(stage, &position);
        if (i == 1)
            r = stage_put_chunk(stage, chunks[i].data, chunks[i].size - 1, failure);
        if (r == -EBADMSG) {
            failure->message[0] = '\0';
            r = position.chunks == 1 ? 0 : -EINVAL;
        }
        if (r == 0)
            r = stage_put_chunk(stage, chunks[i].data, chunks[i].size, failure);
    }
    return r == 0 ? stage_finish(stage, failure) : r;
}

static int stage_all(struct stage **ret, const char *directory, struct failure *failure) {
    struct stage *stage = NULL;
    int r = stage_open(&stage, directory, &header);

    if (r == 0)
        r = receive(stage, failure);
    if (r == 0)
        *ret = TAKE(stage);
    stage_discard(stage);
    return r;
}

static int install(struct state *state, const char *directory, struct acknowledged *acknowledged,
                   struct failure *failure) {
    struct stage *stage = NULL;
    int r = stage_all(&stage, directory, failure);

    /* A state that can't be staged is given up, and comes again. */
    if (r != 0) {
        failing_end();
        r = stage_all(&stage, directory, failure);
    }
    if (r != 0)
        return r;
    acknowledged->may_be_switched = true;
    r = FAILING_WITH_SPACE(state_switch(state, stage, failure));
    if (r == 0) {
        acknowledged->is_switched = true;
        acknowledged->durable = SENT_INDEX;
    }
    stage_discard(stage);
    return r;
}

static int use(struct state *state, const char *directory, struct acknowledged *acknowledged,
               struct failure *failure) {
    int r = failing_apply(state, 1);

    if (r == 0)
        r = failing_checkpoint(state, &acknowledged->durable);
    if (r == 0)
        r = install(state, directory, acknowledged, failure);
    if (r == 0)
        r = failing_apply(state, 2);
    if (r == 0)
        r = failing_checkpoint(state, &acknowledged->durable);
    return r;
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    struct state *state = NULL;
    struct failure own = {0};
    int r = failing_open(&state, directory, failure);

    (void)scenario;
    if (r != 0)
        return r;
    r = use(state, directory, acknowledged, failure);
    return failing_close(state, r, failure->message[0] ? &own : failure);
}

static size_t count_states(const char *directory) {
    _cleanup_free_ char *pattern = xasprintf("%s/state-*", directory);
    size_t count;
    glob_t names;

    assert_int_equal(glob(pattern, 0, NULL, &names), 0);
    count = names.gl_pathc;
    globfree(&names);
    return count;
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    const struct acknowledged *before = acknowledged;
    struct state *state = failing_open_again(directory);
    uint64_t index = model_verify(state, FAILING_VALUE_SIZE);

    (void)scenario;
    assert_true(index >= before->durable && index >= OWN_BATCHES * MODEL_BATCH);
    assert_true(!before->is_switched || index >= SENT_INDEX);
    assert_true(before->may_be_switched || index < SENT_INDEX);
    assert_int_equal(state_installed_index(state), index >= SENT_INDEX ? SENT_INDEX : 0);
    assert_int_equal(count_states(directory), 1);
    failing_go_on(state, directory);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static void make_chunks(void) {
    const char *directory = failing_make_state(SENT_BATCHES);
    struct state *state = failing_open_again(directory);
    struct snapshot *snapshot;
    bool last = false;

    assert_int_equal(snapshot_open(&snapshot, state), 0);
    header = *snapshot_header(snapshot);
    header.configuration = xmemdup(header.configuration, header.configuration_size);
    while (!last) {
        assert_true(chunk_count < CHUNKS);
        assert_int_equal(snapshot_next(snapshot, 20000, &chunks[chunk_count++], &last), 0);
    }
    assert_true(chunk_count > 1);
    snapshot_close(snapshot);
    state_close(state);
    remove_directory((char *)(uintptr_t)directory);
}

static int setup(void **state) {
    make_chunks();
    scenario.directory = failing_make_state(OWN_BATCHES);
    *state = &scenario;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    snapshot_header_deinit(&header);
    for (size_t i = 0; i < chunk_count; i++)
        buffer_deinit(&chunks[i]);
    remove_directory((char *)(uintptr_t)scenario.directory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {FAILING_TESTS};

    return cmocka_run_group_tests_name("failing_stage", tests, setup, teardown);
}
