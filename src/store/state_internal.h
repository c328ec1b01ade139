/* What the parts of the state share among themselves. Nobody else includes this. */
#pragma once

#include "store/state.h"

#include <db.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"

/* What an administrator does with a node whose state can't be used. */
#define STATE_REJOIN                                                                    \
    "To let the node rejoin: stop it; on another node `raftkvctl remove-server NAME`; " \
    "move the data directory away; start it; there again `raftkvctl add-voter NAME ADDRESS`."

/* One file of the environment's own log. Small, so that what a checkpoint made needless goes soon.
 */
enum { STATE_LOG_FILE_SIZE = 8 * 1024 * 1024 };

/* Create revision, modify revision, version: before each value, little-endian. */
enum { STATE_RECORD_HEADER_SIZE = 24 };

/* The names in `meta`. Sessions and leases will be trees of their own. */
#define STATE_META_FORMAT "format"               /* version */
#define STATE_META_APPLIED "applied"             /* index, term */
#define STATE_META_CONFIGURATION "configuration" /* index, raft's encoding */
#define STATE_META_INSTALLED "installed"         /* index of the snapshot */
#define STATE_META_KEYS "keys"                   /* how many there are */

/* Begins the names of the directories in which snapshots keep records aside. */
#define STATE_ASIDE_PREFIX "aside-"

/* The files of the trees; how the one of the users' keys is made. */
#define STATE_KEYS "keys"
#define STATE_META "meta"
enum { STATE_PAGE_SIZE = 8192 };

struct page_journal;
struct snapshot;

struct state {
    char *directory;
    size_t cache_size; /* as the options said */
    uint32_t log_file_size;
    uint32_t journal_pages;
    char *environment_directory;
    struct page_journal *pages; /* what the environment writes to its trees goes through it */
    /* Held by a checkpoint on the background lane, and while another environment takes the place of
     * this one. */
    pthread_mutex_t environment_lock;
    DB_ENV *environment;
    DB *keys; /* the user's key: record */
    DB *meta; /* the names below: what is known about the state itself */
    DB_TXN *transaction;

    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t installed_index;
    _Atomic uint64_t committed_index; /* applied_index for the background lane */
    atomic_bool in_a_hurry;           /* until the end of a checkpoint */
    _Atomic uint64_t checkpoint_end;  /* see state_checkpoint_end() */

    uint64_t configuration_index;
    struct buffer configuration;
    uint64_t pending_configuration_index; /* of the open transaction; 0: not set in it */
    struct buffer pending_configuration;
    uint64_t pending_installed_index; /* the same */
    uint64_t key_count, pending_key_count;

    struct buffer record; /* a record on its way to disk */
    struct buffer key;    /* what was read last: capacity is what Berkeley DB may fill */
    struct buffer value;

    struct snapshot *snapshots; /* open ones */
    unsigned snapshots_opened;

    pthread_mutex_t message_lock; /* the lanes may fail at the same time */
    char message[256];            /* Berkeley DB's last message before a panic */
    bool panicked;                /* what the messages say */
};

/*
 * False: neither the state nor the one that was to take its place could be kept open. The node is
 * about to end, but what it had queued on the lanes still comes.
 */
static inline bool state_is_open(const struct state *state) {
    return state->meta; /* opened last, closed first */
}

/* The negative errno for what Berkeley DB returned; DB_NOTFOUND becomes ERROR_NOT_FOUND. */
int state_error(int result);
/* The same for what needs pages in the cache: one that nothing can be written out of, because the
 * disk is full, says that it has no memory. */
int state_page_error(int result);

/* Berkeley DB's own handle, with its messages kept in *state. */
int state_create_environment(struct state *state, DB_ENV **ret);

/* Gives back what one large value made a buffer grow to; its content is gone then. */
static inline void state_shrink(struct buffer *buffer) {
    enum { KEPT = 256 * 1024 };

    if (buffer->capacity > KEPT)
        buffer_deinit(buffer);
}

/* state.c */

/* The cache of an environment that is open, set before DB_ENV->open. */
int state_set_cache(DB_ENV *environment, size_t size);
/* Whether checkpoints take their time, as they do from the start, or hurry. */
int state_spread_checkpoints(DB_ENV *environment, bool spread);
/* Opens what state->environment_directory names, as at a start; `new` when no state was completed
 * there yet. */
