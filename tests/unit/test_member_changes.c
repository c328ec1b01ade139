/* Changes of the members that are disturbed: a crash in the middle of one may not leave a cluster
 * that never elects a leader again, and whoever awaits a promotion is in nobody's way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/entry.h"
#include "member_world.h"

static struct world_change change;

static bool change_is_done(void) {
    return change.done;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    change = (struct world_change){0};
    return 0;
}

static void answer_identify(uint64_t id) {
    assert_non_null(world.identify.callback);
    world.identify.callback(world.identify.data, &world_node(id)->identity, NULL);
    world.identify.callback = NULL;
}

/* The configuration that a message carries, alone, as it does (hazard L1). */
static bool carries_change(const Raftkv__V1__PeerMessage *peer, struct configuration *ret) {
    const Raftkv__V1__AppendEntries *append = peer->append_entries;
    const char *reason;

    if (peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES ||
        append->n_entries != 1 || append->entries[0]->type != (int)ENTRY_CHANGE)
        return false;
    assert_int_equal(configuration_decode(append->entries[0]->data.data,
                                          append->entries[0]->data.len, ret, &reason),
                     0);
    return true;
}

static unsigned promotions_lost;

static bool lose_the_promotion(const struct world_message *message,
                               const Raftkv__V1__PeerMessage *peer) {
    struct configuration configuration;

    (void)message;
    if (!carries_change(peer, &configuration) || configuration_voters(&configuration) < 2)
        return true;
    promotions_lost++;
    return false;
}

static bool the_promotion_is_durable_at_1(void) {
    struct configuration configuration;
    const struct world_node *node = world_node(1);
    const char *reason;

    return promotions_lost > 0 && node->log[node->last].type == ENTRY_CHANGE &&
           configuration_decode(node->log[node->last].data, node->log[node->last].size,
                                &configuration, &reason) == 0 &&
           configuration_voters(&configuration) == 2;
}

static void add_2_and_lose_its_promotion(void) {
    world_start(2, 1);
    promotions_lost = 0;
    assert_true(world_run(world_has_leader, 10000));
    world.filter = lose_the_promotion;
    world_change(1, &change, CHANGE_ADD_VOTER, "node2");
    answer_identify(2);
    assert_true(world_run(the_promotion_is_durable_at_1, 10000));
}

static bool two_voters_are_known_to_2(void) {
    return configuration_voters(member_configuration(world_node(2)->member)) == 2;
}

static void L33_a_standby_votes_for_a_leader_that_crashed_promoting_it(void **state) {
    (void)state;
    add_2_and_lose_its_promotion();
    world_crash(1);
    world.filter = NULL;
    world_restart(1);
    assert_true(world_run(world_has_leader, 20 * ELECTION_MS));
    assert_true(world_run(two_voters_are_known_to_2, 1000));
}

static void L33_a_standby_that_was_restarted_too_votes_for_it(void **state) {
    (void)state;
    add_2_and_lose_its_promotion();
    world_crash(1);
    world_crash(2);
    world.filter = NULL;
    world_restart(1);
    world_restart(2);
    assert_true(world_run(world_has_leader, 20 * ELECTION_MS));
    assert_true(world_run(two_voters_are_known_to_2, 1000));
}

static void L33_a_standby_that_hears_its_leader_votes_for_nobody(void **state) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;
    const char *reason;
    uint64_t term;

    (void)state;
    world_start(2, 2);
    assert_true(world_run(world_has_leader, 10000));
    world_change(world_leader(), &change, CHANGE_DEMOTE, world_leader() == 1 ? "node2" : "node1");
    assert_true(world_run(change_is_done, 1000));
    world_pass(500);
    struct world_node *standby = world_node(3 - world_leader());
    term = standby->member->raft.current_term;
    vote.term = term + 1;
    vote.last_log_index = 1000;
    vote.last_log_term = term;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    assert_int_equal(member_receive(standby->member, world_leader(), &peer, &reason), 0);
    assert_int_equal(standby->member->raft.current_term, term);
    assert_int_equal(
        standby->member->raft.configuration.servers[standby->identity.member_id - 1].role,
        RAFT_STANDBY);
}

static unsigned changes_sent;

