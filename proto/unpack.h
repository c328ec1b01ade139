/*
 * proto: the schemas and what is generated from them, as one small library, plus the door that
 * every byte from outside goes through. Knows nothing else of raftkv but the limits and the
 * memory of src/base.
 *
 * protobuf-c allocates as it decodes, does not check UTF-8, and recurses as deep as the bytes say.
 * So the bytes are walked first, against the descriptor of the message, and decoded only when they
 * keep within the limits.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "command.pb-c.h"
#include "peer.pb-c.h"
#include "raftkv.pb-c.h"
#include "snapshot.pb-c.h"

struct unpack_limits {
    size_t size;     /* bytes of the whole message */
    size_t repeated; /* elements of any one repeated field */
    size_t fields;   /* fields in the whole message, unknown ones and packed elements included */
    unsigned depth;  /* of nested messages; the outermost is 1 */
};

/* For requests and responses: REQUEST_SIZE_MAX, LIST_ITEMS_MAX ... and for messages between peers
 * (one whole PeerMessage, or one LinkFrame). */
extern const struct unpack_limits unpack_client_limits;
extern const struct unpack_limits unpack_peer_limits;

/*
 * Decodes a message of this type. Returns 0 and the message, to free with
 * protobuf_c_message_free_unpacked(m, NULL), or -EBADMSG (malformed, nested too deep, a field of
 * another wire type than the schema's, a group, a string that is not UTF-8 or holds NUL) or
 * -EMSGSIZE (above a limit of size or number), with a static sentence in *ret_reason.
 *
 * What proto3 lets a newer sender do is accepted: unknown fields, enum values that the schema does
 * not name (they arrive as their number: handle `default:`), several members of a oneof (the last
 * one counts) and a singular field given twice (the last one counts; messages are merged).
 */
int unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
           const struct unpack_limits *limits, ProtobufCMessage **ret, const char **ret_reason);

/* Encodes into a malloc'd buffer with `room` free bytes in front (for a frame's length); *ret_size
 * is the size of the encoded message alone. */
uint8_t *pack(const ProtobufCMessage *message, size_t room, size_t *ret_size);
