/* What the members know of the room on each other's disks, and what they make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "member_world.h"

static struct world_proposal proposals[4];
static struct world_change change;
static uint64_t was_leader;

static int start(unsigned voters) {
    world_start(voters, voters);
    memset(proposals, 0, sizeof proposals);
    change = (struct world_change){0};
    assert_true(world_run(world_has_leader, 20000));
    was_leader = world_leader();
    /* Long enough to have heard of everybody. */
    world_pass(3 * ELECTION_MS);
    assert_int_equal(world_leader(), was_leader);
    return 0;
}

static int start_two(void **state) {
    (void)state;
    return start(2);
}

static int start_three(void **state) {
    (void)state;
    return start(3);
}

static int start_five(void **state) {
    (void)state;
    return start(5);
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

/* The n-th member besides the leader of the beginning, from 1. */
static uint64_t other(unsigned n) {
    uint64_t id = 0;

    while (n > 0)
        if (++id != was_leader)
            n--;
    return id;
}

static void fill(uint64_t id) {
    member_set_capacity(world_node(id)->member, 0);
}

static void empty(uint64_t id) {
    member_set_capacity(world_node(id)->member, 100);
}

static bool another_leads(void) {
    return world_has_leader() && world_leader() != was_leader;
}

static bool growth_goes_on(uint64_t leader) {
    struct world_proposal *proposal = &proposals[0];

    world_propose_growth(leader, proposal);
    world_pass(500);
    assert_true(proposal->done);
    if (!proposal->applied)
        assert_int_equal(proposal->failure.code, ERROR_NO_SPACE);
    return proposal->applied;
}

static bool others_go_on(uint64_t leader) {
    world_propose(leader, &proposals[1]);
    world_pass(500);
    return proposals[1].done && proposals[1].applied;
}

static void a_full_follower_does_not_stop_growth(void **state) {
    (void)state;
    fill(other(1));
    world_pass(500);
    assert_true(growth_goes_on(was_leader));
    assert_int_equal(world_leader(), was_leader);
}

static void growth_is_refused_while_a_majority_has_no_room(void **state) {
    (void)state;
    fill(other(1));
    fill(other(2));
    world_pass(500);
    assert_false(growth_goes_on(was_leader));
    assert_true(others_go_on(was_leader));
    assert_int_equal(world_leader(), was_leader);
    empty(other(1));
    world_pass(500);
    assert_true(growth_goes_on(was_leader));
}

static void members_can_be_changed_while_growth_is_refused(void **state) {
    (void)state;
    fill(other(1));
    fill(other(2));
    world_pass(500);
    world_change(was_leader, &change, CHANGE_REMOVE, world_node(other(1))->identity.name);
    world_pass(1000);
    assert_true(change.done && change.succeeded);
}

static void a_voter_that_is_silent_has_no_room(void **state) {
    (void)state;
    world_crash(other(1));
    world_pass(3 * ELECTION_MS);
    assert_true(growth_goes_on(was_leader)); /* nobody is full */
    fill(other(2));
    world_pass(500);
    assert_false(growth_goes_on(was_leader));
    assert_true(others_go_on(was_leader));
}

static void a_new_leader_refuses_nothing_before_it_has_heard_of_everybody(void **state) {
    (void)state;
    fill(was_leader);
    assert_true(world_run(another_leads, 20000));
    assert_true(growth_goes_on(world_leader()));
}

static void a_leader_without_room_hands_over_to_a_voter_with_some(void **state) {
    (void)state;
    fill(other(1));
    world_pass(500);
    fill(was_leader);
    assert_true(world_run(another_leads, 5000));
    assert_int_equal(world_leader(), other(2));
    /* Two of three have none now. */
    world_pass(500);
    assert_false(growth_goes_on(world_leader()));
    assert_true(others_go_on(world_leader()));
    empty(was_leader);
    world_pass(500);
    assert_true(growth_goes_on(world_leader()));
    world_pass(20000);
    assert_int_equal(world_leader(), other(2));
}

static void a_leader_stays_when_nobody_has_room(void **state) {
    (void)state;
    fill(other(1));
    fill(other(2));
    world_pass(500);
    fill(was_leader);
    world_pass(30000);
    assert_int_equal(world_leader(), was_leader);
    assert_int_equal(world.timeouts_now, 0);
    assert_false(growth_goes_on(was_leader));
    assert_true(others_go_on(was_leader));
    /* And goes as soon as somebody has. */
    empty(other(2));
    assert_true(world_run(another_leads, 5000));
    assert_int_equal(world_leader(), other(2));
}

static void a_leader_stays_when_it_is_needed_to_elect_another_one(void **state) {
    (void)state;
    fill(was_leader);
    world_pass(30000);
    assert_int_equal(world_leader(), was_leader);
    assert_int_equal(world.timeouts_now, 0);
}

static void a_leader_that_can_not_write_hands_over(void **state) {
    struct world_node *leader = world_node(was_leader);
    struct world_proposal *lost = &proposals[2], *next = &proposals[3];

    (void)state;
    leader->hold_writes = true;
    world_propose_growth(was_leader, lost);
    world_propose_growth(was_leader, next); /* while a write is under way already */
    world_pass(50);
    fill(was_leader);
    assert_true(world_run(another_leads, 5000));
    assert_true(growth_goes_on(world_leader()));
    /* The first one has been replicated, and is answered when the disk has space again. */
    assert_false(lost->done);
    leader->hold_writes = false;
    empty(was_leader);
    world_pass(2000);
    assert_true(lost->done && lost->applied);
    assert_true(next->done);
    assert_int_equal(leader->applied, world_node(world_leader())->applied);
}

static void a_leader_that_could_not_serve_yet_hands_over_too(void **state) {
    uint64_t next = other(1);

    (void)state;
    world_change(was_leader, &change, CHANGE_TRANSFER, world_node(next)->identity.name);
    while (world_node(next)->member->state != MEMBER_LEADER)
        world_pass(5);
    world_node(next)->hold_writes = true; /* its own barrier */
    fill(next);
    was_leader = next;
    assert_true(world_run(another_leads, 20000));
    assert_true(growth_goes_on(world_leader()));
    world_node(next)->hold_writes = false;
}

/* Its disk is full: what it leads by is committed, and not applied here yet. */
static void a_leader_that_has_not_applied_a_demotion_hands_over_to_a_voter(void **state) {
    uint64_t next = other(1), demoted = other(2);

    (void)state;
    world_node(next)->hold_applies = true;
    world_change(was_leader, &change, CHANGE_DEMOTE, world_node(demoted)->identity.name);
    world_pass(1000);
    assert_true(change.done && change.succeeded);
    change = (struct world_change){0};
    fill(was_leader);
    fill(other(3));
    world_change(was_leader, &change, CHANGE_TRANSFER, world_node(next)->identity.name);
    while (world_node(next)->member->state != MEMBER_LEADER)
        world_pass(5);
    fill(next);
    was_leader = next;
    assert_true(world_run(another_leads, 20000));
    assert_int_not_equal(world_leader(), demoted);
    world_node(next)->hold_applies = false;
    world_pass(1000);
    assert_int_equal(world_node(next)->fatal, 0);
}

static void two_full_voters_of_five_stop_nothing(void **state) {
    (void)state;
    fill(other(1));
    fill(was_leader);
    assert_true(world_run(another_leads, 5000));
    assert_int_not_equal(world_leader(), other(1));
    world_pass(500);
    assert_true(growth_goes_on(world_leader()));
}

static void a_transfer_that_names_nobody_prefers_who_has_room(void **state) {
    (void)state;
    fill(other(1));
    fill(other(2));
    fill(other(4));
    world_pass(500);
    world_change(was_leader, &change, CHANGE_TRANSFER, "");
    world_pass(2000);
    assert_true(change.done && change.succeeded);
    assert_int_equal(world_leader(), other(3));
}

#define WITH(voters, test) cmocka_unit_test_setup_teardown(test, start_##voters, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH(three, a_full_follower_does_not_stop_growth),
        WITH(three, growth_is_refused_while_a_majority_has_no_room),
        WITH(three, members_can_be_changed_while_growth_is_refused),
        WITH(three, a_voter_that_is_silent_has_no_room),
        WITH(three, a_new_leader_refuses_nothing_before_it_has_heard_of_everybody),
        WITH(three, a_leader_without_room_hands_over_to_a_voter_with_some),
        WITH(three, a_leader_stays_when_nobody_has_room),
        WITH(two, a_leader_stays_when_it_is_needed_to_elect_another_one),
        WITH(three, a_leader_that_can_not_write_hands_over),
        WITH(three, a_leader_that_could_not_serve_yet_hands_over_too),
        WITH(five, a_leader_that_has_not_applied_a_demotion_hands_over_to_a_voter),
        WITH(five, two_full_voters_of_five_stop_nothing),
        WITH(five, a_transfer_that_names_nobody_prefers_who_has_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
