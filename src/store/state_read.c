/* Reading the state: one key, keys in order, and a hash over all. */
#include "store/state_internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

enum { FIRST_CAPACITY = 4096 };

/* What Berkeley DB may fill: bytes [0, size) of the data at most, into the buffer. */
static DBT into(struct buffer *buffer, uint32_t size) {
    DBT thing = {.flags = DB_DBT_USERMEM};

    if (buffer->capacity < FIRST_CAPACITY) {
        buffer->size = 0;
        buffer_reserve(buffer, FIRST_CAPACITY);
    }
    thing.data = buffer->data;
    thing.ulen = buffer->capacity < UINT32_MAX ? (uint32_t)buffer->capacity : UINT32_MAX;
    if (size < UINT32_MAX) {
        thing.flags |= DB_DBT_PARTIAL;
        thing.dlen = size;
    }
    return thing;
}

/* Makes the buffer as large as Berkeley DB asked for. */
static void grow(struct buffer *buffer, const DBT *thing) {
    if (thing->size <= buffer->capacity)
        return;
    buffer->size = 0;
    buffer_reserve(buffer, thing->size);
}

int state_read(struct state *state, DB *tree, const void *key, size_t key_size, uint32_t size,
               struct buffer *ret) {
    DBT key_thing = {.data = (void *)(uintptr_t)key, .size = (uint32_t)key_size};

    if (!state_is_open(state))
        return -EIO;
    for (;;) {
        DBT thing = into(ret, size);
        int r = tree->get(tree, state->transaction, &key_thing, &thing, 0);

        if (r == DB_BUFFER_SMALL) {
            grow(ret, &thing);
            continue;
        }
        if (r == 0)
            ret->size = thing.size;
        return state_page_error(r);
    }
}

int state_decode_record(const struct buffer *data, struct state_record *ret) {
    uint64_t header[3];

    if (data->size < sizeof header)
        return -EIO;
    memcpy(header, data->data, sizeof header);
    *ret = (struct state_record){
        .create_revision = le64toh(header[0]),
        .modify_revision = le64toh(header[1]),
        .version = le64toh(header[2]),
        .value = data->data + sizeof header,
        .value_size = data->size - sizeof header,
    };
    return 0;
}

int state_get(struct state *state, const void *key, size_t key_size, struct state_record *ret) {
    int r;

    state_shrink(&state->value);
    r = state_read(state, state->keys, key, key_size, UINT32_MAX, &state->value);

    return r != 0 ? r : state_decode_record(&state->value, ret);
}

int state_get_header(struct state *state, const void *key, size_t key_size,
                     struct state_record *ret) {
    int r = state_read(state, state->keys, key, key_size, STATE_RECORD_HEADER_SIZE, &state->value);

    return r != 0 ? r : state_decode_record(&state->value, ret);
}

int state_move(DBC *cursor, uint32_t how, const void *from, size_t from_size, uint32_t size,
               struct buffer *ret_key, struct buffer *ret_value) {
    for (;;) {
        DBT key = into(ret_key, UINT32_MAX), value = into(ret_value, size);
        int r;

        if (how == DB_SET_RANGE) {
            check(from_size <= key.ulen);
            memcpy(key.data, from, from_size);
            key.size = (uint32_t)from_size;
        }
        r = cursor->get(cursor, &key, &value, how);
        if (r == DB_BUFFER_SMALL) {
            grow(ret_key, &key);
            grow(ret_value, &value);
            continue;
        }
        if (r == 0) {
            ret_key->size = key.size;
            ret_value->size = value.size;
        }
        return state_page_error(r);
    }
}

static int visit_all(struct state *state, DBC *cursor, const void *from, size_t from_size,
                     uint32_t size, state_visit visit, void *data) {
    uint32_t how = from_size ? DB_SET_RANGE : DB_FIRST;
    struct state_record record;

    for (;;) {
        int r = state_move(cursor, how, from, from_size, size, &state->key, &state->value);

        if (r == ERROR_NOT_FOUND)
            return 0;
        if (r == 0)
            r = state_decode_record(&state->value, &record);
        if (r != 0)
            return r;
        if (!visit(data, state->key.data, state->key.size, &record))
            return 0;
        how = DB_NEXT;
    }
}

static int walk(struct state *state, const void *from, size_t from_size, uint32_t size,
                state_visit visit, void *data) {
    DBC *cursor;
    int r, close_result;

    if (!state_is_open(state))
        return -EIO;
    state_shrink(&state->key);
    buffer_reserve(&state->key, from_size);
    r = state_page_error(state->keys->cursor(state->keys, state->transaction, &cursor, 0));
    if (r != 0)
        return r;
    r = visit_all(state, cursor, from, from_size, size, visit, data);
    close_result = state_page_error(cursor->close(cursor));
    state_shrink(&state->value);
    return r != 0 ? r : close_result;
}

int state_walk(struct state *state, const void *from, size_t from_size, state_visit visit,
               void *data) {
    return walk(state, from, from_size, UINT32_MAX, visit, data);
}

int state_walk_headers(struct state *state, const void *from, size_t from_size, state_visit visit,
                       void *data) {
    return walk(state, from, from_size, STATE_RECORD_HEADER_SIZE, visit, data);
}

/* The finalizer of MurmurHash3: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t hash, uint64_t number) {
    hash = (hash ^ number) * 0xff51afd7ed558ccdULL;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return hash ^ (hash >> 33);
}

uint64_t state_hash_begin(const struct state *state) {
    return mix(1, state->applied_index);
}

uint64_t state_hash_add(uint64_t hash, const uint8_t *key, size_t key_size,
                        const struct state_record *record) {
    hash = mix(hash, key_size);
    hash = mix(hash, crc32c(0, key, key_size));
    hash = mix(hash, record->create_revision);
    hash = mix(hash, record->modify_revision);
    hash = mix(hash, record->version);
    hash = mix(hash, record->value_size);
    return mix(hash, crc32c(0, record->value, record->value_size));
}

static bool add_to_hash(void *data, const uint8_t *key, size_t key_size,
                        const struct state_record *record) {
    uint64_t *hash = data;

    *hash = state_hash_add(*hash, key, key_size, record);
    return true;
}

int state_hash(struct state *state, uint64_t *ret_hash) {
    uint64_t hash = state_hash_begin(state);
    int r;

    r = state_walk(state, NULL, 0, add_to_hash, &hash);
    if (r == 0)
        *ret_hash = hash;
    return r;
}

/* ---- statistics ---- */

static int measure_tree(DB *tree, uint64_t *ret_bytes) {
    DB_BTREE_STAT *statistics;
    int r = tree->stat(tree, NULL, &statistics, DB_FAST_STAT);

    if (r != 0)
        return state_page_error(r);
    *ret_bytes = (uint64_t)statistics->bt_pagecnt * statistics->bt_pagesize;
    free(statistics);
    return 0;
}

int state_get_stats(struct state *state, struct state_stats *ret) {
    struct state_stats stats = {.keys = state->key_count};
    DB_MPOOL_STAT *cache;
    int r = state_is_open(state) ? measure_tree(state->keys, &stats.bytes) : -EIO;

    if (r != 0)
        return r;
    r = state_error(state->environment->memp_stat(state->environment, &cache, NULL, 0));
    if (r != 0)
        return r;
    stats.cache_hits = cache->st_cache_hit;
    stats.cache_misses = cache->st_cache_miss;
    free(cache);
    *ret = stats;
    return 0;
}
