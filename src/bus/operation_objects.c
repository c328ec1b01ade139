/* One object for each operation that the node knows, /org/raftkv1/operation/N:
 * dbus/org.raftkv1.Operation.xml. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bus/call.h"
#include "bus/objects.h"
#include "bus/text.h"

#define OPERATIONS_PATH OBJECT_PATH "/operation"

/* The token in the path of an operation; 0: it is no such path. */
static uint64_t token_of(const char *at) {
    const char *name = at + strlen(OPERATIONS_PATH "/");
    char *end;
    uint64_t token;

    if (strncmp(at, OPERATIONS_PATH "/", strlen(OPERATIONS_PATH "/")) != 0)
        return 0;
    token = strtoull(name, &end, 10);
    return *name >= '1' && *name <= '9' && !*end ? token : 0;
}

static size_t list(const struct bus *bus, void *ret) {
    return service_local_operations(bus->service, ret);
}

static uint64_t id(const void *object) {
    return ((const struct service_operation *)object)->token;
}

static char *path(const void *object) {
    return xasprintf(OPERATIONS_PATH "/%" PRIu64, id(object));
}

static int get_property(sd_bus *connection, const char *at, const char *interface,
                        const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
    struct service_operation operation;

    (void)connection;
    (void)interface;
    if (!object_find(userdata, &operation_objects, at, &operation))
        return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                 "There is no such operation any more.");
    if (strcmp(property, "Kind") == 0)
        return results_append(reply, "s", operation.request);
    if (strcmp(property, "Subject") == 0)
        return results_append(reply, "s", operation.subject);
    if (strcmp(property, "AskedBy") == 0)
        return results_append(reply, "s", operation.asked_by);
    if (strcmp(property, "State") == 0)
        return results_append(reply, "s", operation.state);
    if (strcmp(property, "Phase") == 0)
        return text_append_clean(reply, operation.phase);
    if (strcmp(property, "Progress") == 0)
        return results_append(reply, "(tt)", operation.done, operation.total);
    if (strcmp(property, "Unit") == 0)
        return results_append(reply, "s", operation.unit);
    return results_append(reply, "t", operation.milliseconds); /* Milliseconds */
}

/* ---- Await and Cancel ---- */

static int read_request(sd_bus_message *message, Raftkv__V1__Request *request,
                        Raftkv__V1__OperationAction action) {
    Raftkv__V1__OperationRequest *body = xmalloc(sizeof *body);

    raftkv__v1__operation_request__init(body);
    body->token = token_of(sd_bus_message_get_path(message));
    body->action = action;
    request->body_case = RAFTKV__V1__REQUEST__BODY_OPERATION;
    request->operation = body;
    return 0;
}

static int read_await(sd_bus_message *message, Raftkv__V1__Request *request) {
    return read_request(message, request, RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT);
}

static int read_cancel(sd_bus_message *message, Raftkv__V1__Request *request) {
    return read_request(message, request, RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL);
}

/* The results of the operation's own method, by their names. */
static int append_results(sd_bus_message *reply, const Raftkv__V1__Response *result) {
    switch (result->body_case) {
    case RAFTKV__V1__RESPONSE__BODY_CONFIGURATION:
        return results_append(reply, "a{sv}", 1, "configuration_index", "t",
                              result->configuration->configuration_index);
    case RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP: {
        _cleanup_free_ char *leader = text_clean(result->transfer_leadership->leader);

        return results_append(reply, "a{sv}", 1, "leader", "s", leader);
    }
    case RAFTKV__V1__RESPONSE__BODY_SNAPSHOT:
        return results_append(reply, "a{sv}", 2, "index", "t", result->snapshot->index,
                              "milliseconds", "t", result->snapshot->milliseconds);
    case RAFTKV__V1__RESPONSE__BODY_BACKUP:
        return results_append(reply, "a{sv}", 1, "last", "b", (int)result->backup->last);
    default:
        return -EBADMSG;
    }
}

/* What the operation came to is the result of awaiting it. */
static int write_await(sd_bus_message *reply, const Raftkv__V1__Response *response,
                       struct failure *failure) {
    const Raftkv__V1__Response *result = response->operation->result;

    if (!result)
        return -EBADMSG;
    if (result->error) {
        failure_set(failure, (enum error_code)result->error->code, "%s", result->error->message);
        failure->outcome_unknown = result->error->outcome_unknown;
        return failure->code;
    }
    return append_results(reply, result);
}

static int write_nothing(sd_bus_message *reply, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    (void)reply;
    (void)response;
    (void)failure;
    return 0;
}

static const struct method methods[] = {
    {.member = "Await",
     .kind = METHOD_AWAIT,
     .timeout_ms = REQUEST_TIMEOUT_MAX_MS,
     .read = read_await,
     .body = RAFTKV__V1__RESPONSE__BODY_OPERATION,
     .write = write_await},
    {.member = "Cancel",
     .read = read_cancel,
     .body = RAFTKV__V1__RESPONSE__BODY_OPERATION,
     .write = write_nothing},
    {.member = NULL},
};

static int handle(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    (void)error;
    return method_call_arrived(userdata, message, methods);
}

/* clang-format off */
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Await", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{sv}", results),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT,
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Kind", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Subject", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("AskedBy", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Phase", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Progress", "(tt)", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Unit", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Milliseconds", "t", get_property, 0, 0),
    SD_BUS_VTABLE_END,
};
/* clang-format on */

static size_t compare(const void *before, const void *after,
                      const char *ret[static OBJECT_CHANGES_MAX]) {
    const struct service_operation *old = before, *new = after;
    size_t count = 0;

    if (strcmp(new->state, old->state) != 0)
        ret[count++] = "State";
    if (strcmp(new->phase, old->phase) != 0)
        ret[count++] = "Phase";
    if (new->done != old->done || new->total != old->total)
        ret[count++] = "Progress";
    if (strcmp(new->unit, old->unit) != 0)
        ret[count++] = "Unit";
    return count;
}

const struct object_kind operation_objects = {
    .interface = "org.raftkv1.Operation",
    .parent = OPERATIONS_PATH,
    .vtable = vtable,
    .size = sizeof(struct service_operation),
    .max = OPERATIONS_MAX,
    .list = list,
    .id = id,
    .path = path,
    .compare = compare,
};
