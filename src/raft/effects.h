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

struct member_effects {
    void *data;
    /* Makes a write durable, then calls member_persisted(). Its memory lasts until then. */
    void (*persist)(void *data, const struct member_write *write);
    /* Applies committed entries, then calls member_applied(). Their memory lasts until then. */
    void (*apply)(void *data, uint64_t first_index, const struct log_entry *entries, size_t count);
    /* Reads entries from the log, at most `count` and about max_bytes but at least one, then calls
     * member_loaded() with the cookie. */
    void (*load)(void *data, uint64_t first_index, size_t count, size_t max_bytes, uint64_t cookie);
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

/* Completions of effects. `results` has one element of result_size bytes for each applied entry. */
void member_persisted(struct member *member);
void member_applied(struct member *member, const void *results, size_t result_size);
/* count 0: the entries are no longer in the log. */
void member_loaded(struct member *member, uint64_t cookie, uint64_t first_index,
                   const struct log_entry *entries, size_t count);

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
