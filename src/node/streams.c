/*
 * streams: the state on its way to followers that are behind the log. One snapshot of the state
 * each, read in steps on the state lane between applies; a window of chunks is under way and kept
 * until it has arrived, so that a broken link costs only what was in the window. When all is staged
 * over there, raft's InstallSnapshot says the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/defect.h"
#include "node/node_internal.h"

enum {
    LINK_BACKLOG_MAX = 1024 * 1024,
    RESEND_MS = 1000,       /* without an acknowledgement on a link that is up */
    SILENCE_MS = 60 * 1000, /* then the stream is given up */
    POLL_MS = 100,
};

static const char *name_of(const struct node *node, uint64_t id) {
    const struct server *server = configuration_find(member_configuration(node->member), id);

    return server ? server->name : "a former member";
}

static void take_fields(const struct stream *stream, struct journal_event *event) {
    node_event(event, stream->node, stream->mark.index, name_of(stream->node, stream->to));
}

static void say_sending(const struct stream *stream) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_SENDING);

    take_fields(stream, &event);
    journal_with(LOG_NOTICE, event.fields,
                 "Sending the state at index %llu to %s, which is behind the log.",
                 (unsigned long long)stream->mark.index, name_of(stream->node, stream->to));
}

static void say_sent(const struct stream *stream) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_SENT);

    take_fields(stream, &event);
    journal_with(LOG_NOTICE, event.fields, "The state at index %llu is complete on %s.",
                 (unsigned long long)stream->mark.index, name_of(stream->node, stream->to));
}

static void say_failed(const struct stream *stream) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_STATE_NOT_SENT);

    take_fields(stream, &event);
    journal_with(LOG_WARNING, event.fields, "The state can't be sent to %s: %s.",
                 name_of(stream->node, stream->to),
                 strerror(stream->result < 0 ? -stream->result : EBUSY));
}

static struct stream *find(struct node *node, uint64_t to) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (node->streams[i].phase != STREAM_UNUSED && node->streams[i].to == to)
            return &node->streams[i];
    return NULL;
}

static void release_window(struct stream *stream) {
    for (size_t i = 0; i < STREAM_WINDOW; i++)
        buffer_deinit(&stream->window[i].chunk);
    stream->window_bytes = 0;
}

/* ---- the end ---- */

static void run_close(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);

    stream->snapshot = snapshot_close(stream->snapshot);
}

static void close_done(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);

    release_window(stream);
    member_mark_deinit(&stream->mark);
    *stream = (struct stream){.phase = STREAM_UNUSED};
}

static void close_stream(struct stream *stream) {
    if (stream->job_under_way) {
        stream->abandoned = true; /* when the job is done */
        return;
    }
    stream->phase = STREAM_CLOSING;
    stream->job = (struct job){.run = run_close, .done = close_done};
    stream->job_under_way = true;
    stream->node->host->submit(stream->node->host, LANE_STATE, &stream->job);
}

/* ---- making chunks ---- */

static bool may_make(const struct stream *stream) {
    if (DEFECT(WINDOW_WITHOUT_LIMIT))
        return !stream->all_made;
    return !stream->all_made && stream->made - stream->arrived < STREAM_WINDOW &&
           (stream->window_bytes == 0 || stream->window_bytes < STREAM_BYTES_MAX);
}

static void run_next(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);
    struct part *part = &stream->window[(stream->made + 1) % STREAM_WINDOW];

    stream->result = snapshot_next(stream->snapshot, stream->node->limits.chunk_bytes, &part->chunk,
                                   &part->last);
}

static void make_next(struct stream *stream);

static void next_done(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);
    struct part *part = &stream->window[(stream->made + 1) % STREAM_WINDOW];
    struct node *node = stream->node;

    stream->job_under_way = false;
    if (stream->result == -EIO) {
        storage_state_fatal(node, "The state can't be read", stream->result);
        return;
    }
    if (stream->result != 0 || stream->abandoned) {
        if (stream->result != 0)
            say_failed(stream);
        close_stream(stream);
        return;
    }
    stream->made++;
    part->sequence = stream->made;
    stream->window_bytes += part->chunk.size;
    stream->all_made = part->last;
    streams_advance(node);
    node_flush(node);
}

