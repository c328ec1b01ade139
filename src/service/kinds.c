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
    [RAFTKV__V1__REQUEST__BODY_PUT] = {"put", true, RAFTKV__V1__RESPONSE__BODY_PUT, always,
                                       execute_put},
    [RAFTKV__V1__REQUEST__BODY_GET] = {"get", false, RAFTKV__V1__RESPONSE__BODY_GET,
                                       unless_stale_get, execute_get},
    [RAFTKV__V1__REQUEST__BODY_DELETE] = {"delete", true, RAFTKV__V1__RESPONSE__BODY_DELETE, always,
                                          execute_delete},
    [RAFTKV__V1__REQUEST__BODY_LIST] = {"list", false, RAFTKV__V1__RESPONSE__BODY_LIST,
                                        unless_stale_list, execute_list},
    [RAFTKV__V1__REQUEST__BODY_STATUS] = {"status", false, RAFTKV__V1__RESPONSE__BODY_STATUS, never,
                                          execute_status},
    [RAFTKV__V1__REQUEST__BODY_MEMBERS] = {"members", false, RAFTKV__V1__RESPONSE__BODY_MEMBERS,
                                           unless_stale_members, execute_members},
    [RAFTKV__V1__REQUEST__BODY_SNAPSHOT] = {"snapshot", false, RAFTKV__V1__RESPONSE__BODY_SNAPSHOT,
                                            never, execute_snapshot, .is_operation = true},
    [RAFTKV__V1__REQUEST__BODY_BACKUP] = {"backup", false, RAFTKV__V1__RESPONSE__BODY_BACKUP, never,
                                          execute_backup},
    [RAFTKV__V1__REQUEST__BODY_STATS] = {"stats", false, RAFTKV__V1__RESPONSE__BODY_STATS, never,
                                         execute_stats},
    [RAFTKV__V1__REQUEST__BODY_OPERATION] = {"operation", false,
                                             RAFTKV__V1__RESPONSE__BODY_OPERATION, never,
                                             execute_operation},
    [RAFTKV__V1__REQUEST__BODY_OPERATIONS] = {"operations", false,
                                              RAFTKV__V1__RESPONSE__BODY_OPERATIONS, never,
                                              execute_operations},
    [RAFTKV__V1__REQUEST__BODY_BARRIER] = {"barrier", false, RAFTKV__V1__RESPONSE__BODY_BARRIER,
                                           always, execute_barrier},
    [RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER] = {"verify-leader", false,
                                                 RAFTKV__V1__RESPONSE__BODY_VERIFY_LEADER, always,
                                                 execute_verify_leader},
    [RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER] = {"add-nonvoter", true,
                                                RAFTKV__V1__RESPONSE__BODY_CONFIGURATION, always,
                                                execute_change, .is_operation = true},
    [RAFTKV__V1__REQUEST__BODY_ADD_VOTER] = {"add-voter", true,
                                             RAFTKV__V1__RESPONSE__BODY_CONFIGURATION, always,
                                             execute_change, .is_operation = true},
    [RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER] = {"remove-server", true,
                                                 RAFTKV__V1__RESPONSE__BODY_CONFIGURATION, always,
                                                 execute_change, .is_operation = true},
    [RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER] = {"demote-voter", true,
                                                RAFTKV__V1__RESPONSE__BODY_CONFIGURATION, always,
                                                execute_change, .is_operation = true},
    [RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP] =
        {"transfer-leadership", true, RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP, always,
         execute_change, .is_operation = true},
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
