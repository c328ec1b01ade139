/* What drives libraft: each hazard of ARCHITECTURE.md's table that the driver, not the guard, keeps
 * away has a test with its number. */
#include "member_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct world_proposal proposals[64];
static struct world_change change;

static bool first_done(void) {
    return proposals[0].done;
}

static bool change_is_done(void) {
    return change.done;
}

static uint64_t term_of(uint64_t id) {
    return world_node(id)->member->raft.current_term;
}

static uint64_t other_than(uint64_t id) {
    return id == 1 ? 2 : 1;
}

static int start_three(void **state) {
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

/* ---- proposals ---- */

static void a_command_is_applied_on_every_member(void **state) {
    (void)state;
    world_propose(world_leader(), &proposals[0]);
    assert_true(world_run(first_done, 1000));
    assert_true(proposals[0].applied);
    world_pass(2 * HEARTBEAT_MS);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(world_node(id)->applied, proposals[0].proposal.index);
}

static void what_arrives_during_a_write_is_one_submission(void **state) {
    struct world_node *leader = world_node(world_leader());
    unsigned writes;

    (void)state;
    leader->hold_writes = true;
    world_propose(leader->identity.member_id, &proposals[0]);
    world_settle();
    writes = leader->writes;
    for (int i = 1; i < 20; i++)
        world_propose(leader->identity.member_id, &proposals[i]);
    world_settle();
    assert_int_equal(leader->writes, writes);
    leader->hold_writes = false;
    world_settle();
    assert_int_equal(leader->writes, writes + 1);
    assert_int_equal(leader->largest_write, 19);
    for (int i = 1; i < 20; i++) {
        assert_true(proposals[i].applied);
        assert_int_equal(proposals[i].proposal.index, proposals[0].proposal.index + (unsigned)i);
    }
}

static void a_follower_refuses_proposals(void **state) {
    (void)state;
    world_propose(other_than(world_leader()), &proposals[0]);
    assert_true(proposals[0].done);
    assert_int_equal(proposals[0].failure.code, ERROR_NOT_LEADER);
    assert_false(proposals[0].failure.outcome_unknown);
}

static void a_proposal_of_a_deposed_leader_ends_when_its_place_is_taken(void **state) {
    uint64_t old = world_leader();

    (void)state;
    world_node(old)->cut = true;
    world_propose(old, &proposals[0]);
    world_pass(5000);
    assert_false(proposals[0].done); /* it is in the old leader's log: nobody knows yet */
    assert_int_not_equal(world_leader(), old);
    world_propose(world_leader(), &proposals[1]);
    world_pass(100);
    assert_true(proposals[1].applied);
    world_node(old)->cut = false;
    assert_true(world_run(first_done, 5000));
    assert_int_equal(proposals[0].failure.code, ERROR_NOT_LEADER);
}

static void a_proposal_that_outlives_its_leaders_office_succeeds(void **state) {
    uint64_t old = world_leader();

    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        world_node(id)->hold_applies = true;
    world_propose(old, &proposals[0]);
    world_settle();
    world_node(old)->cut = true;
    for (uint64_t id = 1; id <= 3; id++)
        world_node(id)->hold_applies = id == old;
    world_pass(5000);
    world_node(old)->hold_applies = false;
    world_node(old)->cut = false;
    assert_true(world_run(first_done, 5000));
    assert_true(proposals[0].applied);
}

static void proposals_above_the_limit_are_refused(void **state) {
    static struct world_proposal many[PROPOSALS_IN_FLIGHT_MAX + 1];
    uint64_t leader = world_leader();

    (void)state;
    for (size_t i = 0; i <= PROPOSALS_IN_FLIGHT_MAX; i++)
        world_propose(leader, &many[i]);
    assert_true(many[PROPOSALS_IN_FLIGHT_MAX].done);
    assert_int_equal(many[PROPOSALS_IN_FLIGHT_MAX].failure.code, ERROR_BUSY);
    world_crash(leader); /* ends all others, which assert that they end once */
    assert_int_equal(many[0].failure.code, ERROR_UNAVAILABLE);
}

static void all_survives_a_restart_of_all(void **state) {
    uint64_t leader = world_leader();

    (void)state;
    for (int i = 0; i < 20; i++)
        world_propose(leader, &proposals[i]);
    world_settle();
    for (uint64_t id = 1; id <= 3; id++)
        world_crash(id);
    for (uint64_t id = 1; id <= 3; id++)
        world_restart(id);
    assert_true(world_run(world_has_leader, 10000));
    world_pass(500);
    for (uint64_t id = 1; id <= 3; id++)
        assert_true(world_node(id)->applied >= proposals[19].proposal.index);
}

static void a_follower_that_was_away_catches_up_from_the_disk(void **state) {
    uint64_t leader = world_leader(), away = other_than(leader);

    (void)state;
    world_node(away)->cut = true;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 50; i++)
            world_propose(leader, &proposals[i]);
        world_settle();
    }
    world_node(leader)->member->entries.bytes_max = 0;
    entries_evict(&world_node(leader)->member->entries, world_node(leader)->applied,
                  world_node(leader)->last);
    world_node(away)->cut = false;
    world_pass(3000);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
}

