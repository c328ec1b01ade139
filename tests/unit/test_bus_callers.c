/* Who may call, how much, and what becomes of the calls of those who leave. */
#include "test_bus_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "bus/connection.h"
#include "bus/sender.h"

#define BUSY "org.raftkv1.Error.Busy"

static const Raftkv__V1__Response *put_response(void) {
    static Raftkv__V1__PutResponse put;
    static Raftkv__V1__Response response;

    raftkv__v1__put_response__init(&put);
    put.revision = 7;
    raftkv__v1__response__init(&response);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    response.put = &put;
    return &response;
}

/* How many replies came, and how many of them are errors of that name. */
struct tally {
    size_t expected;
    size_t replies;
    size_t errors;
    const char *error;
};

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    struct tally *tally = userdata;

    (void)error;
    tally->replies++;
    if (sd_bus_message_is_method_error(reply, tally->error))
        tally->errors++;
    else
        assert_success(reply);
    return 0;
}

static bool all_replied(void *data) {
    const struct tally *tally = data;

    return tally->replies == tally->expected;
}

struct wanted {
    size_t held;
    size_t cancelled;
    size_t handled;
};

static bool service_has(void *data) {
    const struct wanted *wanted = data;

    return fake.held_count == wanted->held && fake.cancelled == wanted->cancelled &&
           fake.handled == wanted->handled;
}

/* Sends a Put whose reply goes to the tally. */
static void send_put(sd_bus *client, const char *key, size_t value_size, struct tally *tally) {
    _cleanup_message_ sd_bus_message *message = new_call(client, KV, "PutBytes");
    void *space;

    assert_true(sd_bus_message_append_array(message, 'y', key, strlen(key)) >= 0);
    assert_true(sd_bus_message_append_array_space(message, 'y', value_size, &space) >= 0);
    memset(space, 'v', value_size);
    assert_true(sd_bus_call_async(client, NULL, message, on_reply, tally, 0) >= 0);
}

static void wrong_calls_are_refused_and_the_next_is_served(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *types = call(f, KV, "Put", "si", "k", 1);
    _cleanup_message_ sd_bus_message *fewer = call(f, KV, "Put", "s", "k");
    _cleanup_message_ sd_bus_message *more = call(f, CLUSTER, "GetConfiguration", "s", "k");
    _cleanup_message_ sd_bus_message *method = call(f, KV, "Increment", "s", "k");
    _cleanup_message_ sd_bus_message *interface = call(f, "org.raftkv2.KV", "Get", "s", "k");
    _cleanup_message_ sd_bus_message *message = NULL, *object = NULL, *next = NULL;

    assert_error(types, SD_BUS_ERROR_INVALID_ARGS, "");
    assert_error(fewer, SD_BUS_ERROR_INVALID_ARGS, "");
    assert_error(more, SD_BUS_ERROR_INVALID_ARGS, "");
    assert_error(method, SD_BUS_ERROR_UNKNOWN_METHOD, "");
    assert_error(interface, SD_BUS_ERROR_UNKNOWN_METHOD, "");
    assert_true(sd_bus_message_new_method_call(f->client, &message, DESTINATION, "/org/raftkv2", KV,
                                               "Get") >= 0);
    object = call_message(f, f->client, message);
    assert_error(object, SD_BUS_ERROR_UNKNOWN_OBJECT, "");
    assert_int_equal(fake.handled, 0);

    fake.response = put_response();
    next = call(f, KV, "Put", "ss", "k", "v");
    assert_success(next);
}

/* A Put whose value is U+FFFE: it passes the bus, but sd-bus does not read it. */
static sd_bus_message *unreadable_put(sd_bus *client) {
    sd_bus_message *message = new_call(client, KV, "Put");
    char *space;

    assert_true(sd_bus_message_append(message, "s", "k") >= 0);
    assert_true(sd_bus_message_append_string_space(message, 3, &space) >= 0);
    memcpy(space, "\xef\xbf\xbe", 4);
    return message;
}

static void a_string_that_cannot_be_read_is_an_invalid_argument(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *message = unreadable_put(f->client);
    _cleanup_message_ sd_bus_message *reply = call_message(f, f->client, message);
    _cleanup_message_ sd_bus_message *next = NULL;

    assert_error(reply, "org.raftkv1.Error.InvalidArgument", "Bytes");
    assert_int_equal(fake.handled, 0);
    fake.response = put_response();
    next = call(f, KV, "Put", "ss", "k", "v");
    assert_success(next);
}

