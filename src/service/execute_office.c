/* barrier and verify-leader: what only the leader can say of its office. */
#include <stdio.h>

#include "base/memory.h"
#include "service/internal.h"

/* ---- barrier ---- */

static void answer_barrier(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__BarrierResponse barrier = RAFTKV__V1__BARRIER_RESPONSE__INIT;

    barrier.index = call->proposal.index;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_BARRIER;
    response.barrier = &barrier;
    call_answer(call, &response);
}

static void passed(struct proposal *proposal, const struct failure *failure, const void *result) {
    struct call *call = container_of(proposal, struct call, proposal);
    struct failure known;

    (void)result;
    /* An ended call was only kept for the proposal's sake. */
    if (!call->ended) {
        call->stage = CALL_ROUTING;
        if (!failure) {
            answer_barrier(call);
        } else if (failure->code == ERROR_NOT_LEADER) {
            route_call_again(call, call->service->identity->member_id);
        } else {
            known = *failure;
            known.outcome_unknown = false; /* it changes nothing */
            call_fail(call, &known);
        }
    }
    call_release(call);
}

void execute_barrier(struct call *call) {
    call->proposal = proposal_of_barrier(passed);
    call->stage = CALL_PROPOSED;
    call_hold(call);
    member_propose(call->service->member, &call->proposal);
}

/* ---- verify-leader ---- */

void answer_verified(struct call *call) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__VerifyLeaderResponse verified;
    char name[MEMBER_NAME_MAX + 1];
    struct member_view view;

    /* The next leader can have finished the round. */
    member_get_view(call->service->member, &view);
    if (!view.serving) {
        route_call_again(call, view.id);
        return;
    }
    raftkv__v1__verify_leader_response__init(&verified);
    snprintf(name, sizeof name, "%s", call->service->identity->name);
    verified.leader = name;
    verified.term = view.term;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER;
    response.verify_leader = &verified;
    call_answer(call, &response);
}

/* The round that gives linearizable reads their index asks a majority just that. */
void execute_verify_leader(struct call *call) {
    read_index_wait(call);
}
