#include "test_directories.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

enum { DESCRIPTORS = 8 };

static char *make_under(const char *parent) {
    char *path = xasprintf("%s/raftkv-test-XXXXXX", parent);

    assert_non_null(mkdtemp(path));
    return path;
}

char *make_directory(void) {
    const char *parent = getenv("TMPDIR");

    return make_under(parent ? parent : "/tmp");
}

char *make_directory_in_memory(void) {
    return access("/dev/shm", W_OK | X_OK) == 0 ? make_under("/dev/shm") : make_directory();
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void remove_tree(const char *directory) {
    if (access(directory, F_OK) == 0)
        assert_int_equal(nftw(directory, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS), 0);
}

void remove_directory(char *directory) {
    assert_int_equal(access(directory, F_OK), 0);
    remove_tree(directory);
    free(directory);
}

static const char *copy_from, *copy_to;

static int copy_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    _cleanup_free_ char *to = xasprintf("%s%s", copy_to, path + strlen(copy_from));
    _cleanup_free_ char *data = NULL;
    FILE *file;

    (void)place;
    if (type == FTW_D)
        return mkdir(to, 0700) < 0 && errno != EEXIST ? -1 : 0;
    data = xmalloc((size_t)status->st_size);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(data, 1, (size_t)status->st_size, file), status->st_size);
    fclose(file);
    file = fopen(to, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, (size_t)status->st_size, file), status->st_size);
    return fclose(file);
}

void copy_directory(const char *from, const char *to) {
    copy_from = from;
    copy_to = to;
    assert_int_equal(nftw(from, copy_one, DESCRIPTORS, FTW_PHYS), 0);
}
