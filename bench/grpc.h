/*
 * gRPC's unary calls over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)
 * without encryption, as much of it as a bench needs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

enum {
    GRPC_OK = 0,
    GRPC_NOT_FOUND = 5,
    GRPC_UNAVAILABLE = 14,
    GRPC_CODES = 17,
    GRPC_NO_STATUS = 17, /* the call ended without one */
};

struct grpc_session;

/* A call of this path has ended; the message is that of the answer, when the code is 0. */
typedef void (*grpc_complete)(void *data, const char *path, unsigned client, unsigned code,
                              const uint8_t *message, size_t size);

struct grpc_session *grpc_session_new(const char *authority, grpc_complete complete, void *data);
/* Calls under way end silently. Takes NULL; returns NULL. */
struct grpc_session *grpc_session_free(struct grpc_session *session);

/*
 * Begins a call of "/service/method". `path` must outlive it. The message has to be written into
 * what grpc_begin() returns, which has room for `size` bytes, before the next call of any function.
 */
uint8_t *grpc_begin(struct grpc_session *session, const char *path, unsigned client, size_t size);
int grpc_submit(struct grpc_session *session);

/* Takes what was received; -EPROTO when it is not HTTP/2. */
int grpc_receive(struct grpc_session *session, const uint8_t *data, size_t size);
/* Appends what has to be sent. */
int grpc_flush(struct grpc_session *session, struct buffer *output);

/* "NotFound" ... */
const char *grpc_code_name(unsigned code);
