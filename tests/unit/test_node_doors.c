/* Whom a node lets in at the door for other nodes. */
#include "node_world.h"

static int start_four(void **state) {
    (void)state;
    world_start(4);
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

static int admitted(unsigned by, const struct identity *from) {
    struct failure failure;

    return node_admit(world_node(by), from, node_identity(world_node(by))->member_id, &failure);
}

/* Node 3 loses its disk and comes back as another member; node 2 was down meanwhile, and has on its
 * disk what was before. */
static void replace_3_without_2(void) {
    assert_int_equal(world_compact(2), ERROR_OK);
    world_kill(2);
    assert_int_equal(world_remove(1, 3), ERROR_OK);
    world_wipe(3);
    world_boot(3);
    assert_int_equal(world_add_voter(1, 3), ERROR_OK);
    world_isolate(2, true);
    world_boot(2);
}

/* Otherwise neither could lead when they are needed for a majority. */
static void a_replaced_member_is_let_in_by_who_has_not_heard_of_it(void **state) {
    const struct configuration *configuration;

    (void)state;
    replace_3_without_2();
    configuration = member_configuration(node_member(world_node(2)));
    assert_non_null(configuration_find_name(configuration, "n3"));
    assert_null(configuration_find(configuration, node_identity(world_node(3))->member_id));
    assert_int_equal(admitted(2, node_identity(world_node(3))), 0);
    world_isolate(2, false);
    world_kill(1);
    assert_true(world_run(world_agrees, 30000));
}

static void a_new_directory_is_not_let_in_under_a_name_that_is_taken(void **state) {
    struct identity stranger;

    (void)state;
    stranger = *node_identity(world_node(3));
    stranger.member_id++;
    stranger.cluster_id = 0;
    assert_int_equal(admitted(1, &stranger), ERROR_INVALID_ARGUMENT);
    assert_int_equal(admitted(2, &stranger), ERROR_INVALID_ARGUMENT);
}

static struct identity moved;
static unsigned moves_begun;

static void announce_at(const char *address, enum error_code expected) {
    bool was_moving = world_node(1)->announcement.moving;
    struct announce_reply reply;

    strcpy(moved.peer_address, address);
    node_announced(world_node(1), &moved, &reply);
    assert_int_equal(reply.said.code, expected);
    moves_begun += !was_moving && world_node(1)->announcement.moving;
    world_pass(1000);
}

/* Each attempt keeps all other changes waiting. */
static void a_member_at_an_address_where_nobody_answers_is_asked_rarely(void **state) {
    (void)state;
    moves_begun = 0;
    moved = *node_identity(world_node(3));
    world_kill(3);
    announce_at("192.0.2.1:1", ERROR_OK);
    assert_int_equal(moves_begun, 1);
    for (int i = 0; i < UNREACHED_MS / 1000 / 2; i++)
        announce_at("192.0.2.1:1", ERROR_UNAVAILABLE);
    assert_int_equal(moves_begun, 1);
    assert_int_equal(world_remove(1, 4), ERROR_OK);
    announce_at("192.0.2.2:1", ERROR_OK); /* another address is asked at once */
    assert_int_equal(moves_begun, 2);
    for (int i = 0; i < UNREACHED_MS / 1000 + 1; i++)
        announce_at("192.0.2.2:1", ERROR_UNAVAILABLE);
    assert_int_equal(moves_begun, 3);
}

static bool no_question_to_1_arrives(unsigned from, unsigned to, Raftkv__V1__PeerMessage *message) {
    (void)from;
    return to != 1 || message->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_REQUEST;
}

static bool is_answered(void) {
    return world_answer() >= 0;
}

/* It would be unknown what became of it, were it only seen that the link has broken. */
static void a_write_on_its_way_to_a_leader_that_stops_goes_to_the_next_one(void **state) {
    (void)state;
    assert_int_equal(world_put(2, "before", 10), ERROR_OK);
    world.filter = no_question_to_1_arrives;
    world_begin_put(2, "key", 10);
    world_settle();
    assert_int_equal(world_answer(), -1);
    assert_true(world_shut_down(1));
    world.filter = NULL;
    assert_true(world_run(is_answered, 30000));
    assert_int_equal(world_answer(), ERROR_OK);
    world_boot(1);
    assert_true(world_run(world_agrees, 30000));
}

static void farewell_of_1(uint64_t incarnation) {
    Raftkv__V1__PeerMessage message = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__Farewell farewell = RAFTKV__V1__FAREWELL__INIT;
    _cleanup_free_ uint8_t *data = NULL;
    const char *reason = "";
    size_t size;

    farewell.incarnation = incarnation;
    message.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_FAREWELL;
    message.farewell = &farewell;
    data = pack(&message.base, 0, &size);
    assert_int_equal(
        node_receive(world_node(2), node_identity(world_node(1))->member_id, data, size, &reason),
        0);
}

/* What was under way then may have arrived since. */
static void a_farewell_of_a_former_run_says_nothing_about_this_one(void **state) {
    uint64_t incarnation = node_identity(world_node(1))->incarnation;

    (void)state;
    assert_int_equal(world_put(2, "before", 10), ERROR_OK);
    farewell_of_1(incarnation - 1);
    farewell_of_1(incarnation + 1);
    assert_int_equal(world_put(2, "key", 10), ERROR_OK);
    farewell_of_1(incarnation);
    world_begin_put(2, "another key", 10);
    world_pass(5000);
    assert_int_equal(world_answer(), -1);
    world_isolate(1, true); /* for the next leader */
    assert_true(world_run(is_answered, 30000));
    assert_int_equal(world_answer(), ERROR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_replaced_member_is_let_in_by_who_has_not_heard_of_it,
                                        start_four, stop),
        cmocka_unit_test_setup_teardown(a_new_directory_is_not_let_in_under_a_name_that_is_taken,
                                        start_four, stop),
        cmocka_unit_test_setup_teardown(a_member_at_an_address_where_nobody_answers_is_asked_rarely,
                                        start_four, stop),
        cmocka_unit_test_setup_teardown(a_farewell_of_a_former_run_says_nothing_about_this_one,
                                        start_four, stop),
        cmocka_unit_test_setup_teardown(
            a_write_on_its_way_to_a_leader_that_stops_goes_to_the_next_one, start_four, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
