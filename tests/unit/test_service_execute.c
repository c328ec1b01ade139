/* What the serving leader does with writes and reads, and any member with stale reads. */
#include <errno.h>
#include <string.h>

#include "base/journal.h"
#include "test_service_world.h"

/* ---- writes ---- */

static void a_put_is_answered_when_it_is_applied(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", "value"));
    assert_non_null(caller.call);
    assert_int_equal(world.proposed_count, 1);
    assert_int_equal(world.proposed[0]->type, ENTRY_COMMAND);
    assert_int_equal(world.proposed[0]->size, 8);
    assert_memory_equal(world.proposed[0]->data, "keyvalue", 8);
    assert_int_equal(caller.answers, 0);
    apply_proposal(22, false);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    assert_int_equal(caller.response->id, 42);
    assert_int_equal(caller.response->put->revision, 22);
    assert_true(caller.response->put->created);
    caller_clear(&caller);
}

static void only_a_put_lets_the_state_grow(void **state) {
    struct caller putting = {0}, deleting = {0};

    (void)state;
    become_leader();
    ask(&putting, put_request("key", "value"));
    ask(&deleting, delete_request("key"));
    assert_int_equal(world.proposed_count, 2);
    assert_true(world.proposed[0]->grows);
    assert_false(world.proposed[1]->grows);
    fail_proposal(ERROR_NO_SPACE, false);
    assert_error(&putting, ERROR_NO_SPACE);
    apply_proposal(3, true);
    assert_body(&deleting, RAFTKV__V1__RESPONSE__BODY_DELETE);
    caller_clear(&putting);
    caller_clear(&deleting);
}

static void a_put_over_an_existing_key_creates_nothing(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", ""));
    apply_proposal(22, true);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    assert_false(caller.response->put->created);
    caller_clear(&caller);
}

static void a_delete_says_whether_the_key_existed(void **state) {
    (void)state;
    become_leader();
    for (int existed = 0; existed < 2; existed++) {
        struct caller caller = {0};

        ask(&caller, delete_request("key"));
        assert_memory_equal(world.proposed[0]->data, "key", 3);
        apply_proposal(23, existed);
        assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_DELETE);
        assert_int_equal(caller.response->delete_->revision, 23);
        assert_int_equal(caller.response->delete_->existed, existed);
        caller_clear(&caller);
    }
}

static void a_deadline_while_the_write_is_in_the_log_leaves_the_outcome_unknown(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", "value"));
    pass(20000);
    assert_true(assert_error(&caller, ERROR_TIMEOUT)->outcome_unknown);
    assert_string_equal(caller.response->error->leader_name, "nodeA");
    apply_proposal(22, false); /* nobody waits any more */
    assert_int_equal(caller.answers, 1);
    caller_clear(&caller);
}

static void a_write_that_is_cancelled_goes_on_without_an_answer(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", "value"));
    service_cancel(world.service, caller.call);
    pass(30000);
    apply_proposal(22, false);
    assert_int_equal(caller.answers, 0);
}

static void a_write_that_lost_its_leader_goes_to_the_next_one(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", "value"));
    follow(NODE_B);
    fail_proposal(ERROR_NOT_LEADER, false);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(world.sent_count, 1);
    assert_memory_equal(question(0)->request->put->value.data, "value", 5);
    answer_question_with_put(NODE_B, question(0)->forward_id, 31);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void a_forwarded_write_that_lost_its_leader_goes_back_to_its_origin(void **state) {
    (void)state;
    become_leader();
    forward_to_us(NODE_B, 5, put_request("key", "value"));
    follow(NODE_C);
    fail_proposal(ERROR_NOT_LEADER, false);
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(answer(0)->response->error->code, ERROR_NOT_LEADER);
}

static void a_write_that_is_refused_at_once_is_tried_again_later(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    world.refuse_proposals = true;
    ask(&caller, put_request("key", "value"));
    assert_int_equal(caller.answers, 0);
    world.refuse_proposals = false;
    pass(50);
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(22, false);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_PUT);
    caller_clear(&caller);
}

static void refusals_of_the_member_are_passed_on(void **state) {
    static const struct {
        enum error_code code;
        bool unknown;
    } refusals[] = {{ERROR_BUSY, false}, {ERROR_NO_SPACE, false}, {ERROR_UNAVAILABLE, true}};

    (void)state;
    become_leader();
    for (size_t i = 0; i < 3; i++) {
        struct caller caller = {0};

        ask(&caller, put_request("key", "value"));
        fail_proposal(refusals[i].code, refusals[i].unknown);
        assert_int_equal(assert_error(&caller, refusals[i].code)->outcome_unknown,
                         refusals[i].unknown);
        caller_clear(&caller);
    }
}

