/*
 * staging: a state that the leader streams to this node because its log no longer holds what this
 * node lacks. It is written beside the current state on the background lane, chunk by chunk, each
 * acknowledged when it is staged; when it is complete and durable raft may install it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/node_internal.h"

enum { FULL_DISK_MS = 5 * 1000, SILENCE_MS = 120 * 1000, POLL_MS = 500 };

static void send_ack(struct node *node, uint64_t to, uint64_t number, uint64_t next, bool complete,
                     bool unknown) {
    Raftkv__V1__SnapshotAck ack = RAFTKV__V1__SNAPSHOT_ACK__INIT;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    uint8_t *data;
    size_t size;

    ack.stream = number;
    ack.next = next;
    ack.complete = complete;
    ack.unknown = unknown;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_ACK;
    peer.snapshot_ack = &ack;
    data = pack(&peer.base, 0, &size);
    node->host->send(node->host, to, true, data, size);
}

static void acknowledge(struct node *node) {
    struct staging *staging = &node->staging;

    send_ack(node, staging->from, staging->number, staging->staged + 1, staging->complete, false);
}

/* ---- the end ---- */

static void run_discard(struct job *job) {
    struct node *node = container_of(job, struct node, staging.job);

    node->staging.stage = stage_discard(node->staging.stage);
}

static void forget(struct staging *staging) {
    for (size_t i = 0; i < STREAM_WINDOW; i++)
        buffer_deinit(&staging->queue[i].chunk);
    snapshot_header_deinit(&staging->header);
    *staging = (struct staging){0};
}

static void discard_done(struct job *job) {
    struct node *node = container_of(job, struct node, staging.job);

    forget(&node->staging);
}

static void discard(struct node *node) {
    struct staging *staging = &node->staging;

    if (staging->complete)
        member_staged(node->member, NULL);
    staging->complete = false;
    staging->abandoned = true;
    if (staging->job_under_way)
        return; /* when the job is done */
    staging->job = (struct job){.run = run_discard, .done = discard_done};
    staging->job_under_way = true;
    node->host->submit(node->host, LANE_BACKGROUND, &staging->job);
}

struct stage *staging_take(struct node *node, uint64_t *ret_number) {
    struct stage *stage = TAKE(node->staging.stage);

    *ret_number = node->staging.number;
    check(stage && node->staging.complete && !node->staging.job_under_way);
    forget(&node->staging);
    return stage;
}

/* ---- one chunk after the other ---- */

/* What the chunk says of itself has to agree with what the message says of it. */
static int check_last(struct staging *staging, const struct part *part) {
    struct stage_position position;

    stage_position(staging->stage, &position);
    if (position.complete == part->last)
        return 0;
    failure_set(&staging->failure, ERROR_INVALID_ARGUMENT,
                "The last chunk is not where the state ends.");
    return -EBADMSG;
}

static void run_put(struct job *job) {
    struct node *node = container_of(job, struct node, staging.job);
    struct staging *staging = &node->staging;
    const struct part *part = &staging->queue[(staging->staged + 1) % STREAM_WINDOW];

    staging->result = 0;
    if (!staging->stage)
        staging->result = stage_open(&staging->stage, node->directory.state_path, &staging->header);
    if (staging->result != 0)
        return;
    staging->result =
        stage_put_chunk(staging->stage, part->chunk.data, part->chunk.size, &staging->failure);
    if (staging->result == 0)
        staging->result = check_last(staging, part);
    if (staging->result == 0 && part->last)
        staging->result = stage_finish(staging->stage, &staging->failure);
}

static void take_complete(struct node *node) {
    struct staging *staging = &node->staging;
    const struct snapshot_header *header = &staging->header;
    struct member_mark mark = {
        .index = header->index,
        .term = header->term,
        .configuration_index = header->configuration_index,
        .configuration = header->configuration,
        .configuration_size = header->configuration_size,
    };

    staging->complete = true;
    member_staged(node->member, &mark);
}

static void put_failed(struct node *node) {
    struct staging *staging = &node->staging;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_NOT_STAGED);

    node_event(&event, node, staging->header.index, NULL);
    if (staging->result == -ENOSPC) {
        /* The stage is lost. The leader's next attempts go unanswered for a while. */
        journal_with(LOG_ERR, event.fields,
                     "The disk is full: the state that arrives can't be staged.");
        node->staging_not_before = node->host->now(node->host) + FULL_DISK_MS;
        discard(node);
        return;
    }
    journal_with(LOG_WARNING, event.fields, "The state that arrives can't be staged: %s",
                 staging->failure.message);
    send_ack(node, staging->from, staging->number, 1, false, true);
    discard(node);
}

static void put_done(struct job *job) {
    struct node *node = container_of(job, struct node, staging.job);
    struct staging *staging = &node->staging;
    struct part *part = &staging->queue[(staging->staged + 1) % STREAM_WINDOW];

    staging->job_under_way = false;
    if (staging->abandoned) {
        discard(node);
        return;
    }
    if (staging->result != 0) {
        put_failed(node);
        node_flush(node);
        return;
    }
    staging->staged++;
    staging->progress.bytes += part->chunk.size;
    if (part->last)
        take_complete(node);
    buffer_deinit(&part->chunk);
    acknowledge(node);
    progress_say(node, &staging->progress, "Receiving the state from", staging->header.index,
                 staging->from_name);
    staging_advance(node);
    node_flush(node);
}

