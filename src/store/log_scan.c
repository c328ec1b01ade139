/* The scan at start. The rules are in ARCHITECTURE.md, "Damage". */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/log_files.h"
#include "store/log_internal.h"

static void free_entries(struct log_scan *scan, const struct log_index *index, uint64_t from) {
    for (uint64_t i = from; scan->entries && i <= index->last_index; i++)
        free((void *)(uintptr_t)scan->entries[i - index->first_index].data);
}

void log_scan_deinit(struct log_scan *scan, const struct log_index *index) {
    free_entries(scan, index, index->first_index);
    free(scan->entries);
    *scan = (struct log_scan){0};
}

static void reserve_entries(struct log_scan *scan, size_t count) {
    if (count <= scan->capacity)
        return;
    while (scan->capacity < count)
        scan->capacity = scan->capacity ? scan->capacity * 2 : 1024;
    scan->entries = xrealloc(scan->entries, scan->capacity * sizeof *scan->entries);
}

static int scan_batch(struct log_content *content, struct log_scan *scan, struct reader *reader,
                      struct position position) {
    struct log_index *index = &content->index;
    uint64_t first_index;
    uint32_t count;
    int r = record_read_batch(reader, &first_index, &count);

    if (r < 0)
        return r;
    if (first_index <= content->mark.index || first_index > index->last_index + 1 ||
        count > reader->size / RECORD_ENTRY_HEADER_SIZE)
        return -EBADMSG;
    free_entries(scan, index, first_index > index->first_index ? first_index : index->first_index);
    log_index_add(index, first_index, count, position);
    reserve_entries(scan, index->last_index - index->first_index + 1);
    for (uint64_t i = first_index; i <= index->last_index; i++) {
        struct log_entry entry = {0};

        if (r == 0)
            r = record_read_entry(reader, &entry);
        entry.data = r == 0 && entry.type == ENTRY_CHANGE ? xmemdup(entry.data, entry.size) : NULL;
        scan->entries[i - index->first_index] = entry;
    }
    return r;
}

static int scan_mark(struct log_content *content, struct log_scan *scan,
                     const struct record *record, struct reader *reader) {
    struct log_index *index = &content->index;
    struct log_mark mark;
    int r = record_read_mark(reader, &mark);

    if (r < 0)
        return r;
    if (mark.index <= content->mark.index || mark.index == UINT64_MAX)
        return -EBADMSG;
    if (record->kind == RECORD_MARK && mark.index > index->last_index)
        return -EBADMSG;
    log_content_set_mark(content, &mark);
    if (record->kind == RECORD_RESET) {
        free_entries(scan, index, index->first_index);
        log_index_reset(index, mark.index + 1);
    }
    return 0;
}

/* In the first file that is left this is where the log begins; in later ones it says nothing new.
 */
static int scan_restatement(struct log_content *content, const struct log_scan *scan,
                            struct reader *reader, struct position position) {
    struct log_index *index = &content->index;
    struct restatement restatement;
    int r = record_read_restatement(reader, &restatement);

    if (r < 0)
        return r;
    if (restatement.file != position.file || restatement.last_index == UINT64_MAX)
        return -EBADMSG;
    if (scan->any && restatement.last_index != index->last_index)
        return -EBADMSG;
    if (!scan->any) {
        content->term = restatement.term;
        content->vote = restatement.vote;
        log_content_set_mark(content, &restatement.mark);
        log_index_reset(index, restatement.last_index + 1);
    }
    log_index_begin_file(index, position.file);
    return 0;
}

static int scan_content(struct log_content *content, struct log_scan *scan,
                        const struct record *record, struct position position) {
    struct reader reader = {record->content, record->content_size};
    int r = 0;

    if (record->first != (position.offset == FIRST_OFFSET))
        return -EBADMSG;
    if (record->first)
        r = scan_restatement(content, scan, &reader, position);
    if (r < 0)
        return r;
    switch (record->kind) {
    case RECORD_BATCH:
        r = scan_batch(content, scan, &reader, position);
        break;
    case RECORD_VOTE:
        r = record_read_vote(&reader, &content->term, &content->vote);
        break;
    case RECORD_MARK:
    case RECORD_RESET:
        r = scan_mark(content, scan, record, &reader);
        break;
    default:
        r = -EBADMSG;
    }
    return r == 0 && reader.size > 0 ? -EBADMSG : r;
}

