#include "bus/polkit.h"

#include "bus/connection.h"

enum { ALLOW_USER_INTERACTION = 1 };

#define ANSWER_TIMEOUT_US (120 * UINT64_C(1000000))

static enum polkit_answer read_answer(sd_bus_message *reply) {
    int authorized, challenge;

    if (sd_bus_message_is_method_error(reply, NULL) ||
        sd_bus_message_enter_container(reply, SD_BUS_TYPE_STRUCT, "bba{ss}") <= 0 ||
        sd_bus_message_read(reply, "bb", &authorized, &challenge) <= 0)
        return POLKIT_ABSENT;
    return authorized ? POLKIT_YES : challenge ? POLKIT_CHALLENGE : POLKIT_NO;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
    struct sender *sender = userdata;
    polkit_answered answered = sender->answered;

    (void)error;
    sender->query = sd_bus_slot_unref(sender->query);
    answered(sender, read_answer(reply));
    return 1;
}

int polkit_ask(struct sender *sender, sd_bus_message *message, const char *action,
               polkit_answered answered) {
    __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *question = NULL;
    sd_bus *connection = sender->bus->connection;
    bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
    int r;

    r = sd_bus_message_new_method_call(connection, &question, "org.freedesktop.PolicyKit1",
                                       "/org/freedesktop/PolicyKit1/Authority",
                                       "org.freedesktop.PolicyKit1.Authority",
                                       "CheckAuthorization");
    if (r < 0)
        return r;
    /* The subject, the action, no details, flags, no id to cancel with. */
    r = sd_bus_message_append(question, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                              sender->name, action, 0,
                              (uint32_t)(interactive ? ALLOW_USER_INTERACTION : 0), "");
    if (r < 0)
        return r;
    sender->answered = answered;
    r = sd_bus_call_async(connection, &sender->query, question, on_answer, sender,
                          ANSWER_TIMEOUT_US);
    return r < 0 ? r : 0;
}