static void a_member_that_applies_nothing_does_not_keep_all_in_memory(void **state) {
    uint64_t leader = world_leader(), stuck = other_than(leader);
    const struct entries *entries = &world_node(stuck)->member->entries;

    (void)state;
    world_node(stuck)->member->entries.bytes_max = 1024;
    world_node(stuck)->hold_applies = true;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 50; i++)
            world_propose(leader, &proposals[i]);
        world_pass(HEARTBEAT_MS);
    }
    assert_true(world_node(stuck)->last > 2000);
    assert_true(world_node(stuck)->applied < 1000);
    assert_in_range(entries->bytes, 1024, 16 * 1024);
    world_node(stuck)->hold_applies = false;
    world_pass(3000);
    assert_int_equal(world_node(stuck)->applied, world_node(leader)->applied);
}

/* ---- order ---- */

static bool saw_vote_request;

static bool watch_votes(const struct world_message *message, const Raftkv__V1__PeerMessage *peer) {
    (void)message;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE &&
        !peer->request_vote->pre_vote)
        saw_vote_request = true;
    return true;
}

static uint64_t refused_in_term;

static bool watch_refusals(const struct world_message *message,
                           const Raftkv__V1__PeerMessage *peer) {
    (void)message;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT &&
        peer->request_vote_result->pre_vote && !peer->request_vote_result->granted)
        refused_in_term = peer->request_vote_result->term;
    return true;
}

static void L37_who_refuses_a_pre_vote_says_its_higher_term(void **state) {
    uint64_t follower = other_than(world_leader()), third = 6 - world_leader() - follower;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;
    const char *reason = "";

    (void)state;
    assert_true(term_of(follower) > 1);
    vote.term = term_of(follower) - 1;
    vote.pre_vote = true;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    refused_in_term = 0;
    world.filter = watch_refusals;
    assert_int_equal(member_receive(world_node(follower)->member, third, &peer, &reason), 0);
    world_pass(HEARTBEAT_MS);
    assert_int_equal(refused_in_term, term_of(follower));
}

static void no_message_leaves_before_term_and_vote_are_durable(void **state) {
    uint64_t leader = world_leader(), candidate = other_than(leader);

    (void)state;
    world_node(leader)->cut = true;
    world_node(6 - leader - candidate)->hold_writes = false;
    world_node(candidate)->hold_writes = true;
    saw_vote_request = false;
    world.filter = watch_votes;
    /* Only the held one may start an election: the third one never times out. */
    for (int i = 0; i < 2000 && world_node(candidate)->member->vote_write <=
                                    world_node(candidate)->member->writes_done;
         i++) {
        world.now += 5;
        if (member_deadline(world_node(candidate)->member) <= world.now)
            member_tick(world_node(candidate)->member);
        /* The third one forgets its leader, so that it grants pre-votes. */
        world_node(6 - leader - candidate)->member->raft.follower_state.current_leader.id = 0;
        world_settle();
    }
    assert_int_equal(term_of(candidate), world_node(candidate)->term + 1);
    assert_false(saw_vote_request);
    world_node(candidate)->hold_writes = false;
    world_settle();
    assert_true(saw_vote_request);
    world_node(leader)->cut = false;
}

/* ---- hazards ---- */

static unsigned changes_seen;