static void calls_of_one_sender_keep_their_order(void **state) {
    struct fixture *f = *state;
    struct tally tally = {.expected = 20, .error = BUSY};
    struct wanted wanted = {.held = 20, .handled = 20};

    /* The first ones wait until the bus has told who calls. */
    fake.hold = true;
    fake.response = put_response();
    for (int i = 0; i < 20; i++)
        send_put(f->client, (char[]){(char)('a' + i), 0}, 1, &tally);
    run_until(f, NULL, service_has, &wanted);
    for (int i = 0; i < 20; i++)
        assert_int_equal(fake.held[i]->request->put->key.data[0], 'a' + i);
    fake_answer_held();
    run_until(f, NULL, all_replied, &tally);
    assert_int_equal(tally.errors, 0);
}

static void a_caller_that_leaves_has_its_calls_cancelled(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    struct tally tally = {.expected = 1, .error = BUSY}, unused = {.error = BUSY};
    struct wanted all = {.held = 4, .handled = 4}, left = {.held = 1, .cancelled = 3, .handled = 4};

    fake.hold = true;
    fake.response = put_response();
    send_put(f->client, "stays", 1, &tally);
    for (int i = 0; i < 3; i++)
        send_put(other, "leaves", 1, &unused);
    run_until(f, other, service_has, &all);
    sd_bus_close(other);
    sd_bus_unref(other);
    run_until(f, NULL, service_has, &left);
    assert_memory_equal(fake.held[0]->request->put->key.data, "stays", 5);
    fake_answer_held();
    run_until(f, NULL, all_replied, &tally);
    assert_int_equal(tally.errors, 0);
}

static void one_sender_has_a_limited_number_of_calls_under_way(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    struct tally busy = {.expected = 3, .error = BUSY}, rest = {.expected = 1, .error = BUSY};
    struct wanted wanted = {.held = BUS_SENDER_CALLS_MAX + 1, .handled = BUS_SENDER_CALLS_MAX + 1};

    fake.hold = true;
    fake.response = put_response();
    for (int i = 0; i < BUS_SENDER_CALLS_MAX + 3; i++)
        send_put(f->client, "k", 1, &busy);
    run_until(f, other, all_replied, &busy);
    assert_int_equal(busy.errors, 3);
    /* Another sender is not affected. */
    send_put(other, "k", 1, &rest);
    run_until(f, other, service_has, &wanted);
    fake_answer_held();
    busy.expected += BUS_SENDER_CALLS_MAX;
    run_until(f, other, all_replied, &busy);
    run_until(f, other, all_replied, &rest);
    assert_int_equal(busy.errors, 3);
    assert_int_equal(rest.errors, 0);
    /* And with those answered there is room again. */
    fake.hold = false;
    busy.expected++;
    send_put(f->client, "k", 1, &busy);
    run_until(f, other, all_replied, &busy);
    assert_int_equal(busy.errors, 3);
    sd_bus_close(other);
    sd_bus_unref(other);
}

/* A connection of another user. */
static sd_bus *connect_nobody(struct fixture *f) {
    sd_bus *client;

    assert_int_equal(seteuid(65534), 0);
    client = connect_client(f);
    assert_int_equal(seteuid(0), 0);
    return client;
}

static void all_connections_of_a_user_have_a_limited_number_of_calls_under_way(void **state) {
    enum { SENDERS = BUS_USER_CALLS_MAX / BUS_SENDER_CALLS_MAX };
    struct fixture *f = *state;
    sd_bus *others[SENDERS];
    struct tally unused = {.error = BUSY}, busy = {.expected = 1, .error = BUSY};

    fake.hold = true;
    fake.response = put_response();
    for (size_t i = 0; i < SENDERS; i++) {
        struct wanted wanted = {.held = (i + 1) * BUS_SENDER_CALLS_MAX,
                                .handled = (i + 1) * BUS_SENDER_CALLS_MAX};

        others[i] = connect_client(f);
        for (int n = 0; n < BUS_SENDER_CALLS_MAX; n++)
            send_put(others[i], "k", 1, &unused);
        run_until(f, others[i], service_has, &wanted);
    }
    send_put(f->client, "k", 1, &busy);
    run_until(f, NULL, all_replied, &busy);
    assert_int_equal(busy.errors, 1);
    for (size_t i = 0; i < SENDERS; i++) {
        sd_bus_close(others[i]);
        sd_bus_unref(others[i]);
    }
    run_until(f, NULL, service_has,
              &(struct wanted){.cancelled = BUS_USER_CALLS_MAX, .handled = BUS_USER_CALLS_MAX});
}

