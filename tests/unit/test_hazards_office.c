/* The hazards of libraft that the guard defends against in elections, in transfers, and in what
 * followers answer to their leader; see test_hazards.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft_driver.h"

static void L2_a_leader_does_not_vote_in_the_term_that_it_leads(void **state) {
    struct configuration one;
    struct driver d;

    /* A sole voter that leads without having voted for itself (its start did not see to that). */
    driver_configuration(&one, 1);
    driver_start(&d, &(struct driver_log){
                         .configuration = &one, .terms = (raft_term[]){1}, .count = 1, .term = 3});
    assert_int_equal(d.raft.state, RAFT_LEADER);
    assert_int_equal(d.raft.voted_for, 0);

    assert_int_equal(driver_vote(&d, 2, 3, false, true), GUARD_DROP);
    assert_int_equal(d.raft.voted_for, 0);
    assert_int_equal(driver_vote(&d, 2, 4, false, true), GUARD_PASS);
    assert_int_equal(d.raft.voted_for, 2);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    driver_stop(&d);
    (void)state;
}

static void L2_a_sole_voter_takes_no_leadership_in_the_term_of_another(void **state) {
    struct configuration one, two;
    struct server standby = driver_server(2, MEMBER_STANDBY);
    struct driver d;

    driver_start_usual(&d);
    driver_configuration(&one, 1);
    two = one;
    configuration_add(&two, &standby);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 5, .count = 1,
                            .terms = {4}, .change = &two),
                     GUARD_PASS);

    assert_int_equal(driver_timeout_now(&d, 2, 4, 6, 4), GUARD_DROP);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L7_a_rejection_below_the_match_index_is_dropped(void **state) {
    struct driver d;
    struct raft before;
    raft_index match;

    driver_start_usual(&d);
    driver_elect(&d);
    driver_assert_leads(&d); /* server 2 is in pipeline, server 3 is probed */
    assert_int_equal(raft_match_index(&d.raft, 2, &match), 0);
    before = d.raft;

    /* Late, or from a server 2 that was wiped. */
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, match, match - 1), GUARD_DROP);
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, match + 1, 0), GUARD_DROP);
    driver_assert_unchanged(&d, &before);

    /* The same once it is being probed again. */
    assert_int_equal(driver_submit(&d, NULL), 0);
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, match + 1, match), GUARD_PASS);
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, match, match - 1), GUARD_DROP);
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, match, 0), GUARD_DROP);
    driver_timeout(&d, 150);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L7_a_rejection_above_the_match_index_makes_the_leader_probe(void **state) {
    struct driver d;
    const struct raft_message *sent;

    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_result(&d, 3, d.raft.current_term, 5, 2), GUARD_PASS);
    sent = driver_sent(&d, 3, RAFT_APPEND_ENTRIES);
    assert_non_null(sent);
    assert_int_equal(sent->append_entries.prev_log_index, 2);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L10_a_pre_vote_for_a_term_that_was_not_asked_for_closes_the_link(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_pre_vote(&d);
    assert_int_equal(driver_vote_result(&d, 2, 5, true, true), GUARD_CLOSE);
    assert_int_equal(d.raft.current_term, 3);
    assert_true(d.raft.candidate_state.in_pre_vote);
    assert_int_equal(driver_vote_result(&d, 2, 4, true, true), GUARD_PASS);
    assert_int_equal(d.raft.current_term, 4);
    driver_check(&d);
    driver_stop(&d);
    (void)state;
}

