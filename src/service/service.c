/* The service as a whole: its life, its limits, time and notices. */
#include <string.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "service/internal.h"
#include "service/validate.h"

struct service *service_new(const struct service_options *options) {
    struct service *service = xcalloc(1, sizeof *service);

    service->host = options->host;
    service->member = options->member;
    service->state = options->state;
    service->identity = options->identity;
    service->node = options->node;
    service->observe_at = UINT64_MAX;
    service->retry_at = UINT64_MAX;
    service->forwards.sequence = options->host->random(options->host);
    list_init(&service->calls);
    list_init(&service->lingering);
    list_init(&service->arrived);
    list_init(&service->waiting);
    list_init(&service->waiting_forwarded);
    list_init(&service->forwards.reads);
    list_init(&service->forwards.writes);
    list_init(&service->read_index_gathering);
    list_init(&service->reads_ready);
    list_init(&service->compacting);
    list_init(&service->measuring);
    list_init(&service->backing_up);
    stats_init(service);
    operations_init(service);
    joins_init(service);
    member_get_view(service->member, &service->seen);
    service->seen_configuration = member_configuration(service->member)->index;
    return service;
}

struct service *service_free(struct service *service) {
    struct list *element;

    if (!service)
        return NULL;
    service->draining = true;
    while (!list_empty(&service->calls))
        call_abort(container_of(service->calls.next, struct call, all));
    /* What proposals and jobs still hold is freed by their done(). */
    while ((element = list_pop(&service->lingering)))
        container_of(element, struct call, all)->service = NULL;
    read_index_deinit(service);
    read_deinit(service);
    deadlines_deinit(&service->deadlines);
    operations_deinit(service);
    joins_deinit(service);
    stats_deinit(service);
    free(service->forwards.places);
    free(service);
    return NULL;
}

/* A call that nobody waits for: whose caller is gone, or of a node that asks again elsewhere. */
static struct call *find_unawaited(const struct service *service) {
    for (struct list *element = service->calls.next; element != &service->calls;
         element = element->next) {
        struct call *call = container_of(element, struct call, all);

        if (call->orphaned || (call->asked_by && strcmp(call->asked_by, DOOR_JOIN) == 0))
            return call;
    }
    return NULL;
}

size_t service_drain(struct service *service) {
    struct call *call;

    service->draining = true;
    while ((call = find_unawaited(service)))
        call_abort(call);
    return service->unanswered;
}

/* Whether there is room for this call, which is counted already. */
static bool within_limits(struct service *service) {
    uint64_t now;

    if (service->count <= REQUESTS_WAITING_MAX && service->bytes <= REQUESTS_WAITING_BYTES_MAX)
        return true;
    now = service->host->now(service->host);
    if (now >= service->complain_at) {
        journal(LOG_WARNING,
                "Requests are refused as Busy: %zu requests with %zu bytes are under way, and "
                "%d with %d bytes are allowed.",
                service->count, service->bytes, REQUESTS_WAITING_MAX, REQUESTS_WAITING_BYTES_MAX);
        service->complain_at = now + COMPLAIN_MS;
    }
    return false;
}

/* A forwarded request that is refused here may find the next leader; whoever forwarded it looks for
 * one when it is told NotLeader. */
static void refuse_draining(struct call *call) {
    bool other_may = call->from && call->kind && call->kind->needs_leader(call->request);

    call_fail_with(call, other_may ? ERROR_NOT_LEADER : ERROR_UNAVAILABLE,
                   "This node is stopping; nothing happened.");
}

