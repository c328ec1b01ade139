/* client_session: one connection of a client: requests come in, answers go out as they come. */
#pragma once

#include <sys/queue.h>

#include "rpc/connection.h"
#include "service/service.h"

struct client_door;
struct client_request;

struct client_session {
    LIST_ENTRY(client_session) entry; /* of door->sessions, until it leaves */
    struct client_door *door;
    struct connection connection;
    LIST_HEAD(, client_request) requests; /* under way */
    unsigned in_flight;
    bool left;        /* the connection is being finished or closed */
    bool turned_away; /* one connection too many: it is only told so */
};

/* Accepts what waits at the listener. */
void client_session_accept(struct client_door *door);
/* Says what is wrong (in an answer with id 0), then closes; requests under way are cancelled. */
void client_session_reject(struct client_session *session, enum error_code code,
                           const char *message);
/* For the end of the node: closes if no requests are under way, telling the client that whatever
 * else it has sent did not happen. */
void client_session_take_leave(struct client_session *session);
void client_session_close(struct client_session *session);
