/* raft_driver: one real struct raft behind the real guard, with a disk that is a counter. For the
 * unit tests of the raft room. */
#pragma once

#include <raft.h>

#include "raft/codec.h"
#include "raft/configuration.h"
#include "raft/guard.h"

enum {
    SELF = 1, /* the id of the driven member; 2 and 3 are its peers in the usual cluster */
    SENT_MAX = 64,
};

#define CHANGE_ENTRY RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE
#define COMMAND_ENTRY RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_COMMAND

struct driver {
    struct raft raft;
    struct guard guard;
    raft_time now;
    raft_index commit_seen; /* must never fall */
    raft_index unwritten;   /* the last index handed out to be stored; 0: all is stored */
    bool hold_writes;       /* driver_write() is called by the test */
    struct raft_message sent[SENT_MAX]; /* of the last step */
    unsigned sent_count;
    const char *reason; /* of the last verdict that was not GUARD_PASS */
};

/* What a log is made of: entry i + 1 has terms[i]; the first one is the configuration. */
struct driver_log {
    const struct configuration *configuration;
    raft_index snapshot_index; /* 0: none; the terms are those of the entries behind it */
    raft_term snapshot_term;
    const raft_term *terms;
    unsigned count;
    raft_term term; /* current term */
};

/* Servers 1 to count, all voters. */
void driver_configuration(struct configuration *ret, unsigned count);
struct server driver_server(uint64_t id, enum member_role role);

void driver_start(struct driver *d, const struct driver_log *log);
/* A member of three (1, 2, 3) in term 3 with the entries 1^1 2^1 3^2 4^2 5^3. */
void driver_start_usual(struct driver *d);
/* The same with a snapshot of 1^1 to 4^2 and the entry 5^3. */
void driver_start_compacted(struct driver *d);
/* A server that has not joined yet: no term, no entries. */
void driver_start_joiner(struct driver *d);
void driver_stop(struct driver *d);

/* Steps what is not a message. Returns raft's error code. */
int driver_step(struct driver *d, struct raft_event *event);
void driver_timeout(struct driver *d, raft_time after);
/* Makes a follower a candidate, in its pre-vote or in its election, or the leader. */
void driver_pre_vote(struct driver *d);
void driver_candidate(struct driver *d);
void driver_elect(struct driver *d);
/* Leader: submits one command, or this configuration. */
int driver_submit(struct driver *d, const struct configuration *change);
/* Tells raft that its uncommitted configuration is applied. */
void driver_confirm(struct driver *d);
/* Stores what hold_writes kept. */
void driver_write(struct driver *d);

/* Decodes, asks the guard and, if it passes, steps. A refusal of the codec fails the test. */
enum guard_verdict driver_receive(struct driver *d, raft_id from, Raftkv__V1__PeerMessage *peer);
/* The same for what no codec makes. */
enum guard_verdict driver_receive_message(struct driver *d, struct raft_message *message);

struct driver_append {
    raft_term term;
    raft_index prev;
    raft_term prev_term;
    raft_index commit;
    unsigned count;
    raft_term terms[4];
    const struct configuration *change; /* the one entry is this configuration */
};
enum guard_verdict driver_append(struct driver *d, raft_id from, const struct driver_append *args);
enum guard_verdict driver_result(struct driver *d, raft_id from, raft_term term,
                                 raft_index rejected, raft_index last_index);
enum guard_verdict driver_vote(struct driver *d, raft_id from, raft_term term, bool pre_vote,
                               bool disrupt);
enum guard_verdict driver_vote_result(struct driver *d, raft_id from, raft_term term, bool pre_vote,
                                      bool granted);
enum guard_verdict driver_timeout_now(struct driver *d, raft_id from, raft_term term,
                                      raft_index last_index, raft_term last_term);

/* The message of this type in the last step's to this server (0: to anyone), or NULL. */
const struct raft_message *driver_sent(const struct driver *d, raft_id to,
                                       enum raft_message_type type);
raft_term driver_term_of(const struct driver *d, raft_index index);
raft_index driver_last_index(const struct driver *d);
/* Asserts that log, commit index and progress fit each other. */
void driver_check(struct driver *d);

/* Asserts that the member takes one more entry from this leader behind what it has, stores and
 * confirms it. */
void driver_assert_follows(struct driver *d, raft_id leader, raft_term term);
/* Asserts that the member leads, and gets one more entry committed with the help of server 2. */
void driver_assert_leads(struct driver *d);
/* Asserts that raft is as it was and has sent nothing. */
void driver_assert_unchanged(const struct driver *d, const struct raft *before);

/* An append with these fields (see struct driver_append), to the driver `d`. */
#define APPEND(from, ...) driver_append(&d, from, &(struct driver_append){__VA_ARGS__})
