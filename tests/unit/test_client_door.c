/* The client door on a real loop, over a service that this file fakes. */
#include <arpa/inet.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/journal.h"
#include "base/limits.h"
#include "rpc/client_door_private.h"
#include "test_wire.h"

/* ---- the service ---- */

struct call {
    TAILQ_ENTRY(call) entry;
    uint64_t id;
    service_reply reply;
    void *data;
};

struct service {
    bool hold; /* answers wait for answer_held() */
    size_t value_size;
    size_t handled;
    size_t cancelled;
    size_t holding;
    TAILQ_HEAD(calls, call) calls;
};

static void answer(struct service *service, uint64_t id, service_reply reply, void *data) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__GetResponse get = RAFTKV__V1__GET_RESPONSE__INIT;
    Raftkv__V1__KeyValue item = RAFTKV__V1__KEY_VALUE__INIT;
    _cleanup_free_ uint8_t *value = xcalloc(1, service->value_size);

    item.value = (ProtobufCBinaryData){.data = value, .len = service->value_size};
    get.item = &item;
    response.id = id;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_GET;
    response.get = &get;
    reply(data, &response);
}

struct call *service_handle(struct service *service, Raftkv__V1__Request *request,
                            service_reply reply, void *data) {
    uint64_t id = request->id;
    struct call *call;

    protobuf_c_message_free_unpacked(&request->base, NULL);
    service->handled++;
    if (!service->hold) {
        answer(service, id, reply, data);
        return NULL;
    }
    call = xmalloc(sizeof *call);
    *call = (struct call){.id = id, .reply = reply, .data = data};
    TAILQ_INSERT_TAIL(&service->calls, call, entry);
    service->holding++;
    return call;
}

struct call *service_handle_for(struct service *service, Raftkv__V1__Request *request,
                                const struct service_caller *caller) {
    return service_handle(service, request, caller->reply, caller->data);
}

void service_cancel(struct service *service, struct call *call) {
    TAILQ_REMOVE(&service->calls, call, entry);
    service->holding--;
    service->cancelled++;
    free(call);
}

/* The youngest first, so that answers come in another order than requests. */
static void answer_held(struct service *service) {
    struct call *call;

    while ((call = TAILQ_LAST(&service->calls, calls))) {
        struct call copy = *call;

        TAILQ_REMOVE(&service->calls, call, entry);
        service->holding--;
        free(call);
        answer(service, copy.id, copy.reply, copy.data);
    }
}

/* ---- the world ---- */

struct world {
    uv_loop_t loop;
    struct service service;
    struct client_door *door;
    bool closed;
};

static void open_door(struct world *world, unsigned max_connections, unsigned max_in_flight) {
    struct client_door_options options = {
        .loop = &world->loop,
        .service = &world->service,
        .listen = "127.0.0.1:0",
        .max_connections = max_connections,
        .max_in_flight = max_in_flight,
    };
    struct failure failure;

    assert_int_equal(client_door_open(&world->door, &options, &failure), 0);
    assert_true(client_door_port(world->door) != 0);
}

static void on_door_closed(void *data) {
    ((struct world *)data)->closed = true;
}

static bool is_closed(void *data) {
    return ((struct world *)data)->closed;
}

static void close_door(struct world *world) {
    world->closed = false;
    client_door_close(world->door, on_door_closed, world);
    run_until(&world->loop, is_closed, world);
    world->door = NULL;
}

static int set_up(void **state) {
    struct world *world = xcalloc(1, sizeof *world);

    TAILQ_INIT(&world->service.calls);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    open_door(world, 100, 1000);
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;

    if (world->door)
        close_door(world);
    assert_true(TAILQ_EMPTY(&world->service.calls));
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

static void connect_wire(struct world *world, struct wire *wire) {
    wire_open(wire, &world->loop, client_door_port(world->door));
}

static void send_get(struct wire *wire, uint64_t id) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__GetRequest get = RAFTKV__V1__GET_REQUEST__INIT;

    request.id = id;
    request.body_case = RAFTKV__V1__REQUEST__BODY_GET;
    request.get = &get;
    assert_true(wire_send_message(wire, &request.base));
}

