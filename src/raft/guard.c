#include "raft/guard.h"

#include <string.h>

#include "base/check.h"
#include "base/defect.h"

/* The term of the entry at this index, as libraft knows it (its src/trail.c, TrailTermOf). 0: it is
 * not in the log (any more), and is not the last one of the snapshot either. */
static raft_term trail_term_of(const struct raft_trail *trail, raft_index index) {
    raft_index end = trail->offset;

    if (index > trail->offset) {
        /* Each record says up to which index its term goes; they are in ascending order. */
        for (unsigned i = trail->front; i != trail->back; i = (i + 1) % trail->size) {
            if (index <= trail->records[i].index) {
                return trail->records[i].term;
            }
            end = trail->records[i].index;
        }
    }
    if (index == trail->snapshot.index && (index <= trail->offset || index > end)) {
        return trail->snapshot.term;
    }
    return 0;
}

/* The last index of the log (libraft's TrailLastIndex). */
static raft_index trail_last_index(const struct raft_trail *trail) {
    unsigned last;

    if (trail->front == trail->back) {
        return trail->snapshot.index;
    }
    last = (trail->back + trail->size - 1) % trail->size;
    return trail->records[last].index;
}

static const struct raft_server *find_server(const struct raft_configuration *configuration,
                                             raft_id id) {
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return &configuration->servers[i];
        }
    }
    return NULL;
}

static unsigned count_voters(const struct raft_configuration *configuration) {
    unsigned voters = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        voters += configuration->servers[i].role == RAFT_VOTER;
    }
    return voters;
}

static enum guard_verdict drop(const char *reason, const char **ret_reason) {
    *ret_reason = reason;
    return GUARD_DROP;
}

static enum guard_verdict close_link(const char *reason, const char **ret_reason) {
    *ret_reason = reason;
    return GUARD_CLOSE;
}

/* Takes the first `count` entries away. They share one batch, which goes with the last of them. */
static void trim_entries(struct raft_append_entries *args, unsigned count) {
    if (count < args->n_entries) {
        args->n_entries -= count;
        memmove(args->entries, args->entries + count, args->n_entries * sizeof(*args->entries));
        return;
    }
    if (args->n_entries > 0) {
        raft_free(args->entries[0].batch);
    }
    raft_free(args->entries);
    args->entries = NULL;
    args->n_entries = 0;
}

/*
 * L8: makes an append that begins below the own snapshot begin at the snapshot. libraft no longer
 * knows the terms there: it would take old entries for new ones and append them at wrong indexes,
 * or reject an index that the leader knows to match, on which the leader aborts (L7). All that the
 * snapshot holds is committed, so every leader of a current term has it.
 */
static enum guard_verdict trim_to_snapshot(const struct raft *raft,
                                           struct raft_append_entries *args,
                                           const char **ret_reason) {
    raft_index snapshot = raft->trail.snapshot.index;
    raft_term term = raft->trail.snapshot.term;
    raft_index count = 0;

    if (args->prev_log_index >= snapshot) {
        return GUARD_PASS;
    }
    count = snapshot - args->prev_log_index;
    if (count <= args->n_entries && args->entries[count - 1].term != term) {
        return close_link("it contradicts the own snapshot", ret_reason);
    }
    trim_entries(args, count < args->n_entries ? (unsigned)count : args->n_entries);
    args->prev_log_index = snapshot;
    args->prev_log_term = term;
    return GUARD_PASS;
}

/* Whether the one entry of an append is a configuration behind one that raft has as uncommitted. */
static bool is_second_change(const struct raft *raft, const struct raft_append_entries *args) {
    return args->n_entries == 1 && args->entries[0].type == RAFT_CHANGE &&
           raft->configuration_uncommitted_index != 0 &&
           raft->configuration_uncommitted_index <= args->prev_log_index;
}

static bool has_other_leader(const struct guard *guard, const struct raft_message *message) {
    return message->append_entries.term == guard->leader_term &&
           message->server_id != guard->leader_id;
}

