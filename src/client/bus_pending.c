/* What the D-Bus methods about nodes that ask to join answer. */
#include <errno.h>

#include "base/limits.h"
#include "base/memory.h"
#include "client/bus_messages.h"

/* Positive: one was read; 0: there are no more. */
static int read_node(sd_bus_message *m, Raftkv__V1__PendingNode *node) {
    const char *name, *peer_address, *client_address;
    int r = sd_bus_message_read(m, "(stsst)", &name, &node->id, &peer_address, &client_address,
                                &node->milliseconds);

    if (r <= 0)
        return r;
    node->name = xstrdup(name);
    node->peer_address = xstrdup(peer_address);
    node->client_address = xstrdup(client_address);
    return 1;
}

int bus_read_pending(sd_bus_message *m, Raftkv__V1__Response *response) {
    Raftkv__V1__PendingResponse *body = response->pending = xmalloc(sizeof *body);
    int r;

    raftkv__v1__pending_response__init(body);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_PENDING;
    body->nodes = xcalloc(JOIN_REQUESTS_MAX, sizeof(void *));
    r = sd_bus_message_enter_container(m, 'a', "(stsst)");
    while (r >= 0) {
        Raftkv__V1__PendingNode node;

        raftkv__v1__pending_node__init(&node);
        r = read_node(m, &node);
        if (r <= 0)
            break;
        if (body->n_nodes == JOIN_REQUESTS_MAX)
            return -EMSGSIZE;
        body->nodes[body->n_nodes++] = xmemdup(&node, sizeof node);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bus_read_rejected(Raftkv__V1__Response *response) {
    response->reject = xmalloc(sizeof *response->reject);
    raftkv__v1__reject_response__init(response->reject);
    response->body_case = RAFTKV__V1__RESPONSE__BODY_REJECT;
    return 0;
}
