/* From one member of a cluster that has lost its majority to a cluster of its own. */
#include "offline/sole_voter.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kv/kv.h"
#include "store/space.h"

enum {
    APPLY_ENTRIES = 1024, /* in one transaction */
    APPLY_BYTES = 2 * 1024 * 1024,
    SPACE_MIN = 32 * 1024 * 1024, /* Berkeley DB panics where it can't make a file */
};

static void close_state(struct state **state) {
    state_close(*state);
}

static void close_log(struct log_store **log) {
    log_store_close(*log);
}

static int check_space(const struct directory *directory, struct failure *failure) {
    uint64_t space;
    int r = store_free_space(directory->path, &space);

    if (r < 0)
        return offline_unwritten(directory->path, r, failure);
    if (space < SPACE_MIN)
        return failure_set(failure, ERROR_NO_SPACE,
                           "The disk of %s has %" PRIu64 " bytes left; a recovery needs %d.",
                           directory->path, space, SPACE_MIN);
    return 0;
}

/*
 * Also what this node does not know to be committed: a majority that is gone may have acknowledged
 * it.
 */
static int apply_rest(struct state *state, struct log_store *log) {
    _cleanup_free_ struct kv_result *results = xcalloc(APPLY_ENTRIES, sizeof *results);
    uint64_t index, term;
    int r = 0;

    while (state_applied(state, &index, &term), r == 0 && index < log_store_last_index(log)) {
        _cleanup_free_ struct log_entry *entries = NULL;
        size_t count;

        r = log_store_read(log, index + 1, APPLY_ENTRIES, APPLY_BYTES, &entries, &count);
        if (r == 0)
            r = kv_apply(state, index + 1, entries, count, results);
    }
    return r;
}

/* *ret_term: the highest that the node knew. */
static int apply_log(struct directory *directory, uint64_t *ret_term, struct failure *failure) {
    _cleanup_(close_state) struct state *state = NULL;
    _cleanup_(close_log) struct log_store *log = NULL;
    struct state_options options = {.directory = directory->state_path};
    struct log_recovery recovery = {0};
    uint64_t index, term, durable;
    int r = state_open(&state, &options, failure);

    if (r == 0)
        r = offline_open_log(directory, state, &log, &recovery, failure);
    if (r != 0)
        return r;
    r = apply_rest(state, log);
    if (r == 0)
        r = state_checkpoint(state, &durable);
    state_applied(state, &index, &term);
    *ret_term = recovery.term > term ? recovery.term : term;
    log_recovery_deinit(&recovery);
    return r != 0 ? offline_unwritten(directory->state_path, r, failure) : 0;
}

int offline_recover(struct offline *offline, const struct identity *identity,
                    struct failure *failure) {
    struct directory *directory = &offline->directory;
    uint64_t term = 0;
    int r;

    if (offline->configuration.count == 0)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "%s holds nothing of a cluster: there is nothing to recover.",
                           directory->path);
    r = check_space(directory, failure);
    if (r != 0)
        return r;
    r = directory_begin_recovery(directory, identity->cluster_id);
    if (r < 0)
        return offline_unwritten(directory->path, r, failure);
    r = apply_log(directory, &term, failure);
    if (r == 0)
        r = offline_make_sole_voter(directory, identity, term + 1, failure);
    if (r != 0)
        return r;
    r = directory_finish(directory);
    return r < 0 ? offline_unwritten(directory->path, r, failure) : 0;
}
