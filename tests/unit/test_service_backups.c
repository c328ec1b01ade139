/* A backup that is read, chunk by chunk, is one operation. */
#include "test_service_world.h"

#include <string.h>

#define AWAIT RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT
#define CANCEL RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL

enum { TOKEN = 77 };

/* The node that has the backup. */
static struct {
    bool open;
    unsigned reads, ends;
} node;

static int node_read(void *data, uint64_t *token, uint64_t sequence, struct failure *failure) {
    (void)data;
    (void)sequence;
    if (*token != 0 && !node.open)
        return failure_set(failure, ERROR_NOT_FOUND, "There is no such backup.");
    *token = TOKEN;
    node.open = true;
    node.reads++;
    return 0;
}

static int node_end(void *data, uint64_t token, struct failure *failure) {
    (void)data;
    assert_int_equal(token, TOKEN);
    if (!node.open)
        return failure_set(failure, ERROR_NOT_FOUND, "There is no such backup.");
    node.open = false;
    node.ends++;
    return 0;
}

static int setup(void **state) {
    world_setup(state);
    memset(&node, 0, sizeof node);
    world.node.backup_read = node_read;
    world.node.backup_end = node_end;
    return 0;
}

static Raftkv__V1__Request *backup_request(uint64_t token, uint64_t sequence, bool end) {
    Raftkv__V1__BackupRequest backup = RAFTKV__V1__BACKUP_REQUEST__INIT;

    backup.token = token;
    backup.sequence = sequence;
    backup.end = end;
    return new_request(RAFTKV__V1__REQUEST__BODY_BACKUP, &backup.base);
}

static void give_chunk(uint64_t done, uint64_t total, bool last) {
    const struct service_backup chunk = {
        .token = TOKEN, .done = done, .total = total, .last = last};

    assert_true(service_backup_read(world.service, TOKEN, &chunk, NULL));
}

/* Begins one, and reads its first chunk. */
static void begin(struct caller *reader) {
    ask_with_progress(reader, backup_request(0, 0, false));
    give_chunk(100, 1000, false);
    assert_body(reader, RAFTKV__V1__RESPONSE__BODY_BACKUP);
    caller_clear(reader);
}

static struct service_operation the_operation(void) {
    struct service_operation known[OPERATIONS_MAX];

    assert_int_equal(service_local_operations(world.service, known), 1);
    assert_string_equal(known[0].request, "backup");
    return known[0];
}

static void assert_operation(const char *state, uint64_t done, uint64_t total) {
    struct service_operation operation = the_operation();

    assert_string_equal(operation.state, state);
    assert_int_equal(operation.done, done);
    assert_int_equal(operation.total, total);
    assert_string_equal(operation.unit, "bytes");
}

