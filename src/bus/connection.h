/* The bus room's own: what its files share. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/limits.h"
#include "bus/bus.h"
#include "bus/objects.h"
#include "bus/sender.h"

#define KV_INTERFACE "org.raftkv1.KV"
#define CLUSTER_INTERFACE "org.raftkv1.Cluster"

/* Who may make a call. */
enum openness {
    OPEN_NOT,   /* authorize() decides */
    OPEN_READ,  /* anyone: it tells what is so, soon */
    OPEN_AWAIT, /* anyone: it tells what will be, which may take long */
    OPENNESS_COUNT,
};

struct bus {
    sd_bus *connection;
    char *option;           /* which bus, as it was asked for */
    char *name;             /* the bus name of the node */
    bool ready;             /* the name is the node's */
    bool has_polkit;        /* it is the system bus */
    struct failure refused; /* why it can't be; with a code when it can't */
    struct service *service;
    struct senders senders;
    size_t calls;                      /* under way, of all senders */
    size_t open_calls[OPENNESS_COUNT]; /* the same by who may make them */
    size_t bytes;                      /* of their arguments */
    uint64_t calls_ever;
    uint64_t received, sent; /* bytes of their arguments and results, as the service has them */
    struct objects objects;
};

/* What is served; the user data of each is the struct bus. */
extern const sd_bus_vtable kv_vtable[];
extern const sd_bus_vtable cluster_vtable[];