static void expect_answer(struct wire *wire, uint64_t id) {
    ProtobufCMessage *message = wire_receive(wire, &raftkv__v1__response__descriptor);

    assert_true(((Raftkv__V1__Response *)message)->id == id);
    assert_null(((Raftkv__V1__Response *)message)->error);
    protobuf_c_message_free_unpacked(message, NULL);
}

/* An error with id 0 that says this, and then the end. */
static void expect_rejection(struct wire *wire, enum error_code code, const char *part) {
    ProtobufCMessage *message = wire_receive(wire, &raftkv__v1__response__descriptor);
    Raftkv__V1__Response *response = (Raftkv__V1__Response *)message;

    assert_true(response->id == 0);
    assert_non_null(response->error);
    assert_int_equal((int)response->error->code, (int)code);
    assert_non_null(strstr(response->error->message, part));
    protobuf_c_message_free_unpacked(message, NULL);
    wire_await_end(wire);
}

/* Whether others are still served. */
static void expect_service(struct world *world) {
    struct wire wire;
    bool hold = world->service.hold;

    world->service.hold = false;
    connect_wire(world, &wire);
    send_get(&wire, 4711);
    expect_answer(&wire, 4711);
    wire_close(&wire);
    world->service.hold = hold;
}

struct count {
    const size_t *value;
    size_t expected;
};

static bool has_count(void *data) {
    struct count *count = data;

    return *count->value == count->expected;
}

static void await_count(struct world *world, const size_t *value, size_t expected) {
    struct count count = {value, expected};

    run_until(&world->loop, has_count, &count);
}

struct connections {
    struct client_door *door;
    size_t expected;
};

static bool has_connections(void *data) {
    struct connections *connections = data;

    return client_door_connections(connections->door) == connections->expected;
}

static void await_connections(struct world *world, size_t expected) {
    struct connections connections = {world->door, expected};

    run_until(&world->loop, has_connections, &connections);
}

/* ---- requests and answers ---- */

static void a_request_is_answered(void **state) {
    struct world *world = *state;
    struct wire wire;

    connect_wire(world, &wire);
    send_get(&wire, 5);
    expect_answer(&wire, 5);
    wire_close(&wire);
}

static void a_request_that_comes_byte_by_byte_is_answered(void **state) {
    struct world *world = *state;
    const uint8_t bytes[] = {0, 0, 0, 4, 0x08, 9, 0x5a, 0};
    struct wire wire;

    connect_wire(world, &wire);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(world->service.handled, 0);
        wire_send(&wire, bytes + i, 1);
        run_turns(&world->loop, 2);
    }
    expect_answer(&wire, 9);
    wire_close(&wire);
}

static void pipelined_requests_are_answered_in_any_order(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->service.hold = true;
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 500; id++)
        send_get(&wire, id);
    await_count(world, &world->service.holding, 500);
    answer_held(&world->service);
    for (uint64_t id = 500; id >= 1; id--)
        expect_answer(&wire, id);
    wire_close(&wire);
}

static void a_request_of_the_greatest_length_is_taken(void **state) {
    struct world *world = *state;
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;
    size_t size = REQUEST_SIZE_MAX - 100;
    _cleanup_free_ uint8_t *value = xcalloc(1, size);
    struct wire wire;

    put.value = (ProtobufCBinaryData){.data = value, .len = size};
    request.id = 1;
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &put;
    connect_wire(world, &wire);
    assert_true(wire_send_message(&wire, &request.base));
    expect_answer(&wire, 1);
    wire_close(&wire);
}

static void a_client_with_too_much_in_flight_is_not_read_until_it_has_less(void **state) {
    struct world *world = *state;
    struct wire wire;

    close_door(world);
    open_door(world, 10, 8);
    world->service.hold = true;
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 20; id++)
        send_get(&wire, id);
    await_count(world, &world->service.holding, 8);
    run_turns(&world->loop, 20);
    assert_int_equal(world->service.handled, 8);
    answer_held(&world->service);
    await_count(world, &world->service.handled, 16);
    answer_held(&world->service);
    await_count(world, &world->service.handled, 20);
    answer_held(&world->service);
    for (uint64_t id = 8; id >= 1; id--)
        expect_answer(&wire, id);
    wire_close(&wire);
}

