/* backup: the whole state of this node at one index, chunk by chunk. The node reads it; here the
 * chunks find the requests that want them. */
#include "base/memory.h"
#include "service/internal.h"

static void answer(struct call *call, const struct service_backup *backup) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__BackupResponse body = RAFTKV__V1__BACKUP_RESPONSE__INIT;

    body.token = backup->token;
    body.header = (ProtobufCBinaryData){backup->header_size, (uint8_t *)(uintptr_t)backup->header};
    body.chunk = (ProtobufCBinaryData){backup->chunk_size, (uint8_t *)(uintptr_t)backup->chunk};
    body.last = backup->last;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_BACKUP;
    response.backup = &body;
    call_answer(call, &response);
}

/* The request that waits for a chunk of it; NULL: there is none. One at a time can. */
static struct call *find_waiting(const struct service *service, uint64_t token) {
    for (struct list *element = service->backing_up.next; element != &service->backing_up;
         element = element->next) {
        struct call *call = container_of(element, struct call, link);

        if (call->backup_token == token)
            return call;
    }
    return NULL;
}

/* Whoever awaits the operation, or waits for a chunk, is told why. */
static void fail_backup(struct service *service, uint64_t token, const struct failure *failure) {
    struct call *waiting;

    operation_backup_failed(service, token, failure);
    waiting = find_waiting(service, token);
    if (waiting)
        call_fail(waiting, failure);
}

void backup_cancel(struct service *service, uint64_t backup) {
    struct failure failure, unused;

    (void)service->node->backup_end(service->node->data, backup, &unused);
    failure_set(&failure, ERROR_UNAVAILABLE, "The backup was cancelled.");
    fail_backup(service, backup, &failure);
}

static void end(struct call *call) {
    struct service *service = call->service;
    struct service_backup nothing = {.token = call->request->backup->token};
    struct failure failure;

    if (service->node->backup_end(service->node->data, nothing.token, &failure) != 0) {
        call_fail(call, &failure);
        return;
    }
    call_hold(call);
    failure_set(&failure, ERROR_UNAVAILABLE, "The backup was ended before its last chunk.");
    fail_backup(service, nothing.token, &failure);
    operation_backup_forget(service, nothing.token);
    if (!call->ended)
        answer(call, &nothing);
    call_release(call);
}

/* A backup shows what the node has, as a read does: so not before it may answer reads. */
static bool may_begin(struct service *service) {
    struct member_view view;

    member_get_view(service->member, &view);
    return view.readable;
}

static void read_chunk(struct call *call) {
    struct service *service = call->service;
    const Raftkv__V1__BackupRequest *backup = call->request->backup;
    uint64_t token = backup->token;
    struct failure failure;
    int r = service->node->backup_read(service->node->data, &token, backup->sequence, &failure);

    if (r == ERROR_NOT_FOUND)
        (void)operation_backup_explain(service, token, &failure);
    if (r != 0) {
        call_fail(call, &failure);
        return;
    }
    if (backup->token == 0 && !operation_begin_backup(call, token)) {
        (void)service->node->backup_end(service->node->data, token, &failure);
        return;
    }
    call->stage = CALL_BACKING_UP;
    call->backup_token = token;
    list_append(&service->backing_up, &call->link);
}

void execute_backup(struct call *call) {
    if (!call->service->node)
        call_fail_with(call, ERROR_UNSUPPORTED, "This node can't be backed up.");
    else if (call->request->backup->end)
        end(call);
    else if (call->request->backup->token == 0 && !may_begin(call->service))
        call_fail_with(call, ERROR_UNAVAILABLE,
                       "This node has not caught up with what it has shown before; try again "
                       "later, or another node.");
    else
        read_chunk(call);
}

bool service_backup_read(struct service *service, uint64_t token,
                         const struct service_backup *backup, const struct failure *failure) {
    struct call *call;

    if (backup)
        operation_backup_read(service, backup);
    else
        operation_backup_failed(service, token, failure);
    call = find_waiting(service, token);
    if (!call)
        return false;
    if (failure)
        call_fail(call, failure);
    else
        answer(call, backup);
    return true;
}

void service_backup_ended(struct service *service, uint64_t token, const struct failure *failure) {
    fail_backup(service, token, failure);
}
