#include "raft/codec.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/defect.h"
#include "base/limits.h"
#include "base/memory.h"
#include "raft/configuration.h"

/* What libraft 0.22.1 puts into its own messages (its src/message.h). The versions stand for fields
 * that it has (pre_vote, capacity), and all of them are on our wire. */
enum {
    REQUEST_VOTE_VERSION = 2,
    REQUEST_VOTE_RESULT_VERSION = 2,
    APPEND_ENTRIES_RESULT_VERSION = 2,
    FEATURE_CAPACITY = 1,
};

enum {
    CAPACITY_MAX = UINT16_MAX,
    /* libraft's own barrier carries 8 bytes of zeros. */
    BARRIER_SIZE_MAX = 8,
};

/* Terms and indexes are counted up from 1 and never get near this. It keeps `term + 1` and `index +
 * count` from wrapping, here and in libraft, whatever a peer sends. */
static const uint64_t NUMBER_LIMIT = CODEC_NUMBER_LIMIT;

static void encode_entry(const struct raft_entry *entry, Raftkv__V1__Entry *ret) {
    raftkv__v1__entry__init(ret);
    ret->term = entry->term;
    ret->type = (Raftkv__V1__EntryType)entry->type;
    ret->data.data = entry->buf.base;
    ret->data.len = entry->buf.len;
}

static uint8_t *pack_message(const Raftkv__V1__PeerMessage *peer, size_t *ret_size) {
    size_t size = raftkv__v1__peer_message__get_packed_size(peer);
    uint8_t *data = xmalloc(size);

    check(raftkv__v1__peer_message__pack(peer, data) == size);
    *ret_size = size;
    return data;
}

static uint8_t *encode_append(const struct raft_append_entries *args, size_t *ret_size) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntries append = RAFTKV__V1__APPEND_ENTRIES__INIT;
    _cleanup_free_ Raftkv__V1__Entry *entries = NULL;
    _cleanup_free_ Raftkv__V1__Entry **pointers = NULL;

    append.term = args->term;
    append.prev_log_index = args->prev_log_index;
    append.prev_log_term = args->prev_log_term;
    append.leader_commit = args->leader_commit;
    if (args->n_entries > 0) {
        entries = xcalloc(args->n_entries, sizeof(*entries));
        pointers = xcalloc(args->n_entries, sizeof(*pointers));
        for (unsigned i = 0; i < args->n_entries; i++) {
            encode_entry(&args->entries[i], &entries[i]);
            pointers[i] = &entries[i];
        }
    }
    append.n_entries = args->n_entries;
    append.entries = pointers;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES;
    peer.append_entries = &append;
    return pack_message(&peer, ret_size);
}

static uint8_t *encode_append_result(const struct raft_append_entries_result *args,
                                     raft_index last_index, size_t *ret_size) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;
    raft_index limit = last_index;

    /* L16: in the answer to a lower term libraft leaves last_log_index unset. The receiver only
     * looks at the term then, but what we send is always a possible value. */
    if (args->rejected > 0 && args->rejected - 1 < limit) {
        limit = args->rejected - 1;
    }
    result.term = args->term;
    result.rejected = args->rejected;
    result.last_log_index = args->last_log_index < limit ? args->last_log_index : limit;
    result.capacity = args->capacity;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    return pack_message(&peer, ret_size);
}

static uint8_t *encode_vote(const struct raft_request_vote *args, size_t *ret_size) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;

    vote.term = args->term;
    vote.last_log_index = args->last_log_index;
    vote.last_log_term = args->last_log_term;
    vote.disrupt_leader = args->disrupt_leader;
    vote.pre_vote = args->pre_vote;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    return pack_message(&peer, ret_size);
}

