/* When a checkpoint of the state begins, hurries, and holds what is applied. The lane is the
 * test's, and nothing is written. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "node/node_internal.h"

enum { MIB = 1024 * 1024, SMALL = 1000, LARGE = 100 * 1000 };

static struct node node;
static struct job *submitted;
static unsigned resumed;

/* ---- what checkpoint.c calls ---- */

int state_checkpoint(struct state *state, uint64_t *ret_durable_index) {
    (void)state;
    *ret_durable_index = 1;
    return 0;
}

static bool many_pages;

bool state_wants_write_back(const struct state *state) {
    (void)state;
    return many_pages;
}

int state_write_back(struct state *state) {
    (void)state;
    many_pages = false;
    return 0;
}

static uint64_t written; /* pages */
enum { CHECKPOINT_PAGES = 4096 };

uint64_t state_pages_written(const struct state *state) {
    (void)state;
    return written;
}

uint64_t state_checkpoint_end(const struct state *state) {
    (void)state;
    return 1000 + CHECKPOINT_PAGES;
}

void storage_resume_apply(struct node *of) {
    assert_ptr_equal(of, &node);
    assert_false(checkpoint_holds_applies(of));
    resumed++;
}

void storage_state_fatal(struct node *of, const char *what, int error) {
    (void)of;
    (void)error;
    fail_msg("%s", what);
}

static void submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    assert_int_equal(lane, LANE_BACKGROUND);
    assert_null(submitted);
    submitted = job;
}

static struct host host = {.submit = submit};

static int setup(void **state) {
    (void)state;
    node = (struct node){.host = &host, .limits.checkpoint_bytes = 16 * MIB};
    submitted = NULL;
    resumed = 0;
    many_pages = false;
    written = 1000;
    return 0;
}

/* Applies entries until it is so; returns their bytes. */
static uint64_t apply_until(bool (*condition)(void), size_t size) {
    struct log_entry entry = {.size = size};
    uint64_t bytes = 0;

    while (!condition()) {
        checkpoint_count(&node, &entry, 1);
        bytes += size;
        assert_true(bytes < 100 * MIB);
    }
    return bytes;
}

static bool has_begun(void) {
    return submitted != NULL;
}

static bool is_late(void) {
    return checkpoint_is_late(&node);
}

static bool holds(void) {
    return checkpoint_holds_applies(&node);
}

static void run(void) {
    struct job *job = submitted;

    submitted = NULL;
    job->run(job);
    job->done(job);
}

/* ---- tests ---- */

static void a_checkpoint_begins_again_and_again_when_enough_was_applied(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        uint64_t bytes = apply_until(has_begun, SMALL);

        assert_in_range(bytes, 4 * MIB, 8 * MIB);
        run();
        assert_int_equal(node.checkpoint.running, 0);
    }
}

static void large_values_bring_it_twice_as_early(void **state) {
    (void)state;
    assert_in_range(apply_until(has_begun, LARGE), 3 * MIB, 4 * MIB + LARGE);
}

static void nothing_is_late_without_a_checkpoint(void **state) {
    struct log_entry entry = {.size = LARGE};

    (void)state;
    node.stopping = true; /* so that none begins */
    for (int i = 0; i < 1000; i++)
        checkpoint_count(&node, &entry, 1);
    assert_null(submitted);
    assert_false(is_late() || holds());
}

static void what_is_applied_beside_it_makes_it_hurry_and_then_waits(void **state) {
    uint64_t late, held;

    (void)state;
    apply_until(has_begun, LARGE);
    assert_false(is_late() || holds());
    late = apply_until(is_late, LARGE);
    assert_false(holds());
    held = late + apply_until(holds, LARGE);
    assert_in_range(late, MIB / 2, MIB / 2 + LARGE);
    assert_in_range(held, MIB, MIB + 2 * LARGE);
    assert_int_equal(resumed, 0);
    run();
    assert_int_equal(resumed, 1);
}

static void it_goes_on_in_step_with_the_pages_that_the_disk_takes(void **state) {
    uint64_t applied, steps = 0;

    (void)state;
    apply_until(has_begun, SMALL);
    applied = apply_until(holds, SMALL);
    for (; written < 1000 + CHECKPOINT_PAGES; steps++) {
        uint64_t step;

        written += CHECKPOINT_PAGES / 32;
        assert_false(holds());
        step = apply_until(holds, SMALL);
        assert_in_range(step, 3 * MIB / 20 - SMALL, 3 * MIB / 16 + SMALL);
        applied += step;
    }
    assert_int_equal(steps, 32);
    assert_in_range(applied, 7 * MIB, 8 * MIB);
    written += CHECKPOINT_PAGES; /* more than the checkpoint's own */
    assert_true(holds());
    run();
    assert_int_equal(resumed, 1);
}

static void a_state_that_was_replaced_counts_its_pages_anew(void **state) {
    (void)state;
    apply_until(has_begun, LARGE);
    written = 0;
    assert_in_range(apply_until(holds, LARGE), MIB, MIB + 2 * LARGE);
    run();
}

/* It waits behind one that is under way: until both are done they are one. */
static void that_of_a_compaction_counts_as_well(void **state) {
    (void)state;
    apply_until(has_begun, LARGE);
    checkpoint_begun(&node);
    apply_until(holds, LARGE);
    checkpoint_begun(&node);
    assert_false(holds());
    apply_until(holds, LARGE);
    checkpoint_ended(&node); /* the one behind it covers that */
    assert_false(holds());
    apply_until(holds, LARGE);
    checkpoint_begun(&node);
    checkpoint_ended(&node);
    checkpoint_ended(&node);
    run();
    assert_int_equal(node.checkpoint.running, 0);
    assert_int_equal(resumed, 4);
}

static void pages_go_to_their_places_when_many_were_written(void **state) {
    struct log_entry entry = {.size = SMALL};

    (void)state;
    checkpoint_count(&node, &entry, 1);
    assert_null(submitted);
    many_pages = true;
    checkpoint_count(&node, &entry, 1);
    checkpoint_count(&node, &entry, 1); /* once at a time */
    assert_non_null(submitted);
    run();
    assert_false(many_pages);
    assert_int_equal(node.checkpoint.running, 0);
    checkpoint_count(&node, &entry, 1);
    assert_null(submitted);
}

#define CHECKPOINT_TEST(name) cmocka_unit_test_setup(name, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECKPOINT_TEST(a_checkpoint_begins_again_and_again_when_enough_was_applied),
        CHECKPOINT_TEST(large_values_bring_it_twice_as_early),
        CHECKPOINT_TEST(nothing_is_late_without_a_checkpoint),
        CHECKPOINT_TEST(what_is_applied_beside_it_makes_it_hurry_and_then_waits),
        CHECKPOINT_TEST(it_goes_on_in_step_with_the_pages_that_the_disk_takes),
        CHECKPOINT_TEST(a_state_that_was_replaced_counts_its_pages_anew),
        CHECKPOINT_TEST(that_of_a_compaction_counts_as_well),
        CHECKPOINT_TEST(pages_go_to_their_places_when_many_were_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
