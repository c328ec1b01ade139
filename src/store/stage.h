/*
 * stage: a state that arrives from elsewhere, chunk by chunk, in a directory of its own beside the
 * current one, and the switch to it. Until the switch the current state knows nothing of it; a
 * crash at any time leaves the one or the other whole, and state_open() removes what `current`
 * does not name. The stage's functions run one at a time, on any lane; state_switch() on the state
 * lane.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/snapshot.h"
#include "store/state.h"

struct stage;

/*
 * Begins a stage in `directory`, which is that of the state (state_options.directory; it need not
 * be open, but exist). The header is copied. Negative errno: what the file system refused.
 */
int stage_open(struct stage **ret, const char *directory, const struct snapshot_header *header);

/*
 * Takes the next chunk. -EBADMSG with the reason: this is not the chunk expected, or it is damaged;
 * the stage is as before and waits for that chunk. After any other error (-ENOSPC among them) the
 * stage can only be discarded: it is filled without transactions, so nothing is undone. Nothing is
 * durable before stage_finish().
 */
int stage_put_chunk(struct stage *stage, const void *data, size_t size, struct failure *failure);

/* How far it has come: chunks is the sequence number of the next chunk expected (where to resume).
 */
struct stage_position {
    uint64_t chunks;
    uint64_t records;
    uint64_t bytes; /* of keys and values */
    bool complete;  /* the last chunk is there: stage_finish() may be called */
};
void stage_position(const struct stage *stage, struct stage_position *ret);
/* Owned by the stage. */
const struct snapshot_header *stage_header(const struct stage *stage);

/*
 * After the last chunk: makes everything durable, with the header's index and term as applied, its
 * configuration, and its index as the installed one. Takes a while (syncs the whole of it). After
 * an error, with a failure, it can only be discarded.
 */
int stage_finish(struct stage *stage, struct failure *failure);

/* Removes the stage and its directory, unless it was switched to. Takes NULL; returns NULL. */
struct stage *stage_discard(struct stage *stage);

/*
 * Atomically makes a finished stage the current state: `current` is replaced, and the same object
 * serves the new content from here on; the old environment is removed. No transaction may be open;
 * snapshots that are open can only be closed afterwards (-ESTALE). Waits for a state_checkpoint()
 * on the other lane. The stage is to be discarded by the caller after success and failure.
 * -ENOSPC: nothing has changed and it may be tried again. Other errors, with a failure: the node
 * has to stop, without further calls but state_abandon(); at its next start it stands on the one
 * or the other.
 */
int state_switch(struct state *state, struct stage *stage, struct failure *failure);
