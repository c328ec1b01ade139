/* Where a request is carried out: here, at the leader, or later. */
#include <string.h>

#include "test_service_world.h"

static void a_follower_sends_a_write_to_the_leader_and_passes_on_the_answer(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = put_request("key", "value");

    (void)state;
    follow(NODE_B);
    request->timeout_ms = 5000;
    ask(&caller, request);
    assert_non_null(caller.call);
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(world.sent[0].to, NODE_B);
    assert_false(world.sent[0].urgent);
    assert_int_equal(question(0)->request->timeout_ms, 5000);
    assert_int_equal(question(0)->request->body_case, RAFTKV__V1__REQUEST__BODY_PUT);
    assert_memory_equal(question(0)->request->put->value.data, "value", 5);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    assert_int_equal(caller.response->id, 42);
    assert_int_equal(caller.response->put->revision, 31);
    assert_int_equal(world.proposed_count, 0);
    caller_clear(&caller);
}

static void a_forwarded_request_carries_what_is_left_of_its_time(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = put_request("key", "value");

    (void)state;
    request->timeout_ms = 5000;
    ask(&caller, request);
    pass(1200);
    follow(NODE_B);
    assert_int_equal(question(0)->request->timeout_ms, 3800);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    caller_clear(&caller);
}

static void an_error_of_the_leader_is_passed_on(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    answer_question_with_error(NODE_B, question(0)->forward_id, ERROR_BUSY);
    assert_error(&caller, ERROR_BUSY);
    assert_int_equal(world.sent_count, 1);
    caller_clear(&caller);
}

