/* What each method asks of the service, and how it answers. */
#include "test_bus_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define BYTES(text) ((ProtobufCBinaryData){.data = (uint8_t *)(text), .len = sizeof(text) - 1})

static void assert_bytes(ProtobufCBinaryData data, const void *expected, size_t size) {
    assert_int_equal(data.len, size);
    if (size > 0)
        assert_memory_equal(data.data, expected, size);
}

static void assert_read_bytes(sd_bus_message *reply, const void *expected, size_t size) {
    const void *data;
    size_t read;

    assert_true(sd_bus_message_read_array(reply, 'y', &data, &read) >= 0);
    assert_int_equal(read, size);
    if (size > 0)
        assert_memory_equal(data, expected, size);
}

static void assert_read_number(sd_bus_message *reply, uint64_t expected) {
    uint64_t number;

    assert_true(sd_bus_message_read(reply, "t", &number) > 0);
    assert_int_equal(number, expected);
}

static void assert_read_text(sd_bus_message *reply, const char *expected) {
    const char *text;

    assert_true(sd_bus_message_read(reply, "s", &text) > 0);
    assert_string_equal(text, expected);
}

static void assert_read_flag(sd_bus_message *reply, int expected) {
    int flag;

    assert_true(sd_bus_message_read(reply, "b", &flag) > 0);
    assert_int_equal(flag, expected);
}

static void assert_at_end(sd_bus_message *reply) {
    assert_true(sd_bus_message_at_end(reply, true) > 0);
}

/* Calls a method whose arguments are arrays of bytes. */
static sd_bus_message *call_bytes(struct fixture *f, const char *member, const void *key,
                                  size_t key_size, const void *value, size_t value_size) {
    _cleanup_message_ sd_bus_message *message = new_call(f->client, KV, member);

    assert_true(sd_bus_message_append_array(message, 'y', key, key_size) >= 0);
    if (value)
        assert_true(sd_bus_message_append_array(message, 'y', value, value_size) >= 0);
    return call_message(f, f->client, message);
}

static void put_answers_the_revision_of_the_write(void **state) {
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;

    put.revision = UINT64_MAX;
    put.created = true;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    response.put = &put;
    fake.response = &response;
    reply = call(*state, KV, "Put", "ss", "gr\xc3\xbc\xc3\x9f", "");
    assert_success(reply);
    assert_read_number(reply, UINT64_MAX);
    assert_read_flag(reply, true);
    assert_at_end(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_PUT);
    assert_int_equal(fake.last->timeout_ms, 0);
    assert_bytes(fake.last->put->key, "gr\xc3\xbc\xc3\x9f", 6);
    assert_bytes(fake.last->put->value, NULL, 0);
}

static void put_bytes_takes_any_bytes(void **state) {
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;

    put.revision = 9;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    response.put = &put;
    fake.response = &response;
    reply = call_bytes(*state, "PutBytes", "\0\xff", 2, "\xc3\x28\0", 3);
    assert_success(reply);
    assert_read_number(reply, 9);
    assert_read_flag(reply, false);
    assert_at_end(reply);
    assert_bytes(fake.last->put->key, "\0\xff", 2);
    assert_bytes(fake.last->put->value, "\xc3\x28\0", 3);
}

/* A response to Get; valid until the next call. */
static const Raftkv__V1__Response *get_response(ProtobufCBinaryData value) {
    static Raftkv__V1__KeyValue item;
    static Raftkv__V1__GetResponse get;
    static Raftkv__V1__Response response;

    raftkv__v1__key_value__init(&item);
    item.key = BYTES("k");
    item.value = value;
    item.create_revision = 11;
    item.modify_revision = 12;
    item.version = 13;
    raftkv__v1__get_response__init(&get);
    get.item = &item;
    get.revision = 14;
    raftkv__v1__response__init(&response);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_GET;
    response.get = &get;
    return &response;
}

