#include "rpc/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/check.h"
#include "base/memory.h"
#include "rpc/hello.h"

enum { DEAD_AFTER_S = 6, UNSENT_SIZE = 128 * 1024 };

enum state { STATE_RESOLVING, STATE_CONNECTING, STATE_GREETING, STATE_UP, STATE_ENDED };

static const bool allowed[][STATE_ENDED + 1] = {
    [STATE_RESOLVING] = {[STATE_CONNECTING] = true, [STATE_ENDED] = true},
    [STATE_CONNECTING] = {[STATE_GREETING] = true, [STATE_ENDED] = true},
    [STATE_GREETING] = {[STATE_UP] = true, [STATE_ENDED] = true},
    [STATE_UP] = {[STATE_ENDED] = true},
    [STATE_ENDED] = {false},
};

struct dial {
    struct dial_options options;
    char address[ADDRESS_MAX + 1];
    enum state state;
    struct deadline deadline; /* of the attempt; or at once, to report `failure` */
    struct failure failure;   /* code not 0: why it failed within dial_start() */
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *addresses;
    const struct addrinfo *next; /* to try */
    struct sockaddr_storage numeric;
    uv_connect_t connect;
    struct connection connection;
    bool connection_open; /* closed() of it is still to come */
    int connect_error;    /* of the address tried last */
};

static void move(struct dial *dial, enum state state) {
    check(allowed[dial->state][state]);
    dial->state = state;
}

static void free_when_idle(struct dial *dial) {
    struct network *network = dial->options.network;

    if (dial->state != STATE_ENDED || dial->resolving || dial->connection_open)
        return;
    if (dial->addresses)
        uv_freeaddrinfo(dial->addresses);
    free(dial);
    network_release(network);
}

static void end(struct dial *dial) {
    move(dial, STATE_ENDED);
    deadline_stop(&dial->deadline);
    if (dial->resolving)
        uv_cancel((uv_req_t *)&dial->resolve);
    if (dial->connection_open)
        connection_close(&dial->connection);
}

struct dial *dial_close(struct dial *dial) {
    if (dial) {
        end(dial);
        free_when_idle(dial);
    }
    return NULL;
}

/* Ends it and tells the owner. */
static void fail(struct dial *dial, const struct failure *failure) {
    void (*failed)(void *data, const struct failure *failure) = dial->options.failed;
    void *data = dial->options.data;

    end(dial);
    failed(data, failure);
    free_when_idle(dial);
}

static void fail_unreachable(struct dial *dial, const char *reason) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE, "Cannot reach %s: %s.", dial->address, reason);
    fail(dial, &failure);
}

static void fail_foreign(struct dial *dial) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE,
                "What answers at %s does not speak raftkv's peer protocol; is it a peer port?",
                dial->address);
    fail(dial, &failure);
}

static void on_deadline(struct deadline *deadline) {
    struct dial *dial = container_of(deadline, struct dial, deadline);
    char reason[64];

    if (dial->failure.code) {
        struct failure failure = dial->failure;

        fail(dial, &failure);
        return;
    }
    snprintf(reason, sizeof reason, "%s within %llu ms",
             dial->state == STATE_RESOLVING    ? "its name was not resolved"
             : dial->state == STATE_CONNECTING ? "no connection"
                                               : "no answer to the hello",
             (unsigned long long)dial->options.timeout_ms);
    fail_unreachable(dial, reason);
}

/* ---- greeting ---- */

static void say_hello(struct dial *dial) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Hello hello = RAFTKV__V1__HELLO__INIT;
    Raftkv__V1__Identity identity;

    hello_put_identity(&identity, dial->options.self);
    hello.identity = &identity;
    hello.purpose = dial->options.purpose;
    hello.to_member_id = dial->options.expected;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_HELLO;
    frame.hello = &hello;
    connection_send(&dial->connection, &frame.base);
}

