/* Nodes that ask to join, as the leader keeps them, and what an administrator makes of them. */
#include "test_service_world.h"

#include <stdio.h>
#include <string.h>

static struct announce_reply reply;

static struct identity newcomer(unsigned number) {
    struct identity identity = {.member_id = 0x100 + number, .incarnation = 1};

    snprintf(identity.name, sizeof identity.name, "new%u", number);
    snprintf(identity.peer_address, sizeof identity.peer_address, "10.0.0.%u:2", number + 1);
    snprintf(identity.client_address, sizeof identity.client_address, "10.0.0.%u:1", number + 1);
    return identity;
}

static enum error_code join(const struct identity *identity, enum join_policy policy) {
    reply = (struct announce_reply){0};
    service_join(world.service, identity, policy, &reply);
    assert_true(reply.said.message[0]);
    return reply.said.code;
}

static enum error_code joins(unsigned number, enum join_policy policy) {
    struct identity identity = newcomer(number);

    return join(&identity, policy);
}

static char *string(const char *text) {
    return (char *)(uintptr_t)text;
}

static Raftkv__V1__Request *accept_request(const char *name, bool nonvoter) {
    Raftkv__V1__AcceptRequest body;

    raftkv__v1__accept_request__init(&body);
    body.name = string(name);
    body.nonvoter = nonvoter;
    body.expected_configuration_index = 9;
    return new_request(RAFTKV__V1__REQUEST__BODY_ACCEPT, &body.base);
}

static Raftkv__V1__Request *reject_request(const char *name) {
    Raftkv__V1__RejectRequest body;

    raftkv__v1__reject_request__init(&body);
    body.name = string(name);
    return new_request(RAFTKV__V1__REQUEST__BODY_REJECT, &body.base);
}

/* The names of those that wait, with blanks between. */
static const char *pending(void) {
    static char names[4096];
    Raftkv__V1__PendingRequest body = RAFTKV__V1__PENDING_REQUEST__INIT;
    struct caller caller = {0};

    ask(&caller, new_request(RAFTKV__V1__REQUEST__BODY_PENDING, &body.base));
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PENDING);
    names[0] = 0;
    for (size_t i = 0; i < caller.response->pending->n_nodes; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? " " : "",
                 caller.response->pending->nodes[i]->name);
    caller_clear(&caller);
    return names;
}

static void finish_change(enum error_code code) {
    struct change *change = TAKE(world.change);
    struct failure failure;

    failure_set(&failure, code ? code : ERROR_INTERNAL, "The change failed.");
    change->done(change, code ? &failure : NULL, 12, NULL);
}

static void who_asks_is_listed_until_it_asks_no_more(void **state) {
    (void)state;
    become_leader();
    assert_string_equal(pending(), "");
    assert_int_equal(joins(1, JOIN_ASK), ERROR_OK);
    pass(JOIN_KEPT_MS / 2);
    assert_int_equal(joins(2, JOIN_ASK), ERROR_OK);
    assert_string_equal(pending(), "new1 new2");
    pass(JOIN_KEPT_MS / 2);
    assert_string_equal(pending(), "new2");
    pass(JOIN_KEPT_MS / 2);
    assert_string_equal(pending(), "");
}

static void who_is_accepted_is_added_with_the_address_that_it_says(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    joins(1, JOIN_ASK);
    ask(&caller, accept_request("new1", false));
    assert_int_equal(world.change->kind, CHANGE_ADD_VOTER);
    assert_string_equal(world.change->name, "new1");
    assert_string_equal(world.change->peer_address, "10.0.0.2:2");
    assert_int_equal(world.change->expected_index, 9);
    finish_change(ERROR_OK);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
    assert_int_equal(caller.response->configuration->configuration_index, 12);
    caller_clear(&caller);
    joins(2, JOIN_ASK);
    ask(&caller, accept_request("new2", true));
    assert_int_equal(world.change->kind, CHANGE_ADD_NONVOTER);
    finish_change(ERROR_BUSY);
    assert_error(&caller, ERROR_BUSY);
    caller_clear(&caller);
    assert_non_null(strstr(pending(), "new2")); /* to be accepted again */
}

static void who_does_not_ask_is_neither_accepted_nor_rejected(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, accept_request("new1", false));
    assert_error(&caller, ERROR_NOT_FOUND);
    caller_clear(&caller);
    ask(&caller, reject_request("new1"));
    assert_error(&caller, ERROR_NOT_FOUND);
    caller_clear(&caller);
    assert_null(world.change);
}

static void who_is_rejected_stays_so_while_it_asks(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    joins(1, JOIN_ASK);
    ask(&caller, reject_request("new1"));
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_REJECT);
    caller_clear(&caller);
    for (int i = 0; i < 5; i++) {
        pass(JOIN_KEPT_MS / 2);
        assert_int_equal(joins(1, JOIN_ASK), ERROR_PERMISSION_DENIED);
        assert_string_equal(pending(), "");
    }
    pass(JOIN_KEPT_MS);
    assert_int_equal(joins(1, JOIN_ASK), ERROR_OK);
    assert_string_equal(pending(), "new1");
}

static void nobody_is_noted_where_nobody_may_join(void **state) {
    (void)state;
    become_leader();
    assert_int_equal(joins(1, JOIN_NO), ERROR_PERMISSION_DENIED);
    assert_string_equal(pending(), "");
}

