#include "node_world.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal_fields.h"
#include "raft/member_internal.h"
#include "test_directories.h"

struct world world;

struct world_message {
    struct world_message *next;
    unsigned from, to;
    bool urgent;
    uint8_t *data;
    size_t size;
};

/* A direction between two nodes. */
struct world_link {
    bool cut, up;
    uint64_t member_id; /* of the one that dialled */
    uint64_t retry_at;
};

static struct world_link links[WORLD_NODES + 1][WORLD_NODES + 1];
static struct world_message *messages, **messages_end = &messages;
static char directory[64];

struct asking {
    struct asking *next;
    unsigned asker, asked; /* 0: nobody */
    identify_cb identify;  /* one of the two is set */
    announce_cb announce;
    void *data;
};
static struct asking *askings;

static struct world_node *node_of(struct host *host) {
    return container_of(host, struct world_node, host);
}

static uint64_t chance(void) {
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return world.random;
}

static bool may_happen(void) {
    return !world.jitter || chance() % 2 == 0;
}

static bool is_up(const struct world_node *node) {
    return node->node && !node->ghost && !node->fatal;
}

/* ---- the host ---- */

static uint64_t host_now(struct host *host) {
    return world.now + node_of(host)->time_ahead;
}

static uint64_t host_microseconds(struct host *host) {
    return host_now(host) * 1000;
}

static uint64_t host_random(struct host *host) {
    (void)host;
    return chance();
}

static void host_submit(struct host *host, enum lane number, struct job *job) {
    struct world_lane *lane = &node_of(host)->lanes[number];

    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
}

static void host_wake_at(struct host *host, uint64_t time) {
    node_of(host)->wake = time;
}

static struct world_node *find_member(uint64_t id) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (is_up(&world.nodes[i]) && node_identity(world.nodes[i].node)->member_id == id)
            return &world.nodes[i];
    return NULL;
}

static struct world_link *find_link(struct host *host, uint64_t id) {
    const struct world_node *from = node_of(host), *to = find_member(id);

    if (from->ghost || !to || !links[from->number][to->number].up)
        return NULL;
    return &links[from->number][to->number];
}

static void host_send(struct host *host, uint64_t id, bool urgent, uint8_t *data, size_t size) {
    struct world_message *message;

    if (!find_link(host, id)) {
        free(data);
        return;
    }
    message = xmalloc(sizeof *message);
    *message = (struct world_message){
        .from = node_of(host)->number,
        .to = find_member(id)->number,
        .urgent = urgent,
        .data = data,
        .size = size,
    };
    *messages_end = message;
    messages_end = &message->next;
}

static size_t host_backlog(struct host *host, uint64_t id) {
    const struct world_node *to = find_member(id);
    size_t size = 0;

    for (const struct world_message *m = messages; m && to; m = m->next)
        if (!m->urgent && m->from == node_of(host)->number && m->to == to->number)
            size += m->size;
    return size;
}

static bool host_linked(struct host *host, uint64_t id) {
    return find_link(host, id);
}

static void host_set_peers(struct host *host, const struct peer *peers, size_t count) {
    struct world_node *node = node_of(host);

    memcpy(node->peers, peers, count * sizeof *peers);
    node->peer_count = count;
}

static struct world_node *find_address(const char *address) {
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (strcmp(world.nodes[i].address, address) == 0)
            return &world.nodes[i];
    return NULL;
}

static struct asking *inquire(struct host *host, const char *address, void *data) {
    const struct world_node *asked = find_address(address);
    struct asking *asking = xmalloc(sizeof *asking);

    *asking = (struct asking){
        .next = askings,
        .asker = node_of(host)->number,
        .asked = asked ? asked->number : 0,
        .data = data,
    };
    askings = asking;
    return asking;
}

static void host_identify(struct host *host, const char *address, uint64_t timeout_ms,
                          identify_cb callback, void *data) {
    (void)timeout_ms;
    inquire(host, address, data)->identify = callback;
}

