/* What is written and read: keys and values from a seeded generator. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORKLOAD_KEY_SIZE = 14 }; /* "key-0000000042" */

struct operation {
    bool get; /* else put */
    bool stale;
    const uint8_t *key;
    size_t key_size;
    const uint8_t *value; /* of a put; valid as long as the workload */
    size_t value_size;
};

struct workload {
    uint64_t random;
    uint32_t keys;
    size_t value_size;
    uint8_t *pool; /* random bytes, out of which the values are cut */
    uint8_t key[WORKLOAD_KEY_SIZE + 1];
};

void workload_init(struct workload *workload, uint64_t seed, uint32_t keys, size_t value_size);
void workload_deinit(struct workload *workload);
uint64_t workload_random(struct workload *workload);
/* The number of a key, uniformly. */
uint32_t workload_choose(struct workload *workload);
/* The operation on the key of this number; its key is valid until the next one is made. */
struct operation workload_put(struct workload *workload, uint32_t number);
struct operation workload_get(struct workload *workload, uint32_t number, bool stale);
