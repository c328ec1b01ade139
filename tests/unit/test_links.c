/* Links between nodes: dialling, messages, reconnecting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "test_links_world.h"

enum { LARGE = 9 * 1024 * 1024 };

/* Two nodes of which the first dials the second. */
static struct world *two_nodes(void **state) {
    struct world *world = *state;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    node_dial(&world->nodes[0], &world->nodes[1]);
    node_await_link(&world->nodes[0], 2);
    return world;
}

/* ---- messages ---- */

static void a_message_reaches_the_dialled_member(void **state) {
    struct world *world = two_nodes(state);
    struct node *to = &world->nodes[1];

    node_send(&world->nodes[0], 2, false, 42, 100);
    node_await_messages(to, 1);
    assert_true(to->received[0].from == 1);
    assert_int_equal(to->received[0].mark, 42);
    assert_int_equal(to->received[0].size, 100);
    assert_true(to->received[0].intact);
}

static void messages_of_all_sizes_arrive_intact(void **state) {
    static const size_t sizes[] = {
        4, 1000, FRAGMENT_SIZE_MAX - 1, FRAGMENT_SIZE_MAX, FRAGMENT_SIZE_MAX + 1, 1 << 20, LARGE};
    struct world *world = two_nodes(state);
    struct node *to = &world->nodes[1];

    for (uint32_t i = 0; i < 7; i++)
        node_send(&world->nodes[0], 2, false, i, sizes[i]);
    node_await_messages(to, 7);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(to->received[i].mark, i);
        assert_int_equal(to->received[i].size, sizes[i]);
        assert_true(to->received[i].intact);
    }
    assert_int_equal(links_backlog(world->nodes[0].links, 2), 0);
}

static void order_is_kept_within_each_stream(void **state) {
    struct world *world = two_nodes(state);
    struct node *to = &world->nodes[1];
    uint32_t next[2] = {0, 0};

    for (uint32_t i = 0; i < 500; i++) {
        node_send(&world->nodes[0], 2, false, 2 * i, 4 + i * 311 % 100000);
        node_send(&world->nodes[0], 2, true, 2 * i + 1, 4 + i % 100);
        if (i % 50 == 0)
            run_turns(&world->loop, 3);
    }
    node_await_messages(to, 1000);
    for (size_t i = 0; i < 1000; i++) {
        uint32_t mark = to->received[i].mark;

        assert_int_equal(mark / 2, next[mark % 2]++);
        assert_true(to->received[i].intact);
    }
}

static void an_urgent_message_overtakes_a_large_one(void **state) {
    struct world *world = two_nodes(state);
    struct node *to = &world->nodes[1];

    node_send(&world->nodes[0], 2, false, 1, LARGE);
    run_turns(&world->loop, 2);
    assert_int_equal(to->received_count, 0);
    node_send(&world->nodes[0], 2, true, 2, 50);
    node_await_messages(to, 2);
    assert_int_equal(to->received[0].mark, 2);
    assert_int_equal(to->received[1].mark, 1);
    assert_true(to->received[1].intact);
}

static void what_cannot_be_sent_is_dropped(void **state) {
    struct world *world = *state;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    node_send(&world->nodes[0], 2, false, 1, 100); /* nobody it knows */
    node_dial(&world->nodes[0], &world->nodes[1]);
    assert_false(links_linked(world->nodes[0].links, 2));
    node_send(&world->nodes[0], 2, false, 2, 100); /* not linked yet */
    assert_int_equal(links_backlog(world->nodes[0].links, 2), 0);
    node_await_link(&world->nodes[0], 2);
    node_send(&world->nodes[0], 2, false, 3, 100);
    node_await_messages(&world->nodes[1], 1);
    assert_int_equal(world->nodes[1].received[0].mark, 3);
}

