#include "store/record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"

const uint8_t record_magic[4] = {'R', 'K', 'V', 'L'};

enum { FLAG_FIRST = 1 };

/* The header on disk. */
struct header {
    uint8_t magic[4];
    uint8_t format;
    uint8_t kind;
    uint16_t flags;
    uint64_t member_id;
    uint64_t run;
    uint64_t sequence;
    uint64_t durable;
    uint32_t content_size;
    uint32_t checksum; /* CRC-32C of file, offset, the header before this field, and the content */
};

_Static_assert(sizeof(struct header) == RECORD_HEADER_SIZE, "the header has no padding");
_Static_assert(RECORD_HEADER_SIZE + 64 + CONFIGURATION_SIZE_MAX + RECORD_BATCH_HEADER_SIZE +
                       RECORD_ENTRY_HEADER_SIZE + ENTRY_SIZE_MAX <=
                   LOG_RECORD_SIZE_MAX,
               "every entry fits into a record");

static uint32_t checksum(const void *header, const uint8_t *content, size_t size,
                         struct position position) {
    uint32_t place[2] = {htole32(position.file), htole32(position.offset)};
    uint32_t crc = crc32c(0, place, sizeof place);

    crc = crc32c(crc, header, offsetof(struct header, checksum));
    return crc32c(crc, content, size);
}

static void add_u8(struct buffer *buffer, uint8_t number) {
    buffer_append(buffer, &number, sizeof number);
}

static void add_u32(struct buffer *buffer, uint32_t number) {
    number = htole32(number);
    buffer_append(buffer, &number, sizeof number);
}

static void add_u64(struct buffer *buffer, uint64_t number) {
    number = htole64(number);
    buffer_append(buffer, &number, sizeof number);
}

void record_begin(struct buffer *buffer) {
    buffer->size = 0;
    memset(buffer_reserve(buffer, RECORD_HEADER_SIZE), 0, RECORD_HEADER_SIZE);
    buffer->size = RECORD_HEADER_SIZE;
}

size_t mark_size(const struct log_mark *mark) {
    return 3 * sizeof(uint64_t) + sizeof(uint32_t) + mark->configuration_size;
}

size_t restatement_size(const struct log_mark *mark) {
    return sizeof(uint32_t) + 3 * sizeof(uint64_t) + mark_size(mark);
}

void record_add_restatement(struct buffer *buffer, const struct restatement *restatement) {
    add_u32(buffer, restatement->file);
    add_u64(buffer, restatement->term);
    add_u64(buffer, restatement->vote);
    add_u64(buffer, restatement->last_index);
    record_add_mark(buffer, &restatement->mark);
}

void record_add_batch(struct buffer *buffer, uint64_t first_index, const struct log_entry *entries,
                      uint32_t count) {
    add_u64(buffer, first_index);
    add_u32(buffer, count);
    for (uint32_t i = 0; i < count; i++) {
        add_u64(buffer, entries[i].term);
        add_u8(buffer, entries[i].type);
        add_u32(buffer, (uint32_t)entries[i].size);
        buffer_append(buffer, entries[i].data, entries[i].size);
    }
}

void record_add_vote(struct buffer *buffer, uint64_t term, uint64_t vote) {
    add_u64(buffer, term);
    add_u64(buffer, vote);
}

void record_add_mark(struct buffer *buffer, const struct log_mark *mark) {
    add_u64(buffer, mark->index);
    add_u64(buffer, mark->term);
    add_u64(buffer, mark->configuration_index);
    add_u32(buffer, (uint32_t)mark->configuration_size);
    buffer_append(buffer, mark->configuration, mark->configuration_size);
}

void record_finish(struct buffer *buffer, const struct record *record, struct position position) {
    const uint8_t *content = buffer->data + RECORD_HEADER_SIZE;
    size_t content_size = buffer->size - RECORD_HEADER_SIZE;
    struct header header = {
        .format = RECORD_FORMAT,
        .kind = (uint8_t)record->kind,
        .flags = htole16(record->first ? FLAG_FIRST : 0),
        .member_id = htole64(record->member_id),
        .run = htole64(record->run),
        .sequence = htole64(record->sequence),
        .durable = htole64(record->durable),
        .content_size = htole32((uint32_t)content_size),
    };

    check(buffer->size <= LOG_RECORD_SIZE_MAX);
    memcpy(header.magic, record_magic, sizeof header.magic);
    header.checksum = htole32(checksum(&header, content, content_size, position));
    memcpy(buffer->data, &header, sizeof header);
}

