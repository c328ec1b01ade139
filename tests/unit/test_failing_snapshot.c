/* A snapshot of a state that goes on changing, so that records are kept aside and spilled, while
 * each call fails once: what is read is what there was, or the reading fails. */
#include "failing_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "failing_state.h"
#include "store/snapshot.h"
#include "store/state_internal.h"
#include "system_calls.h"

enum { BATCHES = 8, CHUNK_SIZE = 16000 };

struct acknowledged {
    uint64_t durable;
};

/* What has arrived of a snapshot. */
struct arrival {
    struct snapshot_reader reader;
    uint64_t hash;
};

static int take(struct arrival *arrival, const struct buffer *bytes) {
    struct snapshot_chunk chunk;
    struct failure failure;
    int r = snapshot_reader_decode(&arrival->reader, bytes->data, bytes->size, &chunk, &failure);

    if (r != 0)
        return r;
    for (size_t i = 0; i < chunk.count; i++)
        arrival->hash = state_hash_add(arrival->hash, chunk.records[i].key,
                                       chunk.records[i].key_size, &chunk.records[i].record);
    snapshot_reader_accept(&arrival->reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    return 0;
}

/* In a whole snapshot there is what was applied when it began. */
static void check_arrival(const struct arrival *arrival, uint64_t hash) {
    if (arrival->reader.complete && arrival->hash == hash)
        return;
    fprintf(stderr, "What was read is not what there was.\n");
    abort();
}

static int read_on(struct state *state, struct snapshot *snapshot, struct arrival *arrival) {
    bool last = false;
    int r = 0;

    while (r == 0 && !last) {
        struct buffer bytes = BUFFER_NULL;

        r = snapshot_next(snapshot, CHUNK_SIZE, &bytes, &last);
        if (r == 0)
            r = take(arrival, &bytes);
        buffer_deinit(&bytes);
        if (r == 0)
            r = failing_apply(state, 2);
    }
    return r;
}

static int read_all(struct state *state) {
    struct arrival arrival = {.hash = state_hash_begin(state)};
    struct snapshot *snapshot = NULL;
    uint64_t hash, index, term;
    int r = FAILING_WITH_SPACE(state_hash(state, &hash));

    state_applied(state, &index, &term);
    if (r == 0)
        r = snapshot_open(&snapshot, state);
    if (r != 0)
        return r;
    snapshot_reader_init(&arrival.reader, index);
    r = read_on(state, snapshot, &arrival);
    if (r == 0)
        check_arrival(&arrival, hash);
    snapshot_reader_deinit(&arrival.reader);
    snapshot_close(snapshot);
    return r;
}

static int use(struct state *state, struct acknowledged *acknowledged) {
    int r = failing_apply(state, 1);

    if (r == 0)
        r = read_all(state);
    /* A snapshot that can't be kept is given up, and comes again; only damage stops the node. */
    if (r == -ENOSPC || r == -ECANCELED) {
        failing_end();
        r = read_all(state);
    }
    if (r == 0)
        r = failing_checkpoint(state, &acknowledged->durable);
    return r;
}

static int work(const struct failing_scenario *scenario, const char *directory, void *acknowledged,
                struct failure *failure) {
    struct state *state = NULL;
    int r = failing_open(&state, directory, failure);

    (void)scenario;
    return r == 0 ? failing_close(state, use(state, acknowledged), failure) : r;
}

static void check(const struct failing_scenario *scenario, const char *directory,
                  const void *acknowledged) {
    const struct acknowledged *before = acknowledged;
    struct state *state = failing_open_again(directory);
    uint64_t index = model_verify(state, FAILING_VALUE_SIZE);

    (void)scenario;
    assert_true(index >= before->durable && index >= BATCHES * MODEL_BATCH);
    assert_int_equal(read_all(state), 0);
    failing_go_on(state, directory);
}

static struct failing_scenario scenario = {.work = work, .check = check};

static bool spilled;

static int note_spilling(const struct system_call *call) {
    spilled = spilled || (strncmp(call->name, "open", 4) == 0 && (call->flags & O_CREAT) &&
                          strstr(call->path, "/" STATE_ASIDE_PREFIX));
    return SYSTEM_CALL_IS_MADE;
}

static int setup(void **fixture) {
    struct state *state;

    scenario.directory = failing_make_state(BATCHES);
    state = failing_open_again(scenario.directory);
    system_call_hook = note_spilling;
    assert_int_equal(read_all(state), 0);
    system_call_hook = NULL;
    assert_true(spilled);
    state_close(state);
    *fixture = &scenario;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    remove_directory((char *)(uintptr_t)scenario.directory);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {FAILING_TESTS};

    return cmocka_run_group_tests_name("failing_snapshot", tests, setup, teardown);
}
