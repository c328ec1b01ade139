#include "rpc/link_in.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "rpc/complaints.h"
#include "rpc/hello.h"
#include "rpc/links_private.h"

enum {
    DEAD_AFTER_S = 6,
    TURNED_AWAY_MAX = 32, /* above PEER_CONNECTIONS_MAX, each being told so */
};

static const bool allowed[][LINK_IN_CLOSED + 1] = {
    [LINK_IN_GREETING] = {[LINK_IN_UP] = true, [LINK_IN_CLOSED] = true},
    [LINK_IN_UP] = {[LINK_IN_CLOSED] = true},
    [LINK_IN_CLOSED] = {false},
};

static void move(struct link_in *link, enum link_in_state state) {
    check(allowed[link->state][state]);
    link->state = state;
}

/* Forgets what it had; the connection still has to be finished or closed. */
static void leave(struct link_in *link) {
    uint64_t member_id = link->state == LINK_IN_UP ? link->member_id : 0;

    move(link, LINK_IN_CLOSED);
    deadline_stop(&link->deadline);
    for (int i = 0; i < 2; i++) {
        link->links->assembling -= link->assembly[i].capacity;
        buffer_deinit(&link->assembly[i]);
    }
    LIST_REMOVE(link, entry);
    if (member_id)
        links_incoming_gone(link->links, member_id);
}

void link_in_close(struct link_in *link) {
    if (link->state != LINK_IN_CLOSED)
        leave(link);
    connection_close(&link->connection);
}

/* Says why it is closed: as a member's, or of whoever did not come as far as that. */
__attribute__((format(printf, 2, 3))) static void complain_of(struct link_in *link,
                                                              const char *format, ...) {
    struct links *links = link->links;
    char text[1024];
    va_list arguments;
    bool is_member = link->state == LINK_IN_UP;
    struct journal_event event =
        JOURNAL_EVENT(is_member ? MESSAGE_PEER_LINK_CLOSED : MESSAGE_PEER_REFUSED);

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (is_member)
        links->handler.describe(links->handler.data, link->member_id, &event);
    journal_field(&event, "RAFTKV_PEER=%s", link->address);
    complain(&links->complaints, uv_now(links->network.loop), &event, "%s", text);
}

/* Closes it because the other side broke the protocol. */
static void reject(struct link_in *link, const char *reason) {
    if (link->state == LINK_IN_UP)
        complain_of(
            link, "Closed the link from member %016" PRIx64 " at %s, which broke the protocol: %s",
            link->member_id, link->address, reason);
    else
        complain_of(link, "Closed a connection from %s to the peer port: %s", link->address,
                    reason);
    link_in_close(link);
}

/* ---- hello ---- */

static void refuse(struct link_in *link, const struct failure *failure) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Refusal refusal = RAFTKV__V1__REFUSAL__INIT;
    Raftkv__V1__Error error;
    char message[sizeof failure->message];

    strcpy(message, failure->message);
    complain_of(link, "Refused a link from %s: %s", link->address, message);
    raftkv__v1__error__init(&error);
    error.code = (Raftkv__V1__ErrorCode)failure->code;
    error.message = message;
    refusal.error = &error;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_REFUSAL;
    frame.refusal = &refusal;
    connection_send(&link->connection, &frame.base);
    leave(link);
    connection_finish(&link->connection);
}

/* `announced`: the answer to an announcement, or NULL. */
static void welcome(struct link_in *link, uint32_t protocol,
                    const struct announce_reply *announced) {
    struct links_handler *handler = &link->links->handler;
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Welcome message = RAFTKV__V1__WELCOME__INIT;
    Raftkv__V1__Announced answer;
    Raftkv__V1__Identity identity;
    Raftkv__V1__Error error;

    hello_put_identity(&identity, handler->identity(handler->data));
    if (announced) {
        hello_put_announced(&answer, &error, announced);
        message.announced = &answer;
    }
    message.identity = &identity;
    message.protocol = protocol;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_WELCOME;
    frame.welcome = &message;
    connection_send(&link->connection, &frame.base);
}

static int admit(struct link_in *link, const struct identity *from, uint64_t expected,
                 struct failure *failure) {
    struct links_handler *handler = &link->links->handler;
    const struct identity *self = handler->identity(handler->data);

    if (from->member_id == self->member_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The hello of '%s' says the member id of the node that it reached; "
                           "does it run on a copy of that node's data directory?",
                           from->name);
    return handler->admit(handler->data, from, expected, failure);
}

/* Answers a question that ends with the welcome. */
static void answer(struct link_in *link, uint32_t protocol,
                   const struct announce_reply *announced) {
    welcome(link, protocol, announced);
    leave(link);
    connection_finish(&link->connection);
}

static void take_announcement(struct link_in *link, uint32_t protocol,
                              const struct identity *from) {
    struct links_handler *handler = &link->links->handler;
    struct announce_reply announced = {0};

    handler->announced(handler->data, from, &announced);
    answer(link, protocol, &announced);
}

