/* Opening the log: which files there are, the scan, where the log ends, and what is done there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/defect.h"
#include "base/limits.h"
#include "store/log_files.h"
#include "store/log_internal.h"
#include "store/sync.h"

enum {
    FILE_SIZE_DEFAULT = 8 * 1024 * 1024,
    FILE_SIZE_MIN = 16 * 1024,
    FILE_SIZE_MAX = 1024 * 1024 * 1024,
    BUFFER_SIZE_MAX = 1024 * 1024,
};

/* What is known of the log on disk while it is opened. */
struct opening {
    const struct log_store_options *options;
    struct log_files files;
    struct log_floor floor;
    struct log_scan scan;
    struct log_rest rest; /* behind the end ... */
    struct position cut;  /* ... from here on */
};

static void keep_message(const DB_ENV *environment, const char *prefix, const char *message) {
    struct log_store *log = environment->app_private;
    size_t length = strlen(log->message);

    (void)prefix;
    snprintf(log->message + length, sizeof log->message - length, "%s%s", length ? "; " : "",
             message);
}

static int refused(const struct log_store *log, const char *what, int error,
                   struct failure *failure) {
    return failure_set(failure, ERROR_INTERNAL, "%s: %s (%s).", log->directory, what,
                       strerror(-error));
}

/* What reading the floor returned, and whether it fits the files that there are. */
static int judge_floor(struct log_store *log, struct opening *opening, int r,
                       struct failure *failure) {
    const struct log_files *files = &opening->files;

    if (r == -ENOENT && files->begun == 0) {
        opening->floor = (struct log_floor){.member_id = log->member_id, .first = 1};
        return 0;
    }
    if (r == -ENOENT)
        return log_damaged(failure, log->directory, 0, "the file floor is missing");
    if (r == -EBADMSG)
        return log_damaged(failure, log->directory, 0, "the file floor is damaged");
    if (r < 0)
        return refused(log, "the file floor can't be read", r, failure);
    if (opening->floor.member_id != log->member_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s: the log of member %016" PRIx64
                           ", but this is the directory of member %016" PRIx64 ".",
                           log->directory, opening->floor.member_id, log->member_id);
    if (opening->floor.file > files->last)
        return log_damaged(failure, log->directory, opening->floor.file, "is missing");
    if (opening->floor.file > files->begun)
        return log_damaged(failure, log->directory, opening->floor.file, "reads as zeros");
    if (opening->floor.first < files->first)
        return log_damaged(failure, log->directory, opening->floor.first, "is missing");
    return 0;
}

static int judge_emptiness(const struct log_store *log, const struct opening *opening,
                           struct failure *failure) {
    if (opening->files.last > 1)
        return log_damaged(failure, log->directory, 1, "is missing or reads as zeros");
    if (opening->options->applied_index > 0 && !opening->options->installed)
        return log_damaged(failure, log->directory, 0,
                           "the log is empty, but entry %" PRIu64 " was applied already",
                           opening->options->applied_index);
    return 0;
}

/* A log without any record yet: its first file and its floor. */
static int create(struct log_store *log, const struct opening *opening, struct failure *failure) {
    int r = judge_emptiness(log, opening, failure);

    if (r != 0)
        return r;
    r = log_file_prepare(log->directory, 1, log->file_size);
    if (r == 0)
        r = log_write_floor(log, 0, 1);
    if (r < 0)
        return refused(log, "the log can't be created", r, failure);
    log->prepared_file = 1;
    return 0;
}

static int open_environment(struct log_store *log, struct failure *failure) {
    DB_ENV *environment;
    int error = db_env_create(&environment, 0);

    if (error != 0)
        return refused(log, "the log can't be opened", log_library_error(error), failure);
    log->environment = environment;
    environment->app_private = log;
    environment->set_errcall(environment, keep_message);
    error = environment->set_lg_bsize(environment, log->buffer_size);
    if (error == 0)
        error = environment->set_lg_max(environment, log->file_size);
    if (error == 0)
        error = environment->set_lg_filemode(environment, 0600);
    if (error == 0)
        error = environment->open(environment, log->directory,
                                  DB_CREATE | DB_INIT_LOG | DB_PRIVATE | DB_THREAD, 0600);
    if (error == 0 && !log->message[0])
        return 0;
    /* EINVAL and the library's own errors are about what it read. So is a message without an error:
     * what it can't read it takes for the end of the log. */
    if (error > 0 && error != EINVAL && error != EIO)
        return refused(log, "the log can't be opened", log_library_error(error), failure);
    return log_damaged(failure, log->directory, 0, "%s",
                       log->message[0] ? log->message : db_strerror(error));
}

