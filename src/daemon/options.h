/*
 * daemon: the executable raftkvd. It reads the configuration, is the host of a node on libuv and
 * its lanes, opens the doors, and tells systemd and the journal how things are. It decides nothing
 * about requests, raft or storage. May use all rooms.
 *
 * options: the configuration of a node: /etc/raftkv/NAME.conf and the drop-ins in NAME.conf.d/.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

struct options {
    char name[MEMBER_NAME_MAX + 1];
    char listen_clients[ADDRESS_MAX + 1];
    char listen_peers[ADDRESS_MAX + 1];
    char advertise_clients[ADDRESS_MAX + 1];
    char advertise_peers[ADDRESS_MAX + 1];
    char data_directory[PATH_MAX];
    bool bootstrap;
    char join[JOIN_ADDRESSES_MAX * (ADDRESS_MAX + 1)]; /* one blank between two */
    uint64_t allow_join;                               /* enum join_policy */
    uint64_t max_connections;
    uint64_t max_in_flight;
    uint64_t state_cache_size; /* bytes */
    uint64_t entry_cache_size; /* bytes */
    uint64_t stop_timeout;     /* ms */
    uint64_t reserve_bytes;
    uint64_t election_timeout; /* ms */
    uint64_t heartbeat;        /* ms */
    uint64_t snapshot_entries;
    uint64_t snapshot_bytes;
    uint64_t trailing_entries;
    uint64_t trailing_bytes;
    uint64_t auto_promote;       /* voters; 0: off */
    uint64_t auto_promote_after; /* ms */
};

enum option_type {
    OPTION_NAME,      /* of a member */
    OPTION_LISTEN,    /* HOST:PORT, perhaps a wildcard */
    OPTION_ADVERTISE, /* HOST:PORT that others can dial */
    OPTION_ADDRESSES, /* several of them */
    OPTION_PATH,      /* absolute */
    OPTION_POLICY,    /* of AllowJoin= */
    OPTION_BOOLEAN,
    OPTION_COUNT,
    OPTION_SIZE, /* bytes */
    OPTION_SPAN, /* ms */
};

enum {
    KEY_NAME,
    KEY_LISTEN_CLIENTS,
    KEY_LISTEN_PEERS,
    KEY_ADVERTISE_CLIENTS,
    KEY_ADVERTISE_PEERS,
    KEY_DATA_DIRECTORY,
    KEY_BOOTSTRAP,
    KEY_JOIN,
    KEY_ALLOW_JOIN,
    KEY_MAX_CONNECTIONS,
    KEY_MAX_IN_FLIGHT,
    KEY_STATE_CACHE_BYTES,
    KEY_ENTRY_CACHE_BYTES,
    KEY_STOP_TIMEOUT,
    KEY_RESERVE_BYTES,
    KEY_ELECTION_TIMEOUT,
    KEY_HEARTBEAT,
    KEY_SNAPSHOT_ENTRIES,
    KEY_SNAPSHOT_BYTES,
    KEY_TRAILING_ENTRIES,
    KEY_TRAILING_BYTES,
    KEY_AUTO_PROMOTE,
    KEY_AUTO_PROMOTE_AFTER,
    KEY_COUNT
};

/* One key. The table is what the parser obeys, what --help prints, and what the manual pages say.
 */
struct option_key {
    const char *section;
    const char *name;
    enum option_type type;
    size_t offset;        /* in struct options */
    const char *preset;   /* the default, as one would write it; what it is taken from in <...> */
    uint64_t minimum;     /* of counts, sizes and spans */
    uint64_t maximum;     /* included */
    const char *sentence; /* what it is for */
    bool reloads;         /* can change while the node runs */
};

enum { OPTION_VALUE_MAX = 64 }; /* bytes, for option_value() */

extern const struct option_key option_keys[KEY_COUNT];

/* What is allowed for a key, as the end of a sentence: "a size from 1M to 64G, such as 16M". */
const char *option_allowed(const struct option_key *key, char *buffer, size_t size);

/* The value as one would write it. Returns the buffer, or what it points to in *options. */
const char *option_value(const struct options *options, const struct option_key *key,
                         char buffer[static OPTION_VALUE_MAX]);

/*
 * Takes over from `newer` all that can change while a node runs. For each key whose value is
 * another one, also those that need a restart, say_so() is called first.
 */
void options_take_over(struct options *options, const struct options *newer,
                       void (*say_so)(void *data, const struct option_key *key,
                                      const struct options *newer),
                       void *data);

/* Something is wrong (LOG_ERR) or odd (LOG_WARNING) in a file. line 0: the file as a whole. */
typedef void (*option_report)(void *data, int priority, const char *file, unsigned line,
                              const char *message);

/*
 * Reads `file` and then the drop-ins FILE.d/?*.conf in the order of their names; what comes later
 * wins, and an empty value goes back to the default. `name` is what the node was called on the
 * command line, or NULL when only [Node] Name= says it. Everything that is wrong is reported, not
 * only the first. Returns 0, or ERROR_INVALID_ARGUMENT when an error was reported; *ret is
 * untouched then.
 */
int options_load(struct options *ret, const char *name, const char *file, option_report report,
                 void *data);
