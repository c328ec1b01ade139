/* storage: carries out a member's effects: writes and loads on the log lane, applies on the state
 * lane, checkpoints in the background. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/defect.h"
#include "node/node_internal.h"

enum {
    RETRY_MS = 500, /* what found no space is tried again so often */
    LOOK_MS = 5,    /* and so often is looked whether a checkpoint has come further */
};

/*
 * With less free space nothing is applied: the state undoes what finds no space, but Berkeley DB
 * gives up when it can't even make a file, or has no page left to undo it with.
 */
enum { APPLY_SPACE_MIN = 4 * 1024 * 1024 };

void storage_fatal(struct node *node, const char *what, int error) {
    char reason[256];

    snprintf(reason, sizeof reason, "%s: %s.", what, strerror(-error));
    node->host->fatal(node->host, reason);
}

void storage_state_fatal(struct node *node, const char *what, int error) {
    char message[256], reason[512];

    state_last_message(node->state, message, sizeof message);
    snprintf(reason, sizeof reason, "%s: %s. raftkvd --verify %s tells what is damaged.", what,
             message[0] ? message : strerror(-error), node->identity.name);
    node->host->fatal(node->host, reason);
}

/* ---- writes ---- */

static int write_log(struct node *node) {
    const struct member_write *write = &node->write;
    int result = doors_write_cluster(node);

    if (result < 0)
        return result;
    /* After a failure for want of space everything stays in the log's buffer and must not be put
     * again. */
    if (!node->write_put) {
        if (write->set_vote)
            result = log_store_set_vote(node->log, write->term, write->vote);
        if (DEFECT(LOST_TRUNCATE) && write->first_index <= log_store_last_index(node->log))
            return 0;
        if ((result == 0 || result == -ENOSPC) && write->count > 0)
            result = log_store_append(node->log, write->first_index, write->entries, write->count);
        node->write_put = result == 0 || result == -ENOSPC;
    }
    if (node->write_put && !DEFECT(ACKNOWLEDGE_BEFORE_FLUSH))
        result = log_store_flush(node->log);
    return result;
}

static void run_write(struct job *job) {
    struct node *node = container_of(job, struct node, persist_job);
    uint64_t begun = node->host->microseconds(node->host);

    node->write_result = write_log(node);
    node->write_microseconds = node->host->microseconds(node->host) - begun;
}

static void write_done(struct job *job) {
    struct node *node = container_of(job, struct node, persist_job);

    if (node->write_result == -ENOSPC) {
        if (node->write_retry_at == 0)
            journal(LOG_ERR, "The disk of the log is full; writing waits until there is space.");
        node->write_retry_at = node->host->now(node->host) + RETRY_MS;
        space_update(node);
        node_tick(node);
        return;
    }
    if (node->write_result < 0) {
        storage_fatal(node, "The log can't be written", node->write_result);
        return;
    }
    if (node->write_retry_at != 0) {
        journal(LOG_NOTICE, "The disk of the log has space again.");
        node->write_retry_at = 0;
        space_update(node);
    }
    histogram_add(&node->measure.write_latency, node->write_microseconds);
    member_persisted(node->member);
    node_flush(node);
}

static void persist(void *data, const struct member_write *write) {
    struct node *node = data;

    node->write = *write;
    node->write_put = node->write_overtaken = false;
    node->host->submit(node->host, LANE_LOG, &node->persist_job);
}

/* ---- applying ---- */

static void run_apply(struct job *job) {
    struct node *node = container_of(job, struct node, apply_job);

    if (!node->apply_has_space) {
        node->apply_result = -ENOSPC;
        return;
    }
    if (node->apply_hurries)
        state_hurry_checkpoint(node->state);
    node->apply_result = kv_apply(node->state, node->apply_first, node->apply_entries,
                                  node->apply_count, node->apply_results);
}

static void apply_done(struct job *job) {
    struct node *node = container_of(job, struct node, apply_job);

    if (node->apply_result == -ENOSPC) {
        if (node->apply_retry_at == 0)
            journal(LOG_ERR, "The disk of the state is full; applying waits until there is space.");
        node->apply_retry_at = node->host->now(node->host) + RETRY_MS;
        space_update(node);
        node_tick(node);
        return;
    }
    if (node->apply_result != 0) {
        storage_state_fatal(node, "The state can't be written",
                            node->apply_result < 0 ? node->apply_result : -EIO);
        return;
    }
    if (node->apply_retry_at != 0) {
        journal(LOG_NOTICE, "The disk of the state has space again.");
        node->apply_retry_at = 0;
        space_update(node);
    }
    compaction_count(node, node->apply_entries, node->apply_count);
    checkpoint_count(node, node->apply_entries, node->apply_count);
    member_applied(node->member, node->apply_results, sizeof *node->apply_results);
    compaction_start_if_due(node);
    node_flush(node);
}

