#include "rpc/links.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "rpc/dial.h"
#include "rpc/links_private.h"

/* A question that ends with the welcome: one of the two callbacks is set. */
struct inquiry {
    LIST_ENTRY(inquiry) entry;
    struct dial *dial;
    identify_cb identify;
    announce_cb announce;
    void *data;
};

/* xorshift64*: for jitter only. */
uint64_t links_random(struct links *links) {
    links->chance ^= links->chance >> 12;
    links->chance ^= links->chance << 25;
    links->chance ^= links->chance >> 27;
    return (links->chance * 0x2545f4914f6cdd1du) >> 16;
}

static struct link_out *find_outgoing(const struct links *links, uint64_t member_id) {
    struct link_out *link;

    LIST_FOREACH(link, &links->outgoing, entry)
    if (link->peer.member_id == member_id)
        return link;
    return NULL;
}

static struct link_in *find_incoming(const struct links *links, uint64_t member_id,
                                     const struct link_in *except) {
    struct link_in *link;

    LIST_FOREACH(link, &links->incoming, entry)
    if (link != except && link->state == LINK_IN_UP && link->member_id == member_id)
        return link;
    return NULL;
}

const char *links_said_address(const struct links *links, uint64_t member_id) {
    const struct link_in *link = find_incoming(links, member_id, NULL);

    return link ? link->peer_address : NULL;
}

/* ---- sending ---- */

static size_t count_learned(const struct links *links) {
    const struct link_out *link;
    size_t count = 0;

    LIST_FOREACH(link, &links->outgoing, entry)
    count += link->learned;
    return count;
}

/* NULL: more members dial this node than it answers. */
static struct link_out *dial_back(struct links *links, const struct link_in *incoming) {
    struct peer peer = {.member_id = incoming->member_id};

    if (count_learned(links) >= LINKS_LEARNED_MAX)
        return NULL;
    strcpy(peer.address, incoming->peer_address);
    return link_out_new(links, &peer, true);
}

void links_send(struct links *links, uint64_t member_id, bool urgent, uint8_t *message,
                size_t size) {
    struct link_out *link = find_outgoing(links, member_id);
    const struct link_in *incoming;

    if (!link && (incoming = find_incoming(links, member_id, NULL)))
        link = dial_back(links, incoming);
    if (link)
        link_out_send(link, urgent, message, size);
    else
        free(message);
}

size_t links_backlog(const struct links *links, uint64_t member_id) {
    const struct link_out *link = find_outgoing(links, member_id);

    if (!link || link->state != LINK_OUT_UP)
        return 0;
    return link->queue.bulk.size + connection_pending(dial_connection(link->dial));
}

bool links_linked(const struct links *links, uint64_t member_id) {
    const struct link_out *link = find_outgoing(links, member_id);

    return link && link->state == LINK_OUT_UP;
}

/* ---- whom to dial ---- */

static const struct peer *find_peer(const struct peer *peers, size_t count, uint64_t member_id) {
    for (size_t i = 0; i < count; i++)
        if (peers[i].member_id == member_id)
            return &peers[i];
    return NULL;
}

/* A member that is named no longer, but still dials this node, may have to be told so. */
static void stop_naming(struct links *links, struct link_out *link) {
    if (link->learned)
        return;
    if (find_incoming(links, link->peer.member_id, NULL) &&
        count_learned(links) < LINKS_LEARNED_MAX)
        link_out_set_learned(link, true);
    else
        link_out_close(link);
}

void links_set_peers(struct links *links, const struct peer *peers, size_t count) {
    struct link_out *link, *next;

    for (link = LIST_FIRST(&links->outgoing); link; link = next) {
        const struct peer *peer = find_peer(peers, count, link->peer.member_id);

        next = LIST_NEXT(link, entry);
        if (!peer) {
            stop_naming(links, link);
            continue;
        }
        link_out_set_learned(link, false);
        link_out_configure(link, peer->address);
    }
    for (size_t i = 0; i < count; i++)
        if (!find_outgoing(links, peers[i].member_id))
            link_out_new(links, &peers[i], false);
}

void links_incoming_up(struct links *links, struct link_in *link) {
    struct link_in *older = find_incoming(links, link->member_id, link);
    struct link_out *outgoing = find_outgoing(links, link->member_id);

    if (older)
        link_in_close(older);
    if (!outgoing)
        dial_back(links, link);
    else if ((outgoing->learned || outgoing->state != LINK_OUT_UP) &&
             strcmp(outgoing->peer.address, link->peer_address) != 0)
        link_out_move(outgoing, link->peer_address); /* it is there now, as far as it knows */
    else
        link_out_hurry(outgoing);
}

