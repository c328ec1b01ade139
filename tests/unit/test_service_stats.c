/* What a node says of itself in numbers. */
#include "test_service_world.h"

#include <string.h>

static const Raftkv__V1__Statistic *find(const struct caller *caller, const char *name) {
    const Raftkv__V1__StatsResponse *stats = caller->response->stats;

    for (size_t i = 0; i < stats->n_statistics; i++)
        if (strcmp(stats->statistics[i]->name, name) == 0)
            return stats->statistics[i];
    return NULL;
}

static uint64_t number(const struct caller *caller, const char *name) {
    const Raftkv__V1__Statistic *statistic = find(caller, name);

    assert_non_null(statistic);
    assert_int_equal(statistic->value_case, RAFTKV__V1__STATISTIC__VALUE_NUMBER);
    return statistic->number;
}

static void get_stats(struct caller *caller) {
    ask(caller, stats_request());
    assert_int_equal(caller->answers, 0);
    service_measured(world.service);
    assert_body(caller, RAFTKV__V1__RESPONSE__BODY_STATS);
}

static void everybody_who_asks_meanwhile_gets_the_same_measurement(void **state) {
    struct caller callers[2] = {{0}};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        ask(&callers[i], stats_request());
    assert_int_equal(world.measurements, 2);
    service_measured(world.service);
    for (size_t i = 0; i < 2; i++) {
        assert_body(&callers[i], RAFTKV__V1__RESPONSE__BODY_STATS);
        assert_int_equal(number(&callers[i], "log.entries"), 12);
        caller_clear(&callers[i]);
    }
}

static void a_leader_tells_of_its_peers_and_a_follower_of_its_leader(void **state) {
    struct caller leader = {0}, follower = {0};

    (void)state;
    become_leader();
    world.statistics.elections_won = 3;
    get_stats(&leader);
    assert_int_equal(number(&leader, "raft.term"), world.view.term);
    assert_int_equal(number(&leader, "raft.elections_won"), 3);
    assert_int_equal(number(&leader, "raft.peers.nodeB.match_index"), 10 * NODE_B);
    assert_int_equal(number(&leader, "raft.peers.nodeB.contact"), 0);
    assert_int_equal(number(&leader, "raft.peers.nodeC.match_index"), 10 * NODE_C);
    assert_null(find(&leader, "raft.peers.nodeA.match_index"));
    assert_null(find(&leader, "raft.peers.nodeA.reachable"));
    assert_int_equal(number(&leader, "raft.peers.nodeB.reachable"), 1);
    assert_null(find(&leader, "raft.leader_contact"));

    follow(NODE_B);
    world.statistics.leader_heard = world.now - 40;
    world.unlinked[NODE_C & 15] = true;
    get_stats(&follower);
    assert_int_equal(number(&follower, "raft.leader_contact"), 40);
    assert_int_equal(number(&follower, "raft.peers.nodeB.reachable"), 1);
    assert_int_equal(number(&follower, "raft.peers.nodeC.reachable"), 0);
    assert_null(find(&follower, "raft.peers.nodeB.match_index"));
    caller_clear(&leader);
    caller_clear(&follower);
}

static void requests_are_counted_by_kind_and_outcome(void **state) {
    struct caller put = {0}, get = {0}, stats = {0};
    const Raftkv__V1__Statistic *latency;

    (void)state;
    become_leader();
    ask(&put, put_request("key", "value"));
    pass(7);
    apply_proposal(22, false);
    ask(&get, get_request("missing", true));
    run_jobs();
    get_stats(&stats);
    assert_int_equal(number(&stats, "requests.answered.put.OK"), 1);
    assert_int_equal(number(&stats, "requests.answered.get.NotFound"), 1);
    assert_null(find(&stats, "requests.answered.get.OK"));
    latency = find(&stats, "requests.latency.put");
    assert_non_null(latency);
    assert_string_equal(latency->unit, "us");
    assert_int_equal(latency->histogram->count, 1);
    assert_in_range(latency->histogram->p50, 6930, 7000);
    assert_int_equal(latency->histogram->maximum, 7000);
    caller_clear(&put);
    caller_clear(&get);
    caller_clear(&stats);
}

static void what_other_members_send_on_is_counted_there(void **state) {
    struct caller stats = {0};

    (void)state;
    become_leader();
    forward_to_us(NODE_B, 5, put_request("key", "value"));
    apply_proposal(22, false);
    get_stats(&stats);
    assert_int_equal(number(&stats, "requests.of_members"), 1);
    assert_null(find(&stats, "requests.answered.put.OK"));
    caller_clear(&stats);
}

static void add_connections(void *data, struct statistics *statistics) {
    statistics_add(statistics, STATISTIC_CLIENTS_CONNECTIONS, NULL, *(uint64_t *)data);
}

static void doors_add_what_they_have_counted(void **state) {
    struct caller stats = {0};
    uint64_t connections = 8;

    (void)state;
    service_set_doors(world.service, add_connections, &connections);
    get_stats(&stats);
    assert_int_equal(number(&stats, "clients.connections"), 8);
    caller_clear(&stats);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(everybody_who_asks_meanwhile_gets_the_same_measurement),
        TEST(a_leader_tells_of_its_peers_and_a_follower_of_its_leader),
        TEST(requests_are_counted_by_kind_and_outcome),
        TEST(what_other_members_send_on_is_counted_there),
        TEST(doors_add_what_they_have_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
