#include "network.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "node/node.h"
#include "oracle.h"
#include "rpc/frame.h"
#include "strays.h"

enum {
    LEARNED_IDLE = 5 * SECOND,
    BACKOFF_MIN = 50 * MS,
    BACKOFF_MAX = 2000 * MS,
    GOOD_AFTER = 1 * SECOND,
    DEAD_AFTER = 6 * SECOND,
    LINK_BULK_MAX = LINK_QUEUE_SIZE_MAX,
};

/* What is sent: a frame, as src/rpc sends it, but whole messages. */
struct message {
    struct message *next;
    uint64_t time; /* not before */
    bool damaged;
    uint8_t *data;
    size_t size;
};

struct stream {
    struct message *first, **last;
    size_t bytes;
    bool pumping;
    struct frame_reader reader;
    struct connection *connection;
    struct happening happening;
};

/* One TCP connection. Stays in memory until the process ends: events may still name it. */
struct connection {
    uint64_t number;
    struct machine *from, *to; /* to NULL: nobody was there */
    uint64_t from_life, to_life;
    struct link *link;  /* at from; NULL once broken */
    bool admitted;      /* to has it among its incoming ones */
    uint64_t member_id; /* of from */
    struct stream streams[2];
    struct happening happening; /* of the dial, then of the end */
    struct failure failure;
    struct identity identity; /* what the welcome says */
    struct connection *next;
};

struct link {
    struct link *next;
    struct machine *machine;
    struct peer peer;                 /* where it is dialled now */
    char configured[ADDRESS_MAX + 1]; /* by set_peers(); empty: not at all */
    enum { LINK_WAITING, LINK_DIALLING, LINK_UP } state;
    bool learned;
    uint64_t failures, up_since, last_used, generation;
    struct connection *connection;
};

struct incoming {
    struct incoming *next;
    struct connection *connection;
    uint64_t member_id;
    char peer_address[ADDRESS_MAX + 1];
};

struct asking {
    struct asking *next;
    struct machine *machine, *target;
    uint64_t life;
    identify_cb identify; /* one of the two is set */
    announce_cb announce;
    void *data;
    struct happening happening;
};

struct network_options network_options = {.delay_low = 50, .delay_high = 30 * MS};

static bool blocked[MACHINES_MAX + 1][MACHINES_MAX + 1];
static uint64_t blocked_since[MACHINES_MAX + 1][MACHINES_MAX + 1];
static struct connection *connections;
static uint64_t connection_count;
static struct network_figures figures;

static struct machine *machine_of(struct host *host) {
    return container_of(host, struct machine, host);
}

static uint64_t delay(void) {
    return chance_latency(network_options.delay_low, network_options.delay_high);
}

/* ---- links ---- */

static struct link *find_link(const struct machine *machine, uint64_t member_id) {
    for (struct link *link = machine->links; link; link = link->next)
        if (link->peer.member_id == member_id)
            return link;
    return NULL;
}

static struct incoming *find_incoming(const struct machine *machine, uint64_t member_id) {
    for (struct incoming *incoming = machine->incoming; incoming; incoming = incoming->next)
        if (incoming->member_id == member_id)
            return incoming;
    return NULL;
}

static size_t count_learned(const struct machine *machine) {
    size_t count = 0;

    for (const struct link *link = machine->links; link; link = link->next)
        count += link->learned;
    return count;
}

struct redial {
    struct happening happening;
    struct machine *machine;
    uint64_t life, member_id, generation;
};

static void dial(struct link *link);
static void set_learned(struct link *link);

static void redial(struct happening *happening) {
    struct redial *timer = container_of(happening, struct redial, happening);
    struct link *link =
        timer->life == timer->machine->life ? find_link(timer->machine, timer->member_id) : NULL;

    if (link && link->generation == timer->generation && link->state == LINK_WAITING)
        dial(link);
    free(timer);
}

static void dial_after(struct link *link, uint64_t microseconds) {
    struct redial *timer = xcalloc(1, sizeof *timer);

    timer->machine = link->machine;
    timer->life = link->machine->life;
    timer->member_id = link->peer.member_id;
    timer->generation = ++link->generation;
    link->state = LINK_WAITING;
    world_after(microseconds, &timer->happening, redial);
}

