/*
 * A disk that fails, for a process that loads this before libc (LD_PRELOAD): while the file that
 * FAILING_DISK names exists, syncs of the raft log's files fail with EIO.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fails(int fd) {
    const char *switch_on = getenv("FAILING_DISK");
    char link[64], path[512];
    ssize_t size;

    if (!switch_on || access(switch_on, F_OK) < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return false;
    path[size] = '\0';
    return strstr(path, "/log/") != NULL;
}

static int sync_or_fail(const char *name, int fd) {
    int (*next)(int fd) = (int (*)(int))dlsym(RTLD_NEXT, name);

    if (!fails(fd))
        return next(fd);
    errno = EIO;
    return -1;
}

int fsync(int fd) {
    return sync_or_fail("fsync", fd);
}

int fdatasync(int fd) {
    return sync_or_fail("fdatasync", fd);
}
