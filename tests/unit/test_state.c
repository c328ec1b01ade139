#include "test_state_fixture.h"

#include <db.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "system_calls.h"

static int setup(void **fixture) {
    *fixture = make_directory();
    return 0;
}

static int teardown(void **fixture) {
    remove_directory(*fixture);
    return 0;
}

static void put(struct state *state, const void *key, size_t key_size, const void *value,
                size_t value_size) {
    struct state_record record = {1, 2, 3, value, value_size};

    assert_int_equal(state_put(state, key, key_size, &record), 0);
}

static void assert_value(struct state *state, const void *key, size_t key_size, const void *value,
                         size_t value_size) {
    struct state_record record;

    assert_int_equal(state_get(state, key, key_size, &record), 0);
    assert_int_equal(record.create_revision, 1);
    assert_int_equal(record.modify_revision, 2);
    assert_int_equal(record.version, 3);
    assert_int_equal(record.value_size, value_size);
    if (value_size)
        assert_memory_equal(record.value, value, value_size);
}

static void a_new_state_is_empty(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct state_record record;
    uint64_t index = 7, term = 7;
    const uint8_t *data = (const uint8_t *)"";
    size_t size = 7;

    state_applied(state, &index, &term);
    assert_int_equal(index, 0);
    assert_int_equal(term, 0);
    index = 7;
    state_configuration(state, &index, &data, &size);
    assert_int_equal(index, 0);
    assert_null(data);
    assert_int_equal(size, 0);
    assert_int_equal(state_installed_index(state), 0);
    assert_int_equal(state_get(state, "a", 1, &record), ERROR_NOT_FOUND);
    assert_int_equal(state_get_header(state, "a", 1, &record), ERROR_NOT_FOUND);
    assert_null(state_close(state));
    assert_null(state_close(NULL));
    assert_null(state_abandon(NULL));
}

static void a_commit_sets_everything_at_once(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct state_record record;
    uint64_t index, term;
    const uint8_t *data;
    size_t size;

    for (int open = 0; open < 2; open++) {
        if (open == 0) {
            assert_int_equal(state_begin(state), 0);
            put(state, "key", 3, "value", 5);
            assert_value(state, "key", 3, "value", 5);
            assert_int_equal(state_set_configuration(state, 4, "members", 7), 0);
            assert_int_equal(state_commit(state, 5, 2), 0);
        } else {
            state_close(state);
            state = open_state(*fixture, 0);
        }
        assert_value(state, "key", 3, "value", 5);
        state_applied(state, &index, &term);
        assert_int_equal(index, 5);
        assert_int_equal(term, 2);
        state_configuration(state, &index, &data, &size);
        assert_int_equal(index, 4);
        assert_int_equal(size, 7);
        assert_memory_equal(data, "members", 7);
    }
    assert_int_equal(state_get_header(state, "key", 3, &record), 0);
    assert_int_equal(record.create_revision, 1);
    assert_int_equal(record.modify_revision, 2);
    assert_int_equal(record.version, 3);
    assert_int_equal(record.value_size, 0);
    state_close(state);
}

static void an_abort_leaves_nothing(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    uint64_t before, after;

    assert_int_equal(model_apply(state, 5, 100), 0);
    assert_int_equal(state_hash(state, &before), 0);
    assert_int_equal(state_begin(state), 0);
    put(state, "key-01", 6, "other", 5);
    put(state, "new", 3, "value", 5);
    assert_int_equal(state_delete(state, "key-02", 6) >= 0, true);
    assert_int_equal(state_set_configuration(state, 51, "members", 7), 0);
    state_abort(state);
    state_abort(state);
    assert_int_equal(state_hash(state, &after), 0);
    assert_int_equal(after, before);
    assert_int_equal(model_verify(state, 100), 50);
    assert_int_equal(model_apply(state, 5, 100), 0);
    state_close(state);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 100), 100);
    state_close(state);
}

static void closing_undoes_an_open_transaction(void **fixture) {
    struct state *state = open_state(*fixture, 0);

    assert_int_equal(model_apply(state, 3, 10), 0);
    assert_int_equal(state_begin(state), 0);
    put(state, "new", 3, "value", 5);
    state_close(state);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 10), 30);
    state_close(state);
}

