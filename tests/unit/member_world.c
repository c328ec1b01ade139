#include "member_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "journal_fields.h"

struct world world;

struct world_node *world_node(uint64_t id) {
    assert_in_range(id, 1, WORLD_NODES);
    return &world.nodes[id];
}

static struct world_node *node_of(struct host *host) {
    return container_of(host, struct world_node, host);
}

/* ---- the host ---- */

static uint64_t host_now(struct host *host) {
    (void)host;
    return world.now;
}

static uint64_t host_microseconds(struct host *host) {
    return host_now(host) * 1000;
}

static uint64_t host_random(struct host *host) {
    (void)host;
    world.random = world.random * 6364136223846793005ull + 1442695040888963407ull;
    return world.random >> 16;
}

static void host_submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    (void)lane;
    (void)job;
    fail_msg("a member runs no jobs");
}

static void host_wake_at(struct host *host, uint64_t time) {
    node_of(host)->wake = time;
}

static void host_send(struct host *host, uint64_t to, bool urgent, uint8_t *data, size_t size) {
    struct world_message *message = &world.queue[world.tail % WORLD_QUEUE];

    assert_true(world.tail - world.head < WORLD_QUEUE);
    *message = (struct world_message){
        .from = node_of(host)->identity.member_id,
        .to = to,
        .urgent = urgent,
        .data = data,
        .size = size,
    };
    world.tail++;
}

static size_t host_backlog(struct host *host, uint64_t id) {
    (void)id;
    return node_of(host)->backlog;
}

static bool host_linked(struct host *host, uint64_t id) {
    return !node_of(host)->cut && world_node(id)->member && !world_node(id)->cut;
}

static void host_set_peers(struct host *host, const struct peer *peers, size_t count) {
    (void)host;
    (void)peers;
    (void)count;
}

static void host_identify(struct host *host, const char *address, uint64_t timeout_ms,
                          identify_cb callback, void *data) {
    (void)host;
    (void)timeout_ms;
    world.identify.callback = callback;
    world.identify.data = data;
    snprintf(world.identify.address, sizeof world.identify.address, "%s", address);
}

static void host_fatal(struct host *host, const char *reason) {
    struct world_node *node = node_of(host);

    node->fatal++;
    snprintf(node->fatal_reason, sizeof node->fatal_reason, "%s", reason);
}

/* ---- the effects ---- */

static void effect_persist(void *data, const struct member_write *write) {
    struct world_node *node = data;

    assert_false(node->writing);
    node->writing = true;
    node->write = *write;
    node->writes++;
    if (write->count > node->largest_write)
        node->largest_write = (unsigned)write->count;
}

static void make_durable(struct world_node *node) {
    const struct member_write *write = &node->write;

    if (write->set_vote) {
        node->term = write->term;
        node->vote = write->vote;
    }
    if (write->count == 0)
        return;
    assert_true(write->first_index <= node->last + 1 && write->first_index >= node->first);
    while (node->last >= write->first_index)
        free(node->log[node->last--].data);
    for (size_t i = 0; i < write->count; i++) {
        const struct log_entry *entry = &write->entries[i];

        node->log[++node->last] = (struct world_entry){
            .term = entry->term,
            .type = entry->type,
            .data = xmemdup(entry->data, entry->size),
            .size = entry->size,
        };
    }
}

static void effect_apply(void *data, uint64_t first_index, const struct log_entry *entries,
                         size_t count) {
    struct world_node *node = data;

    assert_false(node->applying);
    assert_int_equal(first_index, node->applied + 1);
    node->applying = true;
    node->apply_first = first_index;
    node->apply_entries = entries;
    node->apply_count = count;
    /* Hazard L5, in every test. */
    for (size_t i = 0; i < count; i++) {
        assert_true(first_index + i <= node->last);
        assert_int_equal(node->log[first_index + i].term, entries[i].term);
        assert_memory_equal(node->log[first_index + i].data, entries[i].data, entries[i].size);
    }
}

static void effect_load(void *data, uint64_t first_index, size_t count, size_t max_bytes,
                        uint64_t cookie) {
    struct world_node *node = data;

    (void)max_bytes;
    for (size_t i = 0; i < 8; i++) {
        if (node->loads[i].used)
            continue;
        node->loads[i] = (struct world_load){true, first_index, cookie, count};
        return;
    }
    fail_msg("too many loads");
}

