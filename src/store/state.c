/* Opening and closing the state. */
#include "store/state_internal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/limits.h"
#include "store/page_journal.h"
#include "store/sync.h"

enum {
    LOG_BUFFER_SIZE = 256 * 1024,
    CACHE_SIZE_DEFAULT = 16 * 1024 * 1024,
    CACHE_SIZE_MIN = 64 * 1024,
    STAGED_CACHE_SIZE = 1024 * 1024, /* only its few records about itself are written */
    /* A checkpoint writes this many pages and then sleeps so long: it takes longer, but the raft
     * log's flushes beside it keep their speed. */
    CHECKPOINT_PAGES = 16,
    CHECKPOINT_PAUSE_US = 4000,
};

#define FIRST_DIRECTORY "state-1"

int state_error(int result) {
    if (result == 0)
        return 0;
    if (result == DB_NOTFOUND)
        return ERROR_NOT_FOUND;
    if (result == EDQUOT)
        return -ENOSPC;
    /* Berkeley DB's own codes lie far below those of the system: a page that is not what was
     * written, an environment that has panicked. */
    return result > 0 ? -result : -EIO;
}

int state_page_error(int result) {
    return result == ENOMEM ? -ENOSPC : state_error(result);
}

/*
 * Must not call Berkeley DB: it may hold any of its mutexes here. What is said from a panic on only
 * says that there was one: the message before it is the reason.
 */
static void keep_message(const DB_ENV *environment, const char *prefix, const char *message) {
    struct state *state = environment->app_private;

    (void)prefix;
    pthread_mutex_lock(&state->message_lock);
    if (strstr(message, "PANIC"))
        state->panicked = true;
    if (!state->panicked || !state->message[0])
        snprintf(state->message, sizeof state->message, "%s", message);
    pthread_mutex_unlock(&state->message_lock);
}

void state_last_message(struct state *state, char *ret, size_t size) {
    pthread_mutex_lock(&state->message_lock);
    snprintf(ret, size, "%s", state->message);
    pthread_mutex_unlock(&state->message_lock);
}

/* Berkeley DB wants four buffers in a file. */
static uint32_t log_buffer_size(uint32_t file_size) {
    return file_size / 4 < LOG_BUFFER_SIZE ? file_size / 4 : LOG_BUFFER_SIZE;
}

int state_create_environment(struct state *state, DB_ENV **ret) {
    DB_ENV *environment;
    int r;

    r = db_env_create(&environment, 0);
    if (r != 0)
        return state_error(r);
    environment->app_private = state;
    environment->set_errcall(environment, keep_message);
    r = environment->set_lg_max(environment, state->log_file_size);
    if (r == 0)
        r = environment->set_lg_bsize(environment, log_buffer_size(state->log_file_size));
    if (r != 0) {
        environment->close(environment, 0);
        return state_error(r);
    }
    *ret = environment;
    return 0;
}

int state_set_cache(DB_ENV *environment, size_t size) {
    /* Berkeley DB adds a quarter for its own tables. */
    size = (size < CACHE_SIZE_MIN ? CACHE_SIZE_MIN : size) / 5 * 4;
    return environment->set_cachesize(environment, (uint32_t)(size >> 30),
                                      (uint32_t)(size & ((1U << 30) - 1)), 1);
}

int state_spread_checkpoints(DB_ENV *environment, bool spread) {
    return environment->set_mp_max_write(environment, spread ? CHECKPOINT_PAGES : 0,
                                         spread ? CHECKPOINT_PAUSE_US : 0);
}

static int open_environment(struct state *state) {
    DB_ENV *environment;
    int r;

    r = state_create_environment(state, &environment);
    if (r < 0)
        return r;
    state->environment = environment;
    r = state_set_cache(environment, state->cache_size);
    if (r == 0)
        r = environment->set_flags(environment, DB_TXN_NOSYNC, 1);
    if (r == 0)
        r = environment->log_set_config(environment, DB_LOG_AUTO_REMOVE, 1);
    if (r == 0)
        r = environment->open(environment, state->environment_directory,
                              DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_THREAD | DB_INIT_MPOOL |
                                  DB_INIT_LOG | DB_INIT_TXN,
                              0600);
    if (r == 0)
        r = state_spread_checkpoints(environment, true);
    return state_error(r);
}

