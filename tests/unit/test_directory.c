/* The data directory: whose it is, and when it is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/directory.h"
#include "store/sync.h"

enum { MEMBER = 12345 };

/* A directory that exists, and the path of a data directory in it that does not. */
struct test {
    char parent[64];
    char path[96];
    struct directory directory;
    struct failure failure;
};

static int setup(void **state) {
    struct test *test = xcalloc(1, sizeof *test);

    snprintf(test->parent, sizeof test->parent, "/tmp/raftkv-test-directory-XXXXXX");
    assert_non_null(mkdtemp(test->parent));
    snprintf(test->path, sizeof test->path, "%s/data", test->parent);
    test->directory = DIRECTORY_NULL;
    *state = test;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state) {
    struct test *test = *state;

    directory_deinit(&test->directory);
    assert_int_equal(nftw(test->parent, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(test);
    return 0;
}

static int open_as(struct test *test, const char *name) {
    directory_deinit(&test->directory);
    test->failure.message[0] = '\0';
    return directory_open(&test->directory, test->path, name, MEMBER, &test->failure);
}

static char *identity_text(struct test *test) {
    char *text;

    assert_int_equal(store_read_file(test->path, "identity", &text), 0);
    return text;
}

static void write_text(const char *directory, const char *name, const char *text) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The open is refused with that code and a message that has these words; the identity stays. */
static void expect_refused(struct test *test, const char *name, int code, const char *words) {
    _cleanup_free_ char *path = xasprintf("%s/identity", test->path);
    struct stat before = {0}, after = {0};
    int had = stat(path, &before);

    assert_int_equal(open_as(test, name), code);
    if (!strstr(test->failure.message, words))
        fail_msg("'%s' does not say '%s'", test->failure.message, words);
    assert_int_equal(stat(path, &after), had);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void a_missing_directory_is_made(void **state) {
    struct test *test = *state;
    struct stat st;

    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_true(test->directory.fresh);
    assert_int_equal(test->directory.member_id, MEMBER);
    assert_int_equal(test->directory.cluster_id, 0);
    assert_int_equal(test->directory.incarnation, 1);
    assert_false(test->directory.bootstrapping);
    assert_string_equal(test->directory.name, "nodeA");
    assert_int_equal(stat(test->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(test->directory.log_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(test->directory.state_path, &st), 0);
}

static void each_open_raises_the_incarnation_and_keeps_the_rest(void **state) {
    struct test *test = *state;

    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(directory_set_cluster(&test->directory, UINT64_MAX, true), 0);
    assert_int_equal(test->directory.removed_index, 0);
    assert_int_equal(directory_set_removed(&test->directory, UINT64_MAX - 1), 0);
    directory_deinit(&test->directory);
    for (uint64_t incarnation = 2; incarnation < 5; incarnation++) {
        assert_int_equal(
            directory_open(&test->directory, test->path, "nodeA", MEMBER + 1, &test->failure), 0);
        assert_false(test->directory.fresh);
        assert_int_equal(test->directory.member_id, MEMBER);
        assert_int_equal(test->directory.cluster_id, UINT64_MAX);
        assert_int_equal(test->directory.removed_index, UINT64_MAX - 1);
        assert_true(test->directory.bootstrapping);
        assert_int_equal(test->directory.incarnation, incarnation);
        directory_deinit(&test->directory);
    }
}

static void what_an_interrupted_creation_left_is_taken_over(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *log = xasprintf("%s/log", test->path);

    assert_int_equal(mkdir(test->path, 0700), 0);
    assert_int_equal(mkdir(log, 0700), 0);
    write_text(test->path, "lock", "");
    write_text(test->path, "identity.new", "format=1\nna");
    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_true(test->directory.fresh);
}

static void another_name_is_refused(void **state) {
    struct test *test = *state;

    assert_int_equal(open_as(test, "nodeA"), 0);
    expect_refused(test, "nodeB", ERROR_INVALID_ARGUMENT, "of node nodeA, not of nodeB");
    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(test->directory.incarnation, 2);
}

static void a_newer_format_is_refused(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *text = NULL;

    assert_int_equal(open_as(test, "nodeA"), 0);
    directory_deinit(&test->directory);
    text = identity_text(test);
    assert_memory_equal(text, "format=1", 8);
    text[7] = '2';
    assert_int_equal(store_replace_file(test->path, "identity", text), 0);
    expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "newer version");
}

static void every_damaged_byte_of_the_identity_is_noticed(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *path = xasprintf("%s/identity", test->path);
    char whole[512], broken[512];
    FILE *file;
    size_t size;

    assert_int_equal(open_as(test, "nodeA"), 0);
    directory_deinit(&test->directory);
    file = fopen(path, "r");
    assert_non_null(file);
    size = fread(whole, 1, sizeof whole - 1, file);
    fclose(file);
    whole[size] = '\0';
    for (size_t i = 0; i < size; i++) {
        memcpy(broken, whole, size + 1);
        broken[i] ^= 1;
        write_text(test->path, "identity", broken);
        expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "identity is damaged");
        memcpy(broken, whole, size + 1);
        broken[i] = '\0';
        write_text(test->path, "identity", broken);
        expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "identity is damaged");
    }
    write_text(test->path, "identity", whole);
    assert_int_equal(open_as(test, "nodeA"), 0);
}

static void nonsense_with_a_right_checksum_is_refused(void **state) {
    static const char above_64_bits[] =
        "format=1\nname=nodeA\nmember=18446744073709551616\ncluster=0\nincarnation=1\n"
        "bootstrapping=0\n";
    static const char *const texts[] = {
        "",
        "format=1\n",
        "format=1\nname=nodeA\nmember=0\ncluster=0\nincarnation=1\nbootstrapping=0\n",
        "format=1\nname=nodeA\nmember=1\ncluster=0\nincarnation=0\nbootstrapping=0\n",
        "format=1\nname=nodeA\nmember=1\ncluster=-1\nincarnation=1\nbootstrapping=0\n",
        "format=1\nname=nodeA\nmember=1\ncluster=0\nincarnation=1\nbootstrapping=2\n",
        above_64_bits,
    };
    struct test *test = *state;

    assert_int_equal(open_as(test, "nodeA"), 0);
    directory_deinit(&test->directory);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(store_replace_file(test->path, "identity", texts[i]), 0);
        expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "identity is damaged");
    }
}

