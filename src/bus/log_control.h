/* org.freedesktop.LogControl1, for "systemctl service-log-level": see
 * org.freedesktop.LogControl1(5). */
#pragma once

#include "bus/connection.h"

/* Serves the object; negative errno. */
int log_control_export(struct bus *bus);