static void host_announce(struct host *host, const char *address, uint64_t timeout_ms,
                          announce_cb callback, void *data) {
    (void)timeout_ms;
    if (!node_of(host)->ghost)
        inquire(host, address, data)->announce = callback;
}

static void host_fatal(struct host *host, const char *reason) {
    struct world_node *node = node_of(host);

    if (node->ghost || node->fatal)
        return;
    node->fatal = true;
    snprintf(node->fatal_reason, sizeof node->fatal_reason, "%s", reason);
}

/* ---- links ---- */

static void break_link(unsigned from, unsigned to) {
    links[from][to].up = false;
    for (struct world_message **p = &messages; *p;) {
        struct world_message *message = *p;

        if (message->from != from || message->to != to) {
            p = &message->next;
            continue;
        }
        *p = message->next;
        free(message->data);
        free(message);
    }
    for (messages_end = &messages; *messages_end; messages_end = &(*messages_end)->next)
        ;
}

void world_break_link(unsigned a, unsigned b) {
    break_link(a, b);
    break_link(b, a);
}

void world_isolate(unsigned number, bool isolated) {
    for (unsigned i = 1; i <= WORLD_NODES; i++) {
        if (i == number)
            continue;
        links[i][number].cut = links[number][i].cut = isolated;
        if (isolated)
            world_break_link(i, number);
    }
}

static const struct peer *find_peer(const struct world_node *from, const struct world_node *to) {
    for (size_t i = 0; i < from->peer_count; i++)
        if (strcmp(from->peers[i].address, to->address) == 0)
            return &from->peers[i];
    return NULL;
}

/* As src/rpc does: whom the configuration names is dialled, and who dialled is dialled back. */
static bool connect_nodes(struct world_node *from, struct world_node *to) {
    struct world_link *link = &links[from->number][to->number];
    const struct peer *peer = find_peer(from, to);
    const struct world_link *back = &links[to->number][from->number];
    uint64_t expected = peer ? peer->member_id : back->member_id;
    struct failure failure;

    if (link->up && !peer && !back->up)
        break_link(from->number, to->number);
    if (link->up || link->cut || world.now < link->retry_at || (!peer && !back->up))
        return false;
    link->retry_at = world.now + 50;
    if (node_admit(to->node, node_identity(from->node), expected, &failure) != 0 ||
        node_check_welcome(from->node, node_identity(to->node), expected, &failure) != 0)
        return false;
    link->member_id = node_identity(from->node)->member_id;
    link->up = true;
    node_flush(to->node);
    node_flush(from->node);
    return true;
}

static bool connect_all(void) {
    bool any = false;

    for (unsigned i = 1; i <= WORLD_NODES; i++)
        for (unsigned k = 1; k <= WORLD_NODES; k++)
            if (i != k && is_up(&world.nodes[i]) && is_up(&world.nodes[k]))
                any = connect_nodes(&world.nodes[i], &world.nodes[k]) || any;
    return any;
}

static void fail_asking(struct asking *asking, const char *reason) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE, "%s", reason);
    if (asking->identify)
        asking->identify(asking->data, NULL, &failure);
    else
        asking->announce(asking->data, NULL, &failure);
}

static bool answer_askings(void) {
    struct asking *asking = askings;
    struct world_node *asker, *asked;
    struct announce_reply reply;

    if (!asking)
        return false;
    askings = asking->next;
    asker = &world.nodes[asking->asker];
    asked = &world.nodes[asking->asked];
    if (asking->asked == 0 || !is_up(asked) || links[asker->number][asked->number].cut) {
        fail_asking(asking, "Nobody answers there.");
    } else if (asking->identify) {
        asking->identify(asking->data, node_identity(asked->node), NULL);
    } else {
        node_announced(asked->node, node_identity(asker->node), &reply);
        asking->announce(asking->data, &reply, NULL);
    }
    if (is_up(asker))
        node_flush(asker->node);
    free(asking);
    return true;
}

/* ---- messages ---- */

