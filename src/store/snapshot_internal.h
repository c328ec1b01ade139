/* What the parts of a snapshot share among themselves. Nobody else includes this. */
#pragma once

#include "store/snapshot.h"

#include "store/state_internal.h"

struct snapshot {
    struct state *state; /* NULL once it has gone */
    struct snapshot *next;
    struct snapshot_header header;

    /* The records that have changed ahead of the walk, as they were; an empty one: there was none.
     */
    char *aside_directory;
    DB_ENV *aside_environment;
    DB *aside;
    struct buffer record; /* on its way there */
    uint64_t kept;

    int error;          /* what ended it */
    bool done;          /* the last chunk was made */
    struct buffer last; /* the key that the walk has come to */
    uint64_t chunks, records, bytes;
    uint32_t checksum;
};

/* snapshot_aside.c */

/* Makes the temporary tree, under the state's directory. */
int snapshot_make_aside(struct snapshot *snapshot);
/* What Berkeley DB returned for the temporary tree, as an error that only ends the snapshot: it
 * must not look like damage of the state. -ENOSPC, -ECANCELED; DB_NOTFOUND becomes ERROR_NOT_FOUND.
 */
int snapshot_aside_error(int result);
void snapshot_remove_aside(struct snapshot *snapshot);
