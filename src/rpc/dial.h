/*
 * dial: one attempt to link to another node: its name is resolved, it is connected to, told hello
 * and heard. What follows the welcome is the caller's.
 */
#pragma once

#include "base/error.h"
#include "base/host.h"
#include "proto/unpack.h"
#include "rpc/connection.h"

struct dial;

struct dial_options {
    struct network *network;
    const char *address; /* copied */
    const struct identity *self;
    Raftkv__V1__LinkPurpose purpose;
    uint64_t expected;   /* member id, for purpose MEMBER */
    uint64_t timeout_ms; /* up to the welcome */

    /* The welcome came; with the answer, for purpose ANNOUNCE, and otherwise NULL. Until the dial
     * is closed, the connection may be used to send. */
    void (*up)(void *data, const struct identity *identity, const struct announce_reply *announced);
    /* As events->turn() of a connection, once it is up. May be NULL. */
    void (*turn)(void *data, struct connection *connection);
    /*
     * It could not be reached, refused (with the refusal's own code), or the link broke: the
     * failure names the address and the reason. The dial is gone. Never called within dial_start().
     */
    void (*failed)(void *data, const struct failure *failure);
    void *data;
};

struct dial *dial_start(const struct dial_options *options);
/* No callback follows. Takes NULL; returns NULL. */
struct dial *dial_close(struct dial *dial);
struct connection *dial_connection(struct dial *dial);
