/*
 * member_world: a few real members in one process and in virtual time, with disks, state machines
 * and a network that tests hold by the hand. For the unit tests of what drives libraft.
 */
#pragma once

#include "raft/codec.h"
#include "raft/member_internal.h"

enum {
    WORLD_NODES = 5,
    WORLD_LOG = 4096,
    WORLD_QUEUE = 8192,
    ELECTION_MS = 1000,
    HEARTBEAT_MS = 100
};

struct world_entry {
    uint64_t term;
    uint8_t type;
    uint8_t *data;
    size_t size;
};

struct world_load {
    bool used;
    uint64_t first_index, cookie;
    size_t count;
};

struct world_node {
    struct host host;
    struct member_effects effects;
    struct identity identity;
    struct member *member; /* NULL: down */

    /* The disk: what was made durable. */
    uint64_t term, vote;
    struct world_entry log[WORLD_LOG];
    uint64_t first, last;
    struct member_mark mark; /* index 0: none */
    uint64_t applied, applied_term;
    uint64_t configuration_index;

    /* What is under way. */
    bool writing, applying;
    struct member_write write;
    uint64_t apply_first;
    const struct log_entry *apply_entries;
    size_t apply_count;
    struct world_load loads[8];
    uint64_t wake;
    int fatal;
    char fatal_reason[512];

    bool installing;
    const struct member_mark *install_mark;
    unsigned snapshots_wanted;
    uint64_t snapshot_wanted_by;

    /* What the test says. */
    bool hold_writes, hold_applies, hold_loads, hold_install, cut;
    size_t backlog; /* of every link of this node */
    unsigned writes, largest_write;
    uint64_t max_applied_above_durable;
};

struct world_message {
    uint64_t from, to;
    bool urgent;
    uint8_t *data;
    size_t size;
};

struct world {
    uint64_t now;
    uint64_t random;
    struct world_node nodes[WORLD_NODES + 1]; /* by id, from 1 */
    struct world_message queue[WORLD_QUEUE];
    size_t head, tail;
    /* Called for each message before it is delivered; false: it is lost. */
    bool (*filter)(const struct world_message *message, const Raftkv__V1__PeerMessage *peer);
    unsigned append_messages, timeouts_now;
    struct {
        identify_cb callback;
        void *data;
        char address[ADDRESS_MAX + 1];
    } identify;
};

extern struct world world;

/* Members 1..voters know each other as voters; further ones up to `nodes` know nothing. */
void world_start(unsigned nodes, unsigned voters);
void world_stop(void);
struct world_node *world_node(uint64_t id);
/* What is durable survives. */
void world_crash(uint64_t id);
void world_restart(uint64_t id);

/* Lets time pass, and everything happen that may, until the condition holds (true) or ms are over.
 */
bool world_run(bool (*condition)(void), uint64_t ms);
/* The same for a fixed virtual time. */
void world_pass(uint64_t ms);
/* Delivers what is in the queue now, and completes writes and applies that are not held; no time
 * passes. */
void world_settle(void);

/* The id of the one serving leader of the highest term; 0: none. */
uint64_t world_leader(void);
bool world_has_leader(void);

/* A command as a proposal that remembers its end. */
struct world_proposal {
    struct proposal proposal;
    bool done, applied;
    struct failure failure;
};
void world_propose(uint64_t id, struct world_proposal *proposal);
/* The same for one by which the state grows. */
void world_propose_growth(uint64_t id, struct world_proposal *proposal);
struct world_change {
    struct change change;
    bool done, succeeded;
    struct failure failure;
    uint64_t index;
    char leader[MEMBER_NAME_MAX + 1];
};
void world_change(uint64_t id, struct world_change *change, enum change_kind kind,
                  const char *name);
void world_force_change(uint64_t id, struct world_change *change, enum change_kind kind,
                        const char *name);
/* Marks and cuts a member's log up to what it has applied, but for `trailing` entries. */
void world_compact(uint64_t id, uint64_t trailing);
struct server world_server(uint64_t id, enum member_role role);
