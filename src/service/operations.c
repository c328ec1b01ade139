/*
 * operations: an eye on the calls that may take long. Each has a place in a table, with a token to
 * ask for it, from its beginning until some minutes after its end. It outlives its caller: what was
 * begun goes on anyway, and somebody may want to know how it ended.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "service/internal.h"

struct operation {
    uint64_t token; /* 0: the place is free */
    const struct request_kind *kind;
    char subject[MEMBER_NAME_MAX + 1];
    char asked_by[MEMBER_NAME_MAX + 1];
    struct call *call; /* NULL: it has ended */
    bool failed;
    uint64_t begun, ended; /* host time */
    uint8_t *result;       /* an encoded Response; NULL: none was made */
    size_t result_size;
    struct list waiting; /* calls that await its end */
    bool answering;      /* those calls */

    char phase[64];
    uint64_t done, total;
    const char *unit;
    bool changed; /* since the caller was last told */
};

struct operations {
    struct operation places[OPERATIONS_MAX];
    uint64_t last_token;
    size_t running;
    uint64_t look_at; /* host time; UINT64_MAX: nothing is running */
};

/* ---- the table ---- */

void operations_init(struct service *service) {
    struct operations *operations = service->operations = xcalloc(1, sizeof *operations);

    operations->look_at = UINT64_MAX;
    operations->last_token = service->host->random(service->host) >> 16;
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        list_init(&operations->places[i].waiting);
}

static void clear(struct operation *operation) {
    check(list_empty(&operation->waiting));
    free(operation->result);
    *operation = (struct operation){0};
    list_init(&operation->waiting);
}

void operations_deinit(struct service *service) {
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        clear(&service->operations->places[i]);
    free(TAKE(service->operations));
}

static struct operation *find(const struct service *service, uint64_t token) {
    for (size_t i = 0; token != 0 && i < OPERATIONS_MAX; i++)
        if (service->operations->places[i].token == token)
            return &service->operations->places[i];
    return NULL;
}

static bool is_stale(const struct service *service, const struct operation *operation) {
    return !operation->call &&
           service->host->now(service->host) >= operation->ended + OPERATION_KEPT_MS;
}

/* A free place, or else that of the one which ended first; NULL: all are running. */
static struct operation *take_place(struct service *service) {
    struct operation *oldest = NULL;

    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *place = &service->operations->places[i];

        if (place->token == 0)
            return place;
        if (!place->call && !place->answering && (!oldest || place->ended < oldest->ended))
            oldest = place;
    }
    if (oldest)
        clear(oldest);
    return oldest;
}

static const char *subject_of(const Raftkv__V1__Request *request) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        return request->add_voter->name;
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        return request->add_nonvoter->name;
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        return request->remove_server->name;
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        return request->demote_voter->name;
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        return request->transfer_leadership->name;
    default:
        return "";
    }
}

/* ---- what is said of one ---- */

/* Valid as long as the operation. */
static Raftkv__V1__Operation describe(const struct service *service, struct operation *operation) {
    uint64_t end = operation->call ? service->host->now(service->host) : operation->ended;
    Raftkv__V1__Operation message;

    raftkv__v1__operation__init(&message);
    message.token = operation->token;
    message.request = (char *)(uintptr_t)operation->kind->name;
    message.subject = operation->subject;
    message.asked_by = operation->asked_by;
    message.state = operation->call     ? RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_RUNNING
                    : operation->failed ? RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_FAILED
                                        : RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_DONE;
    message.phase = operation->phase;
    message.done = operation->done;
    message.total = operation->total;
    if (operation->unit)
        message.unit = (char *)(uintptr_t)operation->unit;
    message.milliseconds = end - operation->begun;
    return message;
}

static void tell_caller(struct operation *operation) {
    struct call *call = operation->call;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Operation message;

    operation->changed = false;
    if (!call->progress || !call->request->progress)
        return;
    message = describe(call->service, operation);
    response.id = call->request->id;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PROGRESS;
    response.progress = &message;
    call->progress(call->data, &response);
}

static void note(struct operation *operation, const char *phase, uint64_t done, uint64_t total,
                 const char *unit) {
    if (strcmp(operation->phase, phase) == 0 && operation->done == done &&
        operation->total == total)
        return;
    snprintf(operation->phase, sizeof operation->phase, "%s", phase);
    operation->done = done;
    operation->total = total;
    operation->unit = total ? unit : NULL;
    operation->changed = true;
    service_notice(operation->call->service);
}

/* ---- beginning and end ---- */

bool operation_begin(struct call *call) {
    struct service *service = call->service;
    struct operation *operation = take_place(service);

    if (!operation)
        return false;
    operation->token = ++service->operations->last_token;
    operation->kind = call->kind;
    operation->begun = call->begun;
    operation->call = call;
    call->operation = operation;
    snprintf(operation->subject, sizeof operation->subject, "%s", subject_of(call->request));
    if (call->from) {
        const struct server *server =
            configuration_find(member_configuration(service->member), call->from);

        snprintf(operation->asked_by, sizeof operation->asked_by, "%s", server ? server->name : "");
    } else {
        snprintf(operation->asked_by, sizeof operation->asked_by, "%s", call->asked_by);
    }
    service->operations->running++;
    if (service->operations->look_at == UINT64_MAX)
        service->operations->look_at = service->host->now(service->host) + OPERATION_PROGRESS_MS;
    tell_caller(operation);
    service_notice(service);
    return true;
}

