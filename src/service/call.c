/* The life of a call: made, held, ended once. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/memory.h"
#include "service/internal.h"
#include "service/response.h"

static size_t request_bytes(const Raftkv__V1__Request *request) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
        return request->put->key.len + request->put->value.len;
    case RAFTKV__V1__REQUEST__BODY_GET:
        return request->get->key.len;
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return request->delete_->key.len;
    case RAFTKV__V1__REQUEST__BODY_LIST:
        return request->list->prefix.len + request->list->from.len +
               request->list->continuation.len;
    default:
        return 0; /* names and addresses */
    }
}

struct call *call_new(struct service *service, Raftkv__V1__Request *request, service_reply reply,
                      void *data) {
    struct call *call = xcalloc(1, sizeof *call);

    call->service = service;
    call->request = request;
    call->reply = reply;
    call->data = data;
    call->begun = service->host->now(service->host);
    call->begun_microseconds = service->host->microseconds(service->host);
    call->bytes = sizeof *call;
    list_init(&call->link);
    list_append(&service->calls, &call->all);
    service->count++;
    service->unanswered++;
    if (request->body_case != RAFTKV__V1__REQUEST__BODY__NOT_SET && request->put)
        call->bytes += request_bytes(request);
    service->bytes += call->bytes;
    return call;
}

void call_hold(struct call *call) {
    call->holds++;
}

static void free_if_unused(struct call *call) {
    if (!call->ended || call->holds > 0)
        return;
    list_remove(&call->all);
    if (call->service) {
        call->service->count--;
        call->service->bytes -= call->bytes;
    }
    raftkv__v1__request__free_unpacked(call->request, NULL);
    free(call);
}

void call_release(struct call *call) {
    check(call->holds > 0);
    call->holds--;
    free_if_unused(call);
}

/* Leaves whatever the call waits for. What was begun goes on; a proposal and a job on the state
 * lane hold the call until they are done. */
static void leave_stage(struct call *call) {
    list_remove(&call->link);
    switch (call->stage) {
    case CALL_FORWARDED:
        forward_forget(call->service, call->forward_id);
        break;
    case CALL_CHANGING:
        change_detach(call);
        break;
    case CALL_COLLECTING:
        collection_discard(call);
        break;
    case CALL_ROUTING:
    case CALL_ARRIVED:
    case CALL_WAITING:
    case CALL_PROPOSED:
    case CALL_READ_INDEX:
    case CALL_READ_READY:
    case CALL_READING:
    case CALL_COMPACTING:
    case CALL_MEASURING:
    case CALL_AWAITING:
    case CALL_BACKING_UP:
        break;
    }
}

static void mark_ended(struct call *call) {
    check(!call->ended);
    leave_stage(call);
    deadlines_remove(&call->service->deadlines, &call->deadline);
    list_remove(&call->all);
    list_append(&call->service->lingering, &call->all);
    call->service->unanswered--;
    call->ended = true;
}

/* Whether what the call asked for may still happen after it has ended. */
static bool outcome_unknown(const struct call *call) {
    if (!call->kind || !call->kind->writes)
        return false;
    return call->stage == CALL_FORWARDED || call->stage == CALL_PROPOSED ||
           call->stage == CALL_CHANGING;
}

void call_end(struct call *call) {
    struct service *service = call->service;
    struct operation *operation = TAKE(call->operation);
    bool unknown = outcome_unknown(call);

    mark_ended(call);
    free_if_unused(call);
    if (operation)
        operation_abandoned(service, operation, unknown);
}

void call_answer(struct call *call, Raftkv__V1__Response *response) {
    struct service *service = call->service;

    call_hold(call);
    stats_count(call, response->error);
    mark_ended(call);
    response->id = call->request->id;
    service->replying++;
    call->reply(call->data, response);
    service->replying--;
    if (call->operation)
        operation_end(service, TAKE(call->operation), response);
    call_release(call);
    service_begin_arrived(service);
}

void call_fail(struct call *call, const struct failure *failure) {
    Raftkv__V1__Error error = response_error(call->service, failure);
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;

    response.error = &error;
    call_answer(call, &response);
}

void call_fail_with(struct call *call, enum error_code code, const char *format, ...) {
    struct failure failure = {.code = code};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(failure.message, sizeof failure.message, format, arguments);
    va_end(arguments);
    call_fail(call, &failure);
}

void call_expire(struct call *call) {
    uint64_t waited = call->deadline.time - call->begun;
    struct failure failure;

    if (call->stage == CALL_COLLECTING) {
        collection_finish(call);
        return;
    }
    if (call->stage == CALL_WAITING)
        failure_set(&failure, ERROR_NO_LEADER,
                    "No leader was known and reachable within %llu ms; nothing happened.",
                    (unsigned long long)waited);
    else if (outcome_unknown(call))
        failure_set(&failure, ERROR_TIMEOUT,
                    "The %s was not confirmed within %llu ms; it may still take effect.",
                    call->kind->name, (unsigned long long)waited);
    else
        failure_set(&failure, ERROR_TIMEOUT, "The %s was not answered within %llu ms.",
                    call->kind->name, (unsigned long long)waited);
    failure.outcome_unknown = outcome_unknown(call);
    call_fail(call, &failure);
}

void call_abort(struct call *call) {
    struct failure failure;

    if (outcome_unknown(call))
        failure_set(&failure, ERROR_UNAVAILABLE,
                    "This node is stopping; the %s may still take effect.", call->kind->name);
    else
        failure_set(&failure, ERROR_UNAVAILABLE, "This node is stopping; nothing happened.");
    failure.outcome_unknown = outcome_unknown(call);
    call_fail(call, &failure);
}
