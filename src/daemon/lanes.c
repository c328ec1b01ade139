#include "daemon/lanes.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

void lanes_size_pool(void) {
    char text[16];

    snprintf(text, sizeof text, "%d", LANE_POOL_THREADS);
    check(setenv("UV_THREADPOOL_SIZE", text, 1) == 0);
    /* One for the loop, one for the pool. A lane's jobs run on any thread of the pool, and an arena
     * for each would keep for every one of them what the largest job once needed. */
    mallopt(M_ARENA_MAX, 2);
}

void lanes_init(struct lanes *lanes, uv_loop_t *loop) {
    for (size_t i = 0; i < LANE_COUNT; i++) {
        struct lane_queue *queue = &lanes->queues[i];

        queue->loop = loop;
        queue->busy = false;
        queue->running = NULL;
        queue->waiting = NULL;
        queue->waiting_end = &queue->waiting;
        queue->since = 0;
    }
}

/* On a thread of the pool. The hand-over through libuv orders memory between it and the loop. */
static void run_jobs(uv_work_t *work) {
    struct lane_queue *queue = container_of(work, struct lane_queue, work);

    for (struct job *job = queue->running; job; job = job->next) {
        queue->since = uv_hrtime();
        job->run(job);
    }
    queue->since = 0;
}

static void finish_jobs(uv_work_t *work, int status);

static void hand_over(struct lane_queue *queue) {
    queue->busy = true;
    queue->running = queue->waiting;
    queue->waiting = NULL;
    queue->waiting_end = &queue->waiting;
    queue->since = uv_hrtime();
    check(uv_queue_work(queue->loop, &queue->work, run_jobs, finish_jobs) == 0);
}

/* Keeps the lane busy first; what the jobs that are done submit now can only go behind those that
 * wait. */
static void finish_jobs(uv_work_t *work, int status) {
    struct lane_queue *queue = container_of(work, struct lane_queue, work);
    struct job *job = queue->running;

    check(status == 0); /* nobody cancels */
    queue->running = NULL;
    queue->busy = false;
    if (queue->waiting)
        hand_over(queue);
    while (job) {
        struct job *next = job->next; /* done() may free it or submit it again */

        job->done(job);
        job = next;
    }
}

void lanes_submit(struct lanes *lanes, enum lane lane, struct job *job) {
    struct lane_queue *queue = &lanes->queues[lane];

    job->next = NULL;
    *queue->waiting_end = job;
    queue->waiting_end = &job->next;
    if (!queue->busy)
        hand_over(queue);
}

bool lanes_idle(const struct lanes *lanes) {
    for (size_t i = 0; i < LANE_COUNT; i++)
        if (lanes->queues[i].busy)
            return false;
    return true;
}

uint64_t lanes_longest(struct lanes *lanes) {
    uint64_t now = uv_hrtime(), longest = 0;

    for (size_t i = 0; i < LANE_COUNT; i++) {
        uint64_t since = lanes->queues[i].since;

        if (since && since < now && now - since > longest)
            longest = now - since;
    }
    return longest;
}
