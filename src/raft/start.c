/* start: a member's life: from what was found on disk to the first step, and its end. */
#include <errno.h>
#include <string.h>

#include "raft/member_internal.h"

enum { MAX_INFLIGHT_ENTRIES = 4096 };

static int decode(const struct member_options *options, const uint8_t *data, size_t size,
                  struct configuration *ret) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_CONFIGURATION_DAMAGED);
    const char *reason = NULL;
    int result = configuration_decode(data, size, ret, &reason);

    if (result == 0)
        return 0;
    journal_field(&event, "RAFTKV_TERM=%llu", (unsigned long long)options->term);
    journal_field(&event, "RAFTKV_CLUSTER=%016llx",
                  (unsigned long long)options->identity->cluster_id);
    journal_with(LOG_ERR, event.fields, "A configuration on disk is damaged: %s.", reason);
    return result;
}

/* The newest configuration in log, mark or state: the one that counts in elections. */
static int newest_configuration(const struct member_options *options, struct configuration *ret) {
    *ret = (struct configuration){.count = 0};
    for (size_t i = options->entry_count; i > 0; i--)
        if (options->entries[i - 1].type == ENTRY_CHANGE)
            return decode(options, options->entries[i - 1].data, options->entries[i - 1].size, ret);
    if (options->mark_index > 0)
        return decode(options, options->mark_configuration, options->mark_configuration_size, ret);
    return 0;
}

/*
 * Hazard L2: libraft makes a sole voter leader without a new term; after a crash it could write
 * another entry with the index and term of one that it had written before. So it starts in a new
 * term, with its own vote.
 */
static int choose_term(struct member *member, const struct member_options *options) {
    struct configuration newest;
    const struct server *self;
    int result = newest_configuration(options, &newest);

    if (result < 0)
        return result;
    member->start_term = options->term;
    member->start_vote = options->vote;
    self = configuration_find(&newest, member->id);
    if (self && self->role == MEMBER_VOTER && configuration_voters(&newest) == 1) {
        member->start_term = options->term + 1;
        member->start_vote = member->id;
    }
    return 0;
}

static void copy_entries(struct member *member, const struct member_options *options) {
    size_t n = options->entry_count;

    entries_init(&member->entries, options->first_index,
                 options->first_index == options->mark_index + 1 ? options->mark_term : 0,
                 options->cache_size);
    member->start_entry_count = n;
    if (n == 0)
        return;
    member->start_entries = raft_calloc(n, sizeof *member->start_entries);
    member->start_changes = xcalloc(n, sizeof *member->start_changes);
    check(member->start_entries);
    for (size_t i = 0; i < n; i++) {
        const struct log_entry *entry = &options->entries[i];

        entries_append_term(&member->entries, entry->term, entry->size);
        member->start_entries[i].term = entry->term;
        member->start_entries[i].type = (enum raft_entry_type)entry->type;
        if (entry->type != ENTRY_CHANGE)
            continue;
        member->start_changes[i] = xmemdup(entry->data, entry->size);
        member->start_entries[i].buf.base = member->start_changes[i];
        member->start_entries[i].buf.len = entry->size;
    }
}

static void free_start(struct member *member) {
    for (size_t i = 0; i < member->start_entry_count; i++)
        free(member->start_changes[i]);
    free(TAKE(member->start_changes));
    raft_free(TAKE(member->start_entries));
    member->start_entry_count = 0;
}

static int take_state(struct member *member, const struct member_options *options) {
    int result;

    member->expelled_index = options->removed_index;
    member->applied_index = options->applied_index;
    member->start_last_index = member->entries.last_index;
    member->durable_index = member->entries.last_index;
    member->start_last_term = entries_term(&member->entries, member->start_last_index);
    apply_note_readable(member);
    if (options->configuration_index > 0) {
        result = decode(options, options->configuration, options->configuration_size,
                        &member->committed);
        if (result < 0)
            return result;
        member->committed.index = options->configuration_index;
    }
    if (options->mark_index > 0) {
        struct configuration mark;

        result =
            decode(options, options->mark_configuration, options->mark_configuration_size, &mark);
        if (result < 0)
            return result;
        member->start_mark.index = options->mark_index;
        member->start_mark.term = options->mark_term;
        member->start_mark.configuration_index = options->mark_configuration_index;
        configuration_to_raft(&mark, &member->start_mark.configuration);
    }
    return 0;
}

