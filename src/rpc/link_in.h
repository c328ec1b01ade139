/* link_in: a link that another node dialled, from its hello to the messages that it sends. */
#pragma once

#include <sys/queue.h>

#include "base/host.h"
#include "rpc/connection.h"

struct links;

enum link_in_state { LINK_IN_GREETING, LINK_IN_UP, LINK_IN_CLOSED };

struct link_in {
    LIST_ENTRY(link_in) entry; /* of links->incoming, until it is closed */
    struct links *links;
    struct connection connection;
    enum link_in_state state;
    struct deadline deadline;           /* for the hello */
    uint64_t member_id;                 /* once up */
    char peer_address[ADDRESS_MAX + 1]; /* as its hello says */
    struct buffer assembly[2];          /* messages that are not whole yet, bulk and urgent */
    char address[64];                   /* of the other side */
};

/* Accepts what waits at the listener. */
void link_in_accept(struct links *links);
void link_in_close(struct link_in *link);
