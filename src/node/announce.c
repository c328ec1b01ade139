/*
 * announce: what a node says of itself to others that do not expect it. A member that was started
 * at other addresses than the configuration says tells the members that it knows; one that hears of
 * no leader asks them whether it still is a member (removal.c); a node with an empty directory asks
 * those of Join= to be taken in. Each goes from one to the next until one is
 * the leader, and again until it is done. Whatever it is told here the leader looks at for itself.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "node/node_internal.h"

enum {
    ANSWER_MS = 5000,
    PAUSE_MS = 1000, /* after an answer */
    JOIN_PAUSE_MS = 3000,
    RETRY_MS = 200, /* after none */
    MOVE_MS = 30 * 1000,
    LONELY_ELECTIONS = 10, /* timeouts without a leader, which an election does not take */
};

static bool is_there(const struct server *server, const struct identity *identity) {
    return strcmp(server->peer_address, identity->peer_address) == 0 &&
           strcmp(server->client_address, identity->client_address) == 0;
}

static bool is_joining(const struct node *node) {
    return node->identity.cluster_id == 0 && node->announcement.join_count > 0;
}

void announce_update_peers(struct node *node, const struct configuration *peers) {
    const struct server *self = configuration_find(peers, node->identity.member_id);

    node->announcement.misplaced = self && !is_there(self, &node->identity);
}

/* The host time from when on this member does without a leader for too long. */
static uint64_t lonely_from(const struct node *node, const struct member_view *view) {
    struct member_statistics statistics;
    uint64_t heard = node->announcement.begun;

    if (node->identity.cluster_id == 0 || view->state == MEMBER_LEADER || view->awaits_adding)
        return UINT64_MAX;
    member_get_statistics(node->member, &statistics);
    if (statistics.leader_heard > heard)
        heard = statistics.leader_heard;
    return heard + node->announcement.patience;
}

static uint64_t wanted_from(const struct node *node) {
    struct member_view view;

    member_get_view(node->member, &view);
    if (node->stopping || view.removed)
        return UINT64_MAX;
    if (is_joining(node) || node->announcement.misplaced)
        return 0;
    return lonely_from(node, &view);
}

void announce_init(struct node *node, const char *join, uint64_t election_timeout) {
    struct announcement *announcement = &node->announcement;
    _cleanup_free_ char *copy = xstrdup(join ? join : "");
    char *rest = NULL;

    announcement->begun = node->host->now(node->host);
    announcement->patience = LONELY_ELECTIONS * election_timeout;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        check(announcement->join_count < JOIN_ADDRESSES_MAX && address_valid(word));
        strcpy(announcement->join[announcement->join_count++], word);
    }
}

/* ---- moving, as leader ---- */

static struct failed_move *find_failed(struct node *node, uint64_t id) {
    for (size_t i = 0; i < MEMBERS_MAX; i++)
        if (node->announcement.failed[i].id == id)
            return &node->announcement.failed[i];
    return NULL;
}

/* Of the member at the address that it moves to now. */
static struct failed_move *note_failed(struct node *node, const struct change *change) {
    struct failed_move *failed = find_failed(node, change->member_id);

    if (failed && strcmp(failed->peer_address, change->peer_address) == 0)
        return failed;
    if (!failed)
        failed = find_failed(node, 0);
    if (!failed) { /* of members that were removed since */
        failed = &node->announcement.failed[0];
        for (size_t i = 1; i < MEMBERS_MAX; i++)
            if (node->announcement.failed[i].attempts.not_before < failed->attempts.not_before)
                failed = &node->announcement.failed[i];
    }
    *failed = (struct failed_move){.id = change->member_id};
    snprintf(failed->peer_address, sizeof failed->peer_address, "%s", change->peer_address);
    return failed;
}

static void say_not_moved(const struct node *node, const struct change *change,
                          const struct failure *failure) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MEMBER_NOT_MOVED);

    member_event_at(&event, node->member, change->name, change->peer_address);
    journal_with(LOG_WARNING, event.fields, "Member %s says that it is at %s now: %s", change->name,
                 change->peer_address, failure->message);
}

