#include "daemon/options.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/address.h"
#include "base/check.h"
#include "base/error.h"
#include "base/memory.h"
#include "daemon/option_values.h"
#include "daemon/options_file.h"

#define MIB (UINT64_C(1024) * 1024)
#define AT(member) offsetof(struct options, member)

const struct option_key option_keys[KEY_COUNT] = {
    [KEY_NAME] = {"Node", "Name", OPTION_NAME, AT(name), "<NAME>", 0, 0,
                  "The node's name; the same as on the command line.", .reloads = false},
    [KEY_LISTEN_CLIENTS] = {"Node", "ListenClients", OPTION_LISTEN, AT(listen_clients),
                            "127.0.0.1:4711", 0, 0, "Where to listen for clients.",
                            .reloads = false},
    [KEY_LISTEN_PEERS] = {"Node", "ListenPeers", OPTION_LISTEN, AT(listen_peers), "127.0.0.1:4712",
                          0, 0, "Where to listen for the other nodes.", .reloads = false},
    [KEY_ADVERTISE_CLIENTS] = {"Node", "AdvertiseClients", OPTION_ADVERTISE, AT(advertise_clients),
                               "<ListenClients=>", 0, 0,
                               "Where clients reach this node; needed when it listens on a "
                               "wildcard.",
                               .reloads = false},
    [KEY_ADVERTISE_PEERS] = {"Node", "AdvertisePeers", OPTION_ADVERTISE, AT(advertise_peers),
                             "<ListenPeers=>", 0, 0,
                             "Where the other nodes reach this one; needed when it listens on a "
                             "wildcard.",
                             .reloads = false},
    [KEY_DATA_DIRECTORY] = {"Node", "DataDirectory", OPTION_PATH, AT(data_directory),
                            "</var/lib/raftkv/NAME>", 0, 0, "Where log and state are kept.",
                            .reloads = false},
    [KEY_BOOTSTRAP] = {"Node", "Bootstrap", OPTION_BOOLEAN, AT(bootstrap), "no", 0, 0,
                       "Makes a cluster of one out of an empty data directory; safe to leave.",
                       .reloads = false},
    [KEY_JOIN] = {"Node", "Join", OPTION_ADDRESSES, AT(join), "<nobody>", 0, 0,
                  "Nodes (HOST:PORT ...) to ask to be taken into their cluster, with an empty data "
                  "directory; safe to leave.",
                  .reloads = false},
    [KEY_ALLOW_JOIN] =
        {"Node", "AllowJoin", OPTION_POLICY, AT(allow_join), "ask", 0, 0,
         "What becomes of nodes that ask this one, as leader, to be taken in: no, ask, "
         "nonvoter or voter.",
         .reloads = true},
    [KEY_MAX_CONNECTIONS] = {"Node", "MaxConnections", OPTION_COUNT, AT(max_connections), "10000",
                             1, CLIENT_CONNECTIONS_MAX, "Client connections at a time.",
                             .reloads = true},
    [KEY_MAX_IN_FLIGHT] = {"Node", "MaxInFlight", OPTION_COUNT, AT(max_in_flight), "1024", 1,
                           CLIENT_IN_FLIGHT_MAX,
                           "Requests under way on one client connection; further ones wait.",
                           .reloads = true},
    [KEY_STATE_CACHE_BYTES] = {"Node", "StateCacheBytes", OPTION_SIZE, AT(state_cache_size), "16M",
                               1 * MIB, 65536 * MIB, "Memory for pages of the state.",
                               .reloads = false},
    [KEY_ENTRY_CACHE_BYTES] = {"Node", "EntryCacheBytes", OPTION_SIZE, AT(entry_cache_size), "8M",
                               1 * MIB, 65536 * MIB,
                               "Memory for recent log entries, from which followers are served.",
                               .reloads = false},
    [KEY_STOP_TIMEOUT] = {"Node", "StopTimeoutSec", OPTION_SPAN, AT(stop_timeout), "10s", 0, 600000,
                          "How long a stop may wait for what is under way.", .reloads = true},
    [KEY_RESERVE_BYTES] = {"Node", "ReserveBytes", OPTION_SIZE, AT(reserve_bytes), "64M", 32 * MIB,
                           65536 * MIB,
                           "Free space that the disk has to keep; with less, a leader hands over.",
                           true},
    [KEY_ELECTION_TIMEOUT] = {"Raft", "ElectionTimeoutSec", OPTION_SPAN, AT(election_timeout), "1s",
                              50, 60000,
                              "How long a follower waits for its leader before it calls an "
                              "election.",
                              .reloads = false},
    [KEY_HEARTBEAT] = {"Raft", "HeartbeatSec", OPTION_SPAN, AT(heartbeat), "100ms", 10, 20000,
                       "How often a leader shows that it is there; at most a third of the election "
                       "timeout.",
                       .reloads = false},
    [KEY_SNAPSHOT_ENTRIES] = {"Raft", "SnapshotEntries", OPTION_COUNT, AT(snapshot_entries),
                              "100000", 10, 1000000000,
                              "Entries after which the state is flushed and the log cut.",
                              .reloads = true},
    [KEY_SNAPSHOT_BYTES] = {"Raft", "SnapshotBytes", OPTION_SIZE, AT(snapshot_bytes), "64M",
                            1 * MIB, 65536 * MIB, "Bytes of entries after which the same is done.",
                            true},
    [KEY_TRAILING_ENTRIES] = {"Raft", "TrailingEntries", OPTION_COUNT, AT(trailing_entries),
                              "10240", 1, 1000000000,
                              "Entries that the log keeps when it is cut, for followers that are "
                              "behind.",
                              true},
    [KEY_TRAILING_BYTES] = {"Raft", "TrailingBytes", OPTION_SIZE, AT(trailing_bytes), "64M",
                            1 * MIB, 65536 * MIB, "At most so many bytes of them.",
                            .reloads = true},
    [KEY_AUTO_PROMOTE] = {"Raft", "AutoPromote", OPTION_COUNT, AT(auto_promote), "0", 0,
                          MEMBERS_MAX,
                          "Voters that are to answer: while fewer do, a non-voter takes the place "
                          "of a voter that is silent for long; 0 is off.",
                          .reloads = true},
    [KEY_AUTO_PROMOTE_AFTER] = {"Raft", "AutoPromoteAfterSec", OPTION_SPAN, AT(auto_promote_after),
                                "5min", 1000, 7 * 24 * 3600 * 1000,
                                "How long a voter has to be silent to be replaced; at least four "
                                "election timeouts.",
                                .reloads = true},
};

