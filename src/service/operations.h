/* The table of operations, for what keeps it (operations.c) and what tells of it
 * (execute_operations.c). */
#pragma once

#include "service/internal.h"

struct operation {
    uint64_t token; /* 0: the place is free */
    const struct request_kind *kind;
    char subject[MEMBER_NAME_MAX + 1];
    char asked_by[MEMBER_NAME_MAX + 1];
    bool running, failed;
    struct call *call;     /* NULL: it has ended, or is a backup */
    uint64_t backup;       /* its token for those who read it; 0: it is none */
    uint64_t begun, ended; /* host time */
    uint8_t *result;       /* an encoded Response, what its caller was answered; NULL: not yet */
    size_t result_size;
    struct list waiting; /* calls that await its end */
    bool answering;      /* those calls */

    char phase[64];
    uint64_t done, total;
    const char *unit;
    bool changed; /* since the caller was last told */
};

struct operations {
    struct operation places[OPERATIONS_MAX];
    uint64_t last_token;
    size_t running;
    uint64_t look_at; /* host time; UINT64_MAX: nothing is running */
};

/* NULL: there is none of this token. */
struct operation *operation_find(const struct service *service, uint64_t token);
/* Whether it ended so long ago that it is no longer told of. */
bool operation_is_stale(const struct service *service, const struct operation *operation);
/* What is said of one; valid as long as the operation. */
Raftkv__V1__Operation operation_describe(const struct service *service,
                                         struct operation *operation);
/* Answers a call that asked for it. */
void operation_answer(struct call *call, struct operation *operation);
