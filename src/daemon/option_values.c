#include "daemon/option_values.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/join_policy.h"

int boolean_parse(const char *text, bool *ret) {
    static const char *const yes[] = {"1", "yes", "y", "true", "t", "on"};
    static const char *const no[] = {"0", "no", "n", "false", "f", "off"};

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

static const char *const policies[] = {
    [JOIN_NO] = "no",
    [JOIN_ASK] = "ask",
    [JOIN_NONVOTER] = "nonvoter",
    [JOIN_VOTER] = "voter",
};

int policy_parse(const char *text, uint64_t *ret) {
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        if (strcmp(policies[i], text) == 0) {
            *ret = i;
            return 0;
        }
    return -EINVAL;
}

const char *policy_format(uint64_t policy) {
    check(policy < sizeof policies / sizeof *policies);
    return policies[policy];
}

/* Reads the digits at *text and moves behind them. -EINVAL when there are none, -ERANGE. */
static int take_digits(const char **text, uint64_t *ret) {
    const char *p = *text;
    uint64_t value = 0;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return -ERANGE;
    *text = p;
    *ret = value;
    return 0;
}

int count_parse(const char *text, uint64_t *ret) {
    uint64_t value;
    int r = take_digits(&text, &value);

    if (r < 0)
        return r;
    if (*text)
        return -EINVAL;
    *ret = value;
    return 0;
}

int size_parse(const char *text, uint64_t *ret) {
    static const char suffixes[] = "BKMGT";
    const char *suffix;
    uint64_t value;
    int r = take_digits(&text, &value);

    if (r < 0)
        return r;
    if (*text) {
        suffix = strchr(suffixes, *text);
        if (!suffix || text[1])
            return -EINVAL;
        if (__builtin_mul_overflow(value, UINT64_C(1) << (10 * (suffix - suffixes)), &value))
            return -ERANGE;
    }
    *ret = value;
    return 0;
}

static const struct {
    const char *name;
    uint64_t ms;
} units[] = {
    {"", 1000}, /* a number alone is seconds */
    {"ms", 1},          {"msec", 1},        {"s", 1000},     {"sec", 1000},
    {"second", 1000},   {"seconds", 1000},  {"m", 60000},    {"min", 60000},
    {"minute", 60000},  {"minutes", 60000}, {"h", 3600000},  {"hr", 3600000},
    {"hour", 3600000},  {"hours", 3600000}, {"d", 86400000}, {"day", 86400000},
    {"days", 86400000},
};

/* Reads the letters of a unit at *text and moves behind them. */
static int take_unit(const char **text, uint64_t *ret_ms) {
    size_t length = 0;

    while (isalpha((unsigned char)(*text)[length]))
        length++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, *text, length) == 0) {
            *text += length;
            *ret_ms = units[i].ms;
            return 0;
        }
    return -EINVAL;
}

static void skip_blanks(const char **text) {
    while (isblank((unsigned char)**text))
        (*text)++;
}

/* The digits behind the point at *text as millionths; more than six of them do not count. */
static int take_fraction(const char **text, uint64_t *ret_millionths) {
    uint64_t millionths = 0, weight = 100000;

    if (!isdigit((unsigned char)**text))
        return -EINVAL;
    for (; isdigit((unsigned char)**text); (*text)++, weight /= 10)
        millionths += weight * (uint64_t)(**text - '0');
    *ret_millionths = millionths;
    return 0;
}

int span_parse(const char *text, uint64_t *ret_ms) {
    uint64_t total = 0;

    skip_blanks(&text);
    do {
        uint64_t whole, millionths = 0, unit, part;
        int r = take_digits(&text, &whole);

        if (r == 0 && *text == '.') {
            text++;
            r = take_fraction(&text, &millionths);
        }
        if (r < 0)
            return r;
        skip_blanks(&text);
        r = take_unit(&text, &unit);
        if (r < 0)
            return r;
        if (__builtin_mul_overflow(whole, unit, &part) ||
            __builtin_add_overflow(part, millionths * unit / 1000000, &part) ||
            __builtin_add_overflow(total, part, &total))
            return -ERANGE;
        skip_blanks(&text);
    } while (*text);
    *ret_ms = total;
    return 0;
}

const char *size_format(uint64_t size, char buffer[static VALUE_TEXT_MAX]) {
    static const char *const suffixes[] = {"", "K", "M", "G", "T"};
    size_t i = 0;

    while (size && size % 1024 == 0 && i + 1 < sizeof suffixes / sizeof *suffixes) {
        size /= 1024;
        i++;
    }
    snprintf(buffer, VALUE_TEXT_MAX, "%" PRIu64 "%s", size, suffixes[i]);
    return buffer;
}

const char *span_format(uint64_t ms, char buffer[static VALUE_TEXT_MAX]) {
    static const struct {
        const char *name;
        uint64_t ms;
    } parts[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
    size_t used = 0;

    strcpy(buffer, "0s");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t number = ms / parts[i].ms;

        if (number == 0)
            continue;
        used += (size_t)snprintf(buffer + used, VALUE_TEXT_MAX - used, "%s%" PRIu64 "%s",
                                 used ? " " : "", number, parts[i].name);
        ms %= parts[i].ms;
    }
    return buffer;
}
