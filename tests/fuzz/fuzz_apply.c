/*
 * Committed entries applied to a real state, held against a plain model of what they say: nothing
 * that a leader may have written stops a node or makes two of them differ.
 *
 * Input: entries: 1 byte (bits 0 to 2: what kind of entry; bit 3: the batch ends behind it; bit 4:
 * the state is closed and opened again then), and what each takes.
 */
#include <errno.h>
#include <stdio.h>

#include "fuzz.h"
#include "kv/command.h"
#include "kv/kv.h"

enum { KEYS_MAX = 64, BATCH_MAX = 16, ENTRIES_MAX = 128, TERM = 3 };

struct model_key {
    uint8_t *key, *value;
    size_t key_size, value_size;
    uint64_t create_revision, modify_revision, version;
};

static struct model_key model[KEYS_MAX];
static size_t model_count;

static struct model_key *model_find(const ProtobufCBinaryData *key) {
    for (size_t i = 0; i < model_count; i++)
        if (model[i].key_size == key->len &&
            (key->len == 0 || memcmp(model[i].key, key->data, key->len) == 0))
            return &model[i];
    return NULL;
}

static void model_free(struct model_key *key) {
    free(key->key);
    free(key->value);
    *key = (struct model_key){0};
}

static bool model_put(const Raftkv__V1__PutCommand *put, uint64_t index) {
    struct model_key *key = model_find(&put->key);
    bool existed = key;

    if (!key) {
        check(model_count < KEYS_MAX);
        key = &model[model_count++];
        key->key = xmemdup(put->key.data, put->key.len);
        key->key_size = put->key.len;
        key->create_revision = index;
    }
    free(key->value);
    key->value = xmemdup(put->value.data, put->value.len);
    key->value_size = put->value.len;
    key->modify_revision = index;
    key->version++;
    return existed;
}

static bool model_delete(const Raftkv__V1__DeleteCommand *delete) {
    struct model_key *key = model_find(&delete->key);

    if (!key)
        return false;
    model_free(key);
    *key = model[--model_count];
    model[model_count] = (struct model_key){0};
    return true;
}

/* What is expected of one command. Those that no door lets through are skipped by every member. */
static struct kv_result model_command(const uint8_t *data, size_t size, uint64_t index) {
    Raftkv__V1__Command *command = raftkv__v1__command__unpack(NULL, size, data);
    struct kv_result result = {.code = ERROR_OK, .revision = index};

    if (command && command->body_case == RAFTKV__V1__COMMAND__BODY_PUT)
        result.existed = model_put(command->put, index);
    else if (command && command->body_case == RAFTKV__V1__COMMAND__BODY_DELETE)
        result.existed = model_delete(command->delete_);
    else
        result.code = ERROR_INTERNAL;
    if (command)
        raftkv__v1__command__free_unpacked(command, NULL);
    return result;
}

/* ---- entries ---- */

static void make_entry(struct input *input, uint8_t kind, struct log_entry *ret) {
    static const size_t sizes[] = {0, 1, 5, 300, 4096, 9000};
    struct input key = take_part(input, kind % 8 == 7 ? 0 : 1 + take_byte(input) % 4), raw;
    uint8_t *data = NULL;
    size_t size = 0;

    ret->term = TERM;
    ret->type = ENTRY_COMMAND;
    switch (kind % 8) {
    case 0:
    case 1:
    case 2: {
        size_t value_size = sizes[take_byte(input) % 6];
        _cleanup_free_ uint8_t *value = xcalloc(1, value_size + 1);

        kv_encode_put(key.data, key.size, value, value_size, &data, &size);
        break;
    }
    case 3:
    case 4:
        kv_encode_delete(key.data, key.size, &data, &size);
        break;
    case 5:
        ret->type = ENTRY_BARRIER;
        data = xcalloc(1, 8);
        size = 8;
        break;
    case 6:
        ret->type = ENTRY_CHANGE;
        data = xmemdup(key.data, key.size);
        size = key.size;
        break;
    default:
        raw = take_part(input, take_byte(input));
        data = xmemdup(raw.data, raw.size);
        size = raw.size;
    }
    ret->data = data;
    ret->size = size;
}

static void apply(struct state *state, uint64_t first_index, struct log_entry *entries,
                  size_t count) {
    struct kv_result results[BATCH_MAX];

    check(kv_apply(state, first_index, entries, count, results) == 0);
    for (size_t i = 0; i < count; i++) {
        uint64_t index = first_index + i;
        struct kv_result expected = {.code = ERROR_OK, .revision = index};

        if (entries[i].type == ENTRY_COMMAND)
            expected = model_command(entries[i].data, entries[i].size, index);
        check(results[i].code == expected.code && results[i].revision == index &&
              results[i].existed == expected.existed);
        free((void *)(uintptr_t)entries[i].data);
    }
}

static void compare(struct state *state, uint64_t index) {
    const struct kv_list_options options = {.limit = KEYS_MAX + 1, .max_bytes = UINT32_MAX};
    struct kv_list list;

    check(kv_list(state, &options, &list) == 0);
    check(list.count == model_count && !list.more && list.revision == index);
    for (size_t i = 0; i < list.count; i++) {
        const struct kv_item *item = &list.items[i];
        const ProtobufCBinaryData key = {item->key_size, item->key};
        const struct model_key *expected = model_find(&key);

        check(expected && expected->value_size == item->value_size);
        check(item->value_size == 0 || memcmp(expected->value, item->value, item->value_size) == 0);
        check(expected->create_revision == item->create_revision &&
              expected->modify_revision == item->modify_revision &&
              expected->version == item->version);
    }
    kv_list_deinit(&list);
}

static struct state *open_state(const char *directory) {
    const struct state_options options = {.directory = directory, .cache_size = 1024 * 1024};
    struct failure failure;
    struct state *state;

    if (state_open(&state, &options, &failure) != 0) {
        fprintf(stderr, "%s\n", failure.message);
        check(!"the state opens");
    }
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    const char *directory = fuzz_directory();
    struct state *state = open_state(directory);
    struct log_entry entries[BATCH_MAX];
    uint64_t index = 0;
    size_t count = 0;

    while (input.size > 0 && index + count < ENTRIES_MAX && model_count + count < KEYS_MAX) {
        uint8_t kind = take_byte(&input);

        make_entry(&input, kind, &entries[count++]);
        if (input.size > 0 && count < BATCH_MAX && !(kind & 8))
            continue;
        apply(state, index + 1, entries, count);
        index += count;
        count = 0;
        if (kind & 16) {
            state_close(state);
            state = open_state(directory);
        }
    }
    if (count > 0)
        apply(state, index + 1, entries, count);
    compare(state, index + count);
    state_close(state);
    while (model_count > 0)
        model_free(&model[--model_count]);
    return 0;
}
