/* Changing the state: one transaction at a time, and the checkpoints that make them durable. */
#include "store/state_internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "store/page_journal.h"
#include "store/sync.h"

int state_begin(struct state *state) {
    check(!state->transaction);
    if (!state_is_open(state))
        return -EIO;
    state->pending_configuration_index = 0;
    state->pending_installed_index = 0;
    state->pending_key_count = state->key_count;
    return state_error(
        state->environment->txn_begin(state->environment, NULL, &state->transaction, 0));
}

static int put(struct state *state, DB *tree, const void *key, size_t key_size, const void *data,
               size_t size) {
    DBT key_thing = {.data = (void *)(uintptr_t)key, .size = (uint32_t)key_size};
    DBT thing = {.data = (void *)(uintptr_t)data, .size = (uint32_t)size};

    check(state->transaction);
    check(key_size <= UINT32_MAX && size <= UINT32_MAX);
    return state_page_error(tree->put(tree, state->transaction, &key_thing, &thing, 0));
}

void state_encode_record(const struct state_record *record, struct buffer *ret) {
    uint64_t header[3] = {htole64(record->create_revision), htole64(record->modify_revision),
                          htole64(record->version)};

    _Static_assert(sizeof header == STATE_RECORD_HEADER_SIZE, "the header of a record");
    ret->size = 0;
    buffer_reserve(ret, sizeof header + record->value_size);
    buffer_append(ret, header, sizeof header);
    buffer_append(ret, record->value, record->value_size);
}

int state_put(struct state *state, const void *key, size_t key_size,
              const struct state_record *record) {
    int r;

    check(state->transaction);
    r = state_keep_aside(state, key, key_size);
    if (r < 0)
        return r;
    if (record->version == 1)
        state->pending_key_count++;
    state_encode_record(record, &state->record);
    return put(state, state->keys, key, key_size, state->record.data, state->record.size);
}

int state_delete(struct state *state, const void *key, size_t key_size) {
    DBT key_thing = {.data = (void *)(uintptr_t)key, .size = (uint32_t)key_size};
    int r;

    check(state->transaction);
    r = state_keep_aside(state, key, key_size);
    if (r < 0)
        return r;
    r = state_page_error(state->keys->del(state->keys, state->transaction, &key_thing, 0));
    if (r == 0 && state->pending_key_count > 0)
        state->pending_key_count--;
    return r;
}

int state_write_meta(struct state *state, const char *name, const uint64_t *numbers, size_t count,
                     const struct buffer *rest) {
    state->record.size = 0;
    for (size_t i = 0; i < count; i++)
        buffer_append(&state->record, &(uint64_t){htole64(numbers[i])}, sizeof *numbers);
    if (rest)
        buffer_append(&state->record, rest->data, rest->size);
    return put(state, state->meta, name, strlen(name), state->record.data, state->record.size);
}

int state_set_configuration(struct state *state, uint64_t index, const void *data, size_t size) {
    check(index > 0);
    state->pending_configuration_index = index;
    state->pending_configuration.size = 0;
    buffer_append(&state->pending_configuration, data, size);
    return state_write_meta(state, STATE_META_CONFIGURATION, &index, 1,
                            &state->pending_configuration);
}

static void adopt_configuration(struct state *state) {
    struct buffer old = state->configuration;

    if (state->pending_configuration_index == 0)
        return;
    state->configuration = state->pending_configuration;
    state->pending_configuration = old;
    state->configuration_index = state->pending_configuration_index;
}

void state_set_key_count(struct state *state, uint64_t count) {
    state->pending_key_count = count;
}

int state_set_installed(struct state *state, uint64_t index) {
    state->pending_installed_index = index;
    return state_write_meta(state, STATE_META_INSTALLED, &index, 1, NULL);
}