static void a_peer_that_never_reads_fills_the_queue_to_its_limit(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct peer peer = {.member_id = 9};
    struct wire wire;
    const size_t handed_over = 512 * 1024; /* to the kernel, which does not take it */
    size_t backlog;

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    links_set_peers(world->nodes[0].links, &peer, 1);
    plain_peer_accept(&plain, &wire);
    assert_false(links_linked(world->nodes[0].links, 9)); /* not before the welcome */
    wire_send_welcome(&wire, 9);
    node_await_link(&world->nodes[0], 9);
    for (uint32_t i = 0; i < 40; i++) {
        uint8_t *message = xcalloc(1, 4 * 1024 * 1024);

        links_send(world->nodes[0].links, 9, false, message, 4 * 1024 * 1024);
        run_turns(&world->loop, 3);
        assert_true(links_backlog(world->nodes[0].links, 9) <= LINK_QUEUE_SIZE_MAX + handed_over);
    }
    backlog = links_backlog(world->nodes[0].links, 9);
    assert_true(backlog > LINK_QUEUE_SIZE_MAX - 5 * 1024 * 1024);
    wire_close(&wire);
    node_await_no_link(&world->nodes[0], 9);
    assert_int_equal(links_backlog(world->nodes[0].links, 9), 0);
    plain_peer_close(&plain);
}

/* ---- whom to dial ---- */

static void members_link_both_ways_when_each_is_told_of_the_other(void **state) {
    struct world *world = two_nodes(state);

    node_dial(&world->nodes[1], &world->nodes[0]);
    node_await_link(&world->nodes[1], 1);
    node_send(&world->nodes[0], 2, true, 1, 10);
    node_send(&world->nodes[1], 1, true, 2, 10);
    node_await_messages(&world->nodes[0], 1);
    node_await_messages(&world->nodes[1], 1);
}

static void a_member_that_was_told_of_nobody_dials_back(void **state) {
    struct world *world = two_nodes(state);

    node_await_link(&world->nodes[1], 1);
    node_send(&world->nodes[1], 1, false, 5, 10);
    node_await_messages(&world->nodes[0], 1);
    /* It goes with the link that it answers. */
    node_stop(&world->nodes[0]);
    node_await_no_link(&world->nodes[1], 1);
}

static void a_link_that_dialled_back_comes_again_when_it_is_needed(void **state) {
    struct world *world = two_nodes(state);

    node_await_link(&world->nodes[1], 1);
    node_await_no_link(&world->nodes[1], 1); /* nothing was sent on it */
    assert_true(links_linked(world->nodes[0].links, 2));
    node_send(&world->nodes[1], 1, false, 5, 10);
    node_await_link(&world->nodes[1], 1);
    node_send(&world->nodes[1], 1, false, 6, 10);
    node_await_messages(&world->nodes[0], 1);
    assert_int_equal(world->nodes[0].received[0].mark, 6);
}

static void dialling_back_is_limited(void **state) {
    struct world *world = *state;
    struct wire wires[LINKS_LEARNED_MAX + 4];
    struct plain_peer plain;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    for (size_t i = 0; i < LINKS_LEARNED_MAX + 4; i++) {
        struct hello hello;

        hello_init(&hello, 1);
        hello.identity.member_id = 100 + i;
        hello.identity.peer_address = address;
        wire_greet(&wires[i], &world->nodes[0], &hello);
    }
    run_turns(&world->loop, 50);
    assert_int_equal(plain_peer_refuse_all(&plain), LINKS_LEARNED_MAX);
    for (size_t i = 0; i < LINKS_LEARNED_MAX + 4; i++)
        wire_close(&wires[i]);
    plain_peer_close(&plain);
}

static void a_member_that_is_not_named_any_more_is_dropped(void **state) {
    struct world *world = two_nodes(state);

    node_await_link(&world->nodes[1], 1); /* by dialling back */
    links_set_peers(world->nodes[0].links, NULL, 0);
    node_await_no_link(&world->nodes[0], 2);
    node_await_no_link(&world->nodes[1], 1);
}