static void deleting_a_missing_key_says_so(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct state_record record;

    assert_int_equal(state_begin(state), 0);
    put(state, "a", 1, "", 0);
    assert_int_equal(state_delete(state, "a", 1), 0);
    assert_int_equal(state_delete(state, "a", 1), ERROR_NOT_FOUND);
    assert_int_equal(state_commit(state, 1, 1), 0);
    assert_int_equal(state_get(state, "a", 1, &record), ERROR_NOT_FOUND);
    state_close(state);
}

static void values_of_every_size_come_back(void **fixture) {
    static const size_t sizes[] = {0,    1,    23,   24,     25,     2000,          2048,
                                   4095, 4096, 8192, 100000, 262144, VALUE_SIZE_MAX};
    struct state *state = open_state(*fixture, 0);
    _cleanup_free_ uint8_t *value = xmalloc(VALUE_SIZE_MAX);

    for (size_t i = 0; i < VALUE_SIZE_MAX; i++)
        value[i] = (uint8_t)(i * 7 + i / 251);
    for (int open = 0; open < 2; open++) {
        for (size_t i = 0; open == 0 && i < sizeof sizes / sizeof sizes[0]; i++) {
            char key[16];

            snprintf(key, sizeof key, "%zu", sizes[i]);
            assert_int_equal(state_begin(state), 0);
            put(state, key, strlen(key), "replaced", 8);
            put(state, key, strlen(key), value, sizes[i]);
            assert_int_equal(state_commit(state, i + 1, 1), 0);
        }
        if (open == 1) {
            state_close(state);
            state = open_state(*fixture, 0);
        }
        for (size_t i = sizeof sizes / sizeof sizes[0]; i-- > 0;) {
            char key[16];

            snprintf(key, sizeof key, "%zu", sizes[i]);
            assert_value(state, key, strlen(key), value, sizes[i]);
        }
    }
    state_close(state);
}

struct seen {
    char order[64];
    size_t count, stop_after;
};

static bool note(void *data, const uint8_t *key, size_t key_size,
                 const struct state_record *record) {
    struct seen *seen = data;

    assert_true(key_size > 0);
    assert_true(record->value_size <= 1);
    seen->order[seen->count++] = record->value_size ? (char)record->value[0] : '.';
    (void)key;
    return seen->count != seen->stop_after;
}

