/*
 * bus: the D-Bus door. Turns method calls into Requests for the service and Responses into replies,
 * and publishes the node's properties. The interfaces are documented in dbus/ (introspection XML),
 * which a test compares with what is served. It has no event loop: the daemon polls its file
 * descriptor. May use base, proto, service and sd-bus.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/service.h"

struct bus;

struct bus_options {
    const char *address; /* "system", "session" or a D-Bus address */
    const char *name;    /* of the node: the bus name is org.raftkv1.<name> */
    struct service *service;
};

/*
 * Begins to connect, exports the objects and asks for the name, and does not wait for any of it:
 * bus_process() goes on with it. ERROR_UNAVAILABLE with a failure that says which bus and why.
 */
int bus_begin(struct bus **ret, const struct bus_options *options, struct failure *failure);
/* The same, and waits until the name is the node's, for at most 25 s. */
int bus_open(struct bus **ret, const struct bus_options *options, struct failure *failure);
/* Whether the name is the node's, so that it can be called. */
bool bus_ready(const struct bus *bus);
/* Calls under way are cancelled. Takes NULL; returns NULL. */
struct bus *bus_close(struct bus *bus);

/* For the loop: poll this descriptor for these poll(2) events, at most until that time
 * (CLOCK_MONOTONIC, us; UINT64_MAX: no limit). */
int bus_fd(struct bus *bus);
int bus_events(struct bus *bus);
uint64_t bus_deadline(struct bus *bus);
/* Does what there is to do now. ERROR_UNAVAILABLE, with a failure that says why: the bus is of no
 * use any more; close it. */
int bus_process(struct bus *bus, struct failure *failure);

/* Adds what it has counted. */
void bus_add_statistics(const struct bus *bus, struct statistics *statistics);
/* The node's status may have changed: emit PropertiesChanged for what did. */
void bus_status_changed(struct bus *bus);
