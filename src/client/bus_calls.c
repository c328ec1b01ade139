/* What a Request is as a D-Bus call. */
#include "client/bus_messages.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;

static int append_bytes(sd_bus_message *m, const ProtobufCBinaryData *bytes) {
    return sd_bus_message_append_array(m, 'y', bytes->data, bytes->len);
}

static int append_list(sd_bus_message *m, const Raftkv__V1__ListRequest *list) {
    int r = append_bytes(m, &list->prefix);

    if (r >= 0)
        r = append_bytes(m, &list->from);
    if (r >= 0)
        r = sd_bus_message_append(m, "ut", list->limit, list->max_bytes);
    if (r >= 0)
        r = append_bytes(m, &list->continuation);
    return r;
}

static int append_arguments(sd_bus_message *m, const Request *request) {
    int r;

    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
        r = append_bytes(m, &request->put->key);
        return r < 0 ? r : append_bytes(m, &request->put->value);
    case RAFTKV__V1__REQUEST__BODY_GET:
        return append_bytes(m, &request->get->key);
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return append_bytes(m, &request->delete_->key);
    case RAFTKV__V1__REQUEST__BODY_LIST:
        return append_list(m, request->list);
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        return sd_bus_message_append(m, "sst", request->add_voter->name,
                                     request->add_voter->peer_address,
                                     request->add_voter->expected_configuration_index);
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        return sd_bus_message_append(m, "sst", request->add_nonvoter->name,
                                     request->add_nonvoter->peer_address,
                                     request->add_nonvoter->expected_configuration_index);
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        return sd_bus_message_append(m, "st", request->accept->name,
                                     request->accept->expected_configuration_index);
    case RAFTKV__V1__REQUEST__BODY_REJECT:
        return sd_bus_message_append(m, "s", request->reject->name);
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        return sd_bus_message_append(m, "st", request->remove_server->name,
                                     request->remove_server->expected_configuration_index);
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        return sd_bus_message_append(m, "st", request->demote_voter->name,
                                     request->demote_voter->expected_configuration_index);
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        return sd_bus_message_append(m, "s", request->transfer_leadership->name);
    case RAFTKV__V1__REQUEST__BODY_OPERATION:
        return request->operation->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_SHOW
                   ? sd_bus_message_append(m, "s", "org.raftkv1.Operation")
                   : 0;
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
        r = sd_bus_message_append(m, "t", request->backup->token);
        return r < 0 || request->backup->end
                   ? r
                   : sd_bus_message_append(m, "t", request->backup->sequence);
    default:
        return 0;
    }
}

struct method {
    const char *interface, *name;
};

static struct method method_of_operation(Raftkv__V1__OperationAction action) {
    switch (action) {
    case RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT:
        return (struct method){"org.raftkv1.Operation", "Await"};
    case RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL:
        return (struct method){"org.raftkv1.Operation", "Cancel"};
    default:
        return (struct method){"org.freedesktop.DBus.Properties", "GetAll"};
    }
}

static struct method method_of(const Request *request) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
        return (struct method){"org.raftkv1.KV", "PutBytes"};
    case RAFTKV__V1__REQUEST__BODY_GET:
        return (struct method){"org.raftkv1.KV",
                               request->get->stale ? "GetStaleBytes" : "GetBytes"};
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return (struct method){"org.raftkv1.KV", "DeleteBytes"};
    case RAFTKV__V1__REQUEST__BODY_LIST:
        return (struct method){"org.raftkv1.KV",
                               request->list->stale ? "ListStaleBytes" : "ListBytes"};
    case RAFTKV__V1__REQUEST__BODY_STATUS:
        return (struct method){"org.raftkv1.Node", "GetStatus"};
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
        return (struct method){"org.raftkv1.Cluster", request->members->stale
                                                          ? "GetConfigurationStale"
                                                          : "GetConfiguration"};
    case RAFTKV__V1__REQUEST__BODY_SNAPSHOT:
        return (struct method){"org.raftkv1.Node", "Snapshot"};
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
        return (struct method){"org.raftkv1.Node",
                               request->backup->end ? "EndBackup" : "ReadBackup"};
    case RAFTKV__V1__REQUEST__BODY_STATS:
        return (struct method){"org.raftkv1.Node", "Stats"};
    case RAFTKV__V1__REQUEST__BODY_BARRIER:
        return (struct method){"org.raftkv1.Node", "Barrier"};
    case RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER:
        return (struct method){"org.raftkv1.Node", "VerifyLeader"};
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        return (struct method){"org.raftkv1.Cluster", "AddVoter"};
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        return (struct method){"org.raftkv1.Cluster", "AddNonvoter"};
    case RAFTKV__V1__REQUEST__BODY_PENDING:
        return (struct method){"org.raftkv1.Cluster", "GetPending"};
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        return (struct method){"org.raftkv1.Cluster",
                               request->accept->nonvoter ? "AcceptNonvoter" : "Accept"};
    case RAFTKV__V1__REQUEST__BODY_REJECT:
        return (struct method){"org.raftkv1.Cluster", "Reject"};
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        return (struct method){"org.raftkv1.Cluster", request->remove_server->force
                                                          ? "ForceRemoveServer"
                                                          : "RemoveServer"};
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        return (struct method){"org.raftkv1.Cluster",
                               request->demote_voter->force ? "ForceDemoteVoter" : "DemoteVoter"};
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        return (struct method){"org.raftkv1.Cluster", "TransferLeadership"};
    case RAFTKV__V1__REQUEST__BODY_OPERATION:
        return method_of_operation(request->operation->action);
    case RAFTKV__V1__REQUEST__BODY_OPERATIONS:
        return (struct method){"org.freedesktop.DBus.ObjectManager", "GetManagedObjects"};
    default:
        check(!"each request of a command has a method");
        return (struct method){0};
    }
}

static char *path_of(const Request *request) {
    if (request->body_case == RAFTKV__V1__REQUEST__BODY_OPERATION)
        return bus_operation_path(request->operation->token);
    return xstrdup(BUS_PATH);
}

int bus_call_new(sd_bus *bus, const char *destination, const Request *request, sd_bus_message **ret,
                 struct failure *failure) {
    struct method method = method_of(request);
    _cleanup_free_ char *path = path_of(request);
    sd_bus_message *m = NULL;
    int r;

    r = sd_bus_message_new_method_call(bus, &m, destination, path, method.interface, method.name);
    /* Where polkit decides, a person may be asked to authenticate. */
    if (r >= 0)
        r = sd_bus_message_set_allow_interactive_authorization(m, true);
    if (r >= 0)
        r = append_arguments(m, request);
    if (r < 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "can't make the call: %s.", strerror(-r));
        sd_bus_message_unref(m);
        return r;
    }
    *ret = m;
    return 0;
}