static void L11_a_vote_result_is_dropped_unless_candidate(void **state) {
    struct driver d;
    struct raft before;

    driver_start_usual(&d);
    driver_assert_follows(&d, 2, 4); /* so that there is an address where in_pre_vote would be */
    before = d.raft;
    for (raft_term term = 3; term <= 9; term++) {
        assert_int_equal(driver_vote_result(&d, 2, term, true, true), GUARD_DROP);
        assert_int_equal(driver_vote_result(&d, 2, term, false, true), GUARD_DROP);
    }
    driver_assert_unchanged(&d, &before);
    driver_assert_follows(&d, 2, 4);
    driver_elect(&d);
    before = d.raft;
    for (raft_term term = 3; term <= 9; term++) {
        assert_int_equal(driver_vote_result(&d, 3, term, true, true), GUARD_DROP);
        assert_int_equal(driver_vote_result(&d, 3, term, false, true), GUARD_DROP);
    }
    driver_assert_unchanged(&d, &before);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L11_a_vote_of_a_server_that_is_no_voter_is_dropped(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_candidate(&d);
    assert_int_equal(driver_vote_result(&d, 7, d.raft.current_term, false, true), GUARD_DROP);
    assert_int_equal(d.raft.state, RAFT_CANDIDATE);
    driver_stop(&d);
    (void)state;
}

static void L29_entries_that_were_never_sent_can_t_be_confirmed(void **state) {
    struct driver d;
    raft_index match;

    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_result(&d, 2, d.raft.current_term, 0, driver_last_index(&d) + 1),
                     GUARD_CLOSE);
    assert_int_equal(raft_match_index(&d.raft, 2, &match), 0);
    assert_int_equal(match, 0);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L30_a_grant_of_an_earlier_pre_vote_does_not_count(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_candidate(&d); /* of term 4 */
    assert_int_equal(APPEND(3, .term = 4, .prev = 5, .prev_term = 3), GUARD_PASS);
    driver_pre_vote(&d); /* for term 5 */
    assert_int_equal(driver_vote_result(&d, 2, 4, true, true), GUARD_DROP);
    assert_true(d.raft.candidate_state.in_pre_vote);
    /* Nor does a vote of the lost election, or a pre-vote in an election. */
    assert_int_equal(driver_vote_result(&d, 2, 4, false, true), GUARD_DROP);
    assert_int_equal(driver_vote_result(&d, 2, 5, true, true), GUARD_PASS);
    assert_int_equal(driver_vote_result(&d, 3, 5, true, true), GUARD_DROP);
    assert_int_equal(d.raft.state, RAFT_CANDIDATE);
    assert_int_equal(driver_vote_result(&d, 3, 5, false, true), GUARD_PASS);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L37_who_refuses_a_pre_vote_may_say_a_higher_term(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_pre_vote(&d);
    assert_int_equal(driver_vote_result(&d, 2, 40, true, false), GUARD_PASS);
    assert_int_equal(d.raft.current_term, 40);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    driver_stop(&d);
    (void)state;
}

static void L31_a_removed_server_does_not_make_the_leader_step_down(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_result(&d, 7, 100, 0, 5), GUARD_DROP);
    driver_assert_leads(&d);
    /* A member's higher term does. */
    assert_int_equal(driver_result(&d, 3, 100, 0, 5), GUARD_PASS);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    assert_int_equal(d.raft.current_term, 100);
    driver_stop(&d);
    (void)state;
}

static void L32_only_the_leader_of_the_term_hands_leadership_over(void **state) {
    struct driver d;

    driver_start_usual(&d);
    driver_assert_follows(&d, 2, 4);
    assert_int_equal(driver_vote(&d, 3, 5, false, true), GUARD_PASS);
    assert_int_equal(d.raft.current_term, 5);
    /* libraft still has server 2 as its leader. */
    assert_int_equal(driver_timeout_now(&d, 2, 5, 6, 4), GUARD_DROP);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    assert_int_equal(d.raft.current_term, 5);
    driver_assert_follows(&d, 3, 5);
    assert_int_equal(driver_timeout_now(&d, 3, 5, 7, 5), GUARD_PASS);
    assert_int_equal(d.raft.state, RAFT_CANDIDATE);
    assert_int_equal(d.raft.current_term, 6);
    driver_check(&d);
    driver_stop(&d);
    (void)state;
}

static void L35_a_leader_of_an_earlier_term_is_refused_at_the_log_s_beginning_too(void **state) {
    const struct raft_append_entries_result *answer;
    const struct raft_message *sent;
    struct driver d;

    /* It is late: its sender was elected in term 3 meanwhile, and would take "nothing rejected, all
     * stored up to 5" for a match. */
    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 2), GUARD_PASS);
    sent = driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT);
    assert_non_null(sent);
    answer = &sent->append_entries_result;
    assert_int_equal(answer->term, 3);
    assert_int_not_equal(answer->rejected, 0);
    driver_stop(&d);

    /* A leader that gets it probes from the beginning, as before. */
    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_result(&d, 3, 4, 1, 0), GUARD_PASS);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(L2_a_leader_does_not_vote_in_the_term_that_it_leads),
        cmocka_unit_test(L2_a_sole_voter_takes_no_leadership_in_the_term_of_another),
        cmocka_unit_test(L7_a_rejection_below_the_match_index_is_dropped),
        cmocka_unit_test(L7_a_rejection_above_the_match_index_makes_the_leader_probe),
        cmocka_unit_test(L10_a_pre_vote_for_a_term_that_was_not_asked_for_closes_the_link),
        cmocka_unit_test(L11_a_vote_result_is_dropped_unless_candidate),
        cmocka_unit_test(L11_a_vote_of_a_server_that_is_no_voter_is_dropped),
        cmocka_unit_test(L29_entries_that_were_never_sent_can_t_be_confirmed),
        cmocka_unit_test(L37_who_refuses_a_pre_vote_may_say_a_higher_term),
        cmocka_unit_test(L30_a_grant_of_an_earlier_pre_vote_does_not_count),
        cmocka_unit_test(L31_a_removed_server_does_not_make_the_leader_step_down),
        cmocka_unit_test(L32_only_the_leader_of_the_term_hands_leadership_over),
        cmocka_unit_test(L35_a_leader_of_an_earlier_term_is_refused_at_the_log_s_beginning_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
