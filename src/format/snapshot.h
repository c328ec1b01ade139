/*
 * snapshot: a whole state at one applied index as bytes: a header, then chunks of records in key
 * order. What streams, stages and backups hold.
 *
 * A chunk is an encoded SnapshotChunk (proto/snapshot.proto), then four bytes, little-endian: the
 * CRC-32C of all encoded SnapshotChunks up to and including this one. So a chunk fits only behind
 * the one it was made to follow.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/memory.h"
#include "format/state_record.h"

enum {
    SNAPSHOT_CHUNK_BYTES_MAX = 1024 * 1024, /* of records in a chunk, about */
    SNAPSHOT_CHUNK_RECORDS_MAX = 16384,
    /* One record may come on top. */
    SNAPSHOT_CHUNK_SIZE_MAX = SNAPSHOT_CHUNK_BYTES_MAX + VALUE_SIZE_MAX + KEY_SIZE_MAX + 1024,
    SNAPSHOT_CONFIGURATION_MAX = 64 * 1024,
    SNAPSHOT_HEADER_SIZE_MAX = SNAPSHOT_CONFIGURATION_MAX + 1024,
};

/* What is known of a snapshot before its first chunk. */
struct snapshot_header {
    uint64_t index;               /* applied; never 0 */
    uint64_t term;                /* of index; never 0 */
    uint64_t configuration_index; /* 0: no configuration was applied yet */
    uint8_t *configuration;       /* raft's encoding; NULL with configuration_index 0 */
    size_t configuration_size;
    uint64_t records_estimate; /* about how many keys there are; 0 in an empty state */
    uint64_t bytes_estimate;   /* about how many bytes of keys and values */
};

#define SNAPSHOT_HEADER_NULL ((struct snapshot_header){0})

/* Appends the encoded SnapshotHeader. */
void snapshot_header_encode(const struct snapshot_header *header, struct buffer *buffer);
/* Decodes what another node wrote: -EBADMSG with the reason when it is not a valid header. The
 * configuration is not looked into. snapshot_header_deinit() frees *ret. */
int snapshot_header_decode(struct snapshot_header *ret, const void *data, size_t size,
                           struct failure *failure);
void snapshot_header_deinit(struct snapshot_header *header);

/* Reading chunks, in the order they were made: what a stage and a backup share. */

struct snapshot_reader {
    uint64_t index;                  /* of the snapshot */
    uint64_t chunks, records, bytes; /* read so far; chunks is also the sequence number expected */
    uint32_t checksum;
    bool complete;     /* the last chunk was read */
    struct buffer key; /* the last one read */
};

/* A record of a chunk; the pointers are into what was decoded. */
struct snapshot_record {
    const uint8_t *key;
    size_t key_size;
    struct state_record record;
};

/* A decoded chunk. */
struct snapshot_chunk {
    struct snapshot_record *records;
    size_t count;
    bool last;
    void *message; /* owns what the records point to */
    /* How the reader stands behind it. */
    uint64_t bytes;
    uint32_t checksum;
};

/* For the chunks of the snapshot at this index. */
void snapshot_reader_init(struct snapshot_reader *reader, uint64_t index);
void snapshot_reader_deinit(struct snapshot_reader *reader);
/*
 * Decodes the next chunk and checks all of it: checksum, index, sequence number, totals, sizes and
 * revisions of each record, keys ascending. -EBADMSG with the reason; the reader is as before then.
 * It moves on only with snapshot_reader_accept(). snapshot_chunk_deinit() frees *ret.
 */
int snapshot_reader_decode(const struct snapshot_reader *reader, const void *data, size_t size,
                           struct snapshot_chunk *ret, struct failure *failure);
void snapshot_reader_accept(struct snapshot_reader *reader, const struct snapshot_chunk *chunk);
void snapshot_chunk_deinit(struct snapshot_chunk *chunk);