/* What is read so far. */
struct loading {
    struct options options;
    bool failed;
    struct {
        char *file; /* NULL: the default */
        unsigned line;
    } places[KEY_COUNT]; /* where each key was set */
    option_report report;
    void *report_data;
};

static void loading_deinit(struct loading *loading) {
    for (size_t i = 0; i < KEY_COUNT; i++)
        free(loading->places[i].file);
}

static void report_forward(void *data, int priority, const char *file, unsigned line,
                           const char *message) {
    struct loading *loading = data;

    if (priority <= LOG_ERR)
        loading->failed = true;
    loading->report(loading->report_data, priority, file, line, message);
}

static void report(struct loading *loading, int priority, const char *file, unsigned line,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

static void report(struct loading *loading, int priority, const char *file, unsigned line,
                   const char *format, ...) {
    char message[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (char *c = message; *c; c++) /* values can hold anything */
        if (iscntrl((unsigned char)*c))
            *c = '?';
    report_forward(loading, priority, file, line, message);
}

const char *option_allowed(const struct option_key *key, char *buffer, size_t size) {
    char minimum[VALUE_TEXT_MAX], maximum[VALUE_TEXT_MAX];

    switch (key->type) {
    case OPTION_NAME:
        snprintf(buffer, size,
                 "a name of letters, digits and _, not beginning with a digit, at most %d "
                 "characters",
                 MEMBER_NAME_MAX);
        break;
    case OPTION_LISTEN:
        snprintf(buffer, size,
                 "HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:4711, [::1]:4711 or "
                 "0.0.0.0:4711");
        break;
    case OPTION_ADVERTISE:
        snprintf(buffer, size,
                 "HOST:PORT that others can connect to, such as db1.example.org:4711, "
                 "192.0.2.1:4711 or [2001:db8::1]:4711");
        break;
    case OPTION_ADDRESSES:
        snprintf(buffer, size,
                 "1 to %d times HOST:PORT, with blanks between, where nodes listen for peers",
                 JOIN_ADDRESSES_MAX);
        break;
    case OPTION_POLICY:
        snprintf(buffer, size, "no, ask, nonvoter or voter");
        break;
    case OPTION_PATH:
        snprintf(buffer, size, "an absolute path of less than %d bytes", PATH_MAX);
        break;
    case OPTION_BOOLEAN:
        snprintf(buffer, size, "yes or no");
        break;
    case OPTION_COUNT:
        snprintf(buffer, size, "a whole number from %" PRIu64 " to %" PRIu64, key->minimum,
                 key->maximum);
        break;
    case OPTION_SIZE:
        snprintf(buffer, size, "a size from %s to %s, such as %s",
                 size_format(key->minimum, minimum), size_format(key->maximum, maximum),
                 key->preset);
        break;
    case OPTION_SPAN:
        snprintf(buffer, size, "a time span from %s to %s, such as %s",
                 span_format(key->minimum, minimum), span_format(key->maximum, maximum),
                 key->preset);
        break;
    }
    return buffer;
}

static int text_set(struct options *options, const struct option_key *key, const char *value) {
    size_t size = key->type == OPTION_NAME   ? sizeof options->name
                  : key->type == OPTION_PATH ? sizeof options->data_directory
                                             : ADDRESS_MAX + 1;

    if (strlen(value) >= size)
        return -EINVAL;
    strcpy((char *)options + key->offset, value);
    return 0;
}

static int addresses_set(struct options *options, const char *value) {
    char joined[sizeof options->join] = "", *rest = NULL;
    _cleanup_free_ char *copy = xstrdup(value);
    unsigned count = 0;

    for (char *word = strtok_r(copy, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (++count > JOIN_ADDRESSES_MAX || !address_valid(word) || address_is_wildcard(word))
            return -EINVAL;
        if (count > 1)
            strcat(joined, " ");
        strcat(joined, word); /* an address that is valid is short enough */
    }
    strcpy(options->join, joined);
    return 0;
}

static bool listen_valid(const char *value) {
    char host[ADDRESS_MAX + 1];
    unsigned port;

    return address_split(value, host, &port) == 0 && port != 0;
}

static int number_set(struct options *options, const struct option_key *key, const char *value) {
    uint64_t number = 0;
    int r = key->type == OPTION_COUNT  ? count_parse(value, &number)
            : key->type == OPTION_SIZE ? size_parse(value, &number)
                                       : span_parse(value, &number);

    if (r < 0)
        return r;
    if (number < key->minimum || number > key->maximum)
        return -ERANGE;
    *(uint64_t *)(void *)((char *)options + key->offset) = number;
    return 0;
}

/* Negative errno, changing nothing, when the value is not allowed. */
static int value_set(struct options *options, const struct option_key *key, const char *value) {
    switch (key->type) {
    case OPTION_NAME:
        return member_name_valid(value) ? text_set(options, key, value) : -EINVAL;
    case OPTION_LISTEN:
        return listen_valid(value) ? text_set(options, key, value) : -EINVAL;
    case OPTION_ADVERTISE:
        return address_valid(value) && !address_is_wildcard(value) ? text_set(options, key, value)
                                                                   : -EINVAL;
    case OPTION_ADDRESSES:
        return addresses_set(options, value);
    case OPTION_POLICY:
        return policy_parse(value, (uint64_t *)(void *)((char *)options + key->offset));
    case OPTION_PATH:
        return value[0] == '/' ? text_set(options, key, value) : -EINVAL;
    case OPTION_BOOLEAN:
        return boolean_parse(value, (bool *)((char *)options + key->offset));
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_SPAN:
        return number_set(options, key, value);
    }
    return -EINVAL;
}

/* Sets what does not depend on other keys; the others become empty and are filled in the end. */
static void preset(struct options *options, const struct option_key *key) {
    if (key->preset[0] == '<')
        *((char *)options + key->offset) = 0;
    else
        check(value_set(options, key, key->preset) == 0);
}

static const struct option_key *key_find(const char *section, const char *name) {
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(option_keys[i].section, section) == 0 && strcmp(option_keys[i].name, name) == 0)
            return &option_keys[i];
    return NULL;
}

static bool section_known(const char *section) {
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(option_keys[i].section, section) == 0)
            return true;
    return false;
}

static void take_section(void *data, const char *file, unsigned line, const char *section) {
    if (!section_known(section))
        report(data, LOG_WARNING, file, line, "unknown section [%.100s], ignored", section);
}

static void take_key(void *data, const char *file, unsigned line, const char *section,
                     const char *name, const char *value) {
    struct loading *loading = data;
    const struct option_key *key = key_find(section, name);
    char allowed[256];

    if (!key && !section[0])
        report(loading, LOG_WARNING, file, line, "%.100s= stands before any section, ignored",
               name);
    else if (!key && section_known(section))
        report(loading, LOG_WARNING, file, line, "unknown key %.100s= in [%s], ignored", name,
               section);
    if (!key)
        return;
    if (!*value) {
        preset(&loading->options, key);
        free(TAKE(loading->places[key - option_keys].file));
        return;
    }
    if (value_set(&loading->options, key, value) < 0) {
        report(loading, LOG_ERR, file, line, "%s=%.300s is wrong; allowed is %s", name, value,
               option_allowed(key, allowed, sizeof allowed));
        return;
    }
    free(loading->places[key - option_keys].file);
    loading->places[key - option_keys].file = xstrdup(file);
    loading->places[key - option_keys].line = line;
}

/* ---- what holds between keys ---- */

/* Where to look for a key that is wrong: where it was set, or else `file` as a whole. */
static const char *place(const struct loading *loading, int key, const char *file,
                         unsigned *ret_line) {
    bool is_set = loading->places[key].file;

    *ret_line = is_set ? loading->places[key].line : 0;
    return is_set ? loading->places[key].file : file;
}

static void settle_name(struct loading *loading, const char *name, const char *file) {
    struct options *options = &loading->options;
    unsigned line;
    const char *where = place(loading, KEY_NAME, file, &line);

    if (!name && !options->name[0])
        report(loading, LOG_ERR, where, line,
               "[Node] Name= must say the node's name, because the command line does not");
    else if (name && options->name[0] && strcmp(name, options->name) != 0)
        report(loading, LOG_ERR, where, line,
               "Name=%s is wrong; the command line calls this node %s, and both must agree",
               options->name, name);
    else if (name)
        strcpy(options->name, name);
    if (!options->data_directory[0])
        snprintf(options->data_directory, sizeof options->data_directory, "/var/lib/raftkv/%s",
                 options->name);
}

static void settle_advertised(struct loading *loading, int listen, int advertise,
                              const char *file) {
    const char *listened = (char *)&loading->options + option_keys[listen].offset;
    char *advertised = (char *)&loading->options + option_keys[advertise].offset;
    unsigned line;
    const char *where = place(loading, listen, file, &line);

    if (advertised[0])
        return;
    if (address_is_wildcard(listened))
        report(loading, LOG_ERR, where, line,
               "%s=%s is a wildcard; then %s= must say at which address others reach this node",
               option_keys[listen].name, listened, option_keys[advertise].name);
    else
        strcpy(advertised, listened);
}

static void settle_beginning(struct loading *loading, const char *file) {
    unsigned line;
    const char *where = place(loading, KEY_JOIN, file, &line);

    if (loading->options.bootstrap && loading->options.join[0])
        report(loading, LOG_ERR, where, line,
               "Join= and Bootstrap=yes are both set; a node begins a cluster or joins one");
}

static void settle_heartbeat(struct loading *loading, const char *file) {
    const struct options *options = &loading->options;
    char heartbeat[VALUE_TEXT_MAX], election[VALUE_TEXT_MAX], third[VALUE_TEXT_MAX];
    int key = loading->places[KEY_HEARTBEAT].file ? KEY_HEARTBEAT : KEY_ELECTION_TIMEOUT;
    unsigned line;
    const char *where = place(loading, key, file, &line);

    if (options->heartbeat <= options->election_timeout / 3)
        return;
    report(loading, LOG_ERR, where, line,
           "HeartbeatSec=%s%s is wrong; allowed is at most a third of ElectionTimeoutSec=%s%s, "
           "which is %s",
           span_format(options->heartbeat, heartbeat),
           loading->places[KEY_HEARTBEAT].file ? "" : " (the default)",
           span_format(options->election_timeout, election),
           loading->places[KEY_ELECTION_TIMEOUT].file ? "" : " (the default)",
           span_format(options->election_timeout / 3, third));
}

static void settle_auto_promote(struct loading *loading, const char *file) {
    const struct options *options = &loading->options;
    char after[VALUE_TEXT_MAX], election[VALUE_TEXT_MAX];
    unsigned line;
    const char *where = place(loading, KEY_AUTO_PROMOTE_AFTER, file, &line);

    if (options->auto_promote == 0 || options->auto_promote_after >= 4 * options->election_timeout)
        return;
    report(loading, LOG_ERR, where, line,
           "AutoPromoteAfterSec=%s is wrong; allowed is at least four times ElectionTimeoutSec=%s",
           span_format(options->auto_promote_after, after),
           span_format(options->election_timeout, election));
}

static void settle_listeners(struct loading *loading, const char *file) {
    const struct options *options = &loading->options;
    int key = loading->places[KEY_LISTEN_PEERS].file ? KEY_LISTEN_PEERS : KEY_LISTEN_CLIENTS;
    unsigned line;
    const char *where = place(loading, key, file, &line);

    if (strcmp(options->listen_clients, options->listen_peers) == 0)
        report(loading, LOG_ERR, where, line,
               "ListenClients= and ListenPeers= are both %s; they must differ",
               options->listen_peers);
}

/* ---- files ---- */

static int is_drop_in(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".conf") == 0;
}