static void make_next(struct stream *stream) {
    if (stream->job_under_way || !may_make(stream))
        return;
    stream->job = (struct job){.run = run_next, .done = next_done};
    stream->job_under_way = true;
    stream->node->host->submit(stream->node->host, LANE_STATE, &stream->job);
}

/* ---- sending ---- */

static void send_part(struct stream *stream, const struct part *part, uint64_t sequence) {
    Raftkv__V1__SnapshotPart message = RAFTKV__V1__SNAPSHOT_PART__INIT;
    Raftkv__V1__PeerMessage peer = RAFTKV__V1__PEER_MESSAGE__INIT;
    struct host *host = stream->node->host;
    uint8_t *data;
    size_t size;

    message.stream = stream->number;
    message.index = stream->mark.index;
    message.term = stream->mark.term;
    message.configuration_index = stream->mark.configuration_index;
    if (sequence == 1) {
        message.configuration.data = stream->mark.configuration;
        message.configuration.len = stream->mark.configuration_size;
    }
    message.sequence = sequence;
    if (part) {
        message.chunk.data = part->chunk.data;
        message.chunk.len = part->chunk.size;
        message.last = part->last;
    }
    message.total_bytes = stream->progress.total;
    peer.body_case = RAFTKV__V1__PEER_MESSAGE__BODY_SNAPSHOT_PART;
    peer.snapshot_part = &message;
    data = pack(&peer.base, 0, &size);
    host->send(host, stream->to, false, data, size);
}

static void send_parts(struct stream *stream) {
    struct host *host = stream->node->host;
    uint64_t now = host->now(host);

    if (!host->linked(host, stream->to))
        return;
    if (stream->sent > stream->arrived && now - stream->last_heard > RESEND_MS &&
        now - stream->last_sent > RESEND_MS)
        stream->sent = stream->arrived;
    while (stream->sent < stream->made && host->backlog(host, stream->to) < LINK_BACKLOG_MAX) {
        stream->sent++;
        stream->last_sent = now;
        send_part(stream, &stream->window[stream->sent % STREAM_WINDOW], stream->sent);
    }
}

/* Whether it still has what it has staged, or has died meanwhile. An empty part behind the last one
 * is answered and never taken. */
static void ask_for_stage(struct stream *stream) {
    uint64_t now = stream->node->host->now(stream->node->host);

    if (now - stream->asked <= RESEND_MS)
        return;
    stream->asked = now;
    send_part(stream, NULL, stream->made + 1);
}

static void advance(struct stream *stream) {
    struct node *node = stream->node;
    struct member_view view;
    uint64_t now;

    if (stream->phase == STREAM_UNUSED || stream->phase == STREAM_CLOSING)
        return;
    now = node->host->now(node->host);
    member_get_view(node->member, &view);
    if (view.state != MEMBER_LEADER || node->stopping ||
        !member_needs_snapshot(node->member, stream->to) || now - stream->last_heard > SILENCE_MS) {
        close_stream(stream);
        return;
    }
    if (stream->phase == STREAM_SENDING) {
        make_next(stream);
        send_parts(stream);
        progress_say(node, &stream->progress, "Sending the state to", stream->mark.index,
                     name_of(node, stream->to));
    } else if (stream->phase == STREAM_STAGED && now - stream->last_sent > POLL_MS) {
        stream->last_sent = now;
        member_send_install(node->member, stream->to, &stream->mark);
        ask_for_stage(stream);
    }
}

void streams_advance(struct node *node) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        advance(&node->streams[i]);
}

/* ---- what comes back ---- */

static void take_arrived(struct stream *stream, uint64_t arrived) {
    while (stream->arrived < arrived) {
        struct part *part = &stream->window[++stream->arrived % STREAM_WINDOW];

        stream->progress.bytes += part->chunk.size;
        stream->window_bytes -= part->chunk.size;
        buffer_deinit(&part->chunk);
    }
    if (stream->sent < stream->arrived)
        stream->sent = stream->arrived;
}

