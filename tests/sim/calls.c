/*
 * libc's file functions, as raftkv's store and Berkeley DB call them. An executable's own
 * definitions come before those of the libraries, also for the libraries. Paths and descriptors of
 * the simulated disks go there, all others to the kernel.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "disk.h"
#include "world.h"

static long answer(long result) {
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* ---- opening ---- */

static int open_any(const char *path, int flags, mode_t mode) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return (int)answer(disk_open(disk, path, flags));
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode);
}

int close(int fd) {
    return disk_descriptor(fd) ? disk_close(fd) : (int)syscall(SYS_close, fd);
}

int fcntl(int fd, int command, ...) {
    va_list arguments;
    long argument;

    va_start(arguments, command);
    argument = va_arg(arguments, long);
    va_end(arguments);
    return disk_descriptor(fd) ? 0 : (int)syscall(SYS_fcntl, fd, command, argument);
}

int flock(int fd, int operation) {
    return disk_descriptor(fd) ? 0 : (int)syscall(SYS_flock, fd, operation);
}

/* ---- reading and writing ---- */

ssize_t read(int fd, void *data, size_t size) {
    return disk_descriptor(fd) ? answer(disk_read(fd, data, size))
                               : syscall(SYS_read, fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size) {
    return disk_descriptor(fd) ? answer(disk_write(fd, data, size))
                               : syscall(SYS_write, fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    return disk_descriptor(fd) ? answer(disk_pread(fd, data, size, offset))
                               : syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    return pread(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return disk_descriptor(fd) ? answer(disk_pwrite(fd, data, size, offset))
                               : syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

off_t lseek(int fd, off_t offset, int whence) {
    return disk_descriptor(fd) ? answer(disk_seek(fd, offset, whence))
                               : syscall(SYS_lseek, fd, offset, whence);
}

off64_t lseek64(int fd, off64_t offset, int whence) {
    return lseek(fd, offset, whence);
}

int fsync(int fd) {
    return disk_descriptor(fd) ? (int)answer(disk_sync(fd)) : (int)syscall(SYS_fsync, fd);
}

/* What it writes is not durable by that. */
int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
    return disk_descriptor(fd) ? 0 : (int)syscall(SYS_sync_file_range, fd, offset, size, flags);
}

int fdatasync(int fd) {
    return disk_descriptor(fd) ? (int)answer(disk_sync(fd)) : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size) {
    return disk_descriptor(fd) ? (int)answer(disk_truncate(fd, size))
                               : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

/* ---- names ---- */

int rename(const char *from, const char *to) {
    struct disk *disk;

    if (disk_path(from, &disk))
        return (int)answer(disk_rename(disk, from, to));
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return (int)answer(disk_unlink(disk, path));
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return (int)answer(disk_rmdir(disk, path));
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return (int)answer(disk_mkdir(disk, path));
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int access(const char *path, int mode) {
    struct disk *disk;
    struct stat status;

    if (disk_path(path, &disk))
        return (int)answer(disk_stat(disk, path, &status));
    return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

int chmod(const char *path, mode_t mode) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return 0;
    return (int)syscall(SYS_fchmodat, AT_FDCWD, path, mode);
}

int fchmod(int fd, mode_t mode) {
    return disk_descriptor(fd) ? 0 : (int)syscall(SYS_fchmod, fd, mode);
}

static int stat_any(const char *path, struct stat *ret) {
    struct disk *disk;

    if (disk_path(path, &disk))
        return (int)answer(disk_stat(disk, path, ret));
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, ret, 0);
}

int stat(const char *restrict path, struct stat *restrict ret) {
    return stat_any(path, ret);
}

int stat64(const char *restrict path, struct stat64 *restrict ret) {
    return stat_any(path, (struct stat *)ret);
}

int fstat(int fd, struct stat *ret) {
    return disk_descriptor(fd) ? (int)answer(disk_fstat(fd, ret))
                               : (int)syscall(SYS_fstat, fd, ret);
}

int fstat64(int fd, struct stat64 *ret) {
    return fstat(fd, (struct stat *)ret);
}

int fstatat64(int fd, const char *restrict name, struct stat64 *restrict ret, int flags) {
    char path[512];

    if (!disk_descriptor(fd))
        return (int)syscall(SYS_newfstatat, fd, name, ret, flags);
    strcpy(path, disk_path_of(fd));
    strcat(path, "/");
    strcat(path, name);
    return stat_any(path, (struct stat *)ret);
}

int statvfs(const char *restrict path, struct statvfs *restrict ret) {
    struct disk *disk;
    struct statfs status;
    bool full;

    if (!disk_path(path, &disk)) {
        if (syscall(SYS_statfs, path, &status) < 0)
            return -1;
        *ret = (struct statvfs){.f_frsize = (unsigned long)status.f_bsize,
                                .f_bavail = status.f_bavail};
        return 0;
    }
    full = disk_faults(disk)->log_full || disk_faults(disk)->state_full;
    *ret = (struct statvfs){.f_frsize = 4096, .f_bavail = full ? 0 : 1 << 24};
    return 0;
}

int statvfs64(const char *restrict path, struct statvfs64 *restrict ret) {
    return statvfs(path, (struct statvfs *)ret);
}

/* ---- directories ---- */

enum { NAME_SIZE = 64 };

/* With the names as they were when it was opened: whoever reads may remove what he has read. */
struct __dirstream {
    int fd;
    char (*names)[NAME_SIZE];
    size_t count, position;
    union {
        struct dirent entry;
        struct dirent64 entry64;
    };
};

/* Real directories are nobody's business here. */
DIR *opendir(const char *path) {
    struct disk *disk;
    size_t position = 0;
    const char *name;
    DIR *directory;
    int fd;

    if (!disk_path(path, &disk)) {
        errno = EACCES;
        return NULL;
    }
    fd = (int)answer(disk_open(disk, path, O_RDONLY | O_DIRECTORY));
    if (fd < 0)
        return NULL;
    directory = calloc(1, sizeof *directory);
    directory->fd = fd;
    while ((name = disk_next_name(disk, disk_path_of(fd), &position))) {
        directory->names =
            xrealloc(directory->names, (directory->count + 1) * sizeof *directory->names);
        check(strlen(name) < NAME_SIZE);
        strcpy(directory->names[directory->count++], name);
    }
    return directory;
}

struct dirent *readdir(DIR *directory) {
    if (directory->position == directory->count)
        return NULL;
    strcpy(directory->entry.d_name, directory->names[directory->position++]);
    return &directory->entry;
}

struct dirent64 *readdir64(DIR *directory) {
    return readdir(directory) ? &directory->entry64 : NULL;
}

int dirfd(DIR *directory) {
    return directory->fd;
}

int closedir(DIR *directory) {
    disk_close(directory->fd);
    free(directory->names);
    free(directory);
    return 0;
}

/* ---- what would differ between two runs ---- */

pid_t getpid(void) {
    return 4711;
}

time_t time(time_t *ret) {
    time_t now = (time_t)(world_now() / SECOND);

    if (ret)
        *ret = now;
    return now;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
    (void)clock;
    ret->tv_sec = (time_t)(world_now() / SECOND);
    ret->tv_nsec = (long)(world_now() % SECOND * 1000);
    return 0;
}
