/*
 * network: what the connections of one door share: the loop, the buffer that all of them read into,
 * deadlines, work that is gathered until the end of a turn of the loop, and the count of what must
 * be gone before the door's memory may go.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum { NETWORK_SCRATCH_SIZE = 64 * 1024 };

struct network {
    uv_loop_t *loop;
    uint8_t *scratch; /* NETWORK_SCRATCH_SIZE bytes, used within one read callback */
    /* Bytes of frames that are not complete yet, over all connections; above held_max overfull()
     * has to drop some. */
    size_t held;
    size_t held_max;
    void (*overfull)(struct network *network);
    uint64_t received, sent; /* bytes, ever */
    size_t unsent; /* bytes of output that the kernel has not taken yet, over all connections */

    LIST_HEAD(, connection) connections; /* that are not closed */

    /* Private. */
    uv_idle_t idle;
    uv_check_t check;
    uv_timer_t timer;
    TAILQ_HEAD(, turn_task) tasks;
    LIST_HEAD(, deadline) deadlines;
    size_t live; /* handles and requests of which a callback is still to come */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* Something to do at the end of the turn. Embed it; zero-initialised, with `run` set. */
struct turn_task {
    void (*run)(struct turn_task *task);
    bool queued;
    TAILQ_ENTRY(turn_task) entry;
};

/* A point in time. Embed it; zero-initialised, with `passed` set. */
struct deadline {
    void (*passed)(struct deadline *deadline);
    uint64_t time; /* of uv_now() */
    bool active;
    LIST_ENTRY(deadline) entry;
};

void network_init(struct network *network, uv_loop_t *loop);
/* `closed` is called when everything that was held is released. Whatever uses the network is closed
 * by its owner. */
void network_close(struct network *network, void (*closed)(void *data), void *data);
/* Between the two the network must stay. */
void network_hold(struct network *network);
void network_release(struct network *network);

/* Runs the task before the loop waits again, once, however often it was asked for. */
void network_at_turn_end(struct network *network, struct turn_task *task);
void network_forget(struct network *network, struct turn_task *task);

/* Calls deadline->passed() in so many milliseconds; replaces what was asked before. */
void deadline_start(struct network *network, struct deadline *deadline, uint64_t milliseconds);
void deadline_stop(struct deadline *deadline);
