/*
 * client: what people and programs use to reach a cluster. raftkvctl turns a command line into
 * Requests, hands them to a transport and shows the Responses. It never decides what a request
 * means and knows no limit of its own: the node does. May use base, proto, format, sd-bus and
 * json-c.
 *
 * transport: a way to a node. Commands build a Request and get a Response; whether it travels over
 * TCP or as a D-Bus call is decided once, when the transport is made.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "proto/unpack.h"

struct transport;

struct transport_operations {
    int (*call)(struct transport *transport, Raftkv__V1__Request *request,
                Raftkv__V1__Response **ret, struct failure *failure);
    void (*set_deadline)(struct transport *transport, uint64_t deadline);
    void (*free)(struct transport *transport);
};

struct transport {
    const struct transport_operations *operations;
    /* Told how a request comes on that may take long, as often as the node says so. NULL: nobody
     * wants to know. */
    void (*progress)(void *data, const Raftkv__V1__Operation *operation);
    void *progress_data;
};

/*
 * Over TCP to the first of these endpoints (HOST:PORT, copied) that can be reached. `deadline` is
 * in milliseconds of transport_now() and holds for all calls together.
 */
struct transport *transport_tcp_new(const char *const *endpoints, size_t count, uint64_t deadline);

/*
 * As D-Bus calls to org.raftkv1.<node> on "system", "session" or a D-Bus address. Connects at the
 * first call.
 */
struct transport *transport_bus_new(const char *address, const char *node, uint64_t deadline);

/*
 * Sends the request and waits for its answer; sets id and timeout_ms of the request. Returns
 * - 0: the node answered; free with raftkv__v1__response__free_unpacked(r, NULL). Its `error` may
 *   be set, and if not, the body that belongs to the request is.
 * - a positive error_code: the request was sent and there was no answer (ERROR_TIMEOUT,
 *   ERROR_UNAVAILABLE), with outcome_unknown for what may have changed something; or this way to
 * the node has no form for it (ERROR_UNSUPPORTED).
 * - a negative errno: nothing was sent, because nobody could be reached; the message says who.
 */
static inline int transport_call(struct transport *transport, Raftkv__V1__Request *request,
                                 Raftkv__V1__Response **ret, struct failure *failure) {
    return transport->operations->call(transport, request, ret, failure);
}

/* Replaces the deadline, for the calls to come. */
static inline void transport_set_deadline(struct transport *transport, uint64_t deadline) {
    transport->operations->set_deadline(transport, deadline);
}

/* Takes NULL; returns NULL. */
static inline struct transport *transport_free(struct transport *transport) {
    if (transport)
        transport->operations->free(transport);
    return NULL;
}

/* Monotonic milliseconds. */
uint64_t transport_now(void);
/* Milliseconds until the deadline, 0 when it has passed. */
uint64_t transport_left(uint64_t deadline);
/* Of so many milliseconds, those that are kept for the node's answer to arrive. */
uint64_t transport_margin(uint64_t left);
/*
 * What to tell the node as its time limit: a little less than what is left, so that its own answer,
 * which knows more than "no answer", still arrives in time.
 */
uint32_t transport_timeout_for_node(uint64_t deadline);
/* Whether the request may change something, so that it must not be sent twice. */
bool transport_request_writes(const Raftkv__V1__Request *request);
/* Whether the response is an error or has the body that belongs to the request's. */
bool transport_response_fits(const Raftkv__V1__Request *request,
                             const Raftkv__V1__Response *response);
