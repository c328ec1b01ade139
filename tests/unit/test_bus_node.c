/* The connection to the bus, the node's properties and its status. */
#include "test_bus_fixture.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/text.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"

/* ---- opening and closing ---- */

static void assert_open_fails(const char *address, const char *text) {
    const struct bus_options options = {.address = address, .name = "nodeA"};
    struct failure failure = {0};
    struct bus *bus = NULL;

    assert_int_equal(bus_open(&bus, &options, &failure), ERROR_UNAVAILABLE);
    assert_null(bus);
    if (!strstr(failure.message, text))
        fail_msg("'%s' does not say '%s'", failure.message, text);
}

static void a_name_that_is_taken_is_a_failure(void **state) {
    struct fixture *f = *state;

    assert_open_fails(f->address, "is taken: a node of this name runs there already");
}

static void a_bus_that_is_not_there_is_a_failure(void **state) {
    (void)state;
    assert_open_fails("unix:path=/nonexistent/bus", "No such file or directory");
    assert_open_fails("nonsense", "Can't connect to the bus 'nonsense'");
}

static void the_environment_says_where_the_session_bus_is(void **state) {
    (void)state;
    unsetenv("DBUS_SESSION_BUS_ADDRESS");
    unsetenv("XDG_RUNTIME_DIR");
    assert_open_fails("session", "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR");
    setenv("XDG_RUNTIME_DIR", "/nonexistent/a b", true);
    assert_open_fails("session", "unix:path=/nonexistent/a%20b/bus: No such file");
    setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/session", true);
    assert_open_fails("session", "unix:path=/nonexistent/session: No such file");
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/system", true);
    assert_open_fails("system", "unix:path=/nonexistent/system: No such file");
}

static void a_policy_that_forbids_the_name_is_a_failure(void **state) {
    struct fixture *f = fixture_start_daemon("<deny own_prefix=\"org.raftkv1\"/>");

    *state = f;
    assert_open_fails(f->address, "policy of the bus");
}

static void a_bus_that_goes_away_is_an_error(void **state) {
    struct fixture *f = *state;
    struct pollfd pollfd = {.fd = bus_fd(f->bus), .events = POLLIN};
    struct failure failure;

    kill_daemon(f);
    assert_int_equal(poll(&pollfd, 1, 120 * 1000), 1);
    assert_int_equal(bus_process(f->bus, &failure), ERROR_UNAVAILABLE);
    assert_non_null(strstr(failure.message, "Connection reset"));
    /* Nothing of this may do harm while the daemon gets around to closing it. */
    fake.status.term++;
    bus_status_changed(f->bus);
    assert_int_equal(bus_process(f->bus, &failure), ERROR_UNAVAILABLE);
    (void)bus_events(f->bus);
    (void)bus_deadline(f->bus);
}

static int ignore_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    (void)reply;
    (void)userdata;
    (void)error;
    return 0;
}

static bool one_is_held(void *data) {
    (void)data;
    return fake.held_count == 1;
}

static void closing_cancels_the_calls_under_way(void **state) {
    struct fixture *f = *state;

    fake.hold = true;
    assert_true(sd_bus_call_method_async(f->client, NULL, DESTINATION, OBJECT, KV, "Get",
                                         ignore_reply, NULL, "s", "k") >= 0);
    run_until(f, NULL, one_is_held, NULL);
    f->bus = bus_close(f->bus);
    assert_null(f->bus);
    assert_int_equal(fake.cancelled, 1);
}

/* ---- properties ---- */

static void assert_property(sd_bus_message *reply, const char *type, const char *text,
                            uint64_t number) {
    assert_true(sd_bus_message_enter_container(reply, 'v', type) > 0);
    if (type[0] == 's') {
        const char *value;

        assert_true(sd_bus_message_read(reply, "s", &value) > 0);
        assert_string_equal(value, text);
    } else {
        uint64_t value;

        assert_true(sd_bus_message_read(reply, "t", &value) > 0);
        assert_int_equal(value, number);
    }
    assert_true(sd_bus_message_exit_container(reply) >= 0);
}

static void properties_are_the_local_status(void **state) {
    static const struct {
        const char *name, *type, *text;
        uint64_t number;
    } expected[] = {
        {"Name", "s", "nodeA", 0},
        {"MemberID", "t", NULL, 0xfedcba9876543210},
        {"ClusterID", "t", NULL, 77},
        {"Role", "s", "voter", 0},
        {"State", "s", "follower", 0},
        {"Term", "t", NULL, 5},
        {"Leader", "s", "nodeB", 0},
        {"CommitIndex", "t", NULL, 102},
        {"AppliedIndex", "t", NULL, 101},
        {"LastIndex", "t", NULL, 103},
        {"PeerAddress", "s", "10.0.0.1:4712", 0},
        {"ClientAddress", "s", "10.0.0.1:4711", 0},
        {"Version", "s", "1.2.3", 0},
        {"Alarm", "s", "", 0},
    };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        _cleanup_message_ sd_bus_message *reply =
            call(*state, PROPERTIES, "Get", "ss", NODE, expected[i].name);

        assert_success(reply);
        assert_property(reply, expected[i].type, expected[i].text, expected[i].number);
    }
    assert_int_equal(fake.handled, 0);
}

