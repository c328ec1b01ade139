/*
 * host_uv: the host of a node (base/host.h) on a libuv loop.
 *
 * A node uses its host from node_open() on, before the port for peers is open: that port opens only
 * when the node can answer, so that nobody waits for a hello while the log is still being read.
 * Until host_uv_set_links() there is no link: what is sent is dropped, as the contract allows, and
 * the peers to dial are remembered.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/host.h"
#include "daemon/lanes.h"
#include "node/node.h"
#include "rpc/links.h"

struct host_uv {
    struct host host;
    struct lanes lanes;
    uv_timer_t wake;
    uint64_t wake_time;  /* host time; UINT64_MAX: not asked for */
    struct node *node;   /* NULL: nothing is called any more, or yet */
    struct links *links; /* NULL: no links yet, or any more */
    struct peer *peers;  /* as last set while there were no links */
    size_t peer_count;
    void (*fatal)(const char *reason); /* does not return */
};

/* `host` must stay where it is. */
void host_uv_init(struct host_uv *host, uv_loop_t *loop, void (*fatal)(const char *reason));
/* The node whose node_tick() is called at the time that it asked for; NULL: no one's. */
void host_uv_set_node(struct host_uv *host, struct node *node);
/* The links are open; or NULL, before they are closed. */
void host_uv_set_links(struct host_uv *host, struct links *links);
/* Closes the timer; what is left belongs to the loop until its next turn. */
void host_uv_close(struct host_uv *host);
