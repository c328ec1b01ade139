/* org.raftkv1.Node: dbus/org.raftkv1.Node.xml. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "bus/backups.h"
#include "bus/call.h"
#include "bus/objects.h"
#include "bus/text.h"
#include "bus/words.h"

static void status_free(Raftkv__V1__MemberStatus **status) {
    raftkv__v1__member_status__free_unpacked(*status, NULL);
}

/* How far a state has come, and one row of GetStatus. */
#define PROGRESS_TYPE "(stttut)"
#define STATUS_TYPES "stsststtttbssssttstttta" PROGRESS_TYPE "a" PROGRESS_TYPE

/* ---- how far snapshots have come ---- */

static int append_progress(sd_bus_message *reply, const Raftkv__V1__SnapshotProgress *progress) {
    _cleanup_free_ char *member = text_clean(progress->member);

    return results_append(reply, PROGRESS_TYPE, member, progress->bytes, progress->total_bytes,
                          progress->milliseconds, progress->percent, progress->bytes_per_second);
}

static int append_progresses(sd_bus_message *reply, Raftkv__V1__SnapshotProgress *const *progresses,
                             size_t count) {
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, PROGRESS_TYPE);

    for (size_t i = 0; r >= 0 && i < count; i++)
        r = append_progress(reply, progresses[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_receiving(sd_bus_message *reply, const Raftkv__V1__MemberStatus *status) {
    return append_progresses(reply, &status->receiving, status->receiving != NULL);
}

static int append_sending(sd_bus_message *reply, const Raftkv__V1__MemberStatus *status) {
    return append_progresses(reply, status->sending, status->n_sending);
}

/* ---- properties ---- */

/* The field of the status that a property shows. */
struct field {
    const char *property;
    /* 's', 't', or 'r' for the role and 'z' for the state, as words; '<' and '>' for what is
     * received and sent */
    char type;
    size_t offset;
};

static const struct field fields[] = {
    {"Name", 's', offsetof(Raftkv__V1__MemberStatus, name)},
    {"MemberID", 't', offsetof(Raftkv__V1__MemberStatus, id)},
    {"ClusterID", 't', offsetof(Raftkv__V1__MemberStatus, cluster_id)},
    {"Role", 'r', offsetof(Raftkv__V1__MemberStatus, role)},
    {"State", 'z', offsetof(Raftkv__V1__MemberStatus, state)},
    {"Term", 't', offsetof(Raftkv__V1__MemberStatus, term)},
    {"Leader", 's', offsetof(Raftkv__V1__MemberStatus, leader)},
    {"CommitIndex", 't', offsetof(Raftkv__V1__MemberStatus, commit_index)},
    {"AppliedIndex", 't', offsetof(Raftkv__V1__MemberStatus, applied_index)},
    {"LastIndex", 't', offsetof(Raftkv__V1__MemberStatus, last_index)},
    {"SnapshotCount", 't', offsetof(Raftkv__V1__MemberStatus, snapshot_count)},
    {"SnapshotIndex", 't', offsetof(Raftkv__V1__MemberStatus, snapshot_index)},
    {"SnapshotMilliseconds", 't', offsetof(Raftkv__V1__MemberStatus, snapshot_milliseconds)},
    {"SnapshotBytes", 't', offsetof(Raftkv__V1__MemberStatus, snapshot_bytes)},
    {"Receiving", '<', offsetof(Raftkv__V1__MemberStatus, receiving)},
    {"Sending", '>', offsetof(Raftkv__V1__MemberStatus, sending)},
    {"PeerAddress", 's', offsetof(Raftkv__V1__MemberStatus, peer_address)},
    {"ClientAddress", 's', offsetof(Raftkv__V1__MemberStatus, client_address)},
    {"Version", 's', offsetof(Raftkv__V1__MemberStatus, version)},
    {"Alarm", 's', offsetof(Raftkv__V1__MemberStatus, alarm)},
};

static const struct field *field_find(const char *property) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(fields[i].property, property) == 0)
            return &fields[i];
    check(!"a property has a field");
    return NULL;
}

static int get_property(sd_bus *connection, const char *at, const char *interface,
                        const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
    const struct bus *bus = userdata;
    const struct field *field = field_find(property);
    _cleanup_(status_free) Raftkv__V1__MemberStatus *status = service_local_status(bus->service);
    const char *place = (const char *)status + field->offset;

    (void)connection;
    (void)at;
    (void)interface;
    (void)error;
    switch (field->type) {
    case 't':
        return sd_bus_message_append_basic(reply, SD_BUS_TYPE_UINT64, place);
    case 'r':
        return results_append(reply, "s", role_word(*(const Raftkv__V1__Role *)place));
    case 'z':
        return results_append(reply, "s", state_word(*(const Raftkv__V1__State *)place));
    case '<':
        return append_receiving(reply, status);
    case '>':
        return append_sending(reply, status);
    default:
        return text_append_clean(reply, *(char *const *)place);
    }
}

