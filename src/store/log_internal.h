/* What the parts of the log share: log.c (writing), log_cut.c (marks, and what goes), log_read.c
 * (reading), log_open.c and log_scan.c (the start). */
#pragma once

#include <db.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "store/log.h"
#include "store/log_index.h"
#include "store/record.h"

enum {
    LIBRARY_RECORD_HEADER_SIZE = 12,   /* what Berkeley DB puts before each record */
    FIRST_OFFSET = 28,                 /* of the first record in a file */
    LOG_MEMORY_KEPT_MAX = 1024 * 1024, /* bytes of a buffer that stay allocated between calls */
};

/* A record that found no space and waits for the next flush. */
struct log_pending {
    struct log_pending *next;
    struct position position;
    bool first;
    uint64_t sequence;
    size_t size;
    uint8_t data[];
};

/* What the newest records say. */
struct log_content {
    uint64_t term;
    uint64_t vote;
    struct log_mark mark; /* owns its configuration */
    struct log_index index;
};

/*
 * Where a record goes is known before it is put: its checksum covers its position, and the first
 * one of a file has to begin with a restatement. So the log reckons the end itself, and the library
 * has to agree.
 */
struct log_store {
    DB_ENV *environment;
    DB_LOGC *cursor; /* for reading; NULL until needed and after large records */
    char *directory;
    uint64_t member_id;
    uint64_t run;
    uint32_t file_size;         /* of new files */
    uint32_t buffer_size;       /* of the library */
    size_t batch_size;          /* bytes of a record with several entries */
    uint32_t current_file_size; /* of the file that `end` is in */
    struct position end;        /* where the next record goes, unless it begins a new file */
    uint64_t sequence;          /* of the last record that was encoded ... */
    uint64_t put_sequence;      /* ... that the library has ... */
    uint64_t durable_sequence;  /* ... that is durable */
    uint32_t put_file;          /* the file of the last record that the library has; 0: none yet */
    uint32_t prepared_file;     /* the last file that was made ready to write to */
    uint32_t floor_file;        /* the file in the floor on disk */
    uint32_t first_file;        /* those before it were dropped, says the floor on disk */
    uint64_t mark_sequence;     /* of the record with the mark ... */
    uint64_t former_mark;       /* ... before that is durable: index of the one that is */
    int failed;                 /* the error after which nothing is written any more; 0: none */
    struct log_pending *pending;
    struct log_pending **pending_end;
    struct log_content content;
    struct buffer scratch;
    uint64_t flushes;
    char message[256]; /* the library's error messages since it was emptied */
};

/* The library's error as a negative errno. */
int log_library_error(int error);
/*
 * Returns r, the outcome of writing. After an error other than a lack of space nobody knows what is
 * in the library's buffer, and nothing is written any more: the node is about to end, but what it
 * had queued on the lane still comes.
 */
int log_keep_failure(struct log_store *log, int r);
/* Puts a record of the kind RECORD_MARK or RECORD_RESET into the buffer. */
int log_put_mark(struct log_store *log, enum record_kind kind, const struct log_mark *mark);
/* The bytes of content that fit into one record, whichever place it gets. */
size_t log_content_size_max(const struct log_store *log);
/* Replaces the floor: the last file begun, the first file that has to be there, and how far the log
 * is durable. Negative errno; -ENOSPC, too, when a quota is used up. */
int log_write_floor(struct log_store *log, uint32_t file, uint32_t first_file);
/* Takes over a mark, copying its configuration. */
void log_content_set_mark(struct log_content *content, const struct log_mark *mark);

/* What the scan found beside log->content. */
struct log_scan {
    bool any;                       /* there is a record at all */
    struct position last;           /* the last record's position ... */
    uint32_t last_size;             /* ... and size, with the library's header */
    struct position flush_position; /* where the last flush begins, as far as it is in that file */
    uint64_t sequence;
    uint64_t run;
    uint64_t durable;
    uint64_t records;
    struct log_entry *entries; /* those of log->content.index */
    size_t capacity;
};
void log_scan_deinit(struct log_scan *scan, const struct log_index *index);

struct log_files;
/*
 * Reads all records, in order, into log->content and *scan, up to where the library says that the
 * log ends. ERROR_INTERNAL: damage; ERROR_INVALID_ARGUMENT: of another member or a newer format.
 * Changes nothing on disk.
 */
int log_scan_all(struct log_store *log, const struct log_files *files, struct log_scan *scan,
                 struct failure *failure);
