/* Callers that are not root, on the system bus: polkit decides. The test's own client is polkit
 * here. */
#include "test_bus_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/journal.h"
#include "base/memory.h"
#include "bus/connection.h"

#define DENIED "org.raftkv1.Error.PermissionDenied"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define LOG_CONTROL "org.freedesktop.LogControl1"

enum { QUESTIONS_MAX = 16 };

/* What polkit was asked, and what it answers. */
static struct {
    bool authorized, challenge;
    bool silent; /* does not answer yet */
    size_t count;
    struct {
        char action[64], subject[64];
        uint32_t flags;
        sd_bus_message *message;
    } questions[QUESTIONS_MAX];
} polkit;

static void polkit_answer(size_t number) {
    sd_bus_message *message = polkit.questions[number].message;

    assert_true(sd_bus_reply_method_return(message, "(bba{ss})", polkit.authorized,
                                           polkit.challenge, 0) >= 0);
    polkit.questions[number].message = sd_bus_message_unref(message);
}

static int check_authorization(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    const char *kind, *key, *name, *action, *cancel;
    size_t number = polkit.count++;
    uint32_t flags;

    (void)userdata;
    (void)error;
    assert_true(number < QUESTIONS_MAX);
    assert_true(sd_bus_message_read(message, "(sa{sv})sa{ss}us", &kind, 1, &key, "s", &name,
                                    &action, 0, &flags, &cancel) > 0);
    assert_string_equal(kind, "system-bus-name");
    assert_string_equal(key, "name");
    snprintf(polkit.questions[number].action, sizeof polkit.questions[0].action, "%s", action);
    snprintf(polkit.questions[number].subject, sizeof polkit.questions[0].subject, "%s", name);
    polkit.questions[number].flags = flags;
    polkit.questions[number].message = sd_bus_message_ref(message);
    if (!polkit.silent)
        polkit_answer(number);
    return 1;
}

static const sd_bus_vtable polkit_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", check_authorization,
                  SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static void polkit_start(struct fixture *f) {
    assert_true(sd_bus_add_object_vtable(f->client, NULL, "/org/freedesktop/PolicyKit1/Authority",
                                         "org.freedesktop.PolicyKit1.Authority", polkit_vtable,
                                         NULL) >= 0);
    assert_true(sd_bus_request_name(f->client, "org.freedesktop.PolicyKit1", 0) >= 0);
}

static int setup(void **state) {
    struct fixture *f = fixture_start_daemon("");

    memset(&polkit, 0, sizeof polkit);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", f->address, true);
    fixture_open_on(f, "system");
    *state = f;
    return 0;
}

/* A connection of a user who is neither root nor the daemon's. */
static sd_bus *connect_nobody(struct fixture *f) {
    sd_bus *client;

    if (geteuid() != 0)
        skip();
    assert_int_equal(seteuid(65534), 0);
    client = connect_client(f);
    assert_int_equal(seteuid(0), 0);
    return client;
}

static void disconnect(sd_bus *client) {
    sd_bus_close(client);
    sd_bus_unref(client);
}

static const Raftkv__V1__Response *any_response(Raftkv__V1__Response__BodyCase body) {
    static Raftkv__V1__PutResponse put;
    static Raftkv__V1__GetResponse get;
    static Raftkv__V1__KeyValue item;
    static Raftkv__V1__SnapshotResponse snapshot;
    static Raftkv__V1__StatsResponse stats;
    static Raftkv__V1__Response result;
    static Raftkv__V1__OperationResponse operation;
    static Raftkv__V1__Response response;

    raftkv__v1__put_response__init(&put);
    raftkv__v1__get_response__init(&get);
    raftkv__v1__key_value__init(&item);
    get.item = &item;
    raftkv__v1__snapshot_response__init(&snapshot);
    raftkv__v1__stats_response__init(&stats);
    raftkv__v1__response__init(&result);
    result.body_case = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
    result.snapshot = &snapshot;
    raftkv__v1__operation_response__init(&operation);
    operation.result = &result;
    raftkv__v1__response__init(&response);
    response.body_case = body;
    if (body == RAFTKV__V1__RESPONSE__BODY_PUT)
        response.put = &put;
    else if (body == RAFTKV__V1__RESPONSE__BODY_GET)
        response.get = &get;
    else if (body == RAFTKV__V1__RESPONSE__BODY_STATS)
        response.stats = &stats;
    else if (body == RAFTKV__V1__RESPONSE__BODY_OPERATION)
        response.operation = &operation;
    else
        response.snapshot = &snapshot;
    return &response;
}

