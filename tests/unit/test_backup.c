/* A backup is checked to its last byte, and restores to an equal state. */
#include "test_backup_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/backup.h"
#include "store/snapshot.h"

static int setup(void **fixture) {
    *fixture = make_directory();
    return 0;
}

static int teardown(void **fixture) {
    remove_directory(*fixture);
    return 0;
}

static const uint64_t cluster = 0x1234567890abcdef;

static int check_bytes(const void *data, size_t size, struct failure *failure) {
    struct backup_summary summary;
    int fd = make_file(data, size);
    int r = backup_check(fd, NULL, NULL, &summary, failure);

    if (r == 0)
        backup_summary_deinit(&summary);
    close(fd);
    return r;
}

static void count_calls(void *data, uint64_t bytes) {
    uint64_t *last = data;

    assert_true(bytes > *last);
    *last = bytes;
}

static void a_check_says_what_the_backup_holds(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct backup_summary summary;
    struct failure failure = {0};
    struct buffer file;
    uint64_t last = 0;
    int fd;

    assert_int_equal(model_apply(state, 20, 500), 0);
    file = make_backup(state, cluster, 2000);
    fd = make_file(file.data, file.size);
    if (backup_check(fd, count_calls, &last, &summary, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_true(last > file.size / 2);
    assert_true(summary.header.cluster_id == cluster);
    assert_string_equal(summary.header.version, BACKUP_VERSION);
    assert_int_equal(summary.header.snapshot.index, 200);
    assert_int_equal(summary.header.snapshot.term, 2);
    assert_int_equal(summary.header.snapshot.configuration_index, 200);
    assert_int_equal(summary.header.snapshot.configuration_size, sizeof(uint64_t));
    assert_int_equal(summary.size, file.size);
    assert_true(summary.chunks > 5);
    assert_int_equal(summary.bytes, summary.records * 506);
    backup_summary_deinit(&summary);
    close(fd);
    buffer_deinit(&file);
    state_close(state);
}

/* Two chunks of about 50 bytes. */
static struct buffer make_small_backup(struct state *state) {
    struct state_record record = {2, 4, 2, (const uint8_t *)"value", 5};

    assert_int_equal(state_begin(state), 0);
    assert_int_equal(state_put(state, "first", 5, &record), 0);
    assert_int_equal(state_put(state, "second", 6, &record), 0);
    assert_int_equal(state_put(state, "third", 5, &record), 0);
    assert_int_equal(state_set_configuration(state, 3, "members", 7), 0);
    assert_int_equal(state_commit(state, 5, 1), 0);
    return make_backup(state, cluster, 30);
}

static void every_flipped_bit_is_noticed(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct failure failure;
    struct buffer file;

    file = make_small_backup(state);
    assert_int_equal(check_bytes(file.data, file.size, &failure), 0);
    for (size_t bit = 0; bit < file.size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        failure = (struct failure){0};
        assert_int_equal(check_bytes(file.data, file.size, &failure), ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(failure.message, " byte "));
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buffer_deinit(&file);
    state_close(state);
}

static void a_backup_of_another_length_is_refused(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    struct failure failure;
    struct buffer file;

    file = make_small_backup(state);
    for (size_t size = 0; size < file.size; size++)
        assert_int_equal(check_bytes(file.data, size, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "too early"));
    buffer_append(&file, "", 1);
    assert_int_equal(check_bytes(file.data, file.size, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "behind its end"));
    buffer_deinit(&file);
    state_close(state);
}

static void the_failure_names_the_place(void **fixture) {
    static const struct {
        size_t offset;
        const char *says;
    } places[] = {
        {0, "not a backup"},
        {8, "format"},
        {15, "at most"},
        {20, "checksum of the header"},
    };
    struct state *state = open_state(*fixture, 0);
    struct failure failure;
    struct buffer file;

    assert_int_equal(model_apply(state, 20, 500), 0);
    file = make_backup(state, cluster, 2000);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        file.data[places[i].offset] ^= 0x40;
        assert_int_equal(check_bytes(file.data, file.size, &failure), ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(failure.message, places[i].says));
        file.data[places[i].offset] ^= 0x40;
    }
    /* A chunk's size that nobody has memory for. */
    memset(file.data + 16 + file.data[12] + 4, 0xff, 4);
    assert_int_equal(check_bytes(file.data, file.size, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "4294967295 bytes; at most"));
    buffer_deinit(&file);
    state_close(state);
}

static void what_cannot_be_read_is_no_damage(void **fixture) {
    struct backup_summary summary;
    struct failure failure = {0};
    int fd = open(*fixture, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(backup_check(fd, NULL, NULL, &summary, &failure), -EISDIR);
    assert_true(failure.message[0]);
    close(fd);
}

/* ---- restoring ---- */

static void a_restored_state_equals_the_one_that_was_backed_up(void **fixture) {
    struct state *state = open_state(*fixture, 0), *restored;
    char *directory = make_directory();
    struct backup_summary summary;
    struct failure failure = {0};
    uint64_t hash, restored_hash;
    struct buffer file;
    int fd;

    assert_int_equal(model_apply(state, 60, 2000), 0);
    assert_int_equal(state_hash(state, &hash), 0);
    file = make_backup(state, cluster, SNAPSHOT_CHUNK_BYTES);
    fd = make_file(file.data, file.size);
    if (backup_restore(fd, directory, NULL, NULL, &summary, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_int_equal(summary.size, file.size);
    backup_summary_deinit(&summary);

    restored = open_state(directory, 0);
    assert_int_equal(state_hash(restored, &restored_hash), 0);
    assert_true(restored_hash == hash);
    assert_int_equal(model_verify(restored, 2000), 600);
    assert_int_equal(state_installed_index(restored), 600);
    assert_int_equal(model_apply(restored, 5, 2000), 0);
    assert_int_equal(model_verify(restored, 2000), 650);
    state_close(restored);

    /* Once only. */
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(backup_restore(fd, directory, NULL, NULL, &summary, &failure),
                     ERROR_ALREADY_EXISTS);
    close(fd);
    buffer_deinit(&file);
    remove_directory(directory);
    state_close(state);
}

static void a_damaged_backup_restores_nothing(void **fixture) {
    struct state *state = open_state(*fixture, 0);
    char *directory = make_directory();
    struct backup_summary summary;
    struct failure failure;
    struct buffer file;

    assert_int_equal(model_apply(state, 10, 300), 0);
    file = make_backup(state, cluster, 1000);
    for (size_t offset = 0; offset < file.size; offset += 37) {
        int fd;

        file.data[offset] ^= 1;
        fd = make_file(file.data, file.size);
        failure = (struct failure){0};
        assert_int_equal(backup_restore(fd, directory, NULL, NULL, &summary, &failure),
                         ERROR_INVALID_ARGUMENT);
        assert_true(failure.message[0]);
        /* Removed and made again: it was empty. */
        assert_int_equal(rmdir(directory), 0);
        assert_int_equal(mkdir(directory, 0700), 0);
        close(fd);
        file.data[offset] ^= 1;
    }
    buffer_deinit(&file);
    remove_directory(directory);
    state_close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_check_says_what_the_backup_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_of_another_length_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_failure_names_the_place, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_no_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restored_state_equals_the_one_that_was_backed_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_backup_restores_nothing, setup, teardown),
    };

    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
