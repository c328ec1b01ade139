/*
 * The state on its way to a follower that is behind the log: parts that are lost, come twice or are
 * wrong, links that break, leaders that change, nodes that die or stop in the middle of it.
 */
#include "journal_fields.h"
#include "node_world.h"

enum { KEYS = 60 };

static unsigned streams_begun, parts, parts_lost, installs;
static uint64_t last_stream;
static unsigned lose_one_in, repeat_one_in;
static bool hold_installs, break_a_part, claim_the_end;

static unsigned die(void) {
    static uint64_t number = 1;

    number = number * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(number >> 33);
}

static bool filter_part(unsigned from, unsigned to, Raftkv__V1__PeerMessage *message) {
    Raftkv__V1__SnapshotPart *part = message->snapshot_part;

    (void)from;
    (void)to;
    parts++;
    if (part->stream != last_stream) {
        last_stream = part->stream;
        streams_begun++;
    }
    if (lose_one_in && die() % lose_one_in == 0) {
        parts_lost++;
        return false;
    }
    if (break_a_part && part->sequence == 3) {
        break_a_part = false;
        part->chunk.data[part->chunk.len / 2] ^= 1;
    }
    if (claim_the_end && part->sequence == 3) {
        claim_the_end = false;
        part->last = true;
    }
    if (repeat_one_in && die() % repeat_one_in == 0) {
        const char *reason = "";
        size_t size;
        uint8_t *data = pack(&message->base, 0, &size);
        uint64_t sender = node_identity(world_node(from))->member_id;

        assert_int_equal(node_receive(world_node(to), sender, data, size, &reason), 0);
        free(data);
    }
    return true;
}

static bool filter(unsigned from, unsigned to, Raftkv__V1__PeerMessage *message) {
    switch (message->body_case) {
    case RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART:
        return filter_part(from, to, message);
    case RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_ACK:
        return !lose_one_in || die() % lose_one_in != 0;
    case RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT:
        installs++;
        return !hold_installs;
    default:
        return true;
    }
}

static int start_three(void **state) {
    (void)state;
    streams_begun = parts = parts_lost = installs = lose_one_in = repeat_one_in = 0;
    last_stream = 0;
    hold_installs = break_a_part = claim_the_end = false;
    world_start(3);
    world.filter = filter;
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_stop();
    return 0;
}

static const struct staging *staging(void) {
    return &world_node(3)->staging;
}

static bool some_is_staged(void) {
    return staging()->staged >= 4;
}

static bool all_is_staged(void) {
    return staging()->complete;
}

static bool is_installing(void) {
    return world_node(3)->install.under_way;
}

static bool is_given_up(void) {
    return staging()->number == 0;
}

static bool no_stream_is_open(void) {
    return world_node(1)->streams[0].phase == STREAM_UNUSED;
}

static bool was_installed(void) {
    return state_installed_index(world_node(3)->state) > 0;
}

static void assert_caught_up(unsigned streams) {
    assert_true(world_run(world_agrees, 20000));
    assert_true(was_installed());
    assert_int_equal(streams_begun, streams);
}

/* A follower that has been started does not know yet whom to take a state from: some come to
 * nothing. */
static void assert_caught_up_anew(void) {
    assert_true(world_run(world_agrees, 20000));
    assert_true(was_installed());
    assert_in_range(streams_begun, 2, 12);
}

/* Stops in the middle of a stream to node 3: nothing moves on its background lane. */
static void hold_half(void) {
    world_leave_behind(3, 0, KEYS);
    assert_true(world_run(some_is_staged, 10000));
    world.nodes[3].lanes[LANE_BACKGROUND].held = true;
    world_settle();
}

static void go_on(void) {
    world.nodes[3].lanes[LANE_BACKGROUND].held = false;
}

/* Until node 3 has staged some; what happens then happens by chance. */
static void begin_with_jitter(void) {
    world_leave_behind(3, 0, KEYS);
    world.jitter = true;
    assert_true(world_run(some_is_staged, 20000));
}

