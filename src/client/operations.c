/* operations, await and cancel: what takes long on a node, and how it ended. */
#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "client/commands.h"

static void free_response(Raftkv__V1__Response **response) {
    if (*response)
        raftkv__v1__response__free_unpacked(*response, NULL);
}

int run_operations(struct session *session, const struct arguments *arguments) {
    Raftkv__V1__OperationsRequest body = RAFTKV__V1__OPERATIONS_REQUEST__INIT;
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(free_response) Raftkv__V1__Response *response = NULL;
    int r;

    (void)arguments;
    request.body_case = RAFTKV__V1__REQUEST__BODY_OPERATIONS;
    request.operations = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_operations(&session->output, response->operations->operations,
                          response->operations->n_operations);
    return r;
}

static int ask(struct session *session, const char *text, Raftkv__V1__OperationAction action,
               Raftkv__V1__Response **ret) {
    Raftkv__V1__OperationRequest body = RAFTKV__V1__OPERATION_REQUEST__INIT;
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    char *end;

    errno = 0;
    body.token = strtoull(text, &end, 16);
    if (!*text || *end || errno) {
        fprintf(session->errors,
                "raftkvctl: \"%s\" is no token; raftkvctl operations shows those there are.\n",
                text);
        return EXIT_STATUS_USAGE;
    }
    body.action = action;
    request.body_case = RAFTKV__V1__REQUEST__BODY_OPERATION;
    request.operation = &body;
    return session_call(session, &request, ret);
}

int run_await(struct session *session, const struct arguments *arguments) {
    _cleanup_(free_response) Raftkv__V1__Response *response = NULL;
    const Raftkv__V1__Response *result;
    int r = ask(session, arguments->positional[0],
                RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT, &response);

    if (r != 0)
        return r;
    result = response->operation->result;
    if (result && result->error)
        return report_error(session->errors, result->error);
    output_operations(&session->output, &response->operation->operation, 1);
    return 0;
}

int run_cancel(struct session *session, const struct arguments *arguments) {
    _cleanup_(free_response) Raftkv__V1__Response *response = NULL;
    int r = ask(session, arguments->positional[0],
                RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL, &response);

    if (r == 0)
        output_operations(&session->output, &response->operation->operation, 1);
    return r;
}
