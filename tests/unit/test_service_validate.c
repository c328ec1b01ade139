/* Every limit of a request, and what its error says. */
#include <stdio.h>
#include <string.h>

#include "service/validate.h"
#include "test_service_world.h"

static uint8_t long_bytes[VALUE_SIZE_MAX + 1];

static void assert_refused(Raftkv__V1__Request__BodyCase body, void *message, int code,
                           const char *says) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    struct failure failure = {0};

    request.body_case = body;
    request.put = message;
    assert_int_equal(validate_request(&request, &failure), code);
    if (code == 0)
        return;
    assert_int_equal(failure.code, code);
    assert_false(failure.outcome_unknown);
    if (!strstr(failure.message, says))
        fail_msg("'%s' does not say '%s'", failure.message, says);
}

static ProtobufCBinaryData of_size(size_t size) {
    return (ProtobufCBinaryData){size, long_bytes};
}

static void keys_have_1_to_4096_bytes(void **state) {
    static const struct {
        size_t size;
        int code;
    } sizes[] = {{0, ERROR_INVALID_ARGUMENT}, {1, 0}, {4096, 0}, {4097, ERROR_TOO_LARGE}};
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;
    Raftkv__V1__GetRequest get = RAFTKV__V1__GET_REQUEST__INIT;
    Raftkv__V1__DeleteRequest delete = RAFTKV__V1__DELETE_REQUEST__INIT;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        put.key = get.key = delete.key = of_size(sizes[i].size);
        assert_refused(RAFTKV__V1__REQUEST__BODY_PUT, &put, sizes[i].code, "1 to 4096 bytes");
        assert_refused(RAFTKV__V1__REQUEST__BODY_GET, &get, sizes[i].code, "1 to 4096 bytes");
        assert_refused(RAFTKV__V1__REQUEST__BODY_DELETE, &delete, sizes[i].code, "1 to 4096 bytes");
    }
}

static void values_have_at_most_4_mib(void **state) {
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;

    (void)state;
    put.key = of_size(1);
    put.value = of_size(0);
    assert_refused(RAFTKV__V1__REQUEST__BODY_PUT, &put, 0, "");
    put.value = of_size(VALUE_SIZE_MAX);
    assert_refused(RAFTKV__V1__REQUEST__BODY_PUT, &put, 0, "");
    put.value = of_size(VALUE_SIZE_MAX + 1);
    assert_refused(RAFTKV__V1__REQUEST__BODY_PUT, &put, ERROR_TOO_LARGE, "at most 4194304 bytes");
}

static void lists_keep_within_their_limits(void **state) {
    Raftkv__V1__ListRequest list = RAFTKV__V1__LIST_REQUEST__INIT;

    (void)state;
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, 0, "");
    list.limit = 10000;
    list.max_bytes = LIST_BYTES_MAX;
    list.prefix = of_size(4096);
    list.from = of_size(4096);
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, 0, "");
    list.limit = 10001;
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_INVALID_ARGUMENT,
                   "at most 10000 (0: 1000)");
    list.limit = 0;
    list.max_bytes = LIST_BYTES_MAX + 1;
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_INVALID_ARGUMENT,
                   "at most 4194304 (0: 1048576)");
    list.max_bytes = 0;
    list.prefix = of_size(4097);
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_TOO_LARGE, "prefix");
    list.prefix = of_size(0);
    list.from = of_size(4097);
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_TOO_LARGE, "list from");
}

static void a_continuation_belongs_to_its_prefix(void **state) {
    uint8_t prefix[] = "ab", good[] = "abc", bad[] = "acc";
    Raftkv__V1__ListRequest list = RAFTKV__V1__LIST_REQUEST__INIT;

    (void)state;
    list.prefix = (ProtobufCBinaryData){2, prefix};
    list.continuation = (ProtobufCBinaryData){3, good};
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, 0, "");
    list.continuation = (ProtobufCBinaryData){3, bad};
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_INVALID_ARGUMENT, "continuation");
    list.continuation = (ProtobufCBinaryData){1, good};
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_INVALID_ARGUMENT, "continuation");
    list.prefix = of_size(0);
    list.continuation = of_size(4097); /* the longest key and one byte behind it */
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, 0, "");
    list.continuation = of_size(4098);
    assert_refused(RAFTKV__V1__REQUEST__BODY_LIST, &list, ERROR_INVALID_ARGUMENT, "continuation");
}