/* Where the next record goes: behind the last one, or to the beginning of a file that the library
 * had begun when the process ended. */
static int find_end(struct log_store *log, const struct opening *opening, struct failure *failure) {
    const struct log_files *files = &opening->files;
    const struct log_scan *scan = &opening->scan;
    struct position behind = {scan->last.file, scan->last.offset + scan->last_size};
    struct log_rest rest;
    int r;

    if (scan->any && scan->last.file == files->begun) {
        log->end = behind;
        return 0;
    }
    log->end = (struct position){files->begun, FIRST_OFFSET};
    if (!scan->any && files->begun == files->first)
        return 0;
    if (!scan->any || scan->last.file + 1 != files->begun)
        return log_damaged(failure, log->directory, scan->any ? behind.file + 1 : files->first,
                           "holds no record that can be read");
    r = log_file_search(log->directory, behind, &rest);
    if (r < 0)
        return refused(log, "a file of the log can't be read", r, failure);
    if (rest.nonzero)
        return log_damaged(failure, log->directory, behind.file,
                           "the record at offset %" PRIu32 " is damaged", behind.offset);
    return 0;
}

/*
 * A torn record was never acknowledged, a damaged one may have been. What tells them apart is a
 * whole record behind it: it says up to which record all were durable when it was written.
 */
static int judge_rest(const struct log_store *log, struct position from,
                      const struct opening *opening, struct log_rest *ret,
                      struct failure *failure) {
    struct log_rest rest;
    int r = log_file_search(log->directory, from, &rest);

    if (r < 0)
        return refused(log, "a file of the log can't be read", r, failure);
    if (rest.found && rest.record.member_id != log->member_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/log.%010" PRIu32 ": written by member %016" PRIx64
                           ", but this is the directory of member %016" PRIx64 ".",
                           log->directory, from.file, rest.record.member_id, log->member_id);
    if (rest.found && rest.record.durable > opening->scan.sequence)
        return log_damaged(failure, log->directory, log->end.file,
                           "the record at offset %" PRIu32
                           " is damaged; it had been durable, says the one at %" PRIu32 "/%" PRIu32,
                           log->end.offset, rest.position.file, rest.position.offset);
    *ret = rest;
    return 0;
}

static int judge_end(const struct log_store *log, struct opening *opening,
                     struct failure *failure) {
    const struct log_files *files = &opening->files;
    int r = judge_rest(log, log->end, opening, &opening->rest, failure);

    opening->cut = log->end;
    /* A file without its header, but with records: the flush that began it is torn. Had it been
     * durable, the floor would say so. */
    for (uint32_t file = files->begun + 1; r == 0 && file <= files->last; file++) {
        struct position beginning = {file, 0};
        struct log_rest rest;

        r = judge_rest(log, beginning, opening, &rest, failure);
        if (r != 0 || !rest.nonzero || opening->rest.nonzero)
            continue;
        opening->rest = rest;
        opening->cut = beginning;
    }
    if (r == 0 && opening->floor.sequence > opening->scan.sequence)
        r = log_damaged(failure, log->directory, log->end.file,
                        "ends at offset %" PRIu32 " with record %" PRIu64
                        ", but the log had come to record %" PRIu64 " at least",
                        log->end.offset, opening->scan.sequence, opening->floor.sequence);
    return r;
}

/* Whether the log begins and ends where the mark and the state need it. */
static int judge_range(const struct log_store *log, const struct opening *opening,
                       struct failure *failure) {
    const struct log_store_options *options = opening->options;
    const struct log_content *content = &log->content;

    if (content->index.first_index > content->mark.index + 1)
        return log_damaged(failure, log->directory, opening->files.first,
                           "begins with entry %" PRIu64 ", but the mark is at entry %" PRIu64,
                           content->index.first_index, content->mark.index);
    if (content->index.last_index < options->applied_index && !options->installed)
        return log_damaged(failure, log->directory, log->end.file,
                           "ends with entry %" PRIu64 ", but entry %" PRIu64 " was applied already",
                           content->index.last_index, options->applied_index);
    if (content->mark.index > options->applied_index)
        return log_damaged(failure, log->directory, 0,
                           "the state ends with entry %" PRIu64
                           ", but the log needs no entry up to %" PRIu64
                           " any more: the state is an old copy",
                           options->applied_index, content->mark.index);
    if (opening->scan.any && opening->scan.run >= options->incarnation)
        return log_damaged(failure, log->directory, log->end.file,
                           "holds records of run %" PRIu64 ", but this is run %" PRIu64
                           ": the file identity is an old copy",
                           opening->scan.run, options->incarnation);
    return 0;
}

