#include "proto/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

enum {
    FIELDS_OF_MESSAGE_MAX = 64, /* in one message type of ours */
    FIELDS_OF_ITEM = 8,         /* those of a KeyValue or an Entry, and some that are added later */
    FIELDS_AROUND = 4096,
    DEPTH_MAX = 12,
};

const struct unpack_limits unpack_client_limits = {
    .size = REQUEST_SIZE_MAX,
    .repeated = LIST_ITEMS_MAX,
    .fields = LIST_ITEMS_MAX * FIELDS_OF_ITEM + FIELDS_AROUND,
    .depth = DEPTH_MAX,
};

/* A forwarded response holds as much as any response. */
const struct unpack_limits unpack_peer_limits = {
    .size = PEER_MESSAGE_SIZE_MAX,
    .repeated = LIST_ITEMS_MAX,
    .fields = LIST_ITEMS_MAX * FIELDS_OF_ITEM + FIELDS_AROUND,
    .depth = DEPTH_MAX,
};

/* The bytes of one message that are still to be walked. */
struct span {
    const uint8_t *data;
    size_t size;
};

struct walk {
    const struct unpack_limits *limits;
    size_t fields; /* seen so far */
    const char *reason;
};

static int refuse(struct walk *walk, int error, const char *reason) {
    walk->reason = reason;
    return error;
}

/* https://protobuf.dev/programming-guides/encoding: seven bits a byte, the lowest first. */
static int take_varint(struct walk *walk, struct span *span, size_t bytes_max, uint64_t *ret) {
    uint64_t value = 0;

    for (size_t i = 0; i < bytes_max; i++) {
        if (i == span->size)
            return refuse(walk, -EBADMSG, "The message ends within a number.");
        value |= (uint64_t)(span->data[i] & 0x7f) << (7 * i);
        if (!(span->data[i] & 0x80)) {
            span->data += i + 1;
            span->size -= i + 1;
            *ret = value;
            return 0;
        }
    }
    return refuse(walk, -EBADMSG, "A number of the message is too long.");
}

static int take_bytes(struct walk *walk, struct span *span, size_t size, struct span *ret) {
    if (size > span->size)
        return refuse(walk, -EBADMSG, "The message ends within a field.");
    *ret = (struct span){span->data, size};
    span->data += size;
    span->size -= size;
    return 0;
}