static bool count_changes(const struct world_message *message,
                          const Raftkv__V1__PeerMessage *peer) {
    struct configuration configuration;

    (void)message;
    changes_sent += carries_change(peer, &configuration);
    return true;
}

static void L34_a_change_leaves_only_when_it_is_durable_at_the_leader(void **state) {
    uint64_t leader;

    (void)state;
    world_start(2, 2);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    changes_sent = 0;
    world.filter = count_changes;
    world_node(leader)->hold_writes = true;
    world_change(leader, &change, CHANGE_DEMOTE, leader == 1 ? "node2" : "node1");
    world_pass(500);
    assert_false(change.done);
    assert_int_equal(changes_sent, 0);
    world_node(leader)->hold_writes = false;
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    assert_true(changes_sent > 0);
}

static void L34_a_leader_that_crashed_demoting_the_other_voter_leads_again(void **state) {
    uint64_t leader;

    (void)state;
    world_start(2, 2);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    world_node(leader)->hold_writes = true;
    world_change(leader, &change, CHANGE_DEMOTE, leader == 1 ? "node2" : "node1");
    world_pass(500);
    world_crash(leader);
    world_node(leader)->hold_writes = false;
    world_restart(leader);
    assert_true(world_run(world_has_leader, 20 * ELECTION_MS));
}

static struct world_change second;

static bool second_is_done(void) {
    return second.done;
}

static bool lose_all_to_4(const struct world_message *message,
                          const Raftkv__V1__PeerMessage *peer) {
    (void)peer;
    return message->to != 4;
}

static bool standby_4_is_known(void) {
    return configuration_find(member_configuration(world_node(world_leader())->member), 4);
}

/* An AddVoter of node 4, which hears nothing. Returns the leader. */
static uint64_t await_a_promotion(void) {
    uint64_t leader;

    world_start(4, 3);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    world.filter = lose_all_to_4;
    world_change(leader, &change, CHANGE_ADD_VOTER, "node4");
    answer_identify(4);
    assert_true(world_run(standby_4_is_known, 1000));
    world_pass(500);
    assert_false(change.done);
    return leader;
}

static void a_standby_that_does_not_catch_up_can_be_removed(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    world_change(leader, &second, CHANGE_REMOVE, "node4");
    assert_true(world_run(second_is_done, 1000));
    assert_true(second.succeeded);
    assert_true(change.done);
    assert_int_equal(change.failure.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(change.failure.message, "was not added"));
}

static void a_standby_that_does_not_catch_up_can_be_demoted(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    world_change(leader, &second, CHANGE_DEMOTE, "node4");
    assert_true(world_run(second_is_done, 1000));
    assert_true(second.succeeded);
    assert_true(change.done);
    assert_int_equal(change.failure.code, ERROR_CONFIGURATION_CONFLICT);
}

static void leadership_moves_while_a_promotion_is_awaited(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    world_change(leader, &second, CHANGE_TRANSFER, "");
    assert_true(world_run(second_is_done, 5000));
    assert_true(second.succeeded);
    assert_false(change.done);
    world.filter = NULL;
    assert_true(world_run(change_is_done, 5000));
    assert_true(change.succeeded);
}

static void other_members_are_not_changed_while_a_promotion_is_awaited(void **state) {
    static const enum change_kind kinds[] = {CHANGE_ADD_VOTER, CHANGE_REMOVE, CHANGE_DEMOTE};
    uint64_t leader = await_a_promotion();

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        world_change(leader, &second, kinds[i], leader == 2 ? "node3" : "node2");
        assert_true(second.done);
        assert_int_equal(second.failure.code, ERROR_BUSY);
    }
    world_change(leader, &second, CHANGE_ADD_VOTER, "node4");
    assert_true(second.done);
    assert_int_equal(second.failure.code, ERROR_BUSY);
    assert_false(change.done);
}

/* ---- non-voters ---- */

/* An AddNonvoter of node 4 to the voters 1 to 3. Returns the leader. */
static uint64_t add_4_as_a_non_voter(void) {
    uint64_t leader;

    world_start(4, 3);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    world_change(leader, &change, CHANGE_ADD_NONVOTER, "node4");
    answer_identify(4);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    return leader;
}

