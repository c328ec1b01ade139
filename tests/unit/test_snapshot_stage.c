/* A state that arrives from elsewhere: staged beside the current one, and switched to at once. */
#include "test_state_fixture.h"
#include "system_calls.h"

#include <db.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/stage.h"

enum { VALUE_SIZE = 3000 };

/* A sender with its state, and the receiver's directory. */
struct pair {
    char *from;
    char *to;
    struct state *sender;
    uint64_t hash; /* of the sender's state */
};

static int setup(void **fixture) {
    struct pair *pair = xcalloc(1, sizeof *pair);

    pair->from = make_directory();
    pair->to = make_directory();
    pair->sender = open_state(pair->from, 0);
    assert_int_equal(model_apply(pair->sender, 40, VALUE_SIZE), 0);
    assert_int_equal(state_hash(pair->sender, &pair->hash), 0);
    *fixture = pair;
    return 0;
}

static int teardown(void **fixture) {
    struct pair *pair = *fixture;

    state_close(pair->sender);
    remove_directory(pair->from);
    remove_directory(pair->to);
    free(pair);
    return 0;
}

static void put_all(struct stage *stage, struct snapshot *snapshot, size_t max_bytes) {
    struct failure failure = {0};
    bool last = false;

    while (!last) {
        struct buffer bytes = BUFFER_NULL;

        assert_int_equal(snapshot_next(snapshot, max_bytes, &bytes, &last), 0);
        if (stage_put_chunk(stage, bytes.data, bytes.size, &failure) != 0)
            fail_msg("%s", failure.message);
        buffer_deinit(&bytes);
    }
}

/* A stage beside the receiver's state with all chunks of the sender's. */
static struct stage *make_stage(struct pair *pair, const char *directory) {
    struct snapshot *snapshot;
    struct stage *stage;

    assert_int_equal(snapshot_open(&snapshot, pair->sender), 0);
    assert_int_equal(stage_open(&stage, directory, snapshot_header(snapshot)), 0);
    put_all(stage, snapshot, 10000);
    snapshot_close(snapshot);
    return stage;
}

static bool exists(const char *directory, const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);

    return access(path, F_OK) == 0;
}

/* The receiver stands where the sender stood. */
static void assert_installed(struct pair *pair, struct state *state) {
    uint64_t hash;

    assert_int_equal(state_hash(state, &hash), 0);
    assert_true(hash == pair->hash);
    assert_int_equal(model_verify(state, VALUE_SIZE), 400);
    assert_int_equal(state_installed_index(state), 400);
}

static void switch_to(struct state *state, struct stage *stage) {
    struct failure failure = {0};

    if (state_switch(state, stage, &failure) != 0)
        fail_msg("%s", failure.message);
}

static void a_switch_replaces_everything(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct stage_position position;
    struct stage *stage;
    uint64_t durable;

    assert_int_equal(model_apply(state, 7, 50), 0);
    stage = make_stage(pair, pair->to);
    stage_position(stage, &position);
    assert_true(position.complete);
    assert_true(position.chunks > 5);
    assert_int_equal(position.bytes, position.records * (VALUE_SIZE + 6));
    assert_int_equal(stage_header(stage)->index, 400);
    assert_int_equal(stage_finish(stage, NULL), 0);
    assert_int_equal(model_verify(state, 50), 70);

    switch_to(state, stage);
    assert_null(stage_discard(stage));
    assert_installed(pair, state);
    assert_false(exists(pair->to, "state-1"));
    assert_true(exists(pair->to, "state-2"));
    /* Life goes on. */
    assert_int_equal(model_apply(state, 20, VALUE_SIZE), 0);
    assert_int_equal(state_checkpoint(state, &durable), 0);
    assert_int_equal(durable, 600);
    assert_int_equal(model_verify(state, VALUE_SIZE), 600);
    state_close(state);
    state = open_state(pair->to, 0);
    assert_int_equal(model_verify(state, VALUE_SIZE), 600);
    assert_int_equal(state_installed_index(state), 400);
    state_close(state);
}

static void switches_follow_each_other(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);

    for (unsigned i = 0; i < 3; i++) {
        struct stage *stage = make_stage(pair, pair->to);

        assert_int_equal(stage_finish(stage, NULL), 0);
        switch_to(state, stage);
        stage_discard(stage);
        assert_installed(pair, state);
        assert_int_equal(model_apply(state, 3, VALUE_SIZE), 0);
    }
    state_close(state);
    assert_true(exists(pair->to, "state-4"));
    assert_false(exists(pair->to, "state-3"));
}

