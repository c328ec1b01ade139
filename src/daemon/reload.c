#include "daemon/reload.h"

#include "base/journal.h"

struct tally {
    unsigned taken_over, waiting;
};

static void say_change(void *data, const struct option_key *key, const struct options *newer) {
    struct tally *tally = data;
    char buffer[OPTION_VALUE_MAX];
    const char *value = option_value(newer, key, buffer);

    if (key->reloads) {
        tally->taken_over++;
        journal(LOG_NOTICE, "%s=%s is taken over.", key->name, value);
    } else {
        tally->waiting++;
        journal(LOG_WARNING, "%s=%s takes effect when the node is restarted.", key->name, value);
    }
}

bool reload_options(struct options *options, const char *file, option_report report) {
    struct options newer;
    struct tally tally = {0};
    struct journal_event done = JOURNAL_EVENT(MESSAGE_NODE_RELOADED);
    struct journal_event refused = JOURNAL_EVENT(MESSAGE_NODE_NOT_RELOADED);

    if (options_load(&newer, options->name, file, report, NULL) != 0) {
        journal_with(LOG_ERR, refused.fields,
                     "The configuration is wrong; the node goes on with what it has.");
        return false;
    }
    options_take_over(options, &newer, say_change, &tally);
    journal_field(&done, "RAFTKV_TAKEN_OVER=%u", tally.taken_over);
    journal_field(&done, "RAFTKV_WAITING=%u", tally.waiting);
    journal_with(LOG_INFO, done.fields,
                 "The configuration was read again: %u changes are taken over, %u need a restart.",
                 tally.taken_over, tally.waiting);
    return true;
}
