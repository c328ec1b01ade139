/*
 * member: the driver around raft_step(). It gives events to libraft one at a time and takes care of
 * what each of them brings, in the order that libraft wants: term and vote, entries, messages,
 * commit.
 */
#include "base/defect.h"
#include "raft/member_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "raft/codec.h"

uint64_t member_now(const struct member *member) {
    return member->host->now(member->host);
}

bool member_is_leader(const struct member *member) {
    return member->state == MEMBER_LEADER;
}

void member_changed(struct member *member) {
    member->effects->changed(member->effects->data);
}

void member_fatal(struct member *member, const char *format, ...) {
    char reason[512];
    va_list arguments;

    if (member->failed)
        return;
    member->failed = true;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    member->host->fatal(member->host, reason);
}

/* ---- one step ---- */

static enum member_state state_of(const struct raft *raft) {
    switch (raft->state) {
    case RAFT_LEADER:
        return MEMBER_LEADER;
    case RAFT_CANDIDATE:
        return MEMBER_CANDIDATE;
    default:
        return MEMBER_FOLLOWER;
    }
}

void member_event(struct journal_event *event, const struct member *member, const char *about) {
    journal_field(event, "RAFTKV_TERM=%llu", member->raft.current_term);
    if (about)
        journal_field(event, "RAFTKV_MEMBER=%s", about);
}

void member_event_at(struct journal_event *event, const struct member *member, const char *about,
                     const char *peer_address) {
    member_event(event, member, about);
    journal_field(event, "RAFTKV_PEER=%s", peer_address);
}

static void say_state(const struct member *member) {
    static const char *const words[] = {"a follower", "a candidate", "the leader"};
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_CHANGED);

    member_event(&event, member, NULL);
    journal_field(&event, "RAFTKV_STATE=%s",
                  member->state == MEMBER_LEADER      ? "leader"
                  : member->state == MEMBER_CANDIDATE ? "candidate"
                                                      : "follower");
    journal_with(member->state == MEMBER_CANDIDATE ? LOG_DEBUG : LOG_INFO, event.fields,
                 "This node is now %s, in term %llu.", words[member->state],
                 member->raft.current_term);
}

/* Follows libraft's state; an office counts for one term. */
static void follow_state(struct member *member) {
    enum member_state state = state_of(&member->raft);
    uint64_t term = member->raft.current_term;

    if (state == member->state && (state != MEMBER_LEADER || term == member->state_term))
        return;
    if (member->state == MEMBER_LEADER) {
        member->state = state;
        member->serving = false;
        send_lost_office(member);
        propose_lost_office(member);
        membership_lost_office(member);
    }
    member->state = state;
    member->state_term = term;
    if (state == MEMBER_CANDIDATE)
        member->statistics.elections++;
    if (state == MEMBER_LEADER) {
        member->statistics.elections_won++;
        member->serving = DEFECT(SKIP_BARRIER);
        member->own_barrier_wanted = true;
        member->promotion_since = 0;
        member->office_since = member_now(member);
    }
    say_state(member);
}

static void take_update(struct member *member, struct raft_update *update) {
    uint64_t commit = raft_commit_index(&member->raft);

    if (update->flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR)))
        write_vote(member);
    if (update->flags & (RAFT_UPDATE_STATE))
        follow_state(member);
    if (update->flags & (RAFT_UPDATE_ENTRIES))
        write_entries(member, update->entries.index, update->entries.batch, update->entries.n);
    if (update->flags & (RAFT_UPDATE_SNAPSHOT))
        snapshot_begin_install(member, update);
    if (update->flags & (RAFT_UPDATE_MESSAGES))
        send_messages(member, update->messages.batch, update->messages.n);
    if (commit > member->commit_index)
        member->commit_index = commit;
}

bool member_step(struct member *member, struct raft_event *event) {
    struct raft_update update = {0};
    int result;

    if (member->failed)
        return false;
    check(!member->stepping);
    member->stepping = true;
    event->capacity = member->capacity;
    result = raft_step(&member->raft, event, &update);
    member->stepping = false;
    if (result != 0) {
        /* Hazard L6: after an error of a step the state of libraft is half updated. */
        member_fatal(member, "raft refused event %d: %s.", (int)event->type, raft_strerror(result));
        return false;
    }
    take_update(member, &update);
    apply_advance(member);
    member_changed(member);
    return !member->failed;
}