static void names_are_words(void **state) {
    char empty[] = "", digit[] = "1a", dash[] = "node-a", good[] = "_Node1", wild[300];
    char *bad[] = {empty, digit, dash, wild};
    Raftkv__V1__RemoveServerRequest removal;
    Raftkv__V1__DemoteVoterRequest demotion;
    Raftkv__V1__TransferLeadershipRequest transfer;

    (void)state;
    memset(wild, 0xc3, sizeof wild - 1);
    wild[sizeof wild - 1] = 0;
    raftkv__v1__remove_server_request__init(&removal);
    raftkv__v1__demote_voter_request__init(&demotion);
    raftkv__v1__transfer_leadership_request__init(&transfer);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        removal.name = demotion.name = transfer.name = bad[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER, &removal, ERROR_INVALID_ARGUMENT,
                       "1 to 63 letters");
        assert_refused(RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER, &demotion, ERROR_INVALID_ARGUMENT,
                       "1 to 63 letters");
        /* An empty one means any voter here. */
        assert_refused(RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP, &transfer,
                       i == 0 ? 0 : ERROR_INVALID_ARGUMENT, "1 to 63 letters");
    }
    removal.name = demotion.name = transfer.name = good;
    assert_refused(RAFTKV__V1__REQUEST__BODY_REMOVE_SERVER, &removal, 0, "");
    assert_refused(RAFTKV__V1__REQUEST__BODY_DEMOTE_VOTER, &demotion, 0, "");
    assert_refused(RAFTKV__V1__REQUEST__BODY_TRANSFER_LEADERSHIP, &transfer, 0, "");
}

static void peer_addresses_can_be_dialled(void **state) {
    static char good[][32] = {"host:4712", "10.0.0.1:1", "[::1]:65535"};
    static char bad[][32] = {"", "host", "host:0", "host:65536", ":4712", "[::1:4712"};
    static char wildcards[][32] = {"0.0.0.0:4712", "[::]:4712"};
    char name[] = "nodeB", bad_name[] = "node B";
    Raftkv__V1__AddVoterRequest add;
    Raftkv__V1__AddNonvoterRequest standby;

    (void)state;
    raftkv__v1__add_voter_request__init(&add);
    raftkv__v1__add_nonvoter_request__init(&standby);
    add.name = standby.name = name;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        add.peer_address = good[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_VOTER, &add, 0, "");
        standby.peer_address = good[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER, &standby, 0, "");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        add.peer_address = bad[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_VOTER, &add, ERROR_INVALID_ARGUMENT,
                       "HOST:PORT");
    }
    for (size_t i = 0; i < sizeof wildcards / sizeof wildcards[0]; i++) {
        add.peer_address = wildcards[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_VOTER, &add, ERROR_INVALID_ARGUMENT,
                       "wildcard");
        standby.peer_address = wildcards[i];
        assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_NONVOTER, &standby, ERROR_INVALID_ARGUMENT,
                       "wildcard");
    }
    add.peer_address = good[0];
    add.name = bad_name;
    assert_refused(RAFTKV__V1__REQUEST__BODY_ADD_VOTER, &add, ERROR_INVALID_ARGUMENT,
                   "'node B' is not");
}

static void timeouts_are_at_most_an_hour(void **state) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT;
    Raftkv__V1__StatusRequest status = RAFTKV__V1__STATUS_REQUEST__INIT;
    struct failure failure;

    (void)state;
    request.body_case = RAFTKV__V1__REQUEST__BODY_STATUS;
    request.status = &status;
    request.timeout_ms = 3600000;
    assert_int_equal(validate_request(&request, &failure), 0);
    request.timeout_ms = 3600001;
    assert_int_equal(validate_request(&request, &failure), ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(failure.message, "at most 3600000 ms"));
}

static void a_request_without_a_known_body_is_unsupported(void **state) {
    Raftkv__V1__StatusRequest status = RAFTKV__V1__STATUS_REQUEST__INIT;

    (void)state;
    assert_refused(RAFTKV__V1__REQUEST__BODY__NOT_SET, NULL, ERROR_UNSUPPORTED, "no body");
    assert_refused(RAFTKV__V1__REQUEST__BODY_PUT, NULL, ERROR_UNSUPPORTED, "no body");
    assert_refused((Raftkv__V1__Request__BodyCase)15, &status, ERROR_UNSUPPORTED, "no body");
    assert_refused((Raftkv__V1__Request__BodyCase)1000, &status, ERROR_UNSUPPORTED, "no body");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_1_to_4096_bytes),
        cmocka_unit_test(values_have_at_most_4_mib),
        cmocka_unit_test(lists_keep_within_their_limits),
        cmocka_unit_test(a_continuation_belongs_to_its_prefix),
        cmocka_unit_test(names_are_words),
        cmocka_unit_test(peer_addresses_can_be_dialled),
        cmocka_unit_test(timeouts_are_at_most_an_hour),
        cmocka_unit_test(a_request_without_a_known_body_is_unsupported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
