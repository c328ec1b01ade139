#include "bus/objects.h"

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/memory.h"
#include "bus/connection.h"

#define CHANGES_INTERVAL_US 100000 /* between the announcements of one object */
#define LOOK_INTERVAL_US 1000000   /* nobody tells when a link comes or goes */

static const struct object_kind *const kinds[OBJECT_KINDS] = {&node_object, &member_objects,
                                                              &operation_objects};

static uint64_t now_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Malloc'd. */
static uint8_t *list_objects(const struct bus *bus, const struct object_kind *kind,
                             size_t *ret_count) {
    uint8_t *objects = xcalloc(kind->max, kind->size);

    *ret_count = kind->list(bus, objects);
    check(*ret_count <= kind->max);
    return objects;
}

/* ---- what is served ---- */

bool object_find(const struct bus *bus, const struct object_kind *kind, const char *path,
                 void *ret) {
    size_t count;
    _cleanup_free_ uint8_t *objects = list_objects(bus, kind, &count);

    for (size_t i = 0; i < count; i++) {
        _cleanup_free_ char *other = kind->path(objects + i * kind->size);

        if (strcmp(path, other) != 0)
            continue;
        memcpy(ret, objects + i * kind->size, kind->size);
        return true;
    }
    return false;
}

static int exists(sd_bus *connection, const char *path, const char *interface, void *userdata,
                  void **ret_found, sd_bus_error *error) {
    const struct objects_told *told = userdata;
    _cleanup_free_ void *object = xcalloc(1, told->kind->size);

    (void)connection;
    (void)interface;
    (void)error;
    if (!object_find(told->bus, told->kind, path, object))
        return 0;
    *ret_found = told->bus;
    return 1;
}

static int enumerate(sd_bus *connection, const char *prefix, void *userdata, char ***ret_paths,
                     sd_bus_error *error) {
    const struct objects_told *told = userdata;
    size_t count;
    _cleanup_free_ uint8_t *objects = list_objects(told->bus, told->kind, &count);
    char **paths = xcalloc(count + 1, sizeof *paths);

    (void)connection;
    (void)prefix;
    (void)error;
    for (size_t i = 0; i < count; i++)
        paths[i] = told->kind->path(objects + i * told->kind->size);
    *ret_paths = paths; /* sd-bus frees them */
    return 1;
}

static int export_kind(struct objects_told *told) {
    const struct object_kind *kind = told->kind;
    struct bus *bus = told->bus;
    int r;

    if (!kind->parent)
        return sd_bus_add_object_vtable(bus->connection, NULL, OBJECT_PATH, kind->interface,
                                        kind->vtable, bus);
    r = sd_bus_add_fallback_vtable(bus->connection, NULL, kind->parent, kind->interface,
                                   kind->vtable, exists, told);
    if (r < 0)
        return r;
    return sd_bus_add_node_enumerator(bus->connection, NULL, kind->parent, enumerate, told);
}

int objects_export(struct bus *bus) {
    int r = sd_bus_add_object_manager(bus->connection, NULL, OBJECT_PATH);

    for (size_t i = 0; r >= 0 && i < OBJECT_KINDS; i++) {
        struct objects_told *told = &bus->objects.told[i];

        told->bus = bus;
        told->kind = kinds[i];
        r = export_kind(told);
        /* Who connects now reads the objects; only what changes from here on is announced. */
        told->objects = list_objects(bus, kinds[i], &told->count);
        told->at = xcalloc(kinds[i]->max, sizeof *told->at);
    }
    bus->objects.look_at = now_us() + LOOK_INTERVAL_US;
    return r;
}

void objects_deinit(struct objects *objects) {
    for (size_t i = 0; i < OBJECT_KINDS; i++) {
        free(objects->told[i].objects);
        free(objects->told[i].at);
    }
}

/* ---- announcements: what fails here fails because the connection is gone ---- */

enum { NONE = -1 };

static ssize_t find_id(const struct object_kind *kind, const uint8_t *objects, size_t count,
                       uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (kind->id(objects + i * kind->size) == id)
            return (ssize_t)i;
    return NONE;
}

static void announce_gone(struct bus *bus, const struct object_kind *kind, const void *object) {
    _cleanup_free_ char *path = kind->path(object);

    (void)sd_bus_emit_interfaces_removed(bus->connection, path, kind->interface, NULL);
}

static void announce_new(struct bus *bus, const struct object_kind *kind, const void *object) {
    _cleanup_free_ char *path = kind->path(object);

    (void)sd_bus_emit_interfaces_added(bus->connection, path, kind->interface, NULL);
}

/* Whether the object has nothing left to tell; otherwise it has to wait. */
static bool announce_changes(struct bus *bus, const struct object_kind *kind, const void *old,
                             const void *new, uint64_t now, uint64_t *at) {
    const char *names[OBJECT_CHANGES_MAX + 1] = {0};
    _cleanup_free_ char *path = NULL;

    if (kind->compare(old, new, names) == 0)
        return true;
    if (now < *at + CHANGES_INTERVAL_US) {
        if (*at + CHANGES_INTERVAL_US < bus->objects.look_at)
            bus->objects.look_at = *at + CHANGES_INTERVAL_US;
        return false;
    }
    path = kind->path(new);
    /* sd-bus does not change the names, though it asks for pointers that it could change. */
    (void)sd_bus_emit_properties_changed_strv(bus->connection, path, kind->interface,
                                              (char **)(uintptr_t)names);
    *at = now;
    return true;
}

static void announce_kind(struct objects_told *told, uint64_t now) {
    const struct object_kind *kind = told->kind;
    struct bus *bus = told->bus;
    _cleanup_free_ uint64_t *before = told->at;
    _cleanup_free_ uint8_t *old = told->objects;
    size_t old_count = told->count;

    told->objects = list_objects(bus, kind, &told->count);
    told->at = xcalloc(kind->max, sizeof *told->at);
    for (size_t i = 0; i < old_count; i++)
        if (find_id(kind, told->objects, told->count, kind->id(old + i * kind->size)) == NONE)
            announce_gone(bus, kind, old + i * kind->size);
    for (size_t i = 0; i < told->count; i++) {
        uint8_t *object = told->objects + i * kind->size;
        ssize_t known = find_id(kind, old, old_count, kind->id(object));

        told->at[i] = known == NONE ? now : before[known];
        if (known == NONE)
            announce_new(bus, kind, object);
        else if (!announce_changes(bus, kind, old + (size_t)known * kind->size, object, now,
                                   &told->at[i]))
            memcpy(object, old + (size_t)known * kind->size, kind->size);
    }
}

void objects_announce(struct bus *bus) {
    uint64_t now = now_us();

    bus->objects.look_at = now + LOOK_INTERVAL_US;
    for (size_t i = 0; i < OBJECT_KINDS; i++)
        announce_kind(&bus->objects.told[i], now);
}

uint64_t objects_deadline(const struct bus *bus) {
    return bus->objects.look_at;
}

void objects_tick(struct bus *bus) {
    if (now_us() >= bus->objects.look_at)
        objects_announce(bus);
}
