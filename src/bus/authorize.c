#include "bus/authorize.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "bus/polkit.h"

static void deny(struct method_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void deny(struct method_call *call, const char *format, ...) {
    char reason[256];
    struct failure failure;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    failure_set(&failure, ERROR_PERMISSION_DENIED, "%s", reason);
    method_call_fail(call, &failure);
}

/* What polkit calls the permission to do this: dbus/org.raftkv1.policy, dbus/permissions. */
static const char *action_of(const struct method_call *call) {
    switch (call->request->body_case) {
    case RAFTKV__V1__REQUEST__BODY_PUT:
    case RAFTKV__V1__REQUEST__BODY_DELETE:
        return "org.raftkv1.write-keys";
    case RAFTKV__V1__REQUEST__BODY_GET:
    case RAFTKV__V1__REQUEST__BODY_LIST:
    case RAFTKV__V1__REQUEST__BODY_BACKUP:
    case RAFTKV__V1__REQUEST__BODY_MEMBERS:
        return "org.raftkv1.read-keys";
    default:
        return "org.raftkv1.manage-cluster";
    }
}

/* The first call of the sender that is neither begun nor answered. */
static struct method_call *first_waiting(struct sender *sender) {
    struct method_call *call;

    TAILQ_FOREACH(call, &sender->calls, entry)
    if (call->request)
        return call;
    return NULL;
}

static void advance(struct sender *sender);

/* The answer is about the first call that waits: calls keep their order, and none leaves without
 * its sender. */
static void on_polkit(struct sender *sender, enum polkit_answer answer) {
    struct method_call *call = first_waiting(sender);

    check(call);
    switch (answer) {
    case POLKIT_YES:
        method_call_begin(call);
        break;
    case POLKIT_NO:
        deny(call, "polkit does not permit the action %s to the caller.", action_of(call));
        break;
    case POLKIT_CHALLENGE:
        deny(call,
             "The action %s takes an authentication that the caller did not allow to ask for, or "
             "did not pass.",
             action_of(call));
        break;
    case POLKIT_ABSENT:
        deny(call, "Only root and the user that raftkvd runs as may do this: polkit, which could "
                   "permit it to others, does not answer.");
        break;
    }
    advance(sender);
}

static bool is_trusted(const struct sender *sender) {
    return sender->user == 0 || sender->user == geteuid();
}

/* Decides on calls in their order, up to the first that polkit has to be asked about. */
static void advance(struct sender *sender) {
    struct method_call *call;

    while (!sender->query && (call = first_waiting(sender))) {
        if (is_trusted(sender))
            method_call_begin(call);
        else if (!sender->bus->has_polkit)
            deny(call, "Only root and the user that raftkvd runs as may do this.");
        else if (polkit_ask(sender, call->message, action_of(call), on_polkit) < 0)
            deny(call, "polkit can't be asked whether the caller may do this.");
    }
}

static bool is_open(const struct method_call *call) {
    return call->method->kind == METHOD_LOOK || call->method->kind == METHOD_AWAIT;
}

static struct method_call *first_open(struct sender *sender) {
    struct method_call *call;

    TAILQ_FOREACH(call, &sender->calls, entry)
    if (call->request && is_open(call))
        return call;
    return NULL;
}

/* Calls that have waited to learn whose they are. What anyone may call does not wait for polkit. */
static void begin_identified(struct sender *sender) {
    struct method_call *call;

    share_identify(sender);
    while ((call = first_open(sender)))
        method_call_begin(call);
    advance(sender);
}

static void deny_all(struct sender *sender) {
    struct method_call *call;

    while ((call = first_waiting(sender)))
        deny(call, "The bus does not tell which user calls.");
}

/* The bus stamps every message with its sender, so nobody else can pass for it. */
static bool is_from_bus(sd_bus_message *message) {
    const char *sender = sd_bus_message_get_sender(message);

    return sender && strcmp(sender, "org.freedesktop.DBus") == 0;
}

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    struct sender *sender = userdata;

    (void)error;
    sender->query = sd_bus_slot_unref(sender->query);
    sender->user_known = is_from_bus(reply) && !sd_bus_message_is_method_error(reply, NULL) &&
                         sd_bus_message_read_basic(reply, SD_BUS_TYPE_UINT32, &sender->user) > 0;
    if (sender->user_known)
        begin_identified(sender);
    else
        deny_all(sender);
    return 1;
}

void authorize(struct method_call *call) {
    struct sender *sender = call->sender;

    if (sender->user_known) {
        if (is_open(call))
            method_call_begin(call);
        else
            advance(sender);
        return;
    }
    if (sender->query)
        return;
    /* Asked without waiting for the answer: sd_bus_query_sender_creds() would hold up the loop. */
    if (sd_bus_call_method_async(call->bus->connection, &sender->query, "org.freedesktop.DBus",
                                 "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                 "GetConnectionUnixUser", on_user, sender, "s", sender->name) < 0)
        deny_all(sender);
}
