/* Restoring a node from a backup, and recovering one that has lost the others. */
#include "test_offline_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* Berkeley DB never frees the memory of an environment that has panicked. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3\n";
}

enum { NEW_MEMBER = 99, NEW_CLUSTER = 5678 };

static int restore(struct world *world, int backup, struct failure *failure) {
    struct identity identity = world_identity(NEW_MEMBER, NEW_CLUSTER);
    struct backup_summary summary;
    int r;

    *failure = (struct failure){0};
    r = offline_restore(backup, world->path, &identity, NULL, NULL, &summary, failure);
    if (r == 0)
        backup_summary_deinit(&summary);
    return r;
}

static void ignore(void *data, bool wrong, const char *sentence) {
    (void)data;
    (void)wrong;
    (void)sentence;
}

/* A backup of the first WORLD_APPLIED entries; nothing else is left. */
static int make_backup(struct world *world) {
    int backup;

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    backup = world_make_backup(world);
    remove_directory(xstrdup(world->path));
    return backup;
}

static void a_restored_node_is_the_sole_voter_of_a_new_cluster(void **state) {
    struct world *world = *state;
    int backup = make_backup(world);
    struct failure failure;

    if (restore(world, backup, &failure) != 0)
        fail_msg("%s", failure.message);
    world_check_sole_voter(world, WORLD_APPLIED, NEW_MEMBER, NEW_CLUSTER);
    /* Once only. */
    assert_int_equal(restore(world, backup, &failure), ERROR_ALREADY_EXISTS);
    world_check_sole_voter(world, WORLD_APPLIED, NEW_MEMBER, NEW_CLUSTER);
    close(backup);
}

static void a_restored_directory_is_that_of_a_node(void **state) {
    struct world *world = *state;
    int backup = make_backup(world);
    struct directory directory;
    struct failure failure;

    assert_int_equal(restore(world, backup, &failure), 0);
    if (directory_open(&directory, world->path, "nodeA", 1, &failure) != 0)
        fail_msg("%s", failure.message);
    assert_int_equal(directory.member_id, NEW_MEMBER);
    assert_true(directory.incarnation > 1);
    assert_false(directory.bootstrapping);
    directory_deinit(&directory);
    close(backup);
}

/* The bytes of the backup with one flipped, or without those from an offset on. */
static int damaged_backup(const uint8_t *data, size_t size, size_t flipped) {
    int fd = memfd_create("backup", MFD_CLOEXEC);
    uint8_t byte;

    assert_int_equal(write(fd, data, size), size);
    if (flipped < size) {
        byte = data[flipped] ^ 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)flipped), 1);
    }
    return fd;
}

static void expect_refused(struct world *world, int backup) {
    struct failure failure;

    assert_int_equal(restore(world, backup, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, " byte "));
    assert_int_equal(access(world->path, F_OK), -1);
    close(backup);
}

static void a_damaged_backup_leaves_nothing_behind(void **state) {
    struct world *world = *state;
    int backup = make_backup(world);
    _cleanup_free_ uint8_t *data = NULL;
    struct stat status;
    size_t size;

    assert_int_equal(fstat(backup, &status), 0);
    size = (size_t)status.st_size;
    data = xmalloc(size);
    assert_int_equal(pread(backup, data, size, 0), size);
    close(backup);
    for (size_t i = 0; i < size; i++) {
        expect_refused(world, damaged_backup(data, size, i));
        expect_refused(world, damaged_backup(data, i, size));
    }
}

static void a_directory_that_was_empty_is_empty_again(void **state) {
    struct world *world = *state;
    int backup = make_backup(world);
    struct failure failure;

    assert_int_equal(mkdir(world->path, 0700), 0);
    assert_int_equal(ftruncate(backup, 5000), 0);
    assert_int_equal(restore(world, backup, &failure), ERROR_INVALID_ARGUMENT);
    assert_int_equal(rmdir(world->path), 0);
    close(backup);
}

static void a_backup_that_can_t_be_read_twice_is_refused(void **state) {
    struct world *world = *state;
    struct failure failure;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(restore(world, ends[0], &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "it has to be a file"));
    assert_int_equal(access(world->path, F_OK), -1);
    close(ends[0]);
    close(ends[1]);
}

static void a_directory_that_holds_something_is_left_alone(void **state) {
    struct world *world = *state;
    int backup = make_backup(world);
    _cleanup_free_ char *path = xasprintf("%s/precious", world->path);
    struct failure failure;

    assert_int_equal(mkdir(world->path, 0700), 0);
    write_text(path, "data");
    assert_int_equal(restore(world, backup, &failure), ERROR_ALREADY_EXISTS);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(world->path), 0);

    world_make_node(world, 20, 20);
    assert_int_equal(restore(world, backup, &failure), ERROR_ALREADY_EXISTS);
    assert_non_null(strstr(failure.message, "Move it away first."));
    assert_int_equal(world_verify(world), 0);
    close(backup);
}

