#include "rpc/frame.h"

#include <errno.h>
#include <stdbool.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/defect.h"

static uint32_t get_number(const uint8_t *data) {
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void put_number(uint8_t *data, uint32_t number) {
    data[0] = (uint8_t)(number >> 24);
    data[1] = (uint8_t)(number >> 16);
    data[2] = (uint8_t)(number >> 8);
    data[3] = (uint8_t)number;
}

static bool matches(const uint8_t *checksum, const uint8_t *data, size_t size) {
    return get_number(checksum) == crc32c(0, data, size) || DEFECT(DAMAGE_ACCEPTED);
}

void frame_reader_feed(struct frame_reader *reader, const uint8_t *data, size_t size) {
    check(reader->fresh_size == 0);
    if (reader->held.size > reader->start) {
        buffer_append(&reader->held, data, size);
        return;
    }
    reader->fresh = data;
    reader->fresh_size = size;
}

int frame_reader_next(struct frame_reader *reader, const uint8_t **ret, size_t *ret_size) {
    size_t held = reader->held.size - reader->start;
    const uint8_t *data = held ? reader->held.data + reader->start : reader->fresh;
    size_t size = held ? held : reader->fresh_size;
    size_t header_size = frame_header_size(reader->kind), length;
    bool checked = reader->kind == FRAME_CHECKED;

    if (size < FRAME_HEADER_SIZE)
        return 0;
    length = get_number(data);
    if (length > reader->frame_max) {
        *ret_size = length;
        return -EMSGSIZE;
    }
    if (size < header_size)
        return 0;
    if (checked && !matches(data + 4, data, 4))
        return -EBADMSG;
    if (size - header_size < length)
        return 0;
    if (checked && !matches(data + 8, data + header_size, length))
        return -EBADMSG;
    if (held) {
        reader->start += header_size + length;
    } else {
        reader->fresh += header_size + length;
        reader->fresh_size -= header_size + length;
    }
    *ret = data + header_size;
    *ret_size = length;
    return 1;
}

void frame_reader_keep(struct frame_reader *reader) {
    struct buffer rest = BUFFER_NULL;

    if (reader->fresh_size == 0 && reader->start == 0)
        return;
    if (reader->fresh_size > 0)
        buffer_append(&rest, reader->fresh, reader->fresh_size);
    else
        buffer_append(&rest, reader->held.data + reader->start, reader->held.size - reader->start);
    buffer_deinit(&reader->held);
    reader->held = rest;
    reader->start = 0;
    reader->fresh = NULL;
    reader->fresh_size = 0;
}

size_t frame_reader_memory(const struct frame_reader *reader) {
    return reader->held.capacity;
}

void frame_reader_deinit(struct frame_reader *reader) {
    buffer_deinit(&reader->held);
    reader->start = 0;
    reader->fresh = NULL;
    reader->fresh_size = 0;
}

size_t frame_header_size(enum frame_kind kind) {
    return kind == FRAME_CHECKED ? FRAME_CHECKED_HEADER_SIZE : FRAME_HEADER_SIZE;
}

void frame_put_header(enum frame_kind kind, uint8_t *frame, size_t size) {
    check(size <= UINT32_MAX);
    put_number(frame, (uint32_t)size);
    if (kind != FRAME_CHECKED)
        return;
    put_number(frame + 4, crc32c(0, frame, 4));
    put_number(frame + 8, crc32c(0, frame + FRAME_CHECKED_HEADER_SIZE, size));
}
