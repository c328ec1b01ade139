#include "store/log.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "store/log_files.h"
#include "store/log_internal.h"

int log_library_error(int error) {
    if (error == EDQUOT)
        return -ENOSPC;
    return error > 0 ? -error : -EIO;
}

int log_keep_failure(struct log_store *log, int r) {
    if (r < 0 && r != -ENOSPC)
        log->failed = r;
    return r;
}

/* Where a record with that content goes. */
static struct position place(const struct log_store *log, size_t content_size, bool *ret_first) {
    size_t size = LIBRARY_RECORD_HEADER_SIZE + RECORD_HEADER_SIZE + content_size;
    struct position position = log->end;

    if (position.offset != FIRST_OFFSET && position.offset + size > log->current_file_size) {
        position.file++;
        position.offset = FIRST_OFFSET;
    }
    *ret_first = position.offset == FIRST_OFFSET;
    return position;
}

size_t log_content_size_max(const struct log_store *log) {
    size_t overhead = FIRST_OFFSET + LIBRARY_RECORD_HEADER_SIZE + RECORD_HEADER_SIZE +
                      restatement_size(&log->content.mark);
    uint32_t size = log->file_size;

    /* The file that was there at the start may be of another size. */
    if (log->end.offset == FIRST_OFFSET && log->current_file_size < size)
        size = log->current_file_size;
    if (size > LOG_RECORD_SIZE_MAX)
        size = LOG_RECORD_SIZE_MAX;
    return overhead < size ? size - overhead : 0;
}

static int flush_library(struct log_store *log) {
    int error;

    if (log->durable_sequence == log->put_sequence)
        return 0;
    log->message[0] = '\0';
    error = log->environment->log_flush(log->environment, NULL);
    if (error != 0)
        return log_library_error(error);
    log->durable_sequence = log->put_sequence;
    log->flushes++;
    return 0;
}

/*
 * Hands one record to the library. Two cases begin with a flush. The first record of a file, so
 * that all records before it are durable, as it says. And a record above the size of the library's
 * buffer: when its second write fails, the library resets its buffer to what it was, and that goes
 * wrong when the first write had begun with records put before.
 */
static int put(struct log_store *log, const uint8_t *data, size_t size, struct position position,
               bool first) {
    bool large = size + 2 * LIBRARY_RECORD_HEADER_SIZE > log->buffer_size;
    DBT record = {.data = (void *)(uintptr_t)data, .size = (uint32_t)size};
    DB_LSN lsn;
    int error, r = log->failed;

    if (r == 0 && (first || large))
        r = flush_library(log);
    if (r == 0 && position.file > log->prepared_file) {
        r = log_file_prepare(log->directory, position.file, log->file_size);
        if (r == 0)
            log->prepared_file = position.file;
    }
    if (r < 0)
        return log_keep_failure(log, r == -EDQUOT ? -ENOSPC : r);
    log->message[0] = '\0';
    error = log->environment->log_put(log->environment, &lsn, &record, 0);
    if (error != 0)
        return log_keep_failure(log, log_library_error(error));
    check(lsn.file == position.file && lsn.offset == position.offset);
    log->put_sequence++;
    log->put_file = position.file;
    return 0;
}

static void keep_for_flush(struct log_store *log, struct position position, bool first) {
    struct log_pending *pending = xmalloc(sizeof *pending + log->scratch.size);

    *pending = (struct log_pending){
        .position = position,
        .first = first,
        .sequence = log->sequence,
        .size = log->scratch.size,
    };
    memcpy(pending->data, log->scratch.data, log->scratch.size);
    *log->pending_end = pending;
    log->pending_end = &pending->next;
}

static int put_pending(struct log_store *log) {
    while (log->pending) {
        struct log_pending *pending = log->pending;
        int r = put(log, pending->data, pending->size, pending->position, pending->first);

        if (r < 0)
            return r;
        log->pending = pending->next;
        if (!log->pending)
            log->pending_end = &log->pending;
        free(pending);
    }
    return 0;
}

/* Begins a record in log->scratch; its content follows. */
static struct position begin_record(struct log_store *log, size_t content_size, bool *ret_first) {
    const struct log_content *content = &log->content;
    struct position position = place(log, content_size, ret_first);

    record_begin(&log->scratch);
    if (*ret_first)
        record_add_restatement(&log->scratch, &(struct restatement){
                                                  .file = position.file,
                                                  .term = content->term,
                                                  .vote = content->vote,
                                                  .last_index = content->index.last_index,
                                                  .mark = content->mark,
                                              });
    return position;
}

