/*
 * checkpoint: keeps the state's own write-ahead log short between compactions. That log holds old
 * and new values, so with large values it would take more of the disk than the entries that are
 * counted for the next compaction. A checkpoint of the state alone lets its files go, and says
 * nothing about the raft log.
 *
 * What is applied while a checkpoint runs stays until the next one. So the checkpoint hurries when
 * that is much, and when the disk does not come along even then, applying waits for it: otherwise
 * nothing would bound that log.
 *
 * Between checkpoints, pages that the cache had no room for go to their places from here, so that
 * the state lane need not wait for that.
 */
#include <errno.h>

#include "node/node_internal.h"

enum {
    ENTRY_OVERHEAD = 256,   /* headers of records, and what else a transaction changes */
    LARGE_ENTRY = 2 * 1024, /* its value is on pages of its own */
};

/* The old and the new value. With large ones no two writes share a page, so that to wait longer
 * spares nothing: these count double, and checkpoints come twice as often. */
static uint64_t weight(const struct log_entry *entry) {
    return (entry->size < LARGE_ENTRY ? 2 : 4) * (uint64_t)entry->size + ENTRY_OVERHEAD;
}

static void run(struct job *job) {
    struct node *node = container_of(job, struct node, checkpoint.job);
    uint64_t durable_index;

    node->checkpoint.result = state_checkpoint(node->state, &durable_index);
}

static void done(struct job *job) {
    struct node *node = container_of(job, struct node, checkpoint.job);

    node->checkpoint.under_way = false;
    /* Without space the log stays longer, until the next checkpoint or compaction. */
    if (node->checkpoint.result < 0 && node->checkpoint.result != -ENOSPC) {
        storage_state_fatal(node, "The state can't be written", node->checkpoint.result);
        return;
    }
    checkpoint_ended(node);
}

void checkpoint_begun(struct node *node) {
    node->checkpoint.running++;
    node->checkpoint.bytes = 0;
}

void checkpoint_ended(struct node *node) {
    check(node->checkpoint.running > 0);
    node->checkpoint.running--;
    storage_resume_apply(node);
}

bool checkpoint_is_late(const struct node *node) {
    return node->checkpoint.running > 0 &&
           node->checkpoint.bytes >= node->limits.checkpoint_bytes / 2;
}

bool checkpoint_holds_applies(const struct node *node) {
    return node->checkpoint.running > 0 && node->checkpoint.bytes >= node->limits.checkpoint_bytes;
}

static void run_write_back(struct job *job) {
    struct node *node = container_of(job, struct node, write_back.job);

    node->write_back.result = state_write_back(node->state);
}

static void write_back_done(struct job *job) {
    struct node *node = container_of(job, struct node, write_back.job);

    node->write_back.under_way = false;
    /* Without space it is tried again by whoever writes the next pages. */
    if (node->write_back.result < 0 && node->write_back.result != -ENOSPC)
        storage_state_fatal(node, "The state can't be written", node->write_back.result);
}

static void write_back(struct node *node) {
    if (node->write_back.under_way || node->install.under_way || node->stopping ||
        !state_wants_write_back(node->state))
        return;
    node->write_back.under_way = true;
    node->write_back.job = (struct job){.run = run_write_back, .done = write_back_done};
    node->host->submit(node->host, LANE_BACKGROUND, &node->write_back.job);
}

void checkpoint_count(struct node *node, const struct log_entry *entries, size_t count) {
    struct checkpoint *checkpoint = &node->checkpoint;

    write_back(node);
    for (size_t i = 0; i < count; i++)
        checkpoint->bytes += weight(&entries[i]);
    if (checkpoint->bytes < node->limits.checkpoint_bytes || checkpoint->under_way ||
        node->compaction.under_way || node->install.under_way || node->stopping)
        return;
    checkpoint_begun(node);
    checkpoint->under_way = true;
    checkpoint->job = (struct job){.run = run, .done = done};
    node->host->submit(node->host, LANE_BACKGROUND, &checkpoint->job);
}
