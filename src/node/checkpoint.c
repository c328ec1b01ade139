/*
 * checkpoint: keeps the state's own write-ahead log short between compactions. That log holds old
 * and new values, so with large values it would take more of the disk than the entries that are
 * counted for the next compaction. A checkpoint of the state alone lets its files go, and says
 * nothing about the raft log.
 *
 * What is applied while a checkpoint runs stays until the next one. So applying keeps in step with
 * the pages that the disk takes meanwhile, a little at a time: otherwise nothing would bound that
 * log. The checkpoint hurries before it comes to that.
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

/* While the state is replaced nothing is applied, and it may not be asked for its pages. */
static bool is_watched(const struct node *node) {
    return node->checkpoint.running > 0 && !node->install.under_way;
}

static void count_anew(struct node *node) {
    node->checkpoint.bytes = 0;
    node->checkpoint.pages = state_pages_written(node->state);
}

void checkpoint_begun(struct node *node) {
    node->checkpoint.running++;
    count_anew(node);
}

void checkpoint_ended(struct node *node) {
    check(node->checkpoint.running > 0);
    node->checkpoint.running--;
    /* One that waited behind it begins only now, and covers what was applied until now. */
    if (is_watched(node))
        count_anew(node);
    storage_resume_apply(node);
}

bool checkpoint_progress(const struct node *node, uint64_t *ret_done, uint64_t *ret_total) {
    uint64_t begin = node->checkpoint.pages, end, written;

    if (!is_watched(node))
        return false;
    end = state_checkpoint_end(node->state);
    written = state_pages_written(node->state);
    if (written < begin || end <= begin)
        return false;
    *ret_total = end - begin;
    *ret_done = written < end ? written - begin : *ret_total;
    return true;
}

/* What may be applied beside a checkpoint that has come so far: a quarter at once, so that nothing
 * waits for one that takes no time. (A state that was replaced counts its pages anew.) */
static uint64_t allowed_bytes(const struct node *node) {
    uint64_t all = node->limits.checkpoint_bytes, at_once = all / 4;
    uint64_t done, total;

    if (!checkpoint_progress(node, &done, &total))
        return at_once;
    return at_once + (uint64_t)((double)(all - at_once) * (double)done / (double)total);
}

bool checkpoint_is_late(const struct node *node) {
    return is_watched(node) && node->checkpoint.bytes >= allowed_bytes(node) / 2;
}

bool checkpoint_holds_applies(const struct node *node) {
    return is_watched(node) && node->checkpoint.bytes >= allowed_bytes(node);
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
