/*
 * snapshot: when the state takes the place of the log. Compaction tells libraft up to where the log
 * may be cut. A follower that is behind that gets the state itself: it is streamed and staged
 * outside (src/node), and raft's own messages only begin and end it.
 */
#include <errno.h>
#include <string.h>

#include "raft/codec.h"
#include "raft/member_internal.h"

void member_mark_deinit(struct member_mark *mark) {
    free(mark->configuration);
    *mark = (struct member_mark){0};
}

struct member_mark member_mark_copy(const struct member_mark *mark) {
    struct member_mark copy = *mark;

    copy.configuration = xmemdup(mark->configuration, mark->configuration_size);
    return copy;
}

void snapshot_deinit(struct member *member) {
    member_mark_deinit(&member->staged);
    member_mark_deinit(&member->installing_mark);
}

/* ---- compaction ---- */

bool member_mark_applied(const struct member *member, struct member_mark *ret) {
    struct member_mark mark = {
        .index = member->applied_index,
        .term = entries_term(&member->entries, member->applied_index),
        .configuration_index = member->committed.index,
    };

    if (member->installing || mark.index == 0 || mark.term == 0 || member->committed.count == 0)
        return false;
    configuration_encode(&member->committed, &mark.configuration, &mark.configuration_size);
    *ret = mark;
    return true;
}

static int mark_to_raft(const struct member_mark *mark, struct raft_snapshot_metadata *ret) {
    struct configuration configuration;
    const char *reason = NULL;
    int result = configuration_decode(mark->configuration, mark->configuration_size, &configuration,
                                      &reason);

    if (result < 0)
        return result;
    *ret = (struct raft_snapshot_metadata){
        .index = mark->index,
        .term = mark->term,
        .configuration_index = mark->configuration_index,
    };
    configuration_to_raft(&configuration, &ret->configuration);
    return 0;
}

uint64_t member_compacted(struct member *member, const struct member_mark *mark,
                          uint64_t trailing_entries, uint64_t trailing_bytes,
                          uint64_t still_wanted) {
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_SNAPSHOT,
    };
    uint64_t keep_from;

    /* Hazard L13: not while another's snapshot takes the place of the log, and not twice for one
     * index. */
    if (member->failed || member->installing || mark->index <= member->raft.trail.snapshot.index ||
        entries_term(&member->entries, mark->index) != mark->term)
        return 0;
    keep_from = entries_within(&member->entries, mark->index, trailing_bytes);
    if (mark->index >= trailing_entries && keep_from < mark->index - trailing_entries + 1)
        keep_from = mark->index - trailing_entries + 1;
    if (keep_from > still_wanted)
        keep_from = still_wanted;
    if (keep_from < member->entries.first_index)
        keep_from = member->entries.first_index;
    if (keep_from > mark->index + 1)
        keep_from = mark->index + 1;
    check(mark_to_raft(mark, &event.snapshot.metadata) == 0);
    event.snapshot.trailing = (unsigned)(mark->index + 1 - keep_from);
    if (!member_step(member, &event))
        return 0;
    return keep_from;
}

void member_log_cut(struct member *member, uint64_t first_index) {
    if (first_index > member->entries.first_index)
        entries_cut(&member->entries, first_index);
    member_changed(member);
}

/* ---- the leader ---- */

bool member_needs_snapshot(const struct member *member, uint64_t id) {
    raft_index match = 0;

    if (!member_is_leader(member) || raft_match_index(&member->raft, id, &match) != 0)
        return false;
    /* As libraft sees it: the term of what matches is no longer known, also when that is the entry
     * right before the log. */
    if (match == 0)
        return member->raft.trail.offset > 0;
    return match <= member->raft.trail.offset && match != member->raft.trail.snapshot.index;
}

bool member_send_install(struct member *member, uint64_t id, const struct member_mark *mark) {
    Raftkv__V1__InstallSnapshot install = RAFTKV__V1__INSTALL_SNAPSHOT__INIT;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    uint8_t *data;
    size_t size;

    if (!member_needs_snapshot(member, id) || !write_vote_durable(member))
        return false;
    install.term = member->raft.current_term;
    install.last_index = mark->index;
    install.last_term = mark->term;
    install.configuration_index = mark->configuration_index;
    install.configuration.data = mark->configuration;
    install.configuration.len = mark->configuration_size;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_INSTALL_SNAPSHOT;
    peer.install_snapshot = &install;
    data = pack(&peer.base, 0, &size);
    member->host->send(member->host, id, true, data, size);
    return true;
}

/* ---- the follower ---- */