static void send_get_status(sd_bus *client, struct tally *tally) {
    assert_true(sd_bus_call_method_async(client, NULL, DESTINATION, OBJECT, NODE, "GetStatus",
                                         on_reply, tally, NULL) >= 0);
}

static void those_who_only_look_do_not_keep_others_out(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    struct tally looks = {.expected = 1, .error = BUSY}, put = {.expected = 1, .error = BUSY};
    struct wanted wanted = {.held = BUS_USER_OPEN_CALLS_MAX, .handled = BUS_USER_OPEN_CALLS_MAX};

    fake.hold = true;
    for (int i = 0; i < BUS_USER_OPEN_CALLS_MAX / 2; i++) {
        send_get_status(f->client, &looks);
        send_get_status(other, &looks);
    }
    run_until(f, other, service_has, &wanted);
    send_get_status(f->client, &looks);
    run_until(f, other, all_replied, &looks);
    assert_int_equal(looks.errors, 1);
    fake.hold = false;
    fake.response = put_response();
    send_put(other, "k", 1, &put);
    run_until(f, other, all_replied, &put);
    assert_int_equal(put.errors, 0);
    sd_bus_close(other);
    sd_bus_unref(other);
    run_until(f, NULL, service_has,
              &(struct wanted){.held = BUS_USER_OPEN_CALLS_MAX / 2,
                               .cancelled = BUS_USER_OPEN_CALLS_MAX / 2,
                               .handled = BUS_USER_OPEN_CALLS_MAX + 1});
    fake.hold = true;
    send_get_status(f->client, &looks);
    run_until(f, NULL, service_has,
              &(struct wanted){.held = BUS_USER_OPEN_CALLS_MAX / 2 + 1,
                               .cancelled = BUS_USER_OPEN_CALLS_MAX / 2,
                               .handled = BUS_USER_OPEN_CALLS_MAX + 2});
    f->bus = bus_close(f->bus);
}

static void send_await(sd_bus *client, struct tally *tally) {
    assert_true(sd_bus_call_method_async(client, NULL, DESTINATION, OBJECT "/operation/7",
                                         "org.raftkv1.Operation", "Await", on_reply, tally,
                                         NULL) >= 0);
}

static void those_who_wait_do_not_keep_out_those_who_look(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    struct tally waits = {.expected = 1, .error = BUSY}, look = {.expected = 1, .error = BUSY};

    fake.hold = true;
    for (int i = 0; i < BUS_USER_OPEN_CALLS_MAX / 2; i++) {
        send_await(f->client, &waits);
        send_await(other, &waits);
    }
    run_until(
        f, other, service_has,
        &(struct wanted){.held = BUS_USER_OPEN_CALLS_MAX, .handled = BUS_USER_OPEN_CALLS_MAX});
    send_await(f->client, &waits);
    run_until(f, other, all_replied, &waits);
    assert_int_equal(waits.errors, 1);
    send_get_status(f->client, &look);
    run_until(f, other, service_has,
              &(struct wanted){.held = BUS_USER_OPEN_CALLS_MAX + 1,
                               .handled = BUS_USER_OPEN_CALLS_MAX + 1});
    f->bus = bus_close(f->bus);
    sd_bus_close(other);
    sd_bus_unref(other);
}

static void a_user_who_waits_does_not_keep_out_others_who_wait(void **state) {
    struct fixture *f = *state;
    struct tally waits = {.expected = 1, .error = BUSY}, other = {.expected = 1, .error = BUSY};
    sd_bus *nobody;

    if (geteuid() != 0)
        skip();
    nobody = connect_nobody(f);
    fake.hold = true;
    for (int i = 0; i < BUS_USER_OPEN_CALLS_MAX + 1; i++)
        send_await(f->client, &waits);
    run_until(f, nobody, all_replied, &waits);
    assert_int_equal(waits.errors, 1);
    send_await(nobody, &other);
    run_until(f, nobody, service_has,
              &(struct wanted){.held = BUS_USER_OPEN_CALLS_MAX + 1,
                               .handled = BUS_USER_OPEN_CALLS_MAX + 1});
    assert_int_equal(other.replies, 0);
    f->bus = bus_close(f->bus);
    sd_bus_close(nobody);
    sd_bus_unref(nobody);
}

