/* Headers and chunks of snapshots as bytes: what is read may come from anywhere. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "proto/unpack.h"
#include "format/snapshot_codec.h"

enum {
    CHECKSUM_SIZE = 4,
    FIELDS_OF_RECORD = 6, /* its own, and the one that holds it */
    FIELDS_AROUND = 64,
    DEPTH_MAX = 2,
};

static const struct unpack_limits chunk_limits = {
    .size = SNAPSHOT_CHUNK_SIZE_MAX,
    .repeated = SNAPSHOT_CHUNK_RECORDS_MAX,
    .fields = SNAPSHOT_CHUNK_RECORDS_MAX * FIELDS_OF_RECORD + FIELDS_AROUND,
    .depth = DEPTH_MAX,
};

static const struct unpack_limits header_limits = {
    .size = SNAPSHOT_HEADER_SIZE_MAX,
    .repeated = 0,
    .fields = FIELDS_AROUND,
    .depth = DEPTH_MAX,
};

static int bad(struct failure *failure, const char *reason) {
    failure_set(failure, ERROR_INVALID_ARGUMENT, "%s", reason);
    return -EBADMSG;
}

/* ---- headers ---- */

void snapshot_header_to_message(const struct snapshot_header *header,
                                Raftkv__V1__SnapshotHeader *message) {
    raftkv__v1__snapshot_header__init(message);
    message->index = header->index;
    message->term = header->term;
    message->configuration_index = header->configuration_index;
    message->configuration =
        (ProtobufCBinaryData){header->configuration_size, header->configuration};
    message->records_estimate = header->records_estimate;
    message->bytes_estimate = header->bytes_estimate;
}

int snapshot_header_from_message(struct snapshot_header *ret,
                                 const Raftkv__V1__SnapshotHeader *message,
                                 struct failure *failure) {
    size_t size = message->configuration.len;

    if (message->index == 0 || message->term == 0)
        return bad(failure, "The header of the snapshot lacks its index or term.");
    if (message->configuration_index > message->index)
        return bad(failure, "The configuration of the snapshot is newer than the snapshot.");
    if ((message->configuration_index == 0) != (size == 0))
        return bad(failure, "The header of the snapshot has half a configuration.");
    if (size > SNAPSHOT_CONFIGURATION_MAX)
        return bad(failure, "The configuration in the header of the snapshot is too large.");
    *ret = (struct snapshot_header){
        .index = message->index,
        .term = message->term,
        .configuration_index = message->configuration_index,
        .configuration_size = size,
        .records_estimate = message->records_estimate,
        .bytes_estimate = message->bytes_estimate,
    };
    if (size > 0) {
        ret->configuration = xmalloc(size);
        memcpy(ret->configuration, message->configuration.data, size);
    }
    return 0;
}

void snapshot_header_encode(const struct snapshot_header *header, struct buffer *buffer) {
    Raftkv__V1__SnapshotHeader message;
    _cleanup_free_ uint8_t *data = NULL;
    size_t size;

    snapshot_header_to_message(header, &message);
    data = pack(&message.base, 0, &size);
    buffer_append(buffer, data, size);
}

int snapshot_header_decode(struct snapshot_header *ret, const void *data, size_t size,
                           struct failure *failure) {
    ProtobufCMessage *message;
    const char *reason;
    int r;

    r = unpack(&raftkv__v1__snapshot_header__descriptor, data, size, &header_limits, &message,
               &reason);
    if (r < 0)
        return bad(failure, reason);
    r = snapshot_header_from_message(ret, (const Raftkv__V1__SnapshotHeader *)message, failure);
    protobuf_c_message_free_unpacked(message, NULL);
    return r;
}

void snapshot_header_deinit(struct snapshot_header *header) {
    free(header->configuration);
    *header = SNAPSHOT_HEADER_NULL;
}

/* ---- chunks ---- */

void snapshot_reader_init(struct snapshot_reader *reader, uint64_t index) {
    *reader = (struct snapshot_reader){.index = index};
}

void snapshot_reader_deinit(struct snapshot_reader *reader) {
    buffer_deinit(&reader->key);
}

static bool ascending(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common ? memcmp(a, b, common) : 0;

    return order < 0 || (order == 0 && a_size < b_size);
}

static int check_record(const struct snapshot_reader *reader,
                        const Raftkv__V1__SnapshotRecord *item, struct failure *failure) {
    if (item->base.n_unknown_fields > 0)
        return bad(failure, "A record holds what this version of raftkv does not know.");
    if (item->key.len == 0 || item->key.len > KEY_SIZE_MAX)
        return bad(failure, "A record's key is empty or too large.");
    if (item->value.len > VALUE_SIZE_MAX)
        return bad(failure, "A record's value is too large.");
    if (item->create_revision == 0 || item->create_revision > item->modify_revision ||
        item->modify_revision > reader->index || item->version == 0)
        return bad(failure, "A record's revisions or version can't be.");
    return 0;
}

