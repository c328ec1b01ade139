/* From a backup to a state: a stage takes the chunks, and becomes the current one. */
#include <errno.h>
#include <string.h>

#include "format/backup_read.h"
#include "store/backup.h"
#include "store/stage_internal.h"
#include "store/state_internal.h"

struct restore {
    const char *directory;
    struct stage *stage;
};

static int begin(void *data, const struct backup_header *header, struct failure *failure) {
    struct restore *restore = data;
    int r = stage_open(&restore->stage, restore->directory, &header->snapshot);

    if (r != 0)
        failure_set(failure, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                    "Can't create the state in %s: %s.", restore->directory, strerror(-r));
    return r;
}

static int take(void *data, const uint8_t *chunk, size_t size, struct failure *failure) {
    struct restore *restore = data;

    return stage_put_chunk(restore->stage, chunk, size, failure);
}

static int finish(struct restore *restore, struct failure *failure) {
    bool done;
    int r = stage_finish(restore->stage, failure);

    if (r != 0)
        return r;
    r = stage_make_current(restore->stage, &done);
    if (r != 0)
        failure_set(failure, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                    "Can't write the state in %s: %s.", restore->directory, strerror(-r));
    return r;
}

static int check_empty(const char *directory, struct failure *failure) {
    int r = state_is_empty_directory(directory);

    if (r < 0)
        failure_set(failure, ERROR_INTERNAL, "Can't read the directory %s: %s.", directory,
                    strerror(-r));
    if (r == 0)
        return failure_set(failure, ERROR_ALREADY_EXISTS,
                           "%s holds something already: a backup is restored into an empty "
                           "directory only.",
                           directory);
    return r < 0 ? r : 0;
}

int backup_restore(int fd, const char *directory, backup_progress progress, void *data,
                   struct backup_summary *ret, struct failure *failure) {
    struct restore restore = {.directory = directory};
    struct backup_visitor visitor = {begin, take, &restore};
    struct backup_summary summary;
    int r;

    r = check_empty(directory, failure);
    if (r != 0)
        return r;
    r = backup_read(fd, &visitor, progress, data, &summary, failure);
    if (r == 0) {
        r = finish(&restore, failure);
        if (r == 0)
            *ret = summary;
        else
            backup_summary_deinit(&summary);
    }
    stage_discard(restore.stage);
    return r;
}
