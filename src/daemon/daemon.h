/* daemon: a whole raftkvd: what is opened in which order, how it stops, and what ties the parts
 * together. */
#pragma once

#include <stdbool.h>

#include "daemon/options.h"

struct daemon_start {
    struct options *options; /* that were read from ... */
    const char *file;        /* ... this file, and are read again by a reload (SIGHUP) */
    option_report report;    /* of what is wrong in it then */
    const char *bus;         /* as struct bus_options has it; NULL: none */
    bool bus_required;       /* otherwise a bus that can't be reached is a warning */
};

/* What the process needs before anything else is opened: signals, the thread pool, the hook for a
 * failed sync. */
void daemon_prepare(void);
/* Runs the node until it is told to stop (SIGTERM, SIGINT). Returns the exit status. */
int daemon_run(const struct daemon_start *start);
