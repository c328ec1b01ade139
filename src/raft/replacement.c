/*
 * replacement: AutoPromote=. A leader that is told to keep so many voters answering lets non-voters
 * take the places of voters that have been silent for long: first the non-voter that is furthest
 * becomes a voter, then a silent voter a non-voter, each as a change of its own by the rules of all
 * changes. A silent voter is let go only when a majority needs one voter less then (of four voters
 * three, of three two); otherwise nothing is won by it, and something lost when it comes back.
 */
#include "raft/member_internal.h"

#include <stdio.h>

/* How long a leader waits after a change that failed, in election timeouts. */
enum { PATIENCE = 10 };

struct tally {
    size_t voters;
    size_t answering;
    const struct server *gone;      /* the voter that has been silent for the longest time */
    const struct server *candidate; /* a non-voter that could vote at once, and is the furthest */
};

/* A new leader has heard of nobody before it was elected. */
static uint64_t silence(const struct member *member, const struct server *server) {
    uint64_t match, last_contact, since = member->office_since;

    if (server->id == member->id)
        return 0;
    if (member_progress(member, server->id, &match, &last_contact) && last_contact > since)
        since = last_contact;
    return member_now(member) - since;
}

static bool is_fit(const struct member *member, const struct server *server) {
    return membership_is_live(member, server->id) && membership_is_near(member, server->id) &&
           space_is_there(member, server->id);
}

static uint64_t match_of(const struct member *member, const struct server *server) {
    uint64_t match = 0, last_contact;

    member_progress(member, server->id, &match, &last_contact);
    return match;
}

static struct tally count_voters(const struct member *member) {
    struct tally tally = {0};

    for (size_t i = 0; i < member->committed.count; i++) {
        const struct server *server = &member->committed.servers[i];
        bool gone = silence(member, server) >= member->replacement.silence;

        if (server->role == MEMBER_VOTER) {
            tally.voters++;
            tally.answering += !gone;
            if (gone && (!tally.gone || silence(member, server) > silence(member, tally.gone)))
                tally.gone = server;
        } else if (is_fit(member, server) &&
                   (!tally.candidate ||
                    match_of(member, server) > match_of(member, tally.candidate))) {
            tally.candidate = server;
        }
    }
    return tally;
}

static void changed(struct change *change, const struct failure *failure, uint64_t index,
                    const char *leader) {
    struct replacement *replacement = container_of(change, struct replacement, change);
    struct member *member = container_of(replacement, struct member, replacement);
    struct journal_event event = JOURNAL_EVENT(MESSAGE_VOTER_NOT_REPLACED);

    (void)index;
    (void)leader;
    replacement->under_way = false;
    if (!failure)
        return;
    replacement->not_before = member_now(member) + PATIENCE * member->election_timeout;
    if (failure->code == ERROR_NOT_LEADER || member->door_closed)
        return;
    member_event(&event, member, change->name);
    journal_with(LOG_WARNING, event.fields, "AutoPromote=: member %s stays what it is: %s",
                 change->name, failure->message);
}

static void begin(struct member *member, enum change_kind kind, const struct server *server) {
    struct replacement *replacement = &member->replacement;
    struct change *change = &replacement->change;

    *change = (struct change){
        .kind = kind,
        .expected_index = member->committed.index,
        .deadline = UINT64_MAX,
        .done = changed,
    };
    snprintf(change->name, sizeof change->name, "%s", server->name);
    snprintf(change->peer_address, sizeof change->peer_address, "%s", server->peer_address);
    replacement->under_way = true;
    member_change(member, change);
}

static void say(const struct member *member, const struct server *gone, const char *place) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_VOTER_REPLACED);

    member_event(&event, member, gone->name);
    journal_with(LOG_WARNING, event.fields, "Voter %s has not answered for %llu s%s%s.", gone->name,
                 (unsigned long long)silence(member, gone) / 1000,
                 place ? "; its place is taken by "
                       : " and becomes a non-voter: enough others vote",
                 place ? place : "");
}

void replacement_advance(struct member *member) {
    const struct replacement *replacement = &member->replacement;
    struct tally tally;

    if (replacement->voters == 0 || member->failed || member->stepping || replacement->under_way ||
        member->change || member->awaiting || !member->serving || member->door_closed ||
        promotion_under_way(member) || member->raft.configuration_uncommitted_index != 0 ||
        member_now(member) < replacement->not_before)
        return;
    tally = count_voters(member);
    if (!tally.gone)
        return;
    if (tally.answering < replacement->voters && tally.candidate) {
        say(member, tally.gone, tally.candidate->name);
        begin(member, CHANGE_ADD_VOTER, tally.candidate);
    } else if (tally.answering >= replacement->voters && tally.voters % 2 == 0) {
        say(member, tally.gone, NULL);
        begin(member, CHANGE_DEMOTE, tally.gone);
    }
}

void member_set_replacement(struct member *member, unsigned voters, uint64_t silence_ms) {
    member->replacement.voters = voters;
    member->replacement.silence = silence_ms;
}