static void a_walk_goes_in_byte_order(void **fixture) {
    static const struct {
        const char *key;
        size_t size;
    } keys[] = {{"\0", 1}, {"\0\0", 2}, {"\0a", 2},  {"a", 1},    {"a\0", 2},
                {"ab", 2}, {"\x7f", 1}, {"\x80", 1}, {"\xff", 1}, {"\xff\xff", 2}};
    struct state *state = open_state(*fixture, 0);
    struct seen seen = {0};

    assert_int_equal(state_walk(state, NULL, 0, note, &seen), 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(state_begin(state), 0);
    for (size_t i = 10; i-- > 0;)
        put(state, keys[i].key, keys[i].size, &"0123456789"[i], 1);
    assert_int_equal(state_commit(state, 1, 1), 0);

    assert_int_equal(state_walk(state, NULL, 0, note, &seen), 0);
    assert_string_equal(seen.order, "0123456789");
    for (size_t i = 0; i < 10; i++) {
        seen = (struct seen){0};
        assert_int_equal(state_walk(state, keys[i].key, keys[i].size, note, &seen), 0);
        assert_string_equal(seen.order, &"0123456789"[i]);
    }
    seen = (struct seen){0};
    assert_int_equal(state_walk(state, "b", 1, note, &seen), 0);
    assert_string_equal(seen.order, "6789");
    seen = (struct seen){0};
    assert_int_equal(state_walk(state, "\xff\xff\0", 3, note, &seen), 0);
    assert_int_equal(seen.count, 0);
    seen = (struct seen){.stop_after = 3};
    assert_int_equal(state_walk(state, "a", 1, note, &seen), 0);
    assert_string_equal(seen.order, "345");
    seen = (struct seen){0};
    assert_int_equal(state_walk_headers(state, "a", 1, note, &seen), 0);
    assert_string_equal(seen.order, ".......");
    state_close(state);
}

static bool check_large(void *data, const uint8_t *key, size_t key_size,
                        const struct state_record *record) {
    size_t *count = data;

    assert_int_equal(key_size, KEY_SIZE_MAX);
    assert_int_equal(key[0], *count);
    assert_int_equal(key[KEY_SIZE_MAX - 1], 'k');
    assert_int_equal(record->value_size, 300000 * *count);
    if (record->value_size)
        assert_int_equal(record->value[record->value_size - 1], *count);
    ++*count;
    return true;
}

static void a_walk_reads_the_longest_keys_and_large_values(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    _cleanup_free_ uint8_t *value = xmalloc(300000 * 9);
    uint8_t key[KEY_SIZE_MAX];
    size_t count = 0;

    memset(key, 'k', sizeof key);
    assert_int_equal(state_begin(state), 0);
    for (size_t i = 0; i < 10; i++) {
        key[0] = (uint8_t)i;
        memset(value, (int)i, 300000 * i);
        put(state, key, sizeof key, value, 300000 * i);
    }
    assert_int_equal(state_commit(state, 1, 1), 0);
    assert_int_equal(state_walk(state, NULL, 0, check_large, &count), 0);
    assert_int_equal(count, 10);
    /* From a key in the middle: the start is found again after the buffers have grown. */
    key[0] = count = 5;
    assert_int_equal(state_walk(state, key, sizeof key, check_large, &count), 0);
    assert_int_equal(count, 10);
    state_close(state);
}

static void the_hash_follows_content_and_index(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    uint64_t hashes[6];

    assert_int_equal(state_hash(state, &hashes[0]), 0);
    for (size_t i = 1; i < 6; i++) {
        assert_int_equal(state_begin(state), 0);
        if (i == 1 || i == 5)
            put(state, "key", 3, "value", 5);
        if (i == 2)
            put(state, "key", 3, "valuf", 5);
        if (i == 3)
            assert_int_equal(state_delete(state, "key", 3), 0);
        assert_int_equal(state_commit(state, i == 5 ? 1 : i, 1), 0);
        assert_int_equal(state_hash(state, &hashes[i]), 0);
    }
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(hashes[i] != hashes[j]);
    assert_true(hashes[5] == hashes[1]);
    state_close(state);
}

static void a_cache_far_smaller_than_the_data_is_enough(void **fixture) {
    enum { KEYS = 4000, SIZE = 2000 };
    struct state *state = open_state(*fixture, 128 * 1024);
    uint8_t value[SIZE];
    char key[16];

    for (uint64_t i = 0; i < KEYS; i++) {
        if (i % 100 == 0)
            assert_int_equal(state_begin(state), 0);
        memset(value, (int)i, sizeof value);
        snprintf(key, sizeof key, "%08u", (unsigned)(i * 1237 % KEYS));
        put(state, key, 8, value, sizeof value);
        if (i % 100 == 99)
            assert_int_equal(state_commit(state, i + 1, 1), 0);
    }
    for (unsigned i = 0; i < KEYS; i += 7) {
        memset(value, (int)i, sizeof value);
        snprintf(key, sizeof key, "%08u", i * 1237 % KEYS);
        assert_value(state, key, 8, value, sizeof value);
    }
    state_close(state);
}

struct beside {
    struct state *state;
    atomic_bool stop;
    unsigned count;
};

static void *make_checkpoints(void *data) {
    struct beside *beside = data;
    uint64_t last = 0, durable;

    while (!atomic_load(&beside->stop) || beside->count < 3) {
        if (state_checkpoint(beside->state, &durable) != 0 || durable < last ||
            durable % MODEL_BATCH != 0)
            return NULL;
        last = durable;
        beside->count++;
    }
    return beside;
}

static void checkpoints_run_beside_transactions(void **fixture) {
    struct beside beside = {.state = open_state(*fixture, 0)};
    uint64_t durable, applied, term;
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, make_checkpoints, &beside), 0);
    assert_int_equal(model_apply(beside.state, 300, 2000), 0);
    atomic_store(&beside.stop, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &beside);
    assert_int_equal(state_checkpoint(beside.state, &durable), 0);
    state_applied(beside.state, &applied, &term);
    assert_int_equal(durable, applied);
    model_verify(beside.state, 2000);
    state_close(beside.state);
}

static void checkpoints_remove_old_log_files(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    _cleanup_free_ char *first = NULL;
    uint64_t durable;

    /* Three log files and more. */
    assert_int_equal(model_apply(state, 300, 10000), 0);
    first = find_file(*fixture, "state-1/log.0000000001");
    assert_int_equal(access(first, F_OK), 0);
    assert_int_equal(state_checkpoint(state, &durable), 0);
    assert_int_equal(access(first, F_OK), -1);
    state_close(state);
}

static atomic_int write_error;

