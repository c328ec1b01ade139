/* The service as a whole: limits, deadlines, cancelling, draining, the end, and notices. */
#include <string.h>

#include "base/journal.h"
#include "service/deadlines.h"
#include "test_service_world.h"

static size_t answered, answered_with_error[ERROR_CODE_COUNT], unknown_outcomes;

static void count_reply(void *data, const Raftkv__V1__Response *response) {
    (void)data;
    answered++;
    if (response->error) {
        answered_with_error[response->error->code]++;
        unknown_outcomes += response->error->outcome_unknown ? 1 : 0;
    }
}

static int setup(void **state) {
    answered = unknown_outcomes = 0;
    memset(answered_with_error, 0, sizeof answered_with_error);
    return world_setup(state);
}

static void ignore_message(void *data, int priority, const char *message, const char *const *fields,
                           size_t count) {
    (void)data, (void)priority, (void)message, (void)fields, (void)count;
}

static void an_invalid_request_is_answered_at_once(void **state) {
    Raftkv__V1__Request *unknown = status_request(false);
    struct caller caller = {0};

    (void)state;
    ask(&caller, put_request("", "value"));
    assert_null(caller.call);
    assert_error(&caller, ERROR_INVALID_ARGUMENT);
    assert_int_equal(caller.response->id, 42);
    caller_clear(&caller);

    raftkv__v1__request__free_unpacked(unknown, NULL);
    unknown = xmalloc(sizeof *unknown);
    raftkv__v1__request__init(unknown);
    unknown->id = 43;
    ask(&caller, unknown);
    assert_null(caller.call);
    assert_error(&caller, ERROR_UNSUPPORTED);
    assert_int_equal(caller.response->id, 43);
    caller_clear(&caller);
}

static void too_many_requests_are_busy_until_some_have_ended(void **state) {
    struct call *call = NULL;

    (void)state;
    journal_set_sink(ignore_message, NULL, "console");
    for (size_t i = 0; i < REQUESTS_WAITING_MAX; i++)
        call = service_handle(world.service, put_request("key", "value"), count_reply, NULL);
    assert_int_equal(answered, 0);
    assert_null(service_handle(world.service, put_request("key", ""), count_reply, NULL));
    assert_int_equal(answered_with_error[ERROR_BUSY], 1);
    service_cancel(world.service, call);
    assert_non_null(service_handle(world.service, put_request("key", ""), count_reply, NULL));
    assert_int_equal(answered, 1);
    pass(20000);
    assert_int_equal(answered_with_error[ERROR_NO_LEADER], REQUESTS_WAITING_MAX);
    journal_set_sink(journal_sink_stderr, NULL, "console");
}

static void too_many_bytes_are_busy(void **state) {
    (void)state;
    journal_set_sink(ignore_message, NULL, "console");
    for (size_t i = 0; i < 64; i++) {
        Raftkv__V1__Request *request = put_request("key", "");

        /* Never touched, so that it costs nothing. */
        request->put->value = (ProtobufCBinaryData){VALUE_SIZE_MAX, xcalloc(1, VALUE_SIZE_MAX)};
        service_handle(world.service, request, count_reply, NULL);
    }
    assert_int_equal(answered_with_error[ERROR_BUSY], 1); /* the last one's key was too much */
    assert_non_null(service_handle(world.service, put_request("key", ""), count_reply, NULL));
    journal_set_sink(journal_sink_stderr, NULL, "console");
}

static void deadlines_come_in_their_order(void **state) {
    enum { COUNT = 500 };
    struct caller callers[COUNT] = {0};
    uint64_t deadlines[COUNT], seed = 12345, begun = world.now;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        Raftkv__V1__Request *request = put_request("key", "value");

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        request->timeout_ms = 1 + (uint32_t)(seed >> 33) % 1000;
        deadlines[i] = begun + request->timeout_ms;
        ask(&callers[i], request);
    }
    for (size_t i = 0; i < COUNT; i += 7)
        service_cancel(world.service, callers[i].call);
    while (world.now < begun + 1000) {
        pass(1);
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(callers[i].answers, i % 7 != 0 && deadlines[i] <= world.now);
    }
    assert_int_equal(service_next_deadline(world.service), UINT64_MAX);
    for (size_t i = 0; i < COUNT; i++)
        caller_clear(&callers[i]);
}

