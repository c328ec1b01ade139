/* complaints: says to the journal what outsiders did wrong, but not as often as they do it. */
#pragma once

#include <stdint.h>

#include "base/journal.h"

enum { COMPLAINTS_REMEMBERED = 64 };

struct complaints {
    struct {
        uint64_t hash; /* of the sentence */
        uint64_t time; /* of its last repetition */
    } said[COMPLAINTS_REMEMBERED];
    uint64_t window; /* in which `count` sentences were said */
    unsigned count;
};

/* Says it, unless the same was complained of within the last minute, or very much else was. `now`
 * is monotonic, in milliseconds; the event has its fields. */
void complain(struct complaints *complaints, uint64_t now, const struct journal_event *event,
              const char *format, ...) __attribute__((format(printf, 4, 5)));