static void a_non_voter_is_added_and_stays_one(void **state) {
    uint64_t leader = add_4_as_a_non_voter();
    const struct server *server;

    (void)state;
    world_pass(5000);
    assert_int_equal(world_node(4)->applied, world_node(leader)->applied);
    server = configuration_find(member_configuration(world_node(leader)->member), 4);
    assert_non_null(server);
    assert_int_equal(server->role, MEMBER_STANDBY);
    assert_false(server->promoting);
    assert_int_equal(change.index, member_configuration(world_node(leader)->member)->index);
}

static void adding_a_non_voter_again_changes_nothing(void **state) {
    uint64_t leader = add_4_as_a_non_voter(), index = change.index;

    (void)state;
    world_change(leader, &change, CHANGE_ADD_NONVOTER, "node4");
    answer_identify(4);
    assert_true(change.succeeded);
    assert_int_equal(change.index, index);
}

static void a_non_voter_that_is_added_as_a_voter_becomes_one(void **state) {
    uint64_t leader = add_4_as_a_non_voter();

    (void)state;
    world_change(leader, &change, CHANGE_ADD_VOTER, "node4");
    answer_identify(4);
    assert_true(world_run(change_is_done, 5000));
    assert_true(change.succeeded);
    assert_int_equal(configuration_voters(member_configuration(world_node(leader)->member)), 4);
}

static void a_voter_is_not_made_a_non_voter_by_adding_it(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    world_change(leader, &second, CHANGE_ADD_NONVOTER, "node4");
    assert_true(second.done);
    assert_int_equal(second.failure.code, ERROR_ALREADY_EXISTS);
    assert_non_null(strstr(second.failure.message, "is being made a voter"));
    world.filter = NULL;
    assert_true(world_run(change_is_done, 5000));
    world_change(leader, &second, CHANGE_ADD_NONVOTER, "node4");
    assert_true(second.done);
    assert_int_equal(second.failure.code, ERROR_ALREADY_EXISTS);
    assert_non_null(strstr(second.failure.message, "is a voter"));
}

static unsigned goodbyes;

static bool count_goodbyes(const struct world_message *message,
                           const Raftkv__V1__PeerMessage *peer) {
    (void)message;
    goodbyes += peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    return true;
}

static void who_is_added_again_at_once_is_not_told_to_leave(void **state) {
    uint64_t leader = add_4_as_a_non_voter();

    (void)state;
    world.filter = count_goodbyes;
    goodbyes = 0;
    world_change(leader, &change, CHANGE_REMOVE, "node4");
    assert_true(world_run(change_is_done, 1000));
    world_pass(200);
    assert_true(goodbyes > 0);
    world_change(leader, &change, CHANGE_ADD_NONVOTER, "node4");
    answer_identify(4);
    goodbyes = 0;
    assert_true(world_run(change_is_done, 1000));
    world_pass(5000);
    assert_int_equal(goodbyes, 0);
    assert_int_equal(world_node(4)->applied, world_node(leader)->applied);
}

static uint64_t returned, heir;

static bool only_the_heir_is_elected(const struct world_message *message,
                                     const Raftkv__V1__PeerMessage *peer) {
    goodbyes += peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    return peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED &&
           (peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE ||
            message->from == heir);
}

static bool the_heir_leads(void) {
    struct member_view view;

    member_get_view(world_node(heir)->member, &view);
    return view.state == MEMBER_LEADER;
}

/* It applies the removal as leader, and the addition behind it. Seed 12 of the simulator. */
static void a_new_leader_says_no_goodbye_to_who_was_added_again_since(void **state) {
    uint64_t leader;
    char name[] = "node0";

    (void)state;
    world_start(3, 3);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    returned = leader % 3 + 1;
    heir = 6 - leader - returned;
    name[4] = (char)('0' + returned);
    world.filter = only_the_heir_is_elected;
    world_node(heir)->hold_applies = world_node(returned)->hold_applies = true;
    world_change(leader, &change, CHANGE_REMOVE, name);
    assert_true(world_run(change_is_done, 5000));
    world_change(leader, &change, CHANGE_ADD_VOTER, name);
    answer_identify(returned);
    assert_true(world_run(change_is_done, 10000));
    assert_true(change.succeeded);
    world_crash(leader);
    assert_true(world_run(the_heir_leads, 20 * ELECTION_MS));
    goodbyes = 0;
    world_node(heir)->hold_applies = false;
    assert_true(world_run(world_has_leader, 5000));
    world_pass(5000);
    assert_int_equal(goodbyes, 0);
}