static uint8_t *encode_vote_result(const struct raft_request_vote_result *args, size_t *ret_size) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVoteResult result = RAFTKV__V1__REQUEST_VOTE_RESULT__INIT;

    result.term = args->term;
    result.granted = args->vote_granted;
    result.pre_vote = args->pre_vote;
    result.capacity = args->capacity;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT;
    peer.request_vote_result = &result;
    return pack_message(&peer, ret_size);
}

static uint8_t *encode_timeout_now(const struct raft_timeout_now *args, size_t *ret_size) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__TimeoutNow now = RAFTKV__V1__TIMEOUT_NOW__INIT;

    now.term = args->term;
    now.last_log_index = args->last_log_index;
    now.last_log_term = args->last_log_term;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW;
    peer.timeout_now = &now;
    return pack_message(&peer, ret_size);
}

uint8_t *codec_encode(const struct raft_message *message, raft_index last_index, size_t *ret_size) {
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return encode_append(&message->append_entries, ret_size);
    case RAFT_APPEND_ENTRIES_RESULT:
        return encode_append_result(&message->append_entries_result, last_index, ret_size);
    case RAFT_REQUEST_VOTE:
        return encode_vote(&message->request_vote, ret_size);
    case RAFT_REQUEST_VOTE_RESULT:
        return encode_vote_result(&message->request_vote_result, ret_size);
    case RAFT_TIMEOUT_NOW:
        return encode_timeout_now(&message->timeout_now, ret_size);
    case RAFT_INSTALL_SNAPSHOT:
        break;
    }
    check(!"a message of this type can be sent");
    return NULL;
}

static bool term_valid(uint64_t term) {
    return term > 0 && term < NUMBER_LIMIT;
}

/* Whether index and term name a log position that a member in `term` can have: 0 and 0 is the place
 * before the first entry (L10). */
static bool position_valid(uint64_t index, uint64_t entry_term, uint64_t term) {
    if ((index == 0) != (entry_term == 0)) {
        return false;
    }
    return index < NUMBER_LIMIT && entry_term <= term;
}

static const char *check_entry_data(const Raftkv__V1__Entry *entry) {
    struct configuration configuration;
    const char *reason;

    switch (entry->type) {
    case RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_COMMAND:
        if (entry->data.len < 1 || entry->data.len > ENTRY_SIZE_MAX) {
            return "a command is empty or too large";
        }
        return NULL;
    case RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_BARRIER:
        return entry->data.len > BARRIER_SIZE_MAX ? "a barrier is too large" : NULL;
    case RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE:
        /* L9: libraft's own decoder reads out of bounds. */
        if (configuration_decode(entry->data.data, entry->data.len, &configuration, &reason) < 0) {
            return reason;
        }
        return NULL;
    default:
        return "an entry has an unknown type";
    }
}

static const char *check_entries(const Raftkv__V1__AppendEntries *append) {
    uint64_t term = append->prev_log_term;

    if (append->n_entries > APPEND_ENTRIES_MAX) {
        return "there are too many entries in one message";
    }
    if (append->prev_log_index + append->n_entries >= NUMBER_LIMIT) {
        return "an index is impossibly high";
    }
    for (size_t i = 0; i < append->n_entries; i++) {
        const Raftkv__V1__Entry *entry = append->entries[i];
        const char *reason;

        /* L10: libraft asserts that terms are not 0 and do not fall. */
        if (entry->term == 0 || entry->term < term || entry->term > append->term) {
            return "the term of an entry is 0, falls, or is above the leader's";
        }
        term = entry->term;
        /* L1: libraft takes the index of the first new entry for that of any change. */
        if (entry->type == RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE && append->n_entries != 1 &&
            !DEFECT(CHANGE_IN_THE_MIDDLE)) {
            return "a configuration is not alone in its message";
        }
        /* A log without a snapshot must begin with a configuration (libraft's RAFT_START). */
        if (append->prev_log_index == 0 && i == 0 &&
            entry->type != RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE) {
            return "the first entry of the log is not a configuration";
        }
        reason = check_entry_data(entry);
        if (reason) {
            return reason;
        }
    }
    return NULL;
}

