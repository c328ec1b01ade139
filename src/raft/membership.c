/*
 * membership: changes of the cluster and of its leader, one at a time, as the leader carries them
 * out. Each has a phase:
 *
 *   add voter   IDENTIFY -> COMMIT (standby, marked promoting) -> awaits its promotion -> done
 *   add standby IDENTIFY -> COMMIT -> done
 *   remove      [LISTEN ->] [TRANSFER if it is the leader itself ->] COMMIT -> done
 *   demote      [LISTEN ->] [TRANSFER if it is the leader itself ->] COMMIT -> done
 *   transfer    TRANSFER -> done
 *   move        IDENTIFY -> COMMIT -> done (moving.c)
 *
 * The wish to promote is part of the configuration, so that whoever leads carries it out
 * (promotion.c): a change that lost its leader still ends. Whoever awaits a promotion is in
 * nobody's way: the standby can be removed or demoted meanwhile, and leadership can move.
 */
#include <stdio.h>
#include <string.h>

#include "raft/member_internal.h"

enum { POLL_MS = 50, TRANSFER_LAG_MAX = 4096 };

void membership_finish(struct member *member, const struct failure *failure, uint64_t index,
                       const char *leader) {
    struct change *change = TAKE(member->change);

    member->identify_cookie = 0;
    change->done(change, failure, index, leader);
    member_changed(member);
}

void membership_fail(struct member *member, const struct failure *failure) {
    membership_finish(member, failure, 0, NULL);
}

bool membership_is_live(const struct member *member, uint64_t id) {
    uint64_t match, last_contact;

    if (id == member->id)
        return true;
    return member_progress(member, id, &match, &last_contact) && last_contact > 0 &&
           member_now(member) - last_contact < 2 * member->election_timeout;
}

/* Who leads since a moment ago may not have heard of everyone yet: only a change that has waited as
 * long as it takes to be dead calls anyone so. */
static bool is_old_enough(const struct member *member) {
    return member_now(member) - member->change_started >= 2 * member->election_timeout;
}

/* ---- asking who is there ---- */

struct identification {
    struct member *member;
    uint64_t cookie;
    membership_identified then;
};

static void identified(void *data, const struct identity *identity, const struct failure *failure) {
    struct identification identification = *(struct identification *)data;
    struct member *member = identification.member;

    free(data);
    if (member->change && member->phase == PHASE_IDENTIFY &&
        member->identify_cookie == identification.cookie)
        identification.then(member, identity, failure);
}

void membership_identify(struct member *member, const char *address, uint64_t timeout_ms,
                         membership_identified then) {
    struct identification *identification = xmalloc(sizeof *identification);

    member->phase = PHASE_IDENTIFY;
    member->identify_cookie = ++member->next_cookie;
    *identification =
        (struct identification){.member = member, .cookie = member->identify_cookie, .then = then};
    member->host->identify(member->host, address, timeout_ms, identified, identification);
}

int membership_refuse_taken(const struct server *server, const char *what, const char *value,
                            struct failure *failure) {
    return failure_set(failure, ERROR_ALREADY_EXISTS, "The %s %s is in use by member %s at %s.",
                       what, value, server->name, server->peer_address);
}

/* ---- writing a configuration ---- */

void membership_commit(struct member *member, const struct configuration *configuration) {
    struct failure failure;

    member->phase = PHASE_COMMIT;
    member->change_entry = member->entries.last_index + 1;
    member->change_term = member->raft.current_term;
    if (propose_configuration(member, configuration) || member->failed)
        return;
    failure_set(&failure, ERROR_BUSY, "Another change of the configuration is under way.");
    membership_fail(member, &failure);
}

static void say_changed(const struct member *member) {
    const struct change *change = member->change;
    static const struct {
        const char *id, *words;
    } said[] = {
        [CHANGE_ADD_NONVOTER] = {MESSAGE_MEMBER_ADDED, "added as a non-voter"},
        [CHANGE_REMOVE] = {MESSAGE_MEMBER_REMOVED, "removed"},
        [CHANGE_DEMOTE] = {MESSAGE_MEMBER_DEMOTED, "made a non-voter"},
    };
    struct journal_event event = JOURNAL_EVENT(said[change->kind].id);

    member_event(&event, member, change->name);
    journal_with(LOG_NOTICE, event.fields, "Member %s was %s.", change->name,
                 said[change->kind].words);
}

