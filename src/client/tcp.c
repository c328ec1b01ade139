/* The transport over TCP: which endpoint to try, and when it is safe to try another one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/address.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "client/stream.h"
#include "client/transport.h"

enum {
    REDIRECTS_MAX = 5, /* followed in a row; then the endpoints have their turn again */
    RETRY_DELAY_MIN_MS = 50,
    RETRY_DELAY_MAX_MS = 1000,
};

struct tcp_transport {
    struct transport base;
    char **endpoints;
    size_t count;
    size_t current; /* the endpoint whose turn it is */
    uint64_t deadline;
    uint64_t next_id;
    int fd;                          /* -1: not connected */
    char connected[ADDRESS_MAX + 1]; /* to whom */
    char redirect[ADDRESS_MAX + 1];  /* a leader that was named; goes before the endpoints */
};

/* What became of one attempt. */
enum attempt {
    ATTEMPT_ANSWERED,
    ATTEMPT_NOT_SENT, /* the node can't have seen the request */
    ATTEMPT_LOST,     /* it was sent, and the connection broke before an answer */
    ATTEMPT_TIMED_OUT,
};

static void disconnect(struct tcp_transport *t) {
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

static const char *target(const struct tcp_transport *t) {
    return t->redirect[0] ? t->redirect : t->endpoints[t->current];
}

static void next_target(struct tcp_transport *t) {
    disconnect(t);
    if (t->redirect[0])
        t->redirect[0] = 0;
    else
        t->current = (t->current + 1) % t->count;
}

/* Connects to the target; the time is shared with the endpoints that have not been tried yet. */
static int ensure_connected(struct tcp_transport *t, size_t others, struct failure *failure) {
    uint64_t left = transport_left(t->deadline);
    int r;

    if (t->fd >= 0)
        return 0;
    if (left == 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s: the time was over.", target(t));
        return -ETIMEDOUT;
    }
    r = stream_connect(target(t), transport_now() + left / (others + 1), &t->fd, failure);
    if (r == 0)
        snprintf(t->connected, sizeof t->connected, "%s", target(t));
    return r;
}

/* An answer is ours when it carries our id, or none because the node speaks of the connection. */
static bool answers(const Raftkv__V1__Response *response, uint64_t id) {
    return response->id == id || (response->id == 0 && response->error);
}

/* Whether it only says how the request comes on. */
static bool take_progress(struct tcp_transport *t, const Raftkv__V1__Response *response) {
    if (response->error || response->body_case != RAFTKV__V1__RESPONSE__BODY_PROGRESS)
        return false;
    if (t->base.progress)
        t->base.progress(t->base.progress_data, response->progress);
    return true;
}

static int receive_answer(struct tcp_transport *t, uint64_t id, Raftkv__V1__Response **ret,
                          const char **ret_reason) {
    struct buffer frame = BUFFER_NULL;
    int r;

    for (;;) {
        ProtobufCMessage *message;

        r = stream_receive_frame(t->fd, CLIENT_FRAME_SIZE_MAX, t->deadline, &frame);
        if (r < 0)
            break;
        r = unpack(&raftkv__v1__response__descriptor, frame.data, frame.size, &unpack_client_limits,
                   &message, ret_reason);
        if (r < 0)
            break;
        *ret = (Raftkv__V1__Response *)message;
        if (answers(*ret, id) && !take_progress(t, *ret))
            break;
        raftkv__v1__response__free_unpacked(*ret, NULL);
    }
    buffer_deinit(&frame);
    return r;
}

static void frame_head(uint8_t *head, size_t size) {
    head[0] = (uint8_t)(size >> 24);
    head[1] = (uint8_t)(size >> 16);
    head[2] = (uint8_t)(size >> 8);
    head[3] = (uint8_t)size;
}

/* What a node that stops says to a client, whatever that has sent meanwhile: nothing of it
 * happened. */
static bool is_goodbye(const Raftkv__V1__Response *response) {
    return response->id == 0 && response->error &&
           response->error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_UNAVAILABLE &&
           !response->error->outcome_unknown;
}

static enum attempt attempt(struct tcp_transport *t, Raftkv__V1__Request *request, size_t others,
                            Raftkv__V1__Response **ret, struct failure *failure) {
    _cleanup_free_ uint8_t *frame = NULL;
    const char *reason = NULL;
    size_t size;
    int r;

    if (ensure_connected(t, others, failure) < 0)
        return ATTEMPT_NOT_SENT;
    request->id = t->next_id++;
    request->timeout_ms = transport_timeout_for_node(t->deadline);
    request->progress = t->base.progress != NULL;
    frame = pack(&request->base, 4, &size);
    frame_head(frame, size);
    r = stream_send(t->fd, frame, 4 + size, t->deadline);
    if (r < 0) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s: %s.", t->connected, strerror(-r));
        return ATTEMPT_NOT_SENT;
    }
    r = receive_answer(t, request->id, ret, &reason);
    if (r == 0 && is_goodbye(*ret)) {
        failure_set(failure, ERROR_UNAVAILABLE, "%s: %s", t->connected, (*ret)->error->message);
        raftkv__v1__response__free_unpacked(TAKE(*ret), NULL);
        return ATTEMPT_NOT_SENT;
    }
    if (r == 0 && transport_response_fits(request, *ret))
        return ATTEMPT_ANSWERED;
    if (r == 0) {
        raftkv__v1__response__free_unpacked(TAKE(*ret), NULL);
        reason = "It belongs to another request.";
    }
    if (r == -ETIMEDOUT) {
        failure_set(failure, ERROR_TIMEOUT, "%s did not answer in time.", t->connected);
        return ATTEMPT_TIMED_OUT;
    }
    if (reason || r == -EMSGSIZE)
        failure_set(failure, ERROR_UNAVAILABLE, "%s gave an answer that is not one of raftkv.%s%s",
                    t->connected, reason ? " " : "", reason ? reason : "");
    else
        failure_set(failure, ERROR_UNAVAILABLE, "%s closed the connection before it answered.",
                    t->connected);
    return ATTEMPT_LOST;
}