void streams_receive_ack(struct node *node, uint64_t from, const Raftkv__V1__SnapshotAck *ack) {
    struct stream *stream = find(node, from);

    if (!stream || stream->number != ack->stream || stream->phase == STREAM_CLOSING)
        return;
    stream->last_heard = node->host->now(node->host);
    if (ack->unknown) {
        close_stream(stream); /* raft will want it again */
        return;
    }
    if (ack->next == 0 || ack->next > stream->made + 1)
        return; /* nonsense */
    take_arrived(stream, ack->next - 1);
    if (ack->complete && stream->all_made && stream->arrived == stream->made &&
        stream->phase == STREAM_SENDING) {
        say_sent(stream);
        stream->phase = STREAM_STAGED;
        stream->last_sent = 0;
        stream->asked = stream->last_heard;
    }
    streams_advance(node);
}

/* ---- the beginning ---- */

static void run_open(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);

    stream->result = snapshot_open(&stream->snapshot, stream->node->state);
}

static void open_done(struct job *job) {
    struct stream *stream = container_of(job, struct stream, job);
    const struct snapshot_header *header;

    stream->job_under_way = false;
    if (stream->result == -EIO) {
        storage_state_fatal(stream->node, "The state can't be read", stream->result);
        return;
    }
    if (stream->result != 0 || stream->abandoned) {
        close_stream(stream);
        return;
    }
    header = snapshot_header(stream->snapshot);
    stream->mark = (struct member_mark){
        .index = header->index,
        .term = header->term,
        .configuration_index = header->configuration_index,
        .configuration = xmemdup(header->configuration, header->configuration_size),
        .configuration_size = header->configuration_size,
    };
    stream->progress.total = header->bytes_estimate;
    stream->phase = STREAM_SENDING;
    say_sending(stream);
    streams_advance(stream->node);
}

void streams_want(struct node *node, uint64_t id) {
    uint64_t now = node->host->now(node->host), number;
    struct stream *stream = NULL;

    if (node->stopping || find(node, id))
        return;
    for (size_t i = 0; i < STREAMS_MAX && !stream; i++)
        if (node->streams[i].phase == STREAM_UNUSED)
            stream = &node->streams[i];
    if (!stream)
        return; /* later: raft says it again */
    do
        number = node->host->random(node->host);
    while (number == 0);
    *stream = (struct stream){
        .node = node,
        .phase = STREAM_OPENING,
        .number = number,
        .to = id,
        .progress = progress_begin(node, 0), /* the total is known when it is open */
        .last_heard = now,
        .job = {.run = run_open, .done = open_done},
        .job_under_way = true,
    };
    node->host->submit(node->host, LANE_STATE, &stream->job);
}

/* ---- for the others ---- */

/* The entry of the snapshot itself stays too: raft has to know its term to go on behind it. */
uint64_t streams_keep_from(const struct node *node) {
    uint64_t keep_from = UINT64_MAX;

    for (size_t i = 0; i < STREAMS_MAX; i++) {
        const struct stream *stream = &node->streams[i];
        uint64_t index = stream->phase == STREAM_OPENING ? 1 : stream->mark.index;

        if (DEFECT(CUT_UNDER_STREAM))
            continue;

        if (stream->phase != STREAM_UNUSED && stream->phase != STREAM_CLOSING && index < keep_from)
            keep_from = index;
    }
    return keep_from;
}

uint64_t streams_deadline(const struct node *node) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (node->streams[i].phase == STREAM_SENDING || node->streams[i].phase == STREAM_STAGED)
            return node->host->now(node->host) + POLL_MS;
    return UINT64_MAX;
}

bool streams_busy(const struct node *node) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (node->streams[i].job_under_way)
            return true;
    return false;
}

void streams_deinit(struct node *node) {
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct stream *stream = &node->streams[i];

        check(!stream->job_under_way);
        snapshot_close(stream->snapshot);
        release_window(stream);
        member_mark_deinit(&stream->mark);
    }
}