/* Lets the filter look, and change what it likes. */
static bool passes(struct world_message *message) {
    ProtobufCMessage *base = NULL;
    Raftkv__V1__PeerMessage *peer;
    const char *reason;
    bool result;

    if (!world.filter)
        return true;
    assert_int_equal(unpack(&raftkv__v1__peer_message__descriptor, message->data, message->size,
                            &unpack_peer_limits, &base, &reason),
                     0);
    peer = (Raftkv__V1__PeerMessage *)base;
    result = world.filter(message->from, message->to, peer);
    free(message->data);
    message->data = pack(&peer->base, 0, &message->size);
    protobuf_c_message_free_unpacked(base, NULL);
    return result;
}

static void deliver(struct world_message *message) {
    struct world_node *to = &world.nodes[message->to];
    const char *reason = "";

    if (!is_up(to) || !passes(message) || !is_up(to))
        return;
    if (node_receive(to->node, links[message->from][message->to].member_id, message->data,
                     message->size, &reason) != 0) {
        if (!world.breach_expected)
            fail_msg("%s calls a message of %s a breach: %s", to->name,
                     world.nodes[message->from].name, reason);
        world.breaches++;
        break_link(message->from, message->to);
    }
    if (is_up(to))
        node_flush(to->node);
}

static bool deliver_next(void) {
    struct world_message *message = messages;

    if (!message)
        return false;
    messages = message->next;
    if (!messages)
        messages_end = &messages;
    deliver(message);
    free(message->data);
    free(message);
    return true;
}

/* ---- lanes ---- */

static bool begin_job(struct world_lane *lane) {
    struct job *job = lane->first;

    if (!job || lane->running)
        return false;
    lane->first = job->next;
    if (!lane->first)
        lane->last = &lane->first;
    lane->running = job;
    job->run(job);
    return true;
}

static bool end_job(struct world_node *node, struct world_lane *lane) {
    struct job *job = TAKE(lane->running);

    if (!job)
        return false;
    job->done(job);
    if (is_up(node))
        node_flush(node->node);
    return true;
}

bool world_run_job(unsigned number, enum lane which) {
    struct world_node *node = &world.nodes[number];
    struct world_lane *lane = &node->lanes[which];

    if (!lane->running && !begin_job(lane))
        return false;
    return end_job(node, lane);
}

static bool run_lanes(struct world_node *node) {
    bool any = false;

    for (int i = 0; i < LANE_COUNT && is_up(node); i++) {
        struct world_lane *lane = &node->lanes[i];

        if (!lane->running && !lane->held && lane->first) {
            any = true;
            if (may_happen())
                begin_job(lane);
        }
        if (lane->running) {
            any = true;
            if (may_happen())
                end_job(node, lane);
        }
    }
    return any;
}

/* ---- time ---- */

static bool turn(void) {
    bool any = connect_all() || answer_askings();

    for (unsigned i = 1; i <= WORLD_NODES; i++)
        any = run_lanes(&world.nodes[i]) || any;
    for (unsigned i = 0; i < 64 && messages; i++) {
        any = true;
        if (!may_happen())
            break;
        deliver_next();
    }
    for (unsigned i = 1; i <= WORLD_NODES; i++) {
        struct world_node *node = &world.nodes[i];

        if (is_up(node) && node->wake <= world.now) {
            node->wake = UINT64_MAX;
            node_tick(node->node);
        }
    }
    return any;
}

void world_settle(void) {
    for (int i = 0; i < 100000; i++)
        if (!turn())
            return;
    fail_msg("the nodes never come to rest");
}

static uint64_t next_time(uint64_t end) {
    uint64_t next = world.now + 25 < end ? world.now + 25 : end;

    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (is_up(&world.nodes[i]) && world.nodes[i].wake < next)
            next = world.nodes[i].wake;
    return next > world.now ? next : world.now + 1;
}

bool world_run(bool (*condition)(void), uint64_t ms) {
    uint64_t end = world.now + ms;

    for (;;) {
        for (int i = 0;; i++) {
            bool any = turn();

            if (condition && condition())
                return true;
            /* With jitter, lanes and links take time. */
            if (!any || world.jitter)
                break;
            if (i == 100000)
                fail_msg("the nodes never come to rest");
        }
        if (world.now >= end)
            return false;
        world.now = world.jitter ? world.now + 1 + chance() % 3 : next_time(end);
    }
}

