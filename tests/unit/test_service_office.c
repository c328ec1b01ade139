/* What only the leader can say of its office: barriers, and that it leads. */
#include "test_service_world.h"

#include <string.h>

/* Ends the n-th question that was sent on to the leader, B or C, so that its caller is answered. */
static void end_question(uint64_t leader, size_t n) {
    answer_question_with_error(leader, question(n)->forward_id, ERROR_BUSY);
}

static void a_barrier_is_answered_with_its_index_when_it_is_applied(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, barrier_request());
    assert_int_equal(world.proposed_count, 1);
    assert_int_equal(world.proposed[0]->type, ENTRY_BARRIER);
    assert_int_equal(caller.answers, 0);
    world.proposed[0]->index = 22;
    finish_proposal(NULL, NULL);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_BARRIER);
    assert_int_equal(caller.response->barrier->index, 22);
    caller_clear(&caller);
}

static void each_barrier_is_an_entry_of_its_own(void **state) {
    struct caller callers[2] = {{0}};

    (void)state;
    become_leader();
    for (size_t i = 0; i < 2; i++)
        ask(&callers[i], barrier_request());
    assert_int_equal(world.proposed_count, 2);
    for (size_t i = 0; i < 2; i++) {
        finish_proposal(NULL, NULL);
        caller_clear(&callers[i]);
    }
}

static void a_barrier_that_lost_its_leader_goes_to_the_next_one(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, barrier_request());
    follow(NODE_B);
    fail_proposal(ERROR_NOT_LEADER, false);
    assert_int_equal(question(0)->request->body_case, RAFTKV__V1__REQUEST__BODY_BARRIER);
    end_question(NODE_B, 0);
    caller_clear(&caller);
}

static void a_barrier_has_no_unknown_outcome(void **state) {
    struct caller caller = {0}, late = {0};

    (void)state;
    become_leader();
    ask(&caller, barrier_request());
    fail_proposal(ERROR_UNAVAILABLE, true);
    assert_false(assert_error(&caller, ERROR_UNAVAILABLE)->outcome_unknown);
    ask(&late, barrier_request());
    pass(20000);
    assert_false(assert_error(&late, ERROR_TIMEOUT)->outcome_unknown);
    finish_proposal(NULL, NULL);
    assert_int_equal(late.answers, 1);
    caller_clear(&caller);
    caller_clear(&late);
}

static void a_leader_is_verified_when_a_majority_has_answered(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, verify_leader_request());
    assert_int_equal(caller.answers, 0);
    finish_proposal(NULL, NULL);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER);
    assert_string_equal(caller.response->verify_leader->leader, "nodeA");
    assert_int_equal(caller.response->verify_leader->term, world.view.term);
    caller_clear(&caller);
}

static void a_round_that_the_next_leader_finished_verifies_nobody(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, verify_leader_request());
    follow(NODE_B);
    finish_proposal(NULL, NULL);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(question(0)->request->body_case, RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER);
    end_question(NODE_B, 0);
    caller_clear(&caller);
}

static void followers_send_both_on(void **state) {
    struct caller barrier = {0}, verify = {0};

    (void)state;
    follow(NODE_C);
    ask(&barrier, barrier_request());
    ask(&verify, verify_leader_request());
    assert_int_equal(world.proposed_count, 0);
    assert_int_equal(question(0)->request->body_case, RAFTKV__V1__REQUEST__BODY_BARRIER);
    assert_int_equal(question(1)->request->body_case, RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER);
    end_question(NODE_C, 0);
    end_question(NODE_C, 1);
    caller_clear(&barrier);
    caller_clear(&verify);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_barrier_is_answered_with_its_index_when_it_is_applied),
        TEST(each_barrier_is_an_entry_of_its_own),
        TEST(a_barrier_that_lost_its_leader_goes_to_the_next_one),
        TEST(a_barrier_has_no_unknown_outcome),
        TEST(a_leader_is_verified_when_a_majority_has_answered),
        TEST(a_round_that_the_next_leader_finished_verifies_nobody),
        TEST(followers_send_both_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
