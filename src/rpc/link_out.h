/* link_out: the link on which this node sends to one other member: dialled, dialled again with
 * backoff and jitter when it breaks, and the queue of what waits to be sent. */
#pragma once

#include <sys/queue.h>

#include "base/host.h"
#include "rpc/link_queue.h"
#include "rpc/network.h"

struct links;
struct dial;

enum link_out_state { LINK_OUT_WAITING, LINK_OUT_DIALLING, LINK_OUT_UP, LINK_OUT_CLOSED };

struct link_out {
    LIST_ENTRY(link_out) entry; /* of links->outgoing */
    struct links *links;
    struct peer peer;                 /* where it is dialled now */
    char configured[ADDRESS_MAX + 1]; /* where set_peers() says it is; empty: nothing */
    bool learned;                     /* not named by set_peers(): it dialled this node */
    struct deadline idle;             /* of a learned link */
    uint64_t last_used;
    enum link_out_state state;
    struct dial *dial; /* while dialling or up */
    struct link_queue queue;
    struct deadline deadline; /* while waiting: of the next attempt */
    unsigned failures;        /* in a row */
    uint64_t up_since;
    enum error_code last_code; /* why the last attempt failed */
    char last_failure[512];    /* since it was linked last */
};

/* Begins to dial. */
struct link_out *link_out_new(struct links *links, const struct peer *peer, bool learned);
/* Takes over the message; without a link it is dropped. */
void link_out_send(struct link_out *link, bool urgent, uint8_t *message, size_t size);
/* Whether set_peers() names the member. A learned link is closed when nothing was sent for a while:
 * two nodes that only answer each other would keep theirs for ever. */
void link_out_set_learned(struct link_out *link, bool learned);
/* Where set_peers() says that it is. Dials anew if that is news. */
void link_out_configure(struct link_out *link, const char *address);
/* The member is to be found elsewhere: dials anew. */
void link_out_move(struct link_out *link, const char *address);
/* The member was heard of: if it was only not reachable, tries again soon. */
void link_out_hurry(struct link_out *link);
/* Takes NULL; returns NULL. */
struct link_out *link_out_close(struct link_out *link);
