/* What may go from the log, and what does: marks, resets, and the oldest files. */
#include <errno.h>

#include "base/check.h"
#include "base/limits.h"
#include "store/log_files.h"
#include "store/log_internal.h"

void log_content_set_mark(struct log_content *content, const struct log_mark *mark) {
    free(content->mark.configuration);
    content->mark = *mark;
    content->mark.configuration =
        mark->configuration_size ? xmemdup(mark->configuration, mark->configuration_size) : NULL;
}

static uint64_t durable_mark(const struct log_store *log) {
    return log->mark_sequence <= log->durable_sequence ? log->content.mark.index : log->former_mark;
}

static int put_mark(struct log_store *log, enum record_kind kind, const struct log_mark *mark) {
    uint64_t former_mark = durable_mark(log);
    int r;

    check(mark->index > log->content.mark.index);
    /* A record may have to restate this mark in front of the next one. */
    if (mark->configuration_size > CONFIGURATION_SIZE_MAX ||
        2 * restatement_size(mark) > log_content_size_max(log))
        return -EMSGSIZE;
    r = log_put_mark(log, kind, mark);
    if (r < 0 && r != -ENOSPC)
        return r;
    log->former_mark = former_mark;
    log->mark_sequence = log->sequence;
    log_content_set_mark(&log->content, mark);
    return r;
}

int log_store_set_mark(struct log_store *log, const struct log_mark *mark) {
    check(mark->index <= log->content.index.last_index);
    if (mark->index == log->content.mark.index)
        return log->pending ? -ENOSPC : 0;
    return put_mark(log, RECORD_MARK, mark);
}

int log_store_reset(struct log_store *log, const struct log_mark *mark) {
    int r = put_mark(log, RECORD_RESET, mark);

    if (r == 0 || r == -ENOSPC)
        log_index_reset(&log->content.index, mark->index + 1);
    return r;
}

/* The last file whose first record is durable, and known to the floor. */
static uint32_t last_durable_file(const struct log_store *log) {
    /* Before the first record of a file is put, all those before are flushed. */
    uint32_t file = log->durable_sequence == log->put_sequence ? log->put_file : log->put_file - 1;

    return file < log->floor_file ? file : log->floor_file;
}

/*
 * A file can become the first one when the last index that it restates is below keep_from: however
 * much of the log behind its first record a crash leaves, a scan from there on finds no first index
 * above keep_from, and a mark that reaches it. Entries that were cut off later change nothing: that
 * they are gone may not be durable.
 *
 * The floor goes first. Once it names the new first file, those before it count for nothing: a
 * start removes what a crash has left of them, and also what somebody puts back.
 */
int log_store_drop(struct log_store *log, uint64_t keep_from, uint64_t *ret_first_index) {
    struct log_index *index = &log->content.index;
    uint64_t mark = durable_mark(log);
    uint32_t first;
    int r;

    if (log->failed != 0)
        return log->failed;
    if (keep_from > mark + 1)
        keep_from = mark + 1;
    first = mark > 0 ? log_index_first_file_for(index, keep_from, last_durable_file(log)) : 0;
    if (first > log->first_file) {
        r = log_write_floor(log, log->floor_file, first);
        if (r < 0)
            return log_keep_failure(log, r);
        /* It may hold an old file open, whose space would not come back. */
        if (log->cursor)
            log->cursor->close(log->cursor, 0);
        log->cursor = NULL;
        log_index_cut(index, first);
        r = log_files_remove(log->directory, first);
        if (r < 0)
            return log_keep_failure(log, r);
    }
    if (ret_first_index)
        *ret_first_index = index->first_index;
    return 0;
}
