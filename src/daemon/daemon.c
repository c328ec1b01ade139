#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/address.h"
#include "base/check.h"
#include "base/journal.h"
#include "daemon/bus_loop.h"
#include "daemon/exit_status.h"
#include "daemon/host_uv.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "daemon/start_timeout.h"
#include "node/node.h"
#include "rpc/client_door.h"
#include "rpc/links.h"
#include "service/service.h"
#include "store/log.h"

/* Descriptors kept for peers, files, the bus and the loop. */
enum { DESCRIPTORS_KEPT = 512 };

/* Each begins only when the one before has ended; advance() moves on. */
enum phase {
    PHASE_RUNNING,
    PHASE_DRAINING, /* the node finishes what is under way */
    PHASE_DRAINED,  /* it has; the doors may be closed */
    PHASE_CLOSING,  /* the doors close, the lanes end their work */
    PHASE_CLOSED    /* the environments are closed; the loop ends */
};

struct daemon {
    const struct daemon_start *start;
    struct options *options;
    uv_loop_t loop;
    struct host_uv host;
    struct notify notify;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_signal_t terminate, interrupt, hang_up;
    struct node *node;
    struct links *links;         /* NULL: not open, or closed */
    struct client_door *clients; /* NULL: not open, or closed */
    struct bus_loop bus;
    enum phase phase;
    bool told_to_stop; /* by a signal */
    int status;
};

/* ---- failures that end the process ---- */

/* Without closing anything: what was not flushed must not be flushed now. */
static _Noreturn void die(const char *reason, int error) {
    journal_with(LOG_CRIT, (const char *const[]){MESSAGE_NODE_FAILED, NULL}, "%s", reason);
    notify_failed(reason, error);
    _exit(EXIT_FAILURE);
}

static void fatal(const char *reason) {
    die(reason, 0);
}

static void sync_failed(const char *reason) {
    die(reason, EIO);
}

void daemon_prepare(void) {
    store_set_sync_failed(sync_failed);
    lanes_size_pool();
    signal(SIGPIPE, SIG_IGN);
}

/* ---- stopping ---- */

static void node_stopped(void *data) {
    struct daemon *daemon = data;

    daemon->phase = PHASE_DRAINED; /* the caller may be in a door, so it is closed later */
}

static void begin_stop(struct daemon *daemon, uint64_t timeout) {
    daemon->phase = PHASE_DRAINING;
    notify_stopping(&daemon->notify, timeout);
    if (daemon->clients)
        client_door_take_leave(daemon->clients);
    node_stop(daemon->node, timeout, node_stopped, daemon);
}

static void clients_closed(void *data) {
    struct daemon *daemon = data;

    daemon->clients = NULL;
}

static void links_closed(void *data) {
    struct daemon *daemon = data;

    daemon->links = NULL;
}

/* The node hears no more of time or of others; what it asks of the lanes they still finish. */
static void close_doors(struct daemon *daemon) {
    daemon->phase = PHASE_CLOSING;
    host_uv_set_node(&daemon->host, NULL);
    host_uv_set_links(&daemon->host, NULL);
    bus_loop_close(&daemon->bus);
    if (daemon->clients)
        client_door_close(daemon->clients, clients_closed, daemon);
    if (daemon->links)
        links_close(daemon->links, links_closed, daemon);
}

static void close_rest(struct daemon *daemon) {
    daemon->phase = PHASE_CLOSED;
    daemon->node = node_close(daemon->node);
    host_uv_close(&daemon->host);
    notify_close(&daemon->notify);
    uv_close((uv_handle_t *)&daemon->prepare, NULL);
    uv_close((uv_handle_t *)&daemon->check, NULL);
    uv_close((uv_handle_t *)&daemon->terminate, NULL);
    uv_close((uv_handle_t *)&daemon->interrupt, NULL);
    uv_close((uv_handle_t *)&daemon->hang_up, NULL);
    /* Without handles their usual effect is back, which would hide the exit status. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void advance(struct daemon *daemon) {
    if (daemon->phase == PHASE_DRAINED)
        close_doors(daemon);
    if (daemon->phase == PHASE_CLOSING && !daemon->clients && !daemon->links &&
        lanes_idle(&daemon->host.lanes))
        close_rest(daemon);
}

static void told_to_stop(uv_signal_t *handle, int number) {
    struct daemon *daemon = handle->data;
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";

    if (daemon->told_to_stop) {
        journal(LOG_WARNING, "Received %s again, ending at once", name);
        _exit(EXIT_FAILURE);
    }
    daemon->told_to_stop = true;
    journal(LOG_INFO, "Received %s, stopping", name);
    if (daemon->phase == PHASE_RUNNING) /* else it stops of its own accord already */
        begin_stop(daemon, daemon->options->stop_timeout);
}

