#include "rpc/link_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "rpc/dial.h"
#include "rpc/links_private.h"

enum {
    LEARNED_IDLE_MS = 5000,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
    GOOD_AFTER_MS = 1000,    /* a link that held this long starts over at BACKOFF_MIN_MS */
    BATCH_SIZE = 256 * 1024, /* handed to the kernel at a time: what an urgent message waits for */
};

static const bool allowed[][LINK_OUT_CLOSED + 1] = {
    [LINK_OUT_WAITING] = {[LINK_OUT_DIALLING] = true, [LINK_OUT_CLOSED] = true},
    [LINK_OUT_DIALLING] =
        {[LINK_OUT_UP] = true, [LINK_OUT_WAITING] = true, [LINK_OUT_CLOSED] = true},
    [LINK_OUT_UP] = {[LINK_OUT_WAITING] = true, [LINK_OUT_CLOSED] = true},
    [LINK_OUT_CLOSED] = {false},
};

static void move(struct link_out *link, enum link_out_state state) {
    check(allowed[link->state][state]);
    link->state = state;
}

/* Half of the delay is chance, so that nodes that lost each other do not meet again and again. */
static uint64_t backoff(struct link_out *link) {
    uint64_t delay = BACKOFF_MIN_MS;

    for (unsigned i = 1; i < link->failures && delay < BACKOFF_MAX_MS; i++)
        delay *= 2;
    if (delay > BACKOFF_MAX_MS)
        delay = BACKOFF_MAX_MS;
    return delay / 2 + links_random(link->links) % (delay / 2 + 1);
}

/* What was queued for a link that broke is lost with it: raft repeats what matters. */
static void wait_before_dialling(struct link_out *link, uint64_t milliseconds) {
    move(link, LINK_OUT_WAITING);
    link_queue_clear(&link->queue);
    deadline_start(&link->links->network, &link->deadline, milliseconds);
}

static void add_fields(const struct link_out *link, struct journal_event *event) {
    const struct links_handler *handler = &link->links->handler;

    handler->describe(handler->data, link->peer.member_id, event);
    journal_field(event, "RAFTKV_PEER=%s", link->peer.address);
}

static void note_failure(struct link_out *link, const struct failure *failure) {
    uint64_t now = uv_now(link->links->network.loop);
    struct journal_event event = JOURNAL_EVENT(MESSAGE_PEER_UNREACHABLE);

    if (link->state == LINK_OUT_UP && now - link->up_since >= GOOD_AFTER_MS)
        link->failures = 0;
    link->failures++;
    link->last_code = failure->code;
    if (strcmp(link->last_failure, failure->message) == 0)
        return;
    snprintf(link->last_failure, sizeof link->last_failure, "%s", failure->message);
    add_fields(link, &event);
    /* Who is dialled only because he dialled this node may be anyone, and many. */
    if (link->learned)
        complain(&link->links->complaints, now, &event, "No link to member %016" PRIx64 ": %s",
                 link->peer.member_id, failure->message);
    else
        journal_with(LOG_WARNING, event.fields, "No link to member %016" PRIx64 ": %s",
                     link->peer.member_id, failure->message);
}

/* A member that says another address than the configuration may have moved, or say one at which
 * this node can't reach it: the one is tried after the other. */
static void try_the_other_address(struct link_out *link) {
    const char *said = links_said_address(link->links, link->peer.member_id);
    const char *other = strcmp(link->peer.address, link->configured) == 0 ? said : link->configured;

    if (!link->learned && other)
        snprintf(link->peer.address, sizeof link->peer.address, "%s", other);
}

static void fail(struct link_out *link, const struct failure *failure) {
    note_failure(link, failure);
    try_the_other_address(link);
    wait_before_dialling(link, backoff(link));
}

static void on_failed(void *data, const struct failure *failure) {
    struct link_out *link = data;

    link->dial = NULL;
    fail(link, failure);
}

static void on_up(void *data, const struct identity *identity,
                  const struct announce_reply *announced) {
    struct link_out *link = data;
    struct links_handler *handler = &link->links->handler;
    struct failure failure;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_PEER_LINKED);

    (void)announced;
    if (handler->check_welcome(handler->data, identity, link->peer.member_id, &failure) != 0) {
        link->dial = dial_close(link->dial);
        fail(link, &failure);
        return;
    }
    move(link, LINK_OUT_UP);
    link->up_since = uv_now(link->links->network.loop);
    if (link->last_failure[0]) {
        add_fields(link, &event);
        journal_with(LOG_INFO, event.fields, "Linked to '%s' at %s again.", identity->name,
                     link->peer.address);
    }
    link->last_failure[0] = 0;
}