static void what_the_state_machine_does_not_know_is_an_internal_error(void **state) {
    struct kv_result result = {.code = ERROR_INTERNAL, .revision = 22};
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, put_request("key", "value"));
    finish_proposal(NULL, &result);
    assert_error(&caller, ERROR_INTERNAL);
    caller_clear(&caller);
}

/* ---- linearizable reads ---- */

static void a_get_reads_once_its_barrier_is_applied(void **state) {
    static const uint8_t zeros[8];
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, get_request("key", false));
    assert_int_equal(world.proposed_count, 1);
    assert_int_equal(world.proposed[0]->type, ENTRY_BARRIER);
    assert_int_equal(world.proposed[0]->size, 8);
    assert_memory_equal(world.proposed[0]->data, zeros, 8);
    assert_int_equal(world.jobs_submitted, 0);
    apply_proposal(22, false);
    assert_int_equal(caller.answers, 0);
    assert_int_equal(run_jobs(), 1);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_GET);
    assert_int_equal(caller.response->id, 42);
    assert_int_equal(caller.response->get->revision, 18);
    assert_memory_equal(caller.response->get->item->key.data, "key", 3);
    assert_int_equal(caller.response->get->item->value.len, 5);
    assert_int_equal(caller.response->get->item->create_revision, 3);
    assert_int_equal(caller.response->get->item->modify_revision, 5);
    assert_int_equal(caller.response->get->item->version, 2);
    caller_clear(&caller);
}

static void a_missing_key_is_not_found(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, get_request("missing", false));
    apply_proposal(22, false);
    run_jobs();
    assert_error(&caller, ERROR_NOT_FOUND);
    caller_clear(&caller);
}

static void reads_that_gather_share_one_barrier_and_one_job(void **state) {
    struct caller callers[9] = {0};

    (void)state;
    become_leader();
    for (size_t i = 0; i < 9; i++)
        ask(&callers[i], i % 2 ? get_request("key", false) : list_request("k"));
    assert_int_equal(world.proposed_count, 1); /* of the first; the others gather behind it */
    apply_proposal(22, false);
    assert_int_equal(world.proposed_count, 1);
    assert_int_equal(run_jobs(), 1);
    assert_int_equal(callers[0].answers, 1);
    apply_proposal(23, false);
    assert_int_equal(world.proposed_count, 0);
    assert_int_equal(run_jobs(), 1);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(callers[i].answers, 1);
        assert_null(callers[i].response->error);
        caller_clear(&callers[i]);
    }
}

static void a_read_that_comes_after_the_barrier_was_proposed_waits_for_the_next(void **state) {
    struct caller early = {0}, late = {0};

    (void)state;
    become_leader();
    ask(&early, get_request("key", false));
    ask(&late, get_request("key", false));
    apply_proposal(22, false);
    run_jobs();
    assert_int_equal(early.answers, 1);
    assert_int_equal(late.answers, 0);
    assert_int_equal(world.proposed_count, 1);
    apply_proposal(23, false);
    run_jobs();
    assert_int_equal(late.answers, 1);
    caller_clear(&early);
    caller_clear(&late);
}

static void reads_whose_barrier_lost_its_leader_go_to_the_next_one(void **state) {
    struct caller callers[3] = {0};

    (void)state;
    become_leader();
    for (size_t i = 0; i < 3; i++)
        ask(&callers[i], get_request("key", false));
    forward_to_us(NODE_C, 5, get_request("key", false));
    follow(NODE_B);
    fail_proposal(ERROR_NOT_LEADER, false);
    while (world.proposed_count > 0)
        fail_proposal(ERROR_NOT_LEADER, false);
    assert_int_equal(world.sent_count, 4);
    for (size_t i = 0; i < 4; i++) {
        if (world.sent[i].to == NODE_C)
            assert_int_equal(answer(i)->response->error->code, ERROR_NOT_LEADER);
        else
            answer_question_with_error(NODE_B, question(i)->forward_id, ERROR_NOT_FOUND);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_error(&callers[i], ERROR_NOT_FOUND);
        caller_clear(&callers[i]);
    }
}

static void a_barrier_that_is_refused_at_once_is_tried_again_later(void **state) {
    struct caller callers[2] = {0};

    (void)state;
    become_leader();
    world.refuse_proposals = true;
    ask(&callers[0], get_request("key", false));
    ask(&callers[1], get_request("key", false));
    world.refuse_proposals = false;
    pass(50);
    apply_proposal(22, false);
    apply_proposal(23, false);
    while (run_jobs() > 0)
        continue;
    for (size_t i = 0; i < 2; i++) {
        assert_body(&callers[i], RAFTKV__V1__RESPONSE__BODY_GET);
        caller_clear(&callers[i]);
    }
}

