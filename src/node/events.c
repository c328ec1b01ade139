/* events: the fields of what a node says. */
#include "node/node_internal.h"

void node_describe_peer(const struct node *node, uint64_t member_id, struct journal_event *event) {
    const struct server *server = configuration_find(member_configuration(node->member), member_id);

    member_event(event, node->member, server ? server->name : "");
    journal_field(event, "RAFTKV_MEMBER_ID=%016llx", (unsigned long long)member_id);
}

void node_event(struct journal_event *event, const struct node *node, uint64_t index,
                const char *about) {
    if (node->member)
        member_event(event, node->member, about);
    if (index > 0)
        journal_field(event, "RAFTKV_INDEX=%llu", (unsigned long long)index);
    if (node->identity.cluster_id != 0)
        journal_field(event, "RAFTKV_CLUSTER=%016llx",
                      (unsigned long long)node->identity.cluster_id);
}
