/*
 * raft: one member of the cluster. It drives libraft's step function from behind the guard, which
 * keeps away from it what it does not survive (ARCHITECTURE.md, "Hazards of libraft"), and carries
 * out elections' outcomes, membership changes and transfers. It does no I/O: time, chance, lanes
 * and peers come through the host, the disk and the state machine through struct member_effects.
 * May use base, proto and libraft.
 *
 * Everything here runs on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/journal.h"
#include "base/entry.h"
#include "base/error.h"
#include "base/host.h"
#include "base/limits.h"
#include "base/memory.h"

struct member;

enum member_role { MEMBER_NONE, MEMBER_VOTER, MEMBER_STANDBY };
enum member_state { MEMBER_FOLLOWER, MEMBER_CANDIDATE, MEMBER_LEADER };

/* One server of the configuration. The raft address of a server carries all of it but the id and
 * the role. */
struct server {
    uint64_t id;
    enum member_role role;
    bool promoting; /* a standby that becomes a voter as soon as it has caught up */
    char name[MEMBER_NAME_MAX + 1];
    char peer_address[ADDRESS_MAX + 1];
    char client_address[ADDRESS_MAX + 1];
};

struct configuration {
    uint64_t index; /* of the entry; 0: none */
    size_t count;
    struct server servers[MEMBERS_MAX];
};

/* NULL when there is no such server. */
const struct server *configuration_find(const struct configuration *c, uint64_t id);
const struct server *configuration_find_name(const struct configuration *c, const char *name);

/* What others may know of a member now. */
struct member_view {
    uint64_t id;
    enum member_state state;
    enum member_role role; /* by the committed configuration */
    uint64_t term;
    uint64_t leader; /* id; 0: none known */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t first_index; /* of the log */
    uint64_t last_index;
    /* Leader only: an entry of the own term is applied, so that reads and changes may begin (hazard
     * L3). */
    bool serving;
    bool growth_refused; /* leader only: proposals that grow are refused, for want of room */
    /* All that this node may have shown before its restart is applied: stale reads may be answered.
     */
    bool readable;
    /* The cluster has removed this member, and has told it so in this run. */
    bool removed;
    /* The same in this run or an earlier one, and it was not added again since; and the index of
     * the configuration of which it was told, to be remembered by the next run. */
    bool awaits_adding;
    uint64_t removed_index;
};
void member_get_view(const struct member *member, struct member_view *ret);
/* Adds the fields of a message in the journal that is about elections, members or snapshots: the
 * term, and the name of the member that it is about (NULL: none). */
void member_event(struct journal_event *event, const struct member *member, const char *about);
/* The same of one that is, or asks to be, at this address for its peers. */
void member_event_at(struct journal_event *event, const struct member *member, const char *about,
                     const char *peer_address);
/* Says how the attempt to give leadership away ended: with the name of the new leader, or a
 * failure. */
void member_say_handed_over(const struct member *member, int priority, const char *leader,
                            const struct failure *failure);
/* What a member has counted since it was started. */
struct member_statistics {
    uint64_t elections; /* that it called, pre-votes included */
    uint64_t elections_won;
    uint64_t transfers; /* of its office to another voter, asked for */
    uint64_t transfers_failed;
    uint64_t leader_heard; /* host time of the last message of a leader; 0: never */
};
void member_get_statistics(const struct member *member, struct member_statistics *ret);
/* The committed configuration (applied here). */
const struct configuration *member_configuration(const struct member *member);
/* Leader only: how far a server has the log durably (match index), and when it last answered (host
 * time, 0: never). */
bool member_progress(const struct member *member, uint64_t id, uint64_t *ret_match,
                     uint64_t *ret_last_contact);

/*
 * A proposal: one entry to replicate. Fill data, size, type and done, and hand it to
 * member_propose(). The memory stays the caller's and must last until done(), which is called
 * exactly once, perhaps long after:
 * - failure NULL: applied here; `result` is what the state machine answered for it (NULL for a
 * barrier);
 * - ERROR_NOT_LEADER: it is not in the log and never will be; nothing happened;
 * - ERROR_BUSY, ERROR_NO_SPACE: refused, nothing happened;
 * - ERROR_UNAVAILABLE with outcome_unknown: the node stops.
 * A proposal whose leader lost its office waits until its index is applied, by this entry or
 * another.
 */
enum { BARRIER_SIZE = 8 }; /* zero bytes: what libraft's own barriers carry */

struct proposal {
    uint8_t *data; /* malloc'd; taken by member_propose() */
    size_t size;
    uint8_t type; /* ENTRY_COMMAND or ENTRY_BARRIER (numbers of raft_entry_type) */
    bool grows;   /* the state grows by it: refused while the disks of a majority have no room */
    void (*done)(struct proposal *proposal, const struct failure *failure, const void *result);

    /* The member's. */
    struct proposal *next;
    uint64_t index;
    uint64_t term;
};
void member_propose(struct member *member, struct proposal *proposal);

/* A barrier, for member_propose(). */
static inline struct proposal proposal_of_barrier(void (*done)(struct proposal *proposal,
                                                               const struct failure *failure,
                                                               const void *result)) {
    return (struct proposal){
        .data = xcalloc(1, BARRIER_SIZE),
        .size = BARRIER_SIZE,
        .type = ENTRY_BARRIER,
        .done = done,
    };
}

/*
 * A change of membership or of the leader, carried out by the leader. One at a time: a second one
 * is refused with ERROR_BUSY. done() is called exactly once; ERROR_NOT_LEADER means that nothing
 * happened (yet) and that the request may be sent to the new leader (this is also how a leader that
 * must not remove or demote itself ends: it hands leadership over first).
 */
enum change_kind {
    CHANGE_ADD_VOTER,
    CHANGE_ADD_NONVOTER,
    CHANGE_REMOVE,
    CHANGE_DEMOTE,
    CHANGE_TRANSFER,
    CHANGE_MOVE, /* a member is at other addresses than the configuration says */
};

struct change {
    enum change_kind kind;
    char name[MEMBER_NAME_MAX + 1];     /* TRANSFER: empty means the most up-to-date voter */
    char peer_address[ADDRESS_MAX + 1]; /* ADD_VOTER, ADD_NONVOTER, MOVE */
    uint64_t member_id;                 /* MOVE */
    bool force; /* REMOVE, DEMOTE: even if too few live voters are left to carry it out */
    uint64_t expected_index; /* configuration index, or 0 */
    uint64_t deadline;       /* host time by which the caller wants it; a transfer gives up then */
    /* configuration_index: the new one. leader: TRANSFER: the new leader's name. */
    void (*done)(struct change *change, const struct failure *failure, uint64_t configuration_index,
                 const char *leader);
};
void member_change(struct member *member, struct change *change);
/* Whether a change that adds a member of this name is under way. */
bool member_is_adding(const struct member *member, const char *name);
/* How far a change has come that is not done yet. */
struct change_progress {
    const char *phase; /* in words, static */
    uint64_t done,
        total; /* entries that the member it is about has, and is to have; 0, 0: unknown */
};
void member_change_progress(const struct member *member, const struct change *change,
                            struct change_progress *ret);
/* Ends an AddVoter that only waits for the promotion, which goes on (ERROR_UNAVAILABLE, outcome
 * unknown); used while stopping. */
void member_stop_awaiting(struct member *member);
