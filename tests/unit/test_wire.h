/* For tests of the network: a loop that runs until something is so, and plain sockets that say
 * exactly the bytes they are told to. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/memory.h"
#include "proto/unpack.h"
#include "rpc/frame.h"

/* Runs the loop until condition(data); fails the test after 20 s. */
void run_until(uv_loop_t *loop, bool (*condition)(void *data), void *data);
/* Runs the loop for so many turns without waiting. */
void run_turns(uv_loop_t *loop, int turns);

struct wire {
    uv_loop_t *loop;
    int fd;
    enum frame_kind kind; /* plain, unless it is set */
    struct buffer received;
    size_t read_max; /* stop receiving above this; 0: no limit */
    bool ended;      /* the other side closed it, or reset it */
};

/* Connects to a port of 127.0.0.1. */
void wire_open(struct wire *wire, uv_loop_t *loop, unsigned port);
/* Sends all of it while the loop runs; false: the other side closed first. */
bool wire_send(struct wire *wire, const void *data, size_t size);
/* The first bytes of a frame. */
bool wire_send_length(struct wire *wire, size_t length);
/* A frame, whatever is in it. */
bool wire_send_frame(struct wire *wire, const void *content, size_t size);
bool wire_send_message(struct wire *wire, const ProtobufCMessage *message);
/* Takes what has arrived. */
void wire_poll(struct wire *wire);
/* The next frame, decoded; fails the test when none comes. */
ProtobufCMessage *wire_receive(struct wire *wire, const ProtobufCMessageDescriptor *type);
/* Runs the loop until the other side has closed it. */
void wire_await_end(struct wire *wire);
void wire_close(struct wire *wire);
