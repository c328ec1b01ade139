#include "test_links_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/journal.h"
#include "journal_fields.h"

/* ---- nodes ---- */

static const struct identity *on_identity(void *data) {
    return &((struct node *)data)->identity;
}

static int on_admit(void *data, const struct identity *from, uint64_t expected,
                    struct failure *failure) {
    struct node *node = data;

    (void)from;
    if (node->admits)
        return failure_set(failure, node->admits, "The test refuses.");
    if (expected != node->identity.member_id)
        return failure_set(failure, ERROR_NOT_FOUND, "Somebody else is expected.");
    node->admitted++;
    return 0;
}

static void on_announced(void *data, const struct identity *from, struct announce_reply *ret) {
    struct node *node = data;

    node->announcements++;
    failure_set(&ret->said, ERROR_NOT_LEADER, "%s, ask\nelsewhere.", from->name);
    strcpy(ret->leader_address, from->client_address);
}

static int on_check_welcome(void *data, const struct identity *from, uint64_t expected,
                            struct failure *failure) {
    struct node *node = data;

    if (node->welcomes)
        return failure_set(failure, node->welcomes, "The test does not want this welcome.");
    if (from->member_id != expected)
        return failure_set(failure, ERROR_NOT_FOUND, "Somebody else answers.");
    return 0;
}

static uint8_t fill(uint32_t mark, size_t at) {
    return (uint8_t)(mark * 31 + at + (at >> 8) * 7);
}

static int on_receive(void *data, uint64_t from, const uint8_t *message, size_t size,
                      const char **ret_reason) {
    struct node *node = data;
    struct received *received = &node->received[node->received_count % RECEIVED_MAX];

    if (node->receives_badly) {
        *ret_reason = "the test does not like it.";
        return -EBADMSG;
    }
    *received = (struct received){.from = from, .size = size, .intact = true};
    if (size >= 4)
        memcpy(&received->mark, message, 4);
    for (size_t i = 4; i < size; i++)
        if (message[i] != fill(received->mark, i))
            received->intact = false;
    node->received_count++;
    return 0;
}

static void on_describe(void *data, uint64_t member_id, struct journal_event *event) {
    (void)data;
    journal_field(event, "RAFTKV_TERM=1");
    journal_field(event, "RAFTKV_MEMBER=node%llu", (unsigned long long)member_id);
    journal_field(event, "RAFTKV_MEMBER_ID=%016llx", (unsigned long long)member_id);
}

void node_start(struct world *world, size_t n, unsigned port) {
    struct node *node = &world->nodes[n];
    struct links_options options = {.loop = &world->loop};
    struct failure failure;
    char address[64];

    *node = (struct node){.world = world};
    options.handler = (struct links_handler){.data = node,
                                             .identity = on_identity,
                                             .admit = on_admit,
                                             .announced = on_announced,
                                             .check_welcome = on_check_welcome,
                                             .receive = on_receive,
                                             .describe = on_describe};
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    options.listen = address;
    assert_int_equal(links_open(&node->links, &options, &failure), 0);
    node->identity = (struct identity){.cluster_id = 77, .member_id = n + 1, .incarnation = 1};
    snprintf(node->identity.name, sizeof node->identity.name, "node%zu", n + 1);
    snprintf(node->identity.peer_address, sizeof node->identity.peer_address, "127.0.0.1:%u",
             links_port(node->links));
    strcpy(node->identity.client_address, "127.0.0.1:4711");
}

static void on_links_closed(void *data) {
    ((struct node *)data)->closed = true;
}

static bool is_closed(void *data) {
    return ((struct node *)data)->closed;
}

void node_stop(struct node *node) {
    if (!node->links)
        return;
    links_close(node->links, on_links_closed, node);
    run_until(&node->world->loop, is_closed, node);
    node->links = NULL;
}

struct peer node_peer(const struct node *node) {
    struct peer peer = {.member_id = node->identity.member_id};

    strcpy(peer.address, node->identity.peer_address);
    return peer;
}

