/* listen: a listening socket at an address given as HOST:PORT. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "rpc/network.h"

struct listener {
    uv_tcp_t tcp;
    struct network *network;
    void (*incoming)(struct listener *listener); /* a connection waits for uv_accept() */
    unsigned port;
    bool open;
};

/*
 * Resolves the address (blocking: for the time before the loop runs) and listens at the first
 * address that this machine has. Returns 0, or ERROR_INVALID_ARGUMENT or ERROR_UNAVAILABLE with a
 * failure that names the address and the reason.
 */
int listen_bind(const char *address, int *ret_fd, struct failure *failure);
/* Takes connections from such a socket, which it takes over. */
void listener_open(struct listener *listener, struct network *network, int fd,
                   void (*incoming)(struct listener *listener));
/*
 * Has the kernel begin no more connections; those that it has already still come in, within the
 * next poll of the loop. To close a listener at once resets them, and whoever has sent something
 * does not know what became of it.
 */
void listener_shut(struct listener *listener);
/* Does nothing when it is closed already. */
void listener_close(struct listener *listener);
