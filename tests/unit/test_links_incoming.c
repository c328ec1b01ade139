/* What comes to the peer port: who is let in, and what is done about bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "test_links_world.h"

static struct node *one_node(void **state) {
    struct world *world = *state;

    node_start(world, 0, 0);
    return &world->nodes[0];
}

/* Whether the node still takes links and messages. */
static void expect_service(struct node *node) {
    size_t count = node->received_count;
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    hello.identity.member_id = 4711;
    wire_greet(&wire, node, &hello);
    wire_send_fragment(&wire, false, true, 10);
    node_await_messages(node, count + 1);
    wire_close(&wire);
}

/* ---- hello ---- */

static void expect_refused_hello(struct node *node, struct hello *hello, enum error_code code,
                                 const char *part) {
    struct wire wire;

    wire_connect(&wire, node);
    assert_true(wire_send_message(&wire, &hello->frame.base));
    wire_expect_refusal(&wire, code, part);
    wire_close(&wire);
}

static void a_hello_without_a_valid_identity_is_refused(void **state) {
    static char name[] = "not a name", address[] = "nowhere";
    struct node *node = one_node(state);
    struct hello hello;

    hello_init(&hello, 1);
    hello.hello.identity = NULL;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "no identity");
    hello_init(&hello, 1);
    hello.identity.member_id = 0;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "member id 0");
    hello_init(&hello, 1);
    hello.identity.name = name;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "a name");
    hello_init(&hello, 1);
    hello.identity.peer_address = address;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "an address");
    hello_init(&hello, 1);
    hello.identity.client_address = address;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "an address");
    expect_service(node);
}

static void a_hello_with_the_receivers_own_member_id_is_refused(void **state) {
    struct node *node = one_node(state);
    struct hello hello;

    hello_init(&hello, 1);
    hello.identity.member_id = 1;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "copy");
}

static void protocol_versions_must_overlap(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    hello.identity.protocol_min = PROTOCOL_MAX + 1;
    hello.identity.protocol_max = PROTOCOL_MAX + 3;
    expect_refused_hello(node, &hello, ERROR_UNSUPPORTED, "common version");
    hello_init(&hello, 1);
    hello.identity.protocol_min = 2;
    hello.identity.protocol_max = 1;
    expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "no range");
    hello_init(&hello, 1);
    hello.identity.protocol_max = PROTOCOL_MAX + 3;
    wire_greet(&wire, node, &hello);
    wire_close(&wire);
}

static void what_the_handler_does_not_admit_is_refused_with_its_reason(void **state) {
    struct node *node = one_node(state);
    struct hello hello;

    hello_init(&hello, 2); /* for another member */
    expect_refused_hello(node, &hello, ERROR_NOT_FOUND, "Somebody else");
    node->admits = ERROR_PERMISSION_DENIED;
    hello_init(&hello, 1);
    expect_refused_hello(node, &hello, ERROR_PERMISSION_DENIED, "The test refuses");
}

static void an_unknown_purpose_is_refused(void **state) {
    struct node *node = one_node(state);
    struct hello hello;

    hello_init(&hello, 1);
    hello.hello.purpose = (Raftkv__V1__LinkPurpose)7;
    expect_refused_hello(node, &hello, ERROR_UNSUPPORTED, "purpose");
}

static void the_same_refusal_is_said_once_to_the_journal(void **state) {
    struct node *node = one_node(state);
    struct hello hello;

    hello_init(&hello, 1);
    hello.identity.member_id = 0;
    for (int i = 0; i < 5; i++)
        expect_refused_hello(node, &hello, ERROR_INVALID_ARGUMENT, "member id 0");
    assert_int_equal(node->world->warnings, 1);
}

static void half_a_hello_is_given_up_in_time(void **state) {
    struct node *node = one_node(state);
    uint64_t begin = uv_hrtime();
    struct wire silent, half;

    wire_connect(&silent, node);
    wire_connect(&half, node);
    wire_send_length(&half, 100);
    wire_send(&half, "x", 1);
    wire_await_end(&half);
    wire_await_end(&silent);
    assert_true(uv_hrtime() - begin > (HELLO_TIMEOUT_MS - 500) * 1000000ull);
    wire_close(&half);
    wire_close(&silent);
    expect_service(node);
}

