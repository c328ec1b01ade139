/* snapshot: a compaction of this node's log, asked for by hand. */
#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "service/internal.h"

void execute_snapshot(struct call *call) {
    struct service *service = call->service;

    if (!service->node) {
        call_fail_with(call, ERROR_UNSUPPORTED, "This node can't compact its log.");
        return;
    }
    call->stage = CALL_COMPACTING;
    list_append(&service->compacting, &call->link);
    service->node->compact(service->node->data);
}

static void answer(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__SnapshotResponse snapshot = RAFTKV__V1__SNAPSHOT_RESPONSE__INIT;
    Raftkv__V1__MemberStatus *status = service_local_status(call->service);

    snapshot.index = status->snapshot_index;
    snapshot.milliseconds = status->snapshot_milliseconds;
    raftkv__v1__member_status__free_unpacked(status, NULL);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
    response.snapshot = &snapshot;
    call_answer(call, &response);
}

void service_compacted(struct service *service, int result) {
    struct list calls, *element;

    list_init(&calls);
    list_move(&calls, &service->compacting);
    while ((element = list_pop(&calls))) {
        struct call *call = container_of(element, struct call, link);

        call->stage = CALL_ROUTING;
        if (result == 0)
            answer(call);
        else if (result == -EAGAIN)
            call_fail_with(call, ERROR_UNAVAILABLE,
                           "There is nothing to compact now; try again later.");
        else
            call_fail_with(call, result == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                           "The log could not be compacted: %s.", strerror(-result));
    }
}
