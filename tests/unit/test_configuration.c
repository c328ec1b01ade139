/* Configurations: libraft's encoding decoded strictly, and the deltas. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft_driver.h"

/* A configuration as libraft encodes it, from raw addresses and roles. */
struct raw_server {
    uint64_t id;
    const char *address;
    uint8_t role;
};

static size_t encode_raw(const struct raw_server *servers, size_t count, uint8_t *ret) {
    size_t size = 0;

    ret[size++] = 1;
    memset(ret + size, 0, 8);
    ret[size] = (uint8_t)count;
    size += 8;
    for (size_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < 8; j++) {
            ret[size++] = (uint8_t)(servers[i].id >> (8 * j));
        }
        memcpy(ret + size, servers[i].address, strlen(servers[i].address) + 1);
        size += strlen(servers[i].address) + 1;
        ret[size++] = servers[i].role;
    }
    while (size % 8 != 0) {
        ret[size++] = 0;
    }
    return size;
}

static void mixed_configuration(struct configuration *ret) {
    struct server server = driver_server(7, MEMBER_STANDBY);

    driver_configuration(ret, 3);
    server.promoting = true;
    configuration_add(ret, &server);
    server = driver_server(UINT64_MAX, MEMBER_STANDBY);
    strncpy(server.peer_address, "[::1]:4712", sizeof(server.peer_address));
    configuration_add(ret, &server);
}

static void the_encoding_is_libraft_s(void **state) {
    struct configuration c;
    struct raft_configuration theirs;
    struct raft_buffer buffer;
    uint8_t *data;
    size_t size;

    mixed_configuration(&c);
    configuration_to_raft(&c, &theirs);
    assert_int_equal(raft_configuration_encode(&theirs, &buffer), 0);
    configuration_encode(&c, &data, &size);
    assert_int_equal(size, buffer.len);
    assert_memory_equal(data, buffer.base, size);
    raft_free(data);
    raft_free(buffer.base);
    raft_configuration_close(&theirs);
    (void)state;
}

static void what_was_encoded_is_decoded(void **state) {
    struct configuration c, back;
    const char *reason;
    uint8_t *data;
    size_t size;

    for (unsigned count = 1; count <= MEMBERS_MAX; count++) {
        driver_configuration(&c, count);
        configuration_encode(&c, &data, &size);
        assert_int_equal(configuration_decode(data, size, &back, &reason), 0);
        assert_memory_equal(&c, &back, sizeof(c));
        raft_free(data);
    }
    mixed_configuration(&c);
    configuration_encode(&c, &data, &size);
    assert_int_equal(configuration_decode(data, size, &back, &reason), 0);
    assert_memory_equal(&c, &back, sizeof(c));
    raft_free(data);
    (void)state;
}

static void L9_a_configuration_that_is_cut_off_anywhere_is_refused(void **state) {
    struct configuration c, back = {.count = 99};
    const char *reason;
    uint8_t *data;
    size_t size;

    mixed_configuration(&c);
    configuration_encode(&c, &data, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut + 1); /* of its own, so that sanitizers see what is read */

        memcpy(part, data, cut);
        reason = NULL;
        assert_int_equal(configuration_decode(part, cut, &back, &reason), -EBADMSG);
        assert_non_null(reason);
        free(part);
    }
    assert_int_equal(back.count, 99);
    raft_free(data);
    (void)state;
}

static void L9_a_configuration_with_a_changed_byte_is_refused_or_another_valid_one(void **state) {
    struct configuration c, back;
    const char *reason;
    uint8_t *data;
    size_t size;

    mixed_configuration(&c);
    configuration_encode(&c, &data, &size);
    for (size_t i = 0; i < size; i++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t kept = data[i], *again;
            size_t again_size;

            data[i] = (uint8_t)value;
            if (configuration_decode(data, size, &back, &reason) == 0) {
                configuration_encode(&back, &again, &again_size);
                assert_int_equal(again_size, size);
                assert_memory_equal(again, data, size);
                raft_free(again);
            }
            data[i] = kept;
        }
    }
    raft_free(data);
    (void)state;
}

static void assert_refused(const struct raw_server *servers, size_t count) {
    uint8_t data[4096];
    struct configuration c;
    const char *reason = NULL;
    size_t size = encode_raw(servers, count, data);

    assert_int_equal(configuration_decode(data, size, &c, &reason), -EBADMSG);
    assert_non_null(reason);
}

#define REFUSED(...)                                         \
    assert_refused((const struct raw_server[]){__VA_ARGS__}, \
                   sizeof((const struct raw_server[]){__VA_ARGS__}) / sizeof(struct raw_server))

