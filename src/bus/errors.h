/* Failures as D-Bus errors: org.raftkv1.Error.<name of the code>, with a sentence. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "base/error.h"
#include "proto/unpack.h"

/* Answers a call with a failure; the message also says when the outcome is unknown. Sends nothing
 * when the caller wants no reply. */
void reply_failure(sd_bus_message *call, const struct failure *failure);
/* The same with the error of a Response. */
void reply_error(sd_bus_message *call, const Raftkv__V1__Error *error);