static void a_read_that_misses_its_deadline_is_no_unknown_outcome(void **state) {
    struct caller caller = {0};

    (void)state;
    become_leader();
    ask(&caller, get_request("key", false));
    pass(20000);
    assert_false(assert_error(&caller, ERROR_TIMEOUT)->outcome_unknown);
    apply_proposal(22, false);
    assert_int_equal(world.jobs_submitted, 0);
    assert_int_equal(caller.answers, 1);
    caller_clear(&caller);
}

static void a_read_that_ends_while_the_lane_reads_is_not_answered_again(void **state) {
    struct caller cancelled = {0}, expired = {0};

    (void)state;
    become_leader();
    ask(&cancelled, get_request("key", true));
    ask(&expired, get_request("key", true));
    service_cancel(world.service, cancelled.call);
    pass(20000);
    assert_error(&expired, ERROR_TIMEOUT);
    run_jobs();
    assert_int_equal(cancelled.answers, 0);
    assert_int_equal(expired.answers, 1);
    caller_clear(&expired);
}

static void a_reply_may_cancel_another_call_of_the_same_batch(void **state) {
    struct caller first = {0}, second = {0}, third = {0};

    (void)state;
    become_leader();
    ask(&first, get_request("key", false));
    ask(&second, get_request("key", false));
    ask(&third, get_request("key", false));
    second.cancels = third.call;
    apply_proposal(22, false);
    run_jobs();
    apply_proposal(23, false);
    run_jobs();
    assert_int_equal(second.answers, 1);
    assert_int_equal(third.answers, 0);
    caller_clear(&first);
    caller_clear(&second);
}

/* ---- stale reads ---- */

static void a_stale_read_needs_no_leader(void **state) {
    struct caller caller = {0};

    (void)state;
    ask(&caller, get_request("key", true));
    assert_int_equal(run_jobs(), 1);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_GET);
    assert_int_equal(caller.response->get->revision, 18);
    assert_int_equal(world.proposed_count + world.sent_count, 0);
    caller_clear(&caller);
}

static void a_stale_read_is_unavailable_until_the_state_has_caught_up(void **state) {
    struct caller caller = {0};

    (void)state;
    world.view.readable = false;
    ask(&caller, get_request("key", true));
    assert_null(caller.call);
    assert_error(&caller, ERROR_UNAVAILABLE);
    assert_int_equal(world.jobs_submitted, 0);
    caller_clear(&caller);
}

static void stale_reads_that_come_while_the_lane_reads_share_the_next_job(void **state) {
    struct caller callers[10] = {0};

    (void)state;
    for (size_t i = 0; i < 10; i++)
        ask(&callers[i], get_request("key", true));
    assert_int_equal(world.jobs_submitted, 1);
    run_jobs();
    run_jobs();
    assert_int_equal(world.jobs_submitted, 2);
    assert_int_equal(world.reads, 10);
    for (size_t i = 0; i < 10; i++) {
        assert_body(&callers[i], RAFTKV__V1__RESPONSE__BODY_GET);
        caller_clear(&callers[i]);
    }
}

static void a_batch_ends_at_its_byte_limit_and_the_rest_follows_in_order(void **state) {
    enum { COUNT = 12 };
    struct caller callers[COUNT] = {0};

    (void)state;
    world.value_size = 4 * 1024 * 1024;
    for (size_t i = 0; i < 8; i++)
        ask(&callers[i], get_request("key", true));
    run_jobs(); /* the first alone; the others are on the lane now */
    for (size_t i = 8; i < COUNT; i++)
        ask(&callers[i], get_request("key", true));
    for (size_t done = 1; done < COUNT; done += 4) {
        size_t expected = done + 4 < COUNT ? done + 4 : COUNT;

        run_jobs();
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(callers[i].answers, i < expected);
    }
    for (size_t i = 0; i < COUNT; i++)
        caller_clear(&callers[i]);
}

static void a_list_has_defaults_and_a_continuation(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = list_request("k");

    (void)state;
    request->list->stale = true;
    request->list->keys_only = true;
    world.list_more = true;
    ask(&caller, request);
    run_jobs();
    assert_int_equal(world.listed.limit, LIST_ITEMS_DEFAULT);
    assert_int_equal(world.listed.max_bytes, LIST_BYTES_DEFAULT);
    assert_int_equal(world.listed.prefix_size, 1);
    assert_int_equal(world.listed.from_size, 0);
    assert_true(world.listed.keys_only);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_LIST);
    assert_int_equal(caller.response->list->n_items, 2);
    assert_memory_equal(caller.response->list->items[1]->key.data, "k2", 2);
    assert_int_equal(caller.response->list->revision, 18);
    assert_int_equal(caller.response->list->continuation.len, 2);
    assert_memory_equal(caller.response->list->continuation.data, "k3", 2);
    caller_clear(&caller);
}