static bool watch_changes(const struct world_message *message,
                          const Raftkv__V1__PeerMessage *peer) {
    const Raftkv__V1__AppendEntries *append = peer->append_entries;

    (void)message;
    if (peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES)
        return true;
    for (size_t i = 0; i < append->n_entries; i++) {
        if (append->entries[i]->type != RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE)
            continue;
        assert_int_equal(append->n_entries, 1);
        changes_seen++;
    }
    return true;
}

static void L1_a_configuration_is_alone_in_its_message(void **state) {
    uint64_t leader = world_leader(), away = other_than(leader);
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + away);
    world_node(away)->backlog = 0;
    world_propose(leader, &proposals[0]);
    world_settle();
    /* A demotion among commands, sent to a follower that was away, in one go. */
    world_node(6 - leader - away)->cut = false;
    world_node(away)->cut = true;
    for (int i = 0; i < 5; i++)
        world_propose(leader, &proposals[i]);
    world_settle();
    world_change(leader, &change, CHANGE_DEMOTE, name);
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    for (int i = 5; i < 10; i++)
        world_propose(leader, &proposals[i]);
    world_settle();
    changes_seen = 0;
    world.filter = watch_changes;
    world_node(away)->cut = false;
    world_pass(3000);
    assert_true(changes_seen > 0);
    assert_int_equal(world_node(away)->applied, world_node(leader)->applied);
    assert_int_equal(member_configuration(world_node(away)->member)->index, change.index);
}

static void L2_a_sole_voter_starts_in_a_new_term_with_its_own_vote(void **state) {
    uint64_t term;

    (void)state;
    world_start(1, 1);
    assert_true(world_run(world_has_leader, 1000));
    term = term_of(1);
    assert_true(term > 1);
    world_crash(1);
    world_restart(1);
    assert_int_equal(term_of(1), term + 1);
    assert_int_equal(world_node(1)->term, term + 1); /* and it is on disk */
    assert_int_equal(world_node(1)->vote, 1);
}

static void L2_a_leader_hands_over_before_it_is_removed(void **state) {
    uint64_t leader = world_leader();
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + leader);
    world_change(leader, &change, CHANGE_REMOVE, name);
    assert_true(world_run(change_is_done, 5000));
    assert_false(change.succeeded);
    assert_int_equal(change.failure.code, ERROR_NOT_LEADER); /* ask the new leader */
    assert_true(world_run(world_has_leader, 5000));
    assert_int_not_equal(world_leader(), leader);
    world_change(world_leader(), &change, CHANGE_REMOVE, name);
    assert_true(world_run(change_is_done, 5000));
    assert_true(change.succeeded);
}

static void a_leader_that_takes_leave_of_a_removed_member_does_not_spin(void **state) {
    uint64_t leader = world_leader();
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + other_than(leader));
    world_change(leader, &change, CHANGE_REMOVE, name);
    assert_true(world_run(change_is_done, 5000));
    assert_true(change.succeeded);
    for (int i = 0; i < 100; i++) {
        world_pass(20);
        member_tick(world_node(leader)->member);
        assert_true(member_deadline(world_node(leader)->member) > world.now);
    }
}

static uint64_t removed;

static bool the_removed_one_knows(void) {
    struct member_view view;

    member_get_view(world_node(removed)->member, &view);
    return view.removed;
}

static void a_removed_member_that_has_left_may_come_back_to_be_added_again(void **state) {
    uint64_t leader = world_leader();
    char name[] = "node0";

    (void)state;
    removed = other_than(leader);
    name[4] = (char)('0' + removed);
    world_change(leader, &change, CHANGE_REMOVE, name);
    assert_true(world_run(the_removed_one_knows, 1000));
    world_crash(removed);
    world_pass(2 * HEARTBEAT_MS);
    world_restart(removed);
    assert_false(world_run(the_removed_one_knows, 10 * HEARTBEAT_MS));
}

static bool told_by(uint64_t from, uint64_t configuration_index) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__Removed message = RAFTKV__V1__REMOVED__INIT;
    const char *reason = "";

    message.configuration_index = configuration_index;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    peer.removed = &message;
    assert_int_equal(member_receive(world_node(removed)->member, from, &peer, &reason), 0);
    return the_removed_one_knows();
}

