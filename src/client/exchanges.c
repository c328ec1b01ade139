/* Commands that are one request: what of the arguments stands in it, and how its answer is shown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "client/commands.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;

/* Of whichever kind: the bodies of requests. */
union body {
    ProtobufCMessage base;
    Raftkv__V1__GetRequest get;
    Raftkv__V1__DeleteRequest delete_;
    Raftkv__V1__StatusRequest status;
    Raftkv__V1__MembersRequest members;
    Raftkv__V1__AddVoterRequest add_voter;
    Raftkv__V1__AddNonvoterRequest add_nonvoter;
    Raftkv__V1__AcceptRequest accept;
    Raftkv__V1__RejectRequest reject;
    Raftkv__V1__RemoveServerRequest remove_server;
    Raftkv__V1__DemoteVoterRequest demote_voter;
    Raftkv__V1__TransferLeadershipRequest transfer_leadership;
    Raftkv__V1__OperationRequest operation;
    Raftkv__V1__OperationsRequest operations;
    Raftkv__V1__StatsRequest stats;
    Raftkv__V1__BarrierRequest barrier;
    Raftkv__V1__VerifyLeaderRequest verify_leader;
    Raftkv__V1__SnapshotRequest snapshot;
};

struct exchange {
    const char *command;
    Raftkv__V1__Request__BodyCase kind;
    const ProtobufCMessageDescriptor *descriptor;
    /* Fills in the body, which is initialised. An exit status; not 0 after saying what is wrong.
     * NULL: nothing stands in it. */
    int (*fill)(union body *body, const struct session *session);
    /* Returns an exit status. */
    int (*show)(struct session *session, const Response *response);
};

static char *name_field(const char *text) {
    return (char *)(uintptr_t)text; /* protobuf-c only reads it */
}

/* ---- keys ---- */

static int fill_get(union body *body, const struct session *session) {
    body->get.key = bytes_of(session->arguments->positional[0]);
    body->get.stale = session->arguments->stale;
    return 0;
}

static int show_get(struct session *session, const Response *response) {
    output_get(&session->output, response->get, session->arguments->raw);
    return 0;
}

static int fill_delete(union body *body, const struct session *session) {
    body->delete_.key = bytes_of(session->arguments->positional[0]);
    return 0;
}

static int show_delete(struct session *session, const Response *response) {
    output_delete(&session->output, response->delete_);
    return 0;
}

/* ---- the cluster ---- */

static int fill_status(union body *body, const struct session *session) {
    (void)session;
    body->status.cluster = true;
    return 0;
}

static int show_status(struct session *session, const Response *response) {
    output_status(&session->output, response->status);
    return 0;
}

static int fill_members(union body *body, const struct session *session) {
    body->members.stale = session->arguments->stale;
    return 0;
}

static int show_members(struct session *session, const Response *response) {
    output_members(&session->output, response->members);
    return 0;
}

static int fill_add_voter(union body *body, const struct session *session) {
    body->add_voter.name = name_field(session->arguments->positional[0]);
    body->add_voter.peer_address = name_field(session->arguments->positional[1]);
    body->add_voter.expected_configuration_index = session->arguments->expected_index;
    return 0;
}

static int fill_add_nonvoter(union body *body, const struct session *session) {
    body->add_nonvoter.name = name_field(session->arguments->positional[0]);
    body->add_nonvoter.peer_address = name_field(session->arguments->positional[1]);
    body->add_nonvoter.expected_configuration_index = session->arguments->expected_index;
    return 0;
}

static int fill_accept(union body *body, const struct session *session) {
    body->accept.name = name_field(session->arguments->positional[0]);
    body->accept.nonvoter = session->arguments->nonvoter;
    body->accept.expected_configuration_index = session->arguments->expected_index;
    return 0;
}

static int fill_reject(union body *body, const struct session *session) {
    body->reject.name = name_field(session->arguments->positional[0]);
    return 0;
}

static int show_rejected(struct session *session, const Response *response) {
    (void)response;
    output_rejected(&session->output, session->arguments->positional[0]);
    return 0;
}

static int fill_remove_server(union body *body, const struct session *session) {
    body->remove_server.name = name_field(session->arguments->positional[0]);
    body->remove_server.expected_configuration_index = session->arguments->expected_index;
    body->remove_server.force = session->arguments->force;
    return 0;
}

static int fill_demote_voter(union body *body, const struct session *session) {
    body->demote_voter.name = name_field(session->arguments->positional[0]);
    body->demote_voter.expected_configuration_index = session->arguments->expected_index;
    body->demote_voter.force = session->arguments->force;
    return 0;
}

static int show_configuration(struct session *session, const Response *response) {
    output_configuration(&session->output, response->configuration);
    return 0;
}

static int fill_transfer(union body *body, const struct session *session) {
    if (session->arguments->positional_count > 0)
        body->transfer_leadership.name = name_field(session->arguments->positional[0]);
    return 0;
}

static int show_transfer(struct session *session, const Response *response) {
    output_transfer(&session->output, response->transfer_leadership);
    return 0;
}

