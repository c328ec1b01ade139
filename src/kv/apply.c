/* Applying committed entries to the state. */
#include "kv/kv.h"

#include "base/check.h"
#include "base/memory.h"
#include "kv/command.h"

static void free_decoder(struct decoder **decoder) {
    decoder_free(*decoder);
}

static int apply_put(struct state *state, uint64_t index, const Raftkv__V1__PutCommand *put,
                     struct kv_result *result) {
    struct state_record old = {0}, record;
    int r;

    r = state_get_header(state, put->key.data, put->key.len, &old);
    if (r < 0)
        return r;
    result->existed = r == 0;
    record = (struct state_record){
        .create_revision = result->existed ? old.create_revision : index,
        .modify_revision = index,
        .version = result->existed ? old.version + 1 : 1,
        .value = put->value.data,
        .value_size = put->value.len,
    };
    return state_put(state, put->key.data, put->key.len, &record);
}

static int apply_delete(struct state *state, const Raftkv__V1__DeleteCommand *delete,
                        struct kv_result *result) {
    int r = state_delete(state, delete->key.data, delete->key.len);

    if (r < 0)
        return r;
    result->existed = r == 0;
    return 0;
}

static int apply_command(struct state *state, struct decoder *decoder, uint64_t index,
                         const struct log_entry *entry, struct kv_result *result) {
    const Raftkv__V1__Command *command = decoder_decode(decoder, entry->data, entry->size);

    if (command && command->body_case == RAFTKV__V1__COMMAND__BODY_PUT)
        return apply_put(state, index, command->put, result);
    if (command && command->body_case == RAFTKV__V1__COMMAND__BODY_DELETE)
        return apply_delete(state, command->delete_, result);
    result->code = ERROR_INTERNAL;
    return 0;
}

static int apply_entry(struct state *state, struct decoder *decoder, uint64_t index,
                       const struct log_entry *entry, struct kv_result *result) {
    *result = (struct kv_result){.code = ERROR_OK, .revision = index};
    switch (entry->type) {
    case ENTRY_COMMAND:
        return apply_command(state, decoder, index, entry, result);
    case ENTRY_BARRIER:
        return 0;
    case ENTRY_CHANGE:
        return state_set_configuration(state, index, entry->data, entry->size);
    default:
        result->code = ERROR_INTERNAL;
        return 0;
    }
}

int kv_apply(struct state *state, uint64_t first_index, const struct log_entry *entries,
             size_t count, struct kv_result *results) {
    _cleanup_(free_decoder) struct decoder *decoder = decoder_new();
    uint64_t applied_index, applied_term;
    int r;

    state_applied(state, &applied_index, &applied_term);
    check(count > 0);
    check(first_index == applied_index + 1);
    r = state_begin(state);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        r = apply_entry(state, decoder, first_index + i, &entries[i], &results[i]);
        if (r < 0) {
            state_abort(state);
            return r;
        }
    }
    return state_commit(state, first_index + count - 1, entries[count - 1].term);
}
