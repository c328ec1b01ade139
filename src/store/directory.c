#include "store/directory_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "store/sync.h"

/* As `identity` says it: indexes are enum directory_work. */
static const char *const works[] = {NULL, "restore", "recover"};

static void close_directory(DIR **directory) {
    if (*directory)
        closedir(*directory);
}

int directory_refused(struct failure *failure, const char *path, const char *what, int error) {
    return failure_set(failure, ERROR_INTERNAL, "The data directory %s %s: %s.", path, what,
                       strerror(-error));
}

/* Whether a directory has entries other than those that a start may leave before its end. */
static int holds_data(const char *path, bool top, bool *ret) {
    static const char *const harmless[] = {"lock", "identity.new", "log", "state", "lost+found"};
    _cleanup_(close_directory) DIR *directory = opendir(path);
    struct dirent *entry;
    bool data = false;

    if (!directory && errno == ENOENT) {
        *ret = false;
        return 0;
    }
    if (!directory)
        return -errno;
    while (errno = 0, !data && (entry = readdir(directory))) {
        bool known = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;

        for (size_t i = 0; top && i < sizeof harmless / sizeof *harmless; i++)
            known = known || strcmp(entry->d_name, harmless[i]) == 0;
        data = !known;
    }
    if (errno != 0)
        return -errno;
    *ret = data;
    return 0;
}

/* Without an identity there must be nothing else either. */
static int check_empty(const struct directory *directory, struct failure *failure) {
    const char *const paths[] = {directory->path, directory->log_path, directory->state_path};

    for (size_t i = 0; i < 3; i++) {
        bool data;
        int r = holds_data(paths[i], i == 0, &data);

        if (r < 0)
            return directory_refused(failure, directory->path, "can't be read", r);
        if (data)
            return failure_set(failure, ERROR_INVALID_ARGUMENT,
                               "%s holds data, but no file `identity` that says whose: it is not "
                               "a data directory of raftkvd, or that file was lost.",
                               directory->path);
    }
    return 0;
}

/* Which work was interrupted: an identity that says nothing of it knows of none. */
static int parse_unfinished(const char *text, enum directory_work *ret) {
    char work[16];

    *ret = DIRECTORY_FINISHED;
    if (store_text_get(text, "unfinished", work, sizeof work) < 0)
        return 0;
    for (size_t i = 1; i < sizeof works / sizeof *works; i++)
        if (strcmp(work, works[i]) == 0)
            *ret = (enum directory_work)i;
    return *ret == DIRECTORY_FINISHED ? -EBADMSG : 0;
}

/* An identity that says nothing of it is that of a member that was never told. */
static int parse_removed(const char *text, uint64_t *ret) {
    char number[24];

    *ret = 0;
    if (store_text_get(text, "removed", number, sizeof number) < 0)
        return 0;
    return store_text_get_number(text, "removed", ret);
}

static int parse_identity(const char *text, struct directory *directory) {
    uint64_t bootstrapping;

    if (store_text_get(text, "name", directory->name, sizeof directory->name) < 0 ||
        store_text_get_number(text, "member", &directory->member_id) < 0 ||
        store_text_get_number(text, "cluster", &directory->cluster_id) < 0 ||
        store_text_get_number(text, "incarnation", &directory->incarnation) < 0 ||
        store_text_get_number(text, "bootstrapping", &bootstrapping) < 0 ||
        parse_removed(text, &directory->removed_index) < 0)
        return -EBADMSG;
    if (directory->member_id == 0 || directory->incarnation == 0 ||
        directory->incarnation == UINT64_MAX || bootstrapping > 1)
        return -EBADMSG;
    directory->bootstrapping = bootstrapping;
    return parse_unfinished(text, &directory->unfinished);
}

int directory_read_identity(struct directory *directory, const char *name,
                            struct failure *failure) {
    _cleanup_free_ char *text = NULL;
    uint64_t format;
    int r = store_read_file(directory->path, DIRECTORY_IDENTITY, &text);

    directory->fresh = r == -ENOENT;
    if (directory->fresh)
        return check_empty(directory, failure);
    if (r < 0 && r != -EBADMSG)
        return directory_refused(failure, directory->path, "has an identity that can't be read", r);
    if (r == 0)
        r = store_text_get_number(text, "format", &format);
    if (r == 0 && format > FORMAT_VERSION)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s has format %" PRIu64 ", written by a newer version of raftkvd; "
                           "this one knows formats up to %d.",
                           directory->path, format, FORMAT_VERSION);
    if (r == 0)
        r = parse_identity(text, directory);
    if (r < 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/" DIRECTORY_IDENTITY
                           " is damaged. To rejoin: run `raftkvctl remove-server NAME` on "
                           "another node; move the data directory away; start this one; run "
                           "`raftkvctl add-voter NAME ADDRESS`.",
                           directory->path);
    if (name && strcmp(directory->name, name) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s is the data directory of node %s, not of %s.", directory->path,
                           directory->name, name);
    return 0;
}

