/*
 * compaction: keeps the log short. When enough has gathered since the last mark, the state is
 * flushed to what is applied, that point is marked in the log, raft is told, and log files before
 * it go, but for the trailing entries that a follower may still want, and those behind a snapshot
 * that is on its way. No data is copied, and writes go on.
 */
#include <errno.h>
#include <string.h>

#include "base/defect.h"
#include "node/node_internal.h"

enum { RETRY_MS = 5 * 1000 };

static void finish(struct node *node, int result) {
    struct compaction *compaction = &node->compaction;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_LOG_NOT_CUT);

    compaction->under_way = false;
    if (result == 0) {
        compaction->stats.count++;
        compaction->stats.index = compaction->mark.index;
        compaction->stats.duration_ms = node->host->now(node->host) - compaction->begun;
        compaction->stats.bytes = compaction->covered_bytes;
        compaction->covered_bytes = 0;
    } else if (result != -EAGAIN) {
        node_event(&event, node, compaction->mark.index, NULL);
        journal_with(LOG_WARNING, event.fields, "The log could not be cut: %s.", strerror(-result));
    }
    compaction->retry_at = result == -ENOSPC ? node->host->now(node->host) + RETRY_MS : 0;
    member_mark_deinit(&compaction->mark);
    service_compacted(node->service, result);
    space_update(node);
}

/* ---- the last step: old files go ---- */

static void run_drop(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);
    struct compaction *compaction = &node->compaction;

    compaction->result = log_store_drop(node->log, compaction->keep_from, &compaction->first_index);
}

static void drop_done(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);
    struct compaction *compaction = &node->compaction;

    if (compaction->result < 0 && compaction->result != -ENOSPC) {
        storage_fatal(node, "The log can't be cut", compaction->result);
        return;
    }
    if (compaction->result == 0)
        member_log_cut(node->member, compaction->first_index);
    finish(node, compaction->result);
    node_flush(node);
}

/* ---- the mark goes into the log ---- */

static void run_mark(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);
    struct compaction *compaction = &node->compaction;
    struct log_mark mark = {
        .index = compaction->mark.index,
        .term = compaction->mark.term,
        .configuration_index = compaction->mark.configuration_index,
        .configuration = compaction->mark.configuration,
        .configuration_size = compaction->mark.configuration_size,
    };

    /* Without space it is kept in the log's buffer, and may be the only thing there that waits. */
    compaction->result = log_store_set_mark(node->log, &mark);
    if (compaction->result == 0 || compaction->result == -ENOSPC)
        compaction->result = log_store_flush(node->log);
}

static void mark_done(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);
    struct compaction *compaction = &node->compaction;

    if (compaction->result < 0 && compaction->result != -ENOSPC) {
        storage_fatal(node, "The log can't be marked", compaction->result);
        return;
    }
    compaction->keep_from = 0;
    if (compaction->result == 0)
        compaction->keep_from =
            member_compacted(node->member, &compaction->mark, node->limits.trailing_entries,
                             node->limits.trailing_bytes, streams_keep_from(node));
    if (compaction->keep_from == 0) {
        finish(node, compaction->result ? compaction->result : -EAGAIN);
        return;
    }
    compaction->job = (struct job){.run = run_drop, .done = drop_done};
    node->host->submit(node->host, LANE_LOG, &compaction->job);
}

/* ---- the first step: what the mark names is made durable in the state ---- */

static void run_checkpoint(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);

    if (DEFECT(CUT_BEFORE_FLUSH)) {
        node->compaction.durable_index = node->compaction.mark.index;
        return;
    }
    node->compaction.result = state_checkpoint(node->state, &node->compaction.durable_index);
}

static void checkpoint_done(struct job *job) {
    struct node *node = container_of(job, struct node, compaction.job);
    struct compaction *compaction = &node->compaction;

    if (compaction->result < 0 && compaction->result != -ENOSPC) {
        storage_state_fatal(node, "The state can't be written", compaction->result);
        return;
    }
    checkpoint_ended(node);
    if (compaction->result < 0) {
        finish(node, compaction->result);
        return;
    }
    /* The log is about to begin anew, behind a later state: the mark comes too late. */
    if (node->install.under_way) {
        finish(node, -EAGAIN);
        return;
    }
    check(compaction->durable_index >= compaction->mark.index);
    compaction->job = (struct job){.run = run_mark, .done = mark_done};
    node->host->submit(node->host, LANE_LOG, &compaction->job);
}

void compaction_begin(struct node *node, uint64_t mark_index, uint64_t entries, uint64_t bytes) {
    node->compaction.stats.index = mark_index;
    node->compaction.entries = entries;
    node->compaction.bytes = bytes;
}

void compaction_start(struct node *node) {
    struct compaction *compaction = &node->compaction;

    if (compaction->under_way)
        return;
    if (node->install.under_way || node->stopping ||
        !member_mark_applied(node->member, &compaction->mark)) {
        service_compacted(node->service, -EAGAIN);
        return;
    }
    if (compaction->mark.index == compaction->stats.index) {
        member_mark_deinit(&compaction->mark); /* nothing was applied since the last one */
        compaction->retry_at = 0;
        service_compacted(node->service, 0);
        return;
    }
    compaction->under_way = true;
    compaction->begun = node->host->now(node->host);
    compaction->covered_bytes += compaction->bytes;
    compaction->entries = compaction->bytes = 0;
    checkpoint_begun(node);
    compaction->job = (struct job){.run = run_checkpoint, .done = checkpoint_done};
    node->host->submit(node->host, LANE_BACKGROUND, &compaction->job);
}

void compaction_tick(struct node *node) {
    struct compaction *compaction = &node->compaction;

    if (compaction->retry_at == 0 || node->host->now(node->host) < compaction->retry_at)
        return;
    compaction->retry_at = node->host->now(node->host) + RETRY_MS;
    compaction_start(node);
}

uint64_t compaction_deadline(const struct node *node) {
    return node->compaction.retry_at != 0 ? node->compaction.retry_at : UINT64_MAX;
}

void compaction_count(struct node *node, const struct log_entry *entries, size_t count) {
    struct compaction *compaction = &node->compaction;

    compaction->entries += count;
    for (size_t i = 0; i < count; i++)
        compaction->bytes += entries[i].size;
}

void compaction_start_if_due(struct node *node) {
    struct compaction *compaction = &node->compaction;

    if (compaction->entries >= node->limits.snapshot_entries ||
        compaction->bytes >= node->limits.snapshot_bytes)
        compaction_start(node);
}