static void only_the_leader_and_only_of_a_later_configuration_is_believed(void **state) {
    uint64_t leader = world_leader(), known;

    (void)state;
    removed = other_than(leader);
    known = member_configuration(world_node(removed)->member)->index;
    assert_false(told_by(6 - leader - removed, known + 1));
    assert_false(told_by(4, known + 1)); /* is no member */
    assert_false(told_by(leader, known));
    assert_true(told_by(leader, known + 1));
}

static uint64_t unheard;

static bool drop_results_of_the_unheard(const struct world_message *message,
                                        const Raftkv__V1__PeerMessage *peer) {
    return message->from != unheard ||
           peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
}

/* Leadership goes from `old` to the result, which has heard only of `old` since. */
static uint64_t lead_without_hearing_all(uint64_t old) {
    uint64_t next = other_than(old);
    char name[] = "node0";

    unheard = 6 - old - next;
    name[4] = (char)('0' + next);
    world.filter = drop_results_of_the_unheard;
    world_change(old, &change, CHANGE_TRANSFER, name);
    assert_true(world_run(change_is_done, 1000));
    assert_true(world_run(world_has_leader, 1000));
    assert_int_equal(world_leader(), next);
    change = (struct world_change){0};
    return next;
}

static void L2_a_new_leader_hears_the_others_before_it_lets_a_voter_go(void **state) {
    uint64_t old = world_leader(), leader = lead_without_hearing_all(old);
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + old);
    world_change(leader, &change, CHANGE_REMOVE, name);
    world_settle();
    assert_false(change.done);
    world.filter = NULL;
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
}

static void L2_a_voter_that_stays_unheard_does_not_count(void **state) {
    uint64_t old = world_leader(), leader = lead_without_hearing_all(old);
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + old);
    world_change(leader, &change, CHANGE_REMOVE, name);
    assert_true(world_run(change_is_done, 3 * ELECTION_MS));
    assert_int_equal(change.failure.code, ERROR_WOULD_LOSE_QUORUM);
}

static void L19_a_new_leader_hands_over_to_one_that_it_has_not_heard_of_yet(void **state) {
    uint64_t leader = lead_without_hearing_all(world_leader());
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + unheard);
    world_change(leader, &change, CHANGE_TRANSFER, name);
    world_settle();
    assert_false(change.done);
    world.filter = NULL;
    assert_true(world_run(change_is_done, 1000));
    assert_true(change.succeeded);
    assert_string_equal(change.leader, name);
}

static void L2_the_last_voter_stays(void **state) {
    (void)state;
    world_start(1, 1);
    assert_true(world_run(world_has_leader, 1000));
    world_change(1, &change, CHANGE_REMOVE, "node1");
    assert_true(change.done);
    assert_int_equal(change.failure.code, ERROR_WOULD_LOSE_QUORUM);
    world_change(1, &change, CHANGE_DEMOTE, "node1");
    assert_int_equal(change.failure.code, ERROR_WOULD_LOSE_QUORUM);
}

static void L3_a_leader_serves_only_after_an_entry_of_its_term_is_applied(void **state) {
    struct member_view view;

    (void)state;
    world_start(3, 3);
    for (uint64_t id = 1; id <= 3; id++)
        world_node(id)->hold_applies = true;
    world_pass(5000);
    assert_int_equal(world_leader(), 0);
    for (uint64_t id = 1; id <= 3; id++) {
        member_get_view(world_node(id)->member, &view);
        if (view.state != MEMBER_LEADER)
            continue;
        world_change(id, &change, CHANGE_REMOVE, id == 1 ? "node2" : "node1");
        assert_int_equal(change.failure.code, ERROR_NOT_LEADER);
        world_node(id)->hold_applies = false;
        world_settle();
        assert_int_equal(world_leader(), id);
        /* Its own barrier was needed: without entries of its own, libraft writes none. */
        assert_true(world_node(id)->applied > 1);
        assert_int_equal(world_node(id)->log[world_node(id)->applied].term, view.term);
    }
    assert_int_not_equal(world_leader(), 0);
    for (uint64_t id = 1; id <= 3; id++)
        world_node(id)->hold_applies = false;
}

