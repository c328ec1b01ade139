/*
 * snapshot: a consistent read of the whole state at one applied index, in key order, in chunks,
 * while transactions go on. Nothing is copied up front: what changes ahead of the walk is kept
 * aside first, in a temporary B-tree with a small cache of its own, so memory stays within a few
 * MiB however large the state and however long the walk. A follower that is too far behind is
 * sent the chunks, and a backup file holds them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "format/snapshot.h"
#include "store/state.h"

enum {
    SNAPSHOTS_MAX = 6,                 /* open at once, in one state */
    SNAPSHOT_CHUNK_BYTES = 256 * 1024, /* a good max_bytes for snapshot_next() */
};

struct snapshot;

/*
 * Begins a snapshot at the applied index. All functions run on the state lane between transactions.
 * ERROR_BUSY: SNAPSHOTS_MAX are open. ERROR_UNAVAILABLE: nothing
 * was applied yet. -EIO: damage of the state. Other negative errno: the temporary tree can't be
 * made.
 */
int snapshot_open(struct snapshot **ret, struct state *state);
/* Removes what was kept aside. Takes NULL; returns NULL. */
struct snapshot *snapshot_close(struct snapshot *snapshot);

/* Owned by the snapshot. */
const struct snapshot_header *snapshot_header(const struct snapshot *snapshot);

/*
 * Appends the next chunk to *ret_chunk: records of about max_bytes in all (1 to
 * SNAPSHOT_CHUNK_BYTES_MAX), at least one unless the state is empty; *ret_last with the last one,
 * after which this must not be called again. A chunk is made once: keep it until it has arrived.
 * After a failure, when nothing was appended, the snapshot can only be closed. -ESTALE: the state
 * was switched to another one, or closed; -ENOSPC: there was no space to keep something aside;
 * -ECANCELED: that failed otherwise; -EIO: damage of the state.
 */
int snapshot_next(struct snapshot *snapshot, size_t max_bytes, struct buffer *ret_chunk,
                  bool *ret_last);

struct snapshot_progress {
    uint64_t chunks;   /* made so far: also the sequence number of the next one */
    uint64_t records;  /* in them */
    uint64_t bytes;    /* of keys and values in them */
    unsigned permille; /* of the keys, about */
    uint64_t kept;     /* records that were kept aside so far */
};
void snapshot_get_progress(struct snapshot *snapshot, struct snapshot_progress *ret);
