/* daemon: a whole raftkvd: what is opened in which order, how it stops, and what ties the parts
 * together. */
#pragma once

#include <stdbool.h>

#include "daemon/options.h"

/* What the process needs before anything else is opened: signals, the thread pool, the hook for a
 * failed sync. */
void daemon_prepare(void);
/*
 * Runs the node until it is told to stop (SIGTERM, SIGINT). `bus` as struct bus_options has it, or
 * NULL for none; when it is not required, a bus that can't be reached is a warning. Returns the
 * exit status.
 */
int daemon_run(const struct options *options, const char *bus, bool bus_required);