static void a_recovered_node_is_the_sole_voter_of_a_new_cluster(void **state) {
    struct world *world = *state;
    struct failure failure = {0};

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    if (world_recover(world, NEW_CLUSTER, &failure) != 0)
        fail_msg("%s%s", world->wrong, failure.message);
    world_check_sole_voter(world, WORLD_ENTRIES, WORLD_MEMBER, NEW_CLUSTER);
    /* Again, from what it has become. */
    assert_int_equal(world_recover(world, NEW_CLUSTER + 1, &failure), 0);
    world_check_sole_voter(world, WORLD_ENTRIES, WORLD_MEMBER, NEW_CLUSTER + 1);
}

static void a_recovered_directory_is_that_of_a_later_start(void **state) {
    struct world *world = *state;
    struct directory directory;
    struct failure failure = {0};

    world_make_node(world, 100, 50);
    assert_int_equal(world_recover(world, NEW_CLUSTER, &failure), 0);
    assert_int_equal(directory_open(&directory, world->path, "nodeA", 1, &failure), 0);
    assert_true(directory.incarnation > 2);
    directory_deinit(&directory);
}

static void a_node_that_was_never_a_member_has_nothing_to_recover(void **state) {
    struct world *world = *state;
    struct directory directory;
    struct failure failure = {0};

    assert_int_equal(directory_open(&directory, world->path, "nodeA", 5, &failure), 0);
    directory_deinit(&directory);
    assert_int_equal(world_recover(world, NEW_CLUSTER, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "nothing to recover"));
    assert_int_equal(world_verify(world), 0);
}

/* As a crash leaves it between the switch to a streamed state and the reset of the log. */
static void a_state_that_was_just_installed_is_recovered(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *path = xasprintf("%s/state", world->path);
    struct failure failure = {0};
    struct state *open;

    world_make_node(world, 100, 100);
    open = open_state(path, 0);
    assert_int_equal(state_begin(open), 0);
    assert_int_equal(state_set_installed(open, 500), 0);
    assert_int_equal(state_commit(open, 500, WORLD_TERM + 5), 0);
    assert_int_equal(state_installed_index(open), 500);
    state_close(open);
    assert_int_equal(world_verify(world), 0);
    assert_non_null(strstr(world->said, "A start will begin the log anew behind the state"));
    assert_int_equal(world_recover(world, NEW_CLUSTER, &failure), 0);
    world_check_sole_voter(world, 100, WORLD_MEMBER, NEW_CLUSTER);
}

/* A change of the members that this node stored last counts as little as those before it. */
static void a_change_at_the_end_of_the_log_is_recovered(void **state) {
    struct world *world = *state;
    struct offline offline;
    struct failure failure = {0};

    world_make_node(world, 1, 0);
    assert_int_equal(world_verify(world), 0);
    assert_non_null(strstr(world->said, "3 by the configuration of entry 1"));
    assert_int_equal(world_recover(world, NEW_CLUSTER, &failure), 0);
    assert_int_equal(offline_open(&offline, world->path, "nodeA", ignore, NULL, NULL), 0);
    assert_int_equal(offline.configuration.count, 1);
    assert_int_equal(offline.configuration.index, 2);
    assert_int_equal(offline.state.applied_index, 2);
    offline_close(&offline);
}

static void damaged_data_is_not_recovered(void **state) {
    struct world *world = *state;
    _cleanup_free_ char *path = xasprintf("%s/log/log.0000000001", world->path);
    struct directory directory;
    struct failure failure = {0};

    world_make_node(world, WORLD_ENTRIES, WORLD_APPLIED);
    overwrite(path, 3000, "damage", 6);
    assert_int_equal(world_recover(world, NEW_CLUSTER, &failure), ERROR_INTERNAL);
    assert_int_equal(directory_open_stopped(&directory, world->path, "nodeA", &failure), 0);
    assert_int_equal(directory.cluster_id, WORLD_CLUSTER);
    assert_int_equal(directory.unfinished, DIRECTORY_FINISHED);
    directory_deinit(&directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_restored_node_is_the_sole_voter_of_a_new_cluster,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_restored_directory_is_that_of_a_node, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_backup_leaves_nothing_behind, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_was_empty_is_empty_again, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_backup_that_can_t_be_read_twice_is_refused, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_holds_something_is_left_alone, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_recovered_node_is_the_sole_voter_of_a_new_cluster,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_recovered_directory_is_that_of_a_later_start, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_node_that_was_never_a_member_has_nothing_to_recover,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_state_that_was_just_installed_is_recovered, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_change_at_the_end_of_the_log_is_recovered, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(damaged_data_is_not_recovered, world_setup, world_teardown),
    };

    return cmocka_run_group_tests_name("offline_disaster", tests, NULL, NULL);
}