/* What the member's own link says, then what the configuration says. */
static void try_the_other_address(struct link *link) {
    const struct incoming *incoming = find_incoming(link->machine, link->peer.member_id);

    if (link->learned)
        return;
    if (strcmp(link->peer.address, link->configured) != 0)
        strcpy(link->peer.address, link->configured);
    else if (incoming)
        strcpy(link->peer.address, incoming->peer_address);
}

static void lost(struct link *link) {
    uint64_t pause = BACKOFF_MIN;

    if (link->state == LINK_UP && world_now() - link->up_since >= GOOD_AFTER)
        link->failures = 0;
    link->failures++;
    link->connection = NULL;
    try_the_other_address(link);
    for (uint64_t i = 1; i < link->failures && pause < BACKOFF_MAX; i++)
        pause *= 2;
    dial_after(link, pause / 2 + chance_below(pause / 2 + 1));
}

static void clear_stream(struct stream *stream) {
    while (stream->first) {
        struct message *message = stream->first;

        stream->first = message->next;
        free(message->data);
        free(message);
    }
    stream->last = &stream->first;
    stream->bytes = 0;
    frame_reader_deinit(&stream->reader);
}

static void remove_link(struct link *link);

/* The acceptor's side ends. */
static void leave_incoming(struct connection *connection) {
    struct machine *to = connection->to;

    if (!connection->admitted)
        return;
    connection->admitted = false;
    for (struct incoming **p = &to->incoming; *p; p = &(*p)->next) {
        struct incoming *incoming = *p;
        struct link *link;

        if (incoming->connection != connection)
            continue;
        *p = incoming->next;
        free(incoming);
        link = find_link(to, connection->member_id);
        if (link && link->learned && !find_incoming(to, connection->member_id))
            remove_link(link);
        break;
    }
}

/* Both sides learn at once that the connection is gone. */
static void break_connection(struct connection *connection) {
    struct link *link = TAKE(connection->link);

    clear_stream(&connection->streams[0]);
    clear_stream(&connection->streams[1]);
    if (link)
        lost(link);
    leave_incoming(connection);
}

static void remove_link(struct link *link) {
    struct connection *connection = TAKE(link->connection);

    for (struct link **p = &link->machine->links; *p; p = &(*p)->next)
        if (*p == link) {
            *p = link->next;
            break;
        }
    free(link);
    if (connection) {
        connection->link = NULL;
        break_connection(connection);
    }
}

static struct link *add_link(struct machine *machine, const struct peer *peer, bool learned) {
    struct link *link = xcalloc(1, sizeof *link);

    link->machine = machine;
    link->peer = *peer;
    link->last_used = world_now();
    if (!learned)
        strcpy(link->configured, peer->address);
    link->next = machine->links;
    machine->links = link;
    if (learned)
        set_learned(link);
    dial(link);
    return link;
}

static struct link *dial_back(struct machine *machine, const struct incoming *incoming) {
    struct peer peer = {.member_id = incoming->member_id};

    if (count_learned(machine) >= LINKS_LEARNED_MAX)
        return NULL;
    strcpy(peer.address, incoming->peer_address);
    return add_link(machine, &peer, true);
}

/* ---- dialling ---- */

static void on_welcome(struct happening *happening) {
    struct connection *connection = container_of(happening, struct connection, happening);
    struct link *link = connection->link;

    if (!link)
        return;
    if (machine_paused(link->machine)) {
        world_at(link->machine->paused_until, happening, on_welcome);
        return;
    }
    if (connection->failure.code == ERROR_OK && !connection->admitted)
        failure_set(&connection->failure, ERROR_UNAVAILABLE, "The link broke.");
    if (connection->failure.code == ERROR_OK)
        node_check_welcome(link->machine->node, &connection->identity, link->peer.member_id,
                           &connection->failure);
    if (connection->failure.code != ERROR_OK) {
        remark("%s: no link to %s: %s", link->machine->name, link->peer.address,
               connection->failure.message);
        break_connection(connection);
        return;
    }
    record("%s is linked to %s", link->machine->name, connection->to->name);
    link->state = LINK_UP;
    link->up_since = world_now();
    machine_turn(link->machine);
}

