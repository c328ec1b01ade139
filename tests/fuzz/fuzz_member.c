/*
 * One member, its guard and libraft, and whatever others say in whatever order: the messages need
 * not come from members that keep to raft's rules. Terms and indexes are mostly given relative to
 * the member's own, or hardly any would be of interest.
 *
 * Input: the roles of the first configuration (2 bytes, 2 bits a server), then operations of one
 * byte and what each takes.
 */
#include "fuzz.h"
#include "stand.h"

static struct input input;

static struct configuration take_configuration(void) {
    struct configuration configuration = {.count = 0};
    uint64_t roles = take_number(&input, 2);

    for (uint64_t id = 1; id <= STAND_IDS; id++) {
        unsigned role = roles >> (2 * (id - 1)) & 3;
        struct server server =
            stand_server(id, role == 1 ? MEMBER_VOTER : MEMBER_STANDBY, role == 3);

        if (role != 0)
            configuration_add(&configuration, &server);
    }
    if (configuration_voters(&configuration) == 0)
        configuration.count = 0;
    return configuration;
}

static uint64_t take_peer(void) {
    return 2 + take_byte(&input) % (STAND_IDS - 1);
}

static uint64_t take_term(void) {
    static const int64_t deltas[] = {0, 0, 0, 1, -1, 2, 1};
    uint64_t term = stand.member->raft.current_term;
    uint8_t choice = take_byte(&input) % 8;

    return choice == 7 ? take_number(&input, 8) : term + (uint64_t)deltas[choice];
}

static uint64_t take_index(void) {
    const struct member *member = stand.member;

    switch (take_byte(&input) % 12) {
    case 0:
    case 1:
    case 2:
        return member->entries.last_index;
    case 3:
        return member->entries.last_index - 1;
    case 4:
        return member->entries.last_index + 1;
    case 5:
        return member->commit_index;
    case 6:
        return member->commit_index + 1;
    case 7:
        return member->applied_index;
    case 8:
        return stand.last;
    case 9:
        return 0;
    case 10:
        return take_byte(&input);
    default:
        return take_number(&input, 8);
    }
}

/* The term of the own entry there, or another one. */
static uint64_t take_term_of(uint64_t index) {
    switch (take_byte(&input) % 8) {
    case 5:
        return stand.member->raft.current_term;
    case 6:
        return take_byte(&input);
    case 7:
        return take_term();
    default:
        return entries_term(&stand.member->entries, index);
    }
}

/* ---- messages ---- */

static void say(uint64_t from, const Raftkv__V1__PeerMessage *peer) {
    size_t size;
    uint8_t *data = pack(&peer->base, 0, &size);

    stand_receive(from, data, size);
    free(data);
}

static void fill_entry(Raftkv__V1__Entry *entry, uint8_t *data) {
    static const size_t sizes[] = {1, 8, 0, 3000};
    uint8_t kind = take_byte(&input);

    raftkv__v1__entry__init(entry);
    entry->type = (Raftkv__V1__EntryType)(kind % 8 < 6 ? 1 + kind % 2 : kind % 8 - 4);
    entry->term = take_term();
    entry->data.len = sizes[kind / 8 % 4];
    entry->data.data = data;
}

static void fill_change(Raftkv__V1__Entry *entry, uint8_t **ret_data) {
    struct configuration configuration = take_configuration();

    raftkv__v1__entry__init(entry);
    entry->type = RAFTKV__V1__ENTRY_TYPE__ENTRY_TYPE_CHANGE;
    entry->term = take_term();
    if (configuration.count > 0)
        configuration_encode(&configuration, ret_data, &entry->data.len);
    entry->data.data = *ret_data;
}