static void L5_nothing_is_applied_before_it_is_durable_here(void **state) {
    uint64_t leader = world_leader(), slow = other_than(leader);
    uint64_t applied;

    (void)state;
    world_pass(3 * HEARTBEAT_MS);
    applied = world_node(slow)->applied;
    world_node(slow)->hold_writes = true;
    world_propose(leader, &proposals[0]);
    assert_true(world_run(first_done, 1000)); /* the other two are a majority */
    world_pass(3 * HEARTBEAT_MS);
    assert_int_equal(world_node(slow)->applied, applied);
    world_node(slow)->hold_writes = false;
    world_pass(3 * HEARTBEAT_MS);
    assert_int_equal(world_node(slow)->applied, proposals[0].proposal.index);
}

static void L5_a_leader_does_not_apply_what_only_its_followers_have(void **state) {
    uint64_t leader = world_leader();

    (void)state;
    world_node(leader)->hold_writes = true;
    world_propose(leader, &proposals[0]);
    world_pass(3 * HEARTBEAT_MS);
    assert_false(proposals[0].done);
    world_node(leader)->hold_writes = false;
    world_settle();
    assert_true(proposals[0].applied);
}

static void L5_a_restart_finds_more_applied_than_committed(void **state) {
    uint64_t leader = world_leader(), id = other_than(leader);

    (void)state;
    world_propose(leader, &proposals[0]);
    world_pass(3 * HEARTBEAT_MS);
    world_crash(id);
    world_restart(id);
    assert_true(world_node(id)->member->commit_index < world_node(id)->applied);
    world_propose(leader, &proposals[1]);
    world_pass(3 * HEARTBEAT_MS);
    assert_int_equal(world_node(id)->applied, proposals[1].proposal.index);
}

/* The state may be far behind the log after a crash; the leader and its term are still the same. */
static void
a_restarted_member_is_not_readable_before_it_has_applied_what_it_had_shown(void **state) {
    static struct world_proposal many[2 * APPLY_ENTRIES_MAX];
    struct world_node *node = world_node(other_than(world_leader()));
    uint64_t id = node->identity.member_id, before = node->applied, last;
    struct member_view view;

    (void)state;
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        world_propose(world_leader(), &many[i]);
    world_pass(3 * HEARTBEAT_MS);
    last = node->applied;
    assert_true(last >= before + 2 * APPLY_ENTRIES_MAX);
    world_crash(id);
    node->applied = before;
    world_restart(id);
    node->hold_applies = true;
    world_pass(3 * HEARTBEAT_MS);
    assert_true(node->applying && node->apply_count < last - before);
    node->applying = false;
    node->applied += node->apply_count;
    member_applied(node->member, "results", 0);
    member_get_view(node->member, &view);
    assert_true(view.applied_index < last);
    assert_false(view.readable);
    node->hold_applies = false;
    world_pass(3 * HEARTBEAT_MS);
    member_get_view(node->member, &view);
    assert_true(view.applied_index >= last && view.readable);
}

static void L6_an_error_of_a_step_stops_the_node(void **state) {
    struct world_node *node = world_node(other_than(world_leader()));
    void *batch = xcalloc(1, 8);
    struct raft_entry entry = {.term = 1, .type = RAFT_BARRIER, .batch = batch};
    struct raft_event event = {.time = world.now, .type = RAFT_SUBMIT};

    (void)state;
    event.submit.entries = &entry;
    event.submit.n = 1;
    assert_false(member_step(node->member, &event)); /* not the leader */
    assert_int_equal(node->fatal, 1);
    assert_false(member_step(node->member, &event)); /* and nothing more is stepped */
    assert_int_equal(node->fatal, 1);
    free(batch);
    node->fatal = 0;
}

static void L12_a_write_that_was_cut_off_meanwhile_is_not_reported(void **state) {
    uint64_t old = world_leader();
    uint64_t lost;

    (void)state;
    world_node(old)->hold_writes = true;
    world_node(old)->cut = true;
    for (int i = 0; i < 3; i++)
        world_propose(old, &proposals[i]);
    world_settle();
    assert_true(world_node(old)->writing);
    lost = proposals[0].proposal.index;
    world_pass(5000);
    assert_int_not_equal(world_leader(), old);
    /* The new leader's entries take the place of those that are still on their way to the disk. */
    for (int i = 3; i < 6; i++)
        world_propose(world_leader(), &proposals[i]);
    world_node(old)->cut = false;
    world_pass(2000);
    assert_true(proposals[5].applied);
    assert_true(world_node(old)->writing);
    assert_true(world_node(old)->member->writing.valid_last < lost);
    world_node(old)->hold_writes = false;
    world_pass(2000);
    assert_int_equal(world_node(old)->applied, world_node(world_leader())->applied);
    assert_int_equal(world_node(old)->member->durable_index, world_node(old)->last);
    for (int i = 0; i < 3; i++)
        assert_int_equal(proposals[i].failure.code, ERROR_NOT_LEADER);
}