static void how_far_it_is_read_is_its_progress_and_the_last_chunk_its_end(void **state) {
    struct caller reader = {0}, waiter = {0};

    (void)state;
    begin(&reader);
    assert_operation("running", 100, 1000);
    assert_string_equal(the_operation().asked_by, "TCP");
    ask(&waiter, operation_request(the_operation().token, AWAIT));
    ask(&reader, backup_request(TOKEN, 1, false));
    give_chunk(1100, 1000, false); /* there was more than it looked like */
    caller_clear(&reader);
    assert_operation("running", 1100, 1100);
    assert_int_equal(waiter.answers, 0);
    ask(&reader, backup_request(TOKEN, 2, false));
    give_chunk(1150, 1000, true);
    assert_operation("done", 1150, 1150);
    assert_body(&waiter, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_true(waiter.response->operation->result->backup->last);
    caller_clear(&reader);
    ask(&reader, backup_request(TOKEN, 0, true));
    assert_body(&reader, RAFTKV__V1__RESPONSE__BODY_BACKUP);
    assert_operation("done", 1150, 1150);
    caller_clear(&reader);
    caller_clear(&waiter);
}

static void an_end_before_the_last_chunk_is_a_failure(void **state) {
    struct caller reader = {0}, waiter = {0};

    (void)state;
    begin(&reader);
    ask(&waiter, operation_request(the_operation().token, AWAIT));
    ask(&reader, backup_request(TOKEN, 0, true));
    assert_body(&reader, RAFTKV__V1__RESPONSE__BODY_BACKUP);
    assert_operation("failed", 100, 1000);
    assert_int_equal(waiter.response->operation->result->error->code, ERROR_UNAVAILABLE);
    caller_clear(&reader);
    ask(&reader, backup_request(TOKEN, 1, false));
    assert_error(&reader, ERROR_NOT_FOUND);
    caller_clear(&reader);
    caller_clear(&waiter);
}

static void who_reads_a_cancelled_backup_is_told_so(void **state) {
    struct caller reader = {0}, canceller = {0};

    (void)state;
    begin(&reader);
    ask(&reader, backup_request(TOKEN, 1, false));
    ask(&canceller, operation_request(the_operation().token, CANCEL));
    assert_body(&canceller, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(node.ends, 1);
    assert_non_null(strstr(assert_error(&reader, ERROR_UNAVAILABLE)->message, "cancelled"));
    caller_clear(&reader);
    ask(&reader, backup_request(TOKEN, 1, false));
    assert_non_null(strstr(assert_error(&reader, ERROR_UNAVAILABLE)->message, "cancelled"));
    assert_operation("failed", 100, 1000);
    caller_clear(&canceller);
    ask(&canceller, operation_request(the_operation().token, CANCEL));
    assert_body(&canceller, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(node.ends, 1);
    caller_clear(&reader);
    caller_clear(&canceller);
}

static void who_reads_a_backup_that_was_given_up_is_told_why(void **state) {
    struct caller reader = {0};
    struct failure failure;

    (void)state;
    begin(&reader);
    node.open = false;
    failure_set(&failure, ERROR_TIMEOUT, "It was given up.");
    service_backup_ended(world.service, TOKEN, &failure);
    assert_operation("failed", 100, 1000);
    ask(&reader, backup_request(TOKEN, 1, false));
    assert_error(&reader, ERROR_TIMEOUT);
    caller_clear(&reader);
    pass(OPERATION_KEPT_MS);
    ask(&reader, backup_request(TOKEN + 1, 1, false));
    assert_error(&reader, ERROR_NOT_FOUND);
    caller_clear(&reader);
}

static void a_state_that_can_not_be_read_fails_it(void **state) {
    struct caller reader = {0};
    struct failure failure;

    (void)state;
    ask(&reader, backup_request(0, 0, false));
    failure_set(&failure, ERROR_NO_SPACE, "There is no space.");
    assert_true(service_backup_read(world.service, TOKEN, NULL, &failure));
    assert_error(&reader, ERROR_NO_SPACE);
    assert_string_equal(the_operation().state, "failed");
    caller_clear(&reader);
}

static void it_goes_on_when_a_connection_breaks(void **state) {
    struct caller reader = {0};
    struct service_backup chunk = {.token = TOKEN, .done = 200, .total = 1000};

    (void)state;
    begin(&reader);
    ask(&reader, backup_request(TOKEN, 1, false));
    service_cancel(world.service, reader.call);
    assert_false(service_backup_read(world.service, TOKEN, &chunk, NULL));
    assert_operation("running", 200, 1000);
    caller_clear(&reader);
}

static void it_is_not_begun_while_too_many_operations_are_under_way(void **state) {
    struct caller callers[OPERATIONS_MAX] = {{0}}, reader = {0};

    (void)state; /* all wait for a leader */
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        ask(&callers[i], add_voter_request("nodeD", "hostD:4712"));
    ask(&reader, backup_request(0, 0, false));
    assert_error(&reader, ERROR_BUSY);
    assert_false(node.open);
    pass(20000);
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        caller_clear(&callers[i]);
    caller_clear(&reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(how_far_it_is_read_is_its_progress_and_the_last_chunk_its_end),
        TEST(an_end_before_the_last_chunk_is_a_failure),
        TEST(who_reads_a_cancelled_backup_is_told_so),
        TEST(who_reads_a_backup_that_was_given_up_is_told_why),
        TEST(a_state_that_can_not_be_read_fails_it),
        TEST(it_goes_on_when_a_connection_breaks),
        TEST(it_is_not_begun_while_too_many_operations_are_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
