/*
 * The process ends before the n-th call that changes something on disk, or the disk is full from
 * that call on, at every n, while a node is restored or recovered: a start then sees what was there
 * before, all of what was wanted, or refuses; and the same command, given again, completes it.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "test_offline_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

enum { NEW_MEMBER = 99, NEW_CLUSTER = 5678, INTERRUPTED = 42 };

/* Calls from now on until something happens; 0: nothing does. */
static unsigned long countdown;
static bool ends;    /* the process, then */
static bool is_full; /* the disk, since then */
/* Of many writes in a row, as when a file is filled with zeros, the first one counts. */
static bool written;

static void count(void) {
    if (countdown == 0 || --countdown > 0)
        return;
    if (ends)
        _exit(INTERRUPTED);
    is_full = true;
}

static bool write_fails(void) {
    if (!written)
        count();
    written = true;
    errno = ENOSPC;
    return is_full;
}

static bool change_fails(void) {
    count();
    written = false;
    errno = ENOSPC;
    return is_full;
}

/* ---- an executable's own definitions come before those of the libraries ---- */

ssize_t write(int fd, const void *data, size_t size) {
    return write_fails() ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return write_fails() ? -1 : syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

int ftruncate(int fd, off_t size) {
    return change_fails() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int rename(const char *from, const char *to) {
    return change_fails() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int mkdir(const char *path, mode_t mode) {
    return change_fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* What a full disk does not keep from being done. */

int unlink(const char *path) {
    (void)change_fails();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fsync(int fd) {
    (void)change_fails();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    (void)change_fails();
    return (int)syscall(SYS_fdatasync, fd);
}

/* ---- */

static int restore(struct world *world, int backup) {
    struct identity identity = world_identity(NEW_MEMBER, NEW_CLUSTER);
    struct backup_summary summary;
    struct failure failure = {0};
    int r = offline_restore(backup, world->path, &identity, NULL, NULL, &summary, &failure);

    if (r == 0)
        backup_summary_deinit(&summary);
    return r;
}

static int recover(struct world *world, int backup) {
    struct failure failure = {0};

    (void)backup;
    world->wrong[0] = '\0';
    return world_recover(world, NEW_CLUSTER, &failure);
}

/* In a process of its own. Returns its exit status: 0, 1 for an error, INTERRUPTED. */
static int run(struct world *world, int (*work)(struct world *world, int backup), int backup,
               bool ending, unsigned long n) {
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        ends = ending;
        countdown = n;
        _exit(work(world, backup) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Returns whether the n-th call came. */
static bool interrupt(struct world *world, int (*work)(struct world *world, int backup), int backup,
                      unsigned long n) {
    int status = run(world, work, backup, true, n);

    assert_true(status == 0 || status == INTERRUPTED);
    return status == INTERRUPTED;
}

/* A start refuses a directory in which something is unfinished. */
static void check_start(struct world *world) {
    struct directory directory;
    struct failure failure = {0};

    assert_int_equal(directory_open(&directory, world->path, "nodeA", 1, &failure),
                     ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "was interrupted here. Run it again."));
}

/* In which cluster the directory is, and what is unfinished; 0: there is no identity yet. */
static uint64_t look(struct world *world, enum directory_work *ret) {
    struct directory directory;
    struct failure failure = {0};
    uint64_t cluster;
    int r = directory_open_stopped(&directory, world->path, "nodeA", &failure);

    *ret = DIRECTORY_FINISHED;
    if (r == ERROR_NOT_FOUND)
        return 0;
    /* The identity comes before the directories. */
    if (r != 0) {
        assert_non_null(strstr(failure.message, "is missing or not a directory"));
        *ret = DIRECTORY_RESTORING;
        return NEW_CLUSTER;
    }
    *ret = directory.unfinished;
    cluster = directory.cluster_id;
    directory_deinit(&directory);
    return cluster;
}

static void an_interrupted_restore_is_begun_anew(void **state) {
    struct world *world = *state;
    unsigned unfinished = 0;
    int backup;

    world_make_node(world, 60, 60);
    backup = world_make_backup(world);
    remove_directory(xstrdup(world->path));
    for (unsigned long n = 1; interrupt(world, restore, backup, n); n++) {
        enum directory_work work;
        uint64_t cluster = look(world, &work);

        if (work == DIRECTORY_RESTORING) {
            check_start(world);
            assert_int_equal(world_verify(world) != 0, true);
            unfinished++;
        }
        if (cluster == 0 || work == DIRECTORY_RESTORING)
            assert_int_equal(restore(world, backup), 0);
        world_check_sole_voter(world, 60, NEW_MEMBER, NEW_CLUSTER);
        remove_directory(xstrdup(world->path));
    }
    world_check_sole_voter(world, 60, NEW_MEMBER, NEW_CLUSTER);
    assert_true(unfinished > 20);
    close(backup);
}

static void an_interrupted_recovery_goes_on(void **state) {
    struct world *world = *state;
    unsigned unfinished = 0, before = 0;

    for (unsigned long n = 1;; n++) {
        enum directory_work work;
        uint64_t cluster;

        world_make_node(world, 90, 50);
        if (!interrupt(world, recover, -1, n))
            break;
        cluster = look(world, &work);
        if (work == DIRECTORY_RECOVERING) {
            check_start(world);
            assert_int_equal(world_verify(world), ERROR_INTERNAL);
            assert_non_null(strstr(world->wrong, "Run it again: it goes on."));
            unfinished++;
        } else if (cluster == WORLD_CLUSTER) {
            assert_int_equal(world_verify(world), 0);
            before++;
        }
        if (work == DIRECTORY_RECOVERING || cluster == WORLD_CLUSTER)
            if (recover(world, -1) != 0)
                fail_msg("%lu: %s", n, world->wrong);
        world_check_sole_voter(world, 90, WORLD_MEMBER, NEW_CLUSTER);
        remove_directory(xstrdup(world->path));
    }
    world_check_sole_voter(world, 90, WORLD_MEMBER, NEW_CLUSTER);
    assert_true(unfinished > 20);
    assert_true(before > 0);
}

static void a_restore_on_a_full_disk_leaves_nothing(void **state) {
    struct world *world = *state;
    unsigned long n = 1;
    int backup;

    world_make_node(world, 60, 60);
    backup = world_make_backup(world);
    remove_directory(xstrdup(world->path));
    for (; run(world, restore, backup, false, n) != 0; n++)
        assert_int_equal(access(world->path, F_OK), -1);
    world_check_sole_voter(world, 60, NEW_MEMBER, NEW_CLUSTER);
    assert_true(n > 20);
    close(backup);
}

static void a_recovery_on_a_full_disk_goes_on_when_there_is_space(void **state) {
    struct world *world = *state;
    unsigned long n = 1;

    for (;; n++) {
        world_make_node(world, 90, 50);
        if (run(world, recover, -1, false, n) == 0)
            break;
        assert_int_equal(recover(world, -1), 0);
        world_check_sole_voter(world, 90, WORLD_MEMBER, NEW_CLUSTER);
        remove_directory(xstrdup(world->path));
    }
    world_check_sole_voter(world, 90, WORLD_MEMBER, NEW_CLUSTER);
    assert_true(n > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_interrupted_restore_is_begun_anew, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_recovery_goes_on, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_restore_on_a_full_disk_leaves_nothing, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_recovery_on_a_full_disk_goes_on_when_there_is_space,
                                        world_setup, world_teardown),
    };

    return cmocka_run_group_tests_name("offline_interrupted", tests, NULL, NULL);
}