void world_pass(uint64_t ms) {
    world_run(NULL, ms);
}

/* ---- life ---- */

struct node *world_node(unsigned number) {
    return world.nodes[number].node;
}

void world_boot(unsigned number) {
    struct world_node *node = &world.nodes[number];
    struct node_options options = {
        .name = node->name,
        .data_directory = node->directory,
        .peer_address = node->address,
        .client_address = node->client_address,
        .bootstrap = node->bootstrap,
        .election_timeout = WORLD_ELECTION_MS,
        .heartbeat = WORLD_HEARTBEAT_MS,
        .state_cache_size = 256 * 1024,
        .trailing_entries = 1,
        .snapshot_chunk_bytes = WORLD_CHUNK_BYTES,
        .log_file_size = 64 * 1024,
        .reserve_bytes = 1,
    };
    struct failure failure = {0};

    assert_null(node->node);
    node->fatal = node->ghost = false;
    node->wake = UINT64_MAX;
    node->peer_count = 0;
    if (node_open(&node->node, &node->host, &options, &failure) != 0)
        fail_msg("%s does not start: %s", node->name, failure.message);
}

/* Brings everything that is under way to its end. */
static void drain(struct world_node *node) {
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < LANE_COUNT; i++) {
            begin_job(&node->lanes[i]);
            busy = end_job(node, &node->lanes[i]) || busy;
        }
    }
}

static void leave_askings(unsigned number) {
    for (struct asking **p = &askings; *p;) {
        struct asking *asking = *p;

        if (asking->asker != number) {
            p = &asking->next;
            continue;
        }
        *p = asking->next;
        fail_asking(asking, "This node is being stopped.");
        free(asking);
    }
}

/* What has failed for good is never reported as done: a real process ends without closing. */
static void forget_work(struct member *member) {
    member->write_under_way = member->applying = member->loading_for_apply = false;
    for (size_t i = 0; i < member->sender_count; i++)
        member->senders[i].loading = false;
}

static void bury(struct world_node *node) {
    unsigned number = node->number;

    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (i != number)
            world_break_link(i, number);
    node->ghost = true;
    leave_askings(number);
    drain(node);
    for (int i = 0; i < 10 && storage_busy(node->node); i++) {
        node->time_ahead += 4000 * 1000;
        node_tick(node->node);
        drain(node);
    }
    forget_work(node->node->member);
    node->node = node_close(node->node);
    leave_askings(number);
    for (int i = 0; i < LANE_COUNT; i++) {
        assert_null(node->lanes[i].first);
        node->lanes[i].held = false;
    }
    node->time_ahead = 0;
}

void world_kill(unsigned number) {
    struct world_node *node = &world.nodes[number];
    _cleanup_free_ char *copy = xasprintf("%s.copy", node->directory);

    world_empty_disk(number);
    copy_directory(node->directory, copy);
    bury(node);
    remove_tree(node->directory);
    assert_int_equal(rename(copy, node->directory), 0);
}

void world_wipe(unsigned number) {
    struct world_node *node = &world.nodes[number];

    bury(node);
    remove_tree(node->directory);
    node->bootstrap = false;
}

static bool stopped;

static void note_stopped(void *data) {
    (void)data;
    stopped = true;
}

static bool has_stopped(void) {
    return stopped;
}

bool world_shut_down(unsigned number) {
    struct world_node *node = &world.nodes[number];

    stopped = false;
    node_stop(node->node, 5000, note_stopped, NULL);
    if (!world_run(has_stopped, 10000))
        return false;
    drain(node); /* as the daemon waits for the lanes */
    assert_true(!storage_busy(node->node) || storage_waits(node->node));
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (i != number)
            world_break_link(i, number);
    node->ghost = true;
    leave_askings(number);
    node->node = node_close(node->node);
    return true;
}

