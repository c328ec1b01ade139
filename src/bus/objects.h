/* The objects on the bus that come, go and change: the node itself, the members, the operations.
 * All are found, listed and announced in one way. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#define OBJECT_PATH "/org/raftkv1"

enum {
    OBJECT_KINDS = 3,
    OBJECT_CHANGES_MAX = 7, /* properties of one object whose changes are announced */
};

struct bus;

/* One kind of objects; an object is whatever list() gives. */
struct object_kind {
    const char *interface;
    const char *parent; /* of their paths, without a last '/'; NULL: the one object of the node */
    const sd_bus_vtable *vtable; /* whose user data is the struct bus */
    size_t size, max;            /* of one in memory, and how many there can be */
    /* Gives those that there are now, to an array of zeroed `max`. Returns how many. */
    size_t (*list)(const struct bus *bus, void *ret);
    /* What tells it from all others of its kind, past ones included. */
    uint64_t (*id)(const void *object);
    char *(*path)(const void *object); /* malloc'd */
    /* Gives the names of the announced properties that differ. Returns how many. */
    size_t (*compare)(const void *old, const void *new, const char *ret[static OBJECT_CHANGES_MAX]);
};

extern const struct object_kind node_object, member_objects, operation_objects;

/* What was told of the objects of one kind, and when (CLOCK_MONOTONIC, us). */
struct objects_told {
    struct bus *bus;
    const struct object_kind *kind;
    uint8_t *objects;
    uint64_t *at;
    size_t count;
};

struct objects {
    struct objects_told told[OBJECT_KINDS];
    uint64_t look_at; /* when there may be something to tell again */
};

/* Serves them all, and an ObjectManager for them; negative errno. */
int objects_export(struct bus *bus);
void objects_deinit(struct objects *objects);
/* The object of that path, to `ret` of the kind's size. False: there is none. */
bool object_find(const struct bus *bus, const struct object_kind *kind, const char *path,
                 void *ret);
/* Announces objects that came or went, and properties that changed: those of one object at most ten
 * times a second, later changes when it may again. */
void objects_announce(struct bus *bus);
/* When objects_tick() wants to be called (CLOCK_MONOTONIC, us). */
uint64_t objects_deadline(const struct bus *bus);
/* Announces what nobody tells of, or had to wait, when it is time. */
void objects_tick(struct bus *bus);