static void answer_identify(uint64_t id, uint64_t cluster_id) {
    struct identity identity = world_node(id)->identity;

    identity.cluster_id = cluster_id;
    assert_non_null(world.identify.callback);
    world.identify.callback(world.identify.data, &identity, NULL);
    world.identify.callback = NULL;
}

static void L14_L21_a_voter_is_added_without_raft_catch_up(void **state) {
    uint64_t leader;
    int status = -1;

    (void)state;
    world_start(4, 3); /* the fourth one is empty, and waits */
    assert_true(world_run(world_has_leader, 10000));
    leader = world_leader();
    world_change(leader, &change, CHANGE_ADD_VOTER, "node4");
    answer_identify(4, 0);
    assert_true(world_run(change_is_done, 10000));
    assert_true(change.succeeded);
    assert_int_equal(raft_catch_up(&world_node(leader)->member->raft, 4, &status), 0);
    assert_int_equal(status, RAFT_CATCH_UP_NONE);
    world_pass(500);
    assert_int_equal(world_node(4)->applied, world_node(leader)->applied);
    assert_int_equal(member_configuration(world_node(4)->member)->count, 4);
    assert_int_equal(configuration_voters(member_configuration(world_node(4)->member)), 4);
}

static void adding_a_voter_again_succeeds_and_changes_nothing(void **state) {
    uint64_t leader = world_leader(), other = other_than(leader);
    uint64_t index = member_configuration(world_node(leader)->member)->index;
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + other);
    world_change(leader, &change, CHANGE_ADD_VOTER, name);
    answer_identify(other, 0);
    assert_true(change.done && change.succeeded);
    assert_int_equal(change.index, index);
    name[4] = (char)('0' + leader);
    change = (struct world_change){0};
    world_change(leader, &change, CHANGE_ADD_VOTER, name);
    assert_true(change.done && change.succeeded);
    assert_int_equal(change.index, index);
}

static void L7_a_voter_whose_disk_was_wiped_is_not_the_voter_that_it_was(void **state) {
    uint64_t leader = world_leader(), wiped = other_than(leader);
    uint64_t index = member_configuration(world_node(leader)->member)->index;
    struct identity identity = world_node(wiped)->identity;

    (void)state;
    identity.member_id = 4711;
    identity.cluster_id = 0;
    world_change(leader, &change, CHANGE_ADD_VOTER, identity.name);
    assert_non_null(world.identify.callback);
    world.identify.callback(world.identify.data, &identity, NULL);
    assert_true(change.done && !change.succeeded);
    assert_int_equal(change.failure.code, ERROR_ALREADY_EXISTS);
    assert_non_null(strstr(change.failure.message, "remove the member first"));
    assert_int_equal(member_configuration(world_node(leader)->member)->index, index);
}

static void L18_a_timeout_in_the_past_does_not_spin(void **state) {
    struct member *member = world_node(world_leader())->member;

    (void)state;
    for (int i = 0; i < 50; i++) {
        world.now += 7;
        if (member_deadline(member) <= world.now)
            member_tick(member);
        assert_true(member_deadline(member) > world.now);
    }
}

static void L20_a_timeout_is_fired_only_when_due(void **state) {
    struct member *member = world_node(world_leader())->member;
    uint64_t not_before;

    (void)state;
    world_pass(HEARTBEAT_MS);
    not_before = member->timeout_not_before;
    for (int i = 0; i < 20; i++)
        if (member_deadline(member) > world.now)
            member_tick(member);
    assert_int_equal(member->timeout_not_before, not_before);
}

