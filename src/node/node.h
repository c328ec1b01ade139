/*
 * node: one whole raftkv node below the doors: it opens the data directory, and ties raft, kv,
 * store and service to the lanes of a host. The daemon runs one on libuv, the simulator several in
 * virtual time: this is the code that both share. May use base, proto, store, kv, raft and service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/host.h"
#include "proto/unpack.h"
#include "service/service.h"

struct node;

struct node_options {
    const char *name;
    const char *data_directory;
    const char *peer_address;   /* as advertised */
    const char *client_address; /* as advertised */
    const char *join; /* addresses, with spaces between, of nodes to ask for an empty directory */
    enum join_policy allow_join;  /* who asks this node, as leader */
    bool bootstrap;               /* makes a cluster of one out of an empty directory */
    uint64_t election_timeout;    /* ms */
    uint64_t heartbeat;           /* ms */
    size_t state_cache_size;      /* bytes; 0: the default */
    uint32_t state_log_size;      /* bytes of one file of the state\'s own log; 0: the default */
    uint32_t state_journal_pages; /* in a half of its page journal; 0: the default */
    uint64_t snapshot_entries;    /* the log is cut when so many have gathered; 0: the default */
    uint64_t snapshot_bytes;      /* or so many bytes of them */
    uint64_t trailing_entries;    /* and keeps so many ... */
    uint64_t trailing_bytes;      /* ... within so many bytes */
    uint64_t checkpoint_bytes; /* of the state's own log, then comes a checkpoint; 0: the default */
    size_t snapshot_chunk_bytes;  /* of the state, in one chunk of a stream; 0: the default */
    size_t entry_cache_size;      /* bytes of recent log entries in memory; 0: the default */
    size_t log_batch_bytes;       /* of entries in one record of the log; 0: the default */
    uint32_t log_file_size;       /* bytes of one file of the log; 0: the default */
    unsigned auto_promote_voters; /* how many voters are to answer; 0: any number */
    uint64_t auto_promote_after;  /* ms of silence after which a voter is replaced */
    uint64_t reserve_bytes; /* of the disk, which writes that grow leave free; 0: the default */
};

/*
 * Opens and recovers everything, on the calling thread (it may take a while), and starts raft. The
 * host's functions are called from here on; the loop need not run yet. Failures as
 * directory_open(), log_store_open() and state_open() say.
 */
int node_open(struct node **ret, struct host *host, const struct node_options *options,
              struct failure *failure);

/* Takes over what can change while a node runs: allow_join, and the snapshot_, trailing_, reserve_
 * and auto_promote_ options. */
void node_set_limits(struct node *node, const struct node_options *options);

/* Who this node is now. */
const struct identity *node_identity(const struct node *node);
struct service *node_service(struct node *node);
struct member *node_member(struct node *node);
/* Whether the cluster has removed this node, and has told it so: it can only be stopped then. */
bool node_is_removed(const struct node *node);

/* The time asked for by host->wake_at() has come. */
void node_tick(struct node *node);
/* To be called at the end of every turn of the loop in which something happened: submits what has
 * gathered as one batch. */
void node_flush(struct node *node);

/*
 * The door for other nodes. Whether to accept a link whose hello claims this identity: 0, or a
 * positive code with the failure to send back. `expected` is the member id that the dialler wants
 * to talk to (0: anyone).
 */
int node_admit(struct node *node, const struct identity *from, uint64_t expected,
               struct failure *failure);
/*
 * The node at the other end says who it is and where. A member whose addresses are not those of the
 * configuration is moved there, by the leader; one that is no member asks to become one. Fills in
 * what to answer.
 */
void node_announced(struct node *node, const struct identity *from, struct announce_reply *ret);
/* A welcome came from a node that was dialled as member `expected`: the same checks from the other
 * side. */
int node_check_welcome(struct node *node, const struct identity *from, uint64_t expected,
                       struct failure *failure);
/* Adds the fields of a message in the journal about a link with this member: the term, its id and
 * its name, which is empty when it is in no configuration. */
void node_describe_peer(const struct node *node, uint64_t member_id, struct journal_event *event);
/*
 * One encoded PeerMessage from an admitted link. 0, or -EBADMSG with a reason: the sender broke the
 * protocol and the link must be closed.
 */
int node_receive(struct node *node, uint64_t from, const uint8_t *message, size_t size,
                 const char **ret_reason);

/*
 * Stops: refuses new requests, hands leadership over if leader, waits for what is under way, all
 * within timeout_ms; then `stopped` is called once, and node_close() may follow when all lanes are
 * idle.
 */
void node_stop(struct node *node, uint64_t timeout_ms, void (*stopped)(void *data), void *data);
/* Closes the environments. All lanes must be idle. Takes NULL; returns NULL. */
struct node *node_close(struct node *node);
