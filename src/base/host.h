/*
 * host: the functions through which a node gets time, chance, threads and other nodes. The daemon's
 * host is libuv (src/daemon), the simulator's a queue of virtual events (tests/sim). Everything
 * between the doors and the disk reaches the outside through this structure only.
 *
 * All functions are called on the loop thread, and all completions come there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"

/*
 * A lane is a serial queue of blocking work: its jobs run one after another in the order of their
 * submission, off the loop thread. The log lane appends and flushes, the state lane alone touches
 * the B-trees, the background lane makes checkpoints.
 */
enum lane { LANE_LOG, LANE_STATE, LANE_BACKGROUND, LANE_COUNT };

/* One piece of work. Embed it; whoever submits it owns the memory, and frees it in done() at the
 * earliest. */
struct job {
    void (*run)(struct job *job);  /* on the lane; must not touch anything of the loop thread */
    void (*done)(struct job *job); /* on the loop thread, after run, in the order of the lane */
    struct job *next;              /* the host's */
};

/* Who a node is, as a hello says (proto/peer.proto, Identity). */
struct identity {
    uint64_t cluster_id;  /* 0: has not joined a cluster yet */
    uint64_t member_id;   /* never 0 */
    uint64_t incarnation; /* raised at each start of the node, from 1 */
    char name[MEMBER_NAME_MAX + 1];
    char peer_address[ADDRESS_MAX + 1];   /* as advertised */
    char client_address[ADDRESS_MAX + 1]; /* as advertised */
};

/* Where to reach a member. */
struct peer {
    uint64_t member_id;
    char address[ADDRESS_MAX + 1];
};

/* The answer to host->identify: failure is NULL and identity set, or the other way round. Called
 * once. */
typedef void (*identify_cb)(void *data, const struct identity *identity,
                            const struct failure *failure);

/* What a node answers to one that announces itself. */
struct announce_reply {
    /* ERROR_OK: it is seen to, and the message says how. ERROR_NOT_LEADER: the leader is to be
     * told. */
    struct failure said;
    char leader_address[ADDRESS_MAX + 1]; /* for peers; empty: not known */
    /* Not 0: the committed configuration of this index does not name who announces itself; the
     * leader has made sure that it still leads. */
    uint64_t configuration_index;
};

/* The answer to host->announce: failure is NULL and `announced` set, or the other way round. Called
 * once. */
typedef void (*announce_cb)(void *data, const struct announce_reply *announced,
                            const struct failure *failure);

struct host {
    void *data; /* the host's own */

    /* Monotonic time in milliseconds. */
    uint64_t (*now)(struct host *host);
    /* Monotonic time in microseconds, to measure with and for nothing else. On any lane too. */
    uint64_t (*microseconds)(struct host *host);
    /* 64 random bits. */
    uint64_t (*random)(struct host *host);
    /* Runs a job on a lane. */
    void (*submit)(struct host *host, enum lane lane, struct job *job);
    /* Has node_tick() called at that time (of now()), or soon after; replaces what was asked
     * before. */
    void (*wake_at)(struct host *host, uint64_t time);

    /*
     * Sends one encoded PeerMessage (malloc'd; taken over in every case) to a member. Urgent
     * messages overtake the others. Order within each of the two kinds is kept on one connection;
     * what can't be sent (no link, queue full) is dropped silently: raft repeats it, and the
     * service has deadlines.
     */
    void (*send)(struct host *host, uint64_t member_id, bool urgent, uint8_t *message, size_t size);
    /* Bytes that wait on the link to that member, in its bulk queue or for the kernel; 0 without a
     * link. */
    size_t (*backlog)(struct host *host, uint64_t member_id);
    /* Whether the link to that member is up. */
    bool (*linked)(struct host *host, uint64_t member_id);
    /* The other members by the newest configuration: dial these, drop all others. The array is
     * copied. */
    void (*set_peers)(struct host *host, const struct peer *peers, size_t count);
    /* Contacts the node at an address and learns who it is; gives up after timeout_ms. */
    void (*identify)(struct host *host, const char *address, uint64_t timeout_ms,
                     identify_cb callback, void *data);
    /* Tells the node at an address who this node is and where; gives up after timeout_ms. */
    void (*announce)(struct host *host, const char *address, uint64_t timeout_ms,
                     announce_cb callback, void *data);

    /* The node can't go on (a failed disk, a broken invariant of a library): end the process, with
     * this reason. */
    void (*fatal)(struct host *host, const char *reason);
};
