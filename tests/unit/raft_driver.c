#include "raft_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ELECTION_TIMEOUT = 1000, HEARTBEAT = 100 };

struct server driver_server(uint64_t id, enum member_role role) {
    struct server server = {.id = id, .role = role};

    snprintf(server.name, sizeof(server.name), "n%u", (unsigned)id);
    snprintf(server.peer_address, sizeof(server.peer_address), "127.0.0.1:%u", 4000 + (unsigned)id);
    snprintf(server.client_address, sizeof(server.client_address), "127.0.0.1:%u",
             5000 + (unsigned)id);
    return server;
}

void driver_configuration(struct configuration *ret, unsigned count) {
    *ret = (struct configuration){0};
    for (unsigned id = 1; id <= count; id++) {
        struct server server = driver_server(id, MEMBER_VOTER);

        configuration_add(ret, &server);
    }
}

/* Looks at what a step asked for: keeps the messages, frees the entries' data, notes the write. */
static void take_update(struct driver *d, const struct raft_update *update) {
    d->sent_count = 0;
    if (update->flags & (RAFT_UPDATE_MESSAGES)) {
        assert_true(update->messages.n <= SENT_MAX);
        d->sent_count = update->messages.n;
        memcpy(d->sent, update->messages.batch, update->messages.n * sizeof(*d->sent));
    }
    if (update->flags & (RAFT_UPDATE_ENTRIES)) {
        raft_free(update->entries.batch[0].batch);
        d->unwritten = update->entries.index + update->entries.n - 1;
    }
    /* What was cut off is not waited for. */
    if (d->unwritten > driver_last_index(d)) {
        d->unwritten = driver_last_index(d);
    }
}

void driver_write(struct driver *d) {
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};

    event.persisted_entries.index = d->unwritten;
    d->unwritten = 0;
    if (event.persisted_entries.index > d->raft.last_stored) {
        struct raft_message sent[SENT_MAX];
        unsigned count = d->sent_count;

        memcpy(sent, d->sent, count * sizeof(*sent));
        assert_int_equal(driver_step(d, &event), 0);
        assert_true(count + d->sent_count <= SENT_MAX);
        memcpy(d->sent + d->sent_count, sent, count * sizeof(*sent));
        d->sent_count += count;
    }
}

int driver_step(struct driver *d, struct raft_event *event) {
    struct raft_update update = {0};
    int rv;

    event->time = d->now;
    event->capacity = UINT16_MAX;
    rv = raft_step(&d->raft, event, &update);
    if (rv != 0) {
        return rv;
    }
    take_update(d, &update);
    if (!d->hold_writes && d->unwritten > 0) {
        driver_write(d);
    }
    return 0;
}

static struct raft_entry make_entry(raft_term term, const struct configuration *change) {
    struct raft_entry entry = {.term = term, .type = change ? RAFT_CHANGE : RAFT_COMMAND};
    uint8_t *data;

    if (change) {
        configuration_encode(change, &data, &entry.buf.len);
    } else {
        entry.buf.len = 8;
        data = raft_calloc(1, entry.buf.len);
    }
    entry.buf.base = entry.batch = data;
    return entry;
}

void driver_start(struct driver *d, const struct driver_log *log) {
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata snapshot = {0};
    struct raft_entry *entries = calloc(log->count + 1, sizeof(*entries));

    *d = (struct driver){.now = 1000};
    assert_int_equal(raft_init(&d->raft, NULL, NULL, SELF, "n1"), 0);
    d->raft.tracer = NULL;
    raft_seed(&d->raft, 1);
    raft_set_election_timeout(&d->raft, ELECTION_TIMEOUT);
    raft_set_heartbeat_timeout(&d->raft, HEARTBEAT);
    raft_set_pre_vote(&d->raft, true);

    if (log->snapshot_index > 0) {
        snapshot.index = log->snapshot_index;
        snapshot.term = log->snapshot_term;
        snapshot.configuration_index = 1;
        configuration_to_raft(log->configuration, &snapshot.configuration);
        event.start.metadata = &snapshot;
    }
    for (unsigned i = 0; i < log->count; i++) {
        bool first = i == 0 && log->snapshot_index == 0;

        entries[i] = make_entry(log->terms[i], first ? log->configuration : NULL);
    }
    event.start.term = log->term;
    event.start.start_index = log->snapshot_index + 1;
    event.start.entries = log->count > 0 ? entries : NULL;
    event.start.n_entries = log->count;
    assert_int_equal(driver_step(d, &event), 0);
    for (unsigned i = 0; i < log->count; i++) {
        raft_free(entries[i].batch);
    }
    free(entries);
}

void driver_start_usual(struct driver *d) {
    struct configuration three;

    driver_configuration(&three, 3);
    driver_start(d, &(struct driver_log){.configuration = &three,
                                         .terms = (raft_term[]){1, 1, 2, 2, 3},
                                         .count = 5,
                                         .term = 3});
}

