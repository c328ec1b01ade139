/* What the files of a node share. Nobody else includes this. */
#pragma once

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "kv/kv.h"
#include "node/node.h"
#include "raft/configuration.h"
#include "raft/effects.h"
#include "store/directory.h"
#include "store/log.h"
#include "store/state.h"

enum { KNOWN_MEMBERS_MAX = 256 };

/* A member that said hello: what must not go backwards, and which cluster it spoke for. */
struct known_member {
    uint64_t id;
    uint64_t incarnation;
    uint64_t cluster_id;
    uint64_t used; /* host time */
};

struct node {
    struct host *host;
    struct identity identity;
    struct directory directory;
    struct log_store *log;
    struct state *state;
    struct member *member;
    struct service *service;
    struct member_effects effects;
    bool changed; /* the service has not been told yet */

    /* storage.c */
    struct job persist_job, apply_job;
    struct member_write write;
    int write_result;
    bool write_put; /* everything of the write is in the log's buffer: only the flush is left */
    uint64_t write_retry_at;
    uint64_t apply_first;
    const struct log_entry *apply_entries;
    size_t apply_count;
    int apply_result;
    struct kv_result *apply_results;
    size_t apply_capacity;
    struct job checkpoint_job;
    bool checkpoint_under_way;
    uint64_t applied_entries, applied_bytes; /* since the last checkpoint began */
    uint64_t checkpoint_index;
    int checkpoint_result;

    /* doors.c */
    struct known_member known[KNOWN_MEMBERS_MAX];
    size_t known_count;
    uint64_t peers_version; /* of the peers that the host was told to dial */

    /* stop.c */
    bool stopping;
    uint64_t stop_deadline;
    void (*stopped)(void *data);
    void *stopped_data;
    struct change transfer;
    bool transfer_under_way;
};

/* storage.c */
void storage_init(struct node *node);
void storage_tick(struct node *node);
uint64_t storage_deadline(const struct node *node);
bool storage_busy(const struct node *node);
void storage_deinit(struct node *node);

/* doors.c */
void doors_adopt(struct node *node, uint64_t from);
/* The cluster for which a member spoke in its hello; 0: none known. */
uint64_t doors_cluster_of(const struct node *node, uint64_t member_id);
void doors_update_peers(struct node *node);

/* stop.c */
void stop_advance(struct node *node);
uint64_t stop_deadline(const struct node *node);
