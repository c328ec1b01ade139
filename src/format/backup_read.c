/* Reading a backup. Nothing in it is believed before it was checked; memory is bounded by the
 * limits on a chunk. */
#include "format/backup_read.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "format/snapshot_codec.h"

static const struct unpack_limits header_limits = {
    .size = BACKUP_HEADER_SIZE_MAX,
    .repeated = 0,
    .fields = 64,
    .depth = 3,
};

struct backup_file {
    int fd;
    uint64_t offset; /* of the next byte to read */
    uint32_t checksum;
    struct snapshot_reader reader;
    struct buffer data; /* a header or a chunk */
    struct failure *failure;
};

static int damaged(struct backup_file *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What the format says ends the sentence "The backup is damaged at byte N: ". */
static int damaged(struct backup_file *file, uint64_t offset, const char *format, ...) {
    char reason[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return failure_set(file->failure, ERROR_INVALID_ARGUMENT,
                       "The backup is damaged at byte %" PRIu64 ": %s", offset, reason);
}

/* Reads up to `size` bytes; fewer only at the end of the file. */
static int read_some(struct backup_file *file, void *data, size_t size, size_t *ret) {
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(file->fd, (uint8_t *)data + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int error = -errno;

            failure_set(file->failure, ERROR_INTERNAL,
                        "Can't read the backup at byte %" PRIu64 ": %s.", file->offset + done,
                        strerror(-error));
            return error;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    file->offset += done;
    *ret = done;
    return 0;
}

/* Reads exactly so many bytes, into the checksum too. */
static int read_all(struct backup_file *file, void *data, size_t size) {
    size_t got = 0;
    int r = read_some(file, data, size, &got);

    if (r != 0)
        return r;
    if (got < size)
        return damaged(file, file->offset, "the file ends there, too early.");
    file->checksum = crc32c(file->checksum, data, size);
    return 0;
}

static int read_number32(struct backup_file *file, uint32_t *ret) {
    uint32_t number;
    int r = read_all(file, &number, sizeof number);

    if (r == 0)
        *ret = le32toh(number);
    return r;
}

static int read_data(struct backup_file *file, size_t size) {
    file->data.size = 0;
    buffer_reserve(&file->data, size);
    file->data.size = size;
    return read_all(file, file->data.data, size);
}

static int bad_header(struct failure *failure, const char *reason) {
    failure_set(failure, ERROR_INVALID_ARGUMENT, "%s", reason);
    return -EBADMSG;
}

int backup_header_decode(struct backup_header *ret, const void *data, size_t size,
                         struct failure *failure) {
    struct backup_header header = {0};
    const Raftkv__V1__BackupHeader *message;
    ProtobufCMessage *base;
    const char *reason;
    int r;

    r = unpack(&raftkv__v1__backup_header__descriptor, data, size, &header_limits, &base, &reason);
    if (r < 0)
        return bad_header(failure, reason);
    message = (const Raftkv__V1__BackupHeader *)base;
    if (!message->snapshot)
        r = bad_header(failure, "it does not say what it is a backup of.");
    else if (strlen(message->version) > BACKUP_VERSION_MAX)
        r = bad_header(failure, "the version in it is too long.");
    else
        r = snapshot_header_from_message(&header.snapshot, message->snapshot, failure);
    if (r == 0) {
        header.cluster_id = message->cluster_id;
        snprintf(header.version, sizeof header.version, "%s", message->version);
        *ret = header;
    }
    protobuf_c_message_free_unpacked(base, NULL);
    return r;
}

/* Magic, format and size. */
static int read_start(struct backup_file *file, uint32_t *ret_size) {
    uint8_t magic[BACKUP_MAGIC_SIZE];
    uint32_t format;
    size_t got = 0;
    int r;

    r = read_some(file, magic, sizeof magic, &got);
    if (r != 0)
        return r;
    if (got < sizeof magic || memcmp(magic, BACKUP_MAGIC, sizeof magic) != 0)
        return failure_set(file->failure, ERROR_INVALID_ARGUMENT,
                           "This is not a backup of raftkv: it does not begin with " BACKUP_MAGIC
                           " at byte 0.");
    file->checksum = crc32c(0, magic, sizeof magic);
    r = read_number32(file, &format);
    if (r != 0)
        return r;
    if (format != BACKUP_FORMAT)
        return failure_set(file->failure, ERROR_INVALID_ARGUMENT,
                           "The backup says at byte %d that it has format %" PRIu32
                           ", but this raftkv reads format %d only.",
                           BACKUP_MAGIC_SIZE, format, BACKUP_FORMAT);
    r = read_number32(file, ret_size);
    if (r == 0 && *ret_size > BACKUP_HEADER_SIZE_MAX)
        return damaged(file, BACKUP_MAGIC_SIZE + 4,
                       "a header of %" PRIu32 " bytes; at most %d are allowed.", *ret_size,
                       BACKUP_HEADER_SIZE_MAX);
    return r;
}

static int read_header(struct backup_file *file, struct backup_header *ret) {
    uint32_t size = 0, checksum, expected;
    struct failure why;
    int r;

    r = read_start(file, &size);
    if (r == 0)
        r = read_data(file, size);
    if (r != 0)
        return r;
    expected = file->checksum;
    r = read_number32(file, &checksum);
    if (r != 0)
        return r;
    if (checksum != expected)
        return damaged(file, 0, "the checksum of the header, at byte %" PRIu64 ", is wrong.",
                       file->offset - sizeof checksum);
    if (backup_header_decode(ret, file->data.data, file->data.size, &why) < 0)
        return damaged(file, BACKUP_START_SIZE, "%s", why.message);
    return 0;
}

static int read_chunk(struct backup_file *file, uint32_t size,
                      const struct backup_visitor *visitor) {
    uint64_t offset = file->offset;
    struct snapshot_chunk chunk;
    struct failure why;
    int r;

    if (size > SNAPSHOT_CHUNK_SIZE_MAX)
        return damaged(file, offset - sizeof size,
                       "a chunk of %" PRIu32 " bytes; at most %d are allowed.", size,
                       SNAPSHOT_CHUNK_SIZE_MAX);
    r = read_data(file, size);
    if (r != 0)
        return r;
    if (snapshot_reader_decode(&file->reader, file->data.data, size, &chunk, &why) < 0)
        return damaged(file, offset, "%s", why.message);
    snapshot_reader_accept(&file->reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    return visitor ? visitor->chunk(visitor->data, file->data.data, size, file->failure) : 0;
}

static int read_trailer(struct backup_file *file) {
    const struct snapshot_reader *reader = &file->reader;
    uint64_t offset = file->offset, numbers[3];
    uint32_t checksum, expected;
    size_t got = 0;
    uint8_t more;
    int r;

    _Static_assert(sizeof numbers == BACKUP_TRAILER_SIZE, "the numbers of the trailer");
    if (!reader->complete)
        return damaged(file, offset - 4, "it ends before its last chunk.");
    r = read_all(file, numbers, sizeof numbers);
    if (r != 0)
        return r;
    expected = file->checksum;
    if (le64toh(numbers[0]) != reader->chunks || le64toh(numbers[1]) != reader->records ||
        le64toh(numbers[2]) != reader->bytes)
        return damaged(file, offset, "the file does not hold what its end says it does.");
    r = read_number32(file, &checksum);
    if (r != 0)
        return r;
    if (checksum != expected)
        return damaged(file, file->offset - sizeof checksum,
                       "the checksum of the whole file is wrong.");
    r = read_some(file, &more, 1, &got);
    if (r == 0 && got > 0)
        return damaged(file, file->offset - 1, "the file goes on behind its end.");
    return r;
}

static int read_file(struct backup_file *file, const struct backup_visitor *visitor,
                     backup_progress progress, void *data, struct backup_summary *ret) {
    uint32_t size;
    int r;

    r = read_header(file, &ret->header);
    if (r != 0)
        return r;
    snapshot_reader_init(&file->reader, ret->header.snapshot.index);
    r = visitor ? visitor->header(visitor->data, &ret->header, file->failure) : 0;
    for (;;) {
        if (r == 0)
            r = read_number32(file, &size);
        if (r != 0)
            return r;
        if (size == 0)
            return read_trailer(file);
        r = read_chunk(file, size, visitor);
        if (progress)
            progress(data, file->offset);
    }
}

int backup_read(int fd, const struct backup_visitor *visitor, backup_progress progress, void *data,
                struct backup_summary *ret, struct failure *failure) {
    struct backup_file file = {.fd = fd, .failure = failure};
    struct backup_summary summary = {0};
    int r;

    r = read_file(&file, visitor, progress, data, &summary);
    if (r == 0) {
        summary.chunks = file.reader.chunks;
        summary.records = file.reader.records;
        summary.bytes = file.reader.bytes;
        summary.size = file.offset;
        *ret = summary;
    } else {
        backup_summary_deinit(&summary);
    }
    snapshot_reader_deinit(&file.reader);
    buffer_deinit(&file.data);
    return r;
}

int backup_check(int fd, backup_progress progress, void *data, struct backup_summary *ret,
                 struct failure *failure) {
    return backup_read(fd, NULL, progress, data, ret, failure);
}