/* By bytes, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_drop_ins(struct loading *loading, const char *file,
                          const struct options_file_handler *handler) {
    _cleanup_free_ char *directory = xasprintf("%s.d", file);
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_drop_in, by_name);

    if (count < 0 && errno != ENOENT)
        report(loading, LOG_ERR, directory, 0, "the drop-ins can't be listed: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", directory, entries[i]->d_name);

        options_file_read(path, handler);
        free(entries[i]);
    }
    free(entries);
}

int options_load(struct options *ret, const char *name, const char *file, option_report report_to,
                 void *data) {
    _cleanup_(loading_deinit) struct loading loading = {.report = report_to, .report_data = data};
    const struct options_file_handler handler = {
        .data = &loading,
        .section = take_section,
        .key = take_key,
        .report = report_forward,
        .report_data = &loading,
    };

    check(!name || member_name_valid(name));
    for (size_t i = 0; i < KEY_COUNT; i++)
        preset(&loading.options, &option_keys[i]);
    options_file_read(file, &handler);
    read_drop_ins(&loading, file, &handler);
    settle_name(&loading, name, file);
    settle_advertised(&loading, KEY_LISTEN_CLIENTS, KEY_ADVERTISE_CLIENTS, file);
    settle_advertised(&loading, KEY_LISTEN_PEERS, KEY_ADVERTISE_PEERS, file);
    settle_listeners(&loading, file);
    settle_beginning(&loading, file);
    settle_heartbeat(&loading, file);
    settle_auto_promote(&loading, file);
    if (loading.failed)
        return ERROR_INVALID_ARGUMENT;
    *ret = loading.options;
    return 0;
}
