/*
 * backups: the state on its way to clients that ask for it, chunk by chunk. One snapshot of the
 * state each, read on the state lane between applies, so that writes and compactions go on. The
 * chunk given last is kept, for a client whose connection broke; nothing is made before it is asked
 * for. A client that asks no more, or too slowly, is given up, because what changes meanwhile is
 * kept aside for it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "format/backup.h"
#include "node/node_internal.h"

static struct backup *find(struct node *node, uint64_t token) {
    for (size_t i = 0; i < BACKUP_PLACES; i++)
        if (node->backups[i].token == token && !node->backups[i].ended)
            return &node->backups[i];
    return NULL;
}

/* ---- the end ---- */

static void run_close(struct job *job) {
    struct backup *backup = container_of(job, struct backup, job);

    backup->snapshot = snapshot_close(backup->snapshot);
}

static void close_done(struct job *job) {
    struct backup *backup = container_of(job, struct backup, job);

    buffer_deinit(&backup->header);
    buffer_deinit(&backup->chunk);
    *backup = (struct backup){0};
}

static void submit(struct backup *backup, void (*run)(struct job *job),
                   void (*done)(struct job *job)) {
    backup->job = (struct job){.run = run, .done = done};
    backup->job_under_way = true;
    backup->node->host->submit(backup->node->host, LANE_STATE, &backup->job);
}

static void end(struct backup *backup) {
    backup->ended = true;
    if (!backup->job_under_way)
        submit(backup, run_close, close_done); /* otherwise when the job is done */
}

static void say_given_up(const struct backup *backup, uint64_t now) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_BACKUP_GIVEN_UP);

    node_event(&event, backup->node, backup->index, NULL);
    journal_with(LOG_NOTICE, event.fields,
                 "A backup is given up: its client has taken %llu bytes in %llu s, and nothing in "
                 "the last %llu s.",
                 (unsigned long long)backup->taken,
                 (unsigned long long)(now - backup->begun) / 1000,
                 (unsigned long long)(now - backup->advanced) / 1000);
}

static void give_up(struct backup *backup, const struct failure *failure) {
    struct service *service = backup->node->service;
    uint64_t token = backup->token;

    end(backup);
    service_backup_ended(service, token, failure);
}

int backups_end(void *data, uint64_t token, struct failure *failure) {
    struct backup *backup = find(data, token);

    if (!backup)
        return failure_set(failure, ERROR_NOT_FOUND, "This node has no such backup.");
    end(backup);
    return 0;
}

/* By when the client has to have asked for the next chunk. To ask for the same one again is no
 * progress. */
static uint64_t deadline_of(const struct backup *backup) {
    uint64_t idle = backup->advanced + BACKUP_IDLE_MS;
    uint64_t pace = backup->begun + BACKUP_GRACE_MS + backup->taken * 1000 / BACKUP_PACE;

    if (backup->token == 0 || backup->job_under_way)
        return UINT64_MAX;
    return idle < pace ? idle : pace;
}

void backups_tick(struct node *node) {
    uint64_t now = node->host->now(node->host);

    for (size_t i = 0; i < BACKUP_PLACES; i++) {
        struct backup *backup = &node->backups[i];
        struct failure failure;

        if (now < deadline_of(backup))
            continue;
        say_given_up(backup, now);
        failure_set(&failure, ERROR_TIMEOUT,
                    "The backup was given up: for %d s its next chunk was not asked for, or less "
                    "than %d bytes a second were taken.",
                    BACKUP_IDLE_MS / 1000, BACKUP_PACE);
        give_up(backup, &failure);
    }
}

uint64_t backups_deadline(const struct node *node) {
    uint64_t deadline = UINT64_MAX;

    for (size_t i = 0; i < BACKUP_PLACES; i++)
        if (deadline_of(&node->backups[i]) < deadline)
            deadline = deadline_of(&node->backups[i]);
    return deadline;
}

/* ---- chunks ---- */

static void run_next(struct job *job) {
    struct backup *backup = container_of(job, struct backup, job);

    backup->chunk.size = 0;
    backup->result =
        snapshot_next(backup->snapshot, SNAPSHOT_CHUNK_BYTES, &backup->chunk, &backup->last);
    backup->taken += backup->chunk.size;
    if (backup->last)
        backup->snapshot = snapshot_close(backup->snapshot);
}

static void run_open(struct job *job) {
    struct backup *backup = container_of(job, struct backup, job);
    struct backup_header header = {.cluster_id = backup->cluster_id};

    backup->result = snapshot_open(&backup->snapshot, backup->node->state);
    if (backup->result != 0)
        return;
    snprintf(header.version, sizeof header.version, "%s", raftkv_version);
    header.snapshot = *snapshot_header(backup->snapshot);
    backup->index = header.snapshot.index;
    backup->total = header.snapshot.bytes_estimate;
    backup_header_encode(&header, &backup->header);
    run_next(job);
}

/* The chunk that was given last is given once more. */
static void run_again(struct job *job) {
    (void)job;
}

