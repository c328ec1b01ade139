/* org.raftkv1.Cluster: dbus/org.raftkv1.Cluster.xml. */
#include <errno.h>

#include "base/memory.h"
#include "bus/call.h"
#include "bus/connection.h"
#include "bus/text.h"
#include "bus/words.h"

/* Reads a string into a malloc'd copy. */
static int read_text(sd_bus_message *message, char **ret) {
    const char *text;
    int r = sd_bus_message_read_basic(message, SD_BUS_TYPE_STRING, &text);

    if (r < 0)
        return r;
    *ret = xstrdup(text);
    return 0;
}

/* Reads what a change of a member says: its name, where it is added its address, and the expected
 * configuration index. */
static int read_change(sd_bus_message *message, char **ret_name, char **ret_peer_address,
                       uint64_t *ret_expected_index) {
    int r = read_text(message, ret_name);

    if (r >= 0 && ret_peer_address)
        r = read_text(message, ret_peer_address);
    return r < 0 ? r : sd_bus_message_read_basic(message, SD_BUS_TYPE_UINT64, ret_expected_index);
}

static int read_add_voter(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__AddVoterRequest *body = xmalloc(sizeof *body);

    raftkv__v1__add_voter_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
    request->add_voter = body;
    return read_change(message, &body->name, &body->peer_address,
                       &body->expected_configuration_index);
}

static int read_add_nonvoter(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__AddNonvoterRequest *body = xmalloc(sizeof *body);

    raftkv__v1__add_nonvoter_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER;
    request->add_nonvoter = body;
    return read_change(message, &body->name, &body->peer_address,
                       &body->expected_configuration_index);
}

static int read_remove_server(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__RemoveServerRequest *body = xmalloc(sizeof *body);

    raftkv__v1__remove_server_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER;
    request->remove_server = body;
    return read_change(message, &body->name, NULL, &body->expected_configuration_index);
}

static int read_demote_voter(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__DemoteVoterRequest *body = xmalloc(sizeof *body);

    raftkv__v1__demote_voter_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER;
    request->demote_voter = body;
    return read_change(message, &body->name, NULL, &body->expected_configuration_index);
}

static int read_force_remove_server(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_remove_server(message, request);

    request->remove_server->force = true;
    return r;
}

static int read_force_demote_voter(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_demote_voter(message, request);

    request->demote_voter->force = true;
    return r;
}

static int write_configuration(sd_bus_message *reply, const Raftkv__V1__Response *response,
                               struct failure *failure) {
    (void)failure;
    return results_append(reply, "t", response->configuration->configuration_index);
}

static int read_accept(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__AcceptRequest *body = xmalloc(sizeof *body);

    raftkv__v1__accept_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_ACCEPT;
    request->accept = body;
    return read_change(message, &body->name, NULL, &body->expected_configuration_index);
}

static int read_accept_nonvoter(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_accept(message, request);

    request->accept->nonvoter = true;
    return r;
}

static int read_reject(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__RejectRequest *body = xmalloc(sizeof *body);

    raftkv__v1__reject_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_REJECT;
    request->reject = body;
    return read_text(message, &body->name);
}

static int write_nothing(sd_bus_message *reply, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    (void)reply;
    (void)response;
    (void)failure;
    return 0;
}

static int read_pending(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__PendingRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__pending_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_PENDING;
    request->pending = body;
    return 0;
}

