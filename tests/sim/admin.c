#include "admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "node/node_internal.h"
#include "oracle.h"
#include "proto/unpack.h"
#include "raft/member_internal.h"
#include "service/service.h"

enum { STEP = 200 * MS };

enum wish { WISH_ADD, WISH_ACCEPT, WISH_REJECT, WISH_REMOVE, WISH_DEMOTE, WISH_TRANSFER };

/* Stays in memory until it was answered. */
struct wished {
    enum wish wish;
    struct machine *subject;
    struct machine *asked;
    bool lost;
};

static struct {
    unsigned voters;
    bool changes, formed, stopped;
    struct wished *under_way;
    struct machine *wiped; /* to be replaced */
    uint64_t wiped_id;     /* its member's before */
    struct happening happening;
    struct admin_figures figures;
} admin;

/* ---- what there is ---- */

struct machine *admin_any_member(void) {
    unsigned first = (unsigned)chance_below(machine_count);

    for (unsigned i = 0; i < machine_count; i++) {
        struct machine *machine = &machines[(first + i) % machine_count + 1];
        struct member_view view;

        if (!machine_up(machine))
            continue;
        member_get_view(node_member(machine->node), &view);
        if (view.role != MEMBER_NONE)
            return machine;
    }
    return NULL;
}

static const struct configuration *committed_configuration(void) {
    const struct machine *leader = oracle_leader();

    return leader ? member_configuration(node_member(leader->node)) : NULL;
}

static bool is_voter(const struct configuration *configuration, const struct machine *machine) {
    const struct server *server =
        configuration ? configuration_find_name(configuration, machine->name) : NULL;

    return server && server->role == MEMBER_VOTER && server->id != admin.wiped_id;
}

/* ---- requests ---- */

static void judge(const struct wished *wished, const Raftkv__V1__Response *response) {
    const struct configuration *configuration;
    const struct server *server;

    if (response->body_case != RAFTKV__V1__RESPONSE__BODY_CONFIGURATION)
        return;
    configuration = oracle_configuration(response->configuration->configuration_index);
    must(configuration, "a change was answered with index %" PRIu64 ", which is no configuration",
         response->configuration->configuration_index);
    server = configuration_find_name(configuration, wished->subject->name);
    if (wished->wish == WISH_ADD || wished->wish == WISH_ACCEPT)
        must(server && server->role == MEMBER_VOTER, "%s was added, but is no voter at %" PRIu64,
             wished->subject->name, configuration->index);
    else if (wished->wish == WISH_DEMOTE)
        must(server && server->role == MEMBER_STANDBY, "%s was demoted, but is no standby",
             wished->subject->name);
    else
        must(!server, "%s was removed, but is there", wished->subject->name);
}

static void answered(void *data, const Raftkv__V1__Response *response) {
    struct wished *wished = data;

    if (!wished->lost) {
        record("admin = %d", response->error ? (int)response->error->code : 0);
        if (response->error)
            remark("%s", response->error->message);
        else
            admin.figures.done++;
        judge(wished, response);
        admin.figures.accepted += wished->wish == WISH_ACCEPT && !response->error;
        admin.under_way = NULL;
    }
    free(wished);
}

static void fill(Raftkv__V1__Request *message, enum wish wish, struct machine *subject,
                 uint64_t expected) {
    static Raftkv__V1__AddVoterRequest add;
    static Raftkv__V1__AcceptRequest accept;
    static Raftkv__V1__RejectRequest reject;
    static Raftkv__V1__RemoveServerRequest remove;
    static Raftkv__V1__DemoteVoterRequest demote;
    static Raftkv__V1__TransferLeadershipRequest transfer;

    raftkv__v1__add_voter_request__init(&add);
    raftkv__v1__accept_request__init(&accept);
    raftkv__v1__reject_request__init(&reject);
    raftkv__v1__remove_server_request__init(&remove);
    raftkv__v1__demote_voter_request__init(&demote);
    raftkv__v1__transfer_leadership_request__init(&transfer);
    add.name = remove.name = demote.name = accept.name = reject.name = subject->name;
    transfer.name = chance_one_in(3) ? "" : subject->name;
    add.peer_address = subject->address;
    add.expected_configuration_index = remove.expected_configuration_index = expected;
    demote.expected_configuration_index = accept.expected_configuration_index = expected;
    switch (wish) {
    case WISH_ADD:
        message->body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
        message->add_voter = &add;
        break;
    case WISH_ACCEPT:
        message->body_case = RAFTKV__V1__REQUEST__BODY_ACCEPT;
        message->accept = &accept;
        break;
    case WISH_REJECT:
        message->body_case = RAFTKV__V1__REQUEST__BODY_REJECT;
        message->reject = &reject;
        break;
    case WISH_REMOVE:
        message->body_case = RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER;
        message->remove_server = &remove;
        break;
    case WISH_DEMOTE:
        message->body_case = RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER;
        message->demote_voter = &demote;
        break;
    case WISH_TRANSFER:
        message->body_case = RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP;
        message->transfer_leadership = &transfer;
        break;
    }
}