int record_parse(const uint8_t *data, size_t size, struct position position, struct record *ret) {
    struct header header;
    size_t content_size;

    if (size < sizeof header)
        return -EBADMSG;
    memcpy(&header, data, sizeof header);
    if (memcmp(header.magic, record_magic, sizeof header.magic) != 0)
        return -EBADMSG;
    if (header.format > RECORD_FORMAT)
        return -EPROTONOSUPPORT;
    content_size = le32toh(header.content_size);
    if (content_size > LOG_RECORD_SIZE_MAX || content_size > size - sizeof header)
        return -EBADMSG;
    if (le32toh(header.checksum) != checksum(&header, data + sizeof header, content_size, position))
        return -EBADMSG;
    *ret = (struct record){
        .kind = header.kind,
        .first = le16toh(header.flags) & FLAG_FIRST,
        .member_id = le64toh(header.member_id),
        .run = le64toh(header.run),
        .sequence = le64toh(header.sequence),
        .durable = le64toh(header.durable),
        .content = data + sizeof header,
        .content_size = content_size,
    };
    return 0;
}

static int take(struct reader *reader, size_t size, const uint8_t **ret) {
    if (reader->size < size)
        return -EBADMSG;
    *ret = reader->data;
    reader->data += size;
    reader->size -= size;
    return 0;
}

static int take_u32(struct reader *reader, uint32_t *ret) {
    const uint8_t *data;
    int r = take(reader, sizeof *ret, &data);

    if (r < 0)
        return r;
    memcpy(ret, data, sizeof *ret);
    *ret = le32toh(*ret);
    return 0;
}

static int take_u64(struct reader *reader, uint64_t *ret) {
    const uint8_t *data;
    int r = take(reader, sizeof *ret, &data);

    if (r < 0)
        return r;
    memcpy(ret, data, sizeof *ret);
    *ret = le64toh(*ret);
    return 0;
}

int record_read_mark(struct reader *reader, struct log_mark *ret) {
    struct log_mark mark = {0};
    const uint8_t *configuration;
    uint32_t size;

    if (take_u64(reader, &mark.index) < 0 || take_u64(reader, &mark.term) < 0 ||
        take_u64(reader, &mark.configuration_index) < 0 || take_u32(reader, &size) < 0 ||
        take(reader, size, &configuration) < 0)
        return -EBADMSG;
    mark.configuration = (uint8_t *)(uintptr_t)configuration;
    mark.configuration_size = size;
    *ret = mark;
    return 0;
}

int record_read_restatement(struct reader *reader, struct restatement *ret) {
    struct restatement restatement;

    if (take_u32(reader, &restatement.file) < 0 || take_u64(reader, &restatement.term) < 0 ||
        take_u64(reader, &restatement.vote) < 0 || take_u64(reader, &restatement.last_index) < 0 ||
        record_read_mark(reader, &restatement.mark) < 0)
        return -EBADMSG;
    *ret = restatement;
    return 0;
}

int record_read_vote(struct reader *reader, uint64_t *ret_term, uint64_t *ret_vote) {
    uint64_t term, vote;

    if (take_u64(reader, &term) < 0 || take_u64(reader, &vote) < 0)
        return -EBADMSG;
    *ret_term = term;
    *ret_vote = vote;
    return 0;
}

int record_read_batch(struct reader *reader, uint64_t *ret_first_index, uint32_t *ret_count) {
    uint64_t first_index;
    uint32_t count;

    if (take_u64(reader, &first_index) < 0 || take_u32(reader, &count) < 0)
        return -EBADMSG;
    if (first_index == 0 || count == 0 || count > UINT64_MAX - first_index)
        return -EBADMSG;
    *ret_first_index = first_index;
    *ret_count = count;
    return 0;
}

int record_read_entry(struct reader *reader, struct log_entry *ret) {
    struct log_entry entry;
    const uint8_t *type;
    uint32_t size;

    if (take_u64(reader, &entry.term) < 0 || take(reader, 1, &type) < 0 ||
        take_u32(reader, &size) < 0 || take(reader, size, &entry.data) < 0)
        return -EBADMSG;
    entry.type = *type;
    entry.size = size;
    *ret = entry;
    return 0;
}
