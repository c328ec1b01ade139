/* Every byte from outside goes through unpack(). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/memory.h"
#include "proto/unpack.h"

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static const char *reason;

static int try_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                      const struct unpack_limits *limits) {
    /* A copy of exactly this size, so that reading behind it is noticed. */
    _cleanup_free_ uint8_t *copy = xmemdup(data, size);
    ProtobufCMessage *message = NULL;
    int r;

    reason = NULL;
    r = unpack(type, copy, size, limits, &message, &reason);
    assert_true(r == 0 ? message && !reason : !message && reason);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    return r;
}

static int try_request(const uint8_t *data, size_t size) {
    return try_unpack(&raftkv__v1__request__descriptor, data, size, &unpack_client_limits);
}

static int try_member(const uint8_t *data, size_t size) {
    return try_unpack(&raftkv__v1__member__descriptor, data, size, &unpack_client_limits);
}

static void what_was_packed_is_unpacked(void **state) {
    Raftkv__V1__Request request = RAFTKV__V1__REQUEST__INIT, *back;
    Raftkv__V1__PutRequest put = RAFTKV__V1__PUT_REQUEST__INIT;
    _cleanup_free_ uint8_t *data = NULL;
    ProtobufCMessage *message;
    size_t size;

    (void)state;
    put.key = (ProtobufCBinaryData){.data = (uint8_t[]){0, 1, 255}, .len = 3};
    request.id = UINT64_MAX;
    request.timeout_ms = 7;
    request.body_case = RAFTKV__V1__REQUEST__BODY_PUT;
    request.put = &put;
    data = pack(&request.base, 4, &size);
    assert_int_equal(unpack(&raftkv__v1__request__descriptor, data + 4, size, &unpack_client_limits,
                            &message, &reason),
                     0);
    back = (Raftkv__V1__Request *)message;
    assert_true(back->id == UINT64_MAX);
    assert_int_equal(back->body_case, RAFTKV__V1__REQUEST__BODY_PUT);
    assert_int_equal(back->put->key.len, 3);
    assert_memory_equal(back->put->key.data, put.key.data, 3);
    assert_int_equal(back->put->value.len, 0);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void no_bytes_are_an_empty_message(void **state) {
    (void)state;
    assert_int_equal(try_request(NULL, 0), 0);
}

static void a_message_that_ends_early_is_refused(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(0x08)), -EBADMSG);                /* no number */
    assert_int_equal(try_request(BYTES(0x08, 0x80)), -EBADMSG);          /* half a number */
    assert_int_equal(try_request(BYTES(0x80)), -EBADMSG);                /* half a tag */
    assert_int_equal(try_request(BYTES(0x52, 5, 0x0a, 1)), -EBADMSG);    /* half a put */
    assert_int_equal(try_request(BYTES(0x52, 3, 0x0a, 4, 1)), -EBADMSG); /* key behind the put */
    assert_int_equal(try_member(BYTES(0x11, 1, 2, 3)), -EBADMSG);        /* half a fixed64 */
    assert_int_equal(try_member(BYTES(0xfd, 1, 1, 2, 3)), -EBADMSG); /* half an unknown fixed32 */
}

static void a_length_of_many_gigabytes_is_refused(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(0x52, 0xff, 0xff, 0xff, 0xff, 0x0f)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0x52, 0xff, 0xff, 0xff, 0xff, 0x7f)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0x52, 0x80, 0x80, 0x80, 0x80, 0x80, 0)), -EBADMSG);
}

static void a_number_of_more_than_ten_bytes_is_refused(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)), 0);
    assert_int_equal(try_request(BYTES(8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)),
                     -EBADMSG);
}

static void a_field_of_another_wire_type_is_refused(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(0x0a, 1, 1)), -EBADMSG);      /* id as bytes */
    assert_int_equal(try_request(BYTES(0x50, 1)), -EBADMSG);         /* put as a number */
    assert_int_equal(try_member(BYTES(0x10, 1)), -EBADMSG);          /* fixed64 as a varint */
    assert_int_equal(try_member(BYTES(0x0d, 1, 2, 3, 4)), -EBADMSG); /* text as a fixed32 */
}

static void groups_and_field_number_zero_are_refused(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(0x0b, 0x0c)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0xfb, 1, 0xfc, 1)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0x0e)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0x00, 0)), -EBADMSG);
    assert_int_equal(try_request(BYTES(0x80, 0x80, 0x80, 0x80, 0x10, 0)), -EBADMSG);
}

static void unknown_fields_are_skipped(void **state) {
    (void)state;
    assert_int_equal(try_request(BYTES(0x08, 5, 0xf8, 0x3f, 1, 0xfa, 0x3f, 2, 0xff, 0xff)), 0);
    assert_int_equal(try_request(BYTES(0xfd, 0x3f, 1, 2, 3, 4, 0xf9, 0x3f, 1, 2, 3, 4, 5, 6, 7, 8)),
                     0);
}

