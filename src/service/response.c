#include "service/response.h"

#include <assert.h>

#include "base/check.h"
#include "service/internal.h"

/* Every number of base/error.h is the schema's. */
#define SAME_NUMBER(name) \
    static_assert((int)RAFTKV__V1__ERROR_CODE__ERROR_CODE_##name == (int)ERROR_##name, #name)
SAME_NUMBER(OK);
SAME_NUMBER(INVALID_ARGUMENT);
SAME_NUMBER(NOT_FOUND);
SAME_NUMBER(ALREADY_EXISTS);
SAME_NUMBER(COMPARE_FAILED);
SAME_NUMBER(NO_LEADER);
SAME_NUMBER(NOT_LEADER);
SAME_NUMBER(TIMEOUT);
SAME_NUMBER(TOO_LARGE);
SAME_NUMBER(BUSY);
SAME_NUMBER(NO_SPACE);
SAME_NUMBER(COMPACTED);
SAME_NUMBER(UNAVAILABLE);
SAME_NUMBER(UNAUTHENTICATED);
SAME_NUMBER(PERMISSION_DENIED);
SAME_NUMBER(CONFIGURATION_CONFLICT);
SAME_NUMBER(WOULD_LOSE_QUORUM);
SAME_NUMBER(UNSUPPORTED);
SAME_NUMBER(INTERNAL);
static_assert(ERROR_CODE_COUNT == ERROR_INTERNAL + 1, "a new code needs its line above");

/* protobuf-c's structures have no const; nothing writes through them. */
static char *borrow(const char *text) {
    union {
        const char *from;
        char *to;
    } u = {.from = text};

    return u.to;
}

Raftkv__V1__Error response_error(struct service *service, const struct failure *failure) {
    Raftkv__V1__Error error;
    const struct server *leader;
    struct member_view view;

    check(failure->code > ERROR_OK && failure->code < ERROR_CODE_COUNT);
    raftkv__v1__error__init(&error);
    error.code = (Raftkv__V1__ErrorCode)failure->code;
    error.message = borrow(failure->message);
    error.outcome_unknown = failure->outcome_unknown;
    member_get_view(service->member, &view);
    leader =
        view.leader ? configuration_find(member_configuration(service->member), view.leader) : NULL;
    if (leader) {
        error.leader_name = borrow(leader->name);
        error.leader_address = borrow(leader->client_address);
    }
    return error;
}

Raftkv__V1__KeyValue response_item(const struct kv_item *item) {
    Raftkv__V1__KeyValue answer = RAFTKV__V1__KEY_VALUE__INIT;

    answer.key = (ProtobufCBinaryData){item->key_size, item->key};
    answer.value = (ProtobufCBinaryData){item->value_size, item->value};
    answer.create_revision = item->create_revision;
    answer.modify_revision = item->modify_revision;
    answer.version = item->version;
    return answer;
}

Raftkv__V1__Member response_member(const struct server *server, uint64_t leader) {
    Raftkv__V1__Member member;

    raftkv__v1__member__init(&member);
    member.name = borrow(server->name);
    member.id = server->id;
    member.role = response_role(server->role);
    member.peer_address = borrow(server->peer_address);
    member.client_address = borrow(server->client_address);
    member.leader = server->id == leader;
    member.promoting = server->promoting;
    return member;
}

Raftkv__V1__Role response_role(enum member_role role) {
    switch (role) {
    case MEMBER_VOTER:
        return RAFTKV__V1__ROLE__ROLE_VOTER;
    case MEMBER_STANDBY:
        return RAFTKV__V1__ROLE__ROLE_NONVOTER;
    case MEMBER_NONE:
        break;
    }
    return RAFTKV__V1__ROLE__ROLE_NONE;
}

Raftkv__V1__State response_state(enum member_state state) {
    switch (state) {
    case MEMBER_FOLLOWER:
        return RAFTKV__V1__STATE__STATE_FOLLOWER;
    case MEMBER_CANDIDATE:
        return RAFTKV__V1__STATE__STATE_CANDIDATE;
    case MEMBER_LEADER:
        return RAFTKV__V1__STATE__STATE_LEADER;
    }
    return RAFTKV__V1__STATE__STATE_UNKNOWN;
}
