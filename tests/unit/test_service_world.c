#include "test_service_world.h"

#include <stdio.h>
#include <string.h>

#include "base/journal.h"
#include "journal_fields.h"

struct world world;

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
    return 0x1234567890abcdef;
}

static void host_submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    assert_int_equal(lane, LANE_STATE);
    job->next = NULL;
    *world.jobs_end = job;
    world.jobs_end = &job->next;
    world.jobs_submitted++;
}

static void host_send(struct host *host, uint64_t member, bool urgent, uint8_t *message,
                      size_t size) {
    const char *reason;
    struct sent *sent = &world.sent[world.sent_count++];
    ProtobufCMessage *decoded;

    (void)host;
    assert_true(world.sent_count <= SENT_MAX);
    assert_int_equal(unpack(&raftkv__v1__peer_message__descriptor, message, size,
                            &unpack_peer_limits, &decoded, &reason),
                     0);
    free(message);
    *sent = (struct sent){member, urgent, (Raftkv__V1__PeerMessage *)decoded};
}

static size_t host_backlog(struct host *host, uint64_t member) {
    (void)host;
    (void)member;
    return world.backlog;
}

static bool host_linked(struct host *host, uint64_t member) {
    (void)host;
    return !world.unlinked[member & 15];
}

void pass(uint64_t ms) {
    world.now += ms;
    if (service_next_deadline(world.service) <= world.now)
        service_tick(world.service);
}

size_t run_jobs(void) {
    struct job *job = world.jobs;
    size_t count = 0;

    world.jobs = NULL;
    world.jobs_end = &world.jobs;
    while (job) {
        struct job *next = job->next;

        job->run(job);
        job->done(job);
        job = next;
        count++;
    }
    return count;
}

/* ---- the member ---- */

void member_event_at(struct journal_event *event, const struct member *member, const char *about,
                     const char *peer_address) {
    (void)member;
    journal_field(event, "RAFTKV_TERM=%llu", (unsigned long long)world.view.term);
    journal_field(event, "RAFTKV_MEMBER=%s", about);
    journal_field(event, "RAFTKV_PEER=%s", peer_address);
}

void member_get_view(const struct member *member, struct member_view *ret) {
    (void)member;
    *ret = world.view;
}

const struct configuration *member_configuration(const struct member *member) {
    (void)member;
    return &world.configuration;
}

bool member_progress(const struct member *member, uint64_t id, uint64_t *ret_match,
                     uint64_t *ret_last_contact) {
    (void)member;
    if (world.view.state != MEMBER_LEADER)
        return false;
    *ret_match = 10 * id;
    *ret_last_contact = id == world.identity.member_id ? 0 : world.now;
    return true;
}

const struct server *configuration_find(const struct configuration *c, uint64_t id) {
    for (size_t i = 0; i < c->count; i++)
        if (c->servers[i].id == id)
            return &c->servers[i];
    return NULL;
}

void member_get_statistics(const struct member *member, struct member_statistics *ret) {
    (void)member;
    *ret = world.statistics;
}

void member_change_progress(const struct member *member, const struct change *change,
                            struct change_progress *ret) {
    (void)member;
    assert_ptr_equal(change, world.change);
    *ret = world.progress;
}

void member_propose(struct member *member, struct proposal *proposal) {
    struct failure failure;

    (void)member;
    if (world.refuse_proposals) {
        free(proposal->data);
        failure_set(&failure, ERROR_NOT_LEADER, "Not the leader.");
        proposal->done(proposal, &failure, NULL);
        return;
    }
    assert_true(world.proposed_count < PROPOSED_MAX);
    world.proposed[world.proposed_count++] = proposal;
}

void member_change(struct member *member, struct change *change) {
    (void)member;
    world.change = change;
    world.changes++;
}

void finish_proposal(const struct failure *failure, const struct kv_result *result) {
    struct proposal *proposal = world.proposed[0];

    assert_true(world.proposed_count > 0);
    world.proposed_count--;
    memmove(world.proposed, world.proposed + 1, world.proposed_count * sizeof world.proposed[0]);
    free(proposal->data);
    proposal->done(proposal, failure, proposal->type == ENTRY_COMMAND ? result : NULL);
}