int directory_write_identity(const struct directory *directory) {
    bool finished = directory->unfinished == DIRECTORY_FINISHED;
    _cleanup_free_ char *removed =
        directory->removed_index ? xasprintf("removed=%" PRIu64 "\n", directory->removed_index)
                                 : xstrdup("");
    _cleanup_free_ char *text =
        xasprintf("format=%d\nname=%s\nmember=%" PRIu64 "\ncluster=%" PRIu64
                  "\nincarnation=%" PRIu64 "\nbootstrapping=%d\n%s%s%s%s",
                  FORMAT_VERSION, directory->name, directory->member_id, directory->cluster_id,
                  directory->incarnation, directory->bootstrapping, removed,
                  finished ? "" : "unfinished=", finished ? "" : works[directory->unfinished],
                  finished ? "" : "\n");

    return store_replace_file(directory->path, DIRECTORY_IDENTITY, text);
}

int directory_take_lock(struct directory *directory, struct failure *failure) {
    _cleanup_free_ char *path = xasprintf("%s/lock", directory->path);

    directory->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (directory->lock_fd < 0)
        return directory_refused(failure, directory->path, "can't be locked", -errno);
    if (flock(directory->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return failure_set(failure, ERROR_BUSY, "%s is in use by another process.",
                           directory->path);
    return directory_refused(failure, directory->path, "can't be locked", -errno);
}

int directory_make(const char *path) {
    struct stat st;

    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int directory_make_parts(struct directory *directory, struct failure *failure) {
    _cleanup_free_ char *parent = xasprintf("%s/..", directory->path);
    int r = store_sync_directory(parent);

    if (r == 0)
        r = directory_make(directory->log_path);
    if (r == 0)
        r = directory_make(directory->state_path);
    return r < 0 ? directory_refused(failure, directory->path, "can't be written to", r) : 0;
}

/* The identity comes last: with it the directory counts as made. */
static int create(struct directory *directory, const char *name, uint64_t member_id,
                  struct failure *failure) {
    snprintf(directory->name, sizeof directory->name, "%s", name);
    directory->member_id = member_id;
    return directory_make_parts(directory, failure);
}

static int check_finished(const struct directory *directory, struct failure *failure) {
    if (directory->unfinished == DIRECTORY_FINISHED)
        return 0;
    return failure_set(failure, ERROR_INVALID_ARGUMENT,
                       "%s: `raftkvd --%s` was interrupted here. Run it again.", directory->path,
                       works[directory->unfinished]);
}

int directory_check_parts(const struct directory *directory, struct failure *failure) {
    const char *const paths[] = {directory->log_path, directory->state_path};

    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        int r = stat(paths[i], &st) < 0 ? -errno : 0;

        if (r < 0 && r != -ENOENT)
            return directory_refused(failure, paths[i], "can't be read", r);
        if (r < 0 || !S_ISDIR(st.st_mode))
            return failure_set(failure, ERROR_INVALID_ARGUMENT,
                               "%s is missing or not a directory, though the data directory has "
                               "an identity.",
                               paths[i]);
    }
    return 0;
}

static int open_directory(struct directory *directory, const char *name, uint64_t new_member_id,
                          struct failure *failure) {
    int r = directory_make(directory->path);

    if (r < 0)
        return directory_refused(failure, directory->path, "can't be used", r);
    /* Once before the lock, so that nothing is made in a directory that is not ours; and once
     * under it. */
    r = directory_read_identity(directory, name, failure);
    if (r == 0)
        r = directory_take_lock(directory, failure);
    if (r == 0)
        r = directory_read_identity(directory, name, failure);
    if (r == 0)
        r = check_finished(directory, failure);
    if (r == 0)
        r = directory->fresh ? create(directory, name, new_member_id, failure)
                             : directory_check_parts(directory, failure);
    if (r != 0)
        return r;
    directory->incarnation++;
    r = directory_write_identity(directory);
    return r < 0 ? directory_refused(failure, directory->path, "can't be written to", r) : 0;
}

struct directory directory_at(const char *path) {
    struct directory directory = DIRECTORY_NULL;

    directory.path = xstrdup(path);
    directory.log_path = xasprintf("%s/log", path);
    directory.state_path = xasprintf("%s/state", path);
    return directory;
}

int directory_open(struct directory *ret, const char *path, const char *name,
                   uint64_t new_member_id, struct failure *failure) {
    struct directory directory = directory_at(path);
    int r;

    check(new_member_id != 0 && strlen(name) <= MEMBER_NAME_MAX);
    r = open_directory(&directory, name, new_member_id, failure);
    if (r != 0) {
        directory_deinit(&directory);
        return r;
    }
    *ret = directory;
    return 0;
}

int directory_replace_identity(struct directory *directory, const struct directory *changed) {
    int r = directory_write_identity(changed);

    if (r == 0)
        *directory = *changed;
    return r;
}

int directory_set_cluster(struct directory *directory, uint64_t cluster_id, bool bootstrapping) {
    struct directory changed = *directory;

    changed.cluster_id = cluster_id;
    changed.bootstrapping = bootstrapping;
    return directory_replace_identity(directory, &changed);
}

int directory_set_removed(struct directory *directory, uint64_t configuration_index) {
    struct directory changed = *directory;

    changed.removed_index = configuration_index;
    return directory_replace_identity(directory, &changed);
}

void directory_deinit(struct directory *directory) {
    free(directory->path);
    free(directory->log_path);
    free(directory->state_path);
    if (directory->lock_fd >= 0)
        close(directory->lock_fd);
    *directory = DIRECTORY_NULL;
}
