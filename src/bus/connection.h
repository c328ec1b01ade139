/* The bus room's own: what its files share. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/limits.h"
#include "bus/bus.h"
#include "bus/objects.h"
#include "bus/sender.h"
#include "bus/shares.h"

#define KV_INTERFACE "org.raftkv1.KV"
#define CLUSTER_INTERFACE "org.raftkv1.Cluster"

struct bus {
    sd_bus *connection;
    char *option;           /* which bus, as it was asked for */
    char *name;             /* the bus name of the node */
    bool ready;             /* the name is the node's */
    bool has_polkit;        /* it is the system bus */
    struct failure refused; /* why it can't be; with a code when it can't */
    struct service *service;
    struct senders senders;
    struct shares shares;
    uint64_t calls_ever;
    uint64_t received, sent; /* bytes of their arguments and results, as the service has them */
    struct objects objects;
};

/* What is served; the user data of each is the struct bus. */
extern const sd_bus_vtable kv_vtable[];
extern const sd_bus_vtable cluster_vtable[];
