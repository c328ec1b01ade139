/* arguments: the command line of raftkvd. */
#pragma once

#include <stdbool.h>

enum { EXIT_WRONG_USAGE = 2 }; /* EXIT_INVALIDARGUMENT of systemd */

enum work { WORK_RUN, WORK_CHECK_CONFIG, WORK_VERIFY, WORK_RESTORE, WORK_RECOVER };

struct arguments {
    const char *name;   /* of the node; NULL: the file of --config= says it */
    const char *config; /* NULL: /etc/raftkv/NAME.conf */
    const char *bus;    /* "system", "session" or an address; NULL: no bus */
    bool bus_required;  /* asked for with --bus= */
    enum work work;
    const char *backup; /* WORK_RESTORE: from this file */
    bool yes;           /* WORK_RECOVER: don't ask */
};

/*
 * Returns -1 when there is something to do with *ret, which points into argv; otherwise the exit
 * status: what had to be said (help, version, wrong usage) was said.
 */
int arguments_parse(struct arguments *ret, int argc, char **argv);