/* Dials anew. */
static void look_elsewhere(struct link *link, const char *address) {
    struct connection *connection = TAKE(link->connection);

    strcpy(link->peer.address, address);
    link->failures = 0;
    if (connection) {
        connection->link = NULL;
        break_connection(connection);
    }
    dial_after(link, 0);
}

static void incoming_up(struct connection *connection, const struct identity *from) {
    struct machine *to = connection->to;
    struct incoming *older = find_incoming(to, from->member_id);
    struct incoming *incoming = xcalloc(1, sizeof *incoming);
    struct link *link;

    incoming->connection = connection;
    incoming->member_id = from->member_id;
    strcpy(incoming->peer_address, from->peer_address);
    incoming->next = to->incoming;
    to->incoming = incoming;
    connection->admitted = true;
    if (older)
        break_connection(older->connection);
    link = find_link(to, from->member_id);
    if (!link) {
        dial_back(to, incoming);
    } else if (!link->learned && link->state != LINK_UP &&
               strcmp(link->peer.address, incoming->peer_address) != 0) {
        look_elsewhere(link, incoming->peer_address);
    } else if (link->learned && strcmp(link->peer.address, incoming->peer_address) != 0) {
        remove_link(link);
        dial_back(to, incoming);
    } else if (link->state == LINK_WAITING) {
        dial_after(link, 0);
    }
}

static void on_hello(struct happening *happening) {
    struct connection *connection = container_of(happening, struct connection, happening);
    struct machine *from = connection->from, *to = connection->to;
    const struct identity *identity;

    if (!connection->link)
        return;
    if (!to) {
        failure_set(&connection->failure, ERROR_UNAVAILABLE, "Nobody is there.");
        world_after(delay(), &connection->happening, on_welcome);
        return;
    }
    if (machine_paused(from) || machine_paused(to) || network_blocked(from->number, to->number) ||
        network_blocked(to->number, from->number)) {
        failure_set(&connection->failure, ERROR_TIMEOUT, "No answer.");
        world_after(HELLO_TIMEOUT_MS * MS, &connection->happening, on_welcome);
        return;
    }
    connection->to_life = to->life;
    if (!machine_up(to) || strcmp(to->address, connection->link->peer.address) != 0) {
        failure_set(&connection->failure, ERROR_UNAVAILABLE, "Connection refused.");
    } else {
        identity = node_identity(from->node);
        connection->member_id = identity->member_id;
        if (node_admit(to->node, identity, connection->link->peer.member_id,
                       &connection->failure) == 0)
            incoming_up(connection, identity);
        connection->identity = *node_identity(to->node);
    }
    world_after(delay(), &connection->happening, on_welcome);
    machine_turn(to);
}

static void init_stream(struct connection *connection, struct stream *stream) {
    stream->connection = connection;
    stream->last = &stream->first;
    stream->reader.kind = FRAME_CHECKED;
    stream->reader.frame_max = PEER_MESSAGE_SIZE_MAX;
}

static void dial(struct link *link) {
    struct connection *connection = xcalloc(1, sizeof *connection);
    struct machine *to = machine_of_address(link->peer.address);

    connection->number = ++connection_count;
    connection->from = link->machine;
    connection->from_life = link->machine->life;
    connection->to = to;
    connection->link = link;
    init_stream(connection, &connection->streams[0]);
    init_stream(connection, &connection->streams[1]);
    connection->next = connections;
    connections = connection;
    link->state = LINK_DIALLING;
    link->connection = connection;
    world_after(delay(), &connection->happening, on_hello);
}

/* ---- messages ---- */

static void deliver(struct stream *stream, const uint8_t *data, size_t size) {
    struct connection *connection = stream->connection;
    struct machine *to = connection->to;
    const char *reason = "";

    if (strays_take(connection->from, to, connection->member_id, data, size))
        return;
    if (node_receive(to->node, connection->member_id, data, size, &reason) == 0)
        return;
    record("%s refuses it: %s", to->name, reason);
    oracle_refused(connection->from, to, reason);
    break_connection(connection);
}