static void check_journal(void *data, int priority, const char *message, const char *const *fields,
                          size_t count) {
    bool named = strstr(message, "disk") != NULL; /* nobody but this node */

    (void)data;
    for (size_t i = 0; i < count; i++)
        named = named || strncmp(fields[i], "RAFTKV_TERM=", 12) == 0 ||
                strncmp(fields[i], "RAFTKV_CLUSTER=", 15) == 0;
    assert_fields_are_documented(message, fields, count);
    if (!named)
        fail_msg("'%s' has no field that names the term or the cluster", message);
    if (getenv("RAFTKV_TEST_JOURNAL"))
        fprintf(stderr, "%8llu <%d> %s\n", (unsigned long long)world.now, priority, message);
}

static void init_node(struct world_node *node, unsigned number) {
    *node = (struct world_node){
        .number = number,
        .host = {.now = host_now,
                 .microseconds = host_microseconds,
                 .random = host_random,
                 .submit = host_submit,
                 .wake_at = host_wake_at,
                 .send = host_send,
                 .backlog = host_backlog,
                 .linked = host_linked,
                 .set_peers = host_set_peers,
                 .identify = host_identify,
                 .announce = host_announce,
                 .fatal = host_fatal},
        .bootstrap = number == 1,
        .wake = UINT64_MAX,
    };
    for (int i = 0; i < LANE_COUNT; i++)
        node->lanes[i].last = &node->lanes[i].first;
    snprintf(node->name, sizeof node->name, "n%u", number);
    snprintf(node->address, sizeof node->address, "127.0.0.1:%u", 5000 + number);
    snprintf(node->client_address, sizeof node->client_address, "127.0.0.1:%u", 4000 + number);
    snprintf(node->directory, sizeof node->directory, "%s/%u", directory, number);
    world_disks[number] = (struct world_disk){.part = "/"};
    snprintf(world_disks[number].prefix, sizeof world_disks[number].prefix, "%s/%u/", directory,
             number);
}

static bool has_leader(void) {
    return world_leader() != 0;
}

