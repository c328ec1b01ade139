/*
 * oracle: what must hold, whatever happens. It sees every node from the inside after each event,
 * keeps the one history of committed entries that all of them have to agree on, and what the state
 * machine has to say at each revision.
 */
#pragma once

#include "machine.h"
#include "model.h"
#include "raft/configuration.h"

void oracle_init(void);
/* The node has been opened; what it has is what its disk kept. */
void oracle_started(struct machine *machine);
void oracle_died(struct machine *machine);
/* A job has run on a lane of the node. */
void oracle_ran(struct machine *machine, struct job *job);
/* An event is over that touched the machine. */
void oracle_look(struct machine *machine);
/* A node says that it can't go on. */
void oracle_fatal(struct machine *machine, const char *reason);
/* A node calls a message from another one a breach of the protocol. */
void oracle_refused(const struct machine *from, const struct machine *to, const char *reason);

/* The configuration that was applied at this index; NULL: there is none. */
const struct configuration *oracle_configuration(uint64_t index);
/* The highest index that a leader has committed. */
uint64_t oracle_committed(void);
/* The one leader that serves in the highest term; NULL: none. */
struct machine *oracle_leader(void);
struct oracle_figures {
    unsigned long cuts, installs, checkpoints;
};
const struct oracle_figures *oracle_figures(void);
/* Whether all members, by the leader's configuration, have the same state, complete. */
bool oracle_agree(void);