static void take_welcome(struct dial *dial, const Raftkv__V1__Welcome *welcome) {
    bool announcing = dial->options.purpose == RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_ANNOUNCE;
    struct announce_reply announced;
    struct identity identity;
    struct failure failure;
    uint32_t protocol;
    int r;

    r = hello_get_identity(welcome->identity, &identity, &protocol, &failure);
    if (r == 0 && (welcome->protocol < PROTOCOL_MIN || welcome->protocol > PROTOCOL_MAX))
        r = failure_set(&failure, ERROR_UNSUPPORTED,
                        "The welcome chooses version %u of the peer protocol; %d to %d are known.",
                        welcome->protocol, PROTOCOL_MIN, PROTOCOL_MAX);
    if (r == 0 && announcing && !welcome->announced)
        r = failure_set(&failure, ERROR_UNSUPPORTED, "It does not answer announcements.");
    if (r != 0) {
        struct failure named;

        failure_set(&named, failure.code, "Cannot link to %s: %.400s", dial->address,
                    failure.message);
        fail(dial, &named);
        return;
    }
    deadline_stop(&dial->deadline);
    move(dial, STATE_UP);
    if (announcing)
        hello_get_announced(welcome->announced, &announced);
    dial->options.up(dial->options.data, &identity, announcing ? &announced : NULL);
}

static void take_refusal(struct dial *dial, const Raftkv__V1__Refusal *refusal) {
    struct failure failure, named;

    hello_get_refusal(refusal, &failure);
    failure_set(&named, failure.code, "The node at %s refuses: %.400s", dial->address,
                failure.message);
    fail(dial, &named);
}

static void on_frame(struct connection *connection, const uint8_t *data, size_t size) {
    struct dial *dial = container_of(connection, struct dial, connection);
    Raftkv__V1__LinkFrame *frame;
    const char *reason;

    /* The receiver of a link sends nothing after its welcome. */
    frame = dial->state == STATE_GREETING ? hello_unpack_frame(data, size, &reason) : NULL;
    if (frame && frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_WELCOME)
        take_welcome(dial, frame->welcome);
    else if (frame && frame->body_case == RAFTKV__V1__LINK_FRAME__BODY_REFUSAL)
        take_refusal(dial, frame->refusal);
    else
        fail_foreign(dial);
    if (frame)
        raftkv__v1__link_frame__free_unpacked(frame, NULL);
}

static void on_too_large(struct connection *connection, size_t length) {
    (void)length;
    fail_foreign(container_of(connection, struct dial, connection));
}

static void on_damaged(struct connection *connection) {
    fail_foreign(container_of(connection, struct dial, connection));
}

static void on_turn(struct connection *connection) {
    struct dial *dial = container_of(connection, struct dial, connection);

    if (dial->state == STATE_UP && dial->options.turn)
        dial->options.turn(dial->options.data, connection);
}

static void on_ended(struct connection *connection, int status) {
    struct dial *dial = container_of(connection, struct dial, connection);

    if (status == UV_EOF)
        fail_unreachable(dial, dial->state == STATE_UP
                                   ? "it closed the link"
                                   : "it closed the connection without an answer to the hello");
    else
        fail_unreachable(dial, uv_strerror(status));
}

/* ---- connecting ---- */

static void connect_next(struct dial *dial);

static void on_connection_closed(struct connection *connection) {
    struct dial *dial = container_of(connection, struct dial, connection);

    dial->connection_open = false;
    if (dial->state == STATE_CONNECTING)
        connect_next(dial);
    else
        free_when_idle(dial);
}

static const struct connection_events events = {
    .frame = on_frame,
    .too_large = on_too_large,
    .damaged = on_damaged,
    .turn = on_turn,
    .ended = on_ended,
    .closed = on_connection_closed,
};

/* What the kernel has taken cannot be overtaken any more, so it shall take little more than what it
 * can send at once. */
