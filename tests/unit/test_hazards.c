/* The hazards of libraft that the guard defends against in what a leader sends, each with a real
 * struct raft: that the verdict is right, and that raft is sound and goes on working after it.
 * Hazards that the codec and the configuration defend against are tested with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft_driver.h"

static void L8_an_append_below_the_own_snapshot_is_trimmed(void **state) {
    struct driver d;
    const struct raft_message *answer;

    driver_start_compacted(&d);
    assert_int_equal(
        APPEND(2, .term = 3, .prev = 2, .prev_term = 1, .count = 4, .terms = {2, 2, 3, 3}),
        GUARD_PASS);

    assert_int_equal(driver_last_index(&d), 6);
    assert_int_equal(driver_term_of(&d, 5), 3);
    answer = driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT);
    assert_non_null(answer);
    assert_int_equal(answer->append_entries_result.last_log_index, 6);
    driver_assert_follows(&d, 2, 3);
    driver_stop(&d);
    (void)state;
}

static void L8_what_the_own_snapshot_holds_already_is_confirmed_up_to_it(void **state) {
    struct configuration three;
    struct driver d;
    const struct raft_message *answer;
    const struct driver_append all_below[] = {
        {.term = 3, .prev = 0, .count = 1, .terms = {1}, .change = &three},
        {.term = 3, .prev = 0, .commit = 1},
        {.term = 3, .prev = 2, .prev_term = 1, .count = 1, .terms = {2}},
        {.term = 3, .prev = 3, .prev_term = 2, .count = 1, .terms = {2}},
    };

    driver_configuration(&three, 3);
    driver_start_compacted(&d);
    for (size_t i = 0; i < sizeof(all_below) / sizeof(*all_below); i++) {
        assert_int_equal(driver_append(&d, 2, &all_below[i]), GUARD_PASS);
        assert_int_equal(driver_last_index(&d), 5);
        assert_int_equal(d.raft.trail.offset, 4);
        answer = driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT);
        assert_non_null(answer);
        assert_int_equal(answer->append_entries_result.rejected, 0);
        assert_int_equal(answer->append_entries_result.last_log_index, 4);
    }
    driver_assert_follows(&d, 2, 3);
    driver_stop(&d);
    (void)state;
}

static void L8_an_append_that_contradicts_the_own_snapshot_closes_the_link(void **state) {
    struct driver d;
    struct raft before;

    driver_start_compacted(&d);
    before = d.raft;
    assert_int_equal(
        APPEND(2, .term = 3, .prev = 2, .prev_term = 1, .count = 3, .terms = {2, 3, 3}),
        GUARD_CLOSE);
    driver_assert_unchanged(&d, &before);
    driver_assert_follows(&d, 2, 3);
    driver_stop(&d);
    (void)state;
}

static void L10_a_message_without_another_member_as_sender_closes_the_link(void **state) {
    struct driver d;
    struct raft before;
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE,
        .server_address = "peer",
        .request_vote = {.version = 2, .term = 9},
    };

    driver_start_usual(&d);
    before = d.raft;
    message.server_id = 0;
    assert_int_equal(driver_receive_message(&d, &message), GUARD_CLOSE);
    message.server_id = message.request_vote.candidate_id = SELF;
    assert_int_equal(driver_receive_message(&d, &message), GUARD_CLOSE);
    message.server_id = 2; /* in the name of another */
    assert_int_equal(driver_receive_message(&d, &message), GUARD_CLOSE);
    message.request_vote.candidate_id = 2;
    message.server_address = NULL;
    assert_int_equal(driver_receive_message(&d, &message), GUARD_CLOSE);
    driver_assert_unchanged(&d, &before);
    driver_stop(&d);
    (void)state;
}

static void L10_a_term_has_one_leader(void **state) {
    struct driver d;
    struct raft before;

    driver_start_usual(&d);
    driver_assert_follows(&d, 2, 4);
    before = d.raft;
    assert_int_equal(APPEND(3, .term = 4, .prev = 5, .prev_term = 3), GUARD_CLOSE);
    driver_assert_unchanged(&d, &before);
    driver_assert_follows(&d, 3, 5);
    driver_stop(&d);

    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(APPEND(3, .term = d.raft.current_term, .prev = 5, .prev_term = 3),
                     GUARD_CLOSE);
    driver_assert_leads(&d);
    /* It stays so when the leader has stepped down. */
    driver_timeout(&d, 1500);
    driver_timeout(&d, 1500);
    assert_int_equal(d.raft.state, RAFT_FOLLOWER);
    assert_int_equal(APPEND(3, .term = d.raft.current_term, .prev = 5, .prev_term = 3),
                     GUARD_CLOSE);
    driver_stop(&d);
    (void)state;
}

