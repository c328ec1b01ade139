/* Asking polkit whether a caller may do something. */
#pragma once

#include <systemd/sd-bus.h>

#include "bus/sender.h"

/*
 * Asks whether the sender of `message` may carry out the action (dbus/org.raftkv1.policy). The
 * answer comes later, after up to two minutes when a person has to authenticate: it is under way as
 * long as sender->query is not NULL, and never comes when that is freed. Negative errno.
 */
int polkit_ask(struct sender *sender, sd_bus_message *message, const char *action,
               polkit_answered answered);
