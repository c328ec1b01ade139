/*
 * The daemon's configuration file, with one drop-in.
 *
 * Input: 1 byte (odd: the command line says a name), 2 bytes (the size of the file), the file, the
 * drop-in.
 */
#include <ctype.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/address.h"
#include "base/error.h"
#include "base/join_policy.h"
#include "base/memory.h"
#include "daemon/options.h"
#include "fuzz.h"

struct reports {
    size_t errors;
    size_t count;
};

static void report(void *data, int priority, const char *file, unsigned line, const char *message) {
    struct reports *reports = data;

    check(priority == LOG_ERR || priority == LOG_WARNING);
    check(file && message[0] && line < 100000);
    for (const char *c = message; *c; c++)
        check(!iscntrl((unsigned char)*c));
    reports->count++;
    reports->errors += priority == LOG_ERR;
}

static void look_at_number(const struct options *options, const struct option_key *key) {
    uint64_t number;

    memcpy(&number, (const char *)options + key->offset, sizeof number);
    check(number >= key->minimum && number <= key->maximum);
}

static void look_at_addresses(const char *text) {
    _cleanup_free_ char *words = xstrdup(text);
    char *rest = words, *word;
    size_t count = 0;

    for (; text[0] && (word = strsep(&rest, " ")); count++)
        check(address_valid(word) && !address_is_wildcard(word));
    check(count <= JOIN_ADDRESSES_MAX);
}

static void look_at_policy(const struct options *options, const struct option_key *key) {
    uint64_t policy;

    memcpy(&policy, (const char *)options + key->offset, sizeof policy);
    check(policy <= JOIN_VOTER);
}

static void look_at(const struct options *options, const struct option_key *key) {
    const char *text = (const char *)options + key->offset;

    switch (key->type) {
    case OPTION_NAME:
        check(member_name_valid(text));
        break;
    case OPTION_LISTEN:
        check(strchr(text, ':'));
        break;
    case OPTION_ADVERTISE:
        check(address_valid(text) && !address_is_wildcard(text));
        break;
    case OPTION_ADDRESSES:
        look_at_addresses(text);
        break;
    case OPTION_POLICY:
        look_at_policy(options, key);
        break;
    case OPTION_PATH:
        check(text[0] == '/');
        break;
    case OPTION_BOOLEAN:
        check(*(const uint8_t *)text <= 1);
        break;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_SPAN:
        look_at_number(options, key);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    const char *name = take_byte(&input) % 2 ? "node" : NULL;
    struct input file = take_part(&input, take_number(&input, 2));
    const char *where = fuzz_directory();
    _cleanup_free_ char *path = xasprintf("%s/node.conf", where);
    _cleanup_free_ char *drop_ins = xasprintf("%s.d", path);
    struct reports reports = {0};
    struct options options;
    int r;

    fuzz_write_file(where, "node.conf", file.data, file.size);
    check(mkdir(drop_ins, 0700) == 0);
    if (input.size > 0)
        fuzz_write_file(drop_ins, "10.conf", input.data, input.size);
    r = options_load(&options, name, path, report, &reports);
    check(r == (reports.errors > 0 ? ERROR_INVALID_ARGUMENT : 0));
    for (size_t i = 0; r == 0 && i < KEY_COUNT; i++)
        look_at(&options, &option_keys[i]);
    if (r == 0) {
        check(options.heartbeat <= options.election_timeout / 3);
        check(strcmp(options.listen_clients, options.listen_peers) != 0);
        check(!options.bootstrap || !options.join[0]);
        check(options.auto_promote == 0 ||
              options.auto_promote_after >= 4 * options.election_timeout);
    }
    return 0;
}
