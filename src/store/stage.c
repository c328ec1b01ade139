/*
 * A stage is filled without transactions and without a log: its B-tree is made in key order in an
 * environment that has nothing but a cache, and synced at the end. Only then its environment is
 * opened as that of a state, and given the records about itself.
 */
#include "store/stage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "store/state_internal.h"
#include "store/sync.h"

enum { STAGE_CACHE_SIZE = 4 * 1024 * 1024 };

struct stage {
    char *directory; /* of the state */
    char *name;      /* of the stage, in there */
    char *path;
    struct snapshot_header header;
    struct snapshot_reader reader;
    DB_ENV *environment;
    DB *keys;
    struct buffer record;
    char message[256]; /* Berkeley DB's first one */
    bool failed;       /* it can only be discarded */
    bool finished;     /* all of it is durable */
    bool current;      /* `current` may name it: the directory stays */
};

/* Must not call Berkeley DB. What follows the first message follows from it. */
static void keep_message(const DB_ENV *environment, const char *prefix, const char *message) {
    struct stage *stage = environment->app_private;

    (void)prefix;
    if (!stage->message[0])
        snprintf(stage->message, sizeof stage->message, "%s", message);
}

static int open_trees(struct stage *stage) {
    DB_ENV *environment;
    int r;

    store_sync_init();
    r = db_env_create(&environment, 0);
    if (r != 0)
        return state_error(r);
    stage->environment = environment;
    environment->app_private = stage;
    environment->set_errcall(environment, keep_message);
    r = state_set_cache(environment, STAGE_CACHE_SIZE);
    if (r == 0)
        r = environment->open(environment, stage->path, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL,
                              0600);
    if (r == 0)
        r = db_create(&stage->keys, environment, 0);
    if (r == 0)
        r = stage->keys->set_pagesize(stage->keys, STATE_PAGE_SIZE);
    if (r == 0)
        r = stage->keys->set_flags(stage->keys, DB_CHKSUM);
    if (r == 0)
        r = stage->keys->open(stage->keys, NULL, STATE_KEYS, NULL, DB_BTREE, DB_CREATE | DB_EXCL,
                              0600);
    return state_error(r);
}

static int close_trees(struct stage *stage, uint32_t flags) {
    DB *keys = TAKE(stage->keys);
    DB_ENV *environment = TAKE(stage->environment);
    int tree_result = 0, result = 0;

    if (keys)
        tree_result = state_error(keys->close(keys, flags));
    if (environment)
        result = state_error(environment->close(environment, 0));
    return tree_result != 0 ? tree_result : result;
}

static void copy_header(struct snapshot_header *ret, const struct snapshot_header *header) {
    *ret = *header;
    ret->configuration = NULL;
    if (header->configuration_size > 0) {
        ret->configuration = xmalloc(header->configuration_size);
        memcpy(ret->configuration, header->configuration, header->configuration_size);
    }
}

int stage_open(struct stage **ret, const char *directory, const struct snapshot_header *header) {
    struct stage *stage = xcalloc(1, sizeof *stage);
    int r;

    check(header->index > 0);
    stage->directory = xstrdup(directory);
    copy_header(&stage->header, header);
    snapshot_reader_init(&stage->reader, header->index);
    r = state_make_next_directory(directory, &stage->name);
    if (r == 0) {
        stage->path = xasprintf("%s/%s", directory, stage->name);
        r = open_trees(stage);
    }
    if (r != 0) {
        stage_discard(stage);
        return r;
    }
    *ret = stage;
    return 0;
}

static int put(struct stage *stage, const struct snapshot_record *record) {
    DBT key = {.data = (void *)(uintptr_t)record->key, .size = (uint32_t)record->key_size};
    DBT value;
    int r;

    state_shrink(&stage->record);
    state_encode_record(&record->record, &stage->record);
    value = (DBT){.data = stage->record.data, .size = (uint32_t)stage->record.size};
    r = stage->keys->put(stage->keys, NULL, &key, &value, 0);
    return state_page_error(r);
}

static int lost(struct stage *stage, int error, struct failure *failure) {
    stage->failed = true;
    failure_set(failure, error == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                "Can't write what was received to %s: %s%s%s.", stage->path, strerror(-error),
                stage->message[0] ? ": " : "", stage->message);
    return error;
}

