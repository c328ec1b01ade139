#include "stand.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "raft/codec.h"

enum { ELECTION_MS = 1000, HEARTBEAT_MS = 100, CACHE_SIZE = 4096 };

struct stand stand;

/* ---- what a message may say ---- */

/* The word of a term, or a vote in it, is given only when it is durable. */
static void check_term(uint64_t term) {
    check(term <= stand.term);
}

static void check_vote(uint64_t term, uint64_t vote) {
    check(stand.term > term || (stand.term == term && stand.vote == vote));
}

static void check_append(const Raftkv__V1__AppendEntries *append) {
    const struct entries *entries = &stand.member->entries;

    check_term(append->term);
    check(append->n_entries <= APPEND_ENTRIES_MAX);
    for (size_t i = 0; i < append->n_entries; i++) {
        check(append->entries[i]->type != RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE ||
              append->n_entries == 1);
        check(append->entries[i]->term == entries_term(entries, append->prev_log_index + 1 + i));
    }
}

/* What is confirmed is durable. The answer to an earlier term may have waited for the vote in this
 * one, and what it rightly confirmed then been cut off meanwhile: it is only late. */
static void check_result(const Raftkv__V1__AppendEntriesResult *result) {
    check_term(result->term);
    if (result->rejected > 0 || result->term < stand.member->raft.current_term)
        return;
    check(result->last_log_index <= stand.last);
    /* The state that takes the place of the log has it. */
    if (stand.installing && result->last_log_index <= stand.staged.index)
        return;
    if (result->last_log_index >= stand.first)
        check(stand.log[result->last_log_index].term ==
              entries_term(&stand.member->entries, result->last_log_index));
}

static void check_message(uint64_t to, const Raftkv__V1__PeerMessage *peer) {
    switch (peer->body_case) {
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES:
        check_append(peer->append_entries);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT:
        check_result(peer->append_entries_result);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE:
        if (peer->request_vote->pre_vote)
            check_term(peer->request_vote->term - 1);
        else
            check_vote(peer->request_vote->term, STAND_OWN_ID);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT:
        if (peer->request_vote_result->granted && !peer->request_vote_result->pre_vote)
            check_vote(peer->request_vote_result->term, to);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW:
        check_term(peer->timeout_now->term);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT:
        check_term(peer->install_snapshot->term);
        check(peer->install_snapshot->last_index <= stand.applied);
        break;
    default:
        break;
    }
}

static void trace_append(const char *way, uint64_t id, const Raftkv__V1__AppendEntries *append) {
    fuzz_trace("%s %" PRIu64 ": append in term %" PRIu64 " behind %" PRIu64 "^%" PRIu64
               ", commit %" PRIu64,
               way, id, append->term, append->prev_log_index, append->prev_log_term,
               append->leader_commit);
    for (size_t i = 0; i < append->n_entries; i++)
        fuzz_trace("    term %" PRIu64 " type %d, %zu bytes", append->entries[i]->term,
                   (int)append->entries[i]->type, append->entries[i]->data.len);
}

static void trace_message(const char *way, uint64_t id, const Raftkv__V1__PeerMessage *peer) {
    const Raftkv__V1__AppendEntriesResult *result = peer->append_entries_result;
    const Raftkv__V1__RequestVoteResult *granted = peer->request_vote_result;
    const Raftkv__V1__RequestVote *vote = peer->request_vote;

    switch (peer->body_case) {
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES:
        trace_append(way, id, peer->append_entries);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT:
        fuzz_trace("%s %" PRIu64 ": result in term %" PRIu64 ", rejected %" PRIu64
                   ", last %" PRIu64,
                   way, id, result->term, result->rejected, result->last_log_index);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE:
        fuzz_trace("%s %" PRIu64 ": %s in term %" PRIu64 ", last %" PRIu64 "^%" PRIu64, way, id,
                   vote->pre_vote ? "pre-vote" : "vote", vote->term, vote->last_log_index,
                   vote->last_log_term);
        break;
    case RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT:
        fuzz_trace("%s %" PRIu64 ": %s %s in term %" PRIu64, way, id,
                   granted->pre_vote ? "pre-vote" : "vote",
                   granted->granted ? "granted" : "refused", granted->term);
        break;
    default:
        fuzz_trace("%s %" PRIu64 ": a message of type %d", way, id, (int)peer->body_case);
        break;
    }
}

