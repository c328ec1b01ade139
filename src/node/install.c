/*
 * install: the switch to a staged state, when raft says so: first the state, by one atomic rename,
 * then the log, which is emptied behind it. A crash between the two is completed at the next start,
 * because the state says that it was installed.
 */
#include <errno.h>
#include <string.h>

#include "node/node_internal.h"

enum { RETRY_MS = 1000 };

static void run_reset(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);
    struct log_mark mark = {
        .index = node->install.mark->index,
        .term = node->install.mark->term,
        .configuration_index = node->install.mark->configuration_index,
        .configuration = node->install.mark->configuration,
        .configuration_size = node->install.mark->configuration_size,
    };

    /* After a failure for want of space it is in the log's buffer and must not be put again. */
    if (!node->install.reset_put) {
        node->install.result = log_store_reset(node->log, &mark);
        node->install.reset_put = node->install.result == 0 || node->install.result == -ENOSPC;
    }
    if (node->install.reset_put)
        node->install.result = log_store_flush(node->log);
}

static void retry_later(struct node *node) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_WAITS_FOR_SPACE);

    node_event(&event, node, node->install.mark->index, NULL);
    if (node->install.retry_at == 0)
        journal_with(LOG_ERR, event.fields,
                     "The disk is full; installing the state waits until there is space.");
    node->install.retry_at = node->host->now(node->host) + RETRY_MS;
    space_update(node);
    node_tick(node);
}

static void run_discard(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    node->install.stage = stage_discard(node->install.stage);
}

static void discard_done(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    node->install = (struct install){0};
    node_flush(node);
}

static void reset_done(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);
    struct install *install = &node->install;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_INSTALLED);

    if (install->result == -ENOSPC) {
        retry_later(node);
        return;
    }
    if (install->result < 0) {
        storage_fatal(node, "The log can't be emptied behind the installed state", install->result);
        return;
    }
    node_event(&event, node, install->mark->index, NULL);
    journal_with(LOG_NOTICE, event.fields, "The state at index %llu is installed.",
                 (unsigned long long)install->mark->index);
    compaction_begin(node, install->mark->index, 0, 0);
    install->mark = NULL;
    install->retry_at = 0;
    space_update(node);
    member_installed(node->member);
    install->job = (struct job){.run = run_discard, .done = discard_done};
    node->host->submit(node->host, LANE_BACKGROUND, &install->job);
    node_flush(node);
}

static void submit_reset(struct node *node) {
    node->install.job = (struct job){.run = run_reset, .done = reset_done};
    node->host->submit(node->host, LANE_LOG, &node->install.job);
}

static void run_switch(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    node->install.result = state_switch(node->state, node->install.stage, &node->install.failure);
}

static void switch_done(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    if (node->install.result == -ENOSPC) {
        retry_later(node);
        return;
    }
    if (node->install.result != 0) {
        node->host->fatal(node->host, node->install.failure.message);
        return;
    }
    node->install.retry_at = 0;
    node->install.switched = true;
    space_update(node);
    submit_reset(node);
}

static void submit_switch(struct node *node) {
    node->install.job = (struct job){.run = run_switch, .done = switch_done};
    node->host->submit(node->host, LANE_STATE, &node->install.job);
}

/* A node that was given the state as its first word from a cluster is its member before it has the
 * state. */
static void run_identity(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    node->install.result = doors_write_cluster(node);
}

static void identity_done(struct job *job) {
    struct node *node = container_of(job, struct node, install.job);

    if (node->install.result == -ENOSPC) {
        retry_later(node);
        return;
    }
    if (node->install.result < 0) {
        storage_fatal(node, "The cluster's id can't be written", node->install.result);
        return;
    }
    node->install.retry_at = 0;
    node->install.identified = true;
    space_update(node);
    submit_switch(node);
}

static void submit_identity(struct node *node) {
    node->install.job = (struct job){.run = run_identity, .done = identity_done};
    node->host->submit(node->host, LANE_LOG, &node->install.job);
}

void install_start(struct node *node, const struct member_mark *mark) {
    check(!node->install.under_way);
    node->install = (struct install){.under_way = true, .mark = mark};
    node->install.stage = staging_take(node, &node->install.number);
    storage_overtake(node);
    submit_identity(node);
}

void install_advance(struct node *node) {
    if (node->install.retry_at == 0 || node->host->now(node->host) < node->install.retry_at)
        return;
    node->install.retry_at = UINT64_MAX; /* until it is done */
    if (node->install.switched)
        submit_reset(node);
    else if (node->install.identified)
        submit_switch(node);
    else
        submit_identity(node);
}

uint64_t install_deadline(const struct node *node) {
    return node->install.retry_at != 0 ? node->install.retry_at : UINT64_MAX;
}
