/* The small text files beside the environment, and how they are replaced. */
#include "store/state_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"

#define CURRENT "current"
#define CURRENT_PREFIX "state-"

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0)
        close(*descriptor);
}

#define _cleanup_close_ _cleanup_(close_descriptor)

int state_sync_directory(const char *directory) {
    _cleanup_close_ int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (descriptor < 0)
        return -errno;
    return fsync(descriptor) < 0 ? -errno : 0;
}

static int write_synced(const char *path, const char *text) {
    _cleanup_close_ int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(text), done = 0;

    if (descriptor < 0)
        return -errno;
    while (done < size) {
        ssize_t n = write(descriptor, text + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return fsync(descriptor) < 0 ? -errno : 0;
}

int state_replace_file(const char *directory, const char *name, const char *text) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    _cleanup_free_ char *new_path = xasprintf("%s/%s.new", directory, name);
    int r;

    r = write_synced(new_path, text);
    if (r < 0)
        return r;
    if (rename(new_path, path) < 0)
        return -errno;
    return state_sync_directory(directory);
}

int state_read_file(const char *directory, const char *name, char *ret_text, size_t size) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    _cleanup_close_ int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;

    if (descriptor < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(descriptor, ret_text + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
        if (done == size)
            return -EFBIG;
    }
    ret_text[done] = '\0';
    return strlen(ret_text) == done ? 0 : -EBADMSG;
}

static int damaged(struct failure *failure, const char *directory, const char *reason) {
    return failure_set(failure, ERROR_INTERNAL, "%s/" CURRENT " is damaged: %s. " STATE_REJOIN,
                       directory, reason);
}

/* The name of an environment's directory: "state-" and a number from 1. */
static bool is_name(const char *name) {
    size_t prefix = strlen(CURRENT_PREFIX), size = strlen(name);

    if (strncmp(name, CURRENT_PREFIX, prefix) != 0 || name[prefix] == '0')
        return false;
    return size > prefix && size <= prefix + 18 &&
           strspn(name + prefix, "0123456789") == size - prefix;
}

int state_read_current(const char *directory, char **ret_name, struct failure *failure) {
    char text[256], name[sizeof text], expected[2 * sizeof text];
    uint64_t format;
    int r;

    r = state_read_file(directory, CURRENT, text, sizeof text);
    if (r == -ENOENT)
        return r;
    if (r == -EFBIG || r == -EBADMSG)
        return damaged(failure, directory, "it is not what raftkv wrote");
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't read %s/" CURRENT ": %s.", directory,
                           strerror(-r));
    if (sscanf(text, "format %" SCNu64, &format) != 1)
        return damaged(failure, directory, "it does not begin with its format");
    if (format != FORMAT_VERSION)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/" CURRENT " says that the state has format %" PRIu64
                           ", but this raftkvd reads format %d only. " STATE_REJOIN,
                           directory, format, FORMAT_VERSION);
    if (sscanf(text, "format %*u\ndirectory %255[^\n]", name) != 1 || !is_name(name))
        return damaged(failure, directory, "it does not name the state's directory");
    /* Not a byte more or less than what is written. */
    snprintf(expected, sizeof expected, "format %d\ndirectory %s\n", FORMAT_VERSION, name);
    if (strcmp(text, expected) != 0)
        return damaged(failure, directory, "it is not what raftkv wrote");
    *ret_name = xstrdup(name);
    return 0;
}

/* The switch to a state that was installed from a snapshot is this call, with the name of the
 * staged directory. */
int state_write_current(const char *directory, const char *name) {
    _cleanup_free_ char *text = xasprintf("format %d\ndirectory %s\n", FORMAT_VERSION, name);

    return state_replace_file(directory, CURRENT, text);
}