static int open_tree(struct state *state, const char *name, DB **ret) {
    DB *tree;
    int r;

    r = db_create(&tree, state->environment, 0);
    if (r != 0)
        return state_error(r);
    r = tree->set_pagesize(tree, STATE_PAGE_SIZE);
    if (r == 0)
        r = tree->set_flags(tree, DB_CHKSUM);
    if (r == 0)
        r = tree->open(tree, NULL, name, NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD,
                       0600);
    if (r != 0) {
        tree->close(tree, DB_NOSYNC);
        return state_error(r);
    }
    *ret = tree;
    return 0;
}

/* Reads a record of numbers, then bytes, from `meta`: ERROR_NOT_FOUND when there is none. */
static int read_meta(struct state *state, const char *name, uint64_t *numbers, size_t count,
                     struct buffer *rest) {
    size_t head = count * sizeof *numbers;
    int r;

    r = state_read(state, state->meta, name, strlen(name), UINT32_MAX, &state->value);
    if (r != 0)
        return r;
    if (state->value.size < head || (!rest && state->value.size != head))
        return -EIO;
    for (size_t i = 0; i < count; i++) {
        memcpy(&numbers[i], state->value.data + i * sizeof *numbers, sizeof *numbers);
        numbers[i] = le64toh(numbers[i]);
    }
    if (rest) {
        rest->size = 0;
        buffer_append(rest, state->value.data + head, state->value.size - head);
    }
    return 0;
}

static int load_meta(struct state *state, uint64_t *ret_format) {
    uint64_t applied[2] = {0};
    int r;

    r = read_meta(state, STATE_META_FORMAT, ret_format, 1, NULL);
    if (r != 0)
        return r;
    r = read_meta(state, STATE_META_APPLIED, applied, 2, NULL);
    if (r < 0)
        return r;
    state->applied_index = applied[0];
    state->applied_term = applied[1];
    state->committed_index = applied[0];
    r = read_meta(state, STATE_META_INSTALLED, &state->installed_index, 1, NULL);
    if (r < 0)
        return r;
    r = read_meta(state, STATE_META_KEYS, &state->key_count, 1, NULL);
    if (r < 0)
        return r;
    r = read_meta(state, STATE_META_CONFIGURATION, &state->configuration_index, 1,
                  &state->configuration);
    return r < 0 ? r : 0;
}

static int unusable(struct state *state, int error, struct failure *failure) {
    return failure_set(failure, error == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                       "The state in %s can't be opened: %s%s%s. " STATE_REJOIN,
                       state->environment_directory, strerror(-error),
                       state->message[0] ? ": " : "", state->message);
}

static int sync_tree(const struct state *state, const char *name) {
    _cleanup_free_ char *path = xasprintf("%s/%s", state->environment_directory, name);

    return store_sync_file(path);
}

/*
 * The name that makes a new state the current one comes last, when all of it is durable. Berkeley
 * DB's checkpoint syncs only files that it has changed since it made them.
 */
static int make_current(struct state *state) {
    int r = sync_tree(state, STATE_KEYS);

    if (r == 0)
        r = sync_tree(state, STATE_META);
    if (r == 0)
        r = store_sync_directory(state->environment_directory);
    if (r == 0)
        r = store_sync_directory(state->directory);
    if (r == 0)
        r = state_write_current(state->directory, FIRST_DIRECTORY);
    return r;
}

/* Writes the first records of a new state. */
static int initialise(struct state *state, struct failure *failure) {
    uint64_t durable;
    int r;

    r = state_begin(state);
    if (r == 0)
        r = state_write_meta(state, STATE_META_FORMAT, (uint64_t[]){FORMAT_VERSION}, 1, NULL);
    if (r == 0)
        r = state_commit(state, 0, 0);
    if (r == 0)
        r = state_checkpoint(state, &durable);
    if (r == 0)
        r = make_current(state);
    if (r < 0)
        return failure_set(failure, ERROR_INTERNAL, "Can't create the state in %s: %s.",
                           state->environment_directory, strerror(-r));
    return 0;
}

static int make_directory(const char *path, struct failure *failure) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return failure_set(failure, ERROR_INTERNAL, "Can't create the directory %s: %s.", path,
                           strerror(errno));
    return 0;
}

/*
 * Without `current` there is either nothing yet, or what a start left that was cut short: that one
 * said so before it made anything, and nothing of it is worth keeping. Berkeley DB can't always
 * recover a tree whose making was interrupted twice.
 */