static void take_hello(struct link_in *link, const Raftkv__V1__Hello *hello) {
    struct identity from;
    struct failure failure;
    uint32_t protocol;
    int r;

    r = hello_get_identity(hello->identity, &from, &protocol, &failure);
    if (r == 0 && hello->purpose == RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_IDENTIFY) {
        /* Anyone may ask: who is asked for is how the asking side says what is wrong. */
        answer(link, protocol, NULL);
        return;
    }
    if (r == 0 && hello->purpose == RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_ANNOUNCE) {
        take_announcement(link, protocol, &from);
        return;
    }
    if (r == 0 && hello->purpose != RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_MEMBER)
        r = failure_set(&failure, ERROR_UNSUPPORTED, "The hello has an unknown purpose: %d.",
                        (int)hello->purpose);
    if (r == 0)
        r = admit(link, &from, hello->to_member_id, &failure);
    if (r != 0) {
        refuse(link, &failure);
        return;
    }
    deadline_stop(&link->deadline);
    move(link, LINK_IN_UP);
    link->member_id = from.member_id;
    strcpy(link->peer_address, from.peer_address);
    welcome(link, protocol, NULL);
    links_incoming_up(link->links, link);
}

/* ---- messages ---- */

static void receive(struct link_in *link, const uint8_t *message, size_t size) {
    struct links_handler *handler = &link->links->handler;
    const char *reason = "an invalid message";

    /* The handler may close all links. */
    if (handler->receive(handler->data, link->member_id, message, size, &reason) != 0 &&
        link->state == LINK_IN_UP)
        reject(link, reason);
}

static void take_fragment(struct link_in *link, const Raftkv__V1__Fragment *fragment) {
    struct buffer *assembly = &link->assembly[fragment->urgent ? 1 : 0];
    size_t size = fragment->data.len, capacity = assembly->capacity;
    struct buffer message;

    if (size > FRAGMENT_SIZE_MAX || assembly->size + size > PEER_MESSAGE_SIZE_MAX) {
        reject(link, "a message or a fragment of it is longer than allowed.");
        return;
    }
    if (assembly->size == 0 && fragment->last) {
        receive(link, fragment->data.data, size);
        return;
    }
    buffer_append(assembly, fragment->data.data, size);
    link->links->assembling += assembly->capacity - capacity;
    if (link->links->assembling > LINKS_RECEIVE_MAX) {
        reject(link, "too many large messages are being received.");
        return;
    }
    if (!fragment->last)
        return;
    message = *assembly;
    *assembly = BUFFER_NULL;
    link->links->assembling -= message.capacity;
    receive(link, message.data, message.size);
    buffer_deinit(&message);
}

static void on_frame(struct connection *connection, const uint8_t *data, size_t size) {
    struct link_in *link = container_of(connection, struct link_in, connection);
    Raftkv__V1__LinkFrame *frame;
    const char *reason;

    frame = hello_unpack_frame(data, size, &reason);
    if (!frame) {
        reject(link, reason);
        return;
    }
    if (link->state == LINK_IN_GREETING && frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_HELLO)
        take_hello(link, frame->hello);
    else if (link->state == LINK_IN_UP && frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT)
        take_fragment(link, frame->fragment);
    else
        reject(link, link->state == LINK_IN_UP ? "a frame that is not a fragment."
                                               : "its first frame is not a hello.");
    raftkv__v1__link_frame__free_unpacked(frame, NULL);
}

static void on_too_large(struct connection *connection, size_t size) {
    struct link_in *link = container_of(connection, struct link_in, connection);

    (void)size;
    reject(link, "a frame longer than allowed, or not raftkv's peer protocol.");
}

static void on_damaged(struct connection *connection) {
    struct link_in *link = container_of(connection, struct link_in, connection);

    complain_of(
        link,
        link->state == LINK_IN_UP
            ? "Closed the link from %s: what came was damaged on its way, its checksum is wrong."
            : "Closed a connection from %s to the peer port: its first frame is damaged, or not "
              "raftkv's peer protocol.",
        link->address);
    link_in_close(link);
}

static void on_ended(struct connection *connection, int status) {
    (void)status;
    link_in_close(container_of(connection, struct link_in, connection));
}

static void on_deadline(struct deadline *deadline) {
    reject(container_of(deadline, struct link_in, deadline), "no hello came in time.");
}

static void on_closed(struct connection *connection) {
    struct link_in *link = container_of(connection, struct link_in, connection);

    link->links->incoming_count--;
    free(link);
}

static const struct connection_events events = {
    .frame = on_frame,
    .too_large = on_too_large,
    .damaged = on_damaged,
    .ended = on_ended,
    .closed = on_closed,
};

void link_in_accept(struct links *links) {
    struct link_in *link = xcalloc(1, sizeof *link);
    struct failure failure;

    link->links = links;
    link->deadline.passed = on_deadline;
    link->state = LINK_IN_GREETING;
    LIST_INSERT_HEAD(&links->incoming, link, entry);
    links->incoming_count++;
    connection_init(&link->connection, &links->network, &events, FRAME_CHECKED,
                    LINK_FRAME_SIZE_MAX);
    if (uv_accept((uv_stream_t *)&links->listener.tcp, (uv_stream_t *)&link->connection.tcp) < 0 ||
        connection_start(&link->connection, DEAD_AFTER_S) < 0 ||
        links->incoming_count > PEER_CONNECTIONS_MAX + TURNED_AWAY_MAX) {
        link_in_close(link);
        return;
    }
    connection_describe(&link->connection, link->address, sizeof link->address);
    deadline_start(&links->network, &link->deadline, HELLO_TIMEOUT_MS);
    if (links->incoming_count > PEER_CONNECTIONS_MAX) {
        failure_set(&failure, ERROR_BUSY, "This node has %d connections to its peer port already.",
                    PEER_CONNECTIONS_MAX);
        refuse(link, &failure);
    }
}
