/* The transport over TCP: what it sends again, and what never. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/memory.h"
#include "client/stream.h"
#include "client/transport.h"

enum { TIMEOUT_MS = 60 * 1000 }; /* only a test that fails waits that long */

/* A server of one connection after the other. `behave` answers each request. */
struct server {
    pthread_t thread;
    int listener;
    char address[32];
    _Atomic unsigned requests;
    /* Sends what it likes; false closes the connection. */
    bool (*behave)(struct server *server, int fd, const Raftkv__V1__Request *request);
    const char *leader;
};

static void send_response(int fd, const Raftkv__V1__Response *response) {
    size_t size;
    _cleanup_free_ uint8_t *frame = pack(&response->base, 4, &size);

    for (int i = 0; i < 4; i++)
        frame[i] = (uint8_t)(size >> (24 - 8 * i));
    assert_int_equal(stream_send(fd, frame, 4 + size, transport_now() + TIMEOUT_MS), 0);
}

static void send_error(int fd, uint64_t id, enum error_code code, const char *leader) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Error error;

    raftkv__v1__error__init(&error);
    error.code = (Raftkv__V1__ErrorCode)code;
    error.leader_address = (char *)(uintptr_t)(leader ? leader : "");
    response.id = id;
    response.error = &error;
    send_response(fd, &response);
}

static bool answer(struct server *server, int fd, const Raftkv__V1__Request *request) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;
    Raftkv__V1__StatusResponse status = RAFTKV__V1__STATUS_RESPONSE__INIT;
    Raftkv__V1__MemberStatus self;

    (void)server;
    raftkv__v1__member_status__init(&self);
    response.id = request->id;
    if (request->body_case == RAFTKV__V1__REQUEST__BODY_PUT) {
        put.revision = 42;
        response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
        response.put = &put;
    } else {
        status.self = &self;
        response.body_case = RAFTKV__V1__RESPONSE__BODY_STATUS;
        response.status = &status;
    }
    send_response(fd, &response);
    return true;
}

static bool hang_up(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server, (void)fd, (void)request;
    return false;
}

static bool say_nothing(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server, (void)fd, (void)request;
    return true;
}

static bool redirect(struct server *server, int fd, const Raftkv__V1__Request *request) {
    send_error(fd, request->id, ERROR_NOT_LEADER, server->leader);
    return true;
}

static bool be_busy_once(struct server *server, int fd, const Raftkv__V1__Request *request) {
    if (server->requests > 1)
        return answer(server, fd, request);
    send_error(fd, 0, ERROR_BUSY, NULL); /* of the connection, as above MaxConnections= */
    return false;
}

static bool say_goodbye(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server, (void)request;
    send_error(fd, 0, ERROR_UNAVAILABLE, NULL);
    return false;
}

static bool know_no_leader(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server;
    send_error(fd, request->id, ERROR_NO_LEADER, NULL);
    return true;
}

/* As a node does: for as long as it was given. */
static bool wait_for_a_leader(struct server *server, int fd, const Raftkv__V1__Request *request) {
    poll(NULL, 0, (int)request->timeout_ms);
    return know_no_leader(server, fd, request);
}

static bool have_a_defect(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server;
    send_error(fd, request->id, ERROR_INTERNAL, NULL);
    return true;
}

static bool announce_four_gigabytes(struct server *server, int fd,
                                    const Raftkv__V1__Request *request) {
    (void)server, (void)request;
    assert_int_equal(stream_send(fd, (const uint8_t *)"\xff\xff\xff\xff", 4, UINT64_MAX), 0);
    return true;
}

static bool send_garbage(struct server *server, int fd, const Raftkv__V1__Request *request) {
    (void)server, (void)request;
    assert_int_equal(stream_send(fd, (const uint8_t *)"\0\0\0\2\xff\xff", 6, UINT64_MAX), 0);
    return true;
}

static bool answer_another_question(struct server *server, int fd,
                                    const Raftkv__V1__Request *request) {
    Raftkv__V1__Request other = RAFTKV__V1__REQUEST__INIT;

    other.id = request->id;
    other.body_case = request->body_case == RAFTKV__V1__REQUEST__BODY_PUT
                          ? RAFTKV__V1__REQUEST__BODY_STATUS
                          : RAFTKV__V1__REQUEST__BODY_PUT;
    return answer(server, fd, &other);
}

