/* seed: one simulation from its beginning to its end: a cluster is made, used and hurt; then faults
 * stop, and it has to come together. */
#pragma once

#include "figures.h"

/* Once in a process. Does not return when something is wrong. */
void seed_run(uint64_t seed, unsigned seconds, bool trace, struct figures *ret);
