/*
 * Configurations, as peers send them and the disk holds them, and the text of one server.
 *
 * Input: 1 byte (even: a configuration, odd: a server's text), the rest.
 */
#include <errno.h>

#include "base/address.h"
#include "fuzz.h"
#include "raft/configuration.h"

static void look_at_server(const struct server *server) {
    check(member_name_valid(server->name) && address_valid(server->peer_address) &&
          address_valid(server->client_address));
}

/* There is one encoding of a configuration, and it is libraft's. */
static void check_encoding(const struct configuration *configuration, const uint8_t *data,
                           size_t size) {
    struct raft_configuration raft, decoded;
    struct raft_buffer buffer;
    uint8_t *encoded;
    size_t encoded_size;

    configuration_encode(configuration, &encoded, &encoded_size);
    check(encoded_size == size && memcmp(encoded, data, size) == 0);
    configuration_to_raft(configuration, &raft);
    check(raft_configuration_encode(&raft, &buffer) == 0);
    check(buffer.len == size && memcmp(buffer.base, data, size) == 0);
    raft_configuration_init(&decoded);
    check(raft_configuration_decode(&buffer, &decoded) == 0 && decoded.n == configuration->count);
    raft_configuration_close(&decoded);
    raft_configuration_close(&raft);
    raft_free(encoded);
    raft_free(buffer.base);
}

static void take_configuration(struct input input) {
    /* Memory of its own, so that reading behind it is seen. */
    uint8_t *copy = xmemdup(input.data, input.size);
    struct configuration configuration;
    const char *reason = NULL;
    int r = configuration_decode(copy, input.size, &configuration, &reason);

    if (r < 0) {
        check(r == -EBADMSG && reason);
    } else {
        check(configuration.count >= 1 && configuration.count <= MEMBERS_MAX);
        check(configuration_voters(&configuration) > 0);
        for (size_t i = 0; i < configuration.count; i++) {
            const struct server *server = &configuration.servers[i];

            look_at_server(server);
            check(configuration_find(&configuration, server->id) == server);
            check(configuration_find_name(&configuration, server->name) == server);
        }
        check_encoding(&configuration, copy, input.size);
    }
    free(copy);
}

static void take_server(struct input input) {
    _cleanup_free_ char *text = take_text(&input, input.size);
    struct server server = {.id = 1, .role = MEMBER_STANDBY};
    char again[SERVER_TEXT_MAX];
    int r = server_parse(text, &server);

    if (r < 0) {
        check(r == -EBADMSG);
        return;
    }
    check(server.id == 1 && server.role == MEMBER_STANDBY);
    look_at_server(&server);
    server_format(&server, again);
    check(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};

    if (take_byte(&input) % 2 == 0)
        take_configuration(input);
    else
        take_server(input);
    return 0;
}