static int make_first_directory(struct state *state, struct failure *failure) {
    int r = state_begin_first(state->directory, FIRST_DIRECTORY);

    if (r == -EEXIST)
        return failure_set(failure, ERROR_INTERNAL,
                           "%s/current is missing, but the directory holds states. " STATE_REJOIN,
                           state->directory);
    if (r < 0)
        return failure_set(failure, r == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                           "Can't create the state in %s: %s.", state->environment_directory,
                           strerror(-r));
    return 0;
}

/* Finds the environment's directory; *ret_new when no state was completed here yet. */
static int find_environment(struct state *state, bool *ret_new, struct failure *failure) {
    _cleanup_free_ char *name = NULL;
    struct stat status;
    int r;

    r = state_read_current(state->directory, &name, failure);
    *ret_new = r == -ENOENT;
    if (r != 0 && r != -ENOENT)
        return r;
    state->environment_directory =
        xasprintf("%s/%s", state->directory, name ? name : FIRST_DIRECTORY);
    if (*ret_new)
        return make_first_directory(state, failure);
    if (stat(state->environment_directory, &status) < 0)
        return failure_set(failure, ERROR_INTERNAL,
                           "%s, which %s/current names, can't be used: %s. " STATE_REJOIN,
                           state->environment_directory, state->directory, strerror(errno));
    return 0;
}

static int open_pages(struct state *state) {
    int r = page_journal_open(&state->pages, state->environment_directory, state->journal_pages);

    if (r == -EPROTONOSUPPORT)
        snprintf(state->message, sizeof state->message,
                 "its page journal was written by a newer version of raftkvd");
    else if (r < 0)
        snprintf(state->message, sizeof state->message, "its page journal can't be used");
    return r;
}

/* The pages come first: Berkeley DB has to find them whole. */
static int open_trees(struct state *state) {
    int r;

    r = open_pages(state);
    if (r == 0)
        r = open_environment(state);
    if (r == 0)
        r = open_tree(state, STATE_KEYS, &state->keys);
    if (r == 0)
        r = open_tree(state, STATE_META, &state->meta);
    return r;
}

/* The tail is cut before recovery, because recovery itself appends to the log. */
int state_open_environment(struct state *state, bool new, struct failure *failure) {
    uint64_t format = 0;
    int r;

    r = state_cut_tail(state, failure);
    if (r != 0)
        return r;
    r = open_trees(state);
    if (r < 0)
        return unusable(state, r, failure);
    r = load_meta(state, &format);
    if (r < 0)
        return unusable(state, r, failure);
    check(!new || r == ERROR_NOT_FOUND);
    if (r == ERROR_NOT_FOUND && !new)
        return failure_set(failure, ERROR_INTERNAL,
                           "The state in %s is damaged: it has lost its format. " STATE_REJOIN,
                           state->environment_directory);
    if (r == 0 && format != FORMAT_VERSION)
        return failure_set(failure, ERROR_INVALID_ARGUMENT,
                           "The state in %s has format %" PRIu64
                           ", but this raftkvd reads format %d only. " STATE_REJOIN,
                           state->environment_directory, format, FORMAT_VERSION);
    return new ? initialise(state, failure) : 0;
}

static struct state *new_state(const char *directory, size_t cache_size) {
    struct state *state = xcalloc(1, sizeof *state);

    pthread_mutex_init(&state->message_lock, NULL);
    pthread_mutex_init(&state->environment_lock, NULL);
    state->directory = xstrdup(directory);
    state->cache_size = cache_size ? cache_size : CACHE_SIZE_DEFAULT;
    state->log_file_size = STATE_LOG_FILE_SIZE;
    return state;
}

static void free_state(struct state *state) {
    state_lose_snapshots(state);
    pthread_mutex_destroy(&state->message_lock);
    pthread_mutex_destroy(&state->environment_lock);
    buffer_deinit(&state->configuration);
    buffer_deinit(&state->pending_configuration);
    buffer_deinit(&state->record);
    buffer_deinit(&state->key);
    buffer_deinit(&state->value);
    free(state->environment_directory);
    free(state->directory);
    free(state);
}