/* ---- messages ---- */

static void note_sender(struct member *member, uint64_t from, const struct raft_message *message) {
    const struct raft_append_entries_result *result = &message->append_entries_result;

    if (message->type == RAFT_APPEND_ENTRIES &&
        message->append_entries.term >= member->raft.current_term)
        member->leader_heard = member_now(member);
    if (message->type == RAFT_APPEND_ENTRIES_RESULT && result->term == member->raft.current_term) {
        send_heard_from(member, from, result->capacity);
        if (result->rejected > 0)
            send_rejected(member, from);
    }
}

static void step_message(struct member *member, struct raft_message *message) {
    struct raft_entry *entries =
        message->type == RAFT_APPEND_ENTRIES ? message->append_entries.entries : NULL;
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_RECEIVE,
        .receive = {.message = message},
    };

    /* raft takes the entries' memory over (or hands it back in the update), but never their array.
     */
    member_step(member, &event);
    raft_free(entries);
}

static struct raft_server *own_server(struct raft *raft) {
    for (unsigned i = 0; i < raft->configuration.n; i++)
        if (raft->configuration.servers[i].id == raft->id)
            return &raft->configuration.servers[i];
    return NULL;
}

/*
 * Hazard L33: a candidate may need the vote of a server that does not know yet that it has become
 * a voter: the leader died when only its own log held the promotion. libraft lets standbys refuse,
 * and never forget their leader. The vote is safe: each server has one a term, and only a candidate
 * whose log makes this one a voter counts it (dissertation, section 4.2.1).
 */
static void step_vote_of_standby(struct member *member, struct raft_message *message) {
    struct raft *raft = &member->raft;
    struct raft_server *self = own_server(raft);
    bool silent = member_now(member) - member->leader_heard >= member->election_timeout;

    if (raft->state != RAFT_FOLLOWER || !self || self->role == RAFT_VOTER) {
        step_message(member, message);
        return;
    }
    if (silent && raft->follower_state.current_leader.id != 0) {
        raft->follower_state.current_leader.id = 0;
        raft_free(raft->follower_state.current_leader.address);
        raft->follower_state.current_leader.address = NULL;
    }
    self->role = RAFT_VOTER;
    step_message(member, message);
    own_server(raft)->role = RAFT_STANDBY;
}

/* Hazard L25: a second CHANGE must not come before libraft knows that the first is committed. */
static void settle_change(struct member *member, const struct raft_message *next) {
    struct raft_event event = {.time = member_now(member)};

    if (guard_settles_change(&member->raft, &event) ||
        (!DEFECT(LOST_SECOND_CHANGE) && guard_settles_change_before(&member->raft, next, &event)))
        member_step(member, &event);
}

/* ---- being removed ---- */

static uint64_t leader_of(const struct member *member) {
    if (member->state == MEMBER_LEADER)
        return member->id;
    if (member->raft.state == RAFT_FOLLOWER && member_leader_recent(member))
        return member->raft.follower_state.current_leader.id;
    return 0;
}

/* Committed or not. */
static uint64_t newest_configuration_index(const struct member *member) {
    const struct raft *raft = &member->raft;
    uint64_t newest = member->committed.index;

    if (raft->configuration_committed_index > newest)
        newest = raft->configuration_committed_index;
    if (raft->configuration_uncommitted_index > newest)
        newest = raft->configuration_uncommitted_index;
    return newest;
}

/* The state can be older than the log: what that holds of being added again counts. */
static bool awaits_adding(const struct member *member) {
    return member->expelled_index > newest_configuration_index(member);
}

void member_expel(struct member *member, uint64_t configuration_index) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_CLUSTER_LEFT);

    if (member->failed || configuration_index <= newest_configuration_index(member) ||
        awaits_adding(member))
        return;
    member_event(&event, member, NULL);
    journal_with(LOG_NOTICE, event.fields, "The cluster has removed this node.");
    member->expelled = true;
    member->expelled_index = configuration_index;
    member_changed(member);
}

/* A former leader may not know yet that this member was added again. */
static void receive_removed(struct member *member, uint64_t from,
                            const Raftkv__V1__Removed *removed) {
    uint64_t leader = leader_of(member);

    if (configuration_find(&member->committed, from) && (leader == 0 || leader == from))
        member_expel(member, removed->configuration_index);
}

