/*
 * model: the state machine as it has to be, in the plainest form: every version that each key ever
 * had. It is fed with the entries in the order of the log, once each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"

enum { MODEL_KEYS_MAX = 64 };

struct version {
    uint64_t revision; /* of the write that made it so */
    bool exists;
    bool existed;       /* before that write */
    uint64_t operation; /* number of the client's operation; 0: a delete */
    uint64_t value_hash;
    uint64_t create_revision;
    uint64_t version;
};

/* The first entry is that of index 1. */
void model_apply(uint64_t index, const struct log_entry *entry);
uint64_t model_last(void);
/* Term and content of an entry that was applied. */
uint64_t model_term(uint64_t index);
uint64_t model_entry_hash(uint64_t index);
uint64_t model_hash(const void *data, size_t size);

/* Keys are numbers; this is how they are written. */
size_t model_key(unsigned key, char *ret, size_t size);
/* How the key is at a revision; never NULL. */
const struct version *model_at(unsigned key, uint64_t revision);
/* The write of that revision; NULL: that entry wrote no key. *ret_key says which. */
const struct version *model_write(uint64_t revision, unsigned *ret_key);
/* The revision of the write of an operation; 0: it did not happen. */
uint64_t model_operation(uint64_t operation);

/* Values begin with the number of their operation. */
uint8_t *model_value(uint64_t operation, size_t size);