void membership_applied(struct member *member, uint64_t index) {
    struct change *change = member->change;

    if (!change || member->phase != PHASE_COMMIT || index != member->change_entry ||
        member->change_term != entries_term(&member->entries, index))
        return;
    if (change->kind == CHANGE_ADD_VOTER) {
        adding_await_promotion(member);
        return;
    }
    if (change->kind == CHANGE_MOVE)
        moving_say(member);
    else
        say_changed(member);
    membership_finish(member, NULL, index, NULL);
}

/* ---- transferring ---- */

/* By what is applied, and by what libraft leads by: it knows of a change that is committed before
 * it is applied here, which on a full disk may take long. */
static bool is_voter(const struct member *member, const struct server *server) {
    const struct raft_server *newest = member_newest_server(member, server->id);

    return server->role == MEMBER_VOTER && newest && newest->role == RAFT_VOTER;
}

uint64_t membership_successor(const struct member *member) {
    uint64_t best = 0, best_match = 0;
    bool best_room = false;

    for (size_t i = 0; i < member->committed.count; i++) {
        const struct server *server = &member->committed.servers[i];
        uint64_t match, last_contact;
        bool room;

        if (server->id == member->id || !is_voter(member, server) ||
            !membership_is_live(member, server->id) ||
            !member_progress(member, server->id, &match, &last_contact))
            continue;
        room = space_is_there(member, server->id);
        if (best == 0 || (room && !best_room) || (room == best_room && match > best_match)) {
            best = server->id;
            best_match = match;
            best_room = room;
        }
    }
    return best;
}

static uint64_t lag(const struct member *member, uint64_t id) {
    uint64_t match, last_contact;

    if (!member_progress(member, id, &match, &last_contact))
        return UINT64_MAX;
    return member->entries.last_index - match;
}

bool membership_is_near(const struct member *member, uint64_t id) {
    return lag(member, id) <= TRANSFER_LAG_MAX;
}

/* Hazard L19: new entries would keep the target from ever being up to date; so none are submitted
 * once it is near. */
bool membership_holds_submissions(const struct member *member) {
    return member->change && member->phase == PHASE_TRANSFER && member_is_leader(member) &&
           membership_is_live(member, member->change_target) &&
           membership_is_near(member, member->change_target);
}

static void start_transfer(struct member *member, uint64_t target) {
    struct failure failure;

    if (target == 0)
        target = membership_successor(member);
    if (target == 0) {
        failure_set(&failure, ERROR_WOULD_LOSE_QUORUM,
                    "There is no other voter that answers, to hand leadership over to.");
        membership_fail(member, &failure);
        return;
    }
    member->change_target = target;
    member->phase = PHASE_TRANSFER;
}

static void transfer_failed(struct member *member) {
    struct failure failure;

    member->statistics.transfers_failed++;
    failure_set(&failure, ERROR_TIMEOUT,
                "Leadership could not be handed over in time; %s leads on.",
                member_is_leader(member) ? member->identity->name : "another member may");
    membership_fail(member, &failure);
}

/* Hazard L19 again: TimeoutNow is sent once only, and ignored by a target that is behind; so it is
 * sent when the target has everything, and again. */
static void advance_transfer_as_leader(struct member *member) {
    const struct server *target = configuration_find(&member->committed, member->change_target);
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_TRANSFER,
        .transfer = {.server_id = member->change_target},
    };

    if (raft_transferee(&member->raft) != 0 || lag(member, member->change_target) != 0)
        return;
    if (!target || !is_voter(member, target))
        return;
    member_step(member, &event);
}

static void advance_transfer(struct member *member) {
    struct member_view view;
    const struct server *leader;
    uint64_t now = member_now(member);
    uint64_t limit = member->change_started + 10 * member->election_timeout;

    if (now >= member->change->deadline || now >= limit) {
        transfer_failed(member);
        return;
    }
    if (member_is_leader(member)) {
        if (member->raft.current_term != member->change_term ||
            (!membership_is_live(member, member->change_target) && is_old_enough(member)))
            transfer_failed(member); /* it lost its office and won it back, or the target is gone */
        else
            advance_transfer_as_leader(member);
        return;
    }
    if (member->raft.current_term == member->change_term) {
        transfer_failed(member); /* it lost its majority, and nobody took over */
        return;
    }
    member_get_view(member, &view);
    leader = view.leader != 0 ? configuration_find(&member->committed, view.leader) : NULL;
    if (!leader)
        return;
    member->statistics.transfers++;
    membership_finish(member, NULL, member->committed.index, leader->name);
}