void apply_proposal(uint64_t revision, bool existed) {
    struct kv_result result = {.revision = revision, .existed = existed};

    finish_proposal(NULL, &result);
}

void fail_proposal(enum error_code code, bool outcome_unknown) {
    struct failure failure;

    failure_set(&failure, code, "The proposal failed.");
    failure.outcome_unknown = outcome_unknown;
    finish_proposal(&failure, NULL);
}

void become_leader(void) {
    world.view.state = MEMBER_LEADER;
    world.view.leader = NODE_A;
    world.view.serving = true;
    world.view.term++;
    service_member_changed(world.service);
}

void follow(uint64_t leader) {
    world.view.state = MEMBER_FOLLOWER;
    world.view.leader = leader;
    world.view.serving = false;
    world.view.term++;
    service_member_changed(world.service);
}

/* ---- the state machine: every key is there but "missing", and its value is as long as the test
 * wants ---- */

static struct kv_item make_item(const void *key, size_t key_size) {
    struct kv_item item = {.key_size = key_size, .value_size = world.value_size};

    item.key = xcalloc(1, key_size + world.value_size);
    memcpy(item.key, key, key_size);
    item.value = item.key + key_size;
    item.create_revision = 3;
    item.modify_revision = 5;
    item.version = 2;
    return item;
}

int kv_get(struct state *state, const uint8_t *key, size_t key_size, struct kv_item *ret,
           uint64_t *ret_revision) {
    (void)state;
    world.reads++;
    if (world.read_error)
        return world.read_error;
    *ret_revision = world.view.applied_index;
    if (key_size == 7 && memcmp(key, "missing", 7) == 0)
        return ERROR_NOT_FOUND;
    *ret = make_item(key, key_size);
    return 0;
}

int kv_list(struct state *state, const struct kv_list_options *options, struct kv_list *ret) {
    (void)state;
    world.reads++;
    world.listed = *options;
    ret->items = xcalloc(2, sizeof *ret->items);
    ret->count = 2;
    ret->items[0] = make_item("k1", 2);
    ret->items[1] = make_item("k2", 2);
    ret->revision = world.view.applied_index;
    if (world.list_more) {
        ret->more = true;
        ret->next = xmemdup("k3", 2);
        ret->next_size = 2;
    }
    return 0;
}

void kv_item_deinit(struct kv_item *item) {
    free(item->key);
}

void kv_list_deinit(struct kv_list *list) {
    for (size_t i = 0; i < list->count; i++)
        kv_item_deinit(&list->items[i]);
    free(list->items);
    free(list->next);
}

void kv_encode_put(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size,
                   uint8_t **ret_data, size_t *ret_size) {
    *ret_data = xmalloc(key_size + value_size);
    memcpy(*ret_data, key, key_size);
    if (value_size)
        memcpy(*ret_data + key_size, value, value_size);
    *ret_size = key_size + value_size;
}

void kv_encode_delete(const uint8_t *key, size_t key_size, uint8_t **ret_data, size_t *ret_size) {
    *ret_data = xmemdup(key, key_size);
    *ret_size = key_size;
}

static void count_state_failure(void *data, int error) {
    (void)data, (void)error;
    world.state_failures++;
}

static void fill_nothing(void *data, Raftkv__V1__MemberStatus *status) {
    (void)data, (void)status;
}

static void count_measurement(void *data) {
    (void)data;
    world.measurements++;
}

static void add_log_entries(void *data, struct statistics *statistics) {
    (void)data;
    statistics_add(statistics, STATISTIC_LOG_ENTRIES, NULL, 12);
}

static void compact_nothing(void *data) {
    (void)data;
}

static bool tell_pages(void *data, uint64_t *ret_done, uint64_t *ret_total) {
    (void)data;
    *ret_done = world.pages_written;
    *ret_total = world.pages;
    return world.pages > 0;
}

/* ---- setup ---- */