static bool nothing_happened(const Raftkv__V1__Response *response) {
    const Raftkv__V1__Error *error = response->error;

    if (!error || error->outcome_unknown)
        return false;
    return error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_NO_LEADER ||
           error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_NOT_LEADER ||
           error->code == RAFTKV__V1__ERROR_CODE__ERROR_CODE_BUSY;
}

/* After an answer that says nothing happened: whom to ask next, and when. False: no time is left,
 * or only what was kept for that answer, in which another one might not arrive. */
static bool prepare_retry(struct tcp_transport *t, const Raftkv__V1__Response *response,
                          unsigned retries, uint64_t margin) {
    const char *leader = response->error->leader_address;
    uint64_t delay = RETRY_DELAY_MIN_MS;
    bool redirected = leader && retries < REDIRECTS_MAX && address_valid(leader) &&
                      strcmp(leader, t->connected) != 0;

    for (unsigned i = 0; i < retries && delay < RETRY_DELAY_MAX_MS; i++)
        delay *= 2;
    if (redirected)
        delay = 0;
    if (transport_left(t->deadline) <= delay + margin)
        return false;
    next_target(t);
    if (redirected)
        snprintf(t->redirect, sizeof t->redirect, "%s", leader);
    struct timespec wait = {.tv_sec = (time_t)(delay / 1000),
                            .tv_nsec = (long)(delay % 1000) * 1000000};
    nanosleep(&wait, NULL);
    return true;
}

static int tcp_call(struct transport *base, Raftkv__V1__Request *request,
                    Raftkv__V1__Response **ret, struct failure *failure) {
    struct tcp_transport *t = container_of(base, struct tcp_transport, base);
    bool writes = transport_request_writes(request);
    uint64_t margin = transport_margin(transport_left(t->deadline));
    size_t failed = 0; /* endpoints in a row that were no use */
    unsigned retries = 0;

    for (;;) {
        bool of_redirect = t->redirect[0] != 0;
        bool reused = t->fd >= 0;
        enum attempt result =
            attempt(t, request, failed < t->count ? t->count - failed - 1 : 0, ret, failure);

        if (result == ATTEMPT_ANSWERED) {
            if (!nothing_happened(*ret) || !prepare_retry(t, *ret, retries, margin))
                return 0;
            raftkv__v1__response__free_unpacked(TAKE(*ret), NULL);
            retries++;
            failed = 0;
            continue;
        }
        if (result == ATTEMPT_TIMED_OUT || (result == ATTEMPT_LOST && writes)) {
            disconnect(t);
            failure->outcome_unknown = writes;
            return failure->code;
        }
        /* A connection from an earlier call may just be stale: its endpoint gets another try. */
        if (reused && result == ATTEMPT_NOT_SENT) {
            disconnect(t);
            continue;
        }
        next_target(t);
        if (!of_redirect)
            failed++;
        if (failed >= t->count)
            return result == ATTEMPT_LOST ? (int)failure->code : -EHOSTUNREACH;
    }
}

static void tcp_set_deadline(struct transport *base, uint64_t deadline) {
    container_of(base, struct tcp_transport, base)->deadline = deadline;
}

static void tcp_free(struct transport *base) {
    struct tcp_transport *t = container_of(base, struct tcp_transport, base);

    disconnect(t);
    for (size_t i = 0; i < t->count; i++)
        free(t->endpoints[i]);
    free(t->endpoints);
    free(t);
}

struct transport *transport_tcp_new(const char *const *endpoints, size_t count, uint64_t deadline) {
    static const struct transport_operations operations = {
        .call = tcp_call, .set_deadline = tcp_set_deadline, .free = tcp_free};
    struct tcp_transport *t = xcalloc(1, sizeof *t);

    check(count > 0);
    t->base.operations = &operations;
    t->endpoints = xcalloc(count, sizeof *t->endpoints);
    for (size_t i = 0; i < count; i++)
        t->endpoints[i] = xstrdup(endpoints[i]);
    t->count = count;
    t->deadline = deadline;
    t->next_id = 1;
    t->fd = -1;
    return &t->base;
}