static void a_follower_behind_the_log_is_sent_the_state(void **state) {
    (void)state;
    world_leave_behind(3, 0, KEYS);
    assert_caught_up(1);
    assert_true(parts > STREAM_WINDOW);
    assert_true(world_run(no_stream_is_open, 1000));
}

/* What was said last of how far a state has come, by its field for the other side's name. */
static char said_to_n3[512], said_by_n1[512];

static void keep_progress(void *data, int priority, const char *message, const char *const *fields,
                          size_t count) {
    char *place = NULL, text[512] = "";

    (void)data, (void)priority;
    assert_fields_are_documented(message, fields, count);
    if (count == 0 || strcmp(fields[0], MESSAGE_STATE_PROGRESS) != 0)
        return;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(fields[i], "RAFTKV_MEMBER=n3") == 0)
            place = said_to_n3;
        else if (strcmp(fields[i], "RAFTKV_MEMBER=n1") == 0)
            place = said_by_n1;
        else if (strncmp(fields[i], "RAFTKV_BYTES", 12) == 0 ||
                 strncmp(fields[i], "RAFTKV_TOTAL_BYTES", 18) == 0 ||
                 strncmp(fields[i], "RAFTKV_PERCENT", 14) == 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", fields[i]);
    }
    assert_non_null(place);
    strcpy(place, text);
}

static void assert_progress(const char *said) {
    unsigned long long bytes, total, percent, rate;

    assert_int_equal(sscanf(said,
                            "RAFTKV_BYTES=%llu RAFTKV_TOTAL_BYTES=%llu RAFTKV_PERCENT=%llu "
                            "RAFTKV_BYTES_PER_SECOND=%llu ",
                            &bytes, &total, &percent, &rate),
                     4);
    assert_true(bytes > 0 && bytes < total);
    assert_int_equal(percent, bytes * 100 / total);
    assert_in_range(rate, 1, bytes / 5); /* for more than five seconds */
}

static void both_sides_say_how_far_it_has_come(void **state) {
    const Raftkv__V1__SnapshotProgress *sending;
    Raftkv__V1__MemberStatus *status;

    (void)state;
    hold_half();
    journal_set_sink(keep_progress, NULL, "console");
    said_to_n3[0] = said_by_n1[0] = '\0';
    world_pass(6000);
    assert_progress(said_to_n3);
    status = service_local_status(world_node(1)->service);
    sending = status->sending[0];
    assert_string_equal(sending->member, "n3");
    assert_int_equal(sending->percent, sending->bytes * 100 / sending->total_bytes);
    assert_int_equal(sending->bytes_per_second, sending->bytes * 1000 / sending->milliseconds);
    raftkv__v1__member_status__free_unpacked(status, NULL);
    go_on();
    assert_caught_up(1);
    assert_progress(said_by_n1);
}

static void more_than_was_estimated_is_a_hundred_percent(void **state) {
    struct progress progress = progress_begin(world_node(1), 1000);
    Raftkv__V1__SnapshotProgress *told;

    (void)state;
    progress.bytes = 1001;
    told = progress_describe(world_node(1), &progress, "n2");
    assert_int_equal(told->percent, 100);
    assert_int_equal(told->bytes_per_second, 0); /* no time has passed */
    assert_string_equal(told->member, "n2");
    raftkv__v1__snapshot_progress__free_unpacked(told, NULL);
}

static void writes_go_on_meanwhile(void **state) {
    (void)state;
    hold_half();
    world_fill(KEYS / 2, KEYS, 3000);
    assert_int_equal(world_delete(1, "key-000001"), ERROR_OK);
    assert_int_equal(world_delete(1, "key-000059"), ERROR_OK);
    go_on();
    assert_caught_up(1);
}

static void what_the_follower_needs_afterwards_stays_in_the_log(void **state) {
    (void)state;
    hold_half();
    for (unsigned i = 0; i < 3; i++) {
        world_fill(1000 * i, KEYS, 3000);
        assert_int_equal(world_compact(1), ERROR_OK);
    }
    go_on();
    assert_caught_up(1);
}

static void a_broken_link_costs_no_new_stream(void **state) {
    (void)state;
    begin_with_jitter();
    for (int i = 0; i < 5; i++) {
        world_break_link(1, 3);
        world_pass(700);
    }
    assert_caught_up(1);
}

