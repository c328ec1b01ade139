/* Members that are elsewhere: what they announce, and where they are dialled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "test_links_world.h"

struct announcing {
    bool given;
    struct failure failure;
    struct announce_reply reply;
};

static void on_reply(void *data, const struct announce_reply *reply,
                     const struct failure *failure) {
    struct announcing *announcing = data;

    assert_false(announcing->given);
    assert_true(!reply != !failure);
    announcing->given = true;
    if (reply)
        announcing->reply = *reply;
    else
        announcing->failure = *failure;
}

static bool is_given(void *data) {
    return ((struct announcing *)data)->given;
}

static void announce(struct node *node, const char *address, struct announcing *announcing) {
    *announcing = (struct announcing){0};
    links_announce(node->links, address, 5000, on_reply, announcing);
    run_until(&node->world->loop, is_given, announcing);
}

static void an_announcement_is_answered(void **state) {
    struct world *world = *state;
    struct announcing announcing;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    announce(&world->nodes[0], world->nodes[1].identity.peer_address, &announcing);
    assert_int_equal(world->nodes[1].announcements, 1);
    assert_int_equal(announcing.reply.said.code, ERROR_NOT_LEADER);
    assert_string_equal(announcing.reply.said.message, "node1, ask?elsewhere.");
    assert_string_equal(announcing.reply.leader_address, "127.0.0.1:4711");
    assert_false(links_linked(world->nodes[1].links, 1));
}

static void an_announcement_to_nobody_fails(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct announcing announcing;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    plain_peer_close(&plain);
    announce(&world->nodes[0], address, &announcing);
    assert_int_equal(announcing.failure.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(announcing.failure.message, address));
}

static void a_welcome_without_an_answer_fails_it(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct announcing announcing = {0};
    struct wire wire;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    links_announce(world->nodes[0].links, address, 5000, on_reply, &announcing);
    plain_peer_accept(&plain, &wire);
    wire_send_welcome(&wire, 9);
    run_until(&world->loop, is_given, &announcing);
    assert_int_equal(announcing.failure.code, ERROR_UNSUPPORTED);
    wire_close(&wire);
    plain_peer_close(&plain);
}

/* An address where nobody listens. */
static struct peer vanished(struct world *world, uint64_t member_id) {
    struct peer peer = {.member_id = member_id};
    struct plain_peer plain;

    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    plain_peer_close(&plain);
    return peer;
}

static void a_member_is_dialled_where_its_own_link_says(void **state) {
    struct world *world = *state;
    struct peer old;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    old = vanished(world, 2);
    links_set_peers(world->nodes[0].links, &old, 1);
    node_dial(&world->nodes[1], &world->nodes[0]);
    node_await_link(&world->nodes[0], 2);
    links_set_peers(world->nodes[0].links, &old, 1); /* no news */
    assert_true(links_linked(world->nodes[0].links, 2));
    node_dial(&world->nodes[0], &world->nodes[1]); /* the configuration has followed */
    assert_true(links_linked(world->nodes[0].links, 2));
    node_send(&world->nodes[0], 2, true, 5, 100);
    node_await_messages(&world->nodes[1], 1);
}

static void a_member_that_says_what_cant_be_reached_is_dialled_where_it_was(void **state) {
    struct world *world = *state;
    struct peer wrong;
    unsigned port;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    port = links_port(world->nodes[1].links);
    node_dial(&world->nodes[0], &world->nodes[1]);
    node_await_link(&world->nodes[0], 2);
    node_stop(&world->nodes[1]);
    node_await_no_link(&world->nodes[0], 2);
    node_start(world, 1, port);
    wrong = vanished(world, 2);
    strcpy(world->nodes[1].identity.peer_address, wrong.address);
    node_dial(&world->nodes[1], &world->nodes[0]);
    node_await_link(&world->nodes[1], 1);
    node_await_link(&world->nodes[0], 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_world, tear_down_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_announcement_is_answered),
        TEST(an_announcement_to_nobody_fails),
        TEST(a_welcome_without_an_answer_fails_it),
        TEST(a_member_is_dialled_where_its_own_link_says),
        TEST(a_member_that_says_what_cant_be_reached_is_dialled_where_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
