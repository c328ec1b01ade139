/* For the tests of the links: nodes that are nothing but links, and a peer that is a plain socket.
 */
#pragma once

#include <stdbool.h>

#include "base/limits.h"
#include "base/memory.h"
#include "rpc/links.h"
#include "test_wire.h"

enum { NODES_MAX = 3, RECEIVED_MAX = 4096 };

struct received {
    uint64_t from;
    size_t size;
    uint32_t mark; /* the first four bytes */
    bool intact;   /* the rest is as fill() wrote it */
};

struct node {
    struct world *world;
    struct identity identity;
    struct links *links;
    bool closed;
    enum error_code admits; /* what the handler says */
    enum error_code welcomes;
    bool receives_badly;
    unsigned admitted;
    unsigned announcements;
    struct received received[RECEIVED_MAX];
    size_t received_count;
};

struct world {
    uv_loop_t loop;
    struct node nodes[NODES_MAX];
    size_t warnings; /* said to the journal */
};

int set_up_world(void **state);
int tear_down_world(void **state);

/* Opens a node's links, at any port (0) or this one. Member ids are 1, 2, 3. */
void node_start(struct world *world, size_t n, unsigned port);
void node_stop(struct node *node);
struct peer node_peer(const struct node *node);
/* Has `from` dial `to` and nobody else. */
void node_dial(struct node *from, const struct node *to);
void node_await_link(struct node *from, uint64_t to);
void node_await_no_link(struct node *from, uint64_t to);
void node_await_messages(struct node *node, size_t count);
/* Sends a message of this size that begins with the mark. */
void node_send(struct node *from, uint64_t to, bool urgent, uint32_t mark, size_t size);

/* The answer to an identify call. */
struct answer {
    bool given;
    bool failed;
    struct identity identity;
    struct failure failure;
};
void node_identify(struct node *node, const char *address, uint64_t timeout_ms,
                   struct answer *answer);
void await_answer(struct world *world, struct answer *answer);

/* A socket that listens, for a peer that is not a node. */
struct plain_peer {
    struct world *world;
    int fd;
    unsigned port;
};
void plain_peer_open(struct plain_peer *plain, struct world *world);
/* The next connection to it. */
void plain_peer_accept(struct plain_peer *plain, struct wire *wire);
/* Closes the connections that wait, and says how many they were. */
size_t plain_peer_refuse_all(struct plain_peer *plain);
void plain_peer_close(struct plain_peer *plain);

/* What a dialler says first, as member 9 unless changed. */
struct hello {
    Raftkv__V1__Identity identity;
    Raftkv__V1__Hello hello;
    Raftkv__V1__LinkFrame frame;
};
void hello_init(struct hello *hello, uint64_t to_member_id);
void wire_send_fragment(struct wire *wire, bool urgent, bool last, size_t size);
/* Connects to the node's peer port. */
void wire_connect(struct wire *wire, struct node *node);
/* Sends the hello on a new connection to the node and takes the welcome. */
void wire_greet(struct wire *wire, struct node *node, struct hello *hello);
void wire_send_welcome(struct wire *wire, uint64_t member_id);
void wire_send_refusal(struct wire *wire, enum error_code code, const char *message);
/* Takes a refusal with this code, of which the message holds this part. */
void wire_expect_refusal(struct wire *wire, enum error_code code, const char *part);