static void the_earliest_deadline_comes_first_whatever_was_removed(void **state) {
    enum { COUNT = 100, REMOVED = 40, ROUNDS = 500 };
    struct deadlines deadlines = {0};
    uint64_t seed = 1;

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        struct deadline all[COUNT] = {0}, *first;
        uint64_t last = 0;

        for (size_t i = 0; i < COUNT; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            all[i].time = (seed >> 33) % 1000;
            deadlines_add(&deadlines, &all[i]);
        }
        for (size_t i = 0; i < REMOVED; i++)
            deadlines_remove(&deadlines, &all[i]);
        for (size_t i = REMOVED; i < COUNT; i++) {
            first = deadlines_first(&deadlines);
            assert_true(first >= &all[REMOVED] && first->time >= last);
            last = first->time;
            deadlines_remove(&deadlines, first);
        }
        assert_null(deadlines_first(&deadlines));
    }
    deadlines_deinit(&deadlines);
}

static void nothing_to_wait_for_has_no_deadline(void **state) {
    struct caller caller = {0};

    (void)state;
    assert_int_equal(service_next_deadline(world.service), UINT64_MAX);
    become_leader();
    ask(&caller, put_request("key", "value"));
    assert_int_equal(service_next_deadline(world.service), world.now + 20000);
    service_cancel(world.service, caller.call);
    assert_int_equal(service_next_deadline(world.service), UINT64_MAX);
}