int member_new(struct member **ret, const struct member_options *options, uint64_t *ret_term,
               uint64_t *ret_vote) {
    struct member *member = xcalloc(1, sizeof *member);
    int result;

    check(options->identity->member_id != 0 && options->first_index > 0);
    member->host = options->host;
    member->effects = options->effects;
    member->identity = options->identity;
    member->id = options->identity->member_id;
    member->election_timeout = options->election_timeout;
    member->capacity = UINT16_MAX;
    member->heartbeat = options->heartbeat;
    member->next_cookie = APPLY_COOKIE;
    copy_entries(member, options);
    result = choose_term(member, options);
    if (result == 0)
        result = take_state(member, options);
    if (result < 0) {
        member_free(member);
        return result;
    }
    check(raft_init(&member->raft, NULL, NULL, member->id, member->identity->name) == 0);
    member->raft_initialised = true;
    member->raft.tracer = NULL; /* with any tracer every step formats text */
    raft_seed(&member->raft, (unsigned)member->host->random(member->host));
    raft_set_election_timeout(&member->raft, (unsigned)options->election_timeout);
    raft_set_heartbeat_timeout(&member->raft, (unsigned)options->heartbeat);
    raft_set_pre_vote(&member->raft, true);
    /* Hazard L36: until then libraft waits for the snapshot that it named last, deaf to rejections,
     * though an older one may be installed, or none on its way. To name one once more costs
     * nothing: a stream under way goes on. */
    raft_set_install_snapshot_timeout(&member->raft, (unsigned)options->election_timeout);
    raft_set_max_inflight_entries(&member->raft, MAX_INFLIGHT_ENTRIES);
    *ret_term = member->start_term;
    *ret_vote = member->start_vote;
    *ret = member;
    return 0;
}

/* The state knows more than libraft, which only believes what it sees committed again: tell it of
 * the configuration that is applied. */
static void confirm_configuration(struct member *member) {
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_CONFIGURATION,
    };

    if (member->committed.index == 0 ||
        member->raft.configuration_uncommitted_index != member->committed.index)
        return;
    event.configuration.index = member->committed.index;
    configuration_to_raft(&member->committed, &event.configuration.conf);
    member_step(member, &event);
}

int member_start(struct member *member) {
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_START,
    };

    event.start.term = member->start_term;
    event.start.voted_for = member->start_vote;
    event.start.metadata = member->start_mark.index > 0 ? &member->start_mark : NULL;
    event.start.start_index = member->entries.first_index;
    event.start.entries = member->start_entries;
    event.start.n_entries = (unsigned)member->start_entry_count;
    if (!member_step(member, &event)) {
        member->start_entries = NULL; /* raft has freed the array */
        return -EIO;
    }
    member->start_mark = (struct raft_snapshot_metadata){0};
    free_start(member);
    confirm_configuration(member);
    member_flush(member);
    return member->failed ? -EIO : 0;
}

struct member *member_free(struct member *member) {
    if (!member)
        return NULL;
    member->door_closed = true;
    snapshot_deinit(member);
    propose_end_all(member);
    membership_end_all(member);
    send_deinit(member);
    batch_deinit(&member->gathering.batch);
    batch_deinit(&member->writing.batch);
    batch_deinit(&member->apply_batch);
    entries_deinit(&member->entries);
    free_start(member);
    raft_configuration_close(&member->start_mark.configuration);
    if (member->raft_initialised)
        raft_close(&member->raft, NULL);
    free(member);
    return NULL;
}
