/* The codec: raft's messages survive the wire, and what no correct member sends does not get in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft_driver.h"

#define LIMIT (UINT64_C(1) << 62)

/* Encodes, unpacks and decodes, as a message that travels from server 2. */
static void travel(const struct raft_message *message, raft_index last_index,
                   struct raft_message *ret) {
    Raftkv__V1__PeerMessage *peer;
    const char *reason;
    uint8_t *data;
    size_t size;

    data = codec_encode(message, last_index, &size);
    peer = raftkv__v1__peer_message__unpack(NULL, size, data);
    assert_non_null(peer);
    assert_int_equal(codec_decode(peer, 2, "peer", ret, &reason), 0);
    raftkv__v1__peer_message__free_unpacked(peer, NULL);
    free(data);
    assert_int_equal(ret->server_id, 2);
    assert_string_equal(ret->server_address, "peer");
    assert_int_equal(ret->type, message->type);
}

static void an_append_travels_with_its_entries(void **state) {
    char first[] = "first", third[] = "third one";
    struct raft_entry entries[] = {
        {.term = 3, .type = RAFT_COMMAND, .buf = {first, 5}},
        {.term = 3, .type = RAFT_BARRIER, .buf = {NULL, 0}},
        {.term = 4, .type = RAFT_COMMAND, .buf = {third, 9}},
    };
    struct raft_message back, message = {
                                  .type = RAFT_APPEND_ENTRIES,
                                  .append_entries = {.term = 5,
                                                     .prev_log_index = 9,
                                                     .prev_log_term = 2,
                                                     .leader_commit = 7,
                                                     .entries = entries,
                                                     .n_entries = 3},
                              };
    struct raft_append_entries *args = &back.append_entries;

    travel(&message, 0, &back);
    assert_int_equal(args->term, 5);
    assert_int_equal(args->prev_log_index, 9);
    assert_int_equal(args->prev_log_term, 2);
    assert_int_equal(args->leader_commit, 7);
    assert_int_equal(args->n_entries, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(args->entries[i].term, entries[i].term);
        assert_int_equal(args->entries[i].type, entries[i].type);
        assert_int_equal(args->entries[i].buf.len, entries[i].buf.len);
        assert_non_null(args->entries[i].batch);
        assert_ptr_equal(args->entries[i].batch, args->entries[0].batch);
        if (entries[i].buf.len > 0) {
            assert_memory_equal(args->entries[i].buf.base, entries[i].buf.base, entries[i].buf.len);
        }
    }
    codec_free(&back);

    /* L10: an entry without data still has a batch. */
    message.append_entries.entries = &entries[1];
    message.append_entries.n_entries = 1;
    travel(&message, 0, &back);
    assert_non_null(args->entries[0].batch);
    codec_free(&back);

    message.append_entries.n_entries = 0;
    travel(&message, 0, &back);
    assert_int_equal(args->n_entries, 0);
    codec_free(&back);
    (void)state;
}

static void votes_and_results_travel(void **state) {
    struct raft_message back, message;

    message = (struct raft_message){
        .type = RAFT_REQUEST_VOTE,
        .request_vote = {.term = 9, .last_log_index = 5, .last_log_term = 8, .pre_vote = true},
    };
    travel(&message, 0, &back);
    assert_int_equal(back.request_vote.version, 2);
    assert_int_equal(back.request_vote.term, 9);
    assert_int_equal(back.request_vote.candidate_id, 2);
    assert_int_equal(back.request_vote.last_log_index, 5);
    assert_int_equal(back.request_vote.last_log_term, 8);
    assert_true(back.request_vote.pre_vote);
    assert_false(back.request_vote.disrupt_leader);
    message.request_vote.pre_vote = false;
    message.request_vote.disrupt_leader = true;
    travel(&message, 0, &back);
    assert_false(back.request_vote.pre_vote);
    assert_true(back.request_vote.disrupt_leader);

    message = (struct raft_message){
        .type = RAFT_REQUEST_VOTE_RESULT,
        .request_vote_result = {.term = 9, .vote_granted = true, .pre_vote = true, .capacity = 7},
    };
    travel(&message, 0, &back);
    assert_int_equal(back.request_vote_result.version, 2);
    assert_int_equal(back.request_vote_result.term, 9);
    assert_true(back.request_vote_result.vote_granted);
    assert_true(back.request_vote_result.pre_vote);
    assert_int_equal(back.request_vote_result.features, 1);
    assert_int_equal(back.request_vote_result.capacity, 7);

    message = (struct raft_message){
        .type = RAFT_APPEND_ENTRIES_RESULT,
        .append_entries_result = {.term = 9, .last_log_index = 6, .capacity = UINT16_MAX},
    };
    travel(&message, 8, &back);
    assert_int_equal(back.append_entries_result.version, 2);
    assert_int_equal(back.append_entries_result.last_log_index, 6);
    assert_int_equal(back.append_entries_result.rejected, 0);
    assert_int_equal(back.append_entries_result.features, 1);
    assert_int_equal(back.append_entries_result.capacity, UINT16_MAX);

    message = (struct raft_message){
        .type = RAFT_TIMEOUT_NOW,
        .timeout_now = {.term = 9, .last_log_index = 6, .last_log_term = 9},
    };
    travel(&message, 0, &back);
    assert_int_equal(back.timeout_now.term, 9);
    assert_int_equal(back.timeout_now.last_log_index, 6);
    assert_int_equal(back.timeout_now.last_log_term, 9);
    (void)state;
}

