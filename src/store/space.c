#include "store/space.h"

#include <errno.h>
#include <sys/statvfs.h>

int store_free_space(const char *path, uint64_t *ret) {
    struct statvfs status;

    if (statvfs(path, &status) < 0)
        return -errno;
    *ret = (uint64_t)status.f_bavail * status.f_frsize;
    return 0;
}
