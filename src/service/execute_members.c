/* members, and the changes of membership and leadership. */
#include <stdio.h>

#include "base/memory.h"
#include "service/internal.h"
#include "service/response.h"

void answer_members(struct call *call) {
    const struct configuration *configuration = member_configuration(call->service->member);
    Raftkv__V1__Member members[MEMBERS_MAX], *pointers[MEMBERS_MAX];
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__MembersResponse answer = RAFTKV__V1__MEMBERS_RESPONSE__INIT;
    struct member_view view;

    member_get_view(call->service->member, &view);
    for (size_t i = 0; i < configuration->count; i++) {
        members[i] = response_member(&configuration->servers[i], view.leader);
        pointers[i] = &members[i];
    }
    answer.n_members = configuration->count;
    answer.members = pointers;
    answer.configuration_index = configuration->index;
    answer.cluster_id = call->service->identity->cluster_id;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_MEMBERS;
    response.members = &answer;
    call_answer(call, &response);
}

void execute_members(struct call *call) {
    if (call->request->members->stale)
        answer_members(call);
    else
        read_index_wait(call);
}

/* A change lives on when its call has ended. */
struct change_run {
    struct change change;
    struct call *call; /* NULL: ended */
};

static void answer_changed(struct call *call, uint64_t configuration_index, const char *leader) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__ConfigurationResponse configuration = RAFTKV__V1__CONFIGURATION_RESPONSE__INIT;
    Raftkv__V1__TransferLeadershipResponse transfer;
    char name[MEMBER_NAME_MAX + 1];

    response.body_case = call->kind->answer;
    if (response.body_case == RAFTKV__V1__RESPONSE__BODY_CONFIGURATION) {
        configuration.configuration_index = configuration_index;
        response.configuration = &configuration;
    } else {
        raftkv__v1__transfer_leadership_response__init(&transfer);
        snprintf(name, sizeof name, "%s", leader ? leader : "");
        transfer.leader = name;
        response.transfer_leadership = &transfer;
    }
    call_answer(call, &response);
}

static void changed(struct change *change, const struct failure *failure,
                    uint64_t configuration_index, const char *leader) {
    struct change_run *run = container_of(change, struct change_run, change);
    struct call *call = run->call;

    if (call) {
        call->change = NULL;
        call->stage = CALL_ROUTING;
        if (!failure)
            answer_changed(call, configuration_index, leader);
        else if (failure->code == ERROR_NOT_LEADER)
            route_call_again(call, call->service->identity->member_id);
        else
            call_fail(call, failure);
    }
    free(run);
}

void change_get_progress(const struct call *call, struct change_progress *ret) {
    member_change_progress(call->service->member, &call->change->change, ret);
}

void change_detach(struct call *call) {
    call->change->call = NULL;
    call->change = NULL;
}

static void describe(struct service *service, const Raftkv__V1__Request *request,
                     struct change *change) {
    const char *name = "", *peer_address = "";

    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        change->kind = CHANGE_ADD_VOTER;
        name = request->add_voter->name;
        peer_address = request->add_voter->peer_address;
        change->expected_index = request->add_voter->expected_configuration_index;
        break;
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        change->kind = CHANGE_ADD_NONVOTER;
        name = request->add_nonvoter->name;
        peer_address = request->add_nonvoter->peer_address;
        change->expected_index = request->add_nonvoter->expected_configuration_index;
        break;
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        change->kind = CHANGE_REMOVE;
        name = request->remove_server->name;
        change->expected_index = request->remove_server->expected_configuration_index;
        change->force = request->remove_server->force;
        break;
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        change->kind = CHANGE_DEMOTE;
        name = request->demote_voter->name;
        change->expected_index = request->demote_voter->expected_configuration_index;
        change->force = request->demote_voter->force;
        break;
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        change->kind = request->accept->nonvoter ? CHANGE_ADD_NONVOTER : CHANGE_ADD_VOTER;
        name = request->accept->name;
        peer_address = joins_address(service, name);
        change->expected_index = request->accept->expected_configuration_index;
        break;
    default:
        change->kind = CHANGE_TRANSFER;
        name = request->transfer_leadership->name;
        break;
    }
    snprintf(change->name, sizeof change->name, "%s", name);
    snprintf(change->peer_address, sizeof change->peer_address, "%s", peer_address);
}

void execute_change(struct call *call) {
    struct change_run *run = xcalloc(1, sizeof *run);

    describe(call->service, call->request, &run->change);
    run->change.deadline = call->deadline.time;
    run->change.done = changed;
    run->call = call;
    call->change = run;
    call->stage = CALL_CHANGING;
    member_change(call->service->member, &run->change);
}
