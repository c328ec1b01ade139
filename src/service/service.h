/*
 * service: the one path of every request. The doors (bus, client TCP, a request forwarded by
 * another node) hand it a Request and get one Response back. It validates, decides whether to
 * answer here or to forward to the leader, waits for a leader where there is none, and keeps
 * deadlines. It knows no socket, no bus, no loop. May use base, proto, raft and kv.
 *
 * Everything here runs on the loop thread; reads of the state run as jobs on the state lane.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/host.h"
#include "base/join_policy.h"
#include "proto/unpack.h"
#include "raft/member.h"
#include "service/statistics.h"
#include "store/state.h"

struct service;
struct call;

/* A chunk of a backup; all is the node's. */
struct service_backup {
    uint64_t token;
    const uint8_t *header; /* with the first chunk; otherwise NULL, 0 */
    size_t header_size;
    const uint8_t *chunk;
    size_t chunk_size;
    bool last;
    uint64_t done, total; /* bytes that have been read, of about how many */
};

/* Valid during the callback. Called exactly once for each call that was not cancelled; perhaps
 * before service_handle() returns. */
typedef void (*service_reply)(void *data, const Raftkv__V1__Response *response);

/*
 * Takes over a decoded request (from unpack()) and answers it through `reply`, at the latest at its
 * deadline. `id` is echoed. Returns a handle for service_cancel(), or NULL when it was answered
 * already.
 */
struct call *service_handle(struct service *service, Raftkv__V1__Request *request,
                            service_reply reply, void *data);
/* Who asks, and how to reach them. */
struct service_caller {
    const char *door;       /* "TCP", "D-Bus": for the list of operations; static */
    service_reply reply;    /* the one answer */
    service_reply progress; /* NULL, or called before that with progress, if the request wants it */
    void *data;
};
struct call *service_handle_for(struct service *service, Raftkv__V1__Request *request,
                                const struct service_caller *caller);
/* The caller is gone: reply will not be called. What was begun goes on. */
void service_cancel(struct service *service, struct call *call);

/* The local node's status, without asking anyone; free with ..._member_status_free_unpacked
 * semantics: strings are owned by the message. */
Raftkv__V1__MemberStatus *service_local_status(struct service *service);

/* What this node knows of a member of the committed configuration, without asking anyone. */
struct service_member {
    uint64_t id;
    Raftkv__V1__Role role;
    bool leader;    /* as far as is known */
    bool reachable; /* there is a link to it, or it is this node */
    char name[MEMBER_NAME_MAX + 1];
    char peer_address[ADDRESS_MAX + 1];
    char client_address[ADDRESS_MAX + 1];
    /* Of the state that this node sends to it, or, for this node, that it receives: how much has
     * arrived, of about how much; 0 and 0: there is none. */
    uint64_t snapshot_bytes, snapshot_total;
    /* Known to the leader only: */
    uint64_t match_index; /* 0: not known */
    uint64_t contact_ms;  /* since it answered last; UINT64_MAX: not known, or never */
};
/* Returns how many there are. */
size_t service_local_members(struct service *service,
                             struct service_member ret[static MEMBERS_MAX]);

/* Called whenever the local status changed (state, term, leader, indexes, membership), or an
 * operation; at most once a loop iteration. */
typedef void (*service_observer)(void *data);
void service_set_observer(struct service *service, service_observer observer, void *data);

/* An operation that this node knows; see Operation in proto/raftkv.proto. */
struct service_operation {
    uint64_t token;
    const char *request; /* static */
    char subject[MEMBER_NAME_MAX + 1];
    char asked_by[MEMBER_NAME_MAX + 1];
    const char *state; /* "running", "done", "failed"; static */
    char phase[64];
    const char *unit; /* of done and total; "" when there are none; static */
    uint64_t done, total, milliseconds;
};
/* All of them, oldest first. Returns how many. */
size_t service_local_operations(struct service *service,
                                struct service_operation ret[static OPERATIONS_MAX]);

/* Whoever has doors adds what they have counted. */
typedef void (*service_doors)(void *data, struct statistics *statistics);
void service_set_doors(struct service *service, service_doors doors, void *data);

