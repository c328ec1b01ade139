/* faults: what goes wrong, by chance: machines crash, stop, pause, and come back, with their disks
 * or without; directions of the network are blocked, connections break, messages are damaged, lost,
 * repeated or late; disks get slow, full, write less than they are asked to, and fail; clocks jump
 * and drift. */
#pragma once

#include <stdio.h>

#include "machine.h"

/* Only these kinds, by their names with commas between. False: there is no such kind. */
bool faults_choose(const char *names);
void faults_print_kinds(FILE *file);
/* Whether faults were named that need logs to be cut often. */
bool faults_want_cuts(void);
/* Draws how bad it gets, and begins. */
void faults_start(void);
/* A job is about to run on a lane. */
void faults_before(struct machine *machine, const struct job *job);
/* No more; what is broken is mended. */
void faults_stop(void);

struct faults_figures {
    unsigned long partitions, pauses, jumps, drifts, full, moves, stops;
};
const struct faults_figures *faults_figures(void);
