/*
 * apply: hands committed entries to the state machine, one batch at a time. Only what is durable
 * here is applied (hazard L5): libraft's commit index can run ahead of the own disk.
 */
#include "base/defect.h"
#include "raft/member_internal.h"

static uint64_t apply_limit(const struct member *member) {
    if (DEFECT(APPLY_ABOVE_DURABLE))
        return member->commit_index < member->entries.last_index ? member->commit_index
                                                                 : member->entries.last_index;
    return member->commit_index < member->durable_index ? member->commit_index
                                                        : member->durable_index;
}

static void start_batch(struct member *member) {
    struct batch *batch = &member->apply_batch;

    member->applying = true;
    member->effects->apply(member->effects->data, member->apply_first, batch->entries,
                           batch->count);
}

void apply_advance(struct member *member) {
    struct batch *batch = &member->apply_batch;
    uint64_t first = member->applied_index + 1, limit = apply_limit(member);
    size_t bytes = 0;

    if (member->applying || member->loading_for_apply || member->installing || member->failed ||
        first > limit)
        return;
    member->apply_first = first;
    if (!entries_find(&member->entries, first)) {
        uint64_t count = limit - first + 1;

        if (first >= member->entries.cached_first)
            count = 1;
        else if (limit >= member->entries.cached_first)
            count = member->entries.cached_first - first;
        if (count > APPLY_ENTRIES_MAX)
            count = APPLY_ENTRIES_MAX;
        member->loading_for_apply = true;
        member->effects->load(member->effects->data, first, count, APPLY_BYTES_MAX, APPLY_COOKIE);
        return;
    }
    check(batch->count == 0);
    for (uint64_t i = first; i <= limit && batch->count < APPLY_ENTRIES_MAX; i++) {
        const struct cached_entry *cached = entries_find(&member->entries, i);

        bytes += cached->entry.size;
        if (batch->count > 0 && bytes > APPLY_BYTES_MAX)
            break;
        batch_add(batch, &cached->entry, cached->blob);
    }
    start_batch(member);
}

void apply_loaded(struct member *member, uint64_t first_index, const struct log_entry *entries,
                  size_t count) {
    check(member->loading_for_apply && first_index == member->apply_first);
    member->loading_for_apply = false;
    if (member->failed || member->installing)
        return;
    if (count == 0) {
        member_fatal(member, "Entry %llu is committed but can't be read from the log.",
                     (unsigned long long)first_index);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct log_entry entry = entries[i];
        struct blob *blob;

        check(entry.term == entries_term(&member->entries, first_index + i));
        entry.data = xmemdup(entries[i].data, entries[i].size);
        blob = blob_new((void *)(uintptr_t)entry.data);
        batch_add(&member->apply_batch, &entry, blob);
        blob_unref(blob);
    }
    start_batch(member);
}

/* A leader that has applied a configuration says goodbye to those that it no longer names. */
static void find_removed(struct member *member, const struct configuration *before) {
    for (size_t i = 0; i < before->count; i++)
        if (member_is_leader(member) &&
            !configuration_find(&member->committed, before->servers[i].id))
            promotion_say_goodbye(member, &before->servers[i]);
}

/* Records an applied CHANGE and tells libraft. */
static void apply_configuration(struct member *member, uint64_t index,
                                const struct log_entry *entry) {
    const char *reason = NULL;
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_CONFIGURATION,
    };
    struct configuration configuration, before = member->committed;

    if (configuration_decode(entry->data, entry->size, &configuration, &reason) < 0) {
        member_fatal(member, "The configuration in entry %llu is damaged: %s.",
                     (unsigned long long)index, reason);
        return;
    }
    configuration.index = index;
    member->committed = configuration;
    event.configuration.index = index;
    configuration_to_raft(&configuration, &event.configuration.conf);
    find_removed(member, &before);
    if (member_step(member, &event))
        membership_applied(member, index);
}

/*
 * What was shown before the restart is in the log that was found. It is applied again when the end
 * of that log is, or an entry of a later term than its last one's: whatever of it was committed
 * comes before such an entry. One of the same term says nothing.
 */
void apply_note_readable(struct member *member) {
    if (member->applied_index >= member->start_last_index ||
        member->applied_term > member->start_last_term)
        member->readable = true;
}

void member_applied(struct member *member, const void *results, size_t result_size) {
    const struct batch batch = member->apply_batch;
    uint64_t first = member->apply_first;

    check(member->applying && batch.count > 0);
    if (member->failed)
        return;
    member->applied_index = first + batch.count - 1;
    member->applied_term = batch.entries[batch.count - 1].term;
    apply_note_readable(member);
    if (member_is_leader(member) && member->applied_term == member->raft.current_term)
        member->serving = true;

    propose_applied(member, first, batch.entries, batch.count, results, result_size);
    for (size_t i = 0; i < batch.count && !member->failed; i++)
        if (batch.entries[i].type == ENTRY_CHANGE)
            apply_configuration(member, first + i, &batch.entries[i]);
    entries_evict(&member->entries, member->applied_index, member->durable_index);
    batch_clear(&member->apply_batch);
    member->applying = false;
    apply_advance(member);
    membership_advance(member);
    member_changed(member);
}
