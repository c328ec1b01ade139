#include "test_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOUND_MS = 120 * 1000 }; /* only a test that fails waits that long */

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

static void on_tick_closed(uv_handle_t *handle) {
    *(bool *)handle->data = true;
}

void run_until(uv_loop_t *loop, bool (*condition)(void *data), void *data) {
    uint64_t bound = uv_hrtime() + (uint64_t)BOUND_MS * 1000000;
    uv_timer_t tick;
    bool closed = false;

    /* Sockets that the loop does not know are looked at each millisecond. */
    uv_timer_init(loop, &tick);
    tick.data = &closed;
    uv_timer_start(&tick, on_tick, 1, 1);
    while (!condition(data)) {
        assert_true(uv_hrtime() < bound);
        uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&tick, on_tick_closed);
    while (!closed)
        uv_run(loop, UV_RUN_NOWAIT);
}

void run_turns(uv_loop_t *loop, int turns) {
    while (turns-- > 0)
        uv_run(loop, UV_RUN_NOWAIT);
}

void wire_open(struct wire *wire, uv_loop_t *loop, unsigned port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    *wire = (struct wire){.loop = loop};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(wire->fd >= 0);
    assert_int_equal(connect(wire->fd, (struct sockaddr *)&address, sizeof address), 0);
}

struct sending {
    struct wire *wire;
    const uint8_t *data;
    size_t size;
    bool failed;
};

static bool sent(void *data) {
    struct sending *sending = data;
    ssize_t n = send(sending->wire->fd, sending->data, sending->size, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n > 0) {
        sending->data += n;
        sending->size -= (size_t)n;
    } else if (n < 0 && errno != EAGAIN) {
        sending->failed = true;
    }
    return sending->failed || sending->size == 0;
}

bool wire_send(struct wire *wire, const void *data, size_t size) {
    struct sending sending = {.wire = wire, .data = data, .size = size};

    run_until(wire->loop, sent, &sending);
    return !sending.failed;
}

bool wire_send_length(struct wire *wire, size_t length) {
    uint8_t header[FRAME_HEADER_SIZE];

    frame_put_header(FRAME_PLAIN, header, length);
    return wire_send(wire, header, sizeof header);
}

bool wire_send_frame(struct wire *wire, const void *content, size_t size) {
    size_t header_size = frame_header_size(wire->kind);
    _cleanup_free_ uint8_t *data = xmalloc(header_size + size);

    if (size > 0)
        memcpy(data + header_size, content, size);
    frame_put_header(wire->kind, data, size);
    return wire_send(wire, data, header_size + size);
}

bool wire_send_message(struct wire *wire, const ProtobufCMessage *message) {
    size_t size;
    _cleanup_free_ uint8_t *data = pack(message, 0, &size);

    return wire_send_frame(wire, data, size);
}

void wire_poll(struct wire *wire) {
    while (!wire->ended && (wire->read_max == 0 || wire->received.size < wire->read_max)) {
        ssize_t n = recv(wire->fd, buffer_reserve(&wire->received, 65536), 65536, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            wire->ended = true;
        else
            wire->received.size += (size_t)n;
    }
}

/* Whether the received bytes begin with a whole frame. */
static bool find_frame(const struct wire *wire, const uint8_t **ret, size_t *ret_size) {
    struct frame_reader reader = {.kind = wire->kind, .frame_max = SIZE_MAX};
    int r;

    if (wire->received.size == 0)
        return false;
    frame_reader_feed(&reader, wire->received.data, wire->received.size);
    r = frame_reader_next(&reader, ret, ret_size);
    assert_true(r >= 0);
    return r == 1;
}

static bool has_frame(void *data) {
    struct wire *wire = data;
    const uint8_t *content;
    size_t size;

    wire_poll(wire);
    return find_frame(wire, &content, &size) || wire->ended;
}

ProtobufCMessage *wire_receive(struct wire *wire, const ProtobufCMessageDescriptor *type) {
    ProtobufCMessage *message;
    const char *reason;
    const uint8_t *content;
    size_t size;

    run_until(wire->loop, has_frame, wire);
    assert_true(find_frame(wire, &content, &size));
    assert_int_equal(unpack(type, content, size, &unpack_peer_limits, &message, &reason), 0);
    buffer_consume(&wire->received, frame_header_size(wire->kind) + size);
    return message;
}

static bool has_ended(void *data) {
    struct wire *wire = data;

    wire_poll(wire);
    return wire->ended;
}

void wire_await_end(struct wire *wire) {
    run_until(wire->loop, has_ended, wire);
}

void wire_close(struct wire *wire) {
    close(wire->fd);
    buffer_deinit(&wire->received);
}
