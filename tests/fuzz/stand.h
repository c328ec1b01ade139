/*
 * stand: one real member alone on a test stand. Its disk, state machine and network are stood in
 * for, they act only when they are told to, and whatever the member wants is held against what
 * raft promises: no word leaves before what it rests on is durable, no vote is given twice, what
 * was applied stays, and nothing that others say stops the node.
 */
#pragma once

#include "fuzz.h"
#include "raft/member_internal.h"

enum {
    STAND_OWN_ID = 1,
    STAND_IDS = 7, /* members are numbered from 1 up to this */
    STAND_LOG_MAX = 2048,
    STAND_LOADS_MAX = MEMBERS_MAX + 2,
    STAND_IDENTIFIES_MAX = 16,
};

struct stand_entry {
    uint64_t term;
    uint8_t type;
    uint8_t *data;
    size_t size;
};

struct stand {
    uint64_t now;
    uint64_t random;
    struct host host;
    struct member_effects effects;
    struct identity identity;
    struct member *member;

    /* The disk. */
    uint64_t term, vote;
    struct stand_entry log[STAND_LOG_MAX];
    uint64_t first, last;
    struct member_mark mark;
    uint64_t applied;
    uint64_t configuration_index;

    /* What is under way. */
    bool writing, applying;
    struct member_write write;
    uint64_t apply_first;
    const struct log_entry *apply_entries;
    size_t apply_count;
    struct {
        bool used;
        uint64_t first_index, cookie;
        size_t count;
    } loads[STAND_LOADS_MAX];
    struct {
        identify_cb callback;
        void *data;
    } identifies[STAND_IDENTIFIES_MAX];
    size_t identify_count;
    size_t open; /* proposals and changes without an answer */

    /* A state beside the current one, which may be on its way to take its place; the mark up to
     * which the log is being cut. Index 0: none. */
    struct member_mark staged, compacting;
    bool installing, write_before_install;

    /* What the links are like. */
    size_t backlog;
    bool cut;

    /* What must not go back. */
    uint64_t seen_term, seen_commit;
};

extern struct stand stand;

/* Begins with a log of one entry, this configuration; or with an empty disk where it has no
 * servers. */
void stand_start(const struct configuration *configuration);
void stand_stop(void);
/* The process dies, with its last write made durable or not, and is started again; perhaps with a
 * log that begins behind what is applied. */
void stand_restart(bool written, bool compacted);
/* Whether the log has room for another message's entries. */
bool stand_has_room(void);

/* What is under way ends; nothing happens when nothing is. */
void stand_finish_write(void);
void stand_finish_apply(void);
/* `empty`: the log no longer has the entries. */
void stand_finish_load(size_t which, bool empty);
/* The node with this id answers, or nobody does (0). */
void stand_finish_identify(size_t which, uint64_t id);

/* A state that this member has streamed is staged, unless it is none that src/node would take. */
void stand_stage(uint64_t from, const struct member_mark *mark);
void stand_unstage(void);
void stand_finish_install(void);
/* The first call takes a mark, the next one marks and cuts the log: as far as it may go, or less.
 */
void stand_compact(uint64_t trailing, uint64_t still_wanted, bool whole);

/* Bytes of a PeerMessage arrive from a member. */
void stand_receive(uint64_t from, const uint8_t *data, size_t size);
void stand_propose(uint8_t type, size_t size);
void stand_change(enum change_kind kind, uint64_t id, uint64_t expected_index, uint64_t ms);
/* Lets time pass, and fires what is due. */
void stand_pass(uint64_t ms);

struct server stand_server(uint64_t id, enum member_role role, bool promoting);
/* Holds the member's view against the one before. */
void stand_look(void);

/* stand.c, for stand_snapshot.c: entries from this index on go; those before it go.
 */
void stand_cut_off(uint64_t index);
void stand_cut_beginning(uint64_t first);

/* stand_snapshot.c, for stand.c. */
void stand_begin_install(const struct member_mark *mark);
void stand_forget_snapshots(bool installed);
