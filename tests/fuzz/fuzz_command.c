/*
 * Commands from the raft log. Two are decoded one after the other, because the decoder uses its
 * memory again.
 *
 * Input: 2 bytes, the size of the first command; the first; the second.
 */
#include "fuzz.h"
#include "kv/command.h"
#include "kv/kv.h"

static Raftkv__V1__Command *decode_plainly(struct input input) {
    Raftkv__V1__Command *command = raftkv__v1__command__unpack(NULL, input.size, input.data);

    if (command && command->body_case == RAFTKV__V1__COMMAND__BODY__NOT_SET) {
        raftkv__v1__command__free_unpacked(command, NULL);
        return NULL;
    }
    return command;
}

static uint8_t *encode(const Raftkv__V1__Command *command, size_t *ret_size) {
    return pack(&command->base, 0, ret_size);
}

/* kv's own encoding of it, which is what stands in a log that raftkv wrote. */
static void look_at_command(const Raftkv__V1__Command *command) {
    struct decoder *decoder = decoder_new();
    const Raftkv__V1__Command *again;
    uint8_t *data;
    size_t size;

    if (command->body_case == RAFTKV__V1__COMMAND__BODY_PUT) {
        const Raftkv__V1__PutCommand *put = command->put;

        kv_encode_put(put->key.data, put->key.len, put->value.data, put->value.len, &data, &size);
        again = decoder_decode(decoder, data, size);
        check(again && again->body_case == RAFTKV__V1__COMMAND__BODY_PUT);
        check(again->put->key.len == put->key.len && again->put->value.len == put->value.len);
    } else {
        check(command->body_case == RAFTKV__V1__COMMAND__BODY_DELETE);
        kv_encode_delete(command->delete_->key.data, command->delete_->key.len, &data, &size);
        again = decoder_decode(decoder, data, size);
        check(again && again->body_case == RAFTKV__V1__COMMAND__BODY_DELETE);
        check(again->delete_->key.len == command->delete_->key.len);
    }
    decoder_free(decoder);
    free(data);
}

static void take_command(struct decoder *decoder, struct input input) {
    uint8_t *copy = xmemdup(input.data, input.size);
    Raftkv__V1__Command *expected = decode_plainly(input);
    const Raftkv__V1__Command *command = decoder_decode(decoder, copy, input.size);

    /* The bytes may go: what was decoded is a copy. */
    free(copy);
    check(!command == !expected);
    if (command) {
        size_t size, expected_size;
        uint8_t *bytes = encode(command, &size);
        uint8_t *expected_bytes = encode(expected, &expected_size);

        check(size == expected_size && memcmp(bytes, expected_bytes, size) == 0);
        free(bytes);
        free(expected_bytes);
        look_at_command(command);
        raftkv__v1__command__free_unpacked(expected, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    struct input first = take_part(&input, take_number(&input, 2));
    struct decoder *decoder = decoder_new();

    take_command(decoder, first);
    take_command(decoder, input);
    take_command(decoder, first);
    decoder_free(decoder);
    return 0;
}
