/* faults: what goes wrong, by chance: machines crash, pause, and come back, with their disks or
 * without; directions of the network are blocked, connections break; disks get slow, full, and
 * fail; clocks jump. */
#pragma once

#include "machine.h"

/* Only these kinds, by their names with commas between. False: there is no such kind. */
bool faults_choose(const char *names);
/* Draws how bad it gets, and begins. */
void faults_start(void);
/* A job is about to run on a lane. */
void faults_before(struct machine *machine, const struct job *job);
/* No more; what is broken is mended. */
void faults_stop(void);

struct faults_figures {
    unsigned long crashes, partitions, slow, pauses, jumps, full, failed_syncs;
};
const struct faults_figures *faults_figures(void);