static void roles_and_states_are_words(void **state) {
    static const char *const roles[] = {"none", "voter", "non-voter"};
    static const char *const states[] = {"unknown", "follower", "candidate", "leader"};

    for (int i = 0; i < 3; i++) {
        _cleanup_message_ sd_bus_message *reply = NULL;

        fake.status.role = (Raftkv__V1__Role)i;
        reply = call(*state, PROPERTIES, "Get", "ss", NODE, "Role");
        assert_property(reply, "s", roles[i], 0);
    }
    for (int i = 0; i < 4; i++) {
        _cleanup_message_ sd_bus_message *reply = NULL;

        fake.status.state = (Raftkv__V1__State)i;
        reply = call(*state, PROPERTIES, "Get", "ss", NODE, "State");
        assert_property(reply, "s", states[i], 0);
    }
}

static void properties_cannot_be_set(void **state) {
    _cleanup_message_ sd_bus_message *reply =
        call(*state, PROPERTIES, "Set", "ssv", NODE, "Term", "t", UINT64_C(1));

    assert_error(reply, SD_BUS_ERROR_PROPERTY_READ_ONLY, "");
}

/* The signals that came: their bodies as text, "Name=value " in their order, each ended by ';'. */
struct signals {
    char text[1024];
    size_t seen; /* bytes of it */
};