/* ---- by force ---- */

static uint64_t silent;

static bool lose_all_of_the_silent(const struct world_message *message,
                                   const Raftkv__V1__PeerMessage *peer) {
    (void)peer;
    return message->from != silent && message->to != silent;
}

/* Three voters, of which one other than the leader is silent. Returns the name of the third. */
static const char *silence_one(void) {
    static char name[] = "node0";
    uint64_t leader;

    world_start(3, 3);
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    silent = leader % 3 + 1;
    name[4] = (char)('0' + 6 - leader - silent);
    world.filter = lose_all_of_the_silent;
    world_pass(2 * ELECTION_MS);
    assert_int_equal(world_leader(), leader);
    return name;
}

static void by_force_a_voter_goes_once_the_silent_one_is_back(void **state) {
    static const enum change_kind kinds[] = {CHANGE_REMOVE, CHANGE_DEMOTE};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *name = silence_one();
        uint64_t leader = world_leader();

        world_change(leader, &change, kinds[i], name);
        assert_true(world_run(change_is_done, 3 * ELECTION_MS));
        assert_int_equal(change.failure.code, ERROR_WOULD_LOSE_QUORUM);
        world_force_change(leader, &change, kinds[i], name);
        world_pass(ELECTION_MS / 2);
        assert_false(change.done);
        world.filter = NULL;
        assert_true(world_run(change_is_done, 1000));
        assert_true(change.succeeded);
        assert_int_equal(configuration_voters(member_configuration(world_node(leader)->member)), 2);
        world_stop();
    }
    world_start(1, 1); /* for the teardown */
}

static void the_last_voter_stays_even_by_force(void **state) {
    (void)state;
    world_start(1, 1);
    assert_true(world_run(world_has_leader, 1000));
    world_force_change(1, &change, CHANGE_REMOVE, "node1");
    assert_true(change.done);
    assert_int_equal(change.failure.code, ERROR_WOULD_LOSE_QUORUM);
}

static void a_node_that_stops_awaits_no_promotion(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    member_stop_awaiting(world_node(leader)->member);
    assert_true(change.done);
    assert_int_equal(change.failure.code, ERROR_UNAVAILABLE);
    assert_true(change.failure.outcome_unknown);
}

static void a_member_that_ends_ends_the_change_that_awaits_a_promotion(void **state) {
    uint64_t leader = await_a_promotion();

    (void)state;
    world_crash(leader);
    assert_true(change.done);
    assert_true(change.failure.outcome_unknown);
}

#define TEST(test) cmocka_unit_test_teardown(test, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(L33_a_standby_votes_for_a_leader_that_crashed_promoting_it),
        TEST(L33_a_standby_that_was_restarted_too_votes_for_it),
        TEST(L33_a_standby_that_hears_its_leader_votes_for_nobody),
        TEST(L34_a_change_leaves_only_when_it_is_durable_at_the_leader),
        TEST(a_standby_that_does_not_catch_up_can_be_removed),
        TEST(a_standby_that_does_not_catch_up_can_be_demoted),
        TEST(leadership_moves_while_a_promotion_is_awaited),
        TEST(other_members_are_not_changed_while_a_promotion_is_awaited),
        TEST(a_non_voter_is_added_and_stays_one),
        TEST(adding_a_non_voter_again_changes_nothing),
        TEST(a_non_voter_that_is_added_as_a_voter_becomes_one),
        TEST(a_voter_is_not_made_a_non_voter_by_adding_it),
        TEST(who_is_added_again_at_once_is_not_told_to_leave),
        TEST(a_new_leader_says_no_goodbye_to_who_was_added_again_since),
        TEST(by_force_a_voter_goes_once_the_silent_one_is_back),
        TEST(the_last_voter_stays_even_by_force),
        TEST(a_node_that_stops_awaits_no_promotion),
        TEST(a_member_that_ends_ends_the_change_that_awaits_a_promotion),
        TEST(L34_a_leader_that_crashed_demoting_the_other_voter_leads_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
