/* A TCP connection to one endpoint that gives up at a deadline: connect, send, receive frames. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/*
 * Looks the endpoint (HOST:PORT) up and connects to the first of its addresses that answers until
 * the deadline (transport_now()). Returns 0 and the descriptor, or a negative errno with a message
 * that names the endpoint and the reason.
 */
int stream_connect(const char *endpoint, uint64_t deadline, int *ret_fd, struct failure *failure);

/*
 * Sends it all. A negative errno (-ETIMEDOUT at the deadline) means that the last byte was not
 * handed over, so a frame can't have been understood by the other side.
 */
int stream_send(int fd, const uint8_t *data, size_t size, uint64_t deadline);

/*
 * Receives one frame and gives its content (without the length) in `frame`, whose old content is
 * dropped. Returns 0 or a negative errno: -ETIMEDOUT at the deadline, -ECONNRESET when the other
 * side has closed, -EMSGSIZE when it announced more than size_max.
 */
int stream_receive_frame(int fd, size_t size_max, uint64_t deadline, struct buffer *frame);
