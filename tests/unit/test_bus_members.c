/* The objects of the members, and what is announced of them. */
#include "test_bus_signals.h"

#include <string.h>

#define MEMBER "org.raftkv1.Member"
#define NODE_B OBJECT "/member/nodeB"
#define NODE_C OBJECT "/member/nodeC"

static void each_member_is_an_object(void **state) {
    struct fixture *f = *state;

    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    fake.members[1].leader = true;
    fake.members[1].reachable = false;
    fake.members[1].match_index = 77;
    fake.members[1].contact_ms = 12;
    fake.members[1].snapshot_bytes = 1000;
    fake.members[1].snapshot_total = 4000;
    assert_text_property(f, NODE_B, MEMBER, "Name", "nodeB");
    assert_number_property(f, NODE_B, MEMBER, "ID", 2);
    assert_text_property(f, NODE_B, MEMBER, "Role", "non-voter");
    assert_text_property(f, NODE_B, MEMBER, "PeerAddress", "nodeB.example:4712");
    assert_text_property(f, NODE_B, MEMBER, "ClientAddress", "nodeB.example:4711");
    assert_flag_property(f, NODE_B, MEMBER, "Leader", true);
    assert_flag_property(f, NODE_B, MEMBER, "Reachable", false);
    assert_number_property(f, NODE_B, MEMBER, "MatchIndex", 77);
    assert_number_property(f, NODE_B, MEMBER, "LastContactMilliseconds", 12);
    assert_pair_property(f, NODE_B, MEMBER, "SnapshotProgress", 1000, 4000);
}

static void who_is_no_member_has_no_object(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply = call_at(f, NODE_C, PROPERTIES, "Get", MEMBER, "Name");

    assert_error(reply, SD_BUS_ERROR_UNKNOWN_OBJECT, "");
}

static void the_manager_lists_members_and_operations(void **state) {
    struct fixture *f = *state;
    _cleanup_message_ sd_bus_message *reply =
        call_at(f, OBJECT, MANAGER, "GetManagedObjects", NULL, NULL);
    size_t members = 0, operations = 0;

    assert_success(reply);
    assert_true(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}") > 0);
    while (sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}") > 0) {
        const char *path;

        assert_true(sd_bus_message_read(reply, "o", &path) > 0);
        operations += strcmp(path, OBJECT "/operation/7") == 0;
        members += strcmp(path, OBJECT "/member/nodeA") == 0 || strcmp(path, NODE_B) == 0;
        assert_true(sd_bus_message_skip(reply, "a{sa{sv}}") > 0);
        assert_true(sd_bus_message_exit_container(reply) > 0);
    }
    assert_int_equal(members, 2);
    assert_int_equal(operations, 1);
}

/* ---- announcements ---- */

static void members_that_come_and_go_are_announced(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f, MEMBER);
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

    listen_to_signals(f, MEMBER);
    fake.members[1].id = 22;
    bus_status_changed(f->bus);
    wait_for_signals(f, 2);
    assert_heard(0, "InterfacesRemoved", NODE_B, "");
    assert_heard(1, "InterfacesAdded", NODE_B, "");
}

static void changes_are_announced_also_when_nobody_tells_of_them(void **state) {
    struct fixture *f = *state;

    listen_to_signals(f, MEMBER);
    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    bus_status_changed(f->bus);
    wait_for_signals(f, 1);
    assert_heard(0, "PropertiesChanged", NODE_B, "Role");
    fake.members[1].reachable = false;
    wait_for_signals(f, 2);
    assert_heard(1, "PropertiesChanged", NODE_B, "Reachable");
}

static void change_leader(void) {
    fake.members[1].leader = !fake.members[1].leader;
}

static void demote(void) {
    fake.members[1].role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
}

static void the_changes_of_a_member_are_announced_ten_times_a_second_at_most(void **state) {
    listen_to_signals(*state, MEMBER);
    assert_announced_ten_times_a_second_at_most(*state, change_leader, demote, "Role");
}

static void raise_term(void) {
    fake.status.term++;
}

static void lead(void) {
    fake.status.state = RAFTKV__V1__STATE__STATE_LEADER;
}

static void the_changes_of_the_node_are_announced_ten_times_a_second_at_most(void **state) {
    listen_to_signals(*state, NODE);
    assert_announced_ten_times_a_second_at_most(*state, raise_term, lead, "State");
}

#define with_bus(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_bus(each_member_is_an_object),
        with_bus(who_is_no_member_has_no_object),
        with_bus(the_manager_lists_members_and_operations),
        with_bus(members_that_come_and_go_are_announced),
        with_bus(a_member_that_comes_back_with_another_id_is_another_object),
        with_bus(changes_are_announced_also_when_nobody_tells_of_them),
        with_bus(the_changes_of_a_member_are_announced_ten_times_a_second_at_most),
        with_bus(the_changes_of_the_node_are_announced_ten_times_a_second_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
