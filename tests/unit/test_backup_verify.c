/* Verification reads all of a state, and says which file is damaged. */
#include "test_state_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/state.h"

/* Berkeley DB never frees the memory of an environment that has panicked. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3\n";
}

static int setup(void **fixture) {
    *fixture = make_directory();
    return 0;
}

static int teardown(void **fixture) {
    remove_directory(*fixture);
    return 0;
}

/* What a test was told while a state was verified. */
struct told {
    uint64_t bytes, percent;
};

static void note_progress(void *data, uint64_t done, uint64_t total) {
    struct told *told = data;

    if (total == 0) {
        assert_true(done > told->bytes && told->percent == 0);
        told->bytes = done;
        return;
    }
    assert_int_equal(total, 100);
    assert_true(done <= total);
    told->percent = done;
}

static void a_sound_state_is_verified(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct state_summary summary;
    struct failure failure = {0};
    struct told told = {0};
    uint64_t hash;

    assert_int_equal(model_apply(state, 60, 20000), 0);
    assert_int_equal(state_hash(state, &hash), 0);
    state_close(state);
    if (state_verify(*fixture, note_progress, &told, &summary, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_int_equal(summary.applied_index, 600);
    assert_int_equal(summary.applied_term, 6);
    assert_int_equal(summary.configuration_index, 600);
    assert_int_equal(summary.installed_index, 0);
    assert_true(summary.hash == hash);
    assert_int_equal(summary.bytes, summary.records * 20006);
    assert_true(told.percent > 0 && told.bytes <= summary.bytes);
    assert_int_equal(summary.configuration_size, sizeof(uint64_t));
    state_summary_deinit(&summary);
    state = open_state(*fixture, 0);
    assert_int_equal(model_verify(state, 20000), 600);
    state_close(state);
}

static void no_state_is_not_a_sound_one(void **fixture) {
    struct state_summary summary;
    struct failure failure = {0};

    assert_int_equal(state_verify(*fixture, NULL, NULL, &summary, &failure), ERROR_NOT_FOUND);
    assert_int_equal(rmdir(*fixture), 0);
    assert_int_equal(mkdir(*fixture, 0700), 0);
}

static void a_wrong_record_is_found(void **fixture) {
    static const struct state_record wrong[] = {
        {.create_revision = 1, .modify_revision = 3, .version = 1},
        {.create_revision = 2, .modify_revision = 1, .version = 1},
        {.create_revision = 0, .modify_revision = 1, .version = 1},
        {.create_revision = 1, .modify_revision = 1, .version = 0},
    };
    struct state *state;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct state_summary summary;
        struct failure failure = {0};

        state = open_state(*fixture, 0);
        assert_int_equal(state_begin(state), 0);
        assert_int_equal(state_put(state, "key", 3, &wrong[i]), 0);
        assert_int_equal(state_commit(state, 2, 1), 0);
        state_close(state);
        assert_int_equal(state_verify(*fixture, NULL, NULL, &summary, &failure), ERROR_INTERNAL);
        assert_non_null(strstr(failure.message, "state-1/keys is damaged: record 1"));
    }
}

/* Each page of each file, in the middle and at its end. */
static void damage_on_every_page_is_found(void **fixture) {
    static const char *const files[] = {"keys", "meta"};
    struct state *state = open_state(*fixture, 0);

    assert_int_equal(model_apply(state, 20, 3000), 0);
    /* Pages that nothing is on any more. */
    assert_int_equal(state_begin(state), 0);
    for (unsigned i = 0; i < MODEL_KEYS / 2; i++) {
        char key[16];

        snprintf(key, sizeof key, "key-%02u", i);
        assert_true(state_delete(state, key, strlen(key)) >= 0);
    }
    assert_int_equal(state_commit(state, 201, 2), 0);
    state_close(state);

    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *original = xasprintf("%s/state-1/%s", (char *)*fixture, files[i]);
        struct stat status;

        assert_int_equal(stat(original, &status), 0);
        for (long page = 0; page < status.st_size / 8192; page++) {
            _cleanup_free_ char *path = NULL;
            char *copy = make_directory();
            struct state_summary summary;
            struct failure failure = {0};

            copy_directory(*fixture, copy);
            path = xasprintf("%s/state-1/%s", copy, files[i]);
            overwrite(path, page * 8192 + (page == 0 ? 100 : 4000), "damage", 6);
            assert_int_equal(state_verify(copy, NULL, NULL, &summary, &failure), ERROR_INTERNAL);
            assert_non_null(strstr(failure.message, "state-1"));
            if (i == 0 && page > 0)
                assert_non_null(strstr(failure.message, "state-1/keys is damaged"));
            remove_directory(copy);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_state_is_verified, setup, teardown),
        cmocka_unit_test_setup_teardown(no_state_is_not_a_sound_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_record_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_on_every_page_is_found, setup, teardown),
    };

    return cmocka_run_group_tests_name("backup_verify", tests, NULL, NULL);
}
