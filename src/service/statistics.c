#include "service/statistics.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

static const struct {
    const char *name; /* a * is the name of a peer, or a kind of request */
    const char *unit;
    const char *meaning;
} table[STATISTIC_COUNT] = {
    [STATISTIC_RAFT_TERM] = {"raft.term", "", "the current term"},
    [STATISTIC_RAFT_COMMIT_INDEX] = {"raft.commit_index", "",
                                     "the highest index known to be committed"},
    [STATISTIC_RAFT_APPLIED_INDEX] = {"raft.applied_index", "",
                                      "the index up to which the log is applied"},
    [STATISTIC_RAFT_FIRST_INDEX] = {"raft.first_index", "", "the first index of the log"},
    [STATISTIC_RAFT_LAST_INDEX] = {"raft.last_index", "", "the last index of the log"},
    [STATISTIC_RAFT_LEADER_CONTACT] = {"raft.leader_contact", "ms",
                                       "since the last message of a leader; not on the leader"},
    [STATISTIC_RAFT_PEER_CONTACT] = {"raft.peers.*.contact", "ms",
                                     "since the last answer of this member; on the leader only"},
    [STATISTIC_RAFT_PEER_MATCH] = {"raft.peers.*.match_index", "",
                                   "how far this member has the log; on the leader only"},
    [STATISTIC_RAFT_PEER_REACHABLE] = {"raft.peers.*.reachable", "",
                                       "1 while this node has a link to this member, else 0"},
    [STATISTIC_RAFT_ELECTIONS] = {"raft.elections", "", "elections that this node called"},
    [STATISTIC_RAFT_ELECTIONS_WON] = {"raft.elections_won", "", "how often it became the leader"},
    [STATISTIC_RAFT_TRANSFERS] = {"raft.transfers", "",
                                  "how often it handed leadership over when asked to"},
    [STATISTIC_RAFT_TRANSFERS_FAILED] = {"raft.transfers_failed", "",
                                         "how often that came to nothing"},
    [STATISTIC_LOG_ENTRIES] = {"log.entries", "", "entries in the log"},
    [STATISTIC_LOG_BYTES] = {"log.bytes", "bytes", "the files of the log"},
    [STATISTIC_LOG_FILES] = {"log.files", "", "files of the log"},
    [STATISTIC_LOG_FLUSHES] = {"log.flushes", "", "flushes of the log to the disk"},
    [STATISTIC_LOG_FLUSH_LATENCY] = {"log.write_latency", "us",
                                     "how long a write to the log took, with its flush"},
    [STATISTIC_STATE_KEYS] = {"state.keys", "", "keys"},
    [STATISTIC_STATE_BYTES] = {"state.bytes", "bytes", "the pages that hold them"},
    [STATISTIC_STATE_CACHE_HITS] = {"state.cache_hits", "", "pages found in the cache"},
    [STATISTIC_STATE_CACHE_MISSES] = {"state.cache_misses", "", "pages read from the disk"},
    [STATISTIC_SNAPSHOTS_COUNT] = {"snapshots.count", "", "compactions of the log"},
    [STATISTIC_SNAPSHOTS_INDEX] = {"snapshots.index", "", "up to which the last one went"},
    [STATISTIC_SNAPSHOTS_BYTES] = {"snapshots.bytes", "bytes",
                                   "of the entries that the last one covered"},
    [STATISTIC_SNAPSHOTS_DURATION] = {"snapshots.duration", "ms", "how long the last one took"},
    [STATISTIC_REQUESTS_UNDER_WAY] = {"requests.under_way", "", "requests without an answer yet"},
    [STATISTIC_REQUESTS_BYTES] = {"requests.bytes", "bytes", "the requests in memory"},
    [STATISTIC_REQUESTS_OF_MEMBERS] = {"requests.of_members", "",
                                       "requests that other members have sent on to this one"},
    [STATISTIC_REQUESTS_ANSWERED] = {"requests.answered.*", "",
                                     "requests of users with this outcome"},
    [STATISTIC_REQUESTS_LATENCY] = {"requests.latency.*", "us",
                                    "how long users waited for an answer"},
    [STATISTIC_CLIENTS_CONNECTIONS] = {"clients.connections", "", "open client connections"},
    [STATISTIC_CLIENTS_ACCEPTED] = {"clients.accepted", "", "client connections so far"},
    [STATISTIC_CLIENTS_TURNED_AWAY] = {"clients.turned_away", "",
                                       "connections refused because there were too many"},
    [STATISTIC_CLIENTS_RECEIVED] = {"clients.received", "bytes", "from clients"},
    [STATISTIC_CLIENTS_SENT] = {"clients.sent", "bytes", "to clients"},
    [STATISTIC_PEERS_CONNECTIONS] = {"peers.connections", "",
                                     "connections with other nodes, either way"},
    [STATISTIC_PEERS_RECEIVED] = {"peers.received", "bytes", "from other nodes"},
    [STATISTIC_PEERS_SENT] = {"peers.sent", "bytes", "to other nodes"},
    [STATISTIC_BUS_CONNECTIONS] = {"bus.connections", "",
                                   "D-Bus connections that call or have called"},
    [STATISTIC_BUS_CALLS_UNDER_WAY] = {"bus.calls_under_way", "",
                                       "D-Bus calls without a reply yet"},
    [STATISTIC_BUS_CALLS] = {"bus.calls", "", "D-Bus calls so far"},
    [STATISTIC_BUS_RECEIVED] = {"bus.received", "bytes", "the arguments of D-Bus calls"},
    [STATISTIC_BUS_SENT] = {"bus.sent", "bytes", "the results of D-Bus calls"},
};