void links_incoming_gone(struct links *links, uint64_t member_id) {
    struct link_out *outgoing = find_outgoing(links, member_id);

    if (outgoing && outgoing->learned && !find_incoming(links, member_id, NULL))
        link_out_close(outgoing);
}

/* ---- questions ---- */

static void end_inquiry(struct inquiry *inquiry, const struct identity *identity,
                        const struct announce_reply *announced, const struct failure *failure) {
    LIST_REMOVE(inquiry, entry);
    if (inquiry->identify)
        inquiry->identify(inquiry->data, identity, failure);
    else
        inquiry->announce(inquiry->data, announced, failure);
    free(inquiry);
}

static void on_answered(void *data, const struct identity *identity,
                        const struct announce_reply *announced) {
    struct inquiry *inquiry = data;

    dial_close(inquiry->dial);
    end_inquiry(inquiry, identity, announced, NULL);
}

static void on_unanswered(void *data, const struct failure *failure) {
    end_inquiry(data, NULL, NULL, failure);
}

static struct inquiry *inquire(struct links *links, const char *address,
                               Raftkv__V1__LinkPurpose purpose, uint64_t timeout_ms, void *data) {
    struct inquiry *inquiry = xcalloc(1, sizeof *inquiry);
    struct dial_options options = {
        .network = &links->network,
        .address = address,
        .self = links->handler.identity(links->handler.data),
        .purpose = purpose,
        .timeout_ms = timeout_ms,
        .up = on_answered,
        .failed = on_unanswered,
        .data = inquiry,
    };

    inquiry->data = data;
    inquiry->dial = dial_start(&options);
    LIST_INSERT_HEAD(&links->inquiries, inquiry, entry);
    return inquiry;
}

void links_identify(struct links *links, const char *address, uint64_t timeout_ms,
                    identify_cb callback, void *data) {
    inquire(links, address, RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_IDENTIFY, timeout_ms, data)
        ->identify = callback;
}

void links_announce(struct links *links, const char *address, uint64_t timeout_ms,
                    announce_cb callback, void *data) {
    inquire(links, address, RAFTKV__V1__LINK_PURPOSE__LINK_PURPOSE_ANNOUNCE, timeout_ms, data)
        ->announce = callback;
}

static void fail_inquiries(struct links *links) {
    struct inquiry *inquiry;
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE, "This node is being stopped.");
    while ((inquiry = LIST_FIRST(&links->inquiries))) {
        dial_close(inquiry->dial);
        end_inquiry(inquiry, NULL, NULL, &failure);
    }
}

/* ---- beginning and end ---- */

static void on_incoming(struct listener *listener) {
    link_in_accept(container_of(listener, struct links, listener));
}

static void on_network_closed(void *data) {
    struct links *links = data;
    void (*closed)(void *data) = links->closed;
    void *closed_data = links->closed_data;

    free(links);
    if (closed)
        closed(closed_data);
}

int links_open(struct links **ret, const struct links_options *options, struct failure *failure) {
    struct links *links;
    int fd, r;

    r = listen_bind(options->listen, &fd, failure);
    if (r != 0)
        return r;
    links = xcalloc(1, sizeof *links);
    links->handler = options->handler;
    LIST_INIT(&links->outgoing);
    LIST_INIT(&links->incoming);
    LIST_INIT(&links->inquiries);
    check(uv_random(NULL, NULL, &links->chance, sizeof links->chance, 0, NULL) == 0);
    links->chance |= 1;
    network_init(&links->network, options->loop);
    listener_open(&links->listener, &links->network, fd, on_incoming);
    *ret = links;
    return 0;
}

unsigned links_port(const struct links *links) {
    return links->listener.port;
}

void links_close(struct links *links, void (*closed)(void *data), void *data) {
    struct link_out *outgoing;
    struct link_in *incoming;

    links->closed = closed;
    links->closed_data = data;
    listener_close(&links->listener);
    while ((outgoing = LIST_FIRST(&links->outgoing)))
        link_out_close(outgoing);
    while ((incoming = LIST_FIRST(&links->incoming)))
        link_in_close(incoming);
    fail_inquiries(links);
    connection_close_all(&links->network);
    network_close(&links->network, on_network_closed, links);
}

void links_add_statistics(const struct links *links, struct statistics *statistics) {
    const struct link_out *link;
    uint64_t count = links->incoming_count;

    LIST_FOREACH(link, &links->outgoing, entry)
    count += link->state == LINK_OUT_UP;
    statistics_add(statistics, STATISTIC_PEERS_CONNECTIONS, NULL, count);
    statistics_add(statistics, STATISTIC_PEERS_RECEIVED, NULL, links->network.received);
    statistics_add(statistics, STATISTIC_PEERS_SENT, NULL, links->network.sent);
}