/* Ends it and puts it. -ENOSPC: it is kept and goes out with the next flush. */
static int end_record(struct log_store *log, enum record_kind kind, struct position position,
                      bool first) {
    struct record record = {
        .kind = kind,
        .first = first,
        .member_id = log->member_id,
        .run = log->run,
        .sequence = ++log->sequence,
        /* put() flushes before the first record of a file. */
        .durable = first ? log->sequence - 1 : log->durable_sequence,
    };
    int r;

    record_finish(&log->scratch, &record, position);
    if (position.file != log->end.file)
        log->current_file_size = log->file_size;
    log->end.file = position.file;
    log->end.offset = position.offset + LIBRARY_RECORD_HEADER_SIZE + (uint32_t)log->scratch.size;
    if (first)
        log_index_begin_file(&log->content.index, position.file);
    r = log->pending ? -ENOSPC : put(log, log->scratch.data, log->scratch.size, position, first);
    if (r == -ENOSPC)
        keep_for_flush(log, position, first);
    if (log->scratch.capacity > LOG_MEMORY_KEPT_MAX)
        buffer_deinit(&log->scratch);
    return r;
}

/* How many of the entries go into one record, and the size of its content: at least one entry. */
static uint32_t choose_batch(const struct log_store *log, const struct log_entry *entries,
                             size_t count, size_t *ret_size) {
    size_t size = RECORD_BATCH_HEADER_SIZE + RECORD_ENTRY_HEADER_SIZE + entries[0].size;
    uint32_t n = 1;

    while (n < count) {
        size_t more = RECORD_ENTRY_HEADER_SIZE + entries[n].size;

        if (size + more > log->batch_size)
            break;
        size += more;
        n++;
    }
    *ret_size = size;
    return n;
}

int log_store_append(struct log_store *log, uint64_t first_index, const struct log_entry *entries,
                     size_t count) {
    size_t size_max = log_content_size_max(log);
    int result = 0;

    check(first_index > log->content.mark.index);
    check(first_index <= log->content.index.last_index + 1);
    for (size_t i = 0; i < count; i++)
        if (entries[i].size > ENTRY_SIZE_MAX ||
            RECORD_BATCH_HEADER_SIZE + RECORD_ENTRY_HEADER_SIZE + entries[i].size > size_max)
            return -EMSGSIZE;
    while (count > 0) {
        size_t size;
        uint32_t n = choose_batch(log, entries, count, &size);
        bool first;
        struct position position = begin_record(log, size, &first);
        int r;

        record_add_batch(&log->scratch, first_index, entries, n);
        r = end_record(log, RECORD_BATCH, position, first);
        if (r < 0 && r != -ENOSPC)
            return r;
        log_index_add(&log->content.index, first_index, n, position);
        result = r;
        first_index += n;
        entries += n;
        count -= n;
    }
    return result;
}

int log_store_set_vote(struct log_store *log, uint64_t term, uint64_t vote) {
    bool first;
    struct position position = begin_record(log, RECORD_VOTE_SIZE, &first);
    int r;

    record_add_vote(&log->scratch, term, vote);
    r = end_record(log, RECORD_VOTE, position, first);
    log->content.term = term;
    log->content.vote = vote;
    return r;
}

int log_put_mark(struct log_store *log, enum record_kind kind, const struct log_mark *mark) {
    bool first;
    struct position position = begin_record(log, mark_size(mark), &first);

    record_add_mark(&log->scratch, mark);
    return end_record(log, kind, position, first);
}

int log_write_floor(struct log_store *log, uint32_t file, uint32_t first_file) {
    struct log_floor floor = {
        .member_id = log->member_id,
        .first = first_file,
        .file = file,
        .sequence = log->durable_sequence,
    };
    int r = log_floor_write(log->directory, &floor);

    if (r < 0)
        return r == -EDQUOT ? -ENOSPC : r;
    log->floor_file = file;
    log->first_file = first_file;
    return 0;
}

int log_store_flush(struct log_store *log) {
    int r = log->failed;

    if (r == 0)
        r = put_pending(log);
    if (r == 0)
        r = flush_library(log);
    /* What is flushed into a new file counts as durable once the floor says that the file was
     * begun. */
    if (r == 0 && log->put_file > log->floor_file)
        r = log_write_floor(log, log->put_file, log->first_file);
    return log_keep_failure(log, r);
}

struct log_store *log_store_close(struct log_store *log) {
    if (!log)
        return NULL;
    if (log->cursor)
        log->cursor->close(log->cursor, 0);
    if (log->environment)
        log->environment->close(log->environment, 0);
    /* The old floor would do as well: what is said here only makes the next start notice more. */
    if (log->durable_sequence > 0 && log->put_file == log->floor_file)
        (void)log_write_floor(log, log->put_file, log->first_file);
    while (log->pending) {
        struct log_pending *pending = log->pending;

        log->pending = pending->next;
        free(pending);
    }
    log_index_deinit(&log->content.index);
    free(log->content.mark.configuration);
    buffer_deinit(&log->scratch);
    free(log->directory);
    free(log);
    return NULL;
}

uint64_t log_store_first_index(const struct log_store *log) {
    return log->content.index.first_index;
}

uint64_t log_store_last_index(const struct log_store *log) {
    return log->content.index.last_index;
}

void log_store_get_stats(struct log_store *log, struct log_store_stats *ret) {
    const struct log_index *index = &log->content.index;

    *ret = (struct log_store_stats){
        .entries = index->last_index - index->first_index + 1,
        .flushes = log->flushes,
    };
    (void)log_files_measure(log->directory, &ret->bytes, &ret->files);
}
