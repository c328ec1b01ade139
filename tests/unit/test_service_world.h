/* The world around a service under test: a host in which time stands still until it is moved, a
 * member and a state machine that do what the test says, and callers that keep what they were
 * answered. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "kv/kv.h"
#include "proto/unpack.h"
#include "raft/member.h"
#include "service/service.h"

enum { NODE_A = 0xa, NODE_B = 0xb, NODE_C = 0xc, SENT_MAX = 256, PROPOSED_MAX = 64 };

struct sent {
    uint64_t to;
    bool urgent;
    Raftkv__V1__PeerMessage *message;
};

struct world {
    struct host host;
    struct service_node node;
    uint64_t pages_written, pages; /* of a compaction; 0: not known */
    size_t state_failures;
    size_t measurements; /* begun */
    struct identity identity;
    uint64_t now;
    bool unlinked[16]; /* by member id */
    size_t backlog;
    struct sent sent[SENT_MAX];
    size_t sent_count;
    struct job *jobs, **jobs_end;
    size_t jobs_submitted;

    struct member_view view;
    struct member_statistics statistics;
    struct configuration configuration;
    struct proposal *proposed[PROPOSED_MAX];
    size_t proposed_count;
    bool refuse_proposals; /* with NotLeader, before member_propose() returns */
    struct change *change;
    struct change_progress progress;
    size_t changes;

    size_t reads; /* kv_get() and kv_list() calls */
    size_t value_size;
    int read_error;
    struct kv_list_options listed; /* of the last kv_list() */
    bool list_more;

    struct service *service;
};

extern struct world world;

/* cmocka's setup and teardown: node A of A, B and C; a follower without leader. */
int world_setup(void **state);
int world_teardown(void **state);

void become_leader(void); /* serving */
void follow(uint64_t leader);
/* Moves time on and lets the service do what is due. */
void pass(uint64_t ms);
/* Runs what is queued on the lanes now. Returns how many jobs. */
size_t run_jobs(void);
/* Ends the oldest proposal that has not ended. */
void finish_proposal(const struct failure *failure, const struct kv_result *result);
void apply_proposal(uint64_t revision, bool existed);
void fail_proposal(enum error_code code, bool outcome_unknown);

struct caller {
    struct call *call;
    unsigned told;                   /* how often it heard of progress */
    Raftkv__V1__Operation *progress; /* the last one */
    unsigned answers;
    Raftkv__V1__Response *response; /* the last one */
    struct call *cancels;           /* cancelled from within the reply */
};
void caller_clear(struct caller *caller);
void caller_reply(void *data, const Raftkv__V1__Response *response);
/* Hands a request in. */
void ask(struct caller *caller, Raftkv__V1__Request *request);
/* The same for one of which progress is to be told. */
void ask_with_progress(struct caller *caller, Raftkv__V1__Request *request);
/* Asserts that it was answered once, with this error; returns it. */
const Raftkv__V1__Error *assert_error(const struct caller *caller, enum error_code code);
/* Asserts that it was answered once, with this body. */
void assert_body(const struct caller *caller, Raftkv__V1__Response__BodyCase body);

Raftkv__V1__Request *new_request(Raftkv__V1__Request__BodyCase body, const ProtobufCMessage *like);
Raftkv__V1__Request *put_request(const char *key, const char *value);
Raftkv__V1__Request *get_request(const char *key, bool stale);
Raftkv__V1__Request *delete_request(const char *key);
Raftkv__V1__Request *list_request(const char *prefix);
Raftkv__V1__Request *status_request(bool cluster);
Raftkv__V1__Request *members_request(bool stale);
Raftkv__V1__Request *add_voter_request(const char *name, const char *address);
Raftkv__V1__Request *transfer_request(const char *name);
Raftkv__V1__Request *barrier_request(void);
Raftkv__V1__Request *stats_request(void);
Raftkv__V1__Request *operations_request(void);
Raftkv__V1__Request *operation_request(uint64_t token, Raftkv__V1__OperationAction action);
Raftkv__V1__Request *verify_leader_request(void);

/* Hands in a request that another member has forwarded. */
void forward_to_us(uint64_t from, uint64_t forward_id, Raftkv__V1__Request *request);
/* Another member answers a question that was sent to it. */
void answer_question(uint64_t from, uint64_t forward_id, Raftkv__V1__Response *response);
void answer_question_with_error(uint64_t from, uint64_t forward_id, enum error_code code);
void answer_question_with_put(uint64_t from, uint64_t forward_id, uint64_t revision);
/* The n-th sent message, as a question or as an answer. */
const Raftkv__V1__ForwardRequest *question(size_t n);
const Raftkv__V1__ForwardResponse *answer(size_t n);
