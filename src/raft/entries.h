/*
 * entries: the log as the loop thread knows it: the term of every entry that is retained, and the
 * most recent entries themselves, up to a byte limit. Entries that are not yet durable and applied
 * are never dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"

enum {
    ENTRY_OVERHEAD = 96,   /* what a cached entry costs beside its data */
    UNAPPLIED_FACTOR = 16, /* times the limit: above that also what is not applied goes */
};

/* Memory that one or more entries lie in. Counted, on the loop thread only. */
struct blob {
    unsigned references;
    void *memory; /* malloc's or raft_malloc's */
};
struct blob *blob_new(void *memory);
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);

struct cached_entry {
    struct log_entry entry;
    struct blob *blob;
};

/* Consecutive entries of one term. */
struct term_run {
    uint64_t first_index;
    uint64_t term;
};

/* How many bytes of entries the log had gathered before an index: kept now and then, to tell what a
 * part of the log weighs. */
struct weight {
    uint64_t index;
    uint64_t bytes;
};

struct entries {
    uint64_t first_index; /* of the log */
    uint64_t last_index;
    uint64_t previous_term; /* of first_index - 1; 0: unknown */

    struct term_run *runs;
    size_t run_count, run_capacity;

    struct weight *weights;
    size_t weight_count, weight_capacity;
    uint64_t total_bytes; /* of all entries ever appended */

    struct cached_entry *ring; /* [cached_first, last_index], at index % capacity */
    size_t capacity;           /* a power of two */
    uint64_t cached_first;
    size_t bytes, bytes_max;
};

/* An empty log that begins at first_index, after an entry of previous_term (0: none or unknown). */
void entries_init(struct entries *entries, uint64_t first_index, uint64_t previous_term,
                  size_t bytes_max);
void entries_deinit(struct entries *entries);
/* Appends the term and size of an entry whose data stays on disk. Only before anything was cached.
 */
void entries_append_term(struct entries *entries, uint64_t term, size_t size);
/* Appends an entry; takes a reference of the blob over. */
void entries_append(struct entries *entries, const struct log_entry *entry, struct blob *blob);
/* Drops entries from index on. */
void entries_truncate(struct entries *entries, uint64_t index);
/* Drops entries below first_index, which is at most last_index + 1. */
void entries_cut(struct entries *entries, uint64_t first_index);
/* The log is empty behind an entry of that index and term. */
void entries_reset(struct entries *entries, uint64_t index, uint64_t term);
/* The lowest index from which on to `last` the entries weigh no more than this (to a granularity of
 * some hundred entries). */
uint64_t entries_within(const struct entries *entries, uint64_t last, uint64_t bytes);
/* 0: not in the log. first_index - 1 is answered too when it is known. */
uint64_t entries_term(const struct entries *entries, uint64_t index);
/* NULL: not in memory. */
const struct cached_entry *entries_find(const struct entries *entries, uint64_t index);
/* Drops the oldest cached entries while there are more bytes than the limit: those that are applied
 * and durable, and far above the limit, where applying can't keep up, all that are durable. */
void entries_evict(struct entries *entries, uint64_t applied, uint64_t durable);
