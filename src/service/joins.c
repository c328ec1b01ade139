/*
 * joins: nodes that ask to join the cluster, as its leader knows them. It adds them at once, or
 * keeps them for an administrator to accept or reject. They are in memory only: a node asks again
 * every few seconds until it is a member, and is forgotten when it does not.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/journal.h"
#include "base/memory.h"
#include "base/attempts.h"
#include "service/internal.h"

enum { ADD_TIMEOUT_MS = 10 * 60 * 1000 };

struct join {
    uint64_t id; /* 0: the place is free */
    char name[MEMBER_NAME_MAX + 1];
    char peer_address[ADDRESS_MAX + 1];
    char client_address[ADDRESS_MAX + 1];
    uint64_t first, last; /* host times of its requests */
    bool rejected;
    bool adding;            /* by AllowJoin= */
    struct failure failure; /* of the last attempt to add it */
    struct attempts attempts;
};

struct joins {
    struct join places[JOIN_REQUESTS_MAX];
};

void joins_init(struct service *service) {
    service->joins = xcalloc(1, sizeof *service->joins);
}

void joins_deinit(struct service *service) {
    free(TAKE(service->joins));
}

static bool is_over(const struct service *service, const struct join *join) {
    return !join->adding && (service->host->now(service->host) >= join->last + JOIN_KEPT_MS ||
                             configuration_find(member_configuration(service->member), join->id));
}

void joins_forget_old(struct service *service) {
    for (size_t i = 0; i < JOIN_REQUESTS_MAX; i++)
        if (is_over(service, &service->joins->places[i]))
            service->joins->places[i] = (struct join){0};
}

static struct join *find(struct service *service, uint64_t id) {
    for (size_t i = 0; i < JOIN_REQUESTS_MAX; i++)
        if (service->joins->places[i].id == id)
            return &service->joins->places[i];
    return NULL;
}

static struct join *find_name(struct service *service, const char *name) {
    for (size_t i = 0; i < JOIN_REQUESTS_MAX; i++)
        if (service->joins->places[i].id != 0 && strcmp(service->joins->places[i].name, name) == 0)
            return &service->joins->places[i];
    return NULL;
}

const char *joins_address(struct service *service, const char *name) {
    const struct join *join = find_name(service, name);

    return join ? join->peer_address : NULL;
}

/* ---- being asked by a node ---- */

static void reply(struct announce_reply *ret, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void reply(struct announce_reply *ret, enum error_code code, const char *format, ...) {
    va_list arguments;

    ret->said = (struct failure){.code = code};
    va_start(arguments, format);
    vsnprintf(ret->said.message, sizeof ret->said.message, format, arguments);
    va_end(arguments);
}

/* What keeps it from ever being added as it is now. */
static int check_newcomer(struct service *service, const struct identity *newcomer,
                          struct failure *failure) {
    const struct configuration *configuration = member_configuration(service->member);
    const struct join *named = find_name(service, newcomer->name);
    const struct join *known = find(service, newcomer->member_id);

    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];
        bool same_peers = strcmp(server->peer_address, newcomer->peer_address) == 0;

        if (same_peers || strcmp(server->client_address, newcomer->client_address) == 0)
            return failure_set(
                failure, ERROR_ALREADY_EXISTS, "The address %s is in use by member %s.",
                same_peers ? newcomer->peer_address : newcomer->client_address, server->name);
    }
    if (named && named->id != newcomer->member_id)
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "Another node asks to join under the name %s, from %s.", named->name,
                           named->peer_address);
    if (known && (strcmp(known->peer_address, newcomer->peer_address) != 0 ||
                  strcmp(known->client_address, newcomer->client_address) != 0))
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "Another node asks to join as %s, from %s; one that has moved may ask "
                           "%d s after it did so there.",
                           known->name, known->peer_address, JOIN_KEPT_MS / 1000);
    if (configuration->count == MEMBERS_MAX)
        return failure_set(failure, ERROR_TOO_LARGE, "A cluster has at most %d members.",
                           MEMBERS_MAX);
    return 0;
}

static void say_asks(const struct service *service, const struct join *join) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_JOIN_ASKED);

    member_event_at(&event, service->member, join->name, join->peer_address);
    journal_with(LOG_NOTICE, event.fields,
                 "Node %s at %s asks to join; \"raftkvctl accept %s\" adds it.", join->name,
                 join->peer_address, join->name);
}

/* By whom: an administrator, or AllowJoin=. */
static void say_accepted(const struct service *service, const struct join *join, const char *by) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_JOIN_ACCEPTED);

    member_event_at(&event, service->member, join->name, join->peer_address);
    journal_with(LOG_NOTICE, event.fields, "Node %s at %s, which asks to join, was accepted by %s.",
                 join->name, join->peer_address, by);
}

static void say_rejected(const struct service *service, const struct join *join) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_JOIN_REJECTED);

    member_event_at(&event, service->member, join->name, join->peer_address);
    journal_with(LOG_NOTICE, event.fields, "Node %s at %s, which asks to join, was rejected.",
                 join->name, join->peer_address);
}

/* NULL: there are too many. */
static struct join *take_note(struct service *service, const struct identity *newcomer) {
    struct join *join = find(service, newcomer->member_id);
    uint64_t now = service->host->now(service->host);

    if (!join) {
        join = find(service, 0);
        if (!join)
            return NULL;
        *join = (struct join){.id = newcomer->member_id, .first = now};
    }
    snprintf(join->name, sizeof join->name, "%s", newcomer->name);
    snprintf(join->peer_address, sizeof join->peer_address, "%s", newcomer->peer_address);
    snprintf(join->client_address, sizeof join->client_address, "%s", newcomer->client_address);
    join->last = now;
    return join;
}

/* ---- adding it without being told to ---- */

