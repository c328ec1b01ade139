/* What the files of the links share among themselves. */
#pragma once

#include <sys/queue.h>

#include "rpc/complaints.h"
#include "rpc/link_in.h"
#include "rpc/link_out.h"
#include "rpc/links.h"
#include "rpc/listen.h"
#include "rpc/network.h"

struct links {
    struct network network;
    struct listener listener;
    struct links_handler handler;
    LIST_HEAD(, link_out) outgoing;
    LIST_HEAD(, link_in) incoming;
    LIST_HEAD(, inquiry) inquiries;
    size_t incoming_count; /* those that are being closed included */
    size_t assembling;     /* bytes of messages that are not whole yet */
    struct complaints complaints;
    uint64_t chance; /* state of links_random() */
    void (*closed)(void *data);
    void *closed_data;
};

uint64_t links_random(struct links *links);
/* The address that the member's own link says; NULL: it has none. */
const char *links_said_address(const struct links *links, uint64_t member_id);
/* A link of this member was welcomed: replaces an older one, and is answered by dialling back. */
void links_incoming_up(struct links *links, struct link_in *link);
void links_incoming_gone(struct links *links, uint64_t member_id);
