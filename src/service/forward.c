/* Questions to other members: requests that belong to the leader, and status. Each is sent once;
 * its id tells its place in a table. */
#include <assert.h>

#include "base/check.h"
#include "base/defect.h"
#include "base/memory.h"
#include "service/internal.h"
#include "service/response.h"

enum { PLACE_BITS = 20, PLACE_MASK = (1 << PLACE_BITS) - 1, NO_PLACE = PLACE_MASK };

static_assert(REQUESTS_WAITING_MAX + CLUSTER_STATUS_MAX * MEMBERS_MAX < NO_PLACE,
              "ids have a place for every question");

static void grow(struct forwards *forwards) {
    uint32_t capacity = forwards->capacity ? forwards->capacity * 2 : 64;

    check(capacity <= NO_PLACE + 1);
    forwards->places = xrealloc(forwards->places, capacity * sizeof *forwards->places);
    for (uint32_t i = forwards->capacity; i < capacity; i++)
        forwards->places[i] = (struct forward){
            .next_free = i + 1 < capacity ? i + 1 : NO_PLACE,
        };
    forwards->first_free = forwards->capacity;
    forwards->capacity = capacity;
}

static struct forward *take_place(struct forwards *forwards) {
    struct forward *forward;
    uint32_t place;

    if (forwards->capacity == 0 || forwards->first_free == NO_PLACE)
        grow(forwards);
    place = forwards->first_free;
    forward = &forwards->places[place];
    forwards->first_free = forward->next_free;
    do
        forward->id = ++forwards->sequence << PLACE_BITS | place;
    while (forward->id == 0);
    return forward;
}

static struct forward *find(struct forwards *forwards, uint64_t id) {
    uint32_t place = id & PLACE_MASK;

    if (id == 0 || place >= forwards->capacity || forwards->places[place].id != id)
        return NULL;
    return &forwards->places[place];
}

void forward_forget(struct service *service, uint64_t id) {
    struct forward *forward = find(&service->forwards, id);

    check(forward);
    *forward = (struct forward){.next_free = service->forwards.first_free};
    service->forwards.first_free = id & PLACE_MASK;
}

static void send_message(struct service *service, uint64_t member,
                         const Raftkv__V1__PeerMessage *message) {
    size_t size;
    uint8_t *data = pack(&message->base, 0, &size);

    service->host->send(service->host, member, false, data, size);
}

uint64_t forward_send(struct call *call, Raftkv__V1__Request *request, uint64_t timeout,
                      uint64_t member, size_t seat) {
    Raftkv__V1__ForwardRequest question = RAFTKV__V1__FORWARD_REQUEST__INIT;
    Raftkv__V1__PeerMessage message = RAFTKV__V1__PEER_MESSAGE__INIT;
    struct forward *forward = take_place(&call->service->forwards);
    uint32_t as_asked = request->timeout_ms;
    bool progress = request->progress;
    uint64_t id = forward->id;

    forward->member = member;
    forward->call = call;
    forward->seat = seat;
    question.forward_id = id;
    question.request = request;
    message.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_REQUEST;
    message.forward_request = &question;
    request->timeout_ms = (uint32_t)timeout;
    request->progress = call->operation != NULL;
    send_message(call->service, member, &message);
    request->timeout_ms = as_asked;
    request->progress = progress;
    return id;
}

static void take_back(struct call *call) {
    list_remove(&call->link);
    forward_forget(call->service, call->forward_id);
    call->stage = CALL_ROUTING;
}

void forward_recall_reads(struct service *service, uint64_t leader) {
    struct list *element;

    if (service->forwards.target == leader)
        return;
    while ((element = service->forwards.reads.next) != &service->forwards.reads) {
        struct call *call = container_of(element, struct call, link);

        take_back(call);
        route_wait(call);
    }
    service->forwards.target = leader;
}

/* What may have become of a write that a member has not answered. */
enum fate {
    MAY_BE_ANSWERED,
    NEVER_TAKEN,
    UNKNOWN, /* and stays so */
};

static void end_writes(struct service *service,
                       enum fate (*fate)(struct service *service, const struct forward *forward,
                                         uint64_t member, uint64_t last_id),
                       uint64_t member, uint64_t last_id) {
    struct list writes, *element;

    list_init(&writes);
    list_move(&writes, &service->forwards.writes);
    while ((element = list_pop(&writes))) {
        struct call *call = container_of(element, struct call, link);
        enum fate found =
            fate(service, find(&service->forwards, call->forward_id), member, last_id);
        struct failure failure;

        list_append(&service->forwards.writes, &call->link);
        if (found == MAY_BE_ANSWERED)
            continue;
        take_back(call);
        if (found == NEVER_TAKEN || DEFECT(WRITE_SENT_TWICE)) {
            route_wait(call);
            continue;
        }
        failure_set(&failure, ERROR_UNAVAILABLE,
                    "The link to the leader broke before it answered.");
        failure.outcome_unknown = true;
        call_fail(call, &failure);
    }
}

static enum fate fate_by_link(struct service *service, const struct forward *forward,
                              uint64_t member, uint64_t last_id) {
    (void)member;
    (void)last_id;
    return service->host->linked(service->host, forward->member) ? MAY_BE_ANSWERED : UNKNOWN;
}

void forward_give_up_writes(struct service *service) {
    end_writes(service, fate_by_link, 0, 0);
}

/* ---- members that stop and begin ---- */

bool forward_is_leaving(const struct service *service, uint64_t member) {
    for (size_t i = 0; i < MEMBERS_MAX; i++)
        if (service->forwards.leaving[i] == member)
            return true;
    return false;
}

