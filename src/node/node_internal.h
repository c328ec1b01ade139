/* What the files of a node share. Nobody else includes this. */
#pragma once

#include "base/attempts.h"
#include "base/check.h"
#include "base/journal.h"
#include "base/memory.h"
#include "kv/kv.h"
#include "node/node.h"
#include "raft/configuration.h"
#include "raft/effects.h"
#include "store/directory.h"
#include "store/log.h"
#include "store/snapshot.h"
#include "store/stage.h"
#include "store/state.h"

enum {
    KNOWN_MEMBERS_MAX = 256,
    STREAMS_MAX = 2,
    STREAM_WINDOW = 16,                  /* chunks of a state that are kept, on either side, */
    STREAM_BYTES_MAX = 4 * 1024 * 1024,  /* and of how many bytes; the sender ... */
    STAGING_BYTES_MAX = 8 * 1024 * 1024, /* ... and the receiver; another chunk may come on top */
};

/* A member that said hello: what must not go backwards, and which cluster it spoke for. */
struct known_member {
    uint64_t id;
    uint64_t incarnation;
    uint64_t cluster_id;
    uint64_t used;            /* host time */
    uint64_t last_forward_id; /* of what it has forwarded to this node in its run; 0: nothing yet */
    bool forwards_forgotten;  /* it may have: its place here was another's for a while */
};

/* One compaction under way, or what the last ones came to (compaction.c). */
struct compaction {
    bool under_way;
    struct job job;
    struct member_mark mark;
    uint64_t durable_index, keep_from, first_index;
    uint64_t begun;    /* host time */
    uint64_t retry_at; /* host time; the disk was full */
    int result;
    uint64_t entries, bytes; /* applied since the last one began */
    uint64_t covered_bytes;  /* applied between the last one that was completed and this one */
    struct {
        uint64_t count, index, duration_ms, bytes;
    } stats;
};

/* What the state's own log may take between two checkpoints of it. */
enum { CHECKPOINT_BYTES = 16 * 1024 * 1024 };

/* A checkpoint of the state alone (checkpoint.c). */
struct checkpoint {
    bool under_way;
    struct job job;
    int result;
    unsigned running; /* this one, that of a compaction, or one behind the other */
    uint64_t bytes;   /* about what the state's own log took since the last one began */
    uint64_t pages;   /* that the disk had taken then */
};

/* The state's pages on their way to their places (checkpoint.c). */
struct write_back {
    bool under_way;
    struct job job;
    int result;
};

/* One chunk of a stream, kept until it has arrived. */
struct part {
    struct buffer chunk;
    uint64_t sequence;
    bool last;
};

enum stream_phase {
    STREAM_UNUSED,
    STREAM_OPENING, /* the snapshot is being begun on the state lane */
    STREAM_SENDING, /* chunks are made, sent and acknowledged */
    STREAM_STAGED,  /* all has arrived; raft's InstallSnapshot is said until it is installed */
    STREAM_CLOSING, /* the snapshot is being ended on the state lane */
};

/* How far a state has come on its way (progress.c). */
struct progress {
    uint64_t bytes, total; /* that have arrived; about how many there are */
    uint64_t begun, said;  /* host times; the latter in the journal, last */
};

/* The state on its way to one follower (streams.c). */
struct stream {
    struct node *node;
    enum stream_phase phase;
    uint64_t number; /* random, never 0 */
    uint64_t to;
    struct snapshot *snapshot;
    struct member_mark mark;
    struct job job;
    bool job_under_way, abandoned;
    int result;
    struct part window[STREAM_WINDOW]; /* at sequence % STREAM_WINDOW */
    uint64_t made, sent, arrived;      /* sequences up to which that is so */
    bool all_made;
    size_t window_bytes;
    struct progress progress;
    uint64_t last_heard, last_sent;
    uint64_t asked; /* whether what is staged is still there */
};

/* A state that arrives from the leader (staging.c). */
struct staging {
    uint64_t number; /* of the stream; 0: none */
    uint64_t from;
    char from_name[MEMBER_NAME_MAX + 1]; /* as the configuration says that comes with it */
    struct stage *stage;
    struct snapshot_header header;
    struct part queue[STREAM_WINDOW];
    uint64_t received, staged; /* sequences up to which that is so */
    bool all_received;         /* there is none behind the last one */
    struct job job;
    bool job_under_way, complete, abandoned;
    int result;
    struct failure failure;
    struct progress progress;
    uint64_t last_heard;
};