static void get_answers_the_value_as_text(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = get_response(BYTES("h\xc3\xa9llo \xf0\x9f\x98\x80"));
    reply = call(*state, KV, "Get", "s", "k");
    assert_success(reply);
    assert_read_text(reply, "h\xc3\xa9llo \xf0\x9f\x98\x80");
    assert_read_number(reply, 14);
    assert_at_end(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_GET);
    assert_bytes(fake.last->get->key, "k", 1);
    assert_false(fake.last->get->stale);
}

static void an_empty_value_is_an_empty_string(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = get_response((ProtobufCBinaryData){0});
    reply = call(*state, KV, "Get", "s", "k");
    assert_success(reply);
    assert_read_text(reply, "");
}

static void get_stale_answers_with_the_revision_of_the_state(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = get_response(BYTES("v"));
    reply = call(*state, KV, "GetStale", "s", "k");
    assert_success(reply);
    assert_read_text(reply, "v");
    assert_read_number(reply, 14);
    assert_at_end(reply);
    assert_true(fake.last->get->stale);
}

static void a_value_that_is_not_text_is_refused_and_names_the_method_for_bytes(void **state) {
    static const struct {
        const char *data;
        size_t size;
    } values[] = {
        {"a\0b", 3},             /* NUL */
        {"\xff", 1},             /* no byte of UTF-8 */
        {"\x80", 1},             /* continues nothing */
        {"ab\xe2\x82", 4},       /* cut off */
        {"\xc0\xaf", 2},         /* overlong */
        {"\xe0\x80\xaf", 3},     /* overlong */
        {"\xed\xa0\x80", 3},     /* a surrogate */
        {"\xf4\x90\x80\x80", 4}, /* above U+10FFFF */
        {"\xef\xbf\xbe", 3},     /* the noncharacter U+FFFE, which sd-bus does not read */
    };

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        ProtobufCBinaryData value = {.data = (uint8_t *)values[i].data, .len = values[i].size};
        _cleanup_message_ sd_bus_message *get = NULL, *stale = NULL, *bytes = NULL;

        fake.response = get_response(value);
        get = call(*state, KV, "Get", "s", "k");
        assert_error(get, "org.raftkv1.Error.InvalidArgument", "use GetBytes.");
        stale = call(*state, KV, "GetStale", "s", "k");
        assert_error(stale, "org.raftkv1.Error.InvalidArgument", "use GetStaleBytes.");
        bytes = call_bytes(*state, "GetBytes", "k", 1, NULL, 0);
        assert_success(bytes);
        assert_read_bytes(bytes, values[i].data, values[i].size);
    }
}

static void get_bytes_answers_the_value_and_its_history(void **state) {
    _cleanup_message_ sd_bus_message *fresh = NULL, *stale = NULL;

    fake.response = get_response(BYTES("v"));
    fresh = call_bytes(*state, "GetBytes", "\xff", 1, NULL, 0);
    assert_success(fresh);
    assert_bytes(fake.last->get->key, "\xff", 1);
    assert_false(fake.last->get->stale);
    assert_read_bytes(fresh, "v", 1);
    for (uint64_t n = 11; n <= 14; n++)
        assert_read_number(fresh, n);
    assert_at_end(fresh);

    stale = call_bytes(*state, "GetStaleBytes", "k", 1, NULL, 0);
    assert_success(stale);
    assert_true(fake.last->get->stale);
    assert_read_bytes(stale, "v", 1);
    for (uint64_t n = 11; n <= 14; n++)
        assert_read_number(stale, n);
    assert_at_end(stale);
}

static void delete_answers_whether_the_key_existed(void **state) {
    for (int existed = 0; existed <= 1; existed++) {
        Raftkv__V1__DeleteResponse body = RAFTKV__V1__DELETE_RESPONSE__INIT;
        Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
        _cleanup_message_ sd_bus_message *text = NULL, *bytes = NULL;

        body.existed = existed;
        body.revision = 31;
        response.body_case = RAFTKV__V1__RESPONSE__BODY_DELETE;
        response.delete_ = &body;
        fake.response = &response;
        text = call(*state, KV, "Delete", "s", "k");
        assert_success(text);
        assert_read_number(text, 31);
        assert_read_flag(text, existed);
        assert_at_end(text);
        assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_DELETE);
        assert_bytes(fake.last->delete_->key, "k", 1);
        bytes = call_bytes(*state, "DeleteBytes", "\0", 1, NULL, 0);
        assert_success(bytes);
        assert_read_number(bytes, 31);
        assert_read_flag(bytes, existed);
        assert_bytes(fake.last->delete_->key, "\0", 1);
    }
}

