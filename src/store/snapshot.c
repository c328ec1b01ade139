/* The walk of a snapshot: what stands in the tree, merged with what was kept aside. */
#include "store/snapshot_internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "proto/unpack.h"

/* For the estimate of how many records there are. */
enum { SAMPLE_RECORDS = 64, SAMPLE_BYTES = 256 * 1024 };

struct sample {
    uint64_t records;
    uint64_t bytes; /* of keys and values */
    bool cut;       /* there are more */
};

static bool add_to_sample(void *data, const uint8_t *key, size_t key_size,
                          const struct state_record *record) {
    struct sample *sample = data;

    (void)key;
    sample->cut = sample->records == SAMPLE_RECORDS || sample->bytes >= SAMPLE_BYTES;
    if (sample->cut)
        return false;
    sample->records++;
    sample->bytes += key_size + record->value_size;
    return true;
}

/* From the number of pages, and the size of the first records. */
static int estimate(struct snapshot *snapshot) {
    struct state *state = snapshot->state;
    struct snapshot_header *header = &snapshot->header;
    struct sample sample = {0};
    DB_BTREE_STAT *statistics;
    uint64_t stored;
    int r;

    r = state_walk(state, NULL, 0, add_to_sample, &sample);
    if (r != 0)
        return r;
    header->records_estimate = sample.records;
    header->bytes_estimate = sample.bytes;
    if (!sample.cut)
        return 0;
    r = state_error(state->keys->stat(state->keys, NULL, &statistics, DB_FAST_STAT));
    if (r != 0)
        return r;
    /* Pages are full to three quarters or so. */
    stored = (uint64_t)statistics->bt_pagecnt * STATE_PAGE_SIZE / 4 * 3;
    free(statistics);
    header->records_estimate =
        stored / (sample.bytes / sample.records + STATE_RECORD_HEADER_SIZE) + sample.records;
    header->bytes_estimate = header->records_estimate * sample.bytes / sample.records;
    return 0;
}

static void fill_header(struct snapshot *snapshot) {
    struct snapshot_header *header = &snapshot->header;
    const uint8_t *configuration;

    state_applied(snapshot->state, &header->index, &header->term);
    state_configuration(snapshot->state, &header->configuration_index, &configuration,
                        &header->configuration_size);
    if (configuration) {
        header->configuration = xmalloc(header->configuration_size);
        memcpy(header->configuration, configuration, header->configuration_size);
    }
}

static size_t count_open(const struct state *state) {
    size_t count = 0;

    for (const struct snapshot *snapshot = state->snapshots; snapshot; snapshot = snapshot->next)
        count++;
    return count;
}

int snapshot_open(struct snapshot **ret, struct state *state) {
    struct snapshot *snapshot;
    int r;

    check(!state->transaction);
    if (count_open(state) >= SNAPSHOTS_MAX)
        return ERROR_BUSY;
    if (state->applied_index == 0)
        return ERROR_UNAVAILABLE;
    snapshot = xcalloc(1, sizeof *snapshot);
    snapshot->state = state;
    snapshot->next = state->snapshots;
    state->snapshots = snapshot;
    fill_header(snapshot);
    r = estimate(snapshot);
    if (r == 0)
        r = snapshot_make_aside(snapshot);
    if (r != 0) {
        snapshot_close(snapshot);
        return r;
    }
    *ret = snapshot;
    return 0;
}

struct snapshot *snapshot_close(struct snapshot *snapshot) {
    struct snapshot **link;

    if (!snapshot)
        return NULL;
    if (snapshot->state) {
        for (link = &snapshot->state->snapshots; *link != snapshot; link = &(*link)->next)
            ;
        *link = snapshot->next;
    }
    snapshot_remove_aside(snapshot);
    snapshot_header_deinit(&snapshot->header);
    buffer_deinit(&snapshot->last);
    free(snapshot);
    return NULL;
}

const struct snapshot_header *snapshot_header(const struct snapshot *snapshot) {
    return &snapshot->header;
}

/* One of the two trees: what it has next. */
struct source {
    DBC *cursor;
    struct buffer key;
    struct buffer value;
    bool temporary; /* what was kept aside */
    bool ended;
};

/* A step of the walk: its cursors are closed between steps, since applies move what they stand on.
 */
