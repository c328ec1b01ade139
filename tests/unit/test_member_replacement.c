/* AutoPromote=: voters that are silent for long give their places to non-voters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "member_world.h"

enum { SILENCE_MS = 20 * ELECTION_MS, LONG_MS = 3 * SILENCE_MS };

static uint64_t leader;

/* Four members, of which node4 is a non-voter. */
static int start(void **state) {
    static struct world_change change;

    (void)state;
    change = (struct world_change){0};
    world_start(4, 4);
    for (uint64_t id = 1; id <= 4; id++)
        member_set_replacement(world_node(id)->member, 3, SILENCE_MS);
    assert_true(world_run(world_has_leader, 20000));
    if (world_leader() == 4) {
        world_crash(4);
        assert_true(world_run(world_has_leader, 20000));
        world_restart(4);
    }
    leader = world_leader();
    world_pass(3 * ELECTION_MS);
    world_change(leader, &change, CHANGE_DEMOTE, "node4");
    world_pass(1000);
    assert_true(change.done && change.succeeded);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

static const struct configuration *configuration(void) {
    return member_configuration(world_node(world_leader())->member);
}

static bool votes(uint64_t id) {
    const struct server *server = configuration_find(configuration(), id);

    return server && server->role == MEMBER_VOTER;
}

/* One of the voters that follow; the n-th, from 1. */
static uint64_t follower(unsigned n) {
    uint64_t id = 0;

    while (n > 0)
        if (++id != leader && id != 4)
            n--;
    return id;
}

/* Hosts answer who they are as long as they are up. */
static void answer_whoever_is_asked(void) {
    if (!world.identify.callback)
        return;
    for (uint64_t id = 1; id <= 4; id++)
        if (strcmp(world_server(id, MEMBER_VOTER).peer_address, world.identify.address) == 0) {
            identify_cb callback = world.identify.callback;

            world.identify.callback = NULL;
            callback(world.identify.data, &world_node(id)->identity, NULL);
            return;
        }
}

static void pass(uint64_t ms) {
    for (uint64_t end = world.now + ms; world.now < end;) {
        answer_whoever_is_asked();
        world_pass(10);
    }
}

static void a_voter_that_is_silent_for_long_gives_its_place_to_a_non_voter(void **state) {
    (void)state;
    world_crash(follower(1));
    pass(SILENCE_MS - ELECTION_MS);
    assert_false(votes(4));
    pass(LONG_MS);
    assert_true(votes(4));
    assert_false(votes(follower(1)));
    assert_non_null(configuration_find(configuration(), follower(1)));
    assert_int_equal(configuration_voters(configuration()), 3);
}

static void a_silent_voter_is_kept_while_a_majority_needs_as_many_without_it(void **state) {
    (void)state;
    for (uint64_t id = 1; id <= 4; id++)
        member_set_replacement(world_node(id)->member, 1, SILENCE_MS);
    world_crash(follower(1));
    pass(LONG_MS);
    assert_true(votes(follower(1)));
    assert_false(votes(4));
}

static void who_comes_back_too_late_stays_a_non_voter(void **state) {
    (void)state;
    world_crash(follower(1));
    pass(LONG_MS);
    world_restart(follower(1));
    pass(LONG_MS);
    assert_true(votes(4));
    assert_false(votes(follower(1)));
}

static void who_comes_back_too_late_may_take_the_place_of_another(void **state) {
    (void)state;
    world_crash(follower(1));
    pass(LONG_MS);
    world_restart(follower(1));
    pass(5 * ELECTION_MS);
    world_crash(follower(2));
    pass(LONG_MS);
    assert_true(votes(follower(1)));
    assert_true(votes(4));
    assert_false(votes(follower(2)));
}

static void a_voter_that_comes_back_in_time_keeps_its_place(void **state) {
    (void)state;
    world_crash(follower(1));
    pass(SILENCE_MS / 2);
    world_restart(follower(1));
    pass(LONG_MS);
    assert_true(votes(follower(1)));
    assert_false(votes(4));
}

static void nobody_is_replaced_unless_it_is_asked_for(void **state) {
    (void)state;
    for (uint64_t id = 1; id <= 4; id++)
        member_set_replacement(world_node(id)->member, 0, SILENCE_MS);
    world_crash(follower(1));
    pass(LONG_MS);
    assert_true(votes(follower(1)));
    assert_false(votes(4));
}

static void nobody_is_replaced_by_a_non_voter_that_is_silent_too(void **state) {
    (void)state;
    world_crash(follower(1));
    world_crash(4);
    pass(LONG_MS);
    assert_true(votes(follower(1)));
    assert_false(votes(4));
}

static void nobody_is_replaced_by_a_non_voter_without_room(void **state) {
    (void)state;
    member_set_capacity(world_node(4)->member, 0);
    world_crash(follower(1));
    pass(LONG_MS);
    assert_false(votes(4));
    member_set_capacity(world_node(4)->member, 100);
    pass(LONG_MS);
    assert_true(votes(4));
}

static void a_new_leader_replaces_the_old_one_that_is_gone(void **state) {
    (void)state;
    world_crash(leader);
    assert_true(world_run(world_has_leader, 20000));
    pass(LONG_MS);
    assert_true(votes(4));
    assert_false(votes(leader));
}

static void a_replacement_that_is_not_who_it_should_be_is_tried_again(void **state) {
    (void)state;
    world_crash(follower(1));
    while (!world.identify.callback && world.now < 10 * LONG_MS)
        world_pass(10);
    assert_non_null(world.identify.callback);
    identify_cb callback = world.identify.callback;
    world.identify.callback = NULL;
    callback(world.identify.data, &world_node(follower(2))->identity, NULL);
    pass(1000);
    assert_false(votes(4));
    pass(LONG_MS);
    assert_true(votes(4));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_voter_that_is_silent_for_long_gives_its_place_to_a_non_voter),
        TEST(a_silent_voter_is_kept_while_a_majority_needs_as_many_without_it),
        TEST(who_comes_back_too_late_stays_a_non_voter),
        TEST(who_comes_back_too_late_may_take_the_place_of_another),
        TEST(a_voter_that_comes_back_in_time_keeps_its_place),
        TEST(nobody_is_replaced_unless_it_is_asked_for),
        TEST(nobody_is_replaced_by_a_non_voter_that_is_silent_too),
        TEST(nobody_is_replaced_by_a_non_voter_without_room),
        TEST(a_new_leader_replaces_the_old_one_that_is_gone),
        TEST(a_replacement_that_is_not_who_it_should_be_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