/* What PropertiesChanged tells of. */
struct announced {
    uint64_t cluster_id;
    uint64_t term;
    int role;
    int state;
    char alarm[32];
    char leader[MEMBER_NAME_MAX + 1];
};

static size_t list(const struct bus *bus, void *ret) {
    _cleanup_(status_free) Raftkv__V1__MemberStatus *status = service_local_status(bus->service);
    struct announced *node = ret;

    *node = (struct announced){.cluster_id = status->cluster_id,
                               .term = status->term,
                               .role = (int)status->role,
                               .state = (int)status->state};
    snprintf(node->alarm, sizeof node->alarm, "%s", status->alarm);
    snprintf(node->leader, sizeof node->leader, "%s", status->leader);
    return 1;
}

static uint64_t id(const void *object) {
    (void)object;
    return 0; /* it stays */
}

static char *path(const void *object) {
    (void)object;
    return xstrdup(OBJECT_PATH);
}

static size_t compare(const void *before, const void *after,
                      const char *ret[static OBJECT_CHANGES_MAX]) {
    const struct announced *old = before, *new = after;
    size_t count = 0;

    if (new->cluster_id != old->cluster_id)
        ret[count++] = "ClusterID";
    if (new->role != old->role)
        ret[count++] = "Role";
    if (new->state != old->state)
        ret[count++] = "State";
    if (new->term != old->term)
        ret[count++] = "Term";
    if (strcmp(new->leader, old->leader) != 0)
        ret[count++] = "Leader";
    if (strcmp(new->alarm, old->alarm) != 0)
        ret[count++] = "Alarm";
    return count;
}

/* ---- GetStatus ---- */

static int read_status(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__StatusRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__status_request__init(body);
    body->cluster = true;
    request->body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
    request->status = body;
    return 0;
}

static int append_status(sd_bus_message *reply, const Raftkv__V1__MemberStatus *status) {
    _cleanup_free_ char *name = text_clean(status->name);
    _cleanup_free_ char *leader = text_clean(status->leader);
    _cleanup_free_ char *error = text_clean(status->error);
    _cleanup_free_ char *version = text_clean(status->version);
    _cleanup_free_ char *peer_address = text_clean(status->peer_address);
    _cleanup_free_ char *client_address = text_clean(status->client_address);
    _cleanup_free_ char *alarm = text_clean(status->alarm);

    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_STRUCT, STATUS_TYPES);

    if (r >= 0)
        r = results_append(reply, "stsststtttbsssstts", name, status->id, role_word(status->role),
                           state_word(status->state), status->term, leader, status->commit_index,
                           status->applied_index, status->last_index, status->lag,
                           (int)status->answers, error, version, peer_address, client_address,
                           status->first_index, status->cluster_id, alarm);
    if (r >= 0)
        r = results_append(reply, "tttt", status->snapshot_count, status->snapshot_index,
                           status->snapshot_milliseconds, status->snapshot_bytes);
    if (r >= 0)
        r = append_receiving(reply, status);
    if (r >= 0)
        r = append_sending(reply, status);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int write_status(sd_bus_message *reply, const Raftkv__V1__Response *response,
                        struct failure *failure) {
    const Raftkv__V1__StatusResponse *body = response->status;
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "(" STATUS_TYPES ")");

    (void)failure;
    if (r < 0)
        return r;
    for (size_t i = 0; i < body->n_members; i++) {
        r = append_status(reply, body->members[i]);
        if (r < 0)
            return r;
    }
    if (body->n_members == 0 && body->self) {
        r = append_status(reply, body->self);
        if (r < 0)
            return r;
    }
    return sd_bus_message_close_container(reply);
}

/* ---- Snapshot ---- */

static int read_snapshot(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__SnapshotRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__snapshot_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_SNAPSHOT;
    request->snapshot = body;
    return 0;
}

static int write_snapshot(sd_bus_message *reply, const Raftkv__V1__Response *response,
                          struct failure *failure) {
    (void)failure;
    return results_append(reply, "tt", response->snapshot->index, response->snapshot->milliseconds);
}

/* ---- Stats ---- */

static int read_stats(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__StatsRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__stats_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_STATS;
    request->stats = body;
    return 0;
}

