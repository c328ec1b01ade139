/*
 * links: the connections between nodes. A link is one TCP connection in one direction
 * (proto/peer.proto): this node dials every peer it was told of, sends on what it dialled, and
 * receives on what others dialled. Reconnects with backoff and jitter. Messages are opaque bytes
 * here.
 */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "base/host.h"
#include "base/journal.h"
#include "service/statistics.h"

struct links;

/* What the node above decides and takes. The same contracts as node_identity, node_admit, ...
 * (src/node/node.h). */
struct links_handler {
    void *data;
    const struct identity *(*identity)(void *data);
    int (*admit)(void *data, const struct identity *from, uint64_t expected,
                 struct failure *failure);
    void (*announced)(void *data, const struct identity *from, struct announce_reply *ret);
    int (*check_welcome)(void *data, const struct identity *from, uint64_t expected,
                         struct failure *failure);
    int (*receive)(void *data, uint64_t from, const uint8_t *message, size_t size,
                   const char **ret_reason);
    void (*describe)(void *data, uint64_t member_id, struct journal_event *event);
};

struct links_options {
    uv_loop_t *loop;
    const char *listen; /* HOST:PORT as for the client door */
    struct links_handler handler;
};

/* Listens. ERROR_UNAVAILABLE with a failure that names the address and the reason. */
int links_open(struct links **ret, const struct links_options *options, struct failure *failure);
unsigned links_port(const struct links *links);

/*
 * As struct host says of send, backlog, linked, set_peers, identify and announce. A member that
 * dials this node and says another address than set_peers() does is looked for under both. One that
 * dials this node and is not named by set_peers() is answered by dialling back the address of its
 * hello: a node that was never in a configuration, or does not have the newest, must be able to
 * answer. Such a link lasts while the member's own does and something is sent on it every few
 * seconds; there are at most LINKS_LEARNED_MAX.
 */
void links_send(struct links *links, uint64_t member_id, bool urgent, uint8_t *message,
                size_t size);
size_t links_backlog(const struct links *links, uint64_t member_id);
bool links_linked(const struct links *links, uint64_t member_id);
void links_set_peers(struct links *links, const struct peer *peers, size_t count);
void links_identify(struct links *links, const char *address, uint64_t timeout_ms,
                    identify_cb callback, void *data);
void links_announce(struct links *links, const char *address, uint64_t timeout_ms,
                    announce_cb callback, void *data);

/* Adds what they have counted. */
void links_add_statistics(const struct links *links, struct statistics *statistics);
void links_close(struct links *links, void (*closed)(void *data), void *data);
