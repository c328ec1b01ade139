/* What a node stages of what is streamed to it, without the member that decides who may. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "node/node_internal.h"

enum { STREAM = 7, LEADER = 2, INDEX = 100 };

static char directory[64];
static struct node *node;
static struct job *submitted;
static unsigned acknowledged;

static uint64_t now(struct host *host) {
    (void)host;
    return 1000;
}

static void submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    assert_int_equal(lane, LANE_BACKGROUND);
    assert_null(submitted);
    submitted = job;
}

static void send_message(struct host *host, uint64_t to, bool urgent, uint8_t *data, size_t size) {
    (void)host;
    (void)urgent;
    (void)size;
    assert_int_equal(to, LEADER);
    acknowledged++;
    free(data);
}

static struct host host = {.now = now, .submit = submit, .send = send_message};

/* A stream that has begun. */
static int setup(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/raftkv-test-staging-XXXXXX");
    assert_non_null(mkdtemp(directory));
    node = xcalloc(1, sizeof *node);
    node->host = &host;
    node->directory.state_path = directory;
    node->staging.number = STREAM;
    node->staging.from = LEADER;
    node->staging.header.index = INDEX;
    node->staging.header.term = 1;
    submitted = NULL;
    acknowledged = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    node->staging.job_under_way = false;
    staging_deinit(node);
    free(node);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

/* The first chunk of a state, with one record. */
static void make_chunk(bool last, struct buffer *ret) {
    Raftkv__V1__SnapshotChunk message = RAFTKV__V1__SNAPSHOT_CHUNK__INIT;
    Raftkv__V1__SnapshotRecord record = RAFTKV__V1__SNAPSHOT_RECORD__INIT, *pointer = &record;
    uint8_t key[] = {'k'};
    uint32_t checksum;
    uint8_t *data;
    size_t size;

    record.key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
    record.create_revision = record.modify_revision = record.version = 1;
    message.index = INDEX;
    message.last = last;
    message.total_records = 1;
    message.total_bytes = sizeof key;
    message.n_records = 1;
    message.records = &pointer;
    data = pack(&message.base, 0, &size);
    checksum = htole32(crc32c(0, data, size));
    buffer_append(ret, data, size);
    buffer_append(ret, &checksum, sizeof checksum);
    free(data);
}

static void receive(uint64_t sequence, bool chunk_is_last, bool part_is_last) {
    Raftkv__V1__SnapshotPart part = RAFTKV__V1__SNAPSHOT_PART__INIT;
    struct buffer chunk = BUFFER_NULL;

    make_chunk(chunk_is_last, &chunk);
    part.stream = STREAM;
    part.index = INDEX;
    part.sequence = sequence;
    part.last = part_is_last;
    part.chunk = (ProtobufCBinaryData){.data = chunk.data, .len = chunk.size};
    staging_receive(node, LEADER, &part);
    free(part.chunk.data); /* unless it was taken */
}

static void a_state_of_one_chunk_is_staged(void **state) {
    (void)state;
    receive(1, true, true);
    assert_non_null(submitted);
    submitted->run(submitted);
    assert_int_equal(node->staging.result, 0);
}

static void a_message_that_is_said_to_be_the_last_one_too_early_is_refused(void **state) {
    (void)state;
    receive(1, false, true);
    submitted->run(submitted);
    assert_int_equal(node->staging.result, -EBADMSG);
    assert_true(node->staging.failure.message[0]);
}

static void a_last_chunk_that_is_not_said_to_be_one_is_refused(void **state) {
    (void)state;
    receive(1, true, false);
    submitted->run(submitted);
    assert_int_equal(node->staging.result, -EBADMSG);
}

static void nothing_is_taken_behind_the_last_message(void **state) {
    (void)state;
    receive(1, true, true);
    receive(2, true, true);
    assert_int_equal(node->staging.received, 1);
    assert_int_equal(acknowledged, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_state_of_one_chunk_is_staged, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_message_that_is_said_to_be_the_last_one_too_early_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_last_chunk_that_is_not_said_to_be_one_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_taken_behind_the_last_message, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