static int append_statistic(sd_bus_message *reply, const Raftkv__V1__Statistic *statistic) {
    const Raftkv__V1__Histogram *histogram = statistic->histogram;

    if (statistic->value_case != RAFTKV__V1__STATISTIC__VALUE_HISTOGRAM)
        return results_append(reply, "{sv}", statistic->name, "t", statistic->number);
    return results_append(reply, "{sv}", statistic->name, "(ttttttt)", histogram->count,
                          histogram->mean, histogram->maximum, histogram->p50, histogram->p90,
                          histogram->p99, histogram->p999);
}

static int write_stats(sd_bus_message *reply, const Raftkv__V1__Response *response,
                       struct failure *failure) {
    const Raftkv__V1__StatsResponse *body = response->stats;
    int r = sd_bus_message_open_container(reply, SD_BUS_TYPE_ARRAY, "{sv}");

    (void)failure;
    for (size_t i = 0; r >= 0 && i < body->n_statistics; i++)
        r = append_statistic(reply, body->statistics[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* ---- Barrier and VerifyLeader ---- */

static int read_barrier(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__BarrierRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__barrier_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_BARRIER;
    request->barrier = body;
    return 0;
}

static int write_barrier(sd_bus_message *reply, const Raftkv__V1__Response *response,
                         struct failure *failure) {
    (void)failure;
    return results_append(reply, "t", response->barrier->index);
}

static int read_verify_leader(sd_bus_message *message, Raftkv__V1__Request *request) {
    Raftkv__V1__VerifyLeaderRequest *body = xmalloc(sizeof *body);

    (void)message;
    raftkv__v1__verify_leader_request__init(body);
    request->body_case = RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER;
    request->verify_leader = body;
    return 0;
}

static int write_verify_leader(sd_bus_message *reply, const Raftkv__V1__Response *response,
                               struct failure *failure) {
    int r = text_append_clean(reply, response->verify_leader->leader);

    (void)failure;
    return r < 0 ? r : results_append(reply, "t", response->verify_leader->term);
}

static const struct method methods[] = {
    {.member = "GetStatus",
     .kind = METHOD_LOOK,
     .read = read_status,
     .body = RAFTKV__V1__RESPONSE__BODY_STATUS,
     .write = write_status},
    {.member = "Snapshot",
     .kind = METHOD_OPERATION,
     .read = read_snapshot,
     .body = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT,
     .write = write_snapshot},
    {.member = "Stats",
     .kind = METHOD_LOOK,
     .read = read_stats,
     .body = RAFTKV__V1__RESPONSE__BODY_STATS,
     .write = write_stats},
    {.member = "Barrier",
     .read = read_barrier,
     .body = RAFTKV__V1__RESPONSE__BODY_BARRIER,
     .write = write_barrier},
    {.member = "VerifyLeader",
     .read = read_verify_leader,
     .body = RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER,
     .write = write_verify_leader},
    {.member = NULL},
};

static int handle(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    (void)error;
    return method_call_arrived(userdata, message, methods);
}

/* clang-format off */
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("GetStatus",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("a(" STATUS_TYPES ")", members),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Snapshot",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("t", index, "t", milliseconds),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ReadBackup",
                            SD_BUS_ARGS("t", token, "t", sequence),
                            SD_BUS_RESULT("t", token, "ay", header, "ay", chunk, "b", last),
                            backups_handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("EndBackup",
                            SD_BUS_ARGS("t", token),
                            SD_BUS_NO_RESULT,
                            backups_handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Stats",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("a{sv}", statistics),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Barrier",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("t", index),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("VerifyLeader",
                            SD_BUS_NO_ARGS,
                            SD_BUS_RESULT("s", leader, "t", term),
                            handle, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Name", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("MemberID", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("ClusterID", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Role", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("State", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Term", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Leader", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("CommitIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("AppliedIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("LastIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("SnapshotCount", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("SnapshotIndex", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("SnapshotMilliseconds", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("SnapshotBytes", "t", get_property, 0, 0),
    SD_BUS_PROPERTY("Receiving", "a" PROGRESS_TYPE, get_property, 0, 0),
    SD_BUS_PROPERTY("Sending", "a" PROGRESS_TYPE, get_property, 0, 0),
    SD_BUS_PROPERTY("PeerAddress", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("ClientAddress", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Version", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Alarm", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};
/* clang-format on */

const struct object_kind node_object = {
    .interface = "org.raftkv1.Node",
    .vtable = vtable,
    .size = sizeof(struct announced),
    .max = 1,
    .list = list,
    .id = id,
    .path = path,
    .compare = compare,
};
