/*
 * The exit statuses of raftkvd that are its own; 2 is wrong usage, and a wrong configuration is
 * EX_CONFIG of sysexits.h. systemd/raftkv@.service.in and raftkvd(8) name them too.
 */
#pragma once

enum {
    /* The cluster has removed this node: there is nothing to do for it until it is added again, so
       systemd does not restart it. */
    EXIT_STATUS_REMOVED = 3,
};
