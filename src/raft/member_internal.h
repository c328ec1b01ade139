/* What the files of a member share. Nobody else includes this. */
#pragma once

#include <raft.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "raft/configuration.h"
#include "raft/effects.h"
#include "raft/entries.h"
#include "raft/guard.h"

enum {
    APPLY_ENTRIES_MAX = 1024,
    APPLY_BYTES_MAX = 256 * 1024, /* little enough to keep in step with a checkpoint */
    HELD_MESSAGES_MAX = 4096,
};

/* Entries that an effect works on: an array for it to read, and the references that keep the data
 * alive. */
struct batch {
    struct log_entry *entries;
    struct blob **blobs;
    size_t count, capacity;
};

void batch_add(struct batch *batch, const struct log_entry *entry, struct blob *blob);
void batch_truncate(struct batch *batch, size_t count);
void batch_clear(struct batch *batch);
void batch_deinit(struct batch *batch);

/* A write that is gathering or under way (write.c). */
struct pending_write {
    bool set_vote;
    uint64_t first_index; /* 0: no entries */
    struct batch batch;
    uint64_t valid_last; /* the last of its entries that a later truncation has not cut off */
    uint64_t number;
};

/* A message that waits until term and vote are durable (send.c). */
struct held_message {
    struct held_message *next;
    uint64_t to;
    bool urgent;
    uint8_t *data;
    size_t size;
};

/* What is still to be sent to one server: a range of entries (send.c). */
struct sender {
    uint64_t id;
    uint64_t next, end;     /* [next, end) */
    uint64_t start;         /* where sending began without a gap up to next */
    uint64_t last_previous; /* of the last message of raft with entries */
    uint64_t last_contact;  /* host time of its last answer; 0: never */
    uint16_t capacity;      /* MiB of room that it said its disk has; 0: none */
    bool loading;
    uint64_t cookie; /* of the load under way */
    bool known;      /* still in the configuration */
};

struct proposal_queue {
    struct proposal *first;
    struct proposal **last;
    size_t count;
};

enum change_phase {
    PHASE_IDENTIFY, /* asking the new node who it is */
    PHASE_LISTEN,   /* too few voters have been heard of yet to let one go */
    PHASE_COMMIT,   /* an entry is to be applied */
    PHASE_TRANSFER, /* waiting for the target to catch up, or for its election */
};

/* What AutoPromote= wants, and the change under way for it (replacement.c). */
struct replacement {
    unsigned voters;  /* that are to answer; 0: nothing is replaced */
    uint64_t silence; /* ms, after which a voter is gone */
    struct change change;
    bool under_way;
    uint64_t not_before; /* host time; after a change that failed */
};

struct member {
    struct host *host;
    const struct member_effects *effects;
    const struct identity *identity;
    struct raft raft;
    bool raft_initialised;
    bool stepping;
    bool door_closed;
    bool failed; /* a fatal error was reported: nothing more is done */
    uint64_t id;
    uint64_t election_timeout, heartbeat;
    struct guard guard;

    struct entries entries;
    struct configuration committed;
    uint64_t applied_index, applied_term;
    uint64_t durable_index;                     /* last entry known to be on disk here */
    uint64_t commit_index;                      /* never moves backwards */
    uint64_t start_last_index, start_last_term; /* of the log that was found */
    bool readable, serving;
    bool expelled;               /* told that the cluster has removed this member */
    uint64_t expelled_index;     /* of the configuration of which it was told, in this run or an
                                    earlier one; counts until a later one is known */
    uint64_t leader_heard;       /* host time of the last message from the leader (hazard L22) */
    uint64_t timeout_not_before; /* hazard L18 */
    enum member_state state;
    uint64_t state_term;
    uint64_t office_since; /* host time at which this leader was elected */
    struct member_statistics statistics;

    /* RAFT_START's data until member_start(). */
    struct raft_entry *start_entries;
    size_t start_entry_count;
    uint8_t **start_changes;
    struct raft_snapshot_metadata start_mark;
    uint64_t start_term, start_vote;

    /* write.c */
    struct pending_write gathering, writing;
    bool write_under_way;
    uint64_t writes_started, writes_done;
    uint64_t
        vote_write; /* the number of the write that makes the last change of term or vote durable */

    /* apply.c */
    bool applying, loading_for_apply;
    uint64_t apply_first;
    struct batch apply_batch;

    /* snapshot.c */
    bool installing;
    struct member_mark staged; /* index 0: nothing is staged */
    struct member_mark installing_mark;

    /* propose.c */
    struct proposal_queue gathered, in_log;
    struct proposal *orphans; /* in the log of a leader that lost its office */
    size_t orphan_count;
    bool own_barrier_wanted;

    /* send.c */
    struct held_message *held_first, **held_last;
    size_t held_count;
    struct sender senders[2 * MEMBERS_MAX];
    size_t sender_count;
    uint64_t next_cookie;

    /* membership.c */
    struct change *change;
    enum change_phase phase;
    uint64_t change_entry; /* index and term of the entry of the change under way */
    uint64_t change_term;
    uint64_t change_target;
    uint64_t change_started;
    struct change *awaiting; /* an AddVoter whose standby is to be promoted (promotion.c) */
    uint64_t awaited;        /* the standby's id */
    uint64_t identify_cookie;
    uint64_t poll_at; /* host time at which to look at a change again */

    /* space.c */
    uint16_t capacity;   /* MiB of room on the own disk; 0: none */
    bool growth_refused; /* leader: what makes the state grow is refused */
    struct change aside; /* leadership handed over for want of space ... */
    uint64_t aside_at;   /* ... and not before this host time again */

    struct replacement replacement;

