#include "test_state_fixture.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

char *find_file(const char *directory, const char *pattern) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, pattern);
    char *found;
    glob_t names;

    assert_int_equal(glob(path, 0, NULL, &names), 0);
    found = xstrdup(names.gl_pathv[names.gl_pathc - 1]);
    globfree(&names);
    return found;
}

void overwrite(const char *path, long offset, const void *data, size_t size) {
    FILE *file = fopen(path, "r+e");

    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

struct state *open_state(const char *directory, size_t cache_size) {
    struct state_options options = {.directory = directory, .cache_size = cache_size};
    struct failure failure = {0};
    struct state *state = NULL;

    if (state_open(&state, &options, &failure) != 0)
        fail_msg("%s", failure.message);
    return state;
}

static unsigned model_key(uint64_t index) {
    return (unsigned)(index * 2654435761U >> 7) % MODEL_KEYS;
}

static bool model_deletes(uint64_t index) {
    return index % 7 == 3;
}

static void model_value(uint64_t index, uint8_t *value, size_t size) {
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(index * 31 + i * 7);
}

static int model_step(struct state *state, uint64_t index, size_t value_size) {
    _cleanup_free_ uint8_t *value = xmalloc(value_size);
    struct state_record record = {.value = value, .value_size = value_size};
    char key[16];
    int r;

    snprintf(key, sizeof key, "key-%02u", model_key(index));
    if (model_deletes(index)) {
        r = state_delete(state, key, strlen(key));
        return r < 0 ? r : 0;
    }
    r = state_get_header(state, key, strlen(key), &record);
    if (r < 0)
        return r;
    if (r != 0)
        record.create_revision = index;
    record.modify_revision = index;
    record.version = r == 0 ? record.version + 1 : 1;
    model_value(index, value, value_size);
    record.value = value;
    record.value_size = value_size;
    return state_put(state, key, strlen(key), &record);
}

int model_apply(struct state *state, size_t count, size_t value_size) {
    uint64_t index, term;
    int r;

    state_applied(state, &index, &term);
    for (size_t batch = 0; batch < count; batch++) {
        r = state_begin(state);
        for (int i = 0; r == 0 && i < MODEL_BATCH; i++)
            r = model_step(state, ++index, value_size);
        if (r == 0)
            r = state_set_configuration(state, index, &index, sizeof index);
        if (r < 0) {
            state_abort(state);
            return r;
        }
        r = state_commit(state, index, index / 100);
        if (r < 0)
            return r;
    }
    return 0;
}

struct model {
    struct state_record records[MODEL_KEYS]; /* version 0: not there */
    size_t value_size;
    unsigned next;
    bool wrong;
};

static bool compare(void *data, const uint8_t *key, size_t key_size,
                    const struct state_record *record) {
    struct model *model = data;
    _cleanup_free_ uint8_t *value = xmalloc(model->value_size);
    const struct state_record *expected;
    char name[16];

    while (model->next < MODEL_KEYS && model->records[model->next].version == 0)
        model->next++;
    model->wrong = true;
    if (model->next == MODEL_KEYS)
        return false;
    expected = &model->records[model->next];
    snprintf(name, sizeof name, "key-%02u", model->next++);
    model_value(expected->modify_revision, value, model->value_size);
    if (key_size != strlen(name) || memcmp(key, name, key_size) != 0 ||
        record->create_revision != expected->create_revision ||
        record->modify_revision != expected->modify_revision ||
        record->version != expected->version || record->value_size != model->value_size ||
        memcmp(record->value, value, model->value_size) != 0)
        return false;
    model->wrong = false;
    return true;
}

uint64_t model_verify(struct state *state, size_t value_size) {
    struct model model = {.value_size = value_size};
    uint64_t applied, term, configuration_index, data = 0;
    const uint8_t *configuration;
    size_t size;

    state_applied(state, &applied, &term);
    assert_int_equal(applied % MODEL_BATCH, 0);
    assert_int_equal(term, applied / 100);
    for (uint64_t index = 1; index <= applied; index++) {
        struct state_record *record = &model.records[model_key(index)];

        if (model_deletes(index)) {
            record->version = 0;
            continue;
        }
        if (record->version++ == 0)
            record->create_revision = index;
        record->modify_revision = index;
    }
    assert_int_equal(state_walk(state, NULL, 0, compare, &model), 0);
    assert_false(model.wrong);
    while (model.next < MODEL_KEYS && model.records[model.next].version == 0)
        model.next++;
    assert_int_equal(model.next, MODEL_KEYS);

    state_configuration(state, &configuration_index, &configuration, &size);
    assert_int_equal(configuration_index, applied);
    if (applied > 0) {
        assert_int_equal(size, sizeof data);
        memcpy(&data, configuration, sizeof data);
    }
    assert_int_equal(data, applied);
    return applied;
}
