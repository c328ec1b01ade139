/*
 * The service from the inside: a call, the stages it goes through, and what the files of this room
 * give each other. A call is one request on its way. It is in at most one list (`link`), by its
 * stage; it ends once, by an answer or by cancellation, and its memory goes when nobody else (the
 * member, a lane, a function on the stack) holds it any more.
 */
#pragma once

#include "kv/kv.h"
#include "raft/member.h"
#include "service/deadlines.h"
#include "service/list.h"
#include "service/service.h"

/* Who asks for what AllowJoin= lets the service do by itself. */
#define DOOR_JOIN "join"

enum {
    RETRY_MS = 50,           /* between two looks for a leader, or at the link to it */
    OBSERVE_MS = 100,        /* between two notices that only indexes have moved */
    COMPLAIN_MS = 60 * 1000, /* between two journal messages about the same state of things */
    STATUS_ANSWER_MS = 2000, /* for another member's own status */
    CLUSTER_STATUS_MAX = 64, /* status requests that ask all members, under way at once */
    READ_BATCH_MAX = 1024,   /* reads in one job */
    READ_BATCH_BYTES_MAX = 16 * 1024 * 1024, /* of answers of one job; then the rest has to wait */
};

enum call_stage {
    CALL_ROUTING,    /* being looked at; in no list */
    CALL_ARRIVED,    /* handed in from within a reply: begins when that has returned */
    CALL_WAITING,    /* for a leader */
    CALL_FORWARDED,  /* sent to the leader */
    CALL_PROPOSED,   /* with the member as a proposal */
    CALL_READ_INDEX, /* a read until its read index is known and applied */
    CALL_READ_READY, /* a read in the queue for the state lane */
    CALL_READING,    /* a read on the state lane */
    CALL_CHANGING,   /* with the member as a change */
    CALL_COLLECTING, /* the status of the other members */
    CALL_COMPACTING, /* a snapshot until the compaction has ended */
    CALL_AWAITING,   /* the end of an operation */
    CALL_MEASURING,  /* statistics until log and state are measured */
    CALL_BACKING_UP, /* a backup until its chunk is read */
};

struct call;
struct change_run;
struct request_counts;
struct operation;
struct operations;
struct joins;
struct collection;

/* What there is to know about one kind of request. */
struct request_kind {
    const char *name;
    bool writes; /* carried out twice, it might take effect twice */
    bool grows;  /* the state grows by it */
    Raftkv__V1__Response__BodyCase answer;
    bool (*needs_leader)(const Raftkv__V1__Request *request);
    /* Where the request belongs: on the serving leader, or anywhere when no leader is needed. */
    void (*execute)(struct call *call);
    bool is_operation; /* it may take long: operations.c keeps an eye on it */
};
/* NULL for a request without a known body. */
const struct request_kind *request_kind(const Raftkv__V1__Request *request);
/* The kinds have numbers below request_kind_count(); not every number is one. */
size_t request_kind_count(void);
size_t request_kind_number(const struct request_kind *kind);
const struct request_kind *request_kind_at(size_t number);

struct call {
    struct service *service; /* NULL once the service is gone */
    Raftkv__V1__Request *request;
    const struct request_kind *kind;
    service_reply reply;
    service_reply progress; /* NULL: nobody wants to know */
    void *data;
    const char *asked_by;        /* static; NULL: a member */
    struct operation *operation; /* NULL: it is none, or has ended */
    bool orphaned;               /* the caller is gone, and it goes on as an operation */
    uint64_t from;               /* member that forwarded it; 0: it came in through a door here */
    uint64_t from_forward_id;
    struct deadline deadline;
    uint64_t begun; /* host time */
    uint64_t begun_microseconds;
    size_t bytes; /* counted against REQUESTS_WAITING_BYTES_MAX */
    enum call_stage stage;
    bool ended;
    unsigned holds;
    struct list link; /* in the list of its stage */
    struct list all;  /* in service->calls, or service->lingering once it has ended */

    struct proposal proposal;      /* CALL_PROPOSED */
    uint64_t forward_id;           /* CALL_FORWARDED */
    struct change_run *change;     /* CALL_CHANGING */
    struct collection *collection; /* CALL_COLLECTING */
    uint64_t backup_token;         /* CALL_BACKING_UP */
};

