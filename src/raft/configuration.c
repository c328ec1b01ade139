#include "raft/configuration.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/check.h"

enum {
    ENCODING_VERSION = 1,
    ENCODING_HEADER_SIZE = 1 + 8,
    ENCODING_ALIGNMENT = 8,
};

const struct server *configuration_find(const struct configuration *c, uint64_t id) {
    for (size_t i = 0; i < c->count; i++) {
        if (c->servers[i].id == id) {
            return &c->servers[i];
        }
    }
    return NULL;
}

const struct server *configuration_find_name(const struct configuration *c, const char *name) {
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->servers[i].name, name) == 0) {
            return &c->servers[i];
        }
    }
    return NULL;
}

size_t configuration_voters(const struct configuration *c) {
    size_t voters = 0;

    for (size_t i = 0; i < c->count; i++) {
        voters += c->servers[i].role == MEMBER_VOTER;
    }
    return voters;
}

const char *configuration_taken(const struct configuration *c, const struct server *server) {
    for (size_t i = 0; i < c->count; i++) {
        const struct server *other = &c->servers[i];

        if (other->id == server->id) {
            return "two servers have the same id";
        }
        if (strcmp(other->name, server->name) == 0) {
            return "two servers have the same name";
        }
        if (strcmp(other->peer_address, server->peer_address) == 0) {
            return "two servers have the same peer address";
        }
        if (strcmp(other->client_address, server->client_address) == 0) {
            return "two servers have the same client address";
        }
    }
    return NULL;
}

void server_format(const struct server *server, char *ret) {
    int length = snprintf(ret, SERVER_TEXT_MAX, "%s %s %s%s", server->name, server->peer_address,
                          server->client_address, server->promoting ? " promoting" : "");

    check(length > 0 && length < SERVER_TEXT_MAX);
}

/* Copies the word before the next space, or the last one, and returns what follows: NULL when
 * nothing does. A word that is empty or too long for `ret` comes out empty, which no name or
 * address is. */
static const char *next_word(const char *text, char *ret, size_t room) {
    size_t length = strcspn(text, " ");

    if (length >= room) {
        length = 0;
    }
    memcpy(ret, text, length);
    ret[length] = '\0';
    text = strchr(text, ' ');
    return text ? text + 1 : NULL;
}

int server_parse(const char *text, struct server *ret) {
    struct server server = {0};
    const char *rest;

    rest = next_word(text, server.name, sizeof(server.name));
    if (!rest || !member_name_valid(server.name)) {
        return -EBADMSG;
    }
    rest = next_word(rest, server.peer_address, sizeof(server.peer_address));
    if (!rest || !address_valid(server.peer_address)) {
        return -EBADMSG;
    }
    rest = next_word(rest, server.client_address, sizeof(server.client_address));
    if (!address_valid(server.client_address)) {
        return -EBADMSG;
    }
    if (rest && strcmp(rest, "promoting") != 0) {
        return -EBADMSG;
    }

    server.id = ret->id;
    server.role = ret->role;
    server.promoting = rest != NULL;
    *ret = server;
    return 0;
}

/* What is left to read of an encoding. */
struct reader {
    const uint8_t *data;
    size_t size;
};

static bool read_u64(struct reader *reader, uint64_t *ret) {
    uint64_t value = 0;

    if (reader->size < 8) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)reader->data[i] << (8 * i);
    }
    reader->data += 8;
    reader->size -= 8;
    *ret = value;
    return true;
}

static bool read_byte(struct reader *reader, uint8_t *ret) {
    if (reader->size < 1) {
        return false;
    }
    *ret = *reader->data++;
    reader->size--;
    return true;
}

static bool read_text(struct reader *reader, const char **ret) {
    const uint8_t *end = memchr(reader->data, '\0', reader->size);

    if (!end) {
        return false;
    }
    *ret = (const char *)reader->data;
    reader->size -= (size_t)(end + 1 - reader->data);
    reader->data = end + 1;
    return true;
}

/* Reads one server; returns NULL, or what is wrong with it. */
static const char *read_server(struct reader *reader, struct server *ret) {
    struct server server = {0};
    const char *text;
    uint8_t role;

    if (!read_u64(reader, &server.id) || !read_text(reader, &text) || !read_byte(reader, &role)) {
        return "a configuration ends in the middle of a server";
    }
    if (server.id == 0) {
        return "a server of a configuration has id 0";
    }
    if (role != RAFT_VOTER && role != RAFT_STANDBY) {
        return "a server of a configuration has an unknown role";
    }
    server.role = role == RAFT_VOTER ? MEMBER_VOTER : MEMBER_STANDBY;
    if (server_parse(text, &server) < 0) {
        return "a server of a configuration has a malformed name or address";
    }
    if (server.promoting && server.role != MEMBER_STANDBY) {
        return "a voter of a configuration is marked as being promoted";
    }
    *ret = server;
    return NULL;
}

