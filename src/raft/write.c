/* write: what goes to disk, in order: one write under way, one gathering. */
#include <string.h>

#include "base/defect.h"
#include "raft/member_internal.h"

void batch_add(struct batch *batch, const struct log_entry *entry, struct blob *blob) {
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity ? batch->capacity * 2 : 64;
        batch->entries = xrealloc(batch->entries, batch->capacity * sizeof *batch->entries);
        batch->blobs = xrealloc(batch->blobs, batch->capacity * sizeof *batch->blobs);
    }
    batch->entries[batch->count] = *entry;
    batch->blobs[batch->count] = blob_ref(blob);
    batch->count++;
}

void batch_truncate(struct batch *batch, size_t count) {
    while (batch->count > count)
        blob_unref(batch->blobs[--batch->count]);
}

void batch_clear(struct batch *batch) {
    batch_truncate(batch, 0);
}

void batch_deinit(struct batch *batch) {
    batch_clear(batch);
    free(batch->entries);
    free(batch->blobs);
    *batch = (struct batch){0};
}

bool write_vote_durable(const struct member *member) {
    return member->writes_done >= member->vote_write;
}

void write_vote(struct member *member) {
    if (DEFECT(VOTE_NOT_SYNCED))
        return;
    member->gathering.set_vote = true;
    member->vote_write = member->writes_started + 1;
}

/* Cuts the log, and what is on its way to disk, off at index. */
static void truncate_log(struct member *member, uint64_t index) {
    struct pending_write *gathering = &member->gathering;

    check(index > member->applied_index);
    entries_truncate(&member->entries, index);
    if (member->durable_index >= index)
        member->durable_index = index - 1;
    if (member->write_under_way && member->writing.valid_last >= index)
        member->writing.valid_last = index - 1;
    if (gathering->first_index && gathering->first_index + gathering->batch.count > index) {
        if (gathering->first_index >= index) {
            batch_clear(&gathering->batch);
            gathering->first_index = 0;
        } else {
            batch_truncate(&gathering->batch, index - gathering->first_index);
        }
    }
}

void write_entries(struct member *member, uint64_t first_index, struct raft_entry *entries,
                   unsigned count) {
    struct pending_write *gathering = &member->gathering;
    struct blob *blob = NULL;
    void *memory = NULL;

    check(first_index >= member->entries.first_index);
    check(first_index <= member->entries.last_index + 1);
    if (first_index <= member->entries.last_index)
        truncate_log(member, first_index);
    if (!gathering->first_index)
        gathering->first_index = first_index;
    check(gathering->first_index + gathering->batch.count == first_index);

    for (unsigned i = 0; i < count; i++) {
        struct log_entry entry = {
            .term = entries[i].term,
            .type = (uint8_t)entries[i].type,
            .data = entries[i].buf.base,
            .size = entries[i].buf.len,
        };

        check(entries[i].batch);
        if (entries[i].batch == memory) {
            blob_ref(blob);
        } else {
            memory = entries[i].batch;
            blob = blob_new(memory);
        }
        entries_append(&member->entries, &entry, blob);
        batch_add(&gathering->batch, &entry, blob);
    }
    gathering->valid_last = member->entries.last_index;
}

void write_forget_entries(struct member *member) {
    batch_clear(&member->gathering.batch);
    member->gathering.first_index = 0;
    member->writing.valid_last = 0;
    member->durable_index = 0;
}

void write_start(struct member *member) {
    struct pending_write *writing = &member->writing;
    struct member_write write;

    if (member->write_under_way || member->failed)
        return;
    if (!member->gathering.set_vote && !member->gathering.first_index)
        return;

    /* The empty batch of the last write becomes the next one to gather in. */
    check(writing->batch.count == 0);
    *writing = (struct pending_write){.batch = writing->batch};
    struct pending_write empty = *writing;
    *writing = member->gathering;
    member->gathering = empty;
    writing->valid_last = member->entries.last_index;
    writing->number = ++member->writes_started;
    member->write_under_way = true;

    write = (struct member_write){
        .set_vote = writing->set_vote,
        .term = member->raft.current_term,
        .vote = member->raft.voted_for,
        .first_index = writing->first_index,
        .entries = writing->batch.entries,
        .count = writing->batch.count,
    };
    member->effects->persist(member->effects->data, &write);
}

/*
 * Hazard L12: libraft must hear only of entries that it still has and has not been told of. A write
 * whose end was cut off meanwhile counts up to where it is still true.
 */
static void report_entries(struct member *member) {
    struct pending_write *writing = &member->writing;
    uint64_t last = writing->valid_last;
    struct raft_event event = {
        .time = member_now(member),
        .type = RAFT_PERSISTED_ENTRIES,
    };

    if (!writing->first_index || last < writing->first_index)
        return;
    if (last > member->durable_index)
        member->durable_index = last;
    if (last <= member->raft.last_stored || last > member->entries.last_index)
        return;
    check(member->raft.state == RAFT_LEADER || member->raft.state == RAFT_FOLLOWER);
    event.persisted_entries.index = last;
    member_step(member, &event);
}

void member_persisted(struct member *member) {
    check(member->write_under_way);
    member->write_under_way = false;
    member->writes_done = member->writing.number;
    if (member->failed)
        return;
    send_release(member);
    report_entries(member);
    batch_clear(&member->writing.batch);
    apply_advance(member);
    entries_evict(&member->entries, member->applied_index, member->durable_index);
    member_flush(member);
}
