/*
 * lanes: the serial queues of blocking work (see enum lane) on libuv's thread pool. Each lane has
 * at most one piece of work in the pool, which runs all jobs that had gathered when it was handed
 * over; so a flush carries everything that arrived during the flush before it.
 *
 * All functions are called on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/host.h"

/*
 * Threads that the pool needs. libuv lets slow work, which is name resolution, take up to half of
 * the threads (rounded up); with six, three are left for the three lanes whatever the resolver
 * does.
 */
enum { LANE_POOL_THREADS = 6 };

/* Sets the size of the pool for the process, and has its threads share their memory. To be called
 * before anything else uses the pool. */
void lanes_size_pool(void);

struct lane_queue {
    uv_work_t work;
    uv_loop_t *loop;
    bool busy;                /* work is in the pool */
    struct job *running;      /* its jobs */
    struct job *waiting;      /* for that work to end */
    struct job **waiting_end; /* where the next job is linked to */
    /* uv_hrtime() at which the job that runs now was begun (or the work handed over, before the
     * first one); 0: none. Written by the lane. */
    _Atomic uint64_t since;
};

struct lanes {
    struct lane_queue queues[LANE_COUNT];
};

/* `lanes` must stay where it is. */
void lanes_init(struct lanes *lanes, uv_loop_t *loop);
/* As struct host says of submit. */
void lanes_submit(struct lanes *lanes, enum lane lane, struct job *job);
/* No lane has anything to do, and the done() of every job was called. Not to be asked in a done().
 */
bool lanes_idle(const struct lanes *lanes);
/* For how long (ns) the job has been running that runs longest; 0: none. */
uint64_t lanes_longest(struct lanes *lanes);
