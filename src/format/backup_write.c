/* Writing a backup, piece by piece, into buffers. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "format/backup_read.h"
#include "format/snapshot_codec.h"

static void append_number32(struct buffer *buffer, uint32_t number) {
    number = htole32(number);
    buffer_append(buffer, &number, sizeof number);
}

static void append_number64(struct buffer *buffer, uint64_t number) {
    number = htole64(number);
    buffer_append(buffer, &number, sizeof number);
}

/* The checksum covers all that was appended from `start` on, and what came before. */
static void add_to_checksum(struct backup_writer *writer, const struct buffer *buffer,
                            size_t start) {
    writer->checksum = crc32c(writer->checksum, buffer->data + start, buffer->size - start);
}

void backup_header_encode(const struct backup_header *header, struct buffer *buffer) {
    Raftkv__V1__SnapshotHeader snapshot;
    Raftkv__V1__BackupHeader message;
    _cleanup_free_ uint8_t *data = NULL;
    size_t size;

    snapshot_header_to_message(&header->snapshot, &snapshot);
    raftkv__v1__backup_header__init(&message);
    message.cluster_id = header->cluster_id;
    message.version = (char *)(uintptr_t)header->version;
    message.snapshot = &snapshot;
    data = pack(&message.base, 0, &size);
    buffer_append(buffer, data, size);
}

void backup_writer_begin(struct backup_writer *writer, const struct backup_header *header,
                         struct buffer *buffer) {
    _cleanup_(buffer_deinit) struct buffer encoded = BUFFER_NULL;
    size_t start = buffer->size;

    check(header->snapshot.index > 0);
    *writer = (struct backup_writer){0};
    snapshot_reader_init(&writer->reader, header->snapshot.index);
    backup_header_encode(header, &encoded);
    buffer_append(buffer, BACKUP_MAGIC, BACKUP_MAGIC_SIZE);
    append_number32(buffer, BACKUP_FORMAT);
    append_number32(buffer, (uint32_t)encoded.size);
    buffer_append(buffer, encoded.data, encoded.size);
    append_number32(buffer, crc32c(0, buffer->data + start, buffer->size - start));
    add_to_checksum(writer, buffer, start);
}

int backup_writer_chunk(struct backup_writer *writer, const void *data, size_t size,
                        struct buffer *buffer, struct failure *failure) {
    struct snapshot_chunk chunk;
    size_t start = buffer->size;
    int r;

    r = snapshot_reader_decode(&writer->reader, data, size, &chunk, failure);
    if (r < 0)
        return r;
    snapshot_reader_accept(&writer->reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    append_number32(buffer, (uint32_t)size);
    buffer_append(buffer, data, size);
    add_to_checksum(writer, buffer, start);
    return 0;
}

int backup_writer_end(struct backup_writer *writer, struct buffer *buffer,
                      struct failure *failure) {
    size_t start = buffer->size;

    if (!writer->reader.complete) {
        failure_set(failure, ERROR_INVALID_ARGUMENT, "The backup lacks its last chunk.");
        return -EBADMSG;
    }
    append_number32(buffer, 0);
    append_number64(buffer, writer->reader.chunks);
    append_number64(buffer, writer->reader.records);
    append_number64(buffer, writer->reader.bytes);
    add_to_checksum(writer, buffer, start);
    append_number32(buffer, writer->checksum);
    return 0;
}

void backup_writer_deinit(struct backup_writer *writer) {
    snapshot_reader_deinit(&writer->reader);
}

void backup_header_deinit(struct backup_header *header) {
    snapshot_header_deinit(&header->snapshot);
    *header = (struct backup_header){0};
}

void backup_summary_deinit(struct backup_summary *summary) {
    backup_header_deinit(&summary->header);
    *summary = (struct backup_summary){0};
}
