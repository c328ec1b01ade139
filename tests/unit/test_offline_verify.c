/* Verification of a data directory: all of it is read, and nothing that is wrong is missed. */
#include "test_offline_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/sync.h"

/* Berkeley DB never frees the memory of an environment that has panicked. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3\n";
}

static uint8_t *read_file(const char *path, size_t *ret_size) {
    FILE *file = fopen(path, "re");
    struct stat status;
    uint8_t *data;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    data = xmalloc((size_t)status.st_size);
    assert_int_equal(fread(data, 1, (size_t)status.st_size, file), status.st_size);
    fclose(file);
    *ret_size = (size_t)status.st_size;
    return data;
}

static void expect_wrong(struct world *world, const char *text) {
    assert_int_equal(world_verify(world), ERROR_INTERNAL);
    if (!strstr(world->wrong, text))
        fail_msg("\"%s\" instead of \"%s\"", world->wrong, text);
}

static void a_sound_directory_is_described(void **state) {
    struct world *world = *state;

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    assert_int_equal(world_verify(world), 0);
    assert_string_equal(world->wrong, "");
    assert_non_null(strstr(world->said, "node nodeA, member 0000000000001267, cluster "
                                        "00000000000004d2, start 1."));
    assert_non_null(strstr(world->said, "entry 200 of term 7 is applied; 40 keys, 8240 bytes"));
    assert_non_null(strstr(world->said,
                           "entries 1 to 300, the last of term 7, mark at entry 0, term 7; 31 "
                           "records"));
    assert_non_null(strstr(world->said, "3 by the configuration of entry 1; this node is a voter"));
}

static void identity_and_log_are_left_as_they_were(void **state) {
    struct world *world = *state;
    static const char *const names[] = {"identity", "log/floor", "log/log.0000000001",
                                        "log/log.0000000002"};

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", world->path, names[i]);
        _cleanup_free_ uint8_t *before = NULL, *after = NULL;
        struct stat old, new;
        size_t size, size_after;

        before = read_file(path, &size);
        assert_int_equal(stat(path, &old), 0);
        assert_int_equal(world_verify(world), 0);
        after = read_file(path, &size_after);
        assert_int_equal(stat(path, &new), 0);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        assert_int_equal(old.st_ino, new.st_ino);
        assert_memory_equal(&old.st_mtim, &new.st_mtim, sizeof old.st_mtim);
    }
}

static void a_directory_without_a_cluster_is_sound(void **state) {
    struct world *world = *state;
    struct directory directory;
    struct failure failure;

    assert_int_equal(directory_open(&directory, world->path, "nodeA", 5, &failure), 0);
    directory_deinit(&directory);
    assert_int_equal(world_verify(world), 0);
    assert_non_null(strstr(world->said, "State: none yet."));
    assert_non_null(strstr(world->said, "(none yet)"));
}

static void what_is_no_data_directory_is_not_made_one(void **state) {
    struct world *world = *state;

    assert_int_equal(world_verify(world), ERROR_NOT_FOUND);
    assert_non_null(strstr(world->wrong, "There is no data directory"));
    assert_int_equal(access(world->path, F_OK), -1);
    assert_int_equal(mkdir(world->path, 0700), 0);
    assert_int_equal(world_verify(world), ERROR_NOT_FOUND);
    assert_int_equal(rmdir(world->path), 0);
}

static void a_directory_in_use_is_refused(void **state) {
    struct world *world = *state;
    struct directory directory;
    struct failure failure;

    world_make_node(world, 10, 10);
    assert_int_equal(directory_open(&directory, world->path, "nodeA", 5, &failure), 0);
    assert_int_equal(world_verify(world), ERROR_BUSY);
    assert_non_null(strstr(world->wrong, "is in use by another process."));
    directory_deinit(&directory);
    assert_int_equal(world_verify(world), 0);
}

static void a_flipped_byte_in_the_identity_is_found(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *path = xasprintf("%s/identity", world->path);
    _cleanup_free_ uint8_t *data = NULL;
    size_t size;

    world_make_node(world, 10, 10);
    data = read_file(path, &size);
    for (size_t i = 0; i < size; i++) {
        uint8_t flipped = data[i] ^ 0x10;

        overwrite(path, (long)i, &flipped, 1);
        assert_int_equal(world_verify(world), ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(world->wrong, "/identity is damaged."));
        overwrite(path, (long)i, &data[i], 1);
    }
    assert_int_equal(world_verify(world), 0);
}

/* Behind the last record are zeros: a byte there is no damage of what was written. */
static void a_flipped_byte_in_the_log_is_found(void **state) {
    struct world *world = *state;

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    for (unsigned file = 1; file <= 2; file++) {
        _cleanup_free_ char *path = xasprintf("%s/log/log.%010u", world->path, file);
        _cleanup_free_ uint8_t *data = NULL;
        size_t size, written;

        data = read_file(path, &size);
        written = size;
        while (data[written - 1] == 0)
            written--;
        assert_true(written > 5000);
        /* The first 28 bytes are the library's header, with fields that mean nothing to it. */
        for (size_t i = 28; i < written; i += i < 200 || i > written - 100 ? 1 : 251) {
            uint8_t flipped = data[i] ^ 0x04;

            overwrite(path, (long)i, &flipped, 1);
            expect_wrong(world, "To rejoin: ");
            assert_non_null(strstr(world->wrong, world->path));
            overwrite(path, (long)i, &data[i], 1);
        }
    }
    assert_int_equal(world_verify(world), 0);
}

