/*
 * Disks that get full at any step of a stream, an install or a compaction: no node ends, nothing is
 * lost, and all goes on by itself when there is space again.
 */
#include "node_world.h"

#include "store/log_internal.h"

enum { KEYS = 60 };

/* Berkeley DB never frees the memory of an environment that has panicked, as that of a state may
 * that is staged on a full disk. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3\n";
}

static int start_three(void **state) {
    (void)state;
    world_start(3);
    return 0;
}

static int start_one(void **state) {
    (void)state;
    world_start(1);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

static bool was_installed(void) {
    return state_installed_index(world_node(3)->state) > 0;
}

static bool no_alarm(void) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (world.nodes[i].node && world.nodes[i].node->space.alarm)
            return false;
    return true;
}

static void assert_nobody_ended(void) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (world.nodes[i].fatal)
            fail_msg("%s ended: %s", world.nodes[i].name, world.nodes[i].fatal_reason);
}

static bool is_full(void) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (world_disks[i].failures > 0)
            return true;
    return false;
}

/*
 * While node 3 is sent the state, a disk gets full after so many calls that need space. False: it
 * took less.
 */
static bool stream_on_a_full_disk(unsigned full, const char *part, uint64_t after, unsigned first) {
    bool happened;

    world_leave_behind(3, first, KEYS);
    world_fill_disk(full, part, after);
    happened = world_run(is_full, 3000);
    world_pass(happened ? 3000 : 0);
    assert_nobody_ended();
    world_empty_disk(full);
    assert_true(world_run(world_agrees, 60000));
    assert_true(was_installed());
    assert_true(world_run(no_alarm, 10000));
    assert_nobody_ended();
    return happened;
}

static void at_every_step(unsigned full, const char *part) {
    uint64_t after = 0, step = 1;
    unsigned round = 0;

    /* The same keys again, so that it does not take more and more. */
    for (; stream_on_a_full_disk(full, part, after, 0); round++) {
        after += step;
        step += after > 12 ? 2 : 0;
    }
    assert_true(round > 0);
}

static void the_receivers_state_gets_full_at_any_step(void **state) {
    (void)state;
    at_every_step(3, "state/");
}

static void the_receivers_disk_gets_full_at_any_step(void **state) {
    (void)state;
    at_every_step(3, "");
}

static void the_senders_disk_gets_full_at_any_step(void **state) {
    (void)state;
    at_every_step(1, "");
}

/* ---- compaction ---- */

static void compact_on_a_full_disk(const char *part) {
    bool happened = true;

    for (unsigned after = 0; happened; after++) {
        enum error_code code;

        world_fill(after * 20, 20, 3000);
        world_fill_disk(1, part, after);
        code = world_compact(1);
        happened = is_full();
        assert_true(code == ERROR_OK || code == ERROR_NO_SPACE);
        world_pass(2000);
        assert_nobody_ended();
        world_empty_disk(1);
        world_pass(10000);
        assert_true(no_alarm());
        assert_int_equal(world_compact(1), ERROR_OK);
        assert_int_equal(world_put(1, "after", 10), ERROR_OK);
        assert_nobody_ended();
        world_disks[1].failures = 0;
    }
    world_kill(1);
    world_boot(1);
    assert_true(world_run(world_agrees, 10000));
}

static void a_compaction_finds_no_space_for_the_state(void **state) {
    (void)state;
    compact_on_a_full_disk("state/");
}

static void a_compaction_finds_no_space_in_the_log(void **state) {
    (void)state;
    compact_on_a_full_disk("log/");
}

static void an_idle_node_gets_over_a_mark_that_found_no_space(void **state) {
    struct node *node = world_node(1);

    (void)state;
    /* Up to just before the end of a file: the mark needs a new one. */
    for (unsigned i = 0; node->log->end.offset + 400 < 64 * 1024; i++)
        world_fill(i, 1, 100);
    world_fill_disk(1, "log/", 0);
    while (world_compact(1) == ERROR_OK) {
        world_empty_disk(1);
        world_fill(0, 1, 10);
        world_fill_disk(1, "log/", 0);
    }
    world_pass(20000);
    assert_false(no_alarm());
    world_empty_disk(1);
    assert_true(world_run(no_alarm, 10000));
    assert_int_equal(world_put(1, "after", 10), ERROR_OK);
}

/* ---- joiners ---- */

static void a_joiner_with_a_full_disk_joins_when_there_is_space(void **state) {
    (void)state;
    for (uint64_t after = 0; after < 12; after++) {
        world_fill((unsigned)after * 10, 10, 3000);
        assert_int_equal(world_compact(1), ERROR_OK);
        if (!world_node(2))
            world_boot(2);
        world_fill_disk(2, "", after);
        (void)world_add_voter(1, 2);
        world_pass(3000);
        assert_nobody_ended();
        world_empty_disk(2);
        assert_true(world_run(world_agrees, 30000));
        assert_int_equal(node_identity(world_node(2))->cluster_id,
                         node_identity(world_node(1))->cluster_id);
        world_kill(2);
        world_boot(2);
        assert_true(world_run(world_agrees, 30000));
        assert_int_equal(world_remove(1, 2), ERROR_OK);
        world_wipe(2);
    }
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, start_three, stop)
#define ALONE(test) cmocka_unit_test_setup_teardown(test, start_one, stop)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        WITH(the_receivers_state_gets_full_at_any_step),
        WITH(the_receivers_disk_gets_full_at_any_step),
        WITH(the_senders_disk_gets_full_at_any_step),
        ALONE(a_compaction_finds_no_space_for_the_state),
        ALONE(a_compaction_finds_no_space_in_the_log),
        ALONE(an_idle_node_gets_over_a_mark_that_found_no_space),
        ALONE(a_joiner_with_a_full_disk_joins_when_there_is_space),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
