/* Cutting a stream into frames, however it arrives. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/frame.h"

enum { FRAME_MAX = 100000 };

static void append_frame(struct buffer *stream, size_t size, uint8_t content) {
    uint8_t header[FRAME_HEADER_SIZE];

    frame_put_length(header, size);
    buffer_append(stream, header, sizeof header);
    memset(buffer_reserve(stream, size + 1), content, size);
    stream->size += size;
}

/* Feeds the stream in pieces of this size and returns how many frames came out as they went in. */
static size_t feed(struct frame_reader *reader, const struct buffer *stream, size_t piece) {
    size_t count = 0;

    for (size_t at = 0; at < stream->size; at += piece) {
        size_t rest = stream->size - at, n = rest < piece ? rest : piece;
        uint8_t *copy = xmemdup(stream->data + at, n);
        const uint8_t *frame;
        size_t size;

        frame_reader_feed(reader, copy, n);
        while (frame_reader_next(reader, &frame, &size) == 1) {
            for (size_t i = 0; i < size; i++)
                assert_int_equal(frame[i], count % 251);
            count++;
        }
        frame_reader_keep(reader);
        free(copy);
    }
    return count;
}

static void frames_come_out_as_they_went_in_whatever_the_pieces(void **state) {
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, 4096, 1 << 20};
    struct buffer stream = BUFFER_NULL;

    (void)state;
    for (size_t i = 0; i < 200; i++)
        append_frame(&stream, i * i % 997, (uint8_t)(i % 251));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct frame_reader reader = {.frame_max = FRAME_MAX};

        assert_int_equal(feed(&reader, &stream, pieces[i]), 200);
        assert_int_equal(frame_reader_memory(&reader), 0);
        frame_reader_deinit(&reader);
    }
    buffer_deinit(&stream);
}

static void a_length_above_the_limit_is_refused_at_once(void **state) {
    struct frame_reader reader = {.frame_max = FRAME_MAX};
    const uint8_t header[] = {0xff, 0xff, 0xff, 0xff};
    const uint8_t *frame;
    size_t size;

    (void)state;
    frame_reader_feed(&reader, header, sizeof header);
    assert_int_equal(frame_reader_next(&reader, &frame, &size), -EMSGSIZE);
    assert_true(size == 0xffffffffu);
    assert_int_equal(frame_reader_memory(&reader), 0);
    frame_reader_deinit(&reader);
}

static void the_longest_frame_is_taken(void **state) {
    struct frame_reader reader = {.frame_max = FRAME_MAX};
    struct buffer stream = BUFFER_NULL;

    (void)state;
    append_frame(&stream, FRAME_MAX, 0);
    assert_int_equal(feed(&reader, &stream, 8192), 1);
    frame_reader_deinit(&reader);
    buffer_deinit(&stream);
}

static void a_promised_length_takes_no_memory(void **state) {
    struct frame_reader reader = {.frame_max = FRAME_MAX};
    struct buffer stream = BUFFER_NULL;

    (void)state;
    append_frame(&stream, FRAME_MAX, 0);
    stream.size = 10;
    assert_int_equal(feed(&reader, &stream, 10), 0);
    assert_true(frame_reader_memory(&reader) < 1024);
    frame_reader_deinit(&reader);
    buffer_deinit(&stream);
}

static void what_was_not_read_yet_is_kept_in_order(void **state) {
    struct frame_reader reader = {.frame_max = FRAME_MAX};
    struct buffer stream = BUFFER_NULL;
    const uint8_t *frame;
    size_t size, count = 0;

    (void)state;
    for (uint8_t i = 0; i < 10; i++)
        append_frame(&stream, 5000, i);
    /* One frame is read after each piece; the others wait. */
    for (size_t at = 0; at < stream.size; at += 10000) {
        size_t rest = stream.size - at;

        frame_reader_feed(&reader, stream.data + at, rest < 10000 ? rest : 10000);
        if (frame_reader_next(&reader, &frame, &size) == 1)
            assert_int_equal(frame[0], count++);
        frame_reader_keep(&reader);
    }
    while (frame_reader_next(&reader, &frame, &size) == 1)
        assert_int_equal(frame[4999], count++);
    frame_reader_keep(&reader);
    assert_int_equal(count, 10);
    assert_int_equal(frame_reader_memory(&reader), 0);
    frame_reader_deinit(&reader);
    buffer_deinit(&stream);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_as_they_went_in_whatever_the_pieces),
        cmocka_unit_test(a_length_above_the_limit_is_refused_at_once),
        cmocka_unit_test(the_longest_frame_is_taken),
        cmocka_unit_test(a_promised_length_takes_no_memory),
        cmocka_unit_test(what_was_not_read_yet_is_kept_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
