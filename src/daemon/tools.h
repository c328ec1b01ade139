/* tools: what raftkvd does with the data directory of a stopped node instead of running it:
 * --verify, --restore=, --recover. The work itself is that of the room offline. */
#pragma once

#include "daemon/arguments.h"
#include "daemon/options.h"

/* Says on stdout what it did, and on stderr what is wrong. Returns the exit status. */
int tools_run(const struct options *options, const struct arguments *arguments);
