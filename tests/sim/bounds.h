/* bounds: what a node keeps in memory stays within its limits (base/limits.h and those of the
 * rooms), whatever happens. */
#pragma once

#include "machine.h"

/* To be called after each event that touched the machine. */
void bounds_look(const struct machine *machine);
