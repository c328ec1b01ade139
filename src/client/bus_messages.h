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
 * Makes the method call for a request; a negative errno with a failure where that fails. To cancel
 * an operation replies nothing: to show it is a call of its own.
 */
int bus_call_new(sd_bus *bus, const char *destination, const Raftkv__V1__Request *request,
                 sd_bus_message **ret, struct failure *failure);

/* Makes the response out of the reply to this request's call. */
int bus_read_reply(sd_bus_message *reply, const Raftkv__V1__Request *request, const char *node,
                   Raftkv__V1__Response **ret);

/* operations: the path of an object, and the bodies of responses out of what is said of one (all of
 * it, or when it was awaited its result alone), or of all. */
char *bus_operation_path(uint64_t token); /* malloc'd */
int bus_read_operation(sd_bus_message *m, const Raftkv__V1__OperationRequest *request,
                       Raftkv__V1__Response *response);
int bus_read_operations(sd_bus_message *m, Raftkv__V1__Response *response);

/* As sd_bus_call(); meanwhile the transport's progress is told how an operation comes on that the
 * request is. */
int bus_call_with_progress(sd_bus *bus, sd_bus_message *m, const Raftkv__V1__Request *request,
                           const struct transport *transport, uint64_t timeout_us,
                           sd_bus_error *error, sd_bus_message **ret);

/* bus_awaited.c: the reply of Await, into what the operation's caller was answered. */
int bus_read_awaited(sd_bus_message *m, Raftkv__V1__Response *result);

/* bus_pending.c: the replies of GetPending and Reject, into the response. */
int bus_read_pending(sd_bus_message *reply, Raftkv__V1__Response *response);
int bus_read_rejected(Raftkv__V1__Response *response);

/* Makes a response that holds this error. */
Raftkv__V1__Response *bus_error_response(enum error_code code, const char *message);
