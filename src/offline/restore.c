/* From a backup to a data directory. */
#include "offline/sole_voter.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/codec.h"

/* The backup is read twice: to check it, and to take it. */
struct reading {
    offline_progress progress;
    void *data;
    uint64_t size;   /* of the backup */
    uint64_t before; /* bytes of it that the first reading has read, in the second one */
};

static void tell(void *data, uint64_t bytes) {
    const struct reading *reading = data;

    if (reading->progress)
        reading->progress(reading->data, reading->before + bytes, 2 * reading->size);
}

static struct reading reading_begin(int backup, offline_progress progress, void *data) {
    struct stat found;
    bool known = fstat(backup, &found) == 0 && found.st_size > 0;

    return (struct reading){
        .progress = known ? progress : NULL,
        .data = data,
        .size = known ? (uint64_t)found.st_size : 0,
    };
}

static int rewind_backup(int backup, struct failure *failure) {
    if (lseek(backup, 0, SEEK_SET) == 0)
        return 0;
    return failure_set(failure, ERROR_INVALID_ARGUMENT,
                       "The backup can't be read twice (%s): it has to be a file.",
                       strerror(errno));
}

/* Every byte of it, before anything is written. */
static int check_backup(int backup, struct reading *reading, struct failure *failure) {
    struct backup_summary summary;
    int r = rewind_backup(backup, failure);

    if (r == 0)
        r = backup_check(backup, tell, reading, &summary, failure);
    if (r != 0)
        return r;
    reading->before = reading->size;
    if (summary.header.snapshot.index >= CODEC_NUMBER_LIMIT / 2 ||
        summary.header.snapshot.term >= CODEC_NUMBER_LIMIT / 2)
        r = failure_set(failure, ERROR_INVALID_ARGUMENT,
                        "The backup says that it is of an entry that can't be.");
    backup_summary_deinit(&summary);
    return r;
}

static int fill(int backup, struct reading *reading, struct directory *directory,
                const struct identity *identity, struct backup_summary *ret,
                struct failure *failure) {
    struct backup_summary summary;
    int r = rewind_backup(backup, failure);

    if (r == 0)
        r = backup_restore(backup, directory->state_path, tell, reading, &summary, failure);
    if (r != 0)
        return r;
    r = offline_make_sole_voter(directory, identity, summary.header.snapshot.term + 1, failure);
    if (r == 0)
        r = directory_finish(directory);
    if (r < 0)
        r = offline_unwritten(directory->path, r, failure);
    if (r == 0)
        *ret = summary;
    else
        backup_summary_deinit(&summary);
    return r;
}

int offline_restore(int backup, const char *path, const struct identity *identity,
                    offline_progress progress, void *data, struct backup_summary *ret,
                    struct failure *failure) {
    struct reading reading = reading_begin(backup, progress, data);
    struct directory directory;
    int r = directory_check_restorable(path, failure);

    if (r == 0)
        r = check_backup(backup, &reading, failure);
    if (r == 0)
        r = directory_begin_restore(&directory, path, identity->name, identity->member_id,
                                    identity->cluster_id, failure);
    if (r != 0)
        return r;
    r = fill(backup, &reading, &directory, identity, ret, failure);
    if (r != 0)
        (void)directory_undo_restore(&directory);
    directory_deinit(&directory);
    return r;
}
