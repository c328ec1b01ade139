/* log_sink: where the daemon's journal() goes: the journal with fields when standard error is
 * connected to it, readable lines on standard error otherwise. */
#pragma once

/* Installs the sink for the process. `node` is kept: the node's name, added to every entry of the
 * journal as RAFTKV_NODE=. NULL: no name. */
void log_sink_install(const char *node);