static void say_append(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntries append = RAFTKV__V1__APPEND_ENTRIES__INIT;
    Raftkv__V1__Entry entries[8], *pointers[8];
    static uint8_t data[4096];
    uint8_t *change = NULL;
    uint8_t shape = take_byte(&input);

    append.term = take_term();
    append.prev_log_index = take_index();
    append.prev_log_term = take_term_of(append.prev_log_index);
    append.leader_commit = take_index();
    append.n_entries = shape % 8 == 7 ? 1 : shape % 8;
    append.entries = pointers;
    for (size_t i = 0; i < append.n_entries; i++) {
        pointers[i] = &entries[i];
        if (shape % 8 == 7)
            fill_change(&entries[i], &change);
        else
            fill_entry(&entries[i], data);
    }
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES;
    peer.append_entries = &append;
    say(from, &peer);
    raft_free(change);
}

static void say_append_result(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;

    result.term = take_term();
    result.rejected = take_byte(&input) % 2 ? take_index() : 0;
    result.last_log_index = take_index();
    result.capacity = UINT16_MAX;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    say(from, &peer);
}

static void say_vote(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVote vote = RAFTKV__V1__REQUEST_VOTE__INIT;
    uint8_t flags = take_byte(&input);

    vote.term = take_term();
    vote.last_log_index = take_index();
    vote.last_log_term = take_term_of(vote.last_log_index);
    vote.pre_vote = flags & 1;
    vote.disrupt_leader = flags & 2;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE;
    peer.request_vote = &vote;
    say(from, &peer);
}

static void say_vote_result(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__RequestVoteResult result = RAFTKV__V1__REQUEST_VOTE_RESULT__INIT;
    const struct raft *raft = &stand.member->raft;
    uint8_t flags = take_byte(&input);

    result.term = take_term();
    result.granted = flags & 1;
    result.pre_vote = flags & 2;
    /* Most often the answer that it waits for. */
    if (!(flags & 4) && raft->state == RAFT_CANDIDATE) {
        result.pre_vote = raft->candidate_state.in_pre_vote;
        result.term = raft->current_term + result.pre_vote;
    }
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REQUEST_VOTE_RESULT;
    peer.request_vote_result = &result;
    say(from, &peer);
}

static void say_timeout_now(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__TimeoutNow now = RAFTKV__V1__TIMEOUT_NOW__INIT;

    now.term = take_term();
    now.last_log_index = take_index();
    now.last_log_term = take_term_of(now.last_log_index);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_TIMEOUT_NOW;
    peer.timeout_now = &now;
    say(from, &peer);
}

static void say_removed(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__Removed removed = RAFTKV__V1__REMOVED__INIT;

    removed.configuration_index = take_index();
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_REMOVED;
    peer.removed = &removed;
    say(from, &peer);
}

/* What is staged, or nearly that. */
static void say_install(uint64_t from) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__InstallSnapshot install = RAFTKV__V1__INSTALL_SNAPSHOT__INIT;
    const struct member_mark *mark = &stand.staged;
    uint8_t flags = take_byte(&input);

    install.term = flags & 1 ? take_term() : stand.member->raft.current_term;
    install.last_index = flags & 2 ? take_index() : mark->index;
    install.last_term = flags & 4 ? take_term_of(install.last_index) : mark->term;
    install.configuration_index = flags & 8 ? take_index() : mark->configuration_index;
    install.configuration.data = mark->configuration;
    install.configuration.len = mark->configuration_size - (flags & 16 && mark->index > 0);
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT;
    peer.install_snapshot = &install;
    say(from, &peer);
}

static void say_raw(uint64_t from) {
    struct input bytes = take_part(&input, take_byte(&input));

    stand_receive(from, bytes.data, bytes.size);
}

/* ---- operations ---- */

static void pass(void) {
    static const uint64_t spans[] = {1, 10, 50, 100, 250, 1000, 2500, 20000};

    stand_pass(spans[take_byte(&input) % 8]);
}

static void settle(void) {
    for (size_t i = 0; i < 100 && (stand.writing || stand.applying || stand.installing); i++) {
        stand_finish_install();
        stand_finish_write();
        stand_finish_apply();
        stand_finish_load(i, false);
    }
}

static void propose(void) {
    static const size_t sizes[] = {1, 8, 100, 3000};
    uint8_t byte = take_byte(&input);

    stand_propose(byte % 8 ? ENTRY_COMMAND : ENTRY_BARRIER, sizes[byte / 8 % 4]);
    if (byte & 0x80)
        member_flush(stand.member);
}