/* Tells libraft that its uncommitted configuration is committed. */
static void settle_change(const struct raft *raft, struct raft_event *ret) {
    struct raft_configuration copy;

    raft_configuration_init(&copy);
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];

        check(raft_configuration_add(&copy, server->id, server->address, server->role) == 0);
    }
    ret->type = RAFT_CONFIGURATION;
    ret->configuration.index = raft->configuration_uncommitted_index;
    ret->configuration.conf = copy;
}

bool guard_settles_change(const struct raft *raft, struct raft_event *ret) {
    if (raft->state != RAFT_FOLLOWER || raft->configuration_uncommitted_index == 0 ||
        raft->configuration_uncommitted_index > raft->commit_index) {
        return false;
    }
    settle_change(raft, ret);
    return true;
}

bool guard_settles_change_before(const struct raft *raft, const struct raft_message *message,
                                 struct raft_event *ret) {
    const struct raft_append_entries *args = &message->append_entries;

    if (raft->state != RAFT_FOLLOWER || message->type != RAFT_APPEND_ENTRIES ||
        args->term < raft->current_term || !is_second_change(raft, args)) {
        return false;
    }
    /* The logs are equal up to there, the first change included. */
    if (trail_term_of(&raft->trail, args->prev_log_index) != args->prev_log_term) {
        return false;
    }
    settle_change(raft, ret);
    return true;
}

/*
 * L25: makes libraft ask again for a configuration that comes while an earlier one is not
 * settled. libraft remembers one uncommitted configuration: it would forget the earlier
 * one, ignore its RAFT_CONFIGURATION, and fall back behind it when the later one is cut off. What
 * is left is a heartbeat, which still carries the commit index; the leader sends the entry again as
 * soon as its next message does not fit.
 */
static void hold_back_change(const struct raft *raft, struct raft_append_entries *args) {
    if (is_second_change(raft, args)) {
        trim_entries(args, 1);
    }
}

/* What this leader has sent and this node has confirmed of it, in its term. */
static raft_index matched_by_leader(const struct raft *raft, raft_term term) {
    return raft->state == RAFT_FOLLOWER && term == raft->current_term ? raft->follower_state.match
                                                                      : 0;
}

/* The last index that is known here to be committed. */
static raft_index committed_index(const struct guard *guard, const struct raft *raft) {
    return guard->applied_index > raft->commit_index ? guard->applied_index : raft->commit_index;
}

/* Whether entries from `index` on, which holds another term than the leader's, may be cut off. */
static enum guard_verdict check_truncation(const struct guard *guard, const struct raft *raft,
                                           raft_index index, raft_index match,
                                           const char **ret_reason) {
    /* L26: libraft would end the step with RAFT_SHUTDOWN, or cut off what is applied, and a wrong
     * peer stop this node. */
    if (index <= committed_index(guard, raft)) {
        return close_link("it contradicts a committed entry", ret_reason);
    }
    /* L27: a leader only appends to its log, so within a term it can't take back what it sent.
     * libraft would go on to report the entries that it cut off as stored. */
    if (index <= match) {
        return close_link("the leader contradicts what it sent before", ret_reason);
    }
    /* L28: without a committed configuration there is none to fall back to. The entry is the first
     * of a log then, and that is the same everywhere. */
    if (raft->configuration_uncommitted_index >= index &&
        raft->configuration_committed_index == 0) {
        return close_link("it contradicts the first configuration", ret_reason);
    }
    return GUARD_PASS;
}

static enum guard_verdict check_conflicts(const struct guard *guard, const struct raft *raft,
                                          const struct raft_append_entries *args,
                                          const char **ret_reason) {
    raft_index match = matched_by_leader(raft, args->term);

    if (args->prev_log_index > 0) {
        raft_term term = trail_term_of(&raft->trail, args->prev_log_index);

        if (term != 0 && term != args->prev_log_term &&
            args->prev_log_index <= committed_index(guard, raft)) {
            return close_link("it contradicts a committed entry", ret_reason); /* L26 */
        }
        if (term != args->prev_log_term) {
            return GUARD_PASS; /* libraft rejects it and looks no further */
        }
    }
    for (unsigned i = 0; i < args->n_entries; i++) {
        raft_index index = args->prev_log_index + 1 + i;
        raft_term term = trail_term_of(&raft->trail, index);

        if (term == 0) {
            return GUARD_PASS; /* the log ends before it */
        }
        if (term != args->entries[i].term) {
            return check_truncation(guard, raft, index, match, ret_reason);
        }
    }
    return GUARD_PASS;
}

