/* Status, members, and the changes of membership and leadership. */
#include <string.h>

#include "base/version.h"
#include "test_service_world.h"

static void answer_status(size_t n, uint64_t id, uint64_t commit_index, uint64_t applied_index) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__StatusResponse status = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__MemberStatus self;

    raftkv__v1__member_status__init(&self);
    self.id = id;
    self.commit_index = commit_index;
    self.applied_index = applied_index;
    status.self = &self;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &status;
    answer_question(world.sent[n].to, question(n)->forward_id, &response);
}

/* ---- status ---- */

static void status_is_local_and_needs_no_leader(void **state) {
    struct caller caller = {0};
    const Raftkv__V1__MemberStatus *self;

    (void)state;
    world.view.leader = NODE_C;
    ask(&caller, status_request(false));
    assert_null(caller.call);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    assert_int_equal(caller.response->id, 42);
    assert_int_equal(caller.response->status->n_members, 0);
    self = caller.response->status->self;
    assert_string_equal(self->name, "nodeA");
    assert_int_equal(self->id, NODE_A);
    assert_int_equal(self->role, RAFTKV__V1__ROLE__ROLE_VOTER);
    assert_int_equal(self->state, RAFTKV__V1__STATE__STATE_FOLLOWER);
    assert_int_equal(self->term, 4);
    assert_string_equal(self->leader, "nodeC");
    assert_int_equal(self->commit_index, 20);
    assert_int_equal(self->applied_index, 18);
    assert_int_equal(self->first_index, 1);
    assert_int_equal(self->last_index, 21);
    assert_int_equal(self->lag, 2);
    assert_true(self->answers);
    assert_string_equal(self->version, raftkv_version);
    assert_string_equal(self->peer_address, "hostA:4712");
    assert_string_equal(self->client_address, "hostA:4711");
    assert_int_equal(self->cluster_id, 77);
    assert_int_equal(world.sent_count, 0);
    caller_clear(&caller);
}

static void a_node_in_no_configuration_has_no_role(void **state) {
    struct caller caller = {0};

    (void)state;
    world.configuration.count = 0;
    world.view.role = MEMBER_NONE;
    ask(&caller, status_request(true));
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    assert_int_equal(caller.response->status->self->role, RAFTKV__V1__ROLE__ROLE_NONE);
    assert_int_equal(caller.response->status->n_members, 0);
    caller_clear(&caller);
}

static void
a_node_that_its_configuration_does_not_name_shows_itself_beside_the_members(void **state) {
    struct caller caller = {0};
    const Raftkv__V1__StatusResponse *status;

    (void)state;
    world.configuration.servers[0] = world.configuration.servers[2];
    world.configuration.count = 2;
    ask(&caller, status_request(true));
    answer_status(0, NODE_C, 30, 25);
    answer_status(1, NODE_B, 28, 28);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    status = caller.response->status;
    assert_int_equal(status->n_members, 3);
    assert_int_equal(status->members[0]->id, NODE_C);
    assert_int_equal(status->members[1]->id, NODE_B);
    assert_int_equal(status->members[2]->id, NODE_A);
    assert_true(status->members[2]->answers);
    assert_int_equal(status->members[2]->lag, 12);
    caller_clear(&caller);
}

static void the_status_of_the_cluster_asks_every_other_member(void **state) {
    struct caller caller = {0};
    Raftkv__V1__StatusResponse *status;

    (void)state;
    ask(&caller, status_request(true));
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.sent[0].to, NODE_B);
    assert_int_equal(world.sent[1].to, NODE_C);
    assert_false(question(0)->request->status->cluster);
    answer_status(1, NODE_C, 30, 25);
    assert_int_equal(caller.answers, 0);
    answer_status(0, NODE_B, 28, 28);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    status = caller.response->status;
    assert_int_equal(status->n_members, 3);
    /* Behind the highest commit index, 30. */
    assert_int_equal(status->self->lag, 12);
    assert_int_equal(status->members[0]->lag, 12);
    assert_int_equal(status->members[1]->lag, 2);
    assert_int_equal(status->members[2]->lag, 5);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(status->members[i]->id, world.configuration.servers[i].id);
        assert_true(status->members[i]->answers);
    }
    caller_clear(&caller);
}

