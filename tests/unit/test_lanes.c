/* The lanes: order, batches, completions, and what is seen of them from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "daemon/lanes.h"

enum { JOBS = 200, WAIT_SECONDS = 10 };

/* Opens once, when as many have asked for it as are needed, from any thread. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int needed;
};

static void gate_init(struct gate *gate, int needed) {
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->condition, NULL);
    gate->needed = needed;
}

static void gate_open(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->needed--;
    pthread_cond_broadcast(&gate->condition);
    pthread_mutex_unlock(&gate->mutex);
}

/* Returns whether it was opened within a bound that only a defect reaches. */
static bool gate_wait(struct gate *gate, int seconds) {
    struct timespec until;
    int r = 0;
    bool open;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&gate->mutex);
    while (gate->needed > 0 && r == 0)
        r = pthread_cond_timedwait(&gate->condition, &gate->mutex, &until);
    open = gate->needed <= 0;
    pthread_mutex_unlock(&gate->mutex);
    return open;
}

struct fixture;

struct work {
    struct job job;
    struct fixture *fixture;
    enum lane lane;
    int number;
    struct gate *opens, *waits_for;
    bool gave_up; /* on waits_for */
    pthread_t ran_on;
    struct work *submits; /* in done() */
};

struct fixture {
    uv_loop_t loop;
    struct lanes lanes;
    pthread_t loop_thread;
    int ran[LANE_COUNT][2 * JOBS], ran_count[LANE_COUNT]; /* each by its lane only */
    int done[LANE_COUNT][2 * JOBS], done_count[LANE_COUNT];
    bool wrong_thread;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);

    assert_int_equal(uv_loop_init(&f->loop), 0);
    lanes_init(&f->lanes, &f->loop);
    f->loop_thread = pthread_self();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;

    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void run(struct job *job) {
    struct work *work = container_of(job, struct work, job);
    struct fixture *f = work->fixture;

    work->ran_on = pthread_self();
    f->ran[work->lane][f->ran_count[work->lane]++] = work->number;
    if (work->opens)
        gate_open(work->opens);
    if (work->waits_for)
        work->gave_up = !gate_wait(work->waits_for, WAIT_SECONDS);
}

static void submit(struct work *work) {
    lanes_submit(&work->fixture->lanes, work->lane, &work->job);
}

static void done(struct job *job) {
    struct work *work = container_of(job, struct work, job);
    struct fixture *f = work->fixture;

    if (!pthread_equal(pthread_self(), f->loop_thread) ||
        pthread_equal(work->ran_on, f->loop_thread))
        f->wrong_thread = true;
    f->done[work->lane][f->done_count[work->lane]++] = work->number;
    if (work->submits)
        submit(TAKE(work->submits));
}

static struct work make(struct fixture *f, enum lane lane, int number) {
    return (struct work){
        .job = {.run = run, .done = done}, .fixture = f, .lane = lane, .number = number};
}

static void assert_in_order(const int *numbers, int count, int expected) {
    assert_int_equal(count, expected);
    for (int i = 0; i < count; i++)
        assert_int_equal(numbers[i], i);
}

static void a_lane_runs_and_completes_its_jobs_in_order(void **state) {
    struct fixture *f = *state;
    static struct work work[LANE_COUNT][JOBS];

    for (int i = 0; i < JOBS; i++)
        for (int lane = 0; lane < LANE_COUNT; lane++) {
            work[lane][i] = make(f, (enum lane)lane, i);
            submit(&work[lane][i]);
        }
    assert_false(lanes_idle(&f->lanes));
    uv_run(&f->loop, UV_RUN_DEFAULT);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        assert_in_order(f->ran[lane], f->ran_count[lane], JOBS);
        assert_in_order(f->done[lane], f->done_count[lane], JOBS);
    }
    assert_false(f->wrong_thread);
    assert_true(lanes_idle(&f->lanes));
}

static void the_lanes_run_side_by_side(void **state) {
    struct fixture *f = *state;
    struct gate all;
    struct work work[LANE_COUNT];

    gate_init(&all, LANE_COUNT);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        work[lane] = make(f, (enum lane)lane, 0);
        work[lane].opens = &all;
        work[lane].waits_for = &all;
        submit(&work[lane]);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    for (int lane = 0; lane < LANE_COUNT; lane++)
        assert_false(work[lane].gave_up);
}

static void look_up_hangs(uv_work_t *work) {
    gate_wait(work->data, 3 * WAIT_SECONDS); /* longer than a lane that waits in vain */
}

static void look_up_ends(uv_work_t *work, int status) {
    (void)work;
    (void)status;
}

