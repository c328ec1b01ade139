/*
 * Records of the raft log.
 *
 * Input: 1 byte (even: the header as it is; odd: magic, size and checksum are made right first), 8
 * bytes of file and offset, the record.
 */
#include <endian.h>
#include <errno.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "fuzz.h"
#include "store/record.h"

enum { SIZE_AT = 40, CHECKSUM_AT = 44 };

static void put_u32(uint8_t *to, uint32_t number) {
    number = htole32(number);
    memcpy(to, &number, sizeof number);
}

static void make_right(uint8_t *data, size_t size, struct position position) {
    uint32_t place[2] = {htole32(position.file), htole32(position.offset)};
    uint32_t crc = crc32c(0, place, sizeof place);

    memcpy(data, record_magic, sizeof record_magic);
    put_u32(data + SIZE_AT, (uint32_t)(size - RECORD_HEADER_SIZE));
    crc = crc32c(crc, data, CHECKSUM_AT);
    crc = crc32c(crc, data + RECORD_HEADER_SIZE, size - RECORD_HEADER_SIZE);
    put_u32(data + CHECKSUM_AT, crc);
}

/* Reads a batch and writes what was read. */
static int copy_batch(struct reader *reader, struct buffer *to) {
    struct buffer entries = BUFFER_NULL;
    uint64_t first_index;
    uint32_t count, read = 0;
    int r = record_read_batch(reader, &first_index, &count);

    if (r < 0)
        return r;
    check(first_index > 0 && count > 0 && first_index + count > first_index);
    for (; r == 0 && read < count; read++) {
        struct log_entry entry;

        r = record_read_entry(reader, &entry);
        if (r == 0)
            buffer_append(&entries, &entry, sizeof entry);
    }
    if (r == 0)
        record_add_batch(to, first_index, (const struct log_entry *)(void *)entries.data, count);
    buffer_deinit(&entries);
    return r;
}

static int copy_content(const struct record *record, struct buffer *to) {
    struct reader reader = {record->content, record->content_size};
    struct restatement restatement;
    struct log_mark mark;
    uint64_t term, vote;
    int r = 0;

    if (record->first)
        r = record_read_restatement(&reader, &restatement);
    if (r < 0)
        return r;
    if (record->first)
        record_add_restatement(to, &restatement);
    switch (record->kind) {
    case RECORD_BATCH:
        r = copy_batch(&reader, to);
        break;
    case RECORD_VOTE:
        r = record_read_vote(&reader, &term, &vote);
        if (r == 0)
            record_add_vote(to, term, vote);
        break;
    case RECORD_MARK:
    case RECORD_RESET:
        r = record_read_mark(&reader, &mark);
        if (r == 0)
            record_add_mark(to, &mark);
        break;
    default:
        return -EBADMSG;
    }
    check(reader.data >= record->content &&
          reader.data + reader.size == record->content + record->content_size);
    return r == 0 && reader.size > 0 ? -EBADMSG : r;
}

/* What was read, written anew, is the same record, but for the bits that no version uses yet. */
static void look_at_record(const struct record *record, const uint8_t *data, size_t size,
                           struct position position) {
    struct buffer copy = BUFFER_NULL;
    struct record again;
    size_t whole = RECORD_HEADER_SIZE + record->content_size;

    check(record->content == data + RECORD_HEADER_SIZE && whole <= size);
    record_begin(&copy);
    if (copy_content(record, &copy) == 0) {
        check(copy.size == whole);
        check(memcmp(copy.data + RECORD_HEADER_SIZE, record->content, record->content_size) == 0);
        record_finish(&copy, record, position);
        check(record_parse(copy.data, copy.size, position, &again) == 0);
        check(again.kind == record->kind && again.first == record->first &&
              again.member_id == record->member_id && again.run == record->run &&
              again.sequence == record->sequence && again.durable == record->durable);
        position.offset++;
        check(record_parse(copy.data, copy.size, position, &again) == -EBADMSG);
    }
    buffer_deinit(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    bool right = take_byte(&input) % 2 == 1;
    struct position position = {(uint32_t)take_number(&input, 4), (uint32_t)take_number(&input, 4)};
    _cleanup_free_ uint8_t *copy = xmemdup(input.data, input.size);
    struct record record;
    int r;

    if (right && input.size >= RECORD_HEADER_SIZE)
        make_right(copy, input.size, position);
    r = record_parse(copy, input.size, position, &record);
    if (r < 0)
        check(r == -EBADMSG || r == -EPROTONOSUPPORT);
    else
        look_at_record(&record, copy, input.size, position);
    return 0;
}