/* A question under way to another member. */
struct forward {
    uint64_t id; /* 0: this place is free */
    uint64_t member;
    struct call *call;
    size_t seat; /* CALL_COLLECTING: which member's status */
    uint32_t next_free;
};

struct forwards {
    struct forward *places; /* the low bits of an id say which */
    uint32_t capacity;
    uint32_t first_free;
    uint64_t sequence;  /* the high bits of the next id; begins at random, so that answers to a
                           former run of this node find nothing */
    uint64_t target;    /* member that all of `reads` were sent to */
    struct list reads;  /* calls that may be sent again */
    struct list writes; /* calls that may not */
    uint64_t leaving[MEMBERS_MAX]; /* members that stop; 0: the place is free */
    size_t next_leaving;           /* whose place is taken next */
};

struct read_index_round;
struct read_batch;

struct service {
    struct host *host;
    struct member *member;
    struct state *state;
    const struct identity *identity;
    const struct service_node *node;

    service_observer observer;
    void *observer_data;
    uint64_t observe_at; /* UINT64_MAX: nothing to tell */
    struct member_view seen;
    uint64_t seen_configuration;

    bool draining;
    struct operations *operations;
    struct joins *joins;
    struct request_counts *counts; /* by the number of the kind */
    uint64_t forwarded_to_us;
    service_doors doors;
    void *doors_data;

    unsigned replying;    /* reply callbacks on the stack */
    bool beginning;       /* calls in `arrived` are being begun */
    size_t count;         /* calls in memory */
    size_t bytes;         /* of their requests */
    size_t unanswered;    /* calls that have not ended */
    uint64_t complain_at; /* not before that about full queues */
    struct list calls;
    struct list lingering;
    struct list arrived;
    struct deadlines deadlines;

    struct list waiting;           /* came in through a door here */
    struct list waiting_forwarded; /* came from another member */
    uint64_t retry_at;             /* UINT64_MAX: nothing to look for */

    struct forwards forwards;
    struct list read_index_gathering;          /* reads for the next round */
    struct read_index_round *read_index_round; /* under way; NULL: none */
    struct list compacting;
    struct list measuring;
    struct list backing_up;
    struct list reads_ready;
    struct read_batch *read_batch; /* on the state lane; NULL: none */
    size_t collections;
};

/* ---- service.c ---- */

/* Takes a new call through its first steps. NULL when it was answered at once. */
struct call *service_start(struct call *call);
/* Begins what reply callbacks have handed in, unless one is still running. */
void service_begin_arrived(struct service *service);
/* There is something new for the observer. */
void service_notice(struct service *service);

/* ---- call.c: the life of a call ---- */

struct call *call_new(struct service *service, Raftkv__V1__Request *request, service_reply reply,
                      void *data);
