#include "bus/sender.h"

#include <string.h>

#include "base/memory.h"
#include "bus/backups.h"
#include "bus/call.h"
#include "bus/connection.h"

void senders_init(struct senders *senders) {
    TAILQ_INIT(&senders->list);
    senders->count = 0;
}

static struct sender *sender_find(const struct senders *senders, const char *name) {
    struct sender *sender;

    TAILQ_FOREACH(sender, &senders->list, entry)
    if (strcmp(sender->name, name) == 0)
        return sender;
    return NULL;
}

static void sender_free(struct senders *senders, struct sender *sender) {
    while (!TAILQ_EMPTY(&sender->calls))
        method_call_cancel(TAILQ_FIRST(&sender->calls));
    backups_leave(sender);
    TAILQ_REMOVE(&senders->list, sender, entry);
    senders->count--;
    share_forget(sender);
    sd_bus_slot_unref(sender->query);
    free(sender->name);
    free(sender);
}

/* Makes room for one more. */
static bool forget_idle_sender(struct senders *senders) {
    struct sender *sender;

    TAILQ_FOREACH_REVERSE(sender, &senders->list, sender_list, entry) {
        if (sender->calls_count > 0 || backups_open(sender))
            continue;
        sender_free(senders, sender);
        return true;
    }
    return false;
}

struct sender *sender_get(struct bus *bus, const char *name) {
    struct senders *senders = &bus->senders;
    struct sender *sender = sender_find(senders, name);

    if (sender) {
        TAILQ_REMOVE(&senders->list, sender, entry);
        TAILQ_INSERT_HEAD(&senders->list, sender, entry);
        return sender;
    }
    if (senders->count >= BUS_SENDERS_MAX && !forget_idle_sender(senders))
        return NULL;
    sender = xcalloc(1, sizeof *sender);
    sender->bus = bus;
    sender->share = &bus->shares.unknown;
    sender->name = xstrdup(name);
    TAILQ_INIT(&sender->calls);
    TAILQ_INSERT_HEAD(&senders->list, sender, entry);
    senders->count++;
    return sender;
}

void sender_gone(struct bus *bus, const char *name) {
    struct sender *sender = sender_find(&bus->senders, name);

    if (sender)
        sender_free(&bus->senders, sender);
}

void senders_deinit(struct senders *senders) {
    while (!TAILQ_EMPTY(&senders->list))
        sender_free(senders, TAILQ_FIRST(&senders->list));
}