/* Ids go up, and around; questions come in the order in which they were sent. */
static enum fate fate_by_farewell(struct service *service, const struct forward *forward,
                                  uint64_t member, uint64_t last_id) {
    (void)service;
    if (forward->member != member)
        return MAY_BE_ANSWERED;
    return last_id == 0 || (int64_t)(forward->id - last_id) > 0 ? NEVER_TAKEN : MAY_BE_ANSWERED;
}

void service_member_leaves(struct service *service, uint64_t member, uint64_t last_forward_id) {
    struct forwards *forwards = &service->forwards;

    if (!forward_is_leaving(service, member)) {
        forwards->leaving[forwards->next_leaving] = member;
        forwards->next_leaving = (forwards->next_leaving + 1) % MEMBERS_MAX;
    }
    end_writes(service, fate_by_farewell, member, last_forward_id);
    if (forwards->target == member)
        forward_recall_reads(service, 0);
}

static enum fate fate_by_run(struct service *service, const struct forward *forward,
                             uint64_t member, uint64_t last_id) {
    (void)service;
    (void)last_id;
    return forward->member == member ? UNKNOWN : MAY_BE_ANSWERED;
}

void service_member_begins(struct service *service, uint64_t member) {
    for (size_t i = 0; i < MEMBERS_MAX; i++)
        if (service->forwards.leaving[i] == member)
            service->forwards.leaving[i] = 0;
    end_writes(service, fate_by_run, member, 0);
    if (service->forwards.target == member)
        forward_recall_reads(service, 0);
}

void forward_call(struct call *call, uint64_t leader) {
    struct service *service = call->service;
    uint64_t now = service->host->now(service->host);
    uint64_t left = call->deadline.time > now ? call->deadline.time - now : 1;

    /* The link drops what its queue has no room for: half of it is left to raft. */
    if (service->host->backlog(service->host, leader) + call->bytes > LINK_QUEUE_SIZE_MAX / 2) {
        call_fail_with(call, ERROR_BUSY,
                       "Too much waits to be sent to the leader; nothing happened.");
        return;
    }
    forward_recall_reads(service, leader);
    call->stage = CALL_FORWARDED;
    call->forward_id = forward_send(call, call->request, left, leader, 0);
    list_append(call->kind->writes ? &service->forwards.writes : &service->forwards.reads,
                &call->link);
    route_arm_retry(service);
}

/* Whether this can be the answer to the call: an error, or the body that it asked for. */
static bool makes_sense(const struct call *call, const Raftkv__V1__Response *response) {
    if (!response)
        return false;
    if (response->error)
        return response->error->code != RAFTKV__V1__ERROR_CODE__ERROR_CODE_OK;
    return response->body_case == call->kind->answer && response->put;
}

static bool nothing_happened(const Raftkv__V1__Error *error) {
    return error && !error->outcome_unknown &&
           (error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_NOT_LEADER ||
            error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_NO_LEADER);
}

/* Whether this only says how the call comes on. */
static bool is_progress(const Raftkv__V1__Response *response) {
    return response && !response->error &&
           response->body_case == RAFTKV__V1__RESPONSE__BODY_PROGRESS && response->progress;
}

static void forwarded_call_answered(struct call *call, uint64_t from,
                                    const Raftkv__V1__Response *response) {
    Raftkv__V1__Response answer;

    take_back(call);
    if (!makes_sense(call, response)) {
        struct failure failure;

        failure_set(&failure, ERROR_INTERNAL, "The leader's answer is not one to a %s.",
                    call->kind->name);
        failure.outcome_unknown = call->kind->writes;
        call_fail(call, &failure);
        return;
    }
    if (nothing_happened(response->error)) {
        route_call_again(call, from);
        return;
    }
    answer = *response;
    call_answer(call, &answer);
}

void service_forward_response(struct service *service, uint64_t from,
                              const Raftkv__V1__ForwardResponse *message) {
    struct forward *forward = find(&service->forwards, message->forward_id);
    struct call *call;
    size_t seat;

    if (!forward || forward->member != from)
        return;
    call = forward->call;
    seat = forward->seat;
    if (call->stage == CALL_FORWARDED && is_progress(message->response)) {
        operation_told(call, message->response->progress);
        return;
    }
    if (call->stage == CALL_FORWARDED) {
        forwarded_call_answered(call, from, message->response);
        return;
    }
    forward_forget(service, message->forward_id);
    collection_answered(call, seat,
                        makes_sense(call, message->response) ? message->response : NULL);
}

/* The reply of a call that another member has forwarded. */
static void send_answer(void *data, const Raftkv__V1__Response *response) {
    Raftkv__V1__ForwardResponse answer = RAFTKV__V1__FORWARD_RESPONSE__INIT;
    Raftkv__V1__PeerMessage message = RAFTKV__V1__PEER_MESSAGE__INIT;
    struct call *call = data;
    Raftkv__V1__Response copy = *response;

    answer.forward_id = call->from_forward_id;
    answer.response = &copy;
    message.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_RESPONSE;
    message.forward_response = &answer;
    send_message(call->service, call->from, &message);
}

void service_forward_request(struct service *service, uint64_t from,
                             Raftkv__V1__ForwardRequest *message) {
    Raftkv__V1__Request *request = TAKE(message->request);
    struct call *call;

    /* Without a request there is nothing to answer: the one without body is refused as such. */
    if (!request) {
        request = xmalloc(sizeof *request);
        raftkv__v1__request__init(request);
    }
    call = call_new(service, request, send_answer, NULL);
    service->forwarded_to_us++;
    call->data = call;
    call->progress = send_answer;
    call->from = from;
    call->from_forward_id = message->forward_id;
    service_start(call);
}
