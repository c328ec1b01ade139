/*
 * connection: one TCP connection that carries frames both ways. Input is delivered frame by frame
 * and can be paused; output is gathered and written once a turn of the loop.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "rpc/frame.h"
#include "rpc/network.h"

struct connection;

struct connection_events {
    /* A whole frame; valid during the call. */
    void (*frame)(struct connection *connection, const uint8_t *frame, size_t size);
    /* A frame that is longer than allowed was announced. Nothing more is delivered. */
    void (*too_large)(struct connection *connection, size_t length);
    /* A frame is not what was sent. Nothing more is delivered. Only for FRAME_CHECKED. */
    void (*damaged)(struct connection *connection);
    /* Something was written, or connection_touch() was called: time to add output or to resume.
     * May be NULL. */
    void (*turn)(struct connection *connection);
    /* The other side closed it (UV_EOF) or it broke. The owner has to call connection_close(). */
    void (*ended)(struct connection *connection, int status);
    /* After connection_close(): the memory may go. */
    void (*closed)(struct connection *connection);
};

struct connection {
    uv_tcp_t tcp;
    struct network *network;
    LIST_ENTRY(connection) entry; /* of network->connections */
    const struct connection_events *events;
    struct frame_reader reader;
    struct buffer output;  /* not handed to the loop yet */
    struct buffer writing; /* handed to it */
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct turn_task task;
    struct deadline linger;
    size_t memory;   /* of the reader, as counted in network->held */
    size_t unsent;   /* of the output, as counted in network->unsent */
    bool delivering; /* within frame_reader_next() and its frames */
    bool paused;
    bool finishing;
    bool shut;
    bool closing;
};

/* For a zero-initialised connection; frame_max is the longest content of a frame that is received.
 */
void connection_init(struct connection *connection, struct network *network,
                     const struct connection_events *events, enum frame_kind kind,
                     size_t frame_max);
/* Begins to read, once connected. A silent end of the other side is noticed after about
 * dead_after_s seconds. */
int connection_start(struct connection *connection, unsigned dead_after_s);

/* Adds a message as one frame to the output. */
void connection_send(struct connection *connection, const ProtobufCMessage *message);
/* Has events->turn() called, and the output written, at the end of this turn. */
void connection_touch(struct connection *connection);
/* Bytes that were not taken by the kernel yet. */
size_t connection_pending(const struct connection *connection);

/* No frames are delivered, and nothing is read, until connection_resume(). */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/*
 * Closes it once the output is written and the other side has closed too, or after a while: a
 * connection that is closed with input unread is reset, and the other side would lose the output.
 * No event but closed() follows.
 */
void connection_finish(struct connection *connection);
/* Closes it now. No event but closed() follows. */
void connection_close(struct connection *connection);

/* Closes all that are still open, those that are being finished included. */
void connection_close_all(struct network *network);

/* The address of the other side, without the port. */
void connection_describe(const struct connection *connection, char *text, size_t size);