static void a_member_that_moved_is_dialled_at_its_new_address(void **state) {
    struct world *world = two_nodes(state);
    struct peer peer;

    node_start(world, 2, 0);
    world->nodes[2].identity.member_id = 2; /* the same member elsewhere */
    node_stop(&world->nodes[1]);
    peer = node_peer(&world->nodes[2]);
    links_set_peers(world->nodes[0].links, &peer, 1);
    assert_false(links_linked(world->nodes[0].links, 2));
    node_await_link(&world->nodes[0], 2);
    node_send(&world->nodes[0], 2, false, 1, 10);
    node_await_messages(&world->nodes[2], 1);
}

static void a_member_that_was_restarted_is_linked_again(void **state) {
    struct world *world = two_nodes(state);
    unsigned port = links_port(world->nodes[1].links);

    node_stop(&world->nodes[1]);
    node_await_no_link(&world->nodes[0], 2);
    node_start(world, 1, port);
    node_await_link(&world->nodes[0], 2);
    node_send(&world->nodes[0], 2, false, 1, 10);
    node_await_messages(&world->nodes[1], 1);
}

static void attempts_come_further_and_further_apart(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct peer peer = {.member_id = 9};
    uint64_t begin;

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    links_set_peers(world->nodes[0].links, &peer, 1);
    begin = uv_hrtime();
    for (int i = 0; i < 5; i++) {
        struct wire wire;

        plain_peer_accept(&plain, &wire);
        wire_close(&wire);
    }
    /* At least half of 50, 100, 200 and 400 ms. */
    assert_true(uv_hrtime() - begin > 370 * 1000000u);
    plain_peer_close(&plain);
}

/* Lets a member come that was not reachable; whether it was linked before it was due. */
static bool is_dialled_at_once(struct world *world) {
    struct plain_peer plain;
    struct peer peer = {.member_id = 2};
    uint64_t begin;

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    links_set_peers(world->nodes[0].links, &peer, 1);
    for (int i = 0; i < 7; i++) {
        struct wire wire;

        plain_peer_accept(&plain, &wire);
        wire_close(&wire);
    }
    /* The next attempt is due in one to two seconds. */
    plain_peer_close(&plain);
    node_start(world, 1, plain.port);
    begin = uv_hrtime();
    node_dial(&world->nodes[1], &world->nodes[0]);
    node_await_link(&world->nodes[0], 2);
    for (int i = 0; i < 2; i++)
        node_stop(&world->nodes[i]);
    return uv_hrtime() - begin < 800 * 1000000u;
}

static void a_member_that_was_not_reachable_is_dialled_when_it_comes_by_itself(void **state) {
    bool at_once = false;

    /* On a machine that has much else to do it may now and then take as long as the delay. */
    for (int i = 0; i < 20 && !at_once; i++)
        at_once = is_dialled_at_once(*state);
    assert_true(at_once);
}

static void a_refusal_is_said_once_to_the_journal_and_not_at_each_attempt(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct peer peer = {.member_id = 9};

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    links_set_peers(world->nodes[0].links, &peer, 1);
    for (int i = 0; i < 4; i++) {
        struct wire wire;

        plain_peer_accept(&plain, &wire);
        wire_send_refusal(&wire, ERROR_PERMISSION_DENIED, "No.");
        wire_await_end(&wire);
        wire_close(&wire);
    }
    assert_int_equal(world->warnings, 1);
    assert_false(links_linked(world->nodes[0].links, 9));
    plain_peer_close(&plain);
}

static void a_member_that_is_refused_is_not_linked(void **state) {
    struct world *world = *state;
    struct answer answer;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    world->nodes[1].admits = ERROR_PERMISSION_DENIED;
    node_dial(&world->nodes[0], &world->nodes[1]);
    /* Three round trips later it has been refused. */
    for (int i = 0; i < 3; i++) {
        node_identify(&world->nodes[0], world->nodes[1].identity.peer_address, 5000, &answer);
        await_answer(world, &answer);
        assert_false(answer.failed);
    }
    assert_int_equal(world->warnings, 2); /* one on each side */
    assert_false(links_linked(world->nodes[0].links, 2));
    world->nodes[1].admits = ERROR_OK;
    node_await_link(&world->nodes[0], 2);
}

