/*
 * send: messages to other members. Raft names only the range of entries that a server is to get;
 * what is still to be sent is kept as one range a server, and cut into messages as the link has
 * room for them, from memory or from the log. So a slow or absent follower costs no memory here.
 */
#include <string.h>

#include "raft/codec.h"
#include "base/defect.h"
#include "raft/member_internal.h"

enum { LINK_BACKLOG_MAX = 4 * 1024 * 1024 };

struct sender *send_find(struct member *member, uint64_t id) {
    for (size_t i = 0; i < member->sender_count; i++)
        if (member->senders[i].id == id)
            return &member->senders[i];
    return NULL;
}

/* Finds the server's sender or makes one, in the place of one that has left the configuration if
 * need be. */
static struct sender *sender_for(struct member *member, uint64_t id) {
    struct sender *sender = send_find(member, id);
    size_t limit = sizeof member->senders / sizeof member->senders[0];

    if (sender)
        return sender;
    if (member->sender_count < limit)
        sender = &member->senders[member->sender_count++];
    for (size_t i = 0; !sender && i < member->sender_count; i++)
        if (!member_newest_server(member, member->senders[i].id))
            sender = &member->senders[i];
    check(sender);
    *sender = (struct sender){.id = id};
    return sender;
}

void send_heard_from(struct member *member, uint64_t id, uint16_t capacity) {
    struct sender *sender;
    bool changed;

    if (!member_newest_server(member, id))
        return;
    sender = sender_for(member, id);
    changed = (sender->capacity > 0) != (capacity > 0);
    sender->last_contact = member_now(member);
    sender->capacity = capacity;
    if (changed)
        space_advance(member);
}

void send_rejected(struct member *member, uint64_t id) {
    struct sender *sender = send_find(member, id);

    /* What was sent did not connect: unless it goes on from the end, the next range begins anew. */
    if (sender)
        sender->start = 0;
}

void send_lost_office(struct member *member) {
    for (size_t i = 0; i < member->sender_count; i++) {
        const struct sender sender = member->senders[i];

        member->senders[i] = (struct sender){
            .id = sender.id,
            .last_contact = sender.last_contact,
            .capacity = sender.capacity,
        };
    }
}

/* ---- messages that wait for the vote ---- */

static void send_or_hold(struct member *member, uint64_t to, bool urgent, uint8_t *data,
                         size_t size) {
    struct held_message *held;

    if (write_vote_durable(member)) {
        check(!member->held_first);
        member->host->send(member->host, to, urgent, data, size);
        return;
    }
    if (member->held_count == HELD_MESSAGES_MAX) {
        free(data); /* raft repeats what matters */
        return;
    }
    held = xmalloc(sizeof *held);
    *held = (struct held_message){.to = to, .urgent = urgent, .data = data, .size = size};
    if (!member->held_first)
        member->held_last = &member->held_first;
    *member->held_last = held;
    member->held_last = &held->next;
    member->held_count++;
}

void send_release(struct member *member) {
    struct held_message *held;

    if (!write_vote_durable(member))
        return;
    while ((held = member->held_first)) {
        member->held_first = held->next;
        member->held_count--;
        member->host->send(member->host, held->to, held->urgent, held->data, held->size);
        free(held);
    }
}

void send_deinit(struct member *member) {
    struct held_message *held;

    while ((held = member->held_first)) {
        member->held_first = held->next;
        free(held->data);
        free(held);
    }
    member->held_count = 0;
}

/* ---- ranges of entries ---- */

/*
 * Takes over what raft wants sent. While nothing is lost on a link, what was sent from `start` on
 * need not be sent again when raft, probing, asks for it anew; it asks twice from the same place
 * when something was lost.
 */