static void a_discarded_stage_leaves_nothing(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct stage *stage;

    assert_int_equal(model_apply(state, 7, 50), 0);
    for (unsigned finished = 0; finished < 2; finished++) {
        stage = make_stage(pair, pair->to);
        assert_true(exists(pair->to, "state-2"));
        if (finished)
            assert_int_equal(stage_finish(stage, NULL), 0);
        stage_discard(stage);
        assert_false(exists(pair->to, "state-2"));
    }
    assert_null(stage_discard(NULL));
    assert_int_equal(model_verify(state, 50), 70);
    state_close(state);
}

static void a_refused_chunk_changes_nothing(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct failure failure = {0};
    struct snapshot *snapshot;
    struct stage *stage;
    bool last = false;

    assert_int_equal(snapshot_open(&snapshot, pair->sender), 0);
    assert_int_equal(stage_open(&stage, pair->to, snapshot_header(snapshot)), 0);
    for (uint64_t count = 0; !last; count++) {
        struct buffer bytes = BUFFER_NULL;
        struct stage_position position;

        assert_int_equal(snapshot_next(snapshot, 20000, &bytes, &last), 0);
        bytes.data[bytes.size / 2] ^= 1;
        failure = (struct failure){0};
        assert_int_equal(stage_put_chunk(stage, bytes.data, bytes.size, &failure), -EBADMSG);
        assert_true(failure.message[0]);
        bytes.data[bytes.size / 2] ^= 1;
        stage_position(stage, &position);
        assert_int_equal(position.chunks, count);
        assert_false(position.complete);
        assert_int_equal(stage_put_chunk(stage, bytes.data, bytes.size, &failure), 0);
        assert_int_equal(stage_put_chunk(stage, bytes.data, bytes.size, &failure), -EBADMSG);
        buffer_deinit(&bytes);
    }
    snapshot_close(snapshot);
    assert_int_equal(stage_finish(stage, NULL), 0);
    switch_to(state, stage);
    stage_discard(stage);
    assert_installed(pair, state);
    state_close(state);
}

