/* What a restore and a recovery have in common. Nobody else includes this. */
#pragma once

#include "offline/offline.h"

/* Opens the log as the start of a node does, for this state, in a new incarnation. */
int offline_open_log(struct directory *directory, struct state *state, struct log_store **ret,
                     struct log_recovery *ret_recovery, struct failure *failure);

/* Fills the failure with what could not be written. Returns its code. */
int offline_unwritten(const char *path, int error, struct failure *failure);

/*
 * As if the entry after the last applied one, of this term, had made the node the only member of
 * its cluster. The log goes on behind it; what it held is dropped, so all of it must be applied.
 */
int offline_make_sole_voter(struct directory *directory, const struct identity *identity,
                            uint64_t term, struct failure *failure);