static void begin(struct call *call) {
    struct service *service = call->service;
    struct failure failure;
    uint64_t timeout;

    call->stage = CALL_ROUTING;
    if (validate_request(call->request, &failure) != 0) {
        call_fail(call, &failure);
        return;
    }
    call->kind = request_kind(call->request);
    check(call->kind);
    if (service->draining) {
        refuse_draining(call);
        return;
    }
    if (!within_limits(service)) {
        call_fail_with(call, ERROR_BUSY,
                       "Too many requests are under way on this node (at most %d with %d bytes); "
                       "nothing happened.",
                       REQUESTS_WAITING_MAX, REQUESTS_WAITING_BYTES_MAX);
        return;
    }
    timeout = call->request->timeout_ms ? call->request->timeout_ms : REQUEST_TIMEOUT_DEFAULT_MS;
    call->deadline.time = call->begun + timeout;
    deadlines_add(&service->deadlines, &call->deadline);
    if (call->kind->is_operation && !operation_begin(call))
        return;
    if (call->kind->needs_leader(call->request))
        route_call(call);
    else
        call->kind->execute(call);
}

void service_begin_arrived(struct service *service) {
    struct list *element;

    if (service->replying > 0 || service->beginning)
        return;
    service->beginning = true;
    while ((element = list_pop(&service->arrived)))
        begin(container_of(element, struct call, link));
    service->beginning = false;
}

struct call *service_start(struct call *call) {
    bool ended;

    /* A reply callback that hands in the next request, and is answered at once, and hands in the
     * next one ... would eat up the stack. */
    if (call->service->replying > 0) {
        call->stage = CALL_ARRIVED;
        list_append(&call->service->arrived, &call->link);
        return call;
    }
    call_hold(call);
    begin(call);
    ended = call->ended;
    call_release(call);
    return ended ? NULL : call;
}

struct call *service_handle_for(struct service *service, Raftkv__V1__Request *request,
                                const struct service_caller *caller) {
    struct call *call = call_new(service, request, caller->reply, caller->data);

    call->asked_by = caller->door;
    call->progress = caller->progress;
    return service_start(call);
}

struct call *service_handle(struct service *service, Raftkv__V1__Request *request,
                            service_reply reply, void *data) {
    struct service_caller caller = {.door = "", .reply = reply, .data = data};

    return service_handle_for(service, request, &caller);
}

void service_cancel(struct service *service, struct call *call) {
    check(call->service == service);
    if (!call->ended && !operation_outlives(call))
        call_end(call);
}

uint64_t service_next_deadline(const struct service *service) {
    const struct deadline *first = deadlines_first(&service->deadlines);
    uint64_t next = first ? first->time : UINT64_MAX;

    if (service->retry_at < next)
        next = service->retry_at;
    if (operations_deadline(service) < next)
        next = operations_deadline(service);
    return service->observe_at < next ? service->observe_at : next;
}

void service_tick(struct service *service) {
    uint64_t now = service->host->now(service->host);
    struct deadline *first;

    while ((first = deadlines_first(&service->deadlines)) && first->time <= now)
        call_expire(container_of(first, struct call, deadline));
    if (service->retry_at <= now) {
        service->retry_at = UINT64_MAX;
        route_waiting(service);
    }
    operations_tick(service);
    if (service->observe_at <= now) {
        service->observe_at = UINT64_MAX;
        if (service->observer)
            service->observer(service->observer_data);
    }
}

void service_set_observer(struct service *service, service_observer observer, void *data) {
    service->observer = observer;
    service->observer_data = data;
}

/* Notices go out from service_tick(), so that they come once a turn of the loop however much has
 * changed; and indexes, which move all the time, are not worth a notice every turn. */
static void notice_at(struct service *service, uint64_t time) {
    if (service->observer && time < service->observe_at)
        service->observe_at = time;
}

void service_notice(struct service *service) {
    notice_at(service, service->host->now(service->host));
}

void service_member_changed(struct service *service) {
    uint64_t configuration = member_configuration(service->member)->index;
    uint64_t now = service->host->now(service->host);
    struct member_view old = service->seen, *view = &service->seen;

    member_get_view(service->member, view);
    if (view->state == old.state && view->role == old.role && view->term == old.term &&
        view->leader == old.leader && view->serving == old.serving &&
        view->readable == old.readable && configuration == service->seen_configuration) {
        notice_at(service, now + OBSERVE_MS);
        return;
    }
    service->seen_configuration = configuration;
    joins_forget_old(service);
    notice_at(service, now);
    route_waiting(service);
}
