/*
 * operations: an eye on what may take long: one call, or a backup, which many calls read. Each has
 * a place in a table, with a token to ask for it, from its beginning until some minutes after its
 * end. It outlives its caller: what was begun goes on anyway, and somebody may want to know how it
 * ended.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "service/internal.h"
#include "service/operations.h"
#include "service/response.h"

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

struct operation *operation_find(const struct service *service, uint64_t token) {
    for (size_t i = 0; token != 0 && i < OPERATIONS_MAX; i++)
        if (service->operations->places[i].token == token)
            return &service->operations->places[i];
    return NULL;
}

bool operation_is_stale(const struct service *service, const struct operation *operation) {
    return !operation->running &&
           service->host->now(service->host) >= operation->ended + OPERATION_KEPT_MS;
}

/* A free place, or else that of the one which ended first; NULL: all are running. */
static struct operation *take_place(struct service *service) {
    struct operation *oldest = NULL;

    for (size_t i = 0; i < OPERATIONS_MAX; i++) {
        struct operation *place = &service->operations->places[i];

        if (place->token == 0)
            return place;
        if (!place->running && !place->answering && (!oldest || place->ended < oldest->ended))
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
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        return request->accept->name;
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

Raftkv__V1__Operation operation_describe(const struct service *service,
                                         struct operation *operation) {
    uint64_t end = operation->running ? service->host->now(service->host) : operation->ended;
    Raftkv__V1__Operation message;

    raftkv__v1__operation__init(&message);
    message.token = operation->token;
    message.request = (char *)(uintptr_t)operation->kind->name;
    message.subject = operation->subject;
    message.asked_by = operation->asked_by;
    message.state = operation->running  ? RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_RUNNING
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
    message = operation_describe(call->service, operation);
    response.id = call->request->id;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PROGRESS;
    response.progress = &message;
    call->progress(call->data, &response);
}

static void note(struct service *service, struct operation *operation, const char *phase,
                 uint64_t done, uint64_t total, const char *unit) {
    if (strcmp(operation->phase, phase) == 0 && operation->done == done &&
        operation->total == total)
        return;
    snprintf(operation->phase, sizeof operation->phase, "%s", phase);
    operation->done = done;
    operation->total = total;
    operation->unit = total ? unit : NULL;
    operation->changed = true;
    service_notice(service);
}

/* ---- beginning and end ---- */

/* NULL: there are too many, which the call was answered. */
static struct operation *begin(struct call *call) {
    struct service *service = call->service;
    struct operation *operation = take_place(service);

    if (!operation) {
        call_fail_with(call, ERROR_BUSY,
                       "%d operations are under way on this node, as many as may be; nothing "
                       "happened.",
                       OPERATIONS_MAX);
        return NULL;
    }
    operation->token = ++service->operations->last_token;
    operation->kind = call->kind;
    operation->begun = call->begun;
    operation->running = true;
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
    service_notice(service);
    return operation;
}

bool operation_begin(struct call *call) {
    struct operation *operation = begin(call);

    if (!operation)
        return false;
    operation->call = call;
    call->operation = operation;
    tell_caller(operation);
    return true;
}

void operation_answer(struct call *call, struct operation *operation) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT, *result = NULL;
    Raftkv__V1__OperationResponse body = RAFTKV__V1__OPERATION_RESPONSE__INIT;
    Raftkv__V1__Operation message = operation_describe(call->service, operation);

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
    operation->running = false;
    operation->ended = service->host->now(service->host);
    operation->failed = response->error;
    operation->result_size = raftkv__v1__response__get_packed_size(response);
    operation->result = xmalloc(operation->result_size);
    raftkv__v1__response__pack(response, operation->result);
    if (--service->operations->running == 0)
        service->operations->look_at = UINT64_MAX;
    service_notice(service);
    list_init(&waiting);
    list_move(&waiting, &operation->waiting);
    operation->answering = true; /* an answer may bring the next operation, which wants a place */
    while ((element = list_pop(&waiting)))
        operation_answer(container_of(element, struct call, link), operation);
    operation->answering = false;
}

static void fail(struct service *service, struct operation *operation,
                 const struct failure *failure) {
    Raftkv__V1__Error error = response_error(service, failure);
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;

    response.error = &error;
    operation_end(service, operation, &response);
}

void operation_abandoned(struct service *service, struct operation *operation,
                         bool outcome_unknown) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE,
                outcome_unknown ? "Whoever asked for it did not wait; it may still take effect."
                                : "Whoever asked for it did not wait; nothing happened.");
    failure.outcome_unknown = outcome_unknown;
    fail(service, operation, &failure);
}