int state_commit(struct state *state, uint64_t applied_index, uint64_t applied_term) {
    uint64_t applied[2] = {applied_index, applied_term};
    DB_TXN *transaction;
    int r;

    r = state_write_meta(state, STATE_META_APPLIED, applied, 2, NULL);
    if (r == 0 && state->pending_key_count != state->key_count)
        r = state_write_meta(state, STATE_META_KEYS, &state->pending_key_count, 1, NULL);
    if (r < 0) {
        state_abort(state);
        return r;
    }
    /* The handle is gone in either case: a commit that fails has undone the transaction. */
    transaction = TAKE(state->transaction);
    r = state_page_error(transaction->commit(transaction, 0));
    state_shrink(&state->record);
    if (r != 0)
        return r;
    adopt_configuration(state);
    if (state->pending_installed_index > 0)
        state->installed_index = state->pending_installed_index;
    state->key_count = state->pending_key_count;
    state->applied_index = applied_index;
    state->applied_term = applied_term;
    atomic_store(&state->committed_index, applied_index);
    return 0;
}

void state_abort(struct state *state) {
    DB_TXN *transaction = TAKE(state->transaction);

    if (!transaction)
        return;
    /* When it can't be undone in memory the environment panics, and every later call says so. */
    (void)transaction->abort(transaction);
    state_shrink(&state->record);
}

/* Each dirty page goes to the journal and to its tree, and those in the journal go with them. */
static int foresee_end(struct state *state) {
    DB_MPOOL_STAT *statistics;
    int r = state_error(state->environment->memp_stat(state->environment, &statistics, NULL, 0));

    if (r != 0)
        return r;
    atomic_store(&state->checkpoint_end, page_journal_written(state->pages) +
                                             page_journal_gathered(state->pages) +
                                             2 * (uint64_t)statistics->st_page_dirty);
    free(statistics);
    return 0;
}

static int checkpoint(struct state *state, uint64_t *ret_durable_index) {
    DB_ENV *environment = state->environment;
    uint64_t durable_index = atomic_load(&state->committed_index);
    uint32_t log_file, log_offset;
    DB_LOG_STAT *statistics;
    int r;

    r = state_is_open(state) ? foresee_end(state) : -EIO;
    if (r == 0)
        r = state_error(environment->log_stat(environment, &statistics, 0));
    if (r != 0)
        return r;
    log_file = statistics->st_cur_file;
    log_offset = statistics->st_cur_offset;
    free(statistics);
    r = state_page_error(environment->txn_checkpoint(environment, 0, 0, 0));
    if (r != 0)
        return r;
    /* A checkpoint does nothing when nothing was put since the last one, also when that one failed
     * to flush. */
    r = state_error(environment->log_flush(environment, NULL));
    if (r == 0)
        r = state_write_flushed(state, log_file, log_offset);
    if (r != 0)
        return r;
    *ret_durable_index = durable_index;
    return 0;
}

/* Berkeley DB may not be kept waiting while it writes a page, for whoever applies waits for it
 * then: a half of the page journal is emptied before it is full. Should that fail, a write says so.
 */
static void write_back_in_pause(void *data) {
    struct state *state = data;

    if (page_journal_wants_write_back(state->pages))
        (void)page_journal_write_back(state->pages);
}

int state_checkpoint(struct state *state, uint64_t *ret_durable_index) {
    int r;

    pthread_mutex_lock(&state->environment_lock);
    store_set_pause(write_back_in_pause, state);
    r = checkpoint(state, ret_durable_index);
    store_set_pause(NULL, NULL);
    if (state_is_open(state) && atomic_exchange(&state->in_a_hurry, false))
        state_spread_checkpoints(state->environment, true);
    pthread_mutex_unlock(&state->environment_lock);
    return r;
}

void state_hurry_checkpoint(struct state *state) {
    if (atomic_exchange(&state->in_a_hurry, true))
        return;
    state_spread_checkpoints(state->environment, false);
}

bool state_wants_write_back(const struct state *state) {
    return page_journal_wants_write_back(state->pages);
}

int state_write_back(struct state *state) {
    int r = 0;

    pthread_mutex_lock(&state->environment_lock);
    if (state->pages)
        r = page_journal_write_back(state->pages);
    pthread_mutex_unlock(&state->environment_lock);
    return r;
}

uint64_t state_pages_written(const struct state *state) {
    return page_journal_written(state->pages);
}

uint64_t state_checkpoint_end(const struct state *state) {
    return atomic_load(&state->checkpoint_end);
}