/* Copies the entries into raft's memory: one array, and one batch with their data. */
static int copy_entries(const Raftkv__V1__AppendEntries *append, struct raft_entry **ret) {
    struct raft_entry *entries;
    uint8_t *batch;
    size_t size = 0;

    for (size_t i = 0; i < append->n_entries; i++) {
        size += append->entries[i]->data.len;
    }
    entries = raft_calloc(append->n_entries, sizeof(*entries));
    batch = raft_malloc(size > 0 ? size : 1); /* never NULL, even for an empty barrier (L10) */
    if (!entries || !batch) {
        raft_free(entries);
        raft_free(batch);
        return -ENOMEM;
    }

    size = 0;
    for (size_t i = 0; i < append->n_entries; i++) {
        const Raftkv__V1__Entry *entry = append->entries[i];

        entries[i].term = entry->term;
        entries[i].type = (enum raft_entry_type)entry->type;
        entries[i].buf.base = batch + size;
        entries[i].buf.len = entry->data.len;
        entries[i].batch = batch;
        if (entry->data.len > 0) {
            memcpy(batch + size, entry->data.data, entry->data.len);
        }
        size += entry->data.len;
    }
    *ret = entries;
    return 0;
}

static int decode_append(const Raftkv__V1__AppendEntries *append, struct raft_message *ret,
                         const char **ret_reason) {
    struct raft_append_entries *args = &ret->append_entries;
    struct raft_entry *entries = NULL;
    const char *reason;
    int r;

    if (!term_valid(append->term)) {
        *ret_reason = "a term is 0 or impossibly high";
        return -EBADMSG;
    }
    if (!position_valid(append->prev_log_index, append->prev_log_term, append->term) ||
        append->leader_commit >= NUMBER_LIMIT) {
        *ret_reason = "a log position is impossible";
        return -EBADMSG;
    }
    reason = check_entries(append);
    if (reason) {
        *ret_reason = reason;
        return -EBADMSG;
    }
    if (append->n_entries > 0) {
        r = copy_entries(append, &entries);
        if (r < 0) {
            *ret_reason = "out of memory";
            return r;
        }
    }

    ret->type = RAFT_APPEND_ENTRIES;
    args->version = 0;
    args->term = append->term;
    args->prev_log_index = append->prev_log_index;
    args->prev_log_term = append->prev_log_term;
    args->leader_commit = append->leader_commit;
    args->entries = entries;
    args->n_entries = (unsigned)append->n_entries;
    return 0;
}

static int decode_append_result(const Raftkv__V1__AppendEntriesResult *result,
                                struct raft_message *ret, const char **ret_reason) {
    struct raft_append_entries_result *args = &ret->append_entries_result;

    if (!term_valid(result->term)) {
        *ret_reason = "a term is 0 or impossibly high";
        return -EBADMSG;
    }
    if (result->rejected >= NUMBER_LIMIT || result->last_log_index >= NUMBER_LIMIT) {
        *ret_reason = "an index is impossibly high";
        return -EBADMSG;
    }
    if (result->rejected > 0 && result->last_log_index >= result->rejected) {
        *ret_reason = "an entry is rejected and accepted at once";
        return -EBADMSG;
    }
    if (result->capacity > CAPACITY_MAX) {
        *ret_reason = "a capacity is impossibly high";
        return -EBADMSG;
    }

    ret->type = RAFT_APPEND_ENTRIES_RESULT;
    args->version = APPEND_ENTRIES_RESULT_VERSION;
    args->term = result->term;
    args->rejected = result->rejected;
    args->last_log_index = result->last_log_index;
    args->features = FEATURE_CAPACITY;
    args->capacity = (unsigned short)result->capacity;
    return 0;
}

