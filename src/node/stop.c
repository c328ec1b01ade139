/* stop: a node's orderly end: no new requests, leadership handed over, what is under way finished,
 * all within a limit. */
#include "node/node_internal.h"

enum {
    POLL_MS = 20,
    FAREWELL_MS = 2000, /* for a member that takes nothing any more */
};

static void transfer_done(struct change *change, const struct failure *failure, uint64_t index,
                          const char *leader) {
    struct node *node = container_of(change, struct node, transfer);

    (void)index;
    node->transfer_under_way = false;
    member_say_handed_over(node->member, LOG_INFO, leader, failure);
}

static bool has_other_voter(const struct node *node) {
    const struct configuration *configuration = member_configuration(node->member);

    for (size_t i = 0; i < configuration->count; i++)
        if (configuration->servers[i].role == MEMBER_VOTER &&
            configuration->servers[i].id != node->identity.member_id)
            return true;
    return false;
}

void node_stop(struct node *node, uint64_t timeout_ms, void (*stopped)(void *data), void *data) {
    struct member_view view;

    check(!node->stopping);
    node->stopping = true;
    node->stop_deadline = node->host->now(node->host) + timeout_ms;
    node->stopped = stopped;
    node->stopped_data = data;
    service_drain(node->service);
    member_get_view(node->member, &view);
    if (view.serving && has_other_voter(node)) {
        node->transfer = (struct change){
            .kind = CHANGE_TRANSFER,
            .deadline = node->stop_deadline,
            .done = transfer_done,
        };
        node->transfer_under_way = true;
        member_change(node->member, &node->transfer);
    }
    node_flush(node);
}

/*
 * What the others have forwarded and this node has not received would otherwise be lost unread, and
 * nobody could say what became of it.
 */
static void say_farewell(struct node *node) {
    if (node->farewell_until != 0)
        return;
    node->farewell_until = node->host->now(node->host) + FAREWELL_MS;
    doors_say_farewell(node);
}

/* Nothing is under way any more, and the others have been told. */
static bool is_finished(struct node *node) {
    if (node->transfer_under_way || service_drain(node->service) > 0)
        return false;
    say_farewell(node);
    return node->host->now(node->host) >= node->farewell_until || doors_all_sent(node);
}

/* Waits for requests and the transfer up to the deadline; for the lanes the caller waits. */
void stop_advance(struct node *node) {
    void (*stopped)(void *data) = node->stopped;
    bool late = node->host->now(node->host) >= node->stop_deadline;

    if (!stopped)
        return;
    member_stop_awaiting(node->member);
    if (!late && !is_finished(node))
        return;
    say_farewell(node);
    node->stopped = NULL;
    member_close_door(node->member);
    stopped(node->stopped_data);
}

uint64_t stop_deadline(const struct node *node) {
    uint64_t poll;

    if (!node->stopped)
        return UINT64_MAX;
    poll = node->host->now(node->host) + POLL_MS;
    return poll < node->stop_deadline ? poll : node->stop_deadline;
}
