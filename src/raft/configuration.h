/*
 * configuration: who is in the cluster, and libraft's form of it. All configurations are made here,
 * one server's delta at a time and in unchanged order (hazard L4). The raft address of a server is
 * a text of three or four words, "NAME PEER-ADDRESS CLIENT-ADDRESS [promoting]", so that the
 * replicated configuration itself tells how to reach everybody.
 */
#pragma once

#include <raft.h>

#include "raft/member.h"

/*
 * Decodes libraft's encoding of a configuration (its src/configuration.c: version byte 1, 64-bit
 * little-endian count, then per server id, NUL-terminated address, role byte; padded with zeros to
 * 8 bytes) strictly: bounds, at least 1 and at most MEMBERS_MAX servers, ids not 0 and distinct,
 * valid and distinct names and addresses, known roles (spare is refused), promoting only on a
 * standby, at least one voter, no trailing bytes but the zero padding (hazard L9). -EBADMSG with a
 * static reason.
 */
int configuration_decode(const uint8_t *data, size_t size, struct configuration *ret,
                         const char **ret_reason);
/* Encodes it as libraft does, into a raft_malloc()ed buffer. */
void configuration_encode(const struct configuration *c, uint8_t **ret_data, size_t *ret_size);
/* Fills libraft's structure (raft_configuration_init'ed here); its memory is raft_malloc's and goes
 * to raft or raft_configuration_close(). */
void configuration_to_raft(const struct configuration *c, struct raft_configuration *ret);
/* The raft address of a server into a buffer of SERVER_TEXT_MAX characters. */
enum { SERVER_TEXT_MAX = MEMBER_NAME_MAX + 2 * ADDRESS_MAX + 16 };
void server_format(const struct server *server, char *ret);
/* The reverse, strictly; id and role are left alone. -EBADMSG. */
int server_parse(const char *text, struct server *ret);

/*
 * Why this server can't be added: a static sentence that says what of it (id, name, peer or client
 * address) another server already has. NULL: nothing.
 */
const char *configuration_taken(const struct configuration *c, const struct server *server);

/* The deltas. Each asserts that it applies (name, id and addresses not taken; server there; room
 * left). */
void configuration_add(struct configuration *c, const struct server *server);
void configuration_remove(struct configuration *c, uint64_t id);
void configuration_set_role(struct configuration *c, uint64_t id, enum member_role role,
                            bool promoting);
void configuration_move(struct configuration *c, uint64_t id, const char *peer_address,
                        const char *client_address);

size_t configuration_voters(const struct configuration *c);
