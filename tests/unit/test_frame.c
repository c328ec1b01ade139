/* Cutting a stream into frames, however it arrives. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/frame.h"

enum { FRAME_MAX = 100000 };

static void append_frame(struct buffer *stream, enum frame_kind kind, size_t size,
                         uint8_t content) {
    size_t header_size = frame_header_size(kind);
    uint8_t *frame = buffer_reserve(stream, header_size + size);

    memset(frame + header_size, content, size);
    frame_put_header(kind, frame, size);
    stream->size += header_size + size;
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

static void expect_frames_in_pieces(enum frame_kind kind) {
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, 4096, 1 << 20};
    struct buffer stream = BUFFER_NULL;

    for (size_t i = 0; i < 200; i++)
        append_frame(&stream, kind, i * i % 997, (uint8_t)(i % 251));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct frame_reader reader = {.kind = kind, .frame_max = FRAME_MAX};

        assert_int_equal(feed(&reader, &stream, pieces[i]), 200);
        assert_int_equal(frame_reader_memory(&reader), 0);
        frame_reader_deinit(&reader);
    }
    buffer_deinit(&stream);
}

static void frames_come_out_as_they_went_in_whatever_the_pieces(void **state) {
    (void)state;
    expect_frames_in_pieces(FRAME_PLAIN);
    expect_frames_in_pieces(FRAME_CHECKED);
}

/* Damages a bit of three frames, and expects those before it, and no other. */
static void expect_damage(const struct buffer *stream, size_t bit, size_t piece) {
    struct frame_reader reader = {.kind = FRAME_CHECKED, .frame_max = FRAME_MAX};
    size_t frame_size = stream->size / 3, count = 0;
    const uint8_t *frame;
    size_t size;
    int r = 0;

    stream->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    for (size_t at = 0; at < stream->size && r >= 0; at += piece) {
        size_t rest = stream->size - at;

        frame_reader_feed(&reader, stream->data + at, rest < piece ? rest : piece);
        while ((r = frame_reader_next(&reader, &frame, &size)) == 1)
            count++;
        if (r == 0)
            frame_reader_keep(&reader);
    }
    assert_true(r == -EBADMSG || r == -EMSGSIZE);
    assert_int_equal(count, bit / 8 / frame_size);
    frame_reader_deinit(&reader);
    stream->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* It is found when the damaged frame is there, however long it says that it is. */
static void any_flipped_bit_of_a_checked_frame_is_found(void **state) {
    struct buffer stream = BUFFER_NULL;

    (void)state;
    for (int i = 0; i < 3; i++)
        append_frame(&stream, FRAME_CHECKED, 100, 7);
    for (size_t bit = 0; bit < stream.size * 8; bit++) {
        expect_damage(&stream, bit, 1);
        expect_damage(&stream, bit, stream.size);
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
    append_frame(&stream, FRAME_PLAIN, FRAME_MAX, 0);
    assert_int_equal(feed(&reader, &stream, 8192), 1);
    frame_reader_deinit(&reader);
    buffer_deinit(&stream);
}

static void a_promised_length_takes_no_memory(void **state) {
    struct frame_reader reader = {.frame_max = FRAME_MAX};
    struct buffer stream = BUFFER_NULL;

    (void)state;
    append_frame(&stream, FRAME_PLAIN, FRAME_MAX, 0);
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
        append_frame(&stream, FRAME_PLAIN, 5000, i);
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
        cmocka_unit_test(any_flipped_bit_of_a_checked_frame_is_found),
        cmocka_unit_test(a_length_above_the_limit_is_refused_at_once),
        cmocka_unit_test(the_longest_frame_is_taken),
        cmocka_unit_test(a_promised_length_takes_no_memory),
        cmocka_unit_test(what_was_not_read_yet_is_kept_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
