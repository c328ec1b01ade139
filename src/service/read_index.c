/*
 * The read index: when may a linearizable read look at the state? When everything that was
 * acknowledged before the read came is applied here. Dissertation, section 6.4: the leader takes
 * its commit index, asks a majority whether it still leads, and waits until that index is applied.
 *
 * In this version a round is a barrier, an entry that does nothing: when it is applied, so is all
 * that was acknowledged before it was proposed, and a majority has just stored it. A read that
 * comes while a round is under way has to wait for the next one, which serves all that have
 * gathered.
 */
#include "base/defect.h"
#include "base/memory.h"
#include "service/internal.h"

struct read_index_round {
    struct proposal barrier;
    struct service *service; /* NULL once it is gone */
    struct list reads;
};

static void begin_round(struct service *service);

static void end_round(struct proposal *barrier, const struct failure *failure, const void *result) {
    struct read_index_round *round = container_of(barrier, struct read_index_round, barrier);
    struct service *service = round->service;
    struct list *element;

    (void)result;
    if (!service) {
        free(round);
        return;
    }
    service->read_index_round = NULL;
    while ((element = list_pop(&round->reads))) {
        struct call *call = container_of(element, struct call, link);

        call->stage = CALL_ROUTING;
        if (!failure)
            call_read(call);
        else if (failure->code == ERROR_NOT_LEADER)
            route_call_again(call, service->identity->member_id);
        else
            call_fail(call, failure);
    }
    free(round);
    read_submit(service);
    if (!service->read_index_round && !list_empty(&service->read_index_gathering))
        begin_round(service);
}

static void begin_round(struct service *service) {
    struct read_index_round *round = xcalloc(1, sizeof *round);

    round->service = service;
    round->barrier = proposal_of_barrier(end_round);
    list_init(&round->reads);
    list_move(&round->reads, &service->read_index_gathering);
    service->read_index_round = round;
    member_propose(service->member, &round->barrier);
}

void read_index_wait(struct call *call) {
    struct service *service = call->service;

    if (DEFECT(STALE_READ)) {
        call_read(call);
        read_submit(service);
        return;
    }
    call->stage = CALL_READ_INDEX;
    list_append(&service->read_index_gathering, &call->link);
    if (!service->read_index_round)
        begin_round(service);
}

void read_index_deinit(struct service *service) {
    if (service->read_index_round)
        service->read_index_round->service = NULL;
    service->read_index_round = NULL;
}
