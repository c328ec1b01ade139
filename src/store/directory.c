#include "store/directory.h"

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

static const char identity_name[] = "identity";

static void close_directory(DIR **directory) {
    if (*directory)
        closedir(*directory);
}

static int refused(struct failure *failure, const char *path, const char *what, int error) {
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
            return refused(failure, directory->path, "can't be read", r);
        if (data)
            return failure_set(failure, ERROR_INVALID_ARGUMENT,
                               "%s holds data, but no file `identity` that says whose: it is not "
                               "a data directory of raftkvd, or that file was lost.",
                               directory->path);
    }
    return 0;
}

static int parse_identity(const char *text, struct directory *directory) {
    uint64_t bootstrapping;

    if (store_text_get(text, "name", directory->name, sizeof directory->name) < 0 ||
        store_text_get_number(text, "member", &directory->member_id) < 0 ||
        store_text_get_number(text, "cluster", &directory->cluster_id) < 0 ||
        store_text_get_number(text, "incarnation", &directory->incarnation) < 0 ||
        store_text_get_number(text, "bootstrapping", &bootstrapping) < 0)
        return -EBADMSG;
    if (directory->member_id == 0 || directory->incarnation == 0 ||
        directory->incarnation == UINT64_MAX || bootstrapping > 1)
        return -EBADMSG;
    directory->bootstrapping = bootstrapping;
    return 0;
}

/* Reads the identity, or finds that there is nothing yet (directory->fresh). */
static int read_identity(struct directory *directory, const char *name, struct failure *failure) {
    _cleanup_free_ char *text = NULL;
    uint64_t format;
    int r = store_read_file(directory->path, identity_name, &text);

    directory->fresh = r == -ENOENT;
    if (directory->fresh)
        return check_empty(directory, failure);
    if (r < 0 && r != -EBADMSG)
        return refused(failure, directory->path, "has an identity that can't be read", r);
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
                           "%s/%s is damaged. To rejoin: run `raftkvctl remove-server NAME` on "
                           "another node; move the data directory away; start this one; run "
                           "`raftkvctl add-voter NAME ADDRESS`.",
                           directory->path, identity_name);
    if (strcmp(directory->name, name) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s is the data directory of node %s, not of %s.", directory->path,
                           directory->name, name);
    return 0;
}

static int write_identity(const struct directory *directory) {
    _cleanup_free_ char *text =
        xasprintf("format=%d\nname=%s\nmember=%" PRIu64 "\ncluster=%" PRIu64
                  "\nincarnation=%" PRIu64 "\nbootstrapping=%d\n",
                  FORMAT_VERSION, directory->name, directory->member_id, directory->cluster_id,
                  directory->incarnation, directory->bootstrapping);

    return store_replace_file(directory->path, identity_name, text);
}

static int take_lock(struct directory *directory, struct failure *failure) {
    _cleanup_free_ char *path = xasprintf("%s/lock", directory->path);

    directory->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (directory->lock_fd < 0)
        return refused(failure, directory->path, "can't be locked", -errno);
    if (flock(directory->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return failure_set(failure, ERROR_BUSY, "%s is in use by another process.",
                           directory->path);
    return refused(failure, directory->path, "can't be locked", -errno);
}

static int make_directory(const char *path) {
    struct stat st;

    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* The identity comes last: with it the directory counts as made. */
static int create(struct directory *directory, const char *name, uint64_t member_id,
                  struct failure *failure) {
    _cleanup_free_ char *parent = xasprintf("%s/..", directory->path);
    int r = store_sync_directory(parent);

    if (r == 0)
        r = make_directory(directory->log_path);
    if (r == 0)
        r = make_directory(directory->state_path);
    if (r < 0)
        return refused(failure, directory->path, "can't be written to", r);
    snprintf(directory->name, sizeof directory->name, "%s", name);
    directory->member_id = member_id;
    return 0;
}

static int check_parts(const struct directory *directory, struct failure *failure) {
    const char *const paths[] = {directory->log_path, directory->state_path};

    for (size_t i = 0; i < 2; i++) {
        struct stat st;

        if (stat(paths[i], &st) < 0 || !S_ISDIR(st.st_mode))
            return failure_set(failure, ERROR_INVALID_ARGUMENT,
                               "%s is missing or not a directory, though the data directory has "
                               "an identity.",
                               paths[i]);
    }
    return 0;
}

static int open_directory(struct directory *directory, const char *name, uint64_t new_member_id,
                          struct failure *failure) {
    int r = make_directory(directory->path);

    if (r < 0)
        return refused(failure, directory->path, "can't be used", r);
    /* Once before the lock, so that nothing is made in a directory that is not ours; and once
     * under it. */
    r = read_identity(directory, name, failure);
    if (r == 0)
        r = take_lock(directory, failure);
    if (r == 0)
        r = read_identity(directory, name, failure);
    if (r == 0)
        r = directory->fresh ? create(directory, name, new_member_id, failure)
                             : check_parts(directory, failure);
    if (r != 0)
        return r;
    directory->incarnation++;
    r = write_identity(directory);
    return r < 0 ? refused(failure, directory->path, "can't be written to", r) : 0;
}

int directory_open(struct directory *ret, const char *path, const char *name,
                   uint64_t new_member_id, struct failure *failure) {
    struct directory directory = DIRECTORY_NULL;
    int r;

    check(new_member_id != 0 && strlen(name) <= MEMBER_NAME_MAX);
    directory.path = xstrdup(path);
    directory.log_path = xasprintf("%s/log", path);
    directory.state_path = xasprintf("%s/state", path);
    r = open_directory(&directory, name, new_member_id, failure);
    if (r != 0) {
        directory_deinit(&directory);
        return r;
    }
    *ret = directory;
    return 0;
}

int directory_set_cluster(struct directory *directory, uint64_t cluster_id, bool bootstrapping) {
    struct directory changed = *directory;
    int r;

    changed.cluster_id = cluster_id;
    changed.bootstrapping = bootstrapping;
    r = write_identity(&changed);
    if (r == 0)
        *directory = changed;
    return r;
}

void directory_deinit(struct directory *directory) {
    free(directory->path);
    free(directory->log_path);
    free(directory->state_path);
    if (directory->lock_fd >= 0)
        close(directory->lock_fd);
    *directory = DIRECTORY_NULL;
}
