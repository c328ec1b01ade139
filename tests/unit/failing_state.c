#include "failing_state.h"

#include <errno.h>
#include <string.h>

#include "store/snapshot.h"

int failing_open(struct state **ret, const char *directory, struct failure *failure) {
    struct state_options options = {.directory = directory};

    return state_open(ret, &options, failure);
}

struct state *failing_open_again(const char *directory) {
    struct failure failure = {0};
    struct state *state = NULL;

    if (failing_open(&state, directory, &failure) != 0)
        fail_msg("%s", failure.message);
    return state;
}

char *failing_make_state(size_t batches) {
    char *directory = make_directory_in_memory();
    struct state *state = failing_open_again(directory);

    assert_int_equal(model_apply(state, batches, FAILING_VALUE_SIZE), 0);
    state_close(state);
    return directory;
}

int failing_apply(struct state *state, size_t count) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++)
        r = FAILING_WITH_SPACE(model_apply(state, 1, FAILING_VALUE_SIZE));
    return r;
}

/* Without space a checkpoint comes later. */
int failing_checkpoint(struct state *state, uint64_t *ret_durable) {
    return FAILING_WITH_SPACE(state_checkpoint(state, ret_durable));
}

static bool look(void *data, const uint8_t *key, size_t key_size,
                 const struct state_record *record) {
    (void)data;
    (void)key;
    (void)key_size;
    (void)record;
    return true;
}

/* What a node may have queued on its lanes when the state fails comes before the node ends. */
static void do_what_was_queued(struct state *state) {
    struct snapshot *snapshot = NULL;
    struct state_record record;
    struct state_stats stats;
    uint64_t durable;

    (void)state_get(state, "key", 3, &record);
    (void)state_walk(state, NULL, 0, look, NULL);
    (void)state_get_stats(state, &stats);
    if (snapshot_open(&snapshot, state) == 0)
        snapshot_close(snapshot);
    (void)state_checkpoint(state, &durable);
    (void)state_write_back(state);
}

int failing_close(struct state *state, int r, struct failure *failure) {
    char message[256];

    if (r == 0) {
        state_close(state);
        return 0;
    }
    state_last_message(state, message, sizeof message);
    do_what_was_queued(state);
    failure_set(failure, ERROR_INTERNAL, "The state can't be used: %s: %s.",
                strerror(r < 0 ? -r : EINVAL), message);
    state_abandon(state);
    return r;
}

void failing_go_on(struct state *state, const char *directory) {
    uint64_t index = model_verify(state, FAILING_VALUE_SIZE);

    assert_int_equal(model_apply(state, 3, FAILING_VALUE_SIZE), 0);
    state_close(state);
    state = failing_open_again(directory);
    assert_int_equal(model_verify(state, FAILING_VALUE_SIZE), index + 3 * MODEL_BATCH);
    state_close(state);
}
