/*
 * kv: the state machine. It decodes commands, applies them to the state in one transaction a batch,
 * and answers reads. It is deterministic: no clock, no chance, no configuration; what it is given
 * was validated at the door. Runs on the state lane. May use base, proto and store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/log.h"
#include "store/state.h"

/* What a command did. */
struct kv_result {
    enum error_code code; /* ERROR_OK, or ERROR_INTERNAL for bytes that no version of raftkv writes
                             (the entry is then skipped) */
    uint64_t revision;    /* the entry's index */
    bool existed;         /* put and delete: the key was there before */
};

/*
 * Applies `count` committed entries, the first at first_index, which must be the one after the
 * state's applied index, in one transaction, and fills one result for each. Entries of type BARRIER
 * do nothing; those of type CHANGE are recorded as the configuration. On failure (-ENOSPC, -EIO
 * ...) nothing was applied.
 */
int kv_apply(struct state *state, uint64_t first_index, const struct log_entry *entries,
             size_t count, struct kv_result *results);

struct kv_item {
    uint8_t *key; /* key and value are one allocation, at `key` */
    size_t key_size;
    uint8_t *value;
    size_t value_size;
    uint64_t create_revision;
    uint64_t modify_revision;
    uint64_t version;
};
void kv_item_deinit(struct kv_item *item);

/* ERROR_NOT_FOUND when there is no such key. *ret_revision is the applied index of the state in
 * either case. */
int kv_get(struct state *state, const uint8_t *key, size_t key_size, struct kv_item *ret,
           uint64_t *ret_revision);

struct kv_list_options {
    const uint8_t *prefix;
    size_t prefix_size;
    const uint8_t *from; /* the first key wanted; below the prefix means the prefix */
    size_t from_size;
    uint32_t limit;     /* items, 1 to LIST_ITEMS_MAX */
    uint64_t max_bytes; /* of keys and values; the first item is always given */
    bool keys_only;
};

struct kv_list {
    struct kv_item *items;
    size_t count;
    bool more;     /* there are further keys: ask again from next */
    uint8_t *next; /* the smallest key of the next page */
    size_t next_size;
    uint64_t revision;
};
int kv_list(struct state *state, const struct kv_list_options *options, struct kv_list *ret);
void kv_list_deinit(struct kv_list *list);

/* Encodes a command into a malloc'd buffer. */
void kv_encode_put(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size,
                   uint8_t **ret_data, size_t *ret_size);
void kv_encode_delete(const uint8_t *key, size_t key_size, uint8_t **ret_data, size_t *ret_size);
