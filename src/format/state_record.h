#pragma once

#include <stddef.h>
#include <stdint.h>

/* A stored key: what the kv room keeps with each value. value
 * points into what it was read from: the state's buffer, until the next call, or a chunk. */
struct state_record {
    uint64_t create_revision;
    uint64_t modify_revision;
    uint64_t version;
    const uint8_t *value;
    size_t value_size;
};
