/* Commands as they stand in the raft log: proto/command.proto. */
#include "kv/command.h"

#include "base/memory.h"
#include "kv/kv.h"

enum {
    ROOM_FOR_STRUCTURES = 1024, /* what a decoded command takes beyond the bytes of its fields */
    ALIGNMENT = 16,
    BUFFER_KEPT = 256 * 1024, /* what one large command made it grow to is given back above this */
};

/*
 * protobuf-c allocates each field by itself. Here a command's fields lie one behind the other in
 * one buffer. Commands that raftkv writes fit; what does not (bytes that repeat their fields)
 * comes from the heap.
 */
struct decoder {
    ProtobufCAllocator allocator;
    uint8_t *memory;
    size_t capacity;
    size_t used;
    Raftkv__V1__Command *command;
};

static void *take(void *data, size_t size) {
    struct decoder *decoder = data;
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *memory = decoder->memory + decoder->used;

    if (rounded > decoder->capacity - decoder->used)
        return xmalloc(size);
    decoder->used += rounded;
    return memory;
}

static void give_back(void *data, void *memory) {
    struct decoder *decoder = data;
    uintptr_t start = (uintptr_t)decoder->memory, place = (uintptr_t)memory;

    if (place < start || place >= start + decoder->capacity)
        free(memory);
}

struct decoder *decoder_new(void) {
    struct decoder *decoder = xcalloc(1, sizeof *decoder);

    decoder->allocator = (ProtobufCAllocator){take, give_back, decoder};
    return decoder;
}

static void clear(struct decoder *decoder) {
    if (decoder->command)
        raftkv__v1__command__free_unpacked(TAKE(decoder->command), &decoder->allocator);
    decoder->used = 0;
}

struct decoder *decoder_free(struct decoder *decoder) {
    if (!decoder)
        return NULL;
    clear(decoder);
    free(decoder->memory);
    free(decoder);
    return NULL;
}

static void make_room(struct decoder *decoder, size_t wanted) {
    if (wanted <= decoder->capacity && (decoder->capacity <= BUFFER_KEPT || wanted > BUFFER_KEPT))
        return;
    free(decoder->memory);
    decoder->memory = xmalloc(wanted);
    decoder->capacity = wanted;
}

/* The schema of commands nests two deep and holds no strings: nothing to check beforehand. */
const Raftkv__V1__Command *decoder_decode(struct decoder *decoder, const uint8_t *data,
                                          size_t size) {
    clear(decoder);
    make_room(decoder, size + ROOM_FOR_STRUCTURES);
    decoder->command = raftkv__v1__command__unpack(&decoder->allocator, size, data);
    if (decoder->command && decoder->command->body_case == RAFTKV__V1__COMMAND__BODY__NOT_SET)
        return NULL;
    return decoder->command;
}

static ProtobufCBinaryData bytes(const uint8_t *data, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

static void encode(const Raftkv__V1__Command *command, uint8_t **ret_data, size_t *ret_size) {
    size_t size = raftkv__v1__command__get_packed_size(command);
    uint8_t *data = xmalloc(size);

    raftkv__v1__command__pack(command, data);
    *ret_data = data;
    *ret_size = size;
}

void kv_encode_put(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size,
                   uint8_t **ret_data, size_t *ret_size) {
    Raftkv__V1__PutCommand put = RAFTKV__V1__PUT_COMMAND__INIT;
    Raftkv__V1__Command command = RAFTKV__V1__COMMAND__INIT;

    put.key = bytes(key, key_size);
    put.value = bytes(value, value_size);
    command.body_case = RAFTKV__V1__COMMAND__BODY_PUT;
    command.put = &put;
    encode(&command, ret_data, ret_size);
}

void kv_encode_delete(const uint8_t *key, size_t key_size, uint8_t **ret_data, size_t *ret_size) {
    Raftkv__V1__DeleteCommand delete = RAFTKV__V1__DELETE_COMMAND__INIT;
    Raftkv__V1__Command command = RAFTKV__V1__COMMAND__INIT;

    delete.key = bytes(key, key_size);
    command.body_case = RAFTKV__V1__COMMAND__BODY_DELETE;
    command.delete_ = &delete;
    encode(&command, ret_data, ret_size);
}