static void stop_if_removed(struct daemon *daemon) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_NODE_STOPS_AS_REMOVED);

    if (daemon->phase != PHASE_RUNNING || !node_is_removed(daemon->node))
        return;
    member_event(&event, node_member(daemon->node), NULL);
    journal_with(LOG_NOTICE, event.fields,
                 "%s is no member of the cluster any more and stops, with exit status %d. To add "
                 "it again, start it, and ask the cluster for add-voter.",
                 daemon->options->name, EXIT_STATUS_REMOVED);
    daemon->status = EXIT_STATUS_REMOVED;
    begin_stop(daemon, daemon->options->stop_timeout);
}

/* ---- each turn of the loop ---- */

static void end_of_turn(struct daemon *daemon) {
    stop_if_removed(daemon);
    if (daemon->phase <= PHASE_DRAINING)
        node_flush(daemon->node);
    advance(daemon);
}

/* Before the loop waits: timers have run. */
static void turn_prepare(uv_prepare_t *handle) {
    struct daemon *daemon = handle->data;

    end_of_turn(daemon);
    bus_loop_prepare(&daemon->bus);
}

/* After it has waited: sockets and lanes have had their say. */
static void turn_check(uv_check_t *handle) {
    end_of_turn(handle->data);
}

/* ---- status ---- */

/* debian/raftkv.postinst waits while a node is "without a leader". */
static void describe(void *data, char *text, size_t size) {
    struct daemon *daemon = data;
    Raftkv__V1__MemberStatus *status = service_local_status(node_service(daemon->node));
    bool leaderless = !status->leader || !status->leader[0];

    if (status->role == RAFTKV__V1__ROLE__ROLE_NONE)
        snprintf(text, size, "waiting to be added to a cluster");
    else if (status->state == RAFTKV__V1__STATE__STATE_LEADER)
        snprintf(text, size, "leader, term %" PRIu64 ", revision %" PRIu64, status->term,
                 status->applied_index);
    else
        snprintf(text, size, "%s %s%s, term %" PRIu64 ", revision %" PRIu64,
                 status->role == RAFTKV__V1__ROLE__ROLE_NONVOTER ? "non-voter" : "follower",
                 leaderless ? "without a leader" : "of ", leaderless ? "" : status->leader,
                 status->term, status->applied_index);
    if (status->alarm[0])
        snprintf(text + strlen(text), size - strlen(text), "; no room on the disk");
    raftkv__v1__member_status__free_unpacked(status, NULL);
}

static void status_changed(void *data) {
    struct daemon *daemon = data;

    bus_loop_status_changed(&daemon->bus);
    if (daemon->phase == PHASE_RUNNING)
        notify_status_changed(&daemon->notify);
}

/* A door that is not open has nothing to tell. */
static void add_statistics(void *data, struct statistics *statistics) {
    const struct daemon *daemon = data;

    if (daemon->clients)
        client_door_add_statistics(daemon->clients, statistics);
    if (daemon->links)
        links_add_statistics(daemon->links, statistics);
    bus_loop_add_statistics(&daemon->bus, statistics);
}

/* ---- what the links ask the node ---- */

static const struct identity *peer_identity(void *data) {
    struct daemon *daemon = data;

    return node_identity(daemon->node);
}

static int peer_admit(void *data, const struct identity *from, uint64_t expected,
                      struct failure *failure) {
    struct daemon *daemon = data;

    return node_admit(daemon->node, from, expected, failure);
}

static void peer_announced(void *data, const struct identity *from, struct announce_reply *ret) {
    struct daemon *daemon = data;

    node_announced(daemon->node, from, ret);
}

static int peer_check_welcome(void *data, const struct identity *from, uint64_t expected,
                              struct failure *failure) {
    struct daemon *daemon = data;

    return node_check_welcome(daemon->node, from, expected, failure);
}

static int peer_receive(void *data, uint64_t from, const uint8_t *message, size_t size,
                        const char **ret_reason) {
    struct daemon *daemon = data;

    return node_receive(daemon->node, from, message, size, ret_reason);
}