static Raftkv__V1__PeerMessage *decode(const uint8_t *data, size_t size, const char **ret_reason) {
    ProtobufCMessage *message;

    if (unpack(&raftkv__v1__peer_message__descriptor, data, size, &unpack_peer_limits, &message,
               ret_reason) < 0)
        return NULL;
    return (Raftkv__V1__PeerMessage *)message;
}

/* ---- the host ---- */

static uint64_t host_now(struct host *host) {
    (void)host;
    return stand.now;
}

static uint64_t host_microseconds(struct host *host) {
    return host_now(host) * 1000;
}

static uint64_t host_random(struct host *host) {
    (void)host;
    stand.random = stand.random * 6364136223846793005ull + 1442695040888963407ull;
    return stand.random >> 16;
}

static void host_submit(struct host *host, enum lane lane, struct job *job) {
    (void)host;
    (void)lane;
    (void)job;
    check(!"a member runs no jobs");
}

static void host_wake_at(struct host *host, uint64_t time) {
    (void)host;
    (void)time;
}

static void host_send(struct host *host, uint64_t to, bool urgent, uint8_t *data, size_t size) {
    const char *reason;
    Raftkv__V1__PeerMessage *peer = decode(data, size, &reason);

    (void)host;
    (void)urgent;
    check(peer && to != STAND_OWN_ID && to != 0);
    trace_message("to", to, peer);
    check_message(to, peer);
    raftkv__v1__peer_message__free_unpacked(peer, NULL);
    free(data);
}

static size_t host_backlog(struct host *host, uint64_t id) {
    (void)host;
    (void)id;
    return stand.backlog;
}

static bool host_linked(struct host *host, uint64_t id) {
    (void)host;
    (void)id;
    return !stand.cut;
}

static void host_set_peers(struct host *host, const struct peer *peers, size_t count) {
    (void)host;
    (void)peers;
    (void)count;
}

static void host_identify(struct host *host, const char *address, uint64_t timeout_ms,
                          identify_cb callback, void *data) {
    (void)host;
    (void)timeout_ms;
    check(address[0]);
    if (stand.identify_count == STAND_IDENTIFIES_MAX)
        stand_finish_identify(0, 0);
    stand.identifies[stand.identify_count].callback = callback;
    stand.identifies[stand.identify_count].data = data;
    stand.identify_count++;
}

static void host_fatal(struct host *host, const char *reason) {
    (void)host;
    fprintf(stderr, "The member gave up: %s\n", reason);
    check(!"what others say stops a node");
}

/* ---- the effects ---- */

static void effect_persist(void *data, const struct member_write *write) {
    (void)data;
    check(!stand.writing && (write->set_vote || write->count > 0));
    stand.writing = true;
    stand.write = *write;
}

void stand_cut_off(uint64_t index) {
    for (; stand.last >= index; stand.last--)
        free(TAKE(stand.log[stand.last].data));
}

void stand_cut_beginning(uint64_t first) {
    for (; stand.first < first; stand.first++)
        free(TAKE(stand.log[stand.first].data));
}

static void make_durable(void) {
    const struct member_write *write = &stand.write;

    if (write->set_vote) {
        check(write->term >= stand.term);
        check(write->term > stand.term || stand.vote == 0 || write->vote == stand.vote);
        stand.term = write->term;
        stand.vote = write->vote;
    }
    if (write->count == 0)
        return;
    check(write->first_index >= stand.first && write->first_index <= stand.last + 1);
    /* What was applied stays. */
    check(write->first_index > stand.applied);
    stand_cut_off(write->first_index);
    for (size_t i = 0; i < write->count; i++) {
        const struct log_entry *entry = &write->entries[i];

        check(stand.last + 1 < STAND_LOG_MAX && entry->term > 0);
        check(stand.last < stand.first || entry->term >= stand.log[stand.last].term);
        stand.log[++stand.last] = (struct stand_entry){
            .term = entry->term,
            .type = entry->type,
            .data = xmemdup(entry->data, entry->size),
            .size = entry->size,
        };
    }
}