static void unknown_fields_count_towards_the_limit(void **state) {
    struct unpack_limits limits = unpack_client_limits;

    (void)state;
    limits.fields = 2;
    assert_int_equal(
        try_unpack(&raftkv__v1__request__descriptor, BYTES(0xf8, 0x3f, 1, 0xf8, 0x3f, 1), &limits),
        0);
    assert_int_equal(try_unpack(&raftkv__v1__request__descriptor,
                                BYTES(0xf8, 0x3f, 1, 0xf8, 0x3f, 1, 0xf8, 0x3f, 1), &limits),
                     -EMSGSIZE);
}

static void too_many_elements_are_refused(void **state) {
    struct unpack_limits limits = unpack_client_limits;

    (void)state;
    limits.repeated = 2;
    assert_int_equal(
        try_unpack(&raftkv__v1__list_response__descriptor, BYTES(0x0a, 0, 0x0a, 0), &limits), 0);
    assert_int_equal(try_unpack(&raftkv__v1__list_response__descriptor,
                                BYTES(0x0a, 0, 0x0a, 0, 0x0a, 0), &limits),
                     -EMSGSIZE);
}

/* None of our messages has a packed field yet; this one is made by hand. */
typedef struct {
    ProtobufCMessage base;
    size_t n_numbers;
    uint32_t *numbers;
} Packed;

static const ProtobufCFieldDescriptor packed_fields[] = {{
    .name = "numbers",
    .id = 1,
    .label = PROTOBUF_C_LABEL_REPEATED,
    .type = PROTOBUF_C_TYPE_UINT32,
    .quantifier_offset = offsetof(Packed, n_numbers),
    .offset = offsetof(Packed, numbers),
    .flags = PROTOBUF_C_FIELD_FLAG_PACKED,
}};
static const unsigned packed_by_name[] = {0};
static const ProtobufCIntRange packed_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor packed_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "Packed",
    .short_name = "Packed",
    .c_name = "Packed",
    .sizeof_message = sizeof(Packed),
    .n_fields = 1,
    .fields = packed_fields,
    .fields_sorted_by_name = packed_by_name,
    .n_field_ranges = 1,
    .field_ranges = packed_ranges,
};

static void packed_elements_are_counted_one_by_one(void **state) {
    struct unpack_limits limits = unpack_client_limits;

    (void)state;
    limits.repeated = 4;
    assert_int_equal(try_unpack(&packed_descriptor, BYTES(0x0a, 3, 1, 2, 3, 0x08, 9), &limits), 0);
    assert_int_equal(try_unpack(&packed_descriptor, BYTES(0x0a, 5, 1, 2, 3, 4, 5), &limits),
                     -EMSGSIZE);
    assert_int_equal(try_unpack(&packed_descriptor, BYTES(0x0a, 2, 1, 0x80), &limits), -EBADMSG);
    limits.fields = 3;
    assert_int_equal(try_unpack(&packed_descriptor, BYTES(0x0a, 3, 1, 2, 3), &limits), -EMSGSIZE);
}

static void a_message_above_the_size_limit_is_refused(void **state) {
    struct unpack_limits limits = unpack_client_limits;

    (void)state;
    limits.size = 2;
    assert_int_equal(try_unpack(&raftkv__v1__request__descriptor, BYTES(8, 1), &limits), 0);
    assert_int_equal(try_unpack(&raftkv__v1__request__descriptor, BYTES(8, 0x81, 0), &limits),
                     -EMSGSIZE);
}

static void a_message_that_is_nested_too_deep_is_refused(void **state) {
    struct unpack_limits limits = unpack_client_limits;

    (void)state;
    limits.depth = 2;
    assert_int_equal(try_unpack(&raftkv__v1__response__descriptor, BYTES(0x5a, 0), &limits), 0);
    assert_int_equal(
        try_unpack(&raftkv__v1__response__descriptor, BYTES(0x5a, 2, 0x0a, 0), &limits), -EBADMSG);
}

static int try_name(const char *name) {
    uint8_t data[64] = {0x0a, (uint8_t)strlen(name)};

    memcpy(data + 2, name, strlen(name));
    return try_member(data, 2 + strlen(name));
}

static void text_must_be_utf8_without_nul(void **state) {
    (void)state;
    assert_int_equal(try_name("plain"), 0);
    assert_int_equal(try_name("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"), 0);
    assert_int_equal(try_name("\xf4\x8f\xbf\xbf"), 0);
    assert_int_equal(try_name("\xef\xbf\xbf"), 0);
    assert_int_equal(try_member(BYTES(0x0a, 3, 'a', 0, 'b')), -EBADMSG);
    assert_int_equal(try_name("\xff"), -EBADMSG);
    assert_int_equal(try_name("\x80"), -EBADMSG);
    assert_int_equal(try_name("\xc3"), -EBADMSG);
    assert_int_equal(try_name("\xc3("), -EBADMSG);
    assert_int_equal(try_name("\xe2\x82"), -EBADMSG);
    assert_int_equal(try_name("\xe2\x82("), -EBADMSG);
    assert_int_equal(try_name("\xc0\xaf"), -EBADMSG);         /* overlong */
    assert_int_equal(try_name("\xe0\x80\xaf"), -EBADMSG);     /* overlong */
    assert_int_equal(try_name("\xf0\x80\x80\xaf"), -EBADMSG); /* overlong */
    assert_int_equal(try_name("\xed\xa0\x80"), -EBADMSG);     /* a surrogate */
    assert_int_equal(try_name("\xf4\x90\x80\x80"), -EBADMSG); /* above U+10FFFF */
    assert_int_equal(try_name("\xf5\x80\x80\x80"), -EBADMSG);
}