static void effect_snapshot_wanted(void *data, uint64_t id) {
    struct world_node *node = data;

    node->snapshots_wanted++;
    node->snapshot_wanted_by = id;
}

static void effect_install(void *data, const struct member_mark *mark) {
    struct world_node *node = data;

    assert_false(node->installing || node->applying);
    node->installing = true;
    node->install_mark = mark;
}

static void complete_install(struct world_node *node) {
    for (uint64_t i = node->first; i <= node->last; i++)
        free(node->log[i].data);
    member_mark_deinit(&node->mark);
    node->mark = member_mark_copy(node->install_mark);
    node->first = node->mark.index + 1;
    node->last = node->mark.index;
    node->applied = node->mark.index;
    node->configuration_index = node->mark.configuration_index;
    node->installing = false;
    member_installed(node->member);
}

void world_compact(uint64_t id, uint64_t trailing) {
    struct world_node *node = world_node(id);
    struct member_mark mark;
    uint64_t keep_from;

    assert_true(member_mark_applied(node->member, &mark));
    keep_from = member_compacted(node->member, &mark, trailing, UINT64_MAX, UINT64_MAX);
    assert_int_not_equal(keep_from, 0);
    member_mark_deinit(&node->mark);
    node->mark = mark;
    while (node->first < keep_from)
        free(node->log[node->first++].data);
    member_log_cut(node->member, keep_from);
}

static void effect_changed(void *data) {
    (void)data;
}

/* ---- life ---- */

struct server world_server(uint64_t id, enum member_role role) {
    struct server server = {.id = id, .role = role};

    snprintf(server.name, sizeof server.name, "node%llu", (unsigned long long)id);
    snprintf(server.peer_address, sizeof server.peer_address, "127.0.0.1:%llu",
             (unsigned long long)(5000 + id));
    snprintf(server.client_address, sizeof server.client_address, "127.0.0.1:%llu",
             (unsigned long long)(4000 + id));
    return server;
}

void world_restart(uint64_t id) {
    struct world_node *node = world_node(id);
    struct log_entry *entries = xcalloc(node->last + 1, sizeof *entries);
    struct member_options options = {
        .host = &node->host,
        .effects = &node->effects,
        .identity = &node->identity,
        .election_timeout = ELECTION_MS,
        .heartbeat = HEARTBEAT_MS,
        .cache_size = 1024 * 1024,
        .term = node->term,
        .vote = node->vote,
        .mark_index = node->mark.index,
        .mark_term = node->mark.term,
        .mark_configuration_index = node->mark.configuration_index,
        .mark_configuration = node->mark.configuration,
        .mark_configuration_size = node->mark.configuration_size,
        .first_index = node->first,
        .entries = entries,
        .entry_count = node->last + 1 - node->first,
        .applied_index = node->applied,
    };
    uint64_t term, vote;

    for (uint64_t i = node->first; i <= node->last; i++)
        entries[i - node->first] = (struct log_entry){
            .term = node->log[i].term,
            .type = node->log[i].type,
            .data = node->log[i].data,
            .size = node->log[i].size,
        };
    if (node->configuration_index && node->configuration_index < node->first) {
        options.configuration_index = node->mark.configuration_index;
        options.configuration = node->mark.configuration;
        options.configuration_size = node->mark.configuration_size;
    } else if (node->configuration_index) {
        options.configuration_index = node->configuration_index;
        options.configuration = node->log[node->configuration_index].data;
        options.configuration_size = node->log[node->configuration_index].size;
    }
    assert_int_equal(member_new(&node->member, &options, &term, &vote), 0);
    free(entries);
    node->term = term;
    node->vote = vote;
    assert_int_equal(member_start(node->member), 0);
}

void world_crash(uint64_t id) {
    struct world_node *node = world_node(id);

    node->member = member_free(node->member);
    node->writing = node->applying = node->installing = false;
    memset(node->loads, 0, sizeof node->loads);
}

