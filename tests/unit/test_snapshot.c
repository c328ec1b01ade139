/* A snapshot is the state at one index, whatever is applied while it is read. */
#include "test_state_fixture.h"
#include "system_calls.h"

#include <db.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/snapshot.h"

static int setup(void **fixture) {
    *fixture = make_directory();
    return 0;
}

static int teardown(void **fixture) {
    remove_directory(*fixture);
    return 0;
}

/* ---- a model: a pool of keys, each there or not ---- */

enum { POOL = 300, LARGE = 20000 };

struct pool_key {
    uint8_t data[64];
    size_t size;
};

struct item {
    struct state_record record; /* version 0: not there; the value follows from modify_revision */
};

struct model {
    struct item items[POOL];
};

static struct pool_key pool[POOL];
static uint64_t chance;

/* xorshift64 */
static uint64_t draw(uint64_t below) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % below;
}

static int order(const void *left, const void *right) {
    const struct pool_key *a = left, *b = right;
    size_t common = a->size < b->size ? a->size : b->size;
    int result = memcmp(a->data, b->data, common);

    if (result != 0)
        return result;
    return a->size < b->size ? -1 : a->size > b->size;
}

/* Keys of all lengths from few letters, so that many begin with each other. */
static void fill_pool(void) {
    for (size_t i = 0; i < POOL; i++) {
        char number[8];

        pool[i].size = (size_t)draw(20);
        for (size_t k = 0; k < pool[i].size; k++)
            pool[i].data[k] = (uint8_t) "\0a\xff"[draw(3)];
        snprintf(number, sizeof number, "%03zu", i);
        memcpy(pool[i].data + pool[i].size, number, 3);
        pool[i].size += 3;
    }
    qsort(pool, POOL, sizeof pool[0], order);
}

static void fill_value(uint8_t *value, size_t size, uint64_t revision) {
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(revision * 31 + i * 7 + i / 256);
}

static void change(struct state *state, struct model *model, uint64_t index) {
    static uint8_t value[LARGE];
    size_t i = (size_t)draw(POOL);
    struct state_record *record = &model->items[i].record;

    if (draw(3) == 0) {
        assert_int_equal(state_delete(state, pool[i].data, pool[i].size),
                         record->version ? 0 : ERROR_NOT_FOUND);
        *record = (struct state_record){0};
        return;
    }
    if (record->version++ == 0)
        record->create_revision = index;
    record->modify_revision = index;
    record->value_size = (size_t)draw(draw(20) == 0 ? LARGE : 200);
    record->value = value;
    fill_value(value, record->value_size, index);
    assert_int_equal(state_put(state, pool[i].data, pool[i].size, record), 0);
}

/* One transaction, which may be aborted. */
static void transact(struct state *state, struct model *model, uint64_t *index) {
    struct model copy = *model;
    uint64_t count = 1 + draw(20);

    assert_int_equal(state_begin(state), 0);
    for (uint64_t i = 1; i <= count; i++)
        change(state, &copy, *index + i);
    if (draw(4) == 0) {
        state_abort(state);
        return;
    }
    *model = copy;
    *index += count;
    assert_int_equal(state_commit(state, *index, 1), 0);
}

/* ---- reading a snapshot against the model ---- */

struct reading {
    struct snapshot *snapshot;
    struct model model; /* as it was when the snapshot began */
    struct snapshot_reader reader;
    size_t next; /* of the pool */
    bool done;
};

static void begin_reading(struct reading *reading, struct state *state, const struct model *model) {
    *reading = (struct reading){.model = *model};
    assert_int_equal(snapshot_open(&reading->snapshot, state), 0);
    snapshot_reader_init(&reading->reader, snapshot_header(reading->snapshot)->index);
}

static void end_reading(struct reading *reading) {
    snapshot_close(reading->snapshot);
    snapshot_reader_deinit(&reading->reader);
    *reading = (struct reading){0};
}

static void skip_missing(struct reading *reading) {
    while (reading->next < POOL && reading->model.items[reading->next].record.version == 0)
        reading->next++;
}