static void check_message(void *data, int priority, const char *message, const char *const *fields,
                          size_t count) {
    (void)data, (void)priority;
    assert_fields_are_documented(message, fields, count);
}

static void add_server(uint64_t id, const char *name, const char *peer, const char *client) {
    struct server *server = &world.configuration.servers[world.configuration.count++];

    *server = (struct server){.id = id, .role = MEMBER_VOTER};
    strcpy(server->name, name);
    strcpy(server->peer_address, peer);
    strcpy(server->client_address, client);
}

int world_setup(void **state) {
    struct service_options options = {
        .node = &world.node, .host = &world.host, .identity = &world.identity};

    (void)state;
    journal_set_sink(check_message, NULL, "console");
    memset(&world, 0, sizeof world);
    world.host = (struct host){
        .now = host_now,
        .microseconds = host_microseconds,
        .random = host_random,
        .submit = host_submit,
        .send = host_send,
        .backlog = host_backlog,
        .linked = host_linked,
    };
    world.node = (struct service_node){
        .compact = compact_nothing,
        .compacting = tell_pages,
        .state_failed = count_state_failure,
        .fill_status = fill_nothing,
        .measure = count_measurement,
        .add_statistics = add_log_entries,
    };
    world.now = 1000000;
    world.progress.phase = "";
    world.jobs_end = &world.jobs;
    world.identity = (struct identity){.cluster_id = 77, .member_id = NODE_A, .incarnation = 1};
    strcpy(world.identity.name, "nodeA");
    strcpy(world.identity.peer_address, "hostA:4712");
    strcpy(world.identity.client_address, "hostA:4711");
    add_server(NODE_A, "nodeA", "hostA:4712", "hostA:4711");
    add_server(NODE_B, "nodeB", "hostB:4712", "hostB:4711");
    add_server(NODE_C, "nodeC", "hostC:4712", "hostC:4711");
    world.configuration.index = 9;
    world.view = (struct member_view){
        .id = NODE_A,
        .role = MEMBER_VOTER,
        .term = 4,
        .commit_index = 20,
        .applied_index = 18,
        .first_index = 1,
        .last_index = 21,
        .readable = true,
    };
    world.value_size = 5;
    world.service = service_new(&options);
    return 0;
}

int world_teardown(void **state) {
    (void)state;
    world.service = service_free(world.service);
    /* What the member and the lanes still have outlives the service. */
    while (world.proposed_count > 0)
        fail_proposal(ERROR_UNAVAILABLE, true);
    if (world.change)
        world.change->done(world.change, NULL, 10, NULL);
    run_jobs();
    for (size_t i = 0; i < world.sent_count; i++)
        raftkv__v1__peer_message__free_unpacked(world.sent[i].message, NULL);
    return 0;
}

/* ---- callers ---- */

void caller_clear(struct caller *caller) {
    if (caller->response)
        raftkv__v1__response__free_unpacked(caller->response, NULL);
    if (caller->progress)
        raftkv__v1__operation__free_unpacked(caller->progress, NULL);
    *caller = (struct caller){0};
}

void caller_reply(void *data, const Raftkv__V1__Response *response) {
    struct caller *caller = data;
    size_t size = raftkv__v1__response__get_packed_size(response);
    _cleanup_free_ uint8_t *packed = xmalloc(size);

    raftkv__v1__response__pack(response, packed);
    if (caller->response)
        raftkv__v1__response__free_unpacked(caller->response, NULL);
    caller->response = raftkv__v1__response__unpack(NULL, size, packed);
    assert_non_null(caller->response);
    caller->answers++;
    if (caller->cancels)
        service_cancel(world.service, TAKE(caller->cancels));
}

void ask(struct caller *caller, Raftkv__V1__Request *request) {
    caller->call = service_handle(world.service, request, caller_reply, caller);
}