static void a_client_that_leaves_has_its_requests_cancelled(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->service.hold = true;
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 10; id++)
        send_get(&wire, id);
    await_count(world, &world->service.holding, 10);
    wire_close(&wire);
    await_count(world, &world->service.cancelled, 10);
    await_connections(world, 0);
}

static void closing_the_door_cancels_what_is_under_way(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->service.hold = true;
    connect_wire(world, &wire);
    send_get(&wire, 1);
    await_count(world, &world->service.holding, 1);
    close_door(world);
    assert_int_equal(world->service.cancelled, 1);
    wire_await_end(&wire);
    wire_close(&wire);
}

static void whoever_has_all_answers_is_told_that_the_node_stops(void **state) {
    struct world *world = *state;
    struct wire wire;

    connect_wire(world, &wire);
    send_get(&wire, 1);
    expect_answer(&wire, 1);
    world->closed = false;
    client_door_close(world->door, on_door_closed, world);
    send_get(&wire, 2); /* too late, and no reason for a reset that would swallow the goodbye */
    expect_rejection(&wire, ERROR_UNAVAILABLE, "did not happen");
    assert_int_equal(world->service.handled, 1);
    wire_close(&wire);
    run_until(&world->loop, is_closed, world);
    world->door = NULL;
}

static void whoever_waits_for_an_answer_gets_it_before_the_goodbye(void **state) {
    struct world *world = *state;
    struct wire busy, idle, late;

    connect_wire(world, &busy);
    connect_wire(world, &idle);
    await_connections(world, 2);
    world->service.hold = true;
    send_get(&busy, 1);
    await_count(world, &world->service.holding, 1);
    client_door_take_leave(world->door);
    expect_rejection(&idle, ERROR_UNAVAILABLE, "did not happen");
    connect_wire(world, &late);
    expect_rejection(&late, ERROR_UNAVAILABLE, "did not happen");
    answer_held(&world->service);
    expect_answer(&busy, 1);
    expect_rejection(&busy, ERROR_UNAVAILABLE, "did not happen");
    wire_close(&busy);
    wire_close(&idle);
    wire_close(&late);
}

/* The kernel has accepted it and what it sent; a reset would not say what became of that. */
static void whoever_has_just_connected_to_a_door_that_closes_is_told_so(void **state) {
    enum { COUNT = 20 };
    struct world *world = *state;
    struct wire wires[COUNT];

    /* Nothing that runs the loop. */
    for (int i = 0; i < COUNT; i++) {
        connect_wire(world, &wires[i]);
        assert_int_equal(send(wires[i].fd, &(char[4]){0}, 4, MSG_NOSIGNAL), 4);
    }
    world->closed = false;
    client_door_close(world->door, on_door_closed, world);
    for (int i = 0; i < COUNT; i++) {
        expect_rejection(&wires[i], ERROR_UNAVAILABLE, "did not happen");
        wire_close(&wires[i]);
    }
    run_until(&world->loop, is_closed, world);
    assert_int_equal(world->service.handled, 0);
    world->door = NULL;
}

/* Bytes that malloc() has given out, touched or not. Sanitizers bring a malloc() of their own, of
 * which this says nothing: the plain build is what watches memory. */