static void a_welcome_that_is_not_wanted_is_no_link(void **state) {
    struct world *world = *state;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    world->nodes[0].welcomes = ERROR_CONFIGURATION_CONFLICT;
    node_dial(&world->nodes[0], &world->nodes[1]);
    while (world->nodes[1].admitted < 2) {
        assert_false(links_linked(world->nodes[0].links, 2));
        uv_run(&world->loop, UV_RUN_ONCE);
    }
    world->nodes[0].welcomes = ERROR_OK;
    node_await_link(&world->nodes[0], 2);
}

static void a_receiver_that_speaks_after_its_welcome_loses_the_link(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct peer peer = {.member_id = 9};
    struct wire wire;

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(peer.address, sizeof peer.address, "127.0.0.1:%u", plain.port);
    links_set_peers(world->nodes[0].links, &peer, 1);
    plain_peer_accept(&plain, &wire);
    wire_send_welcome(&wire, 9);
    node_await_link(&world->nodes[0], 9);
    wire_send_welcome(&wire, 9);
    node_await_no_link(&world->nodes[0], 9);
    wire_close(&wire);
    plain_peer_close(&plain);
}

/* ---- identify ---- */

static void a_node_says_who_it_is(void **state) {
    struct world *world = *state;
    struct answer answer;

    node_start(world, 0, 0);
    node_start(world, 1, 0);
    world->nodes[1].identity.incarnation = 8;
    world->nodes[1].admits = ERROR_PERMISSION_DENIED; /* matters for members only */
    node_identify(&world->nodes[0], world->nodes[1].identity.peer_address, 5000, &answer);
    await_answer(world, &answer);
    assert_false(answer.failed);
    assert_true(answer.identity.member_id == 2 && answer.identity.cluster_id == 77);
    assert_true(answer.identity.incarnation == 8);
    assert_string_equal(answer.identity.name, "node2");
    assert_string_equal(answer.identity.peer_address, world->nodes[1].identity.peer_address);
    assert_false(links_linked(world->nodes[1].links, 1));
}

static void a_node_can_identify_itself_by_name(void **state) {
    struct world *world = *state;
    struct answer answer;
    char address[64];

    node_start(world, 0, 0);
    snprintf(address, sizeof address, "localhost:%u", links_port(world->nodes[0].links));
    node_identify(&world->nodes[0], address, 5000, &answer);
    await_answer(world, &answer);
    assert_false(answer.failed);
    assert_true(answer.identity.member_id == 1);
}

static void expect_identify_failure(struct world *world, struct answer *answer,
                                    enum error_code code, const char *part) {
    await_answer(world, answer);
    assert_true(answer->failed);
    assert_int_equal(answer->failure.code, code);
    assert_non_null(strstr(answer->failure.message, part));
}

static void an_address_where_nobody_listens_is_named(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct answer answer;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    plain_peer_close(&plain);
    node_identify(&world->nodes[0], address, 5000, &answer);
    expect_identify_failure(world, &answer, ERROR_UNAVAILABLE, address);
    assert_non_null(strstr(answer.failure.message, "connection refused"));
}

static void a_host_that_does_not_exist_and_an_address_that_is_none_are_named(void **state) {
    struct world *world = *state;
    struct answer answer;

    node_start(world, 0, 0);
    node_identify(&world->nodes[0], "no-such-host.invalid:4712", 15000, &answer);
    expect_identify_failure(world, &answer, ERROR_UNAVAILABLE, "no-such-host.invalid:4712");
    node_identify(&world->nodes[0], "nonsense", 5000, &answer);
    expect_identify_failure(world, &answer, ERROR_INVALID_ARGUMENT, "nonsense");
}

