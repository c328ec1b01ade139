/* hello: who is at the other end of a link. What is true of every hello and welcome is checked
 * here; what depends on the cluster is the node's to say. */
#pragma once

#include "base/error.h"
#include "base/host.h"
#include "proto/unpack.h"

/* The identity as a message; its strings are those of *identity. */
void hello_put_identity(Raftkv__V1__Identity *message, const struct identity *identity);
/*
 * Checks an identity that was received: member id, name, addresses, and that both sides have a
 * version of the protocol in common (ERROR_UNSUPPORTED otherwise), which is given in *ret_protocol.
 * Returns 0, or a positive code with the failure.
 */
int hello_get_identity(const Raftkv__V1__Identity *message, struct identity *ret,
                       uint32_t *ret_protocol, struct failure *failure);

/* Decodes one frame of a link. Returns NULL and a reason when it is not one. Free with
 * raftkv__v1__link_frame__free_unpacked(). */
Raftkv__V1__LinkFrame *hello_unpack_frame(const uint8_t *data, size_t size,
                                          const char **ret_reason);
/* What a refusal says, as a failure: its code and its message, made safe to be logged. */
void hello_get_refusal(const Raftkv__V1__Refusal *refusal, struct failure *ret);

/* The answer to an announcement as a message, `error` included; its strings are those of
 * *announced. */
void hello_put_announced(Raftkv__V1__Announced *message, Raftkv__V1__Error *error,
                         const struct announce_reply *announced);
/* What such an answer says, made safe to be logged. An address that is none comes out empty. */
void hello_get_announced(const Raftkv__V1__Announced *message, struct announce_reply *ret);