/* One bit is another one, or one byte. */
static void damage(struct message *message) {
    size_t position = chance_below(message->size);

    message->damaged = true;
    message->data[position] ^=
        (uint8_t)(chance_one_in(2) ? 1u << chance_below(8) : 1 + chance_below(255));
    figures.damaged++;
}

/* As connection.c reads. */
static void receive(struct stream *stream, const struct message *message) {
    struct connection *connection = stream->connection;
    const uint8_t *content;
    size_t size;
    int r;

    figures.messages++;
    record("%s > %s: %zu bytes, %02x%02x%02x%02x%s%s", connection->from->name, connection->to->name,
           message->size - FRAME_CHECKED_HEADER_SIZE, message->data[8], message->data[9],
           message->data[10], message->data[11], stream == &connection->streams[1] ? " !" : "",
           message->damaged ? ", damaged" : "");
    frame_reader_feed(&stream->reader, message->data, message->size);
    while ((r = frame_reader_next(&stream->reader, &content, &size)) == 1) {
        must(!message->damaged, "a damaged message is taken for a whole one");
        deliver(stream, content, size);
    }
    if (r == 0) {
        frame_reader_keep(&stream->reader);
        return;
    }
    must(message->damaged, "a message is taken for a damaged one");
    record("%s closes the link from %s", connection->to->name, connection->from->name);
    break_connection(connection);
}

static void pump(struct happening *happening);

static void schedule_pump(struct stream *stream) {
    if (stream->pumping || !stream->first)
        return;
    stream->pumping = true;
    world_at(stream->first->time, &stream->happening, pump);
}

static void pump(struct happening *happening) {
    struct stream *stream = container_of(happening, struct stream, happening);
    struct connection *connection = stream->connection;
    struct message *message = stream->first;
    bool live = connection->admitted && connection->to_life == connection->to->life;

    stream->pumping = false;
    if (!message)
        return;
    if (!live || machine_paused(connection->to) ||
        network_blocked(connection->from->number, connection->to->number)) {
        /* It is repeated until somebody gives up. */
        stream->pumping = true;
        world_after(chance_between(5 * MS, 50 * MS), &stream->happening, pump);
        return;
    }
    stream->first = message->next;
    if (!stream->first)
        stream->last = &stream->first;
    stream->bytes -= message->size;
    schedule_pump(stream);
    if (network_options.break_one_in && chance_one_in(network_options.break_one_in)) {
        record("the connection from %s to %s breaks", connection->from->name, connection->to->name);
        break_connection(connection);
    } else {
        if (connection->from->messages_to_damage > 0) {
            connection->from->messages_to_damage--;
            damage(message);
        }
        receive(stream, message);
        machine_turn(connection->to);
    }
    free(message->data);
    free(message);
}

static void host_send(struct host *host, uint64_t member_id, bool urgent, uint8_t *data,
                      size_t size) {
    struct machine *machine = machine_of(host);
    struct link *link = machine->ghost ? NULL : find_link(machine, member_id);
    struct incoming *incoming;
    struct stream *stream;
    struct message *message;
    uint64_t time;

    if (!link && !machine->ghost && (incoming = find_incoming(machine, member_id)))
        link = dial_back(machine, incoming);
    if (link)
        link->last_used = world_now();
    if (!link || link->state != LINK_UP ||
        (!urgent && link->connection->streams[0].bytes + size > LINK_BULK_MAX)) {
        free(data);
        return;
    }
    stream = &link->connection->streams[urgent];
    message = xcalloc(1, sizeof *message);
    time = world_now() + delay() + size / 100; /* 100 MB/s */
    *message = (struct message){.time = time,
                                .data = xmalloc(FRAME_CHECKED_HEADER_SIZE + size),
                                .size = FRAME_CHECKED_HEADER_SIZE + size};
    memcpy(message->data + FRAME_CHECKED_HEADER_SIZE, data, size);
    frame_put_header(FRAME_CHECKED, message->data, size);
    free(data);
    *stream->last = message;
    stream->last = &message->next;
    stream->bytes += message->size;
    schedule_pump(stream);
}

static size_t host_backlog(struct host *host, uint64_t member_id) {
    const struct link *link = find_link(machine_of(host), member_id);

    return link && link->state == LINK_UP ? link->connection->streams[0].bytes : 0;
}