static void polkit_is_asked_about_each_kind_of_call_by_its_action(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    const char *name;

    polkit_start(f);
    polkit.authorized = true;
    fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_PUT);
    sd_bus_message *put = call_from(f, nobody, KV, "Put", "ss", "k", "v");
    fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_GET);
    sd_bus_message *get = call_from(f, nobody, KV, "Get", "s", "k");
    fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_SNAPSHOT);
    sd_bus_message *snapshot = call_from(f, nobody, NODE, "Snapshot", "");

    assert_success(put);
    assert_success(get);
    assert_success(snapshot);
    assert_int_equal(fake.handled, 3);
    assert_int_equal(polkit.count, 3);
    assert_string_equal(polkit.questions[0].action, "org.raftkv1.write-keys");
    assert_string_equal(polkit.questions[1].action, "org.raftkv1.read-keys");
    assert_string_equal(polkit.questions[2].action, "org.raftkv1.manage-cluster");
    assert_true(sd_bus_get_unique_name(nobody, &name) >= 0);
    assert_string_equal(polkit.questions[0].subject, name);
    sd_bus_message_unref(put);
    sd_bus_message_unref(get);
    sd_bus_message_unref(snapshot);
    disconnect(nobody);
}

static void what_polkit_does_not_permit_is_denied(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    sd_bus_message *reply, *challenged;

    polkit_start(f);
    reply = call_from(f, nobody, KV, "Put", "ss", "k", "v");
    assert_error(reply, DENIED, "does not permit the action org.raftkv1.write-keys");
    polkit.challenge = true;
    challenged = call_from(f, nobody, CLUSTER, "TransferLeadership", "s", "");
    assert_error(challenged, DENIED, "org.raftkv1.manage-cluster takes an authentication");
    assert_int_equal(fake.handled, 0);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(challenged);
    disconnect(nobody);
}

static void a_person_is_asked_only_when_the_caller_allows_it(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);

    polkit_start(f);
    for (int allowed = 0; allowed <= 1; allowed++) {
        _cleanup_message_ sd_bus_message *message = new_call(nobody, KV, "Delete"), *reply = NULL;

        assert_true(sd_bus_message_append(message, "s", "k") >= 0);
        assert_true(sd_bus_message_set_allow_interactive_authorization(message, allowed) >= 0);
        reply = call_message(f, nobody, message);
        assert_error(reply, DENIED, "");
        assert_int_equal(polkit.questions[allowed].flags, allowed);
    }
    disconnect(nobody);
}

static void without_polkit_only_root_may(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    _cleanup_message_ sd_bus_message *reply = call_from(f, nobody, KV, "Put", "ss", "k", "v");

    assert_error(reply, DENIED, "Only root and the user that raftkvd runs as");
    assert_int_equal(fake.handled, 0);
    disconnect(nobody);
}

static sd_bus_message *call_operation(struct fixture *f, sd_bus *client, const char *member) {
    _cleanup_message_ sd_bus_message *message = NULL;

    assert_true(sd_bus_message_new_method_call(client, &message, DESTINATION, OBJECT "/operation/7",
                                               "org.raftkv1.Operation", member) >= 0);
    return call_message(f, client, message);
}

static void anyone_may_look_and_await_but_not_cancel(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);

    for (int with_polkit = 0; with_polkit <= 1; with_polkit++) {
        _cleanup_message_ sd_bus_message *stats = NULL, *await = NULL, *cancel = NULL;

        if (with_polkit)
            polkit_start(f);
        fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_STATS);
        stats = call_from(f, nobody, NODE, "Stats", "");
        assert_success(stats);
        fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_OPERATION);
        await = call_operation(f, nobody, "Await");
        assert_success(await);
        cancel = call_operation(f, nobody, "Cancel");
        assert_error(cancel, DENIED, with_polkit ? "org.raftkv1.manage-cluster" : "Only root");
        assert_int_equal(polkit.count, with_polkit);
    }
    assert_int_equal(fake.handled, 4);
    disconnect(nobody);
}

/* ---- the table of permissions ---- */

enum { ROWS_MAX = 128 };

static struct {
    char rows[ROWS_MAX][160]; /* "MEMBER WHO" */
    size_t count;
} found;