static void lost_and_repeated_parts_are_sent_and_taken_once(void **state) {
    (void)state;
    begin_with_jitter();
    lose_one_in = 3;
    repeat_one_in = 2;
    assert_caught_up(1);
    assert_true(parts_lost > 0);
}

static void a_damaged_part_ends_the_stream_and_another_one_arrives(void **state) {
    (void)state;
    break_a_part = true;
    world_leave_behind(3, 0, KEYS);
    assert_caught_up(2);
}

static void an_end_that_is_none_ends_the_stream(void **state) {
    (void)state;
    claim_the_end = true;
    world_leave_behind(3, 0, KEYS);
    assert_caught_up(2);
}

static void inject_part(uint64_t stream, uint64_t sequence) {
    Raftkv__V1__SnapshotPart part = RAFTKV__V1__SNAPSHOT_PART__INIT;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    const char *reason = "";
    uint8_t *data;
    size_t size;

    part.stream = stream;
    part.sequence = sequence;
    part.last = true;
    part.chunk.data = (uint8_t *)(uintptr_t) "chunk";
    part.chunk.len = 5;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART;
    peer.snapshot_part = &part;
    data = pack(&peer.base, 0, &size);
    assert_int_equal(
        node_receive(world_node(3), node_identity(world_node(1))->member_id, data, size, &reason),
        0);
    free(data);
    node_flush(world_node(3));
}

static void nothing_follows_the_last_part(void **state) {
    (void)state;
    hold_installs = true;
    world_leave_behind(3, 0, KEYS);
    assert_true(world_run(all_is_staged, 10000));
    inject_part(staging()->number, staging()->received + 1);
    world_settle();
    assert_true(staging()->complete);
    hold_installs = false;
    assert_caught_up(1);
}

static void parts_far_ahead_and_of_no_stream_change_nothing(void **state) {
    (void)state;
    hold_half();
    inject_part(staging()->number, staging()->received + 2);
    inject_part(staging()->number, 0);
    inject_part(staging()->number, UINT64_MAX);
    inject_part(0, 1);
    inject_part(12345, 7);
    go_on();
    assert_caught_up(1);
}

static void what_is_staged_waits_for_the_word_to_install_it(void **state) {
    (void)state;
    hold_installs = true;
    world_leave_behind(3, 0, KEYS);
    assert_true(world_run(all_is_staged, 10000));
    world_pass(20000);
    assert_false(was_installed());
    hold_installs = false;
    assert_caught_up(1);
}

/* ---- leaders that change ---- */

static bool another_leads(void) {
    return world_leader() == 2;
}

static void a_new_leader_begins_its_own_stream(void **state) {
    (void)state;
    begin_with_jitter();
    world_isolate(1, true);
    assert_true(world_run(another_leads, 20000));
    world_fill(KEYS, 20, 3000);
    assert_true(world_run(was_installed, 60000));
    world_isolate(1, false);
    assert_caught_up_anew();
}

static void a_complete_stage_of_an_old_leader_gives_way(void **state) {
    (void)state;
    hold_installs = true;
    world_leave_behind(3, 0, KEYS);
    assert_true(world_run(all_is_staged, 10000));
    world_isolate(1, true);
    hold_installs = false;
    assert_true(world_run(was_installed, 60000));
    world_isolate(1, false);
    assert_caught_up_anew();
}

static void a_follower_that_is_removed_meanwhile_ends_the_stream(void **state) {
    (void)state;
    hold_half();
    assert_int_equal(world_remove(1, 3), ERROR_OK);
    world_pass(5000);
    assert_int_equal(world_node(1)->streams[0].phase, STREAM_UNUSED);
    assert_true(streams_keep_from(world_node(1)) == UINT64_MAX);
    go_on();
    world_pass(5000);
    world_kill(3);
    assert_true(world_run(world_agrees, 10000));
}

static void a_stage_that_nobody_goes_on_with_is_given_up(void **state) {
    (void)state;
    begin_with_jitter();
    world.jitter = false;
    world_isolate(3, true);
    assert_true(world_run(is_given_up, 130 * 1000));
    world_isolate(3, false);
    assert_caught_up(2);
}