static void a_request_waits_until_there_is_a_leader(void **state) {
    struct caller caller = {0};

    (void)state;
    ask(&caller, put_request("key", "value"));
    pass(1000);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(world.sent_count + world.proposed_count, 0);
    become_leader();
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void without_a_leader_a_request_ends_at_its_deadline_and_nothing_happened(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = put_request("key", "value");

    (void)state;
    request->timeout_ms = 700;
    ask(&caller, request);
    pass(699);
    assert_int_equal(caller.answers, 0);
    pass(1);
    assert_false(assert_error(&caller, ERROR_NO_LEADER)->outcome_unknown);
    caller_clear(&caller);
}

static void the_default_deadline_is_20_seconds(void **state) {
    struct caller caller = {0};

    (void)state;
    ask(&caller, put_request("key", "value"));
    pass(19999);
    assert_int_equal(caller.answers, 0);
    pass(1);
    assert_error(&caller, ERROR_NO_LEADER);
    caller_clear(&caller);
}

static void a_leader_that_may_not_serve_yet_lets_requests_wait(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    world.view.serving = false;
    service_member_changed(world.service);
    ask(&caller, put_request("key", "value"));
    assert_int_equal(world.proposed_count, 0);
    world.view.serving = true;
    service_member_changed(world.service);
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    caller_clear(&caller);
}

/* It has been elected, but has no room for the entry after which it serves. */
static void a_leader_that_refuses_growth_says_so_before_it_serves(void **state) {
    struct caller early = {0}, putting = {0}, deleting = {0};

    (void)state;
    become_leader();
    world.view.serving = false;
    service_member_changed(world.service);
    ask(&early, put_request("key", "value"));
    assert_int_equal(world.proposed_count, 0);
    world.view.growth_refused = true;
    pass(50);
    ask(&putting, put_request("key", "value"));
    ask(&deleting, delete_request("key"));
    forward_to_us(NODE_B, 1, put_request("key", "value"));
    assert_int_equal(world.proposed_count, 3);
    for (size_t i = 0; i < 3; i++)
        fail_proposal(ERROR_NO_SPACE, false);
    assert_error(&early, ERROR_NO_SPACE);
    assert_error(&putting, ERROR_NO_SPACE);
    assert_int_equal(answer(0)->response->error->code, ERROR_NO_SPACE);
    assert_int_equal(deleting.answers, 0);
    world.view.serving = true;
    service_member_changed(world.service);
    apply_proposal(22, false);
    assert_body(&deleting, RAFTKV__V1__RESPONSE__BODY_DELETE);
    caller_clear(&early);
    caller_clear(&putting);
    caller_clear(&deleting);
}

static void a_leader_out_of_reach_is_waited_for(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    world.unlinked[NODE_B] = true;
    ask(&caller, put_request("key", "value"));
    assert_int_equal(world.sent_count, 0);
    world.unlinked[NODE_B] = false;
    assert_true(service_next_deadline(world.service) <= world.now + 50);
    pass(50);
    assert_int_equal(world.sent_count, 1);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void a_full_link_to_the_leader_is_busy(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    world.backlog = LINK_QUEUE_SIZE_MAX / 2;
    ask(&caller, put_request("key", "value"));
    assert_null(caller.call);
    assert_error(&caller, ERROR_BUSY);
    assert_int_equal(world.sent_count, 0);
    caller_clear(&caller);
}

static void a_request_that_was_forwarded_is_carried_out_by_the_leader(void **state) {
    (void)state;
    become_leader();
    forward_to_us(NODE_B, 1234, put_request("key", "value"));
    apply_proposal(22, true);
    assert_int_equal(world.sent[0].to, NODE_B);
    assert_false(world.sent[0].urgent);
    assert_int_equal(answer(0)->forward_id, 1234);
    assert_int_equal(answer(0)->response->put->revision, 22);
}

static void a_request_that_was_forwarded_is_never_forwarded_again(void **state) {
    (void)state;
    follow(NODE_C);
    forward_to_us(NODE_B, 1, put_request("key", "value"));
    forward_to_us(NODE_B, 2, get_request("key", false));
    assert_int_equal(world.sent_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world.sent[i].to, NODE_B);
        assert_int_equal(answer(i)->response->error->code, ERROR_NOT_LEADER);
        assert_false(answer(i)->response->error->outcome_unknown);
        assert_string_equal(answer(i)->response->error->leader_name, "nodeC");
        assert_string_equal(answer(i)->response->error->leader_address, "hostC:4711");
    }
}

static void a_request_that_was_forwarded_waits_for_a_new_leader_to_serve(void **state) {
    (void)state;
    become_leader();
    world.view.serving = false;
    service_member_changed(world.service);
    forward_to_us(NODE_B, 1, put_request("key", "value"));
    assert_int_equal(world.sent_count, 0);
    world.view.serving = true;
    service_member_changed(world.service);
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    assert_int_equal(answer(0)->response->put->revision, 22);
}

static void a_request_that_was_forwarded_is_refused_when_the_new_leader_steps_down(void **state) {
    (void)state;
    become_leader();
    world.view.serving = false;
    service_member_changed(world.service);
    forward_to_us(NODE_B, 1, put_request("key", "value"));
    follow(0);
    assert_int_equal(answer(0)->response->error->code, ERROR_NOT_LEADER);
}

static void a_forwarded_request_without_a_body_is_unsupported(void **state) {
    (void)state;
    become_leader();
    forward_to_us(NODE_B, 7, NULL);
    assert_int_equal(answer(0)->forward_id, 7);
    assert_int_equal(answer(0)->response->error->code, ERROR_UNSUPPORTED);
}

static void not_leader_from_there_sends_the_request_to_the_new_leader(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    world.view.leader = NODE_C;
    answer_question_with_error(NODE_B, question(0)->forward_id, ERROR_NOT_LEADER);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.sent[1].to, NODE_C);
    answer_question_with_put(NODE_C, question(1)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void whoever_refused_is_asked_again_after_a_while_until_the_deadline(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    answer_question_with_error(NODE_B, question(0)->forward_id, ERROR_NOT_LEADER);
    assert_int_equal(world.sent_count, 1);
    pass(50);
    assert_int_equal(world.sent_count, 2);
    answer_question_with_error(NODE_B, question(1)->forward_id, ERROR_NO_LEADER);
    follow(0);
    pass(20000);
    assert_false(assert_error(&caller, ERROR_NO_LEADER)->outcome_unknown);
    caller_clear(&caller);
}

static void a_read_is_sent_again_when_the_leader_changes(void **state) {
    struct caller caller = {0};
    uint64_t old;

    (void)state;
    follow(NODE_B);
    ask(&caller, get_request("key", false));
    old = question(0)->forward_id;
    follow(NODE_C);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.sent[1].to, NODE_C);
    answer_question_with_error(NODE_B, old, ERROR_INTERNAL); /* too late */
    assert_int_equal(caller.answers, 0);
    answer_question_with_error(NODE_C, question(1)->forward_id, ERROR_NOT_FOUND);
    assert_error(&caller, ERROR_NOT_FOUND);
    caller_clear(&caller);
}

static void a_read_is_carried_out_here_when_this_node_becomes_leader(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, get_request("key", false));
    become_leader();
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    run_jobs();
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_GET);
    caller_clear(&caller);
}

static void a_read_is_sent_again_when_the_link_breaks(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, list_request("k"));
    world.unlinked[NODE_B] = true;
    pass(50);
    world.unlinked[NODE_B] = false;
    pass(50);
    assert_int_equal(world.sent_count, 2);
    answer_question_with_error(NODE_B, question(1)->forward_id, ERROR_INTERNAL);
    assert_error(&caller, ERROR_INTERNAL);
    caller_clear(&caller);
}

