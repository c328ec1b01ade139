/* status: this node's own, and with `cluster` what every other member says of itself. */
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/version.h"
#include "service/internal.h"
#include "service/response.h"

static uint64_t distance(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

Raftkv__V1__MemberStatus *service_local_status(struct service *service) {
    const struct configuration *configuration = member_configuration(service->member);
    Raftkv__V1__MemberStatus *status = xmalloc(sizeof *status);
    const struct server *leader;
    struct member_view view;

    raftkv__v1__member_status__init(status);
    member_get_view(service->member, &view);
    leader = view.leader ? configuration_find(configuration, view.leader) : NULL;
    status->name = xstrdup(service->identity->name);
    status->id = service->identity->member_id;
    status->role = response_role(view.role);
    status->state = response_state(view.state);
    status->term = view.term;
    if (leader)
        status->leader = xstrdup(leader->name);
    status->commit_index = view.commit_index;
    status->applied_index = view.applied_index;
    status->first_index = view.first_index;
    status->last_index = view.last_index;
    status->lag = distance(view.applied_index, view.commit_index);
    status->answers = true;
    status->version = xstrdup(raftkv_version);
    status->peer_address = xstrdup(service->identity->peer_address);
    status->client_address = xstrdup(service->identity->client_address);
    status->cluster_id = service->identity->cluster_id;
    if (service->node)
        service->node->fill_status(service->node->data, status);
    return status;
}

static void know_member(struct service *service, const struct server *server,
                        const struct member_view *view, struct service_member *ret) {
    uint64_t contact = 0, now = service->host->now(service->host);
    bool self = server->id == service->identity->member_id;

    *ret = (struct service_member){
        .id = server->id,
        .role = response_role(server->role),
        .leader = server->id == view->leader,
        .reachable = self || service->host->linked(service->host, server->id),
        .contact_ms = UINT64_MAX,
    };
    memcpy(ret->name, server->name, sizeof ret->name);
    memcpy(ret->peer_address, server->peer_address, sizeof ret->peer_address);
    memcpy(ret->client_address, server->client_address, sizeof ret->client_address);
    if (!member_progress(service->member, server->id, &ret->match_index, &contact))
        return;
    if (self)
        ret->contact_ms = 0;
    else if (contact)
        ret->contact_ms = now - contact;
}

static void know_snapshot(const Raftkv__V1__SnapshotProgress *progress,
                          struct service_member *member) {
    member->snapshot_bytes = progress->bytes;
    member->snapshot_total = progress->total_bytes;
}

static void know_snapshots(struct service *service, struct service_member *members, size_t count) {
    Raftkv__V1__MemberStatus *status = service_local_status(service);

    for (size_t i = 0; i < count; i++) {
        if (members[i].id == status->id && status->receiving)
            know_snapshot(status->receiving, &members[i]);
        for (size_t j = 0; j < status->n_sending; j++)
            if (strcmp(status->sending[j]->member, members[i].name) == 0)
                know_snapshot(status->sending[j], &members[i]);
    }
    raftkv__v1__member_status__free_unpacked(status, NULL);
}

size_t service_local_members(struct service *service,
                             struct service_member ret[static MEMBERS_MAX]) {
    const struct configuration *configuration = member_configuration(service->member);
    struct member_view view;

    member_get_view(service->member, &view);
    for (size_t i = 0; i < configuration->count; i++)
        know_member(service, &configuration->servers[i], &view, &ret[i]);
    know_snapshots(service, ret, configuration->count);
    return configuration->count;
}

enum { SEATS_MAX = MEMBERS_MAX + 1 };

/* The answers to one status request with `cluster`. */
struct collection {
    Raftkv__V1__MemberStatus *self;
    size_t count;
    size_t missing;                               /* members that were asked and may still answer */
    Raftkv__V1__MemberStatus *members[SEATS_MAX]; /* owned, but where it is self */
    uint64_t questions[SEATS_MAX];                /* forward ids; 0: none under way */
};

static void collection_free(struct collection *collection) {
    for (size_t i = 0; i < collection->count; i++)
        if (collection->members[i] != collection->self)
            raftkv__v1__member_status__free_unpacked(collection->members[i], NULL);
    raftkv__v1__member_status__free_unpacked(collection->self, NULL);
    free(collection);
}

/* The call has no use for further answers. */
static struct collection *collection_take(struct call *call) {
    struct collection *collection = TAKE(call->collection);

    for (size_t i = 0; i < collection->count; i++)
        if (collection->questions[i])
            forward_forget(call->service, collection->questions[i]);
    call->service->collections--;
    call->stage = CALL_ROUTING;
    return collection;
}

void collection_discard(struct call *call) {
    collection_free(collection_take(call));
}

/* What is known of a member that has not answered (yet). */
static Raftkv__V1__MemberStatus *silent_member(const struct server *server, const char *error) {
    Raftkv__V1__MemberStatus *status = xmalloc(sizeof *status);

    raftkv__v1__member_status__init(status);
    status->name = xstrdup(server->name);
    status->id = server->id;
    status->role = response_role(server->role);
    status->peer_address = xstrdup(server->peer_address);
    status->client_address = xstrdup(server->client_address);
    status->error = xstrdup(error);
    return status;
}

static void set_error(Raftkv__V1__MemberStatus *status, const char *error) {
    free(status->error);
    status->error = xstrdup(error);
}

static Raftkv__V1__MemberStatus *copy_status(const Raftkv__V1__MemberStatus *status) {
    size_t size = raftkv__v1__member_status__get_packed_size(status);
    _cleanup_free_ uint8_t *data = xmalloc(size);
    Raftkv__V1__MemberStatus *copy;

    raftkv__v1__member_status__pack(status, data);
    copy = raftkv__v1__member_status__unpack(NULL, size, data);
    check(copy);
    return copy;
}

static void set_lags(struct collection *collection) {
    uint64_t highest = collection->self->commit_index;

    for (size_t i = 0; i < collection->count; i++)
        if (collection->members[i]->commit_index > highest)
            highest = collection->members[i]->commit_index;
    collection->self->lag = distance(collection->self->applied_index, highest);
    for (size_t i = 0; i < collection->count; i++)
        if (collection->members[i]->answers)
            collection->members[i]->lag = distance(collection->members[i]->applied_index, highest);
}

void collection_finish(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__StatusResponse status = RAFTKV__V1__STATUS_RESPONSE__INIT;
    struct collection *collection = collection_take(call);

    set_lags(collection);
    status.self = collection->self;
    status.n_members = collection->count;
    status.members = collection->members;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &status;
    call_answer(call, &response);
    collection_free(collection);
}

void collection_answered(struct call *call, size_t seat, const Raftkv__V1__Response *response) {
    struct collection *collection = call->collection;
    Raftkv__V1__MemberStatus *member = collection->members[seat];

    collection->questions[seat] = 0;
    collection->missing--;
    if (response && !response->error && response->status->self &&
        response->status->self->id == member->id) {
        collection->members[seat] = copy_status(response->status->self);
        collection->members[seat]->answers = true;
        raftkv__v1__member_status__free_unpacked(member, NULL);
    } else if (response && response->error) {
        set_error(member, response->error->message);
    } else {
        set_error(member, "its answer makes no sense");
    }
    if (collection->missing == 0)
        collection_finish(call);
}

static void ask(struct call *call, size_t seat, const struct server *server, uint64_t timeout) {
    Raftkv__V1__Request question = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__StatusRequest status = RAFTKV__V1__STATUS_REQUEST__INIT;
    struct service *service = call->service;
    struct collection *collection = call->collection;

    if (!service->host->linked(service->host, server->id)) {
        collection->members[seat] = silent_member(server, "there is no link to it");
        return;
    }
    collection->members[seat] = silent_member(server, "it did not answer in time");
    question.body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
    question.status = &status;
    collection->questions[seat] = forward_send(call, &question, timeout, server->id, seat);
    collection->missing++;
}

/* Asks all other members; its deadline becomes that of their answers. */
static void collect(struct call *call) {
    struct service *service = call->service;
    const struct configuration *configuration = member_configuration(service->member);
    uint64_t now = service->host->now(service->host), timeout = STATUS_ANSWER_MS;
    struct collection *collection = xcalloc(1, sizeof *collection);

    if (call->deadline.time < now + timeout)
        timeout = call->deadline.time > now ? call->deadline.time - now : 1;
    deadlines_remove(&service->deadlines, &call->deadline);
    call->deadline.time = now + timeout;
    deadlines_add(&service->deadlines, &call->deadline);
    collection->self = service_local_status(service);
    collection->count = configuration->count;
    call->collection = collection;
    call->stage = CALL_COLLECTING;
    service->collections++;
    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];

        if (server->id == service->identity->member_id)
            collection->members[i] = collection->self;
        else
            ask(call, i, server, timeout);
    }
    /* After a restart the configuration may be one from before it was added. */
    if (configuration->count > 0 &&
        !configuration_find(configuration, service->identity->member_id))
        collection->members[collection->count++] = collection->self;
    if (collection->missing == 0)
        collection_finish(call);
}

void execute_status(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__StatusResponse status = RAFTKV__V1__STATUS_RESPONSE__INIT;

    /* A member that is asked by another one speaks for itself only. */
    if (call->request->status->cluster && !call->from) {
        if (call->service->collections >= CLUSTER_STATUS_MAX)
            call_fail_with(call, ERROR_BUSY,
                           "%d requests for the status of the whole cluster are under way, which "
                           "is as many as may be.",
                           CLUSTER_STATUS_MAX);
        else
            collect(call);
        return;
    }
    status.self = service_local_status(call->service);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &status;
    call_answer(call, &response);
    raftkv__v1__member_status__free_unpacked(status.self, NULL);
}