static void a_flipped_byte_in_the_state_is_found(void **state) {
    static const char *const names[] = {"keys", "meta"};
    struct world *world = *state;

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *path = xasprintf("%s/state/state-1/%s", world->path, names[i]);
        _cleanup_free_ uint8_t *data = NULL;
        size_t size;

        data = read_file(path, &size);
        for (size_t at = 100; at < size; at += 8192) {
            uint8_t flipped = data[at] ^ 0x80;

            overwrite(path, (long)at, &flipped, 1);
            expect_wrong(world, "/state/state-1");
            /* The log beside it is read all the same. */
            assert_non_null(strstr(world->said, "every record was read"));
            overwrite(path, (long)at, &data[at], 1);
        }
    }
    assert_int_equal(world_verify(world), 0);
}

static void everything_that_is_wrong_is_said(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *log = xasprintf("%s/log/log.0000000001", world->path);
    _cleanup_free_ char *current = xasprintf("%s/state/current", world->path);

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    overwrite(log, 3000, "damage", 6);
    overwrite(current, 3, "damage", 6);
    expect_wrong(world, "/state/current is damaged");
    expect_wrong(world, "/log/log.0000000001: the record at offset ");
    assert_int_equal(unlink(current), 0);
    expect_wrong(world, "/state/current is missing: the state is lost.");
}

static void a_state_ahead_of_the_log_is_found(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *path = xasprintf("%s/state", world->path);
    struct state *open;

    world_make_node(world, 10, 10);
    open = open_state(path, 0);
    assert_int_equal(state_begin(open), 0);
    assert_int_equal(state_commit(open, 11, 1), 0);
    state_close(open);
    expect_wrong(world, "ends with entry 10, but entry 11 was applied already");
}

static void a_state_of_another_history_is_found(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *path = xasprintf("%s/state", world->path);
    struct state *open;

    world_make_node(world, 20, 10);
    open = open_state(path, 0);
    assert_int_equal(state_begin(open), 0);
    assert_int_equal(state_commit(open, 11, 3), 0);
    state_close(open);
    expect_wrong(world, "disagree: entry 11 was applied with term 3, but the log has it with term "
                        "1.");
    open = open_state(path, 0);
    assert_int_equal(state_begin(open), 0);
    assert_int_equal(state_set_configuration(open, 11, "members", 7), 0);
    assert_int_equal(state_commit(open, 12, 1), 0);
    state_close(open);
    expect_wrong(world, "/state: the configuration of entry 11 is damaged: ");
    expect_wrong(world, "disagree: the state has another configuration of entry 11 than the log.");
}

static void an_identity_of_no_cluster_beside_data_is_found(void **state) {
    struct world *world = *state;

    world_make_node(world, 10, 10);
    {
        _cleanup_free_ char *text = NULL;
        char *cluster;

        assert_int_equal(store_read_file(world->path, "identity", &text), 0);
        cluster = strstr(text, "cluster=1234");
        memcpy(cluster, "cluster=0000", 12);
        assert_int_equal(store_replace_file(world->path, "identity", text), 0);
    }
    expect_wrong(world, "in no cluster, but it has the configuration of one.");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_directory_is_described, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(identity_and_log_are_left_as_they_were, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_directory_without_a_cluster_is_sound, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_data_directory_is_not_made_one, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_directory_in_use_is_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_the_identity_is_found, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_the_log_is_found, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_the_state_is_found, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(everything_that_is_wrong_is_said, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_state_ahead_of_the_log_is_found, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_state_of_another_history_is_found, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(an_identity_of_no_cluster_beside_data_is_found, world_setup,
                                        world_teardown),
    };

    return cmocka_run_group_tests_name("offline_verify", tests, NULL, NULL);
}