/*
 * L24: libraft sets its commit index to min(leader_commit, last index of the message) whenever
 * leader_commit is higher than its own: a late or probing message moves it backwards. And while a
 * snapshot is being installed (L12) nothing can be said to be committed here.
 */
static void lower_commit(const struct guard *guard, const struct raft *raft,
                         struct raft_append_entries *args) {
    bool installing = guard->installing || raft->snapshot.installing;

    if (args->leader_commit <= raft->commit_index) {
        return;
    }
    if (installing || args->prev_log_index + args->n_entries <= raft->commit_index) {
        args->leader_commit = raft->commit_index;
    }
}

static void note_leader(struct guard *guard, raft_term term, raft_id id) {
    guard->leader_term = term;
    guard->leader_id = id;
}

/*
 * libraft answers with its own, higher term, and looks at nothing else but prev_log_index: that is
 * what it rejects. L35: 0 would say that it rejects nothing and stores what follows up to a
 * last_log_index that it never set (L16). If the sender leads the higher term when the answer
 * arrives, it would count that as a match. So what stands at the log's beginning is refused as if
 * it stood behind the first entry.
 */
static enum guard_verdict refuse_lower_term(struct raft_append_entries *args) {
    if (args->prev_log_index == 0) {
        args->prev_log_index = 1;
        args->prev_log_term = 1;
    }
    return GUARD_PASS;
}

static enum guard_verdict receive_append(struct guard *guard, const struct raft *raft,
                                         struct raft_message *message, const char **ret_reason) {
    struct raft_append_entries *args = &message->append_entries;
    enum guard_verdict verdict;

    if (args->term < raft->current_term) {
        return refuse_lower_term(args);
    }
    /* L10: a term has one leader. libraft asserts so where it is the leader itself, and follows
     * whoever sent last where it is not. */
    if (has_other_leader(guard, message)) {
        return close_link("its term has another leader", ret_reason);
    }

    verdict = trim_to_snapshot(raft, args, ret_reason);
    if (verdict != GUARD_PASS) {
        return verdict;
    }
    verdict = check_conflicts(guard, raft, args, ret_reason);
    if (verdict != GUARD_PASS) {
        return verdict;
    }
    hold_back_change(raft, args);
    lower_commit(guard, raft, args);
    note_leader(guard, args->term, message->server_id);
    return GUARD_PASS;
}

static enum guard_verdict receive_append_result(const struct raft *raft,
                                                struct raft_message *message,
                                                const char **ret_reason) {
    const struct raft_append_entries_result *args = &message->append_entries_result;
    raft_index match;

    /* L31: libraft steps down for the higher term of a server that has been removed. */
    if (raft_match_index(raft, message->server_id, &match) != 0) {
        if (DEFECT(REMOVED_COUNTS) && raft->state == RAFT_LEADER) {
            message->server_id = raft->configuration.servers[raft->configuration.n - 1].id;
            return message->server_id == raft->id ? GUARD_DROP : GUARD_PASS;
        }
        return drop("this node does not lead the sender", ret_reason);
    }
    if (args->term != raft->current_term) {
        return GUARD_PASS;
    }
    if (args->rejected == 0) {
        /* L29: libraft lowers this to the end of its own log, and counts it as stored there. In its
         * term a leader's log is the longest, so the sender has something else. */
        if (args->last_log_index > trail_last_index(&raft->trail)) {
            return close_link("it confirms entries that were never sent", ret_reason);
        }
        return GUARD_PASS;
    }
    /* L7: what matches stays on the follower's disk. A rejection that says otherwise is older than
     * the match, or the follower was wiped; libraft asserts match < next and would go below it.
     * (The codec has seen to last_log_index < rejected.) */
    if (args->last_log_index < match) {
        return drop("it rejects entries that it has confirmed", ret_reason);
    }
    return GUARD_PASS;
}