static void a_call_can_be_cancelled_at_every_stage(void **state) {
    struct caller callers[8] = {0};

    (void)state;
    ask(&callers[0], put_request("key", "value")); /* waits for a leader */
    service_cancel(world.service, callers[0].call);
    follow(NODE_B);
    ask(&callers[1], put_request("key", "value")); /* forwarded */
    ask(&callers[2], get_request("key", false));
    ask(&callers[3], status_request(true)); /* collects */
    for (size_t i = 1; i < 4; i++)
        service_cancel(world.service, callers[i].call);
    become_leader();
    ask(&callers[4], get_request("key", false)); /* waits for its read index */
    ask(&callers[5], get_request("key", false)); /* gathers for the next */
    service_cancel(world.service, callers[4].call);
    service_cancel(world.service, callers[5].call);
    ask(&callers[6], get_request("key", true)); /* on the lane */
    ask(&callers[7], get_request("key", true)); /* queued for the lane */
    service_cancel(world.service, callers[6].call);
    service_cancel(world.service, callers[7].call);
    while (world.proposed_count > 0)
        apply_proposal(22, false);
    while (run_jobs() > 0)
        continue;
    pass(60000);
    assert_int_equal(service_drain(world.service), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(callers[i].answers, 0);
}

static void draining_refuses_what_is_new_and_finishes_what_is_under_way(void **state) {
    struct caller old = {0}, new = {0};

    (void)state;
    become_leader();
    ask(&old, put_request("key", "value"));
    assert_int_equal(service_drain(world.service), 1);
    ask(&new, put_request("key", "value"));
    assert_false(assert_error(&new, ERROR_UNAVAILABLE)->outcome_unknown);
    apply_proposal(22, false);
    assert_body(&old, RAFTKV__V1__RESPONSE__BODY_PUT);
    assert_int_equal(service_drain(world.service), 0);
    caller_clear(&old);
    caller_clear(&new);
}

static void draining_sends_forwarded_requests_to_the_next_leader(void **state) {
    (void)state;
    become_leader();
    service_drain(world.service);
    forward_to_us(NODE_B, 1, put_request("key", "value"));
    forward_to_us(NODE_B, 2, status_request(false));
    assert_int_equal(answer(0)->response->error->code, ERROR_NOT_LEADER);
    assert_int_equal(answer(1)->response->error->code, ERROR_UNAVAILABLE);
}

static void the_end_answers_everything_that_waits(void **state) {
    (void)state;
    service_handle(world.service, put_request("key", "value"), count_reply, NULL);
    world.view.state = MEMBER_LEADER; /* the one above goes on waiting */
    world.view.serving = true;
    service_handle(world.service, get_request("key", false), count_reply, NULL);
    service_handle(world.service, get_request("key", false), count_reply, NULL);
    service_handle(world.service, get_request("key", true), count_reply, NULL);
    service_handle(world.service, get_request("key", true), count_reply, NULL);
    service_handle(world.service, status_request(true), count_reply, NULL);
    service_handle(world.service, put_request("key", "value"), count_reply, NULL);
    service_handle(world.service, add_voter_request("nodeD", "hostD:4712"), count_reply, NULL);
    world.view.state = MEMBER_FOLLOWER;
    world.view.leader = NODE_B;
    service_handle(world.service, get_request("key", false), count_reply, NULL);
    service_handle(world.service, delete_request("key"), count_reply, NULL);
    assert_int_equal(answered, 0);
    world.service = service_free(world.service);
    assert_int_equal(answered, 10);
    assert_int_equal(answered_with_error[ERROR_UNAVAILABLE], 10);
    /* The put in the log, the change, and the delete at the leader. */
    assert_int_equal(unknown_outcomes, 3);
    /* The teardown has the proposals, the change and the job end after the service. */
}

static size_t again;

static void ask_again(void *data, const Raftkv__V1__Response *response) {
    assert_non_null(response);
    if (again-- > 0)
        service_handle(data, status_request(false), ask_again, data);
}

static void a_reply_may_hand_in_the_next_request_without_end(void **state) {
    (void)state;
    again = 200000;
    service_handle(world.service, status_request(false), ask_again, world.service);
    assert_int_equal(again, SIZE_MAX);
    assert_int_equal(service_drain(world.service), 0);
}

static void ask_while_it_ends(void *data, const Raftkv__V1__Response *response) {
    assert_int_equal(response->error->code, ERROR_UNAVAILABLE);
    service_handle(data, put_request("key", "value"), count_reply, NULL);
}

static void a_request_from_within_the_last_reply_is_refused(void **state) {
    (void)state;
    service_handle(world.service, put_request("key", "value"), ask_while_it_ends, world.service);
    world.service = service_free(world.service);
    assert_int_equal(answered_with_error[ERROR_UNAVAILABLE], 1);
}

static struct call *nested;

static void hand_in_and_cancel(void *data, const Raftkv__V1__Response *response) {
    (void)response;
    nested = service_handle(data, put_request("key", ""), count_reply, NULL);
    assert_non_null(nested);
    service_cancel(data, nested);
}

static void a_reply_may_cancel_what_it_has_handed_in(void **state) {
    (void)state;
    service_handle(world.service, status_request(false), hand_in_and_cancel, world.service);
    assert_int_equal(service_drain(world.service), 0);
    assert_int_equal(answered, 0);
}

static size_t notices;

static void count_notice(void *data) {
    assert_ptr_equal(data, &notices);
    notices++;
}

static void the_observer_hears_of_a_change_once_and_of_indexes_now_and_then(void **state) {
    (void)state;
    notices = 0;
    service_set_observer(world.service, count_notice, &notices);
    world.view.term++;
    service_member_changed(world.service);
    world.view.leader = NODE_B;
    service_member_changed(world.service);
    assert_int_equal(notices, 0);
    assert_int_equal(service_next_deadline(world.service), world.now);
    pass(0);
    assert_int_equal(notices, 1);
    for (int i = 0; i < 50; i++) {
        world.view.commit_index++;
        service_member_changed(world.service);
        pass(1);
    }
    assert_int_equal(notices, 1);
    pass(50);
    assert_int_equal(notices, 2);
    assert_int_equal(service_next_deadline(world.service), UINT64_MAX);
}

static void the_local_status_is_the_callers_to_free(void **state) {
    Raftkv__V1__MemberStatus *status = service_local_status(world.service);

    (void)state;
    assert_string_equal(status->name, "nodeA");
    assert_string_equal(status->leader, "");
    raftkv__v1__member_status__free_unpacked(status, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_invalid_request_is_answered_at_once),
        TEST(too_many_requests_are_busy_until_some_have_ended),
        TEST(too_many_bytes_are_busy),
        TEST(deadlines_come_in_their_order),
        cmocka_unit_test(the_earliest_deadline_comes_first_whatever_was_removed),
        TEST(nothing_to_wait_for_has_no_deadline),
        TEST(a_call_can_be_cancelled_at_every_stage),
        TEST(draining_refuses_what_is_new_and_finishes_what_is_under_way),
        TEST(draining_sends_forwarded_requests_to_the_next_leader),
        TEST(the_end_answers_everything_that_waits),
        TEST(a_reply_may_hand_in_the_next_request_without_end),
        TEST(a_request_from_within_the_last_reply_is_refused),
        TEST(a_reply_may_cancel_what_it_has_handed_in),
        TEST(the_observer_hears_of_a_change_once_and_of_indexes_now_and_then),
        TEST(the_local_status_is_the_callers_to_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
