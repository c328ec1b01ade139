#include "bus/log_control.h"

#include <string.h>

#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "bus/call.h"

#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
#define LOG_CONTROL_INTERFACE "org.freedesktop.LogControl1"
#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"

static const char *const level_names[] = {"emerg",   "alert",  "crit", "err",
                                          "warning", "notice", "info", "debug"};

static int get_property(sd_bus *connection, const char *path, const char *interface,
                        const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
    const char *value = strcmp(property, "LogLevel") == 0    ? level_names[journal_level()]
                        : strcmp(property, "LogTarget") == 0 ? journal_target()
                                                             : "raftkvd"; /* SyslogIdentifier */

    (void)connection;
    (void)path;
    (void)interface;
    (void)userdata;
    (void)error;
    return results_append(reply, "s", value);
}

/* ---- Set, which takes a permission ---- */

static int set_level(sd_bus_message *message, const char *value) {
    for (int level = 0; level <= LOG_DEBUG; level++) {
        if (strcmp(value, level_names[level]) != 0)
            continue;
        journal_set_level(level);
        return sd_bus_reply_method_return(message, NULL);
    }
    return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_INVALID_ARGS,
                                      "LogLevel is emerg, alert, crit, err, warning, notice, info "
                                      "or debug.");
}

static int set_target(sd_bus_message *message, const char *value) {
    if (strcmp(value, "auto") == 0 || strcmp(value, journal_target()) == 0)
        return sd_bus_reply_method_return(message, NULL);
    return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_INVALID_ARGS,
                                      "LogTarget is where this node was started to log to, %s, and "
                                      "can't be changed while it runs.",
                                      journal_target());
}

static int read_set(sd_bus_message *message, Raftkv__V1__Request *request) {
    (void)message;
    (void)request;
    return 0;
}

static void act_set(sd_bus_message *message) {
    const char *interface, *property, *value = NULL;
    int r = sd_bus_message_read(message, "ss", &interface, &property);

    if (r > 0)
        r = sd_bus_message_enter_container(message, SD_BUS_TYPE_VARIANT, "s");
    if (r > 0)
        r = sd_bus_message_read_basic(message, SD_BUS_TYPE_STRING, &value);
    if (r <= 0)
        r = sd_bus_reply_method_errorf(message, SD_BUS_ERROR_INVALID_ARGS,
                                       "The properties here are text.");
    else if (strcmp(interface, LOG_CONTROL_INTERFACE) != 0)
        r = sd_bus_reply_method_errorf(
            message, SD_BUS_ERROR_UNKNOWN_INTERFACE,
            "There is no interface with writable properties here but " LOG_CONTROL_INTERFACE ".");
    else if (strcmp(property, "LogLevel") == 0)
        r = set_level(message, value);
    else if (strcmp(property, "LogTarget") == 0)
        r = set_target(message, value);
    else
        r = sd_bus_reply_method_errorf(message, SD_BUS_ERROR_PROPERTY_READ_ONLY,
                                       "Only LogLevel and LogTarget can be set.");
    (void)r; /* it fails only when the connection is gone, which bus_process() tells */
}

static const struct method set_methods[] = {
    {.member = "Set", .read = read_set, .act = act_set},
    {.member = NULL},
};

/* sd-bus would set a property right away, or ask the bus for the caller's privileges and wait. */
static int filter(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    const char *path = sd_bus_message_get_path(message);

    (void)error;
    if (sd_bus_message_is_method_call(message, PROPERTIES_INTERFACE, "Set") <= 0 ||
        strcmp(path, LOG_CONTROL_PATH) != 0)
        return 0;
    return method_call_arrived(userdata, message, set_methods);
}

static int never_set(sd_bus *connection, const char *path, const char *interface,
                     const char *property, sd_bus_message *value, void *userdata,
                     sd_bus_error *error) {
    (void)connection;
    (void)path;
    (void)interface;
    (void)property;
    (void)value;
    (void)userdata;
    (void)error;
    check(!"the filter takes every Set");
    return 0;
}

/* clang-format off */
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_property, never_set, 0, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_property, never_set, 0, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("SyslogIdentifier", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_VTABLE_END,
};
/* clang-format on */

int log_control_export(struct bus *bus) {
    int r = sd_bus_add_filter(bus->connection, NULL, filter, bus);

    if (r < 0)
        return r;
    return sd_bus_add_object_vtable(bus->connection, NULL, LOG_CONTROL_PATH, LOG_CONTROL_INTERFACE,
                                    vtable, NULL);
}
