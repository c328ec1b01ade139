/*
 * admin: who looks after the cluster: makes it out of three machines, then adds, removes, demotes
 * and transfers by chance, and replaces members whose disks were wiped.
 */
#pragma once

#include "machine.h"

/* Forms the cluster out of the first `voters` machines, and changes it by chance later on if asked
 * to. */
void admin_start(unsigned voters, bool changes);
/* The first voters are there. */
bool admin_formed(void);
/* Only finishes what must be finished: a wiped disk's member is replaced. */
void admin_stop(void);
bool admin_settled(void);
/* The machine has died, and with it the answer to a request. */
void admin_lose(struct machine *machine);
/*
 * Whether a disk may be wiped now: one at a time, of a cluster that keeps its majority with one
 * voter less, while no change is under way.
 */
bool admin_may_wipe(const struct machine *machine);
void admin_wiped(struct machine *machine);

/* A machine whose node is a member; NULL: none is up. */
struct machine *admin_any_member(void);

struct admin_figures {
    unsigned long asked, done, accepted, wiped;
};
const struct admin_figures *admin_figures(void);