static void serve_connection(struct server *server, int fd) {
    struct buffer frame = BUFFER_NULL;
    bool goes_on = true;

    while (goes_on && stream_receive_frame(fd, CLIENT_FRAME_SIZE_MAX, UINT64_MAX, &frame) == 0) {
        Raftkv__V1__Request *request = raftkv__v1__request__unpack(NULL, frame.size, frame.data);

        assert_non_null(request);
        server->requests++;
        goes_on = server->behave(server, fd, request);
        raftkv__v1__request__free_unpacked(request, NULL);
    }
    buffer_deinit(&frame);
}

static void *serve(void *data) {
    struct server *server = data;
    int fd;

    while ((fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        serve_connection(server, fd);
        close(fd);
    }
    return NULL;
}

static void start(struct server *server, __typeof__(server->behave) behave, const char *leader) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    *server = (struct server){.behave = behave, .leader = leader};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->listener, 8), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

/* The transport must be gone already, or the thread waits for its next request. */
static void stop(struct server *server) {
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* An address that refuses connections, of a server that is gone. */
static void make_dead_address(char *address) {
    struct server server;

    start(&server, answer, NULL);
    strcpy(address, server.address);
    stop(&server);
}

/* The outcome of one request over a transport to these endpoints. */
struct outcome {
    int result;
    struct failure failure;
    enum error_code error; /* in the response */
    uint64_t revision;     /* of a put */
};

static struct outcome ask(bool write, uint64_t timeout, const char *first, const char *second) {
    const char *endpoints[] = {first, second};
    struct transport *transport =
        transport_tcp_new(endpoints, second ? 2 : 1, transport_now() + timeout);
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;
    Raftkv__V1__StatusRequest status = RAFTKV__V1__STATUS_REQUEST__INIT;
    Raftkv__V1__Response *response = NULL;
    struct outcome outcome = {0};

    if (write) {
        request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
        request.put = &put;
    } else {
        request.body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
        request.status = &status;
    }
    outcome.result = transport_call(transport, &request, &response, &outcome.failure);
    if (response && response->error)
        outcome.error = (enum error_code)response->error->code;
    else if (response && write)
        outcome.revision = response->put->revision;
    if (response)
        raftkv__v1__response__free_unpacked(response, NULL);
    transport_free(transport);
    return outcome;
}

static void an_endpoint_that_refuses_is_passed_over(void **state) {
    struct server good;
    char dead[32];
    struct outcome outcome;

    (void)state;
    make_dead_address(dead);
    start(&good, answer, NULL);
    outcome = ask(true, TIMEOUT_MS, dead, good.address);
    stop(&good);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.revision, 42);
}

static void nobody_reachable_is_a_local_failure(void **state) {
    char dead[32];
    struct outcome outcome;

    (void)state;
    make_dead_address(dead);
    outcome = ask(true, TIMEOUT_MS, dead, NULL);
    assert_true(outcome.result < 0);
    assert_false(outcome.failure.outcome_unknown);
    assert_non_null(strstr(outcome.failure.message, dead));
}

/* What a server may do that leaves the outcome of a write unknown. */
static const __typeof__(((struct server *)0)->behave) no_answers[] = {
    hang_up, announce_four_gigabytes, send_garbage, answer_another_question};
enum { NO_ANSWERS = sizeof no_answers / sizeof *no_answers };

static void a_write_without_an_answer_is_never_sent_again(void **state) {
    (void)state;
    for (unsigned i = 0; i < NO_ANSWERS; i++) {
        struct server bad, good;
        struct outcome outcome;

        start(&bad, no_answers[i], NULL);
        start(&good, answer, NULL);
        outcome = ask(true, TIMEOUT_MS, bad.address, good.address);
        stop(&bad);
        stop(&good);
        assert_int_equal(outcome.result, ERROR_UNAVAILABLE);
        assert_true(outcome.failure.outcome_unknown);
        assert_int_equal(bad.requests, 1);
        assert_int_equal(good.requests, 0);
    }
}

static void a_read_without_an_answer_goes_to_the_next_endpoint(void **state) {
    (void)state;
    for (unsigned i = 0; i < NO_ANSWERS; i++) {
        struct server bad, good;
        struct outcome outcome;

        start(&bad, no_answers[i], NULL);
        start(&good, answer, NULL);
        outcome = ask(false, TIMEOUT_MS, bad.address, good.address);
        stop(&bad);
        stop(&good);
        assert_int_equal(outcome.result, 0);
        assert_int_equal(good.requests, 1);
    }
}

