/* Every limit that a user can meet, stated once: server, clients and manual pages take it from
 * here. */
#pragma once

#include <stdint.h>

enum {
    KEY_SIZE_MAX = 4096,                /* bytes; a key has at least 1 */
    VALUE_SIZE_MAX = 4 * 1024 * 1024,   /* bytes */
    REQUEST_SIZE_MAX = 8 * 1024 * 1024, /* bytes of one encoded Request or Response */
    CLIENT_FRAME_SIZE_MAX = REQUEST_SIZE_MAX + 64 * 1024,
    PEER_MESSAGE_SIZE_MAX = 9 * 1024 * 1024, /* bytes of one encoded PeerMessage */
    LINK_FRAME_SIZE_MAX = 128 * 1024,        /* bytes of one encoded LinkFrame */
    FRAGMENT_SIZE_MAX = 64 * 1024,           /* bytes of a peer message in one fragment */
    LINK_QUEUE_SIZE_MAX = 64 * 1024 * 1024,  /* bytes waiting to be sent to one peer */
    LIST_ITEMS_DEFAULT = 1000,
    LIST_ITEMS_MAX = 10000,
    LIST_BYTES_DEFAULT = 1024 * 1024,
    LIST_BYTES_MAX = 4 * 1024 * 1024,
    MEMBER_NAME_MAX = 63, /* characters: [A-Za-z_][A-Za-z0-9_]* */
    ADDRESS_MAX = 261,    /* characters of HOST:PORT; a host has at most 253 */
    MEMBERS_MAX = 32,     /* voters and non-voters of one cluster */
    REQUEST_TIMEOUT_DEFAULT_MS = 20 * 1000,
    REQUEST_TIMEOUT_MAX_MS = 3600 * 1000,
    CLIENT_CONNECTIONS_MAX = 10000, /* default of MaxConnections= */
    CLIENT_IN_FLIGHT_MAX = 1024, /* requests under way on one connection, default of MaxInFlight= */
    CLIENT_OUTPUT_MAX =
        32 * 1024 * 1024, /* bytes of answers waiting for one connection to read them */
    CLIENT_OUTPUT_TOTAL_MAX = 512 * 1024 * 1024, /* the same over all client connections */
    PEER_CONNECTIONS_MAX = 256,                  /* incoming links, hellos under way included */
    HELLO_TIMEOUT_MS = 5000,
    CLIENT_RECEIVE_MAX = 256 * 1024 * 1024,  /* bytes of requests that have not arrived whole yet,
                                                over all client connections */
    LINK_URGENT_MAX = 1024,                  /* urgent messages waiting for one peer */
    LINK_URGENT_SIZE_MAX = 16 * 1024 * 1024, /* bytes of them */
    LINKS_RECEIVE_MAX = 512 * 1024 * 1024,   /* bytes of peer messages that have not arrived whole
                                                yet, over all incoming links */
    LINKS_LEARNED_MAX = 16,     /* members that are dialled only because they dialled this node */
    BUS_SENDERS_MAX = 1024,     /* D-Bus connections that are remembered */
    BUS_SENDER_CALLS_MAX = 256, /* calls under way of one D-Bus connection */
    BUS_SENDER_BYTES_MAX = 16 * 1024 * 1024, /* bytes of their arguments */
    BUS_CALLS_MAX = 4096,                    /* calls under way of all D-Bus connections */
    BUS_BYTES_MAX = 128 * 1024 * 1024,       /* bytes of their arguments */
    BUS_OPEN_CALLS_MAX = 256, /* calls under way that anyone may make, of all connections; of those
                                 that look, and of those that wait */
    /* The share that one user has of these, through all connections: a fourth (src/bus/shares.h) */
    BUS_USER_SENDERS_MAX = BUS_SENDERS_MAX / 4, /* with calls under way */
    BUS_USER_CALLS_MAX = BUS_CALLS_MAX / 4,
    BUS_USER_BYTES_MAX = BUS_BYTES_MAX / 4,
    BUS_USER_OPEN_CALLS_MAX = BUS_OPEN_CALLS_MAX / 4,
    BUS_USER_OPERATIONS_MAX = 16, /* of OPERATIONS_MAX, over D-Bus */
    REQUESTS_WAITING_MAX = 20000, /* requests in the service of one node */
    REQUESTS_WAITING_BYTES_MAX = 256 * 1024 * 1024,
    PROPOSALS_IN_FLIGHT_MAX = 16384, /* entries proposed and not applied yet */
    ENTRY_SIZE_MAX = VALUE_SIZE_MAX + KEY_SIZE_MAX + 1024,
    APPEND_BYTES_MAX =
        2 * 1024 * 1024, /* of entries in one AppendEntries, but at least one entry */
    APPEND_ENTRIES_MAX = 1024,
    CONFIGURATION_SIZE_MAX = 64 * 1024, /* of raft's encoding of one */
    LOG_RECORD_SIZE_MAX = 9 * 1024 * 1024,
    STATE_JOURNAL_PAGES_MAX = 4096,    /* of 8 KiB, that a half of the page journal can list */
    SNAPSHOT_ENTRIES_DEFAULT = 100000, /* of SnapshotEntries= */
    SNAPSHOT_BYTES_DEFAULT = 64 * 1024 * 1024, /* of SnapshotBytes= */
    TRAILING_ENTRIES_DEFAULT = 10240,          /* of TrailingEntries= */
    TRAILING_BYTES_DEFAULT = 64 * 1024 * 1024, /* of TrailingBytes= */
    RESERVE_BYTES_DEFAULT = 64 * 1024 * 1024,  /* of ReserveBytes= */
    BACKUPS_MAX = 2,                           /* that clients read at a time from one node */
    BACKUP_IDLE_MS = 30 * 1000,  /* without a request for a further chunk; then it is given up, */
    BACKUP_PACE = 64 * 1024,     /* and when fewer bytes a second were taken in all, */
    BACKUP_GRACE_MS = 60 * 1000, /* but for the first minute */
    OPERATIONS_MAX = 64,         /* long requests that a node keeps an eye on */
    OPERATION_KEPT_MS = 5 * 60 * 1000, /* after its end */
    OPERATION_PROGRESS_MS = 500,       /* between two words of how one comes on */
    JOIN_ADDRESSES_MAX = 16,           /* of Join= */
    JOIN_REQUESTS_MAX = 32,            /* nodes that ask to join a cluster */
    JOIN_KEPT_MS = 20 * 1000,          /* after one has asked last */
    UNREACHED_MS = 30 * 1000,          /* until a node that could not be asked who it is is asked */
    UNREACHED_MAX_MS = 10 * 60 * 1000, /* again by itself; twice as long each time, up to this */
    PROTOCOL_MIN = 1,
    PROTOCOL_MAX = 1,
    FORMAT_VERSION = 1, /* of the data directory */
};
