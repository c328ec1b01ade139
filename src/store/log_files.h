/*
 * log_files: the files of the raft log as raw bytes, beside Berkeley DB: which there are, making
 * the next one, removing old ones, what stands behind the end that the library reports, and the
 * floor. All raw I/O of the log is here.
 *
 * The floor is a small file in the log's directory that says how far the log came at least, and
 * with which file it begins: it is replaced when a file has been begun, before files are removed,
 * at each start, and at the end. Without it a log whose first or last file is missing, or whose
 * last file reads as zeros, looks like one that begins or ends there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/record.h"

struct log_files {
    uint32_t first;     /* number of the first file; 0: there is none */
    uint32_t last;      /* of the last file */
    uint32_t begun;     /* of the last file that the library has written to; 0: none */
    uint32_t file_size; /* of that file, as its header says */
};

/* How the failures about damage end: what an administrator can do. */
#define LOG_REJOIN                                                                             \
    "To rejoin: stop this node; run `raftkvctl remove-server NAME` on another one; move the "  \
    "data directory away; start it; run `raftkvctl add-voter NAME ADDRESS`. A sole voter has " \
    "to be restored from a backup."

/* Fills the failure with file, what, and LOG_REJOIN. Returns ERROR_INTERNAL. */
int log_damaged(struct failure *failure, const char *directory, uint32_t file, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

/*
 * Lists the files from number `first` on. ERROR_INTERNAL: one is missing between others, is shorter
 * than it was made, or reads as zeros though a later one does not; or what the file system refused.
 */
int log_files_list(const char *directory, uint32_t first, struct log_files *ret,
                   struct failure *failure);
char *log_file_path(const char *directory, uint32_t file);

/* Makes an empty file of that size, durably; what was there under that name goes. Negative errno:
 * nothing that matters has happened. */
int log_file_prepare(const char *directory, uint32_t file, uint32_t size);

/* Removes the files below number `first`, the oldest one first. Negative errno: some may be left.
 */
int log_files_remove(const char *directory, uint32_t first);

/* What stands in a file from a position on. */
struct log_rest {
    bool nonzero;         /* not all bytes are zero */
    uint32_t nonzero_end; /* behind the last byte that is not */
    bool found;           /* there is a whole record of the log: */
    struct record record; /* the one with the highest `durable`; without content */
    struct position position;
};
/* Negative errno. */
int log_file_search(const char *directory, struct position from, struct log_rest *ret);

/*
 * Writes the bytes from one offset up to another one again, zeroes those behind, and syncs.
 * Negative errno.
 */
int log_file_clean(const char *directory, uint32_t file, uint32_t rewrite_from, uint32_t zero_from);

struct log_floor {
    uint64_t member_id;
    uint32_t first;    /* the first file that has to be there, once one was begun */
    uint32_t file;     /* the last file that was begun; 0: none */
    uint64_t sequence; /* the last record that was durable */
};
/* Negative errno; -ENOENT: there is none; -EBADMSG: it is damaged. */
int log_floor_read(const char *directory, struct log_floor *ret);
int log_floor_write(const char *directory, const struct log_floor *floor);

/* Bytes on disk and number of the files. Negative errno. */
int log_files_measure(const char *directory, uint64_t *ret_bytes, uint64_t *ret_files);
