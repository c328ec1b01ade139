/*
 * state: what has been applied, in a transactional Berkeley DB environment: the users' keys, and
 * beside them, in the same transactions, the index up to which the state has come. All functions
 * run on the state lane, one at a time, except state_checkpoint(), which runs on the background
 * lane beside them. Nothing is synced per transaction: the raft log makes writes durable;
 * state_checkpoint() bounds what must be applied again after a crash.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/state_record.h"

struct state;

struct state_options {
    const char
        *directory; /* of the state as a whole: holds `current` and the directory that it names */
    size_t cache_size;      /* bytes; 0: the default, 16 MiB */
    uint32_t log_file_size; /* bytes of one file of its own log; 0: the default, 8 MiB */
    uint32_t journal_pages; /* in a half of its page journal; 0: the default */
};

/*
 * Opens the state (creates an empty one in an empty directory) after Berkeley DB's own recovery;
 * zeroes and syncs the rest of its last log file before the first transaction. Damage:
 * ERROR_INTERNAL with what, which file, and how the node rejoins.
 */
int state_open(struct state **ret, const struct state_options *options, struct failure *failure);
/* With a last checkpoint. Takes NULL; returns NULL. */
struct state *state_close(struct state *state);
/* After a failed disk: forgets everything without writing. Berkeley DB can't free its memory then:
 * for a process that ends. */
struct state *state_abandon(struct state *state);

/* The index and term of the last applied entry; 0, 0 in an empty state. */
void state_applied(const struct state *state, uint64_t *ret_index, uint64_t *ret_term);
/* The last applied configuration (raft's encoding) and its index; NULL, 0 when there was none.
 * Owned by the state. */
void state_configuration(const struct state *state, uint64_t *ret_index, const uint8_t **ret_data,
                         size_t *ret_size);
/* The index of the snapshot that this state was installed from; 0 when it grew by itself. */
uint64_t state_installed_index(const struct state *state);

/* One transaction at a time. Reads between begin and commit see what was put. */
int state_begin(struct state *state);
/* Version 1 says that the key is new; so they are counted. */
int state_put(struct state *state, const void *key, size_t key_size,
              const struct state_record *record);
/* ERROR_NOT_FOUND when there is none. */
int state_delete(struct state *state, const void *key, size_t key_size);
int state_set_configuration(struct state *state, uint64_t index, const void *data, size_t size);
/* Says that the state is as something else than the entries of the log has made it, up to that
 * index: a start then begins the log behind it. */
int state_set_installed(struct state *state, uint64_t index);
/* Commits with the new applied index and term, atomically. -ENOSPC, -EIO: the transaction is
 * undone. */
int state_commit(struct state *state, uint64_t applied_index, uint64_t applied_term);
void state_abort(struct state *state);

/* ERROR_NOT_FOUND when there is none. A damaged page is -EIO. */
int state_get(struct state *state, const void *key, size_t key_size, struct state_record *ret);

/* The same without reading the value: value_size is 0. */
int state_get_header(struct state *state, const void *key, size_t key_size,
                     struct state_record *ret);

/*
 * Walks keys in byte order from the first one >= from, until the callback returns false or the keys
 * end. The pointers are valid during the callback.
 */
typedef bool (*state_visit)(void *data, const uint8_t *key, size_t key_size,
                            const struct state_record *record);
int state_walk(struct state *state, const void *from, size_t from_size, state_visit visit,
               void *data);
/* The same without reading the values: value_size is 0. */
int state_walk_headers(struct state *state, const void *from, size_t from_size, state_visit visit,
                       void *data);

/* Writes dirty pages out, spread over time, and a checkpoint; on the background lane. Returns the
 * applied index that is durable. */
int state_checkpoint(struct state *state, uint64_t *ret_durable_index);

/* The checkpoint under way, or the next one, does not take its time. On the state lane. */
void state_hurry_checkpoint(struct state *state);

struct state_stats {
    uint64_t keys;
    uint64_t bytes;                    /* of the pages of their tree */
    uint64_t cache_hits, cache_misses; /* of pages, since it was opened */
};
int state_get_stats(struct state *state, struct state_stats *ret);

/* Whether so many pages were written that the background lane should bring them to their places
 * with state_write_back(), before the state lane has to. This and the next ones: anywhere, but not
 * while the state is replaced. */
bool state_wants_write_back(const struct state *state);
int state_write_back(struct state *state);

/* How many pages the disk has taken since the state was opened, each counted on its way and in its
 * place; and at which number the checkpoint under way has about all that it writes. Before it has
 * begun to write, that of the one before. */
uint64_t state_pages_written(const struct state *state);
uint64_t state_checkpoint_end(const struct state *state);

/* A hash over all keys, records and the applied index, for tests and --verify: the same on two
 * members at the same index. */
int state_hash(struct state *state, uint64_t *ret_hash);

/* Copies Berkeley DB's last message, for the journal after a failure; empty when there was none. On
 * any lane. */
void state_last_message(struct state *state, char *ret, size_t size);

/* What state_verify() read. state_summary_deinit() frees it. */
struct state_summary {
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t installed_index;
    uint64_t configuration_index;
    uint8_t *configuration; /* raft's encoding; NULL with configuration_index 0 */
    size_t configuration_size;
    uint64_t records;
    uint64_t bytes; /* of keys and values */
    uint64_t hash;  /* that of state_hash() */
};

void state_summary_deinit(struct state_summary *summary);

/* Told now and then how far it has come: bytes of keys and values that were read, while it is not
 * known how many there are (total 0), then percent of the pages of a file (total 100). */
typedef void (*state_progress)(void *data, uint64_t done, uint64_t total);

/*
 * Reads all of a state that nobody has open: recovers it as a start would (so it is not left
 * untouched), reads every record and checks it, then every page of each file. ERROR_NOT_FOUND:
 * there is no state in the directory. ERROR_INTERNAL: damage; the failure says which file, and
 * what. progress may be NULL.
 */
int state_verify(const char *directory, state_progress progress, void *data,
                 struct state_summary *ret, struct failure *failure);