static void move_failed(struct node *node, const struct change *change,
                        const struct failure *failure) {
    struct failed_move *failed = note_failed(node, change);
    uint64_t now = node->host->now(node->host);

    failed->failure = *failure;
    if (!attempts_failed(&failed->attempts, now, failure->code) || now < failed->silent_until)
        return;
    failed->silent_until =
        now + (failed->attempts.pause ? failed->attempts.pause : UNREACHED_MAX_MS);
    say_not_moved(node, change, failure);
}

static void move_done(struct change *change, const struct failure *failure, uint64_t index,
                      const char *leader) {
    struct node *node = container_of(change, struct node, announcement.move);
    struct failed_move *failed = find_failed(node, change->member_id);

    (void)index;
    (void)leader;
    node->announcement.moving = false;
    if (failure)
        move_failed(node, change, failure);
    else if (failed)
        *failed = (struct failed_move){0};
}

static void move(struct node *node, const struct identity *mover) {
    struct change *change = &node->announcement.move;

    *change = (struct change){
        .kind = CHANGE_MOVE,
        .member_id = mover->member_id,
        .deadline = node->host->now(node->host) + MOVE_MS,
        .done = move_done,
    };
    snprintf(change->name, sizeof change->name, "%s", mover->name);
    snprintf(change->peer_address, sizeof change->peer_address, "%s", mover->peer_address);
    node->announcement.moving = true;
    member_change(node->member, change);
}

/* ---- being told ---- */

static void reply(struct announce_reply *ret, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void reply(struct announce_reply *ret, enum error_code code, const char *format, ...) {
    va_list arguments;

    *ret = (struct announce_reply){.said.code = code};
    va_start(arguments, format);
    vsnprintf(ret->said.message, sizeof ret->said.message, format, arguments);
    va_end(arguments);
}

/* Who is to be told instead. */
static void name_leader(const struct node *node, const struct member_view *view,
                        struct announce_reply *ret) {
    const struct server *leader =
        configuration_find(member_configuration(node->member), view->leader);

    if (view->leader == 0 || view->leader == view->id || !leader) {
        reply(ret, ERROR_NO_LEADER, "%s knows of no leader now.", node->identity.name);
        return;
    }
    reply(ret, ERROR_NOT_LEADER, "The leader is %s at %s.", leader->name, leader->peer_address);
    strcpy(ret->leader_address, leader->peer_address);
}

/* The change goes on after the answer; what became of it is the answer to the next announcement. */
static void told_of_move(struct node *node, const struct identity *from,
                         struct announce_reply *ret) {
    const struct announcement *announcement = &node->announcement;
    const struct failed_move *failed = find_failed(node, from->member_id);
    bool is_known = failed && strcmp(failed->peer_address, from->peer_address) == 0;

    if (announcement->moving) {
        reply(ret, announcement->move.member_id == from->member_id ? ERROR_OK : ERROR_BUSY,
              "Member %s is being moved.", announcement->move.name);
        return;
    }
    if (is_known)
        ret->said = failed->failure;
    else
        reply(ret, ERROR_OK, "It is being moved.");
    if (!is_known || node->host->now(node->host) >= failed->attempts.not_before)
        move(node, from);
}

static bool is_of_this_cluster(const struct node *node, const struct identity *from) {
    return from->cluster_id != 0 && from->cluster_id == node->identity.cluster_id;
}

void node_announced(struct node *node, const struct identity *from, struct announce_reply *ret) {
    const struct server *server;
    struct member_view view;

    *ret = (struct announce_reply){0};
    member_get_view(node->member, &view);
    server = configuration_find(member_configuration(node->member), from->member_id);
    if (view.serving && !server && is_of_this_cluster(node, from))
        removal_answer(node, from, ret); /* its name may be another's by now */
    else if (doors_check_identity(node, from, &ret->said) != 0)
        return;
    else if (!view.serving)
        name_leader(node, &view, ret);
    else if (!server)
        service_join(node->service, from, node->allow_join, ret);
    else if (is_there(server, from))
        reply(ret, ERROR_OK, "That is where the configuration says.");
    else
        told_of_move(node, from, ret);
    node_flush(node);
}

/* ---- telling ---- */

static void add_own_fields(const struct node *node, struct journal_event *event) {
    member_event_at(event, node->member, node->identity.name, node->identity.peer_address);
}

static void say_not_found(const struct node *node, const char *text) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_MOVE_WAITS);

    add_own_fields(node, &event);
    journal_with(LOG_WARNING, event.fields,
                 "The cluster does not know yet that this node is at %s: %s",
                 node->identity.peer_address, text);
}

