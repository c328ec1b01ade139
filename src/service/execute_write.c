/* put and delete on the leader: one proposal each. */
#include "base/check.h"
#include "base/memory.h"
#include "service/internal.h"

static void answer_written(struct call *call, const struct kv_result *result) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__DeleteResponse deleted = RAFTKV__V1__DELETE_RESPONSE__INIT;
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;

    if (result->code != ERROR_OK) {
        call_fail_with(call, result->code,
                       "The state machine did not accept the command at revision %llu.",
                       (unsigned long long)result->revision);
        return;
    }
    response.body_case = call->kind->answer;
    if (response.body_case == RAFTKV__V1__RESPONSE__BODY_PUT) {
        put.revision = result->revision;
        put.created = !result->existed;
        response.put = &put;
    } else {
        deleted.revision = result->revision;
        deleted.existed = result->existed;
        response.delete_ = &deleted;
    }
    call_answer(call, &response);
}

static void written(struct proposal *proposal, const struct failure *failure, const void *result) {
    struct call *call = container_of(proposal, struct call, proposal);

    /* An ended call was only kept for the proposal's sake. */
    if (!call->ended) {
        call->stage = CALL_ROUTING;
        if (!failure) {
            check(result);
            answer_written(call, result);
        } else if (failure->code == ERROR_NOT_LEADER) {
            route_call_again(call, call->service->identity->member_id);
        } else {
            call_fail(call, failure);
        }
    }
    call_release(call);
}

static void propose(struct call *call, uint8_t *data, size_t size) {
    call->proposal = (struct proposal){
        .data = data,
        .size = size,
        .type = ENTRY_COMMAND,
        .grows = call->kind->grows,
        .done = written,
    };
    call->stage = CALL_PROPOSED;
    call_hold(call);
    member_propose(call->service->member, &call->proposal);
}

void execute_put(struct call *call) {
    const Raftkv__V1__PutRequest *put = call->request->put;
    uint8_t *data;
    size_t size;

    kv_encode_put(put->key.data, put->key.len, put->value.data, put->value.len, &data, &size);
    propose(call, data, size);
}

void execute_delete(struct call *call) {
    const Raftkv__V1__DeleteRequest *delete = call->request->delete_;
    uint8_t *data;
    size_t size;

    kv_encode_delete(delete->key.data, delete->key.len, &data, &size);
    propose(call, data, size);
}
