/* figures: how much was simulated, of one seed, and of all of a run across their processes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum figure {
    FIGURE_SECONDS, /* of virtual time */
    FIGURE_EVENTS,
    FIGURE_MESSAGES,
    FIGURE_ENTRIES, /* committed */
    FIGURE_ACKNOWLEDGED,
    FIGURE_REFUSED,
    FIGURE_UNKNOWN,
    FIGURE_READS,
    FIGURE_CRASHES,
    FIGURE_PARTITIONS,
    FIGURE_PAUSES,
    FIGURE_CLOCKS,
    FIGURE_DAMAGED,
    FIGURE_STRAYS, /* messages that were lost, repeated, or late */
    FIGURE_FULL,
    FIGURE_SHORT_WRITES,
    FIGURE_FAILED, /* writes and syncs */
    FIGURE_CHANGES,
    FIGURE_ANNOUNCEMENTS, /* of nodes that have moved or want to join */
    FIGURE_ACCEPTED,
    FIGURE_WIPES,
    FIGURE_MOVES,
    FIGURE_STOPS,
    FIGURE_CUTS,
    FIGURE_INSTALLS,
    FIGURE_CHECKPOINTS, /* that are not part of a cut */
    FIGURE_COUNT
};

struct figures {
    uint64_t count[FIGURE_COUNT];
};

/* A sum that processes which are forked from here on share; zero. */
struct figures *figures_share(void);
/* From any process that shares it. */
void figures_add(struct figures *sum, const struct figures *more);
/* In one line, without its end. */
void figures_print(const struct figures *figures);
