/* The data directory in the hands of a tool, while its node is stopped. */
#include "store/directory_internal.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "store/sync.h"

enum { WALK_DESCRIPTORS = 8 };

/* ---- an existing directory ---- */

static int open_stopped(struct directory *directory, const char *name, struct failure *failure) {
    struct stat status;
    int r;

    if (stat(directory->path, &status) < 0 && errno == ENOENT)
        return failure_set(failure, ERROR_NOT_FOUND, "There is no data directory %s.",
                           directory->path);
    /* As directory_open(): before the lock, and under it. */
    r = directory_read_identity(directory, name, failure);
    if (r == 0 && directory->fresh)
        return failure_set(failure, ERROR_NOT_FOUND, "%s is empty: no node was started on it yet.",
                           directory->path);
    if (r == 0)
        r = directory_take_lock(directory, failure);
    if (r == 0)
        r = directory_read_identity(directory, name, failure);
    return r == 0 ? directory_check_parts(directory, failure) : r;
}

int directory_open_stopped(struct directory *ret, const char *path, const char *name,
                           struct failure *failure) {
    struct directory directory = directory_at(path);
    int r = open_stopped(&directory, name, failure);

    if (r != 0) {
        directory_deinit(&directory);
        return r;
    }
    *ret = directory;
    return 0;
}

int directory_begin_recovery(struct directory *directory, uint64_t cluster_id) {
    struct directory changed = *directory;

    check(cluster_id != 0 && directory->unfinished != DIRECTORY_RESTORING);
    changed.unfinished = DIRECTORY_RECOVERING;
    changed.cluster_id = cluster_id;
    changed.bootstrapping = false;
    changed.removed_index = 0;
    return directory_replace_identity(directory, &changed);
}

int directory_raise_incarnation(struct directory *directory) {
    struct directory changed = *directory;

    changed.incarnation++;
    return directory_replace_identity(directory, &changed);
}

int directory_finish(struct directory *directory) {
    struct directory changed = *directory;

    changed.unfinished = DIRECTORY_FINISHED;
    return directory_replace_identity(directory, &changed);
}

/* ---- a new directory, for a restore ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static int remove_all(const char *path) {
    if (nftw(path, remove_one, WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

/* All but the lock. The identity, which says that the rest is nothing yet, goes last. */
static int remove_content(const struct directory *directory) {
    _cleanup_free_ char *identity = xasprintf("%s/" DIRECTORY_IDENTITY, directory->path);
    _cleanup_free_ char *identity_new = xasprintf("%s/" DIRECTORY_IDENTITY ".new", directory->path);
    const char *const paths[] = {directory->log_path, directory->state_path, identity_new,
                                 identity};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int r = remove_all(paths[i]);

        if (r == 0)
            r = store_sync_directory(directory->path);
        if (r < 0)
            return r;
    }
    return 0;
}

int directory_undo_restore(struct directory *directory) {
    _cleanup_free_ char *lock = xasprintf("%s/lock", directory->path);
    int r = remove_content(directory);

    if (r == 0 && unlink(lock) < 0)
        r = -errno;
    if (r == 0 && directory->made && rmdir(directory->path) < 0)
        r = -errno;
    return r;
}

/* What there is may be given up. */
static int check_restorable(struct directory *directory, struct failure *failure) {
    struct stat status;
    int r;

    if (stat(directory->path, &status) < 0 && errno == ENOENT)
        return 0;
    r = directory_read_identity(directory, NULL, failure);
    if (r == 0 && (directory->fresh || directory->unfinished == DIRECTORY_RESTORING))
        return 0;
    /* With an identity, a damaged one, or something else. */
    if (r == 0 || r == ERROR_INVALID_ARGUMENT)
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "%s holds data: a backup is restored into an empty directory only. Move "
                           "it away first.",
                           directory->path);
    return r;
}

int directory_check_restorable(const char *path, struct failure *failure) {
    struct directory directory = directory_at(path);
    int r = check_restorable(&directory, failure);

    directory_deinit(&directory);
    return r;
}

static int write_new(struct directory *directory, const struct directory *wanted,
                     struct failure *failure) {
    int r = remove_content(directory);

    strcpy(directory->name, wanted->name);
    directory->member_id = wanted->member_id;
    directory->cluster_id = wanted->cluster_id;
    directory->incarnation = 1;
    directory->bootstrapping = false;
    directory->unfinished = DIRECTORY_RESTORING;
    if (r == 0)
        r = directory_write_identity(directory);
    if (r < 0)
        return directory_refused(failure, directory->path, "can't be written to", r);
    return directory_make_parts(directory, failure);
}

static int begin_restore(struct directory *directory, const struct directory *wanted,
                         struct failure *failure) {
    int r;

    directory->made = mkdir(directory->path, 0700) == 0;
    r = directory->made ? 0 : directory_make(directory->path);
    if (r < 0)
        return directory_refused(failure, directory->path, "can't be used", r);
    r = directory_take_lock(directory, failure);
    if (r == 0)
        r = check_restorable(directory, failure);
    if (r != 0)
        return r;
    r = write_new(directory, wanted, failure);
    if (r != 0)
        (void)directory_undo_restore(directory);
    return r;
}

int directory_begin_restore(struct directory *ret, const char *path, const char *name,
                            uint64_t member_id, uint64_t cluster_id, struct failure *failure) {
    struct directory wanted = {.member_id = member_id, .cluster_id = cluster_id};
    struct directory directory;
    int r;

    check(member_id != 0 && cluster_id != 0 && strlen(name) <= MEMBER_NAME_MAX);
    strcpy(wanted.name, name);
    r = directory_check_restorable(path, failure);
    if (r != 0)
        return r;
    directory = directory_at(path);
    r = begin_restore(&directory, &wanted, failure);
    if (r != 0) {
        directory_deinit(&directory);
        return r;
    }
    *ret = directory;
    return 0;
}