static void the_lanes_leave_threads_for_the_resolver(void **state) {
    struct fixture *f = *state;
    struct gate all, end;
    struct work work[LANE_COUNT];
    uv_work_t others[LANE_POOL_THREADS - LANE_COUNT];

    /* As many threads as libuv lets the resolver take do not come back. */
    gate_init(&end, 1);
    for (size_t i = 0; i < LANE_POOL_THREADS - LANE_COUNT; i++) {
        others[i].data = &end;
        assert_int_equal(uv_queue_work(&f->loop, &others[i], look_up_hangs, look_up_ends), 0);
    }
    gate_init(&all, LANE_COUNT);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        work[lane] = make(f, (enum lane)lane, 0);
        work[lane].opens = &all;
        work[lane].waits_for = &all;
        submit(&work[lane]);
    }
    while (!lanes_idle(&f->lanes))
        uv_run(&f->loop, UV_RUN_ONCE);
    for (int lane = 0; lane < LANE_COUNT; lane++)
        assert_false(work[lane].gave_up);
    gate_open(&end);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void jobs_that_gather_while_one_runs_are_one_batch(void **state) {
    struct fixture *f = *state;
    struct gate gate;
    static struct work work[JOBS];

    gate_init(&gate, 1);
    for (int i = 0; i < JOBS; i++) {
        work[i] = make(f, LANE_LOG, i);
        if (i == 0)
            work[i].waits_for = &gate;
        submit(&work[i]);
    }
    gate_open(&gate);
    while (f->done_count[LANE_LOG] == 0)
        uv_run(&f->loop, UV_RUN_ONCE);
    /* From the first completion on, the rest comes as a whole. */
    assert_int_equal(f->done_count[LANE_LOG], 1);
    while (f->done_count[LANE_LOG] == 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_in_order(f->done[LANE_LOG], f->done_count[LANE_LOG], JOBS);
    for (int i = 1; i < JOBS; i++)
        assert_true(pthread_equal(work[i].ran_on, work[1].ran_on));
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void a_job_submitted_from_done_goes_behind_those_that_wait(void **state) {
    struct fixture *f = *state;
    struct work work[4];

    for (int i = 0; i < 4; i++)
        work[i] = make(f, LANE_STATE, i);
    work[0].submits = &work[3];
    for (int i = 0; i < 3; i++)
        submit(&work[i]);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_in_order(f->ran[LANE_STATE], f->ran_count[LANE_STATE], 4);
    assert_in_order(f->done[LANE_STATE], f->done_count[LANE_STATE], 4);
}

static void a_job_may_be_submitted_again_from_its_done(void **state) {
    struct fixture *f = *state;
    struct work work = make(f, LANE_BACKGROUND, 0);

    work.submits = &work;
    submit(&work);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->done_count[LANE_BACKGROUND], 2);
    assert_int_equal(f->ran_count[LANE_BACKGROUND], 2);
}

struct freed {
    struct job job;
    int *count;
};

static void run_nothing(struct job *job) {
    (void)job;
}

static void free_it(struct job *job) {
    struct freed *freed = container_of(job, struct freed, job);

    ++*freed->count;
    free(freed);
}

static void a_job_may_be_freed_in_its_done(void **state) {
    struct fixture *f = *state;
    int count = 0;

    for (int i = 0; i < JOBS; i++) {
        struct freed *freed = xcalloc(1, sizeof *freed);

        *freed = (struct freed){.job = {.run = run_nothing, .done = free_it}, .count = &count};
        lanes_submit(&f->lanes, LANE_LOG, &freed->job);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(count, JOBS);
}

static void a_job_that_hangs_is_seen(void **state) {
    struct fixture *f = *state;
    struct gate gate;
    struct work work = make(f, LANE_BACKGROUND, 0);
    uint64_t begin = uv_hrtime(), longest;

    assert_int_equal(lanes_longest(&f->lanes), 0);
    gate_init(&gate, 1);
    work.waits_for = &gate;
    submit(&work);
    do
        longest = lanes_longest(&f->lanes);
    while (longest < 1000000 && uv_hrtime() - begin < WAIT_SECONDS * UINT64_C(1000000000));
    assert_true(longest >= 1000000);
    assert_true(longest <= uv_hrtime() - begin);
    gate_open(&gate);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(lanes_longest(&f->lanes), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_lane_runs_and_completes_its_jobs_in_order),
        TEST(the_lanes_run_side_by_side),
        TEST(the_lanes_leave_threads_for_the_resolver),
        TEST(jobs_that_gather_while_one_runs_are_one_batch),
        TEST(a_job_submitted_from_done_goes_behind_those_that_wait),
        TEST(a_job_may_be_submitted_again_from_its_done),
        TEST(a_job_may_be_freed_in_its_done),
        TEST(a_job_that_hangs_is_seen),
    };

    lanes_size_pool();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