static bool host_linked(struct host *host, uint64_t member_id) {
    const struct link *link = find_link(machine_of(host), member_id);

    return link && link->state == LINK_UP;
}

/* ---- whom to dial ---- */

static const struct peer *find_peer(const struct peer *peers, size_t count, uint64_t member_id) {
    for (size_t i = 0; i < count; i++)
        if (peers[i].member_id == member_id)
            return &peers[i];
    return NULL;
}

struct idling {
    struct happening happening;
    struct machine *machine;
    uint64_t life, member_id;
};

/* A learned link that nobody uses ends. */
static void on_idle(struct happening *happening) {
    struct idling *idling = container_of(happening, struct idling, happening);
    struct link *link = idling->life == idling->machine->life
                            ? find_link(idling->machine, idling->member_id)
                            : NULL;

    if (link && link->learned && world_now() - link->last_used >= LEARNED_IDLE)
        remove_link(link);
    else if (link && link->learned) {
        world_at(link->last_used + LEARNED_IDLE, &idling->happening, on_idle);
        return;
    }
    free(idling);
}

static void set_learned(struct link *link) {
    struct idling *idling = xcalloc(1, sizeof *idling);

    link->learned = true;
    idling->machine = link->machine;
    idling->life = link->machine->life;
    idling->member_id = link->peer.member_id;
    world_after(LEARNED_IDLE, &idling->happening, on_idle);
}

static void configure(struct link *link, const char *address) {
    if (strcmp(link->configured, address) == 0)
        return;
    strcpy(link->configured, address);
    if (strcmp(link->peer.address, address) != 0)
        look_elsewhere(link, address);
}

static void host_set_peers(struct host *host, const struct peer *peers, size_t count) {
    struct machine *machine = machine_of(host);
    struct link *next;

    if (machine->ghost)
        return;
    for (struct link *link = machine->links; link; link = next) {
        const struct peer *peer = find_peer(peers, count, link->peer.member_id);

        next = link->next;
        if (!peer && !link->learned) {
            if (find_incoming(machine, link->peer.member_id))
                set_learned(link);
            else
                remove_link(link);
        } else if (peer) {
            link->learned = false;
            configure(link, peer->address);
        }
    }
    for (size_t i = 0; i < count; i++)
        if (!find_link(machine, peers[i].member_id))
            add_link(machine, &peers[i], false);
}

/* ---- questions ---- */

static void forget_asking(struct asking *asking) {
    for (struct asking **p = &asking->machine->askings; *p; p = &(*p)->next)
        if (*p == asking) {
            *p = asking->next;
            return;
        }
}

static void fail_asking(struct asking *asking, const char *reason) {
    struct failure failure;

    failure_set(&failure, ERROR_UNAVAILABLE, "%s", reason);
    if (asking->identify)
        asking->identify(asking->data, NULL, &failure);
    else
        asking->announce(asking->data, NULL, &failure);
}

static void note_announcement(struct machine *machine, const struct announce_reply *reply) {
    figures.announcements++;
    if (node_identity(machine->node)->cluster_id == 0 && reply->said.code == ERROR_OK)
        machine->heard_until = world_now() + JOIN_KEPT_MS * (uint64_t)MS;
}

static void answer_asking(struct happening *happening) {
    struct asking *asking = container_of(happening, struct asking, happening);
    struct machine *machine = asking->machine, *target = asking->target;
    struct announce_reply reply;

    if (asking->life != machine->life) {
        free(asking);
        return;
    }
    if (machine_paused(machine)) {
        world_at(machine->paused_until, happening, answer_asking);
        return;
    }
    forget_asking(asking);
    if (!target || !machine_up(target) || network_blocked(machine->number, target->number) ||
        network_blocked(target->number, machine->number)) {
        fail_asking(asking, "Nobody answers there.");
    } else if (asking->identify) {
        asking->identify(asking->data, node_identity(target->node), NULL);
    } else {
        node_announced(target->node, node_identity(machine->node), &reply);
        note_announcement(machine, &reply);
        machine_turn(target);
        asking->announce(asking->data, &reply, NULL);
    }
    free(asking);
    machine_turn(machine);
}