void node_dial(struct node *from, const struct node *to) {
    struct peer peer = node_peer(to);

    links_set_peers(from->links, &peer, 1);
}

struct awaited {
    struct node *node;
    uint64_t to;
    size_t count;
};

static bool is_linked(void *data) {
    struct awaited *awaited = data;

    return links_linked(awaited->node->links, awaited->to);
}

static bool is_not_linked(void *data) {
    return !is_linked(data);
}

static bool has_messages(void *data) {
    struct awaited *awaited = data;

    return awaited->node->received_count >= awaited->count;
}

void node_await_link(struct node *from, uint64_t to) {
    struct awaited awaited = {.node = from, .to = to};

    run_until(&from->world->loop, is_linked, &awaited);
}

void node_await_no_link(struct node *from, uint64_t to) {
    struct awaited awaited = {.node = from, .to = to};

    run_until(&from->world->loop, is_not_linked, &awaited);
}

void node_await_messages(struct node *node, size_t count) {
    struct awaited awaited = {.node = node, .count = count};

    run_until(&node->world->loop, has_messages, &awaited);
}

void node_send(struct node *from, uint64_t to, bool urgent, uint32_t mark, size_t size) {
    uint8_t *message = xmalloc(size);

    assert_true(size >= 4);
    memcpy(message, &mark, 4);
    for (size_t i = 4; i < size; i++)
        message[i] = fill(mark, i);
    links_send(from->links, to, urgent, message, size);
}

static void on_identified(void *data, const struct identity *identity,
                          const struct failure *failure) {
    struct answer *answer = data;

    assert_false(answer->given);
    assert_true(!identity != !failure);
    answer->given = true;
    answer->failed = failure != NULL;
    if (failure)
        answer->failure = *failure;
    else
        answer->identity = *identity;
}

void node_identify(struct node *node, const char *address, uint64_t timeout_ms,
                   struct answer *answer) {
    *answer = (struct answer){0};
    links_identify(node->links, address, timeout_ms, on_identified, answer);
    assert_false(answer->given);
}

static bool is_given(void *data) {
    return ((struct answer *)data)->given;
}

void await_answer(struct world *world, struct answer *answer) {
    run_until(&world->loop, is_given, answer);
}

/* ---- plain sockets ---- */

void plain_peer_open(struct plain_peer *plain, struct world *world) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    plain->world = world;
    plain->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(plain->fd >= 0);
    assert_int_equal(bind(plain->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(plain->fd, 64), 0);
    assert_int_equal(getsockname(plain->fd, (struct sockaddr *)&address, &size), 0);
    plain->port = ntohs(address.sin_port);
}

struct accepting {
    struct plain_peer *plain;
    int fd;
};

static bool has_accepted(void *data) {
    struct accepting *accepting = data;

    accepting->fd = accept4(accepting->plain->fd, NULL, NULL, SOCK_CLOEXEC);
    return accepting->fd >= 0;
}

void plain_peer_accept(struct plain_peer *plain, struct wire *wire) {
    struct accepting accepting = {.plain = plain};

    run_until(&plain->world->loop, has_accepted, &accepting);
    *wire = (struct wire){.loop = &plain->world->loop, .fd = accepting.fd, .kind = FRAME_CHECKED};
}