static char *name_of(enum statistic statistic, const char *of) {
    const char *name = table[statistic].name, *star = strchr(name, '*');

    check(!star == !of);
    if (!star)
        return xstrdup(name);
    return xasprintf("%.*s%s%s", (int)(star - name), name, of, star + 1);
}

static Raftkv__V1__Statistic *add(struct statistics *statistics, enum statistic statistic,
                                  const char *of) {
    Raftkv__V1__Statistic *message = xmalloc(sizeof *message);

    raftkv__v1__statistic__init(message);
    message->name = name_of(statistic, of);
    message->unit = xstrdup(table[statistic].unit);
    message->meaning = xstrdup(table[statistic].meaning);
    if (statistics->count == statistics->capacity) {
        statistics->capacity = statistics->capacity ? 2 * statistics->capacity : 64;
        statistics->list =
            xrealloc(statistics->list, statistics->capacity * sizeof *statistics->list);
    }
    statistics->list[statistics->count++] = message;
    return message;
}

void statistics_add(struct statistics *statistics, enum statistic statistic, const char *of,
                    uint64_t number) {
    Raftkv__V1__Statistic *message = add(statistics, statistic, of);

    message->value_case = RAFTKV__V1__STATISTIC__VALUE_NUMBER;
    message->number = number;
}

void statistics_add_histogram(struct statistics *statistics, enum statistic statistic,
                              const char *of, const struct histogram *histogram) {
    Raftkv__V1__Statistic *message = add(statistics, statistic, of);
    Raftkv__V1__Histogram *summary = xmalloc(sizeof *summary);

    raftkv__v1__histogram__init(summary);
    summary->count = histogram->count;
    summary->mean = (uint64_t)histogram_mean(histogram);
    summary->maximum = histogram->max;
    summary->p50 = histogram_quantile(histogram, 0.5);
    summary->p90 = histogram_quantile(histogram, 0.9);
    summary->p99 = histogram_quantile(histogram, 0.99);
    summary->p999 = histogram_quantile(histogram, 0.999);
    message->value_case = RAFTKV__V1__STATISTIC__VALUE_HISTOGRAM;
    message->histogram = summary;
}

void statistics_deinit(struct statistics *statistics) {
    for (size_t i = 0; i < statistics->count; i++)
        raftkv__v1__statistic__free_unpacked(statistics->list[i], NULL);
    free(statistics->list);
    *statistics = (struct statistics){0};
}