/* A place is free for others once its end was asked for; as many may be closing besides. */
enum { BACKUP_PLACES = 2 * BACKUPS_MAX };
_Static_assert(STREAMS_MAX + BACKUP_PLACES <= SNAPSHOTS_MAX, "each reads a snapshot");

/* A state that a client reads (backups.c). */
struct backup {
    struct node *node;
    uint64_t token; /* 0: unused */
    uint64_t cluster_id, index;
    struct snapshot *snapshot; /* NULL once the last chunk was made */
    struct job job;
    bool job_under_way, ended;
    int result;
    struct buffer header, chunk; /* the chunk: the last one that was made, */
    uint64_t sequence;           /* of this number */
    bool last;
    bool known;               /* a client was told of it */
    uint64_t begun, advanced; /* host times; the latter when a further chunk was made */
    uint64_t taken, total;    /* bytes of the chunks made so far, and about how many there are */
};

/* The switch to a staged state (install.c). */
struct install {
    bool under_way;
    bool identified; /* the cluster id is written, */
    bool switched;   /* and the state is in place: only the log is left to be emptied ... */
    bool reset_put;  /* ... and that is in its buffer */
    struct job job;
    struct stage *stage;
    uint64_t number; /* of the stream that brought it */
    const struct member_mark *mark;
    int result;
    struct failure failure;
    uint64_t retry_at; /* host time; the disk was full */
};

/* The room on the disk (space.c). */
struct space {
    bool under_way, failed;
    struct job job;
    uint64_t look_at;     /* host time */
    uint64_t reserve;     /* bytes below which there is no room for what grows */
    uint64_t free, found; /* bytes */
    int result;
    bool alarm;
};

/* What became of the moves of a member to an address that have failed. */
struct failed_move {
    uint64_t id; /* 0: the place is free */
    char peer_address[ADDRESS_MAX + 1];
    struct failure failure; /* of the last one */
    struct attempts attempts;
    uint64_t silent_until; /* host time; in the journal */
};

/* What a node tells of where it is, and what it does about what others tell (announce.c). */
struct announcement {
    char join[JOIN_ADDRESSES_MAX][ADDRESS_MAX + 1]; /* whom to ask while in no cluster */
    unsigned join_count;
    bool misplaced;                       /* the newest configuration has other addresses */
    uint64_t begun, patience;             /* host time, ms: how long to do without a leader */
    bool under_way, followed;             /* followed: whom the last answer named is being told */
    uint64_t next_at;                     /* host time */
    unsigned unreached;                   /* attempts in a row that nobody answered */
    unsigned turn;                        /* whose it is to be told */
    char leader_address[ADDRESS_MAX + 1]; /* who is to be told next; empty: whose turn it is */
    char said[512];                       /* to the journal, last */

    struct change move; /* of another member, or this one, as leader */
    bool moving;
    struct failed_move failed[MEMBERS_MAX];
};

/* What a member that was removed while it was away is told, and remembers (removal.c). */
struct removal {
    /* As leader: who has asked, in which of its runs, and whether a majority has confirmed since,
     * in this term, that this node leads. */
    uint64_t member_id, incarnation, term;
    bool confirming;
    struct proposal barrier;
    uint64_t confirmed_until; /* host time */

    /* As the one removed. */
    bool writing;
    struct job job;
    uint64_t index; /* of the configuration, as the identity says it or is to say it */
    int result;
};

/* What somebody asked to know in numbers (measure.c). */
struct measure {
    bool under_way;
    struct job job;
    struct log_store_stats log;
    struct state_stats state;
    struct histogram write_latency; /* us, of a write to the log */
};

struct node {
    struct host *host;
    struct identity identity;
    struct directory directory;
    struct log_store *log;
    struct state *state;
    struct member *member;
    struct service *service;
    struct service_node service_node;
    struct member_effects effects;
    bool changed; /* the service has not been told yet */

