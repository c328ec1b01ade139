/* faults: what goes wrong, by chance: machines crash and come back, directions of the network are
 * blocked, connections break, disks and lanes get slow. */
#pragma once

#include <stdbool.h>

/* Draws how bad it gets, and begins. */
void faults_start(void);
/* No more; what is broken is mended. */
void faults_stop(void);

struct faults_figures {
    unsigned long crashes, partitions, breaks, slow;
};
const struct faults_figures *faults_figures(void);