static int decode_vote(const Raftkv__V1__RequestVote *vote, raft_id from, struct raft_message *ret,
                       const char **ret_reason) {
    struct raft_request_vote *args = &ret->request_vote;

    if (!term_valid(vote->term)) {
        *ret_reason = "a term is 0 or impossibly high";
        return -EBADMSG;
    }
    /* The term of a candidacy is new: no entry of its log can have it yet. */
    if (!position_valid(vote->last_log_index, vote->last_log_term, vote->term - 1)) {
        *ret_reason = "a log position is impossible";
        return -EBADMSG;
    }
    if (vote->pre_vote && vote->disrupt_leader) {
        *ret_reason = "a pre-vote wants to disrupt the leader";
        return -EBADMSG;
    }

    ret->type = RAFT_REQUEST_VOTE;
    args->version = REQUEST_VOTE_VERSION;
    args->term = vote->term;
    args->candidate_id = from; /* nobody asks for another's votes */
    args->last_log_index = vote->last_log_index;
    args->last_log_term = vote->last_log_term;
    args->disrupt_leader = vote->disrupt_leader;
    args->pre_vote = vote->pre_vote;
    return 0;
}

static int decode_vote_result(const Raftkv__V1__RequestVoteResult *result, struct raft_message *ret,
                              const char **ret_reason) {
    struct raft_request_vote_result *args = &ret->request_vote_result;

    if (!term_valid(result->term)) {
        *ret_reason = "a term is 0 or impossibly high";
        return -EBADMSG;
    }
    if (result->capacity > CAPACITY_MAX) {
        *ret_reason = "a capacity is impossibly high";
        return -EBADMSG;
    }

    ret->type = RAFT_REQUEST_VOTE_RESULT;
    args->version = REQUEST_VOTE_RESULT_VERSION;
    args->term = result->term;
    args->vote_granted = result->granted;
    args->pre_vote = result->pre_vote;
    args->features = FEATURE_CAPACITY;
    args->capacity = (unsigned short)result->capacity;
    return 0;
}

static int decode_timeout_now(const Raftkv__V1__TimeoutNow *now, struct raft_message *ret,
                              const char **ret_reason) {
    struct raft_timeout_now *args = &ret->timeout_now;

    if (!term_valid(now->term)) {
        *ret_reason = "a term is 0 or impossibly high";
        return -EBADMSG;
    }
    if (!position_valid(now->last_log_index, now->last_log_term, now->term)) {
        *ret_reason = "a log position is impossible";
        return -EBADMSG;
    }

    ret->type = RAFT_TIMEOUT_NOW;
    args->version = 0;
    args->term = now->term;
    args->last_log_index = now->last_log_index;
    args->last_log_term = now->last_log_term;
    return 0;
}

int codec_decode(const Raftkv__V1__PeerMessage *peer, raft_id from, const char *address,
                 struct raft_message *ret, const char **ret_reason) {
    struct raft_message message = {.server_id = from, .server_address = address};
    int r;

    check(from != 0 && address);

    switch (peer->body_case) {
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES:
        r = decode_append(peer->append_entries, &message, ret_reason);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT:
        r = decode_append_result(peer->append_entries_result, &message, ret_reason);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE:
        r = decode_vote(peer->request_vote, from, &message, ret_reason);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT:
        r = decode_vote_result(peer->request_vote_result, &message, ret_reason);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW:
        r = decode_timeout_now(peer->timeout_now, &message, ret_reason);
        break;
    default:
        *ret_reason = "this is not a message of raft";
        r = -EBADMSG;
        break;
    }
    if (r < 0) {
        return r;
    }
    *ret = message;
    return 0;
}

void codec_free(struct raft_message *message) {
    struct raft_append_entries *args = &message->append_entries;

    if (message->type != RAFT_APPEND_ENTRIES) {
        return;
    }
    if (args->n_entries > 0) {
        raft_free(args->entries[0].batch);
    }
    raft_free(args->entries);
    args->entries = NULL;
    args->n_entries = 0;
}
