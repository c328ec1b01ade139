/* Operations over D-Bus: the objects that a node shows, and what it announces of one that a call of
 * ours has begun. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"
#include "client/bus_messages.h"

#define OPERATIONS_PATH BUS_PATH "/operation/"
#define OPERATION_INTERFACE "org.raftkv1.Operation"

typedef Raftkv__V1__Operation Operation;

char *bus_operation_path(uint64_t token) {
    return xasprintf(OPERATIONS_PATH "%" PRIu64, token);
}

static uint64_t token_of(const char *path) {
    if (strncmp(path, OPERATIONS_PATH, strlen(OPERATIONS_PATH)) != 0)
        return 0;
    return strtoull(path + strlen(OPERATIONS_PATH), NULL, 10);
}

static Operation *operation_new(uint64_t token) {
    Operation *operation = xmalloc(sizeof *operation);

    raftkv__v1__operation__init(operation);
    operation->token = token;
    return operation;
}

static void operation_free(Operation **operation) {
    if (*operation)
        raftkv__v1__operation__free_unpacked(*operation, NULL);
}

/* ---- properties ---- */

static int read_text(sd_bus_message *m, char **field) {
    const char *text;
    int r = sd_bus_message_read(m, "v", "s", &text);

    if (r < 0)
        return r;
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = xstrdup(text);
    return 0;
}

static int read_state(sd_bus_message *m, Operation *operation) {
    const char *word;
    int r = sd_bus_message_read(m, "v", "s", &word);

    if (r < 0)
        return r;
    operation->state =
        strcmp(word, "running") == 0 ? RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_RUNNING
        : strcmp(word, "done") == 0  ? RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_DONE
                                     : RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_FAILED;
    return 0;
}

static int read_property(sd_bus_message *m, const char *name, Operation *operation) {
    if (strcmp(name, "Kind") == 0)
        return read_text(m, &operation->request);
    if (strcmp(name, "Subject") == 0)
        return read_text(m, &operation->subject);
    if (strcmp(name, "AskedBy") == 0)
        return read_text(m, &operation->asked_by);
    if (strcmp(name, "State") == 0)
        return read_state(m, operation);
    if (strcmp(name, "Phase") == 0)
        return read_text(m, &operation->phase);
    if (strcmp(name, "Unit") == 0)
        return read_text(m, &operation->unit);
    if (strcmp(name, "Progress") == 0)
        return sd_bus_message_read(m, "v", "(tt)", &operation->done, &operation->total);
    if (strcmp(name, "Milliseconds") == 0)
        return sd_bus_message_read(m, "v", "t", &operation->milliseconds);
    return sd_bus_message_skip(m, "v");
}

