/* frame: cuts a stream of bytes into frames (a 4-byte big-endian length, then that many bytes). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

enum { FRAME_HEADER_SIZE = 4 };

/*
 * Frames that arrived whole are read where they lie; only what is not complete yet is copied and
 * held. Memory grows with what was received, never with what a length promises.
 */
struct frame_reader {
    size_t frame_max; /* bytes that a frame may have */
    struct buffer held;
    size_t start;         /* of `held`: what was read already */
    const uint8_t *fresh; /* what was received last, while nothing is held */
    size_t fresh_size;
};

/* Adds what was received. It must stay valid until frame_reader_keep(). */
void frame_reader_feed(struct frame_reader *reader, const uint8_t *data, size_t size);
/*
 * The next frame: returns 1 and the frame, which is valid until the next call for this reader; 0
 * when more must be received first; -EMSGSIZE, with the length in *ret_size, when the frame is
 * longer than frame_max.
 */
int frame_reader_next(struct frame_reader *reader, const uint8_t **ret, size_t *ret_size);
/* Copies what was not read yet, and gives back memory that is not needed for it. */
void frame_reader_keep(struct frame_reader *reader);
/* Bytes of memory that it holds. */
size_t frame_reader_memory(const struct frame_reader *reader);
void frame_reader_deinit(struct frame_reader *reader);

/* Writes a frame's length. */
void frame_put_length(uint8_t *header, size_t size);
