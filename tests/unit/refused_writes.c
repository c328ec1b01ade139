#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "refused_writes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int (*refused_writes)(int descriptor, off_t end);

static bool is_refused(int descriptor, off_t end) {
    int error = refused_writes ? refused_writes(descriptor, end) : 0;

    if (error != 0)
        errno = error;
    return error != 0;
}

ssize_t write(int fd, const void *data, size_t size) {
    return is_refused(fd, lseek(fd, 0, SEEK_CUR) + (off_t)size)
               ? -1
               : syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return is_refused(fd, offset + (off_t)size) ? -1
                                                : syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return pwrite(fd, data, size, offset);
}

bool descriptor_is_below(int descriptor, const char *part) {
    char link[64], path[256];
    ssize_t size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return false;
    path[size] = '\0';
    return strstr(path, part);
}
