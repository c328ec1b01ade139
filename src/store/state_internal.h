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

struct state {
    char *directory;
    char *environment_directory;
    DB_ENV *environment;
    DB *keys; /* the user's key: record */
    DB *meta; /* the names below: what is known about the state itself */
    DB_TXN *transaction;

    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t installed_index;
    _Atomic uint64_t committed_index; /* applied_index for the background lane */

    uint64_t configuration_index;
    struct buffer configuration;
    uint64_t pending_configuration_index; /* of the open transaction; 0: not set in it */
    struct buffer pending_configuration;

    struct buffer record; /* a record on its way to disk */
    struct buffer key;    /* what was read last: capacity is what Berkeley DB may fill */
    struct buffer value;

    pthread_mutex_t message_lock; /* the lanes may fail at the same time */
    char message[256];            /* Berkeley DB's last message before a panic */
    bool panicked;                /* what the messages say */
};

/* The negative errno for what Berkeley DB returned; DB_NOTFOUND becomes ERROR_NOT_FOUND. */
int state_error(int result);

/* Berkeley DB's own handle, with its messages kept in *state. */
int state_create_environment(struct state *state, DB_ENV **ret);

/* Gives back what one large value made a buffer grow to; its content is gone then. */
static inline void state_shrink(struct buffer *buffer) {
    enum { KEPT = 256 * 1024 };

    if (buffer->capacity > KEPT)
        buffer_deinit(buffer);
}

/* state_read.c */

/* Reads the first `size` bytes of a record into state->value. */
int state_read(struct state *state, DB *tree, const void *key, size_t key_size, uint32_t size);

/* state_transaction.c */

/* Puts numbers, little-endian, and then bytes, under a name in `meta`. */
int state_write_meta(struct state *state, const char *name, const uint64_t *numbers, size_t count,
                     const struct buffer *rest);

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
