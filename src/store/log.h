/*
 * store: what a node keeps on disk, in Berkeley DB: the raft log (a log-only environment), the
 * state (a transactional environment), and the little file that says whose directory it is.
 * Synchronous functions; no threads, no event loop, no notion of raft's rules or of what keys mean.
 * May use base, proto and Berkeley DB.
 *
 * log: the raft log, term and vote. All functions run on the log lane, one at a time
 * (log_store_open before there are lanes). After an error with which the node has to stop, all
 * further writing fails with that error. The format on disk and the rules of the scan at start are
 * in ARCHITECTURE.md, "Formats on disk" and "Damage".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"
#include "base/error.h"

struct log_store;

/* The mark: everything up to and including index is in the state and may be cut from the log. index
 * 0: none. */
struct log_mark {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    uint8_t *configuration; /* raft's encoding; owned by the log store */
    size_t configuration_size;
};

/* What the scan at start found. Owned by the caller; log_recovery_deinit() frees it. */
struct log_recovery {
    uint64_t term;
    uint64_t vote;
    struct log_mark mark; /* configuration is a copy owned by the recovery */
    uint64_t first_index; /* of the entries below; 1 in an empty log without mark */
    uint64_t last_index;  /* first_index - 1 when there are none */
    /* count = last_index - first_index + 1 entries. data is set for ENTRY_CHANGE only (owned here).
     */
    struct log_entry *entries;
    /* Where a torn tail was cut: 0/0 when the log ended cleanly. */
    uint32_t cut_file, cut_offset;
    char cut_message[256]; /* for the journal; empty when nothing was cut */
};

void log_recovery_deinit(struct log_recovery *recovery);

struct log_store_options {
    const char *directory; /* exists */
    uint64_t member_id;    /* every record must carry it */
    uint64_t incarnation;  /* run number of the records that this process writes; above every one on
                              disk */
    uint64_t applied_index; /* of the state: the log must not end below it ... */
    /*
     * ... unless the state is as a snapshot brought it, which may be above the log, or contradict
     * it. Then the log is reset as log_store_reset() does, if that did not happen before the
     * process ended and applied_index with applied_term is not an entry of it. The mark is of:
     */
    bool installed;
    uint64_t applied_term;
    uint64_t configuration_index;
    const uint8_t *configuration; /* raft's encoding, borrowed; NULL: none */
    size_t configuration_size;
    uint32_t file_size; /* bytes of one log file; 0: the default */
    size_t batch_size;  /* bytes of entries in one record, but at least one entry; 0: the default */
};

/*
 * Opens the log (creating it in an empty directory) and scans it. A torn tail is cut, zeroed and
 * synced, and said in *ret_recovery; any other damage is ERROR_INTERNAL with a failure that says
 * which file, what is wrong and how the node can rejoin; nothing is changed then. A log written by
 * another member or a newer format is ERROR_INVALID_ARGUMENT.
 */
int log_store_open(struct log_store **ret, const struct log_store_options *options,
                   struct log_recovery *ret_recovery, struct failure *failure);
/* What log_store_verify() read. */
struct log_verification {
    struct log_recovery recovery; /* what a start would find; log_recovery_deinit() frees it */
    uint64_t records;
    uint64_t files;
    uint64_t bytes; /* of the files */
    bool resets;    /* a start would reset the log behind the installed state */
};

/*
 * Reads all of a log that nobody has open, and judges it as a start would, with the same failures;
 * but changes nothing.
 */
int log_store_verify(const struct log_store_options *options, struct log_verification *ret,
                     struct failure *failure);
/* Closes; what was not flushed may be there afterwards or not. Takes NULL; returns NULL. */
struct log_store *log_store_close(struct log_store *log);

/*
 * Puts `count` entries from first_index on into the buffer of the log; durable after the next
 * log_store_flush(). An index that exists already cuts off the old entry and everything behind it.
 * first_index is at most last + 1. -ENOSPC: all of it is kept and must not be put again; call
 * log_store_flush() until it succeeds. -EMSGSIZE: an entry is larger than ENTRY_SIZE_MAX or than a
 * file of the log holds; nothing was put. Any other error: the node has to stop.
 */
int log_store_append(struct log_store *log, uint64_t first_index, const struct log_entry *entries,
                     size_t count);
/* Puts term and vote into the buffer; durable after the next flush. -ENOSPC as above. */
int log_store_set_vote(struct log_store *log, uint64_t term, uint64_t vote);
/*
 * Puts a mark into the buffer; durable after the next flush. index is at most the last index, and
 * the state has everything up to there on disk: a start refuses a state that ends before the mark.
 * It is not below the former mark; for the same index nothing is put. The configuration is copied.
 * -ENOSPC as above; -EMSGSIZE: the configuration is larger than CONFIGURATION_SIZE_MAX or than a
 * file of the log holds, and nothing was put.
 */
int log_store_set_mark(struct log_store *log, const struct log_mark *mark);
/*
 * Puts into the buffer that the log has no entries and goes on behind the mark, whatever it held
 * before, above the mark too: after the state was replaced by a snapshot of the mark's index. Term
 * and vote stay. Durable after the next flush; then log_store_drop() drops what came before. Copies
 * and errors as log_store_set_mark(); index is above that of the former mark.
 */
int log_store_reset(struct log_store *log, const struct log_mark *mark);
/*
 * Removes the oldest files, as long as all entries in them are below keep_from and at most the
 * durable mark's index, and never the one that is written to. *ret_first_index (may be NULL): the
 * first index that can be read from now on, at most keep_from if anything was removed. After an
 * error nothing that matters is lost: with -ENOSPC nothing was removed, otherwise
 * log_store_first_index() says what can be read, and files that are left go with the next ones, or
 * at a start.
 */
int log_store_drop(struct log_store *log, uint64_t keep_from, uint64_t *ret_first_index);
/*
 * Makes everything put before durable. -ENOSPC: nothing is lost and nothing durable yet; what was
 * put stays in the buffer and must not be put again: call this again when there may be space. A
 * failed fsync does not return (see log_store_set_sync_failed).
 */
int log_store_flush(struct log_store *log);

/*
 * Reads entries from first_index on: at most `count`, and no more than max_bytes of data (but at
 * least one). The array and the data are one allocation to free() by the caller. Entries that were
 * put and not flushed can be read too. -ENOENT below the first index or above the last; -EIO: the
 * log is damaged there.
 */
int log_store_read(struct log_store *log, uint64_t first_index, size_t count, size_t max_bytes,
                   struct log_entry **ret_entries, size_t *ret_count);

uint64_t log_store_first_index(const struct log_store *log);
uint64_t log_store_last_index(const struct log_store *log);

struct log_store_stats {
    uint64_t bytes; /* of files on disk */
    uint64_t files;
    uint64_t entries;
    uint64_t flushes; /* since open */
};
void log_store_get_stats(struct log_store *log, struct log_store_stats *ret);

/*
 * Installs the process-wide hook behind Berkeley DB's fsync: a failed sync calls this and does not
 * return, because the library would sync again by itself and might get 0 although pages are gone.
 * The default prints and _exit()s. Called once by main before any environment is opened.
 */
void store_set_sync_failed(void (*callback)(const char *reason));