static void L19_leadership_is_handed_over_under_load(void **state) {
    uint64_t old = world_leader(), target = other_than(old);
    char name[] = "node0";
    int next = 0;

    (void)state;
    name[4] = (char)('0' + target);
    world_node(target)->hold_writes = true; /* behind */
    world_propose(old, &proposals[next++]);
    world_settle();
    world_change(old, &change, CHANGE_TRANSFER, name);
    for (; next < 20; next++) {
        world_propose(old, &proposals[next]);
        world_settle();
    }
    assert_int_equal(world.timeouts_now, 0); /* never before the target has everything */
    assert_false(proposals[19].done);        /* held */
    world_node(target)->hold_writes = false;
    assert_true(world_run(change_is_done, 5000));
    assert_true(change.succeeded);
    assert_string_equal(change.leader, name);
    world_pass(500);
    for (int i = 0; i < 20; i++)
        assert_true(proposals[i].applied || proposals[i].failure.code == ERROR_NOT_LEADER);
}

static bool drop_timeout_now_once(const struct world_message *message,
                                  const Raftkv__V1__PeerMessage *peer) {
    (void)message;
    return peer->body_case != RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW || world.timeouts_now > 1;
}

static void L19_a_lost_timeout_now_is_sent_again(void **state) {
    uint64_t old = world_leader();
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + other_than(old));
    world.filter = drop_timeout_now_once;
    world_change(old, &change, CHANGE_TRANSFER, name);
    assert_true(world_run(change_is_done, 9000));
    assert_true(change.succeeded);
    assert_int_equal(world.timeouts_now, 2);
}

static void L19_a_transfer_to_a_silent_voter_fails_and_the_leader_serves_on(void **state) {
    uint64_t old = world_leader(), target = other_than(old);
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + target);
    world_node(target)->cut = true;
    world_propose(old, &proposals[0]);
    world_settle();
    world_change(old, &change, CHANGE_TRANSFER, name);
    assert_true(world_run(change_is_done, 21000));
    assert_false(change.succeeded);
    assert_int_equal(change.failure.code, ERROR_TIMEOUT);
    world_propose(old, &proposals[1]);
    assert_true(world_run(first_done, 1000));
    world_pass(100);
    assert_true(proposals[1].applied);
}

static void L19_a_transfer_ends_when_the_leader_loses_its_majority(void **state) {
    uint64_t old = world_leader();

    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        if (id != old)
            world_node(id)->cut = true;
    world_propose(old, &proposals[0]); /* so that no voter has everything */
    world_change(old, &change, CHANGE_TRANSFER, "");
    assert_true(world_run(change_is_done, 3 * ELECTION_MS));
    assert_false(change.succeeded);
    assert_int_equal(change.failure.code, ERROR_TIMEOUT);
}

static void L22_a_standby_forgets_a_silent_leader(void **state) {
    uint64_t leader = world_leader(), standby = other_than(leader);
    struct member_view view;
    char name[] = "node0";

    (void)state;
    name[4] = (char)('0' + standby);
    world_change(leader, &change, CHANGE_DEMOTE, name);
    assert_true(world_run(change_is_done, 1000));
    world_pass(500);
    member_get_view(world_node(standby)->member, &view);
    assert_int_equal(view.role, MEMBER_STANDBY);
    assert_int_equal(view.leader, leader);
    world_node(standby)->cut = true;
    world_pass(3 * ELECTION_MS);
    member_get_view(world_node(standby)->member, &view);
    assert_int_equal(view.leader, 0);
}

static uint64_t cut_after_vote;

static bool cut_at_first_vote(const struct world_message *message,
                              const Raftkv__V1__PeerMessage *peer) {
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE &&
        !peer->request_vote->pre_vote && cut_after_vote == 0) {
        cut_after_vote = message->from;
        world_node(message->from)->cut = true;
        return false;
    }
    return true;
}

static void L23_a_cut_off_candidate_does_not_raise_its_term_again_and_again(void **state) {
    uint64_t old = world_leader(), term;

    (void)state;
    cut_after_vote = 0;
    world.filter = cut_at_first_vote;
    world_node(old)->cut = true;
    for (int i = 0; i < 100 && cut_after_vote == 0; i++)
        world_pass(100);
    assert_int_not_equal(cut_after_vote, 0);
    term = term_of(cut_after_vote);
    world_pass(20 * ELECTION_MS);
    assert_int_equal(term_of(cut_after_vote), term);
    for (uint64_t id = 1; id <= 3; id++)
        world_node(id)->cut = false;
    assert_true(world_run(world_has_leader, 20000));
}

