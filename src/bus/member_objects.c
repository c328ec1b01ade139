#include "bus/member_objects.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "bus/call.h"
#include "bus/words.h"

#define MEMBERS_PATH OBJECT_PATH "/member"
#define MEMBER_INTERFACE "org.raftkv1.Member"

#define CHANGES_INTERVAL_US 100000 /* between the announcements of one member */
#define LOOK_INTERVAL_US 1000000   /* nobody tells when a link comes or goes */

enum { PATH_MAX_SIZE = sizeof MEMBERS_PATH + 1 + MEMBER_NAME_MAX };

static uint64_t now_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A member's name can stand in a path as it is. */
static void path_of(const char *name, char path[static PATH_MAX_SIZE]) {
    snprintf(path, PATH_MAX_SIZE, MEMBERS_PATH "/%s", name);
}

static bool find_member(const struct bus *bus, const char *path, struct service_member *ret) {
    struct service_member members[MEMBERS_MAX];
    size_t count = service_local_members(bus->service, members);
    char wanted[PATH_MAX_SIZE];

    for (size_t i = 0; i < count; i++) {
        path_of(members[i].name, wanted);
        if (strcmp(path, wanted) == 0) {
            *ret = members[i];
            return true;
        }
    }
    return false;
}

/* ---- what is served ---- */

static int find_object(sd_bus *connection, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error) {
    struct service_member member;

    (void)connection;
    (void)interface;
    (void)error;
    if (!find_member(userdata, path, &member))
        return 0;
    *ret_found = userdata;
    return 1;
}

static int enumerate(sd_bus *connection, const char *prefix, void *userdata, char ***ret_paths,
                     sd_bus_error *error) {
    const struct bus *bus = userdata;
    struct service_member members[MEMBERS_MAX];
    size_t count = service_local_members(bus->service, members);
    char **paths = xcalloc(count + 1, sizeof *paths);

    (void)connection;
    (void)prefix;
    (void)error;
    for (size_t i = 0; i < count; i++)
        paths[i] = xasprintf(MEMBERS_PATH "/%s", members[i].name);
    *ret_paths = paths; /* sd-bus frees them */
    return 1;
}

static int append_property(sd_bus_message *reply, const char *property,
                           const struct service_member *member) {
    if (strcmp(property, "Name") == 0)
        return results_append(reply, "s", member->name);
    if (strcmp(property, "ID") == 0)
        return results_append(reply, "t", member->id);
    if (strcmp(property, "Role") == 0)
        return results_append(reply, "s", role_word(member->role));
    if (strcmp(property, "PeerAddress") == 0)
        return results_append(reply, "s", member->peer_address);
    if (strcmp(property, "ClientAddress") == 0)
        return results_append(reply, "s", member->client_address);
    if (strcmp(property, "Leader") == 0)
        return results_append(reply, "b", (int)member->leader);
    if (strcmp(property, "Reachable") == 0)
        return results_append(reply, "b", (int)member->reachable);
    if (strcmp(property, "MatchIndex") == 0)
        return results_append(reply, "t", member->match_index);
    return results_append(reply, "t", member->contact_ms); /* LastContactMilliseconds */
}

static int get_property(sd_bus *connection, const char *path, const char *interface,
                        const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
    struct service_member member;

    (void)connection;
    (void)interface;
    if (!find_member(userdata, path, &member))
        return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                 "There is no such member any more.");
    return append_property(reply, property, &member);
}

/* clang-format off */
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Name", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("ID", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Role", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("PeerAddress", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ClientAddress", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Leader", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Reachable", "b", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("MatchIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("LastContactMilliseconds", "t", get_property, 0, 0),
    SD_BUS_VTABLE_END,
};
/* clang-format on */

int member_objects_export(struct bus *bus) {
    int r = sd_bus_add_object_manager(bus->connection, NULL, OBJECT_PATH);

    if (r >= 0)
        r = sd_bus_add_fallback_vtable(bus->connection, NULL, MEMBERS_PATH, MEMBER_INTERFACE,
                                       vtable, find_object, bus);
    if (r >= 0)
        r = sd_bus_add_node_enumerator(bus->connection, NULL, MEMBERS_PATH, enumerate, bus);
    if (r < 0)
        return r;
    /* Who connects now reads the objects; only what changes from here on is announced. */
    bus->members.count = service_local_members(bus->service, bus->members.told);
    bus->members.look_at = now_us() + LOOK_INTERVAL_US;
    return 0;
}

/* ---- announcements: what fails here fails because the connection is gone ---- */

static size_t changed_properties(const struct service_member *old, const struct service_member *new,
                                 const char *names[static 6]) {
    size_t count = 0;

    if (new->role != old->role)
        names[count++] = "Role";
    if (strcmp(new->peer_address, old->peer_address) != 0)
        names[count++] = "PeerAddress";
    if (strcmp(new->client_address, old->client_address) != 0)
        names[count++] = "ClientAddress";
    if (new->leader != old->leader)
        names[count++] = "Leader";
    if (new->reachable != old->reachable)
        names[count++] = "Reachable";
    names[count] = NULL;
    return count;
}

static const struct service_member *find_id(const struct service_member *members, size_t count,
                                            uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return &members[i];
    return NULL;
}

static void announce_gone(struct bus *bus, const struct service_member *members, size_t count) {
    for (size_t i = 0; i < bus->members.count; i++) {
        char path[PATH_MAX_SIZE];

        if (find_id(members, count, bus->members.told[i].id))
            continue;
        path_of(bus->members.told[i].name, path);
        (void)sd_bus_emit_interfaces_removed(bus->connection, path, MEMBER_INTERFACE, NULL);
    }
}

/* Returns what was told of the member in the end: what it is now, or still what it was. */
static struct service_member announce_member(struct bus *bus, const struct service_member *member,
                                             const struct service_member *old, uint64_t now,
                                             uint64_t *told_at) {
    const char *names[6];
    char path[PATH_MAX_SIZE];

    path_of(member->name, path);
    if (!old) {
        (void)sd_bus_emit_interfaces_added(bus->connection, path, MEMBER_INTERFACE, NULL);
        *told_at = now;
        return *member;
    }
    if (changed_properties(old, member, names) == 0)
        return *member;
    if (now < *told_at + CHANGES_INTERVAL_US) {
        if (*told_at + CHANGES_INTERVAL_US < bus->members.look_at)
            bus->members.look_at = *told_at + CHANGES_INTERVAL_US;
        return *old;
    }
    /* sd-bus does not change the names, though it asks for pointers that it could change. */
    (void)sd_bus_emit_properties_changed_strv(bus->connection, path, MEMBER_INTERFACE,
                                              (char **)(uintptr_t)names);
    *told_at = now;
    return *member;
}

void member_objects_announce(struct bus *bus) {
    const struct members_told before = bus->members;
    struct members_told *after = &bus->members;
    struct service_member members[MEMBERS_MAX];
    size_t count = service_local_members(bus->service, members);
    uint64_t now = now_us();

    announce_gone(bus, members, count);
    after->look_at = now + LOOK_INTERVAL_US;
    after->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct service_member *old = find_id(before.told, before.count, members[i].id);
        uint64_t told_at = old ? before.told_at[old - before.told] : 0;

        after->told[i] = announce_member(bus, &members[i], old, now, &told_at);
        after->told_at[i] = told_at;
    }
}

uint64_t member_objects_deadline(const struct bus *bus) {
    return bus->members.look_at;
}

void member_objects_tick(struct bus *bus) {
    if (now_us() >= bus->members.look_at)
        member_objects_announce(bus);
}
