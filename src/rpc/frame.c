#include "rpc/frame.h"

#include <errno.h>

#include "base/check.h"

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
    size_t length;

    if (size < FRAME_HEADER_SIZE)
        return 0;
    length = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    if (length > reader->frame_max) {
        *ret_size = length;
        return -EMSGSIZE;
    }
    if (size - FRAME_HEADER_SIZE < length)
        return 0;
    if (held) {
        reader->start += FRAME_HEADER_SIZE + length;
    } else {
        reader->fresh += FRAME_HEADER_SIZE + length;
        reader->fresh_size -= FRAME_HEADER_SIZE + length;
    }
    *ret = data + FRAME_HEADER_SIZE;
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

void frame_put_length(uint8_t *header, size_t size) {
    check(size <= UINT32_MAX);
    header[0] = (uint8_t)(size >> 24);
    header[1] = (uint8_t)(size >> 16);
    header[2] = (uint8_t)(size >> 8);
    header[3] = (uint8_t)size;
}