void call_hold(struct call *call);
/* The memory goes with the last hold of an ended call. */
void call_release(struct call *call);
/* Ends it without an answer. */
void call_end(struct call *call);
/* Ends it with this answer; the id is filled in. The call may be gone afterwards. */
void call_answer(struct call *call, Raftkv__V1__Response *response);
void call_fail(struct call *call, const struct failure *failure);
void call_fail_with(struct call *call, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Its deadline has come. */
void call_expire(struct call *call);
/* The service goes down. */
void call_abort(struct call *call);

/* ---- route.c: where a call is carried out ---- */

void route_call(struct call *call);
/* Nothing happened so far, because `refused_by` was not the leader: looks for the right one. */
void route_call_again(struct call *call, uint64_t refused_by);
/* Puts it into the queue for a leader. */
void route_wait(struct call *call);
/* Something about the leader may have changed. */
void route_waiting(struct service *service);
void route_arm_retry(struct service *service);

/* ---- forward.c: questions to other members ---- */

void forward_call(struct call *call, uint64_t leader);
/* Asks a member in the name of a call; returns the id of the question. */
uint64_t forward_send(struct call *call, Raftkv__V1__Request *request, uint64_t timeout,
                      uint64_t member, size_t seat);
/* Forgets a question; its answer will be ignored. */
void forward_forget(struct service *service, uint64_t id);
/* Takes back the reads that were sent to a member that is not the leader or out of reach; they wait
 * for a leader then. */
void forward_recall_reads(struct service *service, uint64_t leader);
/* Ends the writes whose answer can't come any more, because the link to the leader has broken. */
void forward_give_up_writes(struct service *service);
/* Whether nothing may be forwarded to this member, because it stops. */
bool forward_is_leaving(const struct service *service, uint64_t member);

/* ---- execute_*.c: what the serving leader does, or any member where no leader is needed ---- */

void execute_put(struct call *call);
void execute_delete(struct call *call);
void execute_get(struct call *call);
void execute_list(struct call *call);
void execute_members(struct call *call);
void execute_change(struct call *call);
void execute_status(struct call *call);
void execute_snapshot(struct call *call);
void execute_stats(struct call *call);
void execute_backup(struct call *call);
void execute_barrier(struct call *call);
void execute_verify_leader(struct call *call);

/* operations.c */
void operations_init(struct service *service);
void operations_deinit(struct service *service);
void operations_tick(struct service *service);
uint64_t operations_deadline(const struct service *service);
/* False: there are too many, which the call was answered. */
bool operation_begin(struct call *call);
/* The same for a backup that the call has begun. It goes on without the call. */
bool operation_begin_backup(struct call *call, uint64_t backup);
/* How far it has come; the last chunk is its end. */
void operation_backup_read(struct service *service, const struct service_backup *backup);
void operation_backup_failed(struct service *service, uint64_t backup,
                             const struct failure *failure);
/* Whoever read it has ended it, and needs no explanation. */
void operation_backup_forget(struct service *service, uint64_t backup);
/* Why there is no backup of this token any more. False: that is not known. */
bool operation_backup_explain(const struct service *service, uint64_t backup, struct failure *ret);
/* Its call was answered with that. */
void operation_end(struct service *service, struct operation *operation,
                   const Raftkv__V1__Response *response);
/* Its caller is gone, and the call has ended without an answer. */
void operation_abandoned(struct service *service, struct operation *operation,
                         bool outcome_unknown);
/* The caller is gone: whether the call goes on without it. */
bool operation_outlives(struct call *call);
/* The leader says how a forwarded call comes on. */
void operation_told(struct call *call, const Raftkv__V1__Operation *message);
void execute_operation(struct call *call);
void execute_operations(struct call *call);

/* execute_backup.c: an end before the last chunk. The reader is told why. */
void backup_cancel(struct service *service, uint64_t backup);

/* joins.c */
void joins_init(struct service *service);
void joins_deinit(struct service *service);
/* Forgets those that are members now, or have stopped asking. */
void joins_forget_old(struct service *service);
/* Where the node of this name that asks to join listens for peers; NULL: none asks. Valid until the
 * next call. */
const char *joins_address(struct service *service, const char *name);
void execute_pending(struct call *call);
void execute_accept(struct call *call);
void execute_reject(struct call *call);

/* execute_stats.c: counting. */
void stats_init(struct service *service);
void stats_deinit(struct service *service);
/* A call is answered, with an error or (NULL) not. */
void stats_count(const struct call *call, const Raftkv__V1__Error *error);

/* Has call_read() called when everything acknowledged before now is applied here. */
void read_index_wait(struct call *call);
void read_index_deinit(struct service *service);
/* The read index is there (or none is needed): reads. */
void call_read(struct call *call);
/* Puts a get or list into the queue for the state lane; read_submit() has the queue worked off. */
void read_enqueue(struct call *call);
void read_submit(struct service *service);
void read_deinit(struct service *service);
void answer_members(struct call *call);
void answer_verified(struct call *call);
/* How the change of a call has come on. */
void change_get_progress(const struct call *call, struct change_progress *ret);
/* The call has no use for it any more; the change goes on. */
void change_detach(struct call *call);
/* A member's answer to a question of forward_send(). NULL: the answer makes no sense. */
void collection_answered(struct call *call, size_t seat, const Raftkv__V1__Response *response);
/* Answers with what there is. */
void collection_finish(struct call *call);
void collection_discard(struct call *call);
