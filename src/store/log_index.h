/*
 * log_index: where in the log each retained entry is: 16 bytes a record, however many entries it
 * has. The ordinal of an entry within its record follows from the record's first index.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

struct log_index_slot {
    uint64_t first_index;
    struct position position;
};

/* Zero-initialised it is not valid: log_index_reset() first. */
struct log_index {
    struct log_index_slot *slots;
    size_t count;
    size_t capacity;
    uint64_t first_index; /* of the retained entries */
    uint64_t last_index;  /* first_index - 1 when there are none */
};

/* Empties it; the next entry is first_index. */
void log_index_reset(struct log_index *index, uint64_t first_index);
/*
 * A record with `count` entries from first_index (at most last_index + 1) on; it takes the place of
 * the entries from there on. Below the first retained index it takes the place of all of them.
 */
void log_index_add(struct log_index *index, uint64_t first_index, uint32_t count,
                   struct position position);
/* The record that holds an entry; NULL when the entry is not retained. */
const struct log_index_slot *log_index_find(const struct log_index *index, uint64_t entry_index);
void log_index_deinit(struct log_index *index);
