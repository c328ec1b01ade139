/* stats: what this node has counted and measured. The node around the service reads what only its
 * lanes know; then all that ask at the moment are answered. */
#include <stdio.h>

#include "base/check.h"
#include "base/memory.h"
#include "service/internal.h"

/* ---- what the service counts itself ---- */

/* What became of the requests of one kind. */
struct request_counts {
    uint64_t answered[ERROR_CODE_COUNT]; /* by outcome */
    struct histogram latency;            /* us */
};

void stats_init(struct service *service) {
    service->counts = xcalloc(request_kind_count(), sizeof *service->counts);
}

void stats_deinit(struct service *service) {
    free(TAKE(service->counts));
}

void stats_count(const struct call *call, const Raftkv__V1__Error *error) {
    struct service *service = call->service;
    unsigned code = error ? (unsigned)error->code : ERROR_OK;
    struct request_counts *counts;

    if (call->from || !call->kind)
        return;
    counts = &service->counts[request_kind_number(call->kind)];
    counts->answered[code < ERROR_CODE_COUNT ? code : ERROR_INTERNAL]++;
    histogram_add(&counts->latency,
                  service->host->microseconds(service->host) - call->begun_microseconds);
}

static void add_requests(const struct service *service, struct statistics *statistics) {
    statistics_add(statistics, STATISTIC_REQUESTS_UNDER_WAY, NULL, service->unanswered);
    statistics_add(statistics, STATISTIC_REQUESTS_BYTES, NULL, service->bytes);
    statistics_add(statistics, STATISTIC_REQUESTS_OF_MEMBERS, NULL, service->forwarded_to_us);
    for (size_t i = 0; i < request_kind_count(); i++) {
        const struct request_counts *counts = &service->counts[i];
        const char *kind = request_kind_at(i) ? request_kind_at(i)->name : "";

        for (enum error_code code = ERROR_OK; code < ERROR_CODE_COUNT; code++) {
            char of[64];

            if (counts->answered[code] == 0)
                continue;
            snprintf(of, sizeof of, "%s.%s", kind, code == ERROR_OK ? "OK" : error_name(code));
            statistics_add(statistics, STATISTIC_REQUESTS_ANSWERED, of, counts->answered[code]);
        }
        if (counts->latency.count > 0)
            statistics_add_histogram(statistics, STATISTIC_REQUESTS_LATENCY, kind,
                                     &counts->latency);
    }
}

/* ---- what the member counts ---- */

static void add_peers(const struct service *service, struct statistics *statistics) {
    const struct configuration *configuration = member_configuration(service->member);
    uint64_t now = service->host->now(service->host), match, last_contact;

    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];

        if (server->id == service->identity->member_id)
            continue;
        statistics_add(statistics, STATISTIC_RAFT_PEER_REACHABLE, server->name,
                       service->host->linked(service->host, server->id));
        if (!member_progress(service->member, server->id, &match, &last_contact))
            continue;
        statistics_add(statistics, STATISTIC_RAFT_PEER_MATCH, server->name, match);
        if (last_contact > 0)
            statistics_add(statistics, STATISTIC_RAFT_PEER_CONTACT, server->name,
                           now - last_contact);
    }
}

static void add_raft(const struct service *service, struct statistics *statistics) {
    struct member_statistics counted;
    struct member_view view;

    member_get_view(service->member, &view);
    member_get_statistics(service->member, &counted);
    statistics_add(statistics, STATISTIC_RAFT_TERM, NULL, view.term);
    statistics_add(statistics, STATISTIC_RAFT_COMMIT_INDEX, NULL, view.commit_index);
    statistics_add(statistics, STATISTIC_RAFT_APPLIED_INDEX, NULL, view.applied_index);
    statistics_add(statistics, STATISTIC_RAFT_FIRST_INDEX, NULL, view.first_index);
    statistics_add(statistics, STATISTIC_RAFT_LAST_INDEX, NULL, view.last_index);
    if (view.state != MEMBER_LEADER && counted.leader_heard > 0)
        statistics_add(statistics, STATISTIC_RAFT_LEADER_CONTACT, NULL,
                       service->host->now(service->host) - counted.leader_heard);
    add_peers(service, statistics);
    statistics_add(statistics, STATISTIC_RAFT_ELECTIONS, NULL, counted.elections);
    statistics_add(statistics, STATISTIC_RAFT_ELECTIONS_WON, NULL, counted.elections_won);
    statistics_add(statistics, STATISTIC_RAFT_TRANSFERS, NULL, counted.transfers);
    statistics_add(statistics, STATISTIC_RAFT_TRANSFERS_FAILED, NULL, counted.transfers_failed);
}

/* ---- the request ---- */

void service_set_doors(struct service *service, service_doors doors, void *data) {
    service->doors = doors;
    service->doors_data = data;
}

static void answer(struct call *call, struct statistics *statistics) {
    Raftkv__V1__Response response = RAFTKV__V1__RESPONSE__INIT;
    Raftkv__V1__StatsResponse stats = RAFTKV__V1__STATS_RESPONSE__INIT;

    stats.n_statistics = statistics->count;
    stats.statistics = statistics->list;
    response.body_case = RAFTKV__V1__RESPONSE__BODY_STATS;
    response.stats = &stats;
    call_answer(call, &response);
}

void execute_stats(struct call *call) {
    struct service *service = call->service;

    if (!service->node || !service->node->measure) {
        call_fail_with(call, ERROR_UNSUPPORTED, "This node can't be measured.");
        return;
    }
    call->stage = CALL_MEASURING;
    list_append(&service->measuring, &call->link);
    service->node->measure(service->node->data);
}

void service_measured(struct service *service) {
    struct statistics statistics = {0};
    struct list calls, *element;

    add_raft(service, &statistics);
    service->node->add_statistics(service->node->data, &statistics);
    add_requests(service, &statistics);
    if (service->doors)
        service->doors(service->doors_data, &statistics);
    list_init(&calls);
    list_move(&calls, &service->measuring);
    while ((element = list_pop(&calls))) {
        struct call *call = container_of(element, struct call, link);

        call->stage = CALL_ROUTING;
        answer(call, &statistics);
    }
    statistics_deinit(&statistics);
}