/* An a{sv}: what it names changes in the operation. */
static int read_properties(sd_bus_message *m, Operation *operation) {
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        const char *name;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
            r = read_property(m, name, operation);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* An a{sa{sv}}, the interfaces of one object. */
static int read_interfaces(sd_bus_message *m, Operation *operation) {
    int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
        const char *interface;

        r = sd_bus_message_read(m, "s", &interface);
        if (r < 0)
            return r;
        if (strcmp(interface, OPERATION_INTERFACE) == 0)
            r = read_properties(m, operation);
        else
            r = sd_bus_message_skip(m, "a{sv}");
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* ---- replies ---- */

int bus_read_operation(sd_bus_message *m, const Raftkv__V1__OperationRequest *request,
                       Raftkv__V1__Response *response) {
    Raftkv__V1__OperationResponse *body = response->operation = xmalloc(sizeof *body);

    raftkv__v1__operation_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_OPERATION;
    body->operation = operation_new(request->token);
    if (request->action != RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT)
        return read_properties(m, body->operation);
    body->result = xmalloc(sizeof *body->result);
    raftkv__v1__response__init(body->result);
    return bus_read_awaited(m, body->result);
}

static int by_token(const void *a, const void *b) {
    const Operation *const *one = a, *const *other = b;

    return ((*one)->token > (*other)->token) - ((*one)->token < (*other)->token);
}

/* The reply of GetManagedObjects, which holds other objects too. */
int bus_read_operations(sd_bus_message *m, Raftkv__V1__Response *response) {
    Raftkv__V1__OperationsResponse *body = response->operations = xmalloc(sizeof *body);
    int r;

    raftkv__v1__operations_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_OPERATIONS;
    body->operations = xcalloc(OPERATIONS_MAX, sizeof(void *));
    r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
        const char *path;

        r = sd_bus_message_read(m, "o", &path);
        if (r < 0)
            return r;
        if (token_of(path) == 0) {
            r = sd_bus_message_skip(m, "a{sa{sv}}");
        } else if (body->n_operations == OPERATIONS_MAX) {
            return -EMSGSIZE;
        } else {
            body->operations[body->n_operations++] = operation_new(token_of(path));
            r = read_interfaces(m, body->operations[body->n_operations - 1]);
        }
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    if (r < 0)
        return r;
    qsort(body->operations, body->n_operations, sizeof(void *), by_token);
    return sd_bus_message_exit_container(m);
}

/* ---- progress ---- */

/* A call under way, and the operation that it has begun. */
struct watch {
    const struct transport *transport;
    const char *kind, *subject; /* of the operation; found among those that begin now */
    Operation *operation;       /* NULL: not found yet */
    sd_bus_message *reply;      /* of the call */
};

static bool watch_wanted(const Raftkv__V1__Request *request, struct watch *ret) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
        *ret = (struct watch){.kind = "add-voter", .subject = request->add_voter->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
        *ret = (struct watch){.kind = "add-nonvoter", .subject = request->add_nonvoter->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
        *ret = (struct watch){.kind = "accept", .subject = request->accept->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
        *ret = (struct watch){.kind = "remove-server", .subject = request->remove_server->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        *ret = (struct watch){.kind = "demote-voter", .subject = request->demote_voter->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        *ret = (struct watch){.kind = "transfer-leadership",
                              .subject = request->transfer_leadership->name};
        return true;
    case RAFTKV__V1__REQUEST__BODY_SNAPSHOT:
        *ret = (struct watch){.kind = "snapshot", .subject = ""};
        return true;
    default:
        return false;
    }
}

static void show(const struct watch *watch) {
    watch->transport->progress(watch->transport->progress_data, watch->operation);
}

static int on_added(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
    _cleanup_(operation_free) Operation *operation = NULL;
    struct watch *watch = userdata;
    const char *path;

    (void)error;
    if (watch->operation || sd_bus_message_read(signal, "o", &path) < 0 || token_of(path) == 0)
        return 0;
    operation = operation_new(token_of(path));
    if (read_interfaces(signal, operation) < 0 || strcmp(operation->request, watch->kind) != 0 ||
        strcmp(operation->subject, watch->subject) != 0 ||
        strcmp(operation->asked_by, "D-Bus") != 0)
        return 0;
    watch->operation = TAKE(operation);
    show(watch);
    return 0;
}

static int on_changed(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
    struct watch *watch = userdata;
    const char *interface;

    (void)error;
    if (!watch->operation || token_of(sd_bus_message_get_path(signal)) != watch->operation->token)
        return 0;
    if (sd_bus_message_read(signal, "s", &interface) >= 0 &&
        strcmp(interface, OPERATION_INTERFACE) == 0 &&
        read_properties(signal, watch->operation) >= 0)
        show(watch);
    return 0;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    (void)error;
    ((struct watch *)userdata)->reply = sd_bus_message_ref(reply);
    return 0;
}

static int wait_for_reply(sd_bus *bus, struct watch *watch) {
    while (!watch->reply) {
        int r = sd_bus_process(bus, NULL);

        if (r == 0)
            r = sd_bus_wait(bus, UINT64_MAX);
        if (r < 0 && r != -EINTR)
            return r;
    }
    return sd_bus_is_open(bus) > 0 ? 0 : -ECONNRESET;
}

static int call_watched(sd_bus *bus, sd_bus_message *m, uint64_t timeout_us, struct watch *watch,
                        sd_bus_error *error) {
    _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *added = NULL, *changed = NULL, *call = NULL;
    const char *node = sd_bus_message_get_destination(m);
    int r = sd_bus_match_signal(bus, &added, node, BUS_PATH, "org.freedesktop.DBus.ObjectManager",
                                "InterfacesAdded", on_added, watch);

    if (r >= 0)
        r = sd_bus_match_signal(bus, &changed, node, NULL, "org.freedesktop.DBus.Properties",
                                "PropertiesChanged", on_changed, watch);
    if (r >= 0)
        r = sd_bus_call_async(bus, &call, m, on_reply, watch, timeout_us);
    if (r >= 0)
        r = wait_for_reply(bus, watch);
    if (r < 0)
        return r;
    if (sd_bus_message_is_method_error(watch->reply, NULL) == 0)
        return 0;
    r = sd_bus_error_copy(error, sd_bus_message_get_error(watch->reply));
    return r < 0 ? r : -EIO;
}

int bus_call_with_progress(sd_bus *bus, sd_bus_message *m, const Raftkv__V1__Request *request,
                           const struct transport *transport, uint64_t timeout_us,
                           sd_bus_error *error, sd_bus_message **ret) {
    struct watch watch;
    int r;

    if (!transport->progress || !watch_wanted(request, &watch))
        return sd_bus_call(bus, m, timeout_us, error, ret);
    watch.transport = transport;
    r = call_watched(bus, m, timeout_us, &watch, error);
    operation_free(&watch.operation);
    if (r < 0)
        sd_bus_message_unref(watch.reply);
    else
        *ret = watch.reply;
    return r;
}