    /* storage.c */
    struct job persist_job, apply_job;
    struct member_write write;
    int write_result;
    uint64_t write_microseconds; /* how long it took */
    bool write_put; /* everything of the write is in the log's buffer: only the flush is left */
    bool write_overtaken; /* its entries are of the log before a state that is being installed */
    uint64_t write_retry_at;
    uint64_t apply_first;
    const struct log_entry *apply_entries;
    size_t apply_count;
    int apply_result;
    uint64_t apply_retry_at;
    bool apply_has_space, apply_hurries;
    bool apply_held; /* while a checkpoint is behind */
    uint64_t apply_look_at;
    struct kv_result *apply_results;
    size_t apply_capacity;

    struct compaction compaction;         /* compaction.c */
    struct checkpoint checkpoint;         /* checkpoint.c */
    struct write_back write_back;         /* the same */
    struct stream streams[STREAMS_MAX];   /* streams.c */
    struct backup backups[BACKUP_PLACES]; /* backups.c */
    uint64_t staging_not_before;          /* host time; the disk was full */
    struct staging staging;               /* staging.c */
    struct install install;               /* install.c */
    struct space space;                   /* space.c */
    struct measure measure;               /* measure.c */
    struct announcement announcement;     /* announce.c */
    struct removal removal;               /* removal.c */
    struct {
        uint64_t snapshot_entries, snapshot_bytes, trailing_entries, trailing_bytes;
        uint64_t checkpoint_bytes;
        size_t chunk_bytes;
    } limits;
    enum join_policy allow_join;

    /* doors.c */
    struct known_member known[KNOWN_MEMBERS_MAX];
    size_t known_count;
    bool cluster_unwritten; /* the log lane's: the cluster's id found no space */
    uint64_t peers_version; /* of the peers that the host was told to dial */

    /* stop.c */
    bool stopping;
    uint64_t stop_deadline;
    uint64_t farewell_until; /* host time; 0: the others have not been told */
    void (*stopped)(void *data);
    void *stopped_data;
    struct change transfer;
    bool transfer_under_way;
};

/* storage.c */
void storage_init(struct node *node);
void storage_tick(struct node *node);
uint64_t storage_deadline(const struct node *node);
bool storage_busy(const struct node *node);
/* Whether something waits for space, and is on no lane now. */
bool storage_waits(const struct node *node);
/* Goes on with what a checkpoint held, if it holds no longer. */
void storage_resume_apply(struct node *node);
/* The log begins anew: entries of a write that waits and is not in its buffer must not get there.
 */
void storage_overtake(struct node *node);
void storage_deinit(struct node *node);

void storage_fatal(struct node *node, const char *what, int error);
/* The same of the state, of which Berkeley DB may have said more. */
void storage_state_fatal(struct node *node, const char *what, int error);

/* space.c */
void space_init(struct node *node);
/* Something waits for space, or no longer. */
void space_update(struct node *node);
void space_tick(struct node *node);
uint64_t space_deadline(const struct node *node);
bool space_busy(const struct node *node);

/* checkpoint.c */

/* Counts entries that were applied, and starts a checkpoint when there are enough. */
void checkpoint_count(struct node *node, const struct log_entry *entries, size_t count);
/* A checkpoint was submitted; it is done. A compaction begins with one, too. */
void checkpoint_begun(struct node *node);
void checkpoint_ended(struct node *node);
/* So much was applied beside the one under way that it should not take its time; that no more may
 * be until the disk has taken more of its pages. */
bool checkpoint_is_late(const struct node *node);
bool checkpoint_holds_applies(const struct node *node);
/* How many pages one under way has written, of how many; false: none is, or it is not known yet. */
bool checkpoint_progress(const struct node *node, uint64_t *ret_done, uint64_t *ret_total);

/* compaction.c */
/* A mark at this index is in the log, from an earlier run or an installed state; so much behind it
 * was applied since. */
void compaction_begin(struct node *node, uint64_t mark_index, uint64_t entries, uint64_t bytes);
void compaction_start(struct node *node);
void compaction_tick(struct node *node);
uint64_t compaction_deadline(const struct node *node);
/* Counts entries that were applied; when the member knows of it too, a compaction is due if there
 * are enough. */
