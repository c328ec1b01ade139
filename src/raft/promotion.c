/*
 * promotion: what a leader owes to the configuration, whoever asked for it: to promote the standby
 * that is marked so as soon as it has caught up, to take it out again when it stays silent, and to
 * tell a removed server (which never receives its own removal). Also the rule that no change may
 * leave the live voters without a quorum.
 */
#include "raft/member_internal.h"

enum {
    POLL_MS = 50,
    PROMOTION_LAG_MAX = 1000,
    PROMOTION_SILENCE_MS = 60 * 1000,
    GOODBYE_MS = 3000
};

static const struct server *promoting_server(const struct member *member) {
    for (size_t i = 0; i < member->committed.count; i++)
        if (member->committed.servers[i].promoting)
            return &member->committed.servers[i];
    return NULL;
}

bool promotion_under_way(const struct member *member) {
    return member_is_leader(member) && promoting_server(member);
}

static void promote(struct member *member, const struct server *server) {
    struct configuration configuration = member->committed;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MEMBER_PROMOTED);

    member_event(&event, member, server->name);
    journal_with(LOG_NOTICE, event.fields, "Member %s has caught up and becomes a voter.",
                 server->name);
    configuration_set_role(&configuration, server->id, MEMBER_VOTER, false);
    propose_configuration(member, &configuration);
}

static void give_up(struct member *member, const struct server *server) {
    struct configuration configuration = member->committed;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MEMBER_GIVEN_UP);

    member_event(&event, member, server->name);
    journal_with(LOG_WARNING, event.fields, "Member %s stays silent and is not added.",
                 server->name);
    configuration_remove(&configuration, server->id);
    propose_configuration(member, &configuration);
}

static void advance_standby(struct member *member, const struct server *server) {
    uint64_t now = member_now(member), match = 0, last_contact = 0, silent_since;

    if (member->raft.configuration_uncommitted_index != 0 || !member->serving ||
        raft_transferee(&member->raft) != 0)
        return;
    if (member->promotion_since == 0)
        member->promotion_since = now;
    if (!member_progress(member, server->id, &match, &last_contact))
        return;
    silent_since = last_contact > member->promotion_since ? last_contact : member->promotion_since;
    /* It has to know itself as a standby, so that its vote can be asked for (hazard L33). */
    if (match >= member->committed.index &&
        member->entries.last_index - match <= PROMOTION_LAG_MAX &&
        membership_is_live(member, server->id))
        promote(member, server);
    else if (now - silent_since > PROMOTION_SILENCE_MS)
        give_up(member, server);
}

void promotion_say_goodbye(struct member *member, const struct server *server) {
    member->removed = *server;
    member->removed_until = member_now(member) + GOODBYE_MS;
    member->removed_told = 0;
    member->removed_linked = false;
}

/* By the newest configuration: a new leader may still be applying how it was removed long ago. */
static bool is_back(const struct member *member) {
    return member_newest_server(member, member->removed.id) != NULL;
}

static void advance_goodbye(struct member *member) {
    uint64_t now = member_now(member);
    bool linked = member->host->linked(member->host, member->removed.id);
    bool has_left = member->removed_linked && !linked;

    if (now >= member->removed_until || has_left || is_back(member) || !member_is_leader(member)) {
        member->removed.id = 0;
        member_changed(member);
        return;
    }
    if (now - member->removed_told < member->heartbeat)
        return;
    member->removed_told = now;
    member->removed_linked = linked;
    send_removed(member, member->removed.id, member->committed.index);
}

void promotion_advance(struct member *member) {
    const struct server *server;

    if (member->failed || member->stepping)
        return;
    if (member->removed.id != 0) {
        member->poll_at = member_now(member) + POLL_MS;
        advance_goodbye(member);
    }
    if (!member_is_leader(member))
        return;
    server = promoting_server(member);
    if (!server) {
        member->promotion_since = 0;
        return;
    }
    member->poll_at = member_now(member) + POLL_MS;
    advance_standby(member, server);
}

bool quorum_survives(const struct member *member, uint64_t without, struct failure *failure) {
    size_t voters = 0, live = 0;

    for (size_t i = 0; i < member->committed.count; i++) {
        const struct server *server = &member->committed.servers[i];

        if (server->role != MEMBER_VOTER || server->id == without)
            continue;
        voters++;
        if (membership_is_live(member, server->id))
            live++;
    }
    if (voters == 0) {
        failure_set(failure, ERROR_WOULD_LOSE_QUORUM,
                    "The last voter can't be removed or demoted.");
        return false;
    }
    if (live < voters / 2 + 1) {
        failure_set(failure, ERROR_WOULD_LOSE_QUORUM,
                    "Only %zu of the %zu voters that would remain answer, fewer than a majority.",
                    live, voters);
        return false;
    }
    return true;
}
