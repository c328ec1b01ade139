/* The guard against messages of any kind: whatever the codec lets through, in whatever state raft
 * is, leaves raft sound. Built against a libraft with assertions (scripts/libraft-asserts) this
 * also runs every assertion in it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "raft_driver.h"

enum { SEEDS = 1500, EVENTS = 150, SECONDS_MAX = 2, PEERS = 5 };

static uint64_t seed, random_state;

/* xorshift64*, so that a seed means the same everywhere. */
static uint64_t any(uint64_t below) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * UINT64_C(2685821657736338717) >> 11) % below;
}

static bool chance(unsigned percent) {
    return any(100) < percent;
}

/* A number near this one, or rarely any at all. */
static uint64_t near(uint64_t number) {
    if (chance(2)) {
        return any(UINT64_C(1) << 62);
    }
    if (chance(60)) {
        return number;
    }
    number += any(5);
    return number > 2 ? number - 2 : number;
}

static raft_index any_index(const struct driver *d) {
    switch (any(5)) {
    case 0:
        return near(d->raft.commit_index);
    case 1:
        return near(d->raft.trail.snapshot.index);
    case 2:
        return any(driver_last_index(d) + 2);
    default:
        return near(driver_last_index(d));
    }
}

static raft_term any_term(const struct driver *d) {
    raft_term term = near(d->raft.current_term);

    /* Not so high that no election can follow. */
    return term > d->raft.current_term + 100 ? d->raft.current_term + any(100) : term;
}

static void any_configuration(struct configuration *ret) {
    *ret = (struct configuration){0};
    for (uint64_t id = 1; id <= PEERS; id++) {
        struct server server = driver_server(id, chance(70) ? MEMBER_VOTER : MEMBER_STANDBY);

        if (chance(80)) {
            configuration_add(ret, &server);
        }
    }
    if (configuration_voters(ret) == 0) {
        driver_configuration(ret, 1);
    }
}

/* The present configuration with one server added, removed or given another role: what a leader may
 * submit (L4), and never about itself (L2). */
static void any_delta(const struct driver *d, struct configuration *ret) {
    struct server server = driver_server(1 + any(PEERS), MEMBER_STANDBY);
    struct raft_buffer buffer;
    const struct server *there;
    const char *reason;

    assert_int_equal(raft_configuration_encode(&d->raft.configuration, &buffer), 0);
    assert_int_equal(configuration_decode(buffer.base, buffer.len, ret, &reason), 0);
    raft_free(buffer.base);
    there = configuration_find(ret, server.id);
    if (!there) {
        configuration_add(ret, &server);
    } else if (server.id != SELF && chance(50)) {
        configuration_remove(ret, server.id);
    } else if (server.id != SELF) {
        bool voter = there->role == MEMBER_VOTER;

        configuration_set_role(ret, server.id, voter ? MEMBER_STANDBY : MEMBER_VOTER, false);
    }
}

/* Decodes and, if the codec takes it, goes through the guard. */
static void receive(struct driver *d, raft_id from, Raftkv__V1__PeerMessage *peer) {
    struct raft_message message;
    const char *reason;

    struct raft_event event;

    if (codec_decode(peer, from, "peer", &message, &reason) < 0) {
        return;
    }
    if (chance(50) && guard_settles_change(&d->raft, &event)) {
        assert_int_equal(driver_step(d, &event), 0);
    }
    driver_receive_message(d, &message);
}

static void receive_append(struct driver *d, raft_id from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntries append = RAFTKV__V1__APPEND_ENTRIES__INIT;
    Raftkv__V1__Entry entries[8], *pointers[8];
    struct configuration configuration;
    uint8_t command[] = "x", *change = NULL;
    raft_term term;

    append.term = any_term(d);
    append.prev_log_index = any_index(d);
    term = append.prev_log_index < UINT32_MAX ? driver_term_of(d, append.prev_log_index) : 0;
    append.prev_log_term = chance(70) ? term : near(term);
    append.leader_commit = any_index(d);
    append.entries = pointers;
    append.n_entries = any(8);
    term = append.prev_log_term;
    for (size_t i = 0; i < append.n_entries; i++) {
        raft_index index = append.prev_log_index + 1 + i;
        raft_term local = index < UINT32_MAX ? driver_term_of(d, index) : 0;

        if (local > term && chance(60)) {
            term = local;
        } else if (chance(20) && term < append.term) {
            term += 1 + any(append.term - term);
        }
        raftkv__v1__entry__init(&entries[i]);
        entries[i].term = term ? term : 1;
        entries[i].type = COMMAND_ENTRY;
        entries[i].data = (ProtobufCBinaryData){.data = command, .len = 1};
        pointers[i] = &entries[i];
    }
    if (append.n_entries > 0 && (append.prev_log_index == 0 || chance(20))) {
        any_configuration(&configuration);
        configuration_encode(&configuration, &change, &entries[0].data.len);
        entries[0].data.data = change;
        entries[0].type = CHANGE_ENTRY;
        append.n_entries = 1;
    }
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES;
    peer.append_entries = &append;
    receive(d, from, &peer);
    raft_free(change);
}

