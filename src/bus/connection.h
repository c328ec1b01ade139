/* The bus room's own: what its files share. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/limits.h"
#include "bus/bus.h"
#include "bus/sender.h"

#define OBJECT_PATH "/org/raftkv1"
#define KV_INTERFACE "org.raftkv1.KV"
#define CLUSTER_INTERFACE "org.raftkv1.Cluster"
#define NODE_INTERFACE "org.raftkv1.Node"

/* What PropertiesChanged last said of the properties that it announces. */
struct announced {
    uint64_t cluster_id;
    uint64_t term;
    int role;
    int state;
    char alarm[32];
    char leader[MEMBER_NAME_MAX + 1];
};

/* What was told of the members, and when (CLOCK_MONOTONIC, us). */
struct members_told {
    size_t count;
    struct service_member told[MEMBERS_MAX];
    uint64_t told_at[MEMBERS_MAX];
    uint64_t look_at; /* when there may be something to tell again */
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
    size_t calls;      /* under way, of all senders */
    size_t open_calls; /* those of them that anyone may make */
    size_t bytes;      /* of their arguments */
    uint64_t calls_ever;
    struct announced announced;
    struct members_told members;
};

/* What is served; the user data of each is the struct bus. */
extern const sd_bus_vtable kv_vtable[];
extern const sd_bus_vtable cluster_vtable[];
extern const sd_bus_vtable node_vtable[];
