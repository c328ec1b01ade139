/* How a state of whatever origin becomes that of the only member of a cluster. */
#include "offline/sole_voter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "raft/configuration.h"

static void close_state(struct state **state) {
    state_close(*state);
}

static void close_log(struct log_store **log) {
    log_store_close(*log);
}

int offline_unwritten(const char *path, int error, struct failure *failure) {
    return failure_set(failure, error == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                       "%s can't be written: %s.", path,
                       error < 0 ? strerror(-error) : "Berkeley DB refuses it");
}

int offline_open_log(struct directory *directory, struct state *state, struct log_store **ret,
                     struct log_recovery *ret_recovery, struct failure *failure) {
    struct log_store_options options = {
        .directory = directory->log_path,
        .member_id = directory->member_id,
    };
    int r = directory_raise_incarnation(directory);

    if (r < 0)
        return offline_unwritten(directory->path, r, failure);
    options.incarnation = directory->incarnation;
    state_applied(state, &options.applied_index, &options.applied_term);
    state_configuration(state, &options.configuration_index, &options.configuration,
                        &options.configuration_size);
    options.installed =
        state_installed_index(state) > 0 && state_installed_index(state) == options.applied_index;
    return log_store_open(ret, &options, ret_recovery, failure);
}

static void encode_sole_voter(const struct directory *directory, const struct identity *identity,
                              uint8_t **ret_data, size_t *ret_size) {
    struct configuration configuration = {.count = 0};
    struct server self = {.id = directory->member_id, .role = MEMBER_VOTER};

    strcpy(self.name, directory->name);
    strcpy(self.peer_address, identity->peer_address);
    strcpy(self.client_address, identity->client_address);
    configuration_add(&configuration, &self);
    configuration_encode(&configuration, ret_data, ret_size);
}

static int write_state(struct state *state, const struct directory *directory,
                       const struct identity *identity, uint64_t term) {
    uint64_t index, old_term, durable;
    uint8_t *data;
    size_t size;
    int r;

    state_applied(state, &index, &old_term);
    index++;
    r = state_begin(state);
    if (r != 0)
        return r;
    encode_sole_voter(directory, identity, &data, &size);
    r = state_set_configuration(state, index, data, size);
    raft_free(data);
    if (r == 0)
        r = state_set_installed(state, index);
    if (r != 0) {
        state_abort(state);
        return r;
    }
    r = state_commit(state, index, term);
    return r == 0 ? state_checkpoint(state, &durable) : r;
}

/* The state counts as installed, so opening the log begins it anew; only the term is missing. */
static int begin_log(struct directory *directory, struct state *state, uint64_t term,
                     struct failure *failure) {
    _cleanup_(close_log) struct log_store *log = NULL;
    struct log_recovery recovery = {0};
    int r = offline_open_log(directory, state, &log, &recovery, failure);

    if (r != 0)
        return r;
    r = log_store_set_vote(log, term, 0);
    if (r == 0)
        r = log_store_flush(log);
    if (r == 0)
        r = log_store_drop(log, recovery.mark.index + 1, NULL);
    log_recovery_deinit(&recovery);
    return r != 0 ? offline_unwritten(directory->log_path, r, failure) : 0;
}

int offline_make_sole_voter(struct directory *directory, const struct identity *identity,
                            uint64_t term, struct failure *failure) {
    _cleanup_(close_state) struct state *state = NULL;
    struct state_options options = {.directory = directory->state_path};
    int r = state_open(&state, &options, failure);

    if (r != 0)
        return r;
    r = write_state(state, directory, identity, term);
    if (r != 0)
        return offline_unwritten(directory->state_path, r, failure);
    return begin_log(directory, state, term, failure);
}
