/*
 * bench: programs that measure a cluster from outside, as its clients do. They share an engine (a
 * closed loop of clients), a histogram and a report; what differs is the protocol. May use base,
 * proto and the client room.
 *
 * engine: the closed loop: a number of clients, each with one operation under way, on connections
 * that are spread over the endpoints. One thread and epoll. Knows nothing of the protocol's bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/histogram.h"
#include "bench/options.h"
#include "bench/workload.h"

enum {
    ENGINE_CONNECTIONS_MAX = 100,
    /* How an operation ended: 0, or a code of the protocol's below these. */
    ENGINE_CODE_LOST = 62,       /* its connection broke */
    ENGINE_CODE_UNANSWERED = 63, /* not within 30 s after the time was over */
    ENGINE_CODES = 64,
};

struct connection;

/* How operations become bytes on a connection. A session lives as long as one TCP connection. */
struct protocol {
    const char *(*error_name)(unsigned code);
    void *(*session_new)(struct connection *connection);
    void (*session_free)(void *session);
    /* Begins an operation of this client, which has no other under way here. */
    int (*submit)(void *session, unsigned client, const struct operation *operation);
    /* Takes what was received. */
    int (*receive)(void *session, const uint8_t *data, size_t size);
    /* Brings what waits in the session into connection_output(). NULL: submit does. */
    int (*flush)(void *session);
    /* Each returns 0, or a negative errno that breaks the connection. */
};

/* For protocols: where to put bytes that go out. */
struct buffer *connection_output(struct connection *connection);
/* For protocols: this client's operation has ended. May submit the next one before it returns. */
void connection_complete(struct connection *connection, unsigned client, unsigned code);

struct result {
    double seconds;           /* as measured */
    uint64_t operations;      /* that succeeded while it measured */
    struct histogram latency; /* of those, and of what was under way at its end; nanoseconds */
    uint64_t errors[ENGINE_CODES];
    double cpu_seconds; /* of this process, warm-up and loading included */
    uint64_t done;      /* operations that succeeded, warm-up and loading included */
    unsigned connections;
};

/* Called about once a second while it runs: where it stands, and what was done since the last. */
struct progress {
    const char *phase;
    double elapsed, total; /* seconds of the phase; total is 0 where unknown */
    double rate;           /* operations a second */
    uint64_t errors;
};
typedef void (*progress_cb)(void *data, const struct progress *progress);

/*
 * Runs it all. Returns 0, or -EHOSTUNREACH (no endpoint can be reached) or -EIO (the keys can't be
 * loaded) with a failure that says more.
 */
int engine_run(const struct bench_options *options, const struct protocol *protocol,
               progress_cb progress, void *data, struct result *result, struct failure *failure);
