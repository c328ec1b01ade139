/* org.raftkv1.Node: properties of the node, and the status of all members. */
#pragma once

#include "bus/connection.h"

/* Notes what the announced properties are, before anyone can ask. */
void node_properties_note(struct bus *bus);
/* Emits PropertiesChanged for those that changed since. */
void node_properties_announce(struct bus *bus);