struct addition {
    struct service *service;
    uint64_t id;
};

static void added(void *data, const Raftkv__V1__Response *response) {
    struct addition *addition = data;
    struct join *join = find(addition->service, addition->id);

    if (join && response->error) {
        join->adding = false;
        failure_set(&join->failure, (enum error_code)response->error->code, "%s",
                    response->error->message);
        attempts_failed(&join->attempts, addition->service->host->now(addition->service->host),
                        join->failure.code);
    } else if (join) {
        *join = (struct join){0};
    }
    free(addition);
}

static void add(struct service *service, struct join *join, enum join_policy policy) {
    Raftkv__V1__Request *request = xmalloc(sizeof *request);
    struct addition *addition = xmalloc(sizeof *addition);
    struct service_caller caller = {.door = DOOR_JOIN, .reply = added, .data = addition};

    *addition = (struct addition){.service = service, .id = join->id};
    raftkv__v1__request__init(request);
    request->timeout_ms = ADD_TIMEOUT_MS;
    if (policy == JOIN_VOTER) {
        request->body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
        request->add_voter = xmalloc(sizeof *request->add_voter);
        raftkv__v1__add_voter_request__init(request->add_voter);
        request->add_voter->name = xstrdup(join->name);
        request->add_voter->peer_address = xstrdup(join->peer_address);
    } else {
        request->body_case = RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER;
        request->add_nonvoter = xmalloc(sizeof *request->add_nonvoter);
        raftkv__v1__add_nonvoter_request__init(request->add_nonvoter);
        request->add_nonvoter->name = xstrdup(join->name);
        request->add_nonvoter->peer_address = xstrdup(join->peer_address);
    }
    join->adding = true;
    if (join->failure.code == ERROR_OK) /* the first time */
        say_accepted(service, join,
                     policy == JOIN_VOTER ? "AllowJoin=voter" : "AllowJoin=nonvoter");
    service_handle_for(service, request, &caller);
}

/* What became of the last attempt is the answer to the next request. */
static void add_unless_adding(struct service *service, struct join *join, enum join_policy policy,
                              struct announce_reply *ret) {
    bool failed = join->failure.code != ERROR_OK && join->failure.code != ERROR_BUSY;

    if (failed)
        ret->said = join->failure;
    else
        reply(ret, ERROR_OK, "%s is being added as a %s.", join->name,
              policy == JOIN_VOTER ? "voter" : "non-voter");
    if (!join->adding && !service->draining &&
        service->host->now(service->host) >= join->attempts.not_before)
        add(service, join, policy);
}

void service_join(struct service *service, const struct identity *newcomer, enum join_policy policy,
                  struct announce_reply *ret) {
    struct join *join;
    bool is_new;

    joins_forget_old(service);
    if (check_newcomer(service, newcomer, &ret->said) != 0)
        return;
    if (policy == JOIN_NO) {
        reply(
            ret, ERROR_PERMISSION_DENIED,
            "%s, the leader, takes nobody in who asks (AllowJoin=no); an administrator can add %s.",
            service->identity->name, newcomer->name);
        return;
    }
    is_new = !find(service, newcomer->member_id);
    join = take_note(service, newcomer);
    if (!join)
        reply(ret, ERROR_BUSY, "%d nodes ask to join already, as many as may.", JOIN_REQUESTS_MAX);
    else if (join->rejected)
        reply(ret, ERROR_PERMISSION_DENIED, "An administrator has rejected %s.", join->name);
    else if (policy != JOIN_ASK)
        add_unless_adding(service, join, policy, ret);
    else
        reply(ret, ERROR_OK, "An administrator of the cluster has to accept %s.", join->name);
    if (join && is_new && policy == JOIN_ASK)
        say_asks(service, join);
}

/* ---- being asked by an administrator ---- */

void execute_pending(struct call *call) {
    Raftkv__V1__PendingNode nodes[JOIN_REQUESTS_MAX], *pointers[JOIN_REQUESTS_MAX];
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__PendingResponse answer = RAFTKV__V1__PENDING_RESPONSE__INIT;
    uint64_t now = call->service->host->now(call->service->host);

    joins_forget_old(call->service);
    for (size_t i = 0; i < JOIN_REQUESTS_MAX; i++) {
        struct join *join = &call->service->joins->places[i];
        Raftkv__V1__PendingNode *node = &nodes[answer.n_nodes];

        if (join->id == 0 || join->rejected || join->adding)
            continue;
        raftkv__v1__pending_node__init(node);
        node->name = join->name;
        node->id = join->id;
        node->peer_address = join->peer_address;
        node->client_address = join->client_address;
        node->milliseconds = now - join->first;
        pointers[answer.n_nodes++] = node;
    }
    answer.nodes = pointers;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PENDING;
    response.pending = &answer;
    call_answer(call, &response);
}

static struct join *find_asked_for(struct call *call, const char *name) {
    struct join *join;

    joins_forget_old(call->service);
    join = find_name(call->service, name);
    if (!join)
        call_fail_with(call, ERROR_NOT_FOUND,
                       "No node %s asks to join. One that does asks the leader again every few "
                       "seconds.",
                       name);
    return join;
}

void execute_accept(struct call *call) {
    struct join *join = find_asked_for(call, call->request->accept->name);

    if (!join)
        return;
    say_accepted(call->service, join, "an administrator");
    join->rejected = false;
    execute_change(call);
}

void execute_reject(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__RejectResponse answer = RAFTKV__V1__REJECT_RESPONSE__INIT;
    struct join *join = find_asked_for(call, call->request->reject->name);

    if (!join)
        return;
    if (!join->rejected)
        say_rejected(call->service, join);
    join->rejected = true;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_REJECT;
    response.reject = &answer;
    call_answer(call, &response);
}