static void put_next(struct node *node) {
    struct staging *staging = &node->staging;

    if (staging->job_under_way || staging->staged == staging->received)
        return;
    staging->job = (struct job){.run = run_put, .done = put_done};
    staging->job_under_way = true;
    node->host->submit(node->host, LANE_BACKGROUND, &staging->job);
}

void staging_advance(struct node *node) {
    struct staging *staging = &node->staging;
    uint64_t now = node->host->now(node->host);

    if (staging->number == 0 || staging->abandoned)
        return;
    if ((staging->complete && !member_has_staged(node->member)) ||
        now - staging->last_heard > SILENCE_MS || node->stopping) {
        discard(node);
        return;
    }
    put_next(node);
}

/* ---- what arrives ---- */

/* A newcomer knows its leader only by the configuration that comes with the state. */
static void note_name(struct staging *staging) {
    const struct snapshot_header *header = &staging->header;
    struct configuration configuration;
    const struct server *server;
    const char *reason;

    check(configuration_decode(header->configuration, header->configuration_size, &configuration,
                               &reason) == 0);
    server = configuration_find(&configuration, staging->from);
    snprintf(staging->from_name, sizeof staging->from_name, "%s", server ? server->name : "");
}

static void begin(struct node *node, uint64_t from, const Raftkv__V1__SnapshotPart *part) {
    struct staging *staging = &node->staging;
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_RECEIVING);

    *staging = (struct staging){
        .number = part->stream,
        .from = from,
        .progress = progress_begin(node, part->total_bytes),
        .header =
            {
                .index = part->index,
                .term = part->term,
                .configuration_index = part->configuration_index,
                .configuration = xmemdup(part->configuration.data, part->configuration.len),
                .configuration_size = part->configuration.len,
            },
    };
    note_name(staging);
    node_event(&event, node, part->index, NULL);
    journal_with(LOG_NOTICE, event.fields, "The leader sends the state at index %llu.",
                 (unsigned long long)part->index);
}

/* Whether a first part may begin a stream here. */
static bool may_begin(const struct node *node, uint64_t from,
                      const Raftkv__V1__SnapshotPart *part) {
    struct configuration ignored;
    struct member_view view;
    const char *reason;

    member_get_view(node->member, &view);
    return part->sequence == 1 && view.leader == from && part->index > view.applied_index &&
           part->term > 0 && part->term <= view.term && part->configuration_index > 0 &&
           part->configuration_index <= part->index &&
           configuration_decode(part->configuration.data, part->configuration.len, &ignored,
                                &reason) == 0;
}

static bool has_room(const struct staging *staging) {
    size_t bytes = 0;

    for (size_t i = 0; i < STREAM_WINDOW; i++)
        bytes += staging->queue[i].chunk.size;
    return bytes < STAGING_BYTES_MAX && staging->received - staging->staged < STREAM_WINDOW;
}

/* The chunk itself, not a copy: in a window of large ones that is what memory goes for. */
static void take_chunk(struct part *place, Raftkv__V1__SnapshotPart *part) {
    size_t size = part->chunk.len;

    place->chunk = (struct buffer){.data = TAKE(part->chunk.data), .size = size, .capacity = size};
    part->chunk.len = 0;
}

void staging_receive(struct node *node, uint64_t from, Raftkv__V1__SnapshotPart *part) {
    struct staging *staging = &node->staging;
    struct part *place = &staging->queue[part->sequence % STREAM_WINDOW];

    if (part->stream == 0 || node->stopping)
        return;
    if (node->install.under_way) {
        /* It may wait for space. Others come later. */
        if (part->stream == node->install.number)
            send_ack(node, from, part->stream, part->sequence, true, false);
        return;
    }
    if (part->stream != staging->number) {
        if (node->host->now(node->host) < node->staging_not_before)
            return;
        if (!may_begin(node, from, part)) {
            send_ack(node, from, part->stream, 1, false, true);
            return;
        }
        if (staging->number != 0) {
            discard(node); /* the next attempt finds the place free */
            return;
        }
        begin(node, from, part);
    }
    if (staging->abandoned || from != staging->from)
        return;
    staging->last_heard = node->host->now(node->host);
    if (part->sequence != staging->received + 1 || staging->all_received || !has_room(staging)) {
        acknowledge(node); /* it has arrived already, or one before it was lost */
        return;
    }
    take_chunk(place, part);
    place->sequence = part->sequence;
    place->last = part->last;
    staging->all_received = part->last;
    staging->received++;
    staging_advance(node);
}

/* ---- for the others ---- */

uint64_t staging_deadline(const struct node *node) {
    return node->staging.number != 0 ? node->host->now(node->host) + POLL_MS : UINT64_MAX;
}

bool staging_busy(const struct node *node) {
    return node->staging.job_under_way;
}

void staging_deinit(struct node *node) {
    check(!node->staging.job_under_way);
    stage_discard(node->staging.stage);
    forget(&node->staging);
}
