/*
 * frame: cuts a stream of bytes into frames: a 4-byte big-endian length, then that many bytes.
 * Between nodes two checksums follow the length (CRC-32C, big-endian), one of the length, so that a
 * wrong one is not waited for, and one of the content.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

enum { FRAME_HEADER_SIZE = 4, FRAME_CHECKED_HEADER_SIZE = 12 };

enum frame_kind {
    FRAME_PLAIN,   /* to and from clients */
    FRAME_CHECKED, /* between nodes */
};

/*
 * Frames that arrived whole are read where they lie; only what is not complete yet is copied and
 * held. Memory grows with what was received, never with what a length promises.
 */
struct frame_reader {
    enum frame_kind kind;
    size_t frame_max; /* bytes that a frame's content may have */
    struct buffer held;
    size_t start;         /* of `held`: what was read already */
    const uint8_t *fresh; /* what was received last, while nothing is held */
    size_t fresh_size;
};

/* Adds what was received. It must stay valid until frame_reader_keep(). */
void frame_reader_feed(struct frame_reader *reader, const uint8_t *data, size_t size);
/*
 * The next frame: returns 1 and its content, which is valid until the next call for this reader; 0
 * when more must be received first; -EMSGSIZE, with the length in *ret_size, when the frame is
 * longer than frame_max; -EBADMSG when it is not what was sent.
 */
int frame_reader_next(struct frame_reader *reader, const uint8_t **ret, size_t *ret_size);
/* Copies what was not read yet, and gives back memory that is not needed for it. */
void frame_reader_keep(struct frame_reader *reader);
/* Bytes of memory that it holds. */
size_t frame_reader_memory(const struct frame_reader *reader);
void frame_reader_deinit(struct frame_reader *reader);

size_t frame_header_size(enum frame_kind kind);
/* Writes the header of a frame whose content of this size lies behind it already. */
void frame_put_header(enum frame_kind kind, uint8_t *frame, size_t size);