/*
 * Makes durable what the scan found, and removes what a drop has left. The last flush is written
 * again first: if its sync failed in the process before, the kernel holds those pages as clean, and
 * a sync alone would not write them.
 */
static int settle(struct log_store *log, const struct opening *opening, struct failure *failure) {
    const struct log_scan *scan = &opening->scan;
    uint32_t from = scan->any && scan->last.file == log->end.file ? scan->flush_position.offset
                                                                  : log->end.offset;
    int r = DEFECT(TORN_TAIL_ACCEPTED)
                ? 0
                : log_file_clean(log->directory, log->end.file, from, log->end.offset);

    if (r == 0 && opening->cut.file > log->end.file)
        r = log_file_clean(log->directory, opening->cut.file, 0, 0);
    if (r < 0)
        return refused(log, "the end of the log can't be cleaned", r, failure);
    log->sequence = log->put_sequence = log->durable_sequence = scan->sequence;
    log->put_file = scan->last.file;
    log->floor_file = opening->floor.file;
    log->first_file = opening->floor.first;
    r = log_write_floor(log, opening->files.begun, opening->floor.first);
    if (r < 0 && r != -ENOSPC)
        return refused(log, "the file floor can't be written", r, failure);
    r = log_files_remove(log->directory, log->first_file);
    return r < 0 ? refused(log, "old files of the log can't be removed", r, failure) : 0;
}

/* Whether the state came from a snapshot after which the log was not reset. A log that has the
 * snapshot's last entry agrees with it, and so does what follows (dissertation, section 3.5). */
static bool needs_reset(const struct log_store *log, const struct opening *opening) {
    const struct log_store_options *options = opening->options;
    const struct log_index *index = &log->content.index;
    uint64_t applied = options->applied_index;

    if (!options->installed || applied <= log->content.mark.index || DEFECT(LOG_NOT_RESET))
        return false;
    if (applied < index->first_index || applied > index->last_index)
        return true;
    return opening->scan.entries[applied - index->first_index].term != options->applied_term;
}

static int reset(struct log_store *log, struct opening *opening, struct failure *failure) {
    const struct log_store_options *options = opening->options;
    struct log_mark mark = {
        .index = options->applied_index,
        .term = options->applied_term,
        .configuration_index = options->configuration_index,
        .configuration = (uint8_t *)(uintptr_t)options->configuration,
        .configuration_size = options->configuration_size,
    };
    int r;

    if (!needs_reset(log, opening))
        return 0;
    log_scan_deinit(&opening->scan, &log->content.index);
    r = log_store_reset(log, &mark);
    if (r == 0)
        r = log_store_flush(log);
    return r < 0 ? refused(log, "the log can't be reset", r, failure) : 0;
}

static void describe_cut(const struct opening *opening, struct log_recovery *recovery) {
    if (!opening->rest.nonzero)
        return;
    recovery->cut_file = opening->cut.file;
    recovery->cut_offset = opening->cut.offset;
    snprintf(recovery->cut_message, sizeof recovery->cut_message,
             "The log was cut at %" PRIu32 "/%" PRIu32 " (%" PRIu32
             " bytes): its last flush is torn or damaged there. If this node is the only voter, "
             "the writes that it acknowledged last may be gone.",
             opening->cut.file, opening->cut.offset,
             opening->rest.nonzero_end - opening->cut.offset);
}

/* Changes nothing. */
static int judge(struct log_store *log, struct opening *opening, struct failure *failure) {
    int r = log_scan_all(log, &opening->files, &opening->scan, failure);

    if (r == 0)
        r = find_end(log, opening, failure);
    if (r == 0)
        r = judge_end(log, opening, failure);
    if (r == 0)
        r = judge_range(log, opening, failure);
    return r;
}

/* Whether they can be read. */
static int read_files(const struct log_store *log, const struct log_files *files,
                      struct failure *failure) {
    for (uint32_t file = files->first; files->begun && file <= files->last; file++) {
        _cleanup_free_ char *path = log_file_path(log->directory, file);
        int r = store_read_through(path);

        if (r < 0)
            return refused(log, "a file of the log can't be read", r, failure);
    }
    return 0;
}

