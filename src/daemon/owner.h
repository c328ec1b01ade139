/* owner: as which user the tools work on a data directory. */
#pragma once

#include "base/error.h"

/*
 * Root becomes the owner of the data directory at the path, or where there is none yet, of the
 * directory that it is made in, for the rest of the process: so what a tool writes belongs to the
 * user of the service, and links that this user has made lead nowhere where it may not go. Others
 * stay who they are. ERROR_INTERNAL with the reason.
 */
int owner_become(const char *path, struct failure *failure);