static void L9_a_configuration_that_no_member_makes_is_refused(void **state) {
    struct raw_server many[MEMBERS_MAX + 1];
    char text[MEMBERS_MAX + 1][SERVER_TEXT_MAX];
    uint8_t data[4096];
    struct configuration c;
    const char *reason;
    size_t size;

    /* What the others are variations of. */
    size =
        encode_raw((const struct raw_server[]){{1, "a h:1 h:2", 1}, {2, "b h:3 h:4", 0}}, 2, data);
    assert_int_equal(configuration_decode(data, size, &c, &reason), 0);

    assert_refused(NULL, 0);
    REFUSED({0, "a h:1 h:2", 1});
    REFUSED({1, "a h:1 h:2", 0});                      /* no voter */
    REFUSED({1, "a h:1 h:2", 2});                      /* spare */
    REFUSED({1, "a h:1 h:2", 3});                      /* unknown role */
    REFUSED({1, "a h:1 h:2 promoting", 1});            /* a voter is not promoted */
    REFUSED({1, "a h:1 h:2", 1}, {1, "b h:3 h:4", 0}); /* id, */
    REFUSED({1, "a h:1 h:2", 1}, {2, "a h:3 h:4", 0}); /* name, */
    REFUSED({1, "a h:1 h:2", 1}, {2, "b h:1 h:4", 0}); /* peer address, */
    REFUSED({1, "a h:1 h:2", 1}, {2, "b h:3 h:2", 0}); /* client address twice */

    for (size_t i = 0; i <= MEMBERS_MAX; i++) {
        struct server server = driver_server(i + 1, MEMBER_VOTER);

        server_format(&server, text[i]);
        many[i] = (struct raw_server){i + 1, text[i], 1};
    }
    assert_refused(many, MEMBERS_MAX + 1);

    /* A count that would make libraft read on and on. */
    memset(data + 1, 0xff, 8);
    assert_int_equal(configuration_decode(data, size, &c, &reason), -EBADMSG);
    data[0] = 2;
    assert_int_equal(configuration_decode(data, size, &c, &reason), -EBADMSG);
    (void)state;
}

static void L9_bytes_behind_the_end_are_refused(void **state) {
    uint8_t data[4096] = {0};
    struct configuration c;
    const char *reason;
    size_t size = encode_raw((const struct raw_server[]){{1, "a h:1 h:2", 1}}, 1, data);

    assert_int_equal(size, 32);
    assert_int_equal(configuration_decode(data, size, &c, &reason), 0);
    assert_int_equal(configuration_decode(data, size + 8, &c, &reason), -EBADMSG);
    assert_int_equal(configuration_decode(data, size + 1, &c, &reason), -EBADMSG);
    data[size - 1] = 1;
    assert_int_equal(configuration_decode(data, size, &c, &reason), -EBADMSG);
    (void)state;
}

static void a_server_is_its_text_again(void **state) {
    struct server server = driver_server(5, MEMBER_STANDBY),
                  back = {.id = 5, .role = MEMBER_STANDBY};
    char text[SERVER_TEXT_MAX];

    server_format(&server, text);
    assert_string_equal(text, "n5 127.0.0.1:4005 127.0.0.1:5005");
    assert_int_equal(server_parse(text, &back), 0);
    assert_memory_equal(&server, &back, sizeof(server));
    server.promoting = true;
    server_format(&server, text);
    assert_string_equal(text, "n5 127.0.0.1:4005 127.0.0.1:5005 promoting");
    assert_int_equal(server_parse(text, &back), 0);
    assert_memory_equal(&server, &back, sizeof(server));
    (void)state;
}

static void a_server_of_the_largest_size_is_its_text_again(void **state) {
    struct server server = {.id = 1, .role = MEMBER_STANDBY, .promoting = true};
    struct server back = {.id = 1, .role = MEMBER_STANDBY};
    char text[SERVER_TEXT_MAX], host[254];

    memset(host, 'h', sizeof(host) - 1);
    host[63] = host[127] = host[191] = '.';
    host[253] = '\0';
    memset(server.name, 'n', MEMBER_NAME_MAX);
    memcpy(server.peer_address, host, 253);
    strcpy(server.peer_address + 253, ":65535");
    memcpy(server.client_address, host, 253);
    strcpy(server.client_address + 253, ":65534");
    server_format(&server, text);
    assert_int_equal(server_parse(text, &back), 0);
    assert_memory_equal(&server, &back, sizeof(server));
    (void)state;
}