static int show_verify_leader(struct session *session, const Response *response) {
    output_verify_leader(&session->output, response->verify_leader);
    return 0;
}

static int show_barrier(struct session *session, const Response *response) {
    output_barrier(&session->output, response->barrier);
    return 0;
}

/* ---- a node ---- */

static int show_stats(struct session *session, const Response *response) {
    output_stats(&session->output, response->stats);
    return 0;
}

static int show_snapshot(struct session *session, const Response *response) {
    output_snapshot(&session->output, response->snapshot);
    return 0;
}

static int show_operations(struct session *session, const Response *response) {
    output_operations(&session->output, response->operations->operations,
                      response->operations->n_operations);
    return 0;
}

static int fill_operation(union body *body, const struct session *session,
                          Raftkv__V1__OperationAction action) {
    const char *text = session->arguments->positional[0];
    char *end;

    errno = 0;
    body->operation.token = strtoull(text, &end, 16);
    body->operation.action = action;
    if (*text && !*end && !errno)
        return 0;
    fprintf(session->errors,
            "raftkvctl: \"%s\" is no token; raftkvctl operations shows those there are.\n", text);
    return EXIT_STATUS_USAGE;
}

static int fill_await(union body *body, const struct session *session) {
    return fill_operation(body, session, RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT);
}

static int fill_cancel(union body *body, const struct session *session) {
    return fill_operation(body, session, RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL);
}

static int show_operation(struct session *session, const Response *response) {
    output_operations(&session->output, &response->operation->operation, 1);
    return 0;
}

/* The operation's error or result is that of the command. */
static int show_awaited(struct session *session, const Response *response) {
    const Response *result = response->operation->result;

    if (result->error)
        return report_error(session->errors, result->error);
    switch (result->body_case) {
    case RAFTKV__V1__RESPONSE__BODY_CONFIGURATION:
        return show_configuration(session, result);
    case RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP:
        return show_transfer(session, result);
    case RAFTKV__V1__RESPONSE__BODY_SNAPSHOT:
        return show_snapshot(session, result);
    case RAFTKV__V1__RESPONSE__BODY_BACKUP:
        output_backup_read(&session->output);
        return 0;
    default:
        fputs(
            "raftkvctl: The operation has ended with a result that this raftkvctl does not know.\n",
            session->errors);
        return EXIT_STATUS_LOCAL;
    }
}

/* ---- all of them ---- */

#define KIND(NAME, name) RAFTKV__V1__REQUEST__BODY_##NAME, &raftkv__v1__##name##_request__descriptor

static const struct exchange exchanges[] = {
    {"get", KIND(GET, get), fill_get, show_get},
    {"delete", KIND(DELETE, delete), fill_delete, show_delete},
    {"status", KIND(STATUS, status), fill_status, show_status},
    {"members", KIND(MEMBERS, members), fill_members, show_members},
    {"add-voter", KIND(ADD_VOTER, add_voter), fill_add_voter, show_configuration},
    {"add-nonvoter", KIND(ADD_NONVOTER, add_nonvoter), fill_add_nonvoter, show_configuration},
    {"accept", KIND(ACCEPT, accept), fill_accept, show_configuration},
    {"reject", KIND(REJECT, reject), fill_reject, show_rejected},
    {"remove-server", KIND(REMOVE_SERVER, remove_server), fill_remove_server, show_configuration},
    {"demote-voter", KIND(DEMOTE_VOTER, demote_voter), fill_demote_voter, show_configuration},
    {"transfer-leadership", KIND(TRANSFER_LEADERSHIP, transfer_leadership), fill_transfer,
     show_transfer},
    {"verify-leader", KIND(VERIFY_LEADER, verify_leader), NULL, show_verify_leader},
    {"barrier", KIND(BARRIER, barrier), NULL, show_barrier},
    {"stats", KIND(STATS, stats), NULL, show_stats},
    {"snapshot", KIND(SNAPSHOT, snapshot), NULL, show_snapshot},
    {"operations", KIND(OPERATIONS, operations), NULL, show_operations},
    {"await", KIND(OPERATION, operation), fill_await, show_awaited},
    {"cancel", KIND(OPERATION, operation), fill_cancel, show_operation},
};

static const struct exchange *find(const char *command) {
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++)
        if (strcmp(exchanges[i].command, command) == 0)
            return &exchanges[i];
    check(!"the table of commands names only those");
    return NULL;
}

int run_exchange(struct session *session, const struct arguments *arguments) {
    const struct exchange *exchange = find(arguments->command->name);
    _cleanup_(response_free) Response *response = NULL;
    Request request = RAFTKV__V1__REQUEST__INIT;
    union body body;
    int status = 0;

    protobuf_c_message_init(exchange->descriptor, &body);
    if (exchange->fill)
        status = exchange->fill(&body, session);
    if (status != 0)
        return status;
    request.body_case = exchange->kind;
    request.get = &body.get; /* the pointers to all kinds are one */
    status = session_call(session, &request, &response);
    return status != 0 ? status : exchange->show(session, response);
}