__attribute__((format(printf, 2, 3))) static void say(struct signals *signals, const char *format,
                                                      ...) {
    size_t used = strlen(signals->text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(signals->text + used, sizeof signals->text - used, format, arguments);
    va_end(arguments);
}

static int on_properties_changed(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
    struct signals *signals = userdata;
    const char *interface, *name;

    (void)error;
    assert_true(sd_bus_message_read(signal, "s", &interface) > 0);
    assert_string_equal(interface, NODE);
    assert_true(sd_bus_message_enter_container(signal, 'a', "{sv}") > 0);
    while (sd_bus_message_enter_container(signal, 'e', "sv") > 0) {
        const char *contents, *text;
        uint64_t number;

        assert_true(sd_bus_message_read(signal, "s", &name) > 0);
        assert_true(sd_bus_message_peek_type(signal, NULL, &contents) > 0);
        if (contents[0] == 's') {
            assert_true(sd_bus_message_read(signal, "v", "s", &text) > 0);
            say(signals, "%s=%s ", name, text);
        } else {
            assert_true(sd_bus_message_read(signal, "v", "t", &number) > 0);
            say(signals, "%s=%" PRIu64 " ", name, number);
        }
        assert_true(sd_bus_message_exit_container(signal) >= 0);
    }
    assert_true(sd_bus_message_exit_container(signal) >= 0);
    assert_true(sd_bus_message_enter_container(signal, 'a', "s") > 0);
    while (sd_bus_message_read(signal, "s", &name) > 0)
        say(signals, "invalidated %s ", name);
    say(signals, ";");
    return 0;
}

static bool has_grown(void *data) {
    struct signals *signals = data;
    size_t seen = signals->seen;

    signals->seen = strlen(signals->text);
    return signals->seen > seen;
}

/* Announces what has changed, and waits for the signal. */
static void announce(struct fixture *f, struct signals *signals) {
    bus_status_changed(f->bus);
    run_until(f, NULL, has_grown, signals);
}

static void watch_signals(struct fixture *f, struct signals *signals) {
    _cleanup_message_ sd_bus_message *ready = NULL;

    assert_true(sd_bus_match_signal_async(f->client, NULL, DESTINATION, OBJECT, PROPERTIES,
                                          "PropertiesChanged", on_properties_changed, NULL,
                                          signals) >= 0);
    /* Answered after the match is there. */
    ready = call(f, PROPERTIES, "Get", "ss", NODE, "Term");
    assert_success(ready);
}

static void moving_indexes_are_not_signalled(void **state) {
    struct fixture *f = *state;
    struct signals signals = {.seen = 0};

    watch_signals(f, &signals);
    fake.status.commit_index += 1000;
    fake.status.applied_index += 1000;
    fake.status.last_index += 1000;
    bus_status_changed(f->bus);
    bus_status_changed(f->bus);
    fake.status.term = 999;
    announce(f, &signals);
    assert_string_equal(signals.text, "Term=999 ;");
}

static void changes_are_signalled_together_with_their_values(void **state) {
    static char name[] = "nodeA", none[] = "", alarm[] = "no-space";
    struct fixture *f = *state;
    struct signals signals = {.seen = 0};

    watch_signals(f, &signals);
    fake.status.term = 6;
    fake.status.state = RAFTKV__V1__STATE__STATE_CANDIDATE;
    fake.status.leader = none;
    announce(f, &signals);
    fake.status.state = RAFTKV__V1__STATE__STATE_LEADER;
    fake.status.leader = name;
    announce(f, &signals);
    fake.status.role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    fake.status.cluster_id = 78;
    announce(f, &signals);
    fake.status.alarm = alarm;
    announce(f, &signals);
    assert_string_equal(signals.text, "State=candidate Term=6 Leader= ;"
                                      "State=leader Leader=nodeA ;"
                                      "ClusterID=78 Role=non-voter ;"
                                      "Alarm=no-space ;");
}

/* ---- GetStatus ---- */

#define STATUS_TYPES "stsststtttbssssttstttta(stttut)a(stttut)"

static Raftkv__V1__SnapshotProgress progress_of_a_stream(char *member) {
    Raftkv__V1__SnapshotProgress progress;

    raftkv__v1__snapshot_progress__init(&progress);
    progress.member = member;
    progress.bytes = 1000;
    progress.total_bytes = 4000;
    progress.milliseconds = 250;
    progress.percent = 25;
    progress.bytes_per_second = 4001;
    return progress;
}

static void get_status_answers_a_row_for_each_member(void **state) {
    char error[] = "It did not answer within 2 s.", name[] = "nodeC", other[] = "nodeB",
         alarm[] = "no-space";
    Raftkv__V1__SnapshotProgress progress = progress_of_a_stream(other);
    Raftkv__V1__SnapshotProgress *sending[] = {&progress, &progress};
    Raftkv__V1__MemberStatus silent = RAFTKV__V1__MEMBER_STATUS__INIT;
    Raftkv__V1__MemberStatus *members[] = {&fake.status, &silent};
    Raftkv__V1__StatusResponse body = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *text[9];
    uint64_t number[8];
    uint32_t percent[2];
    int answers;

    silent.name = name;
    silent.error = error;
    fake.status.lag = 1;
    fake.status.alarm = alarm;
    fake.status.snapshot_count = 3;
    fake.status.snapshot_index = 90;
    fake.status.snapshot_milliseconds = 12;
    fake.status.snapshot_bytes = 4567;
    fake.status.receiving = &progress;
    fake.status.sending = sending;
    fake.status.n_sending = 2;
    body.self = &fake.status;
    body.n_members = 2;
    body.members = members;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &body;
    fake.response = &response;
    reply = call(*state, NODE, "GetStatus", "");
    assert_success(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_STATUS);
    assert_true(fake.last->status->cluster);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(" STATUS_TYPES ")") > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', STATUS_TYPES) > 0);
    assert_true(sd_bus_message_read(reply, "stsststtttbsssstts", &text[0], &number[0], &text[1],
                                    &text[2], &number[1], &text[3], &number[2], &number[3],
                                    &number[4], &number[5], &answers, &text[4], &text[5], &text[6],
                                    &text[7], &number[6], &number[7], &text[8]) > 0);
    assert_string_equal(text[0], "nodeA");
    assert_int_equal(number[0], 0xfedcba9876543210);
    assert_string_equal(text[1], "voter");
    assert_string_equal(text[2], "follower");
    assert_int_equal(number[1], 5);
    assert_string_equal(text[3], "nodeB");
    assert_int_equal(number[2], 102);
    assert_int_equal(number[3], 101);
    assert_int_equal(number[4], 103);
    assert_int_equal(number[5], 1);
    assert_true(answers);
    assert_string_equal(text[4], "");
    assert_string_equal(text[5], "1.2.3");
    assert_string_equal(text[6], "10.0.0.1:4712");
    assert_string_equal(text[7], "10.0.0.1:4711");
    assert_int_equal(number[6], 1);
    assert_int_equal(number[7], 77);
    assert_string_equal(text[8], "no-space");
    assert_true(sd_bus_message_read(reply, "tttt", &number[0], &number[1], &number[2], &number[3]) >
                0);
    assert_int_equal(number[0], 3);
    assert_int_equal(number[1], 90);
    assert_int_equal(number[2], 12);
    assert_int_equal(number[3], 4567);
    assert_true(sd_bus_message_read(reply, "a(stttut)", 1, &text[0], &number[0], &number[1],
                                    &number[2], &percent[0], &number[3]) > 0);
    assert_string_equal(text[0], "nodeB");
    assert_int_equal(number[0], 1000);
    assert_int_equal(number[1], 4000);
    assert_int_equal(number[2], 250);
    assert_int_equal(percent[0], 25);
    assert_int_equal(number[3], 4001);
    assert_true(sd_bus_message_read(reply, "a(stttut)", 2, &text[0], &number[0], &number[1],
                                    &number[2], &percent[0], &number[3], &text[1], &number[4],
                                    &number[5], &number[6], &percent[1], &number[7]) > 0);
    assert_string_equal(text[0], "nodeB");
    assert_string_equal(text[1], "nodeB");
    assert_true(sd_bus_message_exit_container(reply) > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', STATUS_TYPES) > 0);
    assert_true(sd_bus_message_read(reply, "s", &text[0]) > 0);
    assert_string_equal(text[0], "nodeC");
    assert_true(sd_bus_message_skip(reply, "tsststttt") >= 0);
    assert_true(sd_bus_message_read(reply, "bs", &answers, &text[0]) > 0);
    assert_false(answers);
    assert_string_equal(text[0], error);
}

static void a_node_without_cluster_gives_itself_only(void **state) {
    Raftkv__V1__StatusResponse body = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *name;

    body.self = &fake.status;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    response.status = &body;
    fake.response = &response;
    reply = call(*state, NODE, "GetStatus", "");
    assert_success(reply);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(" STATUS_TYPES ")") > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', STATUS_TYPES) > 0);
    assert_true(sd_bus_message_read(reply, "s", &name) > 0);
    assert_string_equal(name, "nodeA");
    assert_true(sd_bus_message_skip(reply, "tsststtttbssssttstttta(stttut)a(stttut)") >= 0);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_at_end(reply, false) > 0);
}

/* ---- Snapshot ---- */

static void snapshot_answers_how_far_and_how_long(void **state) {
    Raftkv__V1__SnapshotResponse body = RAFTKV__V1__SNAPSHOT_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;
    uint64_t index, milliseconds;

    body.index = 123;
    body.milliseconds = 45;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
    response.snapshot = &body;
    fake.response = &response;
    reply = call(*state, NODE, "Snapshot", "");
    assert_success(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_SNAPSHOT);
    assert_true(sd_bus_message_read(reply, "tt", &index, &milliseconds) > 0);
    assert_int_equal(index, 123);
    assert_int_equal(milliseconds, 45);
}

/* ---- text ---- */

static void only_utf8_without_nul_and_noncharacters_is_text(void **state) {
    (void)state;
    assert_true(text_valid("", 0));
    assert_true(text_valid("plain\n\x7f", 7));
    assert_true(text_valid("\xc2\x80\xdf\xbf", 4));
    assert_true(text_valid("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd", 12));
    assert_true(text_valid("\xf0\x90\x80\x80\xf4\x8f\xbf\xbd", 8));
    assert_false(text_valid("\0", 1));
    assert_false(text_valid("\xc1\xbf", 2));
    assert_false(text_valid("\xe0\x9f\xbf", 3));
    assert_false(text_valid("\xf0\x8f\xbf\xbf", 4));
    assert_false(text_valid("\xf4\x90\x80\x80", 4));
    assert_false(text_valid("\xf5\x80\x80\x80", 4));
    assert_false(text_valid("\xed\xbf\xbf", 3));
    assert_false(text_valid("\xef\xb7\x90", 3));
    assert_false(text_valid("\xf4\x8f\xbf\xbf", 4));
    assert_false(text_valid("a\xe2\x82", 3));
    assert_false(text_valid("\xe2\x28\xa1", 3));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_name_that_is_taken_is_a_failure),
        cmocka_unit_test(a_bus_that_is_not_there_is_a_failure),
        cmocka_unit_test(the_environment_says_where_the_session_bus_is),
        cmocka_unit_test_teardown(a_policy_that_forbids_the_name_is_a_failure, fixture_teardown),
        TEST(a_bus_that_goes_away_is_an_error),
        TEST(closing_cancels_the_calls_under_way),
        TEST(properties_are_the_local_status),
        TEST(roles_and_states_are_words),
        TEST(properties_cannot_be_set),
        TEST(moving_indexes_are_not_signalled),
        TEST(changes_are_signalled_together_with_their_values),
        TEST(get_status_answers_a_row_for_each_member),
        TEST(a_node_without_cluster_gives_itself_only),
        TEST(snapshot_answers_how_far_and_how_long),
        cmocka_unit_test(only_utf8_without_nul_and_noncharacters_is_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