struct walk {
    struct source tree;
    struct source aside;
    struct source *next; /* which of the two, or NULL at the end */
};

static int advance(struct source *source, uint32_t how, const struct buffer *from) {
    int r;

    state_shrink(&source->value);
    r = state_move(source->cursor, how, from ? from->data : NULL, from ? from->size : 0, UINT32_MAX,
                   &source->key, &source->value);
    source->ended = r == ERROR_NOT_FOUND;
    if (r == -EIO && source->temporary)
        return -ECANCELED;
    return source->ended ? 0 : r;
}

static int compare(const struct buffer *a, const struct buffer *b) {
    size_t common = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->data, b->data, common);

    if (order != 0)
        return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

/* Opens both cursors behind the last key. What was kept aside up to there is gone already. */
static int begin_walk(struct snapshot *snapshot, struct walk *walk) {
    const struct buffer *last = &snapshot->last;
    DB *keys = snapshot->state->keys;
    int r;

    walk->aside.temporary = true;
    r = state_error(keys->cursor(keys, NULL, &walk->tree.cursor, 0));
    if (r == 0)
        r = snapshot_aside_error(
            snapshot->aside->cursor(snapshot->aside, NULL, &walk->aside.cursor, 0));
    if (r == 0)
        r = advance(&walk->aside, DB_FIRST, NULL);
    if (r != 0)
        return r;
    if (last->size == 0)
        return advance(&walk->tree, DB_FIRST, NULL);
    buffer_reserve(&walk->tree.key, last->size);
    r = advance(&walk->tree, DB_SET_RANGE, last);
    if (r == 0 && !walk->tree.ended && compare(&walk->tree.key, last) == 0)
        r = advance(&walk->tree, DB_NEXT, NULL);
    return r;
}

static int end_walk(struct walk *walk) {
    int tree_result = 0, aside_result = 0;

    if (walk->tree.cursor)
        tree_result = state_error(walk->tree.cursor->close(walk->tree.cursor));
    if (walk->aside.cursor)
        aside_result = snapshot_aside_error(walk->aside.cursor->close(walk->aside.cursor));
    buffer_deinit(&walk->tree.key);
    buffer_deinit(&walk->tree.value);
    buffer_deinit(&walk->aside.key);
    buffer_deinit(&walk->aside.value);
    return tree_result != 0 ? tree_result : aside_result;
}

/* Lets go of what was kept aside under the key that aside has next. */
static int drop_aside(struct walk *walk) {
    DBC *cursor = walk->aside.cursor;
    int r = snapshot_aside_error(cursor->del(cursor, 0));

    return r != 0 ? r : advance(&walk->aside, DB_NEXT, NULL);
}

static void move_to(struct snapshot *snapshot, const struct buffer *key) {
    snapshot->last.size = 0;
    buffer_append(&snapshot->last, key->data, key->size);
}

/*
 * Finds the next record of the snapshot. What was kept aside stands for what the tree has under the
 * same key; an empty one stands for nothing at all, and the walk is past it before it goes.
 */
static int find_next(struct snapshot *snapshot, struct walk *walk) {
    struct source *tree = &walk->tree, *aside = &walk->aside;
    int r = 0;

    walk->next = NULL;
    for (;;) {
        int order;

        if (tree->ended && aside->ended)
            return 0;
        order = tree->ended ? 1 : aside->ended ? -1 : compare(&tree->key, &aside->key);
        if (order < 0) {
            walk->next = tree;
            return 0;
        }
        if (order == 0)
            r = advance(tree, DB_NEXT, NULL);
        if (r != 0)
            return r;
        if (aside->value.size > 0) {
            walk->next = aside;
            return 0;
        }
        move_to(snapshot, &aside->key);
        r = drop_aside(walk);
        if (r != 0)
            return r;
    }
}

static int consume(struct walk *walk) {
    return walk->next == &walk->aside ? drop_aside(walk) : advance(&walk->tree, DB_NEXT, NULL);
}

static void append_message(struct buffer *buffer, const Raftkv__V1__SnapshotChunk *message) {
    size_t size = protobuf_c_message_get_packed_size(&message->base);
    uint8_t *place = buffer_reserve(buffer, size);

    check(protobuf_c_message_pack(&message->base, place) == size);
    buffer->size += size;
}