static void extend_range(struct member *member, struct sender *sender, uint64_t first,
                         uint64_t end) {
    bool repeated = sender->last_previous == first - 1;
    bool idle = member->host->backlog(member->host, sender->id) == 0;
    bool contiguous = sender->end > 0 && first == sender->end;
    bool lost = sender->next < member->entries.first_index; /* the log was cut before it was sent */
    bool connected =
        !lost &&
        (contiguous || (sender->start > 0 && first >= sender->start && first <= sender->end));

    sender->last_previous = first - 1;
    if (connected && !(repeated && idle && !sender->loading)) {
        if (end > sender->end)
            sender->end = end;
        return;
    }
    *sender = (struct sender){
        .id = sender->id,
        .last_contact = sender->last_contact,
        .capacity = sender->capacity,
        .start = first,
        .next = first,
        .end = end,
        .last_previous = first - 1,
    };
}

/* Encodes and sends one AppendEntries of `count` entries. */
static void send_entries(struct member *member, struct sender *sender, uint64_t first_index,
                         const struct log_entry *entries, size_t count) {
    _cleanup_free_ struct raft_entry *raft_entries = xcalloc(count, sizeof *raft_entries);
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES,
        .server_id = sender->id,
        .append_entries =
            {
                .term = member->raft.current_term,
                .prev_log_index = first_index - 1,
                .prev_log_term = entries_term(&member->entries, first_index - 1),
                .leader_commit = member->commit_index,
                .entries = raft_entries,
                .n_entries = (unsigned)count,
            },
    };
    uint8_t *data;
    size_t size;

    for (size_t i = 0; i < count; i++)
        raft_entries[i] = (struct raft_entry){
            .term = entries[i].term,
            .type = (enum raft_entry_type)entries[i].type,
            .buf = {.base = (void *)(uintptr_t)entries[i].data, .len = entries[i].size},
        };
    data = codec_encode(&message, member->entries.last_index, &size);
    member->host->send(member->host, sender->id, false, data, size);
    sender->next = first_index + count;
}

/* How many of these entries go into one message: bounded, and a CHANGE alone (hazard L1). */
static size_t message_size(const struct log_entry *entries, size_t count) {
    size_t bytes = 0, n = 0;

    while (n < count && n < APPEND_ENTRIES_MAX) {
        bytes += entries[n].size;
        if (n > 0 && (bytes > APPEND_BYTES_MAX ||
                      (!DEFECT(CHANGE_IN_THE_MIDDLE) &&
                       (entries[n].type == ENTRY_CHANGE || entries[0].type == ENTRY_CHANGE))))
            break;
        n++;
    }
    return n;
}

static bool send_from_memory(struct member *member, struct sender *sender, uint64_t end) {
    struct log_entry entries[APPEND_ENTRIES_MAX];
    size_t count = 0;

    while (count < APPEND_ENTRIES_MAX && sender->next + count < end) {
        const struct cached_entry *cached = entries_find(&member->entries, sender->next + count);

        if (!cached)
            break;
        entries[count++] = cached->entry;
    }
    if (count == 0)
        return false;
    send_entries(member, sender, sender->next, entries, message_size(entries, count));
    return true;
}

/*
 * Hazard L34: a CHANGE leaves only when it is durable here. A leader that lost its own could need
 * the vote of a server that has it, and with it the longer log, but is no voter any more and
 * neither votes for it nor stands for election.
 */
static uint64_t end_of_sendable(const struct member *member, const struct sender *sender) {
    uint64_t change = member->raft.configuration_uncommitted_index;

    return change > member->durable_index && change < sender->end ? change : sender->end;
}

static void flush_sender(struct member *member, struct sender *sender) {
    struct host *host = member->host;
    uint64_t end;

    if (sender->end > member->entries.last_index + 1)
        sender->end = member->entries.last_index + 1;
    end = end_of_sendable(member, sender);
    while (sender->next < end && !sender->loading && host->linked(host, sender->id) &&
           host->backlog(host, sender->id) < LINK_BACKLOG_MAX) {
        if (send_from_memory(member, sender, end))
            continue;
        if (sender->next < member->entries.first_index)
            return; /* the log no longer has it: a snapshot must be sent */
        sender->loading = true;
        sender->cookie = ++member->next_cookie;
        member->effects->load(member->effects->data, sender->next,
                              end - sender->next < APPEND_ENTRIES_MAX ? end - sender->next
                                                                      : APPEND_ENTRIES_MAX,
                              APPEND_BYTES_MAX, sender->cookie);
    }
}

