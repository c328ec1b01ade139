/* reload: the configuration of a running node is read again. */
#pragma once

#include <stdbool.h>

#include "daemon/options.h"

/*
 * Reads `file` and its drop-ins, takes over into *options what can change while the node runs, and
 * says in the journal what that is, and what waits for a restart. With anything wrong in the files
 * all stays as it is. Returns whether the files were good.
 */
bool reload_options(struct options *options, const char *file, option_report report);
