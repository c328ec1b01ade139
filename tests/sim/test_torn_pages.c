/*
 * A state on a simulated disk, whose power fails at each of its writes and syncs in turn: what was
 * not synced is lost, kept, or torn sector by sector. It comes back at the end of a batch, with all
 * that a checkpoint had said is durable. So it does when the write is one of those by which a
 * pause of a checkpoint empties the page journal.
 */
#include "../unit/test_state_fixture.h"

#include <db.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "disk.h"
#include "store/sync.h"
#include "world.h"

#define DIRECTORY DISK_PREFIX "1/state"

enum { VALUE_SIZE = 6000, CACHE_SIZE = 160 * 1024, JOURNAL_PAGES = 12, WORKLOADS = 5 };

static struct disk *pausing; /* the disk under test */
static unsigned crashes_in_writes_back;

/* Between two pages of a checkpoint. */
static int in_pause(u_long seconds, u_long microseconds) {
    bool crashed = disk_crashed(pausing);

    store_work_in_pause(seconds, microseconds);
    if (disk_crashed(pausing) && !crashed)
        crashes_in_writes_back++;
    return 0;
}

static struct state *open_simulated(void) {
    struct state_options options = {
        .directory = DIRECTORY,
        .cache_size = CACHE_SIZE,
        .log_file_size = 64 * 1024,
        .journal_pages = JOURNAL_PAGES,
    };
    struct failure failure = {0};
    struct state *state = NULL;

    if (state_open(&state, &options, &failure) != 0)
        fail_msg("%s", failure.message);
    return state;
}

/* What has been said is durable before the disk crashed. */
static uint64_t work(struct disk *disk, struct state *state) {
    uint64_t durable = 0, index;

    for (int i = 0; i < 4 && !disk_crashed(disk); i++) {
        assert_int_equal(model_apply(state, chance_between(1, 8), VALUE_SIZE), 0);
        assert_int_equal(state_checkpoint(state, &index), 0);
        if (!disk_crashed(disk))
            durable = index;
    }
    return durable;
}

/* Returns whether the disk came to crash at that operation. */
static bool crash_at(uint64_t operation, uint64_t seed) {
    struct disk *disk;
    struct state *state;
    uint64_t durable = 0, index;
    bool crashed;

    world_init(seed, false);
    disk = pausing = disk_new(1);
    /* A state that has been used already; then the workload with the crash, on top of it. */
    state = open_simulated();
    work(disk, state);
    state_close(state);
    disk_restart(disk);

    disk_crash_after(disk, operation);
    state = open_simulated();
    state_applied(state, &durable, &index);
    if (disk_crashed(disk))
        durable = 0;
    index = work(disk, state);
    if (index > durable)
        durable = index;
    crashed = disk_crashed(disk);
    disk_crash_after(disk, 0);
    state_close(state);
    disk_restart(disk);

    state = open_simulated();
    index = model_verify(state, VALUE_SIZE);
    if (index < durable)
        fail_msg("seed %lu, operation %lu: it ends with %lu, but %lu was durable",
                 (unsigned long)seed, (unsigned long)operation, (unsigned long)index,
                 (unsigned long)durable);
    assert_int_equal(model_apply(state, 2, VALUE_SIZE), 0);
    state_close(state);
    disk_restart(disk);

    state = open_simulated();
    assert_int_equal(model_verify(state, VALUE_SIZE), index + 2 * MODEL_BATCH);
    state_close(state);
    disk_free(disk);
    return crashed;
}

static void a_state_survives_a_power_failure_at_each_write(void **fixture) {
    unsigned crashes = 0;

    (void)fixture;
    for (uint64_t seed = 1; seed <= WORKLOADS; seed++)
        for (uint64_t operation = 1 + seed % 3; crash_at(operation, seed); operation += 3)
            crashes++;
    print_message("%u power failures, %u while a pause of a checkpoint empties the page journal\n",
                  crashes, crashes_in_writes_back);
    assert_true(crashes > 500);
    assert_true(crashes_in_writes_back > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_survives_a_power_failure_at_each_write),
    };

    store_sync_init();
    db_env_set_func_yield(in_pause);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