static void make_node(uint64_t id) {
    struct world_node *node = world_node(id);
    struct server server = world_server(id, MEMBER_VOTER);

    node->host = (struct host){
        .now = host_now,
        .microseconds = host_microseconds,
        .random = host_random,
        .submit = host_submit,
        .wake_at = host_wake_at,
        .send = host_send,
        .backlog = host_backlog,
        .linked = host_linked,
        .set_peers = host_set_peers,
        .identify = host_identify,
        .fatal = host_fatal,
    };
    node->effects = (struct member_effects){
        .data = node,
        .persist = effect_persist,
        .apply = effect_apply,
        .load = effect_load,
        .snapshot_wanted = effect_snapshot_wanted,
        .install = effect_install,
        .changed = effect_changed,
    };
    node->first = 1;
    node->identity = (struct identity){.cluster_id = 77, .member_id = id, .incarnation = 1};
    strcpy(node->identity.name, server.name);
    strcpy(node->identity.peer_address, server.peer_address);
    strcpy(node->identity.client_address, server.client_address);
}

/* All that a member says names its term. */
static void check_message(void *data, int priority, const char *message, const char *const *fields,
                          size_t count) {
    bool named = false;

    (void)data;
    (void)priority;
    for (size_t i = 0; i < count; i++)
        named = named || strncmp(fields[i], "RAFTKV_TERM=", 12) == 0;
    assert_fields_are_documented(message, fields, count);
    if (!named)
        fail_msg("'%s' has no field that names the term", message);
}

void world_start(unsigned nodes, unsigned voters) {
    struct configuration configuration = {.count = 0};

    memset(&world, 0, sizeof world);
    world.now = 100000;
    world.random = 42;
    journal_set_level(LOG_DEBUG);
    journal_set_sink(check_message, NULL, "console");
    for (uint64_t id = 1; id <= voters; id++) {
        struct server server = world_server(id, MEMBER_VOTER);

        configuration_add(&configuration, &server);
    }
    for (uint64_t id = 1; id <= nodes; id++) {
        struct world_node *node = world_node(id);

        make_node(id);
        if (id <= voters) {
            node->term = 1;
            node->last = 1;
            node->log[1].term = 1;
            node->log[1].type = ENTRY_CHANGE;
            configuration_encode(&configuration, &node->log[1].data, &node->log[1].size);
        }
        world_restart(id);
    }
}

void world_stop(void) {
    for (uint64_t id = 1; id <= WORLD_NODES; id++) {
        struct world_node *node = world_node(id);

        assert_int_equal(node->fatal, 0);
        if (node->member)
            world_crash(id);
        for (uint64_t i = node->first ? node->first : 1; i <= node->last; i++)
            free(node->log[i].data);
        member_mark_deinit(&node->mark);
    }
    while (world.head < world.tail)
        free(world.queue[world.head++ % WORLD_QUEUE].data);
}

/* ---- running ---- */

static void deliver(struct world_message *message) {
    struct world_node *to = world_node(message->to);
    ProtobufCMessage *base = NULL;
    Raftkv__V1__PeerMessage *peer;
    const char *reason = NULL;

    assert_int_equal(unpack(&raftkv__v1__peer_message__descriptor, message->data, message->size,
                            &unpack_peer_limits, &base, &reason),
                     0);
    peer = (Raftkv__V1__PeerMessage *)base;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES)
        world.append_messages++;
    if (peer->body_case == RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW)
        world.timeouts_now++;
    if (to->member && !to->cut && !world_node(message->from)->cut &&
        (!world.filter || world.filter(message, peer)))
        assert_int_equal(member_receive(to->member, message->from, peer, &reason), 0);
    protobuf_c_message_free_unpacked(base, NULL);
    free(message->data);
}

static bool complete_load(struct world_node *node) {
    for (size_t i = 0; i < 8; i++) {
        struct world_load load = node->loads[i];
        struct log_entry entries[1024];
        size_t count = 0;

        if (!load.used || node->hold_loads)
            continue;
        node->loads[i].used = false;
        for (; load.first_index >= node->first && count < load.count &&
               load.first_index + count <= node->last;
             count++) {
            struct world_entry *entry = &node->log[load.first_index + count];

            entries[count] = (struct log_entry){entry->term, entry->type, entry->data, entry->size};
        }
        member_loaded(node->member, load.cookie, load.first_index, entries, count);
        return true;
    }
    return false;
}

static bool complete_apply(struct world_node *node) {
    if (!node->applying || node->hold_applies)
        return false;
    node->applying = false;
    node->applied += node->apply_count;
    for (size_t i = 0; i < node->apply_count; i++)
        if (node->apply_entries[i].type == ENTRY_CHANGE)
            node->configuration_index = node->apply_first + i;
    member_applied(node->member, "results", 0);
    return true;
}