static void snapshots_of_the_replaced_state_only_end(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct buffer bytes = BUFFER_NULL;
    struct snapshot *snapshot, *next;
    struct stage *stage;
    bool last;

    assert_int_equal(model_apply(state, 7, 50), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    stage = make_stage(pair, pair->to);
    assert_int_equal(stage_finish(stage, NULL), 0);
    switch_to(state, stage);
    stage_discard(stage);
    assert_int_equal(snapshot_next(snapshot, 100, &bytes, &last), -ESTALE);
    assert_int_equal(snapshot_open(&next, state), 0);
    assert_int_equal(snapshot_header(next)->index, 400);
    assert_int_equal(model_apply(state, 1, VALUE_SIZE), 0);
    snapshot_close(snapshot);
    snapshot_close(next);
    state_close(state);
}

/* The node was killed: what the process had in memory is gone. */
static void crash_after(struct pair *pair, unsigned step) {
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct state *state = open_state(pair->to, 0);
        struct failure failure;
        struct stage *stage;

        if (model_apply(state, 7, 50) != 0)
            _exit(1);
        stage = make_stage(pair, pair->to);
        if (step >= 1 && stage_finish(stage, NULL) != 0)
            _exit(1);
        if (step >= 2 && state_switch(state, stage, &failure) != 0)
            _exit(1);
        /* More than the log's buffer holds: recovery has something to do. */
        if (step >= 3 && model_apply(state, 60, VALUE_SIZE) != 0)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_kill_between_the_steps_leaves_the_one_or_the_other(void **fixture) {
    struct pair *pair = *fixture;

    for (unsigned step = 0; step < 4; step++) {
        struct state *state;

        crash_after(pair, step);
        state = open_state(pair->to, 0);
        if (step < 2) {
            assert_true(model_verify(state, 50) <= 70 * (step + 1));
            assert_int_equal(state_installed_index(state), 0);
            assert_false(exists(pair->to, "state-2"));
        } else {
            assert_true(model_verify(state, VALUE_SIZE) >= (step == 3 ? 500 : 400));
            assert_int_equal(state_installed_index(state), 400);
            assert_false(exists(pair->to, "state-1"));
        }
        if (step == 2) {
            state_close(state);
            remove_directory(pair->to);
            pair->to = make_directory();
            continue;
        }
        state_close(state);
    }
}

/* Makes `current` what a switch elsewhere has written. */
static void take_current(struct pair *pair, const char *path) {
    char *elsewhere = make_directory();
    _cleanup_free_ char *current = xasprintf("%s/current", elsewhere);
    struct state *state = open_state(elsewhere, 0);
    struct stage *stage = make_stage(pair, elsewhere);

    assert_int_equal(stage_finish(stage, NULL), 0);
    switch_to(state, stage);
    stage_discard(stage);
    state_close(state);
    assert_int_equal(rename(current, path), 0);
    remove_directory(elsewhere);
}

/*
 * Every order of the writes of a switch that a crash can leave: `current` new or old, the old
 * directory whole, half removed, or gone.
 */
static void a_crash_within_the_switch_leaves_the_one_or_the_other(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct stage *stage;

    assert_int_equal(model_apply(state, 7, 50), 0);
    state_close(state);
    stage = make_stage(pair, pair->to);
    assert_int_equal(stage_finish(stage, NULL), 0);

    for (unsigned removed = 0; removed < 3; removed++) {
        _cleanup_free_ char *keys = NULL, *torn = NULL, *current = NULL;
        char *trial = make_directory();

        copy_directory(pair->to, trial);
        keys = xasprintf("%s/state-1/keys", trial);
        torn = xasprintf("%s/current.new", trial);
        current = xasprintf("%s/current", trial);
        write_text(torn, "format=1\ndirec");
        if (removed >= 1)
            take_current(pair, current);
        if (removed == 2)
            assert_int_equal(unlink(keys), 0);
        state = open_state(trial, 0);
        if (removed == 0)
            assert_int_equal(model_verify(state, 50), 70);
        else
            assert_installed(pair, state);
        assert_int_equal(exists(trial, "state-1"), removed == 0);
        assert_int_equal(exists(trial, "state-2"), removed > 0);
        state_close(state);
        remove_directory(trial);
    }
    stage_discard(stage);
}

static void a_state_that_was_switched_and_lost_current_is_refused(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    _cleanup_free_ char *current = xasprintf("%s/current", pair->to);
    struct state_options options = {.directory = pair->to};
    struct stage *stage = make_stage(pair, pair->to);
    struct failure failure = {0};

    assert_int_equal(stage_finish(stage, NULL), 0);
    switch_to(state, stage);
    stage_discard(stage);
    state_close(state);
    assert_int_equal(unlink(current), 0);
    assert_int_equal(state_open(&state, &options, &failure), ERROR_INTERNAL);
    assert_non_null(strstr(failure.message, "current is missing"));
    assert_false(exists(pair->to, "state-1"));
    assert_true(exists(pair->to, "state-2"));
}

static void a_switch_that_cannot_write_current_keeps_the_old_state(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    _cleanup_free_ char *in_the_way = xasprintf("%s/current.new", pair->to);
    struct stage *stage = make_stage(pair, pair->to);
    struct failure failure = {0};

    assert_int_equal(model_apply(state, 7, 50), 0);
    assert_int_equal(stage_finish(stage, NULL), 0);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    assert_true(state_switch(state, stage, &failure) < 0);
    assert_non_null(strstr(failure.message, "current"));
    stage_discard(stage);
    assert_false(exists(pair->to, "state-2"));
    state_close(state);
    assert_int_equal(rmdir(in_the_way), 0);
    state = open_state(pair->to, 0);
    assert_int_equal(model_verify(state, 50), 70);
    state_close(state);
}

struct beside {
    struct state *state;
    atomic_bool stop;
};

static void *make_checkpoints(void *data) {
    struct beside *beside = data;
    uint64_t durable;

    while (!atomic_load(&beside->stop))
        if (state_checkpoint(beside->state, &durable) != 0)
            return NULL;
    return beside;
}

static void a_switch_waits_for_the_checkpoint_beside_it(void **fixture) {
    struct pair *pair = *fixture;
    struct beside beside = {.state = open_state(pair->to, 0)};
    struct stage *stage;
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, make_checkpoints, &beside), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(model_apply(beside.state, 10, VALUE_SIZE), 0);
        stage = make_stage(pair, pair->to);
        assert_int_equal(stage_finish(stage, NULL), 0);
        switch_to(beside.state, stage);
        stage_discard(stage);
        assert_installed(pair, beside.state);
    }
    atomic_store(&beside.stop, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &beside);
    state_close(beside.state);
}

