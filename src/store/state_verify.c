/* Reading all of a state that nobody uses: every record, then every page. */
#include "store/state_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

enum {
    CACHE_SIZE = 4 * 1024 * 1024,
    BYTES_BETWEEN = 4 * 1024 * 1024, /* calls of progress */
};

struct verification {
    struct state *state;
    state_progress progress;
    void *data;
    struct state_summary summary;
    uint64_t told;    /* bytes */
    char reason[160]; /* what is wrong with a record */
};

static const char *wrong_with(const struct verification *verification, size_t key_size,
                              const struct state_record *record) {
    if (key_size == 0 || key_size > KEY_SIZE_MAX)
        return "its key has an impossible size";
    if (record->value_size > VALUE_SIZE_MAX)
        return "its value is too large";
    if (record->create_revision == 0 || record->create_revision > record->modify_revision)
        return "its revisions can't be";
    if (record->modify_revision > verification->summary.applied_index)
        return "its revision is above the applied index";
    if (record->version == 0)
        return "its version is 0";
    return NULL;
}

static bool check_record(void *data, const uint8_t *key, size_t key_size,
                         const struct state_record *record) {
    struct verification *verification = data;
    struct state_summary *summary = &verification->summary;
    const char *wrong = wrong_with(verification, key_size, record);

    if (wrong) {
        snprintf(verification->reason, sizeof verification->reason,
                 "record %" PRIu64 " in the order of keys is wrong: %s", summary->records + 1,
                 wrong);
        return false;
    }
    summary->records++;
    summary->bytes += key_size + record->value_size;
    summary->hash = state_hash_add(summary->hash, key, key_size, record);
    if (verification->progress && summary->bytes - verification->told >= BYTES_BETWEEN) {
        verification->told = summary->bytes;
        verification->progress(verification->data, summary->bytes, 0);
    }
    return true;
}

static int damaged(struct failure *failure, const char *directory, const char *file,
                   const char *what, const char *message) {
    return failure_set(failure, ERROR_INTERNAL, "%s/%s is damaged: %s%s%s. " STATE_REJOIN,
                       directory, file, what, message[0] ? ": " : "", message);
}

static int check_records(struct verification *verification, struct failure *failure) {
    struct state *state = verification->state;
    struct state_summary *summary = &verification->summary;
    int r;

    *summary = (struct state_summary){
        .applied_index = state->applied_index,
        .applied_term = state->applied_term,
        .installed_index = state->installed_index,
        .configuration_index = state->configuration_index,
        .configuration = state->configuration_index
                             ? xmemdup(state->configuration.data, state->configuration.size)
                             : NULL,
        .configuration_size = state->configuration_index ? state->configuration.size : 0,
        .hash = state_hash_begin(state),
    };
    if (summary->installed_index > summary->applied_index ||
        summary->configuration_index > summary->applied_index)
        return damaged(failure, state->environment_directory, "meta",
                       "it says more than was applied", "");
    r = state_walk(state, NULL, 0, check_record, verification);
    if (r < 0)
        return damaged(failure, state->environment_directory, STATE_KEYS, strerror(-r),
                       state->message);
    if (verification->reason[0])
        return damaged(failure, state->environment_directory, STATE_KEYS, verification->reason, "");
    return 0;
}

static void tell_percent(DB *tree, int what, int percent) {
    const struct verification *verification = tree->app_private;

    if (what == DB_VERIFY && percent >= 0 && percent <= 100)
        verification->progress(verification->data, (uint64_t)percent, 100);
}

/* What follows the first message follows from it. */
static void keep_first_message(const DB_ENV *environment, const char *prefix, const char *message) {
    struct state *state = environment->app_private;

    (void)prefix;
    if (!state->message[0])
        snprintf(state->message, sizeof state->message, "%s", message);
}

/* Berkeley DB's own verification reads the pages that no record is on, too. */
static int check_pages(struct verification *verification, const char *directory, const char *file,
                       struct failure *failure) {
    struct state *state = verification->state;
    DB_ENV *environment;
    DB *tree;
    int r, close_result;

    state->message[0] = '\0';
    r = state_create_environment(state, &environment);
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't verify %s/%s: %s.", directory, file,
                           strerror(-r));
    environment->set_errcall(environment, keep_first_message);
    r = state_set_cache(environment, CACHE_SIZE);
    if (r == 0)
        r = environment->set_tmp_dir(environment, directory);
    if (r == 0)
        r = environment->open(environment, directory, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0600);
    if (r == 0)
        r = db_create(&tree, environment, 0);
    if (r == 0 && verification->progress) {
        tree->app_private = verification;
        (void)tree->set_feedback(tree, tell_percent);
    }
    /* The handle is gone afterwards in any case. */
    if (r == 0)
        r = tree->verify(tree, file, NULL, NULL, 0);
    close_result = environment->close(environment, 0);
    if (r == 0)
        r = close_result;
    /* Berkeley DB's own codes are about what it read. */
    if (r > 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't verify %s/%s: %s%s%s.", directory, file,
                           strerror(r), state->message[0] ? ": " : "", state->message);
    if (r < 0)
        return damaged(failure, directory, file, "its pages are not as they should be",
                       state->message);
    return 0;
}

static int check_all(struct verification *verification, struct failure *failure) {
    struct state *state = verification->state;
    const char *directory = state->environment_directory;
    uint64_t durable;
    int r;

    r = check_records(verification, failure);
    if (r != 0)
        return r;
    /* What recovery changed has to be in the files before they are read by themselves. */
    state_spread_checkpoints(state->environment, false);
    r = state_checkpoint(state, &durable);
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't write the state in %s: %s.", directory,
                           strerror(-r));
    if (!state_close_environment(state))
        return damaged(failure, directory, STATE_KEYS, "it can't be closed", state->message);
    r = check_pages(verification, directory, STATE_KEYS, failure);
    return r != 0 ? r : check_pages(verification, directory, STATE_META, failure);
}

int state_verify(const char *directory, state_progress progress, void *data,
                 struct state_summary *ret, struct failure *failure) {
    struct verification verification = {.progress = progress, .data = data};
    struct state_options options = {.directory = directory, .cache_size = CACHE_SIZE};
    _cleanup_free_ char *name = NULL;
    int r;

    r = state_read_current(directory, &name, failure);
    if (r == -ENOENT)
        return failure_set(failure, ERROR_NOT_FOUND, "There is no state in %s.", directory);
    if (r != 0)
        return r;
    r = state_open(&verification.state, &options, failure);
    if (r != 0)
        return r;
    r = check_all(&verification, failure);
    if (r == 0)
        *ret = verification.summary;
    else
        state_summary_deinit(&verification.summary);
    state_close(verification.state);
    return r;
}

void state_summary_deinit(struct state_summary *summary) {
    free(TAKE(summary->configuration));
}