static void a_member_that_does_not_answer_is_shown_as_silent_after_2_seconds(void **state) {
    struct caller caller = {0};
    const Raftkv__V1__MemberStatus *silent;

    (void)state;
    world.unlinked[NODE_C] = true;
    ask(&caller, status_request(true));
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(question(0)->request->timeout_ms, 2000);
    pass(1999);
    assert_int_equal(caller.answers, 0);
    pass(1);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    for (size_t i = 1; i < 3; i++) {
        silent = caller.response->status->members[i];
        assert_false(silent->answers);
        assert_int_equal(silent->lag, 0);
        assert_string_equal(silent->name, world.configuration.servers[i].name);
        assert_int_equal(silent->id, world.configuration.servers[i].id);
        assert_int_equal(silent->role, RAFTKV__V1__ROLE__ROLE_VOTER);
        assert_string_equal(silent->peer_address, world.configuration.servers[i].peer_address);
        assert_string_equal(silent->client_address, world.configuration.servers[i].client_address);
    }
    assert_non_null(strstr(caller.response->status->members[1]->error, "in time"));
    assert_non_null(strstr(caller.response->status->members[2]->error, "no link"));
    answer_status(0, NODE_B, 30, 30); /* too late */
    assert_int_equal(caller.answers, 1);
    caller_clear(&caller);
}

static void the_status_of_the_cluster_keeps_an_earlier_deadline(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = status_request(true);

    (void)state;
    request->timeout_ms = 300;
    ask(&caller, request);
    assert_int_equal(question(0)->request->timeout_ms, 300);
    pass(300);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    caller_clear(&caller);
}

static void an_error_or_the_status_of_someone_else_is_no_answer(void **state) {
    struct caller caller = {0};

    (void)state;
    ask(&caller, status_request(true));
    answer_status(0, NODE_C, 30, 30);
    answer_question_with_error(NODE_C, question(1)->forward_id, ERROR_UNAVAILABLE);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_STATUS);
    assert_false(caller.response->status->members[1]->answers);
    assert_non_null(strstr(caller.response->status->members[1]->error, "no sense"));
    assert_false(caller.response->status->members[2]->answers);
    assert_string_equal(caller.response->status->members[2]->error, "It failed there.");
    caller_clear(&caller);
}

static void a_status_that_was_asked_by_another_member_is_local(void **state) {
    (void)state;
    forward_to_us(NODE_B, 8, status_request(true));
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(answer(0)->forward_id, 8);
    assert_int_equal(answer(0)->response->status->self->id, NODE_A);
    assert_int_equal(answer(0)->response->status->n_members, 0);
}

static void only_so_many_may_ask_for_the_whole_cluster_at_once(void **state) {
    struct caller callers[65] = {0};

    (void)state;
    for (size_t i = 0; i < 65; i++)
        ask(&callers[i], status_request(true));
    assert_error(&callers[64], ERROR_BUSY);
    service_cancel(world.service, callers[0].call);
    caller_clear(&callers[64]);
    ask(&callers[64], status_request(true));
    assert_int_equal(callers[64].answers, 0);
    pass(2000);
    for (size_t i = 1; i < 65; i++) {
        assert_body(&callers[i], RAFTKV__V1__RESPONSE__BODY_STATUS);
        caller_clear(&callers[i]);
    }
}

/* ---- members ---- */

static void members_are_read_behind_a_barrier(void **state) {
    struct caller caller = {0};
    const Raftkv__V1__MembersResponse *members;

    (void)state;
    world.configuration.servers[1].role = MEMBER_STANDBY;
    world.configuration.servers[1].promoting = true;
    become_leader();
    ask(&caller, members_request(false));
    assert_int_equal(world.proposed[0]->type, ENTRY_BARRIER);
    apply_proposal(22, false);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_MEMBERS);
    assert_int_equal(world.jobs_submitted, 0);
    members = caller.response->members;
    assert_int_equal(members->n_members, 3);
    assert_int_equal(members->configuration_index, 9);
    assert_int_equal(members->cluster_id, 77);
    assert_true(members->members[0]->leader);
    assert_false(members->members[1]->leader);
    assert_int_equal(members->members[1]->role, RAFTKV__V1__ROLE__ROLE_NONVOTER);
    assert_true(members->members[1]->promoting);
    assert_string_equal(members->members[2]->name, "nodeC");
    assert_string_equal(members->members[2]->peer_address, "hostC:4712");
    assert_string_equal(members->members[2]->client_address, "hostC:4711");
    caller_clear(&caller);
}

static void stale_members_are_what_this_node_knows(void **state) {
    struct caller caller = {0};

    (void)state;
    ask(&caller, members_request(true));
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_MEMBERS);
    assert_int_equal(caller.response->members->n_members, 3);
    caller_clear(&caller);
}

/* ---- changes ---- */

static void finish_change(enum error_code code, uint64_t index, const char *leader) {
    struct change *change = TAKE(world.change);
    struct failure failure;

    if (code == ERROR_OK) {
        change->done(change, NULL, index, leader);
        return;
    }
    failure_set(&failure, code, "The change failed.");
    change->done(change, &failure, 0, NULL);
}

