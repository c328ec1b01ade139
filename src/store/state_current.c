/* The file `current`: which directory of the state's holds its environment; and the directories
 * beside it. */
#include "store/state_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/journal.h"
#include "base/limits.h"
#include "store/sync.h"

#define CURRENT "current"
#define CURRENT_PREFIX "state-"
/* Is there, and durable, from before the first environment is begun until `current` names it. */
#define MAKING "making-the-first"

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

int state_write_current(const char *directory, const char *name) {
    _cleanup_free_ char *text = xasprintf("format=%d\ndirectory=%s\n", FORMAT_VERSION, name);

    return store_replace_file(directory, CURRENT, text);
}

static void close_directory(DIR **directory) {
    if (*directory)
        closedir(*directory);
}

/* Calls visit with the name of each entry, until it returns other than 0, and returns that. */
static int each_entry(const char *path, int (*visit)(void *data, const char *name), void *data) {
    _cleanup_(close_directory) DIR *directory = opendir(path);
    const struct dirent *entry;
    int r = 0;

    if (!directory)
        return -errno;
    while (errno = 0, r == 0 && (entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = visit(data, entry->d_name);
    return r != 0 ? r : -errno;
}

static int note_highest(void *data, const char *name) {
    uint64_t *highest = data;
    uint64_t number;

    if (is_name(name) && sscanf(name, CURRENT_PREFIX "%" SCNu64, &number) == 1 && number > *highest)
        *highest = number;
    return 0;
}

int state_make_next_directory(const char *directory, char **ret_name) {
    _cleanup_free_ char *name = NULL, *path = NULL;
    uint64_t highest = 0;
    int r;

    r = each_entry(directory, note_highest, &highest);
    if (r < 0)
        return r;
    name = xasprintf(CURRENT_PREFIX "%" PRIu64, highest + 1);
    if (!is_name(name))
        return -EOVERFLOW;
    path = xasprintf("%s/%s", directory, name);
    if (mkdir(path, 0700) < 0)
        return -errno;
    *ret_name = TAKE(name);
    return 0;
}

static int remove_file(void *data, const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", (const char *)data, name);

    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int state_remove_path(const char *path) {
    int r;

    r = each_entry(path, remove_file, (void *)(uintptr_t)path);
    if (r < 0)
        return r;
    return rmdir(path) < 0 ? -errno : 0;
}

struct leftovers {
    const char *directory;
    const char *current;
};

static int remove_leftover(void *data, const char *name) {
    const struct leftovers *leftovers = data;
    _cleanup_free_ char *path = NULL;
    bool aside = strncmp(name, STATE_ASIDE_PREFIX, strlen(STATE_ASIDE_PREFIX)) == 0;

    if (!aside && (!is_name(name) || strcmp(name, leftovers->current) == 0))
        return 0;
    path = xasprintf("%s/%s", leftovers->directory, name);
    return state_remove_path(path);
}

void state_say_left_over(const char *directory, int error) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_LEFT_OVER);

    journal_field(&event, "RAFTKV_PATH=%s", directory);
    journal_with(LOG_WARNING, event.fields, "Can't remove what is not needed any more in %s: %s.",
                 directory, strerror(-error));
}

int state_remove_leftovers(const char *directory, const char *current) {
    _cleanup_free_ char *making = xasprintf("%s/" MAKING, directory);
    struct leftovers leftovers = {directory, current};
    int r;

    if (unlink(making) < 0 && errno != ENOENT)
        return -errno;
    r = each_entry(directory, remove_leftover, &leftovers);
    return r < 0 ? r : store_sync_directory(directory);
}

static int is_environment(void *data, const char *name) {
    (void)data;
    return is_name(name);
}

int state_begin_first(const char *directory, const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
    _cleanup_free_ char *making = xasprintf("%s/" MAKING, directory);
    int r;

    if (access(making, F_OK) < 0) {
        if (errno != ENOENT)
            return -errno;
        r = each_entry(directory, is_environment, NULL);
        if (r != 0)
            return r > 0 ? -EEXIST : r;
        r = store_replace_file(directory, MAKING, "");
    } else {
        r = state_remove_path(path);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int note_entry(void *data, const char *name) {
    (void)data;
    (void)name;
    return 1;
}

int state_is_empty_directory(const char *directory) {
    int r = each_entry(directory, note_entry, NULL);

    return r < 0 ? r : !r;
}
