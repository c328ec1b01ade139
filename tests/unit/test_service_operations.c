/* Requests that may take long: known by a token while they are under way and after. */
#include "test_service_world.h"

#include <string.h>

#define AWAIT RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_AWAIT
#define SHOW RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_SHOW
#define CANCEL RAFTKV__V1__OPERATION_ACTION__OPERATION_ACTION_CANCEL
#define RUNNING RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_RUNNING
#define DONE RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_DONE
#define FAILED RAFTKV__V1__OPERATION_STATE__OPERATION_STATE_FAILED

static void finish_change(enum error_code code, uint64_t index) {
    struct change *change = TAKE(world.change);
    struct failure failure;

    failure_set(&failure, code ? code : ERROR_INTERNAL, "The change failed.");
    change->done(change, code ? &failure : NULL, index, NULL);
}

/* Begins an AddVoter on the leader. Returns its token. */
static uint64_t begin(struct caller *caller) {
    world.progress = (struct change_progress){.phase = "catching up", .done = 5, .total = 20};
    ask_with_progress(caller, add_voter_request("nodeD", "hostD:4712"));
    assert_int_equal(caller->told, 1);
    return caller->progress->token;
}

static void ask_operation(struct caller *caller, uint64_t token,
                          Raftkv__V1__OperationAction action) {
    ask(caller, operation_request(token, action));
}

/* What was awaited has failed in this way. */
static void assert_result_is_error(const struct caller *waiter, enum error_code code,
                                   const char *text) {
    const Raftkv__V1__Error *error = waiter->response->operation->result->error;

    assert_non_null(error);
    assert_int_equal(error->code, code);
    assert_non_null(strstr(error->message, text));
}

static void who_wants_it_is_told_how_an_operation_comes_on(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    assert_int_not_equal(begin(&caller), 0);
    assert_string_equal(caller.progress->request, "add-voter");
    assert_string_equal(caller.progress->subject, "nodeD");
    assert_string_equal(caller.progress->asked_by, "TCP");
    assert_int_equal(caller.progress->state, RUNNING);
    pass(500);
    assert_int_equal(caller.told, 2);
    assert_string_equal(caller.progress->phase, "catching up");
    assert_int_equal(caller.progress->done, 5);
    assert_int_equal(caller.progress->total, 20);
    assert_string_equal(caller.progress->unit, "entries");
    pass(500); /* nothing has changed */
    assert_int_equal(caller.told, 2);
    world.progress.done = 9;
    pass(500);
    assert_int_equal(caller.told, 3);
    finish_change(ERROR_OK, 12);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
    assert_int_equal(service_next_deadline(world.service), UINT64_MAX);
    caller_clear(&caller);
}

static void a_compaction_tells_its_pages_as_soon_as_it_knows_them(void **state) {
    struct caller caller = {0};
    Raftkv__V1__SnapshotRequest body = RAFTKV__V1__SNAPSHOT_REQUEST__INIT;

    (void)state;
    ask_with_progress(&caller, new_request(RAFTKV__V1__REQUEST__BODY_SNAPSHOT, &body.base));
    pass(500);
    assert_string_equal(caller.progress->phase, "writing the state to the disk");
    assert_int_equal(caller.progress->total, 0);
    assert_string_equal(caller.progress->unit, "");
    world.pages = 40;
    world.pages_written = 10;
    pass(500);
    assert_int_equal(caller.progress->done, 10);
    assert_int_equal(caller.progress->total, 40);
    assert_string_equal(caller.progress->unit, "pages");
    service_compacted(world.service, 0);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_SNAPSHOT);
    caller_clear(&caller);
}

static void who_does_not_ask_for_progress_gets_the_answer_alone(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, add_voter_request("nodeD", "hostD:4712"));
    pass(600);
    finish_change(ERROR_OK, 12);
    assert_int_equal(caller.told, 0);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
    caller_clear(&caller);
}

