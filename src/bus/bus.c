#include "bus/bus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bus/connection.h"
#include "bus/log_control.h"
#include "bus/objects.h"

enum {
    PROCESS_MAX = 64,        /* messages in one bus_process(), so that the loop gets its turn */
    CLOSE_TIMEOUT_MS = 1000, /* for a bus that does not read the last replies */
};

#define BUS_NAME_PREFIX "org.raftkv1."

/* A D-Bus address from a path: what is not in the specification's list of plain characters is
 * escaped. Malloc'd. */
static char *address_of_path(const char *directory, const char *file) {
    _cleanup_free_ char *path = xasprintf("%s/%s", directory, file);
    struct buffer address = BUFFER_NULL;

    buffer_append(&address, "unix:path=", 10);
    for (const char *c = path; *c; c++) {
        char escaped[4];

        if (strchr("-_/.\\*", *c) || (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
            (*c >= 'a' && *c <= 'z')) {
            buffer_append(&address, c, 1);
            continue;
        }
        snprintf(escaped, sizeof escaped, "%%%02x", (unsigned char)*c);
        buffer_append(&address, escaped, 3);
    }
    buffer_append(&address, "", 1);
    return (char *)address.data;
}

/* The address behind "system" or "session", as the D-Bus specification finds it. Malloc'd; NULL:
 * there is none. */
static char *find_address(const char *option) {
    const char *address;

    if (strcmp(option, "system") == 0) {
        address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
        return xstrdup(address ? address : "unix:path=/run/dbus/system_bus_socket");
    }
    if (strcmp(option, "session") == 0) {
        const char *directory = secure_getenv("XDG_RUNTIME_DIR");

        address = secure_getenv("DBUS_SESSION_BUS_ADDRESS");
        if (address)
            return xstrdup(address);
        return directory ? address_of_path(directory, "bus") : NULL;
    }
    return xstrdup(option);
}

static int on_name_lost(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    const char *name;

    (void)error;
    if (sd_bus_message_read_basic(message, SD_BUS_TYPE_STRING, &name) > 0)
        sender_gone(userdata, name);
    return 0;
}

/* Begins to connect. File descriptors are not accepted: no method wants any, and a caller could use
 * up ours. */
static int connect_to(sd_bus **ret, const char *address) {
    __attribute__((cleanup(sd_bus_unrefp))) sd_bus *connection = NULL;
    int r = sd_bus_new(&connection);

    if (r < 0)
        return r;
    r = sd_bus_set_address(connection, address);
    if (r < 0)
        return r;
    r = sd_bus_set_bus_client(connection, true);
    if (r < 0)
        return r;
    r = sd_bus_negotiate_fds(connection, false);
    if (r < 0)
        return r;
    r = sd_bus_start(connection);
    if (r < 0)
        return r;
    *ret = TAKE(connection);
    return 0;
}

static int export_objects(struct bus *bus) {
    static const struct {
        const char *interface;
        const sd_bus_vtable *vtable;
    } interfaces[] = {
        {KV_INTERFACE, kv_vtable},
        {CLUSTER_INTERFACE, cluster_vtable},
    };

    int r;

    for (size_t i = 0; i < sizeof interfaces / sizeof interfaces[0]; i++) {
        r = sd_bus_add_object_vtable(bus->connection, NULL, OBJECT_PATH, interfaces[i].interface,
                                     interfaces[i].vtable, bus);

        if (r < 0)
            return r;
    }
    r = objects_export(bus);
    if (r >= 0)
        r = log_control_export(bus);
    if (r < 0)
        return r;
    /* Whoever leaves the bus. Asked for before the name is, so that the bus has the rule before
     * anyone can call. */
    return sd_bus_add_match_async(bus->connection, NULL,
                                  "type='signal',sender='org.freedesktop.DBus',"
                                  "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                  "arg2=''",
                                  on_name_lost, NULL, bus);
}

/* Negative errno, or what RequestName answers: 1 is success, 3 that another one has the name. */
static int read_name_answer(sd_bus_message *reply) {
    uint32_t answer;
    int r = -sd_bus_message_get_errno(reply);

    if (r == 0)
        r = sd_bus_message_read_basic(reply, SD_BUS_TYPE_UINT32, &answer);
    return r < 0 ? r : (int)answer;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    enum { OWNER = 1, EXISTS = 3 };
    struct bus *bus = userdata;
    int r = read_name_answer(reply);

    (void)error;
    if (r == OWNER)
        bus->ready = true;
    else if (r == EXISTS)
        failure_set(&bus->refused, ERROR_UNAVAILABLE,
                    "The name %s on the bus '%s' is taken: a node of this name runs there already.",
                    bus->name, bus->option);
    else if (r == -EACCES || r == -EPERM)
        failure_set(&bus->refused, ERROR_UNAVAILABLE,
                    "The policy of the bus '%s' does not let this user own the name %s: see "
                    "org.raftkv1.conf in dbus-1/system.d.",
                    bus->option, bus->name);
    else
        failure_set(&bus->refused, ERROR_UNAVAILABLE, "Can't get the name %s on the bus '%s': %s.",
                    bus->name, bus->option, r < 0 ? strerror(-r) : "an unknown answer");
    return 1;
}

static void bus_close_pointer(struct bus **bus) {
    bus_close(*bus);
}

int bus_begin(struct bus **ret, const struct bus_options *options, struct failure *failure) {
    _cleanup_(bus_close_pointer) struct bus *bus = xcalloc(1, sizeof *bus);
    _cleanup_free_ char *address = find_address(options->address);
    int r;

    bus->service = options->service;
    bus->option = xstrdup(options->address);
    bus->name = xasprintf(BUS_NAME_PREFIX "%s", options->name);
    bus->has_polkit = strcmp(options->address, "system") == 0;
    senders_init(&bus->senders);
    if (!address)
        return failure_set(failure, ERROR_UNAVAILABLE,
                           "There is no session bus: neither DBUS_SESSION_BUS_ADDRESS nor "
                           "XDG_RUNTIME_DIR is set.");
    r = connect_to(&bus->connection, address);
    if (r >= 0)
        r = export_objects(bus);
    if (r >= 0)
        r = sd_bus_request_name_async(bus->connection, NULL, bus->name, 0, on_name, bus);
    if (r < 0)
        return failure_set(failure, ERROR_UNAVAILABLE, "Can't connect to the bus '%s' at %s: %s.",
                           options->address, address, strerror(-r));
    *ret = TAKE(bus);
    return 0;
}

bool bus_ready(const struct bus *bus) {
    return bus->ready;
}

int bus_open(struct bus **ret, const struct bus_options *options, struct failure *failure) {
    _cleanup_(bus_close_pointer) struct bus *bus = NULL;
    int r = bus_begin(&bus, options, failure);

    if (r != 0)
        return r;
    while (!bus->ready) {
        r = bus_process(bus, failure);
        if (r != 0)
            return r;
        /* A bus that does not answer is given up by sd-bus, after its usual time. */
        if (!bus->ready)
            (void)sd_bus_wait(bus->connection, UINT64_MAX);
    }
    *ret = TAKE(bus);
    return 0;
}

/* Sends the replies that wait, unless the bus does not read. */
static void flush(sd_bus *connection) {
    struct pollfd pollfd = {.fd = sd_bus_get_fd(connection), .events = POLLOUT};
    int events = sd_bus_get_events(connection);

    if (events < 0 || !(events & POLLOUT))
        return;
    if (poll(&pollfd, 1, CLOSE_TIMEOUT_MS) == 1 && pollfd.revents == POLLOUT)
        (void)sd_bus_flush(connection);
}

struct bus *bus_close(struct bus *bus) {
    if (!bus)
        return NULL;
    senders_deinit(&bus->senders);
    if (bus->connection) {
        flush(bus->connection);
        sd_bus_close(bus->connection);
        sd_bus_unref(bus->connection);
    }
    objects_deinit(&bus->objects);
    free(bus->option);
    free(bus->name);
    free(bus);
    return NULL;
}

int bus_fd(struct bus *bus) {
    return sd_bus_get_fd(bus->connection);
}

int bus_events(struct bus *bus) {
    int events = sd_bus_get_events(bus->connection);

    return events < 0 ? 0 : events;
}

uint64_t bus_deadline(struct bus *bus) {
    uint64_t own = objects_deadline(bus), deadline;

    /* When it fails the connection is gone, and bus_process() says so. */
    if (sd_bus_get_timeout(bus->connection, &deadline) < 0)
        return 0;
    return own < deadline ? own : deadline;
}

int bus_process(struct bus *bus, struct failure *failure) {
    int r = 1;

    objects_tick(bus);
    for (int i = 0; r > 0 && i < PROCESS_MAX; i++)
        r = sd_bus_process(bus->connection, NULL);
    if (bus->refused.code) {
        *failure = bus->refused;
        return failure->code;
    }
    if (r >= 0 && sd_bus_is_open(bus->connection) <= 0)
        r = -ECONNRESET;
    if (r < 0)
        return failure_set(failure, ERROR_UNAVAILABLE, "The bus '%s' can't be used: %s.",
                           bus->option, strerror(-r));
    return 0;
}

void bus_status_changed(struct bus *bus) {
    objects_announce(bus);
}

void bus_add_statistics(const struct bus *bus, struct statistics *statistics) {
    statistics_add(statistics, STATISTIC_BUS_CONNECTIONS, NULL, bus->senders.count);
    statistics_add(statistics, STATISTIC_BUS_CALLS_UNDER_WAY, NULL,
                   bus->shares.all.taken[TAKEN_CALLS]);
    statistics_add(statistics, STATISTIC_BUS_CALLS, NULL, bus->calls_ever);
    statistics_add(statistics, STATISTIC_BUS_RECEIVED, NULL, bus->received);
    statistics_add(statistics, STATISTIC_BUS_SENT, NULL, bus->sent);
}