void driver_start_compacted(struct driver *d) {
    struct configuration three;

    driver_configuration(&three, 3);
    driver_start(d, &(struct driver_log){.configuration = &three,
                                         .snapshot_index = 4,
                                         .snapshot_term = 2,
                                         .terms = (raft_term[]){3},
                                         .count = 1,
                                         .term = 3});
}

void driver_start_joiner(struct driver *d) {
    driver_start(d, &(struct driver_log){0});
}

void driver_stop(struct driver *d) {
    raft_close(&d->raft, NULL);
}

void driver_timeout(struct driver *d, raft_time after) {
    struct raft_event event = {.type = RAFT_TIMEOUT};

    d->now += after;
    assert_int_equal(driver_step(d, &event), 0);
}

void driver_pre_vote(struct driver *d) {
    driver_timeout(d, 2 * ELECTION_TIMEOUT + 1);
    assert_int_equal(d->raft.state, RAFT_CANDIDATE);
    assert_true(d->raft.candidate_state.in_pre_vote);
}

void driver_candidate(struct driver *d) {
    driver_pre_vote(d);
    assert_int_equal(driver_vote_result(d, 2, d->raft.current_term + 1, true, true), GUARD_PASS);
    assert_int_equal(d->raft.state, RAFT_CANDIDATE);
    assert_false(d->raft.candidate_state.in_pre_vote);
}

void driver_elect(struct driver *d) {
    driver_candidate(d);
    assert_int_equal(driver_vote_result(d, 2, d->raft.current_term, false, true), GUARD_PASS);
    assert_int_equal(d->raft.state, RAFT_LEADER);
}

int driver_submit(struct driver *d, const struct configuration *change) {
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_entry entry = make_entry(d->raft.current_term, change);
    int rv;

    event.submit.entries = &entry;
    event.submit.n = 1;
    rv = driver_step(d, &event);
    if (rv != 0) {
        raft_free(entry.batch);
    }
    return rv;
}

void driver_confirm(struct driver *d) {
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    struct raft_buffer buffer;

    assert_int_equal(raft_configuration_encode(&d->raft.configuration, &buffer), 0);
    event.configuration.index = d->raft.configuration_uncommitted_index;
    assert_int_equal(raft_configuration_decode(&buffer, &event.configuration.conf), 0);
    raft_free(buffer.base);
    assert_int_equal(driver_step(d, &event), 0);
}

enum guard_verdict driver_receive_message(struct driver *d, struct raft_message *message) {
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    enum guard_verdict verdict;

    d->sent_count = 0;
    d->reason = NULL;
    verdict = guard_receive(&d->guard, &d->raft, message, &d->reason);
    if (verdict != GUARD_PASS) {
        assert_non_null(d->reason);
        codec_free(message);
        return verdict;
    }
    assert_int_equal(driver_step(d, &event), 0);
    if (message->type == RAFT_APPEND_ENTRIES) {
        raft_free(message->append_entries.entries);
    }
    return verdict;
}

enum guard_verdict driver_receive(struct driver *d, raft_id from, Raftkv__V1__PeerMessage *peer) {
    struct raft_message message;
    const char *reason = NULL;

    if (codec_decode(peer, from, "peer", &message, &reason) < 0) {
        fail_msg("the codec refused: %s", reason);
    }
    return driver_receive_message(d, &message);
}

enum guard_verdict driver_append(struct driver *d, raft_id from, const struct driver_append *args) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntries append = RAFTKV__V1__APPEND_ENTRIES__INIT;
    Raftkv__V1__Entry entries[4], *pointers[4];
    uint8_t command[] = "x", *change = NULL;
    enum guard_verdict verdict;

    append.term = args->term;
    append.prev_log_index = args->prev;
    append.prev_log_term = args->prev_term;
    append.leader_commit = args->commit;
    append.n_entries = args->count;
    append.entries = pointers;
    for (unsigned i = 0; i < args->count; i++) {
        raftkv__v1__entry__init(&entries[i]);
        entries[i].term = args->terms[i];
        entries[i].type = COMMAND_ENTRY;
        entries[i].data = (ProtobufCBinaryData){.data = command, .len = 1};
        pointers[i] = &entries[i];
    }
    if (args->change) {
        entries[0].type = CHANGE_ENTRY;
        configuration_encode(args->change, &change, &entries[0].data.len);
        entries[0].data.data = change;
    }
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES;
    peer.append_entries = &append;
    verdict = driver_receive(d, from, &peer);
    raft_free(change);
    return verdict;
}

enum guard_verdict driver_result(struct driver *d, raft_id from, raft_term term,
                                 raft_index rejected, raft_index last_index) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;

    result.term = term;
    result.rejected = rejected;
    result.last_log_index = last_index;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    return driver_receive(d, from, &peer);
}

enum guard_verdict driver_vote(struct driver *d, raft_id from, raft_term term, bool pre_vote,
                               bool disrupt) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;

    vote.term = term;
    vote.last_log_index = 1000; /* a log that is newer than any here */
    vote.last_log_term = term - 1;
    vote.pre_vote = pre_vote;
    vote.disrupt_leader = disrupt;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    return driver_receive(d, from, &peer);
}

