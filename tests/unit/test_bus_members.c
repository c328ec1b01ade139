/* The objects of the members, and what is announced of them. */
#include "test_bus_fixture.h"

#include <string.h>
#include <time.h>

#define MEMBER "org.raftkv1.Member"
#define MANAGER "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define NODE_B OBJECT "/member/nodeB"
#define NODE_C OBJECT "/member/nodeC"

/* ---- signals that the client has received ---- */

enum { SIGNALS_MAX = 256 };

static struct {
    size_t count;
    struct {
        char member[32];
        char path[64]; /* of the object that it is about */
        char property[32];
    } signals[SIGNALS_MAX];
} heard;

static uint64_t now_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int on_signal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    const char *path = sd_bus_message_get_path(message), *property = "", *interface;

    (void)userdata;
    (void)error;
    assert_true(heard.count < SIGNALS_MAX);
    if (sd_bus_message_is_signal(message, MANAGER, NULL) > 0) {
        assert_true(sd_bus_message_read(message, "o", &path) > 0);
    } else if (sd_bus_message_is_signal(message, PROPERTIES, "PropertiesChanged") > 0) {
        assert_true(sd_bus_message_read(message, "s", &interface) > 0);
        if (strcmp(interface, MEMBER) != 0)
            return 0;
        assert_true(sd_bus_message_enter_container(message, 'a', "{sv}") > 0);
        assert_true(sd_bus_message_enter_container(message, 'e', "sv") > 0);
        assert_true(sd_bus_message_read(message, "s", &property) > 0);
    } else {
        return 0;
    }
    snprintf(heard.signals[heard.count].member, sizeof heard.signals[0].member, "%s",
             sd_bus_message_get_member(message));
    snprintf(heard.signals[heard.count].path, sizeof heard.signals[0].path, "%s", path);
    snprintf(heard.signals[heard.count].property, sizeof heard.signals[0].property, "%s", property);
    heard.count++;
    return 0;
}

static void listen_to_signals(struct fixture *f) {
    memset(&heard, 0, sizeof heard);
    assert_true(sd_bus_add_match(f->client, NULL, "type='signal',path_namespace='/org/raftkv1'",
                                 on_signal, NULL) >= 0);
}

static bool heard_as_many(void *data) {
    return heard.count >= *(size_t *)data;
}

static void wait_for_signals(struct fixture *f, size_t count) {
    run_until(f, NULL, heard_as_many, &count);
}

static void assert_heard(size_t number, const char *member, const char *path,
                         const char *property) {
    assert_string_equal(heard.signals[number].member, member);
    assert_string_equal(heard.signals[number].path, path);
    assert_string_equal(heard.signals[number].property, property);
}

/* ---- reading ---- */

static sd_bus_message *call_at(struct fixture *f, const char *path, const char *interface,
                               const char *member, const char *property) {
    _cleanup_message_ sd_bus_message *message = NULL;

    assert_true(sd_bus_message_new_method_call(f->client, &message, DESTINATION, path, interface,
                                               member) >= 0);
    if (property)
        assert_true(sd_bus_message_append(message, "ss", MEMBER, property) >= 0);
    return call_message(f, f->client, message);
}

static void assert_text(struct fixture *f, const char *path, const char *property,
                        const char *value) {
    _cleanup_message_ sd_bus_message *reply = call_at(f, path, PROPERTIES, "Get", property);
    const char *text;

    assert_success(reply);
    assert_true(sd_bus_message_read(reply, "v", "s", &text) > 0);
    assert_string_equal(text, value);
}

static void assert_number(struct fixture *f, const char *path, const char *property,
                          uint64_t value) {
    _cleanup_message_ sd_bus_message *reply = call_at(f, path, PROPERTIES, "Get", property);
    uint64_t number;

    assert_success(reply);
    assert_true(sd_bus_message_read(reply, "v", "t", &number) > 0);
    assert_int_equal(number, value);
}

static void assert_flag(struct fixture *f, const char *path, const char *property, bool value) {
    _cleanup_message_ sd_bus_message *reply = call_at(f, path, PROPERTIES, "Get", property);
    int flag;

    assert_success(reply);
    assert_true(sd_bus_message_read(reply, "v", "b", &flag) > 0);
    assert_int_equal(flag, value);
}

