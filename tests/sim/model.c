#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "proto/unpack.h"
#include "world.h"

struct applied {
    uint64_t term, hash;
    unsigned key;   /* MODEL_KEYS_MAX: none */
    size_t version; /* in the key's */
};

static struct {
    struct applied *entries; /* by index; [0] is not used */
    uint64_t last;
    size_t capacity;
    struct {
        struct version *versions;
        size_t count, capacity;
    } keys[MODEL_KEYS_MAX];
    uint64_t *operations; /* revisions, by number */
    size_t operation_capacity;
} model;

static const struct version absent;

/* FNV-1a by words is enough to tell what is the same. */
uint64_t model_hash(const void *data, size_t size) {
    const uint8_t *p = data;
    uint64_t hash = 0xcbf29ce484222325u ^ size;

    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    while (size-- > 0)
        hash = (hash ^ *p++) * 0x100000001b3u;
    return hash;
}

size_t model_key(unsigned key, char *ret, size_t size) {
    return (size_t)snprintf(ret, size, "k%02u", key);
}

uint8_t *model_value(uint64_t operation, size_t size) {
    uint8_t *value = xmalloc(size < 24 ? 24 : size);

    memset(value, 'a' + (int)(operation % 26), size);
    memcpy(value, &operation, sizeof operation);
    return value;
}

static unsigned key_of(const ProtobufCBinaryData *data) {
    unsigned key;
    char text[8] = {0};

    must(data->len == 3, "a key that no client wrote is in the log");
    memcpy(text, data->data, data->len);
    must(sscanf(text, "k%02u", &key) == 1 && key < MODEL_KEYS_MAX,
         "a key that no client wrote is in the log: %s", text);
    return key;
}

static const struct version *latest(unsigned key) {
    size_t count = model.keys[key].count;

    return count ? &model.keys[key].versions[count - 1] : &absent;
}

static struct version *add_version(unsigned key) {
    if (model.keys[key].count == model.keys[key].capacity) {
        model.keys[key].capacity = model.keys[key].capacity ? model.keys[key].capacity * 2 : 64;
        model.keys[key].versions =
            xrealloc(model.keys[key].versions, model.keys[key].capacity * sizeof(struct version));
    }
    return &model.keys[key].versions[model.keys[key].count++];
}

static void note_operation(uint64_t operation, uint64_t revision) {
    if (operation >= model.operation_capacity) {
        size_t capacity = (operation + 1) * 2;

        model.operations = xrealloc(model.operations, capacity * sizeof *model.operations);
        memset(model.operations + model.operation_capacity, 0,
               (capacity - model.operation_capacity) * sizeof *model.operations);
        model.operation_capacity = capacity;
    }
    must(model.operations[operation] == 0,
         "operation %" PRIu64 " took effect twice: at %" PRIu64 " and at %" PRIu64, operation,
         model.operations[operation], revision);
    model.operations[operation] = revision;
}

static void put(uint64_t index, const Raftkv__V1__PutCommand *command) {
    unsigned key = key_of(&command->key);
    struct version before = *latest(key), *after = add_version(key);

    must(command->value.len >= sizeof after->operation, "a value that no client wrote");
    *after = (struct version){
        .revision = index,
        .exists = true,
        .existed = before.exists,
        .value_hash = model_hash(command->value.data, command->value.len),
        .create_revision = before.exists ? before.create_revision : index,
        .version = before.exists ? before.version + 1 : 1,
    };
    memcpy(&after->operation, command->value.data, sizeof after->operation);
    note_operation(after->operation, index);
    model.entries[index].key = key;
    model.entries[index].version = model.keys[key].count - 1;
}

static void delete (uint64_t index, const Raftkv__V1__DeleteCommand *command) {
    unsigned key = key_of(&command->key);
    struct version before = *latest(key);

    *add_version(key) = (struct version){.revision = index, .existed = before.exists};
    model.entries[index].key = key;
    model.entries[index].version = model.keys[key].count - 1;
}

void model_apply(uint64_t index, const struct log_entry *entry) {
    Raftkv__V1__Command *command;

    check(index == model.last + 1);
    if (index >= model.capacity) {
        model.capacity = model.capacity ? model.capacity * 2 : 1024;
        model.entries = xrealloc(model.entries, model.capacity * sizeof *model.entries);
    }
    model.last = index;
    model.entries[index] = (struct applied){
        .term = entry->term,
        .hash = model_hash(entry->data, entry->size) ^ entry->type,
        .key = MODEL_KEYS_MAX,
    };
    if (entry->type != ENTRY_COMMAND)
        return;
    command = raftkv__v1__command__unpack(NULL, entry->size, entry->data);
    must(command, "entry %" PRIu64 " is not a command", index);
    if (command->body_case == RAFTKV__V1__COMMAND__BODY_PUT)
        put(index, command->put);
    else if (command->body_case == RAFTKV__V1__COMMAND__BODY_DELETE)
        delete (index, command->delete_);
    raftkv__v1__command__free_unpacked(command, NULL);
}

uint64_t model_last(void) {
    return model.last;
}

uint64_t model_term(uint64_t index) {
    return model.entries[index].term;
}

uint64_t model_entry_hash(uint64_t index) {
    return model.entries[index].hash;
}

const struct version *model_at(unsigned key, uint64_t revision) {
    size_t low = 0, high = model.keys[key].count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (model.keys[key].versions[middle].revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &model.keys[key].versions[low - 1] : &absent;
}

const struct version *model_write(uint64_t revision, unsigned *ret_key) {
    const struct applied *applied;

    if (revision == 0 || revision > model.last)
        return NULL;
    applied = &model.entries[revision];
    if (applied->key == MODEL_KEYS_MAX)
        return NULL;
    *ret_key = applied->key;
    return &model.keys[applied->key].versions[applied->version];
}

uint64_t model_operation(uint64_t operation) {
    return operation < model.operation_capacity ? model.operations[operation] : 0;
}
