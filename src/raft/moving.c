/*
 * moving: a member that came back at other addresses than the configuration says. Who is there is
 * asked, as when a node is added; then the configuration changes in nothing but its addresses.
 */
#include <stdio.h>
#include <string.h>

#include "raft/member_internal.h"

enum { OLD_ADDRESS_TIMEOUT_MS = 1500 }; /* where nobody is expected any more */

void moving_say(const struct member *member) {
    const struct server *server = configuration_find(&member->committed, member->change->member_id);
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MEMBER_MOVED);

    if (!server)
        return;
    member_event_at(&event, member, server->name, server->peer_address);
    journal_with(LOG_NOTICE, event.fields, "Member %s is at %s now, and at %s for clients.",
                 server->name, server->peer_address, server->client_address);
}

/* Two members that take each other's address have to take another one in between. */
static int check_free(const struct configuration *configuration, const struct identity *mover,
                      struct failure *failure) {
    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];

        if (server->id == mover->member_id)
            continue;
        if (strcmp(server->peer_address, mover->peer_address) == 0)
            return membership_refuse_taken(server, "address", mover->peer_address, failure);
        if (strcmp(server->client_address, mover->client_address) == 0)
            return membership_refuse_taken(server, "client address", mover->client_address,
                                           failure);
    }
    return 0;
}

static void commit(struct member *member, const struct identity *mover) {
    struct configuration configuration = member->committed;
    const struct server *server = configuration_find(&configuration, mover->member_id);
    struct failure failure;

    if (!server) { /* given up meanwhile (promotion.c) */
        failure_set(&failure, ERROR_NOT_FOUND, "%s is no member any more.", mover->name);
        membership_fail(member, &failure);
        return;
    }
    if (strcmp(server->peer_address, mover->peer_address) == 0 &&
        strcmp(server->client_address, mover->client_address) == 0) {
        membership_finish(member, NULL, configuration.index, NULL);
        return;
    }
    if (check_free(&configuration, mover, &failure) != 0) {
        membership_fail(member, &failure);
        return;
    }
    configuration_move(&configuration, mover->member_id, mover->peer_address,
                       mover->client_address);
    membership_commit(member, &configuration);
}

static int check_mover(const struct member *member, const struct identity *mover,
                       struct failure *failure) {
    const struct change *change = member->change;

    if (mover->member_id != change->member_id || strcmp(mover->name, change->name) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The node at %s is %s (member %016llx), not %s (%016llx).",
                           change->peer_address, mover->name, (unsigned long long)mover->member_id,
                           change->name, (unsigned long long)change->member_id);
    /* A newcomer may have moved before anything of the cluster reached it. */
    if (mover->cluster_id != 0 && mover->cluster_id != member->identity->cluster_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The node %s at %s belongs to another cluster (%016llx).", mover->name,
                           change->peer_address, (unsigned long long)mover->cluster_id);
    if (strcmp(mover->peer_address, change->peer_address) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The node %s answers at %s, but says that it is at %s.", mover->name,
                           change->peer_address, mover->peer_address);
    return 0;
}

static void asked_new(struct member *member, const struct identity *mover,
                      const struct failure *failure) {
    struct failure mismatch;

    if (failure)
        membership_fail(member, failure);
    else if (check_mover(member, mover, &mismatch) != 0)
        membership_fail(member, &mismatch);
    else
        commit(member, mover);
}

/* Whoever still answers at the old address, as one that is there, has not moved: somebody else has
 * its id. One that says the new address is the same, reached under both. */
static void asked_old(struct member *member, const struct identity *there,
                      const struct failure *failure) {
    const struct change *change = member->change;
    struct failure refused;

    if (!failure && there->member_id == change->member_id &&
        strcmp(there->peer_address, change->peer_address) != 0) {
        failure_set(&refused, ERROR_ALREADY_EXISTS,
                    "Member %s still answers at %s; does a copy of its data directory run at %s?",
                    change->name, there->peer_address, change->peer_address);
        membership_fail(member, &refused);
        return;
    }
    membership_identify(member, change->peer_address, IDENTIFY_TIMEOUT_MS, asked_new);
}

void moving_start(struct member *member) {
    const struct change *change = member->change;
    const struct server *server = configuration_find(&member->committed, change->member_id);
    struct failure failure;

    if (!server) {
        failure_set(&failure, ERROR_NOT_FOUND, "There is no member %s.", change->name);
        membership_fail(member, &failure);
    } else if (server->id == member->id) {
        commit(member, member->identity);
    } else if (strcmp(server->peer_address, change->peer_address) != 0 &&
               member->host->linked(member->host, server->id)) {
        membership_identify(member, server->peer_address, OLD_ADDRESS_TIMEOUT_MS, asked_old);
    } else {
        membership_identify(member, change->peer_address, IDENTIFY_TIMEOUT_MS, asked_new);
    }
}
