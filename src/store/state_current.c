/* The file `current`: which directory of the state's holds its environment. */
#include "store/state_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "store/sync.h"

#define CURRENT "current"
#define CURRENT_PREFIX "state-"

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
    _cleanup_free_ char *text = NULL;
    uint64_t format;
    char name[64];
    int r;

    r = store_read_file(directory, CURRENT, &text);
    if (r == -ENOENT)
        return r;
    if (r == -EBADMSG)
        return damaged(failure, directory, "it is not what raftkv wrote");
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't read %s/" CURRENT ": %s.", directory,
                           strerror(-r));
    if (store_text_get_number(text, "format", &format) < 0)
        return damaged(failure, directory, "it does not say its format");
    if (format != FORMAT_VERSION)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/" CURRENT " says that the state has format %" PRIu64
                           ", but this raftkvd reads format %d only. " STATE_REJOIN,
                           directory, format, FORMAT_VERSION);
    if (store_text_get(text, "directory", name, sizeof name) < 0 || !is_name(name))
        return damaged(failure, directory, "it does not name the state's directory");
    *ret_name = xstrdup(name);
    return 0;
}

/* The switch to a state that was installed from a snapshot is this call, with the name of the
 * staged directory. */
int state_write_current(const char *directory, const char *name) {
    _cleanup_free_ char *text = xasprintf("format=%d\ndirectory=%s\n", FORMAT_VERSION, name);

    return store_replace_file(directory, CURRENT, text);
}
