/*
 * Requests as D-Bus method calls, and their replies as Responses (the interfaces are in dbus/).
 * The messages that are made here are freed with protobuf-c's functions.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "client/transport.h"

/* A name that the node has. */
#define BUS_NAME_PREFIX "org.raftkv1."
#define BUS_PATH "/org/raftkv1"
#define BUS_ERROR_PREFIX "org.raftkv1.Error."

/*
 * Makes the method call for a request. ERROR_UNSUPPORTED with a failure where no method does what
 * the request asks for.
 */
int bus_call_new(sd_bus *bus, const char *destination, const Raftkv__V1__Request *request,
                 sd_bus_message **ret, struct failure *failure);

/* Makes the response out of the reply to this request's call. */
int bus_read_reply(sd_bus_message *reply, const Raftkv__V1__Request *request, const char *node,
                   Raftkv__V1__Response **ret);

/* Makes a response that holds this error. */
Raftkv__V1__Response *bus_error_response(enum error_code code, const char *message);
