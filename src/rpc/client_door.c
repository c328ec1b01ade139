#include "rpc/client_door.h"

#include "base/journal.h"
#include "base/limits.h"
#include "base/memory.h"
#include "rpc/client_door_private.h"

enum {
    /* As many as the kernel holds, and some: more come only if it could not be told to let nobody
     * in any more. */
    LAST_ACCEPTED_MAX = 1024,
};

/* Requests that do not arrive whole fill the memory: the one that takes most of it has to go. */
static void on_overfull(struct network *network) {
    struct client_door *door = container_of(network, struct client_door, network);
    struct client_session *session, *largest = NULL;

    LIST_FOREACH(session, &door->sessions, entry)
    if (!largest || session->connection.memory > largest->connection.memory)
        largest = session;
    if (largest)
        client_session_reject(largest, ERROR_BUSY,
                              "Too many requests are being received at the same time; nothing of "
                              "the last one happened.");
}

void client_door_shed_output(struct client_door *door) {
    struct client_session *session, *largest = NULL;

    LIST_FOREACH(session, &door->sessions, entry)
    if (!largest || session->connection.unsent > largest->connection.unsent)
        largest = session;
    if (!largest)
        return;
    journal(LOG_WARNING,
            "Answers of %zu bytes wait to be read, and %zu are allowed: the client with most of "
            "them, %zu bytes, is disconnected.",
            door->network.unsent, door->unsent_max, largest->connection.unsent);
    client_session_close(largest);
}

static void on_incoming(struct listener *listener) {
    struct client_door *door = container_of(listener, struct client_door, listener);

    if (door->last_accepted < LAST_ACCEPTED_MAX)
        door->last_looks = 0;
    door->last_accepted += door->closing;
    client_session_accept(door);
}

void client_door_set_limits(struct client_door *door, unsigned max_connections,
                            unsigned max_in_flight) {
    door->max_connections = max_connections;
    door->max_in_flight = max_in_flight;
}

int client_door_open(struct client_door **ret, const struct client_door_options *options,
                     struct failure *failure) {
    struct client_door *door;
    int fd, r;

    r = listen_bind(options->listen, &fd, failure);
    if (r != 0)
        return r;
    door = xcalloc(1, sizeof *door);
    door->service = options->service;
    client_door_set_limits(door, options->max_connections, options->max_in_flight);
    door->unsent_max = CLIENT_OUTPUT_TOTAL_MAX;
    LIST_INIT(&door->sessions);
    network_init(&door->network, options->loop);
    door->network.held_max = CLIENT_RECEIVE_MAX;
    door->network.overfull = on_overfull;
    listener_open(&door->listener, &door->network, fd, on_incoming);
    *ret = door;
    return 0;
}

unsigned client_door_port(const struct client_door *door) {
    return door->listener.port;
}

size_t client_door_connections(const struct client_door *door) {
    return door->connections;
}

void client_door_add_statistics(const struct client_door *door, struct statistics *statistics) {
    statistics_add(statistics, STATISTIC_CLIENTS_CONNECTIONS, NULL, door->connections);
    statistics_add(statistics, STATISTIC_CLIENTS_ACCEPTED, NULL, door->accepted_ever);
    statistics_add(statistics, STATISTIC_CLIENTS_TURNED_AWAY, NULL, door->turned_away_ever);
    statistics_add(statistics, STATISTIC_CLIENTS_RECEIVED, NULL, door->network.received);
    statistics_add(statistics, STATISTIC_CLIENTS_SENT, NULL, door->network.sent);
}

void client_door_take_leave(struct client_door *door) {
    struct client_session *session, *next;

    door->leaving = true;
    for (session = LIST_FIRST(&door->sessions); session; session = next) {
        next = LIST_NEXT(session, entry);
        client_session_take_leave(session);
    }
}

static void on_network_closed(void *data) {
    struct client_door *door = data;
    void (*closed)(void *data) = door->closed;
    void *closed_data = door->closed_data;

    free(door);
    if (closed)
        closed(closed_data);
}

void client_door_session_gone(struct client_door *door) {
    if (door->closing && !door->listener.open && door->connections + door->turned_away == 0)
        network_close(&door->network, on_network_closed, door);
}

/* Whoever the kernel had let in has come in when the loop has polled without bringing one: between
 * two runs of the task it may not have polled, among three it has. */
static void close_listener(struct turn_task *task) {
    enum { RUNS = 3 };
    struct client_door *door = container_of(task, struct client_door, last_look);

    if (++door->last_looks < RUNS) {
        network_at_turn_end(&door->network, task);
        return;
    }
    listener_close(&door->listener);
    client_door_session_gone(door);
}

void client_door_close(struct client_door *door, void (*closed)(void *data), void *data) {
    struct client_session *session;

    door->closed = closed;
    door->closed_data = data;
    door->closing = true;
    client_door_take_leave(door);
    while ((session = LIST_FIRST(&door->sessions)))
        client_session_close(session);
    listener_shut(&door->listener);
    door->last_look.run = close_listener;
    network_at_turn_end(&door->network, &door->last_look);
}