/* A leader writes to members only: this one was added again. */
static void note_added(struct member *member, const struct raft_append_entries *append) {
    member->expelled = false;
    if (append->term >= member->raft.current_term)
        member->expelled_index = 0;
}

/* ---- messages of others ---- */

static void say_dropped(const struct member *member, uint64_t from, const char *reason) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_PEER_MESSAGE_DROPPED);

    member_event(&event, member, NULL);
    journal_field(&event, "RAFTKV_MEMBER_ID=%016llx", (unsigned long long)from);
    journal_with(LOG_DEBUG, event.fields, "A message of member %016llx was dropped: %s.",
                 (unsigned long long)from, reason);
}

int member_receive(struct member *member, uint64_t from, const Raftkv__V1__PeerMessage *peer,
                   const char **ret_reason) {
    struct raft_message message;
    enum guard_verdict verdict;
    int result;

    if (member->failed)
        return 0;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED) {
        receive_removed(member, from, peer->removed);
        return 0;
    }
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT)
        return snapshot_receive(member, from, peer->install_snapshot, ret_reason);
    result = codec_decode(peer, from, "peer", &message, ret_reason);
    if (result < 0)
        return result;
    settle_change(member, &message);
    member->guard.applied_index = member->applied_index;
    verdict = guard_receive(&member->guard, &member->raft, &message, ret_reason);
    if (verdict != GUARD_PASS) {
        say_dropped(member, from, *ret_reason);
        codec_free(&message);
        return verdict == GUARD_CLOSE ? -EBADMSG : 0;
    }
    if (message.type == RAFT_APPEND_ENTRIES)
        note_added(member, &message.append_entries);
    else if (member->expelled) {
        codec_free(&message);
        return 0;
    }
    note_sender(member, from, &message);
    if (message.type == RAFT_REQUEST_VOTE)
        step_vote_of_standby(member, &message);
    else
        step_message(member, &message);
    membership_advance(member);
    return 0;
}

/* ---- time ---- */

/*
 * Hazard L18: raft_timeout() can stay in the past; then the next timeout comes half a heartbeat
 * after the last. Hazard L20: a leader's check of its contacts counts from one timeout to the next,
 * so they are fired when due and not before.
 */
static uint64_t raft_deadline(const struct member *member) {
    uint64_t due = raft_timeout(&member->raft);

    if (member->expelled)
        return UINT64_MAX;
    return due > member->timeout_not_before ? due : member->timeout_not_before;
}

static void fire_timeout(struct member *member) {
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_TIMEOUT,
    };

    member->timeout_not_before = event.time + member->heartbeat / 2;
    /* Hazard L23: a candidate that did not win asks for pre-votes again, before it raises its term
     * once more. */
    if (member->raft.state == RAFT_CANDIDATE && member->raft.pre_vote) {
        member->raft.candidate_state.in_pre_vote = true;
        member->raft.candidate_state.disrupt_leader = false;
    }
    member_step(member, &event);
}

void member_tick(struct member *member) {
    if (member->failed)
        return;
    if (raft_deadline(member) <= member_now(member))
        fire_timeout(member);
    space_advance(member);
    replacement_advance(member);
    membership_advance(member);
    member_flush(member);
}

uint64_t member_deadline(const struct member *member) {
    uint64_t raft = raft_deadline(member), membership = membership_deadline(member);

    return raft < membership ? raft : membership;
}

void member_flush(struct member *member) {
    if (member->failed)
        return;
    promotion_advance(member);
    propose_flush(member);
    write_start(member);
    send_flush(member);
}

void member_loaded(struct member *member, uint64_t cookie, uint64_t first_index,
                   const struct log_entry *entries, size_t count) {
    if (cookie == APPLY_COOKIE)
        apply_loaded(member, first_index, entries, count);
    else
        send_loaded(member, cookie, first_index, entries, count);
}

/* ---- what others may know ---- */

/* Hazard L22: a standby never forgets a leader that has fallen silent. */
bool member_leader_recent(const struct member *member) {
    return member->leader_heard > 0 &&
           member_now(member) - member->leader_heard < 2 * member->election_timeout;
}