static size_t memory_in_use(void) {
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* ---- bad input ---- */

static void a_length_of_4_gib_is_answered_with_what_is_allowed(void **state) {
    struct world *world = *state;
    struct wire wire;
    char allowed[32];

    snprintf(allowed, sizeof allowed, "%d", CLIENT_FRAME_SIZE_MAX);
    connect_wire(world, &wire);
    wire_send_length(&wire, 0xffffffff);
    /* Input that is not read any more must not reset the connection before the answer is read. */
    for (int i = 0; i < 10; i++)
        assert_true(wire_send(&wire, (uint8_t[100000]){0}, 100000));
    expect_rejection(&wire, ERROR_TOO_LARGE, allowed);
    wire_close(&wire);
    expect_service(world);
}

static void an_empty_frame_is_answered_and_the_connection_closed(void **state) {
    struct world *world = *state;
    struct wire wire;

    connect_wire(world, &wire);
    wire_send_length(&wire, 0);
    expect_rejection(&wire, ERROR_INVALID_ARGUMENT, "empty");
    wire_close(&wire);
    expect_service(world);
}

static void a_frame_that_cannot_be_decoded_is_answered_and_the_connection_closed(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->service.hold = true;
    connect_wire(world, &wire);
    send_get(&wire, 1);
    await_count(world, &world->service.holding, 1);
    wire_send_length(&wire, 3);
    wire_send(&wire, "\x0a\x09x", 3);
    expect_rejection(&wire, ERROR_INVALID_ARGUMENT, "ends within");
    assert_int_equal(world->service.cancelled, 1);
    wire_close(&wire);
    expect_service(world);
}

static void a_request_with_an_unknown_body_reaches_the_service(void **state) {
    struct world *world = *state;
    struct wire wire;

    connect_wire(world, &wire);
    wire_send_length(&wire, 6);
    wire_send(&wire, "\x08\x07\xfa\x3f\x01x", 6);
    expect_answer(&wire, 7); /* what to say to it is the service's */
    wire_close(&wire);
}

static void random_bytes_do_no_harm(void **state) {
    struct world *world = *state;
    uint64_t chance = 88172645463325252u;

    for (int i = 0; i < 200; i++) {
        uint8_t data[300];
        struct wire wire;

        for (size_t k = 0; k < sizeof data; k++) {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            data[k] = (uint8_t)chance;
        }
        if (i % 2) /* a length that is possible */
            memcpy(data, "\0\0\0\x10", 4);
        connect_wire(world, &wire);
        wire_send(&wire, data, sizeof data);
        run_turns(&world->loop, 3);
        wire_close(&wire);
    }
    await_connections(world, 0);
    expect_service(world);
}

static void half_a_frame_holds_only_what_arrived(void **state) {
    struct world *world = *state;
    struct wire wires[50];
    size_t before = memory_in_use();

    for (size_t i = 0; i < 50; i++) {
        connect_wire(world, &wires[i]);
        wire_send_length(&wires[i], CLIENT_FRAME_SIZE_MAX);
        wire_send(&wires[i], "x", 1);
    }
    await_connections(world, 50);
    run_turns(&world->loop, 5);
    assert_true(memory_in_use() - before < 50 * 4096);
    expect_service(world);
    for (size_t i = 0; i < 50; i++)
        wire_close(&wires[i]);
}

static void the_largest_unfinished_request_goes_when_they_are_too_many(void **state) {
    struct world *world = *state;
    size_t size = CLIENT_FRAME_SIZE_MAX - 1, count = CLIENT_RECEIVE_MAX / size + 2;
    _cleanup_free_ uint8_t *data = xcalloc(1, size);
    _cleanup_free_ struct wire *wires = xcalloc(count, sizeof *wires);
    size_t busy = 0;

    for (size_t i = 0; i < count; i++) {
        connect_wire(world, &wires[i]);
        wire_send_length(&wires[i], CLIENT_FRAME_SIZE_MAX);
        wire_send(&wires[i], data, size);
        run_turns(&world->loop, 50);
    }
    for (size_t i = 0; i < count; i++) {
        wire_poll(&wires[i]);
        busy += wires[i].received.size > 0;
    }
    assert_true(busy >= 1 && busy < count);
    for (size_t i = 0; i < count; i++) {
        if (wires[i].received.size > 0)
            expect_rejection(&wires[i], ERROR_BUSY, "Too many requests");
        wire_close(&wires[i]);
    }
    expect_service(world);
}

static void a_client_that_never_reads_is_closed(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->service.value_size = 1024 * 1024;
    world->service.hold = true;
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 60; id++)
        send_get(&wire, id);
    await_count(world, &world->service.holding, 60);
    answer_held(&world->service);
    await_connections(world, 0);
    world->service.value_size = 1;
    expect_service(world);
    wire_close(&wire);
}