static void L12_nothing_is_committed_while_a_snapshot_is_installed(void **state) {
    struct driver d;
    struct configuration three;
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = 2,
        .server_address = "peer",
        .install_snapshot = {.term = 4, .last_index = 20, .last_term = 4, .conf_index = 1},
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};

    driver_start_usual(&d);
    driver_configuration(&three, 3);
    configuration_to_raft(&three, &message.install_snapshot.conf);
    assert_int_equal(driver_step(&d, &event), 0);
    assert_true(d.raft.snapshot.installing);

    /* Heartbeats go on, and must be answered; the log behind them is not there yet. */
    assert_int_equal(APPEND(2, .term = 4, .prev = 20, .prev_term = 4, .commit = 20), GUARD_PASS);
    assert_non_null(driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT));
    assert_int_equal(d.raft.commit_index, 1);
    raft_configuration_close(&message.install_snapshot.conf);
    driver_stop(&d);
    (void)state;
}

static void L13_L15_a_snapshot_message_closes_the_link(void **state) {
    struct driver d;
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = 2,
        .server_address = "peer",
        .install_snapshot = {.term = 4, .last_index = 20, .last_term = 4, .conf_index = 1},
    };

    driver_start_usual(&d);
    assert_int_equal(driver_receive_message(&d, &message), GUARD_CLOSE);
    assert_false(d.raft.snapshot.installing);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L24_a_late_append_does_not_move_the_commit_index_back(void **state) {
    struct driver d;

    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 4), GUARD_PASS);
    assert_int_equal(d.raft.commit_index, 4);
    assert_int_equal(
        APPEND(2, .term = 4, .prev = 2, .prev_term = 1, .commit = 9, .count = 1, .terms = {2}),
        GUARD_PASS);
    assert_int_equal(d.raft.commit_index, 4);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 9), GUARD_PASS);
    assert_int_equal(d.raft.commit_index, 5);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L25_a_second_change_waits_until_the_first_is_applied(void **state) {
    struct configuration four, five, three;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    struct driver_append second = {.term = 4,
                                   .prev = 6,
                                   .prev_term = 4,
                                   .commit = 6,
                                   .count = 1,
                                   .terms = {4},
                                   .change = &five};

    driver_configuration(&three, 3);
    four = three;
    configuration_add(&four, &server);
    five = four;
    server = driver_server(5, MEMBER_STANDBY);
    configuration_add(&five, &server);

    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 5, .count = 1,
                            .terms = {4}, .change = &four),
                     GUARD_PASS);
    assert_int_equal(d.raft.configuration_uncommitted_index, 6);

    /* It comes while 6 is known to be committed, but not applied yet: a heartbeat is left. */
    assert_int_equal(driver_append(&d, 2, &second), GUARD_PASS);
    assert_int_equal(driver_last_index(&d), 6);
    assert_int_equal(d.raft.commit_index, 6);
    assert_int_equal(d.raft.configuration_uncommitted_index, 6);
    driver_confirm(&d);
    assert_int_equal(d.raft.configuration_committed_index, 6);
    assert_int_equal(driver_append(&d, 2, &second), GUARD_PASS);
    assert_int_equal(d.raft.configuration_uncommitted_index, 7);
    assert_int_equal(d.raft.configuration.n, 5);

    /* A new leader does not have it: the first one is in force, not the one before it. */
    assert_int_equal(
        APPEND(3, .term = 5, .prev = 6, .prev_term = 4, .commit = 6, .count = 1, .terms = {5}),
        GUARD_PASS);
    assert_int_equal(d.raft.configuration.n, 4);
    assert_int_equal(d.raft.configuration_uncommitted_index, 0);
    driver_assert_follows(&d, 3, 5);
    driver_stop(&d);
    (void)state;
}

static void L25_a_change_that_is_committed_is_settled_before_it_is_applied(void **state) {
    struct configuration four, five;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    struct raft_event event;

    driver_configuration(&four, 3);
    configuration_add(&four, &server);
    five = four;
    server = driver_server(5, MEMBER_STANDBY);
    configuration_add(&five, &server);
    driver_start_usual(&d);
    assert_false(guard_settles_change(&d.raft, &event));
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 5, .count = 1,
                            .terms = {4}, .change = &four),
                     GUARD_PASS);
    assert_false(guard_settles_change(&d.raft, &event));
    assert_int_equal(APPEND(2, .term = 4, .prev = 6, .prev_term = 4, .commit = 6), GUARD_PASS);
    assert_true(guard_settles_change(&d.raft, &event));
    assert_int_equal(driver_step(&d, &event), 0);
    assert_int_equal(d.raft.configuration_committed_index, 6);
    assert_int_equal(d.raft.configuration_committed.n, 4);
    assert_false(guard_settles_change(&d.raft, &event));

    assert_int_equal(APPEND(2, .term = 4, .prev = 6, .prev_term = 4, .commit = 6, .count = 1,
                            .terms = {4}, .change = &five),
                     GUARD_PASS);
    assert_int_equal(d.raft.configuration_uncommitted_index, 7);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

