#include "bus/authorize.h"

#include <string.h>
#include <unistd.h>

static void deny(struct method_call *call, const char *reason) {
    struct failure failure;

    failure_set(&failure, ERROR_PERMISSION_DENIED, "%s", reason);
    method_call_fail(call, &failure);
}

/* The decision itself. */
static void decide(struct method_call *call) {
    const struct sender *sender = call->sender;

    if (!sender->user_known)
        deny(call, "The bus does not tell which user calls.");
    else if (sender->user != 0 && sender->user != geteuid())
        deny(call, "Only root and the user that raftkvd runs as may do this.");
    else
        method_call_begin(call);
}

/* The first call of the sender that is neither begun nor answered. */
static struct method_call *first_waiting(struct sender *sender) {
    struct method_call *call;

    TAILQ_FOREACH(call, &sender->calls, entry)
    if (call->request)
        return call;
    return NULL;
}

/* The bus stamps every message with its sender, so nobody else can pass for it. */
static bool is_from_bus(sd_bus_message *message) {
    const char *sender = sd_bus_message_get_sender(message);

    return sender && strcmp(sender, "org.freedesktop.DBus") == 0;
}

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    struct sender *sender = userdata;
    struct method_call *call;

    (void)error;
    sender->user_query = sd_bus_slot_unref(sender->user_query);
    sender->user_known = is_from_bus(reply) && !sd_bus_message_is_method_error(reply, NULL) &&
                         sd_bus_message_read_basic(reply, SD_BUS_TYPE_UINT32, &sender->user) > 0;
    while ((call = first_waiting(sender)))
        decide(call);
    return 1;
}

void authorize(struct method_call *call) {
    struct sender *sender = call->sender;

    if (sender->user_known) {
        decide(call);
        return;
    }
    if (sender->user_query)
        return;
    /* Asked without waiting for the answer: sd_bus_query_sender_creds() would hold up the loop. */
    if (sd_bus_call_method_async(call->bus->connection, &sender->user_query, "org.freedesktop.DBus",
                                 "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                 "GetConnectionUnixUser", on_user, sender, "s", sender->name) < 0)
        decide(call);
}
