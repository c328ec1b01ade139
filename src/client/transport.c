#include "client/transport.h"

#include <time.h>

#include "base/limits.h"

enum { ANSWER_MARGIN_MAX_MS = 500 };

uint64_t transport_now(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t transport_left(uint64_t deadline) {
    uint64_t now = transport_now();

    return deadline > now ? deadline - now : 0;
}

uint64_t transport_margin(uint64_t left) {
    return left / 10 < ANSWER_MARGIN_MAX_MS ? left / 10 : ANSWER_MARGIN_MAX_MS;
}

uint32_t transport_timeout_for_node(uint64_t deadline) {
    uint64_t left = transport_left(deadline);

    left -= transport_margin(left);
    if (left > REQUEST_TIMEOUT_MAX_MS)
        return REQUEST_TIMEOUT_MAX_MS;
    return left ? (uint32_t)left : 1; /* 0 would mean the node's default */
}

bool transport_request_writes(const Raftkv__V1__Request *request) {
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_GET:
    case RAFTKV__V1__REQUEST__BODY_LIST:
    case RAFTKV__V1__REQUEST__BODY_STATUS:
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
    case RAFTKV__V1__REQUEST__BODY_SNAPSHOT: /* once more does no harm */
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
    case RAFTKV__V1__REQUEST__BODY_BARRIER: /* nor here */
    case RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER:
    case RAFTKV__V1__REQUEST__BODY_PENDING:
    case RAFTKV__V1__REQUEST__BODY_REJECT: /* nor here */
    case RAFTKV__V1__REQUEST__BODY_STATS:
    case RAFTKV__V1__REQUEST__BODY_OPERATIONS:
        return false;
    case RAFTKV__V1__REQUEST__BODY_OPERATION: /* to cancel twice does no harm */
        return false;
    default:
        return true;
    }
}

bool transport_response_fits(const Raftkv__V1__Request *request,
                             const Raftkv__V1__Response *response) {
    if (response->error)
        return response->error->code != RAFTKV__V1__ERROR_CODE__ERROR_CODE_OK;
    switch (request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_ADD_VOTER:
    case RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER:
    case RAFTKV__V1__REQUEST__BODY_ACCEPT:
    case RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER:
    case RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER:
        return response->body_case == RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
    case RAFTKV__V1__REQUEST__BODY_GET:
        return response->body_case == RAFTKV__V1__RESPONSE__BODY_GET && response->get->item;
    case RAFTKV__V1__REQUEST__BODY_STATUS:
        return response->body_case == RAFTKV__V1__RESPONSE__BODY_STATUS && response->status->self;
    case RAFTKV__V1__REQUEST__BODY_OPERATION:
        return response->body_case == RAFTKV__V1__RESPONSE__BODY_OPERATION &&
               response->operation->operation &&
               (request->operation->action !=
                    RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT ||
                response->operation->result);
    default: /* the others have the same field number in both messages */
        return (int)response->body_case == (int)request->body_case;
    }
}
