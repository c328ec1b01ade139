#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "system_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int (*system_call_hook)(const struct system_call *call);

bool system_call_syncs(const struct system_call *call) {
    return strcmp(call->name, "fsync") == 0 || strcmp(call->name, "fdatasync") == 0;
}

bool system_call_writes(const struct system_call *call) {
    return strcmp(call->name, "write") == 0 || strcmp(call->name, "pwrite") == 0;
}

bool system_call_grows(const struct system_call *call) {
    struct stat status;
    off_t offset = call->offset;

    if (!system_call_writes(call) || syscall(SYS_fstat, call->fd, &status) < 0)
        return false;
    if (strcmp(call->name, "write") == 0)
        offset = lseek(call->fd, 0, SEEK_CUR);
    return offset + (off_t)call->size > status.st_blocks * 512;
}

bool system_call_is_below(const struct system_call *call, const char *part) {
    char link[64], path[512];
    ssize_t size;

    if (call->path)
        return strstr(call->path, part);
    snprintf(link, sizeof link, "/proc/self/fd/%d", call->fd);
    size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (size <= 0)
        return false;
    path[size] = '\0';
    return strstr(path, part);
}

bool system_call_needs_space(const struct system_call *call) {
    static const char *const names[] = {"write", "pwrite", "ftruncate", "rename", "mkdir"};

    if (call->flags & O_CREAT)
        return syscall(SYS_faccessat, AT_FDCWD, call->path, F_OK) < 0;
    if (system_call_syncs(call))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(call->name, names[i]) == 0)
            return true;
    return false;
}

/* Whether the hook has answered in the place of the kernel; *ret_result with errno is what it said.
 */
static bool answered(const struct system_call *call, long *ret_result) {
    int answer = system_call_hook ? system_call_hook(call) : SYSTEM_CALL_IS_MADE;

    if (answer == SYSTEM_CALL_IS_MADE)
        return false;
    *ret_result = answer == SYSTEM_CALL_IS_LEFT_OUT ? 0 : -1;
    if (answer != SYSTEM_CALL_IS_LEFT_OUT)
        errno = answer;
    return true;
}

#define CALL(number, arguments, ...)                                 \
    ({                                                               \
        long _result;                                                \
                                                                     \
        if (!answered(&(struct system_call){__VA_ARGS__}, &_result)) \
            _result = syscall arguments_of(number, arguments);       \
        _result;                                                     \
    })
#define arguments_of(number, arguments) (number, without_parentheses arguments)
#define without_parentheses(...) __VA_ARGS__

/* ---- by path ---- */

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return (int)CALL(SYS_openat, (AT_FDCWD, path, flags, mode), .name = "open", .path = path,
                     .flags = flags);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return (int)CALL(SYS_openat, (AT_FDCWD, path, flags, mode), .name = "open64", .path = path,
                     .flags = flags);
}

int mkdir(const char *path, mode_t mode) {
    return (int)CALL(SYS_mkdirat, (AT_FDCWD, path, mode), .name = "mkdir", .path = path);
}

int rename(const char *from, const char *to) {
    return (int)CALL(SYS_renameat, (AT_FDCWD, from, AT_FDCWD, to), .name = "rename", .path = to);
}

int unlink(const char *path) {
    return (int)CALL(SYS_unlinkat, (AT_FDCWD, path, 0), .name = "unlink", .path = path);
}

int rmdir(const char *path) {
    return (int)CALL(SYS_unlinkat, (AT_FDCWD, path, AT_REMOVEDIR), .name = "rmdir", .path = path);
}

int access(const char *path, int mode) {
    return (int)CALL(SYS_faccessat, (AT_FDCWD, path, mode), .name = "access", .path = path);
}

int stat(const char *restrict path, struct stat *restrict ret) {
    return (int)CALL(SYS_newfstatat, (AT_FDCWD, path, ret, 0), .name = "stat", .path = path);
}

int stat64(const char *restrict path, struct stat64 *restrict ret) {
    return stat(path, (struct stat *)ret);
}

DIR *opendir(const char *path) {
    DIR *(*next)(const char *path) = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    long result;

    return answered(&(struct system_call){.name = "opendir", .path = path}, &result) ? NULL
                                                                                     : next(path);
}

/* ---- by descriptor ---- */

int fstat(int fd, struct stat *ret) {
    return (int)CALL(SYS_fstat, (fd, ret), .name = "fstat", .fd = fd);
}

int fstat64(int fd, struct stat64 *ret) {
    return fstat(fd, (struct stat *)ret);
}

ssize_t read(int fd, void *data, size_t size) {
    return CALL(SYS_read, (fd, data, size), .name = "read", .fd = fd, .size = size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    return CALL(SYS_pread64, (fd, data, size, offset), .name = "pread", .fd = fd, .size = size,
                .offset = offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    return pread(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
    return CALL(SYS_write, (fd, data, size), .name = "write", .fd = fd, .data = data, .size = size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return CALL(SYS_pwrite64, (fd, data, size, offset), .name = "pwrite", .fd = fd, .data = data,
                .size = size, .offset = offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

int ftruncate(int fd, off_t size) {
    return (int)CALL(SYS_ftruncate, (fd, size), .name = "ftruncate", .fd = fd, .offset = size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int fsync(int fd) {
    return (int)CALL(SYS_fsync, (fd), .name = "fsync", .fd = fd);
}

int fdatasync(int fd) {
    return (int)CALL(SYS_fdatasync, (fd), .name = "fdatasync", .fd = fd);
}
