/* response: the parts of answers that more than one file needs. Strings and bytes in them are
 * borrowed. */
#pragma once

#include "kv/kv.h"
#include "proto/unpack.h"
#include "raft/member.h"

struct service;

/* An error with what is known about the leader; `failure` must outlive it. */
Raftkv__V1__Error response_error(struct service *service, const struct failure *failure);
Raftkv__V1__KeyValue response_item(const struct kv_item *item);
Raftkv__V1__Member response_member(const struct server *server, uint64_t leader);
Raftkv__V1__Role response_role(enum member_role role);
Raftkv__V1__State response_state(enum member_state state);
