/* An entry of the replicated log, as the rooms pass it to each other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The kinds have raft's numbers (raft_entry_type, raftkv.v1.EntryType). */
enum { ENTRY_COMMAND = 1, ENTRY_BARRIER = 2, ENTRY_CHANGE = 3 };

struct log_entry {
    uint64_t term;
    uint8_t type;
    const uint8_t *data;
    size_t size; /* at most ENTRY_SIZE_MAX */
};