/* Only what is durable here is applied (hazard L5). */
static void effect_apply(void *data, uint64_t first_index, const struct log_entry *entries,
                         size_t count) {
    (void)data;
    check(!stand.applying && count > 0 && first_index == stand.applied + 1);
    stand.applying = true;
    stand.apply_first = first_index;
    stand.apply_entries = entries;
    stand.apply_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct stand_entry *durable = &stand.log[first_index + i];

        check(first_index + i <= stand.last);
        check(durable->term == entries[i].term && durable->type == entries[i].type &&
              durable->size == entries[i].size);
        check(entries[i].size == 0 || memcmp(durable->data, entries[i].data, entries[i].size) == 0);
    }
}

static void effect_load(void *data, uint64_t first_index, size_t count, size_t max_bytes,
                        uint64_t cookie) {
    size_t i = 0;

    (void)data;
    check(first_index >= stand.first && count > 0 && max_bytes > 0);
    while (i < STAND_LOADS_MAX && stand.loads[i].used)
        i++;
    check(i < STAND_LOADS_MAX);
    stand.loads[i].used = true;
    stand.loads[i].first_index = first_index;
    stand.loads[i].cookie = cookie;
    stand.loads[i].count = count;
}

/* No stream is begun here: raft asks again and again. */
static void effect_snapshot_wanted(void *data, uint64_t id) {
    (void)data;
    check(id != STAND_OWN_ID);
}

static void effect_install(void *data, const struct member_mark *mark) {
    (void)data;
    stand_begin_install(mark);
}

static void effect_changed(void *data) {
    (void)data;
}

void stand_finish_write(void) {
    if (!stand.writing)
        return;
    fuzz_trace("a write ends");
    stand.writing = stand.write_before_install = false;
    make_durable();
    member_persisted(stand.member);
}

void stand_finish_apply(void) {
    if (!stand.applying)
        return;
    fuzz_trace("an apply ends");
    stand.applying = false;
    stand.applied += stand.apply_count;
    for (size_t i = 0; i < stand.apply_count; i++)
        if (stand.apply_entries[i].type == ENTRY_CHANGE)
            stand.configuration_index = stand.apply_first + i;
    member_applied(stand.member, "", 0);
}

void stand_finish_load(size_t which, bool empty) {
    struct log_entry entries[APPEND_ENTRIES_MAX];
    uint64_t first_index;
    size_t count = 0, i = which % STAND_LOADS_MAX;

    for (size_t tries = 0; tries < STAND_LOADS_MAX && !stand.loads[i].used; tries++)
        i = (i + 1) % STAND_LOADS_MAX;
    if (!stand.loads[i].used)
        return;
    stand.loads[i].used = false;
    first_index = stand.loads[i].first_index;
    /* What is committed can be read; else the node would rightly stop. */
    if (stand.loads[i].cookie == APPLY_COOKIE)
        empty = false;
    if (first_index < stand.first)
        empty = true; /* cut meanwhile */
    for (; !empty && count < stand.loads[i].count && count < APPEND_ENTRIES_MAX &&
           first_index + count <= stand.last;
         count++) {
        const struct stand_entry *entry = &stand.log[first_index + count];

        entries[count] = (struct log_entry){entry->term, entry->type, entry->data, entry->size};
    }
    member_loaded(stand.member, stand.loads[i].cookie, first_index, entries, count);
}

void stand_finish_identify(size_t which, uint64_t id) {
    struct server server = stand_server(id, MEMBER_VOTER, false);
    struct identity identity = {.member_id = id, .incarnation = 1};
    struct failure failure;
    identify_cb callback;
    void *data;

    if (stand.identify_count == 0)
        return;
    which %= stand.identify_count;
    callback = stand.identifies[which].callback;
    data = stand.identifies[which].data;
    stand.identifies[which] = stand.identifies[--stand.identify_count];
    strcpy(identity.name, server.name);
    strcpy(identity.peer_address, server.peer_address);
    strcpy(identity.client_address, server.client_address);
    failure_set(&failure, ERROR_UNAVAILABLE, "Nobody answers.");
    callback(data, id ? &identity : NULL, id ? NULL : &failure);
}

/* ---- life ---- */

struct server stand_server(uint64_t id, enum member_role role, bool promoting) {
    struct server server = {.id = id, .role = role, .promoting = promoting};

    snprintf(server.name, sizeof server.name, "node%u", (unsigned)id);
    snprintf(server.peer_address, sizeof server.peer_address, "127.0.0.1:%u", (unsigned)id + 5000);
    snprintf(server.client_address, sizeof server.client_address, "127.0.0.1:%u",
             (unsigned)id + 4000);
    return server;
}

