/* What a D-Bus reply says, as the Response that the same request gets over TCP. */
#include "client/bus_messages.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;

/* More than a node has. */
enum { STATISTICS_MAX = 4096 };

/* One row of GetStatus. */
#define PROGRESS_TYPE "(stttut)"
#define STATUS_TYPES "stsststtttbssssttstttta" PROGRESS_TYPE "a" PROGRESS_TYPE

static Response *response_new(void) {
    Response *response = xmalloc(sizeof *response);

    raftkv__v1__response__init(response);
    return response;
}

Response *bus_error_response(enum error_code code, const char *message) {
    Response *response = response_new();

    response->error = xmalloc(sizeof *response->error);
    raftkv__v1__error__init(response->error);
    response->error->code = (Raftkv__V1__ErrorCode)code;
    response->error->message = xstrdup(message);
    return response;
}

static int read_bytes(sd_bus_message *m, ProtobufCBinaryData *ret) {
    const void *data = NULL;
    size_t size = 0;
    int r = sd_bus_message_read_array(m, 'y', &data, &size);

    if (r < 0)
        return r;
    if (size > 0)
        *ret = (ProtobufCBinaryData){.data = xmemdup(data, size), .len = size};
    return 0;
}

/* Gives a string field its own copy. */
static void set_string(char **field, const char *text) {
    *field = xstrdup(text);
}

static int read_put(sd_bus_message *m, Response *response) {
    int created = 0, r;

    response->put = xmalloc(sizeof *response->put);
    raftkv__v1__put_response__init(response->put);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    r = sd_bus_message_read(m, "tb", &response->put->revision, &created);
    response->put->created = created;
    return r;
}

static int read_get(sd_bus_message *m, Response *response, const Raftkv__V1__GetRequest *request) {
    Raftkv__V1__KeyValue *item = xmalloc(sizeof *item);
    int r;

    raftkv__v1__key_value__init(item);
    response->get = xmalloc(sizeof *response->get);
    raftkv__v1__get_response__init(response->get);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_GET;
    response->get->item = item;
    if (request->key.len > 0)
        item->key = (ProtobufCBinaryData){.data = xmemdup(request->key.data, request->key.len),
                                          .len = request->key.len};
    r = read_bytes(m, &item->value);
    if (r >= 0)
        r = sd_bus_message_read(m, "tttt", &item->create_revision, &item->modify_revision,
                                &item->version, &response->get->revision);
    return r;
}

static int read_delete(sd_bus_message *m, Response *response) {
    int existed = 0, r;

    response->delete_ = xmalloc(sizeof *response->delete_);
    raftkv__v1__delete_response__init(response->delete_);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_DELETE;
    r = sd_bus_message_read(m, "tb", &response->delete_->revision, &existed);
    response->delete_->existed = existed;
    return r;
}

static int read_item(sd_bus_message *m, Raftkv__V1__KeyValue *item) {
    int r = read_bytes(m, &item->key);

    if (r >= 0)
        r = read_bytes(m, &item->value);
    if (r >= 0)
        r = sd_bus_message_read(m, "ttt", &item->create_revision, &item->modify_revision,
                                &item->version);
    return r;
}

