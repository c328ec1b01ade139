/* The switch from one environment to another that a stage has filled. */
#include "store/stage_internal.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/defect.h"
#include "store/state_internal.h"

static int can_not(struct failure *failure, const struct state *state, int error) {
    state_spread_checkpoints(state->environment, true);
    failure_set(failure, error == -ENOSPC ? ERROR_NO_SPACE : ERROR_INTERNAL,
                "Can't write %s/current: %s.", state->directory, strerror(-error));
    return error;
}

static void remove_old(const char *path) {
    int r = state_remove_path(path);

    if (r < 0)
        state_say_left_over(path, r);
}

/* From here on `current` names the new one: there is no way back. */
static int replace_environment(struct state *state, const char *path, struct failure *failure) {
    _cleanup_free_ char *old = NULL;
    int r;

    state_lose_snapshots(state);
    if (!state_close_environment(state)) {
        failure_set(failure, ERROR_INTERNAL, "The state in %s can't be closed: %s.",
                    state->environment_directory, state->message);
        return -EIO;
    }
    old = TAKE(state->environment_directory);
    state->environment_directory = xstrdup(path);
    r = state_open_environment(state, false, failure);
    if (r != 0)
        return -EIO;
    if (!DEFECT(SWITCH_NOT_ATOMIC))
        remove_old(old);
    return 0;
}

int state_switch(struct state *state, struct stage *stage, struct failure *failure) {
    bool done = false;
    int r;

    check(!state->transaction);
    /* A checkpoint under way may hurry: nothing has to keep its speed beside it. */
    state_spread_checkpoints(state->environment, false);
    pthread_mutex_lock(&state->environment_lock);
    if (DEFECT(SWITCH_NOT_ATOMIC))
        remove_old(state->environment_directory);
    r = stage_make_current(stage, &done);
    if (r == 0)
        r = replace_environment(state, stage_path(stage), failure);
    else
        r = can_not(failure, state, done ? -EIO : r);
    pthread_mutex_unlock(&state->environment_lock);
    return r;
}