/* Which files there are, and whether those that have to be are. */
static int find_files(struct log_store *log, struct opening *opening, struct failure *failure) {
    int floor_result = log_floor_read(log->directory, &opening->floor);
    int r = log_files_list(log->directory, opening->floor.first, &opening->files, failure);

    if (r == 0)
        r = judge_floor(log, opening, floor_result, failure);
    return r == 0 ? read_files(log, &opening->files, failure) : r;
}

static int open_log(struct log_store *log, struct opening *opening, struct failure *failure) {
    struct log_files *files = &opening->files;
    int r = find_files(log, opening, failure);

    if (r == 0 && files->begun == 0)
        r = create(log, opening, failure);
    if (r == 0)
        r = open_environment(log, failure);
    if (r == 0 && files->begun > 0)
        r = judge(log, opening, failure);
    if (r == 0 && files->begun > 0)
        r = settle(log, opening, failure);
    if (r != 0)
        return r;
    log->current_file_size = files->begun ? files->file_size : log->file_size;
    if (files->begun > 0)
        log->prepared_file = files->begun;
    return reset(log, opening, failure);
}

/* Hands over the entries that the scan found; after a reset there are none. */
static void fill_recovery(struct log_store *log, struct opening *opening,
                          struct log_recovery *recovery) {
    const struct log_content *content = &log->content;

    describe_cut(opening, recovery);
    recovery->term = content->term;
    recovery->vote = content->vote;
    recovery->mark = content->mark;
    recovery->mark.configuration =
        xmemdup(content->mark.configuration, content->mark.configuration_size);
    recovery->first_index = content->index.first_index;
    recovery->last_index = content->index.last_index;
    recovery->entries = TAKE(opening->scan.entries);
}

static struct log_store *new_log(const struct log_store_options *options) {
    struct log_store *log = xcalloc(1, sizeof *log);

    check(options->member_id != 0 && options->incarnation != 0);
    store_sync_init();
    log->directory = xstrdup(options->directory);
    log->member_id = options->member_id;
    log->run = options->incarnation;
    log->file_size = options->file_size ? options->file_size : FILE_SIZE_DEFAULT;
    check(log->file_size >= FILE_SIZE_MIN && log->file_size <= FILE_SIZE_MAX);
    log->buffer_size = log->file_size / 4 < BUFFER_SIZE_MAX ? log->file_size / 4 : BUFFER_SIZE_MAX;
    log->batch_size = options->batch_size ? options->batch_size : log->buffer_size / 2;
    log->pending_end = &log->pending;
    log->end = (struct position){1, FIRST_OFFSET};
    log_index_reset(&log->content.index, 1);
    return log;
}

int log_store_open(struct log_store **ret, const struct log_store_options *options,
                   struct log_recovery *ret_recovery, struct failure *failure) {
    struct opening opening = {.options = options};
    struct log_recovery recovery = {0};
    struct log_store *log = new_log(options);
    int r = open_log(log, &opening, failure);

    if (r == 0) {
        fill_recovery(log, &opening, &recovery);
        *ret_recovery = recovery;
        *ret = TAKE(log);
    }
    if (log)
        log_scan_deinit(&opening.scan, &log->content.index);
    log_store_close(log);
    return r;
}

static int verify_log(struct log_store *log, struct opening *opening, struct failure *failure) {
    int r = find_files(log, opening, failure);

    if (r != 0)
        return r;
    if (opening->files.begun == 0)
        return judge_emptiness(log, opening, failure);
    r = open_environment(log, failure);
    return r == 0 ? judge(log, opening, failure) : r;
}

int log_store_verify(const struct log_store_options *options, struct log_verification *ret,
                     struct failure *failure) {
    struct opening opening = {.options = options};
    struct log_verification verification = {0};
    struct log_store *log = new_log(options);
    int r = verify_log(log, &opening, failure);

    if (r == 0) {
        verification.records = opening.scan.records;
        verification.resets = needs_reset(log, &opening);
        (void)log_files_measure(log->directory, &verification.bytes, &verification.files);
        fill_recovery(log, &opening, &verification.recovery);
        *ret = verification;
    }
    log_scan_deinit(&opening.scan, &log->content.index);
    log_store_close(log);
    return r;
}

void log_recovery_deinit(struct log_recovery *recovery) {
    for (uint64_t i = 0; recovery->entries && i + recovery->first_index <= recovery->last_index;
         i++)
        free((void *)(uintptr_t)recovery->entries[i].data);
    free(recovery->entries);
    free(recovery->mark.configuration);
    *recovery = (struct log_recovery){0};
}