/* ---- removing and demoting ---- */

/* Whoever forces a change knows that voters which don't answer now come back: until then nothing is
 * committed. The last voter can't be let go by force either. */
static bool may_force(const struct member *member, const struct failure *against) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_CHANGE_FORCED);

    if (!member->change->force || configuration_voters(&member->committed) == 1)
        return false;
    member_event(&event, member, member->change->name);
    journal_with(LOG_WARNING, event.fields, "Member %s is %s by force: %s", member->change->name,
                 member->change->kind == CHANGE_REMOVE ? "removed" : "made a non-voter",
                 against->message);
    return true;
}

static void start_reducing(struct member *member) {
    struct change *change = member->change;
    struct configuration configuration = member->committed;
    const struct server *server = configuration_find_name(&configuration, change->name);
    struct failure failure;

    if (!server) {
        failure_set(&failure, ERROR_NOT_FOUND, "There is no member %s.", change->name);
        membership_fail(member, &failure);
        return;
    }
    if (change->kind == CHANGE_DEMOTE && server->role == MEMBER_STANDBY && !server->promoting) {
        membership_finish(member, NULL, configuration.index, NULL);
        return;
    }
    if (server->role == MEMBER_VOTER && !quorum_survives(member, server->id, &failure) &&
        !may_force(member, &failure)) {
        member->phase = PHASE_LISTEN;
        if (configuration_voters(&configuration) == 1 || is_old_enough(member))
            membership_fail(member, &failure);
        return;
    }
    if (server->id == member->id) {
        start_transfer(member, 0); /* hazard L2: the new leader carries it out */
        return;
    }
    if (change->kind == CHANGE_REMOVE)
        configuration_remove(&configuration, server->id);
    else
        configuration_set_role(&configuration, server->id, MEMBER_STANDBY, false);
    membership_commit(member, &configuration);
}

/* ---- all of them ---- */

static int check_startable(const struct member *member, const struct change *change,
                           struct failure *failure) {
    if (member->door_closed || member->failed)
        return failure_set(failure, ERROR_UNAVAILABLE, "The node is stopping.");
    if (!member_is_leader(member) || !member->serving)
        return failure_set(failure, ERROR_NOT_LEADER, "This node is not the leader.");
    if (member->change || member->raft.configuration_uncommitted_index != 0)
        return failure_set(failure, ERROR_BUSY,
                           "Another change of the members or of the leader is under way; try again "
                           "when it is done.");
    if (change->expected_index != 0 && change->expected_index != member->committed.index)
        return failure_set(failure, ERROR_CONFIGURATION_CONFLICT,
                           "The configuration is now that of index %llu, not %llu.",
                           (unsigned long long)member->committed.index,
                           (unsigned long long)change->expected_index);
    return 0;
}

/* While a standby waits for its promotion nothing else is changed, but it may be waited for,
 * removed or demoted. */
static int check_promotion(const struct member *member, const struct change *change,
                           struct failure *failure) {
    for (size_t i = 0; i < member->committed.count; i++) {
        const struct server *server = &member->committed.servers[i];

        if (server->promoting && strcmp(server->name, change->name) != 0 &&
            change->kind != CHANGE_TRANSFER)
            return failure_set(failure, ERROR_BUSY,
                               "Member %s is being added; try again when that is done, or remove "
                               "it.",
                               server->name);
    }
    return 0;
}

static void start_named_transfer(struct member *member) {
    const struct change *change = member->change;
    const struct server *server = configuration_find_name(&member->committed, change->name);
    struct failure failure;

    if (change->name[0] == 0) {
        start_transfer(member, 0);
        return;
    }
    if (server && server->id == member->id) {
        membership_finish(member, NULL, member->committed.index, member->identity->name);
        return;
    }
    if (server && server->role == MEMBER_VOTER) {
        start_transfer(member, server->id);
        return;
    }
    if (server)
        failure_set(&failure, ERROR_INVALID_ARGUMENT,
                    "Member %s is a non-voter and can't lead; a voter is wanted.", change->name);
    else
        failure_set(&failure, ERROR_NOT_FOUND, "There is no member %s.", change->name);
    membership_fail(member, &failure);
}

