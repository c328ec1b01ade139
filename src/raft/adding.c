/*
 * adding: how a node becomes a member. It is asked who it is, and enters the configuration as a
 * standby. One that is to vote is marked as promoting there, and the change awaits its promotion
 * (promotion.c).
 */
#include <stdio.h>
#include <string.h>

#include "raft/member_internal.h"

/* ---- awaiting the promotion ---- */

static void finish_awaiting(struct member *member, const struct failure *failure) {
    struct change *change = TAKE(member->awaiting);

    change->done(change, failure, failure ? 0 : member->committed.index, NULL);
    member_changed(member);
}

/* Lets the next change begin. */
void adding_await_promotion(struct member *member) {
    struct failure failure;

    if (member->awaiting) {
        failure_set(&failure, ERROR_BUSY,
                    "Member %s is being added already; whoever asked for it first awaits that.",
                    member->change->name);
        membership_fail(member, &failure);
        return;
    }
    member->awaiting = TAKE(member->change);
    member->awaited = member->change_target;
}

/* ---- identifying ---- */

static enum member_role wanted_role(const struct change *change) {
    return change->kind == CHANGE_ADD_VOTER ? MEMBER_VOTER : MEMBER_STANDBY;
}

/* Whether this member of the wanted name and address is what the change wants it to be. */
static bool is_added(const struct change *change, const struct server *server) {
    return server->role == wanted_role(change) && !server->promoting;
}

/* Whether name, id and addresses of the newcomer are free, or all those of one member. */
static int check_free(const struct configuration *configuration, const struct server *newcomer,
                      struct failure *failure) {
    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];

        if (server->id == newcomer->id && strcmp(server->name, newcomer->name) == 0 &&
            strcmp(server->peer_address, newcomer->peer_address) == 0)
            continue;
        if (strcmp(server->name, newcomer->name) == 0)
            return failure_set(failure, ERROR_ALREADY_EXISTS,
                               "The node %s at %s has another data directory than the member of "
                               "this name; remove the member first, then add it again.",
                               newcomer->name, newcomer->peer_address);
        if (strcmp(server->client_address, newcomer->client_address) == 0)
            return membership_refuse_taken(server, "client address", newcomer->client_address,
                                           failure);
        if (server->id == newcomer->id)
            return failure_set(failure, ERROR_ALREADY_EXISTS,
                               "The node at %s is already a member, as %s at %s.",
                               newcomer->peer_address, server->name, server->peer_address);
    }
    return 0;
}

static int check_identity(const struct member *member, const struct change *change,
                          const struct identity *identity, struct failure *failure) {
    if (identity->member_id == member->id)
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "The address %s is that of %s, the leader itself.", change->peer_address,
                           member->identity->name);
    if (strcmp(identity->name, change->name) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT, "The node at %s is %s, not %s.",
                           change->peer_address, identity->name, change->name);
    if (identity->cluster_id != 0 && identity->cluster_id != member->identity->cluster_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The node %s at %s belongs to another cluster (%016llx).",
                           identity->name, change->peer_address,
                           (unsigned long long)identity->cluster_id);
    return 0;
}

static void say_adding(const struct member *member, const struct server *newcomer) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MEMBER_ADDING);

    member_event_at(&event, member, newcomer->name, newcomer->peer_address);
    journal_with(LOG_NOTICE, event.fields, "Adding member %s at %s.", newcomer->name,
                 newcomer->peer_address);
}

