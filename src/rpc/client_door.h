/*
 * rpc: the network. Frames, listeners, client connections and peer links on libuv, and the limits
 * on each. It turns bytes into checked messages and back, and decides nothing else. May use base,
 * proto, service and libuv.
 *
 * client_door: the listener for clients. Every connection is a pipeline of Request frames; answers
 * go back as they come.
 */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "service/service.h"

struct client_door;

struct client_door_options {
    uv_loop_t *loop;
    struct service *service;
    const char *listen; /* HOST:PORT, of which the host may be a name, IPv4, IPv6 or a wildcard;
                           port 0: any free one */
    unsigned max_connections; /* further ones are told Busy and closed */
    unsigned max_in_flight; /* requests under way on one connection; above it the connection is not
                               read */
};

/* Listens. ERROR_UNAVAILABLE with a failure that names the address and the reason (in use, no such
 * host ...). */
int client_door_open(struct client_door **ret, const struct client_door_options *options,
                     struct failure *failure);
/* Takes over the two limits of the options. Connections that are open stay. */
void client_door_set_limits(struct client_door *door, unsigned max_connections,
                            unsigned max_in_flight);
/* The port that it listens on. */
unsigned client_door_port(const struct client_door *door);
/* Open connections now. */
size_t client_door_connections(const struct client_door *door);
/* Adds what it has counted. */
void client_door_add_statistics(const struct client_door *door, struct statistics *statistics);
/* Takes leave of the clients: who waits for no answer is told that the node stops, and the others
 * when they have all of theirs, or with client_door_close(). So is who connects from now on. */
void client_door_take_leave(struct client_door *door);
/* Takes leave of who is left, gives all of them a moment to read that, and closes everything;
 * requests under way are cancelled. `closed` is called from the loop when the memory is gone. */
void client_door_close(struct client_door *door, void (*closed)(void *data), void *data);