static void start(void) {
    size_t count = stand.last + 1 - stand.first;
    _cleanup_free_ struct log_entry *entries = xcalloc(count + 1, sizeof *entries);
    struct member_options options = {
        .host = &stand.host,
        .effects = &stand.effects,
        .identity = &stand.identity,
        .election_timeout = ELECTION_MS,
        .heartbeat = HEARTBEAT_MS,
        .cache_size = CACHE_SIZE,
        .term = stand.term,
        .vote = stand.vote,
        .mark_index = stand.mark.index,
        .mark_term = stand.mark.term,
        .mark_configuration_index = stand.mark.configuration_index,
        .mark_configuration = stand.mark.configuration,
        .mark_configuration_size = stand.mark.configuration_size,
        .first_index = stand.first,
        .entries = entries,
        .entry_count = count,
        .applied_index = stand.applied,
    };
    uint64_t term, vote;

    for (size_t i = 0; i < count; i++) {
        const struct stand_entry *entry = &stand.log[stand.first + i];

        entries[i] = (struct log_entry){entry->term, entry->type, entry->data, entry->size};
    }
    if (stand.configuration_index > 0) {
        const struct stand_entry *entry = &stand.log[stand.configuration_index];
        bool marked = stand.configuration_index < stand.first;

        options.configuration_index = stand.configuration_index;
        options.configuration = marked ? stand.mark.configuration : entry->data;
        options.configuration_size = marked ? stand.mark.configuration_size : entry->size;
    }
    check(member_new(&stand.member, &options, &term, &vote) == 0);
    check(term >= stand.term);
    stand.term = term;
    stand.vote = vote;
    stand.seen_term = stand.seen_commit = 0;
    check(member_start(stand.member) == 0);
}

static void end(void) {
    while (stand.identify_count > 0)
        stand_finish_identify(0, 0);
    stand.member = member_free(stand.member);
    check(stand.open == 0);
    stand.writing = stand.applying = false;
    memset(stand.loads, 0, sizeof stand.loads);
}

void stand_start(const struct configuration *configuration) {
    struct server own = stand_server(STAND_OWN_ID, MEMBER_VOTER, false);

    memset(&stand, 0, sizeof stand);
    stand.now = 100000;
    stand.first = 1;
    stand.random = 42;
    stand.host = (struct host){
        .now = host_now,
        .microseconds = host_microseconds,
        .random = host_random,
        .submit = host_submit,
        .wake_at = host_wake_at,
        .send = host_send,
        .backlog = host_backlog,
        .linked = host_linked,
        .set_peers = host_set_peers,
        .identify = host_identify,
        .fatal = host_fatal,
    };
    stand.effects = (struct member_effects){
        .persist = effect_persist,
        .apply = effect_apply,
        .load = effect_load,
        .snapshot_wanted = effect_snapshot_wanted,
        .install = effect_install,
        .changed = effect_changed,
    };
    stand.identity =
        (struct identity){.cluster_id = 77, .member_id = STAND_OWN_ID, .incarnation = 1};
    strcpy(stand.identity.name, own.name);
    strcpy(stand.identity.peer_address, own.peer_address);
    strcpy(stand.identity.client_address, own.client_address);
    if (configuration->count > 0) {
        struct stand_entry *first = &stand.log[1];

        stand.last = stand.term = first->term = 1;
        first->type = ENTRY_CHANGE;
        configuration_encode(configuration, &first->data, &first->size);
    }
    start();
}

/* What is applied goes from the log, and the mark says what it was. */
static void compact(void) {
    uint64_t configuration_index = stand.configuration_index;

    if (stand.applied < stand.first || configuration_index == 0)
        return;
    stand.mark.index = stand.applied;
    stand.mark.term = stand.log[stand.applied].term;
    stand.mark.configuration_index = configuration_index;
    if (configuration_index >= stand.first) {
        free(stand.mark.configuration);
        stand.mark.configuration = TAKE(stand.log[configuration_index].data);
        stand.mark.configuration_size = stand.log[configuration_index].size;
    }
    stand_cut_beginning(stand.applied + 1);
}

void stand_restart(bool written, bool compacted) {
    fuzz_trace("restart, the last write %s%s", written ? "made" : "lost",
               compacted ? ", compacted" : "");
    if (stand.writing && written)
        make_durable();
    end();
    stand_forget_snapshots(written);
    if (compacted)
        compact();
    start();
}

