/* Backups over the bus: they are read chunk by chunk, and end with those who read them. */
#include "test_bus_fixture.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"

static struct {
    Raftkv__V1__Response response;
    Raftkv__V1__BackupResponse body;
} answer;

static void answer_with(uint64_t token, const char *header, const char *chunk, bool last) {
    raftkv__v1__response__init(&answer.response);
    raftkv__v1__backup_response__init(&answer.body);
    answer.body.token = token;
    answer.body.header = (ProtobufCBinaryData){strlen(header), (uint8_t *)(uintptr_t)header};
    answer.body.chunk = (ProtobufCBinaryData){strlen(chunk), (uint8_t *)(uintptr_t)chunk};
    answer.body.last = last;
    answer.response.body_case = RAFTKV__V1__RESPONSE__BODY_BACKUP;
    answer.response.backup = &answer.body;
    fake.response = &answer.response;
}

static void read_chunk(struct fixture *f, sd_bus *client, uint64_t token, uint64_t sequence) {
    _cleanup_message_ sd_bus_message *reply =
        call_from(f, client, NODE, "ReadBackup", "tt", token, sequence);

    assert_success(reply);
}

static void a_chunk_is_asked_for_and_given(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;
    const void *header, *chunk;
    size_t header_size, chunk_size;
    uint64_t token;
    int last;

    answer_with(42, "what it is", "bytes", true);
    reply = call(*state, NODE, "ReadBackup", "tt", UINT64_C(42), UINT64_C(7));
    assert_success(reply);
    assert_int_equal(fake.last->body_case, RAFTKV__V1__REQUEST__BODY_BACKUP);
    assert_int_equal(fake.last->backup->token, 42);
    assert_int_equal(fake.last->backup->sequence, 7);
    assert_false(fake.last->backup->end);
    assert_true(sd_bus_message_read(reply, "t", &token) > 0);
    assert_true(sd_bus_message_read_array(reply, 'y', &header, &header_size) > 0);
    assert_true(sd_bus_message_read_array(reply, 'y', &chunk, &chunk_size) > 0);
    assert_true(sd_bus_message_read(reply, "b", &last) > 0);
    assert_int_equal(token, 42);
    assert_int_equal(header_size, 10);
    assert_memory_equal(header, "what it is", 10);
    assert_int_equal(chunk_size, 5);
    assert_memory_equal(chunk, "bytes", 5);
    assert_true(last);
}

static void an_end_is_passed_on(void **state) {
    _cleanup_message_ sd_bus_message *reply = NULL;

    answer_with(42, "", "", false);
    reply = call(*state, NODE, "EndBackup", "t", UINT64_C(42));
    assert_success(reply);
    assert_int_equal(fake.last->backup->token, 42);
    assert_true(fake.last->backup->end);
}

static bool two_were_ended(void *data) {
    const size_t *handled = data;

    return fake.handled == *handled + 2;
}

static void a_reader_that_leaves_ends_what_it_reads(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    _cleanup_message_ sd_bus_message *reply = NULL;
    size_t handled;

    for (uint64_t token = 1; token <= BACKUPS_MAX + 1; token++) {
        answer_with(token, "", "", false);
        read_chunk(f, other, 0, 0);
        read_chunk(f, other, token, 1);
    }
    answer_with(99, "", "", false);
    read_chunk(f, NULL, 0, 0); /* of one that stays */
    handled = fake.handled;
    sd_bus_flush_close_unref(other);
    run_until(f, NULL, two_were_ended, &handled);
    assert_true(fake.last->backup->end);
    assert_int_equal(fake.last->backup->token, 2); /* 1 made room: there are no three at a time */
    reply = call(f, NODE, "ReadBackup", "tt", UINT64_C(99), UINT64_C(1));
    assert_success(reply);
    assert_int_equal(fake.handled, handled + 3);
}

static bool name_is_gone(void *data) {
    return sd_bus_get_name_creds(((struct fixture *)data)->client, "org.raftkv1.test", 0, NULL) ==
           -ENXIO;
}

static void what_has_ended_is_not_ended_again(void **state) {
    struct fixture *f = *state;
    sd_bus *other = connect_client(f);
    _cleanup_message_ sd_bus_message *reply = NULL, *next = NULL;
    size_t handled;

    assert_true(sd_bus_request_name(other, "org.raftkv1.test", 0) >= 0);
    answer_with(42, "", "", false);
    read_chunk(f, other, 0, 0);
    reply = call_from(f, other, NODE, "EndBackup", "t", UINT64_C(42));
    assert_success(reply);
    handled = fake.handled;
    sd_bus_flush_close_unref(other);
    run_until(f, NULL, name_is_gone, f);
    next = call(f, NODE, "EndBackup", "t", UINT64_C(1)); /* comes behind the news of that */
    assert_success(next);
    assert_int_equal(fake.handled, handled + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_chunk_is_asked_for_and_given),
        TEST(an_end_is_passed_on),
        TEST(a_reader_that_leaves_ends_what_it_reads),
        TEST(what_has_ended_is_not_ended_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
