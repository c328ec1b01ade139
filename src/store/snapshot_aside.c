/*
 * What a snapshot keeps aside: the records that change ahead of its walk, as they were when it
 * began. They are in a Berkeley DB B-tree without a name, of an environment of its own with a small
 * cache; what does not fit there goes to a file that has no name either, so it vanishes with the
 * process.
 *
 * The first change of a key since the snapshot began keeps the record that was there before. That
 * stays right when the transaction is aborted: the tree then holds the same record again.
 */
#include "store/snapshot_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/defect.h"

enum { ASIDE_CACHE_SIZE = 2 * 1024 * 1024 };

/* What goes wrong here only ends a snapshot, and its error says enough. */
static void drop_message(const DB_ENV *environment, const char *prefix, const char *message) {
    (void)environment;
    (void)prefix;
    (void)message;
}

int snapshot_aside_error(int result) {
    if (result == 0 || result == DB_NOTFOUND)
        return state_error(result);
    /* A cache that nothing can be written out of says that it has no memory. */
    return result == ENOSPC || result == ENOMEM ? -ENOSPC : -ECANCELED;
}

static int open_aside(struct snapshot *snapshot) {
    DB_ENV *environment;
    int r;

    r = db_env_create(&environment, 0);
    if (r != 0)
        return snapshot_aside_error(r);
    snapshot->aside_environment = environment;
    environment->set_errcall(environment, drop_message);
    r = state_set_cache(environment, ASIDE_CACHE_SIZE);
    if (r == 0)
        r = environment->set_tmp_dir(environment, snapshot->aside_directory);
    if (r == 0)
        r = environment->open(environment, NULL, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0600);
    if (r == 0)
        r = db_create(&snapshot->aside, environment, 0);
    if (r == 0)
        r = snapshot->aside->set_pagesize(snapshot->aside, STATE_PAGE_SIZE);
    if (r == 0)
        r = snapshot->aside->set_flags(snapshot->aside, DB_CHKSUM);
    if (r == 0)
        r = snapshot->aside->open(snapshot->aside, NULL, NULL, NULL, DB_BTREE, DB_CREATE, 0600);
    return snapshot_aside_error(r);
}

int snapshot_make_aside(struct snapshot *snapshot) {
    struct state *state = snapshot->state;

    snapshot->aside_directory =
        xasprintf("%s/" STATE_ASIDE_PREFIX "%u", state->directory, ++state->snapshots_opened);
    if (mkdir(snapshot->aside_directory, 0700) < 0)
        return snapshot_aside_error(errno);
    return open_aside(snapshot);
}

void snapshot_remove_aside(struct snapshot *snapshot) {
    if (snapshot->aside)
        snapshot->aside->close(snapshot->aside, DB_NOSYNC);
    if (snapshot->aside_environment)
        snapshot->aside_environment->close(snapshot->aside_environment, 0);
    snapshot->aside = NULL;
    snapshot->aside_environment = NULL;
    /* What can't be removed now is removed at the next start. */
    if (snapshot->aside_directory)
        (void)state_remove_path(snapshot->aside_directory);
    free(TAKE(snapshot->aside_directory));
    buffer_deinit(&snapshot->record);
}

/* Whether the walk is still to come to this key. */
static bool ahead(const struct snapshot *snapshot, const void *key, size_t key_size) {
    const struct buffer *last = &snapshot->last;
    size_t common = key_size < last->size ? key_size : last->size;
    int order;

    if (snapshot->done)
        return false;
    order = common ? memcmp(key, last->data, common) : 0;
    return order > 0 || (order == 0 && key_size > last->size);
}

/* Fails with the state; what goes wrong with the temporary tree only ends the snapshot. */
static int keep(struct snapshot *snapshot, const void *key, size_t key_size) {
    struct state *state = snapshot->state;
    DB *aside = snapshot->aside;
    DBT key_thing = {.data = (void *)(uintptr_t)key, .size = (uint32_t)key_size};
    DBT thing = {0};
    int r;

    r = aside->exists(aside, NULL, &key_thing, 0);
    if (r == 0)
        return 0;
    if (r != DB_NOTFOUND) {
        snapshot->error = snapshot_aside_error(r);
        return 0;
    }
    state_shrink(&snapshot->record);
    r = state_read(state, state->keys, key, key_size, UINT32_MAX, &snapshot->record);
    if (r < 0)
        return r;
    if (r == 0) {
        thing.data = snapshot->record.data;
        thing.size = (uint32_t)snapshot->record.size;
    }
    r = aside->put(aside, NULL, &key_thing, &thing, 0);
    if (r != 0)
        snapshot->error = snapshot_aside_error(r);
    else
        snapshot->kept++;
    return 0;
}

int state_keep_aside(struct state *state, const void *key, size_t key_size) {
    if (DEFECT(NOTHING_KEPT_ASIDE))
        return 0;
    for (struct snapshot *snapshot = state->snapshots; snapshot; snapshot = snapshot->next) {
        int r;

        if (snapshot->error != 0 || !ahead(snapshot, key, key_size))
            continue;
        r = keep(snapshot, key, key_size);
        if (r < 0)
            return r;
    }
    return 0;
}

void state_lose_snapshots(struct state *state) {
    struct snapshot *snapshot;

    while ((snapshot = state->snapshots)) {
        state->snapshots = TAKE(snapshot->next);
        snapshot->state = NULL;
        snapshot->error = -ESTALE;
    }
}