void send_flush(struct member *member) {
    if (!member_is_leader(member) || !write_vote_durable(member) || member->failed)
        return;
    for (size_t i = 0; i < member->sender_count; i++)
        flush_sender(member, &member->senders[i]);
}

void send_loaded(struct member *member, uint64_t cookie, uint64_t first_index,
                 const struct log_entry *entries, size_t count) {
    for (size_t i = 0; i < member->sender_count; i++) {
        struct sender *sender = &member->senders[i];

        if (!sender->loading || sender->cookie != cookie)
            continue;
        sender->loading = false;
        if (!member_is_leader(member) || first_index != sender->next || count == 0)
            return;
        send_entries(member, sender, first_index, entries, message_size(entries, count));
        flush_sender(member, sender);
        return;
    }
}

/*
 * A heartbeat stands behind everything that was sent (its previous entry is the last one of the
 * pipeline). While entries still wait here it must not wait behind them, nor overtake them as it
 * is: the follower would refuse it, and raft resend all. Then it is anchored where the follower is
 * known to be.
 */
static void anchor_heartbeat(struct member *member, struct sender *sender,
                             struct raft_append_entries *heartbeat) {
    bool waiting = sender->next < sender->end && sender->next >= member->entries.first_index;
    raft_term term;
    raft_index match = 0;

    if (!waiting && !sender->loading && member->host->backlog(member->host, sender->id) == 0)
        return;
    if (raft_match_index(&member->raft, sender->id, &match) != 0)
        return;
    term = match ? entries_term(&member->entries, match) : 0;
    if (match && !term)
        return; /* the log was cut there */
    heartbeat->prev_log_index = match;
    heartbeat->prev_log_term = term;
    if (heartbeat->leader_commit > match)
        heartbeat->leader_commit = match;
}

/* L37: libraft refuses a pre-vote with the term that was asked for, and who asked in one that has
 * passed would never learn of the present one. */
static void say_higher_term(const struct member *member, struct raft_request_vote_result *result) {
    if (result->pre_vote && !result->vote_granted && result->term < member->raft.current_term)
        result->term = member->raft.current_term;
}

static void send_message(struct member *member, struct raft_message *message) {
    struct raft_append_entries *append = &message->append_entries;
    uint8_t *data;
    size_t size;

    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        member->effects->snapshot_wanted(member->effects->data, message->server_id);
        return;
    }
    if (message->type == RAFT_APPEND_ENTRIES) {
        struct sender *sender = sender_for(member, message->server_id);

        if (append->n_entries > 0) {
            extend_range(member, sender, append->prev_log_index + 1,
                         append->prev_log_index + 1 + append->n_entries);
            return;
        }
        anchor_heartbeat(member, sender, append);
    }
    if (message->type == RAFT_REQUEST_VOTE_RESULT)
        say_higher_term(member, &message->request_vote_result);
    data = codec_encode(message, member->entries.last_index, &size);
    send_or_hold(member, message->server_id, true, data, size);
}

void send_messages(struct member *member, struct raft_message *messages, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        send_message(member, &messages[i]);
    send_flush(member);
}

void send_removed(struct member *member, uint64_t id, uint64_t configuration_index) {
    Raftkv__V1__Removed removed = RAFTKV__V1__REMOVED__INIT;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    uint8_t *data;
    size_t size;

    removed.configuration_index = configuration_index;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    peer.removed = &removed;
    data = pack(&peer.base, 0, &size);
    member->host->send(member->host, id, true, data, size);
}
