/*
 * statistics: what a node counts and measures of itself. One table gives each statistic its name,
 * unit and meaning; whoever knows values says them by number, and all doors show what comes out.
 * dbus/org.raftkv1.Node.xml lists the names; a test compares.
 */
#pragma once

#include "base/histogram.h"
#include "proto/unpack.h"

enum statistic {
    STATISTIC_RAFT_TERM,
    STATISTIC_RAFT_COMMIT_INDEX,
    STATISTIC_RAFT_APPLIED_INDEX,
    STATISTIC_RAFT_FIRST_INDEX,
    STATISTIC_RAFT_LAST_INDEX,
    STATISTIC_RAFT_LEADER_CONTACT,
    STATISTIC_RAFT_PEER_CONTACT,   /* of a peer */
    STATISTIC_RAFT_PEER_MATCH,     /* of a peer */
    STATISTIC_RAFT_PEER_REACHABLE, /* of a peer */
    STATISTIC_RAFT_ELECTIONS,
    STATISTIC_RAFT_ELECTIONS_WON,
    STATISTIC_RAFT_TRANSFERS,
    STATISTIC_RAFT_TRANSFERS_FAILED,
    STATISTIC_LOG_ENTRIES,
    STATISTIC_LOG_BYTES,
    STATISTIC_LOG_FILES,
    STATISTIC_LOG_FLUSHES,
    STATISTIC_LOG_FLUSH_LATENCY,
    STATISTIC_STATE_KEYS,
    STATISTIC_STATE_BYTES,
    STATISTIC_STATE_CACHE_HITS,
    STATISTIC_STATE_CACHE_MISSES,
    STATISTIC_SNAPSHOTS_COUNT,
    STATISTIC_SNAPSHOTS_INDEX,
    STATISTIC_SNAPSHOTS_BYTES,
    STATISTIC_SNAPSHOTS_DURATION,
    STATISTIC_REQUESTS_UNDER_WAY,
    STATISTIC_REQUESTS_BYTES,
    STATISTIC_REQUESTS_OF_MEMBERS,
    STATISTIC_REQUESTS_ANSWERED, /* of a kind and an outcome: "put.OK", "get.NotFound" */
    STATISTIC_REQUESTS_LATENCY,  /* of a kind */
    STATISTIC_CLIENTS_CONNECTIONS,
    STATISTIC_CLIENTS_ACCEPTED,
    STATISTIC_CLIENTS_TURNED_AWAY,
    STATISTIC_CLIENTS_RECEIVED,
    STATISTIC_CLIENTS_SENT,
    STATISTIC_PEERS_CONNECTIONS,
    STATISTIC_PEERS_RECEIVED,
    STATISTIC_PEERS_SENT,
    STATISTIC_BUS_CONNECTIONS,
    STATISTIC_BUS_CALLS_UNDER_WAY,
    STATISTIC_BUS_CALLS,
    STATISTIC_BUS_RECEIVED,
    STATISTIC_BUS_SENT,
    STATISTIC_COUNT
};

/* An answer in the making. Zero-initialised is empty. */
struct statistics {
    Raftkv__V1__Statistic **list;
    size_t count, capacity;
};

/* Adds a value. `of` takes the place of the * in the name; NULL where there is none. */
void statistics_add(struct statistics *statistics, enum statistic statistic, const char *of,
                    uint64_t number);
void statistics_add_histogram(struct statistics *statistics, enum statistic statistic,
                              const char *of, const struct histogram *histogram);
void statistics_deinit(struct statistics *statistics);