/* The value of a field. For varints an empty span: its number does not matter here. */
static int take_value(struct walk *walk, struct span *span, unsigned wire_type, struct span *ret) {
    uint64_t number;
    int r;

    switch (wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        *ret = (struct span){span->data, 0};
        return take_varint(walk, span, 10, &number);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        return take_bytes(walk, span, 8, ret);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        return take_bytes(walk, span, 4, ret);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        r = take_varint(walk, span, 5, &number);
        return r < 0 ? r : take_bytes(walk, span, number, ret);
    default:
        return refuse(walk, -EBADMSG, "The message holds a group or an unknown wire type.");
    }
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF; and no NUL, which would cut
 * a C string short. */
static bool text_valid(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size;) {
        uint8_t first = text[i];
        uint8_t low = 0x80, high = 0xbf; /* what the second byte may be */
        size_t more;

        if (first == 0)
            return false;
        if (first < 0x80) {
            i++;
            continue;
        }
        if (first < 0xc2 || first > 0xf4)
            return false;
        more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (first == 0xe0)
            low = 0xa0;
        if (first == 0xed)
            high = 0x9f;
        if (first == 0xf0)
            low = 0x90;
        if (first == 0xf4)
            high = 0x8f;
        if (size - i <= more || text[i + 1] < low || text[i + 1] > high)
            return false;
        for (size_t k = 2; k <= more; k++)
            if ((text[i + k] & 0xc0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static unsigned wire_type_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

/* NULL: a field that the schema does not know. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  uint64_t id) {
    for (unsigned i = 0; i < type->n_field_ranges; i++) {
        const ProtobufCIntRange *range = &type->field_ranges[i];
        uint64_t start = (uint64_t)range->start_value;

        if (id >= start && id - start < range[1].orig_index - range->orig_index)
            return &type->fields[range->orig_index + (id - start)];
    }
    return NULL;
}

static int count_fields(struct walk *walk, size_t count) {
    walk->fields += count;
    if (walk->fields > walk->limits->fields)
        return refuse(walk, -EMSGSIZE, "The message has too many fields.");
    return 0;
}

/* A packed repeated field: elements without tags, one behind the other. */
static int walk_packed(struct walk *walk, unsigned wire_type, struct span span, size_t *count) {
    while (span.size > 0) {
        struct span ignored;
        int r = take_value(walk, &span, wire_type, &ignored);

        if (r == 0)
            r = count_fields(walk, 1);
        if (r < 0)
            return r;
        ++*count;
    }
    return 0;
}

static int walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, struct span span,
                        unsigned depth);

/* A field that the schema knows; *count is how often it was there in this message. */
static int walk_known(struct walk *walk, const ProtobufCFieldDescriptor *field, unsigned wire_type,
                      struct span value, unsigned depth, size_t *count) {
    unsigned expected = wire_type_of(field->type);
    int r = 0;

    if (wire_type == expected)
        ++*count;
    else if (field->label == PROTOBUF_C_LABEL_REPEATED &&
             wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
        r = walk_packed(walk, expected, value, count);
    else
        r = refuse(walk, -EBADMSG, "A field of the message has the wrong type.");
    if (r < 0)
        return r;
    if (field->label == PROTOBUF_C_LABEL_REPEATED && *count > walk->limits->repeated)
        return refuse(walk, -EMSGSIZE, "A repeated field of the message has too many elements.");
    if (field->type == PROTOBUF_C_TYPE_STRING && !text_valid(value.data, value.size))
        return refuse(walk, -EBADMSG, "A text of the message is not UTF-8 or holds NUL.");
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return walk_message(walk, field->descriptor, value, depth + 1);
    return 0;
}

static int walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, struct span span,
                        unsigned depth) {
    size_t counts[FIELDS_OF_MESSAGE_MAX] = {0};

    check(type->n_fields <= FIELDS_OF_MESSAGE_MAX);
    if (depth > walk->limits->depth)
        return refuse(walk, -EBADMSG, "The message is nested too deep.");
    while (span.size > 0) {
        const ProtobufCFieldDescriptor *field;
        struct span value;
        uint64_t tag;
        int r;

        r = take_varint(walk, &span, 5, &tag);
        if (r < 0)
            return r;
        if (tag >> 3 == 0 || tag > UINT32_MAX)
            return refuse(walk, -EBADMSG, "A field number of the message is out of range.");
        r = take_value(walk, &span, tag & 7, &value);
        if (r == 0)
            r = count_fields(walk, 1);
        if (r < 0)
            return r;
        field = find_field(type, tag >> 3);
        if (field)
            r = walk_known(walk, field, tag & 7, value, depth, &counts[field - type->fields]);
        if (r < 0)
            return r;
    }
    return 0;
}

int unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
           const struct unpack_limits *limits, ProtobufCMessage **ret, const char **ret_reason) {
    struct walk walk = {.limits = limits};
    ProtobufCMessage *message;
    int r;

    if (size > limits->size)
        r = refuse(&walk, -EMSGSIZE, "The message is too large.");
    else
        r = walk_message(&walk, type, (struct span){data, size}, 1);
    if (r < 0) {
        *ret_reason = walk.reason;
        return r;
    }
    message = protobuf_c_message_unpack(type, NULL, size, data);
    if (!message) {
        *ret_reason = "The message cannot be decoded.";
        return -EBADMSG;
    }
    *ret = message;
    return 0;
}

uint8_t *pack(const ProtobufCMessage *message, size_t room, size_t *ret_size) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = xmalloc(room + size);

    check(protobuf_c_message_pack(message, data + room) == size);
    *ret_size = size;
    return data;
}