static void say(struct node *node, enum error_code code, const char *text) {
    char *said = node->announcement.said;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_JOIN_WAITS);

    if (strcmp(said, text) == 0)
        return;
    snprintf(said, sizeof node->announcement.said, "%s", text);
    add_own_fields(node, &event);
    if (is_joining(node))
        journal_with(code == ERROR_OK ? LOG_NOTICE : LOG_WARNING, event.fields,
                     "This node asks to join a cluster: %s", text);
    else if (node->announcement.misplaced && code != ERROR_OK)
        say_not_found(node, text);
}

/* Not of each attempt: when none of those to ask has answered, of the last one. */
static void say_unreachable(struct node *node, const struct failure *failure) {
    struct announcement *announcement = &node->announcement;

    announcement->unreached++;
    if (!is_joining(node) || announcement->unreached < announcement->join_count)
        return;
    announcement->unreached = 0;
    announcement->next_at += PAUSE_MS;
    say(node, failure->code, failure->message);
}

static void answered(void *data, const struct announce_reply *announced,
                     const struct failure *failure) {
    struct node *node = data;
    struct announcement *announcement = &node->announcement;
    uint64_t now = node->host->now(node->host);

    announcement->under_way = false;
    announcement->next_at = now + (failure            ? RETRY_MS
                                   : is_joining(node) ? JOIN_PAUSE_MS
                                                      : PAUSE_MS);
    if (failure) {
        say_unreachable(node, failure);
        return;
    }
    announcement->unreached = 0;
    if (announced->configuration_index != 0)
        member_expel(node->member, announced->configuration_index);
    if (announced->leader_address[0] && !announcement->followed) {
        strcpy(announcement->leader_address, announced->leader_address);
        announcement->next_at = now;
    }
    announcement->followed = announcement->leader_address[0];
    if (announced->said.code != ERROR_NOT_LEADER)
        say(node, announced->said.code, announced->said.message);
}

/* The leader, as far as it is known, then each of the others. */
static void next_address(struct node *node, char *ret) {
    struct announcement *announcement = &node->announcement;
    unsigned turn = announcement->turn++;
    struct configuration members;
    const struct server *server;
    struct member_view view;

    if (is_joining(node)) {
        strcpy(ret, announcement->join[turn % announcement->join_count]);
        return;
    }
    member_get_view(node->member, &view);
    member_peers(node->member, &members);
    turn %= (unsigned)members.count + 1;
    server = turn == 0 ? configuration_find(&members, view.leader) : &members.servers[turn - 1];
    if (server && server->id != view.id)
        strcpy(ret, server->peer_address);
}

void announce_tick(struct node *node) {
    struct announcement *announcement = &node->announcement;
    uint64_t now = node->host->now(node->host);
    char address[ADDRESS_MAX + 1] = "";
    struct member_view view;

    if (now < announce_deadline(node))
        return;
    announcement->next_at = now + PAUSE_MS;
    member_get_view(node->member, &view);
    if (view.state == MEMBER_LEADER) {
        announcement->next_at = now + RETRY_MS;
        if (view.serving && !announcement->moving)
            move(node, &node->identity);
        return;
    }
    strcpy(address, announcement->leader_address);
    announcement->leader_address[0] = 0;
    if (!address[0])
        next_address(node, address);
    if (!address[0]) {
        announcement->next_at = now + RETRY_MS;
        return;
    }
    announcement->under_way = true;
    node->host->announce(node->host, address, ANSWER_MS, answered, node);
}

uint64_t announce_deadline(const struct node *node) {
    uint64_t from;

    if (node->announcement.under_way)
        return UINT64_MAX;
    from = wanted_from(node);
    return from > node->announcement.next_at ? from : node->announcement.next_at;
}