static void a_write_is_never_sent_twice(void **state) {
    Raftkv__V1__Request *requests[] = {put_request("key", "value"), delete_request("key"),
                                       add_voter_request("nodeD", "hostD:4712"),
                                       transfer_request("")};
    struct caller callers[4] = {0};

    (void)state;
    follow(NODE_B);
    for (size_t i = 0; i < 4; i++)
        ask(&callers[i], requests[i]);
    assert_int_equal(world.sent_count, 4);
    follow(NODE_C);
    become_leader();
    pass(19999);
    assert_int_equal(world.sent_count, 4);
    assert_int_equal(world.proposed_count + world.changes, 0);
    pass(1);
    for (size_t i = 0; i < 4; i++) {
        assert_true(assert_error(&callers[i], ERROR_TIMEOUT)->outcome_unknown);
        caller_clear(&callers[i]);
    }
}

static void a_write_ends_unknown_when_the_link_breaks(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    pass(1000);
    world.unlinked[NODE_B] = true;
    pass(50);
    assert_true(assert_error(&caller, ERROR_UNAVAILABLE)->outcome_unknown);
    assert_int_equal(world.sent_count, 1);
    caller_clear(&caller);
}

static void what_a_leader_that_stops_has_not_received_goes_to_the_next_one(void **state) {
    struct caller taken = {0}, lost = {0}, read = {0};

    (void)state;
    follow(NODE_B);
    ask(&taken, put_request("key", "taken"));
    ask(&lost, put_request("key", "lost"));
    ask(&read, get_request("key", false));
    service_member_leaves(world.service, NODE_B, question(0)->forward_id);
    assert_int_equal(taken.answers + lost.answers + read.answers, 0);
    pass(1000);
    assert_int_equal(world.sent_count, 3); /* nothing more, although it is still the leader */
    follow(NODE_C);
    pass(50);
    assert_int_equal(world.sent_count, 5);
    for (size_t i = 3; i < 5; i++) {
        assert_int_equal(world.sent[i].to, NODE_C);
        if (question(i)->request->body_case == RAFTKV__V1__REQUEST__BODY_PUT)
            assert_memory_equal(question(i)->request->put->value.data, "lost", 4);
    }
    /* The answer to the first one may have been dropped by the link. */
    world.unlinked[NODE_B] = true;
    pass(50);
    assert_true(assert_error(&taken, ERROR_UNAVAILABLE)->outcome_unknown);
    pass(20000);
    caller_clear(&taken);
    caller_clear(&lost);
    caller_clear(&read);
}

