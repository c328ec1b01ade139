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

struct directory {
    char *path;
    char *log_path;   /* path/log */
    char *state_path; /* path/state */
    int lock_fd;
    uint64_t member_id;   /* random, never 0, made with the directory */
    uint64_t cluster_id;  /* 0: not in a cluster yet */
    uint64_t incarnation; /* raised by directory_open() */
    bool bootstrapping;   /* a bootstrap was begun and its first entry may not be in the log yet */
    bool fresh;           /* this open created it */
    char name[MEMBER_NAME_MAX + 1];
};

/*
 * Opens the data directory of the node `name`, creating what is missing (mode 0700) with member_id
 * `new_member_id`, takes the lock, and raises the incarnation durably. Refuses, changing nothing: a
 * directory in use by another process (ERROR_BUSY), one of another node's name, with a newer
 * format, or with a file `identity` that is damaged, or with data but without `identity` (all
 * ERROR_INVALID_ARGUMENT), and what the file system refuses (ERROR_INTERNAL with the reason:
 * read-only, no permission, not a directory ...).
 */
int directory_open(struct directory *ret, const char *path, const char *name,
                   uint64_t new_member_id, struct failure *failure);
/* Durably (write, fsync, rename, fsync of the directory) sets the cluster id and the bootstrap
 * flag. */
int directory_set_cluster(struct directory *directory, uint64_t cluster_id, bool bootstrapping);
void directory_deinit(struct directory *directory);

#define DIRECTORY_NULL ((struct directory){.lock_fd = -1})