enum guard_verdict driver_vote_result(struct driver *d, raft_id from, raft_term term, bool pre_vote,
                                      bool granted) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVoteResult result = RAFTKV__V1__REQUEST_VOTE_RESULT__INIT;

    result.term = term;
    result.pre_vote = pre_vote;
    result.granted = granted;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT;
    peer.request_vote_result = &result;
    return driver_receive(d, from, &peer);
}

enum guard_verdict driver_timeout_now(struct driver *d, raft_id from, raft_term term,
                                      raft_index last_index, raft_term last_term) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__TimeoutNow now = RAFTKV__V1__TIMEOUT_NOW__INIT;

    now.term = term;
    now.last_log_index = last_index;
    now.last_log_term = last_term;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW;
    peer.timeout_now = &now;
    return driver_receive(d, from, &peer);
}

const struct raft_message *driver_sent(const struct driver *d, raft_id to,
                                       enum raft_message_type type) {
    for (unsigned i = 0; i < d->sent_count; i++) {
        if (d->sent[i].type == type && (to == 0 || d->sent[i].server_id == to)) {
            return &d->sent[i];
        }
    }
    return NULL;
}

/* These three read the trail in their own way, so as to check the guard's. */

static unsigned record_count(const struct raft_trail *trail) {
    return trail->size == 0 ? 0 : (trail->back + trail->size - trail->front) % trail->size;
}

raft_index driver_last_index(const struct driver *d) {
    const struct raft_trail *trail = &d->raft.trail;
    unsigned count = record_count(trail);

    if (count == 0) {
        return trail->snapshot.index;
    }
    return trail->records[(trail->front + count - 1) % trail->size].index;
}

raft_term driver_term_of(const struct driver *d, raft_index index) {
    const struct raft_trail *trail = &d->raft.trail;
    raft_term term = 0;

    if (index > trail->offset) {
        for (unsigned i = record_count(trail); i > 0; i--) {
            unsigned at = (trail->front + i - 1) % trail->size;

            term = index <= trail->records[at].index ? trail->records[at].term : term;
        }
    }
    return term == 0 && index == trail->snapshot.index ? trail->snapshot.term : term;
}

void driver_check(struct driver *d) {
    const struct raft *raft = &d->raft;
    const struct raft_trail *trail = &raft->trail;
    raft_index last = driver_last_index(d), previous = trail->offset;
    raft_term term = 0;
    raft_index match;

    assert_true(raft->commit_index >= d->commit_seen);
    d->commit_seen = raft->commit_index;
    assert_true(raft->commit_index <= last);
    assert_true(raft->last_stored <= last);
    assert_true(raft->configuration_uncommitted_index <= last);
    assert_true(raft->configuration_committed_index <= last);
    assert_true(trail->offset <= trail->snapshot.index);
    for (unsigned i = 0; i < record_count(trail); i++) {
        unsigned at = (trail->front + i) % trail->size;

        assert_true(trail->records[at].index > previous);
        assert_true(trail->records[at].term > term);
        previous = trail->records[at].index;
        term = trail->records[at].term;
    }
    assert_true(term <= raft->current_term);
    if (raft->state != RAFT_LEADER) {
        return;
    }
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        assert_int_equal(raft_match_index(raft, raft->configuration.servers[i].id, &match), 0);
        assert_true(match <= last);
    }
}

void driver_assert_follows(struct driver *d, raft_id leader, raft_term term) {
    raft_index last = driver_last_index(d);
    const struct raft_message *answer;
    struct driver_append args = {
        .term = term,
        .prev = last,
        .prev_term = driver_term_of(d, last),
        .commit = last,
        .count = 1,
        .terms = {term},
    };

    assert_int_equal(driver_append(d, leader, &args), GUARD_PASS);
    assert_int_equal(d->raft.state, RAFT_FOLLOWER);
    assert_int_equal(driver_last_index(d), last + 1);
    assert_int_equal(d->raft.last_stored, last + 1);
    answer = driver_sent(d, leader, RAFT_APPEND_ENTRIES_RESULT);
    assert_non_null(answer);
    assert_int_equal(answer->append_entries_result.rejected, 0);
    assert_int_equal(answer->append_entries_result.last_log_index, last + 1);
    driver_check(d);
}

void driver_assert_leads(struct driver *d) {
    raft_index last;

    assert_int_equal(d->raft.state, RAFT_LEADER);
    assert_int_equal(driver_submit(d, NULL), 0);
    last = driver_last_index(d);
    assert_int_equal(driver_result(d, 2, d->raft.current_term, 0, last), GUARD_PASS);
    assert_int_equal(d->raft.commit_index, last);
    driver_check(d);
}

void driver_assert_unchanged(const struct driver *d, const struct raft *before) {
    assert_int_equal(d->raft.state, before->state);
    assert_int_equal(d->raft.current_term, before->current_term);
    assert_int_equal(d->raft.voted_for, before->voted_for);
    assert_int_equal(d->raft.commit_index, before->commit_index);
    assert_int_equal(d->raft.last_stored, before->last_stored);
    assert_int_equal(d->sent_count, 0);
}