static void caller_progress(void *data, const Raftkv__V1__Response *response) {
    struct caller *caller = data;
    size_t size = raftkv__v1__operation__get_packed_size(response->progress);
    _cleanup_free_ uint8_t *packed = xmalloc(size);

    assert_int_equal(response->body_case, RAFTKV__V1__RESPONSE__BODY_PROGRESS);
    assert_int_equal(response->id, 42);
    assert_int_equal(caller->answers, 0);
    raftkv__v1__operation__pack(response->progress, packed);
    if (caller->progress)
        raftkv__v1__operation__free_unpacked(caller->progress, NULL);
    caller->progress = raftkv__v1__operation__unpack(NULL, size, packed);
    caller->told++;
}

void ask_with_progress(struct caller *caller, Raftkv__V1__Request *request) {
    struct service_caller door = {
        .door = "TCP", .reply = caller_reply, .progress = caller_progress, .data = caller};

    request->progress = true;
    caller->call = service_handle_for(world.service, request, &door);
}

const Raftkv__V1__Error *assert_error(const struct caller *caller, enum error_code code) {
    assert_int_equal(caller->answers, 1);
    assert_non_null(caller->response->error);
    assert_int_equal(caller->response->error->code, code);
    assert_int_equal(caller->response->body_case, 0);
    assert_true(caller->response->error->message[0] != 0);
    return caller->response->error;
}

void assert_body(const struct caller *caller, Raftkv__V1__Response__BodyCase body) {
    assert_int_equal(caller->answers, 1);
    assert_null(caller->response->error);
    assert_int_equal(caller->response->body_case, body);
}

/* ---- requests ---- */

/* A copy of `like` on the heap, as unpack() would have made it. */
Raftkv__V1__Request *new_request(Raftkv__V1__Request__BodyCase body, const ProtobufCMessage *like) {
    Raftkv__V1__Request *request = xmalloc(sizeof *request);
    size_t size = protobuf_c_message_get_packed_size(like);
    _cleanup_free_ uint8_t *packed = xmalloc(size);

    raftkv__v1__request__init(request);
    request->id = 42;
    request->body_case = body;
    protobuf_c_message_pack(like, packed);
    request->put =
        (Raftkv__V1__PutRequest *)protobuf_c_message_unpack(like->descriptor, NULL, size, packed);
    assert_non_null(request->put);
    return request;
}

static ProtobufCBinaryData bytes(const char *text) {
    union {
        const char *from;
        uint8_t *to;
    } u = {.from = text};

    return (ProtobufCBinaryData){strlen(text), u.to};
}

static char *string(const char *text) {
    return (char *)bytes(text).data;
}

Raftkv__V1__Request *put_request(const char *key, const char *value) {
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;

    put.key = bytes(key);
    put.value = bytes(value);
    return new_request(RAFTKV__V1__REQUEST__BODY_PUT, &put.base);
}

Raftkv__V1__Request *get_request(const char *key, bool stale) {
    Raftkv__V1__GetRequest get = RAFTKV__V1__GET_REQUEST__INIT;

    get.key = bytes(key);
    get.stale = stale;
    return new_request(RAFTKV__V1__REQUEST__BODY_GET, &get.base);
}

Raftkv__V1__Request *delete_request(const char *key) {
    Raftkv__V1__DeleteRequest delete = RAFTKV__V1__DELETE_REQUEST__INIT;

    delete.key = bytes(key);
    return new_request(RAFTKV__V1__REQUEST__BODY_DELETE, &delete.base);
}

Raftkv__V1__Request *list_request(const char *prefix) {
    Raftkv__V1__ListRequest list = RAFTKV__V1__LIST_REQUEST__INIT;

    list.prefix = bytes(prefix);
    return new_request(RAFTKV__V1__REQUEST__BODY_LIST, &list.base);
}

Raftkv__V1__Request *status_request(bool cluster) {
    Raftkv__V1__StatusRequest status = RAFTKV__V1__STATUS_REQUEST__INIT;

    status.cluster = cluster;
    return new_request(RAFTKV__V1__REQUEST__BODY_STATUS, &status.base);
}

Raftkv__V1__Request *members_request(bool stale) {
    Raftkv__V1__MembersRequest members = RAFTKV__V1__MEMBERS_REQUEST__INIT;

    members.stale = stale;
    return new_request(RAFTKV__V1__REQUEST__BODY_MEMBERS, &members.base);
}