static void L16_an_index_that_libraft_left_unset_is_clamped(void **state) {
    struct raft_message back,
        message = {
            .type = RAFT_APPEND_ENTRIES_RESULT,
            .append_entries_result = {.term = 9, .last_log_index = UINT64_MAX},
        };

    travel(&message, 8, &back);
    assert_int_equal(back.append_entries_result.last_log_index, 8);
    message.append_entries_result.rejected = 5;
    travel(&message, 8, &back);
    assert_int_equal(back.append_entries_result.rejected, 5);
    assert_int_equal(back.append_entries_result.last_log_index, 4);
    (void)state;
}

static void L16_a_member_that_refuses_a_lower_term_sends_a_possible_index(void **state) {
    struct driver d;
    const struct raft_message *answer;
    struct raft_message back;

    driver_start_usual(&d);
    assert_int_equal(
        driver_append(&d, 2, &(struct driver_append){.term = 2, .prev = 9, .prev_term = 2}),
        GUARD_PASS);
    answer = driver_sent(&d, 2, RAFT_APPEND_ENTRIES_RESULT);
    assert_non_null(answer);
    travel(answer, driver_last_index(&d), &back);
    assert_true(back.append_entries_result.last_log_index <= 5);
    assert_int_equal(back.append_entries_result.term, 3);
    driver_stop(&d);
    (void)state;
}

static void assert_refused(Raftkv__V1__PeerMessage *peer) {
    struct raft_message message = {.type = 77};
    const char *reason = NULL;

    assert_int_equal(codec_decode(peer, 2, "peer", &message, &reason), -EBADMSG);
    assert_non_null(reason);
    assert_int_equal(message.type, 77);
}

/* An append of two commands that is taken as it is, for tests to break. */
struct valid_append {
    Raftkv__V1__PeerMessage peer;
    Raftkv__V1__AppendEntries append;
    Raftkv__V1__Entry entries[2];
    Raftkv__V1__Entry *pointers[2];
    uint8_t data[16];
};

static void valid_append(struct valid_append *v) {
    raftkv__v1__peer_message__init(&v->peer);
    raftkv__v1__append_entries__init(&v->append);
    v->peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES;
    v->peer.append_entries = &v->append;
    v->append.term = 5;
    v->append.prev_log_index = 9;
    v->append.prev_log_term = 3;
    v->append.entries = v->pointers;
    v->append.n_entries = 2;
    for (unsigned i = 0; i < 2; i++) {
        raftkv__v1__entry__init(&v->entries[i]);
        v->entries[i].term = 4;
        v->entries[i].type = COMMAND_ENTRY;
        v->entries[i].data = (ProtobufCBinaryData){.data = v->data, .len = 1};
        v->pointers[i] = &v->entries[i];
    }
}

#define REFUSED_WITH(...)        \
    do {                         \
        struct valid_append v;   \
        valid_append(&v);        \
        __VA_ARGS__;             \
        assert_refused(&v.peer); \
    } while (0)

static void a_valid_append_is_taken(void **state) {
    struct valid_append v;
    struct raft_message message;
    const char *reason;

    valid_append(&v);
    assert_int_equal(codec_decode(&v.peer, 2, "peer", &message, &reason), 0);
    codec_free(&message);
    codec_free(&message); /* nothing is left */
    (void)state;
}

static void L1_a_configuration_shares_its_message_with_nothing(void **state) {
    struct configuration three;
    uint8_t *change;
    size_t size;
    struct valid_append v;
    struct raft_message message;
    const char *reason;

    driver_configuration(&three, 3);
    configuration_encode(&three, &change, &size);
    valid_append(&v);
    v.entries[0].type = CHANGE_ENTRY;
    v.entries[0].data = (ProtobufCBinaryData){.data = change, .len = size};
    assert_refused(&v.peer);
    v.pointers[0] = &v.entries[1];
    v.pointers[1] = &v.entries[0];
    assert_refused(&v.peer);
    v.pointers[0] = &v.entries[0];
    v.append.n_entries = 1;
    assert_int_equal(codec_decode(&v.peer, 2, "peer", &message, &reason), 0);
    codec_free(&message);
    raft_free(change);
    (void)state;
}

static void L1_a_configuration_that_is_alone_is_known_by_its_own_index(void **state) {
    struct configuration four;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;

    driver_configuration(&four, 3);
    configuration_add(&four, &server);
    driver_start_usual(&d);
    assert_int_equal(
        driver_append(&d, 2,
                      &(struct driver_append){
                          .term = 4, .prev = 5, .prev_term = 3, .count = 3, .terms = {4, 4, 4}}),
        GUARD_PASS);
    assert_int_equal(
        driver_append(
            &d, 2,
            &(struct driver_append){
                .term = 4, .prev = 8, .prev_term = 4, .count = 1, .terms = {4}, .change = &four}),
        GUARD_PASS);
    assert_int_equal(d.raft.configuration_uncommitted_index, 9);
    driver_confirm(&d);
    assert_int_equal(d.raft.configuration_committed_index, 9);
    driver_check(&d);
    driver_stop(&d);
    (void)state;
}

