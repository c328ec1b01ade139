/* chunks: snapshot chunks for the targets that read them, made from an input: mostly right. */
#pragma once

#include "fuzz.h"
#include "store/snapshot.h"

/* Mostly `right`. */
uint64_t take_near(struct input *input, uint64_t right);
/* Appends a chunk that would be the next one for this reader, but for what the input says. */
void take_chunk(struct input *input, const struct snapshot_reader *reader, struct buffer *chunk);
/* A header, mostly a valid one; its configuration points into the input. */
struct snapshot_header take_snapshot_header(struct input *input);