/* Berkeley DB closes the files of an environment that has panicked, but keeps its memory. */
struct state *state_abandon(struct state *state) {
    if (!state)
        return NULL;
    if (state->environment) {
        state->environment->set_flags(state->environment, DB_PANIC_ENVIRONMENT, 1);
        state->environment->close(state->environment, 0);
    }
    page_journal_close(state->pages);
    free_state(state);
    return NULL;
}

static bool close_trees(struct state *state) {
    DB *meta = TAKE(state->meta), *keys = TAKE(state->keys);
    int r = 0;

    if (meta)
        r = meta->close(meta, DB_NOSYNC);
    if (r != DB_RUNRECOVERY && keys)
        r = keys->close(keys, DB_NOSYNC);
    return r != DB_RUNRECOVERY;
}

bool state_close_environment(struct state *state) {
    if (state->environment) {
        state_abort(state);
        if (!close_trees(state))
            return false;
        /* Berkeley DB would close the log first, and then write the pages: also those whose records
         * the log has found no space for. (Not before the trees are closed, which may read the log:
         * nothing is read any more either.) */
        state->environment->set_flags(state->environment, DB_NOFLUSH, 1);
        state->environment->close(state->environment, 0);
    }
    state->pages = page_journal_close(state->pages);
    state->environment = NULL;
    state->applied_index = 0;
    state->applied_term = 0;
    state->installed_index = 0;
    state->key_count = 0;
    state->committed_index = 0;
    state->configuration_index = 0;
    return true;
}

/* Closes without a checkpoint. */
static void close_and_free(struct state *state) {
    if (state_close_environment(state))
        free_state(state);
    else
        state_abandon(state);
}

struct state *state_close(struct state *state) {
    uint64_t durable;

    if (!state)
        return NULL;
    if (state->environment) {
        state_abort(state);
        state_spread_checkpoints(state->environment, false);
        /* Should it fail, the next start applies again what is not in the state. */
        (void)state_checkpoint(state, &durable);
    }
    close_and_free(state);
    return NULL;
}

static void remove_leftovers(struct state *state) {
    const char *current = strrchr(state->environment_directory, '/') + 1;
    int r = state_remove_leftovers(state->directory, current);

    if (r < 0)
        state_say_left_over(state->directory, r);
}

int state_open(struct state **ret, const struct state_options *options, struct failure *failure) {
    struct state *state;
    bool new;
    int r;

    r = make_directory(options->directory, failure);
    if (r != 0)
        return r;
    store_sync_init();
    state = new_state(options->directory, options->cache_size);
    if (options->log_file_size != 0)
        state->log_file_size = options->log_file_size;
    state->journal_pages = options->journal_pages;
    r = find_environment(state, &new, failure);
    if (r == 0)
        r = state_open_environment(state, new, failure);
    if (r != 0) {
        close_and_free(state);
        return r;
    }
    remove_leftovers(state);
    *ret = state;
    return 0;
}

int state_open_staged(struct state **ret, const char *directory, const char *name,
                      char *ret_message, size_t size) {
    struct state *state = new_state(directory, STAGED_CACHE_SIZE);
    int r;

    store_sync_init();
    state->environment_directory = xasprintf("%s/%s", directory, name);
    r = open_trees(state);
    if (r != 0) {
        state_last_message(state, ret_message, size);
        close_and_free(state);
        return r;
    }
    *ret = state;
    return 0;
}

int state_try_staged(const char *directory, const char *name, char *ret_message, size_t size) {
    struct state *state = new_state(directory, STAGED_CACHE_SIZE);
    struct failure failure;
    int r;

    state->environment_directory = xasprintf("%s/%s", directory, name);
    r = state_open_environment(state, false, &failure);
    state_last_message(state, ret_message, size);
    close_and_free(state);
    if (r == 0)
        return 0;
    return r == ERROR_NO_SPACE ? -ENOSPC : -EIO;
}

void state_applied(const struct state *state, uint64_t *ret_index, uint64_t *ret_term) {
    *ret_index = state->applied_index;
    *ret_term = state->applied_term;
}

void state_configuration(const struct state *state, uint64_t *ret_index, const uint8_t **ret_data,
                         size_t *ret_size) {
    *ret_index = state->configuration_index;
    *ret_data = state->configuration_index ? state->configuration.data : NULL;
    *ret_size = state->configuration_index ? state->configuration.size : 0;
}

uint64_t state_installed_index(const struct state *state) {
    return state->installed_index;
}