static int append_pending(sd_bus_message *reply, const Raftkv__V1__PendingNode *node) {
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_STRUCT, "stsst");

    if (r >= 0)
        r = text_append_clean(reply, node->name);
    if (r >= 0)
        r = results_append(reply, "t", node->id);
    if (r >= 0)
        r = text_append_clean(reply, node->peer_address);
    if (r >= 0)
        r = text_append_clean(reply, node->client_address);
    if (r >= 0)
        r = results_append(reply, "t", node->milliseconds);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int write_pending(sd_bus_message *reply, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "(stsst)");

    (void)failure;
    for (size_t i = 0; r >= 0 && i < response->pending->n_nodes; i++)
        r = append_pending(reply, response->pending->nodes[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int read_transfer(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__TransferLeadershipRequest *body = xmalloc(sizeof *body);

    raftkv__v1__transfer_leadership_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP;
    request->transfer_leadership = body;
    return read_text(message, &body->name);
}

static int write_transfer(sd_bus_message *reply, const Raftkv__V1__Response *response,
                          struct failure *failure) {
    (void)failure;
    return text_append_clean(reply, response->transfer_leadership->leader);
}

static int read_members(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__MembersRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__members_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_MEMBERS;
    request->members = body;
    return 0;
}

static int read_members_stale(sd_bus_message *message, Raftkv__V1__Request *request) {
    int r = read_members(message, request);

    request->members->stale = true;
    return r;
}

static int append_member(sd_bus_message *reply, const Raftkv__V1__Member *member) {
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_STRUCT, "stsssbb");

    if (r < 0)
        return r;
    r = text_append_clean(reply, member->name);
    if (r < 0)
        return r;
    r = results_append(reply, "ts", member->id, role_word(member->role));
    if (r < 0)
        return r;
    r = text_append_clean(reply, member->peer_address);
    if (r < 0)
        return r;
    r = text_append_clean(reply, member->client_address);
    if (r < 0)
        return r;
    r = results_append(reply, "bb", member->leader, member->promoting);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int write_members(sd_bus_message *reply, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    const Raftkv__V1__MembersResponse *body = response->members;
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "(stsssbb)");

    (void)failure;
    if (r < 0)
        return r;
    for (size_t i = 0; i < body->n_members; i++) {
        r = append_member(reply, body->members[i]);
        if (r < 0)
            return r;
    }
    r = sd_bus_message_close_container(reply);
    if (r < 0)
        return r;
    return results_append(reply, "tt", body->configuration_index, body->cluster_id);
}

static const struct method methods[] = {
    /* A new voter may take long to catch up; how long to wait is the caller's choice. */
    {.member = "AddVoter",
     .kind = METHOD_OPERATION,
     .timeout_ms = REQUEST_TIMEOUT_MAX_MS,
     .read = read_add_voter,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "AddNonvoter",
     .kind = METHOD_OPERATION,
     .read = read_add_nonvoter,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "RemoveServer",
     .kind = METHOD_OPERATION,
     .read = read_remove_server,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "ForceRemoveServer",
     .kind = METHOD_OPERATION,
     .timeout_ms = REQUEST_TIMEOUT_MAX_MS,
     .read = read_force_remove_server,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "DemoteVoter",
     .kind = METHOD_OPERATION,
     .read = read_demote_voter,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "ForceDemoteVoter",
     .kind = METHOD_OPERATION,
     .timeout_ms = REQUEST_TIMEOUT_MAX_MS,
     .read = read_force_demote_voter,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "GetPending",
     .kind = METHOD_LOOK,
     .read = read_pending,
     .body = RAFTKV__V1__RESPONSE__BODY_PENDING,
     .write = write_pending},
    {.member = "Accept",
     .kind = METHOD_OPERATION,
     .timeout_ms = REQUEST_TIMEOUT_MAX_MS,
     .read = read_accept,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "AcceptNonvoter",
     .kind = METHOD_OPERATION,
     .read = read_accept_nonvoter,
     .body = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
     .write = write_configuration},
    {.member = "Reject",
     .read = read_reject,
     .body = RAFTKV__V1__RESPONSE__BODY_REJECT,
     .write = write_nothing},
    {.member = "TransferLeadership",
     .kind = METHOD_OPERATION,
     .read = read_transfer,
     .body = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP,
     .write = write_transfer},
    {.member = "GetConfiguration",
     .read = read_members,
     .body = RAFTKV__V1__RESPONSE__BODY_MEMBERS,
     .write = write_members},
    {.member = "GetConfigurationStale",
     .kind = METHOD_LOOK,
     .read = read_members_stale,
     .body = RAFTKV__V1__RESPONSE__BODY_MEMBERS,
     .write = write_members},
    {.member = NULL},
};

static int handle(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    (void)error;
    return method_call_arrived(userdata, message, methods);
}

/* clang-format off */
const sd_bus_vtable cluster_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("AddVoter",
                            SD_BUS_ARGS("s", name, "s", peer_address,
                                        "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddNonvoter",
                            SD_BUS_ARGS("s", name, "s", peer_address,
                                        "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("RemoveServer",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ForceRemoveServer",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("DemoteVoter",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ForceDemoteVoter",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetPending",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("a(stsst)", nodes),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Accept",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AcceptNonvoter",
                            SD_BUS_ARGS("s", name, "t", expected_configuration_index),
                            SD_BUS_RESULT("t", configuration_index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Reject",
                            SD_BUS_ARGS("s", name),
                            SD_BUS_NO_RESULT,
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("TransferLeadership",
                            SD_BUS_ARGS("s", name),
                            SD_BUS_RESULT("s", leader),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetConfiguration",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("a(stsssbb)", members, "t", configuration_index,
                                          "t", cluster_id),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetConfigurationStale",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("a(stsssbb)", members, "t", configuration_index,
                                          "t", cluster_id),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};
/* clang-format on */