/* All have restarted: nobody knows that the first change is committed, and a leader that has two
 * can commit nothing before the second one is stored. */
static void L25_a_second_change_shows_that_the_first_is_committed(void **state) {
    struct configuration four;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    struct raft_event event;
    struct raft_entry entry = {.term = 4, .type = RAFT_CHANGE};
    struct raft_message second = {
        .type = RAFT_APPEND_ENTRIES,
        .append_entries = {.term = 4, .prev_log_index = 6, .entries = &entry, .n_entries = 1},
    };

    driver_configuration(&four, 3);
    configuration_add(&four, &server);
    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 5, .count = 1,
                            .terms = {4}, .change = &four),
                     GUARD_PASS);
    assert_false(guard_settles_change(&d.raft, &event));

    /* Not when the logs differ before it, nor from an old leader, nor by another entry. */
    second.append_entries.prev_log_term = 3;
    assert_false(guard_settles_change_before(&d.raft, &second, &event));
    second.append_entries.prev_log_term = 4;
    second.append_entries.term = 3;
    assert_false(guard_settles_change_before(&d.raft, &second, &event));
    second.append_entries.term = 4;
    entry.type = RAFT_COMMAND;
    assert_false(guard_settles_change_before(&d.raft, &second, &event));

    entry.type = RAFT_CHANGE;
    assert_true(guard_settles_change_before(&d.raft, &second, &event));
    assert_int_equal(driver_step(&d, &event), 0);
    assert_int_equal(d.raft.configuration_committed_index, 6);
    assert_int_equal(d.raft.configuration_uncommitted_index, 0);
    assert_false(guard_settles_change_before(&d.raft, &second, &event));
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L25_a_leader_settles_its_change_when_it_is_applied(void **state) {
    struct configuration four;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    struct raft_event event;

    driver_configuration(&four, 3);
    configuration_add(&four, &server);
    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_submit(&d, &four), 0);
    driver_assert_leads(&d);
    assert_true(d.raft.commit_index > d.raft.configuration_uncommitted_index);
    assert_false(guard_settles_change(&d.raft, &event));
    driver_confirm(&d);
    assert_int_equal(d.raft.configuration_uncommitted_index, 0);
    driver_assert_leads(&d);
    driver_stop(&d);
    (void)state;
}