/* ---- backups ---- */

bool operation_begin_backup(struct call *call, uint64_t backup) {
    struct operation *operation = begin(call);

    if (!operation)
        return false;
    operation->backup = backup;
    return true;
}

static struct operation *find_backup(const struct service *service, uint64_t backup) {
    for (size_t i = 0; backup != 0 && i < OPERATIONS_MAX; i++)
        if (service->operations->places[i].backup == backup)
            return &service->operations->places[i];
    return NULL;
}

void operation_backup_read(struct service *service, const struct service_backup *backup) {
    struct operation *operation = find_backup(service, backup->token);
    uint64_t total = backup->total > backup->done && !backup->last ? backup->total : backup->done;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__BackupResponse body = RAFTKV__V1__BACKUP_RESPONSE__INIT;

    if (!operation || !operation->running)
        return;
    note(service, operation, "being read", backup->done, total, "bytes");
    if (!backup->last)
        return;
    body.last = true;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_BACKUP;
    response.backup = &body;
    operation_end(service, operation, &response);
}

void operation_backup_failed(struct service *service, uint64_t backup,
                             const struct failure *failure) {
    struct operation *operation = find_backup(service, backup);

    if (operation && operation->running)
        fail(service, operation, failure);
}

void operation_backup_forget(struct service *service, uint64_t backup) {
    struct operation *operation = find_backup(service, backup);

    if (operation)
        operation->backup = 0;
}

bool operation_backup_explain(const struct service *service, uint64_t backup, struct failure *ret) {
    const struct operation *operation = find_backup(service, backup);
    Raftkv__V1__Response *result;

    if (!operation || operation->running || !operation->failed)
        return false;
    result = raftkv__v1__response__unpack(NULL, operation->result_size, operation->result);
    check(result && result->error);
    failure_set(ret, (enum error_code)result->error->code, "%s", result->error->message);
    raftkv__v1__response__free_unpacked(result, NULL);
    return true;
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
static bool note_stream(struct service *service, struct operation *operation) {
    Raftkv__V1__MemberStatus *status = service_local_status(service);
    bool found = false;

    for (size_t i = 0; i < status->n_sending && !found; i++) {
        found = strcmp(status->sending[i]->member, operation->subject) == 0;
        if (found)
            note(service, operation, "receiving the state", status->sending[i]->bytes,
                 status->sending[i]->total_bytes, "bytes");
    }
    raftkv__v1__member_status__free_unpacked(status, NULL);
    return found;
}

static void note_compaction(struct service *service, struct operation *operation) {
    uint64_t done = 0, total = 0;

    if (!service->node->compacting(service->node->data, &done, &total))
        total = 0;
    note(service, operation, "writing the state to the disk", done, total, "pages");
}

static void look(struct service *service, struct operation *operation) {
    struct change_progress progress;

    switch (operation->call->stage) {
    case CALL_CHANGING:
        if (note_stream(service, operation))
            break;
        change_get_progress(operation->call, &progress);
        note(service, operation, progress.phase, progress.done, progress.total, "entries");
        break;
    case CALL_WAITING:
        note(service, operation, "waiting for a leader", 0, 0, NULL);
        break;
    case CALL_COMPACTING:
        note_compaction(service, operation);
        break;
    default: /* the leader tells */
        break;
    }
}

void operation_told(struct call *call, const Raftkv__V1__Operation *message) {
    if (!call->operation)
        return;
    note(call->service, call->operation, message->phase, message->done, message->total,
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