static void who_may_is_added_at_once_and_told_why_not(void **state) {
    static const struct {
        enum join_policy policy;
        enum change_kind kind;
    } table[] = {{JOIN_VOTER, CHANGE_ADD_VOTER}, {JOIN_NONVOTER, CHANGE_ADD_NONVOTER}};

    (void)state;
    become_leader();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(joins(i, table[i].policy), ERROR_OK);
        assert_int_equal(world.change->kind, table[i].kind);
        assert_int_equal(joins(i, table[i].policy), ERROR_OK); /* under way */
        assert_string_equal(pending(), "");
        finish_change(ERROR_UNAVAILABLE);
        assert_int_equal(joins(i, table[i].policy), ERROR_UNAVAILABLE);
        assert_string_equal(reply.said.message, "The change failed.");
        assert_null(world.change);
        for (int k = 1; k < UNREACHED_MS / 10000; k++) {
            pass(10000);
            assert_int_equal(joins(i, table[i].policy), ERROR_UNAVAILABLE);
            assert_null(world.change);
        }
        pass(10000);
        joins(i, table[i].policy);
        assert_int_equal(world.change->kind, table[i].kind); /* tried again */
        finish_change(ERROR_OK);
    }
}

static void who_was_not_added_for_another_reason_is_at_once(void **state) {
    (void)state;
    become_leader();
    joins(1, JOIN_VOTER);
    finish_change(ERROR_BUSY);
    assert_int_equal(joins(1, JOIN_VOTER), ERROR_OK);
    assert_non_null(world.change);
    finish_change(ERROR_INVALID_ARGUMENT);
    assert_int_equal(joins(1, JOIN_VOTER), ERROR_INVALID_ARGUMENT);
    assert_non_null(world.change);
    finish_change(ERROR_OK);
}

static void who_is_never_reached_is_asked_ever_more_rarely(void **state) {
    unsigned attempts = 0;

    (void)state;
    become_leader();
    for (unsigned seconds = 0; seconds < 60 * 60; seconds += 3) {
        joins(1, JOIN_VOTER);
        if (world.change) {
            finish_change(ERROR_UNAVAILABLE);
            attempts++;
        }
        pass(3000);
    }
    assert_in_range(attempts, 8, 12);
}

static void a_place_is_not_taken_over_from_another_address(void **state) {
    struct identity identity = newcomer(1);
    struct caller caller = {0};

    (void)state;
    become_leader();
    assert_int_equal(joins(1, JOIN_ASK), ERROR_OK);
    strcpy(identity.peer_address, "10.9.9.9:2");
    assert_int_equal(join(&identity, JOIN_ASK), ERROR_ALREADY_EXISTS);
    ask(&caller, accept_request("new1", false));
    assert_string_equal(world.change->peer_address, "10.0.0.2:2");
    finish_change(ERROR_BUSY);
    caller_clear(&caller);
    pass(JOIN_KEPT_MS);
    assert_int_equal(join(&identity, JOIN_ASK), ERROR_OK);
}

static void no_stop_waits_for_who_is_added_unasked(void **state) {
    (void)state;
    become_leader();
    joins(1, JOIN_VOTER);
    assert_int_equal(service_drain(world.service), 0);
    finish_change(ERROR_NOT_LEADER);
}

static void no_stop_waits_for_a_leader_to_add_who_was_to_be_unasked(void **state) {
    (void)state;
    become_leader();
    joins(1, JOIN_VOTER);
    follow(0);
    finish_change(ERROR_NOT_LEADER);
    assert_int_equal(service_drain(world.service), 0);
}

static void names_and_addresses_that_are_taken_are_refused(void **state) {
    const struct server *server = &world.configuration.servers[1];
    struct identity identity = newcomer(1);

    (void)state;
    become_leader();
    strcpy(identity.peer_address, server->peer_address);
    assert_int_equal(join(&identity, JOIN_VOTER), ERROR_ALREADY_EXISTS);
    identity = newcomer(1);
    strcpy(identity.client_address, server->client_address);
    assert_int_equal(join(&identity, JOIN_ASK), ERROR_ALREADY_EXISTS);
    identity = newcomer(1);
    assert_int_equal(join(&identity, JOIN_ASK), ERROR_OK);
    identity.member_id++;
    assert_int_equal(join(&identity, JOIN_ASK), ERROR_ALREADY_EXISTS);
    assert_string_equal(pending(), "new1");
    assert_null(world.change);
}

static void so_many_may_ask_and_no_more(void **state) {
    (void)state;
    become_leader();
    for (unsigned i = 0; i < JOIN_REQUESTS_MAX; i++)
        assert_int_equal(joins(i, JOIN_ASK), ERROR_OK);
    assert_int_equal(joins(JOIN_REQUESTS_MAX, JOIN_ASK), ERROR_BUSY);
    assert_int_equal(joins(0, JOIN_ASK), ERROR_OK);
    pass(JOIN_KEPT_MS);
    assert_int_equal(joins(JOIN_REQUESTS_MAX, JOIN_ASK), ERROR_OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_asks_is_listed_until_it_asks_no_more),
        TEST(who_is_accepted_is_added_with_the_address_that_it_says),
        TEST(who_does_not_ask_is_neither_accepted_nor_rejected),
        TEST(who_is_rejected_stays_so_while_it_asks),
        TEST(nobody_is_noted_where_nobody_may_join),
        TEST(who_may_is_added_at_once_and_told_why_not),
        TEST(who_was_not_added_for_another_reason_is_at_once),
        TEST(who_is_never_reached_is_asked_ever_more_rarely),
        TEST(a_place_is_not_taken_over_from_another_address),
        TEST(no_stop_waits_for_who_is_added_unasked),
        TEST(no_stop_waits_for_a_leader_to_add_who_was_to_be_unasked),
        TEST(names_and_addresses_that_are_taken_are_refused),
        TEST(so_many_may_ask_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
