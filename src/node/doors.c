/* doors: what other nodes are allowed to do here: who may link, and where their messages go. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/defect.h"
#include "node/node_internal.h"

static const struct known_member *find_known(const struct node *node, uint64_t id) {
    for (size_t i = 0; i < node->known_count; i++)
        if (node->known[i].id == id)
            return &node->known[i];
    return NULL;
}

/* Remembers a hello, in the place of the one heard longest ago when the table is full. */
static void remember(struct node *node, const struct identity *from) {
    const struct known_member *found = find_known(node, from->member_id);
    struct known_member *known = &node->known[0];
    bool same_run = found && found->incarnation == from->incarnation;
    bool replaced = !found && node->known_count == KNOWN_MEMBERS_MAX;

    if (found)
        known += found - node->known;
    else if (!replaced)
        known = &node->known[node->known_count++];
    else
        for (size_t i = 1; i < node->known_count; i++)
            if (node->known[i].used < known->used)
                known = &node->known[i];
    *known = (struct known_member){
        .id = from->member_id,
        .incarnation = from->incarnation,
        .cluster_id = from->cluster_id,
        .used = node->host->now(node->host),
        .last_forward_id = same_run ? known->last_forward_id : 0,
        .forwards_forgotten = same_run ? known->forwards_forgotten : replaced,
    };
    if (!same_run)
        service_member_begins(node->service, from->member_id);
}

uint64_t doors_cluster_of(const struct node *node, uint64_t member_id) {
    const struct known_member *known = find_known(node, member_id);

    return known ? known->cluster_id : 0;
}

/*
 * A name that the configuration gives to another member: the claimant's disk was wiped (then it has
 * a new id, and must be removed and added again; hazard L7). Unless it has joined the cluster
 * since: then the configuration that is applied here is old, after a restart perhaps very old, and
 * only the serving leader knows better.
 */
static int check_against_configuration(const struct node *node, const struct identity *from,
                                       struct failure *failure) {
    const struct configuration *configuration = member_configuration(node->member);
    const struct server *named = configuration_find_name(configuration, from->name);
    const struct server *server = configuration_find(configuration, from->member_id);
    struct member_view view;

    member_get_view(node->member, &view);
    if (server && strcmp(server->name, from->name) != 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "Member %016llx is %s here, but calls itself %s.",
                           (unsigned long long)from->member_id, server->name, from->name);
    if (!server && named &&
        (from->cluster_id == 0 || view.serving || DEFECT(REPLACED_MEMBER_LOCKED_OUT)))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The name %s belongs to member %016llx, not to %016llx. If its data "
                           "directory is new, remove the member and add it again.",
                           from->name, (unsigned long long)named->id,
                           (unsigned long long)from->member_id);
    return 0;
}

int doors_check_identity(const struct node *node, const struct identity *from,
                         struct failure *failure) {
    const struct known_member *known = find_known(node, from->member_id);
    uint64_t own_cluster = node->identity.cluster_id;

    if (from->member_id == 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT, "A member id is never 0.");
    if (from->member_id == node->identity.member_id)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "This is the node %s itself, or a copy of its data directory.",
                           node->identity.name);
    if (own_cluster != 0 && from->cluster_id != 0 && from->cluster_id != own_cluster)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "This node belongs to cluster %016llx, not to %016llx.",
                           (unsigned long long)own_cluster, (unsigned long long)from->cluster_id);
    if (known && from->incarnation < known->incarnation && !DEFECT(WIPED_UNDER_OLD_ID))
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "Member %s was seen with incarnation %llu and now has %llu: its data "
                           "directory was restored from an older copy. Remove the member, and add "
                           "it again with an empty directory.",
                           from->name, (unsigned long long)known->incarnation,
                           (unsigned long long)from->incarnation);
    return check_against_configuration(node, from, failure);
}

static int check_expected(const struct node *node, uint64_t expected, struct failure *failure) {
    if (expected == 0 || expected == node->identity.member_id)
        return 0;
    return failure_set(
        failure, ERROR_NOT_FOUND,
        "This is member %016llx (%s), not %016llx: its data directory is another one.",
        (unsigned long long)node->identity.member_id, node->identity.name,
        (unsigned long long)expected);
}