static void an_unknown_enum_value_arrives_as_its_number(void **state) {
    ProtobufCMessage *message;

    (void)state;
    assert_int_equal(unpack(&raftkv__v1__member__descriptor, BYTES(0x18, 77), &unpack_client_limits,
                            &message, &reason),
                     0);
    assert_int_equal((int)((Raftkv__V1__Member *)message)->role, 77);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void the_last_member_of_a_oneof_counts(void **state) {
    ProtobufCMessage *message;
    Raftkv__V1__Request *request;

    (void)state;
    assert_int_equal(unpack(&raftkv__v1__request__descriptor,
                            BYTES(0x52, 3, 0x0a, 1, 'a', 0x5a, 3, 0x0a, 1, 'b', 0x52, 3, 0x0a, 1,
                                  'c', 0x52, 3, 0x12, 1, 'd', 0x5a, 3, 0x0a, 1, 'e'),
                            &unpack_client_limits, &message, &reason),
                     0);
    request = (Raftkv__V1__Request *)message;
    assert_int_equal(request->body_case, RAFTKV__V1__REQUEST__BODY_GET);
    assert_int_equal(request->get->key.data[0], 'e');
    protobuf_c_message_free_unpacked(message, NULL);
}

/* xorshift64: the same bytes in every run. */
static uint64_t chance = 88172645463325252u;

static uint64_t next_random(void) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

static void random_bytes_are_decoded_or_refused(void **state) {
    static const ProtobufCMessageDescriptor *const types[] = {
        &raftkv__v1__request__descriptor,    &raftkv__v1__response__descriptor,
        &raftkv__v1__link_frame__descriptor, &raftkv__v1__peer_message__descriptor,
        &raftkv__v1__command__descriptor,
    };
    uint8_t data[64];

    (void)state;
    for (int i = 0; i < 60000; i++) {
        size_t size = next_random() % sizeof data;

        /* Small numbers are likelier to be tags and lengths that make sense. */
        for (size_t k = 0; k < size; k++)
            data[k] = (uint8_t)(next_random() % (i % 2 ? 256 : 24));
        try_unpack(types[next_random() % 5], data, size, &unpack_peer_limits);
    }
}

static void damaged_messages_are_decoded_or_refused(void **state) {
    static uint8_t original[] = {0x52, 0x1d, 0x08, 0x05, 0x12, 0x19, 0x08, 0x06, 0x5a, 0x15,
                                 0x0a, 0x08, 0x0a, 0x01, 'k',  0x12, 0x01, 'v',  0x18, 0x01,
                                 0x0a, 0x06, 0x0a, 0x01, 'l',  0x12, 0x01, 'w',  0x18, 0x05};

    (void)state;
    for (int i = 0; i < 60000; i++) {
        uint8_t data[sizeof original];

        memcpy(data, original, sizeof data);
        for (uint64_t n = next_random() % 4; n > 0; n--)
            data[next_random() % sizeof data] = (uint8_t)next_random();
        try_unpack(&raftkv__v1__peer_message__descriptor, data, next_random() % (sizeof data + 1),
                   &unpack_peer_limits);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_is_unpacked),
        cmocka_unit_test(no_bytes_are_an_empty_message),
        cmocka_unit_test(a_message_that_ends_early_is_refused),
        cmocka_unit_test(a_length_of_many_gigabytes_is_refused),
        cmocka_unit_test(a_number_of_more_than_ten_bytes_is_refused),
        cmocka_unit_test(a_field_of_another_wire_type_is_refused),
        cmocka_unit_test(groups_and_field_number_zero_are_refused),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(unknown_fields_count_towards_the_limit),
        cmocka_unit_test(too_many_elements_are_refused),
        cmocka_unit_test(packed_elements_are_counted_one_by_one),
        cmocka_unit_test(a_message_above_the_size_limit_is_refused),
        cmocka_unit_test(a_message_that_is_nested_too_deep_is_refused),
        cmocka_unit_test(text_must_be_utf8_without_nul),
        cmocka_unit_test(an_unknown_enum_value_arrives_as_its_number),
        cmocka_unit_test(the_last_member_of_a_oneof_counts),
        cmocka_unit_test(random_bytes_are_decoded_or_refused),
        cmocka_unit_test(damaged_messages_are_decoded_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
