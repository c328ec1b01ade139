/* operation and operations: what takes long on this node is told of, awaited and cancelled. */
#include <string.h>

#include "service/operations.h"

static void cancel(struct operation *operation) {
    struct call *call = operation->call;
    bool begun = call->stage != CALL_WAITING && call->stage != CALL_ROUTING;
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE,
                begun ? "The operation was cancelled; what was begun of it goes on."
                      : "The operation was cancelled; nothing happened.");
    failure.outcome_unknown = begun && call->kind->writes;
    call_fail(call, &failure);
}

/* Whoever is answered with that may do anything, to this call too. */
static void execute_cancel(struct call *call, struct operation *operation) {
    uint64_t token = operation->token;

    call_hold(call);
    if (operation->call)
        cancel(operation);
    else
        backup_cancel(call->service, operation->backup);
    operation = operation_find(call->service, token);
    if (!call->ended && operation)
        operation_answer(call, operation);
    call_release(call);
}

void execute_operation(struct call *call) {
    const Raftkv__V1__OperationRequest *request = call->request->operation;
    struct operation *operation = operation_find(call->service, request->token);

    if (!operation || operation_is_stale(call->service, operation)) {
        call_fail_with(call, ERROR_NOT_FOUND, "This node knows no operation %016llx.",
                       (unsigned long long)request->token);
    } else if (operation->running &&
               request->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT) {
        call->stage = CALL_AWAITING;
        list_append(&operation->waiting, &call->link);
    } else if (operation->running &&
               request->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL) {
        execute_cancel(call, operation);
    } else {
        operation_answer(call, operation);
    }
}

/* Those that are known now, oldest first. */
static size_t list_known(const struct service *service,
                         struct operation *ret[static OPERATIONS_MAX]) {
    size_t count = 0;

    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *operation = &service->operations->places[i];
        size_t at = count;

        if (operation->token == 0 || operation_is_stale(service, operation))
            continue;
        for (; at > 0 && ret[at - 1]->token > operation->token; at--)
            ret[at] = ret[at - 1];
        ret[at] = operation;
        count++;
    }
    return count;
}

void execute_operations(struct call *call) {
    Raftkv__V1__Operation messages[OPERATIONS_MAX], *pointers[OPERATIONS_MAX];
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__OperationsResponse body = RAFTKV__V1__OPERATIONS_RESPONSE__INIT;
    struct operation *known[OPERATIONS_MAX];

    body.n_operations = list_known(call->service, known);
    for (size_t i = 0; i < body.n_operations; i++) {
        messages[i] = operation_describe(call->service, known[i]);
        pointers[i] = &messages[i];
    }
    body.operations = pointers;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_OPERATIONS;
    response.operations = &body;
    call_answer(call, &response);
}

size_t service_local_operations(struct service *service,
                                struct service_operation ret[static OPERATIONS_MAX]) {
    struct operation *known[OPERATIONS_MAX];
    size_t count = list_known(service, known);

    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = known[i];
        Raftkv__V1__Operation message = operation_describe(service, known[i]);

        ret[i] = (struct service_operation){
            .token = operation->token,
            .request = operation->kind->name,
            .state = operation->running  ? "running"
                     : operation->failed ? "failed"
                                         : "done",
            .unit = operation->unit ? operation->unit : "",
            .done = operation->done,
            .total = operation->total,
            .milliseconds = message.milliseconds,
        };
        strcpy(ret[i].subject, operation->subject);
        strcpy(ret[i].asked_by, operation->asked_by);
        strcpy(ret[i].phase, operation->phase);
    }
    return count;
}
