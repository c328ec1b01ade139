/* Compaction and installing snapshots, as the driver of libraft sees them. */
#include "member_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct world_proposal proposals[64];

static uint64_t other_than(uint64_t id) {
    return id == 1 ? 2 : 1;
}

static void propose_many(int rounds) {
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 50; i++)
            world_propose(world_leader(), &proposals[i]);
        world_settle();
    }
}

static int start_three(void **state) {
    (void)state;
    world_start(3, 3);
    assert_true(world_run(world_has_leader, 10000));
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

/* A follower that is away while the leader's log goes on and is cut. */
static uint64_t leave_behind(void) {
    uint64_t leader = world_leader(), away = other_than(leader);

    world_node(away)->cut = true;
    propose_many(10);
    world_compact(leader, 10);
    return away;
}

static bool wanted(void) {
    return world_node(world_leader())->snapshots_wanted > 0;
}

static struct member_mark stage(uint64_t id) {
    struct member_mark mark;

    assert_true(member_mark_applied(world_node(world_leader())->member, &mark));
    member_staged(world_node(id)->member, &mark);
    return mark;
}

static void a_cut_log_still_serves_a_follower_that_is_near(void **state) {
    uint64_t leader = world_leader(), away = other_than(leader);

    (void)state;
    propose_many(5);
    world_pass(500);
    world_node(away)->cut = true;
    propose_many(1);
    world_compact(leader, 200);
    world_node(away)->cut = false;
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    assert_int_equal(world_node(leader)->snapshots_wanted, 0);
}

static void a_follower_behind_the_log_gets_the_state(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    assert_int_equal(world_node(leader)->snapshot_wanted_by, away);
    assert_true(member_needs_snapshot(world_node(leader)->member, away));
    mark = stage(away);
    propose_many(2); /* and the cluster goes on meanwhile */
    assert_true(member_send_install(world_node(leader)->member, away, &mark));
    world_pass(3000);
    assert_int_equal(world_node(away)->mark.index, mark.index);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    assert_false(member_needs_snapshot(world_node(leader)->member, away));
    member_mark_deinit(&mark);
    /* It can lead from there. */
    world_crash(leader);
    world_pass(5000);
    assert_int_not_equal(world_leader(), 0);
    propose_many(1);
    world_restart(leader);
    world_pass(3000);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(world_node(id)->applied, world_node(world_leader())->applied);
}

static void L36_entries_follow_a_state_that_is_older_than_the_last_snapshot(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    mark = stage(away);
    for (int i = 0; i < 2; i++) { /* one that libraft names, even if after 30 s, and one more */
        propose_many(2);
        world_compact(leader, 500); /* what follows the staged state stays in the log */
        world_pass(i == 0 ? 40 * 1000 : 0);
    }
    assert_true(member_send_install(world_node(leader)->member, away, &mark));
    world_pass(3 * ELECTION_MS);
    assert_int_equal(world_node(away)->mark.index, mark.index);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    member_mark_deinit(&mark);
}

static uint64_t unreached; /* what is sent to it is lost */

static bool is_reached(const struct world_message *message, const Raftkv__V1__PeerMessage *peer) {
    (void)peer;
    return message->to != unreached;
}

static void a_follower_that_ends_right_before_a_cut_log_gets_the_state(void **state) {
    uint64_t leader = world_leader(), away = other_than(leader), last;
    struct member_mark mark;

    (void)state;
    propose_many(2);
    world_pass(500);
    unreached = away;
    world.filter = is_reached;
    last = world_node(away)->member->entries.last_index;
    assert_int_equal(last, world_node(leader)->applied);
    propose_many(2);
    world_compact(leader, world_node(leader)->applied - last);
    assert_int_equal(world_node(leader)->member->entries.first_index, last + 1);
    unreached = 0;
    assert_true(world_run(wanted, 5000));
    assert_true(member_needs_snapshot(world_node(leader)->member, away));
    mark = stage(away);
    assert_true(member_send_install(world_node(leader)->member, away, &mark));
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    assert_false(member_needs_snapshot(world_node(leader)->member, away));
    member_mark_deinit(&mark);
}

static void an_install_without_a_staged_state_is_ignored(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    assert_true(member_mark_applied(world_node(leader)->member, &mark));
    assert_true(member_send_install(world_node(leader)->member, away, &mark));
    world_pass(1000);
    assert_false(world_node(away)->member->installing);
    assert_int_equal(world_node(away)->mark.index, 0);
    member_mark_deinit(&mark);
}

static void L12_a_write_under_way_when_a_snapshot_is_installed_is_not_reported(void **state) {
    uint64_t leader = world_leader(), away = other_than(leader);
    struct member_mark mark;

    (void)state;
    world_node(away)->hold_writes = true;
    propose_many(1);
    assert_true(world_node(away)->writing);
    world_node(away)->cut = true;
    propose_many(10);
    world_compact(leader, 10);
    world_node(away)->cut = false;
    mark = stage(away);
    world_pass(3000);
    member_send_install(world_node(leader)->member, away, &mark);
    world_node(away)->hold_install = true;
    world_pass(500);
    world_node(away)->writing = false; /* what it wrote is cut off with the log */
    if (world_node(away)->member->installing)
        member_persisted(world_node(away)->member);
    world_node(away)->hold_writes = world_node(away)->hold_install = false;
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    member_mark_deinit(&mark);
}

static void a_state_is_installed_only_when_its_term_is_durable(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    mark = stage(away);
    world_node(away)->hold_writes = true;
    write_vote(world_node(away)->member); /* as if it had only just heard of the term */
    member_send_install(world_node(leader)->member, away, &mark);
    world_pass(500);
    assert_false(world_node(away)->member->installing);
    assert_int_equal(world_node(away)->mark.index, 0);
    world_node(away)->hold_writes = false;
    world_pass(100);
    member_send_install(world_node(leader)->member, away, &mark);
    world_pass(3000);
    assert_int_equal(world_node(away)->mark.index, mark.index);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    member_mark_deinit(&mark);
}

static void L13_nothing_is_compacted_twice_or_while_installing(void **state) {
    uint64_t leader = world_leader();
    struct member_mark mark;

    (void)state;
    propose_many(2);
    assert_true(member_mark_applied(world_node(leader)->member, &mark));
    world_compact(leader, 10);
    assert_int_equal(
        member_compacted(world_node(leader)->member, &mark, 10, UINT64_MAX, UINT64_MAX), 0);
    world_node(leader)->member->installing = true;
    mark.index--;
    assert_int_equal(
        member_compacted(world_node(leader)->member, &mark, 10, UINT64_MAX, UINT64_MAX), 0);
    world_node(leader)->member->installing = false;
    member_mark_deinit(&mark);
}

static void L15_a_second_install_while_installing_is_ignored(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    mark = stage(away);
    world_node(away)->hold_install = true;
    for (int i = 0; i < 5; i++) {
        member_send_install(world_node(leader)->member, away, &mark);
        world_pass(50);
    }
    assert_true(world_node(away)->installing);
    world_node(away)->hold_install = false;
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    member_mark_deinit(&mark);
}

static void L17_a_restart_behind_a_snapshot_has_no_entries(void **state) {
    uint64_t leader = world_leader(), away = leave_behind();
    struct member_mark mark;

    (void)state;
    world_node(away)->cut = false;
    assert_true(world_run(wanted, 5000));
    mark = stage(away);
    member_send_install(world_node(leader)->member, away, &mark);
    world_node(away)->cut = false;
    world_settle();
    assert_int_equal(world_node(away)->mark.index, mark.index);
    world_node(away)->cut = true;
    world_settle();
    world_crash(away);
    world_restart(away);
    assert_int_equal(world_node(away)->member->entries.first_index, mark.index + 1);
    world_node(away)->cut = false;
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    member_mark_deinit(&mark);
}

static void what_a_stream_still_wants_stays_in_the_log(void **state) {
    uint64_t leader = world_leader(), keep_from;
    struct member_mark mark;

    (void)state;
    propose_many(4);
    assert_true(member_mark_applied(world_node(leader)->member, &mark));
    keep_from = member_compacted(world_node(leader)->member, &mark, 10, UINT64_MAX, 50);
    assert_int_equal(keep_from, 50);
    member_mark_deinit(&mark);
}

static void a_restarted_leader_of_a_cut_log_serves(void **state) {
    uint64_t leader = world_leader();

    (void)state;
    propose_many(4);
    world_pass(500);
    for (uint64_t id = 1; id <= 3; id++)
        world_compact(id, 5);
    for (uint64_t id = 1; id <= 3; id++)
        world_crash(id);
    for (uint64_t id = 1; id <= 3; id++)
        world_restart(id);
    assert_true(world_run(world_has_leader, 20000));
    propose_many(1);
    world_pass(500);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(world_node(id)->applied, world_node(leader)->applied);
}

#define THREE(test) cmocka_unit_test_setup_teardown(test, start_three, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        THREE(a_cut_log_still_serves_a_follower_that_is_near),
        THREE(a_follower_behind_the_log_gets_the_state),
        THREE(L36_entries_follow_a_state_that_is_older_than_the_last_snapshot),
        THREE(a_follower_that_ends_right_before_a_cut_log_gets_the_state),
        THREE(an_install_without_a_staged_state_is_ignored),
        THREE(L12_a_write_under_way_when_a_snapshot_is_installed_is_not_reported),
        THREE(a_state_is_installed_only_when_its_term_is_durable),
        THREE(L13_nothing_is_compacted_twice_or_while_installing),
        THREE(L15_a_second_install_while_installing_is_ignored),
        THREE(L17_a_restart_behind_a_snapshot_has_no_entries),
        THREE(what_a_stream_still_wants_stays_in_the_log),
        THREE(a_restarted_leader_of_a_cut_log_serves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