static void of_all_clients_the_one_with_most_unread_answers_is_closed(void **state) {
    enum { COUNT = 8, EACH = 10 };
    struct world *world = *state;
    struct wire wires[COUNT], greedy, modest;

    world->door->unsent_max = COUNT * EACH * 1024 * 1024;
    world->service.hold = true;
    connect_wire(world, &greedy);
    connect_wire(world, &modest);
    for (uint64_t id = 1; id <= 2 * EACH; id++)
        send_get(&greedy, id);
    send_get(&modest, 1);
    await_count(world, &world->service.holding, 2 * EACH + 1);
    world->service.value_size = 1024 * 1024;
    for (size_t i = 0; i < COUNT; i++) {
        connect_wire(world, &wires[i]);
        for (uint64_t id = 1; id <= EACH; id++)
            send_get(&wires[i], id);
        await_count(world, &world->service.holding, 2 * EACH + 1 + (i + 1) * EACH);
    }
    await_connections(world, COUNT + 2);
    answer_held(&world->service);
    assert_true(world->door->network.unsent <= world->door->unsent_max);
    run_turns(&world->loop, 10);
    assert_true(client_door_connections(world->door) >= COUNT / 2);
    expect_answer(&modest, 1);
    world->service.value_size = 1;
    expect_service(world);
    for (size_t i = 0; i < COUNT; i++)
        wire_close(&wires[i]);
    wire_close(&greedy);
    wire_close(&modest);
}

static void nobody_with_unread_answers_is_read_while_all_together_have_many(void **state) {
    struct world *world = *state;
    struct wire wire;

    world->door->unsent_max = 20 * 1024 * 1024;
    world->service.value_size = 4 * 1024 * 1024; /* more than the kernel takes, and 8 in memory */
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 10; id++)
        send_get(&wire, id);
    run_turns(&world->loop, 50);
    assert_true(world->service.handled < 10);
    for (uint64_t id = 1; id <= 10; id++)
        expect_answer(&wire, id);
    wire_close(&wire);
}

static void a_client_that_reads_slowly_gets_all_answers(void **state) {
    struct world *world = *state;
    struct wire wire;

    /* More than is ever held for it: it is not read while answers wait. */
    world->service.value_size = 1024 * 1024;
    connect_wire(world, &wire);
    for (uint64_t id = 1; id <= 60; id++)
        send_get(&wire, id);
    run_turns(&world->loop, 50);
    assert_true(world->service.handled < 32);
    for (uint64_t id = 1; id <= 60; id++)
        expect_answer(&wire, id);
    wire_close(&wire);
}

static void one_connection_too_many_is_told_busy(void **state) {
    struct world *world = *state;
    struct wire wires[2], further;

    close_door(world);
    open_door(world, 2, 10);
    connect_wire(world, &wires[0]);
    connect_wire(world, &wires[1]);
    await_connections(world, 2);
    connect_wire(world, &further);
    expect_rejection(&further, ERROR_BUSY, "2 client connections");
    wire_close(&further);
    send_get(&wires[1], 1);
    expect_answer(&wires[1], 1);
    wire_close(&wires[0]);
    await_connections(world, 1);
    expect_service(world);
    wire_close(&wires[1]);
}

