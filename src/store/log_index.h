/*
 * log_index: where in the log each retained entry is: 16 bytes a record, however many entries it
 * has. The ordinal of an entry within its record follows from the record's first index. And which
 * files there are, and up to which entry each file needs those before it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

struct log_index_slot {
    uint64_t first_index;
    struct position position;
};

struct log_index_file {
    uint32_t file;
    uint64_t last_index; /* no entry above this one is in the files before */
};

/* Zero-initialised it is not valid: log_index_reset() first. */
struct log_index {
    struct log_index_slot *slots;
    size_t count;
    size_t capacity;
    struct log_index_file *files;
    size_t file_count;
    size_t file_capacity;
    uint64_t first_index; /* of the retained entries */
    uint64_t last_index;  /* first_index - 1 when there are none */
};

/* Forgets the entries; the next one is first_index. The files stay. */
void log_index_reset(struct log_index *index, uint64_t first_index);
/*
 * A record with `count` entries from first_index (at most last_index + 1) on; it takes the place of
 * the entries from there on. Below the first retained index it takes the place of all of them.
 */
void log_index_add(struct log_index *index, uint64_t first_index, uint32_t count,
                   struct position position);
/* The records from now on are in that file, up to the next call. */
void log_index_begin_file(struct log_index *index, uint32_t file);
/*
 * The last file up to max_file that may become the first one, so that the entries from keep_from on
 * stay; 0 when there is none.
 */
uint32_t log_index_first_file_for(const struct log_index *index, uint64_t keep_from,
                                  uint32_t max_file);
/* Forgets the files before that one, and the entries that they hold. */
void log_index_cut(struct log_index *index, uint32_t first_file);
/* The record that holds an entry; NULL when the entry is not retained. */
const struct log_index_slot *log_index_find(const struct log_index *index, uint64_t entry_index);
void log_index_deinit(struct log_index *index);
