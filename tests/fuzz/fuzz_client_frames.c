/*
 * What clients and nodes say to each other on the client port: a stream that arrives in pieces of
 * any size is cut into frames, and each frame is decoded.
 *
 * Input: 1 byte (0: requests, else responses), 1 byte that the sizes of the pieces follow from, the
 * stream.
 */
#include <errno.h>

#include "base/limits.h"
#include "client/text.h"
#include "fuzz.h"
#include "proto/unpack.h"
#include "rpc/frame.h"
#include "service/validate.h"

/* A decoded message takes at most so many bytes for each byte of it, and some around it. */
enum { MEMORY_FACTOR = 64, MEMORY_AROUND = 4096 };

static void look_at_request(const Raftkv__V1__Request *request) {
    struct failure failure;
    int r = validate_request(request, &failure);

    check(r >= 0);
    if (r == 0)
        return;
    check(r == (int)failure.code && failure.message[0]);
    check(text_is_printable((const uint8_t *)failure.message, strlen(failure.message), false));
}

static void look_at_response(const Raftkv__V1__Response *response) {
    if (response->error)
        check(text_is_utf8((const uint8_t *)response->error->message,
                           strlen(response->error->message)));
}

/* What was decoded comes back from its own encoding. */
static void take_message(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size) {
    size_t before = fuzz_allocated(), first_size, second_size;
    ProtobufCMessage *message, *again;
    uint8_t *first, *second;
    const char *reason = NULL;
    int r = unpack(type, data, size, &unpack_client_limits, &message, &reason);

    if (r < 0) {
        check((r == -EBADMSG || r == -EMSGSIZE) && reason);
        return;
    }
    check(fuzz_allocated() - before <= size * MEMORY_FACTOR + MEMORY_AROUND);
    if (type == &raftkv__v1__request__descriptor)
        look_at_request((const Raftkv__V1__Request *)message);
    else
        look_at_response((const Raftkv__V1__Response *)message);
    first = pack(message, 0, &first_size);
    check(unpack(type, first, first_size, &unpack_client_limits, &again, &reason) == 0);
    second = pack(again, 0, &second_size);
    check(first_size == second_size && memcmp(first, second, first_size) == 0);
    free(first);
    free(second);
    protobuf_c_message_free_unpacked(message, NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}

/* The frame that begins at the stream's start, cut without any regard to pieces: 1, 0 or -EMSGSIZE
 * as frame_reader_next(). */
static int cut(struct input *stream, struct input *ret) {
    struct input header = take_part(stream, FRAME_HEADER_SIZE);
    size_t length = 0;

    if (header.size < FRAME_HEADER_SIZE)
        return 0;
    for (size_t i = 0; i < FRAME_HEADER_SIZE; i++)
        length = length << 8 | header.data[i];
    if (length > CLIENT_FRAME_SIZE_MAX)
        return -EMSGSIZE;
    *ret = take_part(stream, length);
    return ret->size == length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    const ProtobufCMessageDescriptor *type = take_byte(&input) == 0
                                                 ? &raftkv__v1__request__descriptor
                                                 : &raftkv__v1__response__descriptor;
    size_t step = take_byte(&input), received = 0;
    struct frame_reader reader = {.frame_max = CLIENT_FRAME_SIZE_MAX};
    struct input expected = input;
    int r = 0;

    while (input.size > 0 && r == 0) {
        struct input piece = take_part(&input, 1 + received % 7 + step * 3);
        /* Memory of its own, so that reading behind it is seen. */
        uint8_t *copy = xmemdup(piece.data, piece.size);
        const uint8_t *frame;
        size_t frame_size;

        received += piece.size;
        frame_reader_feed(&reader, copy, piece.size);
        while ((r = frame_reader_next(&reader, &frame, &frame_size)) == 1) {
            struct input same;

            check(cut(&expected, &same) == 1);
            check(same.size == frame_size && memcmp(same.data, frame, frame_size) == 0);
            take_message(type, frame, frame_size);
        }
        frame_reader_keep(&reader);
        free(copy);
        check(frame_reader_memory(&reader) <= 2 * received + 256);
    }
    if (r == 0) {
        struct input rest;

        check(cut(&expected, &rest) == 0);
    } else {
        check(r == -EMSGSIZE && cut(&expected, &(struct input){0}) == r);
    }
    frame_reader_deinit(&reader);
    return 0;
}