static int no_space_for_the_stage(const struct system_call *call) {
    return system_call_writes(call) && system_call_is_below(call, "/state-2/")
               ? ENOSPC
               : SYSTEM_CALL_IS_MADE;
}

static void a_stage_that_finds_no_space_is_discarded(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 0);
    struct stage *stage;

    assert_int_equal(model_apply(state, 7, 50), 0);
    stage = make_stage(pair, pair->to);
    system_call_hook = no_space_for_the_stage;
    assert_int_equal(stage_finish(stage, NULL), -ENOSPC);
    stage_discard(stage);
    system_call_hook = NULL;
    assert_false(exists(pair->to, "state-2"));
    assert_int_equal(model_verify(state, 50), 70);

    stage = make_stage(pair, pair->to);
    assert_int_equal(stage_finish(stage, NULL), 0);
    switch_to(state, stage);
    stage_discard(stage);
    assert_installed(pair, state);
    state_close(state);
}

/* ---- memory ---- */

enum { MANY = 15000, MANY_SIZE = 1000, MEMORY_MAX = 10 * 1024 * 1024 };

static void put_many(struct state *state, unsigned from, unsigned count, uint64_t index) {
    static uint8_t value[MANY_SIZE];
    struct state_record record = {index, index, 1, value, sizeof value};

    memset(value, (int)index, sizeof value);
    assert_int_equal(state_begin(state), 0);
    for (unsigned i = from; i < from + count; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i);
        assert_int_equal(state_put(state, key, 8, &record), 0);
    }
    assert_int_equal(state_commit(state, index, 1), 0);
}

/* What malloc gave out; under AddressSanitizer always 0. */
static size_t memory_in_use(void) {
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* 15 MB go from the one to the other, and all of them are kept aside. */
static void memory_does_not_grow_with_the_state(void **fixture) {
    struct pair *pair = *fixture;
    struct state *state = open_state(pair->to, 1024 * 1024);
    size_t before, most = 0;
    struct snapshot_progress progress;
    struct snapshot *snapshot;
    struct stage *stage;
    uint64_t hash, received;
    bool last = false;

    for (unsigned i = 0; i < MANY; i += 100)
        put_many(state, i, 100, 1 + i / 100);
    assert_int_equal(state_hash(state, &hash), 0);
    before = memory_in_use();
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(stage_open(&stage, pair->to, snapshot_header(snapshot)), 0);
    for (unsigned i = 0; i < MANY; i += 100)
        put_many(state, i, 100, 1000 + i / 100);
    while (!last) {
        struct buffer bytes = BUFFER_NULL;
        struct failure failure;

        assert_int_equal(snapshot_next(snapshot, SNAPSHOT_CHUNK_BYTES, &bytes, &last), 0);
        assert_int_equal(stage_put_chunk(stage, bytes.data, bytes.size, &failure), 0);
        if (memory_in_use() > most)
            most = memory_in_use();
        buffer_deinit(&bytes);
    }
    snapshot_get_progress(snapshot, &progress);
    assert_int_equal(progress.kept, MANY);
    assert_int_equal(progress.records, MANY);
    snapshot_close(snapshot);
    assert_int_equal(stage_finish(stage, NULL), 0);
    if (memory_in_use() > most)
        most = memory_in_use();
    assert_true(most < before + MEMORY_MAX);
    switch_to(state, stage);
    stage_discard(stage);
    assert_int_equal(state_hash(state, &received), 0);
    assert_true(received == hash);
    state_close(state);
}

static void a_stage_without_a_directory_fails(void **fixture) {
    struct pair *pair = *fixture;
    _cleanup_free_ char *missing = xasprintf("%s/missing", pair->to);
    struct snapshot_header header = {.index = 1, .term = 1};
    struct stage *stage;

    assert_int_equal(stage_open(&stage, missing, &header), -ENOENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_switch_replaces_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(switches_follow_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_discarded_stage_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_chunk_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_of_the_replaced_state_only_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_between_the_steps_leaves_the_one_or_the_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_crash_within_the_switch_leaves_the_one_or_the_other,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_state_that_was_switched_and_lost_current_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_switch_that_cannot_write_current_keeps_the_old_state,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_switch_waits_for_the_checkpoint_beside_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stage_that_finds_no_space_is_discarded, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_does_not_grow_with_the_state, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stage_without_a_directory_fails, setup, teardown),
    };

    return cmocka_run_group_tests_name("snapshot_stage", tests, NULL, NULL);
}