static void a_malformed_server_text_is_refused(void **state) {
    static const char *const texts[] = {
        "",
        " ",
        "a",
        "a h:1",
        "a h:1 ",
        "a  h:1 h:2",
        " a h:1 h:2",
        "a h:1 h:2 ",
        "a h:1 h:2 promotin",
        "a h:1 h:2 promoting ",
        "a h:1 h:2 promoting promoting",
        "a h:1 h:2 Promoting",
        "1a h:1 h:2",
        "a-b h:1 h:2",
        "a h h:2",
        "a h:1 h:0",
        "a h:1 h:65536",
        "a\th:1 h:2",
        "a h:1 h:2\n",
        "a2345678901234567890123456789012345678901234567890123456789012345 h:1 h:2",
    };
    struct server server = {.id = 3, .role = MEMBER_VOTER}, before = server;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (server_parse(texts[i], &server) != -EBADMSG) {
            fail_msg("\"%s\" was taken", texts[i]);
        }
    }
    assert_memory_equal(&server, &before, sizeof(server));
    (void)state;
}

static void L4_a_delta_keeps_the_order_of_the_others(void **state) {
    struct configuration c;
    struct server server = driver_server(4, MEMBER_STANDBY);

    driver_configuration(&c, 3);
    configuration_add(&c, &server);
    assert_int_equal(c.count, 4);
    for (uint64_t id = 1; id <= 4; id++) {
        assert_int_equal(c.servers[id - 1].id, id);
    }
    configuration_set_role(&c, 4, MEMBER_STANDBY, true);
    assert_true(c.servers[3].promoting);
    configuration_set_role(&c, 4, MEMBER_VOTER, false);
    assert_false(c.servers[3].promoting);
    assert_int_equal(configuration_voters(&c), 4);
    configuration_remove(&c, 2);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.servers[0].id, 1);
    assert_int_equal(c.servers[1].id, 3);
    assert_int_equal(c.servers[2].id, 4);
    assert_null(configuration_find(&c, 2));
    assert_null(configuration_find_name(&c, "n2"));
    assert_ptr_equal(configuration_find_name(&c, "n3"), &c.servers[1]);
    (void)state;
}

static void L4_every_server_keeps_its_own_progress_through_the_deltas(void **state) {
    struct configuration c;
    struct server server = driver_server(4, MEMBER_STANDBY);
    struct driver d;
    raft_index match;

    driver_configuration(&c, 3);
    driver_start_usual(&d);
    driver_elect(&d);
    assert_int_equal(driver_submit(&d, NULL), 0);
    assert_int_equal(driver_result(&d, 2, 4, 0, driver_last_index(&d)), GUARD_PASS);
    assert_int_equal(driver_result(&d, 3, 4, 0, 5), GUARD_PASS);

    configuration_add(&c, &server);
    assert_int_equal(driver_submit(&d, &c), 0);
    assert_int_equal(raft_match_index(&d.raft, 4, &match), 0);
    assert_int_equal(match, 0);
    assert_int_equal(driver_result(&d, 2, 4, 0, driver_last_index(&d)), GUARD_PASS);
    assert_int_equal(driver_result(&d, 3, 4, 0, driver_last_index(&d)), GUARD_PASS);
    driver_confirm(&d);
    configuration_remove(&c, 2);
    assert_int_equal(driver_submit(&d, &c), 0);
    assert_int_equal(raft_match_index(&d.raft, 3, &match), 0);
    assert_int_equal(match, driver_last_index(&d) - 1);
    assert_int_equal(raft_match_index(&d.raft, 4, &match), 0);
    assert_int_equal(match, 0);
    driver_check(&d);
    driver_stop(&d);
    (void)state;
}

static void what_another_server_has_is_taken(void **state) {
    struct configuration c;
    struct server server = driver_server(9, MEMBER_STANDBY);

    driver_configuration(&c, 3);
    assert_null(configuration_taken(&c, &server));
    server.id = 2;
    assert_non_null(configuration_taken(&c, &server));
    server = driver_server(9, MEMBER_STANDBY);
    strcpy(server.name, "n2");
    assert_non_null(configuration_taken(&c, &server));
    server = driver_server(9, MEMBER_STANDBY);
    strcpy(server.peer_address, c.servers[1].peer_address);
    assert_non_null(configuration_taken(&c, &server));
    server = driver_server(9, MEMBER_STANDBY);
    strcpy(server.client_address, c.servers[1].client_address);
    assert_non_null(configuration_taken(&c, &server));
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_encoding_is_libraft_s),
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(L9_a_configuration_that_is_cut_off_anywhere_is_refused),
        cmocka_unit_test(L9_a_configuration_with_a_changed_byte_is_refused_or_another_valid_one),
        cmocka_unit_test(L9_a_configuration_that_no_member_makes_is_refused),
        cmocka_unit_test(L9_bytes_behind_the_end_are_refused),
        cmocka_unit_test(a_server_is_its_text_again),
        cmocka_unit_test(a_server_of_the_largest_size_is_its_text_again),
        cmocka_unit_test(a_malformed_server_text_is_refused),
        cmocka_unit_test(L4_a_delta_keeps_the_order_of_the_others),
        cmocka_unit_test(L4_every_server_keeps_its_own_progress_through_the_deltas),
        cmocka_unit_test(what_another_server_has_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
