/* What stages, the switch and the restoring of backups share. Nobody else includes this. */
#pragma once

#include "store/stage.h"

/*
 * Writes the name of a finished stage into `current`. On failure *ret_done says whether it may have
 * happened all the same; the stage keeps its directory from then on.
 */
int stage_make_current(struct stage *stage, bool *ret_done);
/* Its directory. Owned by the stage. */
const char *stage_path(const struct stage *stage);