static void explain(int result, struct failure *failure) {
    if (result == ERROR_BUSY)
        failure_set(failure, ERROR_BUSY,
                    "This node's state is being read by as many as it may be.");
    else if (result == ERROR_UNAVAILABLE)
        failure_set(failure, ERROR_UNAVAILABLE, "This node has no state yet.");
    else if (result == -ESTALE)
        failure_set(failure, ERROR_UNAVAILABLE,
                    "The state was replaced by that of the leader meanwhile; begin anew.");
    else if (result == -ENOSPC)
        failure_set(failure, ERROR_NO_SPACE,
                    "There is no space to keep what changes while the backup is read.");
    else
        failure_set(failure, ERROR_INTERNAL, "The state can't be read: %s.", strerror(-result));
}

/* To a client that has gone before it was told of the backup nobody can give it any more. */
static void give(struct backup *backup) {
    const struct service_backup chunk = {
        .token = backup->token,
        .header = backup->sequence == 0 ? backup->header.data : NULL,
        .header_size = backup->sequence == 0 ? backup->header.size : 0,
        .chunk = backup->chunk.data,
        .chunk_size = backup->chunk.size,
        .last = backup->last,
        .done = backup->taken,
        .total = backup->total,
    };
    struct failure failure;

    if (service_backup_read(backup->node->service, backup->token, &chunk, NULL))
        backup->known = true;
    if (backup->known)
        return;
    failure_set(&failure, ERROR_UNAVAILABLE, "Whoever asked for the backup has gone.");
    give_up(backup, &failure);
}

static void refuse(struct backup *backup) {
    struct failure failure;

    if (backup->result != 0)
        explain(backup->result, &failure);
    else
        failure_set(&failure, ERROR_NOT_FOUND, "The backup was ended meanwhile.");
    service_backup_read(backup->node->service, backup->token, NULL, &failure);
}

static void say_read(const struct backup *backup) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_BACKUP_READ);

    node_event(&event, backup->node, backup->index, NULL);
    journal_with(LOG_INFO, event.fields, "A backup of the state at index %llu has been read.",
                 (unsigned long long)backup->index);
}

static void read_done(struct job *job) {
    struct backup *backup = container_of(job, struct backup, job);
    struct node *node = backup->node;

    backup->job_under_way = false;
    if (backup->result == -EIO) {
        storage_state_fatal(node, "The state can't be read", backup->result);
        return;
    }
    if (backup->result != 0 || backup->ended) {
        end(backup);
        refuse(backup);
    } else {
        if (backup->last)
            say_read(backup);
        give(backup);
    }
    node_flush(node);
}

static int begin(struct node *node, uint64_t *ret_token, struct failure *failure) {
    struct backup *backup = NULL;
    unsigned being_read = 0;
    uint64_t token;

    for (size_t i = 0; i < BACKUP_PLACES; i++)
        if (node->backups[i].token == 0)
            backup = &node->backups[i];
        else if (!node->backups[i].ended)
            being_read++;
    if (!backup || being_read >= BACKUPS_MAX)
        return failure_set(failure, ERROR_BUSY,
                           "%d backups are read from this node already, as many as it may have at "
                           "a time.",
                           BACKUPS_MAX);
    do
        token = node->host->random(node->host);
    while (token == 0);
    *backup = (struct backup){
        .node = node,
        .token = token,
        .cluster_id = node->identity.cluster_id,
        .begun = node->host->now(node->host),
        .advanced = node->host->now(node->host),
    };
    *ret_token = token;
    submit(backup, run_open, read_done);
    return 0;
}

int backups_read(void *data, uint64_t *token, uint64_t sequence, struct failure *failure) {
    struct node *node = data;
    struct backup *backup;

    if (*token == 0)
        return begin(node, token, failure);
    backup = find(node, *token);
    if (!backup)
        return failure_set(
            failure, ERROR_NOT_FOUND,
            "This node has no such backup: it was begun on another one, or has ended.");
    if (backup->job_under_way)
        return failure_set(failure, ERROR_BUSY,
                           "A chunk of this backup is being read; ask for one at a time.");
    if (sequence == backup->sequence) {
        submit(backup, run_again, read_done);
        return 0;
    }
    if (backup->last || sequence != backup->sequence + 1)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "Chunk %llu was asked for behind chunk %llu%s.",
                           (unsigned long long)sequence, (unsigned long long)backup->sequence,
                           backup->last ? ", which is the last one" : "");
    backup->sequence = sequence;
    backup->advanced = node->host->now(node->host);
    submit(backup, run_next, read_done);
    return 0;
}

/* ---- for the others ---- */

bool backups_busy(const struct node *node) {
    for (size_t i = 0; i < BACKUP_PLACES; i++)
        if (node->backups[i].job_under_way)
            return true;
    return false;
}

void backups_deinit(struct node *node) {
    for (size_t i = 0; i < BACKUP_PLACES; i++) {
        struct backup *backup = &node->backups[i];

        check(!backup->job_under_way);
        snapshot_close(backup->snapshot);
        buffer_deinit(&backup->header);
        buffer_deinit(&backup->chunk);
    }
}