static void send_fragment(struct connection *connection, const struct link_fragment *fragment) {
    Raftkv__V1__LinkFrame frame = RAFTKV__V1__LINK_FRAME__INIT;
    Raftkv__V1__Fragment message = RAFTKV__V1__FRAGMENT__INIT;
    union {
        const uint8_t *constant;
        uint8_t *pointer;
    } data = {.constant = fragment->data}; /* protobuf-c only reads it */

    message.urgent = fragment->urgent;
    message.last = fragment->last;
    message.data = (ProtobufCBinaryData){.data = data.pointer, .len = fragment->size};
    frame.body_case = RAFTKV__V1__LINK_FRAME__BODY_FRAGMENT;
    frame.fragment = &message;
    connection_send(connection, &frame.base);
}

static void on_turn(void *data, struct connection *connection) {
    struct link_out *link = data;
    struct link_fragment fragment;

    if (link->state != LINK_OUT_UP || connection_pending(connection) > 0)
        return;
    /* What is added also has this called again in the next turn, for the rest. */
    while (connection_pending(connection) < BATCH_SIZE &&
           link_queue_peek(&link->queue, &fragment)) {
        send_fragment(connection, &fragment);
        link_queue_advance(&link->queue, &fragment);
    }
}

static void dial(struct link_out *link) {
    struct links *links = link->links;
    struct dial_options options = {
        .network = &links->network,
        .address = link->peer.address,
        .self = links->handler.identity(links->handler.data),
        .purpose = RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_MEMBER,
        .expected = link->peer.member_id,
        .timeout_ms = HELLO_TIMEOUT_MS,
        .up = on_up,
        .turn = on_turn,
        .failed = on_failed,
        .data = link,
    };

    deadline_stop(&link->deadline);
    move(link, LINK_OUT_DIALLING);
    link->dial = dial_start(&options);
}

static void on_deadline(struct deadline *deadline) {
    dial(container_of(deadline, struct link_out, deadline));
}

static void on_idle(struct deadline *deadline) {
    struct link_out *link = container_of(deadline, struct link_out, idle);
    uint64_t unused = uv_now(link->links->network.loop) - link->last_used;

    if (unused >= LEARNED_IDLE_MS)
        link_out_close(link);
    else
        deadline_start(&link->links->network, deadline, LEARNED_IDLE_MS - unused);
}

void link_out_set_learned(struct link_out *link, bool learned) {
    link->learned = learned;
    if (learned)
        deadline_start(&link->links->network, &link->idle, LEARNED_IDLE_MS);
    else
        deadline_stop(&link->idle);
}

struct link_out *link_out_new(struct links *links, const struct peer *peer, bool learned) {
    struct link_out *link = xcalloc(1, sizeof *link);

    link->links = links;
    link->peer = *peer;
    if (!learned)
        strcpy(link->configured, peer->address);
    link->deadline.passed = on_deadline;
    link->idle.passed = on_idle;
    link->last_used = uv_now(links->network.loop);
    link_out_set_learned(link, learned);
    link_queue_init(&link->queue);
    LIST_INSERT_HEAD(&links->outgoing, link, entry);
    link->state = LINK_OUT_WAITING;
    dial(link);
    return link;
}

void link_out_send(struct link_out *link, bool urgent, uint8_t *message, size_t size) {
    link->last_used = uv_now(link->links->network.loop);
    if (link->state != LINK_OUT_UP) {
        free(message);
        return;
    }
    link_queue_push(&link->queue, urgent, message, size);
    connection_touch(dial_connection(link->dial));
}

void link_out_move(struct link_out *link, const char *address) {
    snprintf(link->peer.address, sizeof link->peer.address, "%s", address);
    link->failures = 0;
    if (link->state == LINK_OUT_WAITING) {
        dial(link);
        return;
    }
    link->dial = dial_close(link->dial);
    wait_before_dialling(link, 0);
}

void link_out_configure(struct link_out *link, const char *address) {
    if (strcmp(link->configured, address) == 0)
        return;
    strcpy(link->configured, address);
    if (strcmp(link->peer.address, address) != 0)
        link_out_move(link, address);
}

void link_out_hurry(struct link_out *link) {
    if (link->state == LINK_OUT_WAITING && link->last_code == ERROR_UNAVAILABLE)
        deadline_start(&link->links->network, &link->deadline, BACKOFF_MIN_MS);
}

struct link_out *link_out_close(struct link_out *link) {
    if (!link)
        return NULL;
    move(link, LINK_OUT_CLOSED);
    LIST_REMOVE(link, entry);
    deadline_stop(&link->deadline);
    deadline_stop(&link->idle);
    dial_close(link->dial);
    link_queue_clear(&link->queue);
    free(link);
    return NULL;
}
