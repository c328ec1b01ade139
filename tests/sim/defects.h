/* defects: the deliberate defects by their names (base/defect.h). */
#pragma once

#include <stdbool.h>

/* False: there is none of that name here; says on stderr which there are. */
bool defects_choose(const char *name);