static void peer_describe(void *data, uint64_t member_id, struct journal_event *event) {
    struct daemon *daemon = data;

    node_describe_peer(daemon->node, member_id, event);
}

/* ---- starting ---- */

/* Takes as many descriptors as the hard limit allows. Returns how many client connections they are
 * enough for, at least 1. */
static unsigned raise_descriptor_limit(uint64_t max_connections) {
    uint64_t wanted = max_connections + DESCRIPTORS_KEPT, left;
    struct rlimit limit;

    check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < limit.rlim_max &&
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit.rlim_max, limit.rlim_max}) < 0)
        journal(LOG_WARNING, "The limit of open files can't be raised: %s", strerror(errno));
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= wanted)
        return (unsigned)max_connections;
    left = limit.rlim_cur > DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT : 1;
    journal(LOG_WARNING,
            "The limit of open files is %" PRIu64 ", below the %" PRIu64
            " that MaxConnections=%" PRIu64 " needs; client connections are limited to %" PRIu64,
            (uint64_t)limit.rlim_cur, wanted, max_connections, left);
    return (unsigned)left;
}

static void warn_of_listeners(const struct options *options) {
    const char *const listeners[][2] = {{"ListenClients", options->listen_clients},
                                        {"ListenPeers", options->listen_peers}};

    for (size_t i = 0; i < 2; i++)
        if (!address_is_loopback(listeners[i][1]))
            journal(LOG_WARNING,
                    "%s=%s is not loopback, and there is no TLS yet: whoever reaches this port can "
                    "read and write everything",
                    listeners[i][0], listeners[i][1]);
}

/* Says why the node does not start. Returns -1. */
static int refuse(int r, const struct failure *failure) {
    const char *reason = r < 0 ? strerror(-r) : failure->message;

    journal(LOG_ERR, "%s", reason);
    notify_failed(reason, r < 0 ? -r : 0);
    return -1;
}

static struct node_options node_options(const struct options *options) {
    return (struct node_options){
        .name = options->name,
        .data_directory = options->data_directory,
        .peer_address = options->advertise_peers,
        .client_address = options->advertise_clients,
        .bootstrap = options->bootstrap,
        .join = options->join,
        .allow_join = (enum join_policy)options->allow_join,
        .election_timeout = options->election_timeout,
        .heartbeat = options->heartbeat,
        .state_cache_size = options->state_cache_size,
        .entry_cache_size = options->entry_cache_size,
        .snapshot_entries = options->snapshot_entries,
        .snapshot_bytes = options->snapshot_bytes,
        .trailing_entries = options->trailing_entries,
        .trailing_bytes = options->trailing_bytes,
        .reserve_bytes = options->reserve_bytes,
        .auto_promote_voters = (unsigned)options->auto_promote,
        .auto_promote_after = options->auto_promote_after,
    };
}

static int open_node(struct daemon *daemon) {
    const struct node_options options = node_options(daemon->options);
    struct start_timeout timeout;
    struct failure failure;
    int r;

    notify_starting("reading the log and the state");
    start_timeout_begin(&timeout, START_LOOK_MS);
    r = node_open(&daemon->node, &daemon->host.host, &options, &failure);
    start_timeout_end(&timeout);
    if (r != 0)
        return refuse(r, &failure);
    host_uv_set_node(&daemon->host, daemon->node);
    service_set_observer(node_service(daemon->node), status_changed, daemon);
    service_set_doors(node_service(daemon->node), add_statistics, daemon);
    return 0;
}

static int open_links(struct daemon *daemon) {
    const struct links_options links_options = {
        .loop = &daemon->loop,
        .listen = daemon->options->listen_peers,
        .handler =
            {
                .data = daemon,
                .identity = peer_identity,
                .admit = peer_admit,
                .announced = peer_announced,
                .check_welcome = peer_check_welcome,
                .receive = peer_receive,
                .describe = peer_describe,
            },
    };
    struct failure failure;
    int r = links_open(&daemon->links, &links_options, &failure);

    if (r != 0)
        return refuse(r, &failure);
    host_uv_set_links(&daemon->host, daemon->links);
    return 0;
}

static int open_clients(struct daemon *daemon, unsigned max_connections) {
    const struct client_door_options door_options = {
        .loop = &daemon->loop,
        .service = node_service(daemon->node),
        .listen = daemon->options->listen_clients,
        .max_connections = max_connections,
        .max_in_flight = (unsigned)daemon->options->max_in_flight,
    };
    struct failure failure;
    int r = client_door_open(&daemon->clients, &door_options, &failure);

    return r != 0 ? refuse(r, &failure) : 0;
}