static void one_sender_has_limited_bytes_under_way(void **state) {
    struct fixture *f = *state;
    struct tally tally = {.expected = 2, .error = BUSY};
    const size_t quarter = BUS_SENDER_BYTES_MAX / 4;

    fake.hold = true;
    fake.response = put_response();
    /* With their keys four quarters are more than the limit. */
    for (int i = 0; i < 5; i++)
        send_put(f->client, "k", quarter, &tally);
    run_until(f, NULL, all_replied, &tally);
    assert_int_equal(tally.errors, 2);
    assert_int_equal(fake.held_count, 3);
    fake_answer_held();
    tally.expected = 5;
    run_until(f, NULL, all_replied, &tally);
    assert_int_equal(tally.errors, 2);
}

/* What is too large alone is not busy: the service says which limit it breaks. */
static void a_single_large_call_reaches_the_service(void **state) {
    struct fixture *f = *state;
    struct tally tally = {.expected = 1, .error = BUSY};

    fake.response = put_response();
    send_put(f->client, "k", BUS_SENDER_BYTES_MAX + 1, &tally);
    run_until(f, NULL, all_replied, &tally);
    assert_int_equal(tally.errors, 0);
    assert_int_equal(fake.handled, 1);
}

static void a_call_without_reply_takes_effect_and_is_not_answered(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *put = new_call(f->client, KV, "Put");
    _cleanup_message_ sd_bus_message *wrong = unreadable_put(f->client);
    _cleanup_message_ sd_bus_message *next = NULL;

    fake.response = put_response();
    assert_true(sd_bus_message_append(put, "ss", "quiet", "v") >= 0);
    assert_true(sd_bus_message_set_expect_reply(put, false) >= 0);
    assert_true(sd_bus_message_set_expect_reply(wrong, false) >= 0);
    assert_true(sd_bus_send(f->client, put, NULL) >= 0);
    assert_true(sd_bus_send(f->client, wrong, NULL) >= 0);
    run_until(f, NULL, service_has, &(struct wanted){.handled = 1});
    assert_memory_equal(fake.last->put->key.data, "quiet", 5);
    next = call(f, KV, "Put", "ss", "k", "v");
    assert_success(next);
}

/* ---- permission ---- */

/* Calls as another user and returns 0 when all is as it should be, else the number of the check. */
static int call_as_nobody(const char *address) {
    static const struct {
        const char *interface, *member, *types;
    } calls[] = {{KV, "Put", "ss"}, {KV, "Delete", "s"}, {CLUSTER, "TransferLeadership", "s"}};
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *reply = NULL;
    sd_bus *client = NULL;
    char *text = NULL;

    if (setgid(65534) < 0 || setuid(65534) < 0 || sd_bus_new(&client) < 0 ||
        sd_bus_set_address(client, address) < 0 || sd_bus_set_bus_client(client, true) < 0 ||
        sd_bus_start(client) < 0)
        return 1;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (sd_bus_call_method(client, DESTINATION, OBJECT, calls[i].interface, calls[i].member,
                               &error, NULL, calls[i].types, "k", "v") >= 0)
            return 2;
        if (!sd_bus_error_has_name(&error, "org.raftkv1.Error.PermissionDenied") ||
            !strstr(error.message, "Only root"))
            return 3;
        sd_bus_error_free(&error);
    }
    if (sd_bus_call_method(client, DESTINATION, OBJECT, NODE, "ReadBackup", &error, NULL, "tt",
                           UINT64_C(0), UINT64_C(0)) >= 0 ||
        !sd_bus_error_has_name(&error, "org.raftkv1.Error.PermissionDenied"))
        return 6;
    sd_bus_error_free(&error);
    if (sd_bus_call_method(client, DESTINATION, OBJECT, NODE, "GetStatus", NULL, &reply, NULL) < 0)
        return 4;
    if (sd_bus_get_property_string(client, DESTINATION, OBJECT, NODE, "State", NULL, &text) < 0)
        return 5;
    return 0;
}