void member_say_handed_over(const struct member *member, int priority, const char *leader,
                            const struct failure *failure) {
    struct journal_event event =
        JOURNAL_EVENT(failure ? MESSAGE_LEADERSHIP_KEPT : MESSAGE_LEADERSHIP_HANDED_OVER);

    member_event(&event, member, NULL);
    if (failure) {
        journal_with(priority, event.fields, "Leadership was not handed over: %s",
                     failure->message);
        return;
    }
    journal_field(&event, "RAFTKV_LEADER=%s", leader);
    journal_with(priority, event.fields, "Leadership was handed over to %s.", leader);
}

void member_get_view(const struct member *member, struct member_view *ret) {
    const struct server *self = configuration_find(&member->committed, member->id);

    *ret = (struct member_view){
        .id = member->id,
        .state = member->state,
        .role = self && !member->expelled ? self->role : MEMBER_NONE,
        .term = member->raft.current_term,
        .leader = leader_of(member),
        .commit_index = member->commit_index > member->applied_index ? member->commit_index
                                                                     : member->applied_index,
        .applied_index = member->applied_index,
        .first_index = member->entries.first_index,
        .last_index = member->entries.last_index,
        .serving = member->serving,
        .growth_refused = member->state == MEMBER_LEADER && member->growth_refused,
        .readable = member->readable && member->applied_index > 0,
        .removed = member->expelled,
        .awaits_adding = awaits_adding(member),
        .removed_index = member->expelled_index,
    };
}

void member_get_statistics(const struct member *member, struct member_statistics *ret) {
    *ret = member->statistics;
    ret->leader_heard = member->leader_heard;
}

const struct raft_server *member_newest_server(const struct member *member, uint64_t id) {
    const struct raft_configuration *newest = &member->raft.configuration;

    for (unsigned i = 0; i < newest->n; i++)
        if (newest->servers[i].id == id)
            return &newest->servers[i];
    return NULL;
}

const struct configuration *member_configuration(const struct member *member) {
    return &member->committed;
}

bool member_progress(const struct member *member, uint64_t id, uint64_t *ret_match,
                     uint64_t *ret_last_contact) {
    raft_index match = 0;

    if (!member_is_leader(member) || raft_match_index(&member->raft, id, &match) != 0)
        return false;
    *ret_match = match;
    *ret_last_contact = 0;
    for (size_t i = 0; i < member->sender_count; i++)
        if (member->senders[i].id == id)
            *ret_last_contact = member->senders[i].last_contact;
    return true;
}

static void add_peer(struct configuration *peers, const struct server *server) {
    if (peers->count < MEMBERS_MAX && !configuration_find(peers, server->id))
        peers->servers[peers->count++] = *server;
}

void member_peers(const struct member *member, struct configuration *ret) {
    const struct raft_configuration *newest = &member->raft.configuration;

    *ret = (struct configuration){.count = 0};
    check(newest->n <= MEMBERS_MAX);
    for (unsigned i = 0; i < newest->n; i++) {
        struct server *server = &ret->servers[ret->count++];

        check(server_parse(newest->servers[i].address, server) == 0);
        server->id = newest->servers[i].id;
        server->role = newest->servers[i].role == RAFT_VOTER ? MEMBER_VOTER : MEMBER_STANDBY;
    }
    for (size_t i = 0; i < member->committed.count; i++)
        add_peer(ret, &member->committed.servers[i]);
    if (member->removed.id != 0)
        add_peer(ret, &member->removed);
}

uint64_t member_peers_version(const struct member *member) {
    const struct raft *raft = &member->raft;
    uint64_t version = 1;

    version = version * 1000003 + raft->configuration_uncommitted_index;
    version = version * 1000003 + raft->configuration_committed_index;
    version = version * 1000003 + member->committed.index;
    version = version * 1000003 + raft->configuration.n;
    version = version * 1000003 + member->removed.id;
    return version ? version : 1;
}

bool member_busy(const struct member *member) {
    if (member->write_under_way || member->applying || member->loading_for_apply ||
        member->installing)
        return true;
    for (size_t i = 0; i < member->sender_count; i++)
        if (member->senders[i].loading)
            return true;
    return false;
}

void member_close_door(struct member *member) {
    member->door_closed = true;
}
