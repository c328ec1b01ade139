/* A member that came back at other addresses: who is believed, and what changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "member_world.h"

static struct world_change change;

static int start(void **state) {
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

static bool change_is_done(void) {
    return change.done;
}

static void change_done(struct change *done, const struct failure *failure, uint64_t index,
                        const char *leader) {
    (void)done;
    (void)leader;
    assert_false(change.done);
    change.done = true;
    change.succeeded = !failure;
    change.index = index;
    if (failure)
        change.failure = *failure;
}

static uint64_t follower(void) {
    return world_leader() == 1 ? 2 : 1;
}

static void come_back_at(uint64_t id, const char *peer_address, const char *client_address) {
    strcpy(world_node(id)->identity.peer_address, peer_address);
    strcpy(world_node(id)->identity.client_address, client_address);
}

static void move(uint64_t id) {
    const struct identity *mover = &world_node(id)->identity;

    change = (struct world_change){.change = {.kind = CHANGE_MOVE,
                                              .member_id = id,
                                              .deadline = world.now + 20000,
                                              .done = change_done}};
    strcpy(change.change.name, mover->name);
    strcpy(change.change.peer_address, mover->peer_address);
    member_change(world_node(world_leader())->member, &change.change);
}

/* Whoever is there answers as this. */
static void answer_as(const struct identity *identity) {
    struct failure failure;
    identify_cb callback = world.identify.callback;

    assert_non_null(callback);
    world.identify.callback = NULL;
    failure_set(&failure, ERROR_UNAVAILABLE, "Nobody answers there.");
    callback(world.identify.data, identity, identity ? NULL : &failure);
}

static void asks(const char *address) {
    assert_non_null(world.identify.callback);
    assert_string_equal(world.identify.address, address);
}

static const struct server *as_configured(uint64_t at, uint64_t id) {
    return configuration_find(member_configuration(world_node(at)->member), id);
}

static bool all_know_the_new_address(void) {
    for (uint64_t at = 1; at <= 3; at++)
        if (strcmp(as_configured(at, change.change.member_id)->peer_address,
                   change.change.peer_address) != 0)
            return false;
    return true;
}

static void refuses(enum error_code code, const char *part) {
    assert_true(change.done && !change.succeeded);
    assert_int_equal(change.failure.code, code);
    assert_non_null(strstr(change.failure.message, part));
}

static void assert_servers_equal(const struct server *server, const struct server *expected) {
    assert_true(server->id == expected->id && server->role == expected->role);
    assert_true(server->promoting == expected->promoting);
    assert_string_equal(server->name, expected->name);
    assert_string_equal(server->peer_address, expected->peer_address);
    assert_string_equal(server->client_address, expected->client_address);
}

static void only_its_addresses_change(void **state) {
    const struct configuration *configuration;
    struct configuration before;
    uint64_t id = follower();

    (void)state;
    before = *member_configuration(world_node(id)->member);
    come_back_at(id, "10.0.0.9:12", "10.0.0.9:11");
    world_node(id)->cut = true; /* nobody answers at the old address */
    move(id);
    asks("10.0.0.9:12");
    world_node(id)->cut = false;
    answer_as(&world_node(id)->identity);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    assert_true(world_run(all_know_the_new_address, 1000));
    configuration = member_configuration(world_node(id)->member);
    assert_int_equal(configuration->index, change.index);
    assert_int_equal(configuration->count, before.count);
    for (size_t i = 0; i < before.count; i++) {
        struct server expected = before.servers[i];

        if (expected.id == id) {
            strcpy(expected.peer_address, "10.0.0.9:12");
            strcpy(expected.client_address, "10.0.0.9:11");
        }
        assert_servers_equal(&configuration->servers[i], &expected);
    }
}

static void moving_again_to_the_same_place_changes_nothing(void **state) {
    (void)state;
    only_its_addresses_change(NULL);
    uint64_t index = change.index;
    move(change.change.member_id);
    answer_as(&world_node(change.change.member_id)->identity);
    assert_true(change.done && change.succeeded);
    assert_int_equal(change.index, index);
}

