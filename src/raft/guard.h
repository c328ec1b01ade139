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
    raft_index snapshot_index; /* of the own snapshot mark; 0: none */
    bool installing;           /* a snapshot is being installed */
};

/*
 * Whether a message brings a second configuration while libraft takes the first one, which this
 * very message shows to be committed, for uncommitted still (hazard L25). Then the member steps
 * RAFT_CONFIGURATION first, with the index and configuration that are filled in (time and capacity
 * are left alone), and goes on with guard_receive(). The same event comes again when the entry is
 * applied, and libraft ignores it.
 */
bool guard_settles_change(const struct guard *guard, const struct raft *raft,
                          const struct raft_message *message, struct raft_event *ret);

/*
 * Looks at a message from codec_decode() (server_id is the sender). May change it: drops entries at
 * or below the own snapshot (L8), lowers leader_commit where libraft would move its commit index
 * backwards. *ret_reason (static) is set for DROP and CLOSE.
 */
enum guard_verdict guard_receive(struct guard *guard, const struct raft *raft,
                                 struct raft_message *message, const char **ret_reason);