static void answer_operation(struct call *call, struct operation *operation) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT, *result = NULL;
    Raftkv__V1__OperationResponse body = RAFTKV__V1__OPERATION_RESPONSE__INIT;
    Raftkv__V1__Operation message = describe(call->service, operation);

    if (operation->result) {
        result = raftkv__v1__response__unpack(NULL, operation->result_size, operation->result);
        check(result);
    }
    body.operation = &message;
    body.result = result;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_OPERATION;
    response.operation = &body;
    call->stage = CALL_ROUTING;
    call_answer(call, &response);
    if (result)
        raftkv__v1__response__free_unpacked(result, NULL);
}

void operation_end(struct service *service, struct operation *operation,
                   const Raftkv__V1__Response *response) {
    struct list waiting, *element;

    operation->call = NULL;
    operation->ended = service->host->now(service->host);
    operation->failed = !response || response->error;
    if (response) {
        operation->result_size = raftkv__v1__response__get_packed_size(response);
        operation->result = xmalloc(operation->result_size);
        raftkv__v1__response__pack(response, operation->result);
    }
    if (--service->operations->running == 0)
        service->operations->look_at = UINT64_MAX;
    service_notice(service);
    list_init(&waiting);
    list_move(&waiting, &operation->waiting);
    operation->answering = true; /* an answer may bring the next operation, which wants a place */
    while ((element = list_pop(&waiting)))
        answer_operation(container_of(element, struct call, link), operation);
    operation->answering = false;
}

static void reply_to_nobody(void *data, const Raftkv__V1__Response *response) {
    (void)data;
    (void)response;
}

bool operation_outlives(struct call *call) {
    if (!call->operation || call->from || call->stage == CALL_WAITING ||
        call->stage == CALL_ROUTING || call->stage == CALL_ARRIVED)
        return false;
    call->reply = reply_to_nobody;
    call->progress = NULL;
    call->orphaned = true;
    return true;
}

/* ---- progress ---- */

/* A state that this node streams to the member that the operation is about. */
static bool note_stream(const struct service *service, struct operation *operation) {
    Raftkv__V1__MemberStatus *status = service_local_status((struct service *)(uintptr_t)service);
    bool found = false;

    for (size_t i = 0; i < status->n_sending && !found; i++) {
        found = strcmp(status->sending[i]->member, operation->subject) == 0;
        if (found)
            note(operation, "receiving the state", status->sending[i]->bytes,
                 status->sending[i]->total_bytes, "bytes");
    }
    raftkv__v1__member_status__free_unpacked(status, NULL);
    return found;
}

static void look(const struct service *service, struct operation *operation) {
    struct change_progress progress;

    switch (operation->call->stage) {
    case CALL_CHANGING:
        if (note_stream(service, operation))
            break;
        change_get_progress(operation->call, &progress);
        note(operation, progress.phase, progress.done, progress.total, "entries");
        break;
    case CALL_WAITING:
        note(operation, "waiting for a leader", 0, 0, NULL);
        break;
    case CALL_COMPACTING:
        note(operation, "writing the state to the disk", 0, 0, NULL);
        break;
    default: /* the leader tells */
        break;
    }
}

void operation_told(struct call *call, const Raftkv__V1__Operation *message) {
    if (!call->operation)
        return;
    note(call->operation, message->phase, message->done, message->total,
         strcmp(message->unit, "bytes") == 0 ? "bytes" : "entries");
}

uint64_t operations_deadline(const struct service *service) {
    return service->operations->look_at;
}

void operations_tick(struct service *service) {
    struct operations *operations = service->operations;

    if (service->host->now(service->host) < operations->look_at)
        return;
    operations->look_at = service->host->now(service->host) + OPERATION_PROGRESS_MS;
    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *operation = &operations->places[i];

        if (!operation->call)
            continue;
        look(service, operation);
        if (operation->changed)
            tell_caller(operation);
    }
}

/* ---- the requests ---- */

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
    cancel(operation);
    operation = find(call->service, token);
    if (!call->ended && operation)
        answer_operation(call, operation);
    call_release(call);
}

void execute_operation(struct call *call) {
    const Raftkv__V1__OperationRequest *request = call->request->operation;
    struct operation *operation = find(call->service, request->token);

    if (!operation || is_stale(call->service, operation)) {
        call_fail_with(call, ERROR_NOT_FOUND, "This node knows no operation %016llx.",
                       (unsigned long long)request->token);
    } else if (operation->call &&
               request->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT) {
        call->stage = CALL_AWAITING;
        list_append(&operation->waiting, &call->link);
    } else if (operation->call &&
               request->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL) {
        execute_cancel(call, operation);
    } else {
        answer_operation(call, operation);
    }
}

/* Those that are known now, oldest first. */
static size_t list_known(const struct service *service,
                         struct operation *ret[static OPERATIONS_MAX]) {
    size_t count = 0;

    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *operation = &service->operations->places[i];
        size_t at = count;

        if (operation->token == 0 || is_stale(service, operation))
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
        messages[i] = describe(call->service, known[i]);
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
        Raftkv__V1__Operation message = describe(service, known[i]);

        ret[i] = (struct service_operation){
            .token = operation->token,
            .request = operation->kind->name,
            .state = operation->call     ? "running"
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