static void receive_append_result(struct driver *d, raft_id from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;
    raft_index match = 0;

    raft_match_index(&d->raft, from, &match);
    result.term = chance(90) ? d->raft.current_term : any_term(d);
    result.rejected = chance(50) ? 0 : chance(50) ? near(match + 1) : any_index(d);
    result.last_log_index = chance(30) ? near(match) : any_index(d);
    if (result.rejected > 0 && chance(80)) {
        result.last_log_index = any(result.rejected);
    }
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    receive(d, from, &peer);
}

static void receive_vote(struct driver *d, raft_id from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;

    vote.term = any_term(d);
    vote.last_log_index = any_index(d);
    vote.last_log_term = near(driver_term_of(d, driver_last_index(d)));
    vote.pre_vote = chance(50);
    vote.disrupt_leader = chance(20);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    receive(d, from, &peer);
}

static void receive_vote_result(struct driver *d, raft_id from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVoteResult result = RAFTKV__V1__REQUEST_VOTE_RESULT__INIT;

    result.pre_vote = chance(50);
    result.term = any_term(d) + (result.pre_vote && chance(70));
    result.granted = chance(70);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT;
    peer.request_vote_result = &result;
    receive(d, from, &peer);
}

static void receive_timeout_now(struct driver *d, raft_id from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__TimeoutNow now = RAFTKV__V1__TIMEOUT_NOW__INIT;

    now.term = any_term(d);
    now.last_log_index = chance(80) ? driver_last_index(d) : any_index(d);
    now.last_log_term = chance(80) ? driver_term_of(d, now.last_log_index) : any_term(d);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW;
    peer.timeout_now = &now;
    receive(d, from, &peer);
}

/* What a member does of itself. */
static void own_event(struct driver *d) {
    struct configuration configuration;

    switch (any(6)) {
    case 0:
    case 1:
        driver_timeout(d, chance(30) ? 2500 : 120);
        break;
    case 2:
        if (d->raft.configuration_uncommitted_index > 0 &&
            d->raft.configuration_uncommitted_index <= d->raft.commit_index) {
            driver_confirm(d);
        }
        break;
    case 3:
        if (d->unwritten > 0) {
            driver_write(d);
        }
        break;
    default:
        if (d->raft.state == RAFT_LEADER && chance(30)) {
            any_delta(d, &configuration);
            driver_submit(d, &configuration);
        } else {
            driver_submit(d, NULL);
        }
        break;
    }
}

static void any_event(struct driver *d) {
    raft_id from = 1 + any(chance(90) ? PEERS : 9);

    switch (any(10)) {
    case 0:
    case 1:
    case 2:
        receive_append(d, from);
        break;
    case 3:
    case 4:
        receive_append_result(d, from);
        break;
    case 5:
        receive_vote(d, from);
        break;
    case 6:
        receive_vote_result(d, from);
        break;
    case 7:
        receive_timeout_now(d, from);
        break;
    default:
        own_event(d);
        break;
    }
}

static void start_in_any_state(struct driver *d) {
    switch (any(8)) {
    case 0:
        driver_start_joiner(d);
        break;
    case 1:
    case 2:
        driver_start_compacted(d);
        break;
    default:
        driver_start_usual(d);
        break;
    }
    d->hold_writes = chance(30);
    if (d->raft.current_term == 0) {
        return;
    }
    switch (any(4)) {
    case 0:
        driver_elect(d);
        break;
    case 1:
        driver_candidate(d);
        break;
    case 2:
        driver_pre_vote(d);
        break;
    default:
        break;
    }
}

/* Names the seed when a check, an assertion of libraft or a sanitizer ends the test. */
static void say_seed(int signal_number) {
    char text[64];
    int length = snprintf(text, sizeof(text), "RAFTKV_GUARD_SEED=%llu\n", (unsigned long long)seed);

    if (write(STDERR_FILENO, text, (size_t)length) == length && signal_number != 0) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
}

static void no_message_leaves_raft_unsound(void **state) {
    time_t start = time(NULL);
    const char *given = getenv("RAFTKV_GUARD_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;
    uint64_t last = given ? first : SEEDS;

    for (seed = first; seed <= last && time(NULL) - start < SECONDS_MAX; seed++) {
        struct driver d;

        random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
        start_in_any_state(&d);
        for (unsigned i = 0; i < EVENTS; i++) {
            any_event(&d);
            driver_check(&d);
        }
        driver_stop(&d);
    }
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_message_leaves_raft_unsound),
    };
    int failed;

    signal(SIGABRT, say_seed);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) {
        say_seed(0);
    }
    return failed;
}
