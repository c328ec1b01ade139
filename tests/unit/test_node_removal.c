/* Members that are removed while they are away: who tells them so, and whom they believe. */
#include "node_world.h"

static struct announce_reply reply;

/* The fourth is down while it is removed, until nobody says goodbye to it any more. */
static int remove_4(void **state) {
    (void)state;
    world_start(4);
    world_kill(4);
    assert_int_equal(world_remove(1, 4), ERROR_OK);
    world_pass(10000);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

static bool node_4_is_removed(void) {
    return node_is_removed(world_node(4));
}

static void a_member_that_was_removed_while_it_was_away_is_told_when_it_is_back(void **state) {
    (void)state;
    world_boot(4);
    assert_true(world_run(node_4_is_removed, 30000));
    world_settle();
    world_kill(4);
    world_boot(4); /* by hand: it waits */
    assert_false(world_run(node_4_is_removed, 60000));
    assert_int_equal(world_add_voter(1, 4), ERROR_OK);
    assert_true(world_run(world_agrees, 30000));
    assert_false(node_4_is_removed());
    world_kill(4);
    assert_int_equal(world_remove(1, 4), ERROR_OK);
    world_pass(10000);
    world_boot(4); /* it was a member since */
    assert_true(world_run(node_4_is_removed, 30000));
}

static void nobody_cares(struct change *change, const struct failure *failure, uint64_t index,
                         const char *leader) {
    (void)change;
    (void)failure;
    (void)index;
    (void)leader;
}

static bool node_4_leads(void) {
    return world_leader() == 4;
}

static bool node_3_is_removed(void) {
    return node_is_removed(world_node(3));
}

static void it_is_sent_to_a_leader_that_was_added_after_its_time(void **state) {
    struct change change = {
        .kind = CHANGE_TRANSFER,
        .deadline = 10000,
        .done = nobody_cares,
    };

    (void)state;
    world_start(3);
    world_kill(3);
    assert_int_equal(world_remove(1, 3), ERROR_OK);
    world_boot(4);
    assert_int_equal(world_add_voter(1, 4), ERROR_OK);
    strcpy(change.name, world.nodes[4].name);
    change.deadline += world.now;
    member_change(node_member(world_node(1)), &change);
    assert_true(world_run(node_4_leads, 10000));
    world_boot(3);
    assert_true(world_run(node_3_is_removed, 60000));
}

static void a_member_that_only_hears_of_no_leader_stays_one(void **state) {
    (void)state;
    world_isolate(3, true);
    world_pass(60000);
    world_isolate(3, false);
    assert_true(world_run(world_agrees, 30000));
    assert_false(node_is_removed(world_node(3)));
}

static struct identity fourth(void) {
    struct identity identity;

    world_boot(4);
    identity = *node_identity(world_node(4));
    world_kill(4);
    return identity;
}

static enum error_code asked(const struct identity *from) {
    reply = (struct announce_reply){0};
    node_announced(world_node(1), from, &reply);
    return reply.said.code;
}

static void the_leader_says_it_after_a_majority_has_confirmed_that_it_leads(void **state) {
    struct identity from = fourth();

    (void)state;
    assert_int_equal(asked(&from), ERROR_OK);
    assert_int_equal(reply.configuration_index, 0);
    world_pass(500);
    assert_int_equal(asked(&from), ERROR_NOT_FOUND);
    assert_int_equal(reply.configuration_index,
                     member_configuration(node_member(world_node(1)))->index);
    from.incarnation++; /* it may have been added between its two runs */
    assert_int_equal(asked(&from), ERROR_OK);
    assert_int_equal(reply.configuration_index, 0);
    from.cluster_id++;
    assert_int_equal(asked(&from), ERROR_INVALID_ARGUMENT);
    assert_int_equal(reply.configuration_index, 0);
}

static void a_leader_that_is_cut_off_says_nothing(void **state) {
    struct identity from = fourth();
    struct member_view view;

    (void)state;
    world_isolate(1, true);
    for (int i = 0; i < 5; i++) {
        member_get_view(node_member(world_node(1)), &view);
        assert_true(view.serving);
        assert_int_equal(asked(&from), ERROR_OK);
        assert_int_equal(reply.configuration_index, 0);
        world_pass(100);
    }
    world_pass(10000);
    assert_int_equal(asked(&from), ERROR_NO_LEADER);
    assert_int_equal(reply.configuration_index, 0);
}

static void who_is_being_added_is_not_told(void **state) {
    struct identity from = fourth();
    struct change change = {
        .kind = CHANGE_ADD_VOTER,
        .deadline = world.now + 60000,
        .done = nobody_cares,
    };

    (void)state;
    assert_int_equal(asked(&from), ERROR_OK);
    world_pass(500);
    strcpy(change.name, from.name);
    strcpy(change.peer_address, from.peer_address);
    member_change(node_member(world_node(1)), &change);
    assert_int_equal(asked(&from), ERROR_OK);
    assert_int_equal(reply.configuration_index, 0);
    world_pass(10000); /* nobody answers there */
    assert_int_equal(asked(&from), ERROR_OK);
    world_pass(500);
    assert_int_equal(asked(&from), ERROR_NOT_FOUND);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, remove_4, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_member_that_was_removed_while_it_was_away_is_told_when_it_is_back),
        cmocka_unit_test_teardown(it_is_sent_to_a_leader_that_was_added_after_its_time, stop),
        TEST(a_member_that_only_hears_of_no_leader_stays_one),
        TEST(the_leader_says_it_after_a_majority_has_confirmed_that_it_leads),
        TEST(a_leader_that_is_cut_off_says_nothing),
        TEST(who_is_being_added_is_not_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