/* Takes in one record that the library found whole. */
static int scan_record(struct log_store *log, struct log_scan *scan, const DBT *data,
                       struct position position, struct failure *failure) {
    struct record record;
    int r = record_parse(data->data, data->size, position, &record);

    if (r == -EPROTONOSUPPORT)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/log.%010" PRIu32 ": written by a newer version of raftkvd.",
                           log->directory, position.file);
    if (r < 0)
        return log_damaged(failure, log->directory, position.file,
                           "the record at offset %" PRIu32 " is damaged or out of place",
                           position.offset);
    if (record.member_id != log->member_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s/log.%010" PRIu32 ": written by member %016" PRIx64
                           ", but this is the directory of member %016" PRIx64 ".",
                           log->directory, position.file, record.member_id, log->member_id);
    if (scan->any && record.sequence != scan->sequence + 1)
        return log_damaged(failure, log->directory, position.file,
                           "the record at offset %" PRIu32 " has number %" PRIu64
                           " after number %" PRIu64,
                           position.offset, record.sequence, scan->sequence);
    if (record.run < scan->run)
        return log_damaged(failure, log->directory, position.file,
                           "the record at offset %" PRIu32 " is of an earlier run (%" PRIu64
                           " after %" PRIu64 ")",
                           position.offset, record.run, scan->run);
    if (scan_content(&log->content, scan, &record, position) < 0)
        return log_damaged(failure, log->directory, position.file,
                           "the record at offset %" PRIu32 " does not follow from those before it",
                           position.offset);
    if (!scan->any || record.first || record.durable != scan->durable)
        scan->flush_position = position;
    scan->any = true;
    scan->records++;
    scan->last = position;
    scan->last_size = data->size + LIBRARY_RECORD_HEADER_SIZE;
    scan->sequence = record.sequence;
    scan->run = record.run;
    scan->durable = record.durable;
    return 0;
}

static const char *reason(const struct log_store *log, int error) {
    return log->message[0] ? log->message : db_strerror(error);
}

/* What the library reports as the last record has to be the one where the scan ended. */
static int check_last(struct log_store *log, DB_LOGC *cursor, const struct log_scan *scan,
                      struct failure *failure) {
    DB_LSN lsn = {0};
    DBT data = {0};
    int error = cursor->get(cursor, &lsn, &data, DB_LAST);

    if (error == DB_NOTFOUND && !scan->any)
        return 0;
    if (error != 0)
        return log_damaged(failure, log->directory, scan->last.file,
                           "the end of the log can't be read (%s)", reason(log, error));
    if (!scan->any || lsn.file != scan->last.file || lsn.offset != scan->last.offset)
        return log_damaged(failure, log->directory, lsn.file,
                           "the log goes on there up to offset %" PRIu32
                           ", but can't be read further than %" PRIu32 "/%" PRIu32,
                           lsn.offset, scan->last.file, scan->last.offset);
    return 0;
}

/* The library could not read on: there, or at the beginning of the next file. */
static int damaged_behind(struct log_store *log, const struct log_scan *scan, uint32_t first_file,
                          int error, struct failure *failure) {
    struct position behind = {scan->last.file, scan->last.offset + scan->last_size};
    struct log_rest rest;

    if (!scan->any)
        behind = (struct position){first_file, 0};
    else if (log_file_search(log->directory, behind, &rest) == 0 && !rest.nonzero)
        behind = (struct position){behind.file + 1, 0};
    if (behind.offset == 0)
        return log_damaged(failure, log->directory, behind.file, "its beginning is damaged (%s)",
                           reason(log, error));
    return log_damaged(failure, log->directory, behind.file,
                       "the record at offset %" PRIu32 " is damaged (%s)", behind.offset,
                       reason(log, error));
}

/*
 * It begins with DB_SET, at the header of the first file: with DB_FIRST the library would take the
 * size of that file for that of the one it writes to.
 */
static int scan_with(struct log_store *log, DB_LOGC *cursor, uint32_t first_file,
                     struct log_scan *scan, struct failure *failure) {
    DB_LSN lsn = {first_file, 0};
    DBT data = {0};
    int error = cursor->get(cursor, &lsn, &data, DB_SET);

    while (error == 0 && (error = cursor->get(cursor, &lsn, &data, DB_NEXT)) == 0) {
        int r = scan_record(log, scan, &data, (struct position){lsn.file, lsn.offset}, failure);

        if (r != 0)
            return r;
    }
    if (error == DB_NOTFOUND)
        return check_last(log, cursor, scan, failure);
    return damaged_behind(log, scan, first_file, error, failure);
}

int log_scan_all(struct log_store *log, const struct log_files *files, struct log_scan *scan,
                 struct failure *failure) {
    DB_LOGC *cursor;
    int error, r;

    if (files->begun == 0)
        return 0;
    error = log->environment->log_cursor(log->environment, &cursor, 0);
    if (error != 0)
        return failure_set(failure, ERROR_INTERNAL, "%s: the log can't be read (%s).",
                           log->directory, db_strerror(error));
    r = scan_with(log, cursor, files->first, scan, failure);
    cursor->close(cursor, 0);
    return r;
}
