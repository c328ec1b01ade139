/* The table of requests: a new one is added here, in validate.c, and in a function that executes
 * it. */
#include "service/internal.h"

static bool always(const Raftkv__V1__Request *request) {
    (void)request;
    return true;
}

static bool never(const Raftkv__V1__Request *request) {
    (void)request;
    return false;
}

static bool unless_stale_get(const Raftkv__V1__Request *request) {
    return !request->get->stale;
}

static bool unless_stale_list(const Raftkv__V1__Request *request) {
    return !request->list->stale;
}

static bool unless_stale_members(const Raftkv__V1__Request *request) {
    return !request->members->stale;
}

static const struct request_kind kinds[] = {
    [RAFTKV__V1__REQUEST__BODY_PUT] =
        {
            .name = "put",
            .writes = true,
            .grows = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_PUT,
            .needs_leader = always,
            .execute = execute_put,
        },
    [RAFTKV__V1__REQUEST__BODY_GET] =
        {
            .name = "get",
            .answer = RAFTKV__V1__RESPONSE__BODY_GET,
            .needs_leader = unless_stale_get,
            .execute = execute_get,
        },
    [RAFTKV__V1__REQUEST__BODY_DELETE] =
        {
            .name = "delete",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_DELETE,
            .needs_leader = always,
            .execute = execute_delete,
        },
    [RAFTKV__V1__REQUEST__BODY_LIST] =
        {
            .name = "list",
            .answer = RAFTKV__V1__RESPONSE__BODY_LIST,
            .needs_leader = unless_stale_list,
            .execute = execute_list,
        },
    [RAFTKV__V1__REQUEST__BODY_STATUS] =
        {
            .name = "status",
            .answer = RAFTKV__V1__RESPONSE__BODY_STATUS,
            .needs_leader = never,
            .execute = execute_status,
        },
    [RAFTKV__V1__REQUEST__BODY_MEMBERS] =
        {
            .name = "members",
            .answer = RAFTKV__V1__RESPONSE__BODY_MEMBERS,
            .needs_leader = unless_stale_members,
            .execute = execute_members,
        },
    [RAFTKV__V1__REQUEST__BODY_SNAPSHOT] =
        {
            .name = "snapshot",
            .answer = RAFTKV__V1__RESPONSE__BODY_SNAPSHOT,
            .needs_leader = never,
            .execute = execute_snapshot,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_BACKUP] =
        {
            .name = "backup",
            .answer = RAFTKV__V1__RESPONSE__BODY_BACKUP,
            .needs_leader = never,
            .execute = execute_backup,
        },
    [RAFTKV__V1__REQUEST__BODY_STATS] =
        {
            .name = "stats",
            .answer = RAFTKV__V1__RESPONSE__BODY_STATS,
            .needs_leader = never,
            .execute = execute_stats,
        },
    [RAFTKV__V1__REQUEST__BODY_OPERATION] =
        {
            .name = "operation",
            .answer = RAFTKV__V1__RESPONSE__BODY_OPERATION,
            .needs_leader = never,
            .execute = execute_operation,
        },
    [RAFTKV__V1__REQUEST__BODY_OPERATIONS] =
        {
            .name = "operations",
            .answer = RAFTKV__V1__RESPONSE__BODY_OPERATIONS,
            .needs_leader = never,
            .execute = execute_operations,
        },
    [RAFTKV__V1__REQUEST__BODY_BARRIER] =
        {
            .name = "barrier",
            .answer = RAFTKV__V1__RESPONSE__BODY_BARRIER,
            .needs_leader = always,
            .execute = execute_barrier,
        },
    [RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER] =
        {
            .name = "verify-leader",
            .answer = RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER,
            .needs_leader = always,
            .execute = execute_verify_leader,
        },
    [RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER] =
        {
            .name = "add-nonvoter",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
            .needs_leader = always,
            .execute = execute_change,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_ADD_VOTER] =
        {
            .name = "add-voter",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
            .needs_leader = always,
            .execute = execute_change,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_PENDING] =
        {
            .name = "pending",
            .answer = RAFTKV__V1__RESPONSE__BODY_PENDING,
            .needs_leader = always,
            .execute = execute_pending,
        },
    [RAFTKV__V1__REQUEST__BODY_ACCEPT] =
        {
            .name = "accept",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
            .needs_leader = always,
            .execute = execute_accept,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_REJECT] =
        {
            .name = "reject",
            .answer = RAFTKV__V1__RESPONSE__BODY_REJECT,
            .needs_leader = always,
            .execute = execute_reject,
        },
    [RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER] =
        {
            .name = "remove-server",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
            .needs_leader = always,
            .execute = execute_change,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER] =
        {
            .name = "demote-voter",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION,
            .needs_leader = always,
            .execute = execute_change,
            .is_operation = true,
        },
    [RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP] =
        {
            .name = "transfer-leadership",
            .writes = true,
            .answer = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP,
            .needs_leader = always,
            .execute = execute_change,
            .is_operation = true,
        },
};

const struct request_kind *request_kind(const Raftkv__V1__Request *request) {
    size_t body = (size_t)request->body_case;

    if (body >= sizeof kinds / sizeof kinds[0] || !kinds[body].execute)
        return NULL;
    return &kinds[body];
}

size_t request_kind_count(void) {
    return sizeof kinds / sizeof kinds[0];
}

size_t request_kind_number(const struct request_kind *kind) {
    return (size_t)(kind - kinds);
}

const struct request_kind *request_kind_at(size_t number) {
    return kinds[number].execute ? &kinds[number] : NULL;
}
