/* Options of a running node: what differs from those that were read again, and what of it is taken
 * over. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/option_values.h"
#include "daemon/options.h"

static uint64_t number_of(const struct options *options, const struct option_key *key) {
    return *(const uint64_t *)(const void *)((const char *)options + key->offset);
}

const char *option_value(const struct options *options, const struct option_key *key,
                         char buffer[static OPTION_VALUE_MAX]) {
    const char *place = (const char *)options + key->offset;

    _Static_assert((int)OPTION_VALUE_MAX >= (int)VALUE_TEXT_MAX, "sizes and spans fit");
    switch (key->type) {
    case OPTION_NAME:
    case OPTION_LISTEN:
    case OPTION_ADVERTISE:
    case OPTION_ADDRESSES:
    case OPTION_PATH:
        return place;
    case OPTION_POLICY:
        return policy_format(number_of(options, key));
    case OPTION_BOOLEAN:
        return *(const bool *)place ? "yes" : "no";
    case OPTION_COUNT:
        snprintf(buffer, OPTION_VALUE_MAX, "%" PRIu64, number_of(options, key));
        return buffer;
    case OPTION_SIZE:
        return size_format(number_of(options, key), buffer);
    case OPTION_SPAN:
        return span_format(number_of(options, key), buffer);
    }
    return "";
}

void options_take_over(struct options *options, const struct options *newer,
                       void (*say_so)(void *data, const struct option_key *key,
                                      const struct options *newer),
                       void *data) {
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct option_key *key = &option_keys[i];
        char old[OPTION_VALUE_MAX], new[OPTION_VALUE_MAX];

        if (strcmp(option_value(options, key, old), option_value(newer, key, new)) == 0)
            continue;
        say_so(data, key, newer);
        if (key->reloads) /* all of these are numbers */
            *(uint64_t *)(void *)((char *)options + key->offset) = number_of(newer, key);
    }
}