/* Fills ret->records and the totals behind them. */
static int take_records(const struct snapshot_reader *reader,
                        const Raftkv__V1__SnapshotChunk *message, struct snapshot_chunk *ret,
                        struct failure *failure) {
    const uint8_t *last = reader->key.data;
    size_t last_size = reader->key.size;

    ret->records = xcalloc(message->n_records + 1, sizeof *ret->records);
    ret->count = message->n_records;
    ret->bytes = reader->bytes;
    for (size_t i = 0; i < ret->count; i++) {
        const Raftkv__V1__SnapshotRecord *item = message->records[i];
        int r = check_record(reader, item, failure);

        if (r < 0)
            return r;
        if (!ascending(last, last_size, item->key.data, item->key.len))
            return bad(failure, "A record's key does not follow the one before it.");
        last = item->key.data;
        last_size = item->key.len;
        ret->bytes += item->key.len + item->value.len;
        ret->records[i] = (struct snapshot_record){
            .key = item->key.data,
            .key_size = item->key.len,
            .record = {item->create_revision, item->modify_revision, item->version,
                       item->value.data, item->value.len},
        };
    }
    return 0;
}

static int check_chunk(const struct snapshot_reader *reader,
                       const Raftkv__V1__SnapshotChunk *message, struct snapshot_chunk *ret,
                       struct failure *failure) {
    int r;

    if (message->base.n_unknown_fields > 0)
        return bad(failure, "The chunk holds what this version of raftkv does not know.");
    if (message->index != reader->index)
        return bad(failure, "The chunk belongs to a snapshot of another index.");
    if (message->n_records == 0 && !message->last)
        return bad(failure, "The chunk holds nothing, but is not the last one.");
    ret->last = message->last;
    r = take_records(reader, message, ret, failure);
    if (r < 0)
        return r;
    if (message->total_records != reader->records + ret->count ||
        message->total_bytes != ret->bytes)
        return bad(failure, "The chunk counts other records before it than there were.");
    return 0;
}

/* By its number first: one that was sent twice is no damage. */
static int check_sequence(const struct snapshot_reader *reader,
                          const Raftkv__V1__SnapshotChunk *message, struct failure *failure) {
    if (message->sequence == reader->chunks)
        return 0;
    failure_set(failure, ERROR_INVALID_ARGUMENT,
                "The chunk has number %" PRIu64 ", but number %" PRIu64 " is the next one.",
                message->sequence, reader->chunks);
    return -EBADMSG;
}

static int decode(const struct snapshot_reader *reader, const uint8_t *data, size_t size,
                  struct snapshot_chunk *ret, struct failure *failure) {
    const Raftkv__V1__SnapshotChunk *message;
    const char *reason;
    uint32_t checksum;
    int r;

    r = unpack(&raftkv__v1__snapshot_chunk__descriptor, data, size, &chunk_limits,
               (ProtobufCMessage **)&ret->message, &reason);
    if (r < 0)
        return bad(failure, reason);
    message = ret->message;
    r = check_sequence(reader, message, failure);
    if (r < 0)
        return r;
    memcpy(&checksum, data + size, sizeof checksum);
    ret->checksum = crc32c(reader->checksum, data, size);
    if (ret->checksum != le32toh(checksum))
        return bad(failure, "The checksum of the chunk is wrong: it is damaged, or belongs to "
                            "another snapshot.");
    return check_chunk(reader, message, ret, failure);
}

int snapshot_reader_decode(const struct snapshot_reader *reader, const void *data, size_t size,
                           struct snapshot_chunk *ret, struct failure *failure) {
    struct snapshot_chunk chunk = {0};
    int r;

    if (reader->complete)
        return bad(failure, "A chunk follows the last one.");
    if (size <= CHECKSUM_SIZE || size > SNAPSHOT_CHUNK_SIZE_MAX)
        return bad(failure, "The chunk has an impossible size.");
    r = decode(reader, data, size - CHECKSUM_SIZE, &chunk, failure);
    if (r < 0) {
        snapshot_chunk_deinit(&chunk);
        return r;
    }
    *ret = chunk;
    return 0;
}

void snapshot_reader_accept(struct snapshot_reader *reader, const struct snapshot_chunk *chunk) {
    reader->chunks++;
    reader->records += chunk->count;
    reader->bytes = chunk->bytes;
    reader->checksum = chunk->checksum;
    reader->complete = chunk->last;
    if (chunk->count > 0) {
        const struct snapshot_record *last = &chunk->records[chunk->count - 1];

        reader->key.size = 0;
        buffer_append(&reader->key, last->key, last->key_size);
    }
}

void snapshot_chunk_deinit(struct snapshot_chunk *chunk) {
    if (chunk->message)
        protobuf_c_message_free_unpacked(chunk->message, NULL);
    free(chunk->records);
    *chunk = (struct snapshot_chunk){0};
}