static bool complete(struct world_node *node) {
    if (!node->member)
        return false;
    if (node->writing && !node->hold_writes) {
        node->writing = false;
        make_durable(node);
        member_persisted(node->member);
        return true;
    }
    if (node->installing && !node->hold_install) {
        complete_install(node);
        return true;
    }
    return complete_apply(node) || complete_load(node);
}

void world_settle(void) {
    bool busy = true;

    while (busy) {
        busy = world.head < world.tail;
        while (world.head < world.tail) {
            struct world_message message = world.queue[world.head++ % WORLD_QUEUE];

            deliver(&message);
        }
        for (uint64_t id = 1; id <= WORLD_NODES; id++) {
            struct world_node *node = world_node(id);

            do {
                if (node->member)
                    member_flush(node->member);
            } while (complete(node) && (busy = true));
        }
    }
}

bool world_run(bool (*condition)(void), uint64_t ms) {
    uint64_t end = world.now + ms;

    world_settle();
    while (!condition()) {
        if (world.now >= end)
            return false;
        world.now += 5;
        for (uint64_t id = 1; id <= WORLD_NODES; id++) {
            struct member *member = world_node(id)->member;

            if (member && member_deadline(member) <= world.now)
                member_tick(member);
        }
        world_settle();
    }
    return true;
}

static bool never(void) {
    return false;
}

void world_pass(uint64_t ms) {
    world_run(never, ms);
}

uint64_t world_leader(void) {
    uint64_t leader = 0, term = 0;

    for (uint64_t id = 1; id <= WORLD_NODES; id++) {
        struct member *member = world_node(id)->member;
        struct member_view view;

        if (!member)
            continue;
        member_get_view(member, &view);
        if (view.serving && view.term > term) {
            leader = id;
            term = view.term;
        }
    }
    return leader;
}

bool world_has_leader(void) {
    return world_leader() != 0;
}

/* ---- proposals and changes ---- */

static void proposal_done(struct proposal *proposal, const struct failure *failure,
                          const void *result) {
    struct world_proposal *self = container_of(proposal, struct world_proposal, proposal);

    (void)result;
    assert_false(self->done);
    self->done = true;
    self->applied = !failure;
    if (failure)
        self->failure = *failure;
}

static void propose(uint64_t id, struct world_proposal *proposal, bool grows) {
    *proposal = (struct world_proposal){
        .proposal = {.data = xmemdup("command!", 8),
                     .size = 8,
                     .type = ENTRY_COMMAND,
                     .grows = grows,
                     .done = proposal_done},
    };
    member_propose(world_node(id)->member, &proposal->proposal);
}

void world_propose(uint64_t id, struct world_proposal *proposal) {
    propose(id, proposal, false);
}

void world_propose_growth(uint64_t id, struct world_proposal *proposal) {
    propose(id, proposal, true);
}

static void change_done(struct change *change, const struct failure *failure, uint64_t index,
                        const char *leader) {
    struct world_change *self = container_of(change, struct world_change, change);

    assert_false(self->done);
    self->done = true;
    self->succeeded = !failure;
    self->index = index;
    if (failure)
        self->failure = *failure;
    snprintf(self->leader, sizeof self->leader, "%s", leader ? leader : "");
}

static void begin_change(uint64_t id, struct world_change *change, enum change_kind kind,
                         const char *name, bool force) {
    *change = (struct world_change){
        .change = {.kind = kind,
                   .force = force,
                   .deadline = world.now + 20000,
                   .done = change_done},
    };
    snprintf(change->change.name, sizeof change->change.name, "%s", name);
    if (kind == CHANGE_ADD_VOTER || kind == CHANGE_ADD_NONVOTER) {
        struct server server = world_server((uint64_t)(name[4] - '0'), MEMBER_VOTER);

        strcpy(change->change.peer_address, server.peer_address);
    }
    member_change(world_node(id)->member, &change->change);
}

void world_change(uint64_t id, struct world_change *change, enum change_kind kind,
                  const char *name) {
    begin_change(id, change, kind, name, false);
}

void world_force_change(uint64_t id, struct world_change *change, enum change_kind kind,
                        const char *name) {
    begin_change(id, change, kind, name, true);
}