/* ---- heartbeats behind a full link ---- */

static bool watch_rejections(const struct world_message *message,
                             const Raftkv__V1__PeerMessage *peer) {
    (void)message;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT)
        assert_int_equal(peer->append_entries_result->rejected, 0);
    return true;
}

static void a_heartbeat_that_overtakes_entries_is_not_refused(void **state) {
    uint64_t leader = world_leader(), term = term_of(leader);

    (void)state;
    world.filter = watch_rejections;
    world_node(leader)->backlog = 64 * 1024 * 1024; /* no entries leave */
    world_propose(leader, &proposals[0]);
    world_pass(5 * ELECTION_MS);
    assert_false(proposals[0].done);
    assert_int_equal(term_of(leader), term); /* but the heartbeats do */
    world_node(leader)->backlog = 0;
    assert_true(world_run(first_done, 1000));
    assert_true(proposals[0].applied);
}

#define THREE(test) cmocka_unit_test_setup_teardown(test, start_three, stop)
#define OWN(test) cmocka_unit_test_teardown(test, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        THREE(a_command_is_applied_on_every_member),
        THREE(what_arrives_during_a_write_is_one_submission),
        THREE(a_follower_refuses_proposals),
        THREE(a_proposal_of_a_deposed_leader_ends_when_its_place_is_taken),
        THREE(a_proposal_that_outlives_its_leaders_office_succeeds),
        THREE(proposals_above_the_limit_are_refused),
        THREE(all_survives_a_restart_of_all),
        THREE(a_follower_that_was_away_catches_up_from_the_disk),
        THREE(a_member_that_applies_nothing_does_not_keep_all_in_memory),
        THREE(no_message_leaves_before_term_and_vote_are_durable),
        THREE(L1_a_configuration_is_alone_in_its_message),
        OWN(L2_a_sole_voter_starts_in_a_new_term_with_its_own_vote),
        THREE(L2_a_leader_hands_over_before_it_is_removed),
        THREE(a_leader_that_takes_leave_of_a_removed_member_does_not_spin),
        THREE(only_the_leader_and_only_of_a_later_configuration_is_believed),
        THREE(a_removed_member_that_has_left_may_come_back_to_be_added_again),
        THREE(L2_a_new_leader_hears_the_others_before_it_lets_a_voter_go),
        THREE(L2_a_voter_that_stays_unheard_does_not_count),
        THREE(L19_a_new_leader_hands_over_to_one_that_it_has_not_heard_of_yet),
        OWN(L2_the_last_voter_stays),
        OWN(L3_a_leader_serves_only_after_an_entry_of_its_term_is_applied),
        THREE(L5_nothing_is_applied_before_it_is_durable_here),
        THREE(L5_a_leader_does_not_apply_what_only_its_followers_have),
        THREE(L5_a_restart_finds_more_applied_than_committed),
        THREE(a_restarted_member_is_not_readable_before_it_has_applied_what_it_had_shown),
        THREE(L6_an_error_of_a_step_stops_the_node),
        THREE(L12_a_write_that_was_cut_off_meanwhile_is_not_reported),
        OWN(L14_L21_a_voter_is_added_without_raft_catch_up),
        THREE(adding_a_voter_again_succeeds_and_changes_nothing),
        THREE(L7_a_voter_whose_disk_was_wiped_is_not_the_voter_that_it_was),
        THREE(L18_a_timeout_in_the_past_does_not_spin),
        THREE(L19_leadership_is_handed_over_under_load),
        THREE(L19_a_lost_timeout_now_is_sent_again),
        THREE(L19_a_transfer_to_a_silent_voter_fails_and_the_leader_serves_on),
        THREE(L19_a_transfer_ends_when_the_leader_loses_its_majority),
        THREE(L20_a_timeout_is_fired_only_when_due),
        THREE(L22_a_standby_forgets_a_silent_leader),
        THREE(L23_a_cut_off_candidate_does_not_raise_its_term_again_and_again),
        THREE(L37_who_refuses_a_pre_vote_says_its_higher_term),
        THREE(a_heartbeat_that_overtakes_entries_is_not_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