static void a_voter_is_added_with_what_was_asked(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, add_voter_request("nodeD", "hostD:4712"));
    assert_int_equal(world.change->kind, CHANGE_ADD_VOTER);
    assert_string_equal(world.change->name, "nodeD");
    assert_string_equal(world.change->peer_address, "hostD:4712");
    assert_int_equal(world.change->expected_index, 9);
    assert_int_equal(world.change->deadline, world.now + 20000);
    finish_change(ERROR_OK, 12, NULL);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
    assert_int_equal(caller.response->configuration->configuration_index, 12);
    caller_clear(&caller);
}

static void removals_and_demotions_name_their_member(void **state) {
    Raftkv__V1__RemoveServerRequest removal;
    Raftkv__V1__DemoteVoterRequest demotion;
    char name[] = "nodeC";
    struct caller caller = {0};

    (void)state;
    become_leader();
    raftkv__v1__remove_server_request__init(&removal);
    removal.name = name;
    removal.expected_configuration_index = 7;
    ask(&caller, new_request(RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER, &removal.base));
    assert_int_equal(world.change->kind, CHANGE_REMOVE);
    assert_string_equal(world.change->name, "nodeC");
    assert_int_equal(world.change->expected_index, 7);
    finish_change(ERROR_CONFIGURATION_CONFLICT, 0, NULL);
    assert_error(&caller, ERROR_CONFIGURATION_CONFLICT);
    caller_clear(&caller);

    raftkv__v1__demote_voter_request__init(&demotion);
    demotion.name = name;
    demotion.expected_configuration_index = 8;
    ask(&caller, new_request(RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER, &demotion.base));
    assert_int_equal(world.change->kind, CHANGE_DEMOTE);
    assert_string_equal(world.change->name, "nodeC");
    assert_int_equal(world.change->expected_index, 8);
    finish_change(ERROR_OK, 13, NULL);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
    caller_clear(&caller);
}

static void a_transfer_answers_with_the_new_leader(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, transfer_request(""));
    assert_int_equal(world.change->kind, CHANGE_TRANSFER);
    assert_string_equal(world.change->name, "");
    finish_change(ERROR_OK, 0, "nodeB");
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP);
    assert_string_equal(caller.response->transfer_leadership->leader, "nodeB");
    caller_clear(&caller);
}

static void a_leader_that_hands_over_first_sends_the_change_on(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, add_voter_request("nodeD", "hostD:4712"));
    follow(NODE_B);
    finish_change(ERROR_NOT_LEADER, 0, NULL);
    assert_int_equal(world.sent_count, 1);
    assert_string_equal(question(0)->request->add_voter->name, "nodeD");
    answer_question_with_error(NODE_B, question(0)->forward_id, ERROR_ALREADY_EXISTS);
    assert_error(&caller, ERROR_ALREADY_EXISTS);
    caller_clear(&caller);
}

static void a_forwarded_change_goes_back_to_its_origin_when_the_leader_hands_over(void **state) {
    (void)state;
    become_leader();
    forward_to_us(NODE_B, 8, add_voter_request("nodeD", "hostD:4712"));
    follow(NODE_C);
    finish_change(ERROR_NOT_LEADER, 0, NULL);
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(answer(0)->response->error->code, ERROR_NOT_LEADER);
}

static void a_change_outlives_its_deadline(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, add_voter_request("nodeD", "hostD:4712"));
    pass(20000);
    assert_true(assert_error(&caller, ERROR_TIMEOUT)->outcome_unknown);
    finish_change(ERROR_OK, 12, NULL);
    assert_int_equal(caller.answers, 1);
    caller_clear(&caller);
}

static void a_change_outlives_its_caller(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, add_voter_request("nodeD", "hostD:4712"));
    service_cancel(world.service, caller.call);
    finish_change(ERROR_OK, 12, NULL);
    assert_int_equal(caller.answers, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(status_is_local_and_needs_no_leader),
        TEST(a_node_in_no_configuration_has_no_role),
        TEST(a_node_that_its_configuration_does_not_name_shows_itself_beside_the_members),
        TEST(the_status_of_the_cluster_asks_every_other_member),
        TEST(a_member_that_does_not_answer_is_shown_as_silent_after_2_seconds),
        TEST(the_status_of_the_cluster_keeps_an_earlier_deadline),
        TEST(an_error_or_the_status_of_someone_else_is_no_answer),
        TEST(a_status_that_was_asked_by_another_member_is_local),
        TEST(only_so_many_may_ask_for_the_whole_cluster_at_once),
        TEST(members_are_read_behind_a_barrier),
        TEST(stale_members_are_what_this_node_knows),
        TEST(a_voter_is_added_with_what_was_asked),
        TEST(removals_and_demotions_name_their_member),
        TEST(a_transfer_answers_with_the_new_leader),
        TEST(a_leader_that_hands_over_first_sends_the_change_on),
        TEST(a_forwarded_change_goes_back_to_its_origin_when_the_leader_hands_over),
        TEST(a_change_outlives_its_deadline),
        TEST(a_change_outlives_its_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
