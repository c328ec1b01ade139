/* members: who is in the cluster, or wants to be. */
#include <stdio.h>

#include "base/memory.h"
#include "client/commands.h"

static int show_pending(struct session *session) {
    Raftkv__V1__PendingRequest body = RAFTKV__V1__PENDING_REQUEST__INIT;
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    _cleanup_(response_free) Raftkv__V1__Response *response = NULL;
    int r;

    request.body_case = RAFTKV__V1__REQUEST__BODY_PENDING;
    request.pending = &body;
    r = session_call(session, &request, &response);
    if (r == 0)
        output_pending(&session->output, response->pending);
    return r;
}

int run_members(struct session *session, const struct arguments *arguments) {
    if (!arguments->pending)
        return run_exchange(session, arguments);
    if (!arguments->stale)
        return show_pending(session);
    fputs("raftkvctl: members takes --pending or --stale; the leader alone knows who asks.\n",
          session->errors);
    return EXIT_STATUS_USAGE;
}
