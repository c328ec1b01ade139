/* The transport over D-Bus: one node, reached by its name on a bus. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/memory.h"
#include "client/bus_messages.h"
#include "client/transport.h"

struct bus_transport {
    struct transport base;
    char *address;
    char *node;
    char *destination;
    uint64_t deadline;
    sd_bus *bus; /* NULL until the first call */
};

static int open_address(const char *address, sd_bus **ret) {
    _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
    int r;

    r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, true);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0)
        return r;
    *ret = TAKE(bus);
    return 0;
}

static int ensure_open(struct bus_transport *t, struct failure *failure) {
    int r;

    if (t->bus)
        return 0;
    if (strcmp(t->address, "system") == 0)
        r = sd_bus_open_system(&t->bus);
    else if (strcmp(t->address, "session") == 0)
        r = sd_bus_open_user(&t->bus);
    else
        r = open_address(t->address, &t->bus);
    if (r < 0)
        failure_set(failure, ERROR_UNAVAILABLE, "The D-Bus bus %s: %s.", t->address, strerror(-r));
    return r < 0 ? r : 0;
}

/* ERROR_OK: it is none of ours. */
static enum error_code code_of(const char *name) {
    if (strncmp(name, BUS_ERROR_PREFIX, strlen(BUS_ERROR_PREFIX)) != 0)
        return ERROR_OK;
    for (enum error_code code = ERROR_OK + 1; code < ERROR_CODE_COUNT; code++)
        if (strcmp(name + strlen(BUS_ERROR_PREFIX), error_name(code)) == 0)
            return code;
    return ERROR_OK;
}

static bool is_any_of(const sd_bus_error *error, const char *const *names) {
    for (; *names; names++)
        if (sd_bus_error_has_name(error, *names))
            return true;
    return false;
}

static bool is_operation(const Raftkv__V1__Request *request) {
    return request->body_case == RAFTKV__V1__REQUEST__BODY_OPERATION;
}

static int interpret_error(const struct bus_transport *t, const sd_bus_error *error, int r,
                           const Raftkv__V1__Request *request, Raftkv__V1__Response **ret,
                           struct failure *failure) {
    static const char *const absent[] = {SD_BUS_ERROR_SERVICE_UNKNOWN,
                                         SD_BUS_ERROR_NAME_HAS_NO_OWNER, NULL};
    static const char *const silent[] = {SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT, NULL};
    static const char *const unknown[] = {SD_BUS_ERROR_UNKNOWN_METHOD,
                                          SD_BUS_ERROR_UNKNOWN_INTERFACE,
                                          SD_BUS_ERROR_UNKNOWN_OBJECT, NULL};
    const char *message = error->message ? error->message : strerror(-r);
    enum error_code code = error->name ? code_of(error->name) : ERROR_OK;
    _cleanup_free_ char *absence = NULL;

    if (is_operation(request) && sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT)) {
        absence =
            xasprintf("This node knows no operation %016" PRIx64 ".", request->operation->token);
        *ret = bus_error_response(ERROR_NOT_FOUND, absence);
        return 0;
    }
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
        code = ERROR_PERMISSION_DENIED;
    else if (is_any_of(error, unknown))
        code = ERROR_UNSUPPORTED;
    if (code != ERROR_OK) {
        *ret = bus_error_response(code, message);
        return 0;
    }
    if (is_any_of(error, absent)) {
        failure_set(failure, ERROR_UNAVAILABLE, "There is no node %s on the D-Bus bus %s.", t->node,
                    t->address);
        return -EHOSTUNREACH;
    }
    if (is_any_of(error, silent) || r == -ETIMEDOUT)
        failure_set(failure, ERROR_TIMEOUT, "%s did not answer in time.", t->destination);
    else
        failure_set(failure, ERROR_UNAVAILABLE, "%s: %s", t->destination, message);
    failure->outcome_unknown = transport_request_writes(request);
    return failure->code;
}

/* Cancel tells nothing of the operation: it is asked for in the end. */
static int show_operation(struct transport *base, const Raftkv__V1__Request *request,
                          Raftkv__V1__Response **ret, struct failure *failure) {
    Raftkv__V1__OperationRequest body = *request->operation;
    Raftkv__V1__Request show = *request;

    body.action = RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_SHOW;
    show.operation = &body;
    return transport_call(base, &show, ret, failure);
}

static int bus_call(struct transport *base, Raftkv__V1__Request *request,
                    Raftkv__V1__Response **ret, struct failure *failure) {
    struct bus_transport *t = container_of(base, struct bus_transport, base);
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    int r;

    r = ensure_open(t, failure);
    if (r == 0)
        r = bus_call_new(t->bus, t->destination, request, &m, failure);
    if (r != 0)
        return r;
    if (transport_left(t->deadline) == 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s: the time was over.", t->destination);
        return -ETIMEDOUT;
    }
    r = bus_call_with_progress(t->bus, m, request, base, transport_left(t->deadline) * 1000, &error,
                               &reply);
    if (r < 0)
        return interpret_error(t, &error, r, request, ret, failure);
    if (is_operation(request) &&
        request->operation->action == RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL)
        return show_operation(base, request, ret, failure);
    r = bus_read_reply(reply, request, t->node, ret);
    if (r < 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s gave an answer that is not one of raftkv: %s.",
                    t->destination, strerror(-r));
        failure->outcome_unknown = transport_request_writes(request);
        return failure->code;
    }
    return 0;
}

static void bus_set_deadline(struct transport *base, uint64_t deadline) {
    container_of(base, struct bus_transport, base)->deadline = deadline;
}

static void bus_free(struct transport *base) {
    struct bus_transport *t = container_of(base, struct bus_transport, base);

    sd_bus_flush_close_unref(t->bus);
    free(t->address);
    free(t->node);
    free(t->destination);
    free(t);
}

struct transport *transport_bus_new(const char *address, const char *node, uint64_t deadline) {
    static const struct transport_operations operations = {
        .call = bus_call, .set_deadline = bus_set_deadline, .free = bus_free};
    struct bus_transport *t = xcalloc(1, sizeof *t);

    t->base.operations = &operations;
    t->address = xstrdup(address);
    t->node = xstrdup(node);
    t->destination = xasprintf(BUS_NAME_PREFIX "%s", node);
    t->deadline = deadline;
    return &t->base;
}
