/*
 * directory: whose data directory this is. The file `identity` says member id, name, cluster id,
 * incarnation and format version; `lock` is held (flock) as long as the node runs. Layout:
 * identity, lock, log/, state/.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"

/* What a tool was doing with the directory when it was interrupted. */
enum directory_work { DIRECTORY_FINISHED, DIRECTORY_RESTORING, DIRECTORY_RECOVERING };

struct directory {
    char *path;
    char *log_path;   /* path/log */
    char *state_path; /* path/state */
    int lock_fd;
    uint64_t member_id;   /* random, never 0, made with the directory */
    uint64_t cluster_id;  /* 0: not in a cluster yet */
    uint64_t incarnation; /* raised by directory_open() */
    bool bootstrapping;   /* a bootstrap was begun and its first entry may not be in the log yet */
    uint64_t
        removed_index; /* of a configuration without this member, of which it was told; 0: none */
    bool fresh;        /* this open created it */
    bool made;         /* directory_begin_restore() made it, where nothing was */
    enum directory_work unfinished;
    char name[MEMBER_NAME_MAX + 1];
};

/*
 * Opens the data directory of the node `name`, creating what is missing (mode 0700) with member_id
 * `new_member_id`, takes the lock, and raises the incarnation durably. Refuses, changing nothing: a
 * directory in use by another process (ERROR_BUSY), one of another node's name, with a newer
 * format, or with a file `identity` that is damaged, or with data but without `identity`, or one in
 * which a restore or a recovery was interrupted (all ERROR_INVALID_ARGUMENT), and what the file
 * system refuses (ERROR_INTERNAL with the reason: read-only, no permission, not a directory ...).
 */
int directory_open(struct directory *ret, const char *path, const char *name,
                   uint64_t new_member_id, struct failure *failure);
/* Durably (write, fsync, rename, fsync of the directory) sets the cluster id and the bootstrap
 * flag. */
int directory_set_cluster(struct directory *directory, uint64_t cluster_id, bool bootstrapping);
/* As durably, that this member was told of its removal. Negative errno. */
int directory_set_removed(struct directory *directory, uint64_t configuration_index);
void directory_deinit(struct directory *directory);

/*
 * For the tools (directory_tools.c), which work on the directory of a node that is stopped. What
 * they began is marked in `identity` until it is finished; a start refuses the directory meanwhile.
 *
 * directory_open_stopped() takes the lock of an existing data directory, and changes nothing: the
 * incarnation stays, and what was interrupted is in ret->unfinished. Refuses as directory_open();
 * ERROR_NOT_FOUND: there is no data directory.
 */
int directory_open_stopped(struct directory *ret, const char *path, const char *name,
                           struct failure *failure);
/* Durably marks the directory as being recovered, in another cluster. Negative errno. */
int directory_begin_recovery(struct directory *directory, uint64_t cluster_id);
/* Durably, before each time that a tool opens the log: it is a run of its own. Negative errno. */
int directory_raise_incarnation(struct directory *directory);

/*
 * Whether a restore may begin at the path: there is nothing, an empty directory, or what an
 * interrupted restore left. ERROR_ALREADY_EXISTS: something else. Changes nothing.
 */
int directory_check_restorable(const char *path, struct failure *failure);
/*
 * Makes a new data directory for a restore, empty but for its identity and marked as such; what an
 * interrupted restore left is removed first. Errors as directory_check_restorable() and
 * directory_open().
 */
int directory_begin_restore(struct directory *ret, const char *path, const char *name,
                            uint64_t member_id, uint64_t cluster_id, struct failure *failure);
/* Removes what a restore has made, the directory itself where it made that, too. Only
 * directory_deinit() may follow. Negative errno: the rest is still marked as unfinished. */
int directory_undo_restore(struct directory *directory);

/* Durably takes the mark off: the directory is that of a node from now on. Negative errno. */
int directory_finish(struct directory *directory);

#define DIRECTORY_NULL ((struct directory){.lock_fd = -1})
