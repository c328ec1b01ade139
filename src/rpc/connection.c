#include "rpc/connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "base/check.h"

enum { LINGER_MS = 2000 };

static void end(struct connection *c, int status) {
    if (c->closing)
        return;
    if (c->finishing)
        connection_close(c);
    else
        c->events->ended(c, status);
}

/* ---- input ---- */

static void count_memory(struct connection *c) {
    size_t memory = frame_reader_memory(&c->reader);

    c->network->held += memory - c->memory;
    c->memory = memory;
}

static void drop_input(struct connection *c) {
    /* Within deliver() a frame is still being looked at; it drops the rest itself. */
    if (c->delivering)
        return;
    frame_reader_deinit(&c->reader);
    count_memory(c);
}

static void deliver(struct connection *c) {
    int r = 1;

    c->delivering = true;
    while (!c->closing && !c->finishing && !c->paused) {
        const uint8_t *frame;
        size_t size;

        r = frame_reader_next(&c->reader, &frame, &size);
        if (r == -EBADMSG)
            c->events->damaged(c);
        else if (r < 0)
            c->events->too_large(c, size);
        if (r <= 0)
            break;
        c->events->frame(c, frame, size);
    }
    c->delivering = false;
    if (r < 0 || c->closing || c->finishing) {
        drop_input(c);
        return;
    }
    frame_reader_keep(&c->reader);
    count_memory(c);
    if (c->network->held > c->network->held_max)
        c->network->overfull(c->network);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct connection *c = handle->data;

    (void)suggested;
    *buffer = uv_buf_init((char *)c->network->scratch, NETWORK_SCRATCH_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct connection *c = stream->data;

    if (c->closing || size == 0)
        return;
    if (size < 0) {
        end(c, (int)size);
        return;
    }
    if (c->finishing)
        return;
    c->network->received += (uint64_t)size;
    frame_reader_feed(&c->reader, (const uint8_t *)buffer->base, (size_t)size);
    deliver(c);
}

void connection_pause(struct connection *c) {
    if (c->paused || c->closing || c->finishing)
        return;
    c->paused = true;
    uv_read_stop((uv_stream_t *)&c->tcp);
}

void connection_resume(struct connection *c) {
    int r;

    if (!c->paused || c->closing || c->finishing)
        return;
    c->paused = false;
    if (!c->delivering)
        deliver(c);
    if (c->paused || c->closing || c->finishing)
        return;
    r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (r < 0)
        end(c, r);
}

/* ---- output ---- */

/* What is being closed does not count: its memory is on its way out. */
static void count_unsent(struct connection *c) {
    size_t unsent = c->closing ? 0 : c->output.capacity + c->writing.capacity;

    c->network->unsent += unsent - c->unsent;
    c->unsent = unsent;
}

static void on_written(uv_write_t *request, int status) {
    struct connection *c = request->data;

    buffer_deinit(&c->writing);
    count_unsent(c);
    if (c->closing)
        return;
    if (status < 0)
        end(c, status);
    else
        connection_touch(c);
}

static void flush(struct connection *c) {
    uv_buf_t buffer;
    int r;

    if (c->closing || c->writing.data || c->output.size == 0)
        return;
    c->network->sent += c->output.size;
    buffer = uv_buf_init((char *)c->output.data, (unsigned)c->output.size);
    r = uv_try_write((uv_stream_t *)&c->tcp, &buffer, 1);
    if (r < 0 && r != UV_EAGAIN) {
        end(c, r);
        return;
    }
    if (r > 0 && (size_t)r == c->output.size) {
        buffer_deinit(&c->output);
        count_unsent(c);
        return;
    }
    c->writing = c->output;
    c->output = BUFFER_NULL;
    if (r > 0) {
        buffer.base += r;
        buffer.len -= (size_t)r;
    }
    r = uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, on_written);
    if (r < 0) {
        buffer_deinit(&c->writing);
        count_unsent(c);
        end(c, r);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status) {
    struct connection *c = request->data;

    if (status < 0)
        end(c, status);
}

static void shut_when_written(struct connection *c) {
    int r;

    if (c->closing || c->shut || !c->finishing || connection_pending(c) > 0)
        return;
    c->shut = true;
    r = uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown);
    if (r < 0)
        end(c, r);
}