/* A response to List with two items; valid until the next call. */
static const Raftkv__V1__Response *list_response(ProtobufCBinaryData key, ProtobufCBinaryData value,
                                                 ProtobufCBinaryData continuation) {
    static Raftkv__V1__KeyValue first, second;
    static Raftkv__V1__KeyValue *items[] = {&first, &second};
    static Raftkv__V1__ListResponse list;
    static Raftkv__V1__Response response;

    raftkv__v1__key_value__init(&first);
    first.key = BYTES("a");
    first.value = BYTES("1");
    first.create_revision = 21;
    first.modify_revision = 22;
    first.version = 23;
    raftkv__v1__key_value__init(&second);
    second.key = key;
    second.value = value;
    raftkv__v1__list_response__init(&list);
    list.n_items = 2;
    list.items = items;
    list.continuation = continuation;
    list.revision = 24;
    raftkv__v1__response__init(&response);
    response.body_case = RAFTKV__V1__RESPONSE__BODY_LIST;
    response.list = &list;
    return &response;
}

static void list_answers_items_and_the_key_to_continue_from(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = list_response(BYTES("b"), BYTES(""), BYTES("c"));
    reply = call(*state, KV, "List", "ssu", "p", "pa", 2);
    assert_success(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_LIST);
    assert_bytes(fake.last->list->prefix, "p", 1);
    assert_bytes(fake.last->list->from, "pa", 2);
    assert_bytes(fake.last->list->continuation, NULL, 0);
    assert_int_equal(fake.last->list->limit, 2);
    assert_int_equal(fake.last->list->max_bytes, 0);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(ss)") > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "ss") > 0);
    assert_read_text(reply, "a");
    assert_read_text(reply, "1");
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "ss") > 0);
    assert_read_text(reply, "b");
    assert_read_text(reply, "");
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_read_text(reply, "c");
    assert_read_number(reply, 24);
    assert_at_end(reply);
    assert_false(fake.last->list->stale);
}

static void list_stale_answers_as_list_of_the_nodes_own_state(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL, *no_text = NULL;

    fake.response = list_response(BYTES("b"), BYTES("2"), BYTES(""));
    reply = call(*state, KV, "ListStale", "ssu", "p", "pa", 2);
    assert_success(reply);
    assert_true(fake.last->list->stale);
    assert_bytes(fake.last->list->from, "pa", 2);
    assert_true(sd_bus_message_skip(reply, "a(ss)s") >= 0);
    assert_read_number(reply, 24);
    assert_at_end(reply);
    fake.response = list_response(BYTES("b"), BYTES("\xff"), BYTES(""));
    no_text = call(*state, KV, "ListStale", "ssu", "", "", 0);
    assert_error(no_text, "org.raftkv1.Error.InvalidArgument", "use ListStaleBytes.");
}

static void an_empty_list_is_complete(void **state) {
    Raftkv__V1__ListResponse list = RAFTKV__V1__LIST_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;

    response.body_case = RAFTKV__V1__RESPONSE__BODY_LIST;
    response.list = &list;
    fake.response = &response;
    reply = call(*state, KV, "List", "ssu", "", "", 0);
    assert_success(reply);
    assert_true(sd_bus_message_skip(reply, "a(ss)") >= 0);
    assert_read_text(reply, "");
}

static void a_list_with_something_that_is_not_text_names_list_bytes(void **state) {
    const Raftkv__V1__Response *responses[3];
    static const char *const what[] = {"A key is not text", "A value is not text",
                                       "The key to continue from is not text"};

    for (int i = 0; i < 3; i++) {
        _cleanup_message_ sd_bus_message *reply = NULL;

        responses[i] =
            list_response(i == 0 ? BYTES("b\0") : BYTES("b"), i == 1 ? BYTES("\xff") : BYTES("2"),
                          i == 2 ? BYTES("\xfe") : BYTES("c"));
        fake.response = responses[i];
        reply = call(*state, KV, "List", "ssu", "", "", 0);
        assert_error(reply, "org.raftkv1.Error.InvalidArgument", what[i]);
        assert_error(reply, "org.raftkv1.Error.InvalidArgument", "use ListBytes.");
    }
}