static void add_identified(struct member *member, const struct identity *identity) {
    struct change *change = member->change;
    struct configuration configuration = member->committed;
    struct server newcomer = {
        .id = identity->member_id,
        .role = MEMBER_STANDBY,
        .promoting = wanted_role(change) == MEMBER_VOTER,
    };
    const struct server *known;
    struct failure failure;

    if (check_identity(member, change, identity, &failure) != 0) {
        membership_fail(member, &failure);
        return;
    }
    snprintf(newcomer.name, sizeof newcomer.name, "%s", identity->name);
    snprintf(newcomer.peer_address, sizeof newcomer.peer_address, "%s", change->peer_address);
    snprintf(newcomer.client_address, sizeof newcomer.client_address, "%s",
             identity->client_address);
    if (check_free(&configuration, &newcomer, &failure) != 0) {
        membership_fail(member, &failure);
        return;
    }
    known = configuration_find(&configuration, newcomer.id);
    if (known && is_added(change, known)) {
        membership_finish(member, NULL, configuration.index, NULL);
        return;
    }
    member->change_target = newcomer.id;
    if (known)
        configuration_set_role(&configuration, newcomer.id, MEMBER_STANDBY, true);
    else
        configuration_add(&configuration, &newcomer);
    if (member->removed.id == newcomer.id)
        member->removed.id = 0; /* it is welcome again */
    say_adding(member, &newcomer);
    membership_commit(member, &configuration);
}

/* check_request() has compared the addresses. */
static bool is_added_as_far_as_known(const struct member *member) {
    const struct server *named = configuration_find_name(&member->committed, member->change->name);

    return named && is_added(member->change, named);
}

static void identified(struct member *member, const struct identity *identity,
                       const struct failure *failure) {
    if (!failure)
        add_identified(member, identity);
    else if (is_added_as_far_as_known(member))
        membership_finish(member, NULL, member->committed.index, NULL);
    else
        membership_fail(member, failure);
}

/* Whether the cluster has a server of this name and address already, or one of them is taken. */
static int check_request(const struct member *member, const struct change *change,
                         struct failure *failure) {
    const struct configuration *configuration = &member->committed;
    const struct server *named = configuration_find_name(configuration, change->name);

    if (named && strcmp(named->peer_address, change->peer_address) != 0)
        return membership_refuse_taken(named, "name", change->name, failure);
    for (size_t i = 0; i < configuration->count; i++)
        if (&configuration->servers[i] != named &&
            strcmp(configuration->servers[i].peer_address, change->peer_address) == 0)
            return membership_refuse_taken(&configuration->servers[i], "address",
                                           change->peer_address, failure);
    if (named && change->kind == CHANGE_ADD_NONVOTER && !is_added(change, named))
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "Member %s %s; demote it to make it a non-voter.", named->name,
                           named->promoting ? "is being made a voter" : "is a voter");
    if (!named && configuration->count == MEMBERS_MAX)
        return failure_set(failure, ERROR_TOO_LARGE, "A cluster has at most %d members.",
                           MEMBERS_MAX);
    return 0;
}

void adding_start(struct member *member) {
    struct change *change = member->change;
    const struct server *named = configuration_find_name(&member->committed, change->name);
    struct failure failure;

    if (check_request(member, change, &failure) != 0) {
        membership_fail(member, &failure);
        return;
    }
    if (named && named->id == member->id) {
        membership_finish(member, NULL, member->committed.index, NULL);
        return;
    }
    if (named && named->promoting) {
        member->change_target = named->id;
        adding_await_promotion(member);
        return;
    }
    membership_identify(member, change->peer_address, IDENTIFY_TIMEOUT_MS, identified);
}

void adding_advance(struct member *member) {
    const struct server *server = configuration_find(&member->committed, member->awaited);
    const struct change *change = member->awaiting;
    struct failure failure;

    if (server && server->role == MEMBER_VOTER) {
        finish_awaiting(member, NULL);
    } else if (!server) {
        failure_set(&failure, ERROR_UNAVAILABLE,
                    "The node %s at %s fell silent, or was removed, before it had caught up; it "
                    "was not added.",
                    change->name, change->peer_address);
        finish_awaiting(member, &failure);
    } else if (!server->promoting) {
        failure_set(&failure, ERROR_CONFIGURATION_CONFLICT,
                    "Member %s was made a non-voter by another change.", change->name);
        finish_awaiting(member, &failure);
    }
}

void member_stop_awaiting(struct member *member) {
    struct failure failure;

    if (!member->awaiting)
        return;
    failure_set(&failure, ERROR_UNAVAILABLE,
                "The node is stopping; member %s may still be promoted by the next leader.",
                member->awaiting->name);
    failure.outcome_unknown = true;
    finish_awaiting(member, &failure);
}