static void an_operation_can_be_awaited_by_its_token(void **state) {
    struct caller caller = {0}, waiter = {0};
    uint64_t token;

    (void)state;
    become_leader();
    token = begin(&caller);
    ask_operation(&waiter, token, AWAIT);
    assert_int_equal(waiter.answers, 0);
    finish_change(ERROR_OK, 12);
    assert_body(&waiter, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(waiter.response->operation->operation->state, DONE);
    assert_int_equal(waiter.response->operation->result->configuration->configuration_index, 12);
    caller_clear(&caller);
    caller_clear(&waiter);
}

static void its_result_is_kept_for_five_minutes(void **state) {
    struct caller caller = {0}, soon = {0}, late = {0};
    uint64_t token;

    (void)state;
    become_leader();
    token = begin(&caller);
    finish_change(ERROR_ALREADY_EXISTS, 0);
    pass(299 * 1000);
    ask_operation(&soon, token, AWAIT);
    assert_body(&soon, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(soon.response->operation->operation->state, FAILED);
    assert_int_equal(soon.response->operation->result->error->code, ERROR_ALREADY_EXISTS);
    pass(1000);
    ask_operation(&late, token, SHOW);
    assert_error(&late, ERROR_NOT_FOUND);
    caller_clear(&caller);
    caller_clear(&soon);
    caller_clear(&late);
}

static void an_operation_outlives_its_caller(void **state) {
    struct caller caller = {0}, waiter = {0};
    uint64_t token;

    (void)state;
    become_leader();
    token = begin(&caller);
    service_cancel(world.service, caller.call);
    world.progress.done = 10;
    pass(500);
    ask_operation(&waiter, token, AWAIT);
    finish_change(ERROR_OK, 12);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(caller.told, 1);
    assert_body(&waiter, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(waiter.response->operation->operation->state, DONE);
    caller_clear(&caller);
    caller_clear(&waiter);
}

static void what_nobody_waits_for_does_not_hold_up_the_stop(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    begin(&caller);
    service_cancel(world.service, caller.call);
    assert_int_equal(service_drain(world.service), 0);
    caller_clear(&caller);
}

static void what_waits_for_a_leader_ends_with_its_caller(void **state) {
    struct caller caller = {0}, waiter = {0};
    uint64_t token;

    (void)state;
    token = begin(&caller);
    ask_operation(&waiter, token, AWAIT);
    service_cancel(world.service, caller.call);
    assert_body(&waiter, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(waiter.response->operation->operation->state, FAILED);
    assert_result_is_error(&waiter, ERROR_UNAVAILABLE, "did not wait; nothing happened");
    become_leader();
    assert_int_equal(world.changes, 0);
    caller_clear(&caller);
    caller_clear(&waiter);
}

static void who_waits_is_told_when_an_operation_is_cancelled(void **state) {
    struct caller caller = {0}, canceller = {0};
    uint64_t token;

    (void)state;
    become_leader();
    token = begin(&caller);
    ask_operation(&canceller, token, CANCEL);
    assert_true(assert_error(&caller, ERROR_UNAVAILABLE)->outcome_unknown);
    assert_body(&canceller, RAFTKV__V1__RESPONSE__BODY_OPERATION);
    assert_int_equal(canceller.response->operation->operation->state, FAILED);
    finish_change(ERROR_OK, 12); /* what was begun went on */
    assert_int_equal(caller.answers, 1);
    caller_clear(&caller);
    caller_clear(&canceller);
}

static void what_waited_for_a_leader_is_cancelled_for_good(void **state) {
    struct caller caller = {0}, canceller = {0};
    uint64_t token;

    (void)state;
    token = begin(&caller);
    ask_operation(&canceller, token, CANCEL);
    assert_false(assert_error(&caller, ERROR_UNAVAILABLE)->outcome_unknown);
    become_leader();
    assert_int_equal(world.changes, 0);
    caller_clear(&caller);
    caller_clear(&canceller);
}

static void a_leader_tells_who_has_sent_it_on(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__Operation operation;
    char phase[] = "catching up", unit[] = "bytes";

    (void)state;
    follow(NODE_B);
    begin(&caller);
    assert_true(question(0)->request->progress);
    raftkv__v1__operation__init(&operation);
    operation.phase = phase;
    operation.done = 3;
    operation.total = 4;
    operation.unit = unit;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_PROGRESS;
    response.progress = &operation;
    answer_question(NODE_B, question(0)->forward_id, &response);
    pass(500);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(caller.told, 2);
    assert_int_equal(caller.progress->done, 3);
    assert_string_equal(caller.progress->unit, "bytes");
    answer_question_with_error(NODE_B, question(0)->forward_id, ERROR_BUSY);
    assert_error(&caller, ERROR_BUSY);
    caller_clear(&caller);
}

static void a_forwarded_operation_is_told_of_to_the_member_that_sent_it(void **state) {
    Raftkv__V1__Request *request = add_voter_request("nodeD", "hostD:4712");

    (void)state;
    become_leader();
    world.progress = (struct change_progress){.phase = "catching up", .done = 5, .total = 20};
    request->progress = true;
    forward_to_us(NODE_C, 7, request);
    pass(500);
    assert_int_equal(answer(1)->forward_id, 7);
    assert_int_equal(answer(1)->response->body_case, RAFTKV__V1__RESPONSE__BODY_PROGRESS);
    assert_int_equal(answer(1)->response->progress->done, 5);
    finish_change(ERROR_OK, 12);
    assert_int_equal(answer(2)->response->body_case, RAFTKV__V1__RESPONSE__BODY_CONFIGURATION);
}

static void operations_are_listed_in_their_order(void **state) {
    struct caller first = {0}, second = {0}, list = {0};
    uint64_t token;

    (void)state;
    become_leader();
    token = begin(&first);
    finish_change(ERROR_OK, 12);
    begin(&second);
    ask(&list, operations_request());
    assert_body(&list, RAFTKV__V1__RESPONSE__BODY_OPERATIONS);
    assert_int_equal(list.response->operations->n_operations, 2);
    assert_int_equal(list.response->operations->operations[0]->token, token);
    assert_int_equal(list.response->operations->operations[0]->state, DONE);
    assert_int_equal(list.response->operations->operations[1]->token, token + 1);
    assert_int_equal(list.response->operations->operations[1]->state, RUNNING);
    finish_change(ERROR_OK, 13);
    caller_clear(&first);
    caller_clear(&second);
    caller_clear(&list);
}

static void count_notice(void *data) {
    ++*(unsigned *)data;
}

static void the_observer_hears_of_the_beginning_the_progress_and_the_end(void **state) {
    struct service_operation known[OPERATIONS_MAX];
    struct caller caller = {0};
    unsigned notices = 0;

    (void)state;
    become_leader();
    pass(200);
    service_set_observer(world.service, count_notice, &notices);
    begin(&caller);
    pass(0);
    assert_int_equal(notices, 1);
    assert_int_equal(service_local_operations(world.service, known), 1);
    assert_string_equal(known[0].state, "running");
    pass(500);
    assert_int_equal(notices, 2);
    assert_int_equal(service_local_operations(world.service, known), 1);
    assert_int_equal(known[0].done, 5);
    assert_string_equal(known[0].unit, "entries");
    pass(500); /* nothing has changed */
    assert_int_equal(notices, 2);
    finish_change(ERROR_BUSY, 0);
    pass(0);
    assert_int_equal(notices, 3);
    assert_int_equal(service_local_operations(world.service, known), 1);
    assert_string_equal(known[0].state, "failed");
    caller_clear(&caller);
}

static void only_so_many_are_under_way_and_those_that_ended_make_room(void **state) {
    struct caller callers[OPERATIONS_MAX] = {{0}}, refused = {0}, canceller = {0};
    uint64_t token = 0;

    (void)state; /* all wait for a leader */
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        token = begin(&callers[i]);
    ask(&refused, add_voter_request("nodeE", "hostE:4712"));
    assert_error(&refused, ERROR_BUSY);
    caller_clear(&refused);
    ask_operation(&canceller, token, CANCEL);
    caller_clear(&canceller);
    begin(&refused);
    ask_operation(&canceller, token, SHOW);
    assert_error(&canceller, ERROR_NOT_FOUND);
    pass(20000);
    for (size_t i = 0; i < OPERATIONS_MAX; i++)
        caller_clear(&callers[i]);
    caller_clear(&refused);
    caller_clear(&canceller);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_wants_it_is_told_how_an_operation_comes_on),
        TEST(a_compaction_tells_its_pages_as_soon_as_it_knows_them),
        TEST(who_does_not_ask_for_progress_gets_the_answer_alone),
        TEST(an_operation_can_be_awaited_by_its_token),
        TEST(its_result_is_kept_for_five_minutes),
        TEST(an_operation_outlives_its_caller),
        TEST(what_nobody_waits_for_does_not_hold_up_the_stop),
        TEST(what_waits_for_a_leader_ends_with_its_caller),
        TEST(who_waits_is_told_when_an_operation_is_cancelled),
        TEST(what_waited_for_a_leader_is_cancelled_for_good),
        TEST(a_leader_tells_who_has_sent_it_on),
        TEST(a_forwarded_operation_is_told_of_to_the_member_that_sent_it),
        TEST(operations_are_listed_in_their_order),
        TEST(the_observer_hears_of_the_beginning_the_progress_and_the_end),
        TEST(only_so_many_are_under_way_and_those_that_ended_make_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