static void one_connection_too_many_is_refused(void **state) {
    struct node *node = one_node(state);
    static struct wire wires[PEER_CONNECTIONS_MAX];
    struct wire further;

    for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++) {
        wire_connect(&wires[i], node);
        run_turns(&node->world->loop, 2);
    }
    wire_connect(&further, node);
    wire_expect_refusal(&further, ERROR_BUSY, "256 connections");
    wire_close(&further);
    for (size_t i = 0; i < PEER_CONNECTIONS_MAX; i++)
        wire_close(&wires[i]);
    run_turns(&node->world->loop, 10);
    expect_service(node);
}

static void a_new_link_of_a_member_replaces_the_old_one(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire old, new;

    hello_init(&hello, 1);
    wire_greet(&old, node, &hello);
    wire_greet(&new, node, &hello);
    wire_await_end(&old);
    wire_send_fragment(&new, false, true, 10);
    node_await_messages(node, 1);
    assert_true(node->received[0].from == 9);
    wire_close(&old);
    wire_close(&new);
}

/* ---- bad input ---- */

static void expect_closed(struct node *node, struct wire *wire) {
    wire_await_end(wire);
    assert_int_equal(wire->received.size, 0);
    wire_close(wire);
    expect_service(node);
}

static void a_first_frame_that_is_no_hello_closes_the_connection(void **state) {
    struct node *node = one_node(state);
    struct wire wire;

    wire_connect(&wire, node);
    wire_send_fragment(&wire, false, true, 10);
    expect_closed(node, &wire);
    wire_connect(&wire, node);
    wire_send_welcome(&wire, 9);
    expect_closed(node, &wire);
    wire_connect(&wire, node);
    wire_send_frame(&wire, NULL, 0);
    expect_closed(node, &wire);
    wire_connect(&wire, node);
    wire_send_frame(&wire, "\x0a\x09x", 3);
    expect_closed(node, &wire);
}

static void a_length_of_4_gib_closes_the_connection(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    wire_connect(&wire, node);
    wire_send_length(&wire, 0xffffffff);
    expect_closed(node, &wire);
    hello_init(&hello, 1);
    wire_greet(&wire, node, &hello);
    wire_send_length(&wire, LINK_FRAME_SIZE_MAX + 1);
    expect_closed(node, &wire);
}

/* A hello, or a fragment behind one, with one bit that is another one. */
static void send_damaged(struct node *node, bool greeted, size_t bit, struct wire *wire) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Fragment fragment = RAFTKV__V1__FRAGMENT__INIT;
    _cleanup_free_ uint8_t *data = NULL;
    struct hello hello;
    size_t size;

    hello_init(&hello, 1);
    fragment.last = true;
    fragment.data = (ProtobufCBinaryData){.data = (uint8_t *)hello.identity.name, .len = 5};
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT;
    frame.fragment = &fragment;
    if (greeted)
        wire_greet(wire, node, &hello);
    else
        wire_connect(wire, node);
    data = pack(greeted ? &frame.base : &hello.frame.base, FRAME_CHECKED_HEADER_SIZE, &size);
    frame_put_header(FRAME_CHECKED, data, size);
    data[bit / 8 % (FRAME_CHECKED_HEADER_SIZE + size)] ^= (uint8_t)(1 << bit % 8);
    wire_send(wire, data, FRAME_CHECKED_HEADER_SIZE + size);
}

static void a_frame_that_was_damaged_on_its_way_closes_the_link(void **state) {
    struct node *node = one_node(state);
    struct wire wire;

    for (size_t bit = 0; bit < 24 * 8; bit += 5) {
        send_damaged(node, bit % 2, bit, &wire);
        wire_await_end(&wire);
        wire_close(&wire);
    }
    assert_int_equal(node->received_count, 0);
    assert_true(node->world->warnings >= 2);
    expect_service(node);
}