static void what_is_not_a_peer_port_is_told_from_one(void **state) {
    static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                          "\0\0\0\3\0\0\0\0\0\0\0\0\x0a\x09x",
                                          "\0\0\0\0\0\0\0\0\0\0\0\0"};
    static const size_t sizes[] = {28, 15, 12};
    struct world *world = *state;
    struct plain_peer plain;
    struct answer answer;
    struct wire wire;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    for (size_t i = 0; i < 3; i++) {
        node_identify(&world->nodes[0], address, 5000, &answer);
        plain_peer_accept(&plain, &wire);
        wire_send(&wire, answers[i], sizes[i]);
        expect_identify_failure(world, &answer, ERROR_UNAVAILABLE, "peer protocol");
        wire_close(&wire);
    }
    node_identify(&world->nodes[0], address, 5000, &answer);
    plain_peer_accept(&plain, &wire);
    wire_close(&wire);
    expect_identify_failure(world, &answer, ERROR_UNAVAILABLE, address);
    plain_peer_close(&plain);
}

static void a_node_that_does_not_answer_is_given_up(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct answer answer;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    node_identify(&world->nodes[0], address, 100, &answer);
    expect_identify_failure(world, &answer, ERROR_UNAVAILABLE, "100 ms");
    plain_peer_close(&plain);
}

static void a_refusal_arrives_with_its_own_code(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct answer answer;
    struct wire wire;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    node_identify(&world->nodes[0], address, 5000, &answer);
    plain_peer_accept(&plain, &wire);
    wire_send_refusal(&wire, ERROR_UNSUPPORTED, "Too\nnew.");
    expect_identify_failure(world, &answer, ERROR_UNSUPPORTED, "Too?new.");
    assert_non_null(strstr(answer.failure.message, address));
    wire_close(&wire);
    plain_peer_close(&plain);
}

static void closing_answers_the_identify_calls_under_way(void **state) {
    struct world *world = *state;
    struct plain_peer plain;
    struct answer answer;
    char address[64];

    node_start(world, 0, 0);
    plain_peer_open(&plain, world);
    snprintf(address, sizeof address, "127.0.0.1:%u", plain.port);
    node_identify(&world->nodes[0], address, 5000, &answer);
    run_turns(&world->loop, 3);
    node_stop(&world->nodes[0]);
    assert_true(answer.given && answer.failed);
    plain_peer_close(&plain);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up_world, tear_down_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_message_reaches_the_dialled_member),
        TEST(messages_of_all_sizes_arrive_intact),
        TEST(order_is_kept_within_each_stream),
        TEST(an_urgent_message_overtakes_a_large_one),
        TEST(what_cannot_be_sent_is_dropped),
        TEST(a_peer_that_never_reads_fills_the_queue_to_its_limit),
        TEST(members_link_both_ways_when_each_is_told_of_the_other),
        TEST(a_member_that_was_told_of_nobody_dials_back),
        TEST(a_link_that_dialled_back_comes_again_when_it_is_needed),
        TEST(dialling_back_is_limited),
        TEST(a_member_that_is_not_named_any_more_is_dropped),
        TEST(a_member_that_moved_is_dialled_at_its_new_address),
        TEST(a_member_that_was_restarted_is_linked_again),
        TEST(attempts_come_further_and_further_apart),
        TEST(a_member_that_was_not_reachable_is_dialled_when_it_comes_by_itself),
        TEST(a_refusal_is_said_once_to_the_journal_and_not_at_each_attempt),
        TEST(a_member_that_is_refused_is_not_linked),
        TEST(a_welcome_that_is_not_wanted_is_no_link),
        TEST(a_receiver_that_speaks_after_its_welcome_loses_the_link),
        TEST(a_node_says_who_it_is),
        TEST(a_node_can_identify_itself_by_name),
        TEST(an_address_where_nobody_listens_is_named),
        TEST(a_host_that_does_not_exist_and_an_address_that_is_none_are_named),
        TEST(what_is_not_a_peer_port_is_told_from_one),
        TEST(a_node_that_does_not_answer_is_given_up),
        TEST(a_refusal_arrives_with_its_own_code),
        TEST(closing_answers_the_identify_calls_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