static void compare_record(struct reading *reading, const struct snapshot_record *record) {
    static uint8_t value[LARGE];
    const struct state_record *expected;

    skip_missing(reading);
    assert_true(reading->next < POOL);
    assert_int_equal(record->key_size, pool[reading->next].size);
    assert_memory_equal(record->key, pool[reading->next].data, record->key_size);
    expected = &reading->model.items[reading->next++].record;
    assert_int_equal(record->record.create_revision, expected->create_revision);
    assert_int_equal(record->record.modify_revision, expected->modify_revision);
    assert_int_equal(record->record.version, expected->version);
    assert_int_equal(record->record.value_size, expected->value_size);
    fill_value(value, expected->value_size, expected->modify_revision);
    if (expected->value_size)
        assert_memory_equal(record->record.value, value, expected->value_size);
}

static void read_step(struct reading *reading, size_t max_bytes) {
    struct buffer bytes = BUFFER_NULL;
    struct snapshot_chunk chunk;
    struct failure failure;
    bool last;

    assert_int_equal(snapshot_next(reading->snapshot, max_bytes, &bytes, &last), 0);
    if (snapshot_reader_decode(&reading->reader, bytes.data, bytes.size, &chunk, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_int_equal(chunk.last, last);
    for (size_t i = 0; i < chunk.count; i++)
        compare_record(reading, &chunk.records[i]);
    snapshot_reader_accept(&reading->reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    buffer_deinit(&bytes);
    reading->done = last;
    if (last) {
        skip_missing(reading);
        assert_int_equal(reading->next, POOL);
    }
}

static void run_seed(struct state *state, struct model *model, uint64_t *index, uint64_t seed) {
    struct reading readings[SNAPSHOTS_MAX] = {0};
    unsigned finished = 0;

    chance = seed * 0x9e3779b97f4a7c15ULL + 1;
    while (finished < 12) {
        struct reading *reading = &readings[draw(SNAPSHOTS_MAX)];

        transact(state, model, index);
        if (draw(3) != 0)
            continue;
        if (!reading->snapshot) {
            begin_reading(reading, state, model);
            continue;
        }
        read_step(reading, 1 + (size_t)draw(draw(2) ? 20000 : 300));
        if (reading->done || draw(40) == 0) {
            finished += reading->done;
            end_reading(reading);
        }
    }
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        if (readings[i].snapshot)
            end_reading(&readings[i]);
}

static void the_stream_is_the_state_at_its_index(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct model model = {0};
    uint64_t index = 0;

    chance = 1;
    fill_pool();
    transact(state, &model, &index);
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_seed(state, &model, &index, seed);
    state_close(state);
}

/* ---- */

static void collect(struct snapshot *snapshot, size_t max_bytes, struct buffer *ret) {
    bool last = false;

    while (!last)
        assert_int_equal(snapshot_next(snapshot, max_bytes, ret, &last), 0);
}

static void the_header_says_what_the_state_said(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    const struct snapshot_header *header;
    struct snapshot_header decoded;
    struct buffer bytes = BUFFER_NULL;
    struct snapshot *snapshot;
    struct failure failure;

    assert_int_equal(snapshot_open(&snapshot, state), ERROR_UNAVAILABLE);
    assert_int_equal(model_apply(state, 20, 100), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(model_apply(state, 20, 100), 0);
    header = snapshot_header(snapshot);
    assert_int_equal(header->index, 200);
    assert_int_equal(header->term, 2);
    assert_int_equal(header->configuration_index, 200);
    assert_int_equal(header->configuration_size, sizeof(uint64_t));
    assert_memory_equal(header->configuration, &(uint64_t){200}, sizeof(uint64_t));
    snapshot_header_encode(header, &bytes);
    assert_int_equal(snapshot_header_decode(&decoded, bytes.data, bytes.size, &failure), 0);
    assert_int_equal(decoded.index, 200);
    assert_int_equal(decoded.term, 2);
    assert_int_equal(decoded.configuration_index, 200);
    assert_memory_equal(decoded.configuration, header->configuration, sizeof(uint64_t));
    assert_int_equal(decoded.records_estimate, header->records_estimate);
    snapshot_header_deinit(&decoded);
    buffer_deinit(&bytes);
    snapshot_close(snapshot);
    state_close(state);
}

static void estimates_are_near(void **fixture) {
    enum { KEYS = 20000, SIZE = 256 };
    struct state *state = open_state(*fixture, 0);
    const struct snapshot_header *header;
    uint8_t value[SIZE] = {0};
    struct snapshot *snapshot;

    assert_int_equal(state_begin(state), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        struct state_record record = {1, 1, 1, value, sizeof value};
        char key[16];

        snprintf(key, sizeof key, "%08u", i * 7919 % KEYS);
        assert_int_equal(state_put(state, key, 8, &record), 0);
    }
    assert_int_equal(state_commit(state, 1, 1), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    header = snapshot_header(snapshot);
    assert_in_range(header->records_estimate, KEYS / 2, KEYS * 2);
    assert_in_range(header->bytes_estimate, KEYS * (SIZE + 8) / 2, KEYS * (SIZE + 8) * 2);
    snapshot_close(snapshot);
    state_close(state);
}

static void a_header_that_cannot_be_is_refused(void **fixture) {
    static const uint8_t configuration[SNAPSHOT_CONFIGURATION_MAX + 1];
    const struct snapshot_header wrong[] = {
        {.index = 0, .term = 1},
        {.index = 1, .term = 0},
        {.index = 1, .term = 1, .configuration_index = 2, .configuration_size = 1},
        {.index = 1, .term = 1, .configuration_index = 1},
        {.index = 1, .term = 1, .configuration_size = 1},
        {.index = 1,
         .term = 1,
         .configuration_index = 1,
         .configuration_size = sizeof configuration},
    };
    struct snapshot_header decoded;
    struct failure failure;

    (void)fixture;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct snapshot_header header = wrong[i];
        struct buffer bytes = BUFFER_NULL;

        header.configuration = (uint8_t *)(uintptr_t)configuration;
        snapshot_header_encode(&header, &bytes);
        failure = (struct failure){0};
        assert_int_equal(snapshot_header_decode(&decoded, bytes.data, bytes.size, &failure),
                         -EBADMSG);
        assert_true(failure.message[0]);
        buffer_deinit(&bytes);
    }
    assert_int_equal(snapshot_header_decode(&decoded, "\x0a", 1, &failure), -EBADMSG);
}

static void at_most_four_are_open_at_once(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct snapshot *snapshots[SNAPSHOTS_MAX], *more;

    assert_int_equal(model_apply(state, 1, 10), 0);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        assert_int_equal(snapshot_open(&snapshots[i], state), 0);
    assert_int_equal(snapshot_open(&more, state), ERROR_BUSY);
    assert_null(snapshot_close(snapshots[1]));
    assert_int_equal(snapshot_open(&snapshots[1], state), 0);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        snapshot_close(snapshots[i]);
    assert_null(snapshot_close(NULL));
    state_close(state);
}

static void a_snapshot_outlives_its_state_only_to_be_closed(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct buffer bytes = BUFFER_NULL;
    struct snapshot_progress progress;
    struct snapshot *snapshot;
    bool last;

    assert_int_equal(model_apply(state, 5, 10), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(snapshot_next(snapshot, 1, &bytes, &last), 0);
    buffer_deinit(&bytes);
    state_close(state);
    assert_int_equal(snapshot_next(snapshot, 1, &bytes, &last), -ESTALE);
    assert_int_equal(bytes.size, 0);
    snapshot_get_progress(snapshot, &progress);
    assert_int_equal(progress.chunks, 1);
    snapshot_close(snapshot);
}

static void chunks_keep_to_their_size(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct snapshot_progress progress;
    struct snapshot *snapshot;
    bool last = false;

    assert_int_equal(model_apply(state, 30, 1000), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    for (unsigned chunks = 1; !last; chunks++) {
        struct buffer bytes = BUFFER_NULL;

        buffer_append(&bytes, "before", 6);
        assert_int_equal(snapshot_next(snapshot, 4000, &bytes, &last), 0);
        assert_memory_equal(bytes.data, "before", 6);
        assert_in_range(bytes.size, 50, 6 + 4000 + 1100);
        if (!last)
            assert_true(bytes.size > 4000);
        snapshot_get_progress(snapshot, &progress);
        assert_int_equal(progress.chunks, chunks);
        assert_true(last ? progress.permille == 1000 : progress.permille < 1000);
        buffer_deinit(&bytes);
    }
    assert_true(progress.chunks > 5);
    assert_int_equal(progress.bytes, progress.records * 1006);
    snapshot_close(snapshot);
    state_close(state);
}

/* Puts `count` keys of 4 bytes with values of that size. */
static void put_small(struct state *state, unsigned count, size_t value_size) {
    static uint8_t value[1024];
    struct state_record record = {1, 1, 1, value, value_size};

    assert_int_equal(state_begin(state), 0);
    for (unsigned i = 0; i < count; i++) {
        uint8_t key[] = {1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};

        assert_int_equal(state_put(state, key, sizeof key, &record), 0);
    }
    assert_int_equal(state_commit(state, 1, 1), 0);
}

/* Reads all and checks that every chunk is within its limits; returns the number of records. */
static uint64_t read_within_limits(struct state *state, size_t *ret_largest) {
    struct snapshot_reader reader;
    struct snapshot *snapshot;
    uint64_t records;
    bool last = false;

    *ret_largest = 0;
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    snapshot_reader_init(&reader, 1);
    while (!last) {
        struct buffer bytes = BUFFER_NULL;
        struct snapshot_chunk chunk;
        struct failure failure = {0};

        assert_int_equal(snapshot_next(snapshot, SNAPSHOT_CHUNK_BYTES_MAX, &bytes, &last), 0);
        if (snapshot_reader_decode(&reader, bytes.data, bytes.size, &chunk, &failure) != 0)
            fail_msg("%s", failure.message);
        snapshot_reader_accept(&reader, &chunk);
        if (bytes.size > *ret_largest)
            *ret_largest = bytes.size;
        snapshot_chunk_deinit(&chunk);
        buffer_deinit(&bytes);
    }
    records = reader.records;
    snapshot_reader_deinit(&reader);
    snapshot_close(snapshot);
    return records;
}

static void many_small_records_stay_within_the_limits(void **fixture) {
    enum { KEYS = 3 * SNAPSHOT_CHUNK_RECORDS_MAX + 100 };
    struct state *state = open_state(*fixture, 0);
    size_t largest;

    put_small(state, KEYS, 0);
    assert_int_equal(read_within_limits(state, &largest), KEYS);
    assert_in_range(largest, SNAPSHOT_CHUNK_RECORDS_MAX * 14, SNAPSHOT_CHUNK_BYTES_MAX);
    state_close(state);
}

static void the_largest_record_fits_behind_a_full_chunk(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    _cleanup_free_ uint8_t *value = xcalloc(1, VALUE_SIZE_MAX);
    struct state_record record = {1, 1, 1, value, VALUE_SIZE_MAX};
    uint8_t key[KEY_SIZE_MAX] = {2};
    size_t largest;

    put_small(state, 1000, 1024);
    assert_int_equal(state_begin(state), 0);
    assert_int_equal(state_put(state, key, sizeof key, &record), 0);
    key[0] = 0;
    assert_int_equal(state_put(state, key, sizeof key, &record), 0);
    assert_int_equal(state_commit(state, 1, 1), 0);
    assert_int_equal(read_within_limits(state, &largest), 1002);
    assert_in_range(largest, VALUE_SIZE_MAX + 1000 * 1024, SNAPSHOT_CHUNK_SIZE_MAX);
    state_close(state);
}

static void an_emptied_state_is_one_chunk_without_records(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct buffer bytes = BUFFER_NULL;
    struct snapshot_reader reader;
    struct snapshot *snapshot;
    struct snapshot_chunk chunk;
    struct failure failure;
    bool last = false;

    assert_int_equal(state_begin(state), 0);
    assert_int_equal(state_commit(state, 3, 1), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(model_apply(state, 5, 10), 0);
    assert_int_equal(snapshot_next(snapshot, 1, &bytes, &last), 0);
    assert_true(last);
    snapshot_reader_init(&reader, 3);
    assert_int_equal(snapshot_reader_decode(&reader, bytes.data, bytes.size, &chunk, &failure), 0);
    assert_int_equal(chunk.count, 0);
    assert_true(chunk.last);
    snapshot_chunk_deinit(&chunk);
    snapshot_reader_deinit(&reader);
    buffer_deinit(&bytes);
    snapshot_close(snapshot);
    state_close(state);
}

static void nothing_is_left_of_what_was_kept_aside(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    _cleanup_free_ char *aside = xasprintf("%s/aside-1", (char *)*fixture);
    _cleanup_free_ char *file = xasprintf("%s/aside-7/file", (char *)*fixture);
    _cleanup_free_ char *left = xasprintf("%s/aside-7", (char *)*fixture);
    struct snapshot_progress progress;
    struct snapshot *snapshot;

    assert_int_equal(model_apply(state, 20, 100000), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(access(aside, F_OK), 0);
    /* More than its cache holds. */
    assert_int_equal(model_apply(state, 20, 100000), 0);
    snapshot_get_progress(snapshot, &progress);
    assert_true(progress.kept > 30);
    snapshot_close(snapshot);
    assert_int_equal(access(aside, F_OK), -1);
    state_close(state);

    assert_int_equal(mkdir(left, 0700), 0);
    write_text(file, "left by a crash");
    state_close(open_state(*fixture, 0));
    assert_int_equal(access(left, F_OK), -1);
}

static int no_space_aside(const struct system_call *call) {
    return system_call_writes(call) && system_call_is_below(call, "/aside-") ? ENOSPC
                                                                             : SYSTEM_CALL_IS_MADE;
}

/* Each key of `keys` is put with a value of VALUE bytes, in one transaction. */
static void put_keys(struct state *state, unsigned keys, uint64_t index) {
    enum { VALUE = 10000 };
    static uint8_t value[VALUE];
    struct state_record record = {index, index, 1, value, sizeof value};

    assert_int_equal(state_begin(state), 0);
    for (unsigned i = 0; i < keys; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i);
        assert_int_equal(state_put(state, key, 8, &record), 0);
    }
    assert_int_equal(state_commit(state, index, 1), 0);
}

static void a_snapshot_without_space_ends_and_the_state_goes_on(void **fixture) {
    enum { KEYS = 500 };
    struct buffer bytes = BUFFER_NULL;
    struct snapshot *snapshot;
    uint64_t before, after;
    struct state *state;
    bool last;

    system_call_hook = no_space_aside;
    state = open_state(*fixture, 0);
    put_keys(state, KEYS, 1);
    assert_int_equal(state_hash(state, &before), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    assert_int_equal(state_begin(state), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i);
        assert_int_equal(state_delete(state, key, 8), 0);
    }
    state_abort(state);
    assert_int_equal(state_hash(state, &after), 0);
    assert_true(after == before);
    assert_int_equal(snapshot_next(snapshot, 1000, &bytes, &last), -ENOSPC);
    assert_int_equal(bytes.size, 0);
    snapshot_close(snapshot);
    put_keys(state, KEYS, 2);
    state_close(state);
    system_call_hook = NULL;
}

/* ---- chunks from elsewhere ---- */

static void every_flipped_bit_of_a_chunk_is_noticed(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct buffer bytes = BUFFER_NULL;
    struct snapshot_reader reader;
    struct snapshot *snapshot;
    struct snapshot_chunk chunk;
    struct failure failure;

    assert_int_equal(model_apply(state, 1, 5), 0);
    assert_int_equal(snapshot_open(&snapshot, state), 0);
    collect(snapshot, SNAPSHOT_CHUNK_BYTES, &bytes);
    snapshot_reader_init(&reader, 10);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        failure = (struct failure){0};
        assert_int_equal(snapshot_reader_decode(&reader, bytes.data, bytes.size, &chunk, &failure),
                         -EBADMSG);
        assert_true(failure.message[0]);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < bytes.size; size++) {
        /* A copy of exactly this size, so that reading behind it is noticed. */
        _cleanup_free_ uint8_t *part = xmemdup(bytes.data, size + 1);

        part = xrealloc(part, size ? size : 1);
        assert_int_equal(snapshot_reader_decode(&reader, part, size, &chunk, &failure), -EBADMSG);
    }
    assert_int_equal(snapshot_reader_decode(&reader, bytes.data, bytes.size, &chunk, &failure), 0);
    snapshot_chunk_deinit(&chunk);
    snapshot_reader_deinit(&reader);
    buffer_deinit(&bytes);
    snapshot_close(snapshot);
    state_close(state);
}

/* The chunks of a snapshot, one record each. */
static size_t make_chunks(struct state *state, struct buffer *chunks, size_t max) {
    struct snapshot *snapshot;
    size_t count = 0;
    bool last = false;

    assert_int_equal(snapshot_open(&snapshot, state), 0);
    while (!last) {
        assert_true(count < max);
        assert_int_equal(snapshot_next(snapshot, 1, &chunks[count++], &last), 0);
    }
    snapshot_close(snapshot);
    return count;
}

static int try_chunk(struct snapshot_reader *reader, const struct buffer *bytes) {
    struct snapshot_chunk chunk;
    struct failure failure = {0};
    int r = snapshot_reader_decode(reader, bytes->data, bytes->size, &chunk, &failure);

    if (r == 0) {
        snapshot_reader_accept(reader, &chunk);
        snapshot_chunk_deinit(&chunk);
    } else {
        assert_true(failure.message[0]);
    }
    return r;
}

static void a_chunk_fits_only_behind_the_one_before_it(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct buffer ours[MODEL_KEYS + 1] = {0}, theirs[MODEL_KEYS + 1] = {0};
    struct snapshot_reader reader;
    size_t count, other_count;

    assert_int_equal(model_apply(state, 10, 10), 0);
    count = make_chunks(state, ours, MODEL_KEYS + 1);
    assert_true(count > 10);
    assert_int_equal(model_apply(state, 1, 10), 0);
    other_count = make_chunks(state, theirs, MODEL_KEYS + 1);
    assert_true(other_count > 10);

    snapshot_reader_init(&reader, 100);
    for (size_t i = 0; i < count; i++) {
        for (size_t other = 0; other < count; other++)
            if (other != i)
                assert_int_equal(try_chunk(&reader, &ours[other]), -EBADMSG);
        for (size_t other = 0; other < other_count; other++)
            assert_int_equal(try_chunk(&reader, &theirs[other]), -EBADMSG);
        assert_int_equal(reader.chunks, i);
        assert_int_equal(try_chunk(&reader, &ours[i]), 0);
    }
    assert_true(reader.complete);
    assert_int_equal(try_chunk(&reader, &ours[0]), -EBADMSG);
    snapshot_reader_deinit(&reader);
    for (size_t i = 0; i <= MODEL_KEYS; i++) {
        buffer_deinit(&ours[i]);
        buffer_deinit(&theirs[i]);
    }
    state_close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_stream_is_the_state_at_its_index, setup, teardown),
        cmocka_unit_test_setup_teardown(the_header_says_what_the_state_said, setup, teardown),
        cmocka_unit_test_setup_teardown(estimates_are_near, setup, teardown),
        cmocka_unit_test(a_header_that_cannot_be_is_refused),
        cmocka_unit_test_setup_teardown(at_most_four_are_open_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_outlives_its_state_only_to_be_closed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(chunks_keep_to_their_size, setup, teardown),
        cmocka_unit_test_setup_teardown(many_small_records_stay_within_the_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_record_fits_behind_a_full_chunk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_emptied_state_is_one_chunk_without_records, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_left_of_what_was_kept_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_without_space_ends_and_the_state_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_of_a_chunk_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_chunk_fits_only_behind_the_one_before_it, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