void stand_stop(void) {
    end();
    stand_forget_snapshots(false);
    stand_cut_off(stand.first);
    member_mark_deinit(&stand.mark);
}

bool stand_has_room(void) {
    return stand.member->entries.last_index + 64 < STAND_LOG_MAX;
}

/* ---- what comes from outside ---- */

void stand_receive(uint64_t from, const uint8_t *data, size_t size) {
    const char *reason = NULL;
    Raftkv__V1__PeerMessage *peer = decode(data, size, &reason);
    int r;

    if (!peer)
        return;
    trace_message("from", from, peer);
    r = member_receive(stand.member, from, peer, &reason);
    if (reason)
        fuzz_trace("    %s", reason);
    check(r == 0 || (r == -EBADMSG && reason));
    raftkv__v1__peer_message__free_unpacked(peer, NULL);
}

static void check_failure(const struct failure *failure) {
    check(failure->code > 0 && failure->code < ERROR_CODE_COUNT && failure->message[0]);
}

static void proposal_done(struct proposal *proposal, const struct failure *failure,
                          const void *result) {
    (void)result;
    if (failure)
        check_failure(failure);
    stand.open--;
    free(proposal);
}

void stand_propose(uint8_t type, size_t size) {
    struct proposal *proposal = xcalloc(1, sizeof *proposal);

    fuzz_trace("a proposal of %zu bytes", size);
    *proposal = (struct proposal){
        .data = xcalloc(1, size), .size = size, .type = type, .done = proposal_done};
    stand.open++;
    member_propose(stand.member, proposal);
}

static void change_done(struct change *change, const struct failure *failure,
                        uint64_t configuration_index, const char *leader) {
    (void)configuration_index;
    if (failure)
        check_failure(failure);
    else
        check(change->kind != CHANGE_TRANSFER || leader);
    stand.open--;
    free(change);
}

void stand_change(enum change_kind kind, uint64_t id, uint64_t expected_index, uint64_t ms) {
    struct change *change = xcalloc(1, sizeof *change);
    struct server server = stand_server(id, MEMBER_VOTER, false);

    fuzz_trace("a change of kind %d for %" PRIu64, (int)kind, id);
    *change = (struct change){.kind = kind,
                              .expected_index = expected_index,
                              .deadline = stand.now + ms,
                              .done = change_done};
    if (id != 0)
        strcpy(change->name, server.name);
    if (kind == CHANGE_ADD_VOTER || kind == CHANGE_ADD_NONVOTER)
        strcpy(change->peer_address, server.peer_address);
    stand.open++;
    member_change(stand.member, change);
}

void stand_pass(uint64_t ms) {
    fuzz_trace("%" PRIu64 " ms pass", ms);
    stand.now += ms;
    if (member_deadline(stand.member) <= stand.now)
        member_tick(stand.member);
}

void stand_look(void) {
    struct member_view view;
    struct configuration peers;

    member_get_view(stand.member, &view);
    check(view.term >= stand.seen_term && view.commit_index >= stand.seen_commit);
    check(view.applied_index == stand.applied);
    check(view.first_index <= view.last_index + 1);
    check(view.commit_index <= view.last_index || view.commit_index == stand.applied);
    check(!view.serving || view.state == MEMBER_LEADER);
    check(view.leader == 0 || view.leader != STAND_OWN_ID || view.state == MEMBER_LEADER);
    if (stand.staged.index > 0 && !member_has_staged(stand.member))
        member_mark_deinit(&stand.staged); /* not wanted any more */
    member_peers(stand.member, &peers);
    check(member_busy(stand.member) || !(stand.writing || stand.applying));
    fuzz_trace("%s in term %" PRIu64 ": log %" PRIu64 " to %" PRIu64 ", durable %" PRIu64
               ", commit %" PRIu64 ", applied %" PRIu64 "%s%s, configuration %" PRIu64 "/%" PRIu64,
               view.state == MEMBER_LEADER      ? "leader"
               : view.state == MEMBER_CANDIDATE ? "candidate"
                                                : "follower",
               view.term, view.first_index, view.last_index, stand.last, view.commit_index,
               view.applied_index, stand.writing ? ", writing" : "",
               stand.applying ? ", applying" : "", stand.member->committed.index,
               (uint64_t)stand.member->raft.configuration_uncommitted_index);
    stand.seen_term = view.term;
    stand.seen_commit = view.commit_index;
}