static void assert_lists_bytes(struct fixture *f, const char *member) {
    _cleanup_message_ sd_bus_message *message = new_call(f->client, KV, member);
    _cleanup_message_ sd_bus_message *reply = NULL;

    fake.response = list_response(BYTES("\xff"), BYTES("\0"), BYTES("\xff\0"));
    assert_true(sd_bus_message_append_array(message, 'y', "\xf0", 1) >= 0);
    assert_true(sd_bus_message_append_array(message, 'y', "\xf0\0", 2) >= 0);
    assert_true(sd_bus_message_append(message, "ut", 10000, UINT64_C(5000000000)) >= 0);
    assert_true(sd_bus_message_append_array(message, 'y', "\xf1", 1) >= 0);
    reply = call_message(f, f->client, message);
    assert_success(reply);
    assert_bytes(fake.last->list->prefix, "\xf0", 1);
    assert_bytes(fake.last->list->from, "\xf0\0", 2);
    assert_int_equal(fake.last->list->limit, 10000);
    assert_int_equal(fake.last->list->max_bytes, 5000000000);
    assert_bytes(fake.last->list->continuation, "\xf1", 1);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(ayayttt)") > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "ayayttt") > 0);
    assert_read_bytes(reply, "a", 1);
    assert_read_bytes(reply, "1", 1);
    for (uint64_t n = 21; n <= 23; n++)
        assert_read_number(reply, n);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "ayayttt") > 0);
    assert_read_bytes(reply, "\xff", 1);
    assert_read_bytes(reply, "\0", 1);
    assert_true(sd_bus_message_skip(reply, "ttt") >= 0);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_read_bytes(reply, "\xff\0", 2);
    assert_read_number(reply, 24);
    assert_at_end(reply);
}

static void list_bytes_answers_everything_about_each_key(void **state) {
    assert_lists_bytes(*state, "ListBytes");
    assert_false(fake.last->list->stale);
    assert_lists_bytes(*state, "ListStaleBytes");
    assert_true(fake.last->list->stale);
}

static void membership_changes_answer_the_configuration_index(void **state) {
    Raftkv__V1__ConfigurationResponse body = RAFTKV__V1__CONFIGURATION_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *add = NULL, *removal = NULL, *demote = NULL, *standby = NULL;

    body.configuration_index = 31;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
    response.configuration = &body;
    fake.response = &response;
    add = call(*state, CLUSTER, "AddVoter", "sst", "nodeB", "[::1]:4712", UINT64_C(30));
    assert_success(add);
    assert_read_number(add, 31);
    assert_at_end(add);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_ADD_VOTER);
    assert_string_equal(fake.last->add_voter->name, "nodeB");
    assert_string_equal(fake.last->add_voter->peer_address, "[::1]:4712");
    assert_int_equal(fake.last->add_voter->expected_configuration_index, 30);
    /* Catching up may outlast the usual 20 s. */
    assert_int_equal(fake.last->timeout_ms, REQUEST_TIMEOUT_MAX_MS);

    removal = call(*state, CLUSTER, "RemoveServer", "st", "nodeC", UINT64_C(0));
    assert_success(removal);
    assert_read_number(removal, 31);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER);
    assert_string_equal(fake.last->remove_server->name, "nodeC");
    assert_int_equal(fake.last->remove_server->expected_configuration_index, 0);
    assert_int_equal(fake.last->timeout_ms, 0);

    demote = call(*state, CLUSTER, "DemoteVoter", "st", "nodeD", UINT64_MAX);
    assert_success(demote);
    assert_read_number(demote, 31);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER);
    assert_string_equal(fake.last->demote_voter->name, "nodeD");
    assert_int_equal(fake.last->demote_voter->expected_configuration_index, UINT64_MAX);
    assert_false(fake.last->demote_voter->force);

    standby = call(*state, CLUSTER, "AddNonvoter", "sst", "nodeE", "[::1]:4713", UINT64_C(3));
    assert_success(standby);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER);
    assert_string_equal(fake.last->add_nonvoter->name, "nodeE");
    assert_string_equal(fake.last->add_nonvoter->peer_address, "[::1]:4713");
    assert_int_equal(fake.last->add_nonvoter->expected_configuration_index, 3);
}

