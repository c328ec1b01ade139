/* One object for each operation that the node knows, /org/raftkv1/operation/N:
 * dbus/org.raftkv1.Operation.xml. */
#pragma once

#include "bus/connection.h"

/* Serves the objects; negative errno. */
int operation_objects_export(struct bus *bus);
