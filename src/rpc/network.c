#include "rpc/network.h"

#include "base/check.h"
#include "base/memory.h"

static void finish_turn(struct network *network) {
    size_t count = 0;
    struct turn_task *task;

    TAILQ_FOREACH(task, &network->tasks, entry)
    count++;
    /* What these tasks ask for comes in the next turn, so that reading is not starved. */
    while (count-- > 0 && (task = TAILQ_FIRST(&network->tasks))) {
        network_forget(network, task);
        task->run(task);
    }
    if (TAILQ_EMPTY(&network->tasks) && !network->closing) {
        uv_idle_stop(&network->idle);
        uv_check_stop(&network->check);
    }
}

static void on_idle(uv_idle_t *idle) {
    finish_turn(idle->data);
}

static void on_check(uv_check_t *check_handle) {
    finish_turn(check_handle->data);
}

void network_at_turn_end(struct network *network, struct turn_task *task) {
    if (task->queued || network->closing)
        return;
    task->queued = true;
    TAILQ_INSERT_TAIL(&network->tasks, task, entry);
    /* The check runs right after this round of input. The idle handle keeps the loop from waiting
     * when a task was queued later than that. */
    check(uv_check_start(&network->check, on_check) == 0);
    check(uv_idle_start(&network->idle, on_idle) == 0);
}

void network_forget(struct network *network, struct turn_task *task) {
    if (!task->queued)
        return;
    task->queued = false;
    TAILQ_REMOVE(&network->tasks, task, entry);
}

static struct deadline *earliest(struct network *network) {
    struct deadline *deadline, *first = NULL;

    LIST_FOREACH(deadline, &network->deadlines, entry)
    if (!first || deadline->time < first->time)
        first = deadline;
    return first;
}

static void on_timer(uv_timer_t *timer) {
    struct network *network = timer->data;
    struct deadline *deadline;

    while ((deadline = earliest(network)) && deadline->time <= uv_now(network->loop)) {
        deadline_stop(deadline);
        deadline->passed(deadline);
    }
    if (deadline && !network->closing)
        check(uv_timer_start(timer, on_timer, deadline->time - uv_now(network->loop), 0) == 0);
}

void deadline_start(struct network *network, struct deadline *deadline, uint64_t milliseconds) {
    uint64_t now = uv_now(network->loop);

    deadline_stop(deadline);
    deadline->time = now + milliseconds;
    deadline->active = true;
    LIST_INSERT_HEAD(&network->deadlines, deadline, entry);
    if (network->closing)
        return;
    if (!uv_is_active((uv_handle_t *)&network->timer) ||
        uv_timer_get_due_in(&network->timer) > milliseconds)
        check(uv_timer_start(&network->timer, on_timer, milliseconds, 0) == 0);
}

void deadline_stop(struct deadline *deadline) {
    if (!deadline->active)
        return;
    deadline->active = false;
    LIST_REMOVE(deadline, entry);
}

void network_init(struct network *network, uv_loop_t *loop) {
    *network = (struct network){.loop = loop, .held_max = SIZE_MAX};
    network->scratch = xmalloc(NETWORK_SCRATCH_SIZE);
    TAILQ_INIT(&network->tasks);
    LIST_INIT(&network->deadlines);
    LIST_INIT(&network->connections);
    check(uv_idle_init(loop, &network->idle) == 0);
    check(uv_check_init(loop, &network->check) == 0);
    check(uv_timer_init(loop, &network->timer) == 0);
    network->idle.data = network;
    network->check.data = network;
    network->timer.data = network;
    network->live = 3;
}

void network_hold(struct network *network) {
    network->live++;
}

void network_release(struct network *network) {
    check(network->live > 0);
    if (--network->live > 0)
        return;
    check(network->closing && network->held == 0 && network->unsent == 0);
    free(network->scratch);
    network->closed(network->closed_data);
}

static void on_handle_closed(uv_handle_t *handle) {
    network_release(handle->data);
}

void network_close(struct network *network, void (*closed)(void *data), void *data) {
    check(!network->closing);
    network->closing = true;
    network->closed = closed;
    network->closed_data = data;
    uv_close((uv_handle_t *)&network->idle, on_handle_closed);
    uv_close((uv_handle_t *)&network->check, on_handle_closed);
    uv_close((uv_handle_t *)&network->timer, on_handle_closed);
}