static enum guard_verdict receive_vote(const struct raft *raft, struct raft_message *message,
                                       const char **ret_reason) {
    const struct raft_request_vote *args = &message->request_vote;

    /* L10: the vote goes to candidate_id, and the answer to the sender. */
    if (args->candidate_id != message->server_id) {
        return close_link("it asks for another's vote", ret_reason);
    }
    /*
     * L2: a sole voter leads without having voted for itself, and libraft would give its vote away
     * in its own term. Whether the candidate is a member is not asked: it may be one by a
     * configuration that has not arrived here yet, and the vote needed (dissertation 4.1).
     */
    if (raft->state == RAFT_LEADER && !args->pre_vote && args->term == raft->current_term) {
        return drop("this node leads in that term", ret_reason);
    }
    return GUARD_PASS;
}

static enum guard_verdict receive_vote_result(const struct raft *raft, struct raft_message *message,
                                              const char **ret_reason) {
    const struct raft_request_vote_result *args = &message->request_vote_result;
    const struct raft_server *server;

    /* L11: libraft reads candidate_state, which shares its memory with that of other states. */
    if (raft->state != RAFT_CANDIDATE) {
        return drop("this node is not a candidate", ret_reason);
    }
    server = find_server(&raft->configuration, message->server_id);
    if (!server || server->role != RAFT_VOTER) {
        return drop("the sender is not a voter", ret_reason);
    }
    if (args->pre_vote != raft->candidate_state.in_pre_vote) {
        return drop("it belongs to an earlier round", ret_reason);
    }
    if (!args->pre_vote) {
        return GUARD_PASS;
    }
    /* L10: a pre-vote is answered with the term that was asked for, which is never above the next
     * one. libraft asserts that it is not granted. */
    /* L37: who refuses says that it has a higher one, to which libraft goes then. */
    if (args->term > raft->current_term + 1 && !args->vote_granted) {
        return GUARD_PASS;
    }
    if (args->term > raft->current_term + 1) {
        return close_link("it answers a pre-vote for a term that was not asked for", ret_reason);
    }
    /* L30: libraft counts a grant for the present term, of an earlier pre-vote, as one for the
     * next. */
    if (args->term != raft->current_term + 1) {
        return drop("it belongs to an earlier round", ret_reason);
    }
    return GUARD_PASS;
}

static enum guard_verdict receive_timeout_now(const struct guard *guard, const struct raft *raft,
                                              struct raft_message *message,
                                              const char **ret_reason) {
    const struct raft_timeout_now *args = &message->timeout_now;

    /* L32: libraft remembers who led last, but not in which term, and takes its word in a later
     * one. */
    if (guard->leader_term != args->term || guard->leader_id != message->server_id) {
        return drop("the sender is not the leader", ret_reason);
    }
    /* L2: libraft would lead at once, in the term that the sender leads in. */
    if (count_voters(&raft->configuration) <= 1) {
        return drop("this node has nobody to elect it", ret_reason);
    }
    return GUARD_PASS;
}

enum guard_verdict guard_receive(struct guard *guard, const struct raft *raft,
                                 struct raft_message *message, const char **ret_reason) {
    /* L10: libraft asserts that the sender is somebody, and somebody else. */
    if (message->server_id == 0 || message->server_id == raft->id || !message->server_address) {
        return close_link("it does not come from another member", ret_reason);
    }
    if (raft->state == RAFT_LEADER) {
        note_leader(guard, raft->current_term, raft->id);
    }

    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return receive_append(guard, raft, message, ret_reason);
    case RAFT_APPEND_ENTRIES_RESULT:
        return receive_append_result(raft, message, ret_reason);
    case RAFT_REQUEST_VOTE:
        return receive_vote(raft, message, ret_reason);
    case RAFT_REQUEST_VOTE_RESULT:
        return receive_vote_result(raft, message, ret_reason);
    case RAFT_TIMEOUT_NOW:
        return receive_timeout_now(guard, raft, message, ret_reason);
    case RAFT_INSTALL_SNAPSHOT:
        break;
    }
    /* L13, L15: libraft leaks, or drops its log, on snapshots that come at a bad time. */
    return close_link("there are no messages of this type", ret_reason);
}