static void the_same_node_under_both_addresses_is_moved(void **state) {
    uint64_t id = follower();
    char old[ADDRESS_MAX + 1];

    (void)state;
    strcpy(old, as_configured(id, id)->peer_address);
    come_back_at(id, "10.0.0.9:12", "10.0.0.9:11");
    move(id);
    asks(old);
    answer_as(&world_node(id)->identity);
    asks("10.0.0.9:12");
    answer_as(&world_node(id)->identity);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
}

static void a_newcomer_that_has_heard_nothing_of_the_cluster_yet_is_moved(void **state) {
    uint64_t id = follower();
    struct identity newcomer;

    (void)state;
    come_back_at(id, "10.0.0.9:12", "10.0.0.9:11");
    world_node(id)->cut = true;
    move(id);
    newcomer = world_node(id)->identity;
    newcomer.cluster_id = 0;
    answer_as(&newcomer);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
}

static void one_that_still_answers_where_it_was_is_not_moved(void **state) {
    uint64_t id = follower();
    struct identity there = world_node(id)->identity;

    (void)state;
    come_back_at(id, "10.0.0.9:12", "10.0.0.9:11");
    move(id);
    asks(there.peer_address);
    answer_as(&there);
    refuses(ERROR_ALREADY_EXISTS, "still answers");
}

static void a_stranger_is_not_taken_for_it(void **state) {
    uint64_t id = follower();
    struct identity stranger;

    (void)state;
    come_back_at(id, "10.0.0.9:12", "10.0.0.9:11");
    world_node(id)->cut = true;
    for (int i = 0; i < 4; i++) {
        stranger = world_node(id)->identity;
        if (i == 0)
            stranger.member_id = 77;
        else if (i == 1)
            strcpy(stranger.name, "other");
        else if (i == 2)
            stranger.cluster_id++;
        else
            strcpy(stranger.peer_address, "10.0.0.8:12");
        move(id);
        answer_as(&stranger);
        refuses(ERROR_INVALID_ARGUMENT, "10.0.0.9:12");
    }
    move(id);
    answer_as(NULL);
    refuses(ERROR_UNAVAILABLE, "Nobody");
}

static void an_address_of_another_member_is_refused(void **state) {
    uint64_t id = follower();
    const struct server *leader = as_configured(id, world_leader());

    (void)state;
    world_node(id)->cut = true;
    come_back_at(id, leader->peer_address, "10.0.0.9:11");
    move(id);
    answer_as(&world_node(id)->identity);
    refuses(ERROR_ALREADY_EXISTS, leader->peer_address);
    come_back_at(id, "10.0.0.9:12", leader->client_address);
    move(id);
    answer_as(&world_node(id)->identity);
    refuses(ERROR_ALREADY_EXISTS, leader->client_address);
}

static void a_leader_moves_itself(void **state) {
    uint64_t leader = world_leader();

    (void)state;
    come_back_at(leader, "10.0.0.9:12", "10.0.0.9:11");
    move(leader);
    assert_null(world.identify.callback);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    assert_true(world_run(all_know_the_new_address, 1000));
    assert_int_equal(world_leader(), leader);
}

static void who_is_no_member_is_not_found(void **state) {
    uint64_t id = follower();

    (void)state;
    move(id);
    answer_as(NULL);
    change.change.member_id = 77;
    change.done = false;
    member_change(world_node(world_leader())->member, &change.change);
    refuses(ERROR_NOT_FOUND, "no member");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(only_its_addresses_change),
        TEST(moving_again_to_the_same_place_changes_nothing),
        TEST(the_same_node_under_both_addresses_is_moved),
        TEST(a_newcomer_that_has_heard_nothing_of_the_cluster_yet_is_moved),
        TEST(one_that_still_answers_where_it_was_is_not_moved),
        TEST(a_stranger_is_not_taken_for_it),
        TEST(an_address_of_another_member_is_refused),
        TEST(a_leader_moves_itself),
        TEST(who_is_no_member_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
