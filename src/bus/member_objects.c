/* One object for each member of the cluster, /org/raftkv1/member/NAME:
 * dbus/org.raftkv1.Member.xml. */
#include <string.h>

#include "base/memory.h"
#include "bus/call.h"
#include "bus/objects.h"
#include "bus/words.h"

#define MEMBERS_PATH OBJECT_PATH "/member"

static size_t list(const struct bus *bus, void *ret) {
    return service_local_members(bus->service, ret);
}

static uint64_t id(const void *object) {
    return ((const struct service_member *)object)->id;
}

/* A member's name can stand in a path as it is. */
static char *path(const void *object) {
    return xasprintf(MEMBERS_PATH "/%s", ((const struct service_member *)object)->name);
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
    if (strcmp(property, "SnapshotProgress") == 0)
        return results_append(reply, "(tt)", member->snapshot_bytes, member->snapshot_total);
    if (strcmp(property, "MatchIndex") == 0)
        return results_append(reply, "t", member->match_index);
    return results_append(reply, "t", member->contact_ms); /* LastContactMilliseconds */
}

static int get_property(sd_bus *connection, const char *at, const char *interface,
                        const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
    struct service_member member;

    (void)connection;
    (void)interface;
    if (!object_find(userdata, &member_objects, at, &member))
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
    SD_BUS_PROPERTY("SnapshotProgress", "(tt)", get_property, 0,
                    SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("MatchIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("LastContactMilliseconds", "t", get_property, 0, 0),
    SD_BUS_VTABLE_END,
};
/* clang-format on */

static size_t compare(const void *before, const void *after,
                      const char *ret[static OBJECT_CHANGES_MAX]) {
    const struct service_member *old = before, *new = after;
    size_t count = 0;

    if (new->role != old->role)
        ret[count++] = "Role";
    if (strcmp(new->peer_address, old->peer_address) != 0)
        ret[count++] = "PeerAddress";
    if (strcmp(new->client_address, old->client_address) != 0)
        ret[count++] = "ClientAddress";
    if (new->leader != old->leader)
        ret[count++] = "Leader";
    if (new->reachable != old->reachable)
        ret[count++] = "Reachable";
    if (new->snapshot_bytes != old->snapshot_bytes || new->snapshot_total != old->snapshot_total)
        ret[count++] = "SnapshotProgress";
    return count;
}

const struct object_kind member_objects = {
    .interface = "org.raftkv1.Member",
    .parent = MEMBERS_PATH,
    .vtable = vtable,
    .size = sizeof(struct service_member),
    .max = MEMBERS_MAX,
    .list = list,
    .id = id,
    .path = path,
    .compare = compare,
};