static int read_items(sd_bus_message *m, Raftkv__V1__ListResponse *list) {
    int r = sd_bus_message_enter_container(m, 'a', "(ayayttt)");

    if (r < 0)
        return r;
    list->items = xcalloc(LIST_ITEMS_MAX, sizeof *list->items);
    while ((r = sd_bus_message_enter_container(m, 'r', "ayayttt")) > 0) {
        Raftkv__V1__KeyValue *item;

        if (list->n_items == LIST_ITEMS_MAX)
            return -EMSGSIZE;
        item = list->items[list->n_items++] = xmalloc(sizeof *item);
        raftkv__v1__key_value__init(item);
        r = read_item(m, item);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_list(sd_bus_message *m, Response *response) {
    int r;

    response->list = xmalloc(sizeof *response->list);
    raftkv__v1__list_response__init(response->list);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_LIST;
    r = read_items(m, response->list);
    if (r >= 0)
        r = read_bytes(m, &response->list->continuation);
    if (r >= 0)
        r = sd_bus_message_read(m, "t", &response->list->revision);
    return r;
}

static Raftkv__V1__Role role_of(const char *word) {
    if (strcmp(word, "voter") == 0)
        return RAFTKV__V1__ROLE__ROLE_VOTER;
    if (strcmp(word, "non-voter") == 0)
        return RAFTKV__V1__ROLE__ROLE_NONVOTER;
    return RAFTKV__V1__ROLE__ROLE_NONE;
}

static Raftkv__V1__State state_of(const char *word) {
    if (strcmp(word, "leader") == 0)
        return RAFTKV__V1__STATE__STATE_LEADER;
    if (strcmp(word, "follower") == 0)
        return RAFTKV__V1__STATE__STATE_FOLLOWER;
    if (strcmp(word, "candidate") == 0)
        return RAFTKV__V1__STATE__STATE_CANDIDATE;
    return RAFTKV__V1__STATE__STATE_UNKNOWN;
}

/* The rows of an array of them, at most `max`. */
static int read_progresses(sd_bus_message *m, Raftkv__V1__SnapshotProgress **rows, size_t max,
                           size_t *ret_count) {
    int r = sd_bus_message_enter_container(m, 'a', PROGRESS_TYPE);

    while (r >= 0) {
        Raftkv__V1__SnapshotProgress row;
        const char *member;

        raftkv__v1__snapshot_progress__init(&row);
        r = sd_bus_message_read(m, PROGRESS_TYPE, &member, &row.bytes, &row.total_bytes,
                                &row.milliseconds, &row.percent, &row.bytes_per_second);
        if (r <= 0)
            break;
        if (*ret_count == max)
            return -EMSGSIZE;
        row.member = xstrdup(member);
        rows[(*ret_count)++] = xmemdup(&row, sizeof row);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_progress(sd_bus_message *m, Raftkv__V1__MemberStatus *status) {
    size_t receiving = 0;
    int r = read_progresses(m, &status->receiving, 1, &receiving);

    if (r < 0)
        return r;
    status->sending = xcalloc(MEMBERS_MAX, sizeof *status->sending);
    return read_progresses(m, status->sending, MEMBERS_MAX, &status->n_sending);
}

/* Positive: one was read; 0: there are no more. */
static int read_member_status(sd_bus_message *m, Raftkv__V1__MemberStatus *status) {
    const char *name, *role, *state, *leader, *error, *version, *peer_address, *client_address,
        *alarm;
    int answers, r;

    r = sd_bus_message_enter_container(m, 'r', STATUS_TYPES);
    if (r <= 0)
        return r;
    r = sd_bus_message_read(
        m, "stsststtttbssssttstttt", &name, &status->id, &role, &state, &status->term, &leader,
        &status->commit_index, &status->applied_index, &status->last_index, &status->lag, &answers,
        &error, &version, &peer_address, &client_address, &status->first_index, &status->cluster_id,
        &alarm, &status->snapshot_count, &status->snapshot_index, &status->snapshot_milliseconds,
        &status->snapshot_bytes);
    if (r < 0)
        return r;
    set_string(&status->name, name);
    status->role = role_of(role);
    status->state = state_of(state);
    set_string(&status->leader, leader);
    status->answers = answers;
    set_string(&status->error, error);
    set_string(&status->version, version);
    set_string(&status->peer_address, peer_address);
    set_string(&status->client_address, client_address);
    set_string(&status->alarm, alarm);
    r = read_progress(m, status);
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

static int read_status(sd_bus_message *m, Response *response, const char *node) {
    Raftkv__V1__StatusResponse *body = response->status = xmalloc(sizeof *body);
    int r;

    raftkv__v1__status_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
    body->self = xmalloc(sizeof *body->self);
    raftkv__v1__member_status__init(body->self);
    set_string(&body->self->name, node);
    body->members = xcalloc(MEMBERS_MAX + 1, sizeof(void *));
    r = sd_bus_message_enter_container(m, 'a', "(" STATUS_TYPES ")");
    while (r >= 0) {
        Raftkv__V1__MemberStatus *status;

        if (body->n_members == MEMBERS_MAX + 1)
            return -EMSGSIZE;
        status = xmalloc(sizeof *status);
        raftkv__v1__member_status__init(status);
        r = read_member_status(m, status);
        if (r <= 0) {
            raftkv__v1__member_status__free_unpacked(status, NULL);
            break;
        }
        body->members[body->n_members++] = status;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Positive: one was read; 0: there are no more. */
static int read_member(sd_bus_message *m, Raftkv__V1__Member *member) {
    const char *name, *role, *peer_address, *client_address;
    int leader, promoting, r;

    r = sd_bus_message_read(m, "(stsssbb)", &name, &member->id, &role, &peer_address,
                            &client_address, &leader, &promoting);
    if (r <= 0)
        return r;
    set_string(&member->name, name);
    member->role = role_of(role);
    set_string(&member->peer_address, peer_address);
    set_string(&member->client_address, client_address);
    member->leader = leader;
    member->promoting = promoting;
    return 1;
}

static int read_members(sd_bus_message *m, Response *response) {
    Raftkv__V1__MembersResponse *body = response->members = xmalloc(sizeof *body);
    int r;

    raftkv__v1__members_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_MEMBERS;
    body->members = xcalloc(MEMBERS_MAX, sizeof(void *));
    r = sd_bus_message_enter_container(m, 'a', "(stsssbb)");
    while (r >= 0) {
        Raftkv__V1__Member *member;

        if (body->n_members == MEMBERS_MAX)
            break;
        member = xmalloc(sizeof *member);
        raftkv__v1__member__init(member);
        r = read_member(m, member);
        if (r <= 0) {
            raftkv__v1__member__free_unpacked(member, NULL);
            break;
        }
        body->members[body->n_members++] = member;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    if (r >= 0)
        r = sd_bus_message_read(m, "tt", &body->configuration_index, &body->cluster_id);
    return r;
}

static int read_configuration(sd_bus_message *m, Response *response) {
    response->configuration = xmalloc(sizeof *response->configuration);
    raftkv__v1__configuration_response__init(response->configuration);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
    return sd_bus_message_read(m, "t", &response->configuration->configuration_index);
}

static int read_snapshot(sd_bus_message *m, Response *response) {
    response->snapshot = xmalloc(sizeof *response->snapshot);
    raftkv__v1__snapshot_response__init(response->snapshot);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT;
    return sd_bus_message_read(m, "tt", &response->snapshot->index,
                               &response->snapshot->milliseconds);
}

static int read_backup(sd_bus_message *m, Response *response, bool end) {
    int last = 0, r;

    response->backup = xmalloc(sizeof *response->backup);
    raftkv__v1__backup_response__init(response->backup);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_BACKUP;
    if (end)
        return 0;
    r = sd_bus_message_read(m, "t", &response->backup->token);
    if (r >= 0)
        r = read_bytes(m, &response->backup->header);
    if (r >= 0)
        r = read_bytes(m, &response->backup->chunk);
    if (r >= 0)
        r = sd_bus_message_read(m, "b", &last);
    response->backup->last = last;
    return r;
}

static int read_transfer(sd_bus_message *m, Response *response) {
    const char *leader = "";
    int r = sd_bus_message_read(m, "s", &leader);

    response->transfer_leadership = xmalloc(sizeof *response->transfer_leadership);
    raftkv__v1__transfer_leadership_response__init(response->transfer_leadership);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP;
    set_string(&response->transfer_leadership->leader, leader);
    return r;
}

static int read_histogram(sd_bus_message *m, Raftkv__V1__Statistic *statistic) {
    Raftkv__V1__Histogram *histogram = statistic->histogram = xmalloc(sizeof *histogram);

    raftkv__v1__histogram__init(histogram);
    statistic->value_case = RAFTKV__V1__STATISTIC__VALUE_HISTOGRAM;
    return sd_bus_message_read(m, "v", "(ttttttt)", &histogram->count, &histogram->mean,
                               &histogram->maximum, &histogram->p50, &histogram->p90,
                               &histogram->p99, &histogram->p999);
}

/* Positive: one was read; 0: there are no more. Units and meanings are in the manual only. */
static int read_statistic(sd_bus_message *m, Raftkv__V1__Statistic *statistic) {
    const char *name, *type;
    int r = sd_bus_message_enter_container(m, 'e', "sv");

    if (r <= 0)
        return r;
    r = sd_bus_message_read(m, "s", &name);
    if (r >= 0)
        r = sd_bus_message_peek_type(m, NULL, &type);
    if (r < 0)
        return r;
    set_string(&statistic->name, name);
    if (strcmp(type, "t") == 0) {
        statistic->value_case = RAFTKV__V1__STATISTIC__VALUE_NUMBER;
        r = sd_bus_message_read(m, "v", "t", &statistic->number);
    } else {
        r = read_histogram(m, statistic);
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

static int read_stats(sd_bus_message *m, Response *response) {
    Raftkv__V1__StatsResponse *body = response->stats = xmalloc(sizeof *body);
    int r;

    raftkv__v1__stats_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_STATS;
    body->statistics = xcalloc(STATISTICS_MAX, sizeof(void *));
    r = sd_bus_message_enter_container(m, 'a', "{sv}");
    while (r >= 0) {
        Raftkv__V1__Statistic *statistic;

        if (body->n_statistics == STATISTICS_MAX)
            return -EMSGSIZE;
        statistic = xmalloc(sizeof *statistic);
        raftkv__v1__statistic__init(statistic);
        r = read_statistic(m, statistic);
        if (r <= 0) {
            raftkv__v1__statistic__free_unpacked(statistic, NULL);
            break;
        }
        body->statistics[body->n_statistics++] = statistic;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_barrier(sd_bus_message *m, Response *response) {
    response->barrier = xmalloc(sizeof *response->barrier);
    raftkv__v1__barrier_response__init(response->barrier);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_BARRIER;
    return sd_bus_message_read(m, "t", &response->barrier->index);
}

static int read_verify_leader(sd_bus_message *m, Response *response) {
    const char *leader = "";
    int r;

    response->verify_leader = xmalloc(sizeof *response->verify_leader);
    raftkv__v1__verify_leader_response__init(response->verify_leader);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER;
    r = sd_bus_message_read(m, "st", &leader, &response->verify_leader->term);
    set_string(&response->verify_leader->leader, leader);
    return r;
}

static int read_body(sd_bus_message *m, const Request *request, const char *node,
                     Response *response) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
        return read_put(m, response);
    case RAFTKV__V1__REQUEST__BODY_GET:
        return read_get(m, response, request->get);
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return read_delete(m, response);
    case RAFTKV__V1__REQUEST__BODY_LIST:
        return read_list(m, response);
    case RAFTKV__V1__REQUEST__BODY_STATUS:
        return read_status(m, response, node);
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
        return read_members(m, response);
    case RAFTKV__V1__REQUEST__BODY_SNAPSHOT:
        return read_snapshot(m, response);
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
        return read_backup(m, response, request->backup->end);
    case RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP:
        return read_transfer(m, response);
    case RAFTKV__V1__REQUEST__BODY_STATS:
        return read_stats(m, response);
    case RAFTKV__V1__REQUEST__BODY_BARRIER:
        return read_barrier(m, response);
    case RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER:
        return read_verify_leader(m, response);
    case RAFTKV__V1__REQUEST__BODY_OPERATION:
        return bus_read_operation(m, request->operation, response);
    case RAFTKV__V1__REQUEST__BODY_OPERATIONS:
        return bus_read_operations(m, response);
    case RAFTKV__V1__REQUEST__BODY_PENDING:
        return bus_read_pending(m, response);
    case RAFTKV__V1__REQUEST__BODY_REJECT:
        return bus_read_rejected(response);
    default:
        return read_configuration(m, response);
    }
}

int bus_read_reply(sd_bus_message *reply, const Request *request, const char *node,
                   Response **ret) {
    Response *response = response_new();
    int r = read_body(reply, request, node, response);

    if (r < 0) {
        raftkv__v1__response__free_unpacked(response, NULL);
        return r;
    }
    *ret = response;
    return 0;
}
