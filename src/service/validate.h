/* validate: whether a request keeps within the limits. The one place where they are checked. */
#pragma once

#include "base/error.h"
#include "proto/unpack.h"

/*
 * Returns 0, or a positive code and the failure to answer with: ERROR_UNSUPPORTED for a request
 * without a body that this version knows, ERROR_TOO_LARGE for a key or value above its limit,
 * ERROR_INVALID_ARGUMENT for everything else.
 */
int validate_request(const Raftkv__V1__Request *request, struct failure *failure);