/* Encoded messages that follow each other are one message with all their fields: so each record
 * goes out by itself, and only one is in memory at a time. */
static int append_record(struct snapshot *snapshot, const struct source *source,
                         struct buffer *chunk) {
    Raftkv__V1__SnapshotChunk message = RAFTKV__V1__SNAPSHOT_CHUNK__INIT;
    Raftkv__V1__SnapshotRecord item = RAFTKV__V1__SNAPSHOT_RECORD__INIT;
    Raftkv__V1__SnapshotRecord *items[] = {&item};
    struct state_record record;
    int r;

    r = state_decode_record(&source->value, &record);
    if (r != 0)
        return r;
    item.key = (ProtobufCBinaryData){source->key.size, source->key.data};
    item.value = (ProtobufCBinaryData){record.value_size, (uint8_t *)(uintptr_t)record.value};
    item.create_revision = record.create_revision;
    item.modify_revision = record.modify_revision;
    item.version = record.version;
    message.n_records = 1;
    message.records = items;
    append_message(chunk, &message);
    move_to(snapshot, &source->key);
    snapshot->records++;
    snapshot->bytes += source->key.size + record.value_size;
    return 0;
}

static int append_records(struct snapshot *snapshot, struct walk *walk, size_t max_bytes,
                          struct buffer *chunk) {
    size_t start = chunk->size;
    int r;

    for (size_t count = 0;; count++) {
        r = find_next(snapshot, walk);
        if (r != 0 || !walk->next)
            return r;
        if (count == SNAPSHOT_CHUNK_RECORDS_MAX || chunk->size - start >= max_bytes)
            return 0;
        r = append_record(snapshot, walk->next, chunk);
        if (r == 0)
            r = consume(walk);
        if (r != 0)
            return r;
    }
}

static void append_end(struct snapshot *snapshot, size_t start, struct buffer *chunk) {
    Raftkv__V1__SnapshotChunk message = RAFTKV__V1__SNAPSHOT_CHUNK__INIT;
    uint32_t checksum;

    message.index = snapshot->header.index;
    message.sequence = snapshot->chunks++;
    message.last = snapshot->done;
    message.total_records = snapshot->records;
    message.total_bytes = snapshot->bytes;
    append_message(chunk, &message);
    snapshot->checksum = crc32c(snapshot->checksum, chunk->data + start, chunk->size - start);
    checksum = htole32(snapshot->checksum);
    buffer_append(chunk, &checksum, sizeof checksum);
}

int snapshot_next(struct snapshot *snapshot, size_t max_bytes, struct buffer *ret_chunk,
                  bool *ret_last) {
    size_t start = ret_chunk->size;
    struct walk walk = {0};
    int r, end_result;

    check(max_bytes > 0 && max_bytes <= SNAPSHOT_CHUNK_BYTES_MAX);
    check(!snapshot->done);
    if (snapshot->error != 0)
        return snapshot->error;
    check(!snapshot->state->transaction);
    r = begin_walk(snapshot, &walk);
    if (r == 0)
        r = append_records(snapshot, &walk, max_bytes, ret_chunk);
    snapshot->done = r == 0 && !walk.next;
    end_result = end_walk(&walk);
    if (r == 0)
        r = end_result;
    if (r != 0) {
        ret_chunk->size = start;
        snapshot->done = false;
        snapshot->error = r;
        return r;
    }
    append_end(snapshot, start, ret_chunk);
    *ret_last = snapshot->done;
    return 0;
}

void snapshot_get_progress(struct snapshot *snapshot, struct snapshot_progress *ret) {
    struct state *state = snapshot->state;
    DBT key = {.data = snapshot->last.data, .size = (uint32_t)snapshot->last.size};
    DB_KEY_RANGE range;

    *ret = (struct snapshot_progress){
        .chunks = snapshot->chunks,
        .records = snapshot->records,
        .bytes = snapshot->bytes,
        .permille = snapshot->done ? 1000 : 0,
        .kept = snapshot->kept,
    };
    if (snapshot->done || snapshot->error != 0 || snapshot->last.size == 0)
        return;
    if (state->keys->key_range(state->keys, NULL, &key, &range, 0) == 0)
        ret->permille = (unsigned)((range.less + range.equal) * 1000);
    if (ret->permille > 999)
        ret->permille = 999;
}