int state_open_environment(struct state *state, bool new, struct failure *failure);
/* Closes it without a checkpoint, and forgets what was known of it. False when it has panicked: it
 * can only be abandoned then. */
bool state_close_environment(struct state *state);
/* Opens the environment of a state that is being made in directory/name, which is not the current
 * one. When that fails, the message is Berkeley DB's, as of state_last_message(). */
int state_open_staged(struct state **ret, const char *directory, const char *name,
                      char *ret_message, size_t size);
/*
 * Opens what was made there once as it will be when it is the current one, and closes it. What that
 * writes has its space from then on, so that there is no lack of it when the old state is gone.
 */
int state_try_staged(const char *directory, const char *name, char *ret_message, size_t size);

/* state_read.c */

/* Reads the first `size` bytes of a record into the buffer. */
int state_read(struct state *state, DB *tree, const void *key, size_t key_size, uint32_t size,
               struct buffer *ret);
/* Moves the cursor: DB_NEXT, or DB_FIRST or DB_SET_RANGE (the first key >= from), and reads the key
 * and the first `size` bytes of what belongs to it. The key's buffer holds from_size bytes. */
int state_move(DBC *cursor, uint32_t how, const void *from, size_t from_size, uint32_t size,
               struct buffer *ret_key, struct buffer *ret_value);
/* A record from the bytes on disk, into which it points. -EIO when they are too few. */
int state_decode_record(const struct buffer *data, struct state_record *ret);
/* state_hash() over a walk: the start, and the step for each record. */
uint64_t state_hash_begin(const struct state *state);
uint64_t state_hash_add(uint64_t hash, const uint8_t *key, size_t key_size,
                        const struct state_record *record);

/* state_transaction.c */

/* A record as it is on disk; replaces what the buffer holds. */
void state_encode_record(const struct state_record *record, struct buffer *ret);

/* Puts numbers, little-endian, and then bytes, under a name in `meta`. */
int state_write_meta(struct state *state, const char *name, const uint64_t *numbers, size_t count,
                     const struct buffer *rest);

/* For a state whose keys were put around state_put(); in a transaction. */
void state_set_key_count(struct state *state, uint64_t count);

/* state_tail.c */

/*
 * Cuts off the torn tail of the environment's log, before recovery appends to it: zeroes what
 * follows the last valid record, and syncs. Changes nothing and fails when the log ends before what
 * a checkpoint has flushed.
 */
int state_cut_tail(struct state *state, struct failure *failure);
/* Makes durable where the environment's log ends at least. */
int state_write_flushed(struct state *state, uint32_t log_file, uint32_t log_offset);

/* state_current.c */

/* Reads `current`: the name of the environment's directory, malloc'd; -ENOENT when there is none.
 */
int state_read_current(const char *directory, char **ret_name, struct failure *failure);
int state_write_current(const char *directory, const char *name);
/* Makes directory/state-N with the lowest N above all that exist; its name, malloc'd. */
int state_make_next_directory(const char *directory, char **ret_name);
/* Removes a directory of files. -ENOENT when there is none. */
int state_remove_path(const char *path);
/* Removes what a crash left: environments that are not the current one, and what snapshots kept
 * aside; and what says that the first environment is being made. */
int state_remove_leftovers(const char *directory, const char *current);
/* To the journal: what is not needed any more is still there. Negative errno. */
void state_say_left_over(const char *directory, int error);
/* Makes an empty directory for the first environment, of this name, in the place of what a start
 * left that was cut short; state_remove_leftovers() forgets that it was begun. -EEXIST: there is an
 * environment, and no start has said that it makes one. */
int state_begin_first(const char *directory, const char *name);

/* 1: nothing is in there; 0: something is; negative errno. */
int state_is_empty_directory(const char *directory);

/* snapshot_aside.c */

/* Before a key changes in the open transaction: keeps its record for the snapshots that have not
 * come to it. Fails only when the record can't be read. */
int state_keep_aside(struct state *state, const void *key, size_t key_size);
/* Lets go of the snapshots: their state is going. */
void state_lose_snapshots(struct state *state);
