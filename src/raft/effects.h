/*
 * effects: what a member wants done outside: writes, the state machine, loads from the log. The
 * node room carries them out on lanes and reports back with the functions at the end. Each kind is
 * under way at most once at a time, except loads (one a server).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/entry.h"
#include "proto/unpack.h"
#include "raft/member.h"

/* One durable write: term and vote if set, then entries, which cut off what the log has from
 * first_index on. */
struct member_write {
    bool set_vote;
    uint64_t term;
    uint64_t vote;
    uint64_t first_index; /* 0: no entries */
    const struct log_entry *entries;
    size_t count;
};

/* A point of the log that the state holds: what snapshots and compaction are about. Owned by
 * whoever holds it. */
struct member_mark {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    uint8_t *configuration; /* raft's encoding, malloc'd */
    size_t configuration_size;
};
void member_mark_deinit(struct member_mark *mark);
struct member_mark member_mark_copy(const struct member_mark *mark);

struct member_effects {
    void *data;
    /* Makes a write durable, then calls member_persisted(). Its memory lasts until then. */
    void (*persist)(void *data, const struct member_write *write);
    /* Applies committed entries, then calls member_applied(). Their memory lasts until then. */
    void (*apply)(void *data, uint64_t first_index, const struct log_entry *entries, size_t count);
    /* Reads entries from the log, at most `count` and about max_bytes but at least one, then calls
     * member_loaded() with the cookie. */
    void (*load)(void *data, uint64_t first_index, size_t count, size_t max_bytes, uint64_t cookie);
    /*
     * Leader: this server is so far behind that it needs the state itself. Said again and again
     * until the snapshot is installed there: begin a stream unless one is under way, and call
     * member_send_install() when all of it is staged there.
     */
    void (*snapshot_wanted)(void *data, uint64_t id);
    /* Follower: makes the staged snapshot the state, durably, and the log empty behind it; then
     * calls member_installed(). */
    void (*install)(void *data, const struct member_mark *mark);
    /* Something of the view, the progress of others or the configuration changed. */
    void (*changed)(void *data);
};

struct member_options {
    struct host *host;
    const struct member_effects *effects; /* must outlive the member */
    const struct identity
        *identity; /* who this node is; must outlive the member; cluster_id may change */
    uint64_t election_timeout; /* ms */
    uint64_t heartbeat;        /* ms */
    size_t cache_size;         /* bytes of recent entries kept in memory */

    /* What was found on disk. Entries carry data for type CHANGE only; all of it is copied. */
    uint64_t term;
    uint64_t vote;
    uint64_t mark_index; /* 0: none */
    uint64_t mark_term;
    uint64_t mark_configuration_index;
    const uint8_t *mark_configuration;
    size_t mark_configuration_size;
    uint64_t first_index;
    const struct log_entry *entries;
    size_t entry_count;
    uint64_t removed_index;       /* of the view in an earlier run; 0: none */
    uint64_t applied_index;       /* of the state */
    uint64_t configuration_index; /* applied in the state; 0: none */
    const uint8_t *configuration;
    size_t configuration_size;
};

/*
 * Makes a member. Before member_start() the caller must make *ret_term and *ret_vote durable if
 * they differ from what it passed: a sole voter must not lead twice in one term (hazard L2).
 * -EBADMSG: a configuration on disk does not decode.
 */
int member_new(struct member **ret, const struct member_options *options, uint64_t *ret_term,
               uint64_t *ret_vote);
/* Starts raft; effects and host are called from here on. A negative errno is fatal. */
int member_start(struct member *member);
/* Ends all proposals and changes with ERROR_UNAVAILABLE. No effect may be under way. Takes NULL;
 * returns NULL. */
struct member *member_free(struct member *member);

/*
 * How much room the disk here has for what grows, in MiB, at most UINT16_MAX (which it is until
 * this is called); 0: none. Said to the leader with every answer. A leader without room hands over
 * to a voter that has some.
 */
void member_set_capacity(struct member *member, uint16_t capacity);

/*
 * While this member leads and fewer than `voters` voters answer, a voter that has been silent for
 * silence_ms loses its place to a non-voter that has caught up. 0: never, which it is until this is
 * called.
 */
void member_set_replacement(struct member *member, unsigned voters, uint64_t silence_ms);

/* Completions of effects. `results` has one element of result_size bytes for each applied entry. */
void member_persisted(struct member *member);
void member_applied(struct member *member, const void *results, size_t result_size);
/* count 0: the entries are no longer in the log. */
void member_loaded(struct member *member, uint64_t cookie, uint64_t first_index,
                   const struct log_entry *entries, size_t count);

/* Follower: the state of this mark is staged, or (NULL) no longer. Only then InstallSnapshot is
 * listened to. */
void member_staged(struct member *member, const struct member_mark *mark);
/* Whether what was staged is still wanted; if not, it may be thrown away. */
bool member_has_staged(const struct member *member);
void member_installed(struct member *member);
/* Leader: everything is staged there. False: not the leader (any more), or the server needs it no
 * longer. */
bool member_send_install(struct member *member, uint64_t id, const struct member_mark *mark);
/* Leader: whether raft is still waiting for this server to install a snapshot. */
bool member_needs_snapshot(const struct member *member, uint64_t id);

/* The mark of what is applied now; false while nothing is, or a snapshot is being installed. */
bool member_mark_applied(const struct member *member, struct member_mark *ret);
/*
 * The mark is durable in state and log: raft counts on the log for `trailing_entries` and
 * `trailing_bytes` before it, whichever is less, and for everything from still_wanted on
 * (UINT64_MAX: nothing). Returns the first index that must stay in the log; 0: the mark came too
 * late, nothing is to be cut.
 */
uint64_t member_compacted(struct member *member, const struct member_mark *mark,
                          uint64_t trailing_entries, uint64_t trailing_bytes,
                          uint64_t still_wanted);
/* The log has been cut: it begins at first_index now. */
void member_log_cut(struct member *member, uint64_t first_index);

/* The host's time has come to member_deadline(). */
void member_tick(struct member *member);
uint64_t member_deadline(const struct member *member);
/* Submits what was proposed since the last flush, if no write is under way, and sends what links
 * have room for. */
void member_flush(struct member *member);

/*
 * A message from another member of the same cluster. `address` is its server text or any other
 * word. Other bodies than raft's and Removed are not for the member. -EBADMSG with a static reason:
 * close the link.
 */
int member_receive(struct member *member, uint64_t from, const Raftkv__V1__PeerMessage *message,
                   const char **ret_reason);

/*
 * The leader, which has made sure that it leads, says that this committed configuration does not
 * name this member, which has asked. Not believed by a member that knows of such a configuration or
 * a later one; nor by one that was told before, and waits to be added again.
 */
void member_expel(struct member *member, uint64_t configuration_index);

/*
 * Whom to have links with: the newest configuration known here, committed or not, and for a while a
 * server that was just removed, to tell it so.
 */
void member_peers(const struct member *member, struct configuration *ret);
/* Changes whenever member_peers() would give something else. Never 0. */
uint64_t member_peers_version(const struct member *member);
/* Whether anything is being written, applied or loaded. */
bool member_busy(const struct member *member);
/* From now on no proposal or change is accepted (ERROR_UNAVAILABLE); used while stopping. */
void member_close_door(struct member *member);
