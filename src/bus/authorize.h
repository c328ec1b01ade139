/* Who may call what. */
#pragma once

#include "bus/call.h"

/*
 * Decides whether the sender may make this call, and ends in method_call_begin() or in
 * method_call_fail() with ERROR_PERMISSION_DENIED: at once when its user is known, else when the
 * bus has told who it is. Calls of one sender stay in their order. Root and the daemon's own user
 * may make every call.
 */
void authorize(struct method_call *call);