size_t plain_peer_refuse_all(struct plain_peer *plain) {
    size_t count = 0;
    int fd;

    while ((fd = accept4(plain->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
        count++;
    }
    return count;
}

void plain_peer_close(struct plain_peer *plain) {
    close(plain->fd);
}

static void identity_init(Raftkv__V1__Identity *identity, uint64_t member_id) {
    static char name[] = "plain", address[] = "127.0.0.1:1";

    raftkv__v1__identity__init(identity);
    identity->cluster_id = 77;
    identity->member_id = member_id;
    identity->incarnation = 1;
    identity->name = name;
    identity->peer_address = address;
    identity->client_address = address;
    identity->protocol_min = PROTOCOL_MIN;
    identity->protocol_max = PROTOCOL_MAX;
}

void hello_init(struct hello *hello, uint64_t to_member_id) {
    identity_init(&hello->identity, 9);
    raftkv__v1__hello__init(&hello->hello);
    hello->hello.identity = &hello->identity;
    hello->hello.purpose = RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_MEMBER;
    hello->hello.to_member_id = to_member_id;
    raftkv__v1__link_frame__init(&hello->frame);
    hello->frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_HELLO;
    hello->frame.hello = &hello->hello;
}

void wire_connect(struct wire *wire, struct node *node) {
    wire_open(wire, &node->world->loop, links_port(node->links));
    wire->kind = FRAME_CHECKED;
}

void wire_greet(struct wire *wire, struct node *node, struct hello *hello) {
    ProtobufCMessage *answer;

    wire_connect(wire, node);
    assert_true(wire_send_message(wire, &hello->frame.base));
    answer = wire_receive(wire, &raftkv__v1__link_frame__descriptor);
    assert_int_equal(((Raftkv__V1__LinkFrame *)answer)->body_case,
                     RAFTKV__V1__LINK_FRAME__BODY_WELCOME);
    protobuf_c_message_free_unpacked(answer, NULL);
}

void wire_send_fragment(struct wire *wire, bool urgent, bool last, size_t size) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Fragment fragment = RAFTKV__V1__FRAGMENT__INIT;
    _cleanup_free_ uint8_t *data = xcalloc(1, size);

    fragment.urgent = urgent;
    fragment.last = last;
    fragment.data = (ProtobufCBinaryData){.data = data, .len = size};
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT;
    frame.fragment = &fragment;
    wire_send_message(wire, &frame.base);
}

void wire_send_welcome(struct wire *wire, uint64_t member_id) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Welcome welcome = RAFTKV__V1__WELCOME__INIT;
    Raftkv__V1__Identity identity;

    identity_init(&identity, member_id);
    welcome.identity = &identity;
    welcome.protocol = PROTOCOL_MAX;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_WELCOME;
    frame.welcome = &welcome;
    assert_true(wire_send_message(wire, &frame.base));
}

void wire_send_refusal(struct wire *wire, enum error_code code, const char *message) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Refusal refusal = RAFTKV__V1__REFUSAL__INIT;
    Raftkv__V1__Error error;
    char text[256];

    raftkv__v1__error__init(&error);
    snprintf(text, sizeof text, "%s", message);
    error.code = (Raftkv__V1__ErrorCode)code;
    error.message = text;
    refusal.error = &error;
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_REFUSAL;
    frame.refusal = &refusal;
    assert_true(wire_send_message(wire, &frame.base));
}

void wire_expect_refusal(struct wire *wire, enum error_code code, const char *part) {
    ProtobufCMessage *message = wire_receive(wire, &raftkv__v1__link_frame__descriptor);
    Raftkv__V1__LinkFrame *frame = (Raftkv__V1__LinkFrame *)message;

    assert_int_equal(frame->body_case, RAFTKV__V1__LINK_FRAME__BODY_REFUSAL);
    assert_int_equal((int)frame->refusal->error->code, (int)code);
    assert_non_null(strstr(frame->refusal->error->message, part));
    protobuf_c_message_free_unpacked(message, NULL);
    wire_await_end(wire);
}

/* ---- the world ---- */

static void count_warnings(void *data, int priority, const char *message, const char *const *fields,
                           size_t count) {
    struct world *world = data;

    assert_fields_are_documented(message, fields, count);
    if (count == 0 || strncmp(fields[count - 1], "RAFTKV_", 7) != 0)
        fail_msg("'%s' has no field that says of whom", message);
    if (priority <= LOG_WARNING)
        world->warnings++;
}

int set_up_world(void **state) {
    struct world *world = xcalloc(1, sizeof *world);

    assert_int_equal(uv_loop_init(&world->loop), 0);
    journal_set_sink(count_warnings, world, "console");
    *state = world;
    return 0;
}

int tear_down_world(void **state) {
    struct world *world = *state;

    for (size_t i = 0; i < NODES_MAX; i++)
        node_stop(&world->nodes[i]);
    journal_set_sink(journal_sink_stderr, NULL, "console");
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}