void compaction_count(struct node *node, const struct log_entry *entries, size_t count);
void compaction_start_if_due(struct node *node);

/* streams.c */
void streams_want(struct node *node, uint64_t id);
void streams_receive_ack(struct node *node, uint64_t from, const Raftkv__V1__SnapshotAck *ack);
void streams_advance(struct node *node);
uint64_t streams_deadline(const struct node *node);
/* The first index that must stay in the log for a stream under way; UINT64_MAX: none. */
uint64_t streams_keep_from(const struct node *node);
bool streams_busy(const struct node *node);
void streams_deinit(struct node *node);

/* staging.c */
/* Takes the chunk out of the message when it has a use for it. */
void staging_receive(struct node *node, uint64_t from, Raftkv__V1__SnapshotPart *part);
void staging_advance(struct node *node);
uint64_t staging_deadline(const struct node *node);
bool staging_busy(const struct node *node);
/* Hands the finished stage over, to be installed, and the number of the stream that brought it. */
struct stage *staging_take(struct node *node, uint64_t *ret_number);
void staging_deinit(struct node *node);

/* progress.c */
struct progress progress_begin(const struct node *node, uint64_t total);
/* For a status, of the caller; `other` is the name of the member on the other side. */
Raftkv__V1__SnapshotProgress *progress_describe(const struct node *node,
                                                const struct progress *progress, const char *other);
/* Says it in the journal, if it was not said a moment ago: what is under way, with which member. */
void progress_say(const struct node *node, struct progress *progress, const char *what,
                  uint64_t index, const char *other);

/* install.c */
void install_start(struct node *node, const struct member_mark *mark);
void install_advance(struct node *node);
uint64_t install_deadline(const struct node *node);

/* events.c: adds the fields of a message in the journal: the term, the cluster, an index (0: none)
 * and the name of the member that it is about (NULL: none). */
void node_event(struct journal_event *event, const struct node *node, uint64_t index,
                const char *about);

/* backups.c: as struct service_node says */
int backups_read(void *data, uint64_t *token, uint64_t sequence, struct failure *failure);
int backups_end(void *data, uint64_t token, struct failure *failure);
void backups_tick(struct node *node);
uint64_t backups_deadline(const struct node *node);
bool backups_busy(const struct node *node);
void backups_deinit(struct node *node);

/* status.c: what the service asks of the node */
void status_compact(void *data);
bool status_compacting(void *data, uint64_t *ret_done, uint64_t *ret_total);
void status_state_failed(void *data, int error);
void status_fill(void *data, Raftkv__V1__MemberStatus *status);

/* measure.c: as struct service_node says */
void measure_start(void *data);
void measure_add(void *data, struct statistics *statistics);

/* announce.c */
void announce_init(struct node *node, const char *join, uint64_t election_timeout);
/* By the newest configuration known here. */
void announce_update_peers(struct node *node, const struct configuration *peers);
void announce_tick(struct node *node);
uint64_t announce_deadline(const struct node *node);

/* removal.c */
void removal_begin(const struct node *node);
/* As serving leader: what to answer to one of this cluster that the committed configuration does
 * not name. */
void removal_answer(struct node *node, const struct identity *from, struct announce_reply *ret);
/* Remembers that this member was told of its removal. */
void removal_note(struct node *node);

/* doors.c */
/* Whether it is in the newest configuration, or was until just now. */
bool doors_is_peer(const struct node *node, uint64_t id);
/* What must be true of every identity that another node claims. */
int doors_check_identity(const struct node *node, const struct identity *from,
                         struct failure *failure);
void doors_adopt(struct node *node, uint64_t from);
/* Before anything of the cluster is written, on the log lane: its id, if that found no space so
 * far.
 */
int doors_write_cluster(struct node *node);
/* The cluster for which a member spoke in its hello; 0: none known. */
uint64_t doors_cluster_of(const struct node *node, uint64_t member_id);
void doors_update_peers(struct node *node);
/* Tells the members that this node takes no requests any more. */
void doors_say_farewell(struct node *node);
/* Whether nothing waits to be sent to them. */
bool doors_all_sent(const struct node *node);

/* stop.c */
void stop_advance(struct node *node);
uint64_t stop_deadline(const struct node *node);