static int limit_unsent(const uv_tcp_t *tcp) {
    int size = UNSENT_SIZE;
    uv_os_fd_t fd;
    int r;

    r = uv_fileno((const uv_handle_t *)tcp, &fd);
    if (r < 0)
        return r;
    return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &size, sizeof size) < 0
               ? uv_translate_sys_error(errno)
               : 0;
}

static void on_connect(uv_connect_t *request, int status) {
    struct dial *dial = request->data;

    if (dial->state == STATE_ENDED)
        return;
    if (status == 0)
        status = connection_start(&dial->connection, DEAD_AFTER_S);
    if (status == 0)
        status = limit_unsent(&dial->connection.tcp);
    if (status < 0) {
        dial->connect_error = status;
        connection_close(&dial->connection);
        return;
    }
    move(dial, STATE_GREETING);
    say_hello(dial);
}

static void connect_to(struct dial *dial, const struct sockaddr *address) {
    int r;

    connection_init(&dial->connection, dial->options.network, &events, FRAME_CHECKED,
                    LINK_FRAME_SIZE_MAX);
    dial->connection_open = true;
    dial->connect.data = dial;
    r = uv_tcp_connect(&dial->connect, &dial->connection.tcp, address, on_connect);
    if (r < 0) {
        dial->connect_error = r;
        connection_close(&dial->connection);
    }
}

/* A name may stand for several addresses; each is tried in turn, within the one deadline. */
static void connect_next(struct dial *dial) {
    const struct addrinfo *address = dial->next;

    if (address) {
        dial->next = address->ai_next;
        connect_to(dial, address->ai_addr);
    } else {
        fail_unreachable(dial, uv_strerror(dial->connect_error));
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    struct dial *dial = request->data;

    dial->resolving = false;
    dial->addresses = addresses;
    if (dial->state == STATE_ENDED) {
        free_when_idle(dial);
        return;
    }
    if (status < 0) {
        fail_unreachable(dial, uv_strerror(status));
        return;
    }
    dial->next = addresses;
    dial->connect_error = UV_EADDRNOTAVAIL;
    move(dial, STATE_CONNECTING);
    connect_next(dial);
}

static bool parse_numeric(const char *host, unsigned port, struct sockaddr_storage *ret) {
    return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)ret) == 0 ||
           uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret) == 0;
}

static void begin(struct dial *dial) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char host[ADDRESS_MAX + 1], service[8];
    unsigned port;
    int r;

    if (!address_valid(dial->options.address) ||
        address_split(dial->options.address, host, &port) < 0) {
        failure_set(&dial->failure, ERROR_INVALID_ARGUMENT,
                    "'%.300s' is not the address of a node; write HOST:PORT.",
                    dial->options.address);
        return;
    }
    strcpy(dial->address, dial->options.address);
    if (parse_numeric(host, port, &dial->numeric)) {
        move(dial, STATE_CONNECTING);
        connect_to(dial, (const struct sockaddr *)&dial->numeric);
        return;
    }
    snprintf(service, sizeof service, "%u", port);
    dial->resolve.data = dial;
    r = uv_getaddrinfo(dial->options.network->loop, &dial->resolve, on_resolved, host, service,
                       &hints);
    if (r == 0)
        dial->resolving = true;
    else
        failure_set(&dial->failure, ERROR_UNAVAILABLE, "Cannot reach %s: %s.", dial->address,
                    uv_strerror(r));
}

struct dial *dial_start(const struct dial_options *options) {
    struct dial *dial = xcalloc(1, sizeof *dial);

    dial->options = *options;
    dial->state = STATE_RESOLVING;
    dial->deadline.passed = on_deadline;
    network_hold(options->network);
    begin(dial);
    dial->options.address = dial->address;
    deadline_start(options->network, &dial->deadline, dial->failure.code ? 0 : options->timeout_ms);
    return dial;
}

struct connection *dial_connection(struct dial *dial) {
    return &dial->connection;
}