/* ---- nodes that die ---- */

static void a_follower_killed_with_half_a_stage_begins_anew(void **state) {
    (void)state;
    begin_with_jitter();
    world_kill(3);
    world_pass(500);
    world_boot(3);
    world.jitter = false;
    assert_caught_up_anew();
}

static void a_follower_killed_with_a_complete_stage_begins_anew(void **state) {
    (void)state;
    hold_installs = true;
    world_leave_behind(3, 0, KEYS);
    assert_true(world_run(all_is_staged, 10000));
    world_kill(3);
    hold_installs = false;
    world_boot(3);
    assert_caught_up_anew();
}

static void a_follower_killed_at_any_step_of_the_switch_is_whole(void **state) {
    (void)state;
    for (unsigned step = 0; step < 6; step++) {
        world_leave_behind(3, step * KEYS, KEYS);
        world.nodes[3].lanes[LANE_LOG].held = true;
        world.nodes[3].lanes[LANE_STATE].held = true;
        assert_true(world_run(is_installing, 10000));
        for (unsigned i = 0; i < step; i++)
            if (!world_run_job(3, LANE_LOG))
                world_run_job(3, LANE_STATE);
        world_kill(3);
        world_boot(3);
        assert_true(world_run(world_agrees, 60000));
        assert_true(was_installed());
    }
}

static void a_leader_killed_in_the_middle_of_it_goes_on_later(void **state) {
    (void)state;
    begin_with_jitter();
    world_kill(1);
    assert_true(world_run(another_leads, 20000));
    world_boot(1);
    world.jitter = false;
    assert_true(world_run(world_agrees, 60000));
}

/* ---- nodes that stop ---- */

static void a_follower_can_be_stopped_at_any_time(void **state) {
    bool (*const conditions[])(void) = {some_is_staged, all_is_staged, is_installing};

    (void)state;
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        world_leave_behind(3, (unsigned)i * KEYS, KEYS);
        hold_installs = conditions[i] == all_is_staged;
        world.jitter = true;
        assert_true(world_run(conditions[i], 20000));
        world.jitter = false;
        assert_true(world_shut_down(3));
        hold_installs = false;
        world_boot(3);
        assert_true(world_run(world_agrees, 60000));
    }
}

static void a_leader_can_be_stopped_in_the_middle_of_it(void **state) {
    (void)state;
    begin_with_jitter();
    world.jitter = false;
    assert_true(world_shut_down(1));
    world_boot(1);
    assert_true(world_run(world_agrees, 60000));
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, start_three, stop)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        WITH(a_follower_behind_the_log_is_sent_the_state),
        WITH(both_sides_say_how_far_it_has_come),
        WITH(more_than_was_estimated_is_a_hundred_percent),
        WITH(writes_go_on_meanwhile),
        WITH(what_the_follower_needs_afterwards_stays_in_the_log),
        WITH(a_broken_link_costs_no_new_stream),
        WITH(lost_and_repeated_parts_are_sent_and_taken_once),
        WITH(a_damaged_part_ends_the_stream_and_another_one_arrives),
        WITH(an_end_that_is_none_ends_the_stream),
        WITH(nothing_follows_the_last_part),
        WITH(parts_far_ahead_and_of_no_stream_change_nothing),
        WITH(what_is_staged_waits_for_the_word_to_install_it),
        WITH(a_new_leader_begins_its_own_stream),
        WITH(a_complete_stage_of_an_old_leader_gives_way),
        WITH(a_follower_that_is_removed_meanwhile_ends_the_stream),
        WITH(a_stage_that_nobody_goes_on_with_is_given_up),
        WITH(a_follower_killed_with_half_a_stage_begins_anew),
        WITH(a_follower_killed_with_a_complete_stage_begins_anew),
        WITH(a_follower_killed_at_any_step_of_the_switch_is_whole),
        WITH(a_leader_killed_in_the_middle_of_it_goes_on_later),
        WITH(a_follower_can_be_stopped_at_any_time),
        WITH(a_leader_can_be_stopped_in_the_middle_of_it),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
