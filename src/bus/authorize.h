/* Who may call what. */
#pragma once

#include "bus/call.h"

/*
 * Decides whether the sender may make this call, and ends in method_call_begin() or in
 * method_call_fail() with ERROR_PERMISSION_DENIED, at once or when the bus and polkit have
 * answered. Calls of one sender stay in their order, but that those which anyone may make wait for
 * nothing but to learn whose they are, because users have shares (shares.h). Root and the daemon's
 * own user may make every call; on the system bus polkit decides about others
 * (dbus/org.raftkv1.policy), elsewhere nobody else may.
 */
void authorize(struct method_call *call);
