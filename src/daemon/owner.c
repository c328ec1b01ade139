#include "daemon/owner.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static int look_at(const char *path, struct stat *ret) {
    _cleanup_free_ char *copy = xstrdup(path);

    if (stat(path, ret) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return stat(dirname(copy), ret) < 0 ? -errno : 0;
}

int owner_become(const char *path, struct failure *failure) {
    struct stat status;
    int r;

    if (geteuid() != 0)
        return 0;
    r = look_at(path, &status);
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't look at %s: %s.", path, strerror(-r));
    if (status.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(status.st_gid, status.st_gid, status.st_gid) < 0 ||
        setresuid(status.st_uid, status.st_uid, status.st_uid) < 0)
        return failure_set(failure, ERROR_INTERNAL,
                           "Can't become the owner of %s, user %ju of group %ju: %s.", path,
                           (uintmax_t)status.st_uid, (uintmax_t)status.st_gid, strerror(errno));
    return 0;
}
