/* The commands of raftkvctl: each makes a Request out of its arguments and shows the Response. */
#pragma once

#include "client/options.h"
#include "client/output.h"
#include "client/progress.h"
#include "client/transport.h"

enum { EXIT_STATUS_LOCAL = 1, EXIT_STATUS_USAGE = 2 };

/* What a command runs with. */
struct session {
    const struct arguments *arguments;
    struct transport *transport;
    struct output output;
    struct progress_line progress;
    FILE *errors;
};

/* All commands; ends with a NULL name. */
extern const struct command commands[];

/*
 * Says "raftkvctl: NotFound: ..." for an error of a node, and returns its exit status. An unknown
 * outcome is added when the message does not speak of it.
 */
int report_error(FILE *file, const Raftkv__V1__Error *error);
int report_failure(FILE *file, const struct failure *failure);

/* Returns 0 and the response, or the exit status after saying what went wrong; a response may be
 * there even then. */
int session_call(struct session *session, Raftkv__V1__Request *request, Raftkv__V1__Response **ret);

void response_free(Raftkv__V1__Response **response);
/* A C string as bytes, which stay its own. */
ProtobufCBinaryData bytes_of(const char *text);

/* exchanges.c: every command that is one request. */
int run_exchange(struct session *session, const struct arguments *arguments);

/* keys.c */
int run_put(struct session *session, const struct arguments *arguments);
int run_list(struct session *session, const struct arguments *arguments);

/* joins.c */
int run_members(struct session *session, const struct arguments *arguments);

/* backup.c */
int run_backup(struct session *session, const struct arguments *arguments);
int run_check(struct session *session, const struct arguments *arguments);