static bool process_ended(void *data) {
    int *status = data;

    return waitpid(*status, status, WNOHANG) > 0;
}

static void another_user_may_only_read_the_status(void **state) {
    struct fixture *f = *state;
    Raftkv__V1__StatusResponse body = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    int status;

    if (geteuid() != 0)
        skip();
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &body;
    fake.response = &response;
    status = fork();
    assert_true(status >= 0);
    if (status == 0)
        _exit(call_as_nobody(f->address));
    run_until(f, NULL, process_ended, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(fake.handled, 1);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_STATUS);
}

/* The bus denies all that org.raftkv1.conf does not allow, as the system bus does. */
static void the_installed_policy_lets_root_own_the_names_and_anyone_call(void **state) {
    struct fixture *f =
        fixture_start_daemon("<deny own=\"*\"/><deny send_type=\"method_call\"/>"
                             "<allow send_destination=\"org.freedesktop.DBus\"/></policy>"
                             "<include>" BUS_POLICY "</include><policy context=\"default\">");
    Raftkv__V1__StatusResponse body = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    int status;

    *state = f;
    if (geteuid() != 0)
        skip();
    fixture_open(f);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &body;
    fake.response = &response;
    assert_int_equal(sd_bus_request_name(f->client, "org.raftkv2.nodeA", 0), -EACCES);
    status = fork();
    assert_true(status >= 0);
    if (status == 0)
        _exit(call_as_nobody(f->address));
    run_until(f, NULL, process_ended, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the table of senders ---- */

static void the_sender_that_was_idle_for_longest_is_forgotten(void **state) {
    struct bus bus = {0};
    char name[16];

    (void)state;
    senders_init(&bus.senders);
    for (int i = 0; i < BUS_SENDERS_MAX; i++) {
        snprintf(name, sizeof name, ":1.%d", i);
        sender_get(&bus, name)->user_known = true;
    }
    assert_true(sender_get(&bus, ":1.0")->user_known);
    assert_false(sender_get(&bus, ":1.new")->user_known);
    assert_int_equal(bus.senders.count, BUS_SENDERS_MAX);
    assert_true(sender_get(&bus, ":1.0")->user_known);
    assert_false(sender_get(&bus, ":1.1")->user_known);
    senders_deinit(&bus.senders);
}

static void senders_with_calls_are_not_forgotten(void **state) {
    struct bus bus = {0};
    char name[16];

    (void)state;
    senders_init(&bus.senders);
    for (int i = 0; i < BUS_SENDERS_MAX; i++) {
        snprintf(name, sizeof name, ":1.%d", i);
        sender_get(&bus, name)->calls_count = 1;
    }
    assert_null(sender_get(&bus, ":1.new"));
    sender_gone(&bus, ":1.5");
    assert_non_null(sender_get(&bus, ":1.new"));
    sender_gone(&bus, ":1.nobody");
    assert_int_equal(bus.senders.count, BUS_SENDERS_MAX);
    senders_deinit(&bus.senders);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(wrong_calls_are_refused_and_the_next_is_served),
        TEST(a_string_that_cannot_be_read_is_an_invalid_argument),
        TEST(calls_of_one_sender_keep_their_order),
        TEST(a_caller_that_leaves_has_its_calls_cancelled),
        TEST(one_sender_has_a_limited_number_of_calls_under_way),
        TEST(all_connections_of_a_user_have_a_limited_number_of_calls_under_way),
        TEST(those_who_only_look_do_not_keep_others_out),
        TEST(those_who_wait_do_not_keep_out_those_who_look),
        TEST(a_user_who_waits_does_not_keep_out_others_who_wait),
        TEST(one_sender_has_limited_bytes_under_way),
        TEST(a_single_large_call_reaches_the_service),
        TEST(a_call_without_reply_takes_effect_and_is_not_answered),
        TEST(another_user_may_only_read_the_status),
        cmocka_unit_test_teardown(the_installed_policy_lets_root_own_the_names_and_anyone_call,
                                  fixture_teardown),
        cmocka_unit_test(the_sender_that_was_idle_for_longest_is_forgotten),
        cmocka_unit_test(senders_with_calls_are_not_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