static void append_argument(sd_bus_message *message, char type) {
    if (type == 's')
        assert_true(sd_bus_message_append(message, "s", "x") >= 0);
    else if (type == 't')
        assert_true(sd_bus_message_append(message, "t", UINT64_C(0)) >= 0);
    else if (type == 'u')
        assert_true(sd_bus_message_append(message, "u", 0) >= 0);
    else
        assert_true(sd_bus_message_append_array(message, 'y', "x", 1) >= 0);
}

/* An argument is a basic type, or "ay". NULL: there are none. */
static void append_arguments(sd_bus_message *message, const char *signature) {
    for (const char *at = signature; at && *at; at++)
        if (*at != 'a')
            append_argument(message, *at);
}

static void note_permission(const char *interface, const char *member, const char *action) {
    assert_true(found.count < ROWS_MAX);
    snprintf(found.rows[found.count++], sizeof found.rows[0], "%s.%s %s", interface, member,
             action);
}

/* Calls each method as nobody, and notes what polkit was asked. */
static void try_methods(struct fixture *f, sd_bus *nobody, const char *path, const char *interface,
                        const sd_bus_vtable *vtable) {
    for (; vtable->type != _SD_BUS_VTABLE_END; vtable++) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;

        if (vtable->type != _SD_BUS_VTABLE_METHOD)
            continue;
        polkit.count = 0;
        assert_true(sd_bus_message_new_method_call(nobody, &message, DESTINATION, path, interface,
                                                   vtable->x.method.member) >= 0);
        append_arguments(message, vtable->x.method.signature);
        reply = call_message(f, nobody, message);
        assert_error(reply, polkit.count ? DENIED : "org.raftkv1.Error.Busy", "");
        note_permission(interface, vtable->x.method.member,
                        polkit.count ? polkit.questions[0].action : "anyone");
    }
}

static bool was_found(const char *row) {
    for (size_t i = 0; i < found.count; i++)
        if (strcmp(found.rows[i], row) == 0)
            return true;
    return false;
}

/* Each row of dbus/permissions is so, and there are no more. */
static void assert_found_what_is_documented(void) {
    FILE *file = fopen(BUS_PERMISSIONS, "re");
    char line[256], member[128], who[64], row[224];
    size_t count = 0;

    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%127s %63s", member, who), 2);
        snprintf(row, sizeof row, "%s %s", member, who);
        if (!was_found(row))
            fail_msg("%s is documented, and not so", row);
        count++;
    }
    fclose(file);
    assert_int_equal(count, found.count);
}

static sd_bus_message *set_property(struct fixture *f, sd_bus *client, const char *property,
                                    const char *value);

static void each_method_takes_the_permission_that_is_documented(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    Raftkv__V1__Error error = RAFTKV__V1__ERROR__INIT;
    Raftkv__V1__Response busy = RAFTKV__V1__RESPONSE__INIT;
    sd_bus_message *denied;

    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_BUSY;
    busy.error = &error;
    fake.response = &busy;
    found.count = 0;
    polkit_start(f);
    try_methods(f, nobody, OBJECT, KV, kv_vtable);
    try_methods(f, nobody, OBJECT, CLUSTER, cluster_vtable);
    try_methods(f, nobody, OBJECT, node_object.interface, node_object.vtable);
    try_methods(f, nobody, OBJECT "/operation/7", operation_objects.interface,
                operation_objects.vtable);
    polkit.count = 0;
    denied = set_property(f, nobody, "LogLevel", "debug");
    assert_error(denied, DENIED, "");
    note_permission(LOG_CONTROL, "LogLevel", polkit.questions[0].action);
    sd_bus_message_unref(denied);
    assert_found_what_is_documented();
    disconnect(nobody);
}

static void polkit_is_not_asked_about_root(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply = NULL;

    polkit_start(f);
    fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_PUT);
    reply = call(f, KV, "Put", "ss", "k", "v");
    assert_success(reply);
    assert_int_equal(polkit.count, 0);
}

static bool polkit_was_asked(void *data) {
    return polkit.count == *(size_t *)data;
}

static bool service_has_held(void *data) {
    return fake.held_count == *(size_t *)data;
}

static int ignore_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    (void)reply;
    (void)userdata;
    (void)error;
    return 0;
}

static void send_put(sd_bus *client, const char *key) {
    assert_true(sd_bus_call_method_async(client, NULL, DESTINATION, OBJECT, KV, "Put", ignore_reply,
                                         NULL, "ss", key, "v") >= 0);
}

