/* A method call under way: from the D-Bus message through a Request and its Response to the reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "bus/connection.h"
#include "bus/sender.h"
#include "proto/unpack.h"

/* One method of an interface: how its arguments become a Request, and a Response its results. */
struct method {
    const char *member;
    enum method_kind kind;
    uint32_t timeout_ms; /* of the Request; 0: the default */
    /* Reads the arguments into the request and sets its body: malloc'd, as unpack() does. Negative
     * errno. */
    int (*read)(sd_bus_message *message, Raftkv__V1__Request *request);
    Raftkv__V1__Response__BodyCase body; /* that the Response must have */
    /* Appends the results. Negative errno, or a positive code with the failure to answer with. */
    int (*write)(sd_bus_message *reply, const Raftkv__V1__Response *response,
                 struct failure *failure);
    /* Told of each answer that is no error, before it is written. May be NULL. */
    void (*answered)(struct sender *sender, const Raftkv__V1__Response *response);
    /* Instead of body and write: does what the call wants, without the service, and replies. */
    void (*act)(sd_bus_message *message);
};

struct method_call {
    struct bus *bus;
    struct sender *sender;
    sd_bus_message *message;
    const struct method *method;
    Raftkv__V1__Request *request; /* until it is handed to the service */
    struct call *handle;          /* of the service, from then on */
    size_t bytes;                 /* of the request */
    struct share *share;          /* where it has its places; NULL: it has none */
    TAILQ_ENTRY(method_call) entry;
};

/*
 * Handles a call of one of these methods (an array that ends with an empty member); for the
 * handlers in the vtables. The reply comes later. Returns what a handler returns.
 */
int method_call_arrived(struct bus *bus, sd_bus_message *message, const struct method *methods);
/* As sd_bus_message_append(), but returns 0, never a positive number, on success. */
int results_append(sd_bus_message *reply, const char *types, ...);
/* Hands the request to the service. The call may be gone on return. */
void method_call_begin(struct method_call *call);
/* Answers with a failure and frees the call. */
void method_call_fail(struct method_call *call, const struct failure *failure);
/* Frees the call without an answer; what was begun goes on. */
void method_call_cancel(struct method_call *call);
