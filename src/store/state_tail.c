/*
 * The end of the environment's own log. Berkeley DB takes the first record that does not check out
 * for the end and appends there; what lies behind must not come back when the new records happen to
 * end where an old one begins. Recovery zeroes it, but syncs that together with what it appends, so
 * that a crash may keep the one and lose the other. Hence it is zeroed and synced before recovery;
 * and the file `flushed` says where the log ends at least, which tells damage from a tear.
 */
#include "store/state_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sync.h"

#define FLUSHED "flushed"

struct position {
    uint32_t file;
    uint32_t offset;
};

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0)
        close(*descriptor);
}

static void close_directory(DIR **directory) {
    if (*directory)
        closedir(*directory);
}

static char *log_path(const struct state *state, uint32_t file) {
    return xasprintf("%s/log.%010" PRIu32, state->environment_directory, file);
}

int state_write_flushed(struct state *state, uint32_t log_file, uint32_t log_offset) {
    _cleanup_free_ char *text =
        xasprintf("log-file=%" PRIu32 "\nlog-offset=%" PRIu32 "\n", log_file, log_offset);

    return store_replace_file(state->environment_directory, FLUSHED, text);
}

/* 0/0 when no checkpoint was made yet. */
static int read_flushed(struct state *state, struct position *ret, struct failure *failure) {
    const char *directory = state->environment_directory;
    _cleanup_free_ char *text = NULL;
    uint64_t file = 0, offset = 0;
    int r;

    r = store_read_file(directory, FLUSHED, &text);
    if (r == -ENOENT) {
        *ret = (struct position){0};
        return 0;
    }
    if (r < 0 && r != -EBADMSG)
        return failure_set(failure, ERROR_INTERNAL, "Can't read %s/" FLUSHED ": %s.", directory,
                           strerror(-r));
    if (r < 0 || store_text_get_number(text, "log-file", &file) < 0 ||
        store_text_get_number(text, "log-offset", &offset) < 0 || file > UINT32_MAX ||
        offset > UINT32_MAX)
        return failure_set(failure, ERROR_INTERNAL,
                           "%s/" FLUSHED " is damaged: it is not what raftkv wrote. " STATE_REJOIN,
                           directory);
    *ret = (struct position){(uint32_t)file, (uint32_t)offset};
    return 0;
}

/* Whether there are log files, all of which can be read; the highest number of one. */
static int read_log_files(struct state *state, uint32_t *ret) {
    _cleanup_(close_directory) DIR *directory = opendir(state->environment_directory);
    const struct dirent *entry;
    uint32_t last = 0;

    if (!directory)
        return -errno;
    while (errno = 0, (entry = readdir(directory))) {
        uint32_t file;
        char rest;

        if (sscanf(entry->d_name, "log.%10" SCNu32 "%c", &file, &rest) == 1) {
            _cleanup_free_ char *path = log_path(state, file);
            int r = store_read_through(path);

            if (r < 0)
                return r;
            if (file > last)
                last = file;
        }
    }
    if (errno != 0)
        return -errno;
    *ret = last;
    return 0;
}

/* The end of the log as Berkeley DB sees it: a scan of its last file, without recovery. What it
 * can't read it takes for the end too, after a message. */
static int find_end(struct state *state, struct position *ret) {
    DB_LOG_STAT *statistics;
    DB_ENV *environment;
    int r, close_result;

    r = state_create_environment(state, &environment);
    if (r < 0)
        return r;
    state->message[0] = '\0';
    r = environment->open(environment, state->environment_directory,
                          DB_CREATE | DB_PRIVATE | DB_INIT_LOG, 0600);
    if (r == 0 && state->message[0])
        r = EIO;
    if (r == 0)
        r = environment->log_stat(environment, &statistics, 0);
    if (r == 0) {
        *ret = (struct position){statistics->st_cur_file, statistics->st_cur_offset};
        free(statistics);
    }
    close_result = environment->close(environment, 0);
    return state_error(r ? r : close_result);
}

static int zero_from(const char *path, off_t offset) {
    _cleanup_(close_descriptor) int descriptor = open(path, O_RDWR | O_CLOEXEC);
    static const uint8_t zeros[64 * 1024];
    struct stat status;

    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return -errno;
    if (offset >= status.st_size)
        return 0;
    while (offset < status.st_size) {
        off_t left = status.st_size - offset;
        size_t size = left < (off_t)sizeof zeros ? (size_t)left : sizeof zeros;
        int r = store_write_at(descriptor, zeros, size, offset);

        if (r < 0)
            return r;
        offset += (off_t)size;
    }
    store_sync(descriptor);
    return 0;
}

/* Zeroes what follows the end in its file, and removes the files behind it, whose headers were
 * torn.
 */
static int cut(struct state *state, struct position end, uint32_t last) {
    _cleanup_free_ char *path = log_path(state, end.file);
    int r;

    r = zero_from(path, end.offset);
    if (r < 0)
        return r;
    if (last <= end.file)
        return 0;
    for (uint32_t file = last; file > end.file; file--) {
        _cleanup_free_ char *behind = log_path(state, file);

        if (unlink(behind) < 0 && errno != ENOENT)
            return -errno;
    }
    return store_sync_directory(state->environment_directory);
}

static int ends_early(struct state *state, struct position end, struct position flushed,
                      struct failure *failure) {
    _cleanup_free_ char *path = log_path(state, end.file);

    return failure_set(failure, ERROR_INTERNAL,
                       "%s is damaged: the state's log ends at byte %" PRIu32
                       ", but it was flushed up to byte %" PRIu32 " of file %" PRIu32
                       ". " STATE_REJOIN,
                       path, end.offset, flushed.offset, flushed.file);
}

int state_cut_tail(struct state *state, struct failure *failure) {
    struct position end = {0}, flushed;
    uint32_t last = 0;
    int r;

    r = read_flushed(state, &flushed, failure);
    if (r != 0)
        return r;
    r = read_log_files(state, &last);
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL,
                           "The log of the state in %s can't be read: %s. " STATE_REJOIN,
                           state->environment_directory, strerror(-r));
    if (last < flushed.file)
        return ends_early(state, (struct position){.file = last}, flushed, failure);
    if (last == 0)
        return 0;
    r = find_end(state, &end);
    if (r < 0)
        return failure_set(failure, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                           "The log of the state in %s can't be read: %s (%s). " STATE_REJOIN,
                           state->environment_directory, strerror(-r), state->message);
    if (end.file < flushed.file || (end.file == flushed.file && end.offset < flushed.offset))
        return ends_early(state, end, flushed, failure);
    r = cut(state, end, last);
    if (r < 0)
        return failure_set(failure, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                           "Can't cut the end of the state's log in %s: %s.",
                           state->environment_directory, strerror(-r));
    return 0;
}