/* ---- for the node room (src/node), which makes and feeds the service ---- */

/* What of the node around it the service asks for. */
struct service_node {
    void *data;
    /* Begins a compaction unless one is under way; service_compacted() tells its end. */
    void (*compact)(void *data);
    /* How many pages of the state it has written, of how many; false: that is not known. */
    bool (*compacting)(void *data, uint64_t *ret_done, uint64_t *ret_total);
    /*
     * Begins to read a chunk of a backup (*token 0: of a new one, whose token it sets);
     * service_backup_read() tells the end, after this has returned. A positive error code with
     * the failure: it was not begun.
     */
    int (*backup_read)(void *data, uint64_t *token, uint64_t sequence, struct failure *failure);
    /* ERROR_NOT_FOUND with the failure: there is none of this token. */
    int (*backup_end)(void *data, uint64_t token, struct failure *failure);
    /* A read of the state failed, and not for want of space: the node can't go on. */
    void (*state_failed)(void *data, int error);
    /* Fills in what the status says of snapshots; what it allocates goes to the message. */
    void (*fill_status)(void *data, Raftkv__V1__MemberStatus *status);
    /* Begins to measure log and state, unless that is under way; service_measured() tells the end,
     * after this has returned. */
    void (*measure)(void *data);
    /* Adds what was measured then, and what the node has counted. */
    void (*add_statistics)(void *data, struct statistics *statistics);
};

struct service_options {
    const struct service_node *node; /* must outlive the service; NULL: no snapshots, no backups */
    struct host *host;
    struct member *member;
    struct state *state;
    const struct identity *identity; /* must outlive the service; cluster_id may change */
};
struct service *service_new(const struct service_options *options);
/* Answers everything that still waits with ERROR_UNAVAILABLE (outcome_unknown where it is). Takes
 * NULL; returns NULL. */
struct service *service_free(struct service *service);
/* From here on new requests are refused with ERROR_UNAVAILABLE (forwarded ones that need a leader
 * with ERROR_NOT_LEADER: who forwarded them finds the next one); returns how many are still under
 * way. */
size_t service_drain(struct service *service);
/* Another member stops, and has received no request of this node after that one (0: none). Those go
 * to the next leader, and no more are forwarded to it. */
void service_member_leaves(struct service *service, uint64_t member, uint64_t last_forward_id);
/* Another member was met in a new run: what a former one has not answered never will be. */
void service_member_begins(struct service *service, uint64_t member);

/* Leader: a node that is no member asks to become one, and was found to be who it may be. Says in
 * *ret what becomes of it. */
void service_join(struct service *service, const struct identity *newcomer, enum join_policy policy,
                  struct announce_reply *ret);

/* What measure() has begun has ended. */
void service_measured(struct service *service);
/* A compaction has ended: 0, or why not (negative errno; -EAGAIN: it came to nothing, which is no
 * fault). */
void service_compacted(struct service *service, int result);
/* What backup_read() has begun has ended: with a chunk, or with a failure (the other is NULL).
 * Returns whether somebody still waited for it. */
bool service_backup_read(struct service *service, uint64_t token,
                         const struct service_backup *backup, const struct failure *failure);
/* A backup has ended while no chunk of it was read, and not by backup_end(). */
void service_backup_ended(struct service *service, uint64_t token, const struct failure *failure);
/* State, leader, term, configuration or an index of the member changed. */
void service_member_changed(struct service *service);
/* The earliest host time at which service_tick() wants to be called; UINT64_MAX: never. */
uint64_t service_next_deadline(const struct service *service);
void service_tick(struct service *service);

/*
 * Peer messages that are the service's. A forwarded request is answered by a ForwardResponse
 * through host->send. Messages stay the caller's, except that the nested request is taken (set to
 * NULL in the message).
 */
void service_forward_request(struct service *service, uint64_t from,
                             Raftkv__V1__ForwardRequest *message);
void service_forward_response(struct service *service, uint64_t from,
                              const Raftkv__V1__ForwardResponse *message);