/* The encoding ends after the last server, filled up with zeros to the next multiple of 8. */
static bool padding_valid(const struct reader *reader, size_t size) {
    if (size % ENCODING_ALIGNMENT != 0 || reader->size >= ENCODING_ALIGNMENT) {
        return false;
    }
    for (size_t i = 0; i < reader->size; i++) {
        if (reader->data[i] != 0) {
            return false;
        }
    }
    return true;
}

int configuration_decode(const uint8_t *data, size_t size, struct configuration *ret,
                         const char **ret_reason) {
    struct reader reader = {.data = data, .size = size};
    struct configuration c = {0};
    uint64_t count;
    uint8_t version;

    if (!read_byte(&reader, &version) || !read_u64(&reader, &count)) {
        *ret_reason = "a configuration is cut off";
        return -EBADMSG;
    }
    if (version != ENCODING_VERSION) {
        *ret_reason = "a configuration has an unknown version";
        return -EBADMSG;
    }
    if (count < 1 || count > MEMBERS_MAX) {
        *ret_reason = "a configuration has no servers or too many";
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct server *server = &c.servers[c.count];
        const char *reason = read_server(&reader, server);

        if (!reason) {
            reason = configuration_taken(&c, server);
        }
        if (reason) {
            *ret_reason = reason;
            return -EBADMSG;
        }
        c.count++;
    }
    if (!padding_valid(&reader, size)) {
        *ret_reason = "a configuration has bytes behind its end";
        return -EBADMSG;
    }
    if (configuration_voters(&c) == 0) {
        *ret_reason = "a configuration has no voter";
        return -EBADMSG;
    }

    *ret = c;
    return 0;
}

static int role_of(const struct server *server) {
    check(server->role == MEMBER_VOTER || server->role == MEMBER_STANDBY);
    return server->role == MEMBER_VOTER ? RAFT_VOTER : RAFT_STANDBY;
}

static uint8_t *write_u64(uint8_t *to, uint64_t value) {
    for (unsigned i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
    return to + 8;
}

void configuration_encode(const struct configuration *c, uint8_t **ret_data, size_t *ret_size) {
    char text[MEMBERS_MAX][SERVER_TEXT_MAX];
    size_t size = ENCODING_HEADER_SIZE;
    uint8_t *data, *end;

    check(c->count >= 1 && c->count <= MEMBERS_MAX);
    for (size_t i = 0; i < c->count; i++) {
        server_format(&c->servers[i], text[i]);
        size += 8 + strlen(text[i]) + 1 + 1;
    }
    size = (size + ENCODING_ALIGNMENT - 1) / ENCODING_ALIGNMENT * ENCODING_ALIGNMENT;

    data = raft_calloc(1, size);
    check(data);
    end = data;
    *end++ = ENCODING_VERSION;
    end = write_u64(end, c->count);
    for (size_t i = 0; i < c->count; i++) {
        size_t length = strlen(text[i]) + 1;

        end = write_u64(end, c->servers[i].id);
        memcpy(end, text[i], length);
        end += length;
        *end++ = (uint8_t)role_of(&c->servers[i]);
    }

    *ret_data = data;
    *ret_size = size;
}

void configuration_to_raft(const struct configuration *c, struct raft_configuration *ret) {
    char text[SERVER_TEXT_MAX];

    raft_configuration_init(ret);
    for (size_t i = 0; i < c->count; i++) {
        const struct server *server = &c->servers[i];

        server_format(server, text);
        check(raft_configuration_add(ret, server->id, text, role_of(server)) == 0);
    }
}

static struct server *server_of(struct configuration *c, uint64_t id) {
    const struct server *server = configuration_find(c, id);

    check(server);
    return &c->servers[server - c->servers];
}

void configuration_add(struct configuration *c, const struct server *server) {
    check(c->count < MEMBERS_MAX);
    check(server->id != 0);
    check(server->role == MEMBER_VOTER || server->role == MEMBER_STANDBY);
    check(!server->promoting || server->role == MEMBER_STANDBY);
    check(!configuration_taken(c, server));

    c->servers[c->count++] = *server;
}

void configuration_remove(struct configuration *c, uint64_t id) {
    struct server *server = server_of(c, id);
    struct server *end = &c->servers[c->count];

    memmove(server, server + 1, (size_t)(end - (server + 1)) * sizeof(*server));
    c->count--;
    c->servers[c->count] = (struct server){0};
}

void configuration_set_role(struct configuration *c, uint64_t id, enum member_role role,
                            bool promoting) {
    struct server *server = server_of(c, id);

    check(role == MEMBER_VOTER || role == MEMBER_STANDBY);
    check(!promoting || role == MEMBER_STANDBY);

    server->role = role;
    server->promoting = promoting;
}

void configuration_move(struct configuration *c, uint64_t id, const char *peer_address,
                        const char *client_address) {
    struct server *server = server_of(c, id);

    check(address_valid(peer_address) && address_valid(client_address));
    for (size_t i = 0; i < c->count; i++)
        check(&c->servers[i] == server ||
              (strcmp(c->servers[i].peer_address, peer_address) != 0 &&
               strcmp(c->servers[i].client_address, client_address) != 0));

    strcpy(server->peer_address, peer_address);
    strcpy(server->client_address, client_address);
}