static void calls_keep_their_order_while_polkit_thinks_and_the_loop_goes_on(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    size_t wanted = 1;
    _cleanup_message_ sd_bus_message *root = NULL;

    polkit_start(f);
    polkit.silent = polkit.authorized = true;
    fake.response = any_response(RAFTKV__V1__RESPONSE__BODY_PUT);
    send_put(nobody, "a");
    send_put(nobody, "b");
    run_until(f, nobody, polkit_was_asked, &wanted);
    /* The second one is not asked about before the first is decided; others are served meanwhile.
     */
    root = call(f, KV, "Put", "ss", "root", "v");
    assert_success(root);
    assert_int_equal(polkit.count, 1);
    fake.hold = true;
    polkit_answer(0);
    wanted = 2;
    run_until(f, nobody, polkit_was_asked, &wanted);
    polkit_answer(1);
    run_until(f, nobody, service_has_held, &wanted);
    assert_int_equal(fake.held[0]->request->put->key.data[0], 'a');
    assert_int_equal(fake.held[1]->request->put->key.data[0], 'b');
    fake_answer_held();
    disconnect(nobody);
}

static bool sender_is_forgotten(void *data) {
    return ((struct fixture *)data)->bus->senders.count == 0;
}

static void a_caller_may_leave_while_polkit_thinks(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    size_t wanted = 1;

    polkit_start(f);
    polkit.silent = polkit.authorized = true;
    send_put(nobody, "a");
    run_until(f, nobody, polkit_was_asked, &wanted);
    disconnect(nobody);
    run_until(f, NULL, sender_is_forgotten, f);
    polkit_answer(0);
    assert_int_equal(fake.handled, 0);
}

/* ---- the log's level ---- */

static sd_bus_message *set_property(struct fixture *f, sd_bus *client, const char *property,
                                    const char *value) {
    _cleanup_message_ sd_bus_message *message = NULL;
    sd_bus *from = client ? client : f->client;

    assert_true(sd_bus_message_new_method_call(from, &message, DESTINATION,
                                               "/org/freedesktop/LogControl1", PROPERTIES,
                                               "Set") >= 0);
    assert_true(sd_bus_message_append(message, "ssv", LOG_CONTROL, property, "s", value) >= 0);
    return call_message(f, from, message);
}

static void the_level_of_the_log_is_set_by_those_who_may(void **state) {
    struct fixture *f = *state;
    sd_bus *nobody = connect_nobody(f);
    _cleanup_message_ sd_bus_message *denied = NULL, *wrong = NULL, *target = NULL, *done = NULL,
                                     *fixed = NULL;

    polkit_start(f);
    denied = set_property(f, nobody, "LogLevel", "debug");
    assert_error(denied, DENIED, "org.raftkv1.manage-cluster");
    assert_int_equal(journal_level(), LOG_INFO);
    wrong = set_property(f, NULL, "LogLevel", "loud");
    assert_error(wrong, SD_BUS_ERROR_INVALID_ARGS, "emerg, alert");
    target = set_property(f, NULL, "LogTarget", "kmsg");
    assert_error(target, SD_BUS_ERROR_INVALID_ARGS, "can't be changed");
    fixed = set_property(f, NULL, "SyslogIdentifier", "x");
    assert_error(fixed, SD_BUS_ERROR_PROPERTY_READ_ONLY, "");
    done = set_property(f, NULL, "LogLevel", "debug");
    assert_success(done);
    assert_int_equal(journal_level(), LOG_DEBUG);
    journal_set_level(LOG_INFO);
    disconnect(nobody);
}

static int teardown(void **state) {
    for (size_t i = 0; i < polkit.count; i++)
        polkit.questions[i].message = sd_bus_message_unref(polkit.questions[i].message);
    return fixture_teardown(state);
}

#define with_polkit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_polkit(polkit_is_asked_about_each_kind_of_call_by_its_action),
        with_polkit(what_polkit_does_not_permit_is_denied),
        with_polkit(a_person_is_asked_only_when_the_caller_allows_it),
        with_polkit(without_polkit_only_root_may),
        with_polkit(anyone_may_look_and_await_but_not_cancel),
        with_polkit(each_method_takes_the_permission_that_is_documented),
        with_polkit(polkit_is_not_asked_about_root),
        with_polkit(calls_keep_their_order_while_polkit_thinks_and_the_loop_goes_on),
        with_polkit(a_caller_may_leave_while_polkit_thinks),
        with_polkit(the_level_of_the_log_is_set_by_those_who_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