static void each_member_is_an_object(void **state) {
    struct fixture *f = *state;

    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    fake.members[1].leader = true;
    fake.members[1].reachable = false;
    fake.members[1].match_index = 77;
    fake.members[1].contact_ms = 12;
    assert_text(f, NODE_B, "Name", "nodeB");
    assert_number(f, NODE_B, "ID", 2);
    assert_text(f, NODE_B, "Role", "non-voter");
    assert_text(f, NODE_B, "PeerAddress", "nodeB.example:4712");
    assert_text(f, NODE_B, "ClientAddress", "nodeB.example:4711");
    assert_flag(f, NODE_B, "Leader", true);
    assert_flag(f, NODE_B, "Reachable", false);
    assert_number(f, NODE_B, "MatchIndex", 77);
    assert_number(f, NODE_B, "LastContactMilliseconds", 12);
}

static void who_is_no_member_has_no_object(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply = call_at(f, NODE_C, PROPERTIES, "Get", "Name");

    assert_error(reply, SD_BUS_ERROR_UNKNOWN_OBJECT, "");
}

static void the_manager_lists_the_members(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply =
        call_at(f, OBJECT, MANAGER, "GetManagedObjects", NULL);
    size_t members = 0;

    assert_success(reply);
    assert_true(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}") > 0);
    while (sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}") > 0) {
        const char *path;

        assert_true(sd_bus_message_read(reply, "o", &path) > 0);
        members += strcmp(path, OBJECT "/member/nodeA") == 0 || strcmp(path, NODE_B) == 0;
        assert_true(sd_bus_message_skip(reply, "a{sa{sv}}") > 0);
        assert_true(sd_bus_message_exit_container(reply) > 0);
    }
    assert_int_equal(members, 2);
}

/* ---- announcements ---- */

static void members_that_come_and_go_are_announced(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f);
    fake_add_member(3, "nodeC");
    bus_status_changed(f->bus);
    wait_for_signals(f, 1);
    assert_heard(0, "InterfacesAdded", NODE_C, "");
    fake.members_count = 2;
    bus_status_changed(f->bus);
    wait_for_signals(f, 2);
    assert_heard(1, "InterfacesRemoved", NODE_C, "");
}

static void a_member_that_comes_back_with_another_id_is_another_object(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f);
    fake.members[1].id = 22;
    bus_status_changed(f->bus);
    wait_for_signals(f, 2);
    assert_heard(0, "InterfacesRemoved", NODE_B, "");
    assert_heard(1, "InterfacesAdded", NODE_B, "");
}

static void changes_are_announced_also_when_nobody_tells_of_them(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f);
    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    bus_status_changed(f->bus);
    wait_for_signals(f, 1);
    assert_heard(0, "PropertiesChanged", NODE_B, "Role");
    fake.members[1].reachable = false;
    wait_for_signals(f, 2);
    assert_heard(1, "PropertiesChanged", NODE_B, "Reachable");
}

static void the_changes_of_a_member_are_announced_ten_times_a_second_at_most(void **state) {
    struct fixture *f = *state;
    uint64_t begin = now_us(), end = begin + 1000000, sent = 0;
    size_t wanted;

    listen_to_signals(f);
    for (; now_us() < end; sent++) {
        fake.members[1].leader = sent % 2 == 0;
        bus_status_changed(f->bus);
        wanted = 0;
        wait_for_signals(f, wanted);
    }
    assert_true(sent > 100);
    /* The last word is said. */
    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    for (wanted = heard.count + 1;; wanted++) {
        wait_for_signals(f, wanted);
        if (strcmp(heard.signals[heard.count - 1].property, "Role") == 0)
            break;
    }
    assert_true(heard.count >= 3);
    assert_true(heard.count <= (now_us() - begin) / 100000 + 2);
}

#define with_bus(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_bus(each_member_is_an_object),
        with_bus(who_is_no_member_has_no_object),
        with_bus(the_manager_lists_the_members),
        with_bus(members_that_come_and_go_are_announced),
        with_bus(a_member_that_comes_back_with_another_id_is_another_object),
        with_bus(changes_are_announced_also_when_nobody_tells_of_them),
        with_bus(the_changes_of_a_member_are_announced_ten_times_a_second_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
