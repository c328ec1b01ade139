/*
 * The room on the disks of node_world: libc's file functions, as raftkv's store and Berkeley DB
 * call them. An executable's own definitions come before those of the libraries, also for the
 * libraries. Syncs are left out: nothing here loses power.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "node_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

struct world_disk world_disks[WORLD_NODES + 1];
static bool limited;

static struct world_disk *disk_of(const char *path) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (world_disks[i].prefix[0] &&
            strncmp(path, world_disks[i].prefix, strlen(world_disks[i].prefix)) == 0)
            return &world_disks[i];
    return NULL;
}

void world_fill_disk(unsigned number, const char *part, uint64_t after) {
    struct world_disk *disk = &world_disks[number];

    limited = true;
    disk->limited = true;
    disk->part = part;
    disk->growth_left = after;
    disk->growths = 0;
    disk->failures = 0;
    disk->error = ENOSPC;
    disk->once = false;
}

void world_empty_disk(unsigned number) {
    world_disks[number].limited = false;
    limited = false;
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        limited = limited || world_disks[i].limited;
}

/* Whether a call that makes this grow fails. */
static bool refuses(const char *path) {
    struct world_disk *disk = disk_of(path);

    if (!disk || !disk->limited || !strstr(path + strlen(disk->prefix), disk->part))
        return false;
    disk->growths++;
    if (disk->growth_left > 0) {
        disk->growth_left--;
        return false;
    }
    disk->failures++;
    if (disk->once)
        disk->limited = false;
    errno = disk->error;
    return true;
}

static bool refuses_at(int fd, off_t end) {
    char link[64], path[512];
    struct stat status;
    ssize_t n;

    if (!limited)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (n <= 0 || path[0] != '/')
        return false;
    path[n] = '\0';
    if (syscall(SYS_fstat, fd, &status) < 0 || end <= status.st_blocks * 512)
        return false;
    return refuses(path);
}

/* ---- opening ---- */

static int open_any(const char *path, int flags, mode_t mode) {
    if (limited && (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) < 0 &&
        refuses(path))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

/* Berkeley DB's; ours is the other one. It would wait for seconds when told that there is no space
 * for a file: what it then writes finds none. */
int open(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    if (limited && refuses(path))
        return -1;
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* ---- writing ---- */

ssize_t write(int fd, const void *data, size_t size) {
    if (limited && refuses_at(fd, syscall(SYS_lseek, fd, 0, SEEK_CUR) + (off_t)size))
        return -1;
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (refuses_at(fd, offset + (off_t)size))
        return -1;
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

int fsync(int fd) {
    (void)fd;
    return 0;
}

int fdatasync(int fd) {
    (void)fd;
    return 0;
}

/* ---- looking ---- */

int statvfs(const char *restrict path, struct statvfs *restrict ret) {
    const struct world_disk *disk = disk_of(path);
    bool full = disk && disk->limited && disk->growth_left == 0;

    *ret = (struct statvfs){.f_frsize = 4096, .f_bavail = full ? 0 : 1 << 24};
    return 0;
}

int statvfs64(const char *restrict path, struct statvfs64 *restrict ret) {
    return statvfs(path, (struct statvfs *)ret);
}