static void ask(struct machine *machine, const char *address, uint64_t timeout_ms,
                struct asking *asking) {
    bool reachable;

    asking->machine = machine;
    asking->target = machine_of_address(address);
    asking->life = machine->life;
    asking->next = machine->askings;
    machine->askings = asking;
    reachable = asking->target && !network_blocked(machine->number, asking->target->number) &&
                !network_blocked(asking->target->number, machine->number);
    world_after(reachable ? 2 * delay() : timeout_ms * MS, &asking->happening, answer_asking);
}

static void host_identify(struct host *host, const char *address, uint64_t timeout_ms,
                          identify_cb callback, void *data) {
    struct asking *asking = xcalloc(1, sizeof *asking);

    asking->identify = callback;
    asking->data = data;
    ask(machine_of(host), address, timeout_ms, asking);
}

static void host_announce(struct host *host, const char *address, uint64_t timeout_ms,
                          announce_cb callback, void *data) {
    struct asking *asking;

    if (machine_of(host)->ghost)
        return;
    asking = xcalloc(1, sizeof *asking);
    asking->announce = callback;
    asking->data = data;
    ask(machine_of(host), address, timeout_ms, asking);
}

void network_fail_askings(struct machine *machine) {
    while (machine->askings) {
        struct asking *asking = machine->askings;

        machine->askings = asking->next;
        asking->life = 0; /* freed when its time comes */
        fail_asking(asking, "This node is being stopped.");
    }
}

void network_attach(struct host *host) {
    host->send = host_send;
    host->backlog = host_backlog;
    host->linked = host_linked;
    host->set_peers = host_set_peers;
    host->identify = host_identify;
    host->announce = host_announce;
}

/* ---- faults ---- */

struct noticing {
    struct happening happening;
    struct connection *connection;
};

static void notice(struct happening *happening) {
    struct noticing *noticing = container_of(happening, struct noticing, happening);

    break_connection(noticing->connection);
    free(noticing);
}

void network_drop(struct machine *machine) {
    while (machine->links) {
        struct link *link = machine->links;

        machine->links = link->next;
        if (link->connection)
            link->connection->link = NULL;
        free(link);
    }
    while (machine->incoming) {
        struct incoming *incoming = machine->incoming;

        machine->incoming = incoming->next;
        incoming->connection->admitted = false;
        free(incoming);
    }
    for (struct connection *c = connections; c; c = c->next) {
        struct noticing *noticing;

        if ((c->from != machine && c->to != machine) || (!c->link && !c->admitted))
            continue;
        clear_stream(&c->streams[0]);
        clear_stream(&c->streams[1]);
        noticing = xcalloc(1, sizeof *noticing);
        noticing->connection = c;
        world_after(chance_latency(100, DEAD_AFTER), &noticing->happening, notice);
    }
}

void network_break(unsigned a, unsigned b) {
    for (struct connection *c = connections; c; c = c->next)
        if (c->to && ((c->from->number == a && c->to->number == b) ||
                      (c->from->number == b && c->to->number == a)))
            break_connection(c);
}

bool network_blocked(unsigned from, unsigned to) {
    return blocked[from][to];
}

struct giving_up {
    struct happening happening;
    unsigned from, to;
    uint64_t since;
};

static void give_up(struct happening *happening) {
    struct giving_up *g = container_of(happening, struct giving_up, happening);

    if (blocked[g->from][g->to] && blocked_since[g->from][g->to] == g->since) {
        record("connections between n%u and n%u time out", g->from, g->to);
        network_break(g->from, g->to);
    }
    free(g);
}

void network_block(unsigned from, unsigned to, bool block) {
    struct giving_up *g;

    if (blocked[from][to] == block)
        return;
    blocked[from][to] = block;
    if (!block)
        return;
    blocked_since[from][to] = world_now();
    g = xcalloc(1, sizeof *g);
    *g = (struct giving_up){.from = from, .to = to, .since = world_now()};
    world_after(chance_between(DEAD_AFTER / 2, DEAD_AFTER), &g->happening, give_up);
}

void network_heal(void) {
    memset(blocked, 0, sizeof blocked);
}

const struct network_figures *network_figures(void) {
    return &figures;
}