static void changes_by_force_are_methods_of_their_own(void **state) {
    Raftkv__V1__ConfigurationResponse body = RAFTKV__V1__CONFIGURATION_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *removal = NULL, *demotion = NULL;

    response.body_case = RAFTKV__V1__RESPONSE__BODY_CONFIGURATION;
    response.configuration = &body;
    fake.response = &response;
    removal = call(*state, CLUSTER, "ForceRemoveServer", "st", "nodeC", UINT64_C(5));
    assert_success(removal);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER);
    assert_true(fake.last->remove_server->force);
    assert_int_equal(fake.last->remove_server->expected_configuration_index, 5);
    demotion = call(*state, CLUSTER, "ForceDemoteVoter", "st", "nodeC", UINT64_C(6));
    assert_success(demotion);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER);
    assert_true(fake.last->demote_voter->force);
    assert_int_equal(fake.last->demote_voter->expected_configuration_index, 6);
}

static void a_transfer_answers_the_new_leader(void **state) {
    Raftkv__V1__TransferLeadershipResponse body = RAFTKV__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;
    char leader[] = "nodeC";

    body.leader = leader;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_TRANSFER_LEADERSHIP;
    response.transfer_leadership = &body;
    fake.response = &response;
    reply = call(*state, CLUSTER, "TransferLeadership", "s", "");
    assert_success(reply);
    assert_read_text(reply, "nodeC");
    assert_at_end(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP);
    assert_string_equal(fake.last->transfer_leadership->name, "");
}

static void get_configuration_answers_every_member(void **state) {
    char name[] = "nodeA", peer_address[] = "a:1", client_address[] = "a:2";
    Raftkv__V1__Member voter = RAFTKV__V1__MEMBER__INIT, standby = RAFTKV__V1__MEMBER__INIT;
    Raftkv__V1__Member *members[] = {&voter, &standby};
    Raftkv__V1__MembersResponse body = RAFTKV__V1__MEMBERS_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL, *stale = NULL;

    voter.name = name;
    voter.id = 41;
    voter.role = RAFTKV__V1__ROLE__ROLE_VOTER;
    voter.peer_address = peer_address;
    voter.client_address = client_address;
    voter.leader = true;
    standby.role = RAFTKV__V1__ROLE__ROLE_NONVOTER;
    standby.promoting = true;
    body.n_members = 2;
    body.members = members;
    body.configuration_index = 42;
    body.cluster_id = 43;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_MEMBERS;
    response.members = &body;
    fake.response = &response;
    reply = call(*state, CLUSTER, "GetConfiguration", "");
    assert_success(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_MEMBERS);
    assert_false(fake.last->members->stale);
    assert_true(sd_bus_message_enter_container(reply, 'a', "(stsssbb)") > 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "stsssbb") > 0);
    assert_read_text(reply, "nodeA");
    assert_read_number(reply, 41);
    assert_read_text(reply, "voter");
    assert_read_text(reply, "a:1");
    assert_read_text(reply, "a:2");
    assert_read_flag(reply, true);
    assert_read_flag(reply, false);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_enter_container(reply, 'r', "stsssbb") > 0);
    assert_true(sd_bus_message_skip(reply, "st") >= 0);
    assert_read_text(reply, "non-voter");
    assert_true(sd_bus_message_skip(reply, "ss") >= 0);
    assert_read_flag(reply, false);
    assert_read_flag(reply, true);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_true(sd_bus_message_exit_container(reply) >= 0);
    assert_read_number(reply, 42);
    assert_read_number(reply, 43);
    assert_at_end(reply);
    stale = call(*state, CLUSTER, "GetConfigurationStale", "");
    assert_success(stale);
    assert_true(fake.last->members->stale);
    assert_true(sd_bus_message_skip(stale, "a(stsssbb)") >= 0);
    assert_read_number(stale, 42);
    assert_read_number(stale, 43);
    assert_at_end(stale);
}

