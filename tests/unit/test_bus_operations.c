/* The objects of the operations, and what is announced of them. */
#include "test_bus_signals.h"

#include <string.h>

#define OPERATION "org.raftkv1.Operation"
#define OPERATION_7 OBJECT "/operation/7"
#define OPERATION_8 OBJECT "/operation/8"

static void each_operation_is_an_object(void **state) {
    struct fixture *f = *state;

    assert_text_property(f, OPERATION_7, OPERATION, "Kind", "add-voter");
    assert_text_property(f, OPERATION_7, OPERATION, "Subject", "nodeD");
    assert_text_property(f, OPERATION_7, OPERATION, "AskedBy", "TCP");
    assert_text_property(f, OPERATION_7, OPERATION, "State", "running");
    assert_text_property(f, OPERATION_7, OPERATION, "Phase", "catching up");
    assert_pair_property(f, OPERATION_7, OPERATION, "Progress", 5, 20);
    assert_text_property(f, OPERATION_7, OPERATION, "Unit", "entries");
    assert_number_property(f, OPERATION_7, OPERATION, "Milliseconds", 1500);
}

static void what_is_no_operation_has_no_object(void **state) {
    static const char *const paths[] = {OPERATION_8, OBJECT "/operation/07", OBJECT "/operation/x",
                                        OBJECT "/operation/7/7"};

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        _cleanup_message_ sd_bus_message *reply =
            call_at(*state, paths[i], PROPERTIES, "Get", OPERATION, "Kind");

        assert_error(reply, SD_BUS_ERROR_UNKNOWN_OBJECT, "");
    }
}

static void operations_that_begin_and_are_forgotten_are_announced(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f, OPERATION);
    fake.operations[1] = fake.operations[0];
    fake.operations[1].token = 8;
    fake.operations_count = 2;
    bus_status_changed(f->bus);
    wait_for_signals(f, 1);
    assert_heard(0, "InterfacesAdded", OPERATION_8, "");
    fake.operations_count = 1; /* and nobody tells of it */
    wait_for_signals(f, 2);
    assert_heard(1, "InterfacesRemoved", OPERATION_8, "");
}

static void how_an_operation_comes_on_and_ends_is_announced(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f, OPERATION);
    fake.operations[0].done = 9;
    fake.operations[0].milliseconds = 2000;
    bus_status_changed(f->bus);
    wait_for_signals(f, 1);
    assert_heard(0, "PropertiesChanged", OPERATION_7, "Progress");
    fake.operations[0].state = "failed";
    strcpy(fake.operations[0].phase, "");
    fake.operations[0].done = fake.operations[0].total = 0;
    fake.operations[0].unit = "";
    bus_status_changed(f->bus);
    wait_for_signals(f, 2);
    assert_heard(1, "PropertiesChanged", OPERATION_7, "State Phase Progress Unit");
}

static void come_on(void) {
    fake.operations[0].done++;
}

static void end(void) {
    fake.operations[0].state = "done";
}

static void an_operation_is_announced_ten_times_a_second_at_most(void **state) {
    listen_to_signals(*state, OPERATION);
    assert_announced_ten_times_a_second_at_most(*state, come_on, end, "State");
}

/* ---- Await and Cancel ---- */

static const Raftkv__V1__Response *ended(const Raftkv__V1__Response *result) {
    static Raftkv__V1__Operation operation;
    static Raftkv__V1__OperationResponse body;
    static Raftkv__V1__Response response;

    raftkv__v1__operation__init(&operation);
    raftkv__v1__operation_response__init(&body);
    body.operation = &operation;
    body.result = (Raftkv__V1__Response *)(uintptr_t)result;
    raftkv__v1__response__init(&response);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_OPERATION;
    response.operation = &body;
    return &response;
}