static void submit_apply(struct node *node) {
    node->apply_held = checkpoint_holds_applies(node);
    if (node->apply_held) {
        node->apply_look_at = node->host->now(node->host) + LOOK_MS;
        return;
    }
    node->apply_hurries = checkpoint_is_late(node);
    node->apply_has_space = node->space.free >= APPLY_SPACE_MIN;
    node->host->submit(node->host, LANE_STATE, &node->apply_job);
}

void storage_resume_apply(struct node *node) {
    if (node->apply_held)
        submit_apply(node);
}

static void apply(void *data, uint64_t first_index, const struct log_entry *entries, size_t count) {
    struct node *node = data;

    if (count > node->apply_capacity) {
        node->apply_capacity = count;
        node->apply_results = xrealloc(node->apply_results, count * sizeof *node->apply_results);
    }
    node->apply_first = first_index;
    node->apply_entries = entries;
    node->apply_count = count;
    submit_apply(node);
}

/* ---- loads ---- */

struct load {
    struct job job;
    struct node *node;
    uint64_t first_index, cookie;
    size_t count, max_bytes;
    struct log_entry *entries;
    size_t loaded;
    int result;
};

static void run_load(struct job *job) {
    struct load *load = container_of(job, struct load, job);

    load->result = log_store_read(load->node->log, load->first_index, load->count, load->max_bytes,
                                  &load->entries, &load->loaded);
}

static void load_done(struct job *job) {
    struct load *load = container_of(job, struct load, job);
    struct node *node = load->node;

    if (load->result < 0 && load->result != -ENOENT)
        storage_fatal(node, "The log can't be read", load->result);
    else
        member_loaded(node->member, load->cookie, load->first_index, load->entries,
                      load->result == 0 ? load->loaded : 0);
    free(load->entries);
    free(load);
    node_flush(node);
}

static void load(void *data, uint64_t first_index, size_t count, size_t max_bytes,
                 uint64_t cookie) {
    struct node *node = data;
    struct load *load = xcalloc(1, sizeof *load);

    *load = (struct load){
        .job = {.run = run_load, .done = load_done},
        .node = node,
        .first_index = first_index,
        .cookie = cookie,
        .count = count,
        .max_bytes = max_bytes,
    };
    node->host->submit(node->host, LANE_LOG, &load->job);
}

/* ---- all of them ---- */

static void snapshot_wanted(void *data, uint64_t id) {
    streams_want(data, id);
}

static void install(void *data, const struct member_mark *mark) {
    install_start(data, mark);
}

static void changed(void *data) {
    struct node *node = data;

    node->changed = true;
}

void storage_init(struct node *node) {
    node->effects = (struct member_effects){
        .data = node,
        .persist = persist,
        .apply = apply,
        .load = load,
        .snapshot_wanted = snapshot_wanted,
        .install = install,
        .changed = changed,
    };
    node->persist_job = (struct job){.run = run_write, .done = write_done};
    node->apply_job = (struct job){.run = run_apply, .done = apply_done};
}

void storage_tick(struct node *node) {
    uint64_t now = node->host->now(node->host);

    if (node->write_retry_at != 0 && now >= node->write_retry_at) {
        node->write_retry_at = UINT64_MAX; /* until it is done */
        if (node->write_overtaken)
            node->write.count = 0;
        node->host->submit(node->host, LANE_LOG, &node->persist_job);
    }
    if (node->apply_retry_at != 0 && now >= node->apply_retry_at) {
        node->apply_retry_at = UINT64_MAX; /* until it is done */
        submit_apply(node);
    }
    if (node->apply_held && now >= node->apply_look_at)
        submit_apply(node);
}

uint64_t storage_deadline(const struct node *node) {
    uint64_t deadline = UINT64_MAX;

    if (node->write_retry_at != 0)
        deadline = node->write_retry_at;
    if (node->apply_retry_at != 0 && node->apply_retry_at < deadline)
        deadline = node->apply_retry_at;
    if (node->apply_held && node->apply_look_at < deadline)
        deadline = node->apply_look_at;
    return deadline;
}

bool storage_busy(const struct node *node) {
    return member_busy(node->member) || node->compaction.under_way || node->checkpoint.under_way ||
           node->write_back.under_way || streams_busy(node) || backups_busy(node) ||
           staging_busy(node) || node->install.under_way || space_busy(node) ||
           node->measure.under_way;
}

static bool waits(uint64_t retry_at) {
    return retry_at != 0 && retry_at != UINT64_MAX;
}

bool storage_waits(const struct node *node) {
    return waits(node->write_retry_at) || waits(node->apply_retry_at) ||
           waits(node->install.retry_at);
}

void storage_overtake(struct node *node) {
    node->write_overtaken = true;
}

void storage_deinit(struct node *node) {
    free(TAKE(node->apply_results));
}
