#include "bench/workload.h"

#include <string.h>

#include "base/memory.h"

enum { POOL_SIZE = 1024 * 1024 };

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
uint64_t workload_random(struct workload *workload) {
    uint64_t z = workload->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void workload_init(struct workload *workload, uint64_t seed, uint32_t keys, size_t value_size) {
    size_t size = POOL_SIZE + value_size;

    *workload = (struct workload){.random = seed, .keys = keys, .value_size = value_size};
    workload->pool = xmalloc(size + sizeof(uint64_t));
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = workload_random(workload);

        memcpy(workload->pool + i, &word, sizeof word);
    }
}

void workload_deinit(struct workload *workload) {
    free(TAKE(workload->pool));
}

uint32_t workload_choose(struct workload *workload) {
    return (uint32_t)(((workload_random(workload) >> 32) * workload->keys) >> 32);
}

/* key-%010u, by hand because it is done for every operation. */
static void make_key(struct workload *workload, uint32_t number) {
    memcpy(workload->key, "key-", 4);
    for (int i = WORKLOAD_KEY_SIZE - 1; i >= 4; i--, number /= 10)
        workload->key[i] = (uint8_t)('0' + number % 10);
}

struct operation workload_put(struct workload *workload, uint32_t number) {
    make_key(workload, number);
    return (struct operation){
        .key = workload->key,
        .key_size = WORKLOAD_KEY_SIZE,
        .value = workload->pool + workload_random(workload) % POOL_SIZE,
        .value_size = workload->value_size,
    };
}

struct operation workload_get(struct workload *workload, uint32_t number, bool stale) {
    make_key(workload, number);
    return (struct operation){
        .get = true, .stale = stale, .key = workload->key, .key_size = WORKLOAD_KEY_SIZE};
}
