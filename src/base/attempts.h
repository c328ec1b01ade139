/*
 * attempts: when the leader may change the members by itself once more for a node for which that
 * has failed. While an address is asked who is there no other change can begin, so one where nobody
 * answers is asked rarely.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Zeros: none has failed. */
struct attempts {
    uint64_t pause; /* ms, after the last one that began; 0: the node could be asked who it is */
    uint64_t not_before; /* host time of the next one */
};

/* One has failed at `now`. False: it had not begun (another change is under way, this is not the
 * leader); the next one may follow at once, and the pause is as long as before then. */
bool attempts_failed(struct attempts *attempts, uint64_t now, enum error_code code);