static void ask(enum wish wish, struct machine *subject) {
    static const char *const words[] = {"add",    "accept", "reject",
                                        "remove", "demote", "transfer to"};
    struct machine *asked = admin_any_member();
    const struct configuration *configuration = committed_configuration();
    struct wished *wished;
    Raftkv__V1__Request message;
    ProtobufCMessage *unpacked = NULL;
    const char *reason = "";
    uint8_t *data;
    size_t size;

    if (!asked)
        return;
    raftkv__v1__request__init(&message);
    message.timeout_ms = (uint32_t)chance_latency(1000, 20 * 1000);
    fill(&message, wish, subject,
         configuration && chance_one_in(4) ? configuration->index - chance_one_in(4) : 0);
    data = pack(&message.base, 0, &size);
    must(unpack(&raftkv__v1__request__descriptor, data, size, &unpack_client_limits, &unpacked,
                &reason) == 0,
         "a request does not unpack: %s", reason);
    free(data);
    wished = xcalloc(1, sizeof *wished);
    *wished = (struct wished){.wish = wish, .subject = subject, .asked = asked};
    admin.under_way = wished;
    admin.figures.asked++;
    record("admin %s: %s %s", asked->name, words[wish], subject->name);
    service_handle(node_service(asked->node), (Raftkv__V1__Request *)unpacked, answered, wished);
    machine_turn(asked);
}

void admin_lose(struct machine *machine) {
    if (!admin.under_way || admin.under_way->asked != machine)
        return;
    admin.under_way->lost = true;
    admin.under_way = NULL;
}

/* ---- what is wanted ---- */

/* One that may ask for it is waited for at times, and accepted at times though it does not ask. */
static void add(struct machine *subject) {
    if (!subject->joins || chance_one_in(4))
        ask(WISH_ADD, subject);
    else if (subject->heard_until > world_now() || chance_one_in(8))
        ask(WISH_ACCEPT, subject);
}

static void replace_wiped(const struct configuration *configuration) {
    const struct node *node = admin.wiped->node;

    /* Who comes back as the one that he was is not replaced: that he must not be, others have to
     * find out. */
    if (node && node_identity(node)->member_id == admin.wiped_id) {
        admin.wiped = NULL;
        admin.wiped_id = 0;
        return;
    }
    if (configuration_find(configuration, admin.wiped_id)) {
        ask(WISH_REMOVE, admin.wiped);
    } else if (is_voter(configuration, admin.wiped)) {
        record("%s is replaced", admin.wiped->name);
        admin.wiped = NULL;
        admin.wiped_id = 0;
    } else {
        add(admin.wiped);
    }
}

static void form(const struct configuration *configuration) {
    for (unsigned i = 2; i <= admin.voters; i++)
        if (!is_voter(configuration, &machines[i])) {
            add(&machines[i]);
            return;
        }
    admin.formed = true;
}

static void change(void) {
    struct machine *subject = &machines[chance_between(1, machine_count)];
    uint64_t die = chance_below(10);

    if (subject->joins && chance_one_in(10))
        ask(WISH_REJECT, subject);
    else if (die < 5)
        add(subject);
    else if (die < 7)
        ask(WISH_REMOVE, subject);
    else if (die < 8)
        ask(WISH_DEMOTE, subject);
    else
        ask(WISH_TRANSFER, subject);
}

static void step(struct happening *happening) {
    const struct configuration *configuration = committed_configuration();

    world_after(chance_between(STEP / 2, STEP), happening, step);
    if (admin.under_way || !configuration)
        return;
    if (admin.wiped)
        replace_wiped(configuration);
    else if (!admin.formed)
        form(configuration);
    else if (admin.changes && !admin.stopped && chance_one_in(10))
        change();
}

void admin_start(unsigned voters, bool changes) {
    admin.voters = voters;
    admin.changes = changes;
    world_after(STEP, &admin.happening, step);
}

bool admin_formed(void) {
    return admin.formed;
}

void admin_stop(void) {
    admin.stopped = true;
}

bool admin_settled(void) {
    return admin.formed && !admin.wiped && !admin.under_way;
}

/* ---- wiped disks ---- */

bool admin_may_wipe(const struct machine *machine) {
    const struct machine *leader = oracle_leader();
    const struct configuration *configuration = committed_configuration();
    const struct member *member;

    if (!leader || !admin.formed || admin.wiped || admin.under_way || admin.stopped)
        return false;
    if (machine->wiping)
        return false;
    member = node_member(leader->node);
    if (member->change || member->raft.configuration_uncommitted_index != 0 ||
        promotion_under_way(member))
        return false;
    return !configuration_find_name(configuration, machine->name) ||
           configuration_voters(configuration) >= 3;
}

void admin_wiped(struct machine *machine) {
    const struct configuration *configuration = committed_configuration();
    const struct server *server = configuration_find_name(configuration, machine->name);

    admin.figures.wiped++;
    if (!server)
        return;
    admin.wiped = machine;
    admin.wiped_id = server->id;
}

const struct admin_figures *admin_figures(void) {
    return &admin.figures;
}
