/*
 * record: the bytes of one record of the raft log, as ARCHITECTURE.md tables them. All numbers are
 * little-endian. Berkeley DB checks that a record is whole, but not that it is the one that belongs
 * there; so each says whose it is, which one it is, and its checksum covers its position.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"
#include "base/memory.h"
#include "store/log.h"

enum {
    RECORD_FORMAT = 1,
    RECORD_HEADER_SIZE = 48,
    RECORD_BATCH_HEADER_SIZE = 12, /* before the entries of a batch */
    RECORD_ENTRY_HEADER_SIZE = 13, /* before the data of each entry */
    RECORD_VOTE_SIZE = 16,
};

enum record_kind {
    RECORD_BATCH = 1, /* entries from an index on; they replace those from that index on */
    RECORD_VOTE = 2,  /* term and vote */
    RECORD_MARK = 3,  /* the mark, at most the last index */
    RECORD_RESET = 4, /* the mark; the log has no entries and goes on behind it */
};

/* Where a record is: Berkeley DB's LSN. */
struct position {
    uint32_t file;
    uint32_t offset;
};

struct record {
    enum record_kind kind;
    bool first; /* of its file: the content begins with a restatement */
    uint64_t member_id;
    uint64_t run;      /* incarnation of the process that wrote it */
    uint64_t sequence; /* 1 for the first record of a log, then +1 */
    uint64_t durable;  /* all records up to this sequence were durable when this one was written */
    const uint8_t *content;
    size_t content_size;
};

/* What the first record of each file says again, so that the files before it can go. */
struct restatement {
    uint32_t file;
    uint64_t term;
    uint64_t vote;
    uint64_t last_index; /* of the entries before this record */
    struct log_mark mark;
};

/* Bytes of a restatement with that mark. */
size_t restatement_size(const struct log_mark *mark);
/* Bytes of a record of the kind RECORD_MARK or RECORD_RESET, without header. */
size_t mark_size(const struct log_mark *mark);

/* Encoding: record_begin(), then restatement (when first) and content, then record_finish(). */
void record_begin(struct buffer *buffer);
void record_add_restatement(struct buffer *buffer, const struct restatement *restatement);
void record_add_batch(struct buffer *buffer, uint64_t first_index, const struct log_entry *entries,
                      uint32_t count);
void record_add_vote(struct buffer *buffer, uint64_t term, uint64_t vote);
void record_add_mark(struct buffer *buffer, const struct log_mark *mark);
/* Fills the header; content and content_size of `record` are ignored. */
void record_finish(struct buffer *buffer, const struct record *record, struct position position);

/*
 * Decodes the record in size bytes at a position; content points into data. -EBADMSG: not a whole
 * record, or not of this position. -EPROTONOSUPPORT: of a newer format.
 */
int record_parse(const uint8_t *data, size_t size, struct position position, struct record *ret);

/* Decodes a part of the content and steps over it; -EBADMSG when it is malformed. */
struct reader {
    const uint8_t *data;
    size_t size;
};
int record_read_restatement(struct reader *reader, struct restatement *ret);
int record_read_vote(struct reader *reader, uint64_t *ret_term, uint64_t *ret_vote);
/* ret->configuration points into the record. */
int record_read_mark(struct reader *reader, struct log_mark *ret);
int record_read_batch(struct reader *reader, uint64_t *ret_first_index, uint32_t *ret_count);
/* ret->data points into the record. */
int record_read_entry(struct reader *reader, struct log_entry *ret);

/* The first four bytes of every record, for who searches raw bytes. */
extern const uint8_t record_magic[4];