static void every_error_has_its_name_and_message(void **state) {
    for (int code = ERROR_INVALID_ARGUMENT; code < ERROR_CODE_COUNT; code++) {
        char message[] = "Because of the test.", name[64];
        Raftkv__V1__Error error = RAFTKV__V1__ERROR__INIT;
        Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
        _cleanup_message_ sd_bus_message *reply = NULL;

        error.code = (Raftkv__V1__ErrorCode)code;
        error.message = message;
        response.error = &error;
        fake.response = &response;
        reply = call(*state, KV, "Get", "s", "k");
        snprintf(name, sizeof name, "org.raftkv1.Error.%s", error_name((enum error_code)code));
        assert_error(reply, name, "Because of the test.");
        assert_null(strstr(sd_bus_message_get_error(reply)->message, "unknown"));
    }
}

static void an_unknown_outcome_is_said(void **state) {
    char message[] = "No answer from the leader.";
    Raftkv__V1__Error error = RAFTKV__V1__ERROR__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;

    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_TIMEOUT;
    error.message = message;
    error.outcome_unknown = true;
    response.error = &error;
    fake.response = &response;
    reply = call(*state, KV, "Put", "ss", "k", "v");
    assert_error(reply, "org.raftkv1.Error.Timeout",
                 "No answer from the leader. The outcome is unknown: the write may or may not take "
                 "effect.");
}

static void a_message_that_is_not_text_does_not_cost_the_connection(void **state) {
    char message[] = "Cut off within \xe2\x82";
    Raftkv__V1__Error error = RAFTKV__V1__ERROR__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL, *next = NULL;

    error.code = RAFTKV__V1__ERROR_CODE__ERROR_CODE_INTERNAL;
    error.message = message;
    response.error = &error;
    fake.response = &response;
    reply = call(*state, KV, "Get", "s", "k");
    assert_error(reply, "org.raftkv1.Error.Internal", "Cut off within ??");
    next = call(*state, KV, "Get", "s", "k");
    assert_error(next, "org.raftkv1.Error.Internal", "Cut off");
}

static void a_response_of_another_kind_is_an_internal_error(void **state) {
    Raftkv__V1__PutResponse put = RAFTKV__V1__PUT_RESPONSE__INIT;
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    _cleanup_message_ sd_bus_message *reply = NULL;

    response.body_case = RAFTKV__V1__RESPONSE__BODY_PUT;
    response.put = &put;
    fake.response = &response;
    reply = call(*state, KV, "Get", "s", "k");
    assert_error(reply, "org.raftkv1.Error.Internal", "can't be made");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(put_answers_the_revision_of_the_write),
        TEST(put_bytes_takes_any_bytes),
        TEST(get_answers_the_value_as_text),
        TEST(an_empty_value_is_an_empty_string),
        TEST(get_stale_answers_with_the_revision_of_the_state),
        TEST(a_value_that_is_not_text_is_refused_and_names_the_method_for_bytes),
        TEST(get_bytes_answers_the_value_and_its_history),
        TEST(delete_answers_whether_the_key_existed),
        TEST(list_answers_items_and_the_key_to_continue_from),
        TEST(list_stale_answers_as_list_of_the_nodes_own_state),
        TEST(an_empty_list_is_complete),
        TEST(a_list_with_something_that_is_not_text_names_list_bytes),
        TEST(list_bytes_answers_everything_about_each_key),
        TEST(membership_changes_answer_the_configuration_index),
        TEST(changes_by_force_are_methods_of_their_own),
        TEST(a_transfer_answers_the_new_leader),
        TEST(get_configuration_answers_every_member),
        TEST(every_error_has_its_name_and_message),
        TEST(an_unknown_outcome_is_said),
        TEST(a_message_that_is_not_text_does_not_cost_the_connection),
        TEST(a_response_of_another_kind_is_an_internal_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