static void adopt(struct member *member, struct change *change) {
    member->change = change;
    member->change_started = member_now(member);
    member->change_term = member->raft.current_term;
    member->poll_at = member->change_started + POLL_MS;
}

bool membership_hand_over(struct member *member, struct change *change, uint64_t target) {
    if (!member_is_leader(member) || member->door_closed || member->failed || member->change ||
        member->raft.configuration_uncommitted_index != 0)
        return false;
    adopt(member, change);
    start_transfer(member, target);
    return true;
}

void member_change(struct member *member, struct change *change) {
    struct failure failure;

    if (check_startable(member, change, &failure) != 0 ||
        check_promotion(member, change, &failure) != 0) {
        change->done(change, &failure, 0, NULL);
        return;
    }
    adopt(member, change);
    switch (change->kind) {
    case CHANGE_ADD_VOTER:
    case CHANGE_ADD_NONVOTER:
        adding_start(member);
        break;
    case CHANGE_REMOVE:
    case CHANGE_DEMOTE:
        start_reducing(member);
        break;
    case CHANGE_TRANSFER:
        start_named_transfer(member);
        break;
    case CHANGE_MOVE:
        moving_start(member);
        break;
    }
    membership_advance(member);
    member_flush(member);
    member_changed(member);
}

void membership_advance(struct member *member) {
    struct failure failure;

    promotion_advance(member);
    if (member->awaiting && !member->failed)
        adding_advance(member);
    if (!member->change || member->failed)
        return;
    member->poll_at = member_now(member) + POLL_MS;
    switch (member->phase) {
    case PHASE_LISTEN:
        start_reducing(member);
        break;
    case PHASE_IDENTIFY:
        break;
    case PHASE_COMMIT:
        if (member->applied_index < member->change_entry)
            break;
        failure_set(&failure, ERROR_NOT_LEADER, "Another leader's entry took this change's place.");
        membership_fail(member, &failure);
        break;
    case PHASE_TRANSFER:
        advance_transfer(member);
        break;
    }
}

void membership_lost_office(struct member *member) {
    struct failure failure;
    struct change *change = member->change;

    if (!change)
        return;
    /* An entry in the log is watched to its end; a transfer ends when the new leader is known. */
    if (member->phase == PHASE_COMMIT || change->kind == CHANGE_TRANSFER)
        return;
    failure_set(&failure, ERROR_NOT_LEADER,
                "This node is no longer the leader; the change was not begun.");
    membership_fail(member, &failure);
}

void membership_end_all(struct member *member) {
    struct failure failure;

    member_stop_awaiting(member);
    if (!member->change)
        return;
    failure_set(&failure, ERROR_UNAVAILABLE, "The node is stopping.");
    failure.outcome_unknown = member->phase == PHASE_COMMIT;
    membership_fail(member, &failure);
}

uint64_t membership_deadline(const struct member *member) {
    if (member->change || member->removed.id != 0 || promotion_under_way(member))
        return member->poll_at;
    return UINT64_MAX;
}

bool member_is_adding(const struct member *member, const char *name) {
    const struct change *change = member->change;

    return change && (change->kind == CHANGE_ADD_VOTER || change->kind == CHANGE_ADD_NONVOTER) &&
           strcmp(change->name, name) == 0;
}

void member_change_progress(const struct member *member, const struct change *change,
                            struct change_progress *ret) {
    static const char *const phases[] = {
        [PHASE_IDENTIFY] = "asking who it is",
        [PHASE_LISTEN] = "waiting to hear from enough voters",
        [PHASE_COMMIT] = "committing the configuration",
        [PHASE_TRANSFER] = "handing leadership over",
    };
    bool awaiting = change == member->awaiting;
    uint64_t target = awaiting ? member->awaited : member->change_target, match, last_contact;

    *ret = (struct change_progress){.phase = awaiting ? "catching up" : phases[member->phase]};
    if ((awaiting || member->phase == PHASE_TRANSFER) &&
        member_progress(member, target, &match, &last_contact)) {
        ret->done = match;
        ret->total = member->entries.last_index;
    }
}