void member_staged(struct member *member, const struct member_mark *mark) {
    member_mark_deinit(&member->staged);
    if (mark)
        member->staged = member_mark_copy(mark);
}

bool member_has_staged(const struct member *member) {
    return member->staged.index > 0 || member->installing;
}

static bool is_staged(const struct member *member, const Raftkv__V1__InstallSnapshot *message) {
    const struct member_mark *staged = &member->staged;

    return staged->index > 0 && staged->index == message->last_index &&
           staged->term == message->last_term &&
           staged->configuration_index == message->configuration_index &&
           staged->configuration_size == message->configuration.len &&
           memcmp(staged->configuration, message->configuration.data, staged->configuration_size) ==
               0;
}

/*
 * raft hears of a snapshot only when all of it is staged here, and one at a time (hazards L13,
 * L15); `data` is a token, because the state does not go through raft.
 */
int snapshot_receive(struct member *member, uint64_t from,
                     const Raftkv__V1__InstallSnapshot *install, const char **ret_reason) {
    struct raft_snapshot_metadata metadata;
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = from,
        .server_address = "peer",
    };
    struct raft_install_snapshot *args = &message.install_snapshot;
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_RECEIVE,
        .receive = {.message = &message},
    };

    if (install->term == 0 || install->term >= CODEC_NUMBER_LIMIT || install->last_index == 0 ||
        install->last_index >= CODEC_NUMBER_LIMIT || install->last_term == 0 ||
        install->last_term > install->term) {
        *ret_reason = "an impossible snapshot";
        return -EBADMSG;
    }
    /* The state must not be on the disk before the term that it is of: its leader's appends have
     * brought that, and it is durable. */
    if (install->term != member->raft.current_term || !write_vote_durable(member))
        return 0; /* the leader says it again */
    if (member->installing || !is_staged(member, install) ||
        install->last_index <= member->applied_index || member->applying ||
        member->raft.state == RAFT_LEADER)
        return 0;
    if (install->term == member->guard.leader_term && member->guard.leader_id != from) {
        *ret_reason = "its term has another leader";
        return -EBADMSG;
    }
    check(mark_to_raft(&member->staged, &metadata) == 0);
    args->version = 2;
    args->term = install->term;
    args->last_index = metadata.index;
    args->last_term = metadata.term;
    args->conf_index = metadata.configuration_index;
    args->conf = metadata.configuration;
    args->data.base = raft_calloc(1, 8);
    args->data.len = 8;
    check(args->data.base);
    member->leader_heard = event.time;
    member_step(member, &event);
    if (!member->installing)
        member_staged(member, NULL); /* the log has all of it */
    return 0;
}

void snapshot_begin_install(struct member *member, struct raft_update *update) {
    struct raft_snapshot_metadata *metadata = &update->snapshot.metadata;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_INSTALLING);

    check(!member->installing && member->staged.index == metadata->index);
    raft_free(update->snapshot.chunk.base);
    raft_configuration_close(&metadata->configuration); /* a new one is made when it is installed */
    member->installing = true;
    member->guard.installing = true;
    member->installing_mark = member->staged;
    member->staged = (struct member_mark){0};
    write_forget_entries(member);
    entries_reset(&member->entries, metadata->index, metadata->term);
    member_event(&event, member, NULL);
    journal_field(&event, "RAFTKV_INDEX=%llu", (unsigned long long)metadata->index);
    journal_with(LOG_NOTICE, event.fields,
                 "Installing the state at index %llu that the leader has sent.",
                 (unsigned long long)metadata->index);
    member->effects->install(member->effects->data, &member->installing_mark);
}

void member_installed(struct member *member) {
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_PERSISTED_SNAPSHOT,
    };
    struct member_mark mark = member->installing_mark;
    const char *reason = NULL;

    check(member->installing && !member->applying);
    member->installing_mark = (struct member_mark){0};
    member->installing = false;
    member->guard.installing = false;
    member->applied_index = mark.index;
    member->applied_term = mark.term;
    member->durable_index = mark.index;
    if (member->commit_index < mark.index)
        member->commit_index = mark.index;
    apply_note_readable(member);
    check(configuration_decode(mark.configuration, mark.configuration_size, &member->committed,
                               &reason) == 0);
    member->committed.index = mark.configuration_index;
    check(mark_to_raft(&mark, &event.persisted_snapshot.metadata) == 0);
    event.persisted_snapshot.last = true;
    member_mark_deinit(&mark);
    propose_installed(member, member->applied_index);
    if (member_step(member, &event))
        member_flush(member);
}