void world_start(unsigned nodes) {
    const char *parent = getenv("TMPDIR");

    journal_set_sink(check_journal, NULL, "console");
    world_disks_init();
    world = (struct world){.now = 1000, .random = 88172645463325252ULL};
    memset(links, 0, sizeof links);
    snprintf(directory, sizeof directory, "%s/raftkv-node-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        init_node(&world.nodes[i], i);
    for (unsigned i = 1; i <= nodes; i++)
        world_boot(i);
    assert_true(world_run(has_leader, 10000));
    for (unsigned i = 2; i <= nodes; i++)
        assert_int_equal(world_add_voter(world_leader(), i), ERROR_OK);
    assert_true(world_run(world_agrees, 10000));
}

void world_stop(void) {
    for (unsigned i = 1; i <= WORLD_NODES; i++) {
        world_empty_disk(i);
        if (world.nodes[i].node)
            bury(&world.nodes[i]);
    }
    assert_null(messages);
    remove_tree(directory);
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (world.nodes[i].fatal)
            fail_msg("%s ended: %s", world.nodes[i].name, world.nodes[i].fatal_reason);
}

/* ---- looking ---- */

unsigned world_leader(void) {
    unsigned leader = 0;
    uint64_t term = 0;

    for (unsigned i = 1; i <= WORLD_NODES; i++) {
        struct member_view view;

        if (!is_up(&world.nodes[i]))
            continue;
        member_get_view(world.nodes[i].node->member, &view);
        if (view.serving && view.term > term) {
            leader = i;
            term = view.term;
        }
    }
    return leader;
}

uint64_t world_applied(unsigned number) {
    struct member_view view;

    member_get_view(world.nodes[number].node->member, &view);
    return view.applied_index;
}

bool world_agrees(void) {
    unsigned leader = world_leader();
    uint64_t hash = 0, other;

    if (leader == 0)
        return false;
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (is_up(&world.nodes[i]) &&
            (world_applied(i) != world_applied(leader) || storage_busy(world.nodes[i].node)))
            return false;
    assert_int_equal(state_hash(world.nodes[leader].node->state, &hash), 0);
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (is_up(&world.nodes[i])) {
            assert_int_equal(state_hash(world.nodes[i].node->state, &other), 0);
            assert_int_equal(other, hash);
        }
    return true;
}

/* ---- asking ---- */

static bool answered;
static enum error_code answered_code;

static void note_answer(void *data, const Raftkv__V1__Response *response) {
    (void)data;
    answered = true;
    answered_code = response->error ? (enum error_code)response->error->code : ERROR_OK;
}

static bool is_answered(void) {
    return answered;
}

static void begin_to_ask(unsigned number, Raftkv__V1__Request *request) {
    ProtobufCMessage *unpacked = NULL;
    const char *reason = "";
    uint8_t *data;
    size_t size;

    data = pack(&request->base, 0, &size);
    assert_int_equal(unpack(&raftkv__v1__request__descriptor, data, size, &unpack_client_limits,
                            &unpacked, &reason),
                     0);
    free(data);
    answered = false;
    service_handle(node_service(world.nodes[number].node), (Raftkv__V1__Request *)unpacked,
                   note_answer, NULL);
    node_flush(world.nodes[number].node);
}

static enum error_code ask(unsigned number, Raftkv__V1__Request *request) {
    begin_to_ask(number, request);
    assert_true(world_run(is_answered, 30000));
    return answered_code;
}

int world_answer(void) {
    return answered ? (int)answered_code : -1;
}

static ProtobufCBinaryData bytes(const char *text) {
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

void world_begin_put(unsigned number, const char *key, size_t value_size) {
    _cleanup_free_ uint8_t *value = xmalloc(value_size);
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;

    for (size_t i = 0; i < value_size; i++)
        value[i] = (uint8_t)chance();
    put.key = bytes(key);
    put.value = (ProtobufCBinaryData){value_size, value};
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &put;
    begin_to_ask(number, &request);
}

enum error_code world_put(unsigned number, const char *key, size_t value_size) {
    world_begin_put(number, key, value_size);
    assert_true(world_run(is_answered, 30000));
    return answered_code;
}

enum error_code world_delete(unsigned number, const char *key) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__DeleteRequest delete = RAFTKV__V1__DELETE_REQUEST__INIT;

    delete.key = bytes(key);
    request.body_case = RAFTKV__V1__REQUEST__BODY_DELETE;
    request.delete_ = &delete;
    return ask(number, &request);
}

enum error_code world_compact(unsigned number) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__SnapshotRequest snapshot = RAFTKV__V1__SNAPSHOT_REQUEST__INIT;

    request.body_case = RAFTKV__V1__REQUEST__BODY_SNAPSHOT;
    request.snapshot = &snapshot;
    return ask(number, &request);
}

enum error_code world_add_voter(unsigned number, unsigned added) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__AddVoterRequest add;

    raftkv__v1__add_voter_request__init(&add);
    add.name = world.nodes[added].name;
    add.peer_address = world.nodes[added].address;
    request.body_case = RAFTKV__V1__REQUEST__BODY_ADD_VOTER;
    request.add_voter = &add;
    return ask(number, &request);
}

enum error_code world_remove(unsigned number, unsigned removed) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__RemoveServerRequest remove_request;

    raftkv__v1__remove_server_request__init(&remove_request);
    remove_request.name = world.nodes[removed].name;
    request.body_case = RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER;
    request.remove_server = &remove_request;
    return ask(number, &request);
}

void world_leave_behind(unsigned number, unsigned first, unsigned count) {
    world_pass(1000); /* earlier streams end */
    world_isolate(number, true);
    world_fill(first, count, 3000);
    world_pass(3000); /* until what was under way to it is forgotten */
    for (unsigned i = 1; i <= WORLD_NODES; i++)
        if (i != number && is_up(&world.nodes[i]))
            assert_int_equal(world_compact(i), ERROR_OK);
    world_isolate(number, false);
}

void world_fill(unsigned first, unsigned count, size_t value_size) {
    for (unsigned i = first; i < first + count; i++) {
        char key[32];

        snprintf(key, sizeof key, "key-%06u", i);
        assert_int_equal(world_put(world_leader(), key, value_size), ERROR_OK);
    }
}
