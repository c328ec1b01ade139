/* Backups over the bus: a caller reads the state chunk by chunk, and one that leaves the bus wants
 * no more of it. */
#pragma once

#include "bus/call.h"

/* The handler of ReadBackup and EndBackup in the vtable of org.raftkv1.Node. */
int backups_handle(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* Whether the sender reads backups, as far as is known. */
bool backups_open(const struct sender *sender);
/* The sender is gone: the node lets go of what it was reading. */
void backups_leave(struct sender *sender);