static void a_continuation_replaces_from(void **state) {
    struct caller caller = {0};
    Raftkv__V1__Request *request = list_request("k");

    (void)state;
    request->list->stale = true;
    request->list->from = (ProtobufCBinaryData){2, xmemdup("k0", 2)};
    request->list->continuation = (ProtobufCBinaryData){3, xmemdup("k22", 3)};
    request->list->limit = 7;
    request->list->max_bytes = 100;
    ask(&caller, request);
    run_jobs();
    assert_int_equal(world.listed.from_size, 3);
    assert_int_equal(world.listed.limit, 7);
    assert_int_equal(world.listed.max_bytes, 100);
    assert_body(&caller, RAFTKV__V1__RESPONSE__BODY_LIST);
    assert_int_equal(caller.response->list->continuation.len, 0);
    caller_clear(&caller);
}

static void what_is_known_of_the_members_needs_no_question(void **state) {
    struct service_member members[MEMBERS_MAX];
    size_t count;

    (void)state;
    world.unlinked[NODE_C & 15] = true;
    become_leader();
    pass(5);
    count = service_local_members(world.service, members);
    assert_int_equal(count, 3);
    assert_true(members[0].leader && members[0].reachable);
    assert_int_equal(members[0].contact_ms, 0);
    assert_string_equal(members[1].name, world.configuration.servers[1].name);
    assert_true(members[1].reachable && !members[1].leader);
    assert_int_equal(members[1].match_index, 10 * NODE_B);
    assert_false(members[2].reachable);
    follow(NODE_B);
    service_local_members(world.service, members);
    assert_true(members[1].leader);
    assert_int_equal(members[1].match_index, 0);
    assert_true(members[1].contact_ms == UINT64_MAX);
    assert_int_equal(world.sent_count, 0);
}

static void a_node_whose_state_cannot_be_read_can_not_go_on(void **state) {
    struct caller caller = {0};

    (void)state;
    world.read_error = -EIO;
    ask(&caller, get_request("key", true));
    run_jobs();
    assert_error(&caller, ERROR_INTERNAL);
    assert_int_equal(world.state_failures, 1);
    caller_clear(&caller);
}

static void a_read_that_finds_no_space_for_its_pages_is_refused(void **state) {
    struct caller caller = {0};

    (void)state;
    world.read_error = -ENOSPC;
    ask(&caller, get_request("key", true));
    run_jobs();
    assert_error(&caller, ERROR_NO_SPACE);
    assert_int_equal(world.state_failures, 0);
    caller_clear(&caller);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_put_is_answered_when_it_is_applied),
        TEST(only_a_put_lets_the_state_grow),
        TEST(a_put_over_an_existing_key_creates_nothing),
        TEST(a_delete_says_whether_the_key_existed),
        TEST(a_deadline_while_the_write_is_in_the_log_leaves_the_outcome_unknown),
        TEST(a_write_that_is_cancelled_goes_on_without_an_answer),
        TEST(a_write_that_lost_its_leader_goes_to_the_next_one),
        TEST(a_forwarded_write_that_lost_its_leader_goes_back_to_its_origin),
        TEST(a_write_that_is_refused_at_once_is_tried_again_later),
        TEST(refusals_of_the_member_are_passed_on),
        TEST(what_the_state_machine_does_not_know_is_an_internal_error),
        TEST(a_get_reads_once_its_barrier_is_applied),
        TEST(a_missing_key_is_not_found),
        TEST(reads_that_gather_share_one_barrier_and_one_job),
        TEST(a_read_that_comes_after_the_barrier_was_proposed_waits_for_the_next),
        TEST(reads_whose_barrier_lost_its_leader_go_to_the_next_one),
        TEST(a_barrier_that_is_refused_at_once_is_tried_again_later),
        TEST(a_read_that_misses_its_deadline_is_no_unknown_outcome),
        TEST(a_read_that_ends_while_the_lane_reads_is_not_answered_again),
        TEST(a_reply_may_cancel_another_call_of_the_same_batch),
        TEST(a_stale_read_needs_no_leader),
        TEST(a_stale_read_is_unavailable_until_the_state_has_caught_up),
        TEST(stale_reads_that_come_while_the_lane_reads_share_the_next_job),
        TEST(a_batch_ends_at_its_byte_limit_and_the_rest_follows_in_order),
        TEST(a_list_has_defaults_and_a_continuation),
        TEST(a_continuation_replaces_from),
        TEST(what_is_known_of_the_members_needs_no_question),
        TEST(a_node_whose_state_cannot_be_read_can_not_go_on),
        TEST(a_read_that_finds_no_space_for_its_pages_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
