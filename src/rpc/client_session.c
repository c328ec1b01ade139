#include "rpc/client_session.h"

#include <errno.h>
#include <stdio.h>

#include "rpc/client_door_private.h"

enum {
    DEAD_AFTER_S = 120,
    TURNED_AWAY_MAX = 256,                     /* above max_connections, each being told so */
    OUTPUT_PAUSE_SIZE = CLIENT_OUTPUT_MAX / 4, /* of unread answers: no more requests are read */
};

struct client_request {
    LIST_ENTRY(client_request) entry; /* of session->requests */
    struct client_session *session;   /* NULL: the client is gone */
    struct call *call;                /* NULL while service_handle() runs */
};

/* Requests that the service is just being handed are cancelled when it returns. */
static void cancel_requests(struct client_session *session) {
    struct client_request *request;

    while ((request = LIST_FIRST(&session->requests))) {
        LIST_REMOVE(request, entry);
        request->session = NULL;
        if (!request->call)
            continue;
        service_cancel(session->door->service, request->call);
        free(request);
    }
    session->in_flight = 0;
}

static void leave(struct client_session *session) {
    if (session->left)
        return;
    session->left = true;
    LIST_REMOVE(session, entry);
    cancel_requests(session);
}

void client_session_close(struct client_session *session) {
    leave(session);
    connection_close(&session->connection);
}

void client_session_reject(struct client_session *session, enum error_code code,
                           const char *message) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Error error;
    char text[512];

    snprintf(text, sizeof text, "%s", message);
    raftkv__v1__error__init(&error);
    error.code = (Raftkv__V1__ErrorCode)code;
    error.message = text;
    response.error = &error;
    connection_send(&session->connection, &response.base);
    leave(session);
    connection_finish(&session->connection);
}

void client_session_take_leave(struct client_session *session) {
    if (session->in_flight == 0)
        client_session_reject(session, ERROR_UNAVAILABLE,
                              "This node is stopping; what it has not answered did not happen.");
}

/* ---- requests and answers ---- */

/* When all together have half of what they may, nobody is read who has answers left to read. */
static bool has_too_much(const struct client_session *session) {
    const struct client_door *door = session->door;
    size_t pending = connection_pending(&session->connection);

    return session->in_flight >= door->max_in_flight || pending > OUTPUT_PAUSE_SIZE ||
           (pending > 0 && door->network.unsent > door->unsent_max / 2);
}

static void on_reply(void *data, const Raftkv__V1__Response *response) {
    struct client_request *request = data;
    struct client_session *session = request->session;

    if (session) {
        LIST_REMOVE(request, entry);
        session->in_flight--;
        connection_send(&session->connection, &response->base);
        if (connection_pending(&session->connection) > CLIENT_OUTPUT_MAX)
            client_session_close(session);
        else if (session->door->network.unsent > session->door->unsent_max)
            client_door_shed_output(session->door);
        else if (session->door->leaving)
            client_session_take_leave(session);
    }
    free(request);
}

static void on_progress(void *data, const Raftkv__V1__Response *response) {
    struct client_request *request = data;

    /* Who does not read what comes is told no more than the answer. */
    if (request->session && connection_pending(&request->session->connection) < OUTPUT_PAUSE_SIZE)
        connection_send(&request->session->connection, &response->base);
}

static void handle(struct client_session *session, Raftkv__V1__Request *message) {
    struct service *service = session->door->service;
    struct client_request *request = xmalloc(sizeof *request);
    struct call *call;

    *request = (struct client_request){.session = session};
    LIST_INSERT_HEAD(&session->requests, request, entry);
    session->in_flight++;
    call = service_handle_for(service, message,
                              &(struct service_caller){
                                  .door = "TCP",
                                  .reply = on_reply,
                                  .progress = on_progress,
                                  .data = request,
                              });
    if (!call)
        return; /* answered, and freed by on_reply() */
    request->call = call;
    if (!request->session) {
        service_cancel(service, call);
        free(request);
    }
}

static void on_frame(struct connection *connection, const uint8_t *data, size_t size) {
    struct client_session *session = container_of(connection, struct client_session, connection);
    ProtobufCMessage *message;
    const char *reason;
    int r;

    if (size == 0) {
        client_session_reject(session, ERROR_INVALID_ARGUMENT, "The frame is empty.");
        return;
    }
    r = unpack(&raftkv__v1__request__descriptor, data, size, &unpack_client_limits, &message,
               &reason);
    if (r < 0) {
        client_session_reject(session, r == -EMSGSIZE ? ERROR_TOO_LARGE : ERROR_INVALID_ARGUMENT,
                              reason);
        return;
    }
    handle(session, (Raftkv__V1__Request *)message);
    if (!session->left && has_too_much(session))
        connection_pause(connection);
}

static void on_too_large(struct connection *connection, size_t length) {
    struct client_session *session = container_of(connection, struct client_session, connection);
    char text[128];

    snprintf(text, sizeof text, "The frame's length is %zu; a frame has at most %d bytes.", length,
             CLIENT_FRAME_SIZE_MAX);
    client_session_reject(session, ERROR_TOO_LARGE, text);
}

static void on_turn(struct connection *connection) {
    struct client_session *session = container_of(connection, struct client_session, connection);

    if (!has_too_much(session))
        connection_resume(connection);
}

/* ---- beginning and end ---- */

static void on_ended(struct connection *connection, int status) {
    (void)status;
    client_session_close(container_of(connection, struct client_session, connection));
}

static void on_closed(struct connection *connection) {
    struct client_session *session = container_of(connection, struct client_session, connection);
    struct client_door *door = session->door;

    if (session->turned_away)
        door->turned_away--;
    else
        door->connections--;
    free(session);
    client_door_session_gone(door);
}

static const struct connection_events events = {
    .frame = on_frame,
    .too_large = on_too_large,
    .turn = on_turn,
    .ended = on_ended,
    .closed = on_closed,
};

void client_session_accept(struct client_door *door) {
    struct client_session *session = xcalloc(1, sizeof *session);
    char text[128];

    session->door = door;
    session->turned_away = door->connections >= door->max_connections;
    if (session->turned_away) {
        door->turned_away++;
        door->turned_away_ever++;
    } else {
        door->connections++;
        door->accepted_ever++;
    }
    LIST_INIT(&session->requests);
    LIST_INSERT_HEAD(&door->sessions, session, entry);
    connection_init(&session->connection, &door->network, &events, FRAME_PLAIN,
                    CLIENT_FRAME_SIZE_MAX);
    if (uv_accept((uv_stream_t *)&door->listener.tcp, (uv_stream_t *)&session->connection.tcp) <
            0 ||
        connection_start(&session->connection, DEAD_AFTER_S) < 0 ||
        door->turned_away > TURNED_AWAY_MAX) {
        client_session_close(session);
        return;
    }
    if (door->leaving)
        client_session_take_leave(session);
    if (!session->turned_away || session->left)
        return;
    snprintf(text, sizeof text, "This node has %u client connections already, as many as it may.",
             door->max_connections);
    client_session_reject(session, ERROR_BUSY, text);
}