static void a_leader_that_stops_and_has_received_nothing_has_done_nothing(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    service_member_leaves(world.service, NODE_C, 0); /* another one */
    service_member_leaves(world.service, NODE_B, 0);
    service_member_leaves(world.service, NODE_B, 0);
    become_leader();
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void a_leader_that_is_back_is_asked_again(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    service_member_leaves(world.service, NODE_B, 0);
    ask(&caller, put_request("key", "value"));
    assert_int_equal(world.sent_count, 0);
    service_member_begins(world.service, NODE_B);
    pass(50);
    assert_int_equal(world.sent_count, 1);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

/* It may be back before anybody has noticed that the link was broken. */
static void what_a_former_run_of_the_leader_has_not_answered_is_unknown(void **state) {
    struct caller write = {0}, read = {0};

    (void)state;
    follow(NODE_B);
    ask(&write, put_request("key", "value"));
    ask(&read, get_request("key", false));
    service_member_begins(world.service, NODE_C); /* another one */
    assert_int_equal(write.answers, 0);
    service_member_begins(world.service, NODE_B);
    assert_true(assert_error(&write, ERROR_UNAVAILABLE)->outcome_unknown);
    assert_int_equal(read.answers, 0);
    pass(50);
    assert_int_equal(world.sent_count, 3);
    assert_int_equal(question(2)->request->body_case, RAFTKV__V1__REQUEST__BODY_GET);
    pass(20000);
    caller_clear(&write);
    caller_clear(&read);
}

static void an_old_leader_may_still_answer_a_write(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    follow(NODE_C);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void answers_from_the_wrong_member_or_to_no_question_are_ignored(void **state) {
    struct caller caller = {0};
    uint64_t id;

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    id = question(0)->forward_id;
    answer_question_with_put(NODE_C, id, 1);
    answer_question_with_put(NODE_B, id + (1 << 20), 2); /* the same place, another time */
    answer_question_with_put(NODE_B, id + 1, 3);
    answer_question_with_put(NODE_B, 0, 4);
    answer_question_with_put(NODE_B, UINT64_MAX, 5);
    assert_int_equal(caller.answers, 0);
    answer_question_with_put(NODE_B, id, 6);
    answer_question_with_put(NODE_B, id, 7); /* once is enough */
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    assert_int_equal(caller.response->put->revision, 6);
    caller_clear(&caller);
}

static void an_answer_of_another_kind_is_not_believed(void **state) {
    Raftkv__V1__Response empty = RAFTKV__V1__RESPONSE__INIT;
    struct caller write = {0}, read = {0};

    (void)state;
    follow(NODE_B);
    ask(&write, put_request("key", "value"));
    ask(&read, get_request("key", false));
    answer_question(NODE_B, question(0)->forward_id, &empty);
    assert_true(assert_error(&write, ERROR_INTERNAL)->outcome_unknown);
    answer_question_with_put(NODE_B, question(1)->forward_id, 3);
    assert_false(assert_error(&read, ERROR_INTERNAL)->outcome_unknown);
    caller_clear(&write);
    caller_clear(&read);
}

static void a_missing_answer_is_not_believed(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, delete_request("key"));
    answer_question(NODE_B, question(0)->forward_id, NULL);
    assert_true(assert_error(&caller, ERROR_INTERNAL)->outcome_unknown);
    caller_clear(&caller);
}

static void an_answer_to_a_cancelled_call_is_ignored(void **state) {
    struct caller caller = {0};

    (void)state;
    follow(NODE_B);
    ask(&caller, put_request("key", "value"));
    service_cancel(world.service, caller.call);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_int_equal(caller.answers, 0);
}

static void many_questions_each_get_their_own_answer(void **state) {
    struct caller callers[200] = {0};

    (void)state;
    follow(NODE_B);
    for (size_t i = 0; i < 200; i++)
        ask(&callers[i], put_request("key", "value"));
    for (size_t i = 200; i-- > 0;)
        answer_question_with_put(NODE_B, question(i)->forward_id, i);
    for (size_t i = 0; i < 200; i++) {
        assert_body(&callers[i], RAFTKV__V1__RESPONSE__BODY_PUT);
        assert_int_equal(callers[i].response->put->revision, i);
        caller_clear(&callers[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_follower_sends_a_write_to_the_leader_and_passes_on_the_answer),
        TEST(a_forwarded_request_carries_what_is_left_of_its_time),
        TEST(an_error_of_the_leader_is_passed_on),
        TEST(a_request_waits_until_there_is_a_leader),
        TEST(without_a_leader_a_request_ends_at_its_deadline_and_nothing_happened),
        TEST(the_default_deadline_is_20_seconds),
        TEST(a_leader_that_may_not_serve_yet_lets_requests_wait),
        TEST(a_leader_that_refuses_growth_says_so_before_it_serves),
        TEST(a_leader_out_of_reach_is_waited_for),
        TEST(a_full_link_to_the_leader_is_busy),
        TEST(a_request_that_was_forwarded_is_carried_out_by_the_leader),
        TEST(a_request_that_was_forwarded_is_never_forwarded_again),
        TEST(a_request_that_was_forwarded_waits_for_a_new_leader_to_serve),
        TEST(a_request_that_was_forwarded_is_refused_when_the_new_leader_steps_down),
        TEST(a_forwarded_request_without_a_body_is_unsupported),
        TEST(not_leader_from_there_sends_the_request_to_the_new_leader),
        TEST(whoever_refused_is_asked_again_after_a_while_until_the_deadline),
        TEST(a_read_is_sent_again_when_the_leader_changes),
        TEST(a_read_is_carried_out_here_when_this_node_becomes_leader),
        TEST(a_read_is_sent_again_when_the_link_breaks),
        TEST(a_write_is_never_sent_twice),
        TEST(a_write_ends_unknown_when_the_link_breaks),
        TEST(what_a_leader_that_stops_has_not_received_goes_to_the_next_one),
        TEST(a_leader_that_stops_and_has_received_nothing_has_done_nothing),
        TEST(a_leader_that_is_back_is_asked_again),
        TEST(what_a_former_run_of_the_leader_has_not_answered_is_unknown),
        TEST(an_old_leader_may_still_answer_a_write),
        TEST(answers_from_the_wrong_member_or_to_no_question_are_ignored),
        TEST(an_answer_of_another_kind_is_not_believed),
        TEST(a_missing_answer_is_not_believed),
        TEST(an_answer_to_a_cancelled_call_is_ignored),
        TEST(many_questions_each_get_their_own_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