static void L9_a_malformed_configuration_does_not_reach_libraft(void **state) {
    uint8_t endless[16] = {1, 255, 255, 255, 255, 255, 255, 255, 127, 1};

    REFUSED_WITH({
        v.append.n_entries = 1;
        v.entries[0].type = CHANGE_ENTRY;
        v.entries[0].data = (ProtobufCBinaryData){.data = endless, .len = sizeof(endless)};
    });
    REFUSED_WITH({
        v.append.n_entries = 1;
        v.entries[0].type = CHANGE_ENTRY;
        v.entries[0].data = (ProtobufCBinaryData){.data = NULL, .len = 0};
    });
    (void)state;
}

static void L10_terms_and_indexes_that_do_not_fit_are_refused(void **state) {
    REFUSED_WITH(v.append.term = 0);
    REFUSED_WITH(v.append.term = LIMIT);
    REFUSED_WITH(v.append.prev_log_term = 0);
    REFUSED_WITH(v.append.prev_log_index = 0);
    REFUSED_WITH(v.append.prev_log_term = 6);
    REFUSED_WITH(v.append.prev_log_index = LIMIT);
    REFUSED_WITH(v.append.prev_log_index = LIMIT - 2);
    REFUSED_WITH(v.append.leader_commit = LIMIT);
    REFUSED_WITH(v.entries[0].term = 0);
    REFUSED_WITH(v.entries[0].term = 2);
    REFUSED_WITH(v.entries[0].term = 5); /* the next one has 4 */
    REFUSED_WITH(v.entries[1].term = 6);
    (void)state;
}

static void entries_that_no_member_writes_are_refused(void **state) {
    REFUSED_WITH(v.entries[0].type = 0);
    REFUSED_WITH(v.entries[0].type = 4);
    REFUSED_WITH(v.entries[0].data.len = 0);
    REFUSED_WITH(v.entries[0].data.len = ENTRY_SIZE_MAX + 1);
    REFUSED_WITH({
        v.entries[0].type = RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_BARRIER;
        v.entries[0].data.len = 9;
    });
    REFUSED_WITH(v.append.n_entries = APPEND_ENTRIES_MAX + 1);
    /* A log begins with a configuration. */
    REFUSED_WITH(v.append.prev_log_index = v.append.prev_log_term = 0);
    (void)state;
}

static void votes_and_results_that_no_member_sends_are_refused(void **state) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;
    Raftkv__V1__RequestVoteResult vote_result = RAFTKV__V1__REQUEST_VOTE_RESULT__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;
    Raftkv__V1__TimeoutNow now = RAFTKV__V1__TIMEOUT_NOW__INIT;

    assert_refused(&peer);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    assert_refused(&peer);

    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    assert_refused(&peer);
    vote = (Raftkv__V1__RequestVote){.base = vote.base, .term = 4, .last_log_index = 3};
    assert_refused(&peer);
    vote.last_log_term = 4; /* its own term is new */
    assert_refused(&peer);
    vote.last_log_term = 3;
    vote.pre_vote = vote.disrupt_leader = true;
    assert_refused(&peer);

    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT;
    peer.request_vote_result = &vote_result;
    assert_refused(&peer);
    vote_result.term = 4;
    vote_result.capacity = UINT16_MAX + 1;
    assert_refused(&peer);

    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    assert_refused(&peer);
    result.term = 4;
    result.last_log_index = LIMIT;
    assert_refused(&peer);
    result.rejected = result.last_log_index = 5;
    assert_refused(&peer);
    result.last_log_index = 4;
    result.capacity = UINT16_MAX + 1;
    assert_refused(&peer);

    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW;
    peer.timeout_now = &now;
    assert_refused(&peer);
    now.term = 4;
    now.last_log_index = 3;
    assert_refused(&peer);
    now.last_log_term = 5;
    assert_refused(&peer);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_travels_with_its_entries),
        cmocka_unit_test(votes_and_results_travel),
        cmocka_unit_test(L16_an_index_that_libraft_left_unset_is_clamped),
        cmocka_unit_test(L16_a_member_that_refuses_a_lower_term_sends_a_possible_index),
        cmocka_unit_test(a_valid_append_is_taken),
        cmocka_unit_test(L1_a_configuration_shares_its_message_with_nothing),
        cmocka_unit_test(L1_a_configuration_that_is_alone_is_known_by_its_own_index),
        cmocka_unit_test(L9_a_malformed_configuration_does_not_reach_libraft),
        cmocka_unit_test(L10_terms_and_indexes_that_do_not_fit_are_refused),
        cmocka_unit_test(entries_that_no_member_writes_are_refused),
        cmocka_unit_test(votes_and_results_that_no_member_sends_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