    /* promotion.c */
    uint64_t promotion_since; /* host time since when this leader waits for a promoting standby; 0:
                                 none */
    struct server removed;    /* a server that was removed (id 0: none), and is told so ... */
    uint64_t removed_until;   /* ... until then */
    uint64_t removed_told;
    bool removed_linked; /* when it was told: it leaves, and what comes back was told before */
};

/* member.c: the only caller of raft_step(). Takes care of all of the update. False: the member has
 * failed. */
bool member_step(struct member *member, struct raft_event *event);
uint64_t member_now(const struct member *member);
bool member_is_leader(const struct member *member);
void member_fatal(struct member *member, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void member_changed(struct member *member);
bool member_leader_recent(const struct member *member);

/* write.c */
/* Forgets the entries on their way to disk: the log is going to be reset. */
void write_forget_entries(struct member *member);
void write_vote(struct member *member);
void write_entries(struct member *member, uint64_t first_index, struct raft_entry *entries,
                   unsigned count);
void write_start(struct member *member);
/* Whether term and vote as raft has them are on disk: until then no message may leave. */
bool write_vote_durable(const struct member *member);

/* apply.c */
void apply_advance(struct member *member);
/* What is applied has changed: perhaps it is all now that this node may have shown before its
 * restart. */
void apply_note_readable(struct member *member);
void apply_loaded(struct member *member, uint64_t first_index, const struct log_entry *entries,
                  size_t count);
enum { APPLY_COOKIE = 1 };

/* snapshot.c */
void snapshot_begin_install(struct member *member, struct raft_update *update);
int snapshot_receive(struct member *member, uint64_t from,
                     const Raftkv__V1__InstallSnapshot *message, const char **ret_reason);
void snapshot_deinit(struct member *member);

/* propose.c */
/* Ends the proposals up to index, of whose fate the state that was installed says nothing. */
void propose_installed(struct member *member, uint64_t index);
void propose_flush(struct member *member);
void propose_applied(struct member *member, uint64_t first_index, const struct log_entry *entries,
                     size_t count, const void *results, size_t result_size);
void propose_lost_office(struct member *member);
void propose_end_all(struct member *member);
/* Puts a CHANGE into the log, alone in its step (hazard L6). False: not possible now. */
bool propose_configuration(struct member *member, const struct configuration *configuration);

/* send.c */
/* By the newest configuration, committed or not; NULL: it does not name this server. */
const struct raft_server *member_newest_server(const struct member *member, uint64_t id);

void send_messages(struct member *member, struct raft_message *messages, unsigned count);
void send_release(struct member *member);
void send_flush(struct member *member);
void send_loaded(struct member *member, uint64_t cookie, uint64_t first_index,
                 const struct log_entry *entries, size_t count);
void send_lost_office(struct member *member);
void send_deinit(struct member *member);
void send_heard_from(struct member *member, uint64_t id, uint16_t capacity);
/* NULL: nothing was ever sent to it or heard from it. */
struct sender *send_find(struct member *member, uint64_t id);
void send_rejected(struct member *member, uint64_t id);
void send_removed(struct member *member, uint64_t id, uint64_t configuration_index);

/* membership.c */
/* The change under way has ended: with a failure, or the index of the configuration and, after a
 * transfer, the name of the new leader. */
void membership_finish(struct member *member, const struct failure *failure, uint64_t index,
                       const char *leader);
void membership_fail(struct member *member, const struct failure *failure);
/* Writes a configuration for the change under way. */
void membership_commit(struct member *member, const struct configuration *configuration);
/* Asks, for the change under way, who is at an address. `then` is called unless the change has
 * ended meanwhile. */
typedef void (*membership_identified)(struct member *member, const struct identity *identity,
                                      const struct failure *failure);
void membership_identify(struct member *member, const char *address, uint64_t timeout_ms,
                         membership_identified then);
enum { IDENTIFY_TIMEOUT_MS = 5000 };
/* ERROR_ALREADY_EXISTS: a server has this already. */
int membership_refuse_taken(const struct server *server, const char *what, const char *value,
                            struct failure *failure);
void membership_advance(struct member *member);
void membership_applied(struct member *member, uint64_t index);
void membership_lost_office(struct member *member);
void membership_end_all(struct member *member);
bool membership_holds_submissions(const struct member *member);
uint64_t membership_deadline(const struct member *member);
/* Whether a server answered within the last two election timeouts. Leader only; true for itself. */
bool membership_is_live(const struct member *member, uint64_t id);

/*
 * Begins a transfer to a voter without anybody asking. Other than member_change() it does not need
 * a leader that serves. False: not possible now.
 */
bool membership_hand_over(struct member *member, struct change *change, uint64_t target);
/* The voter to hand over to: live, with room on its disk if any has, and as far as any. 0: none. */
uint64_t membership_successor(const struct member *member);
/* Whether so little is missing there that a transfer may hold submissions back for it. */
bool membership_is_near(const struct member *member, uint64_t id);

/* adding.c */
void adding_start(struct member *member);
/* Its entry is applied: the change only waits for the promotion, and the next one may begin. */
void adding_await_promotion(struct member *member);
/* Ends the change that awaits a promotion if its fate is known. */
void adding_advance(struct member *member);

/* moving.c */
void moving_start(struct member *member);
/* Its entry is applied. */
void moving_say(const struct member *member);

/* space.c */
/* To be called now and then, and when the room on a disk has changed. */
void space_advance(struct member *member);
/* Leader: whether a server that answers said that its disk has room. */
bool space_is_there(const struct member *member, uint64_t id);

/* replacement.c */
/* To be called now and then. */
void replacement_advance(struct member *member);

/* promotion.c */
void promotion_advance(struct member *member);
bool promotion_under_way(const struct member *member);
void promotion_say_goodbye(struct member *member, const struct server *server);
bool quorum_survives(const struct member *member, uint64_t without, struct failure *failure);