static void random_bytes_do_no_harm(void **state) {
    struct node *node = one_node(state);
    uint64_t chance = 88172645463325252u;

    for (int i = 0; i < 200; i++) {
        struct hello hello;
        uint8_t data[300];
        struct wire wire;

        for (size_t k = 0; k < sizeof data; k++) {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            data[k] = (uint8_t)chance;
        }
        hello_init(&hello, 1);
        if (i % 4 < 2)
            wire_connect(&wire, node);
        else
            wire_greet(&wire, node, &hello);
        if (i % 2)
            wire_send(&wire, data, sizeof data);
        else
            wire_send_frame(&wire, data, 1 + data[0] % 20);
        run_turns(&node->world->loop, 3);
        wire_close(&wire);
    }
    expect_service(node);
    assert_true(node->world->warnings <= 20);
}

static void a_second_hello_closes_the_link(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    wire_greet(&wire, node, &hello);
    wire_send_message(&wire, &hello.frame.base);
    expect_closed(node, &wire);
}

static void a_fragment_that_is_too_long_closes_the_link(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    wire_greet(&wire, node, &hello);
    wire_send_fragment(&wire, false, true, FRAGMENT_SIZE_MAX + 1);
    expect_closed(node, &wire);
}

static void a_message_without_end_closes_the_link(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    wire_greet(&wire, node, &hello);
    for (size_t i = 0; i < PEER_MESSAGE_SIZE_MAX / FRAGMENT_SIZE_MAX; i++) {
        wire_send_fragment(&wire, false, false, FRAGMENT_SIZE_MAX);
        run_turns(&node->world->loop, 2);
    }
    wire_poll(&wire);
    assert_false(wire.ended);
    wire_send_fragment(&wire, true, true, 10); /* the other stream is free */
    node_await_messages(node, 1);
    wire_send_fragment(&wire, false, false, 1);
    wire_await_end(&wire);
    wire_close(&wire);
    assert_int_equal(node->received_count, 1);
    expect_service(node);
}

static void a_message_that_the_handler_refuses_closes_the_link(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    node->receives_badly = true;
    for (int i = 0; i < 3; i++) {
        wire_greet(&wire, node, &hello);
        wire_send_fragment(&wire, false, true, 10);
        wire_await_end(&wire);
        wire_close(&wire);
    }
    assert_true(node->world->warnings >= 1 && node->world->warnings <= 2);
    node->receives_badly = false;
    expect_service(node);
}

static void a_message_in_many_small_fragments_arrives_whole(void **state) {
    struct node *node = one_node(state);
    struct hello hello;
    struct wire wire;

    hello_init(&hello, 1);
    wire_greet(&wire, node, &hello);
    for (int i = 0; i < 100; i++) {
        wire_send_fragment(&wire, false, i == 99, 3);
        wire_send_fragment(&wire, true, false, 0);
    }
    wire_send_fragment(&wire, true, true, 0);
    node_await_messages(node, 2);
    assert_int_equal(node->received[0].size, 300);
    assert_int_equal(node->received[1].size, 0);
    wire_close(&wire);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_world, tear_down_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_hello_without_a_valid_identity_is_refused),
        TEST(a_hello_with_the_receivers_own_member_id_is_refused),
        TEST(protocol_versions_must_overlap),
        TEST(what_the_handler_does_not_admit_is_refused_with_its_reason),
        TEST(an_unknown_purpose_is_refused),
        TEST(the_same_refusal_is_said_once_to_the_journal),
        TEST(half_a_hello_is_given_up_in_time),
        TEST(one_connection_too_many_is_refused),
        TEST(a_new_link_of_a_member_replaces_the_old_one),
        TEST(a_first_frame_that_is_no_hello_closes_the_connection),
        TEST(a_length_of_4_gib_closes_the_connection),
        TEST(a_frame_that_was_damaged_on_its_way_closes_the_link),
        TEST(random_bytes_do_no_harm),
        TEST(a_second_hello_closes_the_link),
        TEST(a_fragment_that_is_too_long_closes_the_link),
        TEST(a_message_without_end_closes_the_link),
        TEST(a_message_that_the_handler_refuses_closes_the_link),
        TEST(a_message_in_many_small_fragments_arrives_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