static void a_silent_node_makes_a_write_time_out_with_an_unknown_outcome(void **state) {
    struct server silent, good;
    struct outcome outcome;

    (void)state;
    start(&silent, say_nothing, NULL);
    start(&good, answer, NULL);
    outcome = ask(true, 2000, silent.address, good.address);
    stop(&silent);
    stop(&good);
    assert_int_equal(outcome.result, ERROR_TIMEOUT);
    assert_true(outcome.failure.outcome_unknown);
    assert_int_equal(good.requests, 0);
}

static void a_redirect_is_followed_to_a_node_that_was_not_named(void **state) {
    struct server follower, leader;
    struct outcome outcome;

    (void)state;
    start(&leader, answer, NULL);
    start(&follower, redirect, leader.address);
    outcome = ask(true, TIMEOUT_MS, follower.address, NULL);
    stop(&follower);
    stop(&leader);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.revision, 42);
    assert_int_equal(follower.requests, 1);
}

static void redirects_in_a_circle_end_at_the_deadline(void **state) {
    struct server first, second;
    struct outcome outcome;

    (void)state;
    start(&first, redirect, NULL);
    start(&second, redirect, first.address);
    first.leader = second.address;
    outcome =
        ask(true, 2500, first.address, NULL); /* of which nobody waits for the last half a second */
    stop(&first);
    stop(&second);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.error, ERROR_NOT_LEADER);
    assert_in_range(first.requests + second.requests, 2, 50);
}

static void a_busy_node_is_asked_again(void **state) {
    struct server busy;
    struct outcome outcome;

    (void)state;
    start(&busy, be_busy_once, NULL);
    outcome = ask(true, TIMEOUT_MS, busy.address, NULL);
    stop(&busy);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.revision, 42);
}

static void a_write_that_meets_a_node_which_stops_goes_to_the_next_endpoint(void **state) {
    struct server stopping, good;
    struct outcome outcome;

    (void)state;
    start(&stopping, say_goodbye, NULL);
    start(&good, answer, NULL);
    outcome = ask(true, TIMEOUT_MS, stopping.address, good.address);
    stop(&stopping);
    stop(&good);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.revision, 42);
    assert_int_equal(stopping.requests, 1);
}

static void of_a_node_that_stops_it_is_known_that_nothing_happened(void **state) {
    struct server stopping;
    struct outcome outcome;

    (void)state;
    start(&stopping, say_goodbye, NULL);
    outcome = ask(true, TIMEOUT_MS, stopping.address, NULL);
    stop(&stopping);
    assert_true(outcome.result < 0);
    assert_false(outcome.failure.outcome_unknown);
}

static void no_leader_is_reported_once_the_time_is_over(void **state) {
    struct server lost;
    struct outcome outcome;

    (void)state;
    start(&lost, know_no_leader, NULL);
    outcome = ask(true, 2000, lost.address, NULL);
    stop(&lost);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.error, ERROR_NO_LEADER);
    assert_in_range(lost.requests, 2, 20);
}

static void a_node_that_has_used_all_its_time_is_not_asked_again(void **state) {
    struct server lost;

    (void)state;
    start(&lost, wait_for_a_leader, NULL);
    ask(true, 1000, lost.address, NULL);
    stop(&lost);
    assert_int_equal(lost.requests, 1);
}

static void any_other_error_is_final(void **state) {
    struct server bad, good;
    struct outcome outcome;

    (void)state;
    start(&bad, have_a_defect, NULL);
    start(&good, answer, NULL);
    outcome = ask(true, TIMEOUT_MS, bad.address, good.address);
    stop(&bad);
    stop(&good);
    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.error, ERROR_INTERNAL);
    assert_int_equal(good.requests, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_that_refuses_is_passed_over),
        cmocka_unit_test(nobody_reachable_is_a_local_failure),
        cmocka_unit_test(a_write_without_an_answer_is_never_sent_again),
        cmocka_unit_test(a_read_without_an_answer_goes_to_the_next_endpoint),
        cmocka_unit_test(a_silent_node_makes_a_write_time_out_with_an_unknown_outcome),
        cmocka_unit_test(a_redirect_is_followed_to_a_node_that_was_not_named),
        cmocka_unit_test(redirects_in_a_circle_end_at_the_deadline),
        cmocka_unit_test(a_busy_node_is_asked_again),
        cmocka_unit_test(a_write_that_meets_a_node_which_stops_goes_to_the_next_endpoint),
        cmocka_unit_test(of_a_node_that_stops_it_is_known_that_nothing_happened),
        cmocka_unit_test(no_leader_is_reported_once_the_time_is_over),
        cmocka_unit_test(a_node_that_has_used_all_its_time_is_not_asked_again),
        cmocka_unit_test(any_other_error_is_final),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