static int refuse(const struct system_call *call) {
    return system_call_writes(call) ? atomic_load(&write_error) : SYSTEM_CALL_IS_MADE;
}

static void find_no_space(const char *directory, int error) {
    struct state *state;
    int r = 0;

    system_call_hook = refuse;
    state = open_state(directory, 0);
    assert_int_equal(model_apply(state, 10, 20000), 0);
    atomic_store(&write_error, error);
    for (int i = 0; r == 0 && i < 100; i++)
        r = model_apply(state, 1, 20000);
    assert_int_equal(r, -ENOSPC);
    model_verify(state, 20000);
    assert_int_equal(model_apply(state, 1, 20000), -ENOSPC);
    atomic_store(&write_error, 0);
    assert_true(model_verify(state, 20000) >= 100);
    assert_int_equal(model_apply(state, 50, 20000), 0);
    assert_true(model_verify(state, 20000) >= 600);
    state_close(state);
    state = open_state(directory, 0);
    assert_true(model_verify(state, 20000) >= 600);
    state_close(state);
    system_call_hook = NULL;
}

static void a_batch_that_finds_no_space_is_undone(void **fixture) {
    find_no_space(*fixture, ENOSPC);
}

static void a_quota_that_is_used_up_is_a_lack_of_space(void **fixture) {
    find_no_space(*fixture, EDQUOT);
}

/* Pages that have their places on the disk already can be written all the same. */
static int refuse_to_grow(const struct system_call *call) {
    return system_call_grows(call) ? atomic_load(&write_error) : SYSTEM_CALL_IS_MADE;
}

static void a_state_that_finds_no_space_when_it_is_closed_loses_nothing(void **fixture) {
    struct state *state;
    uint64_t durable;

    system_call_hook = refuse_to_grow;
    state = open_state(*fixture, 0);
    assert_int_equal(model_apply(state, 20, 500), 0);
    assert_int_equal(state_checkpoint(state, &durable), 0);
    assert_int_equal(model_apply(state, 3, 500), 0);
    atomic_store(&write_error, ENOSPC);
    state_close(state);
    atomic_store(&write_error, 0);
    state = open_state(*fixture, 0);
    assert_true(model_verify(state, 500) >= durable);
    assert_int_equal(model_apply(state, 20, 500), 0);
    model_verify(state, 500);
    state_close(state);
    system_call_hook = NULL;
}

static void a_batch_that_the_disk_refuses_is_no_lack_of_space(void **fixture) {
    struct state *state;
    uint64_t index;
    int r = 0;

    system_call_hook = refuse;
    state = open_state(*fixture, 0);
    assert_int_equal(model_apply(state, 10, 20000), 0);
    atomic_store(&write_error, EIO);
    for (int i = 0; r == 0 && i < 100; i++)
        r = model_apply(state, 1, 20000);
    assert_int_equal(r, -EIO); /* the node ends */
    atomic_store(&write_error, 0);
    index = model_verify(state, 20000);
    state_close(state);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 20000), index);
    state_close(state);
    system_call_hook = NULL;
}

/* In batches as large as those of a node. */
static void a_cache_that_can_not_be_written_out_is_a_lack_of_space(void **fixture) {
    enum { LARGE = 400 * 1000 };
    struct state *state;
    int r = 0;

    system_call_hook = refuse;
    state = open_state(*fixture, 0);
    atomic_store(&write_error, ENOSPC);
    for (int i = 0; r == 0 && i < 1000; i++)
        r = model_apply(state, 1, LARGE);
    assert_int_equal(r, -ENOSPC);
    atomic_store(&write_error, 0);
    assert_int_equal(model_apply(state, 1, LARGE), 0);
    model_verify(state, LARGE);
    state_close(state);
    system_call_hook = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_state_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_sets_everything_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_abort_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_undoes_an_open_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(deleting_a_missing_key_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(values_of_every_size_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_walk_goes_in_byte_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_walk_reads_the_longest_keys_and_large_values, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_hash_follows_content_and_index, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cache_far_smaller_than_the_data_is_enough, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(checkpoints_run_beside_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoints_remove_old_log_files, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_finds_no_space_is_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quota_that_is_used_up_is_a_lack_of_space, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_state_that_finds_no_space_when_it_is_closed_loses_nothing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_that_the_disk_refuses_is_no_lack_of_space, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_cache_that_can_not_be_written_out_is_a_lack_of_space,
                                        setup, teardown),
    };

    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