int stage_put_chunk(struct stage *stage, const void *data, size_t size, struct failure *failure) {
    struct snapshot_chunk chunk;
    int r;

    check(!stage->failed && !stage->finished);
    r = snapshot_reader_decode(&stage->reader, data, size, &chunk, failure);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < chunk.count; i++)
        r = put(stage, &chunk.records[i]);
    if (r == 0)
        snapshot_reader_accept(&stage->reader, &chunk);
    snapshot_chunk_deinit(&chunk);
    if (r == 0)
        return 0;
    return lost(stage, r, failure);
}

void stage_position(const struct stage *stage, struct stage_position *ret) {
    *ret = (struct stage_position){
        .chunks = stage->reader.chunks,
        .records = stage->reader.records,
        .bytes = stage->reader.bytes,
        .complete = stage->reader.complete,
    };
}

const struct snapshot_header *stage_header(const struct stage *stage) {
    return &stage->header;
}

const char *stage_path(const struct stage *stage) {
    return stage->path;
}

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0)
        close(*descriptor);
}

/* Berkeley DB has written all of it; whether it synced what it wrote early is its own affair. */
static int sync_keys(const struct stage *stage) {
    _cleanup_free_ char *path = xasprintf("%s/" STATE_KEYS, stage->path);
    _cleanup_(close_descriptor) int descriptor = open(path, O_RDWR | O_CLOEXEC);

    if (descriptor < 0)
        return -errno;
    store_sync(descriptor);
    return 0;
}

static int write_meta(const struct stage *stage, struct state *state) {
    const struct snapshot_header *header = &stage->header;
    uint64_t durable;
    int r;

    r = state_begin(state);
    if (r == 0)
        r = state_write_meta(state, STATE_META_FORMAT, (uint64_t[]){FORMAT_VERSION}, 1, NULL);
    if (r == 0)
        r = state_write_meta(state, STATE_META_INSTALLED, &header->index, 1, NULL);
    if (r == 0 && header->configuration_index > 0)
        r = state_set_configuration(state, header->configuration_index, header->configuration,
                                    header->configuration_size);
    state_set_key_count(state, stage->reader.records);
    if (r == 0)
        r = state_commit(state, header->index, header->term);
    if (r == 0)
        r = state_checkpoint(state, &durable);
    return r;
}

/* The order: the keys; what is known about them, which comes with a checkpoint; a rehearsal of the
 * switch; and the names of all files. */
static int finish(struct stage *stage) {
    struct state *state;
    int r;

    r = close_trees(stage, 0);
    if (r == 0)
        r = sync_keys(stage);
    if (r == 0)
        r = state_open_staged(&state, stage->directory, stage->name, stage->message,
                              sizeof stage->message);
    if (r != 0)
        return r;
    r = write_meta(stage, state);
    state_last_message(state, stage->message, sizeof stage->message);
    state_close(state);
    if (r == 0)
        r = state_try_staged(stage->directory, stage->name, stage->message, sizeof stage->message);
    if (r == 0)
        r = store_sync_directory(stage->path);
    if (r == 0)
        r = store_sync_directory(stage->directory);
    return r;
}

int stage_finish(struct stage *stage, struct failure *failure) {
    int r;

    check(!stage->failed && !stage->finished && stage->reader.complete);
    r = finish(stage);
    stage->finished = r == 0;
    return r == 0 ? 0 : lost(stage, r, failure);
}

int stage_make_current(struct stage *stage, bool *ret_done) {
    _cleanup_free_ char *name = NULL;
    int r;

    check(stage->finished && !stage->current);
    r = state_write_current(stage->directory, stage->name);
    stage->current = r == 0;
    if (r != 0)
        /* The name may have changed before something failed. When it can't even be read, keep what
         * it may name. */
        stage->current = state_read_current(stage->directory, &name, NULL) != 0 ||
                         strcmp(name, stage->name) == 0;
    *ret_done = stage->current;
    return r;
}

struct stage *stage_discard(struct stage *stage) {
    if (!stage)
        return NULL;
    (void)close_trees(stage, DB_NOSYNC);
    /* What can't be removed now is removed at the next start. */
    if (stage->path && !stage->current)
        (void)state_remove_path(stage->path);
    snapshot_header_deinit(&stage->header);
    snapshot_reader_deinit(&stage->reader);
    buffer_deinit(&stage->record);
    free(stage->path);
    free(stage->name);
    free(stage->directory);
    free(stage);
    return NULL;
}
