#include "chunks.h"

#include <endian.h>

#include "base/crc32c.h"
#include "proto/unpack.h"

enum { RECORDS_MAX = 8 };

uint64_t take_near(struct input *input, uint64_t right) {
    uint8_t byte = take_byte(input);

    if (byte < 0xf0)
        return right;
    return byte == 0xff ? take_number(input, 8) : right + byte - 0xf8u;
}

static ProtobufCBinaryData take_bytes(struct input *input) {
    struct input part = take_part(input, take_byte(input));

    return (ProtobufCBinaryData){part.size, (uint8_t *)(uintptr_t)part.data};
}

/* Bytes of keys and values in them. */
static size_t take_records(struct input *input, const struct snapshot_reader *reader,
                           Raftkv__V1__SnapshotRecord *records, size_t count) {
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        raftkv__v1__snapshot_record__init(&records[i]);
        records[i].key = take_bytes(input);
        records[i].value = take_bytes(input);
        records[i].create_revision = take_near(input, 1);
        records[i].modify_revision = take_near(input, reader->index);
        records[i].version = take_near(input, 1);
        bytes += records[i].key.len + records[i].value.len;
    }
    return bytes;
}

static void build(struct input *input, const struct snapshot_reader *reader, struct buffer *chunk) {
    Raftkv__V1__SnapshotChunk message = RAFTKV__V1__SNAPSHOT_CHUNK__INIT;
    Raftkv__V1__SnapshotRecord records[RECORDS_MAX], *pointers[RECORDS_MAX];
    uint8_t shape = take_byte(input);
    uint8_t *data;
    size_t size, bytes;

    message.n_records = shape % RECORDS_MAX;
    message.records = pointers;
    for (size_t i = 0; i < message.n_records; i++)
        pointers[i] = &records[i];
    message.last = shape & 0x80;
    bytes = take_records(input, reader, records, message.n_records);
    message.index = take_near(input, reader->index);
    message.sequence = take_near(input, reader->chunks);
    message.total_records = take_near(input, reader->records + message.n_records);
    message.total_bytes = take_near(input, reader->bytes + bytes);
    data = pack(&message.base, 0, &size);
    buffer_append(chunk, data, size);
    free(data);
}

void take_chunk(struct input *input, const struct snapshot_reader *reader, struct buffer *chunk) {
    uint8_t kind = take_byte(input);
    size_t start = chunk->size;
    uint32_t checksum;

    if (kind % 4 == 3) {
        struct input raw = take_part(input, take_number(input, 2));

        buffer_append(chunk, raw.data, raw.size);
    } else {
        build(input, reader, chunk);
    }
    checksum = chunk->size > start
                   ? crc32c(reader->checksum, chunk->data + start, chunk->size - start)
                   : reader->checksum;
    checksum = htole32((uint32_t)take_near(input, checksum));
    buffer_append(chunk, &checksum, sizeof checksum);
}

struct snapshot_header take_snapshot_header(struct input *input) {
    struct snapshot_header header = {
        .index = take_near(input, 100),
        .term = take_near(input, 3),
        .configuration_index = take_near(input, 0),
        .records_estimate = take_near(input, 4),
        .bytes_estimate = take_near(input, 1000),
    };
    struct input configuration = take_part(input, take_byte(input) % 16);

    header.configuration = (uint8_t *)(uintptr_t)configuration.data;
    header.configuration_size = configuration.size;
    return header;
}
