/*
 * checkpoint: keeps the state's own write-ahead log short between compactions. That log holds old
 * and new values, so with large values it would take more of the disk than the entries that are
 * counted for the next compaction. A checkpoint of the state alone lets its files go, and says
 * nothing about the raft log.
 */
#include <errno.h>

#include "node/node_internal.h"

enum { ENTRY_OVERHEAD = 256 }; /* headers of records, and what else a transaction changes */

static void run(struct job *job) {
    struct node *node = container_of(job, struct node, checkpoint.job);
    uint64_t durable_index;

    node->checkpoint.result = state_checkpoint(node->state, &durable_index);
}

static void done(struct job *job) {
    struct node *node = container_of(job, struct node, checkpoint.job);

    node->checkpoint.under_way = false;
    /* Without space the log stays longer, until the next checkpoint or compaction. */
    if (node->checkpoint.result < 0 && node->checkpoint.result != -ENOSPC)
        storage_state_fatal(node, "The state can't be written", node->checkpoint.result);
}

void checkpoint_count(struct node *node, const struct log_entry *entries, size_t count) {
    struct checkpoint *checkpoint = &node->checkpoint;

    for (size_t i = 0; i < count; i++)
        checkpoint->bytes += 2 * (uint64_t)entries[i].size + ENTRY_OVERHEAD;
    if (checkpoint->bytes < node->limits.checkpoint_bytes || checkpoint->under_way ||
        node->compaction.under_way || node->install.under_way || node->stopping)
        return;
    checkpoint->bytes = 0;
    checkpoint->under_way = true;
    checkpoint->job = (struct job){.run = run, .done = done};
    node->host->submit(node->host, LANE_BACKGROUND, &checkpoint->job);
}
