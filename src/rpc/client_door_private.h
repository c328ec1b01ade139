/* What the files of the client door share among themselves. */
#pragma once

#include <sys/queue.h>

#include "rpc/client_door.h"
#include "rpc/client_session.h"
#include "rpc/listen.h"
#include "rpc/network.h"

struct client_door {
    struct network network;
    struct listener listener;
    struct service *service;
    unsigned max_connections;
    unsigned max_in_flight;
    size_t unsent_max; /* bytes of answers that wait for all clients to read them */
    LIST_HEAD(, client_session) sessions;
    size_t connections; /* those that are being closed included, those turned away not */
    size_t turned_away;
    uint64_t accepted_ever, turned_away_ever;
    bool leaving;               /* clients are told that the node stops */
    bool closing;               /* when the last session is gone, so is the network */
    struct turn_task last_look; /* for connections that the kernel has, before it stops listening */
    unsigned last_looks;        /* since one came in */
    unsigned last_accepted;     /* while it closes */
    void (*closed)(void *data);
    void *closed_data;
};

/* Answers fill the memory: the client that has read least of its own has to go. */
void client_door_shed_output(struct client_door *door);
/* A session's memory is gone. */
void client_door_session_gone(struct client_door *door);