static sd_bus_message *await(struct fixture *f, const Raftkv__V1__Response *result) {
    sd_bus_message *reply;

    fake.response = ended(result);
    reply = call_at(f, OPERATION_7, OPERATION, "Await", NULL, NULL);
    assert_int_equal(fake.last->operation->token, 7);
    assert_int_equal(fake.last->operation->action,
                     RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT);
    return reply;
}

static void awaiting_gives_the_results_of_the_operation(void **state) {
    struct fixture *f = *state;
    Raftkv__V1__ConfigurationResponse configuration = RAFTKV__V1__CONFIGURATION_RESPONSE__INIT;
    Raftkv__V1__TransferLeadershipResponse transfer =
        RAFTKV__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
    Raftkv__V1__SnapshotResponse snapshot = RAFTKV__V1__SNAPSHOT_RESPONSE__INIT;
    Raftkv__V1__BackupResponse backup = RAFTKV__V1__BACKUP_RESPONSE__INIT;
    Raftkv__V1__Response result = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *changed = NULL, *handed = NULL, *compacted = NULL,
                                     *read = NULL;
    uint64_t number = 0, milliseconds = 0;
    char leader[] = "nodeB";
    const char *text = NULL;
    int last = 0;

    result.body_case = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
    result.configuration = &configuration;
    configuration.configuration_index = 12;
    changed = await(f, &result);
    assert_true(sd_bus_message_read(changed, "a{sv}", 1, &text, "t", &number) > 0);
    assert_string_equal(text, "configuration_index");
    assert_int_equal(number, 12);

    result.body_case = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP;
    result.transfer_leadership = &transfer;
    transfer.leader = leader;
    handed = await(f, &result);
    assert_true(sd_bus_message_read(handed, "a{sv}", 1, &text, "s", &text) > 0);
    assert_string_equal(text, "nodeB");

    result.body_case = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
    result.snapshot = &snapshot;
    snapshot.index = 34;
    snapshot.milliseconds = 5;
    compacted = await(f, &result);
    assert_true(sd_bus_message_read(compacted, "a{sv}", 2, &text, "t", &number, &text, "t",
                                    &milliseconds) > 0);
    assert_int_equal(number, 34);
    assert_int_equal(milliseconds, 5);

    result.body_case = RAFTKV__V1__RESPONSE__BODY_BACKUP;
    result.backup = &backup;
    backup.last = true;
    read = await(f, &result);
    assert_true(sd_bus_message_read(read, "a{sv}", 1, &text, "b", &last) > 0);
    assert_true(last);
}

static void awaiting_what_failed_gives_its_error(void **state) {
    Raftkv__V1__Response result = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Error error = RAFTKV__V1__ERROR__INIT;
    char message[] = "It lags behind.";
    _cleanup_message_ sd_bus_message *failed = NULL, *unknown = NULL;

    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_TIMEOUT;
    error.message = message;
    result.error = &error;
    failed = await(*state, &result);
    assert_error(failed, "org.raftkv1.Error.Timeout", "It lags behind.");
    error.outcome_unknown = true;
    unknown = await(*state, &result);
    assert_error(unknown, "org.raftkv1.Error.Timeout", "The outcome is unknown");
}

static void an_operation_is_cancelled(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = ended(NULL);
    reply = call_at(f, OPERATION_7, OPERATION, "Cancel", NULL, NULL);
    assert_success(reply);
    assert_int_equal(fake.last->operation->token, 7);
    assert_int_equal(fake.last->operation->action,
                     RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL);
}

#define with_bus(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_bus(each_operation_is_an_object),
        with_bus(what_is_no_operation_has_no_object),
        with_bus(operations_that_begin_and_are_forgotten_are_announced),
        with_bus(how_an_operation_comes_on_and_ends_is_announced),
        with_bus(an_operation_is_announced_ten_times_a_second_at_most),
        with_bus(awaiting_gives_the_results_of_the_operation),
        with_bus(awaiting_what_failed_gives_its_error),
        with_bus(an_operation_is_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