/* The leader knows who was removed. Others may not have heard yet of a member that was added. */
static int check_membership(const struct node *node, const struct identity *from,
                            struct failure *failure) {
    struct configuration peers;
    struct member_view view;

    member_get_view(node->member, &view);
    member_peers(node->member, &peers);
    if (configuration_find(&peers, from->member_id))
        return 0;
    if (view.serving)
        return failure_set(failure, ERROR_NOT_FOUND, "%s is not a member of the cluster.",
                           from->name);
    if (node->identity.cluster_id != 0 && from->cluster_id == 0)
        return failure_set(failure, ERROR_NOT_FOUND, "%s has not joined the cluster.", from->name);
    return 0;
}

int node_admit(struct node *node, const struct identity *from, uint64_t expected,
               struct failure *failure) {
    int result = check_expected(node, expected, failure);

    if (result == 0)
        result = doors_check_identity(node, from, failure);
    if (result == 0)
        result = check_membership(node, from, failure);
    if (result == 0)
        remember(node, from);
    return result;
}

int node_check_welcome(struct node *node, const struct identity *from, uint64_t expected,
                       struct failure *failure) {
    int result;

    if (expected != 0 && from->member_id != expected)
        return failure_set(
            failure, ERROR_NOT_FOUND, "Member %016llx (%s) answered there, not %016llx.",
            (unsigned long long)from->member_id, from->name, (unsigned long long)expected);
    result = doors_check_identity(node, from, failure);
    if (result == 0)
        remember(node, from);
    return result;
}

struct adoption {
    struct job job;
    struct node *node;
    int result;
};

int doors_write_cluster(struct node *node) {
    int result;

    if (!node->cluster_unwritten)
        return 0;
    result = directory_set_cluster(&node->directory, node->identity.cluster_id, false);
    node->cluster_unwritten = result < 0;
    return result == -EDQUOT ? -ENOSPC : result;
}

static void run_adoption(struct job *job) {
    struct adoption *adoption = container_of(job, struct adoption, job);

    adoption->node->cluster_unwritten = true;
    adoption->result = doors_write_cluster(adoption->node);
}

static void adoption_done(struct job *job) {
    struct adoption *adoption = container_of(job, struct adoption, job);

    /* Without space the next write to the log, which waits for space, tries again. */
    if (adoption->result < 0 && adoption->result != -ENOSPC)
        storage_fatal(adoption->node, "The cluster's id can't be written", adoption->result);
    free(adoption);
}

/*
 * A node without a cluster takes the id of the one whose leader sends it the first entries, or its
 * state: a leader writes to members only. The log lane is serial, so the id is durable before any
 * of those entries is.
 */
void doors_adopt(struct node *node, uint64_t from) {
    struct adoption *adoption = xcalloc(1, sizeof *adoption);
    struct journal_event event = JOURNAL_EVENT(MESSAGE_CLUSTER_JOINED);

    node->identity.cluster_id = doors_cluster_of(node, from);
    check(node->identity.cluster_id != 0);
    node_event(&event, node, 0, NULL);
    journal_with(LOG_NOTICE, event.fields, "This node joins cluster %016llx.",
                 (unsigned long long)node->identity.cluster_id);
    *adoption = (struct adoption){
        .job = {.run = run_adoption, .done = adoption_done},
        .node = node,
    };
    node->host->submit(node->host, LANE_LOG, &adoption->job);
}

bool doors_is_peer(const struct node *node, uint64_t id) {
    struct configuration peers;

    member_peers(node->member, &peers);
    return configuration_find(&peers, id);
}

static bool comes_from_a_leader(const Raftkv__V1__PeerMessage *message) {
    return message->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES ||
           message->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART;
}

/* A leader whose log does not begin at the beginning any more sends its state instead of the first
 * entries. */
static bool makes_a_member(const struct node *node, uint64_t from,
                           const Raftkv__V1__PeerMessage *message) {
    struct member_view view;

    if (message->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES)
        return message->append_entries->n_entries > 0;
    member_get_view(node->member, &view);
    return view.leader == from;
}