static void two_thousand_idle_connections_cost_little(void **state) {
    enum { COUNT = 2000 };
    struct world *world = *state;
    _cleanup_free_ struct wire *wires = xcalloc(COUNT, sizeof *wires);
    struct rlimit limit;
    size_t before;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * COUNT + 100)
        skip();
    close_door(world);
    open_door(world, CLIENT_CONNECTIONS_MAX, 10);
    before = memory_in_use();
    for (size_t i = 0; i < COUNT; i++) {
        connect_wire(world, &wires[i]);
        /* Newer versions of libuv accept one in each turn of the loop. */
        if (i % 50 == 49)
            await_connections(world, i + 1);
    }
    await_connections(world, COUNT);
    for (size_t i = 0; i < COUNT; i += 7) {
        send_get(&wires[i], i);
        expect_answer(&wires[i], i);
        buffer_deinit(&wires[i].received);
    }
    assert_true(memory_in_use() - before < COUNT * 1536);
    expect_service(world);
    for (size_t i = 0; i < COUNT; i++)
        wire_close(&wires[i]);
    await_connections(world, 0);
}

/* ---- listening ---- */

static void an_address_that_cannot_be_listened_on_is_named(void **state) {
    struct world *world = *state;
    struct client_door_options options = {.loop = &world->loop, .service = &world->service};
    struct client_door *door = NULL;
    struct failure failure;
    char in_use[64];

    snprintf(in_use, sizeof in_use, "127.0.0.1:%u", client_door_port(world->door));
    options.listen = in_use;
    assert_int_equal(client_door_open(&door, &options, &failure), ERROR_UNAVAILABLE);
    assert_non_null(strstr(failure.message, in_use));
    assert_non_null(strstr(failure.message, "in use"));
    options.listen = "no-such-host.invalid:0";
    assert_int_equal(client_door_open(&door, &options, &failure), ERROR_UNAVAILABLE);
    assert_non_null(strstr(failure.message, "no-such-host.invalid"));
    options.listen = "nonsense";
    assert_int_equal(client_door_open(&door, &options, &failure), ERROR_INVALID_ARGUMENT);
    assert_null(door);
}

static void names_and_wildcards_can_be_listened_on(void **state) {
    static const char *const addresses[] = {"localhost:0", "0.0.0.0:0", ":0"};
    struct world *world = *state;

    for (size_t i = 0; i < 3; i++) {
        struct client_door_options options = {.loop = &world->loop,
                                              .service = &world->service,
                                              .listen = addresses[i],
                                              .max_connections = 10,
                                              .max_in_flight = 10};
        struct failure failure;

        close_door(world);
        assert_int_equal(client_door_open(&world->door, &options, &failure), 0);
        if (i > 0) /* localhost may be ::1 */
            expect_service(world);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered),
        TEST(a_request_that_comes_byte_by_byte_is_answered),
        TEST(pipelined_requests_are_answered_in_any_order),
        TEST(a_request_of_the_greatest_length_is_taken),
        TEST(a_client_with_too_much_in_flight_is_not_read_until_it_has_less),
        TEST(a_client_that_leaves_has_its_requests_cancelled),
        TEST(closing_the_door_cancels_what_is_under_way),
        TEST(whoever_has_all_answers_is_told_that_the_node_stops),
        TEST(whoever_waits_for_an_answer_gets_it_before_the_goodbye),
        TEST(whoever_has_just_connected_to_a_door_that_closes_is_told_so),
        TEST(a_length_of_4_gib_is_answered_with_what_is_allowed),
        TEST(an_empty_frame_is_answered_and_the_connection_closed),
        TEST(a_frame_that_cannot_be_decoded_is_answered_and_the_connection_closed),
        TEST(a_request_with_an_unknown_body_reaches_the_service),
        TEST(random_bytes_do_no_harm),
        TEST(half_a_frame_holds_only_what_arrived),
        TEST(the_largest_unfinished_request_goes_when_they_are_too_many),
        TEST(a_client_that_never_reads_is_closed),
        TEST(of_all_clients_the_one_with_most_unread_answers_is_closed),
        TEST(nobody_with_unread_answers_is_read_while_all_together_have_many),
        TEST(a_client_that_reads_slowly_gets_all_answers),
        TEST(one_connection_too_many_is_told_busy),
        TEST(two_thousand_idle_connections_cost_little),
        TEST(an_address_that_cannot_be_listened_on_is_named),
        TEST(names_and_wildcards_can_be_listened_on),
    };

    journal_set_level(LOG_EMERG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
