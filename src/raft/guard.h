/*
 * guard: decides whether a message from another member may reach raft_step() in the present state.
 * libraft asserts (or, built with NDEBUG, corrupts itself) on messages that a stale, wiped or wrong
 * peer can send; ARCHITECTURE.md lists the hazards by their numbers.
 */
#pragma once

#include <raft.h>
#include <stdbool.h>

enum guard_verdict {
    GUARD_PASS,  /* step it (perhaps trimmed or lowered) */
    GUARD_DROP,  /* ignore it: stale, or not for this state */
    GUARD_CLOSE, /* the sender broke the protocol: close the link and say why in the journal */
};

struct guard {
    raft_term leader_term; /* the term in which leader_id was seen to lead */
    raft_id leader_id;
    /* What is applied here is committed; after a start libraft does not know it yet. */
    raft_index applied_index;
    bool installing; /* a snapshot is being installed */
};

/*
 * Whether a follower's raft knows its uncommitted configuration to be committed. libraft settles it
 * only when told, which otherwise is when the entry is applied, and a second change has to wait
 * that long (hazard L25). Then the member steps RAFT_CONFIGURATION with the index and configuration
 * that are filled in (time and capacity are left alone); best before each message. The same event
 * comes again when the entry is applied, and libraft ignores it.
 */
bool guard_settles_change(const struct raft *raft, struct raft_event *ret);
/*
 * The same for a message that is about to come: a second configuration shows that the one before it
 * is committed, because a leader writes no other before. It is the only one that can know so when
 * all others have restarted, and then it commits nothing until it has got that second one across.
 */
bool guard_settles_change_before(const struct raft *raft, const struct raft_message *message,
                                 struct raft_event *ret);

/*
 * Looks at a message from codec_decode() (server_id is the sender). May change it: drops entries at
 * or below the own snapshot (L8), lowers leader_commit where libraft would move its commit index
 * backwards. *ret_reason (static) is set for DROP and CLOSE.
 */
enum guard_verdict guard_receive(struct guard *guard, const struct raft *raft,
                                 struct raft_message *message, const char **ret_reason);
