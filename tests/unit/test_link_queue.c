/* What waits to be sent on a link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/memory.h"
#include "rpc/link_queue.h"

static int set_up(void **state) {
    struct link_queue *queue = xmalloc(sizeof *queue);

    link_queue_init(queue);
    *state = queue;
    return 0;
}

static int tear_down(void **state) {
    link_queue_clear(*state);
    free(*state);
    return 0;
}

static bool push(struct link_queue *queue, bool urgent, uint8_t mark, size_t size) {
    uint8_t *message = xcalloc(1, size);

    message[0] = mark;
    return link_queue_push(queue, urgent, message, size);
}

/* Takes one fragment off and returns its first byte. */
static uint8_t take(struct link_queue *queue, bool *ret_last) {
    struct link_fragment fragment;
    uint8_t mark;

    assert_true(link_queue_peek(queue, &fragment));
    assert_true(fragment.size <= FRAGMENT_SIZE_MAX);
    mark = fragment.size ? fragment.data[0] : 0;
    *ret_last = fragment.last;
    link_queue_advance(queue, &fragment);
    return mark;
}

static void a_message_is_cut_into_fragments(void **state) {
    struct link_queue *queue = *state;
    bool last;

    push(queue, false, 1, 2 * FRAGMENT_SIZE_MAX + 1);
    push(queue, false, 2, FRAGMENT_SIZE_MAX);
    assert_int_equal(queue->bulk.size, 3 * FRAGMENT_SIZE_MAX + 1);
    assert_int_equal(take(queue, &last), 1);
    assert_false(last);
    take(queue, &last);
    assert_false(last);
    take(queue, &last);
    assert_true(last);
    assert_int_equal(queue->bulk.size, FRAGMENT_SIZE_MAX);
    assert_int_equal(take(queue, &last), 2);
    assert_true(last);
    assert_int_equal(queue->bulk.size, 0);
}

static void an_urgent_message_goes_between_the_fragments_of_a_large_one(void **state) {
    struct link_queue *queue = *state;
    bool last;

    push(queue, false, 1, 2 * FRAGMENT_SIZE_MAX);
    take(queue, &last);
    push(queue, true, 2, 10);
    push(queue, true, 3, 10);
    assert_int_equal(take(queue, &last), 2);
    assert_int_equal(take(queue, &last), 3);
    take(queue, &last);
    assert_true(last);
}

static void a_full_bulk_stream_drops_the_new_message(void **state) {
    struct link_queue *queue = *state;
    size_t size = 8 * 1024 * 1024;
    bool last;

    for (size_t i = 0; i < LINK_QUEUE_SIZE_MAX / size; i++)
        assert_true(push(queue, false, (uint8_t)i, size));
    assert_false(push(queue, false, 99, 1));
    assert_true(push(queue, true, 98, 1));
    assert_int_equal(queue->bulk.size, LINK_QUEUE_SIZE_MAX);
    assert_int_equal(take(queue, &last), 98);
    assert_int_equal(take(queue, &last), 0);
    assert_true(push(queue, false, 97, 1));
}

static void a_full_urgent_stream_drops_its_oldest_messages(void **state) {
    struct link_queue *queue = *state;
    bool last;

    for (size_t i = 0; i < LINK_URGENT_MAX + 3; i++)
        assert_true(push(queue, true, (uint8_t)(i % 256), 1));
    assert_int_equal(queue->urgent.count, LINK_URGENT_MAX);
    assert_int_equal(take(queue, &last), 3);
}

static void a_message_that_was_begun_is_never_dropped(void **state) {
    struct link_queue *queue = *state;
    bool last;

    push(queue, true, 1, 2 * FRAGMENT_SIZE_MAX);
    take(queue, &last);
    for (size_t i = 0; i < LINK_URGENT_MAX; i++)
        assert_true(push(queue, true, 2 + i % 2, 1));
    assert_int_equal(queue->urgent.count, LINK_URGENT_MAX);
    take(queue, &last);
    assert_true(last);
    assert_int_equal(take(queue, &last), 3); /* the first 2 went */
}

static void urgent_messages_are_limited_by_bytes_too(void **state) {
    struct link_queue *queue = *state;
    size_t size = LINK_URGENT_SIZE_MAX / 2;

    for (uint8_t i = 0; i < 5; i++)
        assert_true(push(queue, true, i, size));
    assert_int_equal(queue->urgent.count, 2);
    assert_int_equal(queue->urgent.size, LINK_URGENT_SIZE_MAX);
}

static void a_message_above_the_limit_is_dropped(void **state) {
    assert_false(push(*state, false, 1, PEER_MESSAGE_SIZE_MAX + 1));
    assert_false(push(*state, true, 1, PEER_MESSAGE_SIZE_MAX + 1));
    assert_true(push(*state, false, 1, PEER_MESSAGE_SIZE_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_is_cut_into_fragments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_urgent_message_goes_between_the_fragments_of_a_large_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_bulk_stream_drops_the_new_message, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_urgent_stream_drops_its_oldest_messages, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_was_begun_is_never_dropped, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(urgent_messages_are_limited_by_bytes_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_message_above_the_limit_is_dropped, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