static void data_without_an_identity_is_refused(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *identity = xasprintf("%s/identity", test->path);
    _cleanup_free_ char *lock = xasprintf("%s/lock", test->path);
    _cleanup_free_ char *log = NULL;

    assert_int_equal(mkdir(test->path, 0700), 0);
    write_text(test->path, "letter.txt", "Dear Sir");
    expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "no file `identity`");
    assert_int_equal(access(lock, F_OK), -1);
    assert_int_equal(nftw(test->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);

    assert_int_equal(open_as(test, "nodeA"), 0);
    log = xstrdup(test->directory.log_path);
    directory_deinit(&test->directory);
    write_text(log, "log.0000000001", "");
    assert_int_equal(unlink(identity), 0);
    expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "no file `identity`");
}

static void an_identity_without_its_log_is_refused(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *log = xasprintf("%s/log", test->path);

    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(rmdir(log), 0);
    expect_refused(test, "nodeA", ERROR_INVALID_ARGUMENT, "/log is missing");
}

static void a_directory_in_use_is_refused(void **state) {
    struct test *test = *state;
    int ready[2], status;
    char byte;
    pid_t child;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct directory directory;

        close(ready[0]);
        if (directory_open(&directory, test->path, "nodeA", MEMBER, NULL) != 0 ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    expect_refused(test, "nodeA", ERROR_BUSY, "in use by another process");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(test->directory.incarnation, 2);
}

static void what_the_file_system_refuses_is_said_with_its_reason(void **state) {
    struct test *test = *state;
    _cleanup_free_ char *identity = xasprintf("%s/identity", test->path);
    _cleanup_free_ char *obstacle = xasprintf("%s/identity.new", test->path);

    write_text(test->parent, "data", "a file");
    assert_int_equal(open_as(test, "nodeA"), ERROR_INTERNAL);
    assert_non_null(strstr(test->failure.message, "Not a directory"));
    assert_int_equal(unlink(test->path), 0);

    snprintf(test->path, sizeof test->path, "%s/missing/data", test->parent);
    assert_int_equal(open_as(test, "nodeA"), ERROR_INTERNAL);
    assert_non_null(strstr(test->failure.message, "No such file or directory"));
    snprintf(test->path, sizeof test->path, "%s/data", test->parent);

    /* The identity can't be written where a directory has the name of its new version. */
    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    expect_refused(test, "nodeA", ERROR_INTERNAL, "Is a directory");
    assert_int_equal(rmdir(obstacle), 0);
    assert_int_equal(open_as(test, "nodeA"), 0);
    assert_int_equal(test->directory.incarnation, 2);
    directory_deinit(&test->directory);

    /* Nor read where a directory has its own. */
    assert_int_equal(unlink(identity), 0);
    assert_int_equal(mkdir(identity, 0700), 0);
    assert_int_equal(open_as(test, "nodeA"), ERROR_INTERNAL);
    assert_non_null(strstr(test->failure.message, "Is a directory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_missing_directory_is_made),
        TEST(each_open_raises_the_incarnation_and_keeps_the_rest),
        TEST(what_an_interrupted_creation_left_is_taken_over),
        TEST(another_name_is_refused),
        TEST(a_newer_format_is_refused),
        TEST(every_damaged_byte_of_the_identity_is_noticed),
        TEST(nonsense_with_a_right_checksum_is_refused),
        TEST(data_without_an_identity_is_refused),
        TEST(an_identity_without_its_log_is_refused),
        TEST(a_directory_in_use_is_refused),
        TEST(what_the_file_system_refuses_is_said_with_its_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