Raftkv__V1__Request *add_voter_request(const char *name, const char *address) {
    Raftkv__V1__AddVoterRequest add;

    raftkv__v1__add_voter_request__init(&add);
    add.name = string(name);
    add.peer_address = string(address);
    add.expected_configuration_index = 9;
    return new_request(RAFTKV__V1__REQUEST__BODY_ADD_VOTER, &add.base);
}

Raftkv__V1__Request *transfer_request(const char *name) {
    Raftkv__V1__TransferLeadershipRequest transfer;

    raftkv__v1__transfer_leadership_request__init(&transfer);
    transfer.name = string(name);
    return new_request(RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP, &transfer.base);
}

Raftkv__V1__Request *barrier_request(void) {
    Raftkv__V1__BarrierRequest barrier = RAFTKV__V1__BARRIER_REQUEST__INIT;

    return new_request(RAFTKV__V1__REQUEST__BODY_BARRIER, &barrier.base);
}

Raftkv__V1__Request *stats_request(void) {
    Raftkv__V1__StatsRequest stats = RAFTKV__V1__STATS_REQUEST__INIT;

    return new_request(RAFTKV__V1__REQUEST__BODY_STATS, &stats.base);
}

Raftkv__V1__Request *operations_request(void) {
    Raftkv__V1__OperationsRequest operations = RAFTKV__V1__OPERATIONS_REQUEST__INIT;

    return new_request(RAFTKV__V1__REQUEST__BODY_OPERATIONS, &operations.base);
}

Raftkv__V1__Request *operation_request(uint64_t token, Raftkv__V1__OperationAction action) {
    Raftkv__V1__OperationRequest operation = RAFTKV__V1__OPERATION_REQUEST__INIT;

    operation.token = token;
    operation.action = action;
    return new_request(RAFTKV__V1__REQUEST__BODY_OPERATION, &operation.base);
}

Raftkv__V1__Request *verify_leader_request(void) {
    Raftkv__V1__VerifyLeaderRequest verify = RAFTKV__V1__VERIFY_LEADER_REQUEST__INIT;

    return new_request(RAFTKV__V1__REQUEST__BODY_VERIFY_LEADER, &verify.base);
}

/* ---- other members ---- */

void forward_to_us(uint64_t from, uint64_t forward_id, Raftkv__V1__Request *request) {
    Raftkv__V1__ForwardRequest message = RAFTKV__V1__FORWARD_REQUEST__INIT;

    message.forward_id = forward_id;
    message.request = request;
    service_forward_request(world.service, from, &message);
    assert_null(message.request);
}

void answer_question(uint64_t from, uint64_t forward_id, Raftkv__V1__Response *response) {
    Raftkv__V1__ForwardResponse message = RAFTKV__V1__FORWARD_RESPONSE__INIT;

    message.forward_id = forward_id;
    message.response = response;
    service_forward_response(world.service, from, &message);
}

void answer_question_with_error(uint64_t from, uint64_t forward_id, enum error_code code) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Error error;

    raftkv__v1__error__init(&error);
    error.code = (Raftkv__V1__ErrorCode)code;
    error.message = string("It failed there.");
    response.error = &error;
    answer_question(from, forward_id, &response);
}

void answer_question_with_put(uint64_t from, uint64_t forward_id, uint64_t revision) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;

    put.revision = revision;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    response.put = &put;
    answer_question(from, forward_id, &response);
}

const Raftkv__V1__ForwardRequest *question(size_t n) {
    assert_true(n < world.sent_count);
    assert_int_equal(world.sent[n].message->body_case,
                     RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_REQUEST);
    return world.sent[n].message->forward_request;
}

const Raftkv__V1__ForwardResponse *answer(size_t n) {
    assert_true(n < world.sent_count);
    assert_int_equal(world.sent[n].message->body_case,
                     RAFTKV__V1__PEER_MESSAGE__BODY_FORWARD_RESPONSE);
    return world.sent[n].message->forward_response;
}