static void on_turn(struct turn_task *task) {
    struct connection *c = container_of(task, struct connection, task);

    flush(c);
    if (!c->closing && !c->finishing && c->events->turn) {
        c->events->turn(c);
        flush(c);
    }
    shut_when_written(c);
}

void connection_touch(struct connection *c) {
    if (!c->closing)
        network_at_turn_end(c->network, &c->task);
}

void connection_send(struct connection *c, const ProtobufCMessage *message) {
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t header_size = frame_header_size(c->reader.kind);
    uint8_t *frame;

    if (c->closing || c->finishing)
        return;
    frame = buffer_reserve(&c->output, header_size + size);
    check(protobuf_c_message_pack(message, frame + header_size) == size);
    frame_put_header(c->reader.kind, frame, size);
    c->output.size += header_size + size;
    count_unsent(c);
    connection_touch(c);
}

size_t connection_pending(const struct connection *c) {
    return c->output.size + c->writing.size;
}

/* ---- beginning and end ---- */

static void on_linger(struct deadline *deadline) {
    connection_close(container_of(deadline, struct connection, linger));
}

void connection_init(struct connection *c, struct network *network,
                     const struct connection_events *events, enum frame_kind kind,
                     size_t frame_max) {
    *c = (struct connection){.network = network, .events = events};
    c->reader.kind = kind;
    c->reader.frame_max = frame_max;
    c->task.run = on_turn;
    c->linger.passed = on_linger;
    check(uv_tcp_init(network->loop, &c->tcp) == 0);
    c->tcp.data = c;
    c->write.data = c;
    c->shutdown.data = c;
    LIST_INSERT_HEAD(&network->connections, c, entry);
    network_hold(network);
}

static int set_option(int fd, int option, unsigned value) {
    int number = (int)value;

    return setsockopt(fd, IPPROTO_TCP, option, &number, sizeof number) < 0 ? -errno : 0;
}

int connection_start(struct connection *c, unsigned dead_after_s) {
    enum { PROBES = 3 };
    unsigned interval = (dead_after_s + 2 * PROBES - 1) / (2 * PROBES);
    uv_os_fd_t fd;
    int r;

    r = uv_fileno((uv_handle_t *)&c->tcp, &fd);
    if (r == 0)
        r = uv_tcp_nodelay(&c->tcp, 1);
    if (r == 0)
        r = uv_tcp_keepalive(&c->tcp, 1, (dead_after_s + 1) / 2);
    if (r == 0)
        r = set_option(fd, TCP_KEEPINTVL, interval);
    if (r == 0)
        r = set_option(fd, TCP_KEEPCNT, PROBES);
    /* Keepalive says nothing while output waits to be acknowledged. */
    if (r == 0)
        r = set_option(fd, TCP_USER_TIMEOUT, dead_after_s * 1000);
    if (r == 0)
        r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    return r;
}

void connection_finish(struct connection *c) {
    int r;

    if (c->closing || c->finishing)
        return;
    c->finishing = true;
    drop_input(c);
    deadline_start(c->network, &c->linger, LINGER_MS);
    connection_touch(c);
    if (!c->paused)
        return;
    r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (r < 0)
        connection_close(c);
}

static void on_closed(uv_handle_t *handle) {
    struct connection *c = handle->data;
    struct network *network = c->network;

    buffer_deinit(&c->output);
    buffer_deinit(&c->writing);
    c->events->closed(c);
    network_release(network);
}

void connection_close(struct connection *c) {
    if (c->closing)
        return;
    c->closing = true;
    LIST_REMOVE(c, entry);
    deadline_stop(&c->linger);
    network_forget(c->network, &c->task);
    drop_input(c);
    count_unsent(c);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void connection_close_all(struct network *network) {
    struct connection *connection;

    while ((connection = LIST_FIRST(&network->connections)))
        connection_close(connection);
}

void connection_describe(const struct connection *c, char *text, size_t size) {
    struct sockaddr_storage address;
    int length = sizeof address;

    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, (socklen_t)length, text, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(text, size, "an unknown address");
}
