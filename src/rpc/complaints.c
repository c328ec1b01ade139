#include "rpc/complaints.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/journal.h"

enum { SILENCE_MS = 60 * 1000, WINDOW_MS = 10 * 1000, SENTENCES_IN_WINDOW = 20 };

/* FNV-1a; never 0, which marks a free place. */
static uint64_t hash_of(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash ? hash : 1;
}

/* Whether it was said not long ago; remembers it in any case, in the place of the oldest. */
static bool said_before(struct complaints *complaints, uint64_t now, uint64_t hash) {
    int oldest = 0;

    for (int i = 0; i < COMPLAINTS_REMEMBERED; i++) {
        if (complaints->said[i].hash == hash) {
            bool recent = now - complaints->said[i].time < SILENCE_MS;

            complaints->said[i].time = now;
            return recent;
        }
        if (complaints->said[i].time < complaints->said[oldest].time)
            oldest = i;
    }
    complaints->said[oldest].hash = hash;
    complaints->said[oldest].time = now;
    return false;
}

void complain(struct complaints *complaints, uint64_t now, const struct journal_event *event,
              const char *format, ...) {
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (said_before(complaints, now, hash_of(text)))
        return;
    if (now - complaints->window >= WINDOW_MS) {
        complaints->window = now;
        complaints->count = 0;
    }
    if (complaints->count++ < SENTENCES_IN_WINDOW)
        journal_with(LOG_WARNING, event->fields, "%s", text);
}