static int open_bus(struct daemon *daemon) {
    const struct bus_options bus_options = {
        .address = daemon->start->bus,
        .name = daemon->options->name,
        .service = node_service(daemon->node),
    };
    struct failure failure;
    int r;

    if (!daemon->start->bus)
        return 0;
    r = bus_loop_open(&daemon->bus, &daemon->loop, &bus_options, &failure);
    if (r == 0)
        return 0;
    if (daemon->start->bus_required)
        return refuse(r, &failure);
    journal(LOG_WARNING, "%s This node answers over TCP only until the bus is there.",
            failure.message);
    return 0;
}

/* ---- reloading ---- */

static void told_to_reload(uv_signal_t *handle, int number) {
    struct daemon *daemon = handle->data;
    const struct options *options = daemon->options;
    struct node_options limits;

    (void)number;
    if (daemon->phase != PHASE_RUNNING)
        return;
    notify_reloading();
    if (reload_options(daemon->options, daemon->start->file, daemon->start->report)) {
        limits = node_options(options);
        node_set_limits(daemon->node, &limits);
        client_door_set_limits(daemon->clients, raise_descriptor_limit(options->max_connections),
                               (unsigned)options->max_in_flight);
    }
    notify_reloaded(&daemon->notify);
}

/* ---- the whole ---- */

static void init_handles(struct daemon *daemon) {
    check(uv_loop_init(&daemon->loop) == 0);
    host_uv_init(&daemon->host, &daemon->loop, fatal);
    notify_init(&daemon->notify, &daemon->loop, &daemon->host.lanes, describe, daemon);
    check(uv_prepare_init(&daemon->loop, &daemon->prepare) == 0);
    check(uv_check_init(&daemon->loop, &daemon->check) == 0);
    check(uv_signal_init(&daemon->loop, &daemon->terminate) == 0);
    check(uv_signal_init(&daemon->loop, &daemon->interrupt) == 0);
    check(uv_signal_init(&daemon->loop, &daemon->hang_up) == 0);
    daemon->prepare.data = daemon->check.data = daemon;
    daemon->terminate.data = daemon->interrupt.data = daemon->hang_up.data = daemon;
    check(uv_prepare_start(&daemon->prepare, turn_prepare) == 0);
    check(uv_check_start(&daemon->check, turn_check) == 0);
}

static void say_ready(const struct options *options) {
    journal_with(LOG_INFO, (const char *const[]){MESSAGE_NODE_READY, NULL},
                 "%s is ready: clients on %s, peers on %s, data in %s", options->name,
                 options->listen_clients, options->listen_peers, options->data_directory);
}

/* Recovery comes first and with the usual effect of signals: it may take long, and may be ended at
 * any time; only a reload is nothing then. The ports open when the node can answer. */
static void start(struct daemon *daemon) {
    const struct options *options = daemon->options;
    unsigned max_connections = raise_descriptor_limit(options->max_connections);

    warn_of_listeners(options);
    signal(SIGHUP, SIG_IGN);
    if (open_node(daemon) < 0) {
        daemon->status = EXIT_FAILURE;
        daemon->phase = PHASE_DRAINED;
        return;
    }
    check(uv_signal_start(&daemon->terminate, told_to_stop, SIGTERM) == 0);
    check(uv_signal_start(&daemon->interrupt, told_to_stop, SIGINT) == 0);
    if (open_links(daemon) < 0 || open_clients(daemon, max_connections) < 0 ||
        open_bus(daemon) < 0) {
        daemon->status = EXIT_FAILURE;
        begin_stop(daemon, 0);
        return;
    }
    check(uv_signal_start(&daemon->hang_up, told_to_reload, SIGHUP) == 0);
    say_ready(options);
    notify_ready(&daemon->notify);
}

int daemon_run(const struct daemon_start *how) {
    struct daemon daemon = {.start = how, .options = how->options, .status = EXIT_SUCCESS};

    init_handles(&daemon);
    start(&daemon);
    check(uv_run(&daemon.loop, UV_RUN_DEFAULT) == 0);
    check(uv_loop_close(&daemon.loop) == 0);
    if (daemon.status == EXIT_SUCCESS)
        journal(LOG_INFO, "%s has stopped", how->options->name);
    return daemon.status;
}