static void change(void) {
    uint8_t byte = take_byte(&input);
    uint8_t flags = take_byte(&input);

    stand_change((enum change_kind)(byte % 5), byte / 5 % (STAND_IDS + 1),
                 flags % 8 == 7 ? take_index() : 0, flags & 0x80 ? 10 : 20000);
}

static void finish_one(void) {
    uint8_t byte = take_byte(&input);

    switch (byte % 4) {
    case 0:
        stand_finish_write();
        break;
    case 1:
        stand_finish_apply();
        break;
    case 2:
        stand_finish_load(byte / 4, byte & 0x80);
        break;
    default:
        stand_finish_identify(0, byte / 4 % (STAND_IDS + 1));
    }
}

static void set_links(void) {
    uint8_t byte = take_byte(&input);

    stand.cut = byte & 1;
    stand.backlog = byte & 2 ? 5 * 1024 * 1024 : 0;
    member_flush(stand.member);
}

/* The answer of a follower that has everything, in its member's term. */
static void agree(void) {
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    Raftkv__V1__AppendEntriesResult result = RAFTKV__V1__APPEND_ENTRIES_RESULT__INIT;
    uint64_t from = take_peer();

    result.term = stand.member->raft.current_term;
    result.last_log_index = stand.member->entries.last_index;
    result.capacity = UINT16_MAX;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_APPEND_ENTRIES_RESULT;
    peer.append_entries_result = &result;
    say(from, &peer);
}

/* ---- states ---- */

/* The member's leader streams a state that is some entries ahead of the log, or anywhere. */
static void stage(void) {
    uint8_t ahead = take_byte(&input);
    struct configuration configuration = take_configuration();
    struct member_mark mark = {.term = stand.member->raft.current_term};
    struct member_view view;

    member_get_view(stand.member, &view);
    mark.index = ahead < 0x80 ? view.last_index + ahead % 16 : take_index();
    if (ahead & 0x40)
        mark.term = take_term_of(mark.index);
    mark.configuration_index = ahead & 0x20 ? take_index() : mark.index;
    if (configuration.count == 0)
        configuration = stand.member->committed;
    if (configuration.count == 0)
        return;
    configuration_encode(&configuration, &mark.configuration, &mark.configuration_size);
    stand_stage(view.leader, &mark);
    raft_free(mark.configuration);
}

static void install(void) {
    say_install(take_peer());
}

static void compact(void) {
    uint8_t byte = take_byte(&input);

    stand_compact(byte % 16, byte & 0x20 ? take_index() : UINT64_MAX, byte & 0x10);
}

/* A follower has staged what is applied here. */
static void send_install(void) {
    uint64_t to = take_peer();
    struct member_mark mark;

    if (!member_mark_applied(stand.member, &mark))
        return;
    (void)member_send_install(stand.member, to, &mark);
    member_mark_deinit(&mark);
}

static void restart(void) {
    uint8_t byte = take_byte(&input);

    stand_restart(byte & 1, byte & 2);
}

static void operate(void) {
    static void (*const messages[])(uint64_t from) = {
        say_append,      say_append_result, say_vote, say_vote_result,
        say_timeout_now, say_removed,       say_raw};
    static void (*const others[])(void) = {pass,       settle, propose,   change,
                                           finish_one, agree,  set_links, NULL};
    static void (*const states[])(void) = {
        stage, install, stand_unstage, stand_finish_install, compact, send_install, stage, compact};
    uint8_t byte = take_byte(&input), operation = byte % 16;

    if (byte >= 0xf0)
        states[byte % 8]();
    else if (operation < 7)
        messages[operation](take_peer());
    else if (operation < 14)
        others[operation - 7]();
    else if (operation == 14)
        say_append(take_peer());
    else
        restart();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct configuration configuration;

    journal_set_level(LOG_EMERG);
    input = (struct input){data, size};
    configuration = take_configuration();
    stand_start(&configuration);
    while (input.size > 0 && stand_has_room()) {
        operate();
        stand_look();
    }
    stand_stop();
    return 0;
}