static void L25_a_change_that_is_there_already_is_no_second_one(void **state) {
    struct configuration four;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    struct driver_append again = {.term = 4,
                                  .prev = 5,
                                  .prev_term = 3,
                                  .commit = 5,
                                  .count = 1,
                                  .terms = {4},
                                  .change = &four};

    driver_configuration(&four, 3);
    configuration_add(&four, &server);
    driver_start_usual(&d);
    for (unsigned i = 0; i < 2; i++) {
        const struct raft_message *answer;

        assert_int_equal(driver_append(&d, 2, &again), GUARD_PASS);
        answer = driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT);
        assert_non_null(answer);
        assert_int_equal(answer->append_entries_result.last_log_index, 6);
        assert_int_equal(d.raft.configuration_uncommitted_index, 6);
    }
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L26_a_leader_that_contradicts_what_is_committed_stops_nobody(void **state) {
    struct driver d;
    struct raft before;

    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 4, .prev = 5, .prev_term = 3, .commit = 4), GUARD_PASS);
    before = d.raft;
    assert_int_equal(APPEND(2, .term = 4, .prev = 4, .prev_term = 3), GUARD_CLOSE);
    assert_int_equal(APPEND(3, .term = 5, .prev = 2, .prev_term = 1, .count = 2, .terms = {2, 3}),
                     GUARD_CLOSE);
    driver_assert_unchanged(&d, &before);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L26_after_a_start_nobody_takes_back_what_is_applied(void **state) {
    struct driver d;
    struct raft before;

    /* libraft counts nothing of it as committed yet. */
    driver_start_usual(&d);
    assert_int_not_equal(d.raft.commit_index, 4);
    d.guard.applied_index = 4;
    before = d.raft;
    assert_int_equal(APPEND(2, .term = 4, .prev = 4, .prev_term = 3), GUARD_CLOSE);
    assert_int_equal(APPEND(2, .term = 4, .prev = 3, .prev_term = 2, .count = 1, .terms = {4}),
                     GUARD_CLOSE);
    driver_assert_unchanged(&d, &before);
    /* What is not applied may be cut off. */
    assert_int_equal(APPEND(2, .term = 4, .prev = 4, .prev_term = 2, .count = 1, .terms = {4}),
                     GUARD_PASS);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L26_a_leader_of_an_earlier_term_learns_the_present_one(void **state) {
    struct driver d;
    const struct raft_message *answer;

    driver_start_usual(&d);
    driver_assert_follows(&d, 2, 4);
    /* Whatever it says, it is late rather than wrong. */
    assert_int_equal(APPEND(3, .term = 3, .prev = 2, .prev_term = 1, .count = 2, .terms = {2, 3}),
                     GUARD_PASS);
    answer = driver_sent(&d, 3, RAFT_APPEND_ENTRIES_RESULT);
    assert_non_null(answer);
    assert_int_equal(answer->append_entries_result.term, 4);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

static void L27_a_leader_does_not_take_back_what_it_sent(void **state) {
    struct driver d;
    const struct driver_append other = {
        .term = 5, .prev = 5, .prev_term = 3, .count = 1, .terms = {5}};

    driver_start_usual(&d);
    assert_int_equal(APPEND(2, .term = 5, .prev = 5, .prev_term = 3, .count = 1, .terms = {4}),
                     GUARD_PASS);
    assert_int_equal(driver_append(&d, 2, &other), GUARD_CLOSE);
    assert_int_equal(driver_term_of(&d, 6), 4);
    driver_assert_follows(&d, 2, 5);
    driver_stop(&d);

    /* What an earlier leader sent is another's to cut off. */
    driver_start_usual(&d);
    driver_assert_follows(&d, 2, 4);
    assert_int_equal(driver_append(&d, 3, &other), GUARD_PASS);
    assert_int_equal(driver_term_of(&d, 6), 5);
    driver_assert_follows(&d, 3, 5);
    driver_stop(&d);
    (void)state;
}

static void L28_the_first_configuration_is_not_rolled_back(void **state) {
    struct configuration three;
    struct driver d;
    struct driver_append first = {.term = 4, .prev = 0, .count = 1, .terms = {1}, .change = &three};

    driver_configuration(&three, 3);
    driver_start_joiner(&d);
    assert_int_equal(driver_append(&d, 2, &first), GUARD_PASS);
    assert_int_equal(d.raft.configuration_uncommitted_index, 1);
    first.term = 5;
    first.terms[0] = 2;
    assert_int_equal(driver_append(&d, 3, &first), GUARD_CLOSE);
    assert_int_equal(d.raft.configuration.n, 3);
    driver_assert_follows(&d, 2, 4);
    driver_confirm(&d);
    assert_int_equal(d.raft.configuration_committed_index, 1);
    driver_assert_follows(&d, 2, 4);
    driver_stop(&d);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(L8_an_append_below_the_own_snapshot_is_trimmed),
        cmocka_unit_test(L8_what_the_own_snapshot_holds_already_is_confirmed_up_to_it),
        cmocka_unit_test(L8_an_append_that_contradicts_the_own_snapshot_closes_the_link),
        cmocka_unit_test(L10_a_message_without_another_member_as_sender_closes_the_link),
        cmocka_unit_test(L10_a_term_has_one_leader),
        cmocka_unit_test(L12_nothing_is_committed_while_a_snapshot_is_installed),
        cmocka_unit_test(L13_L15_a_snapshot_message_closes_the_link),
        cmocka_unit_test(L24_a_late_append_does_not_move_the_commit_index_back),
        cmocka_unit_test(L25_a_second_change_waits_until_the_first_is_applied),
        cmocka_unit_test(L25_a_change_that_is_committed_is_settled_before_it_is_applied),
        cmocka_unit_test(L25_a_second_change_shows_that_the_first_is_committed),
        cmocka_unit_test(L25_a_leader_settles_its_change_when_it_is_applied),
        cmocka_unit_test(L25_a_change_that_is_there_already_is_no_second_one),
        cmocka_unit_test(L26_a_leader_that_contradicts_what_is_committed_stops_nobody),
        cmocka_unit_test(L26_after_a_start_nobody_takes_back_what_is_applied),
        cmocka_unit_test(L26_a_leader_of_an_earlier_term_learns_the_present_one),
        cmocka_unit_test(L27_a_leader_does_not_take_back_what_it_sent),
        cmocka_unit_test(L28_the_first_configuration_is_not_rolled_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
