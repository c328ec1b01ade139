/* codec: libraft's messages to and from PeerMessage bytes. Checks everything that can be checked
 * without knowing the state of the member. */
#pragma once

#include <raft.h>

#include "proto/unpack.h"

/* Terms and indexes from outside are below this, so that sums of them can't overflow. */
#define CODEC_NUMBER_LIMIT (UINT64_C(1) << 62)

/*
 * Encodes a message (append entries and result, request vote and result, timeout now) into a
 * malloc'd buffer. Entries must have their data. last_log_index of a result is clamped to
 * `last_index`, the sender's own (hazard L16).
 */
uint8_t *codec_encode(const struct raft_message *message, raft_index last_index, size_t *ret_size);

/*
 * Turns a decoded PeerMessage with a raft body into libraft's structure, with memory as raft_step()
 * wants it: the entries in one raft_malloc()ed array, their data in one raft_malloc()ed batch that
 * all entries share (never NULL). `from` and `address` (which must outlive the message) name the
 * sender. Refuses with -EBADMSG and a static reason what no correct member sends (hazards L1, L9,
 * L10): term 0, an index above 2^62, prev index and term not both zero or both set, entry term 0,
 * falling or above the message's, unknown types, a CHANGE that is not alone or does not decode,
 * entries above APPEND_ENTRIES_MAX, too large an entry, a barrier or command with impossible size
 * ...
 */
int codec_decode(const Raftkv__V1__PeerMessage *peer, raft_id from, const char *address,
                 struct raft_message *ret, const char **ret_reason);

/* Frees the entries of a decoded message that raft_step() did not get to see. */
void codec_free(struct raft_message *message);