static int receive_raft(struct node *node, uint64_t from, Raftkv__V1__PeerMessage *message,
                        const char **ret_reason) {
    uint64_t cluster = doors_cluster_of(node, from);

    if (node->identity.cluster_id == 0) {
        if (cluster == 0 || !comes_from_a_leader(message))
            return 0;
        if (makes_a_member(node, from, message))
            doors_adopt(node, from);
    } else if (cluster == 0 && !doors_is_peer(node, from)) {
        /* A joiner said hello before it belonged to the cluster; its link has not changed since. */
        *ret_reason = "the sender belongs to no cluster";
        return -EBADMSG;
    } else if (cluster != 0 && cluster != node->identity.cluster_id) {
        *ret_reason = "the sender belongs to another cluster";
        return -EBADMSG;
    }
    if (message->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART)
        staging_receive(node, from, message->snapshot_part);
    else if (message->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_ACK)
        streams_receive_ack(node, from, message->snapshot_ack);
    else
        return member_receive(node->member, from, message, ret_reason);
    return 0;
}

/* ---- farewells ---- */

static void note_forwarded(struct node *node, uint64_t from, uint64_t id) {
    const struct known_member *known = find_known(node, from);

    if (known)
        node->known[known - node->known].last_forward_id = id;
}

static void say_farewell(struct node *node, const struct known_member *known) {
    Raftkv__V1__PeerMessage message = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__Farewell farewell = RAFTKV__V1__FAREWELL__INIT;
    uint8_t *data;
    size_t size;

    farewell.last_forward_id = DEFECT(FAREWELL_TO_ALL) ? 0 : known->last_forward_id;
    farewell.incarnation = node->identity.incarnation;
    message.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_FAREWELL;
    message.farewell = &farewell;
    data = pack(&message.base, 0, &size);
    node->host->send(node->host, known->id, false, data, size);
}

/* One of a former run, which a lost segment has held up, says nothing about this one. */
static void hear_farewell(struct node *node, uint64_t from, const Raftkv__V1__Farewell *farewell) {
    const struct known_member *known = find_known(node, from);

    if (known && known->incarnation == farewell->incarnation)
        service_member_leaves(node->service, from, farewell->last_forward_id);
}

void doors_say_farewell(struct node *node) {
    for (size_t i = 0; i < node->known_count; i++)
        if (!node->known[i].forwards_forgotten && doors_is_peer(node, node->known[i].id))
            say_farewell(node, &node->known[i]);
}

bool doors_all_sent(const struct node *node) {
    for (size_t i = 0; i < node->known_count; i++)
        if (node->host->backlog(node->host, node->known[i].id) > 0)
            return false;
    return true;
}

int node_receive(struct node *node, uint64_t from, const uint8_t *data, size_t size,
                 const char **ret_reason) {
    ProtobufCMessage *base = NULL;
    Raftkv__V1__PeerMessage *message;
    int result = unpack(&raftkv__v1__peer_message__descriptor, data, size, &unpack_peer_limits,
                        &base, ret_reason);

    if (result < 0)
        return -EBADMSG;
    message = (Raftkv__V1__PeerMessage *)base;
    switch (message->body_case) {
    case RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_REQUEST:
        note_forwarded(node, from, message->forward_request->forward_id);
        if (message->forward_request->request)
            service_forward_request(node->service, from, message->forward_request);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_FAREWELL:
        hear_farewell(node, from, message->farewell);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_RESPONSE:
        service_forward_response(node->service, from, message->forward_response);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY__NOT_SET:
        break; /* a newer kind of message */
    default:
        result = receive_raft(node, from, message, ret_reason);
        break;
    }
    protobuf_c_message_free_unpacked(base, NULL);
    return result;
}

void doors_update_peers(struct node *node) {
    struct configuration configuration;
    struct peer peers[MEMBERS_MAX];
    size_t count = 0;

    if (member_peers_version(node->member) == node->peers_version)
        return;
    node->peers_version = member_peers_version(node->member);
    member_peers(node->member, &configuration);
    announce_update_peers(node, &configuration);
    for (size_t i = 0; i < configuration.count; i++) {
        const struct server *server = &configuration.servers[i];

        if (server->id == node->identity.member_id)
            continue;
        peers[count] = (struct peer){.member_id = server->id};
        strcpy(peers[count].address, server->peer_address);
        count++;
    }
    node->host->set_peers(node->host, peers, count);
}
